"""chrF, by hand for texts short enough."""

import pytest

from ditto_cli.evaluation.evaluate import chrf


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
