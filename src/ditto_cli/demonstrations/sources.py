"""What a user points at -> all texts in it: files of any format, mail archives, zip archives, folders with all below.

For `--from`, where one bad file among hundreds is said and left out. A zip archive is read in
memory, never extracted. A folder of demonstrations is `folder`'s business.
"""

from __future__ import annotations

import os
import re
import stat
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER
from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.formats.common import reason
from ditto_cli.demonstrations.formats.packages import DAMAGED, IS_ENCRYPTED, MAX_MEMBERS, is_bomb, kind_of_package
from ditto_cli.demonstrations.mail.mailboxes import (
    apple_mbox_file,
    is_maildir,
    is_mbox,
    link_originals,
    read_maildir,
    read_maildir_mail,
    read_mbox,
)
from ditto_cli.demonstrations.mail.message import parse_mail
from ditto_cli.demonstrations.opening import is_folder, opened, read_whole
from ditto_cli.demonstrations.people import own_texts
from ditto_cli.demonstrations.prompt_file import PROMPT_FILE
from ditto_cli.demonstrations.readers import (
    READERS,
    REFUSED,
    STREAM_SUFFIXES,
    max_bytes,
    read_safely,
    reason_to_skip,
)
from ditto_cli.errors import InputError
from ditto_cli.types import People, Reading, Skipped, SourceText

MAX_FILES = 20_000
MAX_TEXTS = 200_000
MAX_CHARACTERS = 2**21  # in one text
_HEAD_BYTES = 4096
MAX_READ_BYTES = 512 * 2**20  # of all members but mail archives, which are read a mail at a time
_DRIVE = re.compile(r"[A-Za-z]:")
_NUM_SHOWN = 3

Item = SourceText | Skipped


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
        # Thunderbird's mbox files have no suffix.
        is_of_known_kind = not path.suffix or path.suffix.lower() in (*READERS, *STREAM_READERS)
        if not is_of_known_kind and (reason := reason_to_skip(path.name)):
            yield Skipped(shown, reason)
            continue
        try:
            yield from read_file(path, shown)
        except InputError as error:
            yield Skipped(shown, str(error).removeprefix(shown).removeprefix(" is left out").lstrip(": ").rstrip("."))


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
            if not entry.startswith(".") and not (FOLDER_FILE in files and entry in (FOLDER_FILE, PROMPT_FILE)):
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


def read_zip(name: str, stream: BinaryIO) -> Iterator[Item]:
    """The texts of an archive, in its order, as "export.zip/posts/a.html"; a document named .zip is read as one.

    Args:
        name: the file, for the user.
        stream: the open file; it must be able to seek.

    Raises:
        InputError: no archive, damaged, made to fill the memory, or without any usable text.
    """
    try:
        package = zipfile.ZipFile(stream)
        kind = kind_of_package(package)
    except DAMAGED:
        raise InputError(
            f"{name} is damaged, or not a zip archive in spite of its name: open it in the program that wrote it, and "
            "save the texts as .txt."
        ) from None
    with package:
        if kind != "zip":
            yield from _read_packed_document(name, stream, kind)
            return
        # Not is_dir(), which fails where a member has no name.
        members = [member for member in package.infolist() if not member.filename.endswith("/")]
        if len(members) > MAX_MEMBERS:
            raise InputError(f"{name} holds more than {MAX_MEMBERS} files: pack those of one person alone.")
        if any(is_bomb(member) for member in members if reason_to_skip(member.filename) is None):
            raise InputError(
                f"{name} unpacks to far more than texts take, so it is not read: pack the texts themselves."
            )
        skipped: list[Skipped] = []
        is_usable = False
        for item in _read_members(name, package, members):
            if isinstance(item, SourceText):
                is_usable = True
            elif len(skipped) < _NUM_SHOWN:
                skipped.append(item)
            yield item
    if not is_usable:
        why = "; ".join(f"{item.name.removeprefix(name + '/')}: {item.reason}" for item in skipped)
        shown = f" ({why})" if why else ""
        raise InputError(f"{name} holds nothing that can be read as a text{shown}: pack the texts themselves.")


