"""An archive of mails -> the mails in it, one at a time.

Reads mbox files (Thunderbird, Apple Mail, Gmail Takeout, Unix) and Maildir folders. What one mail says is `message`'s
business.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ditto_cli.demonstrations.encoding import readable_name
from ditto_cli.demonstrations.mail.message import NOT_KEPT, folder_kind, mail_prompt, parse_mail
from ditto_cli.errors import InputError
from ditto_cli.types import Skipped, SourceText

MAX_MESSAGE_BYTES = 32 * 2**20

_LINE_BYTES = 2**16
_HEAD_LINES, _HEAD_BYTES = 40, 4000  # of the headers below a separator
_LINE = re.compile(rb"From(?: ([^\r\n]{0,250}))?\r?\n")
_HEAD_LINE = re.compile(rb">?From |[!-9;-~]{1,76}:")
_HEADERS = re.compile(rb"^([!-9;-~]{1,76}):", re.MULTILINE)
_HEAD_END = re.compile(rb"\n\r?\n")
# What programs write behind "From ": nothing, a sign, an address, or a date in any language.
_ENVELOPE = re.compile(rb"\s*\Z|-(?:\s|\Z)|MAILER-DAEMON|(?:[^\s<>@]{0,50}\s){0,4}\S{1,200}@\S{1,200}(?:\s*\Z|.*\d\d)")
_TIME, _YEAR = re.compile(rb"\d[:.]\d\d(?!\d)"), re.compile(rb"(?<!\d)(?:19|20)\d\d(?!\d)")
_FIELDS = frozenset(b"from to cc bcc subject date sender reply-to in-reply-to references status message-id".split())
# Nobody types these below a line of a text.
_TECHNICAL = re.compile(
    rb"x-.+|received|return-path|delivered-to|envelope-to|mime-version|content-.+|message-id|dkim-signature|arc-.+"
    rb"|authentication-results"
)
_ESCAPED = re.compile(rb">+From ")
_FLAGS = re.compile(r"[:;!_-]2,([A-Za-z]*)$")


def is_mbox(head: bytes) -> bool:
    """Whether a file that begins with `head` (a kilobyte is enough) is an mbox, whatever its name."""
    line, _, below = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")
    return _is_separator(line + b"\n", below)


def is_maildir(folder: Path) -> bool:
    """Whether a folder is a Maildir: it has a real folder cur, and new, which a copy may have lost as it was empty."""
    if not _is_real(folder / "cur"):
        return False
    try:
        return _is_real(folder / "new") or any(map(_FLAGS.search, os.listdir(folder / "cur")))
    except OSError:
        return False


def apple_mbox_file(folder: Path) -> Path | None:
    """The file "mbox" in a folder as Apple Mail exports it ("Sent.mbox" is a folder); None if there is none."""
    file = folder / "mbox"
    return file if os.path.isfile(file) and not os.path.islink(file) else None


def read_mbox(name: str, stream: BinaryIO) -> Iterator[SourceText | Skipped]:
    """The mails of an mbox, in their order, as "Sent.mbox#17"; never more than one is held in memory."""
    number = 0
    for number, raw in enumerate(_messages(name, stream), start=1):
        yield _mail_of_archive(f"{name}#{number}", name, raw)
    if not number:
        raise InputError(
            f"{name} holds no mail that begins with a line 'From ...', so it is not an mbox: "
            "export the mails as .mbox or .eml, or give another file."
        )


def read_maildir(name: str, folder: Path) -> Iterator[SourceText | Skipped]:
    """The mails of a Maildir's cur and new, by file name, and then those of the folders below it, as "Mail/.Sent#3".

    Links are left alone.
    """
    try:
        parts = [folder / part for part in ("cur", "new") if _is_real(folder / part)]
        files = [path for part in parts for path in part.iterdir() if not path.name.startswith(".")]
        folders = sorted(path.name for path in folder.iterdir() if _is_real(path))
    except OSError as error:
        raise InputError(f"{name} cannot be read ({type(error).__name__}): check the folder and its rights.") from None
    for number, path in enumerate(sorted(files, key=lambda path: path.name), start=1):
        identity = f"{name}#{number}"
        flags = match[1] if (match := _FLAGS.search(path.name)) else ""
        if path.is_symlink() or not path.is_file():  # a link, a folder, or something that never ends
            yield Skipped(identity, "not a file")
        elif "D" in flags or "T" in flags:
            yield Skipped(identity, "a draft" if "D" in flags else "in the trash")
        else:
            try:
                with path.open("rb") as file:
                    raw = file.read(MAX_MESSAGE_BYTES + 1)
            except OSError as error:
                yield Skipped(identity, f"cannot be read ({type(error).__name__})")
                continue
            yield _mail_of_archive(identity, str(folder), raw if len(raw) <= MAX_MESSAGE_BYTES else None)
    for below in folders:
        if below not in ("cur", "new", "tmp") and any(_is_real(folder / below / part) for part in ("cur", "new")):
            yield from read_maildir(f"{name}/{readable_name(below)}", folder / below)


def link_originals(texts: Sequence[SourceText]) -> list[SourceText]:
    """The same texts; a reply to a mail among them has that mail's text as its original, and the prompt that follows.

    Give it all mails of an archive, received ones too, before `own_texts`.
    """
    by_identity = {
        source.mail.message_id: source for source in reversed(texts) if source.mail and source.mail.message_id
    }
    linked: list[SourceText] = []
    for source in texts:
        mail = source.mail
        answered = by_identity.get(mail.in_reply_to) if mail is not None and mail.in_reply_to else None
        if mail is not None and answered is not None and answered is not source:
            mail = replace(mail, original=answered.text)
            source = replace(source, mail=mail, prompt=mail_prompt(mail))  # noqa: PLW2901
        linked.append(source)
    return linked


def _mail_of_archive(identity: str, archive: str, raw: bytes | None) -> SourceText | Skipped:
    kind = folder_kind(archive)
    if kind in NOT_KEPT:
        return Skipped(identity, NOT_KEPT[kind])
    if raw is None:
        return Skipped(identity, f"larger than {MAX_MESSAGE_BYTES // 2**20} MiB")
    found = parse_mail(identity, raw)
    if kind == "sent" and isinstance(found, SourceText) and found.mail is not None and found.mail.is_sent is None:
        return replace(found, mail=replace(found.mail, is_sent=True))
    return found


def _messages(name: str, stream: BinaryIO) -> Iterator[bytes | None]:
    """Each message without its separator; None for one that is too large to hold.

    What stands above the first separator is one, too, if there is any separator.
    """
    held: list[bytes] = []
    below: deque[bytes] = deque()  # lines that were read to tell whether a message begins above them
    size = num_separators = 0
    read = partial(stream.readline, _LINE_BYTES)
    try:
        while line := below.popleft() if below else read():
            if line.startswith(b"From"):
                while len(below) < _HEAD_LINES and (further := read()):
                    below.append(further)
                if _is_separator(line, b"".join(below)):
                    num_separators += 1
                    if size and (num_separators > 1 or b"".join(held).strip(b"\xef\xbb\xbf\r\n")):
                        yield b"".join(held) if size <= MAX_MESSAGE_BYTES else None
                    held, size = [], 0
                    continue
            size += len(line)
            if size <= MAX_MESSAGE_BYTES:
                held.append(line[1:] if _ESCAPED.match(line) else line)
            else:
                held.clear()
    except OSError as error:
        raise InputError(
            f"{name} cannot be read to its end ({type(error).__name__}): copy it to another disk and try again."
        ) from None
    if num_separators:
        yield b"".join(held) if size <= MAX_MESSAGE_BYTES else None


def _is_separator(line: bytes, below: bytes) -> bool:
    """Whether a message begins with the line; what stands below it tells."""
    separator = _LINE.match(line)
    if separator is None or not _HEAD_LINE.match(below):
        return False
    blank = _HEAD_END.search(below)
    names = {found.lower() for found in _HEADERS.findall(below[: blank.start() if blank else _HEAD_BYTES])}
    is_technical = any(_TECHNICAL.fullmatch(found) for found in names)
    behind = separator[1] or b""
    is_envelope = _ENVELOPE.match(behind) or (_TIME.search(behind) and _YEAR.search(behind))
    return bool(is_envelope and (is_technical or names & _FIELDS)) or bool(is_technical and names & _FIELDS)


def _is_real(folder: Path) -> bool:
    return os.path.isdir(folder) and not os.path.islink(folder)
