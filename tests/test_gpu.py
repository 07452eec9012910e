"""What only a CUDA device can show; skipped elsewhere."""

import pytest
import torch

from conftest import shake
from ditto_cli.config import LoraSettings
from ditto_cli.model import fixed_steps, sampling
from ditto_cli.model.hardware import detect
from ditto_cli.model.loading import load_source
from ditto_cli.model.sampling import sample
from ditto_cli.model.source import BaseSource
from ditto_cli.types import SampleRequest

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@pytest.mark.parametrize("quantize", ["none", "nf4"])
def test_replayed_steps_are_the_growing_caches(tiny_folder, monkeypatch, quantize):
    policy = load_source(BaseSource("local", str(tiny_folder), None, tiny_folder), quantize, detect("cuda"))
    policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0), seed=1)
    shake(policy, seed=2, scale=0.1)
    requests = [SampleRequest(policy.chat.prompt_ids("Hi"), seed) for seed in range(8)]
    captures, notes = [], []
    capture = fixed_steps.FixedSteps._capture
    monkeypatch.setattr(fixed_steps.FixedSteps, "_capture", lambda self: (captures.append(self), capture(self)))
    fixed = sample(policy, requests, max_new_tokens=40, temperature=0, noted=notes.append)
    assert captures
    assert notes == []
    assert all(one._graph is not None for one in captures)
    monkeypatch.setattr(sampling, "_steps_are_fixed", lambda policy: False)
    assert sample(policy, requests, max_new_tokens=40, temperature=0) == fixed
