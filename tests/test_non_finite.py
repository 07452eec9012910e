"""NaN and infinity never get further than the update that made them: no step, no file, no load."""

import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import full_logits, imitate_texts, shake
from ditto_cli.config import DpoSettings, LoraSettings, RoundSettings, SftSettings
from ditto_cli.errors import DiskError, NonFiniteError
from ditto_cli.method import sft
from ditto_cli.method.updates import Updater
from ditto_cli.model.policy import scoring
from ditto_cli.model.policy.lora import WEIGHTS_FILE, read_lora
from ditto_cli.types import Comparison, ComparisonKind, Completion, Demonstration

BROKEN = [math.nan, math.inf, -math.inf]
ROUNDS = RoundSettings(num=1, steps=1)


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, alpha=8, dropout=0.0), seed=1)
    shake(tiny_policy, seed=2)
    return tiny_policy


@pytest.fixture
def material(policy):
    prompts = {"a.md": policy.chat.prompt_ids("Hi")}
    own, other = (
        Completion("a.md", number, 0, policy.chat.completion_ids(text), True, -9.0)
        for number, text in ((None, "hi bo x"), (0, "Dear Bo"))
    )
    return [Comparison(ComparisonKind.ONLINE, own, other)], prompts


def spoil(parameter, value):
    with torch.no_grad():
        parameter.view(-1)[-1] = value


@pytest.mark.parametrize("value", BROKEN)
@pytest.mark.parametrize("index", [0, 7, -1])
def test_one_weight_among_all_is_seen(policy, value, index):
    assert policy.is_finite()
    spoil(policy.parameters()[index], value)
    assert not policy.is_finite()


def test_large_weights_are_finite(policy):
    """A sum or a square of them is not."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.fill_(3e38)
    assert policy.is_finite()


@pytest.mark.parametrize("value", BROKEN)
def test_a_weight_that_shows_in_no_loss_and_no_gradient_is_refused(policy, material, monkeypatch, value):
    comparisons, prompts = material
    first, last = policy.parameters()[0], policy.parameters()[-1]

    def blind_score(policy, groups):  # sees the first weight only
        return torch.stack([first.sum() * len(one) for _, completions in groups for one in completions])

    monkeypatch.setattr(scoring, "score_row", blind_score)
    updater = Updater(policy, DpoSettings(learning_rate=1e-3), ROUNDS, seed=0)
    spoil(last, value)
    with pytest.raises(NonFiniteError, match=r"weight is not finite after the step in round 2, update 4") as caught:
        updater.update(comparisons, prompts, round_number=1, step=3)
    assert caught.value.exit_code == 6
    assert "\n" not in str(caught.value)


def test_a_step_that_overflows_is_refused_after_it(policy, material):
    comparisons, prompts = material
    updater = Updater(policy, DpoSettings(), ROUNDS, seed=0)
    updater._optimizer.register_step_post_hook(lambda *arguments: spoil(policy.parameters()[3], math.inf))
    with pytest.raises(
        NonFiniteError, match=r"not finite after the step in round 1, update 1: lower dpo\.learning_rate"
    ):
        updater.update(comparisons, prompts, round_number=0, step=0)


def test_weights_are_looked_at_after_sft(policy, monkeypatch):
    """The losses of all steps may be finite, and a weight not."""
    train = sft._train

    def train_and_spoil(*arguments):
        train(*arguments)
        spoil(policy.parameters()[3], math.nan)

    monkeypatch.setattr(sft, "_train", train_and_spoil)
    with pytest.raises(
        NonFiniteError, match=r"weight of the adapter is not finite after SFT: lower sft\.learning_rate"
    ):
        imitate_texts(policy, [Demonstration("a.md", "Hi", "yo")], SftSettings(max_steps=2, stop_loss=0.0))


@pytest.mark.parametrize("value", BROKEN)
def test_an_adapter_that_is_not_finite_is_never_written(policy, value):
    spoil(policy.parameters()[5], value)
    policy.add_adapter("bob", LoraSettings(r=4), seed=3)
    with pytest.raises(NonFiniteError, match="so it was not saved") as caught:
        policy.serialise("alice")  # whichever is active
    assert "\n" not in str(caught.value)
    assert policy.serialise("bob")


@pytest.mark.parametrize("value", BROKEN)
def test_a_stored_adapter_that_is_not_finite_is_refused_and_harms_nothing(policy, tmp_path, value):
    for file, data in policy.serialise("alice").items():
        (tmp_path / file).write_bytes(data)
    tensors = load_file(tmp_path / WEIGHTS_FILE)
    spoil(tensors[sorted(tensors)[-1]], value)
    save_file(tensors, tmp_path / WEIGHTS_FILE, metadata={"format": "pt"})
    before = full_logits(policy, [256, 84]).detach()
    with pytest.raises(DiskError, match=r"is damaged \(not finite\)") as caught:
        policy.put_adapter("bob", read_lora(tmp_path))
    assert "\n" not in str(caught.value)
    assert policy.adapters == ("alice",)
    assert torch.equal(full_logits(policy, [256, 84]).detach(), before)
