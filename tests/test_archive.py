"""What a stranger's bytes may say: the plain ZIP, the strict JSON, the fp32 tensors, the record. No torch."""

import json
import struct

import pytest

from ditto_cli.errors import DiskError, InputError
from ditto_cli.store import AdapterRecord, AdapterStore, archive, export_archive, read_archive
from ditto_cli.store.archive import NonFiniteWeightsError, RefusedError, strict_json, tensor_shapes, zip_members
from hostile_archives import Member, read_members, write_tensors, write_zip

DIGESTS = {f"{part}_digest": "0" * 64 for part in ("config", "weights", "tokenizer", "chat_template")}
COMMIT = "0123456789" * 4
WEIGHTS = write_tensors({"a.lora_A.weight": ("F32", [2, 3], struct.pack("<6f", *range(6)))})


def make_record(stages=("sft",), **changes):
    base = {"source": "hub", "id": "owner/name", "revision": COMMIT, **DIGESTS}
    stage = {"seconds": 1.0, "metrics": {}, "sample": None}
    fields = {
        "name": "alice",
        "created": "2026-01-02T03:04:05+00:00",
        "base": base,
        "quantize": "none",
        "settings": {},
        "num_demonstrations": 2,
        "num_demonstration_tokens": 40,
        "demonstration_hashes": [],
        "max_new_tokens": 30,
        "watch_prompt": "",
        "base_sample": "",
        "stages": [{**stage, "stage": name} for name in stages],
        "published": stages[-1],
        "device": "CPU",
        "versions": {},
        "seconds": 3.0,
    }
    return AdapterRecord.model_validate({**fields, **changes})


def publish(store, stages=("sft",), **changes):
    with store.training("alice") as kept:
        for stage in stages:
            kept.add_stage(stage, {"adapter_config.json": b"{}", "adapter_model.safetensors": WEIGHTS})
        kept.publish(make_record(stages, **changes))


@pytest.fixture
def store(tmp_path):
    return AdapterStore(tmp_path / "home")


def exported(store, tmp_path, **flags):
    _, data = export_archive(store, "alice", **{"all_stages": False, **flags})
    path = tmp_path / "alice.ditto"
    path.write_bytes(data)
    return path


def test_an_archive_gives_back_stages_shapes_and_record(store, tmp_path):
    publish(store, ("sft", "round1", "round10"))
    read = read_archive(exported(store, tmp_path, all_stages=True))
    assert list(read.stages) == read.record.stage_names == ["sft", "round1", "round10"]
    assert all(stage.weights == WEIGHTS for stage in read.stages.values())
    assert read.stages["sft"].shapes == {"a.lora_A.weight": (2, 3)}


@pytest.mark.parametrize(
    ("base", "kept"),
    [
        ({"source": "hub", "id": "owner/name", "revision": COMMIT}, "owner/name"),
        ({"source": "hub", "id": "gpt2", "revision": COMMIT}, "gpt2"),
        ({"source": "embedded", "id": "embedded", "revision": None}, "embedded"),
        ({"source": "local", "id": "/home/someone/models/Tiny 1.0", "revision": None}, "Tiny 1.0"),
        ({"source": "local", "id": "/", "revision": None}, "base"),
    ],
)
def test_how_a_base_is_named_in_an_archive(store, tmp_path, base, kept):
    publish(store, base={**base, **DIGESTS}, settings={"base": {"id": base["id"]}})
    path = exported(store, tmp_path)
    record = read_archive(path).record
    assert (record.base.id, record.settings.base.id) == (kept, kept)
    assert b"someone" not in path.read_bytes()


def test_what_an_import_would_refuse_is_not_exported(store, tmp_path, monkeypatch):
    stages = [f"round{number}" for number in range(1, 65)]
    publish(store, stages)
    with pytest.raises(DiskError, match="65 members"):
        exported(store, tmp_path, all_stages=True)
    assert read_archive(exported(store, tmp_path)).record.stage_names == ["round64"]
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 100)
    with pytest.raises(DiskError, match="larger than 100 bytes"):
        exported(store, tmp_path)


def test_a_newer_archive_says_what_to_do(store, tmp_path):
    publish(store)
    path = exported(store, tmp_path)
    record, weights = read_members(path.read_bytes())
    content = json.loads(record.data) | {"schema_version": 99}
    path.write_bytes(write_zip([Member(record.name, json.dumps(content).encode()), weights]))
    with pytest.raises(InputError, match=r"is not a ditto adapter archive that can be trusted: .*99.*upgrade ditto"):
        read_archive(path)


def test_members_of_a_zip_are_limited_by_name_and_size():
    weights = b"round12/adapter_model.safetensors"
    data = write_zip([Member(b"record.json", b"{}"), Member(weights, b"12345")])
    assert zip_members(data) == {"record.json": b"{}", weights.decode(): b"12345"}
    for member in (Member(b"record.json", bytes(2**20 + 1)), Member(b"record.jso", b""), Member(weights + b"\n", b"")):
        with pytest.raises(RefusedError):
            zip_members(write_zip([member]))


def test_a_zip_of_another_order_or_date_is_none_of_ours():
    record, weights = Member(b"record.json", b"{}"), Member(b"sft/adapter_model.safetensors", b"12345")
    data = write_zip([record, weights])
    zip_members(data)
    for other in (write_zip([weights, record]), data.replace(b"\x21\x00", b"\x22\x00")):
        with pytest.raises(RefusedError, match="something besides its members"):
            zip_members(other)


@pytest.mark.parametrize(
    "text", ['{"a": 1, "a": 1}', '{"a": NaN}', '{"a": -Infinity}', '{"a": 1e999}', "1", '{"a": "\\ud800"}']
)
def test_json_that_means_two_things_or_nothing(text):
    with pytest.raises(RefusedError, match=r"^it is not"):
        strict_json(text.encode(), "it")
    assert strict_json(b'{"a": {"b": 1.5}, "b": "\\ud83d\\ude00"}', "it") == {"a": {"b": 1.5}, "b": "\U0001f600"}


@pytest.mark.parametrize("place", range(6))
def test_every_weight_is_looked_at(place):
    values = [0.0] * 6
    for value in (float("nan"), float("inf"), float("-inf")):
        values[place] = value
        with pytest.raises(NonFiniteWeightsError):
            tensor_shapes(write_tensors({"a": ("F32", [6], struct.pack("<6f", *values))}))
    values[place] = 3.4e38  # the largest there are are fine
    assert tensor_shapes(write_tensors({"a": ("F32", [6], struct.pack("<6f", *values))})) == {"a": (6,)}
