"""Sampling: the model's own distribution, independent of company and slots, and stopped by the end token."""

from dataclasses import replace

import pytest
import torch

from conftest import full_logits, shake
from ditto_cli.config import LoraSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.model.fast import graph, slots
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.seeds import derive_seed
from ditto_cli.types import SampleRequest

PROMPTS = ["Hi", "Write an email to Bo about tea at four.", "No.", "Thank Al for the book, please."]


@pytest.fixture(params=["auto", "graph", "plain"])
def policy(tiny_policy, request, monkeypatch):
    """Every test runs at every speed; on a CPU the steps of a graph, which is a GPU's, go without one."""
    monkeypatch.setattr(slots, "_steps_are_fixed", lambda policy, longest: request.param == "graph")
    monkeypatch.setattr(graph, "ROOM_TOKENS", 5)
    tiny_policy.speed = request.param
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0), seed=1)
    shake(tiny_policy, seed=2, scale=0.1)
    return tiny_policy


def requests_for(policy, num_each):
    return [
        SampleRequest(policy.chat.prompt_ids(prompt), derive_seed(0, prompt, index))
        for index in range(num_each)
        for prompt in PROMPTS
    ]


def stopping_at(policy, token_ids):
    policy.chat = replace(policy.chat, stop_token_ids=frozenset(token_ids))
    return policy


# ~40 of 272 tokens end a text here, so that slots are freed and refilled at many different times.
OFTEN = range(0, 272, 7)


def test_a_request_gives_the_same_tokens_with_any_number_of_slots(policy):
    stopping_at(policy, OFTEN)
    requests = requests_for(policy, 3)
    alone = [sample(policy, [request], max_new_tokens=12, temperature=1.0)[0] for request in requests]
    assert len({answer.token_ids for answer in alone}) == len(requests)  # other seeds, other texts
    assert {answer.ended for answer in alone} == {True, False}
    # A number drawn within 1e-6 of a boundary between two tokens could fall on either side: 12 requests of 12 tokens
    # make that a chance of 3e-4, and the seeds are fixed.
    for max_slots in (1, 2, 5, 64):
        assert sample(policy, requests, max_new_tokens=12, temperature=1.0, max_slots=max_slots) == alone


def test_a_request_gives_the_same_tokens_in_any_company(policy):
    requests = requests_for(policy, 3)
    together = sample(policy, requests, max_new_tokens=12, temperature=1.0)
    assert sample(policy, requests[::-1], max_new_tokens=12, temperature=1.0) == together[::-1]
    assert sample(policy, requests[4:6], max_new_tokens=12, temperature=1.0) == together[4:6]
    assert sample(policy, requests, max_new_tokens=12, temperature=1.0) == together


def test_a_longer_limit_only_goes_on(policy):
    requests = requests_for(policy, 2)
    short = sample(policy, requests, max_new_tokens=5, temperature=1.0)
    long = sample(policy, requests, max_new_tokens=9, temperature=1.0)
    assert [answer.token_ids for answer in short] == [answer.token_ids[:5] for answer in long]


def test_a_request_has_a_limit_of_its_own_below_that_of_all(policy):
    free = requests_for(policy, 1)[:3]
    limited = [replace(free[0], max_new_tokens=2), replace(free[1], max_new_tokens=99), free[2]]
    ours, theirs = (sample(policy, which, max_new_tokens=5, temperature=1.0) for which in (free, limited))
    assert len(theirs[0].token_ids) <= 2
    assert theirs[0].token_ids == ours[0].token_ids[:2]
    assert theirs[1:] == ours[1:]


def test_the_seed_decides(policy):
    ids = policy.chat.prompt_ids("Hi")
    one, other, again = sample(
        policy, [SampleRequest(ids, seed) for seed in (1, 2, 1)], max_new_tokens=12, temperature=1.0
    )
    # False alarm for the second: 12 draws that agree by chance, each with a probability far below one half, < 3e-4.
    assert one == again
    assert one != other


