"""Vectors of the author's and of other people's texts -> how near another text is to the author, as a raw score.

Higher is nearer; what a raw score is worth, the panel finds by calibration. Knows no text and no measure.

Legend: N own texts, M other texts, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ditto_cli.evaluation.style.features import Features

Array = NDArray[np.float64]

NO_VOICE = ""  # voice of a text of which it is not known who wrote it
_NUM_IMPOSTERS = 10
_FURTHEST = -1.0  # cosine of a text that is to be nobody's neighbour
_SMOOTHING = 0.5
_MIN_TEXTS = 2
_PRIOR_TEXTS = 3.0
_MAX_DEVIATION = 3.0


class TextEncoder(Protocol):
    """A neural style encoder; an optional further measure of the panel."""

    def encode(self, texts: Sequence[str]) -> NDArray[Any]:
        """One vector for each text: [texts, size]."""


@dataclass(frozen=True)
class Calibration:
    """Raw scores of texts whose author is known.

    Attributes:
        own: each own text against the other own texts; empty when there is one.
        others: each other text against the own texts.
        mates: each other text against a second one of its voice: what "the same author" is worth in general.
    """

    own: Array
    others: Array
    mates: Array


class Profile(Protocol):
    """What is kept of the own and the other texts under one measure."""

    calibration: Calibration

    def score(self, vector: Array, excluded: Sequence[int]) -> float:
        """Raw score of a vector [F]; the other texts of `excluded` take no part."""


class ImposterProfile:
    """Mean cosine to the own texts, less the mean cosine to the nearest ten other texts.

    Taking the nearest others away makes the question "is it nearer to the author than to whoever else comes close?",
    as in the impostors method of Koppel and Winter (2014), and so cancels what the text shares with its genre.
    """

    def __init__(self, own_NF: Array, others_MF: Array, voices: Sequence[str]) -> None:
        self._own, self._others = _unit(own_NF), _unit(others_MF)
        labels = np.array(voices)
        same_voice = labels[:, None] == labels[None, :]
        similar_MM = self._others @ self._others.T
        # A person whom the panel never saw has no text of their own among the others; so they are left out here too.
        nearest_M = _mean_of_largest(np.where(same_voice, _FURTHEST, similar_MM))
        pairs = same_voice & (labels != NO_VOICE)[:, None] & ~np.eye(len(labels), dtype=bool)
        own_NN = self._own @ self._own.T
        num = len(own_NN)
        own = (own_NN.sum(axis=1) - own_NN.diagonal()) / max(1, num - 1)
        self.calibration = Calibration(
            own=(own - _mean_of_largest(self._own @ self._others.T))[: num if num > 1 else 0],
            others=(self._others @ self._own.T).mean(axis=1) - nearest_M,
            mates=(similar_MM - nearest_M[:, None])[pairs],
        )

    def score(self, vector: Array, excluded: Sequence[int]) -> float:
        """Raw score of a vector [F]; the other texts of `excluded` take no part."""
        unit = _unit(vector)
        others = self._others @ unit
        others[list(excluded)] = _FURTHEST
        return float((self._own @ unit).mean() - _mean_of_largest(others))


class SpreadProfile:
    """Minus the mean squared deviation from the own texts, each figure in units of how much one writer varies.

    The spread is the author's own, shrunk towards that within the voices of the others; a deviation counts at most 3.
    """

    def __init__(self, own_NF: Array, others_MF: Array, voices: Sequence[str]) -> None:
        self._general = within_voice_variance(others_MF, voices) + 1e-4 * others_MF.var(axis=0) + 1e-9
        self._mean, self._variance = self._fitted(own_NF)
        num = len(own_NF)
        rest = [np.delete(own_NF, row, axis=0) for row in range(num)] if num > 1 else []
        labels = np.array(voices)
        pairs = (labels[:, None] == labels[None, :]) & (labels != NO_VOICE)[:, None] & ~np.eye(len(labels), dtype=bool)
        self.calibration = Calibration(
            own=np.array([_nearness(own_NF[row], *self._fitted(part)) for row, part in enumerate(rest)]),
            others=_nearness(others_MF, self._mean, self._variance),
            mates=_nearness(others_MF[:, None], others_MF[None], self._general)[pairs],
        )

    def score(self, vector: Array, excluded: Sequence[int]) -> float:
        """Raw score of a vector [F]; single other texts play no part in it."""
        return float(_nearness(vector, self._mean, self._variance))

    def _fitted(self, own_NF: Array) -> tuple[Array, Array]:
        mean = own_NF.mean(axis=0)
        squares = ((own_NF - mean) ** 2).sum(axis=0)
        return mean, (_PRIOR_TEXTS * self._general + squares) / (_PRIOR_TEXTS + len(own_NF) - 1)


class SparseVectors:
    """Features -> vectors over the names that two of the texts share, each in units of how much one writer varies.

    The units are a within-writer spread, not the spread over everybody as in Burrows' Delta: a word that a person uses
    unevenly tells little about them. The smallest spreads are smoothed, else rare names would rule.
    """

    def __init__(self, own: Sequence[Features], others: Sequence[Features], voices: Sequence[str]) -> None:
        seen: dict[str, int] = {}
        for features in (*own, *others):
            for name in features:
                seen[name] = seen.get(name, 0) + 1
        self._columns = {name: column for column, name in enumerate(sorted(n for n in seen if seen[n] >= _MIN_TEXTS))}
        self._mean, self._spread = np.zeros(len(self._columns)), np.ones(len(self._columns))
        own_NF, others_MF = self.matrix(own), self.matrix(others)
        variance = within_voice_variance(np.concatenate([others_MF, own_NF]), [*voices, *["the author"] * len(own)])
        self._spread = np.sqrt(variance + _SMOOTHING**2 * np.median(variance) + 1e-12)
        self._mean = others_MF.mean(axis=0)

    def matrix(self, texts: Sequence[Features]) -> Array:
        """One row a text: [texts, F]."""
        rows = np.zeros((len(texts), len(self._columns)))
        columns = self._columns
        for row, features in zip(rows, texts, strict=True):
            known = [(columns[name], value) for name, value in features.items() if name in columns]
            if known:
                places, values = zip(*known, strict=True)
                row[list(places)] = values
        return (rows - self._mean) / self._spread


def within_voice_variance(texts_MF: Array, voices: Sequence[str]) -> Array:
    """Mean over voices with several texts of a figure's unbiased variance within the voice: [F]."""
    labels = np.array(voices)
    names = [name for name in sorted(set(voices)) if name != NO_VOICE and (labels == name).sum() > 1]
    variances = [(texts_MF[labels == name].var(axis=0, ddof=1), int((labels == name).sum())) for name in names]
    total = sum((variance * count for variance, count in variances), start=np.zeros(texts_MF.shape[1]))
    return np.asarray(total / max(1, sum(count for _, count in variances)))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12))


def _mean_of_largest(similar: Array) -> Array:
    return np.asarray(np.sort(similar, axis=-1)[..., -_NUM_IMPOSTERS:].mean(axis=-1))


def _nearness(vectors: Array, mean: Array, variance: Array) -> Array:
    return np.asarray(-np.minimum((vectors - mean) ** 2 / variance, _MAX_DEVIATION**2).mean(axis=-1))
