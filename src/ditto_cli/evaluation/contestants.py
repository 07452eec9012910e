"""Contestants and prompts -> writings: everybody writes for the same prompts, with the same seeds and length limit.

A contestant is the base, a few-shot prompt on the base, or an adapter in memory. Knows nothing of judging.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from ditto_cli.errors import InputError
from ditto_cli.evaluation.appraisal import nearest_texts
from ditto_cli.evaluation.judgements import FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, Author, EvalPrompt, Writing
from ditto_cli.evaluation.report import ContestantKind
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord
from ditto_cli.types import Demonstration, Reporter, SampledTokens, SampleRequest, SilentReporter
from ditto_cli.voices import Voice

log = logging.getLogger(__name__)

_SILENT = SilentReporter()


@dataclass(frozen=True)
class Contestant:
    """Who writes, under a title for people.

    `adapter` is its name in the policy, None for the base. Before the prompt `shots` are shown; of these only the
    `nearest` so many to the prompt, None for all.
    """

    title: str
    kind: ContestantKind
    adapter: str | None = None
    shots: tuple[Demonstration, ...] = ()
    nearest: int | None = None

    @property
    def participants(self) -> tuple[str, ...]:
        """The adapter whose texts these are, where it is not the evaluated one."""
        return (Voice.parse(self.title).adapter,) if self.kind == "adapter" else ()


@dataclass(frozen=True)
class WritingPlan:
    """What all contestants share: each has `num` writings for a prompt, and equal seeds give equal draws to all."""

    prompts: tuple[EvalPrompt, ...]
    num: int
    seed: int
    temperature: float
    max_new_tokens: int


def background_plan(demonstrations: Sequence[Demonstration], plan: WritingPlan) -> WritingPlan:
    """One writing for each demonstration's prompt: the same topics as the author's, in the base's own style."""
    prompts = tuple(EvalPrompt(f"background-{d.id}", d.prompt, "given") for d in demonstrations)
    return WritingPlan(prompts, 1, plan.seed, plan.temperature, plan.max_new_tokens)


def write(policy: Policy, contestant: Contestant, plan: WritingPlan, reporter: Reporter = _SILENT) -> list[Writing]:
    """`plan.num` writings for each prompt, in one batch."""
    requests = writing_requests(policy, contestant, plan)
    reporter.begin_work(f"{contestant.title}: writing", len(requests), "samples")
    with policy.using(contestant.adapter):
        sampled = sample(
            policy,
            requests,
            max_new_tokens=plan.max_new_tokens,
            temperature=plan.temperature,
            on_finished=lambda done: reporter.advance_work(done, {}),
        )
    reporter.end_work()
    return writings_of(policy, contestant, plan, sampled)


def writing_requests(policy: Policy, contestant: Contestant, plan: WritingPlan) -> list[SampleRequest]:
    """What to sample from the contestant for its writings, at the plan's temperature and length limit.

    Raises:
        InputError: a prompt does not fit the base's context.
    """
    room = policy.context_tokens - plan.max_new_tokens
    requests = []
    for prompt in plan.prompts:
        shots = contestant.shots
        if contestant.nearest is not None:
            near = nearest_texts(shots, prompt.prompt, contestant.nearest)
            shots = fitting_shots(policy.chat, near, [prompt.prompt], max_tokens=room)
        ids = policy.chat.prompt_ids(prompt.prompt, turns(shots))
        if len(ids) > room:
            raise InputError(
                f"A prompt has {len(ids)} tokens for {contestant.title}, and this base has room for {room} beside a "
                f"text of {plan.max_new_tokens}: shorten the prompt, or take a base with a longer context."
            )
        seeds = (derive_seed(plan.seed, "evaluate", prompt.id, index) for index in range(plan.num))
        requests += [SampleRequest(ids, seed, plan.max_new_tokens, plan.temperature) for seed in seeds]
    return requests


def writings_of(
    policy: Policy, contestant: Contestant, plan: WritingPlan, sampled: Sequence[SampledTokens]
) -> list[Writing]:
    """The writings that were sampled for `writing_requests`."""
    wanted = [(prompt.id, index) for prompt in plan.prompts for index in range(plan.num)]
    return [
        Writing(contestant.title, name, index, policy.chat.text(tokens.token_ids), len(tokens.token_ids), tokens.ended)
        for (name, index), tokens in zip(wanted, sampled, strict=True)
    ]


def fitting_shots(
    chat: ChatFormat, demonstrations: Sequence[Demonstration], prompts: Sequence[str], *, max_tokens: int
) -> tuple[Demonstration, ...]:
    """The demonstrations for a few-shot prompt: as many as fit whole, the longest left out first, in their order.

    With each of `prompts` after them they have at most `max_tokens`.
    """
    kept = list(demonstrations)
    longest = max(prompts, key=lambda prompt: len(chat.prompt_ids(prompt)))
    while kept and len(chat.prompt_ids(longest, turns(kept))) > max_tokens:
        kept.remove(max(kept, key=lambda demonstration: len(chat.completion_ids(demonstration.completion))))
    return tuple(kept)


def few_shot(policy: Policy, author: Author, plan: WritingPlan) -> Contestant | None:
    """The base with as many of the demonstrations in its prompt as fit; None where none does: that is the base."""
    room = policy.context_tokens - plan.max_new_tokens
    prompts = [prompt.prompt for prompt in plan.prompts]
    shots = fitting_shots(policy.chat, author.demonstrations, prompts, max_tokens=room)
    if not shots:
        log.warning("No few-shot prompt competes: not one of the texts fits the base beside a prompt and its answer.")
        return None
    return Contestant(FEW_SHOT_CONTESTANT, "few-shot", shots=shots)


def with_texts(adapter: str, author: Author, record: AdapterRecord) -> Contestant:
    """An adapter, by its name in the policy, with the person's texts at hand."""
    num = record.settings.sampling.with_texts or 3
    return Contestant(TEXTS_CONTESTANT, "texts", adapter, author.demonstrations, nearest=num)


def turns(shots: Sequence[Demonstration]) -> list[tuple[str, str]]:
    """Demonstrations as turns of a conversation before the prompt."""
    return [(shot.prompt, shot.completion) for shot in shots]
