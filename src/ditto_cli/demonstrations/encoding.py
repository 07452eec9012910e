"""Bytes of a text file -> clean text: encoding found, line ends and blank lines settled, invisible characters removed.

Words, paragraph breaks and indentation stay as the person wrote them. Knows no file format and no folder.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from charset_normalizer import from_bytes

# UTF-32 comes first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# What people's old files are in. Left to all of its encodings, charset-normalizer takes "café" for UTF-16.
_LEGACY_ENCODINGS = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1257", "koi8_r", "mac_roman"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949"),
]
_LINE_ENDS = re.compile(r"\r\n|[\r\v\f\x85\u2028]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# Old editors leave form feeds, DOS end marks (1a) and terminal colours (1b) in texts; the other controls are binary.
_BINARY_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x19\x1c-\x1f\x7f-\x84\x86-\x9f]")
_BYTE_ORDER_CHARACTER = "\ufeff"


class UndecodableTextError(ValueError):
    """The bytes are not a text in any encoding that people write in."""


def decode_text(raw: bytes) -> str:
    """The characters of a text file, in whichever encoding it was saved.

    A byte-order mark decides; then UTF-16 without one, UTF-8, and what charset-normalizer finds, in this order.

    Raises:
        UndecodableTextError: the bytes are binary.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if raw.startswith(mark):
            try:
                return _checked(raw.decode(encoding))
            except UnicodeDecodeError:
                raise UndecodableTextError("damaged after its byte-order mark") from None
    if b"\0" in raw:
        return _decode_bare_utf16(raw)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return _decode_legacy(raw)


def normalise_text(text: str) -> str:
    r"""The text as a model should learn it; a second time changes nothing.

    Line ends become \n, trailing whitespace and outer blank lines go, and several blank lines become one, so paragraph
    breaks stay. Control characters except \n and \t and byte-order marks go. Characters are composed (NFC).
    """
    text = unify_line_ends(text).replace("\u2029", "\n\n").replace(_BYTE_ORDER_CHARACTER, "")
    text = _CONTROLS.sub("", text)
    # After the removals: they may bring a letter and its accent together.
    text = unicodedata.normalize("NFC", text)
    text = "\n".join(line.rstrip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", text).strip("\n")


def unify_line_ends(text: str) -> str:
    r"""Every kind of line end as \n."""
    return _LINE_ENDS.sub("\n", text)


def readable_name(name: str) -> str:
    """A file's name as one printable line, the same on every system: it goes into messages and ditto.yaml."""
    composed = unicodedata.normalize("NFC", name)  # macOS stores names decomposed
    return composed if composed.isprintable() else repr(composed)[1:-1]


def _decode_bare_utf16(raw: bytes) -> str:
    # A space or a line end is one NUL byte and one ASCII byte: the side of the NULs gives the byte order.
    is_little_endian = raw[1::2].count(0) > raw[0::2].count(0)
    high_bytes = raw[1::2] if is_little_endian else raw[0::2]
    # Alphabets, from Latin to Thai, lie below U+1000; two bytes of other data rarely do.
    num_alphabetic = sum(byte < 0x10 for byte in high_bytes)
    if len(raw) % 2 or num_alphabetic < 0.9 * len(high_bytes):
        raise UndecodableTextError("NUL bytes")
    try:
        return _checked(raw.decode("utf-16-le" if is_little_endian else "utf-16-be"))
    except UnicodeDecodeError:
        raise UndecodableTextError("NUL bytes") from None


def _decode_legacy(raw: bytes) -> str:
    matches = from_bytes(raw, cp_isolation=_LEGACY_ENCODINGS)
    best = matches.best()
    if best is None:
        raise UndecodableTextError("no encoding fits")
    # In a short text many encodings are equally likely to the library; to people cp1252 is by far the likeliest.
    cleanest = [match for match in matches if match.chaos == min(other.chaos for other in matches)]
    western = [match for match in cleanest if "cp1252" in match.could_be_from_charset]
    return _checked(str(western[0] if western else best))


def _checked(text: str) -> str:
    if _BINARY_CONTROLS.search(text):
        raise UndecodableTextError("control characters")
    return text
