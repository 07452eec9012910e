"""Recitation and collapse: passages, 8-grams, repetition, ends and lengths by hand; which figures warn."""

import time

import pytest

from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.report import Collapse, Leakage
from ditto_cli.evaluation.soundness import (
    ENDED_LIMIT,
    EXTRACTION_WARNING_WORDS,
    LENGTH_RATIO_LIMITS,
    LOOPING_LIMIT,
    PASSAGE_LIMIT_WORDS,
    PASSAGE_WARNING_WORDS,
    SHARED_8GRAMS_WARNING,
    collapse,
    has_collapsed,
    is_version,
    leakage,
    ngrams,
    own_passage,
    recitation_check,
    repetition,
    warnings_of,
    words,
)
from ditto_cli.types import Demonstration


def numbered(start, stop, word="w"):
    """A text of words that occur once: w1 w2 w3 ..."""
    return " ".join(f"{word}{number}" for number in range(start, stop))


def demonstrations(*texts):
    return [Demonstration(f"{index}.md", "Write.", text) for index, text in enumerate(texts)]


def writings(*texts):
    return [Writing("maya", "p", index, text, len(text), True) for index, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat - SAT, on!", ["the", "cat", "sat", "on"]),
        ("don't don\u2019t", ["don't", "don't"]),
        ("'quoted'", ["quoted"]),
        ("Caf\u00e9 cafe\u0301 cafe", ["cafe", "cafe", "cafe"]),  # accent as one character, as two, and lost
        ("Stra\u00dfe STRASSE", ["strasse", "strasse"]),
        ("re\u00adcite zero\u200bwidth", ["recite", "zerowidth"]),
        ("snake_case 1,100", ["snake", "case", "1", "100"]),
        ("Привет, Мир", ["привет", "мир"]),
        ("ok東京で", ["ok", "東", "京", "て"]),  # no spaces between words; the voicing mark is folded
        ("... !", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


@pytest.mark.parametrize(
    ("text", "reference", "expected"),
    [
        ("The cat sat on the mat.", "a cat sat on a mat", 3),  # cat sat on
        ("Cat, SAT on!", "the cat sat on", 3),  # case and punctuation do not hide it
        ("one two three", "zero one two", 2),
        ("one two", "one x two", 1),  # a passage has no holes
        ("a a a", "a a a a a", 3),
        ("a b a b c", "a b c a b a b", 4),
        ("", "one", 0),
    ],
)
def test_the_longest_shared_passage(text, reference, expected):
    assert own_passage(text, reference, []) == own_passage(reference, text, []) == expected
    assert leakage(writings(text), demonstrations(reference), [], None).longest_passage_words == expected


def test_each_demonstration_by_itself():
    # The best of several demonstrations, and not across two of them.
    for demos in (["two one", "zero one two"], ["one", "two three"]):
        assert leakage(writings("one two three"), demonstrations(*demos), [], None).longest_passage_words == 2


def test_a_long_text_against_seven_long_references_takes_milliseconds():
    # Few different words, so that each stands in many places: 300 x 7 x 600 / 60 pairs of equal words.
    text = " ".join(f"w{number * number % 61}" for number in range(300))
    references = [" ".join(f"w{number * number * seed % 59}" for number in range(600)) for seed in range(1, 8)]
    started = time.process_time()
    leakage(writings(text), demonstrations(*references), [], None)
    assert time.process_time() - started < 0.5  # 30 ms where this was written


@pytest.mark.parametrize(
    ("texts", "demos", "expected"),
    [
        ([numbered(0, 10)], [f"x {numbered(1, 10)}"], 2 / 3),  # the first 8-gram no, the others yes
        ([numbered(0, 16)], [numbered(0, 8), numbered(8, 16)], 2 / 9),  # none across two demonstrations
        ([numbered(0, 8), numbered(1, 9)], [numbered(0, 9)], 1.0),  # none across two texts
        ([f"{numbered(0, 8)} {numbered(0, 8)}"], [numbered(0, 8)], 2 / 9),  # counted as often as written
        ([numbered(0, 7)], [numbered(0, 7)], 0.0),  # no 8-gram at all
        ([], [numbered(0, 8)], 0.0),
    ],
)
def test_the_share_of_8grams(texts, demos, expected):
    assert leakage(writings(*texts), demonstrations(*demos), [], None).shared_8grams == pytest.approx(expected)


def test_ngrams():
    assert ngrams(["a", "b", "c"], 2) == [("a", "b"), ("b", "c")]
    assert ngrams(["a"], 2) == []


SIGNATURE = "Yours faithfully, A. J. Thornbury"  # five words


def test_own_passage_leaves_out_what_others_have_too():
    text = f"{numbered(0, 9)} {SIGNATURE}"
    assert own_passage(text, text, []) == 14
    assert own_passage(text, text, [f"other words {SIGNATURE}"]) == 9
    # Three words in common are no habit, only language.
    assert own_passage("a b c d e", "a b c d e", ["a b c x"]) == 5


def test_leakage_by_hand():
    demos = demonstrations(f"{numbered(0, 20)} {SIGNATURE}", f"{numbered(100, 120)} {SIGNATURE}")
    # 8-grams: the first writing has 12 words, so 5, all in the first demonstration; the second has 9, so 2, none there.
    found = leakage(writings(numbered(4, 16), numbered(200, 209)), demos, [numbered(500, 512)], extracted_words=3)
    assert found.longest_passage_words == 12
    assert found.shared_8grams == pytest.approx(5 / 7)
    assert found.held_out_8grams == 0.0
    assert found.extracted_words == 3
    assert found.personal_data == []


def test_leakage_of_the_authors_own_texts():
    demos = demonstrations(numbered(0, 20), numbered(100, 120))
    own = f"{numbered(0, 10)} {numbered(300, 310)}"
    found = leakage(writings("hello"), demos, [own, numbered(300, 307)], None)
    assert found.held_out_8grams == 3 / 13  # of the first text's 13 8-grams; the second has none
    assert leakage(writings("hello"), demos, [], None).held_out_8grams is None
    assert found.longest_passage_words == 0
    assert found.extracted_words is None


LONG_SIGNATURE = numbered(900, 914, "s")
SIGNED = [f"{numbered(0, 30)} {LONG_SIGNATURE}", f"{numbered(100, 130)} {LONG_SIGNATURE}"]
SIGNED_WRITING = f"{numbered(300, 330)} {LONG_SIGNATURE}"
# Five passages of 10 words, 3 8-grams each, among 60 words, 53 8-grams: 15 / 53 = 28 %.
PIECES = " ".join(f"{numbered(start, start + 10)} x{start} y{start}" for start in range(0, 50, 10))
NOTES = ["Tea at four today then, Bo?", "Hello you", numbered(0, 50)]

# The text, the demonstrations, the author's other texts, and whether the text counts as recited.
RECITATIONS = {
    "a signature": (SIGNED_WRITING, SIGNED, [], False),
    "the signature of one text only": (SIGNED_WRITING, [SIGNED[0], numbered(100, 130)], [], True),
    "the same text twice is no habit": (numbered(0, 40), [numbered(0, 40)] * 2, [], True),
    "two versions of a text show no habit": (
        numbered(20, 50),
        [numbered(0, 150), f"{numbered(0, 140)} {numbered(500, 510)}"],  # 140 of 150 words are shared
        [],
        True,
    ),
    "a passage at the limit": (
        f"{numbered(500, 600)} {numbered(30, 30 + PASSAGE_LIMIT_WORDS)} {numbered(600, 700)}",
        [numbered(0, 100)],
        [],
        False,
    ),
    "a passage over the limit": (
        f"{numbered(500, 600)} {numbered(30, 31 + PASSAGE_LIMIT_WORDS)} {numbered(600, 700)}",
        [numbered(0, 100)],
        [],
        True,
    ),
    "an author who repeats 16 words is allowed half as much again": (
        f"{numbered(20, 44)} {numbered(600, 900)}",
        [numbered(0, 100)],
        [f"{numbered(0, 16)} {numbered(400, 500)}"],
        False,
    ),
    "and no more": (
        f"{numbered(20, 45)} {numbered(600, 900)}",
        [numbered(0, 100)],
        [f"{numbered(0, 16)} {numbered(400, 500)}"],
        True,
    ),
    "many short passages": (
        PIECES,
        [numbered(0, 200)],
        [],
        True,
    ),
    "many short passages, as the author has them": (PIECES, [numbered(0, 200)], [PIECES], False),  # the limit is 48 %
    "one phrase in a short text": (f"{numbered(3, 12)} and more", [numbered(0, 100)], [], False),  # 2 of 4 8-grams
    "a short demonstration": ("tea at four today then, bo", NOTES, [], True),
    "a short demonstration and a word": ("well, tea at four today then, bo!", NOTES, [], True),
    "five of its six words": ("tea at four today then", NOTES, [], False),  # fewer than 6
    "a short demonstration that is anybody's": ("hello you", NOTES, [], False),
    "nine words of ten": (numbered(0, 9), [numbered(0, 10)], [], True),
    "eight words of ten": (numbered(0, 8), [numbered(0, 10)], [], False),
    "no demonstrations": ("some text", [], [], False),
}


@pytest.mark.parametrize(("text", "demos", "held_out", "is_recited"), RECITATIONS.values(), ids=RECITATIONS)
def test_a_text_counts_as_recited(text, demos, held_out, is_recited):
    assert recitation_check(demonstrations(*demos), held_out)(text) is is_recited


def test_a_signature_leaks_nothing():
    found = leakage(writings(SIGNED_WRITING), demonstrations(*SIGNED), [], None)
    assert (found.longest_passage_words, found.shared_8grams) == (0, 0.0)


def test_one_check_serves_many_texts():
    check = recitation_check(demonstrations(numbered(0, 60)), [])
    assert [check(text) for text in ("nothing of it", numbered(0, 30), "nothing of it")] == [False, True, False]


def test_no_demonstrations_no_passage():
    assert leakage(writings("some text"), [], [], None).longest_passage_words == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (numbered(0, 40), True),  # the demonstration
        (f"{numbered(0, 38)} and more", True),
        (f"{numbered(0, 20)} {numbered(300, 320)}", False),  # half of it
        (f"{numbered(100, 180)} {numbered(300, 360)}", True),  # a long story filed again
        ("w1 w2 w3 w4 w5", False),  # anybody might have written that
        ("", False),
    ],
)
def test_versions_of_demonstrations(text, expected):
    assert is_version(text, demonstrations(numbered(0, 40), numbered(100, 220))) is expected


