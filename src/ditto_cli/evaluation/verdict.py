"""Judgements -> how often each was preferred, and how sure that is -> what to use from now on. No torch.

Texts for one prompt resemble each other, and so do the judgements on them: what is drawn at random are prompts, so
the interval comes from drawing prompts again (cluster bootstrap).

The plainer a contestant, the less it has to show: the base needs nothing, a few-shot prompt no training, SFT no
rounds. An adapter is recommended over the base or a few-shot prompt only where the judgements show that it is better,
and never where it says less of what was asked than the base does. Knows nothing of who judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from ditto_cli.evaluation.judgements import BASE_CONTESTANT, TEXTS_CONTESTANT, Judgement
from ditto_cli.evaluation.report import POOL, ContestantReport, Verdict, WinRate, style_of
from ditto_cli.seeds import derive_seed

_RESAMPLES = 2000
_Z = 1.959964  # of the standard normal: 2.5 % lie above
# How alike the judgements on one prompt are taken to be for the floor of the interval: 0 all independent, 1 all equal.
# In 400 simulations each of 6 and 8 prompts x 3 writings (rate 0.5 to 0.9, true correlation 0, 0.3, 1), the interval
# covers the true rate in 97 to 100 % (a nominal 95; the bootstrap alone in 44 to 97 %). The price: a true rate of 0.75
# on 8 prompts x 3 is shown to be above 0.5 in 4 to 9 %, on 12 prompts x 1 in 36 to 40 %. At 0.5 equals would be called
# different in 3 % on one side.
_CORRELATION = 1.0


def win_rate(judgements: Iterable[Judgement], contestant: str, opponent: str | None, *, seed: int) -> WinRate | None:
    """How often `contestant` was preferred over `opponent`, a tie as half; None without an answered judgement.

    `judgements` may be of any contestants, in either order of the two. Without an opponent it is whoever it met, as in
    "win rate" in the DITTO paper's tables.
    """
    by_prompt: dict[str, list[float]] = {}
    num_unanswered = 0
    for judgement in judgements:
        pair, score = judgement.pair, judgement.score
        is_first = pair.first.contestant == contestant
        own, other = (pair.first, pair.second) if is_first else (pair.second, pair.first)
        if own.contestant != contestant or other.contestant == contestant or opponent not in (other.contestant, None):
            continue
        if score is None:
            num_unanswered += 1
            continue
        by_prompt.setdefault(pair.prompt.id, []).append(score if is_first else 1 - score)
    if not by_prompt:
        return None
    # In the order of their ids, so that the order in which pairs were judged changes nothing.
    clusters = [by_prompt[prompt] for prompt in sorted(by_prompt)]
    answered = [score for scores in clusters for score in scores]
    rate = sum(answered) / len(answered)
    opponent = opponent or POOL
    low, high = _interval(clusters, derive_seed(seed, "win rate", contestant, opponent))
    return WinRate(
        contestant=contestant,
        opponent=opponent,
        rate=rate,
        low=min(low, rate),
        high=max(high, rate),
        wins=answered.count(1.0),
        ties=answered.count(0.5),
        losses=answered.count(0.0),
        unanswered=num_unanswered,
        num_prompts=len(clusters),
    )


def mean_interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """95 % percentile interval of a mean over prompts, by drawing prompts again."""
    return _bootstrap([[value] for value in values], seed)


def _bootstrap(clusters: Sequence[Sequence[float]], seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean over resampled clusters."""
    sums, sizes = np.array([sum(scores) for scores in clusters]), np.array([len(scores) for scores in clusters])
    drawn = np.random.default_rng(seed).integers(len(clusters), size=(_RESAMPLES, len(clusters)))
    low, high = np.quantile(sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _interval(clusters: Sequence[Sequence[float]], seed: int) -> tuple[float, float]:
    """95 % percentile interval over resampled prompts, widened to a score interval where that reaches further.

    The bootstrap of few prompts is too narrow, and of judgements that all agree it has no width at all. Wilson's score
    interval with continuity correction (Newcombe, Statistics in Medicine 17, 1998, method 4) has neither fault; it is
    taken for as many independent judgements as the correlated ones are worth (Kish, Survey Sampling, 1965: the design
    effect).
    """
    if len(clusters) < 2:
        return 0.0, 1.0
    low, high = _bootstrap(clusters, seed)
    num = sum(map(len, clusters))
    worth = num / (1 + (num / len(clusters) - 1) * _CORRELATION)
    wilson_low, wilson_high = _wilson(sum(map(sum, clusters)) / num, worth)
    return min(low, wilson_low), max(high, wilson_high)


def _wilson(rate: float, num: float) -> tuple[float, float]:
    """The rates p from which `rate` lies at most 1.96 standard deviations and half a judgement away."""

    def low(share: float) -> float:
        below = _Z * math.sqrt(_Z**2 - 2 - 1 / num + 4 * share * (num * (1 - share) + 1))
        return max(0.0, (2 * num * share + _Z**2 - 1 - below) / (2 * (num + _Z**2)))

    return low(rate) if rate > 0 else 0.0, 1 - low(1 - rate) if rate < 1 else 1.0


Opponent = Literal["base", "few-shot", "sft"]
Shown = Literal["better", "worse", "no difference"]

# The plainest first.
_NAMES: Mapping[Opponent, str] = {"base": "the base", "few-shot": "the few-shot prompt", "sft": "plain SFT"}


def shown(rate: WinRate) -> Shown:
    """What a rate shows of its contestant: no difference while its interval holds 0.5."""
    if rate.low > 0.5:
        return "better"
    return "worse" if rate.high < 0.5 else "no difference"


def verdict(contestants: Sequence[ContestantReport], rates: Sequence[WinRate]) -> Verdict:
    """The answer to "should I use this adapter?".

    Args:
        contestants: the evaluated one first. One that has warnings, or that says less of what was asked than the base,
            is not recommended, whatever its rates; the base always may be.
        rates: of the evaluated one over others.
    """
    main, *others = contestants
    own = {rate.opponent: rate for rate in rates if rate.contestant == main.title}
    advice, keep = _advice(main, others, own)
    plainer = [(name, c) for kind, name in _NAMES.items() if (c := _of_kind(others, kind)) is not None]
    axes = [f"{c.title} {style_of(c.style):.2f} and {c.task.value:.2f}" for c in (main, *(c for _, c in plainer))]
    figures = [f"Style and task (1 is you): {'; '.join(filter(None, (axes[0], ', '.join(axes[1:]))))}."]
    named = [
        f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f}) over {name}"
        for name, c in plainer
        if (rate := own.get(c.title))
    ]
    if named:
        figures.append(f"Win rates of {main.title}: {', '.join(named)}.")
    return Verdict(advice=advice, figures=figures, keep=keep)


