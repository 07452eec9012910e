"""A loaded policy -> seconds that this machine needs for each kind of work, measured in a few seconds on a small part.

A temporary adapter of the run's own shape is on the base meanwhile; afterwards the policy is as it was found. A pass's
time is a straight line in its work: multiplications of weights, head and attention, as `work` counts them.

Legend: T tokens of one forward pass, N of them whose logits are computed, R rows that are sampled side by side.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from ditto_cli.config import LoraSettings
from ditto_cli.model.footprint import MemoryModel, Shape, Weights
from ditto_cli.model.memory import free_memory
from ditto_cli.model.passes import Pass
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import sample
from ditto_cli.model.scoring import score
from ditto_cli.types import SampleRequest

_ADAPTER = "calibration"
_MOST_TOKENS_ON_CPU = 400  # of the larger pass; longer ones are reckoned from it
_FIRST_TOKENS = 3  # the steps that they take are slower, as memory is new and the product is set up
_NUM_STEPS = 4  # steps of sampling that are timed
_LEAST_SECONDS = 1e-6
_TEXT = "Write a short text about a day at the sea, as somebody would who has been there more than once. "


@dataclass(frozen=True)
class Line:
    """Seconds as a straight line in work."""

    fixed: float
    slope: float

    def seconds(self, work: float) -> float:
        """For one pass of so much work."""
        return self.fixed + self.slope * work


@dataclass(frozen=True)
class Calibration:
    """What was measured.

    Attributes:
        update: a pass forward and back, by its work.
        score: a pass forward.
        sampling_start: seconds that a batch of samples takes before its first prompt is read.
        sampling: rows -> seconds of setting up for so many, and of one step.
        saved_ratio: what autograd keeps over what `MemoryModel` counts; 1 where it was not measured.
        took_seconds: of the measuring.
    """

    update: Line
    score: Line
    sampling_start: float
    sampling: Mapping[int, tuple[float, float]]
    saved_ratio: float
    took_seconds: float

    def sampling_seconds(self, rows: Sequence[int]) -> float:
        """The steps of a batch, given the rows of each; it is set up anew when they have halved or grown."""
        total, fitted = 0.0, 0
        for num in rows:
            setup, step = self._between(num)
            if not fitted // 2 < num <= fitted:
                total, fitted = total + setup, num
            total += step
        return total

    def _between(self, rows: int) -> tuple[float, float]:
        """On a straight line between the numbers of rows that were measured; beyond them in proportion."""
        known = sorted(self.sampling.items())
        if rows <= known[0][0]:
            return known[0][1]
        for (below, low), (above, high) in pairwise(known):
            if rows <= above:
                share = (rows - below) / (above - below)
                return low[0] + (high[0] - low[0]) * share, low[1] + (high[1] - low[1]) * share
        most, (setup, step) = known[-1]
        return setup, step * rows / most


def work(shape: Shape, weights: Weights, tokens: int, *, num_scored: float, pairs: int) -> float:
    """Multiplications of a forward pass.

    Args:
        shape: of the base.
        weights: of the base.
        tokens: that go through the layers.
        num_scored: of them, those whose logits are computed.
        pairs: of tokens that attention computes, masked ones included.
    """
    layers = sum(linear.inputs * linear.outputs * linear.num for linear in weights.linears)
    attention = 2 * shape.layers * shape.heads * shape.head_size
    return float(tokens * layers + num_scored * shape.vocabulary * shape.hidden + pairs * attention)


def calibrate(
    policy: Policy,
    lora: LoraSettings,
    memory: MemoryModel,
    shape: Shape,
    weights: Weights,
    *,
    group: tuple[int, Sequence[int]],
    rows: Sequence[int],
    context: int,
) -> Calibration:
    """Measure on `policy`, which is left as it was found: weights, adapters, gradients, random numbers, modes.

    Args:
        policy: the base, before the run's own adapters are on it.
        lora: the run's adapter.
        memory: of this base and adapter.
        shape: of the base.
        weights: of the base.
        group: a typical group of the run's updates: tokens of its prompt and of its completions.
        rows: how many sequences the run samples side by side.
        context: tokens that a cache holds in the middle of the run's sampling.
    """

    def count_work(prompt: int, completions: Sequence[int]) -> float:
        one = Pass.of(prompt, completions)
        return work(shape, weights, one.tokens, num_scored=one.num_scored, pairs=one.pairs)

    started = time.perf_counter()
    ids = policy.chat.prompt_ids(_TEXT)
    with _borrowed(policy, lora):
        small, large = _passes(policy, group)
        _pass(policy, ids, small, is_backward=True)  # the first pass sets up what the others use
        saved: dict[int, int] = {}
        backward = [_pass(policy, ids, one, is_backward=True, saved=saved) for one in (small, large)]
        forward = _pass(policy, ids, large, is_backward=False)
        works = [count_work(prompt, completions) for prompt, completions in (small, large)]
        update = _line(works, backward)
        score_line = Line(update.fixed * forward / backward[1], update.slope * forward / backward[1])
        before, sampling = _sampling(policy, ids, rows, context)
    prompt, completions = large
    expected = memory.saved_bytes(Pass.of(prompt, completions))
    ratio = 1.0 if policy.hardware.is_cuda else sum(saved.values()) / expected
    read = score_line.seconds(count_work(context - 1, [1]))
    free_memory()
    return Calibration(update, score_line, max(0.0, before - read), sampling, ratio, time.perf_counter() - started)


def _passes(policy: Policy, group: tuple[int, Sequence[int]]) -> tuple[tuple[int, list[int]], tuple[int, list[int]]]:
    """A group with one completion, and the whole one or as much of it as is quickly done."""
    prompt, completions = group
    most = _MOST_TOKENS_ON_CPU if not policy.hardware.is_cuda else 4 * _MOST_TOKENS_ON_CPU
    prompt = min(prompt, most // 4)
    room = policy.context_tokens - prompt
    large: list[int] = []
    for length in completions:
        left = most - prompt - sum(large)
        if large and length > left:
            break
        large.append(max(2, min(length, left, room)))
    small = large[:1] if len(large) > 1 else [max(1, large[0] // 2)]
    return (prompt, small), (prompt, large)


@contextmanager
def _borrowed(policy: Policy, lora: LoraSettings) -> Iterator[None]:
    """A temporary adapter in training on the policy, which knows no end of a text; then all is as it was."""
    active, chat, training = policy.active, policy.chat, policy.model.training
    trainable = active is not None and any(parameter.requires_grad for parameter in policy.parameters())
    devices = [policy.hardware.device] if policy.hardware.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(0)
        policy.add_adapter(_ADAPTER, lora, seed=0)
        try:
            policy.chat = dataclasses.replace(chat, stop_token_ids=frozenset())
            policy.checkpoint_activations(policy.num_layers if policy.hardware.is_cuda else 0)
            policy.model.train()
            yield
        finally:
            policy.checkpoint_activations(0)
            policy.chat = chat
            policy.remove(_ADAPTER)
            policy.switch(active, trainable=trainable)
            policy.model.train(training)


def _pass(
    policy: Policy,
    ids: Sequence[int],
    group: tuple[int, Sequence[int]],
    *,
    is_backward: bool,
    saved: dict[int, int] | None = None,
) -> float:
    """Seconds to score a group; with gradients, `saved` gets the storages that autograd keeps and their bytes."""
    prompt, *completions = (_repeated(ids, num) for num in (group[0], *group[1]))
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.model.parameters()}
    vocabulary = policy.head().weight_VH.shape[0]
    if saved is not None:
        saved.clear()

    def noticed(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        is_logits = tensor.shape[-1:] == (vocabulary,)  # which scoring keeps for a moment only
        if saved is not None and not is_logits and storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    _wait(policy)
    started = time.perf_counter()
    if is_backward:
        with torch.autograd.graph.saved_tensors_hooks(noticed, lambda tensor: tensor):
            total = score(policy, prompt, completions).sum()
        total.backward()
    else:
        with policy.using(_ADAPTER):
            score(policy, prompt, completions)
    _wait(policy)
    seconds = time.perf_counter() - started
    for parameter in policy.parameters():
        parameter.grad = None
    return seconds


def _sampling(
    policy: Policy, ids: Sequence[int], rows: Sequence[int], context: int
) -> tuple[float, dict[int, tuple[float, float]]]:
    """Seconds until one sequence has its first token; for each number of rows those of setting up and of a step."""
    prompt = _repeated(ids, max(1, min(context, policy.context_tokens - _NUM_STEPS - _FIRST_TOKENS)))

    def times(limits: Sequence[int]) -> list[float]:
        """When each length was reached, the last one last."""
        requests = [SampleRequest(prompt, seed, max_new_tokens=limit) for seed, limit in enumerate(limits)]
        reached: list[float] = []
        _wait(policy)
        started = time.perf_counter()
        sample(
            policy,
            requests,
            max_new_tokens=max(limits),
            temperature=1.0,
            max_slots=len(limits),
            on_finished=lambda done: reached.append(time.perf_counter() - started),
        )
        _wait(policy)
        return [*reached[:-1], time.perf_counter() - started]

    before = times([1])[-1]
    alone = times([_FIRST_TOKENS])[-1], times([_FIRST_TOKENS + _NUM_STEPS])[-1]
    measured = {1: (0.0, max(_LEAST_SECONDS, (alone[1] - alone[0]) / _NUM_STEPS))}
    for num in sorted(set(rows) - {1}):
        # One sequence ends early, so that setting up is told from the steps that follow.
        first, last = times([_FIRST_TOKENS, *(_FIRST_TOKENS + _NUM_STEPS for _ in range(num))])
        step = max(_LEAST_SECONDS, (last - first) / _NUM_STEPS)
        measured[num] = (max(0.0, first - before - (_FIRST_TOKENS - 1) * step), step)
    return before, measured


def _line(works: Sequence[float], seconds: Sequence[float]) -> Line:
    """Through two points; a machine so uneven that more work took less time gets a line through the origin."""
    slope = (seconds[1] - seconds[0]) / (works[1] - works[0])
    fixed = seconds[0] - slope * works[0]
    return Line(fixed, slope) if slope > 0 and fixed >= 0 else Line(0.0, seconds[1] / works[1])


def _repeated(ids: Sequence[int], num: int) -> tuple[int, ...]:
    return tuple(ids[place % len(ids)] for place in range(num))


def _wait(policy: Policy) -> None:
    if policy.hardware.is_cuda:
        torch.cuda.synchronize(policy.hardware.device)
