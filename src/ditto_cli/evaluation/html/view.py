"""An evaluation's report -> what its page shows, section by section, in words and drawings. No torch, no layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ditto_cli.evaluation.html import tables
from ditto_cli.evaluation.html.charts import (
    CurvePoint,
    Mark,
    Role,
    Spot,
    stage_curve,
    style_and_task,
    style_strip,
    win_axis,
    win_bar,
)
from ditto_cli.evaluation.html.tables import Table
from ditto_cli.evaluation.html.words import (
    counted,
    duration,
    evaluated_title,
    interval,
    judged,
    moment,
    number,
    round_number,
    short,
)
from ditto_cli.evaluation.report import ContestantReport, EvalReport, SampleRow, StylePoint, WinRate
from ditto_cli.evaluation.verdict import shown

TOTAL = "total"
_AUTHOR_LABEL = "author"
_SOURCES = {
    "held_out": "prompt of a text that was kept back",
    "given": "prompt that you gave",
    "new": "new prompt of the same kind",
}
_LINE, _MANY_LINES = 34, 17  # characters in a line of a sample's column, and what page.css shows of a long text
_ROLES: dict[str, Role] = {"base": "base", "few-shot": "few-shot", "sft": "sft"}
_SHORT_NAMES = {"base": "base", "sft": "SFT"}


@dataclass(frozen=True)
class Bar:
    """A win rate of the evaluated adapter: drawing, figures and what they show."""

    opponent: str
    drawing: Markup
    rate: str
    interval: str
    judged: str
    shows: str


@dataclass(frozen=True)
class Figure:
    """One small drawing with its title."""

    title: str
    note: str
    drawing: Markup


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


@dataclass(frozen=True)
class Samples:
    """A prompt and what was written for it."""

    prompt: str
    source: str
    texts: tuple[Text, ...]


@dataclass(frozen=True)
class Page:
    """All that the template needs; it decides only where it stands."""

    adapter: str
    evaluated: str
    created: str
    advice: str
    grounds: tuple[str, ...]
    keep: str
    bars: tuple[Bar, ...]
    bar_axis: Markup
    others: Table | None
    pool: Table | None
    plane: Markup
    strips: tuple[Figure, ...]
    style: Table
    curves: tuple[Figure, ...]
    samples: tuple[Samples, ...]
    soundness: Table
    held_out: Table | None
    panel: Table
    warnings: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    stayed: bool
    few_prompts: str


def view_of(report: EvalReport) -> Page:
    """The page's contents."""
    evaluated = evaluated_title(report)
    own = [rate for rate in report.win_rates if rate.contestant == evaluated]
    others = [rate for rate in report.win_rates if rate.contestant != evaluated]
    return Page(
        adapter=report.adapter,
        evaluated=evaluated,
        created=moment(report.created),
        advice=report.verdict.advice,
        grounds=tuple(report.verdict.figures),
        keep=report.verdict.keep,
        bars=tuple(_bar(rate, f"win{index}") for index, rate in enumerate(own)),
        bar_axis=win_axis("win-axis"),
        others=tables.rates_table("A tie counts half", others, evaluated, pooled=False) if others else None,
        pool=tables.rates_table("A tie counts half", report.pool_rates, evaluated, pooled=True)
        if report.pool_rates
        else None,
        plane=_plane(report, evaluated),
        strips=_strips(report, evaluated),
        style=tables.style_table(report),
        curves=_curves(report, evaluated),
        samples=tuple(_samples(row, evaluated, [c.title for c in report.contestants]) for row in report.samples),
        soundness=tables.soundness_table(report),
        held_out=tables.held_out_table(report),
        panel=tables.panel_table(report.panel),
        warnings=(
            *(("", warning) for warning in report.warnings),
            *((c.title, warning) for c in report.contestants for warning in c.warnings),
        ),
        facts=_facts(report),
        stayed=not report.run.judge_sees_texts_elsewhere,
        few_prompts=counted(report.run.num_prompts, "prompt"),
    )


def _bar(rate: WinRate, identity: str) -> Bar:
    words = {
        "better": "the adapter is preferred",
        "worse": "the opponent is preferred",
        "no difference": "no difference shown",
    }
    return Bar(
        opponent=rate.opponent,
        drawing=win_bar(rate, identity),
        rate=number(rate.rate),
        interval=interval(rate),
        judged=judged(rate),
        shows=words[shown(rate)],
    )


