"""DITTO's rounds and their parts: sample the policy, score the samples under the reference, update the policy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from ditto_cli.config import SamplingSettings, Settings
from ditto_cli.errors import InputError
from ditto_cli.interrupts import deferred
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.reference import REFERENCE, freeze_reference, score_under_reference
from ditto_cli.method.updates import Updater
from ditto_cli.model.chat import ChatFormat
from ditto_cli.model.footprint import UnknownShapeError, memory_of
from ditto_cli.model.memory import free_memory, say_nothing
from ditto_cli.model.passes import Pass
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Completion, Demonstration, Reporter, SampledTokens, SampleRequest, StepMetrics

Write = Callable[[Sequence[SampleRequest]], Sequence[SampledTokens]]


@dataclass(frozen=True)
class Encoded:
    """The demonstrations as token ids, and the length limit that follows from them.

    Attributes:
        prompts: demonstration id -> token ids of its prompt.
        completions: demonstration id -> token ids of the person's text, with the end token.
        max_new_tokens: length limit for sampled completions.
    """

    prompts: Mapping[str, tuple[int, ...]]
    completions: Mapping[str, tuple[int, ...]]
    max_new_tokens: int

    @property
    def num_tokens(self) -> int:
        """Tokens of all demonstrations' own texts."""
        return sum(len(ids) for ids in self.completions.values())


@dataclass(frozen=True)
class FinishedRound:
    """Round `number` (0, 1, ...): what the policy wrote at its begin, and the updates that followed."""

    number: int
    samples: Sequence[Completion]
    steps: Sequence[StepMetrics]


@dataclass
class RoundState:
    """Where the rounds stand; everything that the next update depends on, beside the two adapters' weights.

    Attributes:
        history: demonstrations and samples; the newest round is that of `number` once it was sampled.
        updater: optimizer and schedule.
        number: of the round in progress, counted from 0.
        steps: updates of that round so far.
    """

    history: History
    updater: Updater
    number: int = 0
    steps: list[StepMetrics] = field(default_factory=list)

    @property
    def is_sampled(self) -> bool:
        """Whether the round in progress has its samples."""
        return len(self.history.rounds) > self.number

    @property
    def samples(self) -> list[Completion]:
        """Completions of the round in progress."""
        sampled = self.history.rounds[self.number]
        return [completion for own in self.history.demonstrations for completion in sampled[own.demonstration_id]]


def begin_rounds(policy: Policy, encoded: Encoded, settings: Settings, reporter: Reporter) -> RoundState:
    """Freeze the policy as it is (the SFT policy) as the reference, and score the demonstrations under it."""
    freeze_reference(policy)
    max_tokens = settings.dpo.micro_batch_tokens
    history = History(score_demonstrations(policy, encoded, max_tokens=max_tokens, noted=reporter.noted))
    return RoundState(history, begin_updates(policy, settings, reporter))


def begin_updates(policy: Policy, settings: Settings, reporter: Reporter) -> Updater:
    """The optimizer of all rounds, before its first step, on the active adapter."""
    return Updater(policy, settings.dpo, settings.rounds, seed=settings.seed, noted=reporter.noted)


def run_rounds(
    policy: Policy,
    encoded: Encoded,
    settings: Settings,
    reporter: Reporter,
    *,
    state: RoundState | None = None,
    write: Write | None = None,
    on_progress: Callable[[RoundState], None] = lambda state: None,
) -> Iterator[FinishedRound]:
    """Sample, score, compare and update, until `settings.rounds.num` rounds are finished; yields after each round.

    Args:
        policy: its adapter POLICY is trained. Without a `state` it has the SFT weights, and REFERENCE is added.
        encoded: the demonstrations.
        settings: of the whole run.
        reporter: told of the progress.
        state: where to go on; None begins.
        write: how a round's samples are drawn from the policy, where the caller has others to draw beside them.
        on_progress: told the state when a round was sampled and after every update.

    Raises:
        NonFiniteError: a loss, gradient or weight is NaN or infinite.
        MemoryLimitError: not even one sequence fits into memory.
    """
    if settings.rounds.num == 0:
        return
    state = state or begin_rounds(policy, encoded, settings, reporter)
    policy.checkpoint_activations(checkpointed_layers(policy, encoded, settings))
    while state.number < settings.rounds.num:
        if not state.is_sampled:
            _sample_into(state, policy, encoded, settings, reporter, write)
            on_progress(state)
        _update_all(state, encoded, settings, reporter, on_progress)
        yield FinishedRound(state.number, state.samples, state.steps)
        state.number, state.steps = state.number + 1, []
    policy.checkpoint_activations(0)


