"""Packed linear layers: the same numbers as the model's own, and no trace of them afterwards."""

import pytest
import torch

from conftest import load_tiny, shake
from ditto_cli.config import LoraSettings
from ditto_cli.model.fast import slots
from ditto_cli.model.fast.slots import packed_linears
from ditto_cli.model.policy.sampling import sample
from ditto_cli.types import SampleRequest

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("alice", LoraSettings(r=4, dropout=0.0, targets=("q_proj", "down_proj")), seed=1)
    shake(tiny_policy, seed=2)
    return tiny_policy


@pytest.fixture
def packs(monkeypatch):
    """The shapes of the weights that were packed."""
    made = []
    pack = torch.ops.mkldnn._reorder_linear_weight
    monkeypatch.setattr(
        torch.ops.mkldnn, "_reorder_linear_weight", lambda weight, rows: made.append(weight.shape) or pack(weight, rows)
    )
    return made


def logits(policy, num_rows):
    ids = torch.arange(num_rows)[:, None] + 40
    with torch.inference_mode():
        return policy.head().logits(policy.hidden(ids, torch.ones_like(ids), torch.zeros_like(ids)))[:, 0]


@pytest.mark.parametrize("adapter", ["alice", None])
def test_packed_layers_give_the_models_own_logits(policy, packs, adapter):
    policy.switch(adapter)
    plain = {rows: logits(policy, rows) for rows in (1, 3, 9, 40)}
    with torch.inference_mode(), packed_linears(policy):
        for rows, expected in plain.items():
            torch.testing.assert_close(logits(policy, rows), expected, atol=1e-5, rtol=1e-5)
    assert len(packs) == 7 * 2 + 1  # seven linear layers in each of two, and the head


def test_the_adapter_makes_the_difference(policy):
    policy.switch(None)
    base = logits(policy, 4)
    policy.switch("alice")
    with torch.inference_mode(), packed_linears(policy):
        assert (logits(policy, 4) - base).abs().max() > 0.1


def test_no_trace_is_left_of_it(policy, packs, monkeypatch):
    before = {key: value.clone() for key, value in policy.model.state_dict().items()}
    plain = logits(policy, 4)
    requests = [SampleRequest((40, 41), seed) for seed in range(4)]
    sample(policy, requests, max_new_tokens=6, temperature=1.0)
    assert packs
    assert not [module for module in policy.model.modules() if "forward" in vars(module)]
    assert all(torch.equal(before[key], value) for key, value in policy.model.state_dict().items())
    assert torch.equal(logits(policy, 4), plain)
    monkeypatch.setattr(slots, "draw_next", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        sample(policy, requests, max_new_tokens=6, temperature=1.0)
    assert not [module for module in policy.model.modules() if "forward" in vars(module)]
    assert torch.equal(logits(policy, 4), plain)


@pytest.mark.parametrize("lacking", ["onednn", "operator"])
def test_samples_are_the_same_without_onednn(policy, monkeypatch, packs, lacking):
    requests = [SampleRequest((40, 41), seed) for seed in range(6)]
    packed = sample(policy, requests, max_new_tokens=12, temperature=1.0)
    assert packs
    packs.clear()
    if lacking == "onednn":
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    else:
        monkeypatch.setattr(slots, "_OPERATORS", (slots._OPERATORS[0], "not_there"))
    assert sample(policy, requests, max_new_tokens=12, temperature=1.0) == packed
    assert packs == []


def test_four_bit_layers_are_left_alone(tiny_folder, packs):
    policy = load_tiny(tiny_folder, "nf4")
    sample(policy, [SampleRequest((40, 41), seed) for seed in range(4)], max_new_tokens=3, temperature=1.0)
    assert len(packs) == 1  # the head is not quantised