def _read_packed_document(name: str, stream: BinaryIO, kind: str) -> Iterator[Item]:
    suffix = f".{kind}"
    if suffix not in READERS:
        advice = REFUSED.get(suffix, "save its texts as .txt")
        raise InputError(f"{name} is no archive of texts but {advice}.")
    stream.seek(0)
    raw = stream.read(max_bytes(suffix) + 1)
    if len(raw) > max_bytes(suffix):
        raise InputError(f"{name} is larger than {max_bytes(suffix) // 2**20} MiB: save its text as .txt.")
    reading = read_safely(suffix, name, raw)
    yield from reading.texts
    yield from reading.skipped


def _read_members(name: str, package: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> Iterator[Item]:
    num_bytes = 0
    seen: set[str] = set()
    for member in members:
        identity = f"{name}/{readable_name(member.orig_filename)}"
        why = "a second file of this name" if identity in seen else _reason_not_to_open(member)
        seen.add(identity)
        if why is None and not _is_mbox(member):
            num_bytes += member.file_size
            if num_bytes > MAX_READ_BYTES:
                num_bytes -= member.file_size
                why = f"beyond the {MAX_READ_BYTES // 2**20} MiB that are read of an archive"
        if why is not None:
            yield Skipped(identity, why)
            continue
        try:
            yield from _read_member(identity, package, member)
        except InputError as error:
            yield Skipped(identity, reason(identity, error))
        except DAMAGED:
            yield Skipped(identity, "damaged in the archive")


def _reason_not_to_open(member: zipfile.ZipInfo) -> str | None:
    path = member.orig_filename
    if "\0" in path or "\\" in path or path.startswith("/") or _DRIVE.match(path) or ".." in path.split("/"):
        return "its path leads out of the archive"
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG):
        return "a link or device, not a file"
    if not _is_of_maildir(path):
        if path.lower().endswith(".zip"):
            return "an archive in the archive: unpack it, and give its folder"
        if not _is_mbox(member) and (why := reason_to_skip(path)):
            return why
    if member.flag_bits & IS_ENCRYPTED:
        return "protected with a password: pack it without one"
    limit = max_bytes(_suffix(path))
    return f"larger than {limit // 2**20} MiB" if member.file_size > limit else None


def _read_member(identity: str, package: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[Item]:
    if _is_mbox(member):
        with package.open(member) as stream:
            yield from read_mbox(identity, cast("BinaryIO", stream))
        return
    raw = package.read(member)
    suffix = _suffix(member.filename)
    if suffix == ".eml" or _is_of_maildir(member.filename):
        is_mail_file = suffix == ".eml" and not _is_of_maildir(member.filename)
        yield parse_mail(identity, raw) if is_mail_file else read_maildir_mail(identity, member.filename, raw)
        return
    reading = read_safely(suffix, identity, raw)
    yield from reading.texts
    yield from reading.skipped


def _is_mbox(member: zipfile.ZipInfo) -> bool:
    # Apple Mail exports a folder "Sent.mbox" with a file "mbox" in it.
    return _suffix(member.filename) == ".mbox" or PurePosixPath(member.filename).name == "mbox"


def _is_of_maildir(path: str) -> bool:
    parts = PurePosixPath(path).parts
    is_of_another_kind = _suffix(path) in (*READERS, *STREAM_SUFFIXES, *REFUSED)
    return len(parts) > 1 and parts[-2] in ("cur", "new") and not parts[-1].startswith(".") and not is_of_another_kind


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()


# (name for the user, the open file) -> what is in it, one text after the other.
STREAM_READERS: dict[str, Callable[[str, BinaryIO], Iterator[Item]]] = {".mbox": read_mbox, ".zip": read_zip}
