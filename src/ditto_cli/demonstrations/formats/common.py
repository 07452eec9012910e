"""What several readers need: bytes as characters, the check that something is there, and words for errors."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.errors import InputError

_TITLE_CHARACTERS = 200
_ABOUT_CHARACTERS = 400
_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")


def decoded(name: str, raw: bytes, declared: str | None = None) -> str:
    """The characters of a text file.

    Args:
        name: the file, for the user.
        raw: its bytes.
        declared: the charset that it names itself.

    Raises:
        InputError: it is binary.
    """
    try:
        return decode_text(raw, declared)
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


def titled_prompt(kind: str, title: str, about: str = "") -> str | None:
    """The instruction that a text with this title answers; None if neither that nor what it is about says anything.

    Args:
        kind: what the text is, with its article: "a post".
        title: as it was found, in any number of lines.
        about: what the text is about, as its author says.
    """
    title, about = _one_line(title, _TITLE_CHARACTERS), _one_line(about, _ABOUT_CHARACTERS)
    if not title:
        return f"Write {kind} about this: {about}" if about else None
    prompt = f'Write {kind} with the title "{title}".'
    return f"{prompt} It is about this: {about}" if about and about != title else prompt


def _one_line(text: str, max_characters: int) -> str:
    line = " ".join(normalise_text(text).split()).replace('"', "'")
    return line if len(line) <= max_characters and re.search(r"\w", line) else ""


def reason(name: str, error: InputError) -> str:
    """An error about a part of an archive or table, as the reason for which the part is left out."""
    return str(error).removeprefix(name).removeprefix(":").strip()


def missing_package(name: str, suffix: str) -> InputError:
    """What is said where the extra is not installed that reads a format."""
    return InputError(f"{name}: reading {suffix} needs a further package: pip install 'ditto-cli[documents]'")


def named(keys: Iterable[object]) -> str:
    """The keys, in words; one that does not look like a key may be the text itself, and stays unsaid."""
    names = [key for key in keys if isinstance(key, str) and _KEY_NAME.fullmatch(key)]
    return f"the unknown key {', '.join(names)}" if names else "an unknown key"
