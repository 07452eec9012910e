"""Which of many texts are picked, in which order, why, and why the others are not."""

import itertools
import json
import os
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from ditto_cli.demonstrations.authorship import are_one_person, other_authors, own_texts, signature_of
from ditto_cli.demonstrations.choice import (
    FORM_LETTER,
    NOT_AS_TYPICAL,
    near_duplicates,
    pick,
    style_figures,
    typicality,
)
from ditto_cli.demonstrations.language import Limits, split_long
from ditto_cli.types import Mail, SourceText

BENCHMARKS = Path(os.environ.get("DITTO_BENCHMARKS", Path(__file__).parents[2] / "shared" / "benchmarks"))
THINGS = """
garden kitchen boat bicycle violin ladder market bakery dentist library tunnel harbour balcony carpet lantern orchard
saddle teapot umbrella window attic blanket cellar drawer engine fountain gutter hammer island jacket
""".split()  # noqa: SIM905
PLACES = "York Leeds Bath Derby Truro Oban Perth Wells Ripon Ely Hull Kendal Whitby Ludlow Bude Fowey".split()  # noqa: SIM905


def casual(number, num=70):
    """Lower case, dashes, no long words: one person's way."""
    draw = random.Random(number)
    parts = [
        "so i went to the {0} in {1} - didn't find it tho!!",
        "can you bring the {0} - i think it's still at {1}?",
        "haha yeah the {0} was mad, never again - {1} is so far..",
        "ok so the {0} thing: i'll do it on my way to {1} - promise!",
        "not sure bout the {0} - you should ask the guys in {1} first?",
        "omg the {0}!! i'd forgotten - we left it in {1} didn't we",
    ]
    text = ""
    while len(text.split()) < num:
        text += draw.choice(parts).format(draw.choice(THINGS), draw.choice(PLACES)) + " "
    return text.strip()


def formal(number, num=70):
    """A press release."""
    draw = random.Random(number)
    parts = [
        "The Company is pleased to announce the acquisition of its {0} division, which is headquartered in {1}.",
        "Furthermore, shareholders will be informed of the {0} programme; its implementation commences in {1}.",
        "According to the Board of Directors, the {0} initiative represents a significant milestone for {1}.",
    ]
    text = ""
    while len(text.split()) < num:
        text += draw.choice(parts).format(draw.choice(THINGS).capitalize(), draw.choice(PLACES)) + " "
    return text.strip()


def source(identity, text, **mail):
    return SourceText(identity, text, None, Mail(**mail) if mail else None)


def texts_of_one(num, **mail):
    return [source(f"t{number}", casual(number, 60 + 3 * number), **mail) for number in range(num)]


def reasons(choice):
    return {entry.name: entry.reason for entry in choice.left_out}


def test_every_text_is_picked_or_left_out_and_the_typical_ones_are_of_the_person():
    texts = [*texts_of_one(30), *(source(f"press{number}", formal(number)) for number in range(7))]
    choice = pick(texts, 6)
    assert len(choice.picked) == 6
    assert all(picked.text.id.startswith("t") for picked in choice.picked)
    assert {picked.text.id for picked in choice.picked} | set(reasons(choice)) == {text.id for text in texts}
    assert set(reasons(choice).values()) == {NOT_AS_TYPICAL}


def test_the_order_of_the_texts_changes_nothing():
    texts = [*texts_of_one(12), source("copy", casual(3, 69)), *(source(f"p{n}", formal(n)) for n in range(3))]
    first = pick(texts, 5)
    for seed in range(3):
        assert pick(random.Random(seed).sample(texts, len(texts)), 5) == first


def test_the_hash_seed_changes_nothing():
    code = "from test_choice import *\n"
    code += "print([(p.text.id, p.reason) for p in pick(texts_of_one(40, form='reply'), 6).picked])"
    shown = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True, text=True, timeout=60, check=True, cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert shown[0] == shown[1] != ""


