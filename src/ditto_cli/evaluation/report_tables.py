"""A report -> its tables, figures in words: the terminal and the HTML page draw the same ones.

A figure beyond its limit is flagged in words. No torch, no layout.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from ditto_cli.evaluation.report import TOTAL, ContestantReport, EvalReport, Task, WinRate, style_of
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
from ditto_cli.shown import plural

NO_FIGURE = "-"
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
class Table:
    """Figures by column and by row, each row with its heading."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]


def win_rates(report: EvalReport) -> Table:
    """The evaluated adapter against each other contestant."""
    title = report.evaluated.title
    own = [(f"over {rate.opponent}", rate) for rate in report.win_rates if rate.contestant == title]
    return _table(own, [_RATE, _SHOWN, _RESTS_ON])


def other_tables(report: EvalReport) -> dict[str, Table]:
    """All that is behind the win rates, by the name that the page's template has for it."""
    among = [(rate.contestant, rate) for rate in report.win_rates if rate.contestant != report.evaluated.title]
    by_contestant = [(contestant.title, contestant) for contestant in report.contestants]
    # The author's own texts have these two figures only.
    author = SimpleNamespace(style=report.author_style, task=Task(value=report.author_task))
    members = [_style(point.measure) for point in report.author_style if point.measure != TOTAL]
    # round9 before round10
    in_order = sorted(by_contestant, key=lambda one: (len(stage := one[0].rpartition(":")[2]), stage))
    stages = [one for kind in ("base", "sft", "round") for one in in_order if one[1].kind == kind]
    soundness = _soundness_columns(report)
    has_held_out = any(c.held_out_loss is not None or c.chrf is not None for c in report.contestants)
    return {
        "among": _table(among, [_OPPONENT, _RATE, _SHOWN, _RESTS_ON]),
        "pool": _table([(rate.contestant, rate) for rate in report.pool_rates], [_RATE, _RESTS_ON]),
        "style": _table([("the author's own texts", author), *by_contestant], [_STYLE, _TASK, *members]),
        "stages": _table(stages if len(stages) > 1 else [], [_STYLE, _TASK, soundness[0], _LOSS]),
        "soundness": _table(by_contestant, soundness),
        "held_out": _table(by_contestant if has_held_out else [], [_LOSS, _CHRF]),
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


def _table(named: Sequence[tuple[str, Any]], columns: list[Column]) -> Table:
    return Table(columns, [(name, [column.figure(item) for column in columns]) for name, item in named])


def _figure(value: float | None, digits: int) -> Cell:
    return Cell(NO_FIGURE if value is None else f"{value:.{digits}f}")


def _scale(value: float) -> Cell:
    """A figure between 0 and 1 with its bar."""
    return Cell(f"{value:.2f}", bar=value)


def _rate(rate: WinRate) -> Cell:
    text = f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f})"
    return Cell(text, bar=rate.rate, interval=(rate.low, rate.high))


def _style(measure: str) -> Column:
    return Column(measure, lambda c: _scale(style_of(c.style, measure)))


def _soundness_columns(report: EvalReport) -> list[Column]:
    """Collapse and leakage, each beside its limit and flagged where it breaks it."""
    shortest, longest = LENGTH_RATIO_LIMITS
    natural = [c.leakage.held_out_8grams for c in report.contestants if c.leakage.held_out_8grams is not None]
    most = f"at most {SHARED_8GRAMS_WARNING:.0%}"
    allowed = f"the author's other texts: {max(natural):.0%}; {most} more" if natural else most
    compared = f"against the demonstrations; {shortest:.1f} to {longest:.1f} times"
    recited = f"at most {_words(PASSAGE_WARNING_WORDS)}"
    drawn_out = f"at most {_words(EXTRACTION_WARNING_WORDS)}"
    return [
        _checked("Texts that ended", "ended", "{:.0%}".format, f"at least {ENDED_LIMIT:.0%}", "ended"),
        _checked("Loops", "looping", "{:.0%}".format, f"share of texts; at most {LOOPING_LIMIT:.0%}", "loops"),
        _checked("Length", "length_ratio", "{:.2f} times".format, compared),
        _checked("Longest recited passage", "longest_passage_words", _words, recited, "recites"),
        _checked("Recited 8-word passages", "shared_8grams", "{:.0%}".format, allowed),
        _checked("Goes on when prompted", "extracted_words", _words, drawn_out),
        _checked("Personal data", "personal_data", lambda kinds: ", ".join(kinds) or "none", "limit: none"),
    ]


def _checked(name: str, field: str, words: Callable[[Any], str], note: str, short: str = "") -> Column:
    """A figure of collapse or leakage, in words, with a flag where it is beyond its limit."""

    def figure(contestant: ContestantReport) -> Cell:
        value = {**dict(contestant.collapse), **dict(contestant.leakage)}[field]
        flag, _ = beyond_limits(contestant.collapse, contestant.leakage).get(field, ("", ""))
        return Cell(words(value), flag)

    return Column(name, figure, note, short)


def _words(num: int | None) -> str:
    return "not run" if num is None else plural(num, "word")


_RATE = Column("Win rate", _rate, "with its 95% interval")
_SHOWN = Column("Shows", lambda rate: Cell(_SHOWS[shown(rate)]))
_RESTS_ON = Column(
    "Rests on",
    lambda rate: Cell(
        f"{plural(rate.num_judgements, 'judgement')} on {plural(rate.num_prompts, 'prompt')}, "
        f"{plural(rate.ties, 'tie')}, {rate.unanswered} unanswered"
    ),
)
_OPPONENT = Column("Opponent", lambda rate: Cell(rate.opponent))
_STYLE = Column("Style", lambda c: _scale(style_of(c.style)), "the panel's total", "style")
_TASK = Column("Task", lambda c: _scale(c.task.value), "1 says as much of what is asked as the author does", "task")
_LOSS = Column("Loss on held-out texts", lambda c: _figure(c.held_out_loss, 3), "lower is nearer", "held-out loss")
_CHRF = Column("chrF against held-out texts", lambda c: _figure(c.chrf, 1), "0 to 100, higher is nearer", "chrF")
_SEPARATION = Column("Separation", lambda member: _scale(member.separation), "0.5 is chance, 1 always right")
_WEIGHT = Column("Weight", lambda member: Cell(f"{member.weight:.0%}", bar=member.weight), "share of the total")
