"""Texts -> which are nearly the same, and how near each is to the middle of all.

The cost grows with the words, not with the pairs of texts, and nothing depends on the process. How a judge measures
style is the business of evaluation, which knows the author.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from sys import intern
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

from ditto_cli.demonstrations.language import UNSPACED

SAME_SHARE = 0.85  # of the words of two texts, in the same order, from which on they are nearly the same
_MIN_WORDS = 6  # shorter texts are nearly the same only if their words are
_MAX_CHARACTERS = 20_000  # texts that begin with as many of the same are the same
_RUN_WORDS = 4
_NUM_RUNS = 64  # that are looked up of each text: those with the smallest hashes, which two that are alike share
_NUM_LIKELY = 4  # texts that share the most of them are compared
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")

_NUM_FIGURES = 2048
_CORE_SHARE = 0.7
# Odd, so that multiplying loses nothing modulo 2^64; one for each place in a run of three characters.
_FACTORS = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))

Figures = NDArray[np.float32]


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it is nearly the same as; its own where there is none.

    Two texts are nearly the same if they share `SAME_SHARE` of their words in the same order. Only texts that share
    runs of four words are compared: with the first text that has the run, and with the latest.
    """
    spelt: list[list[str]] = []
    firsts: list[int] = []
    owners: dict[int, tuple[int, int]] = {}
    for index, text in enumerate(texts):
        words = [intern(word) for word in _WORD.findall(text[:_MAX_CHARACTERS].casefold())]
        runs = {" ".join(words[start : start + _RUN_WORDS]) for start in range(max(1, len(words) - _RUN_WORDS + 1))}
        shared: Counter[int] = Counter()
        for key in sorted(crc32(run.encode("utf-8", "surrogatepass")) for run in runs)[:_NUM_RUNS] if words else ():
            first, latest = owners.get(key, (index, index))
            owners[key] = first, index
            if first != index:
                shared.update({firsts[first], firsts[latest]})
        spelt.append(words)
        likely = (other for other, _ in shared.most_common(_NUM_LIKELY))
        firsts.append(next((other for other in likely if _are_same(spelt[other], words)), index))
    return firsts


def _are_same(one: Sequence[str], other: Sequence[str]) -> bool:
    if min(len(one), len(other)) < _MIN_WORDS:
        return one == other
    return ratio(one, other, score_cutoff=100 * SAME_SHARE) > 0


def style_figures(texts: Sequence[str]) -> Figures:
    """A row of length 1 for each text: TF-IDF of its runs of three characters, of which many stand in one column."""
    figures = np.zeros((len(texts), _NUM_FIGURES), dtype=np.float32)
    for row, text in enumerate(texts):
        plain = f" {' '.join(text.lower().split())} "
        codes = np.frombuffer(plain.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        hashes = codes[:-2] * _FACTORS[0] + codes[1:-1] * _FACTORS[1] + codes[2:] * _FACTORS[2]
        # The high bits: the low ones of a product depend on the low ones of its factors only.
        columns = (hashes >> np.uint64(32)) % np.uint64(_NUM_FIGURES)
        figures[row] = np.sqrt(np.bincount(columns.astype(np.int64), minlength=_NUM_FIGURES))
    num_having = np.count_nonzero(figures, axis=0)
    figures *= (np.log((1 + len(texts)) / (1 + num_having)) + 1).astype(np.float32)
    figures /= np.maximum(np.linalg.norm(figures, axis=1, keepdims=True), 1e-12)
    return figures


def typicality(figures: Figures) -> list[float]:
    """The cosine of each row to the middle: 1 is most typical.

    The middle is that of the nearer seven tenths, so that pasted texts of others do not pull it.
    """
    near = figures @ figures.sum(axis=0)
    core = figures[near >= np.quantile(near, 1 - _CORE_SHARE)] if len(near) else figures
    middle = core.sum(axis=0)
    return [round(float(value), 6) for value in figures @ middle / max(np.linalg.norm(middle), 1e-12)]