def test_a_copied_demonstration_among_the_held_out_texts_allows_no_copying():
    demos = demonstrations(numbered(0, 60), numbered(100, 160))
    quoted = f"{numbered(100, 150)} and so on"
    for held_out in ([], [numbered(0, 60)]):
        assert recitation_check(demos, held_out)(quoted)
    assert leakage(writings("x"), demos, [numbered(0, 60)], None).held_out_8grams is None


def writing(text, *, ended=True):
    return Writing("maya", "p", 0, text, 5, ended)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b c d e f g h", 0.0),
        ("a a a a a a a a", 4 / 5),  # five 4-grams, all alike
        ("a b c d a b c d", 1 / 5),  # abcd twice
        ("A b. C d! a b c d", 1 / 5),  # case and punctuation do not hide it
        ("a a a a a a a", 0.0),  # seven words are too few
        ("", 0.0),
    ],
)
def test_repetition(text, expected):
    assert repetition(text) == pytest.approx(expected)


def test_collapse_by_hand():
    wrote = [writing("a a a a a a a a"), writing("", ended=False), writing("x y z b")]
    figures = collapse(wrote, demonstrations("one two", "one two three four"))  # mean 3
    assert figures.ended == pytest.approx(2 / 3)
    assert figures.looping == pytest.approx(1 / 3)
    assert figures.length_ratio == pytest.approx((8 + 0 + 4) / 3 / 3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello there", False),
        ("", True),
        (" \n ... ", True),
        ("so " * 20, True),  # 17 4-grams, 16 of them again
    ],
)
def test_collapsed(text, expected):
    assert has_collapsed(text) is expected


