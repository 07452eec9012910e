"""One DPO update: comparisons -> gradient of their mean loss -> one optimizer step.

A micro-batch is one demonstration's group: the prompt's completions that the comparisons name, each scored once
however many comparisons it is part of. Comparisons never cross prompts, so the gradient is exactly that of scoring
every pair by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import torch
from torch import Tensor

from ditto_cli.config import DpoSettings, RoundSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.method.losses import DpoTerms, dpo_terms
from ditto_cli.model.policy import Policy
from ditto_cli.model.scoring import score
from ditto_cli.types import Comparison, Completion, StepMetrics


class Updater:
    """The one optimizer and learning-rate schedule that run through all rounds (AdamW, constant after a warm-up)."""

    def __init__(self, policy: Policy, settings: DpoSettings, rounds: RoundSettings) -> None:
        parameters = policy.parameters()
        assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in parameters)
        warmup_steps = int(settings.warmup_ratio * rounds.num * rounds.steps)
        self._policy = policy
        self._settings = settings
        self._optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: min(1.0, (step + 1) / (warmup_steps + 1))
        )

    def update(
        self,
        comparisons: Sequence[Comparison],
        prompts: Mapping[str, tuple[int, ...]],
        *,
        round_number: int,
        step: int,
    ) -> StepMetrics:
        """One step on the mean loss of `comparisons`.

        Args:
            comparisons: of one or more demonstrations, grouped by demonstration.
            prompts: token ids of each demonstration's prompt.
            round_number: for the metrics, counted from 0.
            step: for the metrics, counted from 0 in the round.

        Raises:
            NonFiniteError: loss or gradient is NaN or infinite; the weights are as before.
        """
        self._policy.model.train()
        self._optimizer.zero_grad(set_to_none=True)
        terms = accumulate_gradient(self._policy, comparisons, prompts, self._settings)
        parameters = self._policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._settings.max_grad_norm)
        loss = terms.losses_P.mean()
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise NonFiniteError(
                f"Loss or gradient is not finite in round {round_number + 1}, update {step + 1}: "
                "lower dpo.learning_rate. Nothing of this update was kept."
            )
        learning_rate = self._schedule.get_last_lr()[0]
        self._optimizer.step()
        self._schedule.step()
        margins = terms.chosen_rewards_P - terms.rejected_rewards_P
        values = {
            "loss": float(loss),
            "rewards/chosen": float(terms.chosen_rewards_P.mean()),
            "rewards/rejected": float(terms.rejected_rewards_P.mean()),
            "rewards/margins": float(margins.mean()),
            "rewards/accuracies": float((margins > 0).float().mean()),
            "grad_norm": float(norm),
            "learning_rate": float(learning_rate),
        }
        return StepMetrics(round_number, step, values, Counter(comparison.kind for comparison in comparisons))


def accumulate_gradient(
    policy: Policy, comparisons: Sequence[Comparison], prompts: Mapping[str, tuple[int, ...]], settings: DpoSettings
) -> DpoTerms:
    """Add the gradient of the comparisons' mean loss to the active adapter's weights; returns the terms, detached."""
    pieces = []
    for group in micro_batches(comparisons, prompts, settings.micro_batch_tokens):
        terms = _group_terms(policy, group, prompts[group[0].chosen.demonstration_id], settings)
        (terms.losses_P.sum() / len(comparisons)).backward()
        pieces.append(terms)
    return DpoTerms(
        torch.cat([piece.losses_P.detach() for piece in pieces]),
        torch.cat([piece.chosen_rewards_P for piece in pieces]),
        torch.cat([piece.rejected_rewards_P for piece in pieces]),
    )


def micro_batches(
    comparisons: Iterable[Comparison], prompts: Mapping[str, tuple[int, ...]], max_tokens: int
) -> Iterator[list[Comparison]]:
    """One demonstration's comparisons at a time, split where the sequences they name exceed `max_tokens` tokens.

    A comparison whose two sequences alone exceed it is a micro-batch of its own.
    """
    for demonstration_id, group in groupby(comparisons, key=lambda c: c.chosen.demonstration_id):
        batch: list[Comparison] = []
        for comparison in group:
            if batch and _num_tokens([*batch, comparison], prompts[demonstration_id]) > max_tokens:
                yield batch
                batch = []
            batch.append(comparison)
        yield batch


def _group_terms(
    policy: Policy, group: Sequence[Comparison], prompt_ids: tuple[int, ...], settings: DpoSettings
) -> DpoTerms:
    sequences = _sequences(group)
    row = {key: index for index, key in enumerate(sequences)}
    logps_B = score(policy, prompt_ids, [completion.token_ids for completion in sequences.values()])
    device = logps_B.device
    reference_B = torch.tensor([c.reference_logp for c in sequences.values()], device=device)
    lengths_B = torch.tensor([len(c.token_ids) for c in sequences.values()], device=device)
    chosen = torch.tensor([row[_key(c.chosen)] for c in group], device=device)
    rejected = torch.tensor([row[_key(c.rejected)] for c in group], device=device)
    scale_B = lengths_B if settings.per_token else torch.ones_like(lengths_B)

    def sides(values_B: Tensor) -> tuple[Tensor, Tensor]:
        return values_B[chosen], values_B[rejected]

    terms = dpo_terms(*sides(logps_B / scale_B), *sides(reference_B / scale_B), beta=settings.beta)
    if settings.sft_weight == 0:
        return terms
    is_own_P = torch.tensor([c.chosen.round is None for c in group], device=device)
    imitation_P = -(logps_B / lengths_B)[chosen] * is_own_P
    return replace(terms, losses_P=terms.losses_P + settings.sft_weight * imitation_P)


def _sequences(group: Iterable[Comparison]) -> dict[tuple[int, int], Completion]:
    """Each sequence that the comparisons name, once, in order of first mention."""
    return {_key(side): side for comparison in group for side in (comparison.chosen, comparison.rejected)}


def _key(completion: Completion) -> tuple[int, int]:
    return (-1 if completion.round is None else completion.round, completion.index)


def _num_tokens(group: Iterable[Comparison], prompt_ids: tuple[int, ...]) -> int:
    return len(prompt_ids) + sum(len(completion.token_ids) for completion in _sequences(group).values())
