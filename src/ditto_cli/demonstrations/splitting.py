"""One text -> several: replies copied into one note, and texts that are too long, cut where their writer paused.

Nothing is lost: the parts hold every word, in order. Knows no file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from ditto_cli.demonstrations.language import count_words
from ditto_cli.types import SourceText

MIN_PART_WORDS = 15
_RULE = re.compile(r"[ \t]*(?:-{3,}|\*{3,}|={3,}|_{3,}|#{3,}|~{3,}|(?:[*-][ \t]+){2,}[*-])[ \t]*")
_NUMBER = re.compile(r"[ \t]*(?:#{1,6} )?\(?#?(\d{1,3})[.):]?[ \t]*")
_PARAGRAPH_END = re.compile(r"\n[ \t]*\n+")
_SENTENCE_END = re.compile(r"(?<=[.!?\u2026\u3002\uff01\uff1f])[\"'\u201d\u2019)»]*\s+|\n")


def divided(source: SourceText, *, notes: bool, max_words: int | None) -> list[SourceText]:
    """The texts in a text; only the first one keeps its prompt, for the others answer something else.

    Args:
        source: the whole.
        notes: whether rules divide it into texts of their own (`#text1`, ...); a mail is never a note.
        max_words: from which length on a text is cut into parts (`#part1`, ...); None leaves it whole.
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
    """The texts that were copied into one; the text alone if it does not look like several.

    Parts stand between rule lines (---, ***, ===, ___, * * *), or below the numbers 1, 2, 3 ... alone on a line. There
    are at least two, each of at least `MIN_PART_WORDS` words; else a rule is the writer's own ornament.
    """
    lines = text.split("\n")
    rules = [index for index, line in enumerate(lines) if _RULE.fullmatch(line)]
    for places in (rules, _numbers(lines)):
        parts = _between(lines, places)
        if len(parts) >= 2 and all(count_words(part) >= MIN_PART_WORDS for part in parts):
            return parts
    return [text]


def split_long(text: str, max_words: int) -> list[str]:
    """The text in parts of at most `max_words` words, as even as paragraphs allow.

    A paragraph that is too long itself is cut between sentences, a sentence that is too long between words. Parts that
    were cut between paragraphs give the text again when a blank line is put between them.
    """
    assert max_words >= 1
    if count_words(text) <= max_words:
        return [text]
    paragraphs = [part.strip("\n") for part in _PARAGRAPH_END.split(text) if part.strip()]
    pieces = [piece for paragraph in paragraphs for piece in _cut_paragraph(paragraph, max_words) if piece.strip()]
    return ["\n\n".join(group) for group in _even_groups(pieces, max_words)]


def _numbers(lines: Sequence[str]) -> list[int]:
    """Lines that hold only a number, if these count 1, 2, 3 ... and the first begins the text."""
    heads = [(index, int(match[1])) for index, line in enumerate(lines) if (match := _NUMBER.fullmatch(line))]
    first_line = next((index for index, line in enumerate(lines) if line.strip()), None)
    counts = [number for _, number in heads]
    if not heads or heads[0][0] != first_line or counts != list(range(1, len(heads) + 1)):
        return []
    return [index for index, _ in heads]


def _between(lines: Sequence[str], places: Sequence[int]) -> list[str]:
    bounds = pairwise([-1, *places, len(lines)])
    parts = ["\n".join(lines[start + 1 : end]).strip("\n") for start, end in bounds]
    return [part for part in parts if part.strip()]


def _cut_paragraph(paragraph: str, max_words: int) -> list[str]:
    """The paragraph, or where it is too long groups of its sentences, or of its words."""
    if count_words(paragraph) <= max_words:
        return [paragraph]
    sentences = _cut_after(paragraph, _SENTENCE_END)
    small = [piece for sentence in sentences for piece in _cut_words(sentence, max_words)]
    return ["".join(group).strip() for group in _even_groups(small, max_words)]


def _cut_words(sentence: str, max_words: int) -> list[str]:
    if count_words(sentence) <= max_words:
        return [sentence]
    words = _cut_after(sentence, re.compile(r"\s+"))
    # Scripts without spaces, and what nobody meant to be a word: between characters.
    return [piece for word in words for piece in ([word] if count_words(word) <= max_words else list(word))]


def _cut_after(text: str, end: re.Pattern[str]) -> list[str]:
    """The text cut behind each match; together the pieces are the text."""
    places = [0, *(match.end() for match in end.finditer(text)), len(text)]
    return [text[start:stop] for start, stop in pairwise(places) if start < stop]


def _even_groups(pieces: Sequence[str], max_words: int) -> list[list[str]]:
    """Neighbouring pieces together: as few groups as hold them, and of these the limit that makes them most even."""
    sizes = [count_words(piece) for piece in pieces]
    num = len(_filled(sizes, max_words))
    low, high = max(sizes, default=1), max_words
    while low < high:  # the smallest limit that needs no more groups
        middle = (low + high) // 2
        low, high = (low, middle) if len(_filled(sizes, middle)) <= num else (middle + 1, high)
    return [list(pieces[start:stop]) for start, stop in _filled(sizes, max(low, 1))]


def _filled(sizes: Sequence[int], limit: int) -> list[tuple[int, int]]:
    groups: list[tuple[int, int]] = []
    start = total = 0
    for index, size in enumerate(sizes):
        if index > start and total + size > limit:
            groups.append((start, index))
            start, total = index, 0
        total += size
    return [*groups, (start, len(sizes))] if sizes else []
