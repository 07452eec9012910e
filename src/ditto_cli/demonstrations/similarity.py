"""Texts -> which are nearly the same, by runs of words that they share, and how near each is to the middle in style.

The cost grows with the words, not with the pairs of texts. Hashes are the same in every process. How a judge measures
style is the business of evaluation, which knows the author.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence, Set

import numpy as np
from numpy.typing import NDArray

SAME_SHARE = 0.6  # of the runs of the shorter text, from which on two texts are nearly the same
_RUN_WORDS = 4
_MIN_SHARED_RUNS = 3
_WORD = re.compile(r"\w+")
# Odd, so that multiplying loses nothing modulo 2^64; one for each place in a run.
_FACTORS = tuple(np.uint64(value) for value in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 1))

# A text's style in blocks of hashed shares: three characters in a row, common words, pairs of neighbours, marks.
_SIZES = (2048, 256, 384, 64)
_WEIGHTS = (6.0, 1.0, 1.0, 0.5)
_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*|\d+|\s+|[^\w\s]|_")
_COMMON_SHARE = 0.4  # of the texts have a word: then it is no topic's
_NUM_COMMON, _MANY_TEXTS = 150, 100  # of many texts the words that most of them share are common too
_CORE_SHARE, _NUM_PASSES = 0.7, 2
_MIN_TEXTS_FOR_TREND = 8
_FIRST_UNSPACED = "\u2e80"  # from here on, nearly, scripts whose "words" are sentences; these stay as they are

Runs = NDArray[np.uint64]
Figures = NDArray[np.float32]


def near_duplicates(texts: Sequence[str]) -> list[int]:
    """For each text the index of the first text that it is nearly the same as; its own where there is none.

    Two texts are nearly the same if the shorter one shares `SAME_SHARE` of its runs of four words with the longer, or
    if their words are the same. A text that repeats only the small print of another is not.
    """
    runs = _runs(texts)
    firsts = list(range(len(texts)))
    for later, earlier in _candidates(runs):
        first = firsts[earlier]
        if firsts[later] == later and _are_same(runs[first], runs[later]):
            firsts[later] = first
    return firsts


def _runs(texts: Sequence[str]) -> list[Runs]:
    """The distinct runs of words of each text, as sorted hashes that are the same in every process."""
    hashes_of = _Hashes()
    found: list[Runs] = []
    for text in texts:
        words = _WORD.findall(text.casefold())
        hashes = np.array([hashes_of[word] for word in words], dtype=np.uint64)
        size = max(1, min(_RUN_WORDS, len(words)))
        length = max(0, len(words) - size + 1)
        # A text of fewer words than a run is one run.
        total = np.zeros(length, dtype=np.uint64)
        for place in range(size):
            total += hashes[place : place + length] * _FACTORS[place]
        found.append(np.unique(total))
    return found


class _Hashes(dict[str, int]):
    """A 64-bit number for each string that was asked for."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self[word] = value = int.from_bytes(digest, "little")
        return value


def _candidates(runs: Sequence[Runs]) -> list[tuple[int, int]]:
    """Pairs (later, earlier) that share runs, in order.

    Of the texts that share a run, each is paired with the first of them and with the one before it: that finds every
    group, and a run that all texts hold costs no square.
    """
    sizes = np.array([len(of_text) for of_text in runs], dtype=np.int64)
    if not sizes.sum():
        return []
    owners = np.repeat(np.arange(len(runs), dtype=np.int64), sizes)
    values = np.concatenate(runs)
    order = np.argsort(values, kind="stable")  # stable: owners stay in order within a run
    values, owners = values[order], owners[order]
    starts = np.concatenate([[True], values[1:] != values[:-1]])
    firsts = owners[np.maximum.accumulate(np.where(starts, np.arange(len(values)), 0))]
    previous = np.concatenate([owners[:1], owners[:-1]])
    shared = ~starts
    later, first, before = owners[shared], firsts[shared], previous[shared]
    apart = before != first
    codes = np.concatenate([later * len(runs) + first, later[apart] * len(runs) + before[apart]])
    pairs, counts = np.unique(codes, return_counts=True)
    left, right = pairs // len(runs), pairs % len(runs)
    smaller = np.minimum(sizes[left], sizes[right])
    # A group's runs may be spread over a few pairs, so a part of what is asked for makes a candidate.
    likely = counts >= np.minimum(smaller, np.maximum(_MIN_SHARED_RUNS, SAME_SHARE / 4 * smaller))
    return list(zip(left[likely].tolist(), right[likely].tolist(), strict=True))


def _are_same(one: Runs, other: Runs) -> bool:
    smaller, larger = sorted((one, other), key=len)
    if len(smaller) < _MIN_SHARED_RUNS:
        return len(smaller) == len(larger) > 0 and bool((smaller == larger).all())
    places = np.searchsorted(larger, smaller)
    shared = int((larger[np.minimum(places, len(larger) - 1)] == smaller).sum())
    return shared >= SAME_SHARE * len(smaller)


