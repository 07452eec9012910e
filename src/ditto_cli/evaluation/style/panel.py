"""An author's texts, a base model's and other people's -> a judge of style: 0 sounds like others, 1 like the author.

Every measure is calibrated for the author at hand: its floor is what other people's texts get, its ceiling what the
author's own texts get when each is held against the rest. Knows nothing of contestants, prompts or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import numpy as np

from ditto_cli.errors import InputError
from ditto_cli.evaluation.report import PanelMember
from ditto_cli.evaluation.style.background import read_background
from ditto_cli.evaluation.style.features import MEASURES, Measure
from ditto_cli.evaluation.style.profiles import (
    NO_VOICE,
    Array,
    Calibration,
    ImposterProfile,
    Profile,
    SparseVectors,
    SpreadProfile,
    TextEncoder,
)
from ditto_cli.evaluation.style.text import folded, normalised, words

ENCODER_MEASURE = "neural style encoder"
_ENCODER_PRIOR = 6.0  # as much as the character n-grams
_TYPICAL_SEPARATION = 0.8
_TYPICAL_TEXTS = 3  # own texts that the typical separation is worth
_ENOUGH_WORDS = 20
_TIE = 1e-9
_ONE_TEXT_NOTE = "Style is calibrated on other people's texts alone, because the author has one text only."


@dataclass(frozen=True)
class PanelScore:
    """Where a text lies: 0 like others, 1 like the author's own other texts; each value within -0.5 and 1.5.

    `total` is the weighted mean of `members`, which are by measure.
    """

    total: float
    members: Mapping[str, float]


@dataclass(frozen=True)
class _Texts:
    """What a panel is fitted on, normalised; `voices` say who wrote which of the others."""

    own: list[str]
    others: list[str]
    voices: list[str]


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
        texts = _gathered(own, background)
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

    def compare(self, first: str, second: str) -> float:
        """1 when `first` lies nearer to the author, 0 when `second` does, 0.5 for a tie."""
        if folded(first) == folded(second):
            return 0.5
        ahead = self.score(first).total - self.score(second).total
        return 0.5 if abs(ahead) <= _TIE else float(ahead > 0)

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


def _gathered(own: Sequence[str], background: Sequence[str]) -> _Texts:
    mine = [clean for text in own if (clean := normalised(text))]
    if not mine:
        raise InputError("The style panel was given no text of the author, and cannot know a style from none.")
    known = {folded(text) for text in mine}
    shipped = {clean: item.voice for item in read_background() if folded(clean := normalised(item.text)) not in known}
    given = [
        text for text in dict.fromkeys(normalised(text) for text in background) if text and folded(text) not in known
    ]
    if len(given) > len(shipped):
        given = [given[round(at)] for at in np.linspace(0, len(given) - 1, len(shipped))]
    return _Texts(mine, [*shipped, *given], [*shipped.values(), *[NO_VOICE] * len(given)])


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
