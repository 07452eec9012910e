"""One DPO update: comparisons -> gradient of their mean loss (Rafailov et al., arXiv 2305.18290) -> one optimizer step.

The reference is the SFT policy frozen as it was; what it says of a completion is found once.

A micro-batch is a row of groups, one for each of some demonstrations: the prompt, and its completions that the
comparisons name, each scored once however many comparisons it is part of. Comparisons never cross prompts, and groups
do not see each other, so the gradient is exactly that of scoring every pair by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, groupby

import torch
from torch import Tensor

from ditto_cli.config import DpoSettings, RoundSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.method.comparisons import History
from ditto_cli.model.policy.memory import halving
from ditto_cli.model.policy.policy import Policy, lighter_base
from ditto_cli.model.policy.scoring import count_row_tokens, score_completions, split_by_size
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, ComparisonKind, Completion, StepMetrics

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

    Those of one demonstration stand behind each other. `max_tokens` is the most of one forward pass, and is halved as
    often as memory is too small. `on_finished` is told how many are scored, after each pass.
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


@dataclass(frozen=True)
class DpoTerms:
    """Per comparison [P]: the loss, and the implicit rewards beta * (logp - ref_logp) of both sides."""

    losses_P: Tensor
    chosen_rewards_P: Tensor
    rejected_rewards_P: Tensor


def dpo_terms(
    chosen_logps_P: Tensor,
    rejected_logps_P: Tensor,
    reference_chosen_logps_P: Tensor,
    reference_rejected_logps_P: Tensor,
    *,
    beta: float,
) -> DpoTerms:
    """-log sigmoid(beta * ((logp - ref_logp)[chosen] - (logp - ref_logp)[rejected])), equation 7 of the DPO paper.

    Log-probabilities are summed over a completion's tokens, fp32, in nats.
    """
    chosen_P = beta * (chosen_logps_P - reference_chosen_logps_P)
    rejected_P = beta * (rejected_logps_P - reference_rejected_logps_P)
    return DpoTerms(-torch.nn.functional.logsigmoid(chosen_P - rejected_P), chosen_P.detach(), rejected_P.detach())


class Updater:
    """The one optimizer and learning-rate schedule that run through all rounds (AdamW, constant after a warm-up).

    Dropout of an update is drawn from `seed` and the update's place in the run, from which its learning rate follows
    too: so a run that is resumed before any update makes the same.
    """

    def __init__(self, policy: Policy, settings: DpoSettings, rounds: RoundSettings, *, seed: int) -> None:
        parameters = policy.parameters()
        assert all(parameter.dtype == torch.float32 and parameter.requires_grad for parameter in parameters)
        self._policy = policy
        self._settings = settings
        self._seed = seed
        self._steps_per_round = rounds.steps
        self._warmup_steps = int(settings.warmup_ratio * rounds.num * rounds.steps)
        self._optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=0.0)

    def update(
        self,
        comparisons: Sequence[Comparison],
        prompts: Mapping[str, tuple[int, ...]],
        *,
        round_number: int,
        step: int,
    ) -> StepMetrics:
        """One step on the mean loss of `comparisons`, in smaller micro-batches when memory is full.

        Round and step count from 0, and decide draws and learning rate. The comparisons are grouped by demonstration.

        Raises:
            MemoryLimitError: not even single comparisons fit; weights and optimizer are as before.
            NonFiniteError: loss or gradient is NaN or infinite, and the weights are as before; or a weight is after
                the step.
        """
        where = f"in round {round_number + 1}, update {step + 1}: lower dpo.learning_rate."
        self._policy.model.train()
        terms = self._fitting_gradient(comparisons, prompts, derive_seed(self._seed, "dropout", round_number, step))
        parameters = self._policy.parameters()
        norm = torch.nn.utils.clip_grad_norm_(parameters, self._settings.max_grad_norm)
        loss = terms.losses_P.mean()
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise NonFiniteError(f"Loss or gradient is not finite {where} Nothing of this update was kept.")
        num_updates = round_number * self._steps_per_round + step + 1
        learning_rate = self._settings.learning_rate * min(1.0, num_updates / (self._warmup_steps + 1))
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate
        self._optimizer.step()
        if not self._policy.is_finite():
            raise NonFiniteError(f"A weight is not finite after the step {where} It was not saved.")
        margins = terms.chosen_rewards_P - terms.rejected_rewards_P
        values = {
            "loss": float(loss),
            "rewards/chosen": float(terms.chosen_rewards_P.mean()),
            "rewards/rejected": float(terms.rejected_rewards_P.mean()),
            "rewards/margins": float(margins.mean()),
            "rewards/accuracies": float((margins > 0).float().mean()),
            "grad_norm": float(norm),
            "learning_rate": learning_rate,
        }
        if given := [place for place, one in enumerate(comparisons) if one.kind is ComparisonKind.GIVEN]:
            values["given/accuracies"] = float((margins[given] > 0).float().mean())
            values["given/margins"] = float(margins[given].mean())
        return StepMetrics(round_number, step, values, Counter(comparison.kind for comparison in comparisons))

    def state(self) -> dict[str, Tensor]:
        """What AdamW remembers of each weight ("000.exp_avg", ...), on the CPU; empty before the first update."""
        return {
            f"{index:03}.{key}": value.detach().to("cpu", copy=True).contiguous()
            for index, parameter in enumerate(self._policy.parameters())
            for key, value in self._optimizer.state.get(parameter, {}).items()
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """The optimizer as it was when `state` gave these, bit for bit; without the weights."""
        remembered: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            index, key = name.split(".")
            remembered.setdefault(int(index), {})[key] = value.clone()  # else the next update would change the caller's
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": remembered, "param_groups": groups})

    def _fitting_gradient(
        self, comparisons: Sequence[Comparison], prompts: Mapping[str, tuple[int, ...]], dropout_seed: int
    ) -> DpoTerms:
        """The mean loss's gradient, in the weights' `grad`; a token limit lowered for it stays for later updates."""
        hardware = self._policy.hardware

        def gradient(max_tokens: int) -> DpoTerms:
            self._optimizer.zero_grad(set_to_none=True)
            settings = self._settings.model_copy(update={"micro_batch_tokens": max_tokens})
            with torch.random.fork_rng(devices=[hardware.device] if hardware.is_cuda else []):
                torch.manual_seed(dropout_seed)
                return accumulate_gradient(self._policy, comparisons, prompts, settings)

        # From what is really there: half of a limit that no micro-batch reaches would change nothing.
        allowed = self._settings.micro_batch_tokens
        largest = max(_row_tokens(batch, prompts) for batch in micro_batches(comparisons, prompts, allowed))
        return self._policy.guard.fit(
            "update",
            gradient,
            min(allowed, largest),
            noun="token",
            advice=f"take shorter texts, lower sampling.length_factor, or take {lighter_base(self._policy.quantize)}",
            lower=halving(max(_row_tokens([comparison], prompts) for comparison in comparisons)),
        )


def accumulate_gradient(
    policy: Policy, comparisons: Sequence[Comparison], prompts: Mapping[str, tuple[int, ...]], settings: DpoSettings
) -> DpoTerms:
    """Add the gradient of the comparisons' mean loss to the active adapter's weights; returns the terms, detached."""

    def piece(batch: Sequence[Comparison]) -> DpoTerms:
        terms = _batch_terms(policy, batch, prompts, settings)
        (terms.losses_P.sum() / len(comparisons)).backward()
        # Detached, and the others let go of on return: what is left of a graph holds the memory that it lies in.
        return DpoTerms(terms.losses_P.detach(), terms.chosen_rewards_P, terms.rejected_rewards_P)

    pieces = [piece(batch) for batch in micro_batches(comparisons, prompts, settings.micro_batch_tokens)]
    return DpoTerms(
        torch.cat([each.losses_P for each in pieces]),
        torch.cat([each.chosen_rewards_P for each in pieces]),
        torch.cat([each.rejected_rewards_P for each in pieces]),
    )


def micro_batches(
    comparisons: Iterable[Comparison], prompts: Mapping[str, tuple[int, ...]], max_tokens: int
) -> Iterator[list[Comparison]]:
    """Comparisons in their order, as many at a time as have at most `max_tokens` tokens in a row.

    A demonstration's comparisons stay together where they alone are not more. A comparison whose two sequences alone
    exceed the limit is a micro-batch of its own.
    """
    by_demonstration = groupby(comparisons, key=lambda comparison: comparison.chosen.demonstration_id)
    pieces = chain.from_iterable(
        split_by_size(own, lambda piece: _row_tokens(piece, prompts), max_tokens) for _, own in by_demonstration
    )
    batches = split_by_size(pieces, lambda batch: _row_tokens(chain.from_iterable(batch), prompts), max_tokens)
    return (list(chain.from_iterable(batch)) for batch in batches)


def sequences_of(comparisons: Iterable[Comparison]) -> list[Completion]:
    """Each sequence that the comparisons name, once, in order of first mention."""
    return list(dict.fromkeys(side for one in comparisons for side in (one.chosen, one.rejected)))


def _row_tokens(comparisons: Iterable[Comparison], prompts: Mapping[str, tuple[int, ...]]) -> int:
    return count_row_tokens(sequences_of(comparisons), prompts)


def _batch_terms(
    policy: Policy,
    batch: Sequence[Comparison],
    prompts: Mapping[str, tuple[int, ...]],
    settings: DpoSettings,
) -> DpoTerms:
    sequences = sequences_of(batch)
    places = {completion: place for place, completion in enumerate(sequences)}
    logps_B = score_completions(policy, sequences, prompts)
    device = logps_B.device
    reference_B = torch.tensor([completion.reference_logp for completion in sequences], device=device)
    lengths_B = torch.tensor([len(completion.token_ids) for completion in sequences], device=device)
    chosen_P = torch.tensor([places[one.chosen] for one in batch], device=device)
    rejected_P = torch.tensor([places[one.rejected] for one in batch], device=device)
    scale_B = lengths_B if settings.per_token else torch.ones_like(lengths_B)
    scaled_B, scaled_reference_B = logps_B / scale_B, reference_B / scale_B
    terms = dpo_terms(
        scaled_B[chosen_P],
        scaled_B[rejected_P],
        scaled_reference_B[chosen_P],
        scaled_reference_B[rejected_P],
        beta=settings.beta,
    )
    if settings.sft_weight == 0:
        return terms
    is_own_P = torch.tensor([one.chosen.round is None for one in batch], device=device)
    imitation_P = -(logps_B / lengths_B)[chosen_P] * is_own_P
    return replace(terms, losses_P=terms.losses_P + settings.sft_weight * imitation_P)
