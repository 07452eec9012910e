"""Where each sequence of a sampling stands, and how its next token is drawn from logits.

Every sequence draws from its own seeded stream of uniform numbers (inverse of the cumulative distribution), so what it
becomes does not depend on what is sampled beside it.

Legend: R rows, one a sequence, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ditto_cli.errors import NonFiniteError
from ditto_cli.types import SampledTokens, SampleRequest

_LEAST_TEMPERATURE = 1e-6  # below, logits would overflow, and the likeliest token is certain


@dataclass
class Draw:
    """One sequence in the making."""

    index: int
    prompt_ids: tuple[int, ...]
    max_tokens: int
    temperature: float
    uniforms: Tensor
    top_p: float = 1.0
    voice: Hashable = None  # whose sequence it is, where several adapters write side by side
    token_ids: list[int] = field(default_factory=list)
    logp: float = 0.0

    @staticmethod
    def begin(index: int, request: SampleRequest, max_new_tokens: int, temperature: float) -> Draw:
        """Before its first token; a request's own limit and temperature count where it has some."""
        limit = max_new_tokens if request.max_new_tokens is None else min(request.max_new_tokens, max_new_tokens)
        own_temperature = temperature if request.temperature is None else request.temperature
        uniforms = torch.rand(max_new_tokens, generator=torch.Generator().manual_seed(request.seed))
        return Draw(index, request.prompt_ids, limit, own_temperature, uniforms)


def draw_next(
    draws: Sequence[Draw], logits_RV: Tensor, stops: frozenset[int], results: dict[int, SampledTokens]
) -> Tensor:
    """Append a token to each sequence that is not in `results` yet, and file it there if it ends with that.

    The token is the first whose cumulative probability exceeds the sequence's next uniform number; at temperature 0 the
    likeliest. Returns the tokens [R]; of finished sequences, any.
    """
    picked_R = _pick(draws, logits_RV)
    logps_R = torch.log_softmax(logits_RV, dim=1).gather(1, picked_R[:, None])[:, 0]
    for draw, token, logp in zip(draws, picked_R.tolist(), logps_R.tolist(), strict=True):
        if draw.index in results:
            continue
        draw.token_ids.append(token)
        draw.logp += logp
        if token in stops or len(draw.token_ids) == draw.max_tokens:
            results[draw.index] = SampledTokens(tuple(draw.token_ids), token in stops, draw.logp)
    return picked_R


def _pick(draws: Sequence[Draw], logits_RV: Tensor) -> Tensor:
    # Of each row its sum: one pass, which any NaN or infinity shows in.
    if not torch.isfinite(logits_RV.sum(dim=1)).all():
        raise NonFiniteError("The model's output is not finite: the adapter or the base is damaged.")
    temperatures = [draw.temperature for draw in draws]
    is_drawn = [temperature > _LEAST_TEMPERATURE for temperature in temperatures]
    if not any(is_drawn):
        return logits_RV.argmax(dim=1)
    is_drawn_R, temperatures_R = (torch.tensor(each, device=logits_RV.device) for each in (is_drawn, temperatures))
    scaled_RV = logits_RV / torch.where(is_drawn_R, temperatures_R, 1.0)[:, None]
    probabilities_RV = torch.softmax(scaled_RV, dim=1)
    if any(draw.top_p < 1 for draw in draws):
        probabilities_RV = _nucleus(probabilities_RV, [draw.top_p for draw in draws])
    cumulative = probabilities_RV.cumsum(dim=1)
    # Of a finished sequence, any.
    uniforms = torch.stack([draw.uniforms[min(len(draw.token_ids), len(draw.uniforms) - 1)] for draw in draws])
    # Scaled by the last sum, which rounding leaves a little off 1; then a token of probability 0 is never taken.
    targets = uniforms.to(cumulative.device).unsqueeze(1) * cumulative[:, -1:]
    picked = torch.searchsorted(cumulative, targets, right=True).squeeze(1).clamp(max=cumulative.shape[1] - 1)
    return picked if all(is_drawn) else torch.where(is_drawn_R, picked, logits_RV.argmax(dim=1))


def _nucleus(probabilities_RV: Tensor, shares: Sequence[float]) -> Tensor:
    """Without the tokens beyond the likeliest that have a share of the probability together (arXiv 1904.09751, 3.1)."""
    ordered_RV, places_RV = probabilities_RV.sort(dim=1, descending=True)
    shares_R1 = torch.tensor(shares, device=ordered_RV.device)[:, None]
    is_beyond_RV = (ordered_RV.cumsum(dim=1) - ordered_RV >= shares_R1) & (shares_R1 < 1)
    is_beyond_RV[:, 0] = False  # the likeliest stays
    return probabilities_RV.masked_fill(torch.zeros_like(is_beyond_RV).scatter(1, places_RV, is_beyond_RV), 0.0)
