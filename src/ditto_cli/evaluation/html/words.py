"""Figures and texts -> the words in which a report shows them. No torch, no markup."""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import datetime

from ditto_cli.evaluation.report import EvalReport, WinRate

# The rule of the terminal (cli.render), which this room may not import: what turns the direction of text around, or is
# obeyed without being seen, is written out; joiners are needed in Persian, Hindi and emoji.
_KEPT = "\n\t\u200c\u200d"
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co"}

_ROUND = re.compile(r"(?:^|:)round(\d+)$")


def visible(text: str) -> str:
    """The same text with control and direction characters written out."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in _KEPT or unicodedata.category(character) not in _HIDDEN_CATEGORIES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def number(value: float, digits: int = 2) -> str:
    """A figure with a fixed number of digits, or in powers of ten where those would be many."""
    if not math.isfinite(value) or abs(value) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """A share in percent; never 0 % or 100 % for what is not quite none or all."""
    shown = f"{value:.0%}"
    if shown in ("0%", "100%") and value not in (0.0, 1.0):
        return "under 1%" if shown == "0%" else "over 99%"
    return shown


def counted(num: int, noun: str) -> str:
    """`1 tie`, `2 ties`."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def interval(rate: WinRate) -> str:
    """The 95 % interval, as `0.61 to 0.95`."""
    return f"{number(rate.low)} to {number(rate.high)}"


def judged(rate: WinRate) -> str:
    """What a win rate rests on, as `18 judgements on 6 prompts, 2 ties, 0 unanswered`."""
    return (
        f"{counted(rate.num_judgements, 'judgement')} on {counted(rate.num_prompts, 'prompt')}, "
        f"{counted(rate.ties, 'tie')}, {rate.unanswered} unanswered"
    )


def moment(created: str) -> str:
    """When the report was made, as `2026-03-14 09:26 UTC`; as it is if it is no ISO date."""
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M %Z").rstrip()
    except ValueError:
        return created


def duration(seconds: float) -> str:
    """`4 s`, `12 min 5 s`, `2 h 7 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def evaluated_title(report: EvalReport) -> str:
    """The title under which the evaluated adapter competed."""
    if report.win_rates:
        return report.win_rates[0].contestant
    return report.contestants[0].title if report.contestants else report.adapter


def round_number(title: str) -> int | None:
    """The round that `round2` or `alice:round2` names."""
    match = _ROUND.search(title)
    return int(match[1]) if match else None


def short(title: str, limit: int) -> str:
    """A title in at most `limit` characters; of `alice:round2` the stage is told rather than the name."""
    if len(title) <= limit:
        return title
    stage = title.rpartition(":")[2] or title
    return stage if len(stage) <= limit else stage[: limit - 1] + "…"
