"""The DPO loss (Rafailov et al., arXiv 2305.18290, equation 7) on summed log-probabilities. Pure, fp32."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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
    """-log sigmoid(beta * ((logp - ref_logp)[chosen] - (logp - ref_logp)[rejected])) for each of P comparisons.

    Args:
        chosen_logps_P: summed log-probabilities of the chosen sides under the policy, in nats.
        rejected_logps_P: the same for the rejected sides.
        reference_chosen_logps_P: the chosen sides under the frozen SFT policy.
        reference_rejected_logps_P: the rejected sides under the frozen SFT policy.
        beta: strength of the pull towards the reference.
    """
    chosen_P = beta * (chosen_logps_P - reference_chosen_logps_P)
    rejected_P = beta * (rejected_logps_P - reference_rejected_logps_P)
    return DpoTerms(-torch.nn.functional.logsigmoid(chosen_P - rejected_P), chosen_P.detach(), rejected_P.detach())
