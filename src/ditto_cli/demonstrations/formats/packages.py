"""What a file in truth is, told by its bytes; and the checks of a zip package before a library unpacks it."""

from __future__ import annotations

import io
import zipfile

from ditto_cli.demonstrations.formats.limits import parsing
from ditto_cli.errors import InputError

MAX_MEMBERS = 20_000
MAX_RATIO = 200  # uncompressed to compressed; text reaches 20, zeros 1,000
RATIO_COUNTS_FROM_BYTES = 10 * 2**20
_MAX_XML_BYTES = 64 * 2**20  # of a novel, pictures aside: 5 MiB
_ZIP = b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_WORD_STREAM = "WordDocument".encode("utf-16-le")
# In the encodings in which XML usually is. Office programs write no entities; a bomb and a spy need them.
_ENTITIES = tuple("<!ENTITY".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_PDF_HEAD_BYTES = 1024
_IS_ENCRYPTED = 0x1


def kind_of(raw: bytes) -> str:
    """What the bytes are: "docx", "odt", "zip", "pdf", "ole", "rtf", "html", another office format, or "".

    A zip that cannot be opened is "damaged".
    """
    if raw.startswith((_ZIP, _EMPTY_ZIP)):
        return _kind_of_zip(raw)
    if raw.startswith(_OLE):
        return "ole"
    if raw.startswith(b"{\\rtf"):
        return "rtf"
    if b"%PDF-" in raw[:_PDF_HEAD_BYTES]:
        return "pdf"
    head = raw[:_PDF_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" if head.startswith((b"<!doctype html", b"<html")) else ""


def kind_of_package(package: zipfile.ZipFile) -> str:
    """Which document a zip is: "docx", "odt", "xlsx", "pptx", "epub", ...; "zip" if it is a mere archive."""
    names = package.NameToInfo
    for member, kind in (("word/document.xml", "docx"), ("xl/workbook.xml", "xlsx"), ("ppt/presentation.xml", "pptx")):
        if member in names:
            return kind
    if "mimetype" not in names or names["mimetype"].file_size > 200:  # a line
        return "docx" if "[Content_Types].xml" in names and "_rels/.rels" in names else "zip"
    mimetype = package.read("mimetype").strip()
    for beginning, kind in (
        (b"application/vnd.oasis.opendocument.text", "odt"),
        (b"application/vnd.oasis.opendocument.spreadsheet", "ods"),
        (b"application/vnd.oasis.opendocument.presentation", "odp"),
        (b"application/epub", "epub"),
    ):
        if mimetype.startswith(beginning):
            return kind
    return "zip"


def is_protected(raw: bytes) -> bool:
    """Whether an OLE file is an office document behind a password."""
    return _ENCRYPTED_STREAM in raw


def is_old_word(raw: bytes) -> bool:
    """Whether an OLE file is a .doc."""
    return _WORD_STREAM in raw


def check_package(name: str, raw: bytes, kind: str) -> None:
    """Refuses a document that is made to fill the memory, to read other files, or that has a password.

    Raises:
        InputError: it is, or it is damaged.
    """
    with parsing(name, kind), zipfile.ZipFile(io.BytesIO(raw)) as package:
        members = package.infolist()
        has_password = any(member.flag_bits & _IS_ENCRYPTED for member in members) or (
            "META-INF/manifest.xml" in package.NameToInfo
            and package.getinfo("META-INF/manifest.xml").file_size <= _MAX_XML_BYTES
            and b"encryption-data" in package.read("META-INF/manifest.xml")
        )
        xml = [member for member in members if member.filename.lower().endswith((".xml", ".rels"))]
        is_too_large = (
            len(members) > MAX_MEMBERS
            or sum(member.file_size for member in xml) > _MAX_XML_BYTES
            or any(is_bomb(member) for member in members)
        )
        has_entities = not has_password and not is_too_large and any(_declares(package.read(member)) for member in xml)
    if has_password:
        raise InputError(f"{name} is protected with a password: save it without one, or save its text as .txt.")
    if is_too_large:
        raise InputError(f"{name} unpacks to far more than a text takes, so it is not read: save its text as .txt.")
    if has_entities:
        raise InputError(f"{name} declares XML entities, which no office program does: save its text as .txt.")


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member unpacks to so much more than it takes that it was made for that."""
    return member.file_size > RATIO_COUNTS_FROM_BYTES and member.file_size > MAX_RATIO * max(1, member.compress_size)


def _kind_of_zip(raw: bytes) -> str:
    try:
        with parsing("", "a zip archive"), zipfile.ZipFile(io.BytesIO(raw)) as package:
            return kind_of_package(package)
    except InputError:
        return "damaged"


def _declares(xml: bytes) -> bool:
    return any(entity in xml for entity in _ENTITIES)
