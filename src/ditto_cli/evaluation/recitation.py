"""Texts against demonstrations -> how much of them is recited: passages, 8-grams of words, whole texts. No torch.

Words are compared without case, accents and punctuation. What two demonstrations have in common (a greeting, a
signature) is the author's habit and does not count. Knows nothing of prompts: a passage that a prompt asked for counts
as recited all the same.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ditto_cli.evaluation.personal_data import echoed_personal_data
from ditto_cli.evaluation.report import Leakage
from ditto_cli.evaluation.types import Writing
from ditto_cli.types import Demonstration

# Of 109 texts by 20 authors (CMCC emails and essays, CCAT50 news; 65 to 780 words), the longest passage that a text
# shares with seven others of its author has 4 words in the median; 96 % have 12 or fewer, the longest has 24. An author
# who repeats longer passages by nature is allowed half as much again.
PASSAGE_LIMIT_WORDS = 12
OWN_PASSAGE_FACTOR = 1.5
# Of the same 109 texts, 108 share less than 3 % of their 8-grams, and one shares 15 %.
SHARED_8GRAMS_LIMIT = 0.20
# In a text of fewer 8-grams, a single everyday phrase is more than that share.
_MIN_8GRAMS = 10
# A demonstration counts as copied whole from this share of its words on; under six, anybody might have written it.
_WHOLE_SHARE = 0.9
_WHOLE_WORDS = 6

# Shorter passages that two demonstrations share are plain language, not a greeting or a signature.
_HABIT_WORDS = 4
# A demonstration that shares more than half of its words with another, and more than a long signature has, is another
# version of the same text (reporters file a story twice), and shows no habit.
_VERSION_SHARE = 0.5
_VERSION_WORDS = 60

# Han and kana have no spaces between words: each character counts as one.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_WORD = re.compile(rf"[{_UNSPACED}]|(?:(?![{_UNSPACED}])[^\W_])+(?:'[^\W_]+)*")


def words(text: str) -> list[str]:
    """The words of a text for comparison: case folded, without accents, punctuation and invisible characters."""
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text.replace("\u2019", "'"))
        # M: combining marks; Cf: soft hyphens and zero-width characters, which would cut a word in two.
        kinds = {char: unicodedata.category(char) for char in set(decomposed)}
        text = "".join(char for char in decomposed if kinds[char][0] != "M" and kinds[char] != "Cf")
    return _WORD.findall(text.casefold())


def ngrams(text: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All runs of `n` words, in their order."""
    return [tuple(text[start : start + n]) for start in range(len(text) - n + 1)]


def own_passage(text: str, reference: str, others: Sequence[str]) -> int:
    """Words of the longest passage that `text` shares with `reference`, less those that `others` have as well."""
    return _run(words(text), _reference(words(reference), [words(other) for other in others])).own


def is_version(text: str, demonstrations: Sequence[Demonstration]) -> bool:
    """Whether a text is a demonstration, or another version of one: it then shows nothing about texts of the author."""
    own = words(text)
    shared = [len(_shared_positions(own, words(demonstration.completion))) for demonstration in demonstrations]
    whole = _WHOLE_SHARE * len(own) if len(own) >= _WHOLE_WORDS else math.inf
    return any(num >= whole or num > max(_VERSION_WORDS, _VERSION_SHARE * len(own)) for num in shared)


def leakage(
    writings: Sequence[Writing],
    demonstrations: Sequence[Demonstration],
    held_out: Sequence[str],
    extracted_words: int | None,
) -> Leakage:
    """What a contestant's writings recite of the demonstrations; what is the author's habit counts nowhere.

    Args:
        writings: of one contestant.
        demonstrations: what it could recite.
        held_out: the author's other texts, to know how much of the demonstrations they repeat by nature; versions of a
            demonstration do not count.
        extracted_words: what `extraction` found; None if it was not run.
    """
    references = _references(demonstrations)
    known = _own_8grams(references)
    texts = [words(writing.text) for writing in writings]
    others = [text for text in held_out if not is_version(text, demonstrations)]
    return Leakage(
        longest_passage_words=max((_run(text, other).own for text in texts for other in references), default=0),
        shared_8grams=_share(texts, known, 8),
        held_out_8grams=_share([words(text) for text in others], known, 8) if others else None,
        extracted_words=extracted_words,
        personal_data=echoed_personal_data(writings, demonstrations),
    )


