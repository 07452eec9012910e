"""An archive of mails -> the mails in it, one at a time.

Reads mbox files (Thunderbird, Apple Mail, Gmail Takeout, Unix) and Maildir folders. What one mail says is `message`'s
business.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from ditto_cli.demonstrations.mail.headers import is_sent_folder
from ditto_cli.demonstrations.mail.message import mail_prompt, parse_mail
from ditto_cli.demonstrations.reading import Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

MAX_MESSAGE_BYTES = 32 * 2**20
TOO_LARGE = "larger than 32 MiB"

_CHUNK_BYTES = 2**20
_SEPARATOR_BYTES = 1024  # a separator, the blank line above it and the header below it
_DATE = (
    rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? +(?:(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2}|\d{1,2} +"
    rb"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)) +[^\r\n]{0,40}\d{2}:\d{2}[^\r\n]{0,40}"
)
# A line "From " alone is what a recent Thunderbird writes. Below a separator stands a header.
_SEPARATOR = re.compile(rb"From (?:[^\r\n]{1,250}? " + _DATE + rb")?\r?\n(?=>?From |[!-9;-~]{1,76}:)")
_LINE_END_ABOVE = b"\n\r\n"
_ESCAPED = re.compile(rb"^>(>*From )", re.MULTILINE)
_FLAGS = re.compile(r"[:!;]2,([A-Za-z]*)$")


def is_mbox(head: bytes) -> bool:
    """Whether a file that begins with `head` (a kilobyte is enough) is an mbox, whatever its name."""
    return _SEPARATOR.match(_without_blank_start(head)) is not None


def is_maildir(folder: Path) -> bool:
    """Whether a folder is a Maildir: it has real folders cur and new."""
    return all(_is_real_folder(folder / part) for part in ("cur", "new"))


def apple_mbox_file(folder: Path) -> Path | None:
    """The file "mbox" in a folder as Apple Mail exports it ("Sent.mbox" is a folder); None if there is none."""
    file = folder / "mbox"
    try:
        return file if stat.S_ISREG(os.lstat(file).st_mode) else None
    # ValueError: a NUL in the path.
    except (OSError, ValueError):
        return None


def read_mbox(name: str, stream: BinaryIO) -> Iterator[SourceText | Skipped]:
    """The mails of an mbox, in their order, as "Sent.mbox#17"; never more than one is held in memory.

    Raises:
        InputError: the file holds no message, or cannot be read to its end.
    """
    number = 0
    for raw in _messages(name, stream):
        number += 1
        yield _mail_of_archive(f"{name}#{number}", name, raw)
    if not number:
        raise InputError(
            f"{name} holds no mail that begins with a line 'From ...', so it is not an mbox: "
            "export the mails as .mbox or .eml, or give another file."
        )


def read_maildir(name: str, folder: Path) -> Iterator[SourceText | Skipped]:
    """The mails of a Maildir's cur and new, by file name; links and subfolders are left alone.

    Raises:
        InputError: the folder cannot be read.
    """
    files: list[tuple[str, str]] = []
    for part in ("cur", "new"):
        try:
            with os.scandir(folder / part) as entries:
                files += [(entry.name, entry.path) for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(
                f"{name} cannot be read ({type(error).__name__}): check the folder and its rights."
            ) from None
    for number, (file_name, path) in enumerate(sorted(files), start=1):
        identity = f"{name}#{number}"
        flags = match[1] if (match := _FLAGS.search(file_name)) else ""
        if "D" in flags or "T" in flags:
            yield Skipped(identity, "a draft" if "D" in flags else "in the trash")
            continue
        raw = _file_of_maildir(path)
        yield Skipped(identity, raw) if isinstance(raw, str) else _mail_of_archive(identity, name, raw)


def link_originals(texts: Sequence[SourceText]) -> list[SourceText]:
    """The same texts; a reply to a mail among them has that mail's text as its original, and the prompt that follows.

    Give it all mails of an archive, received ones too, before `people.own_mails`.
    """
    by_identity = {
        source.mail.message_id: source for source in reversed(texts) if source.mail and source.mail.message_id
    }
    linked: list[SourceText] = []
    for source in texts:
        mail = source.mail
        if mail is None or mail.form != "reply" or mail.in_reply_to is None:
            linked.append(source)
            continue
        answered = by_identity.get(mail.in_reply_to)
        if answered is not None and answered is not source:
            mail = replace(mail, original=answered.text)
            source = replace(source, mail=mail, prompt=mail_prompt(mail))  # noqa: PLW2901
        linked.append(source)
    return linked


def _mail_of_archive(identity: str, archive: str, raw: bytes | None) -> SourceText | Skipped:
    if raw is None:
        return Skipped(identity, TOO_LARGE)
    found = parse_mail(identity, raw)
    if (
        isinstance(found, SourceText)
        and found.mail is not None
        and found.mail.is_sent is None
        and is_sent_folder(archive)
    ):
        return replace(found, mail=replace(found.mail, is_sent=True))
    return found


def _messages(name: str, stream: BinaryIO) -> Iterator[bytes | None]:
    """Each message without its separator; None for one that is too large to hold."""
    data = _start(name, stream)
    match = _SEPARATOR.match(data)
    is_inside = match is not None
    data = data[match.end() :] if match else data
    held: list[bytes] = []
    size = 0
    is_last = False
    while not is_last:
        chunk = _chunk(name, stream)
        is_last = not chunk
        # What the next chunk may turn into a separator waits for it.
        limit = len(data) if is_last else len(data) - _SEPARATOR_BYTES
        start = 0
        for match in _separators(data, limit):
            if is_inside:
                yield _joined([*held, data[start : match.start()]], size + match.start() - start)
            is_inside, held, size, start = True, [], 0, match.end()
        # The two line ends above a separator stay with it.
        keep = len(data) if is_last else max(start, limit - len(_LINE_END_ABOVE))
        size += keep - start
        if is_inside:
            held = [*held, data[start:keep]] if size <= MAX_MESSAGE_BYTES else []
        data = data[keep:] + chunk
    if is_inside:
        yield _joined(held, size)


def _start(name: str, stream: BinaryIO) -> bytes:
    """The first bytes, enough for a separator, without the blank lines above it."""
    data = b""
    while len(data) < _SEPARATOR_BYTES and (chunk := _chunk(name, stream)):
        data = _without_blank_start(data + chunk)
    return data


def _separators(data: bytes, limit: int) -> Iterator[re.Match[bytes]]:
    """The lines before `limit` with which a message begins."""
    position = data.find(b"\nFrom ")
    while 0 <= position < limit - 1:
        is_below_blank_line = data[max(0, position - 2) : position].endswith((b"\n", b"\n\r"))
        match = _SEPARATOR.match(data, position + 1) if is_below_blank_line else None
        if match is not None:
            yield match
        position = data.find(b"\nFrom ", position + 1)


def _joined(pieces: list[bytes], size: int) -> bytes | None:
    if size > MAX_MESSAGE_BYTES:
        return None
    raw = b"".join(pieces)
    return _ESCAPED.sub(rb"\1", raw) if b">From " in raw else raw


def _chunk(name: str, stream: BinaryIO) -> bytes:
    try:
        return stream.read(_CHUNK_BYTES)
    except OSError as error:
        kind = type(error).__name__
        raise InputError(f"{name} cannot be read to its end ({kind}): copy it to another disk and try again.") from None


def _without_blank_start(data: bytes) -> bytes:
    return data.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")


def _file_of_maildir(path: str) -> bytes | str:
    """The file's bytes, or why it is not read."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return "not a file"  # a link, a folder, or something that never ends
        with open(path, "rb") as file:
            raw = file.read(MAX_MESSAGE_BYTES + 1)
    except OSError as error:
        return f"cannot be read ({type(error).__name__})"
    return raw if len(raw) <= MAX_MESSAGE_BYTES else TOO_LARGE


def _is_real_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except (OSError, ValueError):
        return False
