"""Win rates and warnings -> one sentence: was the training worth it, and what to use from now on. No torch.

The plainer a contestant, the less it has to show: the base needs nothing, a few-shot prompt no training, SFT no
rounds. An adapter is recommended over the base or a few-shot prompt only where the judgements show that it is better.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ditto_cli.evaluation.report import Verdict, WinRate
from ditto_cli.evaluation.types import BASE_CONTESTANT
from ditto_cli.evaluation.win_rates import describe

Opponent = Literal["base", "few-shot", "sft"]
Shown = Literal["better", "worse", "no difference"]

_ORDER: tuple[Opponent, ...] = ("base", "few-shot", "sft")  # the plainest first
_NAMES: Mapping[Opponent, str] = {"base": "the base", "few-shot": "a few-shot prompt", "sft": "plain SFT"}


def shown(rate: WinRate) -> Shown:
    """What a rate shows of its contestant: no difference while its interval holds 0.5."""
    if rate.low > 0.5:
        return "better"
    return "worse" if rate.high < 0.5 else "no difference"


def verdict(
    adapter_title: str,
    rates: Mapping[Opponent, WinRate],
    warnings: Mapping[str, Sequence[str]],
    rounds: Sequence[WinRate] = (),
) -> Verdict:
    """The answer to "should I use this adapter?", with the rates that it rests on.

    Args:
        adapter_title: the contestant that is evaluated.
        rates: its rates over each opponent that was judged; any may be missing.
        warnings: of every contestant by its title (`collapse.warnings_of`). An adapter that has one is not
            recommended, whatever its rates; nor is a few-shot prompt or a stage that has one.
        rounds: the adapter's rates over other rounds of its own.
    """
    usable: list[Opponent] = [
        name for name in _ORDER if name in rates and (name == "base" or not warnings.get(rates[name].opponent))
    ]
    plainer = [name for name in usable if name != "sft" and shown(rates[name]) != "better"]
    if warnings.get(adapter_title):
        advice, keep = _not_recommended(adapter_title, rates, usable, warnings[adapter_title])
    elif not rates:
        advice, keep = f"Nothing was judged, so nothing is shown for or against {adapter_title}", adapter_title
    elif plainer:
        # Of those that are shown to be better, the best; else the plainest.
        best = min(plainer, key=lambda name: rates[name].rate if shown(rates[name]) == "worse" else 1.0)
        advice, keep = _plainer(adapter_title, rates, best), rates[best].opponent
    elif "sft" in usable and shown(rates["sft"]) == "worse":
        keep = rates["sft"].opponent
        advice = f"Use {keep}, plain SFT: it sounds more like the author than {adapter_title}, what DITTO made of it"
    elif better := [rate for rate in rounds if shown(rate) == "worse" and not warnings.get(rate.opponent)]:
        keep = min(better, key=lambda rate: rate.rate).opponent
        advice = f"Use {keep}: it sounds more like the author than {adapter_title}"
    else:
        advice, keep = _the_adapter(adapter_title, rates), adapter_title
    named = ", ".join(f"over {_NAMES[name]} {describe(rates[name])}" for name in _ORDER if name in rates)
    return Verdict(sentence=f"{advice}; win rates of {adapter_title}: {named}." if named else f"{advice}.", keep=keep)


def _not_recommended(
    title: str, rates: Mapping[Opponent, WinRate], usable: Sequence[Opponent], reasons: Sequence[str]
) -> tuple[str, str]:
    because = "; ".join(reason[:1].lower() + reason[1:].rstrip(".") for reason in reasons)
    if not usable:
        return f"{title} is not recommended, whatever its win rates: {because}; use the base", BASE_CONTESTANT
    # Who is shown to be better than it; else the plainest that it is not shown to beat; else whoever came nearest.
    better = [name for name in usable if shown(rates[name]) == "worse"]
    unbeaten = [name for name in usable if shown(rates[name]) == "no difference"]
    best = min(better or unbeaten[:1] or usable, key=lambda name: rates[name].rate)
    keep = rates[best].opponent
    return f"{title} is not recommended, whatever its win rates: {because}; use {_NAMES[best]}", keep


def _plainer(title: str, rates: Mapping[Opponent, WinRate], best: Opponent) -> str:
    is_better = shown(rates[best]) == "worse"
    if best == "base":
        reason = (
            f"it sounds more like the author than {title}"
            if is_better
            else f"{title} is not shown to sound more like the author"
        )
        advice = f"Keep the base: {reason}"
    else:
        reason = "better than" if is_better else "as good, as far as these judgements can show, as"
        advice = f"Keep the few-shot prompt: it is {reason} {title}, and it needs no training"
    return advice + _about_sft(title, rates)


def _the_adapter(title: str, rates: Mapping[Opponent, WinRate]) -> str:
    beaten = [_NAMES[name] for name in _ORDER if name in rates and shown(rates[name]) == "better"]
    if beaten:
        listed = " and ".join([", ".join(beaten[:-1]), beaten[-1]] if beaten[1:] else beaten)
        advice = f"Keep {title}: it sounds more like the author than {listed}"
    else:
        advice = f"Nothing is shown for or against {title}"
    advice += _about_sft(title, rates)
    # What is left here unbeaten was passed over for its warnings.
    if "sft" in rates and shown(rates["sft"]) == "worse":
        advice += " but has warnings of its own"
    if "few-shot" in rates and shown(rates["few-shot"]) != "better":
        advice += ", and a few-shot prompt, which it does not beat, has warnings of its own"
    missing = [_NAMES[name] for name in _ORDER[:2] if name not in rates]
    return advice + (f" ({' and '.join(missing)} not compared)" if missing else "")


def _about_sft(title: str, rates: Mapping[Opponent, WinRate]) -> str:
    if "sft" not in rates or shown(rates["sft"]) == "better":
        return ""
    if shown(rates["sft"]) == "worse":
        return f", and plain SFT ({rates['sft'].opponent}) sounds more like the author than {title}"
    return ", and DITTO adds nothing that these judgements can show over plain SFT"
