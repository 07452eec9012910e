"""Text that a model wrote -> text that is safe to show on a terminal. No rich, no torch."""

from __future__ import annotations

import unicodedata

_KEPT = "\n\t"
# Format characters that turn the direction of text around could make a line read as something else.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co"}
_JOINERS = "\u200c\u200d"  # needed in Persian, Hindi and emoji


def visible(text: str) -> str:
    """The same text with control, escape and direction characters written out, so that none is obeyed."""
    return "".join(
        character
        if character in _KEPT + _JOINERS or unicodedata.category(character) not in _HIDDEN_CATEGORIES
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters on one line."""
    folded = " ".join(text.split())
    return folded if len(folded) <= limit else folded[: limit - 1] + "…"
