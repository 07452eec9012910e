"""Several texts in one row, without padding: who sees whom.

Legend: T tokens of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GROUP = "ditto_group"  # the keyword by which a row's structure reaches the attention
SHARED = -1  # owner of tokens that all texts of the row see


def attention_pattern(owner_T: Tensor) -> Tensor:
    """Which token sees which: those before it, of its own text and of what is shared.

    Args:
        owner_T: the number of each token's text, or SHARED.

    Returns:
        bool [1, 1, T, T], true where the row's token sees the column's.
    """
    num_tokens = len(owner_T)
    sees_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
    sees_TT &= (owner_T[:, None] == owner_T) | (owner_T == SHARED)
    return sees_TT[None, None]


@dataclass(frozen=True)
class Group:
    """A row that begins with what all its texts share, for an attention that computes no pairs that see nothing.

    Attributes:
        lengths: tokens of the shared beginning, 0 where there is none, then of each text.
        sees: for each text bool [N, shared + N]: which of the shared beginning's and its own tokens each token sees.
    """

    lengths: tuple[int, ...]
    sees: tuple[Tensor, ...]

    @staticmethod
    def of(num_shared: int, lengths: Sequence[int], device: torch.device) -> Group:
        """The structure of a row of these lengths."""
        sees = [torch.ones(num, num_shared + num, dtype=torch.bool, device=device).tril(num_shared) for num in lengths]
        return Group((num_shared, *lengths), tuple(sees))
