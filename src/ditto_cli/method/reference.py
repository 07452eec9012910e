"""The reference: the SFT policy frozen as it was, and what it says of the completions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from ditto_cli.model.policy.memory import halving
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import score_row
from ditto_cli.types import Completion

POLICY, REFERENCE = "policy", "reference"  # names of the two adapters while a run lasts


def freeze_reference(policy: Policy) -> None:
    """Copy POLICY's weights, as they are now, to REFERENCE; POLICY is trained on."""
    if REFERENCE in policy.adapters:
        policy.remove(REFERENCE)
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)


def score_under_reference(
    policy: Policy,
    completions: Sequence[Completion],
    prompts: Mapping[str, tuple[int, ...]],
    *,
    max_tokens: int,
    on_finished: Callable[[int], None] = lambda done: None,
) -> list[Completion]:
    """The same completions with `reference_logp` filled in; needed once for each, since the reference never moves.

    Args:
        policy: its adapter REFERENCE is used.
        completions: those of one demonstration behind each other.
        prompts: demonstration id -> token ids of its prompt.
        max_tokens: most tokens of one forward pass; halved as often as memory is too small for them.
        on_finished: told how many are scored, after each pass.

    Raises:
        MemoryLimitError: not even one completion fits into memory.
    """

    def scored_with(limit: int) -> list[Completion]:
        scored: list[Completion] = []
        with policy.using(REFERENCE):
            for batch in _batches(completions, prompts, limit):
                groups = [
                    (prompts[name], [completion.token_ids for completion in own])
                    for name, own in groupby(batch, key=lambda completion: completion.demonstration_id)
                ]
                logps = score_row(policy, groups).tolist()
                scored += [replace(one, reference_logp=logp) for one, logp in zip(batch, logps, strict=True)]
                on_finished(len(scored))
        return scored

    lengths = [len(prompts[one.demonstration_id]) + len(one.token_ids) for one in completions]
    longest = max(lengths)
    return policy.guard.fit(
        "scoring",
        scored_with,
        min(max_tokens, sum(lengths)),  # half of a limit that nothing reaches would change nothing
        lower=halving(longest),
        noun="token",
        advice="take shorter texts, or a smaller base",
    )


def _batches(
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
