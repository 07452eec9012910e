"""An evaluation's report -> what `ditto eval` shows on stdout: the verdict, bars of win rates, a table, warnings."""

from __future__ import annotations

from ditto_cli.cli import render
from ditto_cli.evaluation.report import EvalReport
from ditto_cli.evaluation.sections import evaluated_title, overview, warnings_by_subject, win_rates

_NARROW, _FIGURES_IN_NARROW = 90, 5  # columns of a terminal below which the contestants' figures take two tables


def show_report(report: EvalReport) -> None:
    """Print the report for people, the answer first."""
    render.print_facts({"verdict": "\n         ".join(report.verdict.lines)})
    bars = []
    for row in win_rates(report).rows:
        rate, shows, rests_on = row.cells
        assert rate.bar is not None
        assert rate.interval is not None
        bars.append(render.Bar(row.name, rate.bar, rate.interval, f"{rate.text} {shows.text}", rests_on.text))
    if bars:
        render.print_text("")
        render.print_bars(f"win rate of {evaluated_title(report)} with its 95% interval", bars)
    table = overview(report)
    names = [column.short for column in table.columns]
    is_narrow = render.stdout_console().width < _NARROW
    for part in (slice(_FIGURES_IN_NARROW), slice(_FIGURES_IN_NARROW, None)) if is_narrow else (slice(None),):
        if table.rows and names[part]:
            rows = [(row.name, *(cell.text for cell in row.cells[part])) for row in table.rows]
            render.print_text("")
            render.print_table("", ("contestant", *names[part]), rows)
    warnings = warnings_by_subject(report)
    if warnings:
        render.print_text("")
        render.print_table("warnings", ("about", "warning"), warnings)