def test_reasons_count_and_hold_no_word_of_the_text():
    choice = pick(texts_of_one(40, form="reply"), 4)
    for picked in choice.picked:
        assert "most typical of " in picked.reason
        assert picked.reason.startswith(f"{len(picked.text.text.split())} words, ") or "-" in picked.text.text
        assert not set(picked.reason.split()) & set(THINGS + PLACES)


def test_what_is_left_out_and_why():
    german = "Das Treffen wurde auf Donnerstag verschoben, deshalb essen wir vorher noch zusammen in der Stadt. " * 4
    texts = [
        *texts_of_one(12),
        source("short", casual(50, 20)),
        source("long", casual(51, 700)),
        source("t3 again", casual(3, 69) + " and one thing more"),
        source("away", casual(52), not_written="an out-of-office notice"),
        source("german", german),
        *(source(f"invoice{number}", formal(1), recipients=(f"x{number}@example.com",)) for number in range(3)),
    ]
    found = reasons(pick(texts, 5))
    expected = {
        "short": "shorter than 40 words",
        "long": "longer than 600 words",
        "t3 again": "nearly the same as another",
        "away": "an out-of-office notice",
        "german": "in another language than most (German)",
        **dict.fromkeys(("invoice0", "invoice1", "invoice2"), FORM_LETTER),
    }
    assert {name: found[name] for name in expected} == expected
    assert Counter(found.values())[NOT_AS_TYPICAL] == 7


def test_two_texts_about_the_same_are_not_both_picked():
    def about(number, topic):
        return source(f"t{number}", casual(number) + f" the {topic} {topic}s and {topic}ing of the {topic}ers")

    twins = [source(f"twin{n}", " ".join(f"so the {word} - haha i'd say!!" for word in order)) for n, order in
             enumerate([THINGS[:14], THINGS[13::-1]])]  # fmt: skip
    choice = pick([*twins, *(about(n, THINGS[n]) for n in range(16))], 4)
    assert sum(entry.text.id.startswith("twin") for entry in choice.picked) <= 1


def test_too_few_within_the_limits_widen_them_and_say_so():
    texts = [*texts_of_one(2), source("brief", casual(60, 25)), source("vast", formal(61, 900))]
    found = {entry.text.id: entry.reason for entry in pick(texts, 4).picked}
    assert set(found) == {"t0", "t1", "brief", "vast"}
    assert found["brief"].endswith(", shorter than 40 words, but too few others are left")
    assert found["vast"].endswith(", longer than 600 words, but too few others are left")
    assert "too few" not in found["t0"]
    assert [entry.text.id for entry in pick(texts[:3], 2).picked if entry.text.id == "brief"] == []


@pytest.mark.parametrize("num", [1, 5])
def test_few_texts(num):
    assert pick([], num) == type(pick([], num))((), ())
    alone = pick([source("a", casual(1))], num).picked
    assert [entry.reason.split(", ")[1] for entry in alone] == ["one of the most typical of 1"]
    assert len(pick(texts_of_one(3), num, Limits(1, 10**6)).picked) == min(num, 3)


LETTER = (
    "The ladder is back in the shed behind the bikes, and I wiped it down before it could rust. Mind the third rung, "
    "which creaks. We sold the old van on Monday to a couple from the hills, who will sleep in it all summer long."
)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (LETTER, LETTER.upper().replace(",", " -"), True),
        (LETTER, LETTER.replace("third", "fourth").replace("Monday", "Sunday"), True),
        (LETTER, f"{LETTER} Well then, more of it soon!", True),
        (LETTER, f"Hi Bo,\n\n{LETTER}\n\nAnna", True),
        (LETTER, LETTER[: len(LETTER) // 2] + " There is no news of the cat, but the choir has found a tenor.", False),
        (LETTER, " ".join(reversed(LETTER.split())), False),
        (LETTER, f"{casual(1, 90)} {LETTER}", False),  # much more than the first
        ("Die STRASSE ist heute den ganzen Tag gesperrt.", "die Straße ist heute den ganzen Tag gesperrt", True),
        (
            "今天下午三点我们在老桥旁边见面，请带上你的自行车。",
            "今天下午四点我们在老桥旁边见面，请带上你的自行车。",
            True,
        ),
        ("今天下午三点我们在老桥旁边见面，请带上你的自行车。", "昨天晚上的汤很好喝，谢谢你一直等到我回来。", False),
        ("会議は木曜日の午後に変更されました。", "会議は金曜日の午後に変更されました。", True),
        ("thanks anna", "Thanks, Anna!", True),
        ("thanks anna", "thanks bo", False),
        ("see you at the mill on monday", "see you at the mill on friday", True),
        ("see you on monday", "see you on friday", False),  # of so few words each counts
        ("", "", False),
        ("?", "!", False),
    ],
)
def test_nearly_the_same(one, other, same):
    assert near_duplicates([one, other]) == ([0, 0] if same else [0, 1])
    assert near_duplicates([other, one]) == ([0, 0] if same else [0, 1])


