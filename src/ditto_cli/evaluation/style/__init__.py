"""An author's texts, a base model's and other people's -> a judge of style: 0 sounds like others, 1 like the author.

Every measure is calibrated for the author at hand: its floor is what other people's texts get, its ceiling what the
author's own texts get when each is held against the rest. The other people and their texts are invented for ditto.
Knows nothing of contestants, prompts or files.

Legend: N own texts, M other texts, F features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from statistics import fmean, median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ditto_cli.evaluation.report import PanelMember
from ditto_cli.evaluation.style.features import MEASURES, Features, Measure, fold, normalise, words

Array = NDArray[np.float64]

ENCODER_MEASURE = "neural style encoder"
_ENCODER_PRIOR = 6.0  # as much as the character n-grams
_TYPICAL_SEPARATION = 0.8
_TYPICAL_TEXTS = 3  # own texts that the typical separation is worth
_ENOUGH_WORDS = 20
_TIE = 1e-9
_ONE_TEXT_NOTE = "Style is calibrated on other people's texts alone, because the author has one text only."
NO_VOICE = ""  # voice of a text of which it is not known who wrote it
_NUM_IMPOSTERS = 10
_FURTHEST = -1.0  # cosine of a text that is to be nobody's neighbour
_SMOOTHING = 0.5
_MIN_TEXTS = 2
_PRIOR_TEXTS = 3.0
_MAX_DEVIATION = 3.0


class BackgroundText(BaseModel):
    """A text in an invented voice; texts of one `voice` are meant to be by one person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str
    kind: str
    text: str


@cache
def read_background() -> tuple[BackgroundText, ...]:
    """The shipped texts, those of a voice one after the other."""
    lines = (files("ditto_cli.evaluation") / "data" / "background.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(BackgroundText.model_validate_json(line) for line in lines)


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

    @property
    def same_author(self) -> Array:
        """Raw scores of texts against others of their own author: this one's, or anybody's when there is one text."""
        return self.own if len(self.own) else self.mates

    def value(self, raw: Array | float) -> Array:
        """Raw scores -> 0 at the mean of the others, 1 at the mean of the author's, and bent beyond."""
        floor = self.others.mean()
        # A measure that hardly separates must not blow up small differences.
        return bent((raw - floor) / max(self.same_author.mean() - floor, self.others.std(), 1e-9))

    @property
    def separation(self) -> float:
        """Share of (own, other) pairs in which the own text is nearer."""
        ahead = self.same_author[:, None] - self.others[None, :]
        return float(((ahead > _TIE) + 0.5 * (np.abs(ahead) <= _TIE)).mean())


class ImposterProfile:
    """Mean cosine to the own texts, less the mean cosine to the nearest ten other texts.

    Taking the nearest others away makes the question "is it nearer to the author than to whoever else comes close?",
    as in the impostors method of Koppel and Winter (2014), and so cancels what the text shares with its genre.
    """

    def __init__(self, own_NF: Array, others_MF: Array, voices: Sequence[str]) -> None:
        self._own, self._others = _unit(own_NF), _unit(others_MF)
        labels = np.array(voices)
        similar_MM = self._others @ self._others.T
        # A person whom the panel never saw has no text of their own among the others; so they are left out here too.
        nearest_M = _mean_of_largest(np.where(labels[:, None] == labels[None, :], _FURTHEST, similar_MM))
        own_NN = self._own @ self._own.T
        num = len(own_NN)
        own = (own_NN.sum(axis=1) - own_NN.diagonal()) / max(1, num - 1)
        self.calibration = Calibration(
            own=(own - _mean_of_largest(self._own @ self._others.T))[: num if num > 1 else 0],
            others=(self._others @ self._own.T).mean(axis=1) - nearest_M,
            mates=(similar_MM - nearest_M[:, None])[_mates(voices)],
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
        self._fitted = self._fit(own_NF)
        num = len(own_NF)
        rest = [np.delete(own_NF, row, axis=0) for row in range(num)] if num > 1 else []
        self.calibration = Calibration(
            own=np.array([_nearness(own_NF[row], *self._fit(part)) for row, part in enumerate(rest)]),
            others=_nearness(others_MF, *self._fitted),
            mates=_nearness(others_MF[:, None], others_MF[None], self._general)[_mates(voices)],
        )

    def score(self, vector: Array, excluded: Sequence[int]) -> float:
        """Raw score of a vector [F]; single other texts play no part in it."""
        return float(_nearness(vector, *self._fitted))

    def _fit(self, own_NF: Array) -> tuple[Array, Array]:
        """Mean and variance."""
        mean = own_NF.mean(axis=0)
        squares = ((own_NF - mean) ** 2).sum(axis=0)
        return mean, (_PRIOR_TEXTS * self._general + squares) / (_PRIOR_TEXTS + len(own_NF) - 1)


class SparseVectors:
    """Features -> vectors over the names that two of the texts share, each in units of how much one writer varies.

    The units are a within-writer spread, not the spread over everybody as in Burrows' Delta: a word that a person uses
    unevenly tells little about them. The smallest spreads are smoothed, else rare names would rule.
    """

    def __init__(self, own: Sequence[Features], others: Sequence[Features], voices: Sequence[str]) -> None:
        seen = Counter(name for features in (*own, *others) for name in features)
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
            known = {columns[name]: value for name, value in features.items() if name in columns}
            row[list(known)] = list(known.values())
        return (rows - self._mean) / self._spread


def within_voice_variance(texts_MF: Array, voices: Sequence[str]) -> Array:
    """Mean over voices with several texts of a figure's unbiased variance within the voice: [F]."""
    labels = np.array(voices)
    by_voice = [texts_MF[labels == voice] for voice in sorted(set(voices) - {NO_VOICE})]
    several = [own for own in by_voice if len(own) > 1]
    total = sum((own.var(axis=0, ddof=1) * len(own) for own in several), start=np.zeros(texts_MF.shape[1]))
    return np.asarray(total / max(1, sum(map(len, several))))


def _mates(voices: Sequence[str]) -> NDArray[np.bool_]:
    """Which texts are two of one voice: [M, M]."""
    labels = np.array(voices)
    same_voice = (labels[:, None] == labels[None, :]) & (labels != NO_VOICE)[:, None]
    return np.asarray(same_voice & ~np.eye(len(labels), dtype=bool))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12))


