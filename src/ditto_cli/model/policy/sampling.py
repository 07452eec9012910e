"""Prompts -> completions drawn from the active policy, many side by side.

Where a base's layers allow it, all sequences share one batch of slots (`fast/slots.py`). Else, and with
`base.speed=plain`, the library's `generate` writes the completions of one prompt at a time. Both draw the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig

from ditto_cli.model.fast.slots import fill_slots
from ditto_cli.model.policy.draws import Draw, draw_next
from ditto_cli.model.policy.policy import Policy, lighter_base
from ditto_cli.types import SampledTokens, SampleRequest


def sample(
    policy: Policy,
    requests: Sequence[SampleRequest],
    *,
    max_new_tokens: int,
    temperature: float,
    max_slots: int = 64,
    on_finished: Callable[[int], None] | None = None,
) -> list[SampledTokens]:
    """A completion for each request, in their order, at plain temperature (no top-k, no top-p) by the active policy.

    Requests with equal prompts share the reading of it. The limit and the temperature count where a request has none of
    its own; at 0 the likeliest token is taken. There are fewer than `max_slots` sequences at a time where their keys
    and values would fill the memory, which changes nothing in the result. `on_finished` is told how many are finished.
    """
    results: dict[int, SampledTokens] = {}
    longest = max_new_tokens + max((len(request.prompt_ids) for request in requests), default=0)

    def sample_the_rest(cached_tokens: int) -> None:
        """What is finished stays; the others begin anew, with the draws that they had."""
        waiting = [
            Draw.begin(index, request, max_new_tokens, temperature)
            for index, request in enumerate(requests)
            if index not in results
        ]
        num_slots = max(1, min(max_slots, cached_tokens // longest))
        shares = policy.has_slots and (policy.rope_border is None or longest <= policy.rope_border)
        write = fill_slots if shares else _generate
        write(policy, deque(waiting), results, num_slots, on_finished or (lambda done: None))

    def lower(cached_tokens: int) -> int:
        # Half of what was there: with three sequences to go, 32 slots instead of 64 would change nothing.
        return min(cached_tokens // longest, max_slots, len(requests) - len(results)) // 2 * longest

    with policy.using(policy.active), torch.inference_mode():
        policy.guard.fit(
            "sampling",
            sample_the_rest,
            policy.max_cached_tokens,
            noun="token",
            advice=f"ask for shorter texts (sampling.length_factor), or take {lighter_base(policy.quantize)}",
            lower=lower,
        )
    return [results[index] for index in range(len(requests))]


def _generate(
    policy: Policy,
    waiting: deque[Draw],
    results: dict[int, SampledTokens],
    num_rows: int,
    on_finished: Callable[[int], None],
) -> None:
    """Sample all that wait with the library's own loop: one prompt at a time, so that nothing is padded."""
    ordered = sorted(waiting, key=lambda draw: draw.prompt_ids)
    for prompt_ids, own in groupby(ordered, key=lambda draw: draw.prompt_ids):
        alike = list(own)
        for first in range(0, len(alike), num_rows):
            draws = alike[first : first + num_rows]

            def choose(ids: Tensor, logits_RV: Tensor, draws: Sequence[Draw] = draws) -> Tensor:
                """As a logits processor: leave the drawn token only."""
                picked_R = draw_next(draws, logits_RV, policy.chat.stop_token_ids, results)
                return torch.full_like(logits_RV, -torch.inf).scatter(1, picked_R[:, None], 0.0)

            def are_done(ids: Tensor, scores: Any, draws: Sequence[Draw] = draws, **kwargs: Any) -> Tensor:
                return torch.tensor([draw.index in results for draw in draws], device=ids.device)

            ids = torch.tensor([prompt_ids] * len(draws), device=policy.hardware.device)
            settings = GenerationConfig(
                do_sample=False, max_new_tokens=max(d.max_tokens for d in draws), pad_token_id=policy.chat.end_token_id
            )
            with policy.hardware.autocast():
                policy.model.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    generation_config=settings,
                    logits_processor=[choose],
                    stopping_criteria=[are_done],
                )
            on_finished(len(results))
