"""`ditto plan` and `ditto train --dry-run` on a tiny base, and the plan beside what was measured after a run."""

import json
import re

import pytest
import torch

from cli_helpers import SMALL
from ditto_cli.cli.forecast import Need, Stopwatch, duration, size
from ditto_cli.errors import MemoryLimitError
from ditto_cli.store import AdapterStore
from ditto_cli.types import SilentReporter

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"
GIB = 2**30


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def plan(ditto, folder, *arguments):
    return ditto("plan", folder, "--base", ditto.base, *SMALL, *arguments)


def planned(ditto, folder, *arguments):
    result = plan(ditto, folder, "--json", *arguments)
    assert result.code == 0, result.err
    return json.loads(result.out)


def without_times(text):
    return re.sub(r"\d+(\.\d+)?( min \d+)? s\b|[\d.]+ (MiB|GiB)|[ ─━┳┻╇┏┓┡┩│┃└┘┴]+", " ", text)


def test_a_plan_says_what_would_be_done_and_touches_nothing(ditto, texts):
    before = contents(texts)
    result = plan(ditto, texts)
    assert result.code == 0, result.err
    for words in ("SFT up to 2 updates, then 1 rounds of 4 samples and 1 DPO updates", "at most 2 updates of 4 texts"):
        assert words in result.out
    for name in ("qwen3-8b-24gb", "qwen3-4b-12gb", "paper-mistral-7b", "smollm2-135m-cpu (this plan)", "at its peak"):
        assert name in result.out
    assert "How long samples become is not known beforehand" in result.err
    assert contents(texts) == before
    assert not ditto.home.exists()
    assert MARKER not in result.out + result.err
    assert "\x1b" not in result.out + result.err


def test_the_json_has_all_and_is_one_document(ditto, texts):
    report = planned(ditto, texts)
    assert set(report) == {
        *("schema_version", "adapter", "texts", "tokens", "tokens_are_guessed", "missing_prompts", "base", "quantize"),
        *("device", "preset", "max_new_tokens", "phases", "seconds", "load_seconds", "calibration_seconds", "memory"),
        *("disk_bytes", "cache_bytes", "presets", "changes"),
    }
    assert (report["adapter"], report["texts"], report["missing_prompts"]) == ("alice", 2, 0)
    assert (report["schema_version"], report["tokens_are_guessed"], report["changes"]) == (1, False, [])
    assert [phase["phase"] for phase in report["phases"]] == [
        *("samples of the base", "SFT", "samples of the stages", "DPO updates"),
        "the rest",
    ]
    assert report["seconds"] == pytest.approx(sum(phase["seconds"] for phase in report["phases"]), abs=0.5)
    memory = report["memory"]
    assert memory["peak_bytes"] == sum(memory["fixed"].values()) + max(memory["phases"].values())
    assert memory["fits"] is True
    fitting = {row["preset"]: row for row in report["presets"]}
    assert fitting["smollm2-135m-cpu"]["fits"] is True
    # 7.2e9 weights: in fp32 they are 27 GiB, which is what `auto` takes on a CPU
    assert fitting["paper-mistral-7b"]["peak_bytes"] > 27 * GIB
    assert fitting["qwen3-8b-24gb"]["peak_bytes"] > 5 * GIB


def test_a_dry_run_of_train_is_the_plan(ditto, texts):
    dry = ditto("train", texts, "--base", ditto.base, *SMALL, "--dry-run")
    assert dry.code == 0, dry.err
    assert without_times(dry.out) == without_times(plan(ditto, texts).out)
    assert not ditto.home.exists()


def test_a_plan_goes_on_beside_a_training_of_that_name(ditto, texts):
    with AdapterStore(ditto.home).training("alice"):
        assert ditto.train(texts).code == 7
        assert plan(ditto, texts).code == 0


def test_texts_without_a_prompt_are_counted_and_get_none(ditto, folder_of):
    folder = folder_of(
        {"a.txt": f"hi bo, the {MARKER} is here. come over. anna", "b.txt": "---\nprompt: p\n---\nhi you"}
    )
    before = contents(folder)
    result = plan(ditto, folder)
    assert "1 of the texts have no prompt yet" in result.err
    assert planned(ditto, folder)["missing_prompts"] == 1
    assert contents(folder) == before


def test_a_base_that_would_not_fit_is_told_and_not_loaded(ditto, texts, monkeypatch):
    monkeypatch.setattr("ditto_cli.model.hardware.available_bytes", lambda hardware: 2**20)
    monkeypatch.setattr("ditto_cli.model.loading.load_source", None)  # whoever calls it fails
    result = plan(ditto, texts)
    assert result.code == 0, result.err
    assert "It does not fit by" in result.err
    assert "take a smaller base" in " ".join(result.err.split())
    assert "not measured" in result.out
    report = planned(ditto, texts)
    assert (report["seconds"], report["memory"]["fits"]) == (None, False)


