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
    other_sections,
    warnings_by_subject,
    win_rates,
)
from ditto_cli.evaluation.types import BASE_CONTESTANT
from ditto_cli.shown import duration, visible

_SOURCES = {
    "held_out": "prompt of a text that was kept back",
    "given": "prompt that you gave",
    "new": "new prompt of the same kind",
}
_LINE, _MANY_LINES = 34, 17  # characters in a line of a sample's column, and what page.css shows of a long text

# The picture of style and task: x in per cent of the width, y in pixels, so that text keeps its size on a telephone.
_LOWEST, _HIGHEST = -0.25, 1.25  # what lies further out is drawn at the edge
_LEFT, _RIGHT, _TOP, _BOTTOM = 4.0, 96.0, 14.0, 250.0
_LINE_HEIGHT = 15.0  # of labels that would lie on each other
_LABEL_LENGTH = 16  # with its figures, in half of the narrowest drawing


@dataclass(frozen=True)
class Spot:
    """Somebody on the picture of style and task: the place of the sign, and the height of its label."""

    role: str
    label: str
    style: float
    task: float
    label_y: float

    @property
    def x(self) -> float:
        """In per cent."""
        return _across(self.style)

    @property
    def y(self) -> float:
        """In pixels."""
        return _down(self.task)


@dataclass(frozen=True)
class Text:
    """One text of a sample row; a long one is shown whole on demand, so that it does not leave the others behind."""

    title: str
    text: str
    role: str

    @property
    def is_long(self) -> bool:
        """Whether it takes more lines than the page gives it at first."""
        return sum(1 + len(line) // _LINE for line in self.text.splitlines()) > _MANY_LINES

    @property
    def length(self) -> str:
        """Its length in words."""
        return counted(len(self.text.split()), "word")


def render_html(report: EvalReport) -> str:
    """The report as one HTML document. It holds the report's texts, so it is as private as they are."""
    evaluated = evaluated_title(report)
    return _template("page.html.j2").render(
        report=report,
        evaluated=evaluated,
        created=moment(report.created),
        wins=win_rates(report),
        others=other_sections(report),
        spots=_spots(report, evaluated),
        across=_across,
        down=_down,
        samples=[(_SOURCES[row.source], row.prompt, _texts(row, report, evaluated)) for row in report.samples],
        warnings=warnings_by_subject(report),
        facts=_facts(report),
        num_prompts=counted(report.run.num_prompts, "prompt"),
    )


def render_overview(title: str, reports: Sequence[tuple[EvalReport, str]]) -> str:
    """Many people's verdicts as one page, sorted by a click on a column; each name leads to the person's own report.

    Args:
        title: of the page.
        reports: with the address of each one's page, in the order in which they are shown.
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
    environment.filters |= {"number": number, "short": _short, "percent": _percent}
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


def _percent(value: float) -> str:
    return f"{100 * min(1.0, max(0.0, value)):.2f}%"


def _place(value: float) -> float:
    """Where a figure lies between the lowest and the highest that are drawn, from 0 to 1."""
    if math.isnan(value):
        return 0.5
    return (min(_HIGHEST, max(_LOWEST, value)) - _LOWEST) / (_HIGHEST - _LOWEST)


def _across(style: float) -> float:
    return round(_LEFT + (_RIGHT - _LEFT) * _place(style), 2)


def _down(task: float) -> float:
    return round(_BOTTOM - (_BOTTOM - _TOP) * _place(task), 2)


def _spots(report: EvalReport, evaluated: str) -> list[Spot]:
    """The author and every contestant, from the highest task down; labels are pushed apart."""
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
    lowest = 0.0
    for role, label, style, task in sorted(found, key=lambda one: _down(one[3])):
        lowest = max(_down(task), lowest + _LINE_HEIGHT)
        spots.append(Spot(role, label, style, task, lowest))
    return spots


def _texts(row: SampleRow, report: EvalReport, evaluated: str) -> list[Text]:
    """The author's own text first, then the evaluated adapter's, then the others' in the order of the report."""
    order = dict.fromkeys([evaluated, *(c.title for c in report.contestants), *row.texts])
    own = [] if row.author_text is None else [Text("The author", row.author_text, "author")]
    return own + [Text(t, row.texts[t], "evaluated" if t == evaluated else "") for t in order if t in row.texts]


def _facts(report: EvalReport) -> Sequence[tuple[str, str]]:
    run = report.run
    return (
        ("Adapter", report.adapter),
        ("Created", moment(report.created)),
        ("ditto", run.ditto),
        ("Base model", run.base),
        ("Quantised", run.quantize),
        ("Device", run.device),
        ("Judge", run.judge),
        ("Seed", str(run.seed)),
        ("Temperature", f"{run.temperature:g}"),
        ("Prompts", str(run.num_prompts)),
        ("Writings of each contestant for a prompt", str(run.num_samples)),
        ("Length limit", counted(run.max_new_tokens, "token")),
        ("Demonstrations", str(run.num_demonstrations)),
        ("Held-out texts", str(run.num_held_out)),
        ("Time taken", duration(run.seconds)),
    )
