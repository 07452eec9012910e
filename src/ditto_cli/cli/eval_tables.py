"""An evaluation's report -> what `ditto eval` shows on stdout: the verdict, bars of win rates, a table, warnings."""

from __future__ import annotations

from collections.abc import Callable

from ditto_cli.cli import render
from ditto_cli.evaluation.html.words import evaluated_title, interval, judged, number, share
from ditto_cli.evaluation.report import ContestantReport, EvalReport
from ditto_cli.evaluation.verdict import shown

_NARROW = 90  # columns of a terminal below which the contestants' figures take two tables
_NO_FIGURE = "-"
_SHOWS = {"better": "preferred", "worse": "opponent preferred", "no difference": "no difference shown"}

_Figure = tuple[str, Callable[[ContestantReport], str]]


def _figure(value: float | None, digits: int) -> str:
    return _NO_FIGURE if value is None else number(value, digits)


_SOUND_FIGURES: list[_Figure] = [
    ("style", lambda c: _figure(next((p.value for p in c.style if p.measure == "total"), None), 2)),
    ("task", lambda c: number(c.task.value)),
    ("ended", lambda c: share(c.collapse.ended)),
    ("loops", lambda c: share(c.collapse.looping)),
    ("recites", lambda c: f"{c.leakage.longest_passage_words} words"),
]
_OTHER_FIGURES: list[_Figure] = [
    ("held-out loss", lambda c: _figure(c.held_out_loss, 3)),
    ("chrF", lambda c: _figure(c.chrf, 1)),
]


def show_report(report: EvalReport) -> None:
    """Print the report for people, the answer first."""
    render.print_facts({"verdict": "\n         ".join(report.verdict.lines)})
    _show_win_rates(report)
    _show_contestants(report)
    _show_warnings(report)


def _show_win_rates(report: EvalReport) -> None:
    title = evaluated_title(report)
    own = [rate for rate in report.win_rates if rate.contestant == title]
    if not own:
        return
    bars = [
        render.Bar(
            f"over {rate.opponent}",
            rate.rate,
            (rate.low, rate.high),
            f"{number(rate.rate)} ({interval(rate)}) {_SHOWS[shown(rate)]}",
            judged(rate),
        )
        for rate in own
    ]
    render.print_text("")
    render.print_bars(f"win rate of {title} with its 95% interval", bars)


def _show_contestants(report: EvalReport) -> None:
    if not report.contestants:
        return
    is_wide = render.stdout_console().width >= _NARROW
    groups = [_SOUND_FIGURES + _OTHER_FIGURES] if is_wide else [_SOUND_FIGURES, _OTHER_FIGURES]
    for group in groups:
        columns = [name for name, _ in group]
        cells = [[figure(contestant) for _, figure in group] for contestant in report.contestants]
        # A column in which nothing was measured tells nothing.
        measured = [index for index in range(len(group)) if any(row[index] != _NO_FIGURE for row in cells)]
        if measured:
            rows = [
                (contestant.title, *(row[index] for index in measured))
                for contestant, row in zip(report.contestants, cells, strict=True)
            ]
            render.print_text("")
            render.print_table("", ("contestant", *(columns[index] for index in measured)), rows)


def _show_warnings(report: EvalReport) -> None:
    rows = [("evaluation", warning) for warning in report.warnings]
    rows += [(contestant.title, warning) for contestant in report.contestants for warning in contestant.warnings]
    if rows:
        render.print_text("")
        render.print_table("warnings", ("about", "warning"), rows)
