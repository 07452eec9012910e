"""What several readers need: bytes as characters, the check that something is there, and keys that may be named."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.errors import InputError

_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")


def decoded(name: str, raw: bytes) -> str:
    """The characters of a text file.

    Raises:
        InputError: it is binary.
    """
    try:
        return decode_text(raw)
    except UndecodableTextError:
        raise InputError(
            f"{name} is a binary file in spite of its name, so there is no text to read: save the text itself as .txt."
        ) from None


def usable(name: str, text: str) -> str:
    """The text as a model should learn it.

    Raises:
        InputError: nothing is left of it.
    """
    if not (normal := normalise_text(text)):
        raise InputError(empty(name))
    return normal


def empty(name: str) -> str:
    """What is said of a file without text."""
    return f"{name} is empty, so there is nothing to learn from it: put your text into it, or delete it."


def named(keys: Iterable[object]) -> str:
    """The keys, in words; one that does not look like a key may be the text itself, and stays unsaid."""
    names = [key for key in keys if isinstance(key, str) and _KEY_NAME.fullmatch(key)]
    return f"the unknown key {', '.join(names)}" if names else "an unknown key"
