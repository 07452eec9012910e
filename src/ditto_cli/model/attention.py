"""Attention for sampling and scoring that leaves out what the library computes for nothing.

In a step of one token, query heads that share keys and values read them once: the library repeats them for each head
before every product, which for a long cache is most of a step's work. Here the heads of a group stand where the
positions of the query would, which gives the same numbers. In a row of several texts, each text meets the prompt and
itself: under a mask the library computes all pairs and drops most of them.

Legend: R rows, H query heads, K key heads, G = H / K heads a group, T tokens in the cache, D size of a head.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.cache_utils import Cache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from ditto_cli.model.rows import ROW, Group

GROUPED_SDPA = "ditto_grouped_sdpa"
SPARE_TOKENS = 64


def grouped_sdpa(
    module: nn.Module,
    query_RHTD: Tensor,
    key_RKTD: Tensor,
    value_RKTD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention under the library's own signature.

    Returns:
        States [R, T, H, D] and no weights.
    """
    groups: Sequence[Group] = kwargs.pop(ROW, ())
    rows, heads, num_tokens, size = query_RHTD.shape
    key_heads = key_RKTD.shape[1]
    is_shared_mask = attention_mask is None or attention_mask.shape[1] == 1
    if num_tokens == sum(group.num_tokens for group in groups) == key_RKTD.shape[2] and not dropout:
        return _row_attention(query_RHTD, key_RKTD, value_RKTD, groups, scaling), None
    if num_tokens > 1 or heads == key_heads or dropout or not is_shared_mask or kwargs.get("position_bias") is not None:
        return sdpa_attention_forward(
            module, query_RHTD, key_RKTD, value_RKTD, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    query_RKGD = query_RHTD.reshape(rows, key_heads, heads // key_heads, size)
    states_RKGD = nn.functional.scaled_dot_product_attention(
        query_RKGD, key_RKTD, value_RKTD, attn_mask=attention_mask, scale=scaling
    )
    return states_RKGD.reshape(rows, 1, heads, size), None


def _row_attention(
    query_RHTD: Tensor, key_RKTD: Tensor, value_RKTD: Tensor, groups: Sequence[Group], scaling: float | None
) -> Tensor:
    """States [R, T, H, D] of a row of several groups, each by itself."""
    heads_a_key = query_RHTD.shape[1] // key_RKTD.shape[1]
    keys, values = (states.repeat_interleave(heads_a_key, dim=1) for states in (key_RKTD, value_RKTD))
    sizes = [group.num_tokens for group in groups]
    queries, keys, values = (states.split(sizes, dim=2) for states in (query_RHTD, keys, values))
    attention = partial(nn.functional.scaled_dot_product_attention, scale=scaling)
    pieces = [
        piece
        for group, query, key, value in zip(groups, queries, keys, values, strict=True)
        for piece in _group_attention(group, query, key, value, attention)
    ]
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous()


def _group_attention(
    group: Group, query_RHTD: Tensor, key_RHTD: Tensor, value_RHTD: Tensor, attention: Callable[..., Tensor]
) -> list[Tensor]:
    """Each text with the shared beginning and itself, and no others; or all together under their mask."""
    if not group.is_divided:
        return [attention(query_RHTD, key_RHTD, value_RHTD, attn_mask=group.sees[0])]
    (query, *queries), (key, *own_keys), (value, *own_values) = (
        states.split(group.lengths, dim=2) for states in (query_RHTD, key_RHTD, value_RHTD)
    )
    pieces = [attention(query, key, value, is_causal=True)]
    for own_query, own_key, own_value, sees in zip(queries, own_keys, own_values, group.sees, strict=True):
        both = torch.cat([key, own_key], dim=2), torch.cat([value, own_value], dim=2)
        pieces.append(attention(own_query, *both, attn_mask=sees))
    return pieces


class _GrowingLayer(DynamicLayer):
    """Keys and values with room for the next tokens, so that a step writes its own token and copies no others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_initialized: bool = False
        self._places: list[Tensor] = []  # for keys and for values; empty when they stand in no place of ours

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append states [R, K, T, D]; returns all."""
        if not self.is_initialized:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.keys, self.values = key_states[..., :0, :], value_states[..., :0, :]
            self.is_initialized = True
        start, end = self.keys.shape[-2], self.keys.shape[-2] + key_states.shape[-2]
        if not self._places or self._places[0].shape[-2] < end:
            self._places = [_moved(states, end + SPARE_TOKENS, key_states) for states in (self.keys, self.values)]
        for place, states in zip(self._places, (key_states, value_states), strict=True):
            place[..., start:end, :] = states
        self.keys, self.values = (place[..., :end, :] for place in self._places)
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some rows."""
        super().batch_select_indices(indices)
        self._places = []


def growing_cache() -> Cache:
    """An empty key-value cache for sampling."""
    return Cache(layer_class_to_replicate=_GrowingLayer)


def _moved(states: Tensor, num_tokens: int, like: Tensor) -> Tensor:
    """A larger place that begins with `states`."""
    place = like.new_empty(*like.shape[:2], num_tokens, states.shape[-1])
    place[..., : states.shape[-2], :] = states
    return place


AttentionInterface.register(GROUPED_SDPA, grouped_sdpa)
AttentionMaskInterface.register(GROUPED_SDPA, sdpa_mask)
