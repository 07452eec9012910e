"""What a user points at -> all texts in it: files of any format, mail archives, zip archives, folders with all below.

For `--from`, where one bad file among hundreds is said and left out. A zip archive is read in memory, never extracted.
Nothing is waited for. A folder of demonstrations is `folder`'s business.
"""

from __future__ import annotations

import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PAIRS_FILE
from ditto_cli.demonstrations.authorship import own_texts
from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.folder_files import PROMPT_FILE
from ditto_cli.demonstrations.mail.mailboxes import (
    apple_mbox_file,
    is_maildir,
    is_mbox,
    link_originals,
    read_maildir,
    read_mbox,
)
from ditto_cli.demonstrations.reader_basics import damaged, opened, read_whole
from ditto_cli.demonstrations.readers import READERS, max_bytes, read_safely, reason_to_skip
from ditto_cli.errors import InputError
from ditto_cli.types import People, Reading, Skipped, SourceText

MAX_FILES = 20_000  # in a zip archive
_MAX_DEPTH = 200  # of folders
MAX_TEXTS = 200_000
MAX_CHARACTERS = 2**21  # in one text
_HEAD_BYTES = 4096
_MAX_RATIO = 200  # uncompressed to compressed; text reaches 20, zeros 1,000
_RATIO_COUNTS_FROM_BYTES = 10 * 2**20
# What the standard library raises on damaged, protected and unknown archives and members.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, ArithmeticError, LookupError),
)

Item = SourceText | Skipped


def gather(paths: Sequence[Path], me: Sequence[str] = ()) -> Reading:
    """All texts below `paths`; of archives of mail and of chats only what the person wrote, as `only_own` tells it.

    Raises:
        UnknownAuthorError: several people wrote, and `me` names none of them.
        InputError: a path that cannot be read, nothing usable in any, or mail whose owner cannot be told.
    """
    items: list[Item] = []
    given: set[str] = set()
    num_texts: Counter[str] = Counter()  # by id: two files may have one name
    for path in paths:
        for item in read_source(path):
            if isinstance(item, SourceText):
                num_texts[item.id] += 1
                if (num := num_texts[item.id]) > 1:
                    item = replace(item, id=f"{item.id} ({num})")  # noqa: PLW2901
                if is_one_mail(path):
                    given.add(item.id)
            items.append(item)
            if len(items) > MAX_TEXTS:
                raise InputError(f"There are more than {MAX_TEXTS} texts in what is given: give a part of them.")
    reading = only_own(items, me, given=given)
    if not reading.texts:
        shown = ", ".join(readable_name(str(path)) for path in paths[:3])
        reasons = "; ".join(list(dict.fromkeys(entry.reason for entry in reading.skipped))[:3]) or "nothing"
        raise InputError(f"{shown}: there is no text of yours in it ({reasons}): give files or mail that you wrote.")
    return reading


def is_one_mail(path: Path) -> bool:
    """Whether it is a single mail, not an archive: who hands it in says that it is the person's."""
    return path.suffix.lower() == ".eml"


def only_own(items: Sequence[Item], me: Sequence[str] = (), *, given: Collection[str] = ()) -> Reading:
    """Without what others wrote; what a mail answers becomes part of its prompt where that mail is there too.

    `given` are ids of mails that were handed in one by one, and are the person's whatever their sender.
    """
    people = {names[-1]: names for item in items if isinstance(item, People) for names in item.names}
    texts = link_originals(
        [
            replace(item, authors=people.get((item.authors or ("",))[-1], item.authors))
            for item in items
            if isinstance(item, SourceText)
        ]
    )
    skipped = [item for item in items if isinstance(item, Skipped)]
    own, received = own_texts([text for text in texts if text.id not in given], me)
    kept = {text.id for text in own}.union(given)
    return Reading(tuple(text for text in texts if text.id in kept), (*skipped, *received))


def read_source(path: Path, name: str | None = None) -> Iterator[Item]:
    """The texts of one file or folder; a file of mails may have any name."""
    name = name or readable_name(path.name if path.name not in ("", "..") else path.resolve().name)
    suffix = path.suffix.lower()
    if os.path.isdir(path):
        yield from _of_folder(path, name)
    elif suffix in READERS:
        yield from _of_bytes(suffix, name, read_whole(path, name, max_bytes(suffix)))
    else:
        with opened(path, name) as file:
            if suffix not in STREAM_READERS and not is_mbox(file.read(_HEAD_BYTES)):
                raise InputError(f"{name} is left out: {reason_to_skip(path.name) or 'not a text'}.")
            file.seek(0)
            yield from STREAM_READERS.get(suffix, read_mbox)(name, file)


