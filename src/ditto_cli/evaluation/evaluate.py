"""Contestants and an author -> findings: what everybody wrote, who was preferred, and the figures of each.

The story of an evaluation: let all write, fit the style panel, judge, measure. `summary` makes the report of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

from ditto_cli.evaluation.contestants import Contestant, WritingPlan
from ditto_cli.evaluation.extraction import extract
from ditto_cli.evaluation.forgetting import GeneralAnswer, general_answers, log_loss
from ditto_cli.evaluation.held_out import held_out_loss
from ditto_cli.evaluation.selection import background_plan
from ditto_cli.evaluation.style import StylePanel, TextEncoder
from ditto_cli.evaluation.types import BASE_CONTESTANT, Author, Judge, Judgement, Pair, Writing
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import Reporter

_BACKGROUND_SEED = 1  # the base's texts that stand for others are never those that it competes with

Writer = Callable[[Contestant, WritingPlan], list[Writing]]


@dataclass
class Findings:
    """What was found with one author and one set of contestants; figures are by contestant's title."""

    author: Author
    plan: WritingPlan
    contestants: tuple[Contestant, ...]
    panel: StylePanel
    writings: dict[str, list[Writing]]
    judgements: list[Judgement] = field(default_factory=list)
    held_out_losses: dict[str, float] = field(default_factory=dict)
    forgetting: dict[str, float] = field(default_factory=dict)
    extracted: dict[str, int] = field(default_factory=dict)


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

    Args:
        policy: the base with every contestant's adapter loaded.
        author: whose style is the aim.
        contestants: the evaluated one first.
        plan: prompts, draws and limits that all share.
        writer: how writings are made, or found again.
        encoder: a neural style encoder for the panel, or None.
        reporter: told of the progress.
    """
    writings = {contestant.title: writer(contestant, plan) for contestant in contestants}
    others = WritingPlan(
        background_plan(author.demonstrations, plan).prompts,
        1,
        plan.seed + _BACKGROUND_SEED,
        plan.temperature,
        plan.max_new_tokens,
    )
    background = [writing.text for writing in writer(Contestant(BASE_CONTESTANT, "base"), others)]
    panel = StylePanel.fit(author.texts, background, encoder=encoder)
    findings = Findings(author, plan, tuple(contestants), panel, writings)
    _measure(policy, findings, reporter)
    return findings


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


def _measure(policy: Policy, findings: Findings, reporter: Reporter) -> None:
    """Held-out log-loss, forgetting and extraction of every contestant that is a model of its own."""
    models = [contestant for contestant in findings.contestants if not contestant.shots]
    reporter.stage_started("measuring", len(models), "contestants")
    answers = general_answers(policy)
    with policy.using(None):
        base_loss = log_loss(policy, answers)
    for number, contestant in enumerate(models, start=1):
        with policy.using(contestant.adapter):
            _measure_one(policy, findings, contestant.title, answers, base_loss)
        reporter.stage_advanced(number, {})
    reporter.stage_ended()


def _measure_one(
    policy: Policy, findings: Findings, title: str, answers: Sequence[GeneralAnswer], base_loss: float
) -> None:
    author = findings.author
    if author.held_out:
        findings.held_out_losses[title] = held_out_loss(policy, author.held_out)
    findings.forgetting[title] = log_loss(policy, answers) - base_loss
    findings.extracted[title] = extract(policy, author.demonstrations)
