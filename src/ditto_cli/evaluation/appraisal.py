"""A text for a prompt -> how far it is the author's (style) and does what was asked (task), and both in one figure.

The task is how much of what was asked a text says: 0 like a text for another prompt, 1 like the author's own. It has
two halves, each a share of the prompt: of its content words those that stand in the text, and, where a model is loaded,
of its information what the text tells (`told_shares`). Calibrated for the author, as the style panel is.

A text that recites a demonstration or has collapsed into repetition is worth nothing: a copy is no writing in
somebody's style. No torch.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from random import Random
from statistics import fmean

from rapidfuzz import fuzz

from ditto_cli.demonstrations import language
from ditto_cli.demonstrations.authorship import closing_in
from ditto_cli.evaluation.eval_prompts import read_bank
from ditto_cli.evaluation.judgements import Author, Writing
from ditto_cli.evaluation.soundness import has_collapsed, recitation_check, repetition, shared_positions, words
from ditto_cli.evaluation.style import StylePanel, TextEncoder, bent, read_background
from ditto_cli.evaluation.style.features import masked_tokens, without_repeats
from ditto_cli.types import Demonstration

_PREFIX_LETTERS = 5
_MOST_ENDING = 3  # letters that an inflected word has more than the other
_MIN_ALIKE, _ALIKE_LETTERS = 85, 5  # of 100: a slip of the fingers
_ECHO_WORDS = 5
_FEW_WORDS = 5  # nothing can be said in fewer
_GREETING_WORDS = 4
_LENGTH = re.compile(r"\b\d+[- ]words?\b")  # "a 500 word essay"
_PIECE = re.compile(r"\d+|[^\W\d_]+(?:'[^\W\d_]+)*")
# Shares of the mean `order` of the author's own texts, below which words are shuffled, and from which on they are not.
_SALAD, _IN_ORDER = 0.15, 0.45
_MIN_ORDER = 0.15  # nats a word; below, as in other languages, order cannot be told
_SHUFFLES = 8
_STEEPNESS = 4.0
_PRIOR = 10.0  # times that a kind is seen before its own neighbours count as much as anybody's


class TaskScale:
    """The shares of a prompt that count as nothing and as all for one author.

    `told` is in every place what `model_figures.told_shares` gives for the same pairs.
    """

    def __init__(
        self,
        own: Sequence[Demonstration],
        others: Sequence[str] = (),
        *,
        own_told: Sequence[float] = (),
        others_told: Sequence[float] = (),
    ) -> None:
        """Calibrate between texts for other prompts and the author's own texts for their prompts.

        `others` are what the base wrote for the same prompts, in their order, to be held against the other prompts, or
        nothing: the shipped texts are always added. `others_told` are of prompts of `own` with texts for others.
        """
        texts = [item.text for item in read_background()]
        floor = [coverage(text.prompt, other) for text in own for other in texts]
        floor += [
            coverage(text.prompt, other)
            for text in own
            for asked, other in zip(own, others, strict=False)
            if asked.prompt != text.prompt
        ]
        self._words_scale = fmean(floor), fmean(coverage(text.prompt, text.completion) for text in own)
        self._told_scale = (fmean(others_told), fmean(own_told)) if own_told and others_told else None
        self._order = fmean(order(text.completion) for text in own)

    def value(self, prompt: str, text: str, told: float | None = None) -> float:
        """Between -0.5 and 1.5; what is no text, or the prompt itself, never lies above 0.

        Greeting and sign-off alone, repetition, the prompt's own phrases and words in no order count for nothing.
        """
        halves = [_on(self._words_scale, coverage(prompt, text))]
        if told is not None and self._told_scale is not None:
            halves.append(_on(self._told_scale, told))
        value = float(bent(fmean(halves)))
        if value <= 0:
            return value
        clean = without_repeats(text)
        num_own = len(words(_body(clean)))
        enough = min(1.0, max(0, num_own - _FEW_WORDS + 1) / _FEW_WORDS)
        sound = enough * (1 - echo_share(prompt, clean)) * (1 - repetition(text))
        if self._order >= _MIN_ORDER:
            sound *= min(1.0, max(0.0, (order(clean) / self._order - _SALAD) / (_IN_ORDER - _SALAD)))
        return value * sound


def coverage(prompt: str, text: str) -> float:
    """Share of the prompt's content words that the text has: the word, a form of it, or one letter off; 0 to 1."""
    wanted = content_words(prompt)
    if not wanted:
        return 1.0
    found = _pieces_of(text)
    return sum(word in found or any(_is_form(word, other) for other in found) for word in wanted) / len(wanted)


@cache
def nearest_texts(demonstrations: Sequence[Demonstration], prompt: str, num: int) -> tuple[Demonstration, ...]:
    """The `num` demonstrations that have most of the prompt's content words, the nearest last."""
    shares = {d.id: coverage(prompt, f"{d.prompt}\n{d.completion}") for d in demonstrations}
    return tuple(sorted(demonstrations, key=lambda d: shares[d.id])[max(0, len(demonstrations) - num) :])


@lru_cache(maxsize=1024)
def content_words(prompt: str) -> tuple[str, ...]:
    """The names, numbers and other words of a prompt that say what it is about, each once."""
    unsaid = _words_unsaid(language.language_of(prompt) or "en")
    asked = _LENGTH.sub(" ", prompt)
    return tuple(dict.fromkeys(_pieces(" ".join(word for word in words(asked) if word not in unsaid))))


