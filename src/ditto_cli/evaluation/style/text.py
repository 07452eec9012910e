"""A text -> its words, sentences and lines, without what it repeats, or with its topic masked. Knows no author."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})
# A word (with inner apostrophes), a number, white space, or one other character.
_TOKEN = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*|\d+|\s+|[^\w\s]|_")
_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"')\]]*\s+|\n+")
_REPEAT_WORDS = 6
_ENDING_LETTERS = 2
_LONG_WORD_LETTERS = 5


def folded(text: str) -> str:
    """The text with all white space made one space: two texts that only differ there are the same to a judge."""
    return " ".join(text.split())


def normalised(text: str) -> str:
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


def masked(text: str, keep: Set[str]) -> str:
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
