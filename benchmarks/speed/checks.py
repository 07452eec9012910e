"""Whether ours computes what the plain way computes, and how long a switch between adapters takes.

A workload without dropout is asked for.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import torch

from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.losses import dpo_terms
from ditto_cli.method.reference import POLICY, REFERENCE, score_under_reference
from ditto_cli.method.rounds import score_demonstrations
from ditto_cli.method.updates import accumulate_gradient
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import sample
from ditto_cli.model.scoring import score
from ditto_cli.types import Comparison
from speed.plain import full_logp
from speed.ways import Bench
from speed.workload import Workload

GRADIENT_ERROR = "gradient: largest difference / largest entry"
SAMPLER_GAP = "sampler against trainer: largest gap of mean log-probability, nats a token"
SWITCH = "switch between adapters, ms"
_SWITCHES = 20


def without_dropout(workload: Workload) -> Workload:
    """The same work with an adapter that drops nothing, so that two ways to compute it are comparable."""
    settings = workload.settings
    lora = settings.lora.model_copy(update={"dropout": 0.0})
    return replace(workload, settings=settings.model_copy(update={"lora": lora}))


def gradient_error(bench: Bench) -> float:
    """Our gradient of one update against that of each pair's two sequences by themselves, from all logits."""
    policy, workload = bench.policy, bench.workload
    prompts, settings = workload.encoded.prompts, workload.settings
    history = History(score_demonstrations(policy, workload.encoded, max_tokens=settings.dpo.micro_batch_tokens))
    history.add_round(
        score_under_reference(policy, workload.drawn, prompts, max_tokens=settings.dpo.micro_batch_tokens)
    )
    comparisons = draw_comparisons(history, settings.dpo, seed=settings.seed, step=0)
    policy.model.train()
    accumulate_gradient(policy, comparisons, prompts, settings.dpo)
    ours = _taken_gradient(policy)
    for comparison in comparisons:
        _pair_gradient(policy, comparison, prompts, settings.dpo.beta, len(comparisons))
    plain = _taken_gradient(policy)
    return float((ours - plain).abs().max() / plain.abs().max())


def _pair_gradient(policy: Policy, comparison: Comparison, prompts: Any, beta: float, num: int) -> None:
    sides = (comparison.chosen, comparison.rejected)
    prompt_ids = prompts[comparison.chosen.demonstration_id]
    with policy.using(REFERENCE):
        reference = [full_logp(policy, prompt_ids, side) for side in sides]
    logps = [full_logp(policy, prompt_ids, side) for side in sides]
    terms = dpo_terms(*(value[None] for value in (*logps, *reference)), beta=beta)
    (terms.losses_P.sum() / num).backward()


def _taken_gradient(policy: Policy) -> torch.Tensor:
    gradients = []
    for parameter in policy.parameters():
        assert parameter.grad is not None
        gradients.append(parameter.grad.detach().float().flatten().cpu())
        parameter.grad = None
    return torch.cat(gradients)


def sampler_gap(bench: Bench) -> float:
    """What the sampler drew with against what the trainer scores, a completion; at most two of each prompt."""
    policy, workload = bench.policy, bench.workload
    requests = [
        request for completion, request in zip(workload.drawn, workload.requests(), strict=True) if completion.index < 2
    ]
    with policy.using(POLICY):
        sampled = sample(policy, requests, max_new_tokens=workload.encoded.max_new_tokens, temperature=1.0)
        gaps = []
        for request, tokens in zip(requests, sampled, strict=True):
            scored = float(score(policy, request.prompt_ids, [tokens.token_ids])[0])
            gaps.append(abs(scored - tokens.logp) / len(tokens.token_ids))
    return max(gaps)


def switch_milliseconds(bench: Bench) -> float:
    """Mean time to switch between two adapters in memory."""
    start = time.perf_counter()
    for number in range(_SWITCHES):
        bench.policy.switch((POLICY, REFERENCE)[number % 2])
    return (time.perf_counter() - start) / _SWITCHES * 1000
