"""A report -> its tables, figures in words: the terminal and the HTML page draw the same ones.

A figure beyond its limit is flagged in words. No torch, no layout.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ditto_cli.evaluation.report import TOTAL, ContestantReport, EvalReport, Task, WinRate, total_style
from ditto_cli.evaluation.soundness import (
    ENDED_LIMIT,
    EXTRACTION_WARNING_WORDS,
    LENGTH_RATIO_LIMITS,
    LOOPING_LIMIT,
    PASSAGE_WARNING_WORDS,
    SHARED_8GRAMS_WARNING,
    beyond_limits,
)
from ditto_cli.evaluation.verdict import shown

NO_FIGURE = "-"
_ROUND = re.compile(r"(?:^|:)round(\d+)$")
_SHOWS = {"better": "preferred", "worse": "opponent preferred", "no difference": "no difference shown"}


@dataclass(frozen=True)
class Cell:
    """One figure in words, and which limit it breaks; its bar, from 0 to 1, and the interval around the bar's end."""

    text: str
    flag: str = ""
    bar: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class Column:
    """A heading, the figure below it, and what that means; the terminal shows columns with a `short` heading."""

    name: str
    figure: Callable[[Any], Cell]
    note: str = ""
    short: str = ""


@dataclass(frozen=True)
class Row:
    """A row with its heading; the evaluated adapter's stands out."""

    name: str
    cells: tuple[Cell, ...]
    is_evaluated: bool


@dataclass(frozen=True)
class Table:
    """Figures by row and column."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def win_rates(report: EvalReport) -> Table:
    """The evaluated adapter against each other contestant."""
    title = evaluated_title(report)
    own = [(f"over {rate.opponent}", rate) for rate in report.win_rates if rate.contestant == title]
    return _table(own, [_RATE, _SHOWN, _RESTS_ON])


def other_tables(report: EvalReport) -> dict[str, Table]:
    """All that is behind the win rates, by the name that the page's template has for it."""
    title = evaluated_title(report)
    among = [(rate.contestant, rate) for rate in report.win_rates if rate.contestant != title]
    by_contestant = [(contestant.title, contestant) for contestant in report.contestants]
    # The author's own texts have these two figures only.
    author = SimpleNamespace(style=report.author_style, task=Task(value=report.author_task))
    with_author = [*([("the author's own texts", author)] if report.author_style else []), *by_contestant]
    points = [*report.author_style, *(point for c in report.contestants for point in c.style)]
    measures = list(dict.fromkeys(point.measure for point in points))
    profile = [_STYLE, _TASK, *(_style(measure) for measure in measures if measure != TOTAL)]
    stages = sorted((c for c in report.contestants if c.kind in ("base", "sft", "round")), key=_stage_order)
    by_stage = [(stage.title, stage) for stage in stages]
    has_held_out = any(c.held_out_loss is not None or c.chrf is not None for c in report.contestants)
    return {
        "among": _table(among, [_OPPONENT, _RATE, _SHOWN, _RESTS_ON]),
        "pool": _table([(rate.contestant, rate) for rate in report.pool_rates], [_RATE, _RESTS_ON], title),
        "style": _table(with_author if measures else [], profile, title),
        "stages": _table(by_stage if len(stages) > 1 else [], [_STYLE, _TASK, _ENDED, _LOSS], title),
        "soundness": _table(by_contestant, _soundness_columns(report), title),
        "held_out": _table(by_contestant if has_held_out else [], [_LOSS, _CHRF], title),
        "panel": _table([(member.measure, member) for member in report.panel], [_SEPARATION, _WEIGHT]),
    }


def overview(report: EvalReport) -> Table:
    """What the terminal shows of every contestant, without columns in which nothing was measured."""
    columns = [_STYLE, _TASK, *_soundness_columns(report), _LOSS, _CHRF]
    known = [
        column
        for column in columns
        if column.short and any(column.figure(c).text != NO_FIGURE for c in report.contestants)
    ]
    return _table([(c.title, c) for c in report.contestants], known)


def warnings_by_subject(report: EvalReport) -> list[tuple[str, str]]:
    """What a warning is about, and the warning."""
    return [
        *(("evaluation", warning) for warning in report.warnings),
        *((c.title, warning) for c in report.contestants for warning in c.warnings),
    ]


def evaluated_title(report: EvalReport) -> str:
    """The title under which the evaluated adapter competed."""
    if report.win_rates:
        return report.win_rates[0].contestant
    return report.contestants[0].title if report.contestants else report.adapter


def number(value: float, digits: int = 2) -> str:
    """A figure with a fixed number of digits, or in powers of ten where those would be many."""
    if not math.isfinite(value) or abs(value) >= 1e5:
        return f"{value:.3g}"
    return f"{value:.{digits}f}"


def share(value: float) -> str:
    """A share in percent; never 0 % or 100 % for what is not quite none or all."""
    rounded = f"{value:.0%}"
    if rounded in ("0%", "100%") and value not in (0.0, 1.0):
        return "under 1%" if rounded == "0%" else "over 99%"
    return rounded


