"""`ditto train --track`: what a tracker is told, where it keeps that, and trackers that are not there.

wandb is a stand-in but in the last test, which runs each tracker that is installed.
"""

import json
import os
import re
import sqlite3
import sys
from importlib.util import find_spec

import pytest

import ditto_cli
from cli_helpers import MARKER, SMALL

pytest_plugins = ["cli_helpers"]

STAND_IN = """
import json, os, sys
def init(**options):
    print("wandb says hello")
    if "BROKEN" in os.environ:
        raise ValueError("no API key\\nread the manual")
    return Run(options)
class Run:
    def __init__(self, options):
        self.place = os.path.join(options["dir"], "told.jsonl")
        self.settings = type("", (), {"base_url": "https://tracker.invalid/x"})
        self.write(["init", {**options, "dir": str(options["dir"])}])
    def write(self, event):
        with open(self.place, "a") as file:
            file.write(json.dumps(event) + "\\n")
    def log(self, values, step):
        self.write(["log", step, values])
    def finish(self):
        self.write(["finish"])
class config:
    def update(values, **options):
        print(values["dpo.beta"], values["seed"])
"""


@pytest.fixture
def wandb(tmp_path, monkeypatch):
    """A module of that name which writes down what it is told."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    yield
    sys.modules.pop("wandb", None)


def told(ditto):
    return [json.loads(line) for line in (ditto.home / "adapters/alice/tracking/told.jsonl").read_text().splitlines()]


def test_a_tracker_gets_the_figures_and_nothing_else(ditto, texts, wandb):
    result = ditto.train(texts, "--track", "wandb", "--set", "rounds.num=2", "--set", "sft.stop_loss=0")
    assert result.code == 0, result.err
    begin, *logs, end = told(ditto)
    assert begin[1].pop("name")
    settings = begin[1].pop("settings")
    assert (settings["console"], settings["x_disable_meta"]) == ("off", True)
    assert begin[1] == {"project": "alice", "dir": str(ditto.home / "adapters/alice/tracking"), "mode": "offline"}
    assert end == ["finish"]
    # SFT has two updates at most, a round one.
    assert [step for _, step, _ in logs] == [1, 2, 3, 4]
    assert [set(values) for _, _, values in logs[:2]] == [{"sft/loss"}] * 2
    for (_, _, values), stage in zip(logs[2:], ditto.record("alice").stages[1:], strict=True):
        assert {"loss", "rewards/chosen", "rewards/rejected", "rewards/margins", "rewards/accuracies"} <= set(values)
        assert values == {name: stage.metrics[name] for name in values}
    assert all(isinstance(value, float) for _, _, values in logs for value in values.values())
    assert MARKER not in str(told(ditto))
    assert "wandb says hello" in result.err  # stdout is the product
    assert "wandb says" not in result.out
    assert result.err.splitlines()[-1] == "hosts contacted: none"


def test_it_is_off_unless_it_is_asked_for_and_changes_no_weights(ditto, texts, wandb):
    weights = []
    for name, options in (("plain", []), ("alice", ["--track", "wandb"])):
        assert ditto.train(texts, "--name", name, *options).code == 0
        weights.append((ditto.stage(name) / "adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert not (ditto.home / "adapters/plain/tracking").exists()


def test_a_tracker_that_connects_by_a_program_of_its_own_is_told_of(ditto, texts, wandb):
    result = ditto.train(texts, "--track", "wandb", environment={"WANDB_MODE": "online"})
    assert result.code == 0
    assert told(ditto)[0][1]["mode"] == "online"
    assert result.err.splitlines()[-1] == "hosts contacted: tracker.invalid"


def test_what_it_keeps_goes_with_the_adapter_and_is_private(ditto, texts, wandb):
    assert ditto.train(texts, "--track", "wandb").code == 0
    assert ditto("doctor").code == 0
    assert ditto("adapters", "rename", "alice", "al").code == 0
    assert (ditto.home / "adapters/al/tracking/told.jsonl").is_file()
    assert ditto("forget", "al", "--yes").code == 0
    assert not list(ditto.home.rglob("told.jsonl"))


def test_one_that_is_not_installed_is_refused_before_anything_is_loaded(ditto, texts, monkeypatch):
    monkeypatch.setattr("ditto_cli.cli.tracking.find_spec", {}.get)
    result = ditto.train(texts, "--track", "mlflow")
    assert (result.code, result.only_error) == (
        2,
        "error: --track mlflow needs a package that is not installed: pip install mlflow.",
    )


def test_one_that_cannot_begin_is_an_error(ditto, texts, wandb):
    result = ditto.train(texts, "--track", "wandb", environment={"BROKEN": "1"})
    assert (result.code, result.error) == (2, "error: --track wandb cannot begin (no API key).")


def test_the_python_api_has_it_too_and_leaves_the_environment_as_it_was(ditto, texts, wandb, monkeypatch):
    monkeypatch.setenv("DITTO_HOME", str(ditto.home))
    before = dict(os.environ)
    settings = dict(word.split("=") for word in SMALL if "=" in word)
    ditto_cli.train(
        texts, preset="smollm2-135m-cpu", base=str(ditto.base), settings=settings, device="cpu", track="wandb"
    )
    assert [event[0] for event in told(ditto)] == ["init", "log", "log", "log", "finish"]
    assert not [name for name in os.environ.keys() - before.keys() if re.search("TRACK|WANDB|MLFLOW", name)]


def figures_in(tracker, place):
    """(name, step, value) of all figures that a tracker kept."""
    if tracker == "tensorboard":
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        [folder] = place.iterdir()
        events = EventAccumulator(str(folder)).Reload()
        return [(tag, one.step, one.value) for tag in events.Tags()["scalars"] for one in events.Scalars(tag)]
    if tracker == "trackio":
        rows = sqlite3.connect(place / "alice.db").execute("select metrics, step from metrics").fetchall()
        return [(name, step, value) for values, step in rows for name, value in json.loads(values).items()]
    if tracker == "mlflow":
        return sqlite3.connect(place / "mlflow.db").execute("select key, step, value from metrics").fetchall()
    raise AssertionError(tracker)


@pytest.mark.parametrize("tracker", ["tensorboard", "wandb", "trackio", "mlflow"])
def test_the_trackers_themselves(ditto, texts, tracker):
    """In a process of its own: some look at the environment when they are imported."""
    if find_spec(tracker) is None:
        pytest.skip(f"{tracker} is not installed")
    result = ditto.process("train", texts, "--base", ditto.base, *SMALL, "--track", tracker, "--set", "sft.stop_loss=0")
    assert result.code == 0, result.err
    assert result.err.splitlines()[-1] == "hosts contacted: none"
    assert "│round1" in result.out
    assert tracker not in result.out.lower()
    place = ditto.home / "adapters/alice/tracking"
    stages = ditto.record("alice").stages
    expected = {("sft/loss", 2): stages[0].metrics["loss"]}
    expected |= {(name, 3): stages[1].metrics[name] for name in ("loss", "rewards/margins", "rewards/accuracies")}
    if tracker == "wandb":  # a format of its own, in which numbers are JSON
        [kept] = place.glob("wandb/offline-run-*/run-*.wandb")
        for (name, _), value in expected.items():
            assert name.encode() in kept.read_bytes()
            assert json.dumps(value).encode() in kept.read_bytes()
    else:
        found = {(name, step): value for name, step, value in figures_in(tracker, place)}
        assert {key: found[key] for key in expected} == pytest.approx(expected)
    for path in place.rglob("*"):
        if path.is_file():
            assert not any(word.encode() in path.read_bytes() for word in (MARKER, str(texts), "--track")), path
    assert ditto("doctor").code == 0
