"""Findings -> the report: figures of each contestant, win rates with intervals, and the verdict.

Findings come in parts (one for each fold of a cross-validation, else one); figures are put together over the parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations
from statistics import fmean

from ditto_cli import __version__
from ditto_cli.evaluation.contestants import Contestant
from ditto_cli.evaluation.evaluate import Findings
from ditto_cli.evaluation.report import (
    TOTAL,
    Collapse,
    ContestantReport,
    EvalReport,
    Leakage,
    SampleRow,
    StylePoint,
    Task,
    WhatWasRun,
    WinRate,
)
from ditto_cli.evaluation.soundness import collapse, leakage, warnings_of
from ditto_cli.evaluation.style import PanelScore
from ditto_cli.evaluation.types import BASE_CONTESTANT, Judgement
from ditto_cli.evaluation.verdict import mean_interval, pool_rate, verdict, win_rate
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord


def describe_run(
    parts: Sequence[Findings], policy: Policy, judge: str, *, seconds: float, is_judged_elsewhere: bool = False
) -> WhatWasRun:
    """The facts of an evaluation for its report."""
    plan, identity = parts[0].plan, policy.identity
    return WhatWasRun(
        ditto=__version__,
        base=identity.id if identity.revision is None else f"{identity.id} at {identity.revision}",
        quantize=policy.quantize,
        device=policy.hardware.name,
        judge=judge,
        judge_sees_texts_elsewhere=is_judged_elsewhere,
        seed=plan.seed,
        temperature=plan.temperature,
        num_prompts=sum(len(part.plan.prompts) for part in parts),
        num_samples=plan.num,
        max_new_tokens=plan.max_new_tokens,
        num_demonstrations=len({d.id for part in parts for d in part.author.demonstrations}),
        num_held_out=len({d.id for part in parts for d in part.author.held_out}),
        seconds=round(seconds, 1),
    )


def extracted_in_training(record: AdapterRecord, title: str) -> dict[str, int]:
    """What each stage gave away of the demonstrations (`extracted_words`); the published one goes by `title` besides.

    Nothing of an adapter that was trained elsewhere: its figures are the sender's word.
    """
    if not record.demonstration_hashes:
        return {}
    key = "selection/extracted"
    found = {stage.stage: int(stage.metrics[key]) for stage in record.stages if key in stage.metrics}
    return found | ({title: found[record.published]} if record.published in found else {})


def build_report(
    adapter: str, title: str, parts: Sequence[Findings], run: WhatWasRun, *, warnings: Sequence[str] = ()
) -> EvalReport:
    """Put the findings into words and figures.

    `title` is what the evaluated adapter competed under; a contestant that not all of the parts have is left out.
    """
    contestants = [
        _contestant(contestant, parts, run.seed)
        for contestant in parts[0].contestants
        if all(contestant.title in part.writings for part in parts)
    ]
    judgements = [judgement for part in parts for judgement in part.judgements]
    ordered = sorted(contestants, key=lambda contestant: contestant.title != title)
    # The evaluated contestant against each other one first, then the others among themselves.
    pairs = combinations([contestant.title for contestant in ordered], 2)
    rates = [rate for one, other in pairs if (rate := win_rate(judgements, one, other, seed=run.seed)) is not None]
    return EvalReport(
        adapter=adapter,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict(ordered, rates),
        contestants=contestants,
        win_rates=rates,
        pool_rates=_pool_rates(judgements, [c.title for c in contestants], run.seed),
        author_style=_points(_mean([part.panel.own_scores() for part in parts])),
        author_task=round(fmean(part.author_task for part in parts), 4),
        panel=list(parts[0].panel.members),
        samples=[row for part in parts for row in _samples(part)],
        warnings=[*warnings, *dict.fromkeys(note for part in parts for note in part.panel.notes)],
        run=run,
    )


def _contestant(contestant: Contestant, parts: Sequence[Findings], seed: int) -> ContestantReport:
    title = contestant.title
    collapses = [collapse(part.writings[title], part.author.demonstrations) for part in parts]
    leakages = [
        leakage(
            part.writings[title],
            part.author.learnt,
            [text.completion for text in part.author.held_out],
            part.extracted.get(title),
        )
        for part in parts
    ]
    means = {name: sum(getattr(one, name) for one in collapses) / len(collapses) for name in Collapse.model_fields}
    collapsed, leaked = Collapse(**means), _joined_leakage(leakages)
    style = _mean([part.panel.score_pooled([w.text for w in part.writings[title]]) for part in parts])
    losses = [part.held_out_losses[title] for part in parts if title in part.held_out_losses]
    pairs = [
        (writing.text, prompt.author_text)
        for part in parts
        for prompt in part.plan.prompts
        if prompt.author_text is not None
        for writing in part.writings[title]
        if writing.prompt_id == prompt.id
    ]
    return ContestantReport(
        title=title,
        kind=contestant.kind,
        task=_task(title, parts, seed),
        style=_points(style),
        collapse=collapsed,
        leakage=leaked,
        held_out_loss=round(sum(losses) / len(losses), 4) if losses else None,
        chrf=round(chrf(pairs), 2) if pairs else None,
        warnings=[] if contestant.kind == "base" else warnings_of(collapsed, leaked),
    )


def _task(title: str, parts: Sequence[Findings], seed: int) -> Task:
    own, base = _tasks_by_prompt(title, parts), _tasks_by_prompt(BASE_CONTESTANT, parts)
    behind = [base[prompt] - own[prompt] for prompt in base if prompt in own]
    value = round(fmean(own.values()), 4)
    if title == BASE_CONTESTANT or not behind:
        return Task(value=value)
    low, high = mean_interval(behind, derive_seed(seed, "task", title))
    return Task(value=value, behind_base=(round(fmean(behind), 4), round(low, 4), round(high, 4)))


def _tasks_by_prompt(title: str, parts: Sequence[Findings]) -> dict[tuple[int, str], float]:
    """The mean task of a contestant's writings for each prompt; nothing for one that did not compete."""
    found: dict[tuple[int, str], list[float]] = {}
    for number, part in enumerate(parts):
        for writing, appraisal in zip(part.writings.get(title, ()), part.appraisals.get(title, ()), strict=True):
            found.setdefault((number, writing.prompt_id), []).append(appraisal.task)
    return {prompt: fmean(values) for prompt, values in found.items()}


