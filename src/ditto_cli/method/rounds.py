"""DITTO's rounds and their parts: sample the policy, score the samples under the reference, update the policy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from ditto_cli.config import SamplingSettings, Settings
from ditto_cli.errors import InputError
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.updates import Updater
from ditto_cli.model.chat import ChatFormat
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import SampledTokens, SampleRequest, sample
from ditto_cli.model.scoring import score
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Completion, Demonstration, Reporter, StepMetrics

POLICY, REFERENCE = "policy", "reference"  # names of the two adapters while a run lasts


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


def run_rounds(policy: Policy, encoded: Encoded, settings: Settings, reporter: Reporter) -> Iterator[FinishedRound]:
    """Sample, score, compare and update, `settings.rounds.num` times; yields after each round.

    Args:
        policy: its adapter POLICY has the SFT weights, and is trained; REFERENCE is added, and stays.
        encoded: the demonstrations.
        settings: of the whole run.
        reporter: told of the progress.

    Raises:
        NonFiniteError: a loss or gradient is NaN or infinite.
    """
    if settings.rounds.num == 0:
        return
    max_tokens = settings.dpo.micro_batch_tokens
    _freeze_reference(policy)
    history = History(score_demonstrations(policy, encoded, max_tokens=max_tokens))
    updater = Updater(policy, settings.dpo, settings.rounds)
    policy.checkpoint_activations(policy.hardware.is_cuda)
    for number in range(settings.rounds.num):
        if number > 0 and settings.rounds.reference == "previous":
            history = _move_reference(policy, history, encoded.prompts, max_tokens=max_tokens)
        num_samples = len(encoded.prompts) * settings.sampling.completions_per_prompt
        reporter.stage_started(f"round {number + 1}: sampling", num_samples, "samples")
        sampled = sample_round(
            policy, encoded, settings, round_number=number, on_finished=lambda done: reporter.stage_advanced(done, {})
        )
        history.add_round(score_under_reference(policy, sampled, encoded.prompts, max_tokens=max_tokens))
        reporter.stage_ended()
        reporter.stage_started(f"round {number + 1}: DPO", settings.rounds.steps, "updates")
        steps = []
        for metrics in update_policy(updater, history, encoded.prompts, settings):
            steps.append(metrics)
            reporter.stage_advanced(metrics.step + 1, metrics.values)
        reporter.stage_ended()
        yield FinishedRound(number, sampled, steps)
    policy.checkpoint_activations(False)


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
                f"{context_tokens}: split the text into several files, or take a base with a longer context."
            )
    longest = max(len(ids) for ids in completions.values())
    room = context_tokens - max(len(ids) for ids in prompts.values())
    return Encoded(prompts, completions, min(math.ceil(sampling.length_factor * longest), room))


def score_demonstrations(policy: Policy, encoded: Encoded, *, max_tokens: int) -> tuple[Completion, ...]:
    """The demonstrations with their log-probabilities under the reference, which stay valid for the whole run."""
    own = [Completion(name, None, 0, ids, True, math.nan) for name, ids in encoded.completions.items()]
    return tuple(score_under_reference(policy, own, encoded.prompts, max_tokens=max_tokens))


def score_under_reference(
    policy: Policy, completions: Sequence[Completion], prompts: Mapping[str, tuple[int, ...]], *, max_tokens: int
) -> list[Completion]:
    """The same completions with `reference_logp` filled in; needed once for each, since the reference never moves."""
    scored: list[Completion] = []
    with policy.using(REFERENCE):
        for batch in _batches(completions, prompts, max_tokens):
            prompt_ids = prompts[batch[0].demonstration_id]
            logps = score(policy, prompt_ids, [completion.token_ids for completion in batch]).tolist()
            scored += [replace(completion, reference_logp=logp) for completion, logp in zip(batch, logps, strict=True)]
    return scored


def sample_round(
    policy: Policy,
    encoded: Encoded,
    settings: Settings,
    *,
    round_number: int,
    on_finished: Callable[[int], None] | None = None,
) -> list[Completion]:
    """M completions for each demonstration's prompt from the active policy (the paper's D_t), not scored yet."""
    wanted = [(name, index) for name in encoded.prompts for index in range(settings.sampling.completions_per_prompt)]
    requests = [
        SampleRequest(encoded.prompts[name], derive_seed(settings.seed, "sample", round_number, name, index))
        for name, index in wanted
    ]
    sampled: list[SampledTokens] = sample(
        policy,
        requests,
        max_new_tokens=encoded.max_new_tokens,
        temperature=settings.sampling.temperature,
        max_slots=settings.sampling.max_slots,
        on_finished=on_finished,
    )
    return [
        Completion(name, round_number, index, tokens.token_ids, tokens.ended, math.nan)
        for (name, index), tokens in zip(wanted, sampled, strict=True)
    ]


def update_policy(
    updater: Updater, history: History, prompts: Mapping[str, tuple[int, ...]], settings: Settings
) -> Iterator[StepMetrics]:
    """The updates of the newest round of `history`, one at a time."""
    round_number = len(history.rounds) - 1
    for step in range(settings.rounds.steps):
        comparisons = draw_comparisons(
            history, settings.dpo, seed=settings.seed, step=round_number * settings.rounds.steps + step
        )
        yield updater.update(comparisons, prompts, round_number=round_number, step=step)


def summarise_round(completions: Sequence[Completion], steps: Sequence[StepMetrics]) -> dict[str, float]:
    """The round's figures for the record: its last update, its comparisons by kind, and how its samples ended."""
    kinds = sum((Counter(step.kinds) for step in steps), Counter())
    return {
        **steps[-1].values,
        **{f"comparisons/{kind}": float(count) for kind, count in kinds.items()},
        "samples/ended": sum(completion.ended for completion in completions) / len(completions),
        "samples/tokens": float(sum(len(completion.token_ids) for completion in completions)),
    }


def _freeze_reference(policy: Policy) -> None:
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)


def _move_reference(
    policy: Policy, history: History, prompts: Mapping[str, tuple[int, ...]], *, max_tokens: int
) -> History:
    """Make the policy as it is now the reference, and score everything under it anew (SPIN, arXiv 2401.01335)."""
    policy.remove(REFERENCE)
    _freeze_reference(policy)
    moved = score_under_reference(policy, history.completions(), prompts, max_tokens=max_tokens)
    again = History(tuple(completion for completion in moved if completion.round is None))
    for number in range(len(history.rounds)):
        again.add_round([completion for completion in moved if completion.round == number])
    return again


def _batches(
    completions: Sequence[Completion], prompts: Mapping[str, tuple[int, ...]], max_tokens: int
) -> Iterator[list[Completion]]:
    """Completions of one demonstration at a time, with their prompt at most `max_tokens` unless one alone has more."""
    for name, group in groupby(completions, key=lambda completion: completion.demonstration_id):
        batch: list[Completion] = []
        tokens = len(prompts[name])
        for completion in group:
            if batch and tokens + len(completion.token_ids) > max_tokens:
                yield batch
                batch, tokens = [], len(prompts[name])
            batch.append(completion)
            tokens += len(completion.token_ids)
        yield batch
