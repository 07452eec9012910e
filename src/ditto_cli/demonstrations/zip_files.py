"""A .zip of texts, as programs and services export them -> the texts in it. Read in memory, never extracted.

What is inside a member is the other readers' business. A member that cannot be read is left out, and said.
"""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.formats.common import reason
from ditto_cli.demonstrations.formats.packages import DAMAGED, IS_ENCRYPTED, MAX_MEMBERS, is_bomb, kind_of_package
from ditto_cli.demonstrations.mail.mailboxes import read_mbox
from ditto_cli.demonstrations.mail.message import parse_mail
from ditto_cli.demonstrations.readers import (
    READERS,
    REFUSED,
    STREAM_SUFFIXES,
    max_bytes,
    read_safely,
    reason_to_skip,
)
from ditto_cli.demonstrations.reading import Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

MAX_READ_BYTES = 512 * 2**20  # of all members but mail archives, which are read a mail at a time
_DRIVE = re.compile(r"[A-Za-z]:")
_MAILDIR_FLAGS = re.compile(r"[:;!_-]2,([A-Za-z]*)$")
_NUM_SHOWN = 3


def read_zip(name: str, stream: BinaryIO) -> Iterator[SourceText | Skipped]:
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
            yield from _read_document(name, stream, kind)
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


def _read_document(name: str, stream: BinaryIO, kind: str) -> Iterator[SourceText | Skipped]:
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


def _read_members(
    name: str, package: zipfile.ZipFile, members: list[zipfile.ZipInfo]
) -> Iterator[SourceText | Skipped]:
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


def _read_member(identity: str, package: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[SourceText | Skipped]:
    if _is_mbox(member):
        with package.open(member) as stream:
            yield from read_mbox(identity, cast("BinaryIO", stream))
        return
    raw = package.read(member)
    suffix = _suffix(member.filename)
    if suffix == ".eml" or _is_of_maildir(member.filename):
        flags = match[1] if (match := _MAILDIR_FLAGS.search(member.filename)) else ""
        if "D" in flags or "T" in flags:
            yield Skipped(identity, "a draft" if "D" in flags else "in the trash")
        else:
            yield parse_mail(identity, raw)
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