def _mean_of_largest(similar: Array) -> Array:
    return np.asarray(np.sort(similar, axis=-1)[..., -_NUM_IMPOSTERS:].mean(axis=-1))


def _nearness(vectors: Array, mean: Array, variance: Array) -> Array:
    return np.asarray(-np.minimum((vectors - mean) ** 2 / variance, _MAX_DEVIATION**2).mean(axis=-1))


@dataclass(frozen=True)
class PanelScore:
    """Where a text lies: 0 like others, 1 like the author's own other texts; each value within -0.5 and 1.5.

    `total` is the weighted mean of `members`, which are by measure.
    """

    total: float
    members: Mapping[str, float]


@dataclass(frozen=True)
class FittedMeasure:
    """A measure fitted to one author: what makes vectors of features, and the profile that scores them."""

    measure: Measure
    matrix: Callable[[Sequence[Any]], Array]
    profile: ImposterProfile | SpreadProfile

    def value(self, text: str, excluded: Sequence[int]) -> float:
        """0 at the floor, 1 at the ceiling."""
        vector = self.matrix([self.measure.features(text)])[0]
        return float(self.profile.calibration.value(self.profile.score(vector, excluded)))

    @property
    def own_value(self) -> float:
        """Mean value of the own texts, each held against the rest; 1 where there is one only."""
        own = self.profile.calibration.own
        return float(self.profile.calibration.value(own).mean()) if len(own) else 1.0

    @property
    def unscaled_weight(self) -> float:
        """The prior, times how far the separation is from chance; few own texts count with a typical separation."""
        calibration = self.profile.calibration
        num = len(calibration.own)
        likely = (num * calibration.separation + _TYPICAL_TEXTS * _TYPICAL_SEPARATION) / (num + _TYPICAL_TEXTS)
        return self.measure.prior * max(0.0, 2 * likely - 1)


