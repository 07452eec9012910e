"""What needs a CUDA device: every family through the whole loop in 4 bit, and the commands as people use them.

`make stand-in` runs it, and the ten checks of `make gpu`, on a device that computes on the CPU (stand_in_gpu.py).
"""

import json

import pytest
import torch

from conftest import load_tiny, save_tiny_base, tokenised
from ditto_cli.config import DpoSettings, LoraSettings, RoundSettings, SamplingSettings, Settings, SftSettings
from ditto_cli.method.ditto import Place, StageEnded
from ditto_cli.method.ditto import ditto as rounds
from ditto_cli.method.updates import POLICY
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.shown import size
from ditto_cli.types import Demonstration, SampleRequest, SilentReporter
from families import FAMILIES, save_family

pytest_plugins = ["cli_helpers"]
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device; see make stand-in"),
]

SETTINGS = Settings(
    lora=LoraSettings(r=2, dropout=0.0, targets="all-linear"),
    sft=SftSettings(learning_rate=5e-3, max_steps=5, stop_loss=0.0),
    rounds=RoundSettings(num=2, steps=2),
    sampling=SamplingSettings(completions_per_prompt=2),
    dpo=DpoSettings(learning_rate=1e-3),
)
TEXTS = [
    Demonstration(f"{thing}.md", f"Write of {thing}.", f"{thing} again! all the {thing} that I like, and more of it.")
    for thing in ("tea", "rain", "bread")
]


@pytest.mark.parametrize("speed", ["auto", "graph"])
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_a_family_is_trained_in_four_bit_with_recomputed_layers(family, speed, tmp_path):
    policy = load_tiny(save_family(family, tmp_path / "base"), "nf4", hardware=detect("cuda"), speed=speed)
    policy.recompute_layers(True)
    texts, losses = tokenised(policy, TEXTS), []

    class Watching(SilentReporter):
        """Keeps SFT's losses."""

        def advance_work(self, completed, metrics):
            losses.extend([metrics["loss"]] if metrics.keys() == {"loss"} else [])

    events = list(rounds(policy, texts, SETTINGS, [], Place(), Watching()))
    assert policy.has_graphs or family.has_experts  # which are called by numbers that no capture may ask for
    assert losses[-1] < losses[0] - 0.1
    assert [event.stage for event in events if isinstance(event, StageEnded)] == ["sft", "round1", "round2"]
    assert events[-2].metrics["rewards/margins"] > 0
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    with policy.using(POLICY):
        requests = [SampleRequest(ids, seed) for seed, ids in enumerate(texts.prompts.values())]
        for request, sampled in zip(
            requests, sample(policy, requests, max_new_tokens=12, temperature=1.0), strict=True
        ):
            scored = float(score(policy, request.prompt_ids, [sampled.token_ids])[0])
            assert scored == pytest.approx(sampled.logp, abs=0.05 * len(sampled.token_ids))  # of bf16


def test_a_tensor_of_the_other_device_is_refused():
    with pytest.raises(RuntimeError, match="same device"):
        torch.ones(2, device="cuda") + torch.ones(2)


def test_commands_take_the_gpu_and_its_preset_by_themselves(ditto, texts, tmp_path):
    base = save_tiny_base(tmp_path / "base", hidden_size=64, intermediate_size=128)  # four bits come in blocks of 64
    short = [f"--set={key}" for key in ("rounds.num=1", "rounds.steps=2", "sampling.completions_per_prompt=2")]
    result = ditto("train", texts, "--name", "alice", "--base", base, *short)
    assert result.code == 0, result.err
    for line in ("preset     qwen3-8b-24gb", f"base       {base}, 4-bit NF4", f"device     {detect().name}"):
        assert line in result.err
    planned = ditto("plan", texts, "--name", "alice", "--base", base, *short, "--json")
    assert f"disk       {size(json.loads(planned.out)['disk_bytes'])} while it trains" in result.err  # without weights
    record = ditto.record("alice")
    assert (record.quantize, record.device) == ("nf4", detect().name)
    result = ditto("sample", "--compare", "base,alice:sft,alice:0.5", "--max-tokens", "8", "Write of the garden.")
    assert result.code == 0, result.err
