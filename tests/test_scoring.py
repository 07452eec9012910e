"""Scoring a group in one packed row equals scoring each sequence alone with the model's own logits."""

from types import SimpleNamespace

import pytest
import torch

from conftest import full_logits, shake
from ditto_cli.config import LoraSettings
from ditto_cli.model.policy import scoring
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import score, score_row

PROMPT = (256, 84, 82, 68, 81, 198)
COMPLETIONS = [(10, 20, 30, 257), (40,), (10, 20, 31, 41, 51, 61, 71), (257,), (10, 20, 30, 257)]


def plain_score(policy, prompt, completion):
    """One unpadded sequence, full logits, all by the library."""
    logps = torch.log_softmax(full_logits(policy, [*prompt, *completion]), dim=-1)
    return sum(logps[len(prompt) + i - 1, token] for i, token in enumerate(completion))


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0), seed=1)
    shake(tiny_policy, seed=2)
    return tiny_policy


def test_score_equals_one_plain_forward_for_each_sequence(policy):
    expected = torch.stack([plain_score(policy, PROMPT, completion) for completion in COMPLETIONS])
    scores = score(policy, PROMPT, COMPLETIONS)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-6)


def test_score_does_not_depend_on_what_stands_beside_it(policy):
    together = score(policy, PROMPT, COMPLETIONS)
    alone = torch.cat([score(policy, PROMPT, [completion]) for completion in COMPLETIONS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-6)
    assert together[0].item() == pytest.approx(together[4].item(), abs=1e-5)  # equal completions, other neighbours


def test_score_after_a_prompt_of_one_token(policy):
    torch.testing.assert_close(
        score(policy, (256,), [(9, 8)]), plain_score(policy, (256,), (9, 8))[None], atol=1e-5, rtol=1e-6
    )


@pytest.mark.parametrize("takes_groups", [True, False])
def test_groups_of_a_row_do_not_see_each_other(policy, monkeypatch, takes_groups):
    """The same scores and gradients as of each group by itself, in one row or not, whatever stands before it."""
    monkeypatch.setattr(Policy, "takes_groups", takes_groups)
    shake(policy, seed=2, scale=0.1)
    groups = [(PROMPT, COMPLETIONS[:2]), ((256,), [3 * COMPLETIONS[2], (9, 8)]), (PROMPT[:4], COMPLETIONS[2:])]
    weights = torch.arange(1.0, 8.0)

    def scores_and_gradient(scores):
        (scores * weights).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
        for parameter in policy.parameters():
            parameter.grad = None
        return scores.detach(), gradient

    together, gradient = scores_and_gradient(score_row(policy, groups))
    apart, expected = scores_and_gradient(torch.cat([score(policy, *group) for group in groups]))
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(gradient, expected, atol=1e-5 * float(expected.abs().max()), rtol=1e-5)
    plain = torch.stack([plain_score(policy, prompt, one) for prompt, completions in groups for one in completions])
    torch.testing.assert_close(together, plain.detach(), atol=1e-5, rtol=1e-6)


def test_chunks_change_neither_scores_nor_gradients(policy, monkeypatch):
    def scores_and_gradient():
        scores = score(policy, PROMPT, COMPLETIONS)
        (scores * torch.arange(1.0, 6.0)).sum().backward()
        gradient = [parameter.grad.clone() for parameter in policy.parameters()]
        for parameter in policy.parameters():
            parameter.grad = None
        return scores.detach(), gradient

    shake(policy, seed=2, scale=0.1)
    whole, gradient = scores_and_gradient()
    monkeypatch.setattr(scoring, "_CHUNK_BYTES_ON_CPU", 3 * 4 * 272)  # 17 completion tokens, three at a time
    head = type(policy.head())
    rows, logits = [], head.logits
    monkeypatch.setattr(head, "logits", lambda self, hidden: rows.append(len(hidden)) or logits(self, hidden))
    chunked, chunked_gradient = scores_and_gradient()
    assert max(rows) == 3
    assert len(rows) == 6  # and no chunk again in the backward pass
    torch.testing.assert_close(chunked, whole, atol=1e-5, rtol=1e-6)
    assert all(g.abs().max() > 0 for g in gradient)
    for one, other in zip(chunked_gradient, gradient, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5 * float(other.abs().max()), rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(score(policy, PROMPT, COMPLETIONS), whole, atol=1e-5, rtol=1e-6)


def test_logit_scaling_of_a_family_is_part_of_the_score(policy):
    plain = policy.head()
    hidden = torch.randn(2, 32, generator=torch.Generator().manual_seed(0))
    logits = torch.nn.functional.linear(hidden, plain.linear.weight)
    config = policy.model.config
    config.logit_scale = 0.25  # Cohere multiplies
    torch.testing.assert_close(policy.head().logits(hidden), logits / 4)
    config.logit_scale, config.logits_scaling = None, 8.0  # Granite divides
    torch.testing.assert_close(policy.head().logits(hidden), logits / 8)
    config.logits_scaling, config.final_logit_softcapping = None, 2.0  # Gemma 2 caps
    torch.testing.assert_close(policy.head().logits(hidden), 2 * torch.tanh(logits / 2))


def test_the_gradient_is_the_same_bits_every_time_with_several_threads():
    """With the plain index, 55 of 60 such gradients differed in their last bits."""
    completions = [tuple(range(first, first + 60)) for first in range(10)]
    states = torch.randn(1, 40 + 600, 576, generator=torch.Generator().manual_seed(0)).requires_grad_()
    linear = torch.nn.Linear(576, 70, bias=False).requires_grad_(False)
    linear.weight.data = torch.randn(70, 576, generator=torch.Generator().manual_seed(1))
    head = SimpleNamespace(linear=linear, logits=lambda hidden: hidden @ linear.weight.T)
    policy = SimpleNamespace(
        hardware=SimpleNamespace(device=torch.device("cpu"), is_cuda=False),
        model=torch.nn.Module(),
        has_slots=True,
        takes_groups=True,
        sees_all=lambda num_tokens: True,
        hidden=lambda *_, **__: states,
        head=lambda: head,
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        gradients = []
        for _ in range(20):
            states.grad = None
            score(policy, range(40), completions).sum().backward()
            gradients.append(states.grad)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, gradients[0]) for one in gradients)


def test_a_group_attends_as_under_its_mask(policy, monkeypatch):
    """Text by text, or all pairs under the mask: the same scores and gradients."""
    seen = []
    attend = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional, "scaled_dot_product_attention", lambda *a, **k: seen.append(1) or attend(*a, **k)
    )

    def scores_and_gradient():
        scores = score(policy, PROMPT, [3 * completion for completion in COMPLETIONS])
        (scores * torch.arange(1.0, 6.0)).sum().backward()
        gradient = torch.cat([parameter.grad.flatten() for parameter in policy.parameters()])
        for parameter in policy.parameters():
            parameter.grad = None
        return scores.detach(), gradient

    shake(policy, seed=2, scale=0.1)
    scores, gradient = scores_and_gradient()
    assert len(seen) == 2 * (1 + len(COMPLETIONS))  # layers, the prompt and each text
    seen.clear()
    monkeypatch.setattr(Policy, "takes_groups", False)  # as with a model that hands no keywords on
    masked, masked_gradient = scores_and_gradient()
    assert len(seen) == 2
    torch.testing.assert_close(scores, masked, atol=1e-5, rtol=1e-6)
    torch.testing.assert_close(gradient, masked_gradient, atol=1e-5 * float(gradient.abs().max()), rtol=1e-5)