class StylePanel:
    """Measures of style that are calibrated for one author."""

    def __init__(self, own: Sequence[str], background: Sequence[str], *, encoder: TextEncoder | None = None) -> None:
        """Fit the measures.

        Args:
            own: the author's demonstrations, blank ones are left out.
            background: samples of the base model and any other texts that are not the author's; the shipped texts in
                other voices are always added, and of more texts than those an evenly spread part is taken.
            encoder: a neural style encoder, as one measure more.
        """
        texts = [clean for text in own if (clean := normalise(text))]
        assert texts, "a style is known from texts"
        known = {fold(text) for text in texts}
        shipped = {c: item.voice for item in read_background() if fold(c := normalise(item.text)) not in known}
        cleaned = dict.fromkeys(normalise(text) for text in background)
        given = [text for text in cleaned if text and fold(text) not in known]
        if len(given) > len(shipped):
            given = [given[round(at)] for at in np.linspace(0, len(given) - 1, len(shipped))]
        others, voices = [*shipped, *given], [*shipped.values(), *[NO_VOICE] * len(given)]
        self._others = [fold(text) for text in others]
        self._typical_words = median(len(words(text)) for text in texts)
        self.notes = (_ONE_TEXT_NOTE,) if len(texts) == 1 else ()

        self._members: list[FittedMeasure] = []
        for measure in MEASURES:
            own_features, other_features = ([_features(measure, text) for text in part] for part in (texts, others))
            matrix = SparseVectors(own_features, other_features, voices).matrix if measure.sparse else _dense_matrix
            profile = ImposterProfile if measure.sparse else SpreadProfile
            fitted = profile(matrix(own_features), matrix(other_features), voices)
            self._members.append(FittedMeasure(measure, matrix, fitted))
        if encoder is not None:
            own_NF, others_MF = (np.asarray(encoder.encode(part), dtype=np.float64) for part in (texts, others))
            centre: Array = others_MF.mean(axis=0)

            def encode_all(texts: Sequence[str]) -> Array:
                return np.asarray(np.asarray(encoder.encode(texts), dtype=np.float64) - centre)

            measure = Measure(ENCODER_MEASURE, _ENCODER_PRIOR, str, sparse=False)
            fitted = ImposterProfile(own_NF - centre, others_MF - centre, voices)
            self._members.append(FittedMeasure(measure, encode_all, fitted))
        total = sum(member.unscaled_weight for member in self._members)
        self._weights = {member.measure.name: member.unscaled_weight / total for member in self._members}
        self.members = tuple(
            PanelMember(measure=name, separation=member.profile.calibration.separation, weight=weight)
            for member, (name, weight) in zip(self._members, self._weights.items(), strict=True)
        )

    def score(self, text: str) -> PanelScore:
        """Where one text lies; a text of a few words never lies above the floor."""
        clean = normalise(text)
        return self._score([clean], [clean])

    def score_pooled(self, texts: Sequence[str]) -> PanelScore:
        """Where somebody's texts lie together.

        Short texts are read one after the other until they are as long as the author's usual one, since the figures of
        a hundred words are mostly chance; measures of layout and greeting look at every text by itself.
        """
        clean = [normalise(text) for text in texts]
        return self._score(clean, _join(clean, self._typical_words))

    def own_scores(self) -> PanelScore:
        """Where the author's own texts lie, each held against the rest: the ceiling as it really is."""
        return self._weigh({member.measure.name: member.own_value for member in self._members}, 1.0)

    def _score(self, texts: Sequence[str], pieces: Sequence[str]) -> PanelScore:
        """Where texts lie by the mean of each measure; `pieces` are the same for measures that join short texts."""

        def value(member: FittedMeasure, text: str) -> float:
            same = fold(text)  # nobody is their own imposter
            return member.value(text, [index for index, other in enumerate(self._others) if other == same])

        values = {
            member.measure.name: fmean(value(member, text) for text in (pieces if member.measure.joins else texts))
            for member in self._members
        }
        # 0 for at most one word, 1 from twenty words on (from half the author's usual length if that is less).
        enough = max(2.0, min(_ENOUGH_WORDS, self._typical_words / 2))
        evidence = fmean(min(1.0, max(0.0, (len(words(text)) - 1) / (enough - 1))) for text in texts)
        return self._weigh(values, evidence)

    def _weigh(self, values: Mapping[str, float], evidence: float) -> PanelScore:
        members = {name: value * evidence if value > 0 else value for name, value in values.items()}
        return PanelScore(sum(self._weights[name] * value for name, value in members.items()), members)


@lru_cache(maxsize=2048)
def _features(measure: Measure, text: str) -> Any:
    """Those of a text; the shipped ones are read for every author."""
    return measure.features(text)


def _dense_matrix(texts: Sequence[Features]) -> Array:
    return np.stack([np.array(list(features.values())) for features in texts])


def _join(texts: Sequence[str], num_words: float) -> list[str]:
    """The texts in their order, joined until a piece has `num_words`; a short rest goes to the last piece."""
    pieces: list[str] = []
    piece = ""
    for text in texts:
        piece = f"{piece}\n\n{text}" if piece else text
        if len(words(piece)) >= num_words:
            pieces.append(piece)
            piece = ""
    if not pieces or len(words(piece)) >= num_words / 2:
        return [*pieces, piece]
    return [*pieces[:-1], f"{pieces[-1]}\n\n{piece}"] if piece else pieces


def bent(value: Array | float) -> Array:
    """What lies below 0 or above 1 bent so as to stay within -0.5 and 1.5."""
    beyond = value - np.clip(value, 0.0, 1.0)
    return np.asarray(np.clip(value, 0.0, 1.0) + 0.5 * np.tanh(2 * beyond))
