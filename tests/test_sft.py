"""Stage one: it trains the adapter and nothing else, on completions and their end token, and stops when told."""

import os
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property

import pytest
import torch
from transformers import TrainingArguments
from trl import SFTTrainer

from conftest import full_logits, imitate_texts, load_tiny, shake, tokenised
from ditto_cli.config import DpoSettings, LoraSettings, SftSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.method.updates import accumulate_gradient
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import Comparison, ComparisonKind, Completion, SilentReporter

SETTINGS = SftSettings(learning_rate=5e-3, max_steps=8, stop_loss=0.0)
LORA = LoraSettings(r=4, alpha=8)


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LORA, seed=1)
    return tiny_policy


def run(policy, demonstrations, settings=SETTINGS, seed=0):
    return imitate_texts(policy, demonstrations, settings, seed=seed)


def weights_of(policy):
    return torch.cat([parameter.detach().flatten() for parameter in policy.parameters()])


def pairs_of(texts):
    return list(zip(texts.prompts.values(), texts.completions.values(), strict=True))


@pytest.fixture
def trainers(monkeypatch):
    """Those that train within the test."""
    found, train = [], SFTTrainer.train
    monkeypatch.setattr(SFTTrainer, "train", lambda self: found.append(self) or train(self))
    return found


def test_completion_and_end_token_are_trained_and_the_prompt_is_not(policy, tiny_demonstrations, trainers):
    run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 1}))
    rows = list(trainers[0].train_dataset)
    assert len(rows) == len(tiny_demonstrations)
    for row, (prompt, completion) in zip(rows, pairs_of(tokenised(policy, tiny_demonstrations)), strict=True):
        assert row["input_ids"] == [*prompt, *completion]
        assert row["labels"] == [-100] * len(prompt) + list(completion)
        assert row["labels"][-1] == policy.chat.end_token_id


def test_the_first_batch_loss_is_the_mean_over_all_completion_tokens(policy, tiny_demonstrations):
    """Nothing of a prompt counts, each end token does, and a long text weighs more than a short one."""
    texts = tokenised(policy, tiny_demonstrations)  # three texts, one batch
    with policy.using("alice"):
        total = sum(float(score(policy, prompt, [ids])[0]) for prompt, ids in pairs_of(texts))
    losses = run(policy, tiny_demonstrations)
    assert losses[0] == pytest.approx(-total / texts.num_tokens, abs=1e-5)


@pytest.fixture
def trained(tiny_folder, tiny_demonstrations, monkeypatch):
    """Weights after three batches of three texts, what shapes the model was given, and the lengths attended by sdpa."""
    sdpa, attended = torch.nn.functional.scaled_dot_product_attention, []

    def counted(query, *rest, **options):
        attended.append(query.shape[2])
        return sdpa(query, *rest, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", counted)

    def train(speed, texts_at_a_time):
        policy, shapes = load_tiny(tiny_folder, speed=speed), []
        policy.add_adapter("alice", LORA.model_copy(update={"dropout": 0.0}), seed=1)
        policy.guard.lowered["sft"] = texts_at_a_time
        policy.model.get_input_embeddings().register_forward_pre_hook(lambda _, ids: shapes.append(tuple(ids[0].shape)))
        attended.clear()
        run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 3, "batch_size": 3}))
        return weights_of(policy), shapes, sorted(attended)

    return train


def test_a_batch_is_one_row_without_padding_and_trains_as_the_padded_one(trained, tiny_policy, tiny_demonstrations):
    """The same weights, up to rounding, however the texts of a batch are laid out."""
    lengths = sorted(len(prompt) + len(ids) for prompt, ids in pairs_of(tokenised(tiny_policy, tiny_demonstrations)))
    in_a_row, shapes, attended = trained("auto", 3)
    assert shapes == [(1, sum(lengths))] * 3
    assert attended == sorted(lengths * 3 * 2)  # batches, layers: no pair of tokens of two texts is computed
    one_by_one, shapes, _ = trained("auto", 1)
    assert sorted(shapes) == [(1, length) for length in sorted(lengths * 3)]
    padded, shapes, attended = trained("plain", 3)  # by TRL's own collator
    assert shapes == [(3, lengths[-1])] * 3
    assert attended == [lengths[-1]] * 3 * 2
    assert in_a_row.abs().max() > 1e-2
    for other in (one_by_one, padded):
        assert (in_a_row - other).abs().max() < 1e-5


def test_loss_falls_and_the_end_token_is_learnt(policy, tiny_demonstrations):
    def end_probabilities():
        rows = []
        for prompt, completion in pairs_of(tokenised(policy, tiny_demonstrations)):
            assert completion[-1] == policy.chat.end_token_id
            with torch.no_grad():
                last = full_logits(policy, [*prompt, *completion[:-1]])[-1]
            rows.append(torch.softmax(last, dim=0)[policy.chat.end_token_id])
        return torch.stack(rows)

    policy.model.eval()
    before = end_probabilities()
    losses = run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 25, "learning_rate": 2e-2}))
    assert losses[-1] < losses[0] - 2
    assert (end_probabilities() > 5 * before).all()


@dataclass
class Listener(SilentReporter):
    told: list = field(default_factory=list)

    def begin_work(self, *given):
        self.told.append(("started", *given))

    def advance_work(self, *given):
        self.told.append(("advanced", *given))

    def end_work(self):
        self.told.append(("ended",))