def counted(num: int, noun: str) -> str:
    """`1 tie`, `2 ties`."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def _table(named: Sequence[tuple[str, Any]], columns: Sequence[Column], evaluated: str | None = None) -> Table:
    rows = (Row(name, tuple(column.figure(item) for column in columns), name == evaluated) for name, item in named)
    return Table(tuple(columns), tuple(rows))


def _stage_order(contestant: ContestantReport) -> tuple[int, float]:
    found = _ROUND.search(contestant.title)
    return ("base", "sft", "round").index(contestant.kind), float(found[1]) if found else math.inf


def _figure(value: float | None, digits: int) -> Cell:
    return Cell(NO_FIGURE if value is None else number(value, digits))


def _scale(value: float | None) -> Cell:
    """A figure between 0 and 1 with its bar."""
    return Cell(NO_FIGURE) if value is None else Cell(number(value), bar=value)


def _rate(rate: WinRate) -> Cell:
    text = f"{number(rate.rate)} ({number(rate.low)} to {number(rate.high)})"
    return Cell(text, bar=rate.rate, interval=(rate.low, rate.high))


def _style(measure: str) -> Column:
    return Column(measure, lambda c: _scale(next((p.value for p in c.style if p.measure == measure), None)))


def _sound(name: str, field: str, text: Callable[[ContestantReport], str], note: str, short: str = "") -> Column:
    """A figure of soundness, which is flagged where it breaks its limit."""

    def figure(contestant: ContestantReport) -> Cell:
        flag, _ = beyond_limits(contestant.collapse, contestant.leakage).get(field, ("", ""))
        return Cell(text(contestant), flag)

    return Column(name, figure, note, short)


def _soundness_columns(report: EvalReport) -> list[Column]:
    """Collapse and leakage, each beside its limit."""
    shortest, longest = LENGTH_RATIO_LIMITS
    natural = [c.leakage.held_out_8grams for c in report.contestants if c.leakage.held_out_8grams is not None]
    most = f"at most {share(SHARED_8GRAMS_WARNING)}"
    allowed = f"the author's other texts: {share(max(natural))}; {most} more" if natural else most
    return [
        _ENDED,
        _sound(
            "Loops",
            "looping",
            lambda c: share(c.collapse.looping),
            f"share of texts; at most {share(LOOPING_LIMIT)}",
            "loops",
        ),
        _sound(
            "Length",
            "length_ratio",
            lambda c: f"{number(c.collapse.length_ratio)} times",
            f"against the demonstrations; {number(shortest, 1)} to {number(longest, 1)} times",
        ),
        _sound(
            "Longest recited passage",
            "longest_passage_words",
            lambda c: counted(c.leakage.longest_passage_words, "word"),
            f"at most {counted(PASSAGE_WARNING_WORDS, 'word')}",
            "recites",
        ),
        _sound("Recited 8-word passages", "shared_8grams", lambda c: share(c.leakage.shared_8grams), allowed),
        _sound(
            "Goes on when prompted",
            "extracted_words",
            lambda c: "not run" if (num := c.leakage.extracted_words) is None else counted(num, "word"),
            f"at most {counted(EXTRACTION_WARNING_WORDS, 'word')}",
        ),
        _sound(
            "Personal data",
            "personal_data",
            lambda c: ", ".join(c.leakage.personal_data) or "none",
            "limit: none",
        ),
    ]


_RATE = Column("Win rate", _rate, "with its 95% interval")
_SHOWN = Column("Shows", lambda rate: Cell(_SHOWS[shown(rate)]))
_RESTS_ON = Column(
    "Rests on",
    lambda rate: Cell(
        f"{counted(rate.num_judgements, 'judgement')} on {counted(rate.num_prompts, 'prompt')}, "
        f"{counted(rate.ties, 'tie')}, {rate.unanswered} unanswered"
    ),
)
_OPPONENT = Column("Opponent", lambda rate: Cell(rate.opponent))
_STYLE = Column("Style", lambda c: _scale(total_style(c.style)), "the panel's total", "style")
_TASK = Column("Task", lambda c: _scale(c.task.value), "1 says as much of what is asked as the author does", "task")
_ENDED = _sound(
    "Texts that ended", "ended", lambda c: share(c.collapse.ended), f"at least {share(ENDED_LIMIT)}", "ended"
)
_LOSS = Column("Loss on held-out texts", lambda c: _figure(c.held_out_loss, 3), "lower is nearer", "held-out loss")
_CHRF = Column("chrF against held-out texts", lambda c: _figure(c.chrf, 1), "0 to 100, higher is nearer", "chrF")
_SEPARATION = Column("Separation", lambda member: _scale(member.separation), "0.5 is chance, 1 always right")
_WEIGHT = Column("Weight", lambda member: Cell(share(member.weight), bar=member.weight), "share of the total")
