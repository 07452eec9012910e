"""A text -> figures, one function for each measure of the panel. Knows no author and no other text.

Every function takes a text as `normalised` leaves it and returns named values. A sparse measure names what it found (a
character n-gram, a word, a mark); a dense one always returns the same names.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, pstdev
from typing import Any

import numpy as np

from ditto_cli.demonstrations import language

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
# A word (with inner apostrophes), a number, white space, or one other character.
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|\s+|[^\w\s]|_")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n+")
_REPEAT_WORDS = 6
_ENDING_LETTERS = 2
_LONG_WORD_LETTERS = 5


def fold(text: str) -> str:
    """The text with all white space made one space: two texts that only differ there are the same to a judge."""
    return " ".join(text.split())


def normalise(text: str) -> str:
    """Straight quotes, no white space around, and nothing that repeats."""
    return without_repeats(text.translate(_QUOTES).strip())


def without_repeats(text: str) -> str:
    """The text without words that lie in a run of six which came before, so that a loop counts once."""
    pieces = list(re.finditer(r"\S+\s*", text))
    words = [piece.group().strip().lower() for piece in pieces]
    seen: set[tuple[str, ...]] = set()
    repeated = [False] * len(words)
    for start in range(len(words) - _REPEAT_WORDS + 1):
        run = tuple(words[start : start + _REPEAT_WORDS])
        if run in seen:
            repeated[start : start + _REPEAT_WORDS] = [True] * _REPEAT_WORDS
        seen.add(run)
    if not any(repeated):
        return text
    return "".join(piece.group() for piece, gone in zip(pieces, repeated, strict=True) if not gone).strip()


def tokens(text: str) -> list[str]:
    """Words, numbers, stretches of white space and single other characters; together they are the text."""
    return _TOKEN.findall(text)


def words(text: str) -> list[str]:
    """The words in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def sentences(text: str) -> list[str]:
    """Pieces between sentence ends or line breaks that hold a letter or digit."""
    return [piece for piece in _SENTENCE_END.split(text) if re.search(r"\w", piece)]


def mask(text: str, keep: Set[str]) -> str:
    """The text with the topic taken out: of a word that is not in `keep` only its case and ending remain.

    "The Ministers walked 120 miles" becomes "The Xrs xed 000 xes". The idea is the text distortion of Stamatatos
    (2017), which hides rare words; the ending is kept because it carries grammar.
    """
    return "".join(masked_tokens(text, keep))


def masked_tokens(text: str, keep: Set[str]) -> Iterator[str]:
    """The tokens of `masked`."""
    for token in tokens(text):
        if token[0].isdigit():
            yield "0" * min(len(token), 4)
        elif not token[0].isalpha() or token.lower() in keep:
            yield token
        else:
            shape = "X" if token[0].isupper() else "x"
            yield shape + (token[-_ENDING_LETTERS:] if len(token) >= _LONG_WORD_LETTERS else "")


Features = Mapping[str, float]


@dataclass(frozen=True)
class Measure:
    """One way to look at a text.

    `prior` is its weight, relative, before it is known how well it separates the author. Of a `sparse` one the names
    of the features differ from text to text. Where it `joins`, short texts may be read one after the other as one.
    """

    name: str
    prior: float
    features: Callable[[str], Any]
    sparse: bool
    joins: bool = True


def character_ngrams(text: str) -> Features:
    """Square roots of the shares of 3- to 5-character sequences, common words whole, others by case and ending."""
    distorted = mask(text, language.function_words("en"))
    return _root_shares(
        Counter([distorted[start : start + size] for size in (3, 4, 5) for start in range(len(distorted) - size + 1)])
    )


def phrasing(text: str) -> Features:
    """Square roots of the shares of common words, masked words and marks, and of pairs of neighbours."""
    common = language.function_words("en")
    kinds = [kind for token in tokens(text) if (kind := _kind(token, common))]
    return _root_shares(Counter(kinds) + Counter(f"{left} {right}" for left, right in pairwise(kinds)))


def function_words(text: str) -> Features:
    """Square roots of the shares of the common words among all words: the figures of Burrows' Delta."""
    common = language.function_words("en")
    return _root_shares(Counter(word if word in common else "*" for word in words(text)))


def punctuation(text: str) -> Features:
    """Marks for each word: single ones, runs such as `?!`, and what stands before and after them."""
    found = Counter(f"run {run[:3]}" for run in re.findall(r"[^\w\s]+", text))
    for match in re.finditer(r"([^\w\s])(\s*)", text):
        mark, space = match.groups()
        before, after = text[max(0, match.start() - 1) : match.start()], text[match.end() : match.end() + 1]
        found[f"one {mark}"] += 1
        found[f"near {_edge(before)}{mark}{_edge(space[:1])}{_edge(after)}"] += 1
    num_words = max(1, len(words(text)))
    return {name: count / num_words for name, count in found.items()}


