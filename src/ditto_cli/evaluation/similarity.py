"""Pairs of a text and the author's own text for the same prompt -> how much they share. No torch.

Content counts here as much as style: two people who answer the same question share much.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean


def chrf(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean sentence-level chrF (Popovic, WMT 2015: character n-grams up to 6, recall weighs twice), 0 to 100.

    Args:
        pairs: a text and its reference; at least one.
    """
    from sacrebleu import sentence_chrf

    return fmean(sentence_chrf(text, [reference]).score for text, reference in pairs)
