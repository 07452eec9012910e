"""Judgements -> how often each was preferred, and how sure that is -> what to use from now on. No torch.

Texts for one prompt resemble each other, and so do the judgements on them: what is drawn at random are prompts, so
the interval comes from drawing prompts again (cluster bootstrap).

The plainer a contestant, the less it has to show: the base needs nothing, a few-shot prompt no training, SFT no
rounds. An adapter is recommended over the base or a few-shot prompt only where the judgements show that it is better,
and never where it says less of what was asked than the base does. Knows nothing of who judged.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from ditto_cli.evaluation.report import POOL, ContestantReport, Verdict, WinRate, total_style
from ditto_cli.evaluation.types import BASE_CONTESTANT, TEXTS_CONTESTANT, Judgement
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

    `judgements` may be of any contestants, in either order of the two.
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


Opponent = Literal["base", "few-shot", "sft"]
Shown = Literal["better", "worse", "no difference"]

_ORDER: tuple[Opponent, ...] = ("base", "few-shot", "sft")  # the plainest first
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
    main = contestants[0]
    own = {rate.opponent: rate for rate in rates if rate.contestant == main.title}
    advice, keep = _advice(main, contestants[1:], own)
    named = [
        f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f}) over {_NAMES[name]}"
        for name in _ORDER
        if (c := _of_kind(contestants, name)) and (rate := own.get(c.title))
    ]
    figures = [_axes(contestants)]
    if named:
        figures.append(f"Win rates of {main.title}: {', '.join(named)}.")
    return Verdict(advice=advice, figures=figures, keep=keep)


def _advice(
    main: ContestantReport, others: Sequence[ContestantReport], rates: Mapping[str, WinRate]
) -> tuple[str, str]:
    sound = [c for c in others if c.kind == "base" or not (c.warnings or c.task.is_below_base)]
    plain = [c for name in _ORDER if (c := _of_kind(sound, name)) is not None]
    if main.warnings:
        refuge = _best(plain, rates)
        why = main.warnings[0][:1].lower() + main.warnings[0][1:].rstrip(".")
        return f"Do not use {main.title}: {why}; take {_called(refuge)} instead.", refuge
    if main.task.is_below_base:
        base, few_shot = _of_kind(others, "base"), _of_kind(sound, "few-shot")
        assert base is not None
        way = "use the few-shot prompt, or a larger base" if few_shot else "take a larger base"
        figures = f"task {main.task.value:.2f}, base {base.task.value:.2f}"
        return (
            f"It sounds like you but does not say what you ask ({figures}): {way}.",
            few_shot.title if few_shot else base.title,
        )
    if not rates:
        return f"Nothing was judged, so nothing is shown for or against {main.title}.", main.title
    untrained = [c for c in plain if c.kind != "sft" and c.title in rates and shown(rates[c.title]) != "better"]
    if untrained:
        best = min(untrained, key=lambda c: rates[c.title].rate if shown(rates[c.title]) == "worse" else 1.0)
        is_better = shown(rates[best.title]) == "worse"
        why = f"it is better than {main.title}" if is_better else f"{main.title} is not shown to be better"
        return f"Keep {_called(best.title)}: {why}.", best.title
    trained = [c for c in sound if c.kind in ("sft", "round", "texts") and c.title in rates]
    better = [c for c in trained if shown(rates[c.title]) == "worse"]
    if better:
        best = min(better, key=lambda c: rates[c.title].rate)
        return f"Use {_called(best.title)}: it is better than {main.title}.", best.title
    return _for_the_adapter(main, others, rates), main.title


def _for_the_adapter(main: ContestantReport, others: Sequence[ContestantReport], rates: Mapping[str, WinRate]) -> str:
    beaten = [c.title for c in others if c.title in rates and shown(rates[c.title]) == "better"]
    if not beaten:
        return f"Nothing is shown for or against {main.title}."
    usual = [_called(title) for title in beaten if title in ("base", "few-shot")]
    advice = f"Keep {main.title}: it is better than {' and '.join(usual) or ', '.join(beaten)}."
    sft = _of_kind(others, "sft")
    if sft is not None and main.kind == "round" and sft.title in rates and sft.title not in beaten:
        advice += " The rounds are not shown to add to SFT."
    return advice


def _best(contestants: Sequence[ContestantReport], rates: Mapping[str, WinRate]) -> str:
    """Who is shown to be better than the evaluated one; else the plainest that it does not beat; else the nearest."""
    judged = [c.title for c in contestants if c.title in rates]
    if not judged:
        return BASE_CONTESTANT
    better = [title for title in judged if shown(rates[title]) == "worse"]
    unbeaten = [title for title in judged if shown(rates[title]) == "no difference"]
    return min(better or unbeaten[:1] or judged, key=lambda title: rates[title].rate)


def _axes(contestants: Sequence[ContestantReport]) -> str:
    """Style and task of the evaluated one and of the plainer ones."""

    def both(contestant: ContestantReport) -> str:
        style = total_style(contestant.style)
        return f"{'-' if style is None else f'{style:.2f}'} and {contestant.task.value:.2f}"

    plainer = [c for name in _ORDER if (c := _of_kind(contestants[1:], name)) is not None]
    rest = ", ".join(f"{c.title} {both(c)}" for c in plainer)
    return f"Style and task (1 is you): {contestants[0].title} {both(contestants[0])}{f'; {rest}' if rest else ''}."


def _of_kind(contestants: Sequence[ContestantReport], kind: Opponent) -> ContestantReport | None:
    """The contestant of that kind; of SFT the evaluated adapter's own, which comes first."""
    return next((c for c in contestants if c.kind == kind), None)


def _called(title: str) -> str:
    names = {"base": "the base", "few-shot": "the few-shot prompt", TEXTS_CONTESTANT: "it with --with-texts"}
    return names.get(title, title)
