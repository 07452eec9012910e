"""The reference: the SFT policy frozen as it was, and what it says of the completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from ditto_cli.model.memory import fit_memory, halving, say_nothing
from ditto_cli.model.policy import Policy
from ditto_cli.model.scoring import score_row
from ditto_cli.types import Completion

POLICY, REFERENCE = "policy", "reference"  # names of the two adapters while a run lasts


def freeze_reference(policy: Policy) -> None:
    """Copy POLICY's weights, as they are now, to REFERENCE; POLICY is trained on."""
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)


def score_under_reference(
    policy: Policy,
    completions: Sequence[Completion],
    prompts: Mapping[str, tuple[int, ...]],
    *,
    max_tokens: int,
    on_finished: Callable[[int], None] = lambda done: None,
    noted: Callable[[str], None] = say_nothing,
) -> list[Completion]:
    """The same completions with `reference_logp` filled in; needed once for each, since the reference never moves.

    Args:
        policy: its adapter REFERENCE is used.
        completions: those of one demonstration behind each other.
        prompts: demonstration id -> token ids of its prompt.
        max_tokens: most tokens of one forward pass; halved as often as memory is too small for them.
        on_finished: told how many are scored, after each pass.
        noted: told each halving.

    Raises:
        MemoryLimitError: not even one completion fits into memory.
    """

    def scored_with(limit: int) -> list[Completion]:
        scored: list[Completion] = []
        with policy.using(REFERENCE):
            for batch in scoring_batches(completions, prompts, limit):
                groups = [
                    (prompts[name], [completion.token_ids for completion in own])
                    for name, own in groupby(batch, key=lambda completion: completion.demonstration_id)
                ]
                logps = score_row(policy, groups).tolist()
                scored += [replace(one, reference_logp=logp) for one, logp in zip(batch, logps, strict=True)]
                on_finished(len(scored))
        return scored

    longest = max(len(prompts[one.demonstration_id]) + len(one.token_ids) for one in completions)
    return fit_memory(
        scored_with,
        max_tokens,
        lower=halving(longest),
        noun="token",
        advice="take shorter texts, or a smaller base",
        hardware=policy.hardware,
        noted=noted,
    )[0]


def scoring_batches(
    completions: Sequence[Completion], prompts: Mapping[str, tuple[int, ...]], max_tokens: int
) -> Iterator[list[Completion]]:
    """As many completions at a time as have at most `max_tokens` tokens with their prompts, but at least one."""
    batch: list[Completion] = []
    tokens = 0
    for completion in completions:
        name = completion.demonstration_id
        is_same_prompt = bool(batch) and batch[-1].demonstration_id == name
        more = len(completion.token_ids) + (0 if is_same_prompt else len(prompts[name]))
        if batch and tokens + more > max_tokens:
            yield batch
            batch, tokens, more = [], 0, len(completion.token_ids) + len(prompts[name])
        batch.append(completion)
        tokens += more
    if batch:
        yield batch
