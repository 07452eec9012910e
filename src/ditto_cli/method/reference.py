"""The reference: the SFT policy frozen as it was, and what it says of the completions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ditto_cli.method.comparisons import History
from ditto_cli.model.policy.memory import halving
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import count_row_tokens, score_completions, split_by_size
from ditto_cli.types import Completion

POLICY, REFERENCE = "policy", "reference"  # names of the two adapters while a run lasts


def freeze_reference(policy: Policy) -> None:
    """Copy POLICY's weights, as they are now, to REFERENCE; POLICY is trained on."""
    if REFERENCE in policy.adapters:
        policy.remove(REFERENCE)
    policy.copy_adapter(POLICY, REFERENCE)
    policy.switch(POLICY, trainable=True)


def move_reference(
    policy: Policy, history: History, prompts: Mapping[str, tuple[int, ...]], max_tokens: int
) -> History:
    """Make the policy as it is now the reference, and score everything under it anew (SPIN, arXiv 2401.01335)."""
    freeze_reference(policy)
    scored = score_under_reference(policy, history.completions(), prompts, max_tokens=max_tokens)
    moved = History.of([one for one in scored if one.round is None], len(history.demonstrations))
    for number in range(len(history.rounds)):
        moved.add_round([completion for completion in scored if completion.round == number])
    return moved


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
    """

    def num_tokens(batch: Sequence[Completion]) -> int:
        return count_row_tokens(batch, prompts)

    def score(limit: int) -> list[Completion]:
        scored: list[Completion] = []
        with policy.using(REFERENCE):
            for batch in split_by_size(completions, num_tokens, limit):
                logps = score_completions(policy, batch, prompts).tolist()
                scored += [replace(one, reference_logp=logp) for one, logp in zip(batch, logps, strict=True)]
                on_finished(len(scored))
        return scored

    lengths = [num_tokens([one]) for one in completions]
    return policy.guard.fit(
        "scoring",
        score,
        min(max_tokens, sum(lengths)),  # half of a limit that nothing reaches would change nothing
        lower=halving(max(lengths)),
        noun="token",
        advice="take shorter texts, or a smaller base",
    )
