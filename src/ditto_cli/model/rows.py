"""Several texts in one row, without padding: who sees whom.

A row is made of groups, and a group of a shared beginning and any number of texts that go on from it. A token sees what
stands before it of its own text and of its group's beginning, at the positions that they would have alone.

Legend: T tokens of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

ROW = "ditto_row"  # the keyword by which a row's groups reach the attention


def is_divided(num_shared: int, lengths: Sequence[int]) -> bool:
    """Whether a group's attention goes text by text, which copies the beginning for each: not where copies are most.

    Args:
        num_shared: tokens of the beginning.
        lengths: tokens of each text.
    """
    return len(lengths) * num_shared <= num_shared + sum(lengths)


@dataclass(frozen=True)
class Group:
    """A part of a row, for an attention that computes no pairs across groups, and few that see nothing.

    Attributes:
        lengths: tokens of the shared beginning, then of each text.
        sees: which of the tokens before it and of itself each token sees: where the group is divided, for each text
            bool [N, shared + N]; else for all of it together bool [N, N].
        is_divided: see the function of that name.
    """

    lengths: tuple[int, ...]
    sees: tuple[Tensor, ...]
    is_divided: bool

    @property
    def num_tokens(self) -> int:
        """Tokens of the whole group."""
        return sum(self.lengths)


@dataclass(frozen=True)
class Row:
    """Groups behind each other.

    Attributes:
        positions_1T: of each token in its own text.
        pattern_11TT: true where the row's token sees the column's.
        groups: the same pattern, piece by piece.
    """

    positions_1T: Tensor
    pattern_11TT: Tensor
    groups: tuple[Group, ...]

    @staticmethod
    def of(groups: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> Row:
        """The row of groups with so many tokens at their beginning and in each of their texts."""
        parts = [(num_shared, *lengths) for num_shared, lengths in groups]
        group_T, text_T = _owners(parts)
        num_tokens = len(group_T)
        pattern_TT = torch.ones(num_tokens, num_tokens, dtype=torch.bool).tril()
        pattern_TT &= group_T[:, None] == group_T
        pattern_TT &= (text_T[:, None] == text_T) | (text_T == 0)
        positions = [
            torch.arange(length) + (lengths[0] if place else 0)
            for lengths in parts
            for place, length in enumerate(lengths)
        ]
        pattern_TT = pattern_TT.to(device)
        found, start = [], 0
        for lengths in parts:
            whole = slice(start, start + sum(lengths))
            found.append(_group(lengths, pattern_TT[whole, whole]))
            start = whole.stop
        return Row(torch.cat(positions)[None].to(device), pattern_TT[None, None], tuple(found))


def _owners(parts: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Of each token: the number of its group, and of its text in it, 0 for the beginning."""
    sizes = torch.tensor([sum(lengths) for lengths in parts])
    texts = torch.tensor(list(chain.from_iterable(range(len(lengths)) for lengths in parts)))
    return (
        torch.repeat_interleave(torch.arange(len(parts)), sizes),
        torch.repeat_interleave(texts, torch.tensor(list(chain.from_iterable(parts)))),
    )


def _group(lengths: Sequence[int], pattern_NN: Tensor) -> Group:
    num_shared, *texts = lengths
    if not is_divided(num_shared, texts):
        return Group(tuple(lengths), (pattern_NN,), is_divided=False)
    sees = [torch.ones(num, num_shared + num, dtype=torch.bool, device=pattern_NN.device) for num in texts]
    return Group(tuple(lengths), tuple(one.tril(num_shared) for one in sees), is_divided=True)