@pytest.mark.parametrize(("stop_loss", "stop_share"), [(5.0, 1.0), (100.0, 0.8), (100.0, 1.0)])
def test_it_stops_at_the_first_batch_below_both_limits(policy, tiny_demonstrations, stop_loss, stop_share):
    limits, listener = {"max_steps": 40, "stop_loss": stop_loss, "stop_share": stop_share}, Listener()
    losses = imitate_texts(policy, tiny_demonstrations, SETTINGS.model_copy(update=limits), reporter=listener)
    is_low = [loss < stop_loss and loss <= stop_share * losses[0] for loss in losses]
    assert is_low == [False] * (len(losses) - 1) + [True]
    assert (len(losses) == 1) == (stop_share == 1 and losses[0] < stop_loss)  # as in the paper
    advanced = [("advanced", step, {"loss": loss}) for step, loss in enumerate(losses, start=1)]
    assert listener.told == [("started", "SFT", 40, "updates"), *advanced, ("ended",)]


def test_it_runs_to_max_steps_otherwise(policy, tiny_demonstrations):
    assert len(run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 3}))) == 3


@pytest.mark.parametrize("num_examples", [1, 2, 3])
def test_any_number_of_texts_trains_in_batches_smaller_or_larger(policy, tiny_demonstrations, num_examples):
    settings = SETTINGS.model_copy(update={"max_steps": 4, "batch_size": 2})
    assert len(run(policy, tiny_demonstrations[:num_examples], settings)) == 4


def test_learning_rate_warms_up_and_then_falls_as_a_cosine(policy, tiny_demonstrations, trainers):
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


BF16 = Hardware(torch.device("cpu"), "a CPU that computes in bf16", 2**40, torch.bfloat16)


@pytest.mark.parametrize("is_recomputing", [False, True])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
def test_in_bf16_the_loss_falls_as_in_fp32(tiny_folder, tiny_demonstrations, weights, is_recomputing):
    """Copies of the weights that autocast keeps must not outlive a step: the loss would stay the first."""

    def trained(policy):
        policy.add_adapter("alice", LORA.model_copy(update={"dropout": 0.0}), seed=1)
        policy.recompute_layers(is_recomputing)
        lent = (policy.model.base_model.model, policy.model)
        losses = run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 8, "batch_size": 3}))
        assert all(parameter.dtype == torch.float32 for parameter in policy.parameters())
        assert not any(torch.equal(one, one.bfloat16().float()) for one in policy.parameters())
        for one in lent:  # nothing is left of how the trainer wraps them
            assert not {"forward", "_original_forward", "_is_accelerate_prepared"} & set(vars(one))
        return losses

    exact = trained(load_tiny(tiny_folder))
    policy = load_tiny(tiny_folder, hardware=BF16)
    assert policy.model.dtype == torch.bfloat16
    policy.model.to(weights)
    rounded = trained(policy)
    assert exact[0] - exact[-1] > 0.2
    assert rounded != exact
    assert rounded == pytest.approx(exact, abs=0.1 * (exact[0] - exact[-1]))
    assert trained(load_tiny(tiny_folder)) == exact  # bf16 stays with the policy that asked for it


def test_several_visible_gpus_are_no_obstacle(policy, tiny_demonstrations, monkeypatch):
    """TRL refuses to train where the library has seen more than one, although the policy is on one."""
    setup = TrainingArguments.__dict__["_setup_devices"].func

    def with_two_gpus(arguments):
        device = setup(arguments)
        arguments._n_gpu = 2
        return device

    two = cached_property(with_two_gpus)
    two.__set_name__(TrainingArguments, "_setup_devices")
    monkeypatch.setattr(TrainingArguments, "_setup_devices", two)
    assert len(run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 2}))) == 2


def test_layers_recompute_without_a_trace_and_with_the_same_gradient(policy, tiny_demonstrations, trainers):
    texts = tokenised(policy, tiny_demonstrations)
    own = [replace(one, reference_logp=-50.0) for one in texts.unscored()]
    other = [Completion(one.demonstration_id, 0, 0, one.token_ids[::-1], True, -60.0) for one in own]
    pairs = [Comparison(ComparisonKind.ONLINE, *sides) for sides in zip(own, other, strict=True)]
    shake(policy, seed=2)
    embedding, layer = policy.model.get_input_embeddings(), policy.model.base_model.model.model.layers[0]
    hooks = len(embedding._forward_hooks)
    passes = []
    layer.mlp.register_forward_pre_hook(lambda *arguments: passes.append(1))

    def gradient(is_recomputing):
        policy.recompute_layers(is_recomputing)
        assert policy.model.is_activation_checkpointing == is_recomputing
        policy.model.train()
        for parameter in policy.parameters():
            parameter.grad = None
        passes.clear()
        torch.manual_seed(3)  # of dropout: a layer draws the same when it is computed again
        accumulate_gradient(policy, pairs, texts.prompts, DpoSettings())
        assert len(passes) == 1 + is_recomputing
        return [parameter.grad.clone() for parameter in policy.parameters()]

    expected = gradient(False)
    assert all(each.abs().max() > 1e-5 for each in expected)
    for is_recomputing in (True, False, True, True, False):
        for one, other in zip(gradient(is_recomputing), expected, strict=True):
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    policy.recompute_layers(True)
    run(policy, tiny_demonstrations, SETTINGS.model_copy(update={"max_steps": 1}))
    assert policy.model.is_activation_checkpointing  # a trainer changes nothing of it
    assert policy.model.is_gradient_checkpointing
    assert len(embedding._forward_hooks) == hooks


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
