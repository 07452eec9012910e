"""`ditto doctor`: all is well, or what is not in words; never a text, never a crash, whatever lies in the store."""

import json
import os
import shutil
from pathlib import Path

import pytest

import ditto_cli
from ditto_cli.cli import doctor

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"  # stands in every demonstration of the plugin's


def examined(ditto, code=0):
    result = ditto("doctor", "--json")
    assert result.code == code, result
    return json.loads(result.out)


def adapter(report, name):
    return next(row for row in report["adapters"] if row["name"] == name)


def only(ditto, pattern):
    (path,) = ditto.home.glob(pattern)
    return path


def test_an_embedded_base_whose_conversion_is_damaged_is_not_present(tmp_path, monkeypatch):
    monkeypatch.setattr("ditto_cli.model.base.conversions.find_gguf", lambda: tmp_path)
    monkeypatch.setattr("ditto_cli.model.base.conversions.conversion_place", lambda gguf, cache: tmp_path / "base")
    assert doctor.is_present("embedded", None)
    (tmp_path / "base").mkdir()
    assert not doctor.is_present("embedded", None)


def test_a_sound_store(trained):
    result = trained("doctor")
    assert (result.code, result.err) == (0, "")
    facts = dict(line.split(maxsplit=1) for line in result.out.split("┏")[0].splitlines())
    assert facts["problems"] == "none"
    assert facts["ditto"] == ditto_cli.__version__
    assert facts["python"].startswith("3.")
    assert "torch 2." in facts["packages"]
    assert facts["torch"] == "works"
    rows = [line.strip("│").split("│") for line in result.out.splitlines() if line.startswith(("│alice", "│bob"))]
    assert [(row[1].strip(), row[-1].strip()) for row in rows] == [("ok", "yes")] * 2


def test_a_sound_store_as_json(trained):
    report = examined(trained)
    assert report["problems"] == report["unfinished"] == []
    assert [(row["name"], row["problem"], row["base_present"]) for row in report["adapters"]] == [
        ("alice", None, True),
        ("bob", None, True),
    ]
    environment = report["environment"]
    assert environment["cores"] == os.cpu_count()
    assert 0 < environment["free_memory_bytes"] <= environment["memory_bytes"]
    assert environment["preset"] in ("smollm2-135m-cpu", "qwen3-8b-24gb", "qwen3-4b-12gb")
    assert environment["four_bit"] == "works"
    assert {package["name"] for package in environment["packages"]} >= {"torch", "trl", "peft", "rich"}
    assert "openai" not in {package["name"] for package in environment["packages"]}  # an extra
    assert report["store"]["free_bytes"] > 0


def test_an_empty_store(ditto):
    report = examined(ditto)
    assert report["adapters"] == report["problems"] == []
    assert report["store"]["exists"] is False
    assert not ditto.home.exists()
    assert "(not there yet, " in ditto("doctor").out


def test_nothing_is_changed_and_nothing_private_is_told(trained):
    only(trained, "adapters/bob/generations/*/record.json").write_text(MARKER)
    before = trained.snapshot()
    for arguments in ([], ["--json"]):
        result = trained("doctor", *arguments)
        record = trained.record("alice")
        for private in (MARKER, record.watch_prompt, record.base_sample, "a.md", record.folder):
            assert private not in result.out + result.err
    assert trained.snapshot() == before


@pytest.mark.parametrize(
    ("pattern", "content"),
    [
        ("adapters/alice/generations/*/record.json", b"{"),
        ("adapters/alice/generations/*/record.json", b"\xff\x00" * 99),
        ("adapters/alice/generations/*/record.json", b"[" * 100_000),
        ("adapters/alice/generations/*/record.json", b'{"schema_version": 99}'),
        ("adapters/alice/generations/*/record.json", None),
        ("adapters/alice/generations/*/sft/adapter_model.safetensors", b""),
        ("adapters/alice/generations/*/sft/adapter_model.safetensors", None),
        ("adapters/alice/generations/*/round1/adapter_config.json", b"{}"),
        ("adapters/alice/generations/*/round1", None),
    ],
)
def test_a_damaged_adapter_is_told_and_the_others_too(trained, pattern, content):
    path = only(trained, pattern)
    if content is not None:
        path.write_bytes(content)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    result = trained("doctor", "--json")
    report = json.loads(result.out)
    assert adapter(report, "alice")["problem"]
    assert adapter(report, "bob")["problem"] is None
    assert (result.code, result.error.startswith("error: 1 problem: adapter alice: ")) == (4, True)


