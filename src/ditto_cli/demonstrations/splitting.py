"""One text -> several: texts copied into one note, and texts that are too long, cut where their writer paused.

Nothing is lost: the parts hold every word, in order. Knows no file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from ditto_cli.demonstrations.language import UNSPACED, count_words
from ditto_cli.types import SourceText

MIN_PART_WORDS = 15
_RULE = re.compile(r"^[ \t]*(?:-{3,}|\*{3,}|={3,}|_{3,}|#{3,}|~{3,}|(?:[*-][ \t]+){2,}[*-])[ \t]*$", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n+")
_SENTENCE = re.compile(r".+?(?:[.!?\u2026][\"'\u201d\u2019)»]*\s+|[\u3002\uff01\uff1f]+\s*|\n|\Z)", re.DOTALL)
_WORD = re.compile(rf"\s*(?:[{UNSPACED}]|[^\s{UNSPACED}]+)")


def divided(source: SourceText, *, notes: bool, max_words: int | None) -> list[SourceText]:
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
        pieces += ["".join(group).strip() for group in _grouped(sentences, max_words)]
    return ["\n\n".join(group) for group in _grouped([piece for piece in pieces if piece.strip()], max_words)]


def _grouped(pieces: Sequence[str], max_words: int) -> list[list[str]]:
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
