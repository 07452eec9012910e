"""One DPO update: the same losses and weights as TRL's DPOTrainer, and the exact gradient however it is grouped."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from conftest import full_logits, shake
from ditto_cli.config import DpoSettings, LoraSettings, RoundSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.method import updates
from ditto_cli.method.updates import (
    DpoTerms,
    Updater,
    accumulate_gradient,
    dpo_terms,
    micro_batches,
    score_under_reference,
)
from ditto_cli.model.policy import scoring
from ditto_cli.types import Comparison, ComparisonKind, Completion
from trl_oracle import trl_dpo

ONLINE, REPLAY, INTER_MODEL = ComparisonKind.ONLINE, ComparisonKind.REPLAY, ComparisonKind.INTER_MODEL
PROMPTS = {"a.md": "Invite Bo.", "b.md": "Write to the whole team about Friday."}
TEXTS = {
    ("a.md", None, 0): "hi bo - tea at 4? x",
    ("a.md", 0, 0): "Dear Bo,",
    ("a.md", 0, 1): "I am writing to you",
    ("a.md", 1, 0): "hi Bo",
    ("b.md", None, 0): "folks. friday. cake!",
    ("b.md", 0, 0): "?",
    ("b.md", 1, 0): "Hello team, on Friday we",
}
PAIRS = [  # kind, chosen, rejected: both demonstrations are chosen more than once, one rejected side is chosen too
    (ONLINE, ("a.md", None, 0), ("a.md", 1, 0)),
    (REPLAY, ("a.md", None, 0), ("a.md", 0, 1)),
    (INTER_MODEL, ("a.md", 1, 0), ("a.md", 0, 0)),
    (ONLINE, ("b.md", None, 0), ("b.md", 1, 0)),
    (REPLAY, ("b.md", None, 0), ("b.md", 0, 0)),
]
SETTINGS = DpoSettings(beta=0.05, learning_rate=3e-3, warmup_ratio=0.0)
LORA = LoraSettings(r=4, alpha=8, dropout=0.0)


def test_dpo_terms_by_hand():
    terms = dpo_terms(
        torch.tensor([-10.0, -30.0, -5.0]),
        torch.tensor([-20.0, -28.0, -7.0]),
        torch.tensor([-12.0, -30.0, -4.0]),
        torch.tensor([-15.0, -28.0, -9.0]),
        beta=0.1,
    )
    # beta * (logp - ref_logp)
    torch.testing.assert_close(terms.chosen_rewards_P, torch.tensor([0.2, 0.0, -0.1]))
    torch.testing.assert_close(terms.rejected_rewards_P, torch.tensor([-0.5, 0.0, 0.2]))
    expected = [
        math.log(1 + math.exp(-0.7)),  # margin 0.2 - -0.5: preferred as wished
        math.log(2),  # the policy is still the reference
        math.log(1 + math.exp(0.3)),  # margin -0.1 - 0.2: preferred the wrong way
    ]
    torch.testing.assert_close(terms.losses_P, torch.tensor(expected))


def test_gradient_by_hand():
    chosen = torch.tensor([-10.0], requires_grad=True)
    rejected = torch.tensor([-20.0], requires_grad=True)
    terms = dpo_terms(chosen, rejected, torch.tensor([-12.0]), torch.tensor([-15.0]), beta=0.05)
    terms.losses_P.sum().backward()
    # d/dm -log sigmoid(m) = -sigmoid(-m), with margin m = 0.05 * (2 + 5) = 0.35, and dm/dlogp = +-0.05
    slope = 0.05 / (1 + math.exp(0.35))
    assert chosen.grad.item() == pytest.approx(-slope, rel=1e-6)
    assert rejected.grad.item() == pytest.approx(slope, rel=1e-6)
    assert not terms.chosen_rewards_P.requires_grad
    assert not terms.rejected_rewards_P.requires_grad


def test_a_margin_far_out_neither_overflows_nor_becomes_nan():
    # A naive -log(sigmoid(m)) is infinite at m = -200.
    terms = dpo_terms(
        torch.tensor([-2000.0, 0.0]), torch.tensor([0.0, -2000.0]), torch.zeros(2), torch.zeros(2), beta=0.1
    )
    assert terms.losses_P.tolist() == pytest.approx([200.0, 0.0])


@pytest.fixture
def prompts(tiny_policy):
    return {name: tiny_policy.chat.prompt_ids(text) for name, text in PROMPTS.items()}


@pytest.fixture
def policy(tiny_policy):
    """A reference, and a policy that has moved away from it."""
    tiny_policy.add_adapter("policy", LORA, seed=1)
    shake(tiny_policy, seed=2)
    tiny_policy.copy_adapter("policy", "reference")
    shake(tiny_policy, seed=3)
    tiny_policy.switch("policy", trainable=True)
    return tiny_policy


@pytest.fixture
def comparisons(policy, prompts):
    """PAIRS, their sides scored under the reference."""
    sides = [
        Completion(name, number, index, policy.chat.completion_ids(text), True, math.nan)
        for (name, number, index), text in TEXTS.items()
    ]
    scored = {
        (c.demonstration_id, c.round, c.index): c for c in score_under_reference(policy, sides, prompts, max_tokens=99)
    }
    return [Comparison(kind, scored[chosen], scored[rejected]) for kind, chosen, rejected in PAIRS]


def test_losses_and_metrics_of_several_steps_are_those_of_trls_dpo_trainer(
    policy, comparisons, prompts, tiny_folder, tmp_path
):
    rows = [(PROMPTS[chosen[0]], TEXTS[chosen], TEXTS[rejected]) for _, chosen, rejected in PAIRS]
    logs, trl_weights = trl_dpo(policy, rows, SETTINGS, tiny_folder, tmp_path, num_steps=5)
    updater = Updater(policy, SETTINGS, RoundSettings(num=1, steps=5), seed=0)
    ours = [updater.update(comparisons, prompts, round_number=0, step=step).values for step in range(5)]
    assert abs(ours[0]["loss"] - math.log(2)) > 0.01  # the policy is not the reference
    assert ours[4]["loss"] < ours[0]["loss"] - 0.05  # and it moves
    for step in range(5):
        for name in ("loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"):
            assert ours[step][name] == pytest.approx(logs[step][name], abs=1e-5), (step, name)
        assert ours[step]["grad_norm"] == pytest.approx(logs[step]["grad_norm"], rel=1e-4)
        assert ours[step]["learning_rate"] == logs[step]["learning_rate"]
    our_weights = dict(policy.model.named_parameters())
    for key, value in trl_weights.items():
        torch.testing.assert_close(our_weights[key.replace(".default.", ".policy.")].detach(), value, atol=2e-5, rtol=0)


def gradient_of(policy, run):
    for parameter in policy.parameters():
        parameter.grad = None
    terms = run()
    return terms, [parameter.grad.clone() for parameter in policy.parameters()]


def pair_by_pair(policy, comparisons, prompts, settings=SETTINGS):
    """The mean loss with every side of every pair scored alone by a plain forward pass of the library."""
    losses = []
    for comparison in comparisons:
        ratios, imitation = [], 0.0
        for side in (comparison.chosen, comparison.rejected):
            prompt = prompts[side.demonstration_id]
            logps = torch.log_softmax(full_logits(policy, [*prompt, *side.token_ids]), dim=-1)
            own = sum(logps[len(prompt) + i - 1, token] for i, token in enumerate(side.token_ids))
            ratios.append((own - side.reference_logp) / (len(side.token_ids) if settings.per_token else 1))
            if side.round is None:
                imitation = imitation - own / len(side.token_ids)
        loss = -torch.nn.functional.logsigmoid(settings.beta * (ratios[0] - ratios[1]))
        losses.append(loss + settings.sft_weight * imitation)
    torch.stack(losses).mean().backward()
    return torch.stack(losses).detach()


# all groups in one row; each in its own; one of them split; every pair by itself
@pytest.mark.parametrize("max_tokens", [4096, 120, 90, 1])
def test_grouped_gradient_is_the_pair_by_pair_gradient(policy, comparisons, prompts, max_tokens):
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": max_tokens})
    sizes = [len(batch) for batch in micro_batches(comparisons, prompts, max_tokens)]
    assert sizes == {4096: [5], 120: [3, 2], 90: [3, 1, 1], 1: [1] * 5}[max_tokens]
    expected, expected_gradient = gradient_of(policy, lambda: pair_by_pair(policy, comparisons, prompts))
    terms, gradient = gradient_of(policy, lambda: accumulate_gradient(policy, comparisons, prompts, settings))
    torch.testing.assert_close(terms.losses_P, expected, atol=1e-6, rtol=0)
    assert all(g.abs().max() > 1e-5 for g in expected_gradient)
    for one, other in zip(gradient, expected_gradient, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=0)
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.parametrize("change", [{"per_token": True, "beta": 2.0}, {"sft_weight": 0.3}], ids=str)
def test_variants_of_the_loss_have_the_gradient_of_their_formula(policy, comparisons, prompts, change):
    settings = SETTINGS.model_copy(update=change)
    expected, expected_gradient = gradient_of(policy, lambda: pair_by_pair(policy, comparisons, prompts, settings))
    terms, gradient = gradient_of(policy, lambda: accumulate_gradient(policy, comparisons, prompts, settings))
    torch.testing.assert_close(terms.losses_P, expected, atol=1e-6, rtol=0)
    for one, other in zip(gradient, expected_gradient, strict=True):
        torch.testing.assert_close(one, other, atol=max(1e-6, 5e-5 * float(other.abs().max())), rtol=0)


def test_micro_batches_keep_to_the_token_limit_and_split_no_demonstration_without_need(comparisons, prompts):
    def tokens(batch):
        sides = {(s.demonstration_id, s.round, s.index): s for c in batch for s in (c.chosen, c.rejected)}
        return sum(len(prompts[name]) for name in {name for name, *_ in sides}) + sum(
            len(s.token_ids) for s in sides.values()
        )

    names = list(dict.fromkeys(c.chosen.demonstration_id for c in comparisons))
    groups = {name: [c for c in comparisons if c.chosen.demonstration_id == name] for name in names}
    numbers = set()
    for limit in range(1, 250):
        batches = list(micro_batches(comparisons, prompts, limit))
        numbers.add(len(batches))
        assert [c for batch in batches for c in batch] == comparisons
        assert all(len(batch) == 1 or tokens(batch) <= limit for batch in batches)
        for group in groups.values():
            if tokens(group) <= limit:
                assert sum(any(c in batch for c in group) for batch in batches) == 1
    assert {1, 2, 3, 5} <= numbers


def test_a_sequence_is_scored_once_however_many_pairs_name_it(policy, comparisons, prompts, monkeypatch):
    rows = []
    score_row = scoring.score_row
    monkeypatch.setattr(
        scoring,
        "score_row",
        lambda policy, groups: rows.append([len(ids) for _, ids in groups]) or score_row(policy, groups),
    )
    accumulate_gradient(policy, comparisons, prompts, SETTINGS)
    assert rows == [[4, 3]]  # instead of 6 and 4 sides


def test_metrics_by_hand(policy, comparisons, prompts):
    metrics = Updater(policy, SETTINGS, RoundSettings(num=1, steps=1), seed=0).update(
        comparisons, prompts, round_number=1, step=0
    )
    assert (metrics.round, metrics.step) == (1, 0)
    assert metrics.kinds == Counter({ONLINE: 2, REPLAY: 2, INTER_MODEL: 1})
    values = metrics.values
    assert values["rewards/margins"] == pytest.approx(values["rewards/chosen"] - values["rewards/rejected"], abs=1e-6)


def test_learning_rate_rises_over_the_warm_up_of_all_rounds_and_stays(policy, comparisons, prompts):
    # 4 rounds of 2 steps, a quarter of 8 steps is warm-up: 1/3, 2/3, then the full rate through all rounds.
    settings = SETTINGS.model_copy(update={"warmup_ratio": 0.25, "learning_rate": 3e-6})
    updater = Updater(policy, settings, RoundSettings(num=4, steps=2), seed=0)
    rates = [
        updater.update(comparisons, prompts, round_number=step // 2, step=step % 2).values["learning_rate"]
        for step in range(8)
    ]
    assert rates == pytest.approx([1e-6, 2e-6, *[3e-6] * 6])


def test_at_the_papers_learning_rate_no_update_rounds_away(policy, comparisons, prompts):
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    settings = SETTINGS.model_copy(update={"learning_rate": 1e-6})
    Updater(policy, settings, RoundSettings(num=1, steps=1), seed=0).update(
        comparisons, prompts, round_number=0, step=0
    )
    for old, new in zip(before, policy.parameters(), strict=True):
        assert new.dtype == torch.float32
        # AdamW's first step is the learning rate in each element that has a gradient.
        assert ((new - old).abs() > 0.5e-6).float().mean() > 0.95


def broken_loss(monkeypatch):
    terms = updates.dpo_terms

    def infinite(*args, **options):
        good = terms(*args, **options)
        return DpoTerms(good.losses_P * math.inf, good.chosen_rewards_P, good.rejected_rewards_P)

    monkeypatch.setattr(updates, "dpo_terms", infinite)


def broken_score(monkeypatch):
    score_row = scoring.score_row
    monkeypatch.setattr(scoring, "score_row", lambda *args: score_row(*args) * math.nan)


@pytest.mark.parametrize("break_it", [broken_loss, broken_score])
def test_a_loss_that_is_not_finite_is_refused_before_the_step(policy, comparisons, prompts, monkeypatch, break_it):
    updater = Updater(policy, SETTINGS, RoundSettings(num=1, steps=1), seed=0)
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    break_it(monkeypatch)
    with pytest.raises(NonFiniteError, match=r"round 3, update 1: lower dpo\.learning_rate"):
        updater.update(comparisons, prompts, round_number=2, step=0)
    for old, new in zip(before, policy.parameters(), strict=True):
        assert torch.equal(old, new)


def test_a_gradient_that_is_not_finite_is_refused_too(policy, comparisons, prompts):
    updater = Updater(policy, SETTINGS, RoundSettings(num=1, steps=1), seed=0)
    before = [parameter.detach().clone() for parameter in policy.parameters()]
    first = policy.parameters()[0]
    hook = first.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(NonFiniteError):
        updater.update(comparisons, prompts, round_number=0, step=0)
    hook.remove()
    assert all(torch.equal(old, new) for old, new in zip(before, policy.parameters(), strict=True))


def test_two_completions_of_equal_text_stay_two_rows(policy, comparisons, prompts):
    """Sampling may give the same text twice; each keeps its own place in the loss."""
    first = comparisons[0]
    twin = Comparison(ONLINE, first.chosen, replace(first.rejected, index=7))
    terms, _ = gradient_of(policy, lambda: accumulate_gradient(policy, [first, twin], prompts, SETTINGS))
    assert terms.losses_P[0].item() == pytest.approx(terms.losses_P[1].item(), abs=1e-6)


def moved(policy, updater, comparisons, prompts, steps):
    """The policy's weights after some updates, each in its place of the run: two updates a round."""
    for step in steps:
        torch.manual_seed(step + 99)  # whatever others drew before must not matter
        updater.update(comparisons, prompts, round_number=step // 2, step=step % 2)
    return [parameter.detach().clone() for parameter in policy.parameters()]


def fill(policy, weights):
    with torch.no_grad():
        for parameter, value in zip(policy.parameters(), weights, strict=True):
            parameter.copy_(value)


@pytest.fixture
def dropping(policy):
    """A policy with dropout, trained nowhere yet."""
    policy.add_adapter("dropping", LoraSettings(r=4, alpha=8, dropout=0.1), seed=1)
    shake(policy, seed=3)
    return policy


def test_dropout_is_drawn_from_the_runs_seed_and_the_updates_place(dropping, comparisons, prompts):
    policy, rounds = dropping, RoundSettings(num=2, steps=2)
    start = [parameter.detach().clone() for parameter in policy.parameters()]

    def once(seed, round_number, step, noise=0):
        fill(policy, start)
        torch.manual_seed(noise)
        before = torch.random.get_rng_state()
        updater = Updater(policy, SETTINGS, rounds, seed=seed)
        loss = updater.update(comparisons, prompts, round_number=round_number, step=step).values["loss"]
        assert torch.equal(torch.random.get_rng_state(), before)  # nobody else's draws are disturbed
        return loss

    assert once(0, 0, 1) == once(0, 0, 1, noise=5)
    assert len({once(0, 0, 0), once(0, 0, 1), once(0, 1, 0), once(1, 0, 0)}) == 4


@pytest.mark.parametrize("num_before", [0, 1, 3])
def test_a_restored_updater_goes_on_as_if_there_had_been_no_break(dropping, comparisons, prompts, num_before):
    policy, rounds = dropping, RoundSettings(num=3, steps=2)
    settings = SETTINGS.model_copy(update={"warmup_ratio": 0.6})  # three of six updates: the rate still rises
    start = [parameter.detach().clone() for parameter in policy.parameters()]
    expected = moved(policy, Updater(policy, settings, rounds, seed=0), comparisons, prompts, range(5))

    fill(policy, start)
    first = Updater(policy, settings, rounds, seed=0)
    weights = moved(policy, first, comparisons, prompts, range(num_before))
    state = first.state()
    kept = {key: value.clone() for key, value in state.items()}
    moved(policy, first, comparisons, prompts, range(num_before, 4))  # what is lost in the break; the state is a copy
    assert all(torch.equal(state[key], value) for key, value in kept.items())

    fill(policy, weights)
    second = Updater(policy, settings, rounds, seed=0)
    second.restore(state)
    assert sorted(second.state()) == sorted(state)
    resumed = moved(policy, second, comparisons, prompts, range(num_before, 5))
    assert all(torch.equal(one, other) for one, other in zip(resumed, expected, strict=True))
    assert all(torch.equal(state[key], value) for key, value in kept.items())  # restoring took copies too


def test_the_state_holds_adamws_three_tensors_of_every_weight_ready_for_a_file(policy, comparisons, prompts):
    updater = Updater(policy, SETTINGS, RoundSettings(num=1, steps=1), seed=0)
    assert updater.state() == {}
    updater.update(comparisons, prompts, round_number=0, step=0)
    state = updater.state()
    shapes = [tuple(parameter.shape) for parameter in policy.parameters()]
    assert len(state) == 3 * len(shapes) == 3 * 16
    for index, shape in enumerate(shapes):
        assert tuple(state[f"{index:03}.exp_avg"].shape) == tuple(state[f"{index:03}.exp_avg_sq"].shape) == shape
        assert state[f"{index:03}.step"].item() == 1
    assert all(value.device.type == "cpu" and value.is_contiguous() for value in state.values())
    assert len(save(state)) > 1000  # safetensors takes it