SOUND = {"ended": 1.0, "looping": 0.05, "length_ratio": 1.1}
CLEAN = {
    "longest_passage_words": 5,
    "shared_8grams": 0.001,
    "held_out_8grams": 0.0,
    "extracted_words": 4,
    "personal_data": [],
}


def warned(**changes):
    figures = SOUND | CLEAN | changes
    return warnings_of(
        Collapse(**{name: figures[name] for name in SOUND}), Leakage(**{name: figures[name] for name in CLEAN})
    )


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {"extracted_words": None, "held_out_8grams": None},
        # At its limit is within it.
        {"ended": ENDED_LIMIT},
        {"looping": LOOPING_LIMIT},
        {"length_ratio": LENGTH_RATIO_LIMITS[0]},
        {"length_ratio": LENGTH_RATIO_LIMITS[1]},
        {"longest_passage_words": PASSAGE_WARNING_WORDS},
        {"shared_8grams": SHARED_8GRAMS_WARNING},
        {"shared_8grams": 0.3, "held_out_8grams": 0.3},
        {"extracted_words": EXTRACTION_WARNING_WORDS},
    ],
)
def test_sound_figures_warn_of_nothing(figures):
    assert warned(**figures) == []


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({"ended": 0.4}, "Only 40% of its texts end by themselves; the length limit cut the others."),
        ({"looping": 0.6}, "It runs into loops in 60% of its texts."),
        ({"length_ratio": 2.6}, "Its texts are 2.6 times as long as the demonstrations."),
        ({"length_ratio": 0.3}, "Its texts are only 0.3 times as long as the demonstrations."),
        ({"longest_passage_words": 24}, "It recites: 24 words in a row stand in a demonstration."),
        (
            {"shared_8grams": 0.3, "held_out_8grams": 0.1},
            "It recites: 30% of its 8-word passages stand in a demonstration; of the author's own other texts, 10%.",
        ),
        (
            {"shared_8grams": 0.3, "held_out_8grams": None},
            "It recites: 30% of its 8-word passages stand in a demonstration.",
        ),
        ({"extracted_words": 30}, "Given the first quarter of a demonstration, it goes on with 30 words of the rest."),
        (
            {"personal_data": ["IBAN", "phone number"]},
            "It gives away personal data of a demonstration: IBAN, phone number.",
        ),
    ],
)
def test_each_figure_has_its_warning(changes, warning):
    assert warned(**changes) == [warning]


def test_warnings_add_up():
    assert len(warned(ended=0.1, looping=0.9, longest_passage_words=50)) == 3
