"""LoRA adapters in PEFT's layout: read from a folder, weighted, summed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load, save
from torch import Tensor

from ditto_cli.errors import DiskError, IncompatibleError

WEIGHTS_FILE = "adapter_model.safetensors"
CONFIG_FILE = "adapter_config.json"
_VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for


@dataclass(frozen=True)
class Lora:
    """An adapter apart from any base: its configuration, and its fp32 tensors under PEFT's own keys."""

    config: LoraConfig
    weights: Mapping[str, Tensor]


def read_lora(folder: Path) -> Lora:
    """An adapter from a folder in PEFT's layout, with finite numbers only."""
    try:
        lora = lora_of({name: (folder / name).read_bytes() for name in (CONFIG_FILE, WEIGHTS_FILE)})
        is_finite = all(bool(torch.isfinite(value).all()) for value in lora.weights.values())
    except Exception as error:
        raise DiskError(f"The adapter in {folder} is damaged or incomplete ({type(error).__name__}).") from None
    if not is_finite:
        raise DiskError(
            f"The adapter in {folder} is damaged (not finite): take another stage with --round, or train it anew."
        )
    return lora


def lora_of(files: Mapping[str, bytes]) -> Lora:
    """An adapter from the contents of PEFT's two files; raises what PEFT and safetensors do."""
    return Lora(LoraConfig.from_peft_type(**json.loads(files[CONFIG_FILE])), load(files[WEIGHTS_FILE]))


def contents(lora: Lora, base: str, revision: str | None) -> dict[str, bytes]:
    """An adapter as PEFT's two files, so that `PeftModel.from_pretrained(base, folder)` reads them."""
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in lora.config.to_dict().items()}
    config |= {"base_model_name_or_path": base, "revision": revision, "inference_mode": True}
    tensors = {key: value.detach().float().cpu().contiguous() for key, value in lora.weights.items()}
    return {
        CONFIG_FILE: json.dumps(config, indent=2, sort_keys=True).encode(),
        WEIGHTS_FILE: save(tensors, metadata={"format": "pt"}),
    }


def mix(parts: Sequence[tuple[Lora, float]]) -> Lora:
    """One adapter that changes a base by the weighted sum of what the parts change: exact, of the sum of their ranks.

    A is the parts' A one below the other, each times its strength and scale, and B their B side by side. A layer that a
    part does not adapt gets zeros of it.
    """
    (first, strength), *others = parts
    if not others and strength == 1:
        return first
    keys = list(dict.fromkeys(key for lora, _ in parts for key in lora.weights))
    weights = {}
    for key in keys:
        is_a = "lora_A" in key
        (size, *different) = {one.weights[key].shape[1 if is_a else 0] for one, _ in parts if key in one.weights}
        if different:
            raise IncompatibleError("These adapters cannot be mixed: they are of bases of other sizes.")
        blocks = [
            lora.weights[key] * (strength * (lora.config.lora_alpha / lora.config.r) if is_a else 1)
            if key in lora.weights
            else torch.zeros((lora.config.r, size) if is_a else (size, lora.config.r))
            for lora, strength in parts
        ]
        weights[key] = torch.cat(blocks, dim=0 if is_a else 1)
    assert all(not isinstance(lora.config.target_modules, str) for lora, _ in parts), "PEFT keeps names"
    rank = sum(lora.config.r for lora, _ in parts)
    targets = set().union(*(lora.config.target_modules for lora, _ in parts))
    return Lora(replace(first.config, r=rank, lora_alpha=rank, target_modules=targets), weights)


def vllm_rank(rank: int) -> int:
    """The smallest of vLLM's ranks that holds an adapter of this rank."""
    return next((known for known in _VLLM_RANKS if known >= rank), rank)
