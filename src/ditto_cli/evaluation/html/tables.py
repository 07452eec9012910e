"""A report's figures -> the cells of the page's tables, in words; a figure beyond its limit is flagged. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ditto_cli.evaluation.collapse import (
    ENDED_LIMIT,
    EXTRACTION_WARNING_WORDS,
    LENGTH_RATIO_LIMITS,
    LOOPING_LIMIT,
    PASSAGE_WARNING_WORDS,
    SHARED_8GRAMS_WARNING,
)
from ditto_cli.evaluation.html.words import counted, evaluated_title, interval, judged, number, share
from ditto_cli.evaluation.report import Collapse, ContestantReport, EvalReport, Leakage, PanelMember, WinRate

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Cell:
    """One figure; `flag` says in words which limit it breaks, or is empty."""

    text: str
    flag: str = ""


@dataclass(frozen=True)
class Column:
    """A column's heading, and below it what its figures mean."""

    name: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row with its heading; the evaluated adapter's stands out."""

    name: str
    cells: tuple[Cell, ...]
    is_evaluated: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first of `columns` stands over the rows' headings."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]


def rates_table(caption: str, rates: Sequence[WinRate], evaluated: str, *, pooled: bool) -> Table:
    """Win rates in figures; in the pool view everybody has the same opponent, which needs no column."""
    opponent = () if pooled else (Column("Opponent"),)
    return Table(
        caption,
        (Column("Contestant"), *opponent, Column("Win rate"), Column("95% interval"), Column("Rests on")),
        tuple(
            Row(
                rate.contestant,
                (
                    *(() if pooled else (Cell(rate.opponent),)),
                    Cell(number(rate.rate)),
                    Cell(interval(rate)),
                    Cell(judged(rate)),
                ),
                rate.contestant == evaluated,
            )
            for rate in rates
        ),
    )


def style_table(report: EvalReport) -> Table:
    """Every contestant's place on every measure."""
    measures = measures_of(report)
    rows = [("the author's own texts", report.author_style, False)] if report.author_style else []
    rows += [(c.title, c.style, c.title == evaluated_title(report)) for c in report.contestants]
    return Table(
        "0 is like others, 1 is like the author",
        (Column("Contestant"), *(Column(measure) for measure in measures)),
        tuple(
            Row(
                title,
                tuple(_known({p.measure: p.value for p in points}.get(measure), 2) for measure in measures),
                is_evaluated,
            )
            for title, points, is_evaluated in rows
        ),
    )


def measures_of(report: EvalReport) -> list[str]:
    """The panel's measures in the order of the report, the total first."""
    points = [*report.author_style, *(point for c in report.contestants for point in c.style)]
    names = dict.fromkeys(point.measure for point in points)
    return sorted(names, key=lambda name: name != "total")


def soundness_table(report: EvalReport) -> Table:
    """Collapse and leakage of every contestant, beside the limits."""
    shortest, longest = LENGTH_RATIO_LIMITS
    natural = max((c.leakage.held_out_8grams or 0.0 for c in report.contestants), default=0.0)
    has_natural = any(c.leakage.held_out_8grams is not None for c in report.contestants)
    most = f"at most {share(SHARED_8GRAMS_WARNING)}"
    allowed = f"the author's other texts: {share(natural)}; {most} more" if has_natural else most
    return Table(
        "Each figure beside its limit. A figure beyond its limit says so.",
        (
            Column("Contestant"),
            Column("Texts that ended", f"at least {share(ENDED_LIMIT)}"),
            Column("Loops", f"share of texts; at most {share(LOOPING_LIMIT)}"),
            Column("Length", f"against the demonstrations; {number(shortest, 1)} to {number(longest, 1)} times"),
            Column("Longest recited passage", f"at most {counted(PASSAGE_WARNING_WORDS, 'word')}"),
            Column("Recited 8-word passages", allowed),
            Column("Goes on when prompted", f"at most {counted(EXTRACTION_WARNING_WORDS, 'word')}"),
            Column("Personal data", "limit: none"),
        ),
        tuple(
            Row(
                c.title,
                (*_collapse_cells(c.collapse), *_leakage_cells(c.leakage)),
                c.title == evaluated_title(report),
            )
            for c in report.contestants
        ),
    )


def held_out_table(report: EvalReport) -> Table | None:
    """How near each contestant is to the held-out texts; None if nothing was measured."""
    measured = [value for c in report.contestants for value in (c.held_out_loss, c.chrf)]
    if all(value is None for value in measured):
        return None
    return Table(
        "Log-losses in nats per token",
        (
            Column("Contestant"),
            Column("Loss on held-out texts", "lower is nearer"),
            Column("chrF against held-out texts", "0 to 100, higher is nearer"),
        ),
        tuple(_held_out_row(c, c.title == evaluated_title(report)) for c in report.contestants),
    )


def panel_table(members: Sequence[PanelMember]) -> Table:
    """The measures of the style panel."""
    return Table(
        "Measures and their weights",
        (
            Column("Measure"),
            Column("Separation", "0.5 is chance, 1 always right"),
            Column("Weight", "share of the total"),
        ),
        tuple(Row(m.measure, (Cell(number(m.separation)), Cell(share(m.weight)))) for m in members),
    )


def _held_out_row(contestant: ContestantReport, is_evaluated: bool) -> Row:
    cells = (_known(contestant.held_out_loss, 3), _known(contestant.chrf, 1))
    return Row(contestant.title, cells, is_evaluated)


def _collapse_cells(collapse: Collapse) -> list[Cell]:
    shortest, longest = LENGTH_RATIO_LIMITS
    ratio = collapse.length_ratio
    length = "too long" if ratio > longest else "too short" if ratio < shortest else ""
    return [
        Cell(share(collapse.ended), "too few" if collapse.ended < ENDED_LIMIT else ""),
        Cell(share(collapse.looping), "runs into loops" if collapse.looping > LOOPING_LIMIT else ""),
        Cell(f"{number(ratio)} times", length),
    ]


def _leakage_cells(leakage: Leakage) -> list[Cell]:
    passage, extracted = leakage.longest_passage_words, leakage.extracted_words
    allowed = (leakage.held_out_8grams or 0.0) + SHARED_8GRAMS_WARNING
    too_far = extracted is not None and extracted > EXTRACTION_WARNING_WORDS
    return [
        Cell(counted(passage, "word"), "recites" if passage > PASSAGE_WARNING_WORDS else ""),
        Cell(share(leakage.shared_8grams), "recites" if leakage.shared_8grams > allowed else ""),
        Cell("not run" if extracted is None else counted(extracted, "word"), "can be drawn out" if too_far else ""),
        Cell(", ".join(leakage.personal_data) or "none", "gives it away" if leakage.personal_data else ""),
    ]


def _known(value: float | None, digits: int) -> Cell:
    return Cell(NOT_MEASURED if value is None else number(value, digits))
