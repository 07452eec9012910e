"""The 4-bit base for real, on the CPU: what is quantised, that LoRA trains on it in fp32, and that adapters switch."""

import math

import bitsandbytes
import pytest
import torch

from conftest import full_logits, imitate_texts, load_tiny, save_tiny_base, tokenised
from ditto_cli.config import DpoSettings, LoraSettings, RoundSettings, Settings, SftSettings
from ditto_cli.method.updates import Updater, score_under_reference
from ditto_cli.model.base.loading import load_skeleton, load_source
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.footprint import memory_need
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import Comparison, ComparisonKind, Completion, Demonstration, SampleRequest

IDS = [256, 84, 82, 68, 81, 198]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    # Four bits come in blocks of 64 weights.
    return save_tiny_base(tmp_path_factory.mktemp("bases") / "nf4", hidden_size=64, intermediate_size=128)


@pytest.fixture
def policy(folder):
    return load_tiny(folder, "nf4")


def logits(policy):
    with torch.no_grad():
        return full_logits(policy, IDS)


def test_linear_layers_are_nf4_with_double_quantisation_and_the_rest_is_not(policy, folder):
    assert policy.quantize == "nf4"
    linear = {key: m for key, m in policy.model.named_modules() if isinstance(m, torch.nn.Linear)}
    four_bit = {key: m for key, m in linear.items() if isinstance(m, bitsandbytes.nn.Linear4bit)}
    assert set(linear) - set(four_bit) == {"lm_head"}
    assert len(four_bit) == 2 * 7
    for module in four_bit.values():
        assert module.weight.dtype == torch.uint8
        assert module.weight.numel() == module.in_features * module.out_features // 2
        assert module.weight.quant_state.quant_type == "nf4"
        assert module.weight.quant_state.nested  # the scales are quantised too
        assert module.compute_dtype == torch.float32  # on a CPU
    full = load_tiny(folder)
    assert full.quantize == "none"
    assert not any(isinstance(m, bitsandbytes.nn.Linear4bit) for m in full.model.modules())
    # Close to what it was made from, but not the same.
    similarity = torch.nn.functional.cosine_similarity(logits(policy).flatten(), logits(full).flatten(), dim=0)
    assert 0.9 < similarity < 0.9999


def test_the_planned_adapter_is_that_of_the_layers_and_not_of_their_packed_weights(policy, folder):
    """Of the packed weights' shape the plan would make an adapter as large as the base, and nothing would fit."""
    settings = Settings(lora=LoraSettings(r=4, targets="all-linear"))
    skeleton = load_skeleton(BaseSource("local", str(folder), None, folder))
    plans = [
        memory_need(one, settings, "nf4", cached_tokens=10, row_tokens=10, batch_tokens=10)
        for one in (policy, skeleton)
    ]
    assert plans[0].adapter == plans[1].adapter
    policy.add_adapter("alice", settings.lora, seed=1)
    assert plans[0].adapter == sum(parameter.nbytes for parameter in policy.parameters())


@pytest.mark.parametrize("kept", [False, True])
def test_weights_are_never_repacked_for_avx512(folder, tmp_path, monkeypatch, kept):
    """On such a processor bitsandbytes repacks them in the first pass without gradients, and then has none."""
    repacked = []
    monkeypatch.setattr(bitsandbytes.nn.modules, "has_avx512bf16", lambda: True)
    monkeypatch.setattr(
        bitsandbytes.nn.modules,
        "_convert_weight_packed_for_cpu",
        lambda weight, state: repacked.append(1) or (weight, state),
    )
    source, cpu = BaseSource("local", str(folder), None, folder), detect("cpu")
    policy = load_source(source, "nf4", cpu, tmp_path if kept else None)
    if kept:  # the form that the first load left in the cache
        policy = load_source(source, "nf4", cpu, tmp_path)
    logits(policy)
    assert repacked == []


