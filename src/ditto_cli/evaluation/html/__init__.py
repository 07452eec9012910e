"""An evaluation's report -> one HTML page that needs nothing else: no script, no network, no other file. No torch.

Every text goes through `visible` and then through the template's escaping. Knows no measure; it shows figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ditto_cli.evaluation.report import EvalReport, SampleRow, style_of
from ditto_cli.evaluation.report_tables import other_tables, warnings_by_subject, win_rates
from ditto_cli.shown import duration, plural, visible

_LINE, _MANY_LINES = 34, 17  # characters in a line of a sample's column, and what page.css shows of a long text
_LOWEST, _HIGHEST = -0.25, 1.25  # of the picture of style and task; what lies further out is drawn at the edge


def render_html(report: EvalReport) -> str:
    """The report as one HTML document. It holds the report's texts, so it is as private as they are."""
    evaluated = report.evaluated.title
    return _template("page.html.j2").render(
        report=report,
        evaluated=evaluated,
        wins=win_rates(report),
        tables=other_tables(report),
        spots=_spots(report, evaluated),
        samples=[(row, _texts(row, evaluated)) for row in report.samples],
        warnings=warnings_by_subject(report),
    )


def render_overview(title: str, reports: Sequence[tuple[EvalReport, str]]) -> str:
    """Many people's verdicts as one page, sorted by a click on a column; each name leads to the person's own page.

    `reports` are with the address of that page, in the order in which they are shown.
    """
    rows = []
    for report, link in reports:
        base = next(c for c in report.contestants if c.kind == "base")
        figures = [f"{value:.2f}" for c in (report.evaluated, base) for value in (style_of(c.style), c.task.value)]
        rows.append({"name": report.adapter, "link": link, "cells": [*figures, report.verdict.advice]})
    columns = ("person", "style", "task", "base: style", "base: task", "verdict")
    lead = "The worst first. A column's head sorts by it; a name leads to the person's own report, which holds texts."
    return _template("overview.html.j2").render(title=title, lead=lead, columns=columns, rows=rows)


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_render_value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "plural": plural,
        "duration": duration,
        "moment": lambda created: datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M %Z"),
        "percent": _percent,
        "place": lambda value: _percent((value - _LOWEST) / (_HIGHEST - _LOWEST)),
    }
    environment.tests["long"] = lambda text: sum(1 + len(line) // _LINE for line in text.splitlines()) > _MANY_LINES
    return environment.get_template(name)


def _percent(share: float) -> str:
    return f"{100 * min(1.0, max(0.0, share)):.2f}%"


def _render_value(value: object) -> Markup | str:
    """What an expression of the template writes; only its own macros are markup already."""
    if isinstance(value, Markup):
        return value
    assert isinstance(value, str | int), f"the page is made of words, not {type(value).__name__}"
    return visible(str(value))


def _spots(report: EvalReport, evaluated: str) -> list[tuple[str, str, float, float]]:
    """Role, title, style and task of the author and of every contestant, from the highest task down."""
    spots = [("author", "author", style_of(report.author_style), report.author_task)]
    for one in report.contestants:
        kind = one.kind if one.kind in ("base", "few-shot", "sft") else "stage"
        role = "evaluated" if one.title == evaluated else kind
        spots.append((role, one.title, style_of(one.style), one.task.value))
    return sorted(spots, key=lambda spot: -spot[3])


def _texts(row: SampleRow, evaluated: str) -> list[tuple[str, str, str]]:
    """Title, text and role: the author's own first, then those of the contestants."""
    own = [] if row.author_text is None else [("The author", row.author_text, "author")]
    return own + [(title, text, "evaluated" if title == evaluated else "") for title, text in row.texts.items()]
