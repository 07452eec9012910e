"""Forgetting: the base's own answers, and what another policy thinks of them."""

import math

import pytest
import torch

from conftest import full_logits, shake
from ditto_cli.config import LoraSettings
from ditto_cli.evaluation.forgetting import GeneralAnswer, general_answers, general_prompts, log_loss


@pytest.fixture
def policy(tiny_policy):
    """A base with an adapter that says something else, active."""
    tiny_policy.add_adapter("other", LoraSettings(r=4, alpha=8, targets="all-linear"), seed=0)
    shake(tiny_policy, seed=1)
    return tiny_policy


def test_the_prompts_are_24_different_lines():
    prompts = general_prompts()
    assert len(prompts) == len(set(prompts)) == 24
    assert all(prompt == prompt.strip() and prompt.endswith((".", "?")) for prompt in prompts)


def test_the_answers_are_the_bases_likeliest_tokens_whatever_is_active(policy):
    answers = general_answers(policy, num_prompts=3, max_new_tokens=5)
    assert [answer.prompt_ids for answer in answers] == [policy.chat.prompt_ids(p) for p in general_prompts()[:3]]
    assert policy.active == "other"
    with policy.using(None):
        for answer in answers:
            logits = full_logits(policy, answer.prompt_ids + answer.token_ids)
            likeliest = logits.argmax(dim=1).tolist()[len(answer.prompt_ids) - 1 : -1]
            assert list(answer.token_ids) == likeliest
            assert 1 <= len(answer.token_ids) <= 5


def test_a_uniform_policy_has_the_log_of_its_vocabulary(tiny_policy):
    with torch.no_grad():
        tiny_policy.head().weight_VH.zero_()
    answers = [GeneralAnswer((1, 2), (3, 4, 5)), GeneralAnswer((1,), (6,))]
    assert log_loss(tiny_policy, answers) == pytest.approx(math.log(272), abs=1e-5)


def test_the_mean_is_over_tokens_and_of_the_active_policy(policy):
    answers = [GeneralAnswer((1, 2), (3, 4, 5)), GeneralAnswer((7,), (6,))]

    def by_hand():
        logps = []
        with torch.no_grad():
            for answer in answers:
                logits = torch.log_softmax(full_logits(policy, answer.prompt_ids + answer.token_ids), dim=1)
                start = len(answer.prompt_ids) - 1
                logps += [float(logits[start + i, token]) for i, token in enumerate(answer.token_ids)]
        return -sum(logps) / 4

    with_adapter = log_loss(policy, answers)
    assert with_adapter == pytest.approx(by_hand(), abs=1e-4)
    policy.switch(None)
    base = log_loss(policy, answers)
    assert base == pytest.approx(by_hand(), abs=1e-4)
    assert abs(with_adapter - base) > 0.1


def test_a_shaken_adapter_has_forgotten_and_a_fresh_one_has_not(tiny_policy):
    answers = general_answers(tiny_policy, num_prompts=4, max_new_tokens=8)
    base = log_loss(tiny_policy, answers)
    tiny_policy.add_adapter("fresh", LoraSettings(r=4, alpha=8, targets="all-linear"), seed=0)
    assert log_loss(tiny_policy, answers) == pytest.approx(base, abs=1e-5)  # B starts as 0
    shake(tiny_policy, seed=1)
    assert log_loss(tiny_policy, answers) > base + 0.1  # the answers are the base's likeliest, not this one's
