"""An author's texts, a base model's and other people's -> a judge of style: 0 sounds like others, 1 like the author.

Every measure is calibrated for the author at hand: its floor is what other people's texts get, its ceiling what the
author's own texts get when each is held against the rest. The other people and their texts are invented for ditto.
Knows nothing of contestants, prompts or files.

Legend: N own texts, M other texts, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from statistics import fmean, median
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ditto_cli.errors import InputError
from ditto_cli.evaluation.report import PanelMember
from ditto_cli.evaluation.style.features import MEASURES, Features, Measure, folded, normalised, words

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


@dataclass(frozen=True)
class PanelScore:
    """Where a text lies: 0 like others, 1 like the author's own other texts; each value within -0.5 and 1.5.

    `total` is the weighted mean of `members`, which are by measure.
    """

    total: float
    members: Mapping[str, float]


class _Texts:
    """What a panel is fitted on, normalised: the author's, other people's, and who wrote which of these."""

    def __init__(self, own: Sequence[str], background: Sequence[str]) -> None:
        self.own = [clean for text in own if (clean := normalised(text))]
        if not self.own:
            raise InputError("The style panel was given no text of the author, and cannot know a style from none.")
        known = {folded(text) for text in self.own}
        shipped = {c: item.voice for item in read_background() if folded(c := normalised(item.text)) not in known}
        cleaned = dict.fromkeys(normalised(text) for text in background)
        given = [text for text in cleaned if text and folded(text) not in known]
        if len(given) > len(shipped):
            given = [given[round(at)] for at in np.linspace(0, len(given) - 1, len(shipped))]
        self.others = [*shipped, *given]
        self.voices = [*shipped.values(), *[NO_VOICE] * len(given)]


@dataclass(frozen=True)
class FittedMeasure:
    """A measure fitted to one author: its vectors, their profile, and what a raw score is worth."""

    name: str
    prior: float
    joins: bool
    vector: Callable[[str], Array]
    profile: Profile

    def value(self, text: str, excluded: Sequence[int]) -> float:
        """0 at the floor, 1 at the ceiling."""
        return float(_calibrated(np.array(self.profile.score(self.vector(text), excluded)), self.profile.calibration))

    @property
    def own_value(self) -> float:
        """Mean value of the own texts, each held against the rest; 1 where there is one only."""
        own = self.profile.calibration.own
        return float(_calibrated(own, self.profile.calibration).mean()) if len(own) else 1.0

    @property
    def separation(self) -> float:
        """Share of (own, other) pairs in which the own text is nearer."""
        calibration = self.profile.calibration
        ahead = _known(calibration)[:, None] - calibration.others[None, :]
        return float(((ahead > _TIE) + 0.5 * (np.abs(ahead) <= _TIE)).mean())

    @property
    def unscaled_weight(self) -> float:
        """The prior, times how far the separation is from chance; few own texts count with a typical separation."""
        num = len(self.profile.calibration.own)
        likely = (num * self.separation + _TYPICAL_TEXTS * _TYPICAL_SEPARATION) / (num + _TYPICAL_TEXTS)
        return self.prior * max(0.0, 2 * likely - 1)


class StylePanel:
    """Measures of style that were calibrated for one author; made by `fit`."""

    def __init__(self, members: Sequence[FittedMeasure], texts: _Texts, notes: tuple[str, ...]) -> None:
        total = sum(member.unscaled_weight for member in members)
        self._members = tuple(members)
        self._weights = {member.name: member.unscaled_weight / total for member in members}
        self._others = [folded(text) for text in texts.others]
        self._typical_words = median(len(words(text)) for text in texts.own)
        self._scores: dict[str, PanelScore] = {}
        self.notes = notes
        self.members = tuple(
            PanelMember(measure=member.name, separation=member.separation, weight=self._weights[member.name])
            for member in members
        )

    @classmethod
    def fit(cls, own: Sequence[str], background: Sequence[str], *, encoder: TextEncoder | None = None) -> StylePanel:
        """A panel for one author.

        Args:
            own: the author's demonstrations, blank ones are left out.
            background: samples of the base model and any other texts that are not the author's; the shipped texts in
                other voices are always added, and of more texts than those an evenly spread part is taken.
            encoder: a neural style encoder, as one measure more.

        Raises:
            InputError: there is no text of the author.
        """
        texts = _Texts(own, background)
        members = [_fit_sparse(m, texts) if m.sparse else _fit_dense(m, texts) for m in MEASURES]
        if encoder is not None:
            members.append(_fit_encoder(encoder, texts))
        return cls(members, texts, (_ONE_TEXT_NOTE,) if len(texts.own) == 1 else ())

    def score(self, text: str) -> PanelScore:
        """Where one text lies; a text of a few words never lies above the floor."""
        if text not in self._scores:
            clean = normalised(text)
            self._scores[text] = self._weighted(
                {member.name: member.value(clean, self._same_as(clean)) for member in self._members},
                self._evidence(clean),
            )
        return self._scores[text]

    def score_pooled(self, texts: Sequence[str]) -> PanelScore:
        """Where somebody's texts lie together.

        Short texts are read one after the other until they are as long as the author's usual one, since the figures of
        a hundred words are mostly chance; measures of layout and greeting look at every text by itself.
        """
        clean = [normalised(text) for text in texts]
        pieces = _joined(clean, self._typical_words)
        values = {
            member.name: fmean(member.value(text, self._same_as(text)) for text in (pieces if member.joins else clean))
            for member in self._members
        }
        return self._weighted(values, fmean(self._evidence(text) for text in clean))

    def own_scores(self) -> PanelScore:
        """Where the author's own texts lie, each held against the rest: the ceiling as it really is."""
        return self._weighted({member.name: member.own_value for member in self._members}, 1.0)

    def _weighted(self, values: Mapping[str, float], evidence: float) -> PanelScore:
        members = {name: value * evidence if value > 0 else value for name, value in values.items()}
        return PanelScore(sum(self._weights[name] * value for name, value in members.items()), members)

    def _evidence(self, text: str) -> float:
        """0 for at most one word, 1 from twenty words on (from half the author's usual length if that is less)."""
        enough = max(2.0, min(_ENOUGH_WORDS, self._typical_words / 2))
        return min(1.0, max(0.0, (len(words(text)) - 1) / (enough - 1)))

    def _same_as(self, text: str) -> list[int]:
        """Which of the others are this very text: nobody is their own imposter."""
        same = folded(text)
        return [index for index, other in enumerate(self._others) if other == same]