def _plane(report: EvalReport, evaluated: str) -> Markup:
    """A point each for the author and every contestant, style across and task up."""
    spots = [
        Spot(_role_of(c, evaluated), c.title, total, c.task.value)
        for c in report.contestants
        if (total := _total(c.style)) is not None
    ]
    author = _total(report.author_style)
    if author is not None:
        spots.insert(0, Spot("author", _AUTHOR_LABEL, author, report.author_task))
    return style_and_task(spots, identity="plane") if spots else Markup()


def _role_of(contestant: ContestantReport, evaluated: str) -> Role:
    return "evaluated" if contestant.title == evaluated else _ROLES.get(contestant.kind, "stage")


def _total(points: Sequence[StylePoint]) -> float | None:
    return next((point.value for point in points if point.measure == TOTAL), None)


def _strips(report: EvalReport, evaluated: str) -> tuple[Figure, ...]:
    """One drawing a measure: the author's own texts, the plainer contestants, and the evaluated one."""
    compared: list[tuple[Role, str, dict[str, float]]] = []
    if report.author_style:
        compared.append(("author", _AUTHOR_LABEL, {p.measure: p.value for p in report.author_style}))
    for contestant in sorted(report.contestants, key=lambda c: _place(c, evaluated)):
        role: Role | None = "evaluated" if contestant.title == evaluated else _ROLES.get(contestant.kind)
        if role is not None:
            compared.append((role, contestant.title, {p.measure: p.value for p in contestant.style}))
    strips = []
    for index, measure in enumerate(tables.measures_of(report)):
        marks = [Mark(role, title, values[measure]) for role, title, values in compared if measure in values]
        name = "overall (the panel's total)" if measure == TOTAL else measure
        strips.append(Figure(name, "", style_strip(measure, marks, identity=f"style{index}")))
    return tuple(strips)


def _place(contestant: ContestantReport, evaluated: str) -> int:
    return len(_ROLES) if contestant.title == evaluated else [*_ROLES, contestant.kind].index(contestant.kind)


def _curves(report: EvalReport, evaluated: str) -> tuple[Figure, ...]:
    """The course from the base through SFT and the rounds; nothing where there are no two stages."""
    stages = sorted((c for c in report.contestants if c.kind in ("base", "sft", "round")), key=_stage_order)

    def curve(
        title: str,
        note: str,
        figure: Callable[[ContestantReport], float | None],
        *,
        span: tuple[float, float] | None,
    ) -> Figure | None:
        known = [(stage, value) for stage in stages if (value := figure(stage)) is not None]
        if len(known) < 2:
            return None
        points = [CurvePoint(_stage_label(stage), value, stage.title == evaluated) for stage, value in known]
        identity = f"curve-{title}".replace(" ", "-")
        return Figure(title, note, stage_curve(title, points, identity=identity, span=span, digits=2))

    author = _total(report.author_style)
    note = "0 is like others, 1 is like the author"
    found = (
        curve(
            "Overall style",
            note if author is None else f"{note}; the author's own texts: {number(author)}",
            lambda c: _total(c.style),
            span=(0.0, 1.0),
        ),
        curve("Task", "1 says as much of what is asked as the author does", lambda c: c.task.value, span=(0.0, 1.0)),
        curve("Texts that ended", "share that ended by themselves", lambda c: c.collapse.ended, span=(0.0, 1.0)),
        curve("Loss on held-out texts", "nats per token, lower is nearer", lambda c: c.held_out_loss, span=None),
    )
    return tuple(one for one in found if one is not None)


def _stage_order(contestant: ContestantReport) -> tuple[int, float]:
    number_of = round_number(contestant.title)
    return ("base", "sft", "round").index(contestant.kind), float("inf") if number_of is None else number_of


def _stage_label(contestant: ContestantReport) -> str:
    number_of = round_number(contestant.title)
    if contestant.kind in _SHORT_NAMES:
        return _SHORT_NAMES[contestant.kind]
    return short(contestant.title, 9) if number_of is None else f"r{number_of}"


def _samples(row: SampleRow, evaluated: str, order: Sequence[str]) -> Samples:
    """The author's own text first, then the evaluated adapter's, then the others' in the order of the report."""
    ranked = {title: place for place, title in enumerate([evaluated, *order])}
    titles = sorted(row.texts, key=lambda title: ranked.get(title, len(ranked)))
    texts = [Text(title, row.texts[title], "evaluated" if title == evaluated else "") for title in titles]
    if row.author_text is not None:
        texts.insert(0, Text("The author", row.author_text, "author"))
    return Samples(row.prompt, _SOURCES[row.source], tuple(texts))


def _facts(report: EvalReport) -> tuple[tuple[str, str], ...]:
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
