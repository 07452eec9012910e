"""Values as people read them, in the terminal and on pages."""

from __future__ import annotations

import unicodedata
from functools import cache

# Format characters that turn the direction of text around could make a line read as something else.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co"}
_KEPT = "\n\t\u200c\u200d"  # joiners are needed in Persian, Hindi and emoji


@cache
def _visible_character(character: str) -> str:
    is_hidden = character not in _KEPT and unicodedata.category(character) in _HIDDEN_CATEGORIES
    return character.encode("unicode_escape").decode("ascii") if is_hidden else character


def visible(text: str) -> str:
    """The same text with control, escape and direction characters written out, so that none is obeyed."""
    return "".join(map(_visible_character, text))


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters on one line."""
    folded = " ".join(text.split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"


def reason_of(error: Exception) -> str:
    """What an error of a library says first; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def plural(num: int, noun: str) -> str:
    """`1 tie`, `2 ties`."""
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"


def duration(seconds: float) -> str:
    """`4 s`, `2 min 40 s`, `2 h 7 min`."""
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(num_bytes: int) -> str:
    """`3.1 GiB`, `512 MiB`, `9.4 MiB`."""
    if num_bytes >= 2**30:
        return f"{num_bytes / 2**30:.1f} GiB"
    return f"{num_bytes / 2**20:.0f} MiB" if num_bytes >= 100 * 2**20 else f"{num_bytes / 2**20:.1f} MiB"
