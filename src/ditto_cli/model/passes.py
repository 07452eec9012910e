"""What a forward pass consists of, in tokens: what its time and its memory are told from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ditto_cli.model.rows import is_divided


@dataclass(frozen=True)
class Pass:
    """A forward pass.

    Attributes:
        tokens: of the row.
        num_scored: those of them whose logits are computed.
        pairs: of tokens that attention computes.
        copied: tokens whose keys and values stand a second time beside the text that sees them.
    """

    tokens: int = 0
    num_scored: int = 0
    pairs: int = 0
    copied: int = 0

    def __add__(self, other: Pass) -> Pass:
        """Both in one row, where no token sees one of the other."""
        return Pass(
            self.tokens + other.tokens,
            self.num_scored + other.num_scored,
            self.pairs + other.pairs,
            self.copied + other.copied,
        )

    def share(self, tokens: int) -> Pass:
        """A part of it with so many of its tokens, of the same make."""
        share = tokens / self.tokens
        return Pass(tokens, *(math.ceil(share * each) for each in (self.num_scored, self.pairs, self.copied)))

    @staticmethod
    def of(num_prompt: int, lengths: Sequence[int]) -> Pass:
        """A group as `score_row` computes it, on a base without a sliding window: a prompt, and completions so long."""
        scored = sum(lengths)
        tokens = num_prompt + scored
        if not is_divided(num_prompt, lengths):
            return Pass(tokens, scored, tokens**2)
        pairs = num_prompt**2 + sum(length * (num_prompt + length) for length in lengths)
        return Pass(tokens, scored, pairs, scored + len(lengths) * num_prompt)
