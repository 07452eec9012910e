"""Writings -> whether they are texts of their own: what they recite, and whether they have collapsed. No torch.

Words are compared without case, accents and punctuation. What two demonstrations have in common (a greeting, a
signature) is the author's habit and does not count. Knows nothing of prompts: a passage that a prompt asked for counts
as recited all the same. DPO on few texts can collapse, into repetition, texts without an end or runaway length, while
its loss goes on falling.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from statistics import fmean

from ditto_cli.demonstrations.redaction import personal_data
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.report import Collapse, Leakage
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

# Of 250 texts by 20 people (CMCC, CCAT50), half repeat less than 0.5 % of their 4-grams, the 99th percentile is 3.6 %
# and the largest share 6.9 %; of 1,780 excerpts of 60 words these are 0, 3.5 and 13.8 %. What is beyond this loops.
REPETITION_LIMIT = 0.35
_MIN_WORDS = 8  # of fewer than five 4-grams, one is already a large share

# A small base loops now and then without having collapsed: stages of the embedded preset in 1 to 3 of 12 texts.
LOOPING_LIMIT = 0.25
ENDED_LIMIT = 0.5
# A sound SFT or DITTO stage of the embedded base writes 0.8 to 1.4 times the demonstrations' mean.
LENGTH_RATIO_LIMITS = (0.4, 2.0)

# Over many writings chance has more room than in one text (PASSAGE_LIMIT_WORDS): the longest passage that
# any held-out text shares with its author's demonstrations is at most 15 words for 19 of 20 authors, and 24 for one.
PASSAGE_WARNING_WORDS = 15
# Beyond the author's own rate, which is below 0.5 % for 19 of 20 authors and 2 % for one.
SHARED_8GRAMS_WARNING = 0.05
# The untrained embedded base, which cannot know them, goes on with 1 to 6 words of 23 people's demonstrations; SFT and
# DITTO stages of the embedded preset with 4 to 7 of two personas'.
EXTRACTION_WARNING_WORDS = 12

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
    return _Reference(words(reference), [words(other) for other in others]).longest_run(words(text))[1]


def is_version(text: str, demonstrations: Sequence[Demonstration]) -> bool:
    """Whether a text is a demonstration, or another version of one: it then shows nothing about texts of the author."""
    own = words(text)
    shared = [
        len(shared_positions(own, words(demonstration.completion), _HABIT_WORDS)) for demonstration in demonstrations
    ]
    whole = _WHOLE_SHARE * len(own) if len(own) >= _WHOLE_WORDS else math.inf
    return any(num >= whole or num > max(_VERSION_WORDS, _VERSION_SHARE * len(own)) for num in shared)


def leakage(
    writings: Sequence[Writing],
    demonstrations: Sequence[Demonstration],
    held_out: Sequence[str],
    extracted_words: int | None,
) -> Leakage:
    """What a contestant's writings recite of the demonstrations; what is the author's habit counts nowhere.

    `held_out` are the author's other texts, to know how much of the demonstrations they repeat by nature; versions of a
    demonstration do not count. For `extracted_words` see `model_figures.extracted_words`.
    """
    recitable = _Recitable(demonstrations, held_out)
    texts = [words(writing.text) for writing in writings]
    return Leakage(
        longest_passage_words=recitable.longest_passage(texts),
        shared_8grams=recitable.share(texts),
        held_out_8grams=recitable.share(recitable.by_author) if recitable.by_author else None,
        extracted_words=extracted_words,
        personal_data=find_echoed_data(writings, demonstrations),
    )


def recitation_check(demonstrations: Sequence[Demonstration], held_out: Sequence[str]) -> Callable[[str], bool]:
    """A function that says whether a text counts as recited.

    What the author's other texts, `held_out`, repeat of the demonstrations by nature is allowed.
    """
    recitable = _Recitable(demonstrations, held_out)
    by_nature = recitable.by_author
    words_limit = max(PASSAGE_LIMIT_WORDS, int(OWN_PASSAGE_FACTOR * recitable.longest_passage(by_nature)))
    share_limit = recitable.share(by_nature) + SHARED_8GRAMS_LIMIT

    def is_recited(text: str) -> bool:
        own = words(text)
        for reference in recitable.references:
            length, num_own = reference.longest_run(own)
            is_whole = length >= _WHOLE_SHARE * len(reference.words) and num_own >= _WHOLE_WORDS
            if is_whole or num_own > words_limit:
                return True
        return len(own) >= _MIN_8GRAMS + 7 and recitable.share([own]) > share_limit

    return is_recited


class _Recitable:
    """What could be recited, and the author's other texts, which repeat some of it by nature."""

    def __init__(self, demonstrations: Sequence[Demonstration], held_out: Sequence[str]) -> None:
        # The same text twice is one text, not a habit.
        texts = list(dict.fromkeys(tuple(words(demonstration.completion)) for demonstration in demonstrations))
        self.references = [_Reference(text, [other for other in texts if other is not text]) for text in texts]
        self.by_author = [words(text) for text in held_out if not is_version(text, demonstrations)]
        self._own_8grams = {gram for reference in self.references for gram in reference.own_8grams()}

    def longest_passage(self, texts: Sequence[Sequence[str]]) -> int:
        """Words of the longest passage of a demonstration in any of the texts."""
        return max((other.longest_run(text)[1] for text in texts for other in self.references), default=0)

    def share(self, texts: Sequence[Sequence[str]]) -> float:
        """Share of the texts' 8-grams that a demonstration has; 0 if there are none."""
        grams = [gram for text in texts for gram in ngrams(text, 8)]
        return sum(gram in self._own_8grams for gram in grams) / len(grams) if grams else 0.0