def _fit_sparse(measure: Measure, texts: _Texts) -> FittedMeasure:
    own, others = ([measure.features(text) for text in part] for part in (texts.own, texts.others))
    space = SparseVectors(own, others, texts.voices)
    profile = ImposterProfile(space.matrix(own), space.matrix(others), texts.voices)
    return FittedMeasure(
        measure.name, measure.prior, measure.joins, lambda text: space.matrix([measure.features(text)])[0], profile
    )


def _fit_dense(measure: Measure, texts: _Texts) -> FittedMeasure:
    def vector(text: str) -> Array:
        return np.array(list(measure.features(text).values()))

    own, others = (np.stack([vector(text) for text in part]) for part in (texts.own, texts.others))
    return FittedMeasure(measure.name, measure.prior, measure.joins, vector, SpreadProfile(own, others, texts.voices))


def _fit_encoder(encoder: TextEncoder, texts: _Texts) -> FittedMeasure:
    own, others = (np.asarray(encoder.encode(part), dtype=np.float64) for part in (texts.own, texts.others))
    centre: Array = others.mean(axis=0)

    def vector(text: str) -> Array:
        encoded: Array = np.asarray(encoder.encode([text])[0], dtype=np.float64)
        return encoded - centre

    profile = ImposterProfile(own - centre, others - centre, texts.voices)
    return FittedMeasure(ENCODER_MEASURE, _ENCODER_PRIOR, True, vector, profile)


def _joined(texts: Sequence[str], num_words: float) -> list[str]:
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


def _known(calibration: Calibration) -> Array:
    """Raw scores of texts against others of their own author: this author's, or anybody's when there is one text."""
    return calibration.own if len(calibration.own) else calibration.mates


def _calibrated(raw: Array, calibration: Calibration) -> Array:
    """Raw scores -> 0 at the mean of the others, 1 at the mean of the author's, and bent beyond."""
    floor = calibration.others.mean()
    # A measure that hardly separates must not blow up small differences.
    scale = max(_known(calibration).mean() - floor, calibration.others.std(), 1e-9)
    return bent((raw - floor) / scale)


def bent(value: Array | float) -> Array:
    """What lies below 0 or above 1 bent so as to stay within -0.5 and 1.5."""
    beyond = value - np.clip(value, 0.0, 1.0)
    return np.asarray(np.clip(value, 0.0, 1.0) + 0.5 * np.tanh(2 * beyond))
