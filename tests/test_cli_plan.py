"""`ditto plan` and `ditto train --dry-run`: what is counted is exact, and nothing is loaded, measured or written."""

import json
import math
import re
from types import SimpleNamespace

import pytest

from cli_helpers import SMALL, TEXTS
from conftest import save_tiny_base
from disk_gate import intercepted
from ditto_cli.cli.train import last_training
from ditto_cli.errors import DamagedError
from ditto_cli.shown import duration, size
from ditto_cli.store import AdapterStore

pytest_plugins = ["cli_helpers", "fake_hub"]

MARKER = "quokka"
GIB = 2**30
# The tiny base reads a byte as a token; one more ends the text.
LENGTHS = [len(text.split("---\n")[2].strip()) + 1 for text in TEXTS.values()]


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def plan(ditto, folder, *arguments):
    return ditto("plan", folder, "--base", ditto.base, *SMALL, *arguments)


def planned(ditto, folder, *arguments):
    result = plan(ditto, folder, "--json", *arguments)
    assert result.code == 0, result.err
    return json.loads(result.out)


def facts(text):
    """Names and values of a plan, without how much memory is free."""
    lines = re.findall(
        r"^(adapter|texts|base|device|preset|steps|samples|memory|disk|time|stored in) +(.+)$", text, re.M
    )
    return {name: re.sub(r"[\d.]+ [GM]iB are free", "", value) for name, value in lines}


@pytest.fixture
def unloadable(monkeypatch):
    """Fail where weights are loaded."""
    import safetensors.torch
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr("ditto_cli.model.base.loading.load_source", lambda *_, **__: pytest.fail("a base was loaded"))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", lambda *_, **__: pytest.fail("weights were loaded"))
    monkeypatch.setattr(safetensors.torch, "load_file", lambda *_, **__: pytest.fail("a file was loaded"))


@pytest.fixture
def free(monkeypatch):
    """Set how much memory there is for a training."""

    def free(num_bytes):
        monkeypatch.setattr("ditto_cli.model.hardware.Hardware.available_bytes", lambda hardware: num_bytes)

    return free


def test_a_plan_says_what_would_be_done_and_touches_nothing(ditto, texts, unloadable):
    before = contents(texts)
    result = plan(ditto, texts)
    assert result.code == 0, result.err
    told = facts(result.out)
    assert list(told) == [
        *("adapter", "texts", "base", "device", "preset", "steps", "samples", "memory", "disk", "time", "stored in")
    ]
    assert (told["adapter"], told["preset"]) == ("alice", "smollm2-135m-cpu")
    assert told["texts"] == f"2, {sum(LENGTHS)} tokens"
    assert told["base"] == f"{ditto.base}, not quantised"
    assert told["device"].startswith("CPU, ")
    assert told["steps"] == "SFT up to 2 updates, then 1 rounds of 4 samples and 1 DPO updates"
    assert told["samples"] == f"at most {math.ceil(1.5 * max(LENGTHS))} tokens each"
    assert re.match(r"about [\d.]+ MiB .*\b(sampling|an update|SFT)\b.* \(\d\.\d MiB of it the base\)", told["memory"])
    assert told["time"] == "not known before the first training on this base"
    assert told["stored in"] == str(ditto.home / "adapters" / "alice")
    assert result.err == "hosts contacted: none\n"
    assert contents(texts) == before
    assert not ditto.home.exists()
    assert not re.search(rf"{MARKER}|\x1b", result.out + result.err)


def test_the_json_is_one_document_and_adds_up(ditto, texts, unloadable):
    report = planned(ditto, texts)
    memory, disk_bytes = report.pop("memory"), report.pop("disk_bytes")
    assert report.pop("device").startswith("CPU, ")
    assert report == {
        "schema_version": 2,
        "adapter": "alice",
        "texts": 2,
        "pairs": 0,
        "tokens": sum(LENGTHS),
        "missing_prompts": 0,
        "base": str(ditto.base),
        "quantize": "none",
        "preset": "smollm2-135m-cpu",
        "max_new_tokens": math.ceil(1.5 * max(LENGTHS)),
        "sft_updates": 2,
        "rounds": 1,
        "samples_per_round": 4,
        "updates_per_round": 1,
        "last_seconds": None,
        "notes": [],
    }
    assert set(memory) == {"program", "base", "adapters", "phases", "peak_bytes", "available_bytes", "fits"}
    assert set(memory["phases"]) == {"sampling", "an update", "SFT"}
    parts = memory["program"] + memory["base"] + memory["adapters"]
    assert memory["peak_bytes"] == parts + max(memory["phases"].values())
    assert memory["fits"] is True
    weights = (ditto.base / "model.safetensors").stat().st_size
    assert weights - 10_000 < memory["base"] < weights  # all but the file's header
    assert not ditto.home.exists()
    rounds = ("--set", "rounds.num=3", "--set", "sampling.completions_per_prompt=5", "--set", "sft.max_steps=7")
    more = planned(ditto, texts, *rounds)
    assert (more["sft_updates"], more["rounds"], more["samples_per_round"]) == (7, 3, 10)
    assert more["disk_bytes"] > disk_bytes


