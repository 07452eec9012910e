"""Memory that a training takes, by a short formula from the base's modules: nothing is loaded or measured.

The constants were fitted to trainings of the embedded base (docs/performance.md); on a GPU they were not measured yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from ditto_cli.config import Settings
from ditto_cli.model.hardware import GIB
from ditto_cli.model.policy.policy import Policy

_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # a weight, its block's scale, that scale's own scale
_PROGRAM_BYTES = int(0.8 * GIB)  # Python with its libraries, or CUDA's context and the gaps of its allocator
_KEPT_PER_TOKEN = (12, 5)  # numbers that autograd keeps of a token and layer: multiples of hidden and inner size
_PASSES_LEFT = 1.4  # of a CPU's pass: glibc gives back little of what passes of other lengths have freed
_LOGITS_BYTES = 3 * 256 * 2**20  # on a GPU, of a chunk of tokens, with its gradient and softmax
_HEAD_TILES = 9 * 4 * 32_768  # on a CPU, bytes of a token in TRL's output head, which scores prompts too


@dataclass(frozen=True)
class Need:
    """Bytes of a training: what is there all the time, and what each phase adds at most."""

    program: int
    base: int
    adapter: int  # its weights alone
    phases: Mapping[str, int]

    @property
    def adapters(self) -> int:
        """Weights, gradient, AdamW's two moments, and the reference."""
        return 5 * self.adapter

    @property
    def phase(self) -> str:
        """The phase that takes most."""
        return max(self.phases, key=lambda name: self.phases[name])

    @property
    def peak(self) -> int:
        """The most at any time."""
        return self.program + self.base + self.adapters + self.phases[self.phase]


def base_bytes(policy: Policy, quantize: str) -> int:
    """Bytes of a base's weights in memory; quantising leaves its vocabulary and a mixture's experts as they are."""
    model, head = policy.model, policy.model.get_output_embeddings()
    if not next(model.parameters()).is_meta:
        return sum(parameter.nbytes for parameter in model.parameters())
    packed = {
        id(module.weight)
        for module in model.modules()
        if quantize == "nf4" and isinstance(module, nn.Linear) and module is not head
    }
    item = policy.hardware.dtype.itemsize
    sizes = [p.numel() * (_NF4_BYTES if id(p) in packed else item) for p in model.parameters()]
    return math.ceil(sum(sizes))


def memory_need(
    policy: Policy, settings: Settings, quantize: str, *, cached_tokens: int, row_tokens: int, batch_tokens: int
) -> Need:
    """What a training with this base takes, by the largest of each phase.

    The policy is for the hardware of the run, perhaps on the meta device. `cached_tokens` are sequences side by side
    times the tokens of the longest, `row_tokens` those of an update or a scoring pass, `batch_tokens` those of SFT.
    """
    hardware = policy.hardware
    config = policy.model.config.get_text_config()
    num_layers, hidden, item = config.num_hidden_layers, config.hidden_size, hardware.dtype.itemsize
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    kept = item * (_KEPT_PER_TOKEN[0] * hidden + _KEPT_PER_TOKEN[1] * inner)
    per_token = num_layers * item * hidden + kept if hardware.is_cuda else num_layers * kept * _PASSES_LEFT
    head = _LOGITS_BYTES if hardware.is_cuda else 0
    weights = base_bytes(policy, quantize)
    targets = settings.lora.targets
    sizes = [
        module.in_features + module.out_features  # not the weight's shape: 4-bit weights are packed
        for name, module in policy.model.get_decoder().named_modules()
        if isinstance(module, nn.Linear) and (targets == "all-linear" or name.rpartition(".")[2] in targets)
    ]
    adapter = 4 * settings.lora.r * sum(sizes)
    packed = 0 if hardware.is_cuda or quantize == "nf4" else weights  # a CPU samples from a packed copy
    logits = 0 if hardware.is_cuda else settings.sampling.max_slots * config.vocab_size * 16
    phases = {
        "sampling": cached_tokens * policy.cached_token_bytes + packed + logits,
        "an update": int(row_tokens * per_token) + head,
        "SFT": int(batch_tokens * (per_token + (0 if hardware.is_cuda else _HEAD_TILES))) + head,
    }
    return Need(_PROGRAM_BYTES, weights, adapter, phases)