def _pool_rates(judgements: Sequence[Judgement], titles: Sequence[str], seed: int) -> list[WinRate]:
    """Each contestant against all others; only where it was judged against all of them."""
    opponents: dict[str, set[str]] = {title: set() for title in titles}
    for judgement in judgements:
        first, second = judgement.pair.first.contestant, judgement.pair.second.contestant
        opponents[first].add(second)
        opponents[second].add(first)
    rates = [pool_rate(judgements, t, seed=seed) for t in titles if len(opponents[t]) == len(titles) - 1]
    return [rate for rate in rates if rate is not None]


def _samples(part: Findings) -> list[SampleRow]:
    rows = []
    for prompt in part.plan.prompts:
        firsts = {
            title: next(w.text for w in writings if w.prompt_id == prompt.id)
            for title, writings in part.writings.items()
        }
        rows.append(SampleRow(prompt=prompt.prompt, source=prompt.source, author_text=prompt.author_text, texts=firsts))
    return rows


def _joined_leakage(parts: Sequence[Leakage]) -> Leakage:
    """The worst of the parts, so that no fold's leak hides behind another's."""
    extracted = [part.extracted_words for part in parts if part.extracted_words is not None]
    natural = [part.held_out_8grams for part in parts if part.held_out_8grams is not None]
    return Leakage(
        longest_passage_words=max(part.longest_passage_words for part in parts),
        shared_8grams=max(part.shared_8grams for part in parts),
        held_out_8grams=max(natural) if natural else None,
        extracted_words=max(extracted) if extracted else None,
        personal_data=sorted({kind for part in parts for kind in part.personal_data}),
    )


def _mean(scores: Sequence[PanelScore]) -> PanelScore:
    names = [name for name in scores[0].members if all(name in score.members for score in scores)]
    members: Mapping[str, float] = {name: sum(score.members[name] for score in scores) / len(scores) for name in names}
    return PanelScore(sum(score.total for score in scores) / len(scores), members)


def _points(score: PanelScore) -> list[StylePoint]:
    values = {TOTAL: score.total, **score.members}
    return [StylePoint(measure=name, value=round(value, 4)) for name, value in values.items()]


def chrf(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean sentence-level chrF (Popovic, WMT 2015: character n-grams up to 6, recall weighs twice), 0 to 100.

    `pairs`, at least one, are of a text and its reference.
    """
    from sacrebleu import sentence_chrf

    return fmean(sentence_chrf(text, [reference]).score for text, reference in pairs)
