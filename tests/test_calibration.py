"""Memory from a configuration alone, and speed measured on a policy that is then as it was."""

import math

import pytest
import torch
from safetensors.torch import load

from conftest import load_tiny, save_tiny_base
from ditto_cli.config import LoraSettings, SftSettings
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.model.calibration import calibrate
from ditto_cli.model.footprint import SHAPES, Load, MemoryModel, shape_of, tensor_bytes, weights_of
from ditto_cli.model.hardware import available_bytes, detect, resident_bytes
from ditto_cli.model.passes import Pass
from ditto_cli.model.policy import WEIGHTS_FILE
from ditto_cli.model.scoring import score
from ditto_cli.model.skeleton import load_skeleton
from ditto_cli.model.source import BaseSource

ATTENTION = LoraSettings(r=4, alpha=8, dropout=0.0, targets=("q_proj", "v_proj"))
ALL = LoraSettings(r=4, alpha=8, dropout=0.0, targets="all-linear")


def weights(policy):
    return weights_of(policy.model, policy.model.get_output_embeddings())


def model(policy, lora=ALL, **more):
    return MemoryModel(
        shape_of(policy.model.config), weights(policy), lora, quantize=policy.quantize, is_cuda=False, **more
    )


def measured(policy, lora=ALL):
    return calibrate(
        policy,
        lora,
        model(policy, lora),
        shape_of(policy.model.config),
        weights(policy),
        group=(30, (40, 30, 20)),
        rows=(1, 4),
        context=40,
    )


@pytest.mark.parametrize(
    ("base", "billions"),
    [
        ("embedded", 0.1345),
        ("mistralai/Mistral-7B-Instruct-v0.2", 7.24),
        ("Qwen/Qwen3-4B", 4.02),
        ("Qwen/Qwen3-8B", 8.19),
    ],
)
def test_the_table_of_bases_gives_their_known_numbers_of_parameters(base, billions):
    assert SHAPES[base].weights.num / 1e9 == pytest.approx(billions, rel=0.002)


def test_a_configuration_tells_what_the_loaded_base_has(tiny_policy, tiny_folder):
    skeleton = load_skeleton(BaseSource("local", "tiny", None, tiny_folder))
    from_shape = shape_of(tiny_policy.model.config).weights
    assert weights(skeleton) == weights(tiny_policy) == from_shape
    # 2 layers: q 32x32, k and v 32x16, o 32x32, three of 32x64, 2 norms of 32; the last norm; embeddings and head
    assert from_shape.num == 2 * (32 * 32 * 2 + 32 * 16 * 2 + 3 * 32 * 64 + 64) + 32 + 2 * 272 * 32
    exact = tensor_bytes(tiny_policy.model.parameters())
    assert from_shape.num_bytes(quantize="none", dtype_bytes=4) == exact == 4 * from_shape.num


def test_four_bit_weights_are_counted_with_their_scales(tmp_path):
    folder = save_tiny_base(tmp_path / "base", hidden_size=64, intermediate_size=128)
    policy = load_tiny(folder, "nf4")
    counted = weights(policy)
    assert counted == shape_of(policy.model.config).weights
    exact = tensor_bytes(policy.model.parameters())
    assert counted.num_bytes(quantize="nf4", dtype_bytes=4) == exact
    assert exact < counted.num_bytes(quantize="none", dtype_bytes=4)


@pytest.mark.parametrize("lora", [ATTENTION, ALL], ids=["attention", "all"])
def test_adapter_and_optimizer_are_exact(tiny_policy, lora):
    memory = model(tiny_policy, lora)
    tiny_policy.add_adapter("x", lora, seed=0)
    own = sum(parameter.numel() for parameter in tiny_policy.parameters())
    assert memory.adapter_bytes == own * 4 * 5  # policy, gradient, two moments, reference
    optimizer = torch.optim.AdamW(tiny_policy.parameters())
    for parameter in tiny_policy.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    moments = [value for state in optimizer.state.values() for key, value in state.items() if key != "step"]
    assert sum(value.numel() for value in moments) == 2 * own
    with_adapter = weights_of(tiny_policy.model, tiny_policy.model.get_output_embeddings())
    assert with_adapter == shape_of(tiny_policy.model.config).weights  # the base, without what is on it


@pytest.mark.parametrize("lora", [ATTENTION, ALL, ALL.model_copy(update={"dropout": 0.1})], ids=["few", "all", "drop"])
def test_what_autograd_keeps_is_what_is_counted(tiny_policy, lora):
    assert measured(tiny_policy, lora).saved_ratio == pytest.approx(1.0, abs=0.12)


def test_phases_of_the_memory_grow_with_their_pieces(tiny_policy):
    memory = model(tiny_policy)
    small = memory.phases(Load((1, 50), Pass(100, 60, 9000), Pass(100, 60, 9000), 4, 100))
    large = memory.phases(Load((2, 100), Pass(200, 160, 20000), Pass(300, 260, 30000), 8, 100))
    assert set(small) == {"sft", "scoring", "update", "sampling"}
    assert all(large[key] > small[key] for key in small)
    # keys and values: 2 layers, 2 heads of 8, in fp32, and 64 columns to spare
    cache = 8 * 164 * 2 * 2 * 2 * 8 * 4
    packed = 4 * sum(parameter.numel() for parameter in tiny_policy.model.parameters())
    assert memory.sampling(8, 100) == cache + cache + packed + 8 * 272 * 4 * 4
    assert large["sampling"] == memory.sampling(8, 100)
    batch = Pass(100, 60, 9000)
    twice = model(tiny_policy, saved_ratio=2.0).update(batch) - memory.update(batch)
    assert twice == pytest.approx(memory.saved_bytes(Pass(100, 0, 9000)), rel=0.01)