def test_a_single_flipped_bit_is_found(trained):
    path = only(trained, "adapters/bob/generations/*/sft/adapter_model.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert "adapter_model.safetensors" in adapter(examined(trained, code=4), "bob")["problem"]


def test_an_adapter_without_generations_is_told(trained):
    shutil.rmtree(trained.home / "adapters" / "alice" / "generations")
    (trained.home / "adapters" / "alice" / "notes").touch(0o600)
    report = examined(trained, code=4)
    assert "adapters/alice holds no adapter" in report["problems"][0]


def test_what_others_may_read_is_told(trained):
    (trained.home / "key").chmod(0o640)
    (problem,) = examined(trained, code=4)["problems"]
    assert "1 file or folder of the store" in problem
    assert f"chmod -R go= {trained.home}" in problem
    (trained.home / "adapters").chmod(0o755)
    assert "2 files and folders" in examined(trained, code=4)["problems"][0]


def test_the_cache_may_be_read_by_others(trained):
    (trained.home / "cache").mkdir(0o755)
    (trained.home / "cache" / "x").touch(0o644)
    assert examined(trained)["problems"] == []


def test_leftovers_are_no_problem(trained):
    (trained.home / "adapters" / ".removed-0").mkdir(0o700)
    assert examined(trained)["problems"] == []


def test_an_unfinished_training_is_told(trained):
    (trained.home / "adapters" / "carol" / "run" / "generation" / "sft").mkdir(parents=True)
    checkpoint = trained.home / "adapters" / "carol" / "run" / "checkpoints" / "000001"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text(MARKER)
    for path in (trained.home / "adapters" / "carol", *(trained.home / "adapters" / "carol").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    assert examined(trained)["unfinished"] == ["carol"]


def test_a_base_that_is_gone_is_told_and_is_no_problem_of_the_store(trained, monkeypatch):
    from ditto_cli.model.base import source

    monkeypatch.setattr(source, "folder_problem", lambda folder: "gone" if folder == trained.base else None)
    assert [row["base_present"] for row in examined(trained)["adapters"]] == [False, False]
    rows = [line.strip("│").split("│") for line in trained("doctor").out.splitlines() if line.startswith("│")]
    assert [row[-1].strip() for row in rows if row[1].strip() == "ok"] == ["no", "no"]


@pytest.mark.parametrize(
    ("base_id", "revision", "present"),
    [("owner/tiny", None, True), ("owner/tiny", "v2", False), ("owner/gone", None, False), ("no hub id", None, False)],
)
def test_whether_a_hub_base_is_cached(tmp_path, tiny_folder, monkeypatch, base_id, revision, present):
    from huggingface_hub import constants

    repository = tmp_path / "models--owner--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("5" * 40)
    shutil.copytree(tiny_folder, repository / "snapshots" / ("5" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert doctor.is_present(base_id, revision) is present


@pytest.mark.parametrize("place", ["", "adapters", "adapters/alice", "adapters/alice/generations", "key", "cache"])
def test_a_file_or_a_folder_in_the_wrong_place_is_survived(trained, place):
    path = trained.home / place
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
    if place == "key":
        path.mkdir(mode=0o700)
    else:
        path.touch(0o600)
    result = trained("doctor", "--json")
    assert (result.code, "problem" in result.err) == ((0, False) if place == "cache" else (4, True)), result.err
    assert json.loads(result.out)["environment"]["ditto"]


def test_names_that_are_no_text_and_circles_are_survived(trained):
    os.mkdir(os.fsencode(trained.home / "adapters") + b"/caf\xe9\x1b", 0o700)
    (trained.home / "adapters" / "circle").symlink_to(trained.home)
    result = trained("doctor")
    assert result.code == 4
    assert "\x1b" not in result.out + result.err
    assert len(examined(trained, code=4)["problems"]) == 2


def test_many_problems_are_counted_and_shown_in_part(trained):
    for number in range(5):
        (trained.home / "adapters" / f"x{number}").mkdir(0o700)
    result = trained("doctor")
    assert result.error.startswith("error: 5 problems: ")
    assert result.error.endswith("; ...")
    assert all(f"adapters/x{number} holds no adapter" in "".join(result.out.split("\n")) for number in range(5))


def test_packages_older_than_the_floor_are_told(trained, monkeypatch):
    versions = {"torch": "2.8.0+cpu", "peft": "0.21.0.dev1"}
    monkeypatch.setattr(
        doctor.metadata,
        "requires",
        lambda _: ["torch<3,>=2.9", "peft[x] >= 0.21", "nope>=1; python_version>'3'", "x>=1; extra == 'y'"],
    )
    real = doctor.metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: versions.get(name) or real(name))
    assert [(package["name"], package["problem"]) for package in doctor._packages()] == [
        ("torch", "needs to be <3,>=2.9"),
        ("peft", None),
        ("nope", "not installed"),
    ]


def test_without_torch_the_rest_is_told(trained):
    result = trained.without("torch", "doctor")
    assert result.code == 0, result.err
    assert "cannot be imported (ImportError)" in result.out
    assert "│alice" in result.out


def test_it_downloads_and_loads_nothing(trained, monkeypatch):
    from ditto_cli.cli.network import host_log
    from ditto_cli.model.base import conversions

    monkeypatch.setattr(conversions, "_convert", lambda *_: pytest.fail("converted"))
    assert trained("doctor").code == 0
    assert host_log()._hosts == set()
    assert not Path(trained.home / "cache").exists()


def test_four_bit_weights_are_tried_out(monkeypatch):
    import torch
    from bitsandbytes import functional

    from ditto_cli.model.hardware import four_bit_problem

    def missing(*_, **__):
        raise RuntimeError("no kernel image")

    cpu, real = torch.device("cpu"), functional.dequantize_4bit
    assert four_bit_problem(cpu) is None
    monkeypatch.setattr(functional, "dequantize_4bit", lambda *arguments: real(*arguments) * 2)
    assert "computes wrongly" in four_bit_problem(cpu)
    monkeypatch.setattr(functional, "quantize_4bit", missing)
    assert four_bit_problem(cpu) == "bitsandbytes fails here (RuntimeError)"