def recitation_check(demonstrations: Sequence[Demonstration], held_out: Sequence[str]) -> Callable[[str], str | None]:
    """A function that says why a text counts as recited, in a few words without any of it; None if it does not.

    Args:
        demonstrations: what a contestant could recite.
        held_out: the author's other texts; what they repeat of the demonstrations by nature is allowed.
    """
    references = _references(demonstrations)
    known = _own_8grams(references)
    authors = [words(text) for text in held_out if not is_version(text, demonstrations)]
    natural_words = max((_run(text, other).own for text in authors for other in references), default=0)
    words_limit = max(PASSAGE_LIMIT_WORDS, int(OWN_PASSAGE_FACTOR * natural_words))
    share_limit = _share(authors, known, 8) + SHARED_8GRAMS_LIMIT

    def check(text: str) -> str | None:
        own = words(text)
        runs = [_run(own, reference) for reference in references]
        for run, reference in zip(runs, references, strict=True):
            if run.length >= _WHOLE_SHARE * len(reference.words) and run.own >= _WHOLE_WORDS:
                return "it is one of the demonstrations, nearly word for word"
        longest = max((run.own for run in runs), default=0)
        if longest > words_limit:
            return f"it has {longest} words in a row from a demonstration (limit {words_limit})"
        share = _share([own], known, 8)
        if share > share_limit and len(own) >= _MIN_8GRAMS + 7:
            return f"{share:.0%} of its 8-word passages stand in a demonstration (limit {share_limit:.0%})"
        return None

    return check


@dataclass(frozen=True)
class _Reference:
    """A text to be recited.

    Attributes:
        words: of the text.
        positions: where each word stands.
        habit: how many of the first 0, 1, 2, ... words lie in passages that are the author's habit.
    """

    words: list[str]
    positions: dict[str, list[int]]
    habit: list[int]


@dataclass(frozen=True)
class _Run:
    """Words of the longest passage shared with a reference: all (`length`), and those that are no habit (`own`)."""

    length: int
    own: int


def _references(demonstrations: Sequence[Demonstration]) -> list[_Reference]:
    # The same text twice is one text, not a habit.
    texts = list(dict.fromkeys(tuple(words(demonstration.completion)) for demonstration in demonstrations))
    return [_reference(text, [other for other in texts if other is not text]) for text in texts]


def _reference(text: Sequence[str], others: Sequence[Sequence[str]]) -> _Reference:
    positions = defaultdict(list)
    for position, word in enumerate(text):
        positions[word].append(position)
    habitual = [False] * len(text)
    for other in others:
        shared = _shared_positions(text, other)
        if len(shared) <= max(_VERSION_WORDS, _VERSION_SHARE * len(text)):
            for position in shared:
                habitual[position] = True
    return _Reference(list(text), dict(positions), list(accumulate(habitual, initial=0)))


def _shared_positions(text: Sequence[str], other: Sequence[str]) -> set[int]:
    """Where `text` has passages of at least `_HABIT_WORDS` words that `other` has too."""
    known = set(ngrams(other, _HABIT_WORDS))
    starts = [start for start, gram in enumerate(ngrams(text, _HABIT_WORDS)) if gram in known]
    return {start + offset for start in starts for offset in range(_HABIT_WORDS)}


def _run(text: Sequence[str], reference: _Reference) -> _Run:
    """The longest shared passages, by the lengths of those that end at each pair of equal words."""
    length = own = 0
    before: dict[int, int] = {}
    for word in text:
        ending = {position: before.get(position - 1, 0) + 1 for position in reference.positions.get(word, ())}
        for position, run in ending.items():
            length = max(length, run)
            own = max(own, run - (reference.habit[position + 1] - reference.habit[position + 1 - run]))
        before = ending
    return _Run(length, own)


def _own_8grams(references: Sequence[_Reference]) -> set[tuple[str, ...]]:
    """The 8-grams that are not habit throughout."""
    return {
        gram
        for reference in references
        for start, gram in enumerate(ngrams(reference.words, 8))
        if reference.habit[start + 8] - reference.habit[start] < 8
    }


def _share(texts: Sequence[Sequence[str]], known: set[tuple[str, ...]], n: int) -> float:
    """Share of the texts' n-grams that are known; 0 if there are none."""
    grams = [gram for text in texts for gram in ngrams(text, n)]
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0
