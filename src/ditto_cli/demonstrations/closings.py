"""One line -> the closing that it is ("Best,", "Thanks Mia!", "See you Thursday, Ada"), and the name behind it.

The words of forty languages are in words/closings.yaml. Whether a line stands at the end of a text is for the caller.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

from ditto_cli.demonstrations.words import words

_MAX_CHARACTERS, _MAX_WORDS = 80, 9
_MAX_PHRASE_WORDS, _MAX_NAME_WORDS = 4, 4
_MAX_MORE = 6  # characters that stand at once behind a closing of a script without spaces
_MAX_IDEOGRAPHS = 5  # of a name
_STOPS = ".,!?;:\u3002\uff0c\u3001\uff01\u060c\u2026"
_SENTENCE_ENDS = (".", "!", "?")
_AROUND = " \t\u3000\u200e\u200f*_~>-\u2013\u2014()<>\"'" + _STOPS
_ROLE = re.compile(r"\s*[|/(;:@\u2022\u00b7]\s*|\s+[\u2013\u2014-]\s+")
_COMMA = re.compile(r"\s*[,\uff0c\u3001\u060c]\s*")
_KISSES = re.compile(r"x{1,5}(?:o{1,3}x{0,3}){0,3}", re.IGNORECASE)
_SEPARATORS = frozenset("|/\u2022\u00b7\u2013\u2014-")
_SMILEY = re.compile(r"x+d+|[:;=8]['-]?\w|<3", re.IGNORECASE)
_PARTICLES = frozenset("von van de der den da di del della la el al bin ibn af av zu ter ten".split())  # noqa: SIM905


def closing_in(line: str) -> str | None:
    """The name or names behind the closing that the line is, "" for a closing alone; None where it is none.

    A line is one if it begins with a closing and nothing follows but names ("Best, Anna"), or when, where and what for
    ("See you Thursday", "Thanks for the cake, Anna").
    """
    text = line.strip(_AROUND)
    if not 0 < len(text) <= _MAX_CHARACTERS:
        return None
    unspaced, behind = _phrases("unspaced"), _phrases("behind")
    if phrase := next((phrase for phrase in unspaced if text.startswith(phrase)), None):
        rest = text[len(phrase) :]
        if rest[:1] not in _AROUND:  # more of the closing, or a sentence
            return "" if len(rest) <= _MAX_MORE else None
        rest = rest.strip(_AROUND)
        return rest if not rest or name_in(rest) or closing_in(rest) == "" else None
    if text.endswith(behind) and (name := name_in(re.sub(rf"(?:{'|'.join(behind)})\Z", "", text))):
        return name
    pieces = [piece for piece in text.split() if not _SMILEY.fullmatch(piece)]
    keys = [plain_word(piece) for piece in pieces]  # "" for a dash or an emoji
    return _spaced_closing(pieces, keys) if 0 < len(pieces) <= _MAX_WORDS else None


def name_in(text: str, max_words: int = _MAX_NAME_WORDS) -> str | None:
    """The name that a line begins with, up to a comma, a bar or what else leads to a role; None if it is none.

    A name of several words has no small letters in front but those of "van" and its like.
    """
    head = _COMMA.split(_ROLE.split(_without_kisses(text.split()), maxsplit=1)[0], maxsplit=1)[0].strip(_AROUND)
    pieces = head.split()
    if not 1 <= len(pieces) <= max_words or not all(map(_is_name_word, pieces)):
        return None
    if len(pieces) > 1 and any(piece[0].islower() and piece not in _PARTICLES for piece in pieces):
        return None
    return head


def plain_word(word: str) -> str:
    """The letters and digits of a word, in lower case and without accents: what two spellings of it share."""
    decomposed = unicodedata.normalize("NFKD", word.casefold()).replace("\u0131", "i")  # Turkish
    return "".join(character for character in decomposed if character.isalnum())


def _without_kisses(pieces: Sequence[str]) -> str:
    """The words behind a closing, or of a line that may be a name, without what may stand around a name."""
    kept = [
        piece
        for piece in pieces
        if not _SMILEY.fullmatch(piece) and (len(pieces) == 1 or not _KISSES.fullmatch(piece.strip(_AROUND)))
    ]
    return " ".join(piece for piece in kept if plain_word(piece) or piece in _SEPARATORS).strip(_AROUND)


def _phrase_length(keys: Sequence[str], start: int, phrases: frozenset[str]) -> int:
    for length in range(min(_MAX_PHRASE_WORDS, len(keys) - start), 0, -1):
        if " ".join(keys[start : start + length]) in phrases:
            return length
    return 0


def _spaced_closing(pieces: Sequence[str], keys: Sequence[str]) -> str | None:
    """What follows the closing; None where there is none, or a sentence follows."""
    position = end = 0  # of closings and of what stands around them
    while position < len(keys):
        if length := _phrase_length(keys, position, _plain("closings")):
            position = end = position + length
        elif length := _phrase_length(keys, position, _plain("around")) or int(not keys[position]):
            position += length
            end = position if end else 0
        else:
            break
    if not end:
        return None
    is_set_off = pieces[end - 1][-1] in _AROUND
    if end < len(pieces):
        is_name = is_set_off and not pieces[end][0].islower()  # "Best, June"
        is_time = _phrase_length(keys, end, _plain("after")) or any(map(str.isdigit, keys[end]))
        if is_time and not is_name and not pieces[end - 1].endswith(_SENTENCE_ENDS):
            end = next((n + 1 for n in range(end, len(pieces)) if pieces[n][-1] in _STOPS), len(pieces))
            is_set_off = True
        elif keys[end] in _plain("of"):
            end += 1
    rest = _without_kisses(pieces[end:])
    if not rest:
        return ""
    head, *behind = _COMMA.split(_ROLE.split(rest, maxsplit=1)[0].strip(_AROUND))
    # "Best, Anna Roth, CEO", but not "Thanks Anna, I will".
    if any(word[:1].islower() for part in behind for word in part.split()):
        return None
    names = [word for word in head.split() if plain_word(word) and plain_word(word) not in _plain("around")]
    # A name is written as its closing is: "thanks mia", but not "Best idea".
    may_be_lower = len(names) == 1 and (is_set_off or pieces[0][0].islower())
    are_names = 0 < len(names) <= 5 and all(
        _is_name_word(word) and (may_be_lower or not word[0].islower() or word in _PARTICLES) for word in names
    )
    return head if are_names else None


def _is_name_word(word: str) -> bool:
    """Letters of any script with their marks, hyphens, and the dot of an initial."""
    if len(word) > _MAX_IDEOGRAPHS and "\u3040" <= word[0] <= "\u9fff":
        return False
    return word[0].isalpha() and all(
        character in "'\u2019-." or unicodedata.category(character)[0] in "LM" for character in word
    )


@cache
def _phrases(field: str) -> tuple[str, ...]:
    """What words/closings.yaml, where the fields are explained, has of one for all languages; the longest first."""
    found = {phrase for language in words("closings").values() for phrase in language.get(field, ())}
    return tuple(sorted(found, key=lambda phrase: (-len(phrase), phrase)))


@cache
def _plain(field: str) -> frozenset[str]:
    return frozenset(" ".join(map(plain_word, phrase.split())) for phrase in _phrases(field))
