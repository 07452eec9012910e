"""`make gpu` on a tiny shape: its checks pass, each of them can fail, and one that crashes does not end the rest."""

import json
import sys
from pathlib import Path

import pytest
import torch

from ditto_cli.method import updates
from ditto_cli.method.updates import Updater
from ditto_cli.model.policy.memory import MemoryGuard

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import gpu
from speed import ways

CUDA = pytest.param(
    "cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
)


def run(*options, device="cpu"):
    return gpu.main(["--tiny", "--device", device, *map(str, options)])


@pytest.mark.parametrize("device", ["cpu", CUDA])
def test_all_checks_pass_on_a_tiny_shape(device, tmp_path, capsys):
    path = tmp_path / "gpu.json"
    assert run("--json", path, device=device) == 0
    report = json.loads(path.read_text())
    last = True if device == "cuda" else None  # a CPU has no graphs
    passed = [check["passed"] for check in report["checks"]]
    assert [check["name"] for check in report["checks"]] == list(gpu.CHECKS)
    assert passed == [True] * 9 + [last]
    head, *lines = capsys.readouterr().out.splitlines()
    assert f"torch {torch.__version__}" in head
    assert report["driver"] in head
    assert [int(line.split()[0]) for line in lines] == list(range(1, 11))
    assert [line.split()[1] for line in lines] == [{True: "passed", None: "skipped"}[each] for each in passed]


def shifted(monkeypatch):
    """Scores that are off by a tenth of a nat a token."""
    score = ways.score
    monkeypatch.setattr(ways, "score", lambda policy, ids, texts: score(policy, ids, texts) + 0.1 * len(texts[0]))


def unlearning(monkeypatch):
    """SFT that gets worse."""
    imitate = gpu.imitate
    monkeypatch.setattr(gpu, "imitate", lambda *given: imitate(*given)[::-1])


def backward(monkeypatch):
    """Updates that go the wrong way."""
    accumulate = updates.accumulate_gradient

    def negated(policy, *given):
        terms = accumulate(policy, *given)
        for parameter in policy.parameters():
            parameter.grad.neg_()
        return terms

    monkeypatch.setattr(updates, "accumulate_gradient", negated)


def forgetful(monkeypatch):
    """A resume that begins with a fresh optimizer."""
    monkeypatch.setattr(Updater, "restore", lambda self, tensors: None)


def helpless(monkeypatch):
    """Full memory that nobody answers."""
    monkeypatch.setattr(MemoryGuard, "fit", lambda self, kind, work, limit, **options: work(limit))


def unkept(monkeypatch):
    """A 4-bit form that is never kept."""
    monkeypatch.setattr("ditto_cli.model.base.loading.keep_four_bit", lambda *given: None)


@pytest.mark.parametrize(
    ("number", "broken"),
    [(1, unlearning), (2, backward), (3, shifted), (4, shifted), (7, unkept), (8, helpless), (9, forgetful)],
)
def test_a_check_fails_where_something_is_wrong(monkeypatch, capsys, number, broken):
    broken(monkeypatch)
    assert run("--only", number) == 1
    assert f"{number:2} FAILED {list(gpu.CHECKS)[number - 1]} (" in capsys.readouterr().out


def test_a_check_that_crashes_is_told_and_the_next_goes_on(monkeypatch, tmp_path, capsys):
    path, found = tmp_path / "gpu.json", []

    def crashes(setup):
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be ...")

    def reads(setup):
        found.append(json.loads(path.read_text())["checks"][-1])
        return gpu.Finding("fine", True)

    monkeypatch.setattr(gpu, "CHECKS", {"bad": crashes, "good": reads})
    assert run("--json", path) == 1
    assert (found[0]["name"], found[0]["passed"]) == ("bad", False)
    assert "in crashes" in found[0]["figures"]["traceback"]
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0].endswith(": RuntimeError: CUDA error: an illegal memory access was encountered")
    assert lines[1].endswith(": fine")
