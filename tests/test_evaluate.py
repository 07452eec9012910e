"""What of an evaluation is checked by hand: chrF of short texts, and what the report says of a few-shot prompt."""

from types import SimpleNamespace

import pytest

from ditto_cli.evaluation.contestants import Contestant
from ditto_cli.evaluation.evaluate import _few_shown, chrf
from ditto_cli.evaluation.judgements import Author
from ditto_cli.types import Demonstration


def test_equal_texts_are_100_and_strangers_0():
    assert chrf([("hello there", "hello there")]) == pytest.approx(100)
    assert chrf([("abc", "xyz")]) == 0.0
    assert chrf([("", "xyz")]) == 0.0


def test_recall_weighs_twice():
    """Orders 1 to 3 of `abc` against `abcd` have precisions 1 and recalls 3/4, 2/3, 1/2; the reference has order 4 too.

    The library averages over the orders that both texts have: precision 1, recall 23/36, and
    F2 = 5 P R / (4 P + R).
    """
    recall = (3 / 4 + 2 / 3 + 1 / 2) / 3
    assert chrf([("abc", "abcd")]) == pytest.approx(100 * 5 * recall / (4 + recall), abs=0.01)
    assert chrf([("abcd", "abc")]) > chrf([("abc", "abcd")])


def test_the_mean_over_pairs():
    assert chrf([("same", "same"), ("abc", "xyz")]) == pytest.approx(50)


def test_the_report_says_that_a_few_shot_prompt_has_not_all_of_the_texts():
    texts = tuple(Demonstration(f"{number}.md", "Write.", "a text") for number in range(3))

    def part(*shots):
        return SimpleNamespace(author=Author(texts, ()), contestants=[Contestant("few-shot", "few-shot", shots=shots)])

    assert _few_shown(part(texts[0])) == ["The few-shot prompt shows 1 of 3 texts: no more fit the base."]
    assert _few_shown(part(*texts)) == []
