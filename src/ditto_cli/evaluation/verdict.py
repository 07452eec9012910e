"""Win rates, style, task and warnings -> at most three lines: what to use from now on, then the figures. No torch.

The plainer a contestant, the less it has to show: the base needs nothing, a few-shot prompt no training, SFT no
rounds. An adapter is recommended over the base or a few-shot prompt only where the judgements show that it is better,
and never where it says less of what was asked than the base does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ditto_cli.evaluation.report import ContestantReport, Verdict, WinRate, total_style
from ditto_cli.evaluation.types import BASE_CONTESTANT, TEXTS_CONTESTANT

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
    named = [_described(name, own[c.title]) for name in _ORDER if (c := _of_kind(contestants, name)) and c.title in own]
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
        return f"Do not use {main.title}: {_lowered(main.warnings[0])}; take {_called(refuge)} instead.", refuge
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


def _described(name: Opponent, rate: WinRate) -> str:
    return f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f}) over {_NAMES[name]}"


def _of_kind(contestants: Sequence[ContestantReport], kind: Opponent) -> ContestantReport | None:
    """The contestant of that kind; of SFT the evaluated adapter's own, which comes first."""
    return next((c for c in contestants if c.kind == kind), None)


def _called(title: str) -> str:
    names = {"base": "the base", "few-shot": "the few-shot prompt", TEXTS_CONTESTANT: "it with --with-texts"}
    return names.get(title, title)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].rstrip(".")