class _Reference:
    """A text to be recited. What `others` have of it, too, is the author's habit, but for other versions of it."""

    def __init__(self, text: Sequence[str], others: Sequence[Sequence[str]]) -> None:
        self.words = text
        self._positions = defaultdict(list)
        for position, word in enumerate(text):
            self._positions[word].append(position)
        habitual = set[int]()
        for other in others:
            shared = shared_positions(text, other, _HABIT_WORDS)
            if len(shared) <= max(_VERSION_WORDS, _VERSION_SHARE * len(text)):
                habitual |= shared
        # How many of the first 0, 1, 2, ... words are habit.
        self._habit = list(accumulate((position in habitual for position in range(len(text))), initial=0))

    def longest_run(self, text: Sequence[str]) -> tuple[int, int]:
        """Words of the longest passage that is shared, and of the longest when words that are habit do not count."""
        length = own = 0
        before: dict[int, int] = {}  # lengths of the shared passages that end at a position
        for word in text:
            ending = {position: before.get(position - 1, 0) + 1 for position in self._positions.get(word, ())}
            for position, run in ending.items():
                length = max(length, run)
                own = max(own, run - (self._habit[position + 1] - self._habit[position + 1 - run]))
            before = ending
        return length, own

    def own_8grams(self) -> list[tuple[str, ...]]:
        """Those that are not habit throughout."""
        grams = ngrams(self.words, 8)
        return [gram for start, gram in enumerate(grams) if self._habit[start + 8] - self._habit[start] < 8]


def shared_positions(text: Sequence[str], other: Sequence[str], n: int) -> set[int]:
    """Where `text` has passages of at least `n` words that `other` has too."""
    known = set(ngrams(other, n))
    starts = [start for start, gram in enumerate(ngrams(text, n)) if gram in known]
    return {start + offset for start in starts for offset in range(n)}


def find_echoed_data(writings: Sequence[Writing], demonstrations: Sequence[Demonstration]) -> list[str]:
    """Kinds of personal data of which a writing has the very value that one demonstration has.

    What stands in several demonstrations is what the author signs with, and belongs into every text.
    """
    texts = dict.fromkeys(demonstration.completion for demonstration in demonstrations)
    known = Counter((kind, value) for text in texts for kind, value in _values(text))
    written = {pair for writing in writings for pair in _values(writing.text)}
    return sorted({kind for (kind, value), num in known.items() if num == 1 and (kind, value) in written})


def _values(text: str) -> set[tuple[str, str]]:
    return {(kind, value) for kind, values in personal_data(text).items() for value in values}


def repetition(text: str) -> float:
    """Share of a text's 4-grams of words that repeat an earlier one; 0 for a text under 8 words."""
    grams = ngrams(words(text), 4)
    if len(grams) + 3 < _MIN_WORDS:
        return 0.0
    return 1 - len(set(grams)) / len(grams)


def collapse(writings: Sequence[Writing], demonstrations: Sequence[Demonstration]) -> Collapse:
    """How one contestant's writings end, repeat, and compare with the demonstrations in length."""
    assert writings, "there is a contestant because it wrote"
    written = fmean(len(words(writing.text)) for writing in writings)
    own = fmean(len(words(demonstration.completion)) for demonstration in demonstrations)
    return Collapse(
        ended=fmean(writing.ended for writing in writings),
        looping=fmean(repetition(writing.text) > REPETITION_LIMIT for writing in writings),
        length_ratio=written / max(own, 1.0),
    )


def has_collapsed(text: str) -> bool:
    """Whether a text is empty or mostly repetition."""
    return not words(text) or repetition(text) > REPETITION_LIMIT


def warnings_of(collapse: Collapse, leakage: Leakage) -> list[str]:
    """What the user should know of a contestant before using it, one line each; empty if all is within limits."""
    return [warning for _, warning in beyond_limits(collapse, leakage).values()]


def beyond_limits(collapse: Collapse, leakage: Leakage) -> dict[str, tuple[str, str]]:
    """The figures beyond their limits, by field: a few words for a table, and a sentence for the user."""
    shortest, longest = LENGTH_RATIO_LIMITS
    ratio, passage, extracted = collapse.length_ratio, leakage.longest_passage_words, leakage.extracted_words
    found = {}
    if collapse.ended < ENDED_LIMIT:
        sentence = f"Only {collapse.ended:.0%} of its texts end by themselves; the length limit cut the others."
        found["ended"] = "too few", sentence
    if collapse.looping > LOOPING_LIMIT:
        found["looping"] = "runs into loops", f"It runs into loops in {collapse.looping:.0%} of its texts."
    if ratio > longest:
        found["length_ratio"] = "too long", f"Its texts are {ratio:.1f} times as long as the demonstrations."
    if ratio < shortest:
        found["length_ratio"] = "too short", f"Its texts are only {ratio:.1f} times as long as the demonstrations."
    if passage > PASSAGE_WARNING_WORDS:
        sentence = f"It recites: {passage} words in a row stand in a demonstration."
        found["longest_passage_words"] = "recites", sentence
    own = leakage.held_out_8grams
    if leakage.shared_8grams > (own or 0.0) + SHARED_8GRAMS_WARNING:
        compared = "" if own is None else f"; of the author's own other texts, {own:.0%}"
        sentence = f"It recites: {leakage.shared_8grams:.0%} of its 8-word passages stand in a demonstration{compared}."
        found["shared_8grams"] = "recites", sentence
    if extracted is not None and extracted > EXTRACTION_WARNING_WORDS:
        sentence = f"Given the first quarter of a demonstration, it goes on with {extracted} words of the rest."
        found["extracted_words"] = "can be drawn out", sentence
    if leakage.personal_data:
        sentence = f"It gives away personal data of a demonstration: {', '.join(leakage.personal_data)}."
        found["personal_data"] = "gives it away", sentence
    return found
