"""Which reader reads a file, by its suffix; how large it may be; and what is said of files that are not read."""

from __future__ import annotations

from pathlib import PurePosixPath

from ditto_cli.demonstrations.formats.chats import read_chat_text
from ditto_cli.demonstrations.formats.office import read_office
from ditto_cli.demonstrations.formats.pdf import read_pdf
from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain
from ditto_cli.demonstrations.formats.records import read_csv, read_json, read_jsonl
from ditto_cli.demonstrations.formats.web import read_page
from ditto_cli.demonstrations.mail.message import read_email
from ditto_cli.demonstrations.reading_process import ReadingProcess
from ditto_cli.demonstrations.words import words
from ditto_cli.types import Reader, Reading


def _read_text(name: str, raw: bytes) -> Reading:
    return read_chat_text(name, raw) or read_plain(name, raw)


def _read_markdown(name: str, raw: bytes) -> Reading:
    return read_chat_text(name, raw) or read_markdown(name, raw)


READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".docx": read_office,
    ".eml": read_email,
    ".htm": read_page,
    ".html": read_page,
    ".js": read_json,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".markdown": _read_markdown,
    ".md": _read_markdown,
    ".odt": read_office,
    ".pdf": read_pdf,
    ".tsv": read_csv,
    ".txt": _read_text,
}
# Their readers run here, unless it is a chat of years; those of all other kinds in a process that may hang.
_QUICK_SUFFIXES = (".eml", ".markdown", ".md", ".txt")
# Read one text after the other: they may be far larger than the memory. Their readers are in `sources`.
STREAM_SUFFIXES = (".mbox", ".zip")

_MEBIBYTE = 2**20
_TEXT_BYTES = 2 * _MEBIBYTE  # a novel
_MAX_BYTES = {
    **dict.fromkeys((".htm", ".html"), 16 * _MEBIBYTE),
    # With pictures and attachments; a chat of years.
    **dict.fromkeys((".docx", ".eml", ".odt", ".pdf", ".txt"), 32 * _MEBIBYTE),
    **dict.fromkeys((".csv", ".js", ".json", ".jsonl", ".tsv"), 64 * _MEBIBYTE),
    ".zip": 2048 * _MEBIBYTE,
    ".mbox": 64 * 1024 * _MEBIBYTE,
}
REFUSED: dict[str, str] = {suffix: reason for reason, suffixes in words("refused_kinds").items() for suffix in suffixes}
_OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})

_process = ReadingProcess()


def read_safely(suffix: str, name: str, raw: bytes) -> Reading:
    """What a file holds, whatever its bytes are and whatever a library makes of them; `suffix` is a key of `READERS`.

    Raises:
        InputError: nothing can be read, or not within the limits of time and memory.
    """
    is_quick = suffix in _QUICK_SUFFIXES and (suffix == ".eml" or len(raw) <= _TEXT_BYTES)
    return READERS[suffix](name, raw) if is_quick else _process.read(suffix, name, raw)


def max_bytes(suffix: str) -> int:
    """How large a file with this suffix (".txt", in lower case) may be to be read."""
    return _MAX_BYTES.get(suffix, _TEXT_BYTES)


def reason_to_skip(name: str) -> str | None:
    """Why a file is left out, told by its name, or its path in an archive, alone; None if it is to be read."""
    path = PurePosixPath(name)
    if any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.parts):
        return "a hidden file"
    if path.name.lower().startswith("readme"):
        return "a README, not a text to learn from"
    suffix = path.suffix.lower()
    if suffix in READERS or suffix in STREAM_SUFFIXES:
        return None
    return REFUSED.get(suffix) or f"not one of {', '.join(sorted((*READERS, *STREAM_SUFFIXES)))}"
