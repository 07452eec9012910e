"""Texts against a person's texts -> figures. No torch.

These are the first, simple measures; each sees one side of style, and none of them says who wrote a text.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence

_NGRAM = 3


def trigram_cosine(texts: Sequence[str], references: Sequence[str]) -> float:
    """Cosine of the character 3-gram counts of two pooled sets of texts, 0 (nothing shared) to 1 (same profile).

    White space is folded; case and punctuation are kept, since they are part of how a person writes.
    """
    left, right = _trigrams(texts), _trigrams(references)
    product = sum(count * right[gram] for gram, count in left.items())
    norms = math.sqrt(sum(c * c for c in left.values())) * math.sqrt(sum(c * c for c in right.values()))
    return product / norms if norms else 0.0


def longest_shared_passage(text: str, references: Sequence[str]) -> int:
    """Words of the longest passage that `text` has in common with one of `references`, case and punctuation ignored."""
    words = _words(text)
    longest = 0
    for reference in references:
        other = _words(reference)
        previous = [0] * (len(other) + 1)
        for word in words:
            current = [0] * (len(other) + 1)
            for column, candidate in enumerate(other, start=1):
                if word == candidate:
                    current[column] = previous[column - 1] + 1
            longest = max(longest, *current)
            previous = current
    return longest


def _trigrams(texts: Sequence[str]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        folded = " ".join(text.split())
        counts.update(folded[i : i + _NGRAM] for i in range(len(folded) - _NGRAM + 1))
    return counts


def _words(text: str) -> list[str]:
    return re.findall(r"[\w']+", text.lower())
