"""Sampling in one batch of slots, whatever the prompts.

A prompt is read once however many completions it gets, and what all that come in together begin with once for all; a
slot is freed as its sequence ends, and waiting sequences take freed slots.

A step multiplies as many rows as there are sequences. The library's product is made for hundreds of rows; on a CPU
oneDNN is faster on weights that were packed before (docs/performance.md). The active adapter is added to the packed
copy, which costs nothing more; the base's own weights are not touched, and the copy, as large as they are, goes when
the sampling ends.

Legend: R rows (occupied slots), T tokens in the cache, V vocabulary; O outputs, I inputs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from os.path import commonprefix
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers.cache_utils import Cache, DynamicLayer

from ditto_cli.model.fast.graph import FixedSteps
from ditto_cli.model.policy.draws import Draw, draw_next
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import SampledTokens

# What torch's own compiler packs and multiplies with; private, so they may go.
_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")
_ROWS = 16  # that weights are packed for; any other number goes as fast
_ROOM = 64  # tokens that a step's keys and values are copied for ahead
_IDLE_SHARE = 0.5  # of fixed steps' rows that may be idle before a new capture is made


class _Layer(DynamicLayer):
    """Keys and values with room behind them, so that a step need not copy all that was there before."""

    keys: Tensor
    values: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._buffers: tuple[Tensor, ...] = ()
        self._newest: Tensor | None = None  # the keys as they were left, while they are a part of the buffer

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """The library's, for steps of one token."""
        num = self.get_seq_length()
        if num == 0 or key_states.shape[2] > 1:
            return super().update(key_states, value_states, *args, **kwargs)
        if self._newest is not self.keys or num == self._buffers[0].shape[2]:
            self._buffers = tuple(nn.functional.pad(states, (0, 0, 0, _ROOM)) for states in (self.keys, self.values))
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, num : num + 1] = states
        self.keys, self.values = (buffer[:, :, : num + 1] for buffer in self._buffers)
        self._newest = self.keys
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """The library's; what was there before goes at once."""
        super().batch_select_indices(indices)
        self._buffers, self._newest = (), None


@dataclass
class Slots:
    """The occupied slots: a sequence each, its key-value cache, what of it is real, and the logits of its next token.

    With fixed steps, cache and mask are theirs, and a finished sequence's row stays until others are taken out as well.
    """

    draws: list[Draw]
    cache: Cache
    mask_RT: Tensor
    logits_RV: Tensor
    steps: FixedSteps | None = None


def fill_slots(
    policy: Policy,
    waiting: deque[Draw],
    results: dict[int, SampledTokens],
    num_slots: int,
    on_finished: Callable[[int], None],
) -> None:
    """Sample all that wait, at most `num_slots` at a time, and file each in `results` as it ends.

    With fixed steps, rows leave when more than a share of them are finished; others come in when as large a share
    waits.
    """
    longest = max((len(draw.prompt_ids) + draw.max_tokens for draw in waiting), default=0)
    is_fixed = _steps_are_fixed(policy, longest)
    step, idle_share = (_advance_fixed, _IDLE_SHARE) if is_fixed else (advance, 0)
    slots: Slots | None = None
    busy: list[int] = []
    with nullcontext() if is_fixed else packed_linears(policy):
        while waiting or busy:
            free = num_slots - len(busy)
            if waiting and free >= max(1, min(len(waiting), idle_share * num_slots)):
                arrivals = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                slots = admit(policy, kept(slots, busy) if slots and busy else None, arrivals)
            assert slots is not None
            num_before = len(results)
            draw_next(slots.draws, slots.logits_RV, policy.chat.stop_token_ids, results)
            if len(results) > num_before:
                on_finished(len(results))
            busy = [row for row, draw in enumerate(slots.draws) if draw.index not in results]
            if busy and len(slots.draws) - len(busy) > idle_share * len(slots.draws):
                slots = kept(slots, busy)
                busy = list(range(len(busy)))
            if busy:
                slots = step(policy, slots)


def _steps_are_fixed(policy: Policy, longest: int) -> bool:
    # A window that hides something is a mask of its own in some layers, which a fixed one would replace.
    return policy.speed == "graph" and policy.hardware.is_cuda and policy.has_graphs and policy.sees_all(longest)