def _advice(
    main: ContestantReport, others: Sequence[ContestantReport], rates: Mapping[str, WinRate]
) -> tuple[str, str]:
    """One sentence or two, and the title of what to use."""
    results = {title: shown(rate) for title, rate in rates.items()}
    sound = [c for c in others if c.kind == "base" or not (c.warnings or c.task.is_below_base)]
    plain = [c for kind in _NAMES if (c := _of_kind(sound, kind)) is not None]
    if main.warnings:
        # Who is shown to be better; else the plainest that it does not beat; else the nearest.
        judged = [c.title for c in plain if c.title in rates]
        better = [title for title in judged if results[title] == "worse"]
        unbeaten = [title for title in judged if results[title] == "no difference"]
        nearest = min(better or unbeaten[:1] or judged, key=lambda title: rates[title].rate, default=BASE_CONTESTANT)
        why = main.warnings[0][:1].lower() + main.warnings[0][1:].rstrip(".")
        return f"Do not use {main.title}: {why}; take {_name_of(nearest)} instead.", nearest
    if main.task.is_below_base:
        base, few_shot = _of_kind(others, "base"), _of_kind(sound, "few-shot")
        assert base is not None
        way = "use the few-shot prompt, or a larger base" if few_shot else "take a larger base"
        figures = f"task {main.task.value:.2f}, base {base.task.value:.2f}"
        return f"It sounds like you but does not say what you ask ({figures}): {way}.", (few_shot or base).title
    untrained = [c.title for c in plain if c.kind != "sft" and results.get(c.title, "better") != "better"]
    if untrained:
        best = min(untrained, key=lambda title: rates[title].rate if results[title] == "worse" else 1.0)
        is_better = results[best] == "worse"
        why = f"it is better than {main.title}" if is_better else f"{main.title} is not shown to be better"
        return f"Keep {_name_of(best)}: {why}.", best
    trained = [c.title for c in sound if c.kind in ("sft", "round", "texts") and results.get(c.title) == "worse"]
    if trained:
        best = min(trained, key=lambda title: rates[title].rate)
        return f"Use {_name_of(best)}: it is better than {main.title}.", best
    beaten = [c.title for c in others if results.get(c.title) == "better"]
    if not beaten:
        nothing = "Nothing is shown" if rates else "Nothing was judged, so nothing is shown"
        return f"{nothing} for or against {main.title}.", main.title
    usual = [_name_of(title) for title in beaten if title in ("base", "few-shot")]
    advice = f"Keep {main.title}: it is better than {' and '.join(usual) or ', '.join(beaten)}."
    sft = _of_kind(others, "sft")
    if sft is not None and main.kind == "round" and results.get(sft.title, "better") != "better":
        advice += " The rounds are not shown to add to SFT."
    return advice, main.title


def _of_kind(contestants: Sequence[ContestantReport], kind: Opponent) -> ContestantReport | None:
    """The contestant of that kind; of SFT the evaluated adapter's own, which comes first."""
    return next((c for c in contestants if c.kind == kind), None)


def _name_of(title: str) -> str:
    names = {"base": "the base", "few-shot": "the few-shot prompt", TEXTS_CONTESTANT: "it with --with-texts"}
    return names.get(title, title)
