"""What a user points at -> all texts in it: files of any format, archives of mail, and folders with all below them.

For `--from`, where one bad file among hundreds is said and left out. A folder of demonstrations is `folder`'s business.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER
from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.mail.mailboxes import (
    apple_mbox_file,
    is_maildir,
    is_mbox,
    link_originals,
    read_maildir,
    read_mbox,
)
from ditto_cli.demonstrations.opening import is_folder, opened, read_whole
from ditto_cli.demonstrations.people import own_texts
from ditto_cli.demonstrations.readers import READERS, max_bytes, read_safely, reason_to_skip
from ditto_cli.demonstrations.reading import Reading, Skipped
from ditto_cli.demonstrations.zip_files import read_zip
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

MAX_FILES = 20_000
MAX_TEXTS = 200_000
MAX_CHARACTERS = 2**21  # in one text
_HEAD_BYTES = 4096

Item = SourceText | Skipped

# (name for the user, the open file) -> what is in it, one text after the other.
STREAM_READERS: dict[str, Callable[[str, BinaryIO], Iterator[Item]]] = {".mbox": read_mbox, ".zip": read_zip}


def gather(paths: Sequence[Path], me: Sequence[str] = ()) -> Reading:
    """All texts below `paths`; of archives of mail and of chats only what the person wrote.

    Args:
        paths: files and folders.
        me: names, ids and addresses of the person; found out from archives of mail where none is given.

    Raises:
        UnknownAuthorError: several people wrote, and `me` names none of them.
        InputError: a path that cannot be read, nothing usable in any, or mail whose owner cannot be told.
    """
    items: list[Item] = []
    given: set[str] = set()
    for path in paths:
        for item in read_source(path):
            items.append(item)
            if is_one_mail(path) and isinstance(item, SourceText):
                given.add(item.id)
            if len(items) > MAX_TEXTS:
                raise InputError(f"There are more than {MAX_TEXTS} texts in what is given: give a part of them.")
    reading = only_own(_with_own_ids(items), me, given=given)
    if not reading.texts:
        raise InputError(_nothing(paths, reading.skipped))
    return reading


def is_one_mail(path: Path) -> bool:
    """Whether it is a single mail, not an archive: who hands it in says that it is the person's."""
    return path.suffix.lower() == ".eml"


def only_own(items: Sequence[Item], me: Sequence[str] = (), *, given: Collection[str] = ()) -> Reading:
    """Without what others wrote; what a mail answers becomes part of its prompt where that mail is there too.

    Args:
        items: what was read.
        me: names, ids and addresses of the person; found out from archives of mail where none is given.
        given: ids of mails that were handed in one by one, and are the person's whatever their sender.

    Raises:
        InputError: texts of several people, and it cannot be told which are the person's.
    """
    texts = link_originals([item for item in items if isinstance(item, SourceText)])
    skipped = [item for item in items if isinstance(item, Skipped)]
    own, received = own_texts([text for text in texts if text.id not in given], me)
    kept = {text.id for text in own}.union(given)
    return Reading(tuple(text for text in texts if text.id in kept), (*skipped, *received))


def read_source(path: Path, name: str | None = None) -> Iterator[Item]:
    """The texts of one file or folder.

    Raises:
        InputError: it cannot be read, or (if it is a file) holds nothing usable.
    """
    name = name or readable_name(path.name if path.name not in ("", "..") else path.resolve().name)
    if is_folder(path):
        yield from _of_folder(path, name)
        return
    yield from read_file(path, name)


def read_file(path: Path, name: str) -> Iterator[Item]:
    """The texts of one file, by what its name says; a file of mails may have any name.

    Raises:
        InputError: it cannot be read, is of a kind that is not read, or holds nothing usable.
    """
    suffix = path.suffix.lower()
    if suffix in READERS:
        reading = read_safely(suffix, name, read_whole(path, name, max_bytes(suffix)))
        for text in reading.texts:
            if len(text.text) > MAX_CHARACTERS:
                raise InputError(f"{text.id} has more than {MAX_CHARACTERS:,} characters: give the part that matters.")
        yield from reading.texts
        yield from reading.skipped
        return
    with opened(path, name) as file:
        if suffix in STREAM_READERS:
            yield from STREAM_READERS[suffix](name, file)
            return
        head = file.read(_HEAD_BYTES)
        if not is_mbox(head):
            raise InputError(f"{name} is left out: {reason_to_skip(path.name) or 'not a text'}.")
        file.seek(0)
        yield from read_mbox(name, file)


def _of_folder(folder: Path, name: str) -> Iterator[Item]:
    if is_maildir(folder):
        yield from read_maildir(name, folder)
        return
    if (mbox := apple_mbox_file(folder)) is not None:
        yield from read_file(mbox, name)
        return
    for number, (path, shown) in enumerate(_files_below(folder, name)):
        if number >= MAX_FILES:
            raise InputError(f"{name} holds more than {MAX_FILES} files: give a folder with fewer, or single files.")
        if is_folder(path):  # an archive of mail in the form of a folder
            yield from _of_folder(path, shown)
            continue
        if path.suffix.lower() not in (*READERS, *STREAM_READERS) and (reason := reason_to_skip(path.name)):
            yield Skipped(shown, reason)
            continue
        try:
            yield from read_file(path, shown)
        except InputError as error:
            yield Skipped(shown, str(error).removeprefix(shown).lstrip(": ").rstrip("."))


def _files_below(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    """Files, and folders that are archives of mail, in the order of their names; links to folders are not followed."""
    for top, folders, files in os.walk(folder):
        here = Path(top)
        shown = name if here == folder else f"{name}/{readable_name(here.relative_to(folder).as_posix())}"
        archives = [f for f in folders if is_maildir(here / f) or apple_mbox_file(here / f) is not None]
        if FOLDER_FILE in files and HELD_OUT_FOLDER in folders:  # a folder of demonstrations: never trained on
            folders.remove(HELD_OUT_FOLDER)
        folders[:] = sorted(f for f in folders if f not in archives and not f.startswith("."))
        for entry in sorted([*archives, *files]):
            if not entry.startswith("."):
                yield here / entry, f"{shown}/{readable_name(entry)}"


def _with_own_ids(items: Sequence[Item]) -> list[Item]:
    """The same items; of texts with one id, as two files of one name have, the later ones get a number."""
    seen: dict[str, int] = {}
    unique: list[Item] = []
    for item in items:
        if isinstance(item, SourceText):
            seen[item.id] = seen.get(item.id, 0) + 1
            unique.append(item if seen[item.id] == 1 else replace(item, id=f"{item.id} ({seen[item.id]})"))
        else:
            unique.append(item)
    return unique


def _nothing(paths: Sequence[Path], skipped: Sequence[Skipped]) -> str:
    given = ", ".join(readable_name(str(path)) for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    reasons = list(dict.fromkeys(entry.reason for entry in skipped))
    why = f" ({'; '.join(reasons[:3])})" if reasons else ""
    return f"{given}: there is no text of yours in it{why}: give files or mail that you wrote."