@pytest.mark.parametrize("max_slots", [64, 2])
def test_greedy_sampling_is_transformers_generate(policy, max_slots):
    stopping_at(policy, range(0, 272, 3))
    requests = requests_for(policy, 1)
    ours = sample(policy, requests, max_new_tokens=16, temperature=0, max_slots=max_slots)
    for request, answer in zip(requests, ours, strict=True):
        ids = torch.tensor([request.prompt_ids])
        expected = policy.model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=16,
            eos_token_id=sorted(policy.chat.stop_token_ids),
        )[0, ids.shape[1] :]
        assert answer.token_ids == tuple(expected.tolist())
    assert len({len(answer.token_ids) for answer in ours}) > 1  # sequences of several lengths in one batch


def test_a_text_ends_with_the_first_stop_token_or_at_the_limit(policy):
    stopping_at(policy, OFTEN)
    answers = sample(policy, requests_for(policy, 8), max_new_tokens=6, temperature=1.0)
    assert {answer.ended for answer in answers} == {True, False}
    for answer in answers:
        stops = [token in policy.chat.stop_token_ids for token in answer.token_ids]
        assert not any(stops[:-1])
        assert stops[-1] == answer.ended
        assert answer.ended or len(answer.token_ids) == 6


def test_an_end_token_at_the_limit_itself_still_ends_the_text(policy):
    stopping_at(policy, range(272))
    answers = sample(policy, requests_for(policy, 1), max_new_tokens=1, temperature=1.0)
    assert all(answer.ended and len(answer.token_ids) == 1 for answer in answers)


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_first_tokens_follow_the_models_own_distribution(policy, temperature):
    ids, num = policy.chat.prompt_ids("Hi"), 3000
    with torch.no_grad():
        probabilities = torch.softmax(full_logits(policy, ids)[-1].double() / temperature, dim=0)
    answers = sample(
        policy, [SampleRequest(ids, derive_seed(5, i)) for i in range(num)], max_new_tokens=1, temperature=temperature
    )
    counts = torch.bincount(torch.tensor([answer.token_ids[0] for answer in answers]), minlength=272).double()
    often = probabilities * num >= 5  # the rare tokens are pooled: chi-square wants five expected in each cell
    expected = torch.cat([probabilities[often], probabilities[~often].sum(0, keepdim=True)]) * num
    seen = torch.cat([counts[often], counts[~often].sum(0, keepdim=True)])
    chi_square = ((seen - expected) ** 2 / expected).sum()
    freedom = torch.tensor((len(expected) - 1) / 2, dtype=torch.float64)
    assert len(expected) > 20
    # False alarm 1e-3 over all seeds; with this fixed seed it passes or fails for good. Tried: top-k 50 is
    # found at temperature 1, and a temperature that is off by a tenth at 0.5.
    assert torch.special.gammaincc(freedom, chi_square / 2) > 1e-3


