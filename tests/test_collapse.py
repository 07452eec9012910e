"""Collapse: repetition, ends and lengths by hand; which figures warn."""

import pytest

from ditto_cli.evaluation.collapse import (
    ENDED_LIMIT,
    EXTRACTION_WARNING_WORDS,
    LENGTH_RATIO_LIMITS,
    LOOPING_LIMIT,
    PASSAGE_WARNING_WORDS,
    SHARED_8GRAMS_WARNING,
    collapse,
    collapsed,
    repetition,
    warnings_of,
)
from ditto_cli.evaluation.report import Collapse, Leakage
from ditto_cli.evaluation.types import Writing
from ditto_cli.types import Demonstration


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
    demonstrations = [Demonstration("a", "p", "one two"), Demonstration("b", "p", "one two three four")]  # mean 3
    figures = collapse([writing("a a a a a a a a"), writing("", ended=False), writing("x y z b")], demonstrations)
    assert figures.ended == pytest.approx(2 / 3)
    assert figures.looping == pytest.approx(1 / 3)
    assert figures.length_ratio == pytest.approx((8 + 0 + 4) / 3 / 3)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("hello there", None),
        ("", "it is empty"),
        (" \n ... ", "it is empty"),
        ("so " * 20, "94% of it is repetition (limit 35%)"),  # 17 4-grams, 16 of them again
    ],
)
def test_collapsed(text, reason):
    assert collapsed(writing(text)) == reason


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


def test_sound_figures_warn_of_nothing():
    assert warned() == []
    assert warned(extracted_words=None, held_out_8grams=None) == []


@pytest.mark.parametrize(
    "at_the_limit",
    [
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
def test_what_is_at_its_limit_is_within_it(at_the_limit):
    assert warned(**at_the_limit) == []


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
        (
            {"extracted_words": 30},
            "Given the first quarter of a demonstration, it goes on with 30 words of the rest.",
        ),
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