def test_a_dry_run_of_train_is_the_plan_and_a_training_shows_it(ditto, texts, free):
    dry = ditto("train", texts, "--base", ditto.base, *SMALL, "--dry-run")
    assert dry.code == 0, dry.err
    told = facts(plan(ditto, texts).out)
    assert facts(dry.out) == told
    assert not ditto.home.exists()
    free(2**20)
    result = ditto.train(texts)
    assert result.code == 0, result.err  # a plan is no reason not to try
    assert facts(result.err) == told
    assert "note: It does not fit" in result.err
    peak = re.match(r"about ([\d.]+ [GM]iB)", told["memory"])[1]
    assert re.search(rf"^Memory: planned {peak}, used [\d.]+ [GM]iB\.$", result.err, re.M)


def test_a_plan_goes_on_beside_a_training_of_that_name(ditto, texts):
    with AdapterStore(ditto.home).training("alice"):
        assert ditto.train(texts).code == 7
        assert plan(ditto, texts).code == 0


def test_texts_without_a_prompt_are_counted_and_get_none(ditto, folder_of, unloadable):
    folder = folder_of(
        {"a.txt": f"hi bo, the {MARKER} is here. come over. anna", "b.txt": "---\nprompt: p\n---\nhi you"}
    )
    before = contents(folder)
    result = plan(ditto, folder)
    assert "note: 1 of the texts have no prompt yet" in result.err
    report = planned(ditto, folder)
    assert (report["missing_prompts"], len(report["notes"]), report["texts"]) == (1, 1, 2)
    assert contents(folder) == before


def test_memory_that_is_short_is_told_with_what_to_do(ditto, texts, free):
    memory = planned(ditto, texts)["memory"]
    fixed = memory["program"] + memory["base"] + memory["adapters"]
    for available, fits, words in (
        (memory["peak_bytes"], True, None),
        (memory["peak_bytes"] - 1, False, "goes on with less at a time"),
        (fixed + 1, False, "goes on with less at a time"),
        (fixed, False, "It does not fit: base and adapters alone need"),
    ):
        free(available)
        result = plan(ditto, texts)
        assert result.code == 0, result.err
        assert (words is None) == ("note: " not in result.err)
        assert words is None or words in result.err
        report = planned(ditto, texts)
        assert (report["memory"]["fits"], len(report["notes"])) == (fits, 0 if fits else 1)
        assert report["memory"]["available_bytes"] == available
    for preset in re.findall(r"--preset (\S+?)[\s.]", result.err):  # what is advised is there
        assert plan(ditto, texts, "--preset", preset).code == 0
    assert "--preset" in result.err


def test_the_time_is_that_of_the_last_training_on_this_base_and_device(trained, texts, tmp_path, monkeypatch):
    from ditto_cli.model import hardware

    records = [trained.record(name) for name in trained.names()]
    last = max(records, key=lambda record: record.created)
    told = f"last time {duration(last.seconds)} ({last.name}, {last.num_demonstrations} texts)"
    assert facts(plan(trained, texts).out)["time"] == told
    assert planned(trained, texts)["last_seconds"] == last.seconds
    other = save_tiny_base(tmp_path / "other", seed=1)
    assert planned(trained, texts, "--base", other)["last_seconds"] is None
    real = hardware.detect
    monkeypatch.setattr(
        hardware, "detect", lambda choice: hardware.Hardware(real(choice).device, "another", real(choice).memory_bytes)
    )
    assert planned(trained, texts)["last_seconds"] is None


def test_the_newest_of_several_trainings_counts_and_a_damaged_one_is_passed_over():
    def record(name, created, base="tiny", device="cpu"):
        return SimpleNamespace(name=name, created=created, base=SimpleNamespace(id=base), device=device)

    made = [record("a", "2024-01"), record("b", "2024-03"), record("c", "2024-02"), record("d", "2025-01", "other")]
    by_name = {one.name: one for one in [*made, record("e", "2025-01", device="gpu")]}

    class Store:
        def names(self):
            return [*by_name, "damaged"]

        def record(self, name):
            if name == "damaged":
                raise DamagedError("damaged")
            return by_name[name]

    assert last_training(Store(), "tiny", "cpu").name == "b"
    assert last_training(Store(), "nobody", "cpu") is None