def test_settings_that_make_it_fit_are_named_by_the_same_model(ditto, texts, monkeypatch):
    whole = planned(ditto, texts)["memory"]
    room = sum(whole["fixed"].values()) + 4 * max(whole["phases"].values()) // 5
    monkeypatch.setattr("ditto_cli.model.hardware.available_bytes", lambda hardware: room)
    monkeypatch.setattr("ditto_cli.model.hardware.resident_bytes", lambda: whole["fixed"]["program"])
    report = planned(ditto, texts)
    assert report["memory"]["fits"] is False
    (line,) = [line for line in report["changes"] if "--set" in line]
    options = re.findall(r"--set \S+", line)
    assert options
    again = planned(ditto, texts, *" ".join(options).split())
    assert again["memory"]["fits"] is True
    assert again["memory"]["peak_bytes"] <= room


def test_a_base_that_is_not_here_is_reckoned_from_what_is_known_of_it(ditto, texts):
    result = ditto("plan", texts, "--preset", "qwen3-4b-12gb", "--device", "cpu", "--offline", "--json")
    assert result.code == 0, result.err
    report = json.loads(result.out)
    assert (report["tokens_are_guessed"], report["seconds"], report["quantize"]) == (True, None, "nf4")
    assert 2 * GIB < report["memory"]["fixed"]["base"] < 4 * GIB  # 3.6e9 in 4 bits and 0.4e9 in fp32


def test_a_base_of_which_nothing_is_known_is_refused(ditto, texts):
    result = ditto("plan", texts, "--base", "nobody/nothing", "--device", "cpu", "--offline")
    assert result.code == 2
    assert "its size is not known without it" in result.error


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--set", "dpo.bta=1"], 2), (["--publish", "round9"], 2), (["--preset", "nope"], 2)]
)
def test_mistakes_are_those_of_train(ditto, texts, arguments, code):
    assert plan(ditto, texts, *arguments).code == code


def test_after_a_run_the_plan_stands_beside_what_was_measured(ditto, texts):
    result = ditto.train(texts, "--set", "sft.stop_loss=100")
    assert result.code == 0, result.err
    assert re.search(r"Measured this machine for .* s: about .* and up to .* of memory\.", " ".join(result.err.split()))
    table = result.out[result.out.index("planned and measured") :]
    for kind in (
        "SFT, stopped after 1 of 2",
        "samples of the base",
        "DPO updates",
        "the rest",
        "all",
        "mem",
    ):
        assert kind in table
    assert MARKER not in result.out + result.err


def test_a_run_that_was_resumed_is_not_compared(ditto, texts, monkeypatch):
    def broken(*_):
        raise MemoryLimitError("full")

    with monkeypatch.context() as patch:
        patch.setattr("ditto_cli.method.rounds.update_policy", broken)
        assert ditto.train(texts).code == 5
    result = ditto.train(texts)
    assert "Going on with the training" in result.err
    assert result.code == 0, result.err
    assert "planned and measured" not in result.out


def test_memory_that_is_full_while_measuring_stops_no_training(ditto, texts, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr("ditto_cli.model.calibration.calibrate", full)
    result = ditto.train(texts)
    assert result.code == 0, result.err
    assert "Memory was full while this machine was measured" in result.err
    assert "planned and measured" not in result.out
    assert "No time is told: memory was full" in plan(ditto, texts).err


def test_a_stopwatch_tells_the_other_reporter_everything():
    class Heard(SilentReporter):
        def __init__(self):
            self.heard = []

        def stage_started(self, *arguments):
            self.heard.append(arguments)

        def noted(self, *arguments):
            self.heard.append(arguments)

    inner = Heard()
    watch = Stopwatch(inner)
    watch.stage_started("SFT", 20, "updates")
    watch.stage_advanced(11, {})
    watch.stage_ended()
    watch.noted("hm")
    assert inner.heard == [("SFT", 20, "updates"), ("hm",)]
    assert watch.sft_updates == 11
    assert watch.seconds["SFT"] >= 0


def test_numbers_are_for_people():
    assert [duration(seconds) for seconds in (2.34, 59.7, 160, 7260)] == [
        "2.3 s",
        "1 min 0 s",
        "2 min 40 s",
        "2 h 1 min",
    ]
    assert [size(num) for num in (5 * 2**20, 3 * GIB + GIB // 10)] == ["5 MiB", "3.1 GiB"]
    assert Need({"a": 1, "b": 2}, {"x": 5, "y": 4}).peak_bytes == 8