@cache
def _words_unsaid(code: str) -> frozenset[str]:
    """Words that say nothing of what a text in a language is about."""
    bank = read_bank()
    nouns = {noun for kind in bank.kinds.values() for noun in (*kind.nouns, *kind.hints)}
    plain = bank.function_words | bank.describing_words | language.function_words(code) | nouns
    return frozenset(piece for word in plain for piece in words(word)) - (bank.numbers.keys() - {"one"})


def echo_share(prompt: str, text: str) -> float:
    """Share of the text's words that lie in runs of five which stand in the prompt."""
    own = words(text)
    return len(shared_positions(own, words(prompt), _ECHO_WORDS)) / len(own) if own else 0.0


def order(text: str) -> float:
    """How much better each kind of word fits the one before it than in the same words shuffled, in nats a word."""
    random = Random(0)
    pieces = text.split()
    shuffled = [" ".join(random.sample(pieces, len(pieces))) for _ in range(_SHUFFLES)]
    return _bond(text) - fmean(map(_bond, shuffled))


def _bond(text: str) -> float:
    """Mean pointwise mutual information of neighbours, words by case and ending, as the shipped texts have them."""
    singles, pairs, total = _kinds_of_background()
    bonds = []
    for left, right in pairwise(_kinds(text)):
        alone = (singles[right] + 1) / (total + len(singles))
        trust = singles[left] / (singles[left] + _PRIOR)
        after = pairs[left, right] / singles[left] if singles[left] else 0.0
        bonds.append(math.log((trust * after + (1 - trust) * alone) / alone))
    return fmean(bonds) if bonds else 0.0


@cache
def _kinds_of_background() -> tuple[Counter[str], Counter[tuple[str, str]], int]:
    singles: Counter[str] = Counter()
    pairs: Counter[tuple[str, str]] = Counter()
    for item in read_background():
        kinds = _kinds(item.text)
        singles.update(kinds)
        pairs.update(pairwise(kinds))
    return singles, pairs, singles.total()


def _kinds(text: str) -> list[str]:
    return [token for token in masked_tokens(text, language.function_words("en")) if not token.isspace()]


def _body(text: str) -> str:
    """The text without a greeting and what closes it."""
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and len(words(lines[0])) <= _GREETING_WORDS:
        del lines[0]
    for line in reversed(lines):
        if len(words(line)) > _GREETING_WORDS and closing_in(line) is None:
            break
        lines.pop()
    return "\n".join(lines)


@lru_cache(maxsize=1024)
def _pieces_of(text: str) -> frozenset[str]:
    """What a text has of them, each once."""
    return frozenset(_pieces(without_repeats(text)))


def _pieces(text: str) -> list[str]:
    """Words and numbers, "nine" and 9 alike."""
    numbers = read_bank().numbers
    found = (piece for word in words(text) for piece in _PIECE.findall(word))
    return [numbers.get(piece, piece.lstrip("0") or "0") for piece in found]


def _is_form(word: str, other: str) -> bool:
    """Whether two words are forms of one, or a letter apart; a number is that number only."""
    if word.isdigit() or other.isdigit() or min(len(word), len(other)) < 3:
        return False
    shorter, longer = sorted((word, other), key=len)
    if longer.startswith(shorter) and len(longer) - len(shorter) <= _MOST_ENDING:
        return True
    if len(shorter) < _ALIKE_LETTERS:
        return False
    return word[:_PREFIX_LETTERS] == other[:_PREFIX_LETTERS] or fuzz.ratio(word, other) >= _MIN_ALIKE


def _on(scale: tuple[float, float], value: float) -> float:
    floor, ceiling = scale
    return (value - floor) / max(ceiling - floor, 1e-3)


@dataclass(frozen=True)
class Appraisal:
    """Both axes, 0 like others or like a text for another prompt, 1 like the author.

    A faulty text (it recites, or repeats itself) has done nothing: its task is 0 at most.
    """

    style: float
    task: float
    is_faulty: bool = False

    @property
    def worth(self) -> float:
        """The chance that it is the author's, times the chance that it answers the prompt; 0 if it is faulty.

        Each axis becomes a chance by the logistic curve through 0.12 at 0, one half at 0.5 and 0.88 at 1.
        """
        return 0.0 if self.is_faulty else _chance(self.style) * _chance(self.task)


class Appraiser:
    """Panel, task scale and limit on recitation of one author."""

    def __init__(
        self,
        author: Author,
        base_texts: Sequence[str] = (),
        *,
        own_told: Sequence[float] = (),
        others_told: Sequence[float] = (),
        encoder: TextEncoder | None = None,
    ) -> None:
        """Calibrate both axes for an author.

        `base_texts` are what the base wrote for the demonstrations' prompts, in their order, or nothing; for the others
        see `TaskScale` and `StylePanel`.
        """
        self.panel = StylePanel(author.texts, base_texts, encoder=encoder)
        self.scale = TaskScale(author.demonstrations, base_texts, own_told=own_told, others_told=others_told)
        self._is_recited = recitation_check(author.learnt, [text.completion for text in author.held_out])

    def appraise(self, prompt: str, writing: Writing, told: float | None = None) -> Appraisal:
        """Where a writing lies; `told` is what `model_figures.told_shares` gives for it."""
        is_faulty = self._is_recited(writing.text) or has_collapsed(writing.text)
        task = self.scale.value(prompt, writing.text, told)
        return Appraisal(self.panel.score(writing.text).total, min(0.0, task) if is_faulty else task, is_faulty)

    def worth(self, prompt: str, writing: Writing) -> float:
        """The worth of a text that is to be taken; 0 if it was cut before its end."""
        return self.appraise(prompt, writing).worth if writing.ended else 0.0


def _chance(value: float) -> float:
    return 1 / (1 + math.exp(-_STEEPNESS * (value - 0.5)))
