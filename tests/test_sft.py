"""Stage one: it trains the adapter and nothing else, on completions and their end token, and stops when told."""

import os
import sys

import pytest
import torch
from trl import SFTTrainer

from conftest import full_logits, load_tiny, shake
from ditto_cli.config import LoraSettings, SftSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.method import sft
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.model import attention, fused
from ditto_cli.model.scoring import score

SETTINGS = SftSettings(learning_rate=5e-3, max_steps=8, stop_loss=0.0)
LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LORA, seed=1)
    return tiny_policy


def examples_for(policy, demonstrations):
    chat = policy.chat
    return [Imitation(chat.prompt_ids(d.prompt), chat.completion_ids(d.completion)) for d in demonstrations]


def run(policy, demonstrations, settings=SETTINGS, seed=0):
    return imitate(policy, examples_for(policy, demonstrations), settings, seed=seed, on_step=lambda step, loss: None)


def test_the_first_batch_loss_is_the_mean_over_all_completion_tokens(policy, tiny_demonstrations):
    """Nothing of a prompt counts, each end token does, and a long text weighs more than a short one."""
    examples = examples_for(policy, tiny_demonstrations)  # three texts, one batch
    with policy.using("alice"):
        total = sum(float(score(policy, e.prompt_ids, [e.completion_ids])[0]) for e in examples)
    losses = run(policy, tiny_demonstrations)
    assert losses[0] == pytest.approx(-total / sum(len(e.completion_ids) for e in examples), abs=1e-5)


def test_a_batch_is_one_row_without_padding(policy, tiny_demonstrations, monkeypatch):
    rows, hidden = [], type(policy.model.base_model.model.model).forward
    monkeypatch.setattr(
        type(policy.model.base_model.model.model),
        "forward",
        lambda *args, **kwargs: rows.append(kwargs["input_ids"].shape) or hidden(*args, **kwargs),
    )
    run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 2}))
    examples = examples_for(policy, tiny_demonstrations)
    assert rows == [(1, sum(len(e.prompt_ids) + len(e.completion_ids) for e in examples))] * 2


@pytest.fixture
def trained_in_parts(tiny_folder, tiny_demonstrations, monkeypatch):
    arguments = sft._trainer_arguments

    def train(texts_at_a_time):
        monkeypatch.setattr(
            sft, "_trainer_arguments", lambda plan, _, *rest, **named: arguments(plan, texts_at_a_time, *rest, **named)
        )
        policy = load_tiny(tiny_folder)
        policy.add_adapter("alice", LORA.model_copy(update={"dropout": 0.0}), seed=1)
        run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 3, "batch_size": 3}))
        return torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])

    return train


def test_a_row_of_several_texts_trains_as_one_text_at_a_time(trained_in_parts):
    """The same weights, up to rounding, as the trainer's own accumulation over texts."""
    together, one_by_one = trained_in_parts(3), trained_in_parts(1)
    assert (together - one_by_one).abs().max() < 1e-5
    assert together.abs().max() > 1e-2


def test_texts_of_a_row_are_attended_one_by_one_and_train_as_under_the_mask(
    tiny_folder, tiny_demonstrations, monkeypatch
):
    groups = []
    real = attention._group_attention
    monkeypatch.setattr(attention, "_group_attention", lambda *given: groups.append(given[0].lengths) or real(*given))

    def trained(takes_structure):
        policy = load_tiny(tiny_folder)
        policy.takes_structure = takes_structure
        policy.add_adapter("alice", LORA.model_copy(update={"dropout": 0.0}), seed=1)
        run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 3}))
        return torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])

    one_by_one = trained(takes_structure=True)
    assert {len(lengths) for lengths in groups} == {1}  # all of its tokens in one piece
    assert len(groups) == 3 * 2 * len(tiny_demonstrations)  # updates, layers
    under_mask = trained(takes_structure=False)
    assert len(groups) == 3 * 2 * len(tiny_demonstrations)
    assert (one_by_one - under_mask).abs().max() < 1e-5


def test_layer_and_adapter_in_one_step_train_as_the_librarys(tiny_folder, tiny_demonstrations, monkeypatch):
    def trained():
        policy = load_tiny(tiny_folder)
        policy.add_adapter("alice", LORA.model_copy(update={"dropout": 0.0}), seed=1)
        losses = run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 4}))
        return losses, [parameter.detach().clone() for parameter in policy.parameters()]

    calls = []
    real = fused._AdaptedLinear.apply
    monkeypatch.setattr(fused._AdaptedLinear, "apply", lambda *given: calls.append(1) or real(*given))
    losses, weights = trained()
    assert calls
    monkeypatch.setattr(fused, "_is_plain", lambda module: False)
    library_losses, library_weights = trained()
    assert losses == pytest.approx(library_losses, abs=1e-5)
    for one, other in zip(weights, library_weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)  # of steps of 5e-3 each