def test_requests_of_several_temperatures_share_a_batch(policy):
    requests = requests_for(stopping_at(policy, OFTEN), 2)
    temperatures = [0.0, 1.0, 0.6] * (len(requests) // 3 + 1)
    own = [replace(request, temperature=t) for request, t in zip(requests, temperatures, strict=False)]
    together = sample(policy, own, max_new_tokens=12, temperature=5.0)
    for temperature in set(temperatures):
        alone = [request for request in own if request.temperature == temperature]
        plain = [replace(request, temperature=None) for request in alone]
        expected = sample(policy, plain, max_new_tokens=12, temperature=temperature)
        found = [tokens for tokens, request in zip(together, own, strict=True) if request in alone]
        assert found == expected
    assert len({tokens.token_ids for tokens in together}) > 3


@pytest.mark.parametrize("temperature", [1.0, 0.7, 0])
def test_scores_of_sampled_tokens_are_the_samplers_own_log_probabilities(policy, temperature):
    """Sampling works with a cache and left padding, scoring with packed rows: both see the same policy."""
    stopping_at(policy, OFTEN)
    requests = requests_for(policy, 3)
    answers = sample(policy, requests, max_new_tokens=20, temperature=temperature, max_slots=5)
    for request, answer in zip(requests, answers, strict=True):
        with torch.no_grad():
            scored = float(score(policy, request.prompt_ids, [answer.token_ids])[0])
        assert answer.logp == pytest.approx(scored, abs=1e-4)


def test_what_prompts_share_is_read_once(policy, monkeypatch):
    if policy.speed == "plain":
        pytest.skip("the library reads the rows of a batch each by itself")
    shapes = []
    hidden = policy.hidden
    monkeypatch.setattr(policy, "hidden", lambda ids, *rest: shapes.append(tuple(ids.shape)) or hidden(ids, *rest))
    sample(stopping_at(policy, ()), requests_for(policy, 10), max_new_tokens=3, temperature=1.0)
    prompts = [policy.chat.prompt_ids(prompt) for prompt in PROMPTS]
    shared = next(place for place, tokens in enumerate(zip(*prompts, strict=False)) if len(set(tokens)) > 1)
    assert shared > 0
    assert shapes == [(1, shared), (4, max(map(len, prompts)) - shared), (40, 1), (40, 1)]


def test_progress_counts_up_to_all(policy):
    seen = []
    stopping_at(policy, OFTEN)
    sample(policy, requests_for(policy, 3), max_new_tokens=9, temperature=1.0, max_slots=4, on_finished=seen.append)
    assert seen == sorted(set(seen))
    assert seen[-1] == 12


def test_sampling_leaves_training_as_it_was(policy):
    policy.model.train()
    sample(policy, requests_for(policy, 1), max_new_tokens=2, temperature=1.0)
    assert policy.model.training
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in policy.parameters())


def test_logits_that_are_not_finite_are_refused(policy):
    with torch.no_grad():
        policy.parameters()[0].fill_(float("nan"))
    with pytest.raises(NonFiniteError, match="adapter or the base is damaged"):
        sample(policy, requests_for(policy, 1), max_new_tokens=2, temperature=1.0)


def test_fixed_steps_keep_idle_rows_until_half_of_them_are_finished(policy, monkeypatch):
    if policy.speed != "graph":
        pytest.skip("a cache drops a row at once")
    made, rows = [], []
    real = graph.FixedSteps

    class Counted(real):
        def __init__(self, *arguments):
            made.append(arguments[2].shape[0])
            super().__init__(*arguments)

        def advance(self, newest):
            rows.append(len(newest))
            return super().advance(newest)

    monkeypatch.setattr(slots, "FixedSteps", Counted)
    monkeypatch.setattr(graph, "ROOM_TOKENS", 30)
    requests = [
        SampleRequest(policy.chat.prompt_ids("Hi"), seed, max_new_tokens=limit)
        for seed, limit in enumerate((3, 5, 7, 9, 11, 13))
    ]
    stopping_at(policy, ())
    answers = sample(policy, requests, max_new_tokens=13, temperature=1.0)
    assert [len(answer.token_ids) for answer in answers] == [3, 5, 7, 9, 11, 13]
    assert made == [6, 2]  # four of six are finished after nine tokens
    assert rows == [6] * 8 + [2] * 4


def test_a_row_that_leaves_takes_its_buffers_along():
    layer = slots._Layer()
    states = torch.randn(3, 2, 5, 4)
    layer.update(states, states)
    newest = torch.randn(3, 2, 1, 4)
    layer.update(newest, newest)
    assert layer._buffers
    layer.batch_select_indices(torch.tensor([0, 2]))
    assert layer._buffers == ()
    keys, values = layer.update(newest[:2], newest[:2])
    expected = torch.cat([states[[0, 2]], newest[[0, 2]], newest[:2]], dim=2)
    assert torch.equal(keys, expected)
    assert torch.equal(values, expected)
