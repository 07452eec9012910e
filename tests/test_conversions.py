"""The 4-bit form of a base is kept once, equals what it was made from, and never decides which base it is."""

import errno
import os

import pytest
import torch

from conftest import full_logits, heard
from ditto_cli.errors import MemoryLimitError
from ditto_cli.model.base import conversions, loading
from ditto_cli.model.base.loading import load_source
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.hardware import detect


@pytest.fixture
def load(tiny_folder, tmp_path):
    """The tiny base in 4 bit, and what was said while it was loaded."""

    def load(cache=tmp_path, quantize="nf4"):
        source = BaseSource("local", str(tiny_folder), None, tiny_folder)
        with heard([]) as said:
            return load_source(source, quantize, detect("cpu"), cache), said

    return load


def kept(tmp_path):
    return [path for path in tmp_path.glob("bases/*") if path.name.startswith("nf4-")]


def test_the_second_load_takes_the_kept_form_and_gives_the_same_numbers(load, tiny_folder, tmp_path, monkeypatch):
    first, notes = load()
    assert "Keeping the 4-bit base" in notes[0]
    (place,) = kept(tmp_path)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (place, tiny_folder)]
    assert sizes[0] < 0.8 * sizes[1]  # embeddings and head, which stay as they are, are more than half of the tiny base
    monkeypatch.setattr(conversions, "convert_into", None)  # nothing is made again
    second, notes = load()
    assert notes == []
    assert torch.equal(full_logits(first, [40, 41, 42]), full_logits(second, [40, 41, 42]))
    assert second.identity == first.identity == load(None, "none")[0].identity
    assert (second.quantize, second.model.is_loaded_in_4bit) == ("nf4", True)
    assert {type(m).__name__ for m in second.model.modules()} == {type(m).__name__ for m in first.model.modules()}


def test_without_a_cache_or_without_4_bit_nothing_is_kept(load, tmp_path):
    load(None)
    load(tmp_path, "none")
    assert kept(tmp_path) == []


def test_another_version_of_the_library_makes_its_own_in_place_of_the_older(load, tmp_path, monkeypatch):
    load()
    (older,) = kept(tmp_path)
    of_another_base = older.parent / "nf4-0123456789abcdef-0123456789abcdef"
    of_another_base.mkdir()
    monkeypatch.setattr(conversions, "version", lambda name: "99")
    load()
    assert of_another_base in kept(tmp_path)
    assert len(kept(tmp_path)) == 2
    assert not older.exists()


@pytest.mark.parametrize("damage", ["truncate", "lose"])
def test_a_damaged_form_is_made_anew(load, tmp_path, damage):
    first, _ = load()
    weights = kept(tmp_path)[0] / "model.safetensors"
    if damage == "truncate":
        os.truncate(weights, 1000)
    else:
        weights.unlink()
    again, notes = load()
    assert notes[0].endswith("is damaged and is made anew.")
    assert weights.stat().st_size > 1000
    assert torch.equal(full_logits(first, [40, 41]), full_logits(again, [40, 41]))


def test_full_memory_does_not_cost_the_kept_form(load, tmp_path, monkeypatch):
    load()
    before = kept(tmp_path)

    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    for name in ("Bnb4bitQuantize", "Bnb4bitDeserialize"):
        monkeypatch.setattr(f"transformers.integrations.bitsandbytes.{name}.convert", full)
    with pytest.raises(MemoryLimitError, match="does not fit"):
        load()
    assert kept(tmp_path) == before


def test_the_form_that_another_process_made_meanwhile_stays(load, tmp_path, monkeypatch):
    make = loading._load_weights

    def make_while_another_does(*given):
        monkeypatch.setattr(loading, "_load_weights", make)
        load()
        (place,) = kept(tmp_path)
        (place / "made by another").touch()
        return make(*given)

    monkeypatch.setattr(loading, "_load_weights", make_while_another_does)
    load()
    (place,) = kept(tmp_path)
    assert (place / "made by another").exists()


def test_a_full_disk_is_said_and_the_base_is_there_all_the_same(load, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(conversions, "fsync_tree", full)
    policy, notes = load()
    assert "could not be kept" in notes[1]
    assert "No space left on device" in notes[1]
    assert list(tmp_path.glob("bases/*")) == []
    assert torch.isfinite(full_logits(policy, [40])).all()


def test_little_room_is_left_alone(load, tmp_path, monkeypatch):
    monkeypatch.setattr(conversions, "_SPARE_BYTES", 2**60)
    _, notes = load()
    assert notes == [f"No room to keep the 4-bit base, 0.0 GiB in {tmp_path / 'bases'}: each load quantises it anew."]
    assert kept(tmp_path) == []
