"""Texts of nobody, as many as a test wants, no two of them alike."""

import random

WHO = (
    "The hens",
    "My sister",
    "The miller",
    "Old Cy",
    "The plumber",
    "Our neighbour",
    "The dog",
    "The choir",
    "Bo's aunt",
)
DID = (
    "mended",
    "lost",
    "borrowed",
    "painted",
    "counted",
    "hid",
    "sold",
    "dropped",
    "found",
    "forgot",
    "weighed",
    "washed",
)
WHAT = (
    *("the long ladder", "nine eggs", "a sack of corn", "the garden gate", "two kettles", "the blue boat", "a wet map"),
    *(
        "my left boot",
        "the piano",
        "every candle",
        "the church key",
        "a jar of plums",
        "the old radio",
        "half the fence",
    ),
)
WHERE = (
    *("behind the mill", "before breakfast", "on the bridge", "in the fog", "by the canal", "last Monday", "at noon"),
    *("near the orchard", "at the station", "under the stairs", "without a word", "after the storm", "by mistake"),
)
THEN = (
    *(
        "so I laughed",
        "and nobody minded",
        "which was a pity",
        "but the weather held",
        "and we had soup",
        "so I stayed",
    ),
    *("though it was late", "and that was that", "so please bring yours", "and the bus was full", "but do not tell Di"),
)


def sentence(draw):
    return f"{draw.choice(WHO)} {draw.choice(DID)} {draw.choice(WHAT)} {draw.choice(WHERE)}, {draw.choice(THEN)}."


def made_up_text(number, *, num_sentences=6):
    """A letter of about thirteen words a sentence; the same number gives the same."""
    draw = random.Random(number)
    return f"Hi Bo,\n\n{' '.join(sentence(draw) for _ in range(num_sentences))}\n\nAnna"