def encode_demonstrations(
    chat: ChatFormat, demonstrations: Sequence[Demonstration], sampling: SamplingSettings, *, context_tokens: int
) -> Encoded:
    """Tokenise each demonstration once, for the whole run.

    Raises:
        InputError: a demonstration does not fit the base's context. Nothing is ever cut off.
    """
    prompts = {d.id: chat.prompt_ids(d.prompt) for d in demonstrations}
    completions = {d.id: chat.completion_ids(d.completion) for d in demonstrations}
    for name, ids in completions.items():
        if len(prompts[name]) + len(ids) > context_tokens:
            raise InputError(
                f"{name} has {len(prompts[name]) + len(ids)} tokens with its prompt, and this base reads at most "
                f"{context_tokens}: divide it (ditto init FOLDER --split), or take a base with a longer context."
            )
    longest = max(len(ids) for ids in completions.values())
    room = context_tokens - max(len(ids) for ids in prompts.values())
    return Encoded(prompts, completions, min(math.ceil(sampling.length_factor * longest), room))


def own_completions(encoded: Encoded) -> list[Completion]:
    """The demonstrations as completions, in their order, not scored yet."""
    return [Completion(name, None, 0, ids, True, math.nan) for name, ids in encoded.completions.items()]


def score_demonstrations(
    policy: Policy, encoded: Encoded, *, max_tokens: int, noted: Callable[[str], None] = say_nothing
) -> tuple[Completion, ...]:
    """The demonstrations with their log-probabilities under the reference, which stay valid for the whole run."""
    own = own_completions(encoded)
    return tuple(score_under_reference(policy, own, encoded.prompts, max_tokens=max_tokens, noted=noted))


def write_samples(
    policy: Policy, requests: Sequence[SampleRequest], settings: SamplingSettings, reporter: Reporter, *, title: str
) -> Sequence[SampledTokens]:
    """What the active policy writes for the requests, each with its own length limit; told as a stage of the run."""
    limits = [request.max_new_tokens for request in requests if request.max_new_tokens is not None]
    assert len(limits) == len(requests) > 0
    reporter.stage_started(title, len(requests), "samples")
    sampled = sample(
        policy,
        requests,
        max_new_tokens=max(limits),
        temperature=settings.temperature,
        max_slots=settings.max_slots,
        on_finished=lambda done: reporter.stage_advanced(done, {}),
        noted=reporter.noted,
    )
    reporter.stage_ended()
    return sampled


def sample_round(
    policy: Policy,
    encoded: Encoded,
    settings: Settings,
    write: Write,
    *,
    round_number: int,
    is_reference: bool = False,
) -> list[Completion]:
    """M completions for each demonstration's prompt from the active policy (the paper's D_t), drawn by `write`.

    They are not scored yet, but where the active policy `is_reference` and exact: there, what they were drawn with is
    their log-probability under the reference.
    """
    wanted = [(name, index) for name in encoded.prompts for index in range(settings.sampling.completions_per_prompt)]
    sampled = write(
        [
            SampleRequest(
                encoded.prompts[name],
                derive_seed(settings.seed, "sample", round_number, name, index),
                encoded.max_new_tokens,
            )
            for name, index in wanted
        ]
    )
    is_scored = is_reference and policy.is_exact
    return [
        Completion(name, round_number, index, one.token_ids, one.ended, one.logp if is_scored else math.nan)
        for (name, index), one in zip(wanted, sampled, strict=True)
    ]


def begins_as_reference(settings: Settings, round_number: int) -> bool:
    """Whether the policy that a round samples from is the reference."""
    return round_number == 0 or settings.rounds.reference == "previous"