def test_a_bf16_base_on_a_gpu_keeps_less_than_one_on_a_cpu():
    shape, lora = SHAPES["Qwen/Qwen3-8B"], LoraSettings()
    gpu = MemoryModel(shape, shape.weights, lora, quantize="nf4", is_cuda=True)
    cpu = MemoryModel(shape, shape.weights, lora, quantize="nf4", is_cuda=False)
    batch = Pass(4096, 4000, 4096**2)
    assert gpu.update(batch) < cpu.update(batch) / 4
    assert 5.5e9 < gpu.base_bytes < 6.5e9  # 8.2e9 weights, of which 1.2e9 are not in four bits


def test_calibration_measures_positive_and_growing_times(tiny_policy):
    found = measured(tiny_policy)
    assert found.update.slope > 0
    assert found.score.slope > 0
    assert found.update.fixed >= 0
    assert set(found.sampling) == {1, 4}
    assert all(setup >= 0 and step > 0 for setup, step in found.sampling.values())
    assert 0 < found.took_seconds < 60


def test_calibration_leaves_the_policy_as_it_was(tiny_policy):
    tiny_policy.add_adapter("mine", ALL, seed=3)
    before = {key: value.clone() for key, value in tiny_policy.model.state_dict().items()}
    chat, draws = tiny_policy.chat, torch.get_rng_state()
    measured(tiny_policy)
    after = tiny_policy.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert tiny_policy.adapters == ("mine",)
    assert tiny_policy.active == "mine"
    assert tiny_policy.chat is chat
    assert not tiny_policy.model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in tiny_policy.parameters())
    assert torch.equal(torch.get_rng_state(), draws)


def test_training_after_calibration_gives_the_same_bits(tiny_folder):
    examples = [Imitation((256, 84), (82, 68, 81)), Imitation((256, 81), (70, 71))]

    def trained(policy):
        lora = ALL.model_copy(update={"dropout": 0.2})
        policy.add_adapter("policy", lora, seed=1)
        imitate(
            policy,
            examples,
            SftSettings(learning_rate=1e-2, batch_size=2, max_steps=2, stop_loss=0.0),
            seed=0,
            on_step=lambda step, loss: None,
        )
        return load(policy.serialise("policy")[WEIGHTS_FILE])

    plain, calibrated = load_tiny(tiny_folder), load_tiny(tiny_folder)
    measured(calibrated)
    assert calibrated.adapters == ()
    first, second = trained(plain), trained(calibrated)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_memory_of_this_process_and_machine():
    before = resident_bytes()
    held = torch.ones(32 * 2**20)  # 128 MiB
    assert resident_bytes() - before > 100 * 2**20
    hardware = detect("cpu")
    assert resident_bytes() < available_bytes(hardware) <= hardware.memory_bytes + resident_bytes()
    assert math.isclose(float(held[0]), 1.0)


def test_a_gpu_with_more_memory_computes_fewer_layers_anew():
    shape, lora = SHAPES["Qwen/Qwen3-8B"], LoraSettings()
    batch = Pass(4096, 3500, 4096**2)

    def of(gib):
        memory = MemoryModel(shape, shape.weights, lora, quantize="nf4", is_cuda=True, memory_bytes=gib * 2**30)
        return memory.checkpointed_layers(batch), memory.update(batch) + memory.base_bytes

    layers, bytes_needed = zip(*(of(gib) for gib in (8, 16, 24, 80)), strict=True)
    assert layers[0] == shape.layers > layers[2] > layers[3] == 0
    assert sorted(layers, reverse=True) == list(layers)
    assert bytes_needed[2] < 0.85 * 24 * 2**30
    assert MemoryModel(shape, shape.weights, lora, quantize="nf4", is_cuda=False).checkpointed_layers(batch) == 0


def test_checkpointing_some_layers_keeps_less_and_gives_the_same_gradient(tiny_policy):
    tiny_policy.add_adapter("alice", ALL, seed=1)
    gradients, kept = [], []
    for num_layers in (0, 1, 2):
        tiny_policy.checkpoint_activations(num_layers)
        tiny_policy.model.train()
        storages = {}

        def noticed(tensor, storages=storages):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(noticed, lambda tensor: tensor):
            total = score(tiny_policy, range(20), [range(40), range(60)]).sum()
        total.backward()
        kept.append(sum(storages.values()))
        gradients.append(torch.cat([p.grad.flatten() for p in tiny_policy.parameters()]))
        for parameter in tiny_policy.parameters():
            parameter.grad = None
    assert kept[0] > 1.2 * kept[1] > 1.2 * kept[2]
    assert gradients[0].abs().max() > 0
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


def test_a_family_with_other_names_for_its_sizes_is_understood():
    from transformers import BloomConfig, GPT2Config

    shape = shape_of(GPT2Config())
    assert (shape.layers, shape.hidden, shape.heads, shape.vocabulary) == (12, 768, 12, 50_257)
    assert shape_of(BloomConfig()).hidden == 64


def test_a_long_prompt_is_measured_with_a_shorter_one(tiny_policy):
    from ditto_cli.model.calibration import _passes

    (small_prompt, small), (prompt, large) = _passes(tiny_policy, (450, (100, 120, 90)))
    assert prompt == small_prompt == 100
    assert sum(large) > 2 * sum(small)
