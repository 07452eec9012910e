"""Several adapters on one base at the same time, each row of a batch with its own: none is waited for.

The adapters lie in one, of the sum of their ranks (`lora.mix`), and between its two matrices each row is multiplied by
weights: the strength for the ranks of its own adapters, 0 for all others. So a voice is a strength or several, and no
weights move from one to another.

Legend: R rows, T tokens, K ranks of all adapters together.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from ditto_cli.model.policy.lora import Lora, mix
from ditto_cli.model.policy.policy import Policy

_NAMES = ("chorus", "chorus2")  # by turns: the new one is there before the old one goes

Parts = tuple[tuple[Hashable, float], ...]  # adapters by key, with their strengths; none is the base


class Chorus:
    """The adapters that are in memory, and whose rows the next pass holds."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._loras: dict[Hashable, Lora] = {}
        self._name: str | None = None
        self._weights_R1K: Tensor | None = None

    def __contains__(self, key: Hashable) -> bool:
        return key in self._loras

    def add(self, key: Hashable, lora: Lora, *, instead_of: Collection[Hashable] = ()) -> None:
        """Take in another adapter, and let go of those that it replaces, which no row in the making may have."""
        self._set({**{other: own for other, own in self._loras.items() if other not in instead_of}, key: lora})

    def remove(self, key: Hashable) -> None:
        """Let go of an adapter, which no row in the making may have."""
        self._set({other: lora for other, lora in self._loras.items() if other != key})

    def speak(self, voices: Sequence[Parts]) -> None:
        """The next passes hold rows of these voices."""
        if not self._loras:
            return
        weights_RK = torch.zeros((len(voices), sum(lora.config.r for lora in self._loras.values())))
        first = 0
        for key, lora in self._loras.items():
            for row, parts in enumerate(voices):
                weights_RK[row, first : first + lora.config.r] = sum(share for own, share in parts if own == key)
            first += lora.config.r
        self._weights_R1K = weights_RK[:, None].to(self._policy.hardware.device)

    def _set(self, loras: dict[Hashable, Lora]) -> None:
        before, self._name = self._name, None if not loras else _NAMES[self._name == _NAMES[0]]
        try:
            if self._name is not None:
                self._policy.put_adapter(self._name, mix([(lora, 1.0) for lora in loras.values()]))
        except BaseException:
            self._name = before  # which is still there, so that nobody loses a voice
            raise
        if before is not None:
            self._policy.remove(before)
        for name, module in self._policy.model.named_modules():
            if name.endswith(f".lora_B.{self._name}"):
                module.register_forward_pre_hook(self._weighted)
        self._loras = loras

    def _weighted(self, module: Any, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """What reaches an adapter's second matrix, [R, T, K] or [R T, K], by the rows' weights."""
        (values, *others), weights_R1K = inputs, self._weights_R1K
        assert weights_R1K is not None, "told whose rows these are"
        if values.dim() == 2:
            rows = weights_R1K[:, 0]
            return (values * rows.repeat_interleave(len(values) // len(rows), 0), *others)
        return (values * weights_R1K, *others)