def update_policy(
    state: RoundState, prompts: Mapping[str, tuple[int, ...]], settings: Settings
) -> Iterator[StepMetrics]:
    """The updates that the round in progress still lacks, one at a time; an interrupt waits for the end of one."""
    first = state.number * settings.rounds.steps
    while (step := len(state.steps)) < settings.rounds.steps:
        comparisons = draw_comparisons(state.history, settings.dpo, seed=settings.seed, step=first + step)
        with deferred():
            metrics = state.updater.update(comparisons, prompts, round_number=state.number, step=step)
            state.steps.append(metrics)
        yield metrics


def summarise_round(completions: Sequence[Completion], steps: Sequence[StepMetrics]) -> dict[str, float]:
    """The round's figures for the record: its last update, its comparisons by kind, and how its samples ended."""
    kinds = sum((Counter(step.kinds) for step in steps), Counter())
    return {
        **steps[-1].values,
        **{f"comparisons/{kind}": float(count) for kind, count in kinds.items()},
        "samples/ended": sum(completion.ended for completion in completions) / len(completions),
        "samples/tokens": float(sum(len(completion.token_ids) for completion in completions)),
    }


def checkpointed_layers(policy: Policy, encoded: Encoded, settings: Settings) -> int:
    """As few as memory allows for the largest row that there can be: each comparison brings two completions."""
    if not policy.hardware.is_cuda:
        return 0
    drawn = [encoded.max_new_tokens] * (2 * settings.dpo.comparisons_per_prompt)
    try:
        memory = memory_of(policy, settings.lora)
    except UnknownShapeError:
        return policy.num_layers
    most = settings.dpo.micro_batch_tokens
    largest, together = Pass(), Pass()
    for name, ids in encoded.completions.items():
        lengths, num_prompt = [len(ids), *drawn], len(encoded.prompts[name])
        while len(lengths) > 2 and num_prompt + sum(lengths) > most:
            lengths.pop()
        group = Pass.of(num_prompt, lengths)
        largest, together = max(largest, group, key=lambda one: one.tokens), together + group
    # A row of several has as many tokens as the limit lets through.
    row = together if together.tokens <= most else max(largest, together.share(most), key=lambda one: one.tokens)
    return memory.checkpointed_layers(row)


def _sample_into(
    state: RoundState,
    policy: Policy,
    encoded: Encoded,
    settings: Settings,
    reporter: Reporter,
    write: Write | None,
) -> None:
    """The round's completions, scored under the reference."""
    max_tokens = settings.dpo.micro_batch_tokens
    if state.number > 0 and settings.rounds.reference == "previous":
        state.history = _move_reference(policy, state.history, encoded.prompts, max_tokens=max_tokens)
    title = f"round {state.number + 1}"
    if write is None:
        write = partial(
            write_samples, policy, settings=settings.sampling, reporter=reporter, title=f"{title}: sampling"
        )
    is_reference = begins_as_reference(settings, state.number)
    sampled = sample_round(policy, encoded, settings, write, round_number=state.number, is_reference=is_reference)
    if any(math.isnan(completion.reference_logp) for completion in sampled):
        reporter.stage_started(f"{title}: scoring", len(sampled), "samples")
        sampled = score_under_reference(
            policy,
            sampled,
            encoded.prompts,
            max_tokens=max_tokens,
            on_finished=lambda done: reporter.stage_advanced(done, {}),
            noted=reporter.noted,
        )
        reporter.stage_ended()
    state.history.add_round(sampled)
    free_memory()


def _update_all(
    state: RoundState,
    encoded: Encoded,
    settings: Settings,
    reporter: Reporter,
    on_progress: Callable[[RoundState], None],
) -> None:
    reporter.stage_started(f"round {state.number + 1}: DPO", settings.rounds.steps, "updates")
    for metrics in update_policy(state, encoded.prompts, settings):
        reporter.stage_advanced(metrics.step + 1, metrics.values)
        on_progress(state)
    free_memory()
    reporter.stage_ended()


def _move_reference(
    policy: Policy, history: History, prompts: Mapping[str, tuple[int, ...]], *, max_tokens: int
) -> History:
    """Make the policy as it is now the reference, and score everything under it anew (SPIN, arXiv 2401.01335)."""
    policy.remove(REFERENCE)
    freeze_reference(policy)
    moved = score_under_reference(policy, history.completions(), prompts, max_tokens=max_tokens)
    again = History(tuple(completion for completion in moved if completion.round is None))
    for number in range(len(history.rounds)):
        again.add_round([completion for completion in moved if completion.round == number])
    return again
