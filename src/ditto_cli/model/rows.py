"""Several texts in one row, without padding: who sees whom.

Legend: T tokens of the row.
"""

from __future__ import annotations

import torch
from torch import Tensor

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
