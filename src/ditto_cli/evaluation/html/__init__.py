"""An evaluation's report -> one HTML page that needs nothing else: no script, no network, no other file. No torch.

Every text goes through `visible` and then through the template's escaping. Knows no measure; it shows figures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ditto_cli.evaluation.report import EvalReport, SampleRow, total_style
from ditto_cli.evaluation.sections import (
    counted,
    evaluated_title,
    number,
    other_tables,
    warnings_by_subject,
    win_rates,
)
from ditto_cli.evaluation.types import BASE_CONTESTANT
from ditto_cli.shown import duration, visible

_LINE, _MANY_LINES = 34, 17  # characters in a line of a sample's column, and what page.css shows of a long text

# The picture of style and task: x in per cent of the width, y in pixels, so that text keeps its size on a telephone.
_LOWEST, _HIGHEST = -0.25, 1.25  # what lies further out is drawn at the edge
_LEFT, _RIGHT, _TOP, _BOTTOM = 4.0, 96.0, 14.0, 250.0
_LINE_HEIGHT = 15.0  # between labels that would lie on each other
_ABOVE = 4.0  # the words of a line across, above it
_LABEL_LENGTH = 16  # with its figures, in half of the narrowest drawing


@dataclass(frozen=True)
class Spot:
    """Somebody on the picture of style and task, and where its label stands, in pixels."""

    role: str
    label: str
    style: float
    task: float
    label_y: float


def render_html(report: EvalReport) -> str:
    """The report as one HTML document. It holds the report's texts, so it is as private as they are."""
    evaluated = evaluated_title(report)
    return _template("page.html.j2").render(
        report=report,
        evaluated=evaluated,
        wins=win_rates(report),
        tables=other_tables(report),
        spots=_spots(report, evaluated),
        across=_across,
        down=_down,
        words_y=_words_y,
        samples=[(row, _texts(row, report, evaluated)) for row in report.samples],
        warnings=warnings_by_subject(report),
    )


def render_overview(title: str, reports: Sequence[tuple[EvalReport, str]]) -> str:
    """Many people's verdicts as one page, sorted by a click on a column; each name leads to the person's own page.

    `reports` are with the address of that page, in the order in which they are shown.
    """
    rows = []
    for report, link in reports:
        evaluated, base = (
            next((c for c in report.contestants if c.title == wanted), None)
            for wanted in (evaluated_title(report), BASE_CONTESTANT)
        )
        figures = [
            "-" if value is None else number(value)
            for one in (evaluated, base)
            for value in ((None, None) if one is None else (total_style(one.style), one.task.value))
        ]
        rows.append({"name": report.adapter, "link": link, "cells": [*figures, report.verdict.advice]})
    columns = ("person", "style", "task", "base: style", "base: task", "verdict")
    lead = "The worst first. A column's head sorts by it; a name leads to the person's own report, which holds texts."
    return _template("overview.html.j2").render(title=title, lead=lead, columns=columns, rows=rows)


def moment(created: str) -> str:
    """When the report was made, as `2026-03-14 09:26 UTC`; as it is if it is no ISO date."""
    try:
        return datetime.fromisoformat(created).strftime("%Y-%m-%d %H:%M %Z").rstrip()
    except ValueError:
        return created


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "counted": counted,
        "duration": duration,
        "moment": moment,
        "number": number,
        "percent": lambda value: f"{100 * min(1.0, max(0.0, value)):.2f}%",
        "short": _short,
    }
    environment.tests["long"] = lambda text: sum(1 + len(line) // _LINE for line in text.splitlines()) > _MANY_LINES
    return environment.get_template(name)


def _shown(value: object) -> Markup | str:
    """What an expression of the template writes; only its own macros are markup already."""
    if isinstance(value, Markup):
        return value
    assert isinstance(value, str | int), f"the page is made of words, not {type(value).__name__}"
    return visible(str(value))


def _short(title: str) -> str:
    """A title as a label; of `alice:round2` the stage is told rather than the name."""
    if len(title) <= _LABEL_LENGTH:
        return title
    stage = title.rpartition(":")[2] or title
    return stage if len(stage) <= _LABEL_LENGTH else stage[: _LABEL_LENGTH - 1] + "…"


def _place(value: float) -> float:
    """Where a figure lies between the lowest and the highest that are drawn, from 0 to 1."""
    if math.isnan(value):
        return 0.5
    return (min(_HIGHEST, max(_LOWEST, value)) - _LOWEST) / (_HIGHEST - _LOWEST)


def _across(style: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * _place(style), 2)


def _down(task: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * _place(task), 2)


def _words_y(task: float) -> float:
    """Where the words of the line across at this height stand."""
    return _down(task) - _ABOVE


def _beside(task: float) -> float:
    """Where a label stands beside its sign."""
    return _down(task) + 4


def _spots(report: EvalReport, evaluated: str) -> list[Spot]:
    """The author and every contestant, from the highest task down; a label is pushed below all that it would lie on."""
    roles = {"base": "base", "few-shot": "few-shot", "sft": "sft"}
    found = [
        ("evaluated" if c.title == evaluated else roles.get(c.kind, "stage"), c.title, total, c.task.value)
        for c in report.contestants
        if (total := total_style(c.style)) is not None
    ]
    author = total_style(report.author_style)
    if author is not None:
        found.insert(0, ("author", "author", author, report.author_task))
    spots: list[Spot] = []
    label_y = 0.0
    for one in sorted(found, key=lambda one: _down(one[3])):
        role, label, style, task = one
        label_y = max(_beside(task), label_y + _LINE_HEIGHT)
        signs = [_beside(other[3]) for other in found if other is not one]
        for taken_y in sorted([_words_y(1), _words_y(0), *signs]):
            if abs(label_y - taken_y) < _LINE_HEIGHT:
                label_y = taken_y + _LINE_HEIGHT
        spots.append(Spot(role, label, style, task, round(label_y, 2)))
    return spots


def _texts(row: SampleRow, report: EvalReport, evaluated: str) -> list[tuple[str, str, str]]:
    """Title, text and role: the author's own first, then the evaluated adapter's, then the others' as in the report."""
    order = dict.fromkeys([evaluated, *(c.title for c in report.contestants), *row.texts])
    own = [] if row.author_text is None else [("The author", row.author_text, "author")]
    return own + [(t, row.texts[t], "evaluated" if t == evaluated else "") for t in order if t in row.texts]