def test_a_head_with_an_adapter_is_trained_through_its_logits(tiny_policy, monkeypatch):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0, targets=("lm_head",)), seed=1)
    shake(tiny_policy, seed=2)
    expected = torch.stack([plain_score(tiny_policy, PROMPT, completion) for completion in COMPLETIONS])
    scores = score(tiny_policy, PROMPT, COMPLETIONS)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-6)
    scores.sum().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in tiny_policy.parameters())


def test_a_sliding_window_is_kept(tmp_path):
    """A base whose layers look back at most 16 tokens scores as the library does, below that length and above."""
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    from conftest import load_tiny, save_tiny_base

    save_tiny_base(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    config = MistralConfig(
        **{"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4},
        **{"num_key_value_heads": 2, "vocab_size": 272, "sliding_window": 16, "initializer_range": 0.2},
        **{"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "max_position_embeddings": 512},
    )
    torch.manual_seed(0)
    MistralForCausalLM(config).save_pretrained(tmp_path)
    policy = load_tiny(tmp_path)
    assert policy.window == 16
    policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0), seed=1)
    shake(policy, seed=2)
    for completions in (COMPLETIONS, [tuple(range(40, 80)), (10, 20)]):
        expected = torch.stack([plain_score(policy, PROMPT, completion) for completion in completions])
        torch.testing.assert_close(score(policy, PROMPT, completions), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("num_prompt", [1, 6, 40])
def test_no_pairs_are_attended_that_see_nothing(policy, monkeypatch, num_prompt):
    seen = []
    real = torch.nn.functional.scaled_dot_product_attention

    def counted(query, key, *rest, **options):
        seen.append(query.shape[2] * key.shape[2])
        return real(query, key, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)
    groups = [(PROMPT[:1] * num_prompt, COMPLETIONS), (PROMPT, COMPLETIONS[:1])]
    score_row(policy, groups)
    pairs = sum(
        len(prompt) ** 2 + sum(len(one) * (len(prompt) + len(one)) for one in completions)
        for prompt, completions in groups
    )
    assert sum(seen) == 2 * pairs  # layers