def test_sft_and_dpo_train_an_fp32_adapter_and_leave_the_base_alone(policy, tiny_demonstrations):
    base = {key: value.clone() for key, value in policy.model.state_dict().items() if value.dtype == torch.uint8}
    policy.add_adapter("policy", LoraSettings(r=4, alpha=8), seed=1)
    fresh = {key: value.clone() for key, value in policy.weights("policy").items()}
    losses = imitate_texts(policy, tiny_demonstrations, SftSettings(learning_rate=5e-3, max_steps=6, stop_loss=0.0))
    assert losses[-1] < losses[0]
    sft = {key: value.clone() for key, value in policy.weights("policy").items()}
    for key, value in sft.items():
        assert value.dtype == torch.float32
        assert not torch.equal(value, fresh[key])
        assert not torch.equal(value, value.bfloat16().float())  # never went through bf16

    policy.copy_adapter("policy", "reference")
    policy.switch("policy", trainable=True)
    texts = tokenised(policy, tiny_demonstrations)
    sides = []
    for own in texts.unscored():
        request = SampleRequest(texts.prompts[own.demonstration_id], 1)
        (tokens,) = sample(policy, [request], max_new_tokens=8, temperature=1.0)
        sides += [own, Completion(own.demonstration_id, 0, 0, tokens.token_ids, tokens.ended, math.nan)]
    scored = score_under_reference(policy, sides, texts.prompts, max_tokens=4096)
    pairs = [
        Comparison(ComparisonKind.ONLINE, own, other) for own, other in zip(scored[::2], scored[1::2], strict=True)
    ]
    updater = Updater(policy, DpoSettings(learning_rate=1e-6), RoundSettings(num=1, steps=1), seed=0)
    metrics = updater.update(pairs, texts.prompts, round_number=0, step=0)
    assert metrics.values["loss"] == pytest.approx(math.log(2), abs=0.05)  # dropout alone parts it from the reference
    assert metrics.values["grad_norm"] > 0
    for key, value in policy.weights("policy").items():
        assert value.dtype == torch.float32
        moved = (value - sft[key]).abs()
        assert moved.max() < 1.1e-6  # AdamW's first step, of which bf16 weights would show nothing
        assert (moved > 0).float().mean() > 0.9
    for key, value in policy.weights("reference").items():
        assert torch.equal(value, sft[key])
    after = policy.model.state_dict()
    assert base
    for key, value in base.items():
        found = [other for other in after if other.replace("base_model.model.", "").replace("base_layer.", "") == key]
        assert len(found) == 1
        assert torch.equal(after[found[0]], value)


def test_no_trainer_rounds_the_adapter_to_bf16(policy):
    """TRL casts the adapters of a quantised base; casting them back alone would keep the rounding."""
    policy.add_adapter("alice", LoraSettings(r=4, alpha=8), seed=1)
    fresh = {key: value.clone() for key, value in policy.weights("alice").items()}
    settings = SftSettings(learning_rate=1e-9, max_steps=2, stop_loss=0.0)
    imitate_texts(policy, [Demonstration("a.md", "Hi", "yo")], settings)
    for key, value in policy.weights("alice").items():
        torch.testing.assert_close(value, fresh[key], atol=1e-8, rtol=0)  # bf16 is off by 1e-4 here


def test_adapters_switch_and_come_off_bit_for_bit(policy):
    base = logits(policy)
    outputs = {None: base}
    for seed, name in enumerate(("alice", "bob")):
        policy.add_adapter(name, LoraSettings(r=4, dropout=0.0), seed=seed)
        with torch.no_grad():
            for parameter in policy.parameters():
                parameter.fill_(0.05 + 0.05 * seed)
        policy.switch(name)
        outputs[name] = logits(policy)
    assert (outputs["alice"] - base).abs().max() > 0.01
    assert (outputs["alice"] - outputs["bob"]).abs().max() > 0.01
    for name in ("alice", None, "bob", "alice"):
        policy.switch(name)
        assert torch.equal(logits(policy), outputs[name])
    policy.remove("alice")
    policy.remove("bob")
    assert torch.equal(logits(policy), base)
    assert sum(isinstance(m, bitsandbytes.nn.Linear4bit) for m in policy.model.modules()) == 14


def test_packed_scores_are_those_of_plain_forward_passes(policy):
    completions = [(10, 20, 30, 257), (40,), (50, 60)]
    with torch.no_grad():
        expected = []
        for completion in completions:
            logps = torch.log_softmax(full_logits(policy, [*IDS, *completion]), dim=-1)
            expected.append(sum(float(logps[len(IDS) + i - 1, token]) for i, token in enumerate(completion)))
        assert score(policy, IDS, completions).tolist() == pytest.approx(expected, abs=1e-4)


def test_the_same_weights_have_the_same_identity_in_four_bits(policy, folder):
    """The digests are of the files: an adapter trained on NF4 may be used on the full-precision base."""
    assert policy.identity == load_tiny(folder).identity