def layout(text: str) -> Features:
    """Casing, paragraphs, line breaks and lists."""
    num_words = max(1, len(words(text)))
    lines = [line for line in text.split("\n") if line.strip()] or [""]
    paragraphs = [part for part in re.split(r"\n\s*\n", text) if part.strip()] or [""]
    starts = [letter.group() for piece in sentences(text) if (letter := re.search(r"[^\W\d_]", piece))]
    cased = re.findall(r"[^\W\d_]+", text) or ["a"]
    return {
        "words a paragraph": float(np.log1p(num_words / len(paragraphs))),
        "words a line": float(np.log1p(num_words / len(lines))),
        "list items": fmean(bool(re.match(r"\s*([-*•]|\d+[.)])\s", line)) for line in lines),
        "lower-case starts": fmean([start.islower() for start in starts] or [0.0]),
        "lower-case i": fmean([word == "i" for word in cased if word in ("i", "I")] or [0.0]),
        "capitalised words": fmean(word[0].isupper() for word in cased) ** 0.5,
        "all caps": fmean(word.isupper() and len(word) > 1 for word in cased) ** 0.5,
        "digits": (len(re.findall(r"\d", text)) / max(1, len(text))) ** 0.5,
        "double spaces": (len(re.findall(r"\S  +\S", text)) / num_words) ** 0.5,
    }


def greeting_and_sign_off(text: str) -> Features:
    """Words and marks of a short first line and of the short last lines, or that there are none.

    A name in the greeting is masked, one in the sign-off is not: it is the author's.
    """
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    opening = lines[:1] if len(lines) > 1 and len(lines[0].split()) <= 6 else []
    closing: list[str] = []
    for line in reversed(lines[len(opening) :][1:]):
        if len(line.split()) > 4 or len(closing) == 3:
            break
        closing.insert(0, line)
    common = language.function_words("en")
    greeting = tokens(" ".join(mask(line, common) for line in opening)) or ["none"]
    sign_off = tokens("\n".join(closing)) or ["none"]
    found = Counter(f"greeting {token}" for token in greeting if token != " ")
    found += Counter(f"sign-off {token}" for token in sign_off if token != " ")
    return {name: float(count) ** 0.5 for name, count in found.items()}


def sentence_lengths(text: str) -> Features:
    """Lengths of sentences, of clauses and of words: means, spreads and the shares of short and long ones."""
    pieces = sentences(text)
    lengths = [max(1, len(words(piece))) for piece in pieces] or [1]
    clauses = [
        max(1, len(words(part))) for piece in pieces for part in re.split(r"[,;:()\u2013\u2014-]+\s", piece)
    ] or [1]
    found = words(text) or ["a"]
    letters = [len(word) for word in found]
    logs = [float(np.log(length)) for length in lengths]
    common = language.function_words("en")
    return {
        "sentence mean": fmean(logs),
        "sentence spread": pstdev(logs),
        "short sentences": fmean(length <= 5 for length in lengths),
        "long sentences": fmean(length >= 25 for length in lengths),
        "clause mean": float(np.log(fmean(clauses))),
        "word mean": fmean(letters),
        "word spread": pstdev(letters),
        "short words": fmean(length <= 3 for length in letters),
        "long words": fmean(length >= 8 for length in letters),
        "common words": fmean(word in common for word in found),
        "different words": len(set(found[:100])) / len(found[:100]),
    }


# Priors: chosen once on both development corpora together; the ranking hardly changes when one is doubled or halved.
MEASURES = (
    Measure("character n-grams", 6.0, character_ngrams, sparse=True),
    Measure("phrasing", 1.0, phrasing, sparse=True),
    Measure("function words", 1.0, function_words, sparse=True),
    Measure("punctuation", 0.5, punctuation, sparse=True),
    Measure("casing and layout", 0.5, layout, sparse=False, joins=False),
    Measure("greeting and sign-off", 0.5, greeting_and_sign_off, sparse=True, joins=False),
    Measure("sentence lengths", 1.0, sentence_lengths, sparse=False),
)


def _root_shares(found: Counter[str]) -> Features:
    # The square root of a share has the same spread for rare and frequent things, and tames what one text overuses.
    total = max(1, found.total())
    return {name: (count / total) ** 0.5 for name, count in found.items()}


def _kind(token: str, common: frozenset[str]) -> str:
    """What a token counts as in `phrasing`; nothing for spaces within a line."""
    if token.isspace():
        return "¶" if "\n" in token else ""
    if token[0].isdigit():
        return "0"
    if token[0].isalpha():
        low = token.lower()
        return low if low in common else "X" if token[0].isupper() else "x"
    return token


def _edge(char: str) -> str:
    """What stands beside a mark, in one sign."""
    if not char:
        return ""
    if char.isspace():
        return "¶" if "\n" in char else " "
    if char.isalpha():
        return "A" if char.isupper() else "a"
    return "0" if char.isdigit() else "."
