"""Several texts in one row, without padding: who sees whom, and an attention that computes no other pairs.

A row is made of groups, and a group of a shared beginning and any number of texts that go on from it. A token sees what
stands before it of its own text and of its group's beginning, at the positions that they would have alone. Under a mask
the library computes all pairs of a row and drops most of them; here each text meets the beginning and itself.

Legend: R rows (always one), H query heads, K key heads, T tokens of the row, N tokens of a text, D size of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

ROW_ATTENTION = "ditto_row"  # the attention's name in the library, and the keyword by which a row's groups reach it


@dataclass(frozen=True)
class Group:
    """A part of a row.

    Attributes:
        lengths: tokens of the shared beginning, then of each text.
        sees: for each text, bool [N, shared + N]: which of the beginning's and its own tokens each of its tokens sees.
    """

    lengths: tuple[int, ...]
    sees: tuple[Tensor, ...]


@dataclass(frozen=True)
class Row:
    """Groups behind each other.

    Attributes:
        pattern_11TT: true where the row's token sees the column's.
    """

    positions_1T: Tensor
    pattern_11TT: Tensor
    groups: tuple[Group, ...]

    @staticmethod
    def of(groups: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> Row:
        """The row of groups with so many tokens at their beginning and in each of their texts."""
        parts = [(num_shared, *lengths) for num_shared, lengths in groups]
        sizes = torch.tensor([sum(lengths) for lengths in parts])
        group_T = torch.repeat_interleave(torch.arange(len(parts)), sizes)
        numbers = torch.tensor(list(chain.from_iterable(range(len(lengths)) for lengths in parts)))
        text_T = torch.repeat_interleave(numbers, torch.tensor(list(chain.from_iterable(parts))))  # 0: the beginning
        pattern_TT = torch.ones(len(group_T), len(group_T), dtype=torch.bool).tril()
        pattern_TT &= group_T[:, None] == group_T
        pattern_TT &= (text_T[:, None] == text_T) | (text_T == 0)
        positions = [
            torch.arange(length) + (lengths[0] if place else 0)
            for lengths in parts
            for place, length in enumerate(lengths)
        ]
        found = []
        for shared, *texts in parts:
            sees = (torch.ones(num, shared + num, dtype=torch.bool, device=device).tril(shared) for num in texts)
            found.append(Group((shared, *texts), tuple(sees)))
        return Row(torch.cat(positions)[None].to(device), pattern_TT[None, None].to(device), tuple(found))


def row_attention(
    module: nn.Module,
    query_RHTD: Tensor,
    key_RKTD: Tensor,
    value_RKTD: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Any]:
    """Scaled dot-product attention under the library's signature, by groups where a row's are given.

    Returns:
        States [R, T, H, D] and no weights.
    """
    groups: Sequence[Group] = kwargs.pop(ROW_ATTENTION, ())
    if not groups or dropout:
        return sdpa_attention_forward(
            module, query_RHTD, key_RKTD, value_RKTD, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    heads_a_key = query_RHTD.shape[1] // key_RKTD.shape[1]
    keys, values = (states.repeat_interleave(heads_a_key, dim=1) for states in (key_RKTD, value_RKTD))
    attend = partial(nn.functional.scaled_dot_product_attention, scale=scaling)
    sizes = [sum(group.lengths) for group in groups]
    pieces: list[Tensor] = []
    for group, *states in zip(groups, *(each.split(sizes, dim=2) for each in (query_RHTD, keys, values)), strict=True):
        (query, *queries), (key, *own_keys), (value, *own_values) = (
            each.split(group.lengths, dim=2) for each in states
        )
        pieces.append(attend(query, key, value, is_causal=True))
        for own_query, own_key, own_value, sees in zip(queries, own_keys, own_values, group.sees, strict=True):
            both = torch.cat([key, own_key], dim=2), torch.cat([value, own_value], dim=2)
            pieces.append(attend(own_query, *both, attn_mask=sees))
    return torch.cat(pieces, dim=2).transpose(1, 2).contiguous(), None


AttentionInterface.register(ROW_ATTENTION, row_attention)
AttentionMaskInterface.register(ROW_ATTENTION, sdpa_mask)
