"""Contestants and an author -> findings: what everybody wrote, who was preferred, and the figures of each.

The story of an evaluation: let all write, calibrate style and task, measure, judge. `summary` makes the report of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean

from ditto_cli.evaluation.appraisal import Appraisal, Appraiser
from ditto_cli.evaluation.contestants import Contestant, WritingPlan
from ditto_cli.evaluation.model_figures import held_out_loss, told_shares
from ditto_cli.evaluation.selection import background_plan
from ditto_cli.evaluation.style import StylePanel, TextEncoder
from ditto_cli.evaluation.types import BASE_CONTESTANT, Author, Judge, Judgement, Pair, Writing
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import Reporter

Writer = Callable[[Contestant, WritingPlan], list[Writing]]


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


def gather(
    policy: Policy,
    author: Author,
    contestants: Sequence[Contestant],
    plan: WritingPlan,
    *,
    writer: Writer,
    encoder: TextEncoder | None,
    reporter: Reporter,
) -> Findings:
    """Let every contestant write, and measure all that needs the model in memory.

    The policy has every contestant's adapter loaded; the evaluated contestant is the first; `writer` makes writings, or
    finds them again.
    """
    writings, background = _write_all(author, contestants, plan, writer)
    prompts = {prompt.id: prompt.prompt for prompt in plan.prompts}
    own = [(text.prompt, text.completion) for text in author.demonstrations]
    others = [(prompt, background[number - 1]) for number, (prompt, _) in enumerate(own) if len(own) > 1]
    written = [(prompts[w.prompt_id], w.text) for texts in writings.values() for w in texts]
    pairs = [*own, *others, *written]
    reporter.stage_started("task", len(pairs), "texts")
    told = iter(told_shares(policy, pairs, on_finished=lambda done: reporter.stage_advanced(done, {})))
    reporter.stage_ended()
    own_told, others_told = ([next(told) for _ in part] for part in (own, others))
    appraiser = Appraiser.fit(author, background, own_told=own_told, others_told=others_told, encoder=encoder)
    appraisals = {
        title: [appraiser.appraise(prompts[w.prompt_id], w, next(told)) for w in texts]
        for title, texts in writings.items()
    }
    losses = {}
    if author.held_out:
        models = [contestant for contestant in contestants if not contestant.shots]
        reporter.stage_started("held-out texts", len(models), "contestants")
        for number, contestant in enumerate(models, start=1):
            with policy.using(contestant.adapter):
                losses[contestant.title] = held_out_loss(policy, author.held_out)
            reporter.stage_advanced(number, {})
        reporter.stage_ended()
    return Findings(
        author=author,
        plan=plan,
        contestants=tuple(contestants),
        panel=appraiser.panel,
        writings=writings,
        appraisals=appraisals,
        author_task=fmean(appraiser.scale.value(*pair) for pair in own),
        held_out_losses=losses,
    )


def _write_all(
    author: Author, contestants: Sequence[Contestant], plan: WritingPlan, writer: Writer
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
    reporter.stage_started(f"judge: {judge.name}", len(pairs), "pairs")
    findings.judgements += judge.judge(pairs, on_judged=lambda done: reporter.stage_advanced(done, {}))
    reporter.stage_ended()


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
