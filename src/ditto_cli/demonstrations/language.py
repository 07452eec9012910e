"""A text -> the language that it is written in, how many words it has, and its parts, cut where its writer paused.

The first question for a language loads the model inside py3langid (0.6 s, 100 MB); nothing is written or fetched.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

from ditto_cli.demonstrations.words import words

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ditto_cli.types import SourceText

MIN_WORDS = 4  # below, names and greetings decide, not a language
_MAX_CHARACTERS = 300  # more change no answer and cost time
# Addresses, file names and numbers are of no language.
_NO_LANGUAGE = re.compile(r"https?://\S+|www\.\S+|\S+@\S+|\S*\d\S*")
# Scripts without spaces between words; a word has about two of their characters.
UNSPACED = "\u0e00-\u0eff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_UNSPACED = re.compile(f"[{UNSPACED}]")
_HAS_WORD = re.compile(r"\w")


def count_words(text: str) -> int:
    """Words between spaces; of Chinese, Japanese, Thai and their like two characters count as one."""
    unspaced = len(_UNSPACED.findall(text)) if not text.isascii() else 0
    spaced = _UNSPACED.sub(" ", text) if unspaced else text
    num = sum([word[0].isalnum() or _HAS_WORD.search(word) is not None for word in spaced.split()])
    return num + (unspaced + 1) // 2


def language_of(text: str) -> str | None:
    """The language's ISO 639-1 code; None if it is unsure or the text has fewer than `MIN_WORDS` words."""
    plain = _NO_LANGUAGE.sub(" ", text[: 2 * _MAX_CHARACTERS])
    plain = " ".join(plain.split())[:_MAX_CHARACTERS]
    if count_words(plain) < MIN_WORDS:
        return None
    ranked: list[tuple[str, float]] = _identifier().rank(plain)
    best = ranked[0][0]
    share = sum(probability for code, probability in ranked if language_group(code) == language_group(best))
    return best if share >= 0.7 else None


def language_name(code: str) -> str:
    """The English name; of a language without an entry the code itself."""
    return str(words("languages")["names"].get(code, code))


@cache
def language_group(code: str) -> str:
    """One code for languages that a short text does not tell apart; else the code itself."""
    groups: list[list[str]] = words("languages")["close"]
    return next((group[0] for group in groups if code in group), code)


@cache
def function_words(code: str) -> frozenset[str]:
    """Words of a language that say little about a topic, with straight apostrophes; empty where there is no list."""
    return frozenset(words("function_words").get(code, "").split())


@cache
def _identifier() -> LanguageIdentifier:
    # Here, not at the top: numpy and the model cost what `ditto --help` need not pay.
    import numpy as np
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # type: ignore[import-untyped, unused-ignore]

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    # The others are dialects and creoles, which take probability from their big relatives, and "no language".
    identifier.set_languages([code for code in identifier.labels if len(code) == 2])
    # As it is left, looking up its rows is five times slower.
    identifier.nb_ptc = np.ascontiguousarray(identifier.nb_ptc)
    return identifier


# --- parts; they hold every word, in order


@dataclass(frozen=True)
class Limits:
    """How long a demonstration should be, in words."""

    min_words: int = 40
    max_words: int = 600


MIN_PART_WORDS = 15
_RULE = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|={3,}|_{3,}|#{3,}|~{3,}|(?:[*-][ \t]+){2,}[*-])[ \t]*$", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n+")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026][\"'\u201d\u2019)»]*\s+|[\u3002\uff01\uff1f]+\s*|\n|\Z)", re.DOTALL)
_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")


def divide_text(source: SourceText, *, notes: bool, max_words: int | None) -> list[SourceText]:
    """The texts in a text; only the first one keeps its prompt, for the others answer something else.

    With `notes`, rules divide it into texts of their own (`#text1`, ...), unless it is a mail; what has more than
    `max_words` is cut into parts (`#part1`, ...).
    """
    texts = split_note(source.text) if notes and source.mail is None else [source.text]
    found: list[SourceText] = []
    for number, text in enumerate(texts, start=1):
        whole = source.id if len(texts) == 1 else f"{source.id}#text{number}"
        parts = [text] if max_words is None else split_long(text, max_words)
        for place, part in enumerate(parts, start=1):
            identity = whole if len(parts) == 1 else f"{whole}#part{place}"
            found.append(replace(source, id=identity, text=part, prompt=None if found else source.prompt))
    return found


def split_note(text: str) -> list[str]:
    """The texts between lines of rules (---, ***, * * *); the text alone if it does not look like several.

    Each has `MIN_PART_WORDS` words at least; else a rule is the writer's own ornament.
    """
    parts = [part.strip("\n") for part in _RULE.split(text) if part.strip()]
    return parts if len(parts) > 1 and all(count_words(part) >= MIN_PART_WORDS for part in parts) else [text]


def split_long(text: str, max_words: int) -> list[str]:
    """The text in parts of at most `max_words` words, as even as paragraphs allow.

    A paragraph that is too long itself is cut between sentences, a sentence that is too long between words. Parts that
    were cut between paragraphs give the text again when a blank line is put between them.
    """
    assert max_words >= 1
    if count_words(text) <= max_words:
        return [text]
    pieces: list[str] = []
    for paragraph in _PARAGRAPH_END.split(text):
        if count_words(paragraph) <= max_words:
            pieces.append(paragraph.strip("\n"))
            continue
        sentences = [
            piece
            for sentence in _SENTENCE.findall(paragraph)
            for piece in ([sentence] if count_words(sentence) <= max_words else _WORD.findall(sentence))
        ]
        pieces += ["".join(group).strip() for group in _group(sentences, max_words)]
    return ["\n\n".join(group) for group in _group([piece for piece in pieces if piece.strip()], max_words)]


def _group(pieces: Sequence[str], max_words: int) -> list[list[str]]:
    """Neighbours together, up to an even share of the words."""
    sizes = [count_words(piece) for piece in pieces]
    share = sum(sizes) / max(1, math.ceil(sum(sizes) / max_words))
    groups: list[list[str]] = []
    total = 0
    for piece, size in zip(pieces, sizes, strict=True):
        if not groups or total + size > max_words or total >= share:
            groups.append([])
            total = 0
        groups[-1].append(piece)
        total += size
    return groups


_EXCERPT_CHARACTERS = 1600
_SENTENCE_END = re.compile(r"\n\n|[.!?\u2026][\"'\u201d\u2019)]?(?=\s|\Z)|[\u3002\uff01\uff1f]")


def excerpt(text: str) -> str:
    """The text, or its beginning up to the end of a sentence: at most 1,600 characters."""
    start = text[:_EXCERPT_CHARACTERS]
    if len(text) <= _EXCERPT_CHARACTERS:
        return text
    ends = [match.end() for match in _SENTENCE_END.finditer(start)] or [start.rfind(" ")]
    return (start[: ends[-1]] if ends[-1] >= len(start) // 3 else start).rstrip() + " [...]"
