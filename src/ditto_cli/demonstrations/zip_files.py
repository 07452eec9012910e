"""A .zip of texts, as programs and services export them -> the texts in it. Read in memory, never extracted.

What is inside a member is the other readers' business. A member that cannot be read is left out, and said.
"""

from __future__ import annotations

import lzma
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, cast

from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.formats.common import reason
from ditto_cli.demonstrations.formats.limits import limited, parsing
from ditto_cli.demonstrations.formats.packages import MAX_MEMBERS, is_bomb, kind_of_package
from ditto_cli.demonstrations.mail.mailboxes import read_mbox
from ditto_cli.demonstrations.mail.message import parse_mail
from ditto_cli.demonstrations.readers import READERS, REFUSED, STREAM_SUFFIXES, max_bytes, reason_to_skip
from ditto_cli.demonstrations.reading import Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

MAX_READ_BYTES = 512 * 2**20  # of all members but mail archives, which are read a mail at a time
# What the standard library raises on damaged, protected and unknown members.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)
_DRIVE = re.compile(r"[A-Za-z]:")
_MAILDIR_FLAGS = re.compile(r"[:;!_-]2,([A-Za-z]*)$")
_IS_ENCRYPTED = 0x1
_NUM_SHOWN = 3


def read_zip(name: str, stream: BinaryIO) -> Iterator[SourceText | Skipped]:
    """The texts of an archive, in its order, as "export.zip/posts/a.html"; a document named .zip is read as one.

    Args:
        name: the file, for the user.
        stream: the open file; it must be able to seek.

    Raises:
        InputError: no archive, damaged, made to fill the memory, or without any usable text.
    """
    with parsing(name, "a zip archive"):
        package = zipfile.ZipFile(stream)
        kind = kind_of_package(package)
    with package:
        if kind != "zip":
            yield from _read_document(name, stream, kind)
            return
        # Not is_dir(), which fails where a member has no name.
        members = [member for member in package.infolist() if not member.filename.endswith("/")]
        _check_archive(name, members)
        skipped: list[Skipped] = []
        is_usable = False
        for item in _read_members(name, package, members):
            is_usable = is_usable or isinstance(item, SourceText)
            if isinstance(item, Skipped) and len(skipped) < _NUM_SHOWN:
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
    reading = READERS[suffix](name, raw)
    yield from reading.texts
    yield from reading.skipped


def _check_archive(name: str, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_MEMBERS:
        raise InputError(f"{name} holds more than {MAX_MEMBERS} files: pack those of one person alone.")
    if any(is_bomb(member) for member in members if reason_to_skip(member.filename) is None):
        raise InputError(f"{name} unpacks to far more than texts take, so it is not read: pack the texts themselves.")


def _read_members(
    name: str, package: zipfile.ZipFile, members: list[zipfile.ZipInfo]
) -> Iterator[SourceText | Skipped]:
    num_bytes = 0
    seen: set[str] = set()
    for member in members:
        identity = f"{name}/{readable_name(member.orig_filename)}"
        if why := _reason_not_to_open(member):
            yield Skipped(identity, why)
        elif identity in seen:
            yield Skipped(identity, "a second file of this name")
        elif _is_mbox(member):
            yield from _read_mail_archive(identity, package, member)
        elif num_bytes + member.file_size > MAX_READ_BYTES:
            yield Skipped(identity, f"beyond the {MAX_READ_BYTES // 2**20} MiB that are read of an archive")
        else:
            num_bytes += member.file_size
            yield from _read_member(identity, package, member)
        seen.add(identity)


def _reason_not_to_open(member: zipfile.ZipInfo) -> str | None:
    path = member.orig_filename
    if "\0" in path or "\\" in path or path.startswith("/") or _DRIVE.match(path) or ".." in path.split("/"):
        return "its path leads out of the archive"
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link or device, not a file"
    if _is_of_maildir(path):
        why = None
    elif path.lower().endswith(".zip"):
        return "an archive in the archive: unpack it, and give its folder"
    else:
        why = None if _is_mbox(member) else reason_to_skip(path)
    if why:
        return why
    if member.flag_bits & _IS_ENCRYPTED:
        return "protected with a password: pack it without one"
    limit = max_bytes(_suffix(path))
    return f"larger than {limit // 2**20} MiB" if member.file_size > limit else None


def _read_member(identity: str, package: zipfile.ZipFile, member: zipfile.ZipInfo) -> Iterator[SourceText | Skipped]:
    try:
        with limited(identity):
            raw = package.read(member)
        suffix = _suffix(member.filename)
        if suffix == ".eml" or _is_of_maildir(member.filename):
            yield _read_mail(identity, member.filename, raw)
            return
        reading = READERS[suffix](identity, raw)
    except InputError as error:
        yield Skipped(identity, reason(identity, error))
    except _DAMAGED:
        yield Skipped(identity, "damaged in the archive")
    else:
        yield from reading.texts
        yield from reading.skipped


def _read_mail(identity: str, path: str, raw: bytes) -> SourceText | Skipped:
    flags = match[1] if (match := _MAILDIR_FLAGS.search(path)) else ""
    if "D" in flags or "T" in flags:
        return Skipped(identity, "a draft" if "D" in flags else "in the trash")
    return parse_mail(identity, raw)


def _read_mail_archive(
    identity: str, package: zipfile.ZipFile, member: zipfile.ZipInfo
) -> Iterator[SourceText | Skipped]:
    try:
        with package.open(member) as stream:
            yield from read_mbox(identity, cast("BinaryIO", stream))
    except InputError as error:
        yield Skipped(identity, reason(identity, error))
    except _DAMAGED:
        yield Skipped(identity, "damaged in the archive")


def _is_mbox(member: zipfile.ZipInfo) -> bool:
    # Apple Mail exports a folder "Sent.mbox" with a file "mbox" in it.
    path = PurePosixPath(member.filename)
    return _suffix(member.filename) == ".mbox" or path.name == "mbox"


def _is_of_maildir(path: str) -> bool:
    parts = PurePosixPath(path).parts
    is_of_another_kind = _suffix(path) in (*READERS, *STREAM_SUFFIXES, *REFUSED)
    return len(parts) > 1 and parts[-2] in ("cur", "new") and not parts[-1].startswith(".") and not is_of_another_kind


def _suffix(path: str) -> str:
    return PurePosixPath(path).suffix.lower()