def admit(
    policy: Policy,
    slots: Slots | None,
    arrivals: list[Draw],
    speak: Callable[[Sequence[Draw]], None] = lambda draws: None,
) -> Slots:
    """Read the arrivals' prompts, what they share once, and put their rows below those already there.

    `speak` is told whose rows the next pass holds, where their voices differ.
    """
    device = policy.hardware.device
    alike = {(draw.prompt_ids, draw.voice): draw for draw in arrivals}
    readers = sorted(alike.values(), key=lambda draw: draw.prompt_ids)
    prompts = [draw.prompt_ids for draw in readers]
    longest = max(map(len, prompts))
    cache = Cache(layer_class_to_replicate=_Layer)
    # A window is counted in columns, and those between a shared beginning and the rest would count.
    is_seen = policy.sees_all(longest + max(draw.max_tokens for draw in arrivals))
    is_shared = is_seen and len(prompts) > 1 and len({draw.voice for draw in arrivals}) == 1
    most = len(commonprefix(prompts)) if is_shared else 0  # noqa: RUF071 - of tokens, not of paths
    num_shared = min(most, min(map(len, prompts)) - 1)  # one token of each prompt is left
    if num_shared:
        speak(readers[:1])
        shared = torch.tensor([prompts[0][:num_shared]], device=device)
        policy.hidden(shared, torch.ones_like(shared), torch.arange(num_shared, device=device)[None], cache)
        cache.batch_repeat_interleave(len(prompts))
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    mask[:, :num_shared] = 1
    for row, prompt in enumerate(prompts):  # what is missing lies before a prompt's own part, so all end at one column
        first = longest - len(prompt) + num_shared
        ids[row, first:] = torch.tensor(prompt[num_shared:])
        mask[row, first:] = 1
    ids, mask = ids.to(device), mask.to(device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    speak(readers)
    hidden = policy.hidden(ids[:, num_shared:], mask, positions[:, num_shared:], cache)
    logits = policy.head().logits(hidden[:, -1])
    places = {(draw.prompt_ids, draw.voice): row for row, draw in enumerate(readers)}
    rows = torch.tensor([places[draw.prompt_ids, draw.voice] for draw in arrivals], device=device)
    cache.batch_select_indices(rows)
    arrived = Slots(arrivals, cache, mask[rows], logits[rows])
    return arrived if slots is None else _join(slots, arrived)


def _join(upper: Slots, lower: Slots) -> Slots:
    width = max(upper.mask_RT.shape[1], lower.mask_RT.shape[1])

    def pad_states(states: Tensor) -> Tensor:
        """Keys or values [R, heads, T, size] with masked columns on the left up to `width`."""
        return nn.functional.pad(states, (0, 0, width - states.shape[2], 0))

    cache = Cache(layer_class_to_replicate=_Layer)
    for layer, (above, below) in enumerate(zip(upper.cache.layers, lower.cache.layers, strict=True)):
        keys = torch.cat([pad_states(above.keys), pad_states(below.keys)])
        values = torch.cat([pad_states(above.values), pad_states(below.values)])
        cache.update(keys, values, layer)
    masks = [nn.functional.pad(s.mask_RT, (width - s.mask_RT.shape[1], 0)) for s in (upper, lower)]
    return Slots(upper.draws + lower.draws, cache, torch.cat(masks), torch.cat([upper.logits_RV, lower.logits_RV]))


def kept(slots: Slots, rows: list[int]) -> Slots:
    """Some of the rows; the others' keys and values go."""
    slots = _thaw(slots)
    if len(rows) == len(slots.draws):
        return slots
    index = torch.tensor(rows, device=slots.mask_RT.device)
    slots.cache.batch_select_indices(index)
    return Slots([slots.draws[row] for row in rows], slots.cache, slots.mask_RT[index], slots.logits_RV[index])


def advance(policy: Policy, slots: Slots, speak: Callable[[Sequence[Draw]], None] = lambda draws: None) -> Slots:
    """Feed each row's newest token and get the logits of the next; `speak` as in `admit`."""
    mask_RT = nn.functional.pad(slots.mask_RT, (0, 1), value=1)
    newest = torch.tensor([[draw.token_ids[-1]] for draw in slots.draws], device=mask_RT.device)
    positions = mask_RT.sum(dim=1, keepdim=True) - 1
    speak(slots.draws)
    hidden = policy.hidden(newest, mask_RT, positions, slots.cache)
    return Slots(slots.draws, slots.cache, mask_RT, policy.head().logits(hidden[:, -1]))


def _advance_fixed(policy: Policy, slots: Slots) -> Slots:
    """The same without moving anything, as long as there is room."""
    if slots.steps is not None and slots.steps.is_full:
        slots = _thaw(slots)
    steps = slots.steps or FixedSteps(policy, slots.cache, slots.mask_RT)
    logits = steps.advance([draw.token_ids[-1] for draw in slots.draws])
    return Slots(slots.draws, Cache(layer_class_to_replicate=_Layer), slots.mask_RT, logits, steps)


def _thaw(slots: Slots) -> Slots:
    """The slots with a cache and mask of their own again."""
    if slots.steps is None:
        return slots
    cache = Cache(layer_class_to_replicate=_Layer)
    states, mask_RT = slots.steps.contents()
    for layer, (keys, values) in enumerate(states):
        cache.update(keys, values, layer)
    return Slots(slots.draws, cache, mask_RT, slots.logits_RV.clone())


@contextmanager
def packed_linears(policy: Policy, *, with_adapter: bool = True) -> Iterator[None]:
    """Within the block, products are taken from packed weights; what comes out is the same up to rounding.

    Without the adapter, it stays beside the packed layers, as where each row has another one. Does nothing where it
    does not apply: on a GPU, with 4-bit weights, or on a CPU without oneDNN.
    """
    is_there = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, each) for each in _OPERATORS)
    layers = _packable(policy, with_adapter) if is_there and policy.hardware.device.type == "cpu" else []
    try:
        for layer in layers:
            layer.forward = _packed_forward(layer, policy.active)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _packable(policy: Policy, with_adapter: bool) -> list[Any]:
    """Each fp32 linear layer, with its adapters where it has some, whose `forward` is the class's own."""
    layers: list[Any] = []
    inside: set[nn.Module] = set()  # a layer with adapters: the layer itself, and the adapters' own
    for module in policy.model.modules():
        if module in inside or "forward" in vars(module):
            continue
        linear = module
        if isinstance(module, LoraLayer):
            linear = module.get_base_layer()
            inside.update(module.modules())
        if type(linear) is nn.Linear and linear.weight.dtype == torch.float32:
            layers.append(module if with_adapter else linear)
    return layers


def _packed_forward(layer: Any, adapter: str | None) -> Callable[..., Tensor]:
    linear = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    weight_OI = linear.weight.detach()
    if linear is not layer and adapter in layer.lora_A:
        weight_OI = weight_OI + layer.get_delta_weight(adapter).detach()
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI, _ROWS)

    def forward(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, packed, linear.bias, "none", [], "")

    return forward
