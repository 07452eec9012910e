"""Judgements -> how often one contestant was preferred, with an interval that says how sure that is. No torch.

Texts for one prompt resemble each other, and so do the judgements on them: what is drawn at random are prompts, so
the interval comes from drawing prompts again (cluster bootstrap). Knows nothing of who judged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from ditto_cli.evaluation.report import POOL, WinRate
from ditto_cli.evaluation.types import Judgement
from ditto_cli.seeds import derive_seed

_RESAMPLES = 2000
_Z = 1.959964  # of the standard normal: 2.5 % lie above
# How alike the judgements on one prompt are taken to be for the floor of the interval: 0 all independent, 1 all equal.
# In 400 simulations each of 6 and 8 prompts x 3 writings (rate 0.5 to 0.9, true correlation 0, 0.3, 1), the interval
# covers the true rate in 97 to 100 % (a nominal 95; the bootstrap alone in 44 to 97 %). The price: a true rate of 0.75
# on 8 prompts x 3 is shown to be above 0.5 in 4 to 9 %, on 12 prompts x 1 in 36 to 40 %. At 0.5 equals would be called
# different in 3 % on one side.
_CORRELATION = 1.0

_Scored = tuple[str, float | None]  # prompt id, and the contestant's score: 1 preferred, 0 not, None no answer


def win_rate(judgements: Iterable[Judgement], contestant: str, opponent: str, *, seed: int) -> WinRate | None:
    """How often `contestant` was preferred over `opponent`, a tie as half; None without an answered judgement.

    Args:
        judgements: of any contestants, in either order of the two.
        contestant: whose rate.
        opponent: over whom.
        seed: of the bootstrap.
    """
    scored = [
        _scored(judgement, contestant)
        for judgement in judgements
        if sorted(_contestants(judgement)) == sorted((contestant, opponent))
    ]
    return _rate(scored, contestant, opponent, seed)


def pool_rate(judgements: Iterable[Judgement], contestant: str, *, seed: int) -> WinRate | None:
    """How often `contestant` was preferred over whoever was its opponent: "win rate" in the DITTO paper's tables."""
    scored = [
        _scored(judgement, contestant) for judgement in judgements if _contestants(judgement).count(contestant) == 1
    ]
    return _rate(scored, contestant, POOL, seed)


def mean_interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """95 % percentile interval of a mean over prompts, by drawing prompts again."""
    array = np.array(values)
    drawn = np.random.default_rng(seed).integers(len(array), size=(_RESAMPLES, len(array)))
    low, high = np.quantile(array[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _contestants(judgement: Judgement) -> tuple[str, str]:
    return judgement.pair.first.contestant, judgement.pair.second.contestant


def _scored(judgement: Judgement, contestant: str) -> _Scored:
    score = judgement.score
    if score is not None:
        score = 0.5 if score == 0.5 else float(score > 0.5)  # a sure and an unsure preference count alike
        if judgement.pair.first.contestant != contestant:
            score = 1 - score
    return judgement.pair.prompt.id, score


def _rate(scored: Sequence[_Scored], contestant: str, opponent: str, seed: int) -> WinRate | None:
    by_prompt: dict[str, list[float]] = {}
    for prompt, score in scored:
        if score is not None:
            by_prompt.setdefault(prompt, []).append(score)
    if not by_prompt:
        return None
    answered = [score for scores in by_prompt.values() for score in scores]
    counts = Counter(answered)
    rate = sum(answered) / len(answered)
    # In the order of their ids, so that the order in which pairs were judged changes nothing.
    clusters = [by_prompt[prompt] for prompt in sorted(by_prompt)]
    low, high = _interval(clusters, derive_seed(seed, "win rate", contestant, opponent))
    return WinRate(
        contestant=contestant,
        opponent=opponent,
        rate=rate,
        low=min(low, rate),
        high=max(high, rate),
        wins=counts[1.0],
        ties=counts[0.5],
        losses=counts[0.0],
        unanswered=len(scored) - len(answered),
        num_prompts=len(clusters),
    )


def _interval(clusters: Sequence[Sequence[float]], seed: int) -> tuple[float, float]:
    """95 % percentile interval over resampled prompts, widened to a score interval where that reaches further.

    The bootstrap of few prompts is too narrow, and of judgements that all agree it has no width at all. Wilson's score
    interval with continuity correction (Newcombe, Statistics in Medicine 17, 1998, method 4) has neither fault; it is
    taken for as many independent judgements as the correlated ones are worth (Kish, Survey Sampling, 1965: the design
    effect).
    """
    if len(clusters) < 2:
        return 0.0, 1.0
    sums, sizes = np.array([sum(scores) for scores in clusters]), np.array([len(scores) for scores in clusters])
    drawn = np.random.default_rng(seed).integers(len(clusters), size=(_RESAMPLES, len(clusters)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    per_prompt = sizes.mean()
    worth = sizes.sum() / (1 + (per_prompt - 1) * _CORRELATION)
    wilson_low, wilson_high = _wilson(float(sums.sum() / sizes.sum()), float(worth))
    return min(float(low), wilson_low), max(float(high), wilson_high)


def _wilson(rate: float, num: float) -> tuple[float, float]:
    """The rates p from which `rate` lies at most 1.96 standard deviations and half a judgement away."""

    def low(share: float) -> float:
        below = _Z * math.sqrt(_Z**2 - 2 - 1 / num + 4 * share * (num * (1 - share) + 1))
        return max(0.0, (2 * num * share + _Z**2 - 1 - below) / (2 * (num + _Z**2)))

    return low(rate) if rate > 0 else 0.0, 1 - low(1 - rate) if rate < 1 else 1.0
