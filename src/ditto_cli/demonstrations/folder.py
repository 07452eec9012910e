"""A folder -> the texts in it, and what was left out and why. Nothing is left out silently, and no file is waited for.

Knows the folder's rules (which files count, in which order); what is inside a file is `formats`' business.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from ditto_cli.config import FOLDER_FILE
from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.formats import READERS, Reading, Skipped
from ditto_cli.demonstrations.template import is_unedited_template
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

MANY_TEXTS = 10  # from here on the method is outside of what it was made for
MAX_FILE_BYTES = 2 * 2**20
_DOCUMENT_SUFFIXES = frozenset({".pdf", ".doc", ".docx", ".odt", ".rtf", ".pages", ".msg", ".mbox", ".html", ".htm"})
_TEMPLATE_REASON = "the template, not edited yet"
_FOLDER_REASON = "a folder; only the files directly in the given folder are read"
_NUM_NAMES_SHOWN = 5


def read_folder(folder: Path) -> Reading:
    """The texts of a demonstrations folder, in the natural order of their names.

    Raises:
        InputError: no such folder, no usable text in it, or a file that claims to be a text and cannot be read.
    """
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    for path in _entries(folder):
        name = readable_name(path.name)
        if reason := _reason_to_skip(path):
            skipped.append(Skipped(name, reason))
            continue
        raw = _read_regular_file(path, name)
        if is_unedited_template(raw.decode("utf-8", errors="replace")):
            skipped.append(Skipped(name, _TEMPLATE_REASON))
            continue
        of_file = READERS[path.suffix.lower()](name, raw)
        texts += of_file.texts
        skipped += of_file.skipped
    unique, repeated = _without_repeats(texts)
    reading = Reading(tuple(unique), (*skipped, *repeated))
    if not reading.texts:
        raise InputError(_nothing_usable(folder, reading.skipped))
    return reading


def _entries(folder: Path) -> list[Path]:
    shown = readable_name(str(folder))
    try:
        mode = os.stat(folder).st_mode
        names = os.listdir(folder) if stat.S_ISDIR(mode) else None
    except FileNotFoundError:
        raise InputError(f"{shown} does not exist: give the folder that holds your texts.") from None
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} cannot be read ({type(error).__name__}): check the path and its rights.") from None
    if names is None:
        raise InputError(f"{shown} is not a folder: put the file into a folder of its own and give that.")
    if len({readable_name(name) for name in names}) < len(names):
        raise InputError(f"{shown} holds two files whose names look the same: rename one of them.")
    return [folder / name for name in sorted(names, key=_natural_key) if name != FOLDER_FILE]


def _natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    # "mail 9" before "mail 10": runs of digits count by their value.
    pieces = re.split(r"([0-9]+)", readable_name(name).casefold())
    return [(int(piece) if piece.isdecimal() and piece.isascii() else -1, piece) for piece in pieces], name


def _reason_to_skip(path: Path) -> str | None:
    if path.name.startswith("."):
        return "a hidden file"
    if path.name.lower().startswith("readme"):
        return "a README, not a text to learn from"
    if _is_folder(path):
        return _FOLDER_REASON
    suffix = path.suffix.lower()
    if suffix in READERS:
        return None
    if suffix in _DOCUMENT_SUFFIXES:
        return f"{suffix} is not read; save it as .txt"
    return f"not one of {', '.join(READERS)}"


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False  # told when it is read, if it claims to be a text


def _read_regular_file(path: Path, name: str) -> bytes:
    try:
        # Before opening: a FIFO would block here for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is a pipe, socket or device, not a file: take it out of the folder.")
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise InputError(
            f"{name} cannot be read ({type(error).__name__}): check its rights and where it links to, or take it away."
        ) from None
    if len(raw) > MAX_FILE_BYTES:
        raise InputError(
            f"{name} is larger than 2 MiB: give a text of a person, not an archive; save emails without attachments."
        )
    return raw


def _without_repeats(texts: Iterable[SourceText]) -> tuple[list[SourceText], list[Skipped]]:
    first_ids: dict[str, str] = {}
    unique: list[SourceText] = []
    repeated: list[Skipped] = []
    for source in texts:
        first = first_ids.setdefault(source.text, source.id)
        if first == source.id:
            unique.append(source)
        else:
            repeated.append(Skipped(source.id, f"same text as {first}"))
    return unique, repeated


def _nothing_usable(folder: Path, skipped: tuple[Skipped, ...]) -> str:
    shown = readable_name(str(folder))
    kinds = ", ".join(READERS)
    if template := next((entry.name for entry in skipped if entry.reason == _TEMPLATE_REASON), None):
        return (
            f"{shown} holds only the template: edit {template}, put a text of yours below its comment, and try again."
        )
    visible = [entry for entry in skipped if not entry.name.startswith(".")]
    if not visible:
        return f"{shown} is empty: put four to seven texts of one person into it ({kinds})."
    names = ", ".join(entry.name for entry in visible[:_NUM_NAMES_SHOWN])
    more = f" and {len(visible) - _NUM_NAMES_SHOWN} more" if len(visible) > _NUM_NAMES_SHOWN else ""
    if all(entry.reason == _FOLDER_REASON for entry in visible):
        return f"{shown} holds no text, only folders ({names}{more}): give the folder that holds the texts themselves."
    documents = any(Path(entry.name).suffix.lower() in _DOCUMENT_SUFFIXES for entry in visible)
    advice = "save each text as .txt" if documents else f"put four to seven texts into it ({kinds})"
    return f"{shown} holds nothing that can be read as a text ({names}{more}): {advice}."
