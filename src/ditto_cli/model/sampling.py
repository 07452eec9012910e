"""Prompts -> completions drawn from the active policy, many side by side.

All sequences share one batch of slots. A prompt is read once however many completions it gets; a slot is freed as
its sequence ends, and waiting sequences take freed slots. Every sequence draws from its own seeded stream of uniform
numbers (inverse of the cumulative distribution), so what it becomes does not depend on its slot.

Legend: R rows (occupied slots), T tokens in the cache, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from ditto_cli.errors import NonFiniteError
from ditto_cli.model.attention import growing_cache
from ditto_cli.model.fixed_steps import FixedSteps
from ditto_cli.model.memory import fit_memory, say_nothing
from ditto_cli.model.packing import packed_linears
from ditto_cli.model.policy import Policy
from ditto_cli.types import SampledTokens, SampleRequest

_MAX_SLOTS = 64
# Keys and values of an 8B base take about 0.14 MiB a token, so this many are below 4 GiB.
_MAX_TOKENS_SIDE_BY_SIDE = 24_576
_LEAST_TEMPERATURE = 1e-6  # below, logits would overflow, and the likeliest token is certain
_IDLE_SHARE = 0.5  # of fixed steps' rows that may be idle before a new capture is made


@dataclass
class _Sequence:
    index: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    uniforms: Tensor
    token_ids: list[int] = field(default_factory=list)
    logp: float = 0.0

    @property
    def next_uniform(self) -> Tensor:
        """What the next token is drawn with; of a finished sequence, any."""
        return self.uniforms[min(len(self.token_ids), len(self.uniforms) - 1)]


@dataclass
class _Slots:
    """The occupied slots: a sequence each, its key-value cache, what of it is real, and the logits of its next token.

    With fixed steps, cache and mask are theirs, and a finished sequence's row stays until others are taken out as well.
    """

    sequences: list[_Sequence]
    cache: Cache
    mask_RT: Tensor
    logits_RV: Tensor
    steps: FixedSteps | None = None


def sample(
    policy: Policy,
    requests: Sequence[SampleRequest],
    *,
    max_new_tokens: int,
    temperature: float,
    max_slots: int | None = None,
    on_finished: Callable[[int], None] | None = None,
    noted: Callable[[str], None] = say_nothing,
) -> list[SampledTokens]:
    """Draw one completion for each request from the active policy, at plain temperature (no top-k, no top-p).

    Args:
        policy: the active adapter is used.
        requests: what to sample; those with equal prompts share the reading of it.
        max_new_tokens: length limit of a completion, in tokens.
        temperature: logits are divided by this where a request has no own; 0 takes the likeliest token.
        max_slots: most sequences at a time, else `_default_slots`; fewer when memory is full, which changes nothing in
            the result.
        on_finished: told how many are finished, whenever one is.
        noted: told, in one line, when memory is full.

    Returns:
        Completions in the order of `requests`.

    Raises:
        MemoryLimitError: not even one sequence fits into memory.
        NonFiniteError: the policy's logits are not finite.
    """
    results: dict[int, SampledTokens] = {}
    longest = max_new_tokens + max((len(request.prompt_ids) for request in requests), default=0)

    def sample_the_rest(num_slots: int) -> None:
        """What is finished stays; the others begin anew, with the draws that they had."""
        waiting = deque(
            _begin(index, request, max_new_tokens, temperature)
            for index, request in enumerate(requests)
            if index not in results
        )
        if _steps_are_fixed(policy):
            advance = partial(_advance_fixed, policy, noted)
            _fill_slots(policy, waiting, results, num_slots, on_finished, advance, idle_share=_IDLE_SHARE)
            return
        with packed_linears(policy) as fit_rows:
            advance = partial(_advance, policy, fit_rows)
            _fill_slots(policy, waiting, results, num_slots, on_finished, advance, idle_share=0)

    with policy.using(policy.active), torch.inference_mode():
        fit_memory(
            sample_the_rest,
            max_slots or _default_slots(longest),
            noun="sequence",
            advice=f"ask for shorter texts (sampling.length_factor), or take {policy.lighter_base}",
            hardware=policy.hardware,
            # Half of what was there: with three sequences to go, 32 slots instead of 64 would change nothing.
            lower=lambda num_slots: min(num_slots, len(requests) - len(results)) // 2,
            noted=noted,
        )
    return [results[index] for index in range(len(requests))]


def _default_slots(longest: int) -> int:
    """How many sequences are sampled side by side where nobody says: as many as keep the cache small.

    Args:
        longest: most tokens of a prompt and its completion.
    """
    return max(1, min(_MAX_SLOTS, _MAX_TOKENS_SIDE_BY_SIDE // longest))


def _fill_slots(
    policy: Policy,
    waiting: deque[_Sequence],
    results: dict[int, SampledTokens],
    max_slots: int,
    on_finished: Callable[[int], None] | None,
    advance: Callable[[_Slots], _Slots],
    *,
    idle_share: float,
) -> None:
    """Sample all that wait, at most `max_slots` at a time, and file each in `results` as it ends.

    Rows are taken out when more than `idle_share` of them are finished, and others come in when as large a share waits
    for it or all that wait.
    """
    stops = policy.chat.stop_token_ids
    slots: _Slots | None = None
    while waiting or slots:
        free = max_slots - (len(_busy(slots, results)) if slots else 0)
        if waiting and free >= max(1, min(len(waiting), idle_share * max_slots)):
            arrivals = [waiting.popleft() for _ in range(min(free, len(waiting)))]
            slots = _admit(policy, _kept(slots, _busy(slots, results)) if slots else None, arrivals)
        assert slots is not None
        num_before = len(results)
        for sequence, token, logp in zip(slots.sequences, *_pick(slots), strict=True):
            if sequence.index in results:
                continue
            sequence.token_ids.append(token)
            sequence.logp += logp
            ended = token in stops
            if ended or len(sequence.token_ids) == sequence.max_tokens:
                results[sequence.index] = SampledTokens(tuple(sequence.token_ids), ended, sequence.logp)
        if len(results) > num_before and on_finished:
            on_finished(len(results))
        busy = _busy(slots, results)
        if busy and len(slots.sequences) - len(busy) > idle_share * len(slots.sequences):
            slots = _kept(slots, busy)
        slots = advance(slots) if busy else None


def _busy(slots: _Slots, results: Mapping[int, SampledTokens]) -> list[int]:
    """Rows whose sequences are not finished."""
    return [row for row, sequence in enumerate(slots.sequences) if sequence.index not in results]


def _begin(index: int, request: SampleRequest, max_new_tokens: int, temperature: float) -> _Sequence:
    limit = max_new_tokens if request.max_new_tokens is None else min(request.max_new_tokens, max_new_tokens)
    own_temperature = temperature if request.temperature is None else request.temperature
    generator = torch.Generator().manual_seed(request.seed)
    uniforms = torch.rand(max_new_tokens, generator=generator)
    return _Sequence(index, request.prompt_ids, limit, own_temperature, uniforms)


def _admit(policy: Policy, slots: _Slots | None, arrivals: list[_Sequence]) -> _Slots:
    """Read the arrivals' prompts, each distinct one once, and put their rows below those already there."""
    device = policy.hardware.device
    prompts = sorted({sequence.prompt_ids for sequence in arrivals})
    longest = max(len(prompt) for prompt in prompts)
    ids = torch.zeros((len(prompts), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # on the left, so that all rows continue at the same column
        ids[row, longest - len(prompt) :] = torch.tensor(prompt)
        mask[row, longest - len(prompt) :] = 1
    ids, mask = ids.to(device), mask.to(device)
    cache = growing_cache()
    hidden = policy.hidden(ids, mask, (mask.cumsum(1) - 1).clamp(min=0), cache)
    logits = policy.head().logits(hidden[:, -1])
    rows = torch.tensor([prompts.index(sequence.prompt_ids) for sequence in arrivals], device=device)
    cache.batch_select_indices(rows)
    arrived = _Slots(arrivals, cache, mask[rows], logits[rows])
    return arrived if slots is None else _joined(slots, arrived)


def _joined(upper: _Slots, lower: _Slots) -> _Slots:
    width = max(upper.mask_RT.shape[1], lower.mask_RT.shape[1])
    cache = growing_cache()
    for layer, (above, below) in enumerate(zip(upper.cache.layers, lower.cache.layers, strict=True)):
        keys = torch.cat([_padded(above.keys, width), _padded(below.keys, width)])
        values = torch.cat([_padded(above.values, width), _padded(below.values, width)])
        cache.update(keys, values, layer)
    masks = [torch.nn.functional.pad(s.mask_RT, (width - s.mask_RT.shape[1], 0)) for s in (upper, lower)]
    return _Slots(
        upper.sequences + lower.sequences, cache, torch.cat(masks), torch.cat([upper.logits_RV, lower.logits_RV])
    )


def _padded(states: Tensor, width: int) -> Tensor:
    """Keys or values [R, heads, T, size] with masked columns on the left up to `width`."""
    return torch.nn.functional.pad(states, (0, 0, width - states.shape[2], 0))


def _pick(slots: _Slots) -> tuple[list[int], list[float]]:
    """One token a row, the first whose cumulative probability exceeds the row's next uniform number; and its logp."""
    picked_R = _picked(slots)
    logps_R = torch.log_softmax(slots.logits_RV, dim=1).gather(1, picked_R[:, None])[:, 0]
    return picked_R.tolist(), logps_R.tolist()


def _picked(slots: _Slots) -> Tensor:
    # Of each row its sum: one pass, which any NaN or infinity shows in.
    if not torch.isfinite(slots.logits_RV.sum(dim=1)).all():
        raise NonFiniteError("The model's output is not finite: the adapter or the base is damaged.")
    temperatures = [sequence.temperature for sequence in slots.sequences]
    is_drawn = [temperature > _LEAST_TEMPERATURE for temperature in temperatures]
    if not any(is_drawn):
        return slots.logits_RV.argmax(dim=1)
    is_drawn_R, temperatures_R = (
        torch.tensor(each, device=slots.logits_RV.device) for each in (is_drawn, temperatures)
    )
    scaled_RV = slots.logits_RV / torch.where(is_drawn_R, temperatures_R, 1.0)[:, None]
    cumulative = torch.softmax(scaled_RV, dim=1).cumsum(dim=1)
    uniforms = torch.stack([sequence.next_uniform for sequence in slots.sequences])
    # Scaled by the last sum, which rounding leaves a little off 1; then a token of probability 0 is never taken.
    targets = uniforms.to(cumulative.device).unsqueeze(1) * cumulative[:, -1:]
    picked = torch.searchsorted(cumulative, targets, right=True).squeeze(1).clamp(max=cumulative.shape[1] - 1)
    return picked if all(is_drawn) else torch.where(is_drawn_R, picked, slots.logits_RV.argmax(dim=1))


def _kept(slots: _Slots, rows: list[int]) -> _Slots:
    slots = _thawed(slots)
    if len(rows) == len(slots.sequences):
        return slots
    index = torch.tensor(rows, device=slots.mask_RT.device)
    slots.cache.batch_select_indices(index)
    return _Slots([slots.sequences[row] for row in rows], slots.cache, slots.mask_RT[index], slots.logits_RV[index])


def _advance(policy: Policy, fit_rows: Callable[[int], None], slots: _Slots) -> _Slots:
    """Feed each row's newest token and get the logits of the next."""
    fit_rows(len(slots.sequences))
    mask_RT = torch.nn.functional.pad(slots.mask_RT, (0, 1), value=1)
    newest = torch.tensor([[sequence.token_ids[-1]] for sequence in slots.sequences], device=mask_RT.device)
    positions = mask_RT.sum(dim=1, keepdim=True) - 1
    hidden = policy.hidden(newest, mask_RT, positions, slots.cache)
    return _Slots(slots.sequences, slots.cache, mask_RT, policy.head().logits(hidden[:, -1]))


def _steps_are_fixed(policy: Policy) -> bool:
    # A sliding window is a mask of its own in some layers, which a fixed one would hide.
    return policy.hardware.is_cuda and policy.has_graphs and policy.window is None


def _advance_fixed(policy: Policy, noted: Callable[[str], None], slots: _Slots) -> _Slots:
    """The same without moving anything, as long as there is room."""
    if slots.steps is not None and slots.steps.is_full:
        slots = _thawed(slots)
    steps = slots.steps or FixedSteps(policy, slots.cache, slots.mask_RT, noted)
    logits = steps.advance([sequence.token_ids[-1] for sequence in slots.sequences])
    return _Slots(slots.sequences, growing_cache(), slots.mask_RT, logits, steps)


def _thawed(slots: _Slots) -> _Slots:
    """The slots with a cache and mask of their own again."""
    if slots.steps is None:
        return slots
    cache = growing_cache()
    states, mask_RT = slots.steps.contents()
    for layer, (keys, values) in enumerate(states):
        cache.update(keys, values, layer)
    return _Slots(slots.sequences, cache, mask_RT, slots.logits_RV.clone())