def test_loss_falls_and_the_end_token_is_learnt(policy, tiny_demonstrations):
    def end_probabilities():
        rows = []
        for example in examples_for(policy, tiny_demonstrations):
            assert example.completion_ids[-1] == policy.chat.end_token_id
            with torch.no_grad():
                last = full_logits(policy, [*example.prompt_ids, *example.completion_ids[:-1]])[-1]
            rows.append(torch.softmax(last, dim=0)[policy.chat.end_token_id])
        return torch.stack(rows)

    policy.model.eval()
    before = end_probabilities()
    losses = run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 25, "learning_rate": 2e-2}))
    assert losses[-1] < losses[0] - 2
    assert (end_probabilities() > 5 * before).all()


def test_it_stops_at_the_first_batch_below_stop_loss(policy, tiny_demonstrations):
    told = []
    settings = SETTINGS.model_copy(update={"max_steps": 40, "stop_loss": 5.5})
    losses = imitate(
        policy,
        examples_for(policy, tiny_demonstrations),
        settings,
        seed=0,
        on_step=lambda step, loss: told.append((step, loss)),
    )
    assert 1 < len(losses) < 40
    assert losses[-1] < 5.5
    assert all(loss >= 5.5 for loss in losses[:-1])
    assert told == list(enumerate(losses, start=1))


def test_it_runs_to_max_steps_otherwise(policy, tiny_demonstrations):
    assert len(run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 3}))) == 3


@pytest.mark.parametrize("num_examples", [1, 2, 3])
def test_any_number_of_texts_trains_in_batches_smaller_or_larger(policy, tiny_demonstrations, num_examples):
    settings = SETTINGS.model_copy(update={"max_steps": 4, "batch_size": 2})
    assert len(run(policy, tiny_demonstrations[:num_examples], settings)) == 4


def test_learning_rate_warms_up_and_then_falls_as_a_cosine(policy, tiny_demonstrations, monkeypatch):
    trainers = []
    train = SFTTrainer.train
    monkeypatch.setattr(SFTTrainer, "train", lambda self: trainers.append(self) or train(self))
    run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"warmup_ratio": 0.25}))
    (trainer,) = trainers
    rates = [log["learning_rate"] for log in trainer.state.log_history if "learning_rate" in log]
    # Two of eight steps are warm-up: 0, 1/2, 1, then (1 + cos(pi k / 6)) / 2 for k = 1 .. 5.
    shares = [0, 0.5, 1, 0.9330127, 0.75, 0.5, 0.25, 0.0669873]
    assert rates == pytest.approx([5e-3 * share for share in shares])
    assert isinstance(trainer.optimizer.optimizer, torch.optim.AdamW)


def test_repeating_it_gives_the_same_bits_and_another_seed_does_not(tiny_folder, tiny_demonstrations):
    def once(seed):
        policy = load_tiny(tiny_folder)
        policy.add_adapter("alice", LORA, seed=1)
        torch.manual_seed(seed + 17)  # whatever was drawn before must not matter
        losses = run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"batch_size": 2}), seed=seed)
        return losses, policy.serialise("alice")

    assert once(0) == once(0)
    assert once(0)[1] != once(1)[1]


def test_base_and_other_adapters_stay_as_they_were(policy, tiny_demonstrations):
    policy.add_adapter("bob", LORA, seed=2)
    shake(policy, seed=2)
    policy.switch("alice", trainable=True)
    before = {key: value.clone() for key, value in policy.model.state_dict().items()}
    run(policy, tiny_demonstrations)
    after = policy.model.state_dict()
    assert list(after) == list(before)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed == {key for key in before if ".alice." in key}


def test_afterwards_the_policy_is_ready_for_use(policy, tiny_demonstrations):
    run(policy, tiny_demonstrations)
    assert policy.active == "alice"
    assert policy.adapters == ("alice",)
    assert not policy.model.training
    assert not policy.model.is_gradient_checkpointing
    assert all(p.dtype == torch.float32 and p.requires_grad for p in policy.parameters())
    with policy.using("alice"):
        assert torch.equal(full_logits(policy, [256, 84]), full_logits(policy, [256, 84]))
    policy.remove("alice")  # and the base can be given back


def test_a_loss_that_is_not_finite_is_an_error(policy, tiny_demonstrations):
    with pytest.raises(NonFiniteError, match=r"SFT loss is not finite at step \d+: lower sft.learning_rate"):
        run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"learning_rate": 1e30}))


def test_nothing_is_printed(policy, tiny_demonstrations, capfd):
    run(policy, tiny_demonstrations)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_written_anywhere(policy, tiny_demonstrations):
    run(policy, tiny_demonstrations)  # what is imported and compiled first is not meant
    written = []

    def watch(event, arguments):
        flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
        makes_a_place = event in ("os.mkdir", "os.rename", "tempfile.mkdtemp", "tempfile.mkstemp")
        if makes_a_place or flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            written.append((event, str(arguments[0])))

    watching = [True]
    sys.addaudithook(lambda event, arguments: watch(event, arguments) if watching else None)  # it cannot be taken off
    try:
        run(policy, tiny_demonstrations)
    finally:
        watching.clear()
    # The trainer asks for its folder, which is there, and so is not made.
    assert set(written) <= {("os.mkdir", os.sep)}, written
