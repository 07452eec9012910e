"""Steps of sampling on tensors that stay where they are, so that a GPU can replay them as one CUDA graph.

On with `base.speed=graph` only. A step of one token is a thousand small kernels, and starting them takes longer than
they run. A graph starts them all at once, but repeats exactly what was captured: the same rows, the same places. So
rows are not taken out as their sequences end, and keys and values stand in a room that is wide enough for the next
steps; what is not there yet is masked. A new capture is made when half of the rows are idle, others have joined, or the
room is full.

Legend: R rows, W columns of the room, V vocabulary.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from ditto_cli.model.policy.memory import is_out_of_memory

if TYPE_CHECKING:
    from ditto_cli.model.policy.policy import Policy

log = logging.getLogger(__name__)

ROOM_TOKENS = 256  # columns for the steps to come; each step reads them, and each capture takes time
_WARM_UPS = 2
_LARGEST_DIFFERENCE = 0.05  # of a logit between a replay and the same step without a graph, in bf16


class _FixedLayer(DynamicLayer):
    """Keys and values in a room of fixed width; a step writes its token into the column that a tensor names."""

    def __init__(self, keys: Tensor, values: Tensor, num_columns: int, column: Tensor) -> None:
        super().__init__()
        self.is_initialized: bool = True
        self.dtype, self.device = keys.dtype, keys.device
        # With zeros behind them: what is masked must be finite all the same.
        room = num_columns - keys.shape[2]
        self.keys, self.values = (nn.functional.pad(states, (0, 0, 0, room)) for states in (keys, values))
        self._column = column

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Write states [R, K, 1, D] of one token; returns the whole room."""
        self.keys.index_copy_(2, self._column, key_states.to(self.keys.dtype))
        self.values.index_copy_(2, self._column, value_states.to(self.values.dtype))
        return self.keys, self.values


class FixedSteps:
    """The steps of some rows.

    Args:
        cache: keys and values of what the rows have read and written; they are moved out of it.
    """

    def __init__(self, policy: Policy, cache: Cache, mask_RT: Tensor) -> None:
        rows, self._num_tokens = mask_RT.shape
        width = self._num_tokens + ROOM_TOKENS
        device = mask_RT.device
        self._policy = policy
        self._column = torch.zeros(1, dtype=torch.long, device=device)
        self._ids = torch.zeros(rows, 1, dtype=torch.long, device=device)
        self._positions = mask_RT.sum(dim=1, keepdim=True) - 1
        self._mask = torch.zeros(rows, 1, 1, width, dtype=torch.bool, device=device)
        self._mask[:, 0, 0, : self._num_tokens] = mask_RT.bool()
        layers: list[Any] = []
        while cache.layers:  # one after the other, so that there is never the whole cache twice
            layer = cache.layers.pop(0)
            layers.append(_FixedLayer(layer.keys, layer.values, width, self._column))
        self._cache = Cache(layers=layers)
        self._graph: Any = None
        self._logits: Tensor | None = None

    @property
    def is_full(self) -> bool:
        """Whether the room has no column for another step."""
        return self._num_tokens == self._mask.shape[3]

    def advance(self, newest: Sequence[int]) -> Tensor:
        """Feed each row's newest token (any, for an idle row); returns logits [R, V], valid until the next call."""
        assert not self.is_full
        self._ids.copy_(torch.tensor(newest)[:, None], non_blocking=True)
        self._positions.add_(1).clamp_(max=self._policy.context_tokens - 1)  # idle rows must not run out of positions
        self._column.fill_(self._num_tokens)
        self._mask[..., self._num_tokens] = True
        self._num_tokens += 1
        if self._graph is not None:
            self._graph.replay()
        elif self._logits is None and self._ids.is_cuda and self._policy.has_graphs:
            self._capture()
        else:
            self._logits = self._step()
        assert self._logits is not None
        return self._logits

    def contents(self) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Keys and values of each layer, and the mask, as far as they are filled."""
        filled = slice(self._num_tokens)
        states = [(layer.keys[:, :, filled], layer.values[:, :, filled]) for layer in self._cache.layers]
        return states, self._mask[:, 0, 0, filled].long()

    def _step(self) -> Tensor:
        """Depends on the fixed tensors only, and gives the same when it is done again."""
        hidden = self._policy.hidden(self._ids, self._mask, self._positions, self._cache)
        return self._policy.head().logits(hidden[:, -1])

    def _capture(self) -> None:
        """Do the step, and capture it for the next ones, unless the graph gives other numbers."""
        side, current = _side_stream(self._ids.device), torch.cuda.current_stream()
        side.wait_stream(current)
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):  # libraries choose their kernels and make room at the first calls
                self._logits = self._step()
        current.wait_stream(side)
        assert self._logits is not None
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=side):
                logits = self._step()
            graph.replay()
            difference = float((logits - self._logits).abs().max())
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # a capture that fails leaves its own stream behind
            if is_out_of_memory(error):
                raise
            self._policy.has_graphs = False
            log.warning(f"No CUDA graph on this GPU ({type(error).__name__}): sampling goes on without, slower.")
            return
        if not difference <= _LARGEST_DIFFERENCE * max(1.0, float(self._logits.abs().max())):
            self._policy.has_graphs = False
            log.warning("A CUDA graph gave other numbers on this GPU: sampling goes on without, slower.")
            return
        self._graph, self._logits = graph, logits


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """The one stream of all captures: each new one would keep its own blocks of memory."""
    return torch.cuda.Stream(device)
