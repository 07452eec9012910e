"""A report -> its tables in Markdown. Knows nothing of how anything was measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from speed.floor import floor_seconds
from speed.records import PHASES, REFERENCE_PHASE, SAMPLING, UPDATES, Outcome, PhaseFigures, Report

_GIB = 2**30
_OURS, _CEILINGS, _SCORED = "ours", "ceilings", "scored-samples"
_NOTHING = ""


def markdown(report: Report) -> str:
    """All tables, a section for each shape."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    machines = ", ".join(sorted({outcome.machine for outcome in report.outcomes if outcome.machine}))
    parts = [f"{report.date}; {machines or 'no machine'}; {versions}.", f"    {report.command}"]
    for shape in dict.fromkeys(outcome.shape for outcome in report.outcomes):
        parts += _section([outcome for outcome in report.outcomes if outcome.shape == shape], shape)
    if report.left_out:
        parts.append("Left out, as the time was over: " + ", ".join(report.left_out) + ".")
    return "\n\n".join(parts) + "\n"


def _section(outcomes: Sequence[Outcome], shape: str) -> list[str]:
    by_way = {outcome.way: outcome for outcome in outcomes}
    ceilings = by_way.get(_CEILINGS)
    ours = by_way.get(_OURS)
    ablations = [outcome for outcome in outcomes if _is_ablation(outcome)]
    rounds = [
        outcome
        for outcome in outcomes
        if outcome.way != _CEILINGS and not outcome.checks and outcome not in ablations and outcome.way != "check"
    ]
    parts = [f"### {shape}"]
    if ceilings and ceilings.work:
        work = ceilings.work
        parts.append(
            f"{work.description}; the updates name {work.num_distinct} distinct sequences, {work.num_naive} with "
            "each side of each comparison counted by itself."
        )
    parts += [_round_table(rounds, ours, ceilings), *_notes(outcomes)] if rounds else _notes(outcomes)
    if ceilings and ceilings.work and ceilings.ceilings:
        parts += _floor_table(ceilings, ours)
    if ablations:
        parts += [
            "One thing undone; updates are compared with the same first updates of ours, scoring under the reference "
            "with that of `scored-samples`, which is itself compared with ours.",
            _ablations(ablations, ours, by_way.get(_SCORED)),
        ]
    checked = by_way.get("check")
    if checked and (checked.checks or checked.problem):
        rows = [[name, f"{value:.3g}"] for name, value in checked.checks.items()]
        parts.append(_table(["check", ""], rows or [["check", checked.problem or _NOTHING]]))
    return parts


def _is_ablation(outcome: Outcome) -> bool:
    return outcome.way not in (_OURS, "plain", "trl", "continuous-batching", "check", _CEILINGS)


def _round_table(rounds: Sequence[Outcome], ours: Outcome | None, ceilings: Outcome | None) -> str:
    header = ["way", *(f"{name}, s" for name in PHASES), "round, s", "x ours", "x floor"]
    header += [
        "peak GiB (sampling, reference, updates)",
        "sampled tokens/s",
        "trained tokens/s",
        "padding (sampling, updates)",
    ]
    floor = _floor(ceilings)
    rows = []
    for outcome in rounds:
        phases = outcome.phases
        is_whole = UPDATES in phases
        rows.append(
            [
                outcome.way + (f" ({outcome.problem})" if outcome.problem else ""),
                *(_phase_cell(outcome, name) for name in PHASES),
                _seconds(outcome.seconds) if is_whole else _NOTHING,
                _ratio(outcome.seconds, ours.seconds if ours else None) if is_whole else _NOTHING,
                _ratio(outcome.seconds, floor) if is_whole else _NOTHING,
                _joined(f"{phases[name].peak_bytes / _GIB:.1f}" if name in phases else None for name in PHASES),
                _rate(phases.get(SAMPLING)),
                _rate(phases.get(UPDATES)),
                _joined(
                    f"{phases[name].padding:.0%}" if name in phases and phases[name].padding is not None else None
                    for name in (SAMPLING, UPDATES)
                ),
            ]
        )
    return _table(header, rows)


def _phase_cell(outcome: Outcome, name: str) -> str:
    figures = outcome.phases.get(name)
    if figures is None:
        return "in the updates" if outcome.way == "plain" and name == REFERENCE_PHASE else _NOTHING
    return figures.problem or _seconds(figures.seconds)


def _floor(ceilings: Outcome | None) -> float | None:
    """Seconds of a whole round at the ceilings."""
    if ceilings is None or ceilings.work is None or ceilings.ceilings is None:
        return None
    return sum(floor_seconds(ceilings.work, ceilings.ceilings).values())


def _floor_table(ceilings: Outcome, ours: Outcome | None) -> list[str]:
    assert ceilings.work is not None
    assert ceilings.ceilings is not None
    best = ceilings.ceilings
    floors = floor_seconds(ceilings.work, best)
    rows = []
    for name in PHASES:
        flops = ceilings.work.flops[name]
        figures = ours.phases.get(name) if ours else None
        seconds = figures.seconds if figures else None
        share = f"{flops / seconds / best.flops_per_second:.0%}" if seconds else _NOTHING
        rows.append([name, f"{flops / 1e12:.3g}", share, _seconds(floors[name]), _ratio(seconds, floors[name])])
    text = (
        f"Ceilings measured here: {best.flops_per_second / 1e9:,.0f} GFLOP/s ({best.dtype} products of 1024 rows at "
        f"the base's own sizes), {best.bytes_per_second / 1e9:,.1f} GB/s (copying, read and written)."
    )
    return [text, _table(["phase", "TFLOP", "ours, share of the product ceiling", "floor, s", "ours x floor"], rows)]


def _ablations(ablations: Sequence[Outcome], ours: Outcome | None, scored: Outcome | None) -> str:
    rows = []
    for outcome in ablations:
        if outcome.problem and not outcome.phases:
            rows.append([outcome.way, _NOTHING, outcome.problem, _NOTHING])
        for name, figures in outcome.phases.items():
            is_scored = name == REFERENCE_PHASE and SAMPLING not in outcome.phases and outcome is not scored
            compared = scored if is_scored else ours
            seconds = figures.seconds
            reference = compared.phases[name].seconds if compared and name in compared.phases else None
            if name == UPDATES and outcome.step_seconds:
                num = len(outcome.step_seconds)
                seconds = sum(outcome.step_seconds) / num
                same = ours.step_seconds[:num] if ours else []
                reference = sum(same) / num if len(same) == num else None
            label = "an update" if name == UPDATES else name
            rows.append([outcome.way, label, figures.problem or _seconds(seconds), _ratio(seconds, reference)])
    return _table(["without", "phase", "seconds", "x ours"], rows)


def _notes(outcomes: Iterable[Outcome]) -> list[str]:
    lines = [f"- {outcome.way}: {note}" for outcome in outcomes for note in dict.fromkeys(outcome.notes)]
    return ["\n".join(lines)] if lines else []


def _rate(figures: PhaseFigures | None) -> str:
    return f"{figures.tokens / figures.seconds:,.0f}" if figures and figures.seconds else _NOTHING


def _ratio(value: float | None, reference: float | None) -> str:
    return f"{value / reference:.2f}" if value and reference else _NOTHING


def _seconds(value: float | None) -> str:
    if value is None:
        return _NOTHING
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _joined(cells: Iterable[str | None]) -> str:
    found = [cell or "-" for cell in cells]
    return ", ".join(found) if set(found) != {"-"} else _NOTHING


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
