"""What a file in truth is, told by its bytes; and the checks of a zip package before a library unpacks it."""

from __future__ import annotations

import io
import lzma
import struct
import zipfile
import zlib

from ditto_cli.errors import InputError

MAX_MEMBERS = 20_000
# What the standard library raises on damaged, protected and unknown archives and members.
DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, ArithmeticError, LookupError),
)
IS_ENCRYPTED = 0x1
_MAX_RATIO = 200  # uncompressed to compressed; text reaches 20, zeros 1,000
_RATIO_COUNTS_FROM_BYTES = 10 * 2**20
_MAX_XML_BYTES = 64 * 2**20  # of a novel, pictures aside: 5 MiB
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_KINDS = {"EncryptedPackage": "protected", "WordDocument": "doc"}
# In the encodings in which XML usually is. Office programs write no entities; a bomb and a spy need them.
_ENTITIES = tuple("<!ENTITY".encode(encoding) for encoding in ("utf-8", "utf-16-le", "utf-16-be"))
_HEAD_BYTES = 1024
_MANIFEST = "META-INF/manifest.xml"
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_MIMETYPES = {
    _OPEN_DOCUMENT + b"text": "odt",
    _OPEN_DOCUMENT + b"spreadsheet": "ods",
    _OPEN_DOCUMENT + b"presentation": "odp",
    b"application/epub": "epub",
}
_MEMBERS = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}


def kind_of(raw: bytes) -> str:
    """What the bytes are: "docx", "odt", "zip", "pdf", "rtf", "html", another office format, or "".

    A zip that cannot be opened is "damaged", an old Word file "doc", a document behind a password "protected".
    """
    if raw.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        try:
            with zipfile.ZipFile(io.BytesIO(raw)) as package:
                return kind_of_package(package)
        except DAMAGED:
            return "damaged"
    if raw.startswith(_OLE):
        return next((kind for stream, kind in _OLE_KINDS.items() if stream.encode("utf-16-le") in raw), "")
    if raw.startswith(b"{\\rtf"):
        return "rtf"
    if b"%PDF-" in raw[:_HEAD_BYTES]:
        return "pdf"
    head = raw[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "html" if head.startswith((b"<!doctype html", b"<html")) else ""


def kind_of_package(package: zipfile.ZipFile) -> str:
    """Which document a zip is: "docx", "odt", "xlsx", "pptx", "epub", ...; "zip" if it is a mere archive."""
    names = package.NameToInfo
    for member, kind in _MEMBERS.items():
        if member in names:
            return kind
    if "mimetype" not in names or names["mimetype"].file_size > 200:  # a line
        return "docx" if "[Content_Types].xml" in names and "_rels/.rels" in names else "zip"
    mimetype = package.read("mimetype").strip()
    return next((kind for beginning, kind in _MIMETYPES.items() if mimetype.startswith(beginning)), "zip")


def check_package(name: str, raw: bytes) -> None:
    """Refuses a document that is made to fill the memory, to read other files, or that has a password.

    Raises:
        InputError: it is.
    """
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        members = package.infolist()
        xml = [member for member in members if member.filename.lower().endswith((".xml", ".rels"))]
        if (
            len(members) > MAX_MEMBERS
            or sum(member.file_size for member in xml) > _MAX_XML_BYTES
            or any(is_bomb(member) for member in members)
        ):
            raise InputError(f"{name} unpacks to far more than a text takes, so it is not read: save its text as .txt.")
        if any(member.flag_bits & IS_ENCRYPTED for member in members) or (
            _MANIFEST in package.NameToInfo and b"encryption-data" in package.read(_MANIFEST)
        ):
            raise InputError(f"{name} is protected with a password: save it without one, or save its text as .txt.")
        if any(entity in content for content in map(package.read, xml) for entity in _ENTITIES):
            raise InputError(f"{name} declares XML entities, which no office program does: save its text as .txt.")


def is_bomb(member: zipfile.ZipInfo) -> bool:
    """Whether a member unpacks to so much more than it takes that it was made for that."""
    return member.file_size > _RATIO_COUNTS_FROM_BYTES and member.file_size > _MAX_RATIO * max(1, member.compress_size)