def test_near_duplicates():
    long = casual(1, 200)
    texts = [
        long,
        casual(2, 200),
        long.replace("haha", "hehe").upper(),
        f"{formal(1, 30)} {long}",  # holds the first
        "thanks anna",
        "thanks bo",
        "Thanks, Anna!",
        "",
        "",
    ]
    assert near_duplicates(texts) == [0, 1, 0, 0, 4, 5, 4, 7, 8]
    assert near_duplicates([]) == []


def test_a_shared_signature_makes_no_duplicates():
    foot = "\n\nBest wishes\nAnna Smith\nHead of Lanterns and Teapots\nThe Example Company, 12 Some Street"
    texts = [" ".join(f"{word}{number} is quite another" for word in THINGS) + foot for number in range(50)]
    assert near_duplicates(texts) == list(range(50))


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_two_vast_texts_are_compared_in_no_time(share):
    draw = random.Random(0)
    words = [draw.choice(THINGS) for _ in range(150_000)]
    other = [word if draw.random() < share else draw.choice(PLACES) for word in words]
    start = time.process_time()
    assert near_duplicates([" ".join(words), " ".join(other)]) == [0, int(share == 0.5)]
    assert time.process_time() - start < 2


def test_typicality_of_few_and_of_equal_texts():
    assert typicality(style_figures([])) == []
    assert typicality(style_figures([casual(1)] * 5)) == pytest.approx([1.0] * 5, abs=1e-5)
    assert len(typicality(style_figures(["", "", " ", "?"]))) == 4


def test_the_odd_one_out_is_the_least_typical():
    values = typicality(style_figures([*(casual(n) for n in range(9)), formal(1)]))
    assert min(range(10), key=values.__getitem__) == 9


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hello\n\nBest,\nAnna", "Anna"),
        ("hello\nLG Peter", "Peter"),
        ("hello there\n\nxx m", "m"),
        ("hello\n\nAnna Smith\nHead of Teapots", None),
        ("hello\n\nKind regards,\n\nAnna Smith\nHead of Teapots\n+44 20 7946 0958", "Anna Smith"),
        ("hello\n\nMany thanks and best wishes,\nDr. Bo A. Jones", "Dr. Bo A. Jones"),
        ("hello\nMit freundlichen Grüßen\nÄnne Müller-Lüdenscheidt", "Änne Müller-Lüdenscheidt"),
        ("hello\n\nCheers, Bo!", "Bo"),
        ("hello\n\nAnna", "Anna"),
        ("hello\n\nThanks for all of it", None),
        ("hello\n\nThanks everyone", None),
        ("hello\n\nsee you tomorrow", None),
        ("Best, Anna", None),  # that is all there is of it
        ("", None),
    ],
)
def test_signatures(text, name):
    assert signature_of(text) == name


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Anna", "Anna Smith", True),
        ("A. Smith", "Anna Smith", True),
        ("Annie", "Anna S.", True),
        ("AS", "Anna Smith", True),
        ("m", "Maya Okoro", True),
        ("Bo", "Anna Smith", False),
        ("Anna Jones", "Anna Smith", False),
        ("Dr. Anna Smith", "anna", True),
        ("Zoë", "Zoe Bell", True),
    ],
)
def test_one_person_by_name(one, other, same):
    assert are_one_person(one, other) is same
    assert are_one_person(other, one) is same


