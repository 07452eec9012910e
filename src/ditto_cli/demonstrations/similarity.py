"""Texts -> which are nearly the same, and how near each is to the middle of all.

The cost grows with the words, not with the pairs of texts, and nothing depends on the process. How a judge measures
style is the business of evaluation, which knows the author.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rapidfuzz.fuzz import ratio

from ditto_cli.demonstrations.language import UNSPACED

SAME_SHARE = 0.85  # of the words of two texts, in the same order, from which on they are nearly the same
_MIN_WORDS = 6  # shorter texts are nearly the same only if their words are
_MAX_CHARACTERS = 20_000  # texts that begin with as many of the same are the same
_RUN_WORDS = 4
_MANY_RUNS, _SAMPLE = 64, 4  # of many runs those are looked up that begin with one in four words
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_FIRST_CODE, _NUM_CODES = 0x10000, 0x100000  # a character for each word, above the surrogates

_NUM_FIGURES = 2048
_CORE_SHARE = 0.7
# Odd, so that multiplying loses nothing modulo 2^64; one for each place in a run of three characters.
_FACTORS = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))

Figures = NDArray[np.float32]


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it is nearly the same as; its own where there is none.

    Two texts are nearly the same if they share `SAME_SHARE` of their words in the same order. Only texts that share a
    run of four words are compared: with the first text that has the run, and with the latest.
    """
    codes: dict[str, str] = {}
    spelt: list[str] = []  # each text with one character a word
    firsts: list[int] = []
    owners: dict[str, tuple[int, int]] = {}
    for index, text in enumerate(texts):
        words = _WORD.findall(text[:_MAX_CHARACTERS].casefold())
        line = "".join([codes.setdefault(word, chr(_FIRST_CODE + len(codes) % _NUM_CODES)) for word in words])
        starts: Sequence[int] = range(max(1, len(line) - _RUN_WORDS + 1))
        if len(starts) > _MANY_RUNS:
            starts = [start for start in starts if ord(line[start]) % _SAMPLE == 0]
        shared: Counter[int] = Counter()
        for run in {line[start : start + _RUN_WORDS] for start in starts} - {""}:
            first, latest = owners.get(run, (index, index))
            owners[run] = first, index
            if first != index:
                shared.update({firsts[first], firsts[latest]})
        spelt.append(line)
        likely = sorted(shared, key=lambda other: (-shared[other], other))
        firsts.append(next((other for other in likely if _are_same(spelt[other], line)), index))
    return firsts


def _are_same(one: str, other: str) -> bool:
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
    """The cosine of each row to the middle of the others: 1 is most typical.

    The middle is that of the nearer seven tenths, so that pasted texts of others do not pull it.
    """
    near = _nearness(figures, np.ones(len(figures), dtype=np.float32))
    core = near >= np.quantile(near, 1 - _CORE_SHARE) if len(near) else near
    return [round(float(value), 6) for value in _nearness(figures, core.astype(np.float32))]


def _nearness(figures: Figures, weights: Figures) -> Figures:
    total = weights @ figures
    products = figures @ total
    # The middle without the row itself, which has length 1.
    lengths = np.sqrt(np.maximum(total @ total - 2 * weights * products + weights**2, 1e-12))
    near: Figures = (products - weights) / lengths
    return near
