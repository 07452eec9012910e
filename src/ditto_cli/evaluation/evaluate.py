"""Contestants and an author -> findings (who wrote what, who was preferred, the figures of each) -> the report.

The story of an evaluation: let all write, calibrate style and task, measure, judge, sum up. Findings come in parts (one
for each fold of a cross-validation, else one); figures are put together over the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import combinations
from statistics import fmean

from ditto_cli import __version__
from ditto_cli.evaluation.appraisal import Appraisal, Appraiser
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, background_plan
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, Author, Judge, Judgement, Pair, Writing
from ditto_cli.evaluation.model_figures import held_out_loss, told_shares
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
)
from ditto_cli.evaluation.soundness import collapse, leakage, warnings_of
from ditto_cli.evaluation.style import PanelScore, StylePanel, TextEncoder
from ditto_cli.evaluation.verdict import mean_interval, verdict, win_rate
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord
from ditto_cli.types import Reporter

WriteTexts = Callable[[Contestant, WritingPlan], list[Writing]]


@dataclass
class Findings:
    """What was found with one author and one set of contestants; figures are by contestant's title.

    `appraisals` are of `writings`, in their order; `author_task` is that of the demonstrations for their own prompts;
    `extracted` is what a training found of its stages.
    """

    author: Author
    plan: WritingPlan
    contestants: tuple[Contestant, ...]
    panel: StylePanel
    writings: dict[str, list[Writing]]
    appraisals: dict[str, list[Appraisal]]
    author_task: float
    judgements: list[Judgement] = field(default_factory=list)
    held_out_losses: dict[str, float] = field(default_factory=dict)
    extracted: dict[str, int] = field(default_factory=dict)

    def appraisal_of(self, writing: Writing) -> Appraisal:
        """What was measured of one of the writings."""
        own = self.writings[writing.contestant]
        return self.appraisals[writing.contestant][own.index(writing)]


def write_and_measure(
    policy: Policy,
    author: Author,
    contestants: Sequence[Contestant],
    plan: WritingPlan,
    record: AdapterRecord,
    *,
    writer: WriteTexts,
    encoder: TextEncoder | None,
    reporter: Reporter,
) -> Findings:
    """Let every contestant write, and measure all that needs the model in memory.

    The policy has every contestant's adapter loaded; the evaluated contestant, that of `record`, is the first; `writer`
    makes writings, or finds them again.
    """
    writings, background = _write_all(author, contestants, plan, writer)
    prompts = {prompt.id: prompt.prompt for prompt in plan.prompts}
    own = [(text.prompt, text.completion) for text in author.demonstrations]
    others = [(prompt, background[number - 1]) for number, (prompt, _) in enumerate(own) if len(own) > 1]
    written = [(prompts[w.prompt_id], w.text) for texts in writings.values() for w in texts]
    pairs = [*own, *others, *written]
    reporter.begin_work("task", len(pairs), "texts")
    told = iter(told_shares(policy, pairs, on_finished=lambda done: reporter.advance_work(done, {})))
    reporter.end_work()
    own_told, others_told = ([next(told) for _ in part] for part in (own, others))
    appraiser = Appraiser(author, background, own_told=own_told, others_told=others_told, encoder=encoder)
    appraisals = {
        title: [appraiser.appraise(prompts[w.prompt_id], w, next(told)) for w in texts]
        for title, texts in writings.items()
    }
    losses = {}
    for contestant in contestants:
        if author.held_out and not contestant.shots:
            with policy.using(contestant.adapter):
                losses[contestant.title] = held_out_loss(policy, author.held_out)
    return Findings(
        author=author,
        plan=plan,
        contestants=tuple(contestants),
        panel=appraiser.panel,
        writings=writings,
        appraisals=appraisals,
        author_task=fmean(appraiser.scale.value(*pair) for pair in own),
        held_out_losses=losses,
        extracted=extracted_in_training(record, contestants[0].title),
    )


def _write_all(
    author: Author, contestants: Sequence[Contestant], plan: WritingPlan, writer: WriteTexts
) -> tuple[dict[str, list[Writing]], list[str]]:
    """What each wrote for the plan's prompts, and the base for the demonstrations'; its own in one batch with these."""
    others = background_plan(author.demonstrations, plan)
    base = Contestant(BASE_CONTESTANT, "base")
    if plan.num > 1 or base not in contestants:
        writings = {contestant.title: writer(contestant, plan) for contestant in contestants}
        return writings, [writing.text for writing in writer(base, others)]
    both = writer(base, replace(plan, prompts=(*plan.prompts, *others.prompts)))
    num_own = len(plan.prompts)
    writings = {one.title: both[:num_own] if one == base else writer(one, plan) for one in contestants}
    return writings, [writing.text for writing in both[num_own:]]


def judge_all(findings: Findings, judge: Judge, reporter: Reporter, *, every_pair: bool) -> None:
    """Have the pairs judged: the first contestant against each other one, and on `every_pair` all against all."""
    pairs = pairs_to_judge(findings, every_pair=every_pair)
    reporter.begin_work(f"judge: {judge.name}", len(pairs), "pairs")
    findings.judgements += judge.judge(pairs, on_judged=lambda done: reporter.advance_work(done, {}))
    reporter.end_work()


def pairs_to_judge(findings: Findings, *, every_pair: bool) -> list[Pair]:
    """Writings of equal prompt and draw, side by side."""
    titles = [contestant.title for contestant in findings.contestants]
    prompts = {prompt.id: prompt for prompt in findings.plan.prompts}
    return [
        Pair(prompts[first.prompt_id], first, second)
        for one, other in combinations(titles, 2)
        if every_pair or one == titles[0]
        for first, second in zip(findings.writings[one], findings.writings[other], strict=True)
    ]


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
    adapter: str,
    parts: Sequence[Findings],
    policy: Policy,
    judge: str,
    *,
    seconds: float,
    is_judged_elsewhere: bool = False,
    warnings: Sequence[str] = (),
) -> EvalReport:
    """Put the findings into words and figures; a contestant that not all of the parts have is left out."""
    plan, identity = parts[0].plan, policy.identity
    run = WhatWasRun(
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
    contestants = [
        _contestant(contestant, parts, run.seed)
        for contestant in parts[0].contestants
        if all(contestant.title in part.writings for part in parts)
    ]
    judgements = [judgement for part in parts for judgement in part.judgements]
    # The evaluated contestant against each other one first, then the others among themselves.
    pairs = list(combinations([contestant.title for contestant in contestants], 2))
    rates = [rate for pair in pairs if (rate := win_rate(judgements, *pair, seed=run.seed)) is not None]
    # Against the pool only who was judged against all of it.
    met = {frozenset((one.pair.first.contestant, one.pair.second.contestant)) for one in judgements}
    apart = {one for pair in pairs if frozenset(pair) not in met for one in pair}
    pooled = (win_rate(judgements, c.title, None, seed=run.seed) for c in contestants if c.title not in apart)
    return EvalReport(
        adapter=adapter,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        verdict=verdict(contestants, rates),
        participants=sorted({name for contestant in parts[0].contestants for name in contestant.participants}),
        contestants=contestants,
        win_rates=rates,
        pool_rates=[rate for rate in pooled if rate is not None],
        author_style=_mean_style([part.panel.own_scores() for part in parts]),
        author_task=round(fmean(part.author_task for part in parts), 4),
        panel=list(parts[0].panel.members),
        samples=[
            SampleRow(
                prompt=prompt.prompt,
                source=prompt.source,
                author_text=prompt.author_text,
                texts={
                    title: next(writing.text for writing in own if writing.prompt_id == prompt.id)
                    for title, own in part.writings.items()
                },
            )
            for part in parts
            for prompt in part.plan.prompts
        ],
        warnings=[*warnings, *dict.fromkeys(note for part in parts for note in (*part.panel.notes, *_few_shown(part)))],
        run=run,
    )


def _few_shown(part: Findings) -> list[str]:
    """That a few-shot prompt has not all of the texts."""
    num = len(part.author.demonstrations)
    shown = [len(one.shots) for one in part.contestants if one.kind == "few-shot"]
    return [f"The few-shot prompt shows {few} of {num} texts: no more fit the base." for few in shown if few < num]


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
    style = _mean_style([part.panel.score_pooled([w.text for w in part.writings[title]]) for part in parts])
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
        style=style,
        collapse=collapsed,
        leakage=leaked,
        held_out_loss=round(fmean(losses), 4) if losses else None,
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


def _joined_leakage(parts: Sequence[Leakage]) -> Leakage:
    """The worst of the parts, so that no fold's leak hides behind another's."""
    worst: dict[str, float | None] = {}
    for name in Leakage.model_fields.keys() - {"personal_data"}:
        values = [getattr(part, name) for part in parts]
        worst[name] = max((value for value in values if value is not None), default=None)
    return Leakage(**worst, personal_data=sorted({kind for part in parts for kind in part.personal_data}))


def _mean_style(scores: Sequence[PanelScore]) -> list[StylePoint]:
    values = {TOTAL: fmean(score.total for score in scores)}
    for name in scores[0].members:
        values[name] = fmean(score.members[name] for score in scores)
    return [StylePoint(measure=name, value=round(value, 4)) for name, value in values.items()]


def chrf(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean sentence-level chrF (Popovic, WMT 2015: character n-grams up to 6, recall weighs twice), 0 to 100.

    `pairs`, at least one, are of a text and its reference.
    """
    from sacrebleu import sentence_chrf

    return fmean(sentence_chrf(text, [reference]).score for text, reference in pairs)