def test_other_authors_by_signature_but_not_by_address():
    def signed(number, name, **mail):
        return source(f"{number}", f"{casual(number)}\n\nBest,\n{name}" if name else casual(number), **mail)

    texts = [
        *(signed(n, name) for n, name in enumerate(["Anna", "Anna Smith", "A. Smith", "Anna", "Bo Jones"])),
        signed(9, ""),
    ]
    assert other_authors(texts) == {"4": "signed by somebody else than most"}
    assert other_authors(texts[:2] + texts[4:]) == {}  # two of three are too few to know
    split = [signed(n, name) for n, name in enumerate(["Anna", "Bo"] * 4)]
    assert other_authors(split) == {}
    senders = ["anna@x.org"] * 6 + ["sun@y.org"] * 2
    mails = [signed(n, "Anna" if n < 2 else "", sender=sender) for n, sender in enumerate(senders)]
    own, _ = own_texts(mails, ["anna@x.org", "sun@y.org"])
    assert {one.text.id for one in pick(own, 8).picked} == {mail.id for mail in mails}


def mail_of(draw, number, vocabulary):
    def sentence():
        words = [draw.choice(vocabulary[:60]) if draw.random() < 0.5 else draw.choice(vocabulary) for _ in range(12)]
        return " ".join(words).capitalize() + draw.choice(".!?")

    text = "\n\n".join(" ".join(sentence() for _ in range(4)) for _ in range(draw.randint(1, 4)))
    form = draw.choice(["new", "reply"])
    return source(f"sent#{number}", f"Hi,\n\n{text}\n\nBest,\nAnna", form=form, sender="anna@example.com")


@pytest.mark.slow
def test_ten_thousand_mails():
    draw = random.Random(1)
    vocabulary = ["".join(pair) for pair in itertools.product(["ba", "de", "ki", "lo", "mu", "ra", "se"], repeat=5)]
    draw.shuffle(vocabulary)
    texts = [mail_of(draw, number, vocabulary) for number in range(10_000)]
    start = time.process_time()
    near_duplicates([text.text for text in texts])
    typicality(style_figures([text.text for text in texts]))
    assert time.process_time() - start < 10  # 3 on an idle core
    start = time.process_time()
    assert len(pick(texts, 8).picked) == 8
    seconds = time.process_time() - start
    mebibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{seconds:.1f} s of one core, at most {mebibytes} MiB")
    assert seconds < 30  # 12 on an idle core


def authors(corpus):
    for folder in sorted((BENCHMARKS / corpus).glob("author-*")):
        lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
        texts = [json.loads(line)["completion"] for line in lines]
        yield [part for text in texts for part in split_long(text, 300) if len(part.split()) >= 40]


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="needs the benchmark corpora")
@pytest.mark.parametrize(("corpus", "least"), [("cmcc", 0.87), ("ccat50", 0.93)])
def test_real_authors(corpus, least):
    """Twenty texts of an author (or all there are) and a quarter as many of another: chance picks 80 % of the first."""
    people = list(authors(corpus))
    draw = random.Random(0)
    shares = []
    for number, distance in itertools.product(range(len(people)), (1, 3, 5)):
        own, other = people[number], people[(number + distance) % len(people)]
        own = draw.sample(own, min(20, len(own)))
        texts = [source(f"own{n}", text) for n, text in enumerate(own)]
        texts += [source(f"other{n}", text) for n, text in enumerate(draw.sample(other, len(own) // 4))]
        picked = pick(texts, 5).picked
        shares.append(sum(entry.text.id.startswith("own") for entry in picked) / len(picked))
    share = sum(shares) / len(shares)
    print(f"{corpus}: {share:.0%} of the picked texts are by the author of most")
    assert share >= least