def typicality(texts: Sequence[str], function_words: Set[str] = frozenset()) -> list[float]:
    """For each text how near it is to the middle of all in style, in robust standard deviations: -3 is an outlier.

    The middle is that of the nearer texts, found in two passes, so that pasted texts of others do not pull it. A long
    text is nearer by its length alone; this is taken off.

    Args:
        texts: in one language.
        function_words: of the language, with straight apostrophes; without them the words of most texts are taken.
    """
    if len(texts) < 3:
        return [0.0] * len(texts)
    common = function_words or _common_words(texts)
    vectors = _style_vectors(texts, common)
    logs = np.log([len(text) + 1 for text in texts])
    weights = np.full(len(texts), 1 / len(texts))
    for _ in range(_NUM_PASSES):
        near = _nearness(vectors, weights, logs)
        core = near >= np.quantile(near, 1 - _CORE_SHARE)
        weights = core / core.sum()
    near = _nearness(vectors, weights, logs)
    middle = float(np.median(near))
    spread = 1.4826 * float(np.median(np.abs(near - middle)))
    return [round(float(value), 6) for value in (near - middle) / max(spread, 1e-6)]


def content_words(text: str) -> frozenset[str]:
    """The longer words of a text, in lower case; what two texts share of them tells how near their topics are."""
    return frozenset(word for word in _WORD.findall(text.casefold()) if len(word) >= 5)


def _common_words(texts: Sequence[str]) -> frozenset[str]:
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(set(re.findall(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", text.lower())))
    common = {word for word, count in counts.items() if count >= max(2, _COMMON_SHARE * len(texts))}
    if len(texts) >= _MANY_TEXTS:
        common |= set(sorted(counts, key=lambda word: (-counts[word], word))[:_NUM_COMMON])
    return frozenset(common)


def _style_vectors(texts: Sequence[str], common: Set[str]) -> Figures:
    """A row of length 1 for each text; figures that vary much between the texts count less."""
    vectors = np.empty((len(texts), sum(_SIZES)), dtype=np.float32)
    tokens = _Tokens(common)
    for row, text in enumerate(texts):
        kinds = [tokens[token] for token in _TOKEN.findall(text)]
        masked = "".join([kind[0] for kind in kinds])
        codes = np.frombuffer(masked.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
        names = np.array([kind[1] for kind in kinds if kind[1]], dtype=np.uint64)
        is_word = np.array([kind[2] for kind in kinds if kind[1]], dtype=bool)
        found = (
            codes[:-2] * _FACTORS[0] + codes[1:-1] * _FACTORS[1] + codes[2:] * _FACTORS[2],
            names[is_word],
            names[:-1] * _FACTORS[0] + names[1:] * _FACTORS[1],
            names[~is_word],
        )
        vectors[row] = np.concatenate(
            [_shares(*block) for block in zip(found, _SIZES, _WEIGHTS, strict=True)], dtype=np.float32
        )
    deviations = vectors.std(axis=0, dtype=np.float32)
    varying = deviations[deviations > 0]
    vectors /= deviations + (np.median(varying) if len(varying) else 1)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return vectors


class _Tokens(dict[str, tuple[str, int, bool]]):
    """What a token is once its topic is masked: its characters, the hash of what it counts as, whether it is a word.

    A space within a line counts as nothing, and has the hash 0.
    """

    def __init__(self, common: Set[str]) -> None:
        self._common = common
        self._hashes = _Hashes()

    def __missing__(self, token: str) -> tuple[str, int, bool]:
        masked, name = self._kind(token)
        self[token] = kind = masked, self._hashes[name] if name else 0, name[:1].isalpha()
        return kind

    def _kind(self, token: str) -> tuple[str, str]:
        if token.isspace():
            return ("\n", "\n") if "\n" in token else (" ", "")
        if token[0].isdigit():
            return "0" * min(len(token), 4), "0"
        low = token.lower().replace("\u2019", "'")
        if not token[0].isalpha() or token[0] >= _FIRST_UNSPACED or low in self._common:
            return token, low
        shape = "X" if token[0].isupper() else "x"
        return shape + (low[-2:] if len(low) >= 5 else ""), shape


def _shares(hashes: NDArray[np.uint64], size: int, weight: float) -> NDArray[np.float64]:
    """Root shares of the hashes' buckets, as a vector of the block's weight."""
    # The high bits: the low ones of a product depend on the low ones of its factors only.
    counts = np.bincount(((hashes >> np.uint64(32)) % np.uint64(size)).astype(np.int64), minlength=size)
    return np.sqrt(weight * counts / max(1, len(hashes)))


def _nearness(vectors: Figures, weights: NDArray[np.float64], logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines to the weighted middle of the other texts, without the trend of the length."""
    middle = (weights.astype(np.float32) @ vectors).astype(np.float64)
    products = (vectors @ middle.astype(np.float32)).astype(np.float64)
    # The middle without the text itself: each row has length 1.
    own = products - weights
    lengths = np.sqrt(np.maximum(float(middle @ middle) - 2 * weights * products + weights**2, 1e-12))
    near: NDArray[np.float64] = own / lengths
    if len(near) >= _MIN_TEXTS_FOR_TREND and float(np.ptp(logs)) > 0:
        slope, start = np.polyfit(logs, near, 1)
        near = near - (slope * logs + start)
    return near
