"""A folder -> the texts in it, and what was left out and why. Nothing is left out silently, and no file is waited for.

Knows the folder's rules (which files count, in which order); what is inside a file is `formats`' business.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, FolderFile
from ditto_cli.demonstrations.choice import Limits
from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.mail.mailboxes import apple_mbox_file, is_maildir
from ditto_cli.demonstrations.opening import is_folder, opened
from ditto_cli.demonstrations.prompt_file import PROMPT_FILE
from ditto_cli.demonstrations.readers import reason_to_skip
from ditto_cli.demonstrations.redaction import redactor_for
from ditto_cli.demonstrations.sources import Item, is_one_mail, only_own, read_source
from ditto_cli.demonstrations.splitting import divided
from ditto_cli.demonstrations.template import is_unedited_template, template_text
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

MANY_TEXTS = 10  # from here on the method is outside of what it was made for
MAX_TEXTS = 50  # more than anybody waits for
_TEMPLATE_REASON = "the template, not edited yet"
_FOLDER_REASON = "a folder; only the files directly in the given folder are read"
_HELD_OUT_REASON = "texts that are kept back"
_USUAL_KINDS = ".txt, .md, .eml, .docx, .pdf, .html, .zip, ..."
_NUM_NAMES_SHOWN = 3
_NUM_REASONS_SHOWN = 2


class NothingUsableError(InputError):
    """A folder that is there and holds no text yet."""


def read_folder(folder: Path, settings: FolderFile | None = None) -> Reading:
    """The texts of a demonstrations folder, in the natural order of their names.

    Args:
        folder: where they lie.
        settings: its ditto.yaml: whose mail it is, and whether texts are redacted and long ones split.

    Raises:
        NothingUsableError: no text in it can be used.
        InputError: no such folder, too many texts, or a file that claims to be a text and cannot be read.
    """
    settings = settings or FolderFile()
    items: list[Item] = []
    given: set[str] = set()
    if is_maildir(folder):
        items += read_source(folder, readable_name(folder.resolve().name))
    else:
        for path in _entries(folder):
            name = readable_name(path.name)
            items += [Skipped(name, reason)] if (reason := _reason_to_skip(path)) else read_source(path, name)
            if is_one_mail(path):
                given.add(name)
    reading = only_own(items, settings.me, given=given)
    texts, repeated = _without_repeats(reading.texts)
    reading = Reading(tuple(_prepared(texts, settings)), (*reading.skipped, *repeated))
    if not reading.texts:
        raise NothingUsableError(_nothing_usable(folder, reading.skipped))
    if len(reading.texts) > MAX_TEXTS:
        shown = readable_name(str(folder))
        raise InputError(
            f"{shown} holds {len(reading.texts)} texts, too many to learn from: choose the best into a new folder: "
            f"ditto init NEW_FOLDER --from {shown} --pick 7."
        )
    return reading


def read_held_out(folder: Path, settings: FolderFile | None = None) -> Reading:
    """The texts that are kept back in a demonstrations folder's `held_out`; ids begin with "held_out/".

    Raises:
        InputError: a file there that claims to be a text cannot be read.
    """
    kept_back = folder / HELD_OUT_FOLDER
    if not is_folder(kept_back) or not any(not name.startswith(".") for name in file_names(kept_back)):
        return Reading(())
    # a.md beside it is another text than held_out/a.md.
    reading = read_folder(kept_back, settings)
    return Reading(
        tuple(replace(text, id=f"{HELD_OUT_FOLDER}/{text.id}") for text in reading.texts),
        tuple(Skipped(f"{HELD_OUT_FOLDER}/{entry.name}", entry.reason) for entry in reading.skipped),
    )


def file_names(folder: Path) -> list[str]:
    """Names of all that lies in a folder; none where there is no folder."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _prepared(texts: Sequence[SourceText], settings: FolderFile) -> Iterator[SourceText]:
    """The texts as ditto.yaml wants them: long ones in parts, personal data replaced."""
    redactor = redactor_for(settings.redact, [text.text for text in texts])
    max_words = Limits().max_words
    for whole in texts:
        for text in divided(whole, notes=True, max_words=max_words) if settings.split else [whole]:
            yield text if redactor is None else redactor.redacted(text)


def _entries(folder: Path) -> list[Path]:
    shown = readable_name(str(folder))
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        raise InputError(f"{shown} does not exist: give the folder that holds your texts.") from None
    except NotADirectoryError:
        raise InputError(f"{shown} is not a folder: put the file into a folder of its own and give that.") from None
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} cannot be read ({type(error).__name__}): check the path and its rights.") from None
    if len({readable_name(name) for name in names}) < len(names):
        raise InputError(f"{shown} holds two files whose names look the same: rename one of them.")
    return [folder / name for name in sorted(names, key=_natural_key) if name not in (FOLDER_FILE, PROMPT_FILE)]


def _natural_key(name: str) -> tuple[list[tuple[int, str]], str]:
    # "mail 9" before "mail 10": runs of digits count by their value.
    pieces = re.split(r"([0-9]+)", readable_name(name).casefold())
    return [(int(piece) if piece.isdecimal() and piece.isascii() else -1, piece) for piece in pieces], name


def _reason_to_skip(path: Path) -> str | None:
    if is_folder(path) and not path.name.startswith("."):
        if path.name == HELD_OUT_FOLDER:
            return _HELD_OUT_REASON
        return None if is_maildir(path) or apple_mbox_file(path) is not None else _FOLDER_REASON
    return reason_to_skip(path.name) or (_TEMPLATE_REASON if _is_template(path) else None)


def _is_template(path: Path) -> bool:
    size = len(template_text()) * 2
    if path.suffix.lower() != ".md" or not path.is_file():
        return False
    with opened(path, readable_name(path.name)) as file:
        return is_unedited_template(file.read(size).decode("utf-8", errors="replace"))


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
    if template := next((entry.name for entry in skipped if entry.reason == _TEMPLATE_REASON), None):
        return (
            f"{shown} holds only the template: edit {template}, put a text of yours below its comment, and try again."
        )
    visible = [entry for entry in skipped if not entry.name.startswith(".")]
    if not visible:
        return f"{shown} is empty: put four to seven texts of one person into it ({_USUAL_KINDS})."
    if all(entry.reason in (_FOLDER_REASON, _HELD_OUT_REASON) for entry in visible):
        names = _few([entry.name for entry in visible])
        return f"{shown} holds no text, only folders ({names}): give the folder that holds the texts themselves."
    names_of: dict[str, list[str]] = {}
    for entry in visible:
        names_of.setdefault(entry.reason, []).append(entry.name)
    reasons = list(names_of.items())
    details = "; ".join(f"{_few(names)}: {reason}" for reason, names in reasons[:_NUM_REASONS_SHOWN])
    more = ", ..." if len(reasons) > _NUM_REASONS_SHOWN else ""
    return f"{shown} holds nothing to learn from ({details}{more}): put four to seven texts into it."


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NUM_NAMES_SHOWN} more" if len(names) > _NUM_NAMES_SHOWN else ""
    return ", ".join(names[:_NUM_NAMES_SHOWN]) + more
