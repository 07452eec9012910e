"""What several readers need: files as bytes, bytes as characters, words for errors, prompts made of what is known."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.errors import InputError

_TITLE_CHARACTERS = 200
_ABOUT_CHARACTERS = 400


@contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading."""
    try:
        # Before opening: a FIFO would block here for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is a pipe, socket or device, not a file: take it out of the folder.")
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, or is a link to what does not: check the path.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from None
    with file:
        try:
            yield file
        except OSError as error:
            raise _unreadable(name, error) from None


def read_whole(path: Path, name: str, max_bytes: int) -> bytes:
    """A regular file's bytes."""
    with opened(path, name) as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise InputError(
            f"{name} is larger than {max_bytes // 2**20} MiB, more than a person's text: "
            "save the text itself, without pictures and attachments."
        )
    return raw


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} cannot be read ({type(error).__name__}): check its rights and where it links to, or take it away."
    )


def decoded(name: str, raw: bytes, declared: str | None = None) -> str:
    """The characters of a text file; `declared` is the charset that it names itself."""
    try:
        return decode_text(raw, declared)
    except UndecodableTextError:
        raise InputError(
            f"{name} is a binary file in spite of its name, so there is no text to read: save the text itself as .txt."
        ) from None


def usable(name: str, text: str) -> str:
    """The text as a model should learn it."""
    if not (normal := normalise_text(text)):
        raise InputError(empty(name))
    return normal


def empty(name: str) -> str:
    """What is said of a file without text."""
    return f"{name} is empty, so there is nothing to learn from it: put your text into it, or delete it."


def damaged(name: str) -> str:
    """What is said of a file on which its reader fails."""
    return (
        f"{name} is damaged, or not a {PurePosixPath(name).suffix.lower()} file in spite of its name, or protected "
        "with a password: open it in the program that wrote it, and save the text as .txt."
    )


def titled_prompt(kind: str, title: str, about: str = "") -> str | None:
    """The instruction that a text with this title answers; None if neither that nor what it is about says anything."""
    title, about = _one_line(title, _TITLE_CHARACTERS), _one_line(about, _ABOUT_CHARACTERS)
    if not title:
        return f"Write {kind} about this: {about}" if about else None
    prompt = f'Write {kind} with the title "{title}".'
    return f"{prompt} It is about this: {about}" if about and about != title else prompt


def _one_line(text: str, max_characters: int) -> str:
    line = " ".join(normalise_text(text).split()).replace('"', "'")
    return line if len(line) <= max_characters and re.search(r"\w", line) else ""


def missing_package(name: str, suffix: str) -> InputError:
    """What is said where the extra is not installed that reads a format."""
    return InputError(f"{name}: reading {suffix} needs a further package: pip install 'ditto-cli[documents]'")


BY_OTHERS = "written by somebody else"

_CHARACTERS = 1600
_END = re.compile(r"\n\n|[.!?\u2026][\"'\u201d\u2019)]?(?=\s|\Z)|[\u3002\uff01\uff1f]")
_CUT_MARK = " [...]"


def excerpt(text: str) -> str:
    """The text, or its beginning up to the end of a sentence: at most 1,600 characters."""
    start = text[:_CHARACTERS]
    if len(text) <= _CHARACTERS:
        return text
    ends = [match.end() for match in _END.finditer(start)] or [start.rfind(" ")]
    return (start[: ends[-1]] if ends[-1] >= len(start) // 3 else start).rstrip() + _CUT_MARK