def _of_bytes(suffix: str, name: str, raw: bytes) -> Iterator[Item]:
    reading = read_safely(suffix, name, raw)
    for text in reading.texts:
        if len(text.text) > MAX_CHARACTERS:
            raise InputError(f"{text.id} has more than {MAX_CHARACTERS:,} characters: give the part that matters.")
    yield from reading.texts
    yield from reading.skipped


def _of_folder(folder: Path, name: str) -> Iterator[Item]:
    """The files in a folder and below it, in the order of their names; links to folders are not followed."""
    if is_maildir(folder):
        yield from read_maildir(name, folder)
        return
    if (mbox := apple_mbox_file(folder)) is not None:
        yield from read_source(mbox, name)
        return
    names = sorted(file_names(folder)) if name.count("/") < _MAX_DEPTH else []
    # What is kept back in a folder of demonstrations is never trained on.
    own = (FOLDER_FILE, PROMPT_FILE, PAIRS_FILE, HELD_OUT_FOLDER) if FOLDER_FILE in names else ()
    for entry in names:
        path, shown = folder / entry, f"{name}/{readable_name(entry)}"
        if entry.startswith(".") or entry in own or (os.path.isdir(path) and path.is_symlink()):
            continue
        # Thunderbird's mbox files have no suffix.
        is_of_known_kind = not path.suffix or path.suffix.lower() in (*READERS, *STREAM_READERS) or os.path.isdir(path)
        if not is_of_known_kind and (why := reason_to_skip(path.name)):
            yield Skipped(shown, why)
            continue
        try:
            yield from read_source(path, shown)
        except InputError as error:
            yield _left_out(shown, error)


def file_names(folder: Path) -> list[str]:
    """Names of all that lies in a folder; none where there is no folder."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _left_out(name: str, error: InputError) -> Skipped:
    """A part of what was given that cannot be read."""
    reason = str(error).removeprefix(name).removeprefix(" is left out").lstrip(": ").rstrip(".")
    return Skipped(name, reason)


def read_zip(name: str, stream: BinaryIO) -> Iterator[Item]:
    """The texts of an archive, in its order, as "export.zip/posts/a.html"."""
    try:
        package = zipfile.ZipFile(stream)
    except _DAMAGED:
        raise InputError(damaged(name)) from None
    with package:
        # Not is_dir(), which fails where a member has no name.
        members = [member for member in package.infolist() if not member.filename.endswith("/")]
        if len(members) > MAX_FILES:
            raise InputError(f"{name} holds more than {MAX_FILES} files: pack those of one person alone.")
        for member in members:
            identity = f"{name}/{readable_name(member.orig_filename)}"
            if why := _reason_not_to_open(member):
                yield Skipped(identity, why)
                continue
            try:
                if _is_mbox(member):
                    with package.open(member) as mails:
                        yield from read_mbox(identity, cast("BinaryIO", mails))
                else:
                    suffix = PurePosixPath(member.orig_filename).suffix.lower()
                    yield from _of_bytes(suffix, identity, package.read(member))
            except InputError as error:
                yield _left_out(identity, error)
            except _DAMAGED:
                yield Skipped(identity, "damaged in the archive, or protected with a password")


def _reason_not_to_open(member: zipfile.ZipInfo) -> str | None:
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link, not a file"
    suffix = PurePosixPath(member.orig_filename).suffix.lower()
    if suffix == ".zip":
        return "an archive in the archive: unpack it, and give its folder"
    if member.file_size > max(_RATIO_COUNTS_FROM_BYTES, _MAX_RATIO * member.compress_size):
        return "unpacks to far more than a text takes"
    if _is_mbox(member):
        return None
    limit = max_bytes(suffix)
    is_too_large = member.file_size > limit
    return reason_to_skip(member.orig_filename) or (f"larger than {limit // 2**20} MiB" if is_too_large else None)


def _is_mbox(member: zipfile.ZipInfo) -> bool:
    # Apple Mail exports a folder "Sent.mbox" with a file "mbox" in it.
    path = PurePosixPath(member.orig_filename)
    return path.suffix.lower() == ".mbox" or path.name == "mbox"


# (name for the user, the open file) -> what is in it, one text after the other.
STREAM_READERS: dict[str, Callable[[str, BinaryIO], Iterator[Item]]] = {".mbox": read_mbox, ".zip": read_zip}
