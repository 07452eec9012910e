"""Measures of texts, by hand, and the held-out loss of a policy whose every probability is known."""

import math

import pytest
import torch

from ditto_cli.evaluation.held_out import held_out_loss
from ditto_cli.evaluation.measures import longest_shared_passage, trigram_cosine
from ditto_cli.model.scoring import score


@pytest.mark.parametrize(
    ("texts", "references", "expected"),
    [
        (["abcd"], ["abcd"], 1.0),
        (["abcd"], ["abce"], 1 / 2),  # {abc, bcd} and {abc, bce}: one of two
        (["aaaa"], ["aaab"], 2 / (2 * math.sqrt(2))),  # {aaa: 2} and {aaa: 1, aab: 1}
        (["abc", "bcd"], ["abcd"], 1.0),  # pooled, and no 3-gram across two texts
        (["ABC"], ["abc"], 0.0),  # case is style
        (["a  \n b"], ["a b"], 1.0),  # white space is not
        (["ab"], ["abc"], 0.0),
        ([], ["abc"], 0.0),
    ],
)
def test_trigram_cosine(texts, references, expected):
    assert trigram_cosine(texts, references) == pytest.approx(expected)
    assert trigram_cosine(references, texts) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "references", "expected"),
    [
        ("The cat sat on the mat.", ["a cat sat on a mat"], 3),  # cat sat on
        ("Cat, SAT on!", ["the cat sat on"], 3),  # case and punctuation do not hide it
        ("one two three", ["two one", "zero one two"], 2),  # the best of several references
        ("one two", ["one x two"], 1),  # a passage has no holes
        ("don't go", ["don't go"], 2),
        ("", ["one"], 0),
        ("one", [""], 0),
        ("one", [], 0),
    ],
)
def test_longest_shared_passage(text, references, expected):
    assert longest_shared_passage(text, references) == expected


def test_held_out_loss_of_a_uniform_policy_is_the_log_of_its_vocabulary(tiny_policy, tiny_demonstrations):
    with torch.no_grad():
        tiny_policy.head().weight_VH.zero_()
    assert held_out_loss(tiny_policy, tiny_demonstrations) == pytest.approx(math.log(272), abs=1e-5)


def test_held_out_loss_weighs_tokens_not_texts(tiny_policy, tiny_demonstrations):
    chat = tiny_policy.chat
    short, long = tiny_demonstrations[0], tiny_demonstrations[1]
    sums, counts = [], []
    for demonstration in (short, long):
        ids = chat.completion_ids(demonstration.completion)
        sums.append(float(score(tiny_policy, chat.prompt_ids(demonstration.prompt), [ids])[0].detach()))
        counts.append(len(ids))
    assert held_out_loss(tiny_policy, [short, long]) == pytest.approx(-sum(sums) / sum(counts), rel=1e-6)
