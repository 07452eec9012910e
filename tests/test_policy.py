"""Adapters on one base: switched, removed, saved and loaded without a bit of the base or of each other changing."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from conftest import full_logits, load_tiny, save_tiny_base, shake
from ditto_cli.config import LoraSettings
from ditto_cli.errors import DiskError, IncompatibleError, InputError
from ditto_cli.model.policy.lora import CONFIG_FILE, WEIGHTS_FILE, read_lora

LORA = LoraSettings(r=4, alpha=8, dropout=0.1)
IDS = [256, 84, 82, 68, 81, 198, 39, 72, 257, 198]


def logits(policy):
    with torch.no_grad():
        return full_logits(policy, IDS)


def add(policy, name, seed, lora=LORA):
    policy.add_adapter(name, lora, seed)
    shake(policy, seed=seed)
    policy.switch(name)


def write(policy, name, folder):
    folder.mkdir(parents=True)
    for file, data in policy.serialise(name).items():
        (folder / file).write_bytes(data)
    return folder


def test_switching_back_and_forth_gives_the_same_logits_bit_for_bit(tiny_policy):
    base = logits(tiny_policy)
    add(tiny_policy, "alice", 1)
    alice = logits(tiny_policy)
    add(tiny_policy, "bob", 2, LoraSettings(r=2, alpha=4, targets="all-linear"))  # of another shape
    bob = logits(tiny_policy)
    for one, other in ((base, alice), (base, bob), (alice, bob)):
        assert (one - other).abs().max() > 0.01
    for name, expected in ((None, base), ("alice", alice), ("bob", bob), ("alice", alice), (None, base)):
        tiny_policy.switch(name)
        assert tiny_policy.active == name
        assert torch.equal(logits(tiny_policy), expected)


def test_removing_adapters_gives_the_base_back_bit_for_bit(tiny_policy):
    before = {key: value.clone() for key, value in tiny_policy.model.state_dict().items()}
    base = logits(tiny_policy)
    add(tiny_policy, "alice", 1)
    alice = logits(tiny_policy)
    add(tiny_policy, "bob", 2)
    tiny_policy.switch("alice")
    tiny_policy.remove("bob")  # not the active one
    assert tiny_policy.adapters == ("alice",)
    assert torch.equal(logits(tiny_policy), alice)
    tiny_policy.remove("alice")
    assert tiny_policy.adapters == ()
    assert tiny_policy.active is None
    assert torch.equal(logits(tiny_policy), base)
    after = tiny_policy.model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_adding_after_removing_the_last_works_and_is_the_same(tiny_policy):
    add(tiny_policy, "alice", 1)
    first, files = logits(tiny_policy), tiny_policy.serialise("alice")
    tiny_policy.remove("alice")
    add(tiny_policy, "alice", 1)
    assert torch.equal(logits(tiny_policy), first)
    assert tiny_policy.serialise("alice") == files
    tiny_policy.remove("alice")
    tiny_policy.switch(None)
    add(tiny_policy, "bob", 2)
    assert tiny_policy.adapters == ("bob",)


def test_removing_the_active_adapter_leaves_the_base_active(tiny_policy):
    base = logits(tiny_policy)
    add(tiny_policy, "alice", 1)
    add(tiny_policy, "bob", 2)
    tiny_policy.remove("bob")
    assert tiny_policy.active is None
    assert torch.equal(logits(tiny_policy), base)


def test_a_fresh_adapter_changes_nothing_and_is_drawn_from_its_seed(tiny_policy):
    base = logits(tiny_policy)
    weights = {}
    state = torch.random.get_rng_state()
    for name, seed in (("one", 1), ("two", 2), ("again", 1)):
        tiny_policy.add_adapter(name, LORA, seed)
        weights[name] = tiny_policy.weights(name)
    assert torch.equal(torch.random.get_rng_state(), state)  # nobody else's draws are disturbed
    assert torch.equal(logits(tiny_policy), base)
    for key, value in weights["one"].items():
        assert torch.equal(value, weights["again"][key])
        if "lora_A" in key:
            assert not torch.equal(value, weights["two"][key])
        else:
            assert not value.any()


def test_settings_of_the_adapter_reach_peft(tiny_policy):
    tiny_policy.add_adapter("alice", LoraSettings(r=3, alpha=5, dropout=0.25, targets=("up_proj",)), seed=0)
    weights = tiny_policy.weights("alice")
    # two layers, A [r, hidden] and B [intermediate, r]
    assert [tuple(value.shape) for value in weights.values()] == [(3, 32), (64, 3)] * 2
    assert all("up_proj" in key for key in weights)
    config = json.loads(tiny_policy.serialise("alice")[CONFIG_FILE])
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (3, 5, 0.25)
    tiny_policy.add_adapter("bob", LoraSettings(targets="all-linear"), seed=0)
    assert len(tiny_policy.weights("bob")) == 2 * 2 * 7  # A and B, two layers, q k v o gate up down; not the head


def test_targets_that_the_base_lacks_are_refused(tiny_policy):
    base = logits(tiny_policy)
    with pytest.raises(InputError, match=r"base has no qkv_proj; its layers are .*q_proj.*all-linear") as caught:
        tiny_policy.add_adapter("alice", LoraSettings(targets=("qkv_proj",)), seed=0)
    assert "\n" not in str(caught.value)
    assert tiny_policy.adapters == ()
    assert torch.equal(logits(tiny_policy), base)


def test_targets_that_the_base_lacks_are_refused_beside_another_adapter(tiny_policy):
    add(tiny_policy, "alice", 1)
    alice = logits(tiny_policy)
    with pytest.raises(InputError, match=r"base has no qkv_proj; its layers are .*q_proj.*all-linear"):
        tiny_policy.add_adapter("bob", LoraSettings(targets=("qkv_proj",)), seed=0)
    assert tiny_policy.adapters == ("alice",)
    assert torch.equal(logits(tiny_policy), alice)
    add(tiny_policy, "bob", 2)  # the name is free


def test_a_copy_is_its_own(tiny_policy):
    add(tiny_policy, "alice", 1)
    files = tiny_policy.serialise("alice")
    tiny_policy.copy_adapter("alice", "copy")
    assert tiny_policy.active == "copy"
    assert tiny_policy.serialise("copy")[WEIGHTS_FILE] == files[WEIGHTS_FILE]
    assert all(parameter.requires_grad for parameter in tiny_policy.parameters())
    shake(tiny_policy, seed=9)
    assert tiny_policy.serialise("copy")[WEIGHTS_FILE] != files[WEIGHTS_FILE]
    assert tiny_policy.serialise("alice") == files


def test_only_the_adapter_trains_and_only_when_it_is_to(tiny_policy):
    tiny_policy.add_adapter("alice", LORA, seed=1)
    tiny_policy.add_adapter("bob", LORA, seed=2)
    trainable = {key for key, p in tiny_policy.model.named_parameters() if p.requires_grad}
    assert trainable
    assert all(".bob." in key for key in trainable)
    tiny_policy.switch("alice")
    assert not any(p.requires_grad for p in tiny_policy.model.parameters())


@pytest.mark.parametrize("inner", [None, "alice", "bob"])
@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("training", [True, False])
def test_using_restores_adapter_trainability_and_mode(tiny_policy, inner, trainable, training):
    add(tiny_policy, "alice", 1)
    add(tiny_policy, "bob", 2)
    tiny_policy.switch("alice", trainable=trainable)
    tiny_policy.model.train(training)
    before = logits(tiny_policy) if not training else None  # dropout draws when training

    def state():
        grads = [(key, p.requires_grad) for key, p in tiny_policy.model.named_parameters()]
        return tiny_policy.active, tiny_policy.model.training, grads

    outside = state()
    with tiny_policy.using(inner):
        assert tiny_policy.active == inner
        assert not tiny_policy.model.training
        assert not torch.is_grad_enabled()
        assert torch.equal(full_logits(tiny_policy, IDS), full_logits(tiny_policy, IDS))  # no dropout
    assert state() == outside
    assert torch.is_grad_enabled()
    if before is not None:
        assert torch.equal(logits(tiny_policy), before)
    with pytest.raises(KeyError), tiny_policy.using(inner):
        raise KeyError
    assert state() == outside


def test_using_without_any_adapter(tiny_policy):
    base = logits(tiny_policy)
    with tiny_policy.using(None):
        assert torch.equal(full_logits(tiny_policy, IDS), base)
    assert tiny_policy.active is None


def test_a_saved_adapter_loads_in_plain_peft_with_the_same_logits(tiny_policy, tiny_folder, tmp_path):
    add(tiny_policy, "alice", 1)
    folder = write(tiny_policy, "alice", tmp_path / "alice")
    base = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32, attn_implementation="sdpa")
    model = PeftModel.from_pretrained(base, folder).eval()
    with torch.no_grad():
        assert torch.equal(model(input_ids=torch.tensor([IDS])).logits[0], logits(tiny_policy))


def test_a_saved_adapter_loads_back_bit_for_bit(tiny_policy, tiny_folder, tmp_path):
    add(tiny_policy, "alice", 1)
    folder = write(tiny_policy, "alice", tmp_path / "alice")
    other = load_tiny(tiny_folder)
    other.put_adapter("anna", read_lora(folder))
    assert other.active == "anna"
    assert not any(p.requires_grad for p in other.model.parameters())
    assert torch.equal(logits(other), logits(tiny_policy))
    assert other.serialise("anna")[WEIGHTS_FILE] == tiny_policy.serialise("alice")[WEIGHTS_FILE]


def test_saved_files_hold_fp32_tensors_and_no_path_of_this_machine_beyond_the_base(tiny_policy, tmp_path):
    tiny_policy.add_adapter("alice", LORA, seed=1)
    folder = write(tiny_policy, "alice", tmp_path / "alice")
    tensors = load_file(folder / WEIGHTS_FILE)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert set(tensors) == {
        f"base_model.model.model.layers.{layer}.self_attn.{name}.lora_{side}.weight"
        for layer in (0, 1)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj")
        for side in "AB"
    }
    assert json.loads((folder / CONFIG_FILE).read_text())["base_model_name_or_path"] == tiny_policy.identity.id


def test_saved_files_do_not_depend_on_the_order_of_a_set(tiny_policy):
    """PEFT keeps target modules in a set, whose order changes from process to process."""
    tiny_policy.add_adapter("alice", LORA, seed=1)
    assert isinstance(tiny_policy.model.peft_config["alice"].target_modules, set)
    config = json.loads(tiny_policy.serialise("alice")[CONFIG_FILE])
    assert config["target_modules"] == ["k_proj", "o_proj", "q_proj", "v_proj"]
    assert list(config) == sorted(config)


def truncate(folder):
    data = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(data[: len(data) // 2])


def scribble(folder):
    (folder / CONFIG_FILE).write_text('{"peft_type": "LORA"')


def lose_weights(folder):
    (folder / WEIGHTS_FILE).unlink()


def lose_config(folder):
    (folder / CONFIG_FILE).unlink()


@pytest.mark.parametrize("damage", [truncate, scribble, lose_weights, lose_config])
def test_a_damaged_adapter_is_a_disk_error_and_harms_nothing(tiny_policy, tmp_path, damage):
    add(tiny_policy, "alice", 1)
    folder = write(tiny_policy, "alice", tmp_path / "bob")
    damage(folder)
    alice = logits(tiny_policy)
    with pytest.raises(DiskError, match="damaged or incomplete") as caught:
        tiny_policy.put_adapter("bob", read_lora(folder))
    assert "\n" not in str(caught.value)
    assert tiny_policy.adapters == ("alice",)
    assert torch.equal(logits(tiny_policy), alice)


def drop_a_tensor(tensors):
    tensors.pop(next(iter(tensors)))


def widen_a_tensor(tensors):
    key = next(iter(tensors))
    tensors[key] = torch.zeros(tensors[key].shape[0], 99)


@pytest.mark.parametrize("change", [drop_a_tensor, widen_a_tensor])
@pytest.mark.parametrize("with_another", [True, False])
def test_weights_that_do_not_fit_are_incompatible_and_harm_nothing(tiny_policy, tmp_path, change, with_another):
    add(tiny_policy, "alice", 1)
    folder = write(tiny_policy, "alice", tmp_path / "bob")
    tensors = load_file(folder / WEIGHTS_FILE)
    change(tensors)
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    if not with_another:
        tiny_policy.remove("alice")
    before, adapters, active = logits(tiny_policy), tiny_policy.adapters, tiny_policy.active
    with pytest.raises(IncompatibleError, match="does not fit the base"):
        tiny_policy.put_adapter("bob", read_lora(folder))
    assert tiny_policy.adapters == adapters
    assert tiny_policy.active == active
    assert torch.equal(logits(tiny_policy), before)


def test_an_adapter_of_another_architecture_is_incompatible(tiny_policy, tmp_path):
    wide = load_tiny(save_tiny_base(tmp_path / "wide", hidden_size=64))
    add(wide, "alice", 1)
    base = logits(tiny_policy)
    with pytest.raises(IncompatibleError, match="does not fit the base"):
        tiny_policy.put_adapter("alice", read_lora(write(wide, "alice", tmp_path / "alice")))
    assert tiny_policy.adapters == ()
    assert torch.equal(logits(tiny_policy), base)


def test_an_adapter_for_modules_that_the_base_lacks_is_incompatible(tiny_policy, tmp_path):
    add(tiny_policy, "alice", 1)
    folder = write(tiny_policy, "alice", tmp_path / "alice")
    config = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"target_modules": ["qkv_proj"]}))
    tiny_policy.remove("alice")
    with pytest.raises(IncompatibleError, match="does not fit the base"):
        tiny_policy.put_adapter("alice", read_lora(folder))
    assert tiny_policy.adapters == ()
    add(tiny_policy, "bob", 2)  # and the policy is still of use


def test_context_is_what_the_base_says(tiny_policy):
    assert tiny_policy.context_tokens == 512


def test_a_base_that_is_no_language_model_is_an_input_error(tmp_path, tiny_folder):
    folder = tmp_path / "odd"
    folder.mkdir()
    for path in tiny_folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}))
    with pytest.raises(InputError, match="cannot be loaded as a causal language model") as caught:
        load_tiny(folder)
    assert "\n" not in str(caught.value)
