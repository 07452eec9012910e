"""An evaluation's report -> one HTML page that needs nothing else: no script, no network, no other file. No torch.

Every text goes through `words.visible` and then through the template's escaping. Knows no measure; it shows figures.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ditto_cli.evaluation.html.view import view_of
from ditto_cli.evaluation.html.words import visible
from ditto_cli.evaluation.report import EvalReport

__all__ = ["render_html"]


def render_html(report: EvalReport) -> str:
    """The report as one HTML document. It holds the report's texts, so it is as private as they are."""
    return _template().render(page=view_of(report))


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2")


def _shown(value: object) -> Markup | str:
    """What an expression of the template writes; only charts are markup already."""
    if isinstance(value, Markup):
        return value
    assert isinstance(value, str | int), f"the view gives words, not {type(value).__name__}"
    return visible(str(value))
