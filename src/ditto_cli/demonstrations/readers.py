"""Which reader reads a file, by its suffix; how large it may be; and what is said of files that are not read."""

from __future__ import annotations

from pathlib import PurePosixPath

from ditto_cli.demonstrations.formats.exports import read_csv, read_json
from ditto_cli.demonstrations.formats.office import read_docx, read_odt
from ditto_cli.demonstrations.formats.pdf import read_pdf
from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain
from ditto_cli.demonstrations.formats.tables import read_jsonl
from ditto_cli.demonstrations.formats.web import read_html
from ditto_cli.demonstrations.mail.message import read_email
from ditto_cli.demonstrations.reading import Reader

READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".docx": read_docx,
    ".eml": read_email,
    ".htm": read_html,
    ".html": read_html,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".md": read_markdown,
    ".odt": read_odt,
    ".pdf": read_pdf,
    ".tsv": read_csv,
    ".txt": read_plain,
}
# Read one text after the other: they may be far larger than the memory. Their readers are in `sources`.
STREAM_SUFFIXES = (".mbox", ".zip")

_MEBIBYTE = 2**20
_TEXT_BYTES = 2 * _MEBIBYTE  # a novel
_MAX_BYTES = {
    **dict.fromkeys((".csv", ".htm", ".html", ".json", ".tsv"), 16 * _MEBIBYTE),
    **dict.fromkeys((".docx", ".eml", ".odt", ".pdf"), 32 * _MEBIBYTE),  # with their pictures and attachments
    ".zip": 2048 * _MEBIBYTE,
    ".mbox": 64 * 1024 * _MEBIBYTE,
}

_OLD_DOCUMENT = "open it in the program that wrote it, and save it as .docx or .txt"
_PICTURE = "a picture, not a text: type the text as .txt, or run a text recognition (OCR) over it"
_SOUND = "sound or film, not a text: write down what is said, as .txt"
_TABLE = "a spreadsheet: save the sheet with the texts as .csv"
_SLIDES = "slides, not a running text: copy the text of one person into a .txt"
_ARCHIVE = "an archive of a kind that is not read: pack the texts as .zip, or give their folder"
REFUSED: dict[str, str] = {
    ".msg": "a message of Outlook: save it as .eml, or drag it into another mail program and save it there",
    ".oft": "a message of Outlook: save it as .eml",
    **dict.fromkeys((".pst", ".ost", ".olm"), "an archive of Outlook: export its mails as .mbox or .eml"),
    ".emlx": "a message of Apple Mail: choose Save As in Mail, which writes .eml",
    **dict.fromkeys((".doc", ".dot"), f"an old Word file: {_OLD_DOCUMENT}"),
    **dict.fromkeys((".docm", ".dotx", ".rtf", ".wpd", ".wps", ".sxw", ".ott", ".fodt"), f"not read: {_OLD_DOCUMENT}"),
    ".pages": "a Pages document: export it as Word (.docx) or as .txt",
    **dict.fromkeys(
        (".gdoc", ".gsheet", ".gslides"), "a link to a document, not the document: download it as .docx or .txt"
    ),
    ".epub": "a whole book: copy a few texts of the person into .txt files",
    ".tex": "LaTeX source: save the text without its commands as .txt",
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), _TABLE),
    **dict.fromkeys((".pptx", ".ppt", ".odp", ".key"), _SLIDES),
    ".xml": "XML of an unknown kind: export the posts as .html, .csv or .json",
    **dict.fromkeys((".mht", ".mhtml", ".webarchive"), "a saved page with its pictures: save it as .html"),
    **dict.fromkeys(
        (".png", ".jpg", ".jpeg", ".heic", ".heif", ".gif", ".tif", ".tiff", ".bmp", ".webp", ".svg"), _PICTURE
    ),
    **dict.fromkeys(
        (".mp3", ".m4a", ".wav", ".ogg", ".opus", ".flac", ".aac", ".mp4", ".mov", ".avi", ".mkv", ".webm"), _SOUND
    ),
    **dict.fromkeys((".rar", ".7z", ".tar", ".gz", ".tgz", ".bz2", ".xz"), _ARCHIVE),
}
_OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def max_bytes(suffix: str) -> int:
    """How large a file with this suffix (".txt", in lower case) may be to be read."""
    return _MAX_BYTES.get(suffix, _TEXT_BYTES)


def reason_to_skip(name: str) -> str | None:
    """Why a file is left out, told by its name alone; None if it is to be read.

    Args:
        name: the file's name, or its path with "/" in an archive.
    """
    path = PurePosixPath(name)
    if any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.parts):
        return "a hidden file"
    if path.name.lower().startswith("readme"):
        return "a README, not a text to learn from"
    suffix = path.suffix.lower()
    if suffix in READERS or suffix in STREAM_SUFFIXES:
        return None
    return REFUSED.get(suffix) or f"not one of {', '.join(sorted((*READERS, *STREAM_SUFFIXES)))}"