@pytest.mark.parametrize("rank", [16, 256])
def test_the_disk_holds_what_a_training_has_there_at_its_largest(ditto, texts, rank):
    arguments = ["--set", f"lora.r={rank}", "--set", "rounds.num=2", "--set", "rounds.steps=11"]
    report = planned(ditto, texts, *arguments)
    largest = 0

    def note(operation):
        nonlocal largest
        present = [path for path in (ditto.home / "adapters").rglob("*") if path.is_file()]
        largest = max(largest, sum(path.stat().st_size for path in present))

    with intercepted(note):
        assert ditto.train(texts, *arguments).code == 0
    stage = ditto.stage("alice", "sft") / "adapter_model.safetensors"
    # Three stages, and three checkpoints with the optimizer's two moments.
    assert 12 * report["memory"]["adapters"] // 5 <= largest <= report["disk_bytes"] < 1.15 * largest + 2**20
    assert 0 < stage.stat().st_size - report["memory"]["adapters"] // 5 < 5000  # its header


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--set", "dpo.bta=1"], 2), (["--publish", "round9"], 2), (["--preset", "nope"], 2)]
)
def test_mistakes_are_those_of_train(ditto, texts, arguments, code):
    assert ditto("train", texts, "--base", ditto.base, *SMALL, "--dry-run", *arguments).code == code
    assert plan(ditto, texts, *arguments).code == code


def test_of_a_base_on_the_hub_only_small_files_are_downloaded(ditto, texts, hub, unloadable):
    report = planned(ditto, texts, "--base", "owner/tiny")
    assert report["base"] == f"owner/tiny at {hub.folder.name[:12]}"
    assert (report["tokens"], report["memory"]) == (
        sum(LENGTHS),
        planned(ditto, texts)["memory"] | {"available_bytes": report["memory"]["available_bytes"]},
    )
    assert len(hub.asked) == 1
    assert not ditto.home.exists()


def test_a_base_that_is_not_here_is_refused_offline(ditto, texts):
    result = ditto("plan", texts, "--preset", "qwen3-4b-12gb", "--device", "cpu", "--offline")
    assert result.code == 2
    assert "Qwen/Qwen3-4B is not cached on this machine" in result.error


def test_a_known_base_needs_what_is_known_of_it(ditto, folder_of, hub, monkeypatch, free):
    """Qwen3-8B in NF4 is trained on GPUs of 24 GiB."""
    import torch
    from transformers import Qwen3Config

    from ditto_cli.model import hardware

    gpu = hardware.Hardware(torch.device("cuda", 0), "a GPU", 24 * GIB, torch.bfloat16)
    monkeypatch.setattr(hardware, "detect", lambda choice: gpu)
    monkeypatch.setattr(hardware.Hardware, "notes", lambda hardware: [])
    free(24 * GIB)
    hub.set_config(
        Qwen3Config(
            **{"vocab_size": 151936, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 36},
            **{"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 40960},
        )
    )
    text = "---\nprompt: Write to Bo.\n---\n" + "the hens are well and so am I. " * 10
    folder = folder_of({f"{number}.txt": f"{text} {number}" for number in range(7)})

    def need(*arguments):
        result = ditto("plan", folder, "--preset", "qwen3-8b-24gb", "--json", *arguments)
        assert result.code == 0, result.err
        report = json.loads(result.out)
        assert report["base"] == f"Qwen/Qwen3-8B at {hub.folder.name[:12]}"
        return report["memory"]

    whole = need()
    assert 7 * GIB < whole["peak_bytes"] < 20 * GIB
    assert whole["fits"]
    assert 5 * GIB < whole["base"] < 7 * GIB  # 6.9e9 weights in 4 bits and a bit, 1.2e9 of the vocabulary in 16
    assert whole["adapters"] == 5 * 4 * 15_335_424  # as PEFT counts them
    few = ("--set", "sampling.max_slots=8")
    peaks = [need(*few, "--set", f"dpo.micro_batch_tokens={num}")["peak_bytes"] for num in (8192, 4096, 2048, 1024)]
    assert peaks == sorted(set(peaks), reverse=True)
    assert 14 * GIB < need("--quantize", "none")["base"] < 17 * GIB  # 8.2e9 weights in 16 bit


def test_numbers_are_for_people():
    assert [duration(seconds) for seconds in (2.34, 59.7, 160, 7260)] == ["2 s", "1 min 0 s", "2 min 40 s", "2 h 1 min"]
    assert [size(num) for num in (5 * 2**20, 3 * GIB + GIB // 10)] == ["5.0 MiB", "3.1 GiB"]
