"""How well a policy predicts texts of the person that it was not trained on."""

from __future__ import annotations

from collections.abc import Sequence

from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import Demonstration


def held_out_loss(policy: Policy, demonstrations: Sequence[Demonstration]) -> float:
    """Mean log-loss of the active policy per completion token, end token included, in nats."""
    total, tokens = 0.0, 0
    with policy.using(policy.active):
        for demonstration in demonstrations:
            completion = policy.chat.completion_ids(demonstration.completion)
            total -= float(score(policy, policy.chat.prompt_ids(demonstration.prompt), [completion])[0])
            tokens += len(completion)
    return total / tokens
