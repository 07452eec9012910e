"""Bytes of an email -> its headers and its text parts. Attachments are stepped over, never decoded.

The standard library's parser reads every line of every attachment; an archive of ten thousand mails is read here in
seconds.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text

_HEAD_END = re.compile(rb"\r?\n\r?\n|\r\r")
_LINE_END = re.compile(r"\r\n|\r|\n")
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_MAX_DEPTH, _MAX_PARTS = 20, 200
_MAX_HEAD_BYTES = 512 * 1024
_MAX_TEXT_BYTES = 2 * 2**20
_MAX_WORD_CHARACTERS = 2000  # of a header with encoded words

Fields = dict[str, list[str]]  # by lower-case name, unfolded, not decoded


@dataclass(frozen=True)
class Part:
    """One leaf of a message, or the whole of a simple one."""

    fields: Fields
    kind: str
    body: bytes

    def parameter(self, name: str, header: str = "content-type") -> str:
        """A parameter of Content-Type or of another header; "" if it is not there."""
        return _parameter(self.fields, name, header)


def split_head(raw: bytes) -> tuple[Fields, bytes]:
    """The header fields and the body.

    Raises:
        UndecodableTextError: the head is binary or endless.
    """
    raw = raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    end = _HEAD_END.search(raw)
    head, body = (raw[: end.start()], raw[end.end() :]) if end else (raw, b"")
    if len(head) > _MAX_HEAD_BYTES:
        raise UndecodableTextError("no end of the headers")
    return _fields(head.decode("ascii") if head.isascii() else decode_text(head)), body


def first(fields: Fields, name: str) -> str:
    """The first value of a field, decoded and on one line; "" if it is not there."""
    values = fields.get(name)
    return decoded_words(values[0]) if values else ""


def decoded_words(value: str) -> str:
    """A header's value with its encoded words ("=?utf-8?q?...?=") decoded."""
    value = value[: 10 * _MAX_WORD_CHARACTERS]
    if "=?" in value:
        value = value[:_MAX_WORD_CHARACTERS]
        try:
            pieces = decode_header(value)
            value = "".join(
                piece if isinstance(piece, str) else decode_payload(piece, charset) for piece, charset in pieces
            )
        except (HeaderParseError, ValueError):
            pass  # shown as it is
    return " ".join(value.split())


def text_parts(fields: Fields, body: bytes) -> tuple[list[Part], frozenset[str]]:
    """The parts that hold the mail's text, in reading order, and the kinds of all its parts.

    Of alternatives, the plain text, else the first that holds any.
    """
    kinds: set[str] = set()
    return _text_parts(fields, body, kinds, depth=0), frozenset(kinds)


def part_text(part: Part) -> str:
    """The decoded characters of a text part.

    Raises:
        UndecodableTextError: damaged, binary, or longer than what anybody writes.
    """
    encoding = (part.fields.get("content-transfer-encoding") or [""])[0].strip().lower()
    payload = part.body
    if encoding == "base64":
        payload = _from_base64(payload)
    elif encoding == "quoted-printable":
        payload = binascii.a2b_qp(payload)
    if len(payload) > _MAX_TEXT_BYTES:
        raise UndecodableTextError("a text of more than 2 MiB")
    return decode_payload(payload, part.parameter("charset").strip().lower() or None)


def decode_payload(payload: bytes, charset: str | None) -> str:
    """Characters of bytes that are declared to be in `charset`, and may be in another.

    Raises:
        UndecodableTextError: they are in none.
    """
    # latin-1 is declared for what is in truth cp1252, and decodes anything.
    declared = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "utf-8"}.get(charset or "", charset)
    if declared is not None:
        try:
            # A name may also be that of a codec that is no charset ("hex").
            return "".encode(declared).decode(declared) + payload.decode(declared)
        except (LookupError, ValueError, TypeError, AttributeError):
            pass  # an unknown or a wrong name: the bytes themselves tell more
    return decode_text(payload)


def _fields(head: str) -> Fields:
    fields: Fields = {}
    values: list[list[str]] = []
    names: list[str] = []
    for line in _LINE_END.split(head):
        if line[:1] in (" ", "\t"):
            if values:
                values[-1].append(line.strip())
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if colon and _FIELD_NAME.fullmatch(name):
            names.append(name.lower())
            values.append([value.strip()])
    for name, pieces in zip(names, values, strict=True):
        fields.setdefault(name, []).append(" ".join(pieces))
    return fields


def _text_parts(fields: Fields, body: bytes, kinds: set[str], *, depth: int) -> list[Part]:
    kind = _kind(fields)
    kinds.add(kind)
    if depth and _is_attachment(fields):
        return []
    if not kind.startswith("multipart/"):
        return [Part(fields, kind, body)] if kind in ("text/plain", "text/html") else []
    boundary = _parameter(fields, "boundary").encode("utf-8", "replace")
    if not boundary or depth >= _MAX_DEPTH or len(kinds) > _MAX_PARTS:
        return []
    subparts: list[list[Part]] = []
    for raw in _split_at(body, boundary):
        subfields, subbody = _subpart(raw)
        subparts.append(_text_parts(subfields, subbody, kinds, depth=depth + 1))
        if kind == "multipart/related":
            break  # the rest are its pictures
    if kind == "multipart/alternative":
        return _best_alternative(subparts)
    return [part for parts in subparts for part in parts]


def _subpart(raw: bytes) -> tuple[Fields, bytes]:
    if raw.startswith((b"\n", b"\r\n")):
        return {}, raw.lstrip(b"\r\n")
    end = _HEAD_END.search(raw)
    head, body = (raw[: end.start()], raw[end.end() :]) if end else (raw, b"")
    return _fields(head[:_MAX_HEAD_BYTES].decode("latin-1")), body


def _split_at(body: bytes, boundary: bytes) -> Iterator[bytes]:
    delimiter = b"--" + boundary
    start: int | None = None
    position = body.find(delimiter)
    num_parts = 0
    while position >= 0 and num_parts < _MAX_PARTS:
        end = position + len(delimiter)
        line_end = body.find(b"\n", end, end + 200)
        rest = body[end : line_end if line_end >= 0 else end + 200].strip()
        is_line = (position == 0 or body[position - 1] in b"\r\n") and rest in (b"", b"--")
        if is_line:
            if start is not None:
                num_parts += 1
                yield body[start:position].removesuffix(b"\n").removesuffix(b"\r")
            start = line_end + 1 if line_end >= 0 else len(body)
            if rest == b"--":
                return
        position = body.find(delimiter, end)
    if start is not None and num_parts < _MAX_PARTS:
        yield body[start:]


def _best_alternative(alternatives: list[list[Part]]) -> list[Part]:
    # False sorts first, and the sort is stable.
    for parts in sorted(alternatives, key=lambda parts: not parts or parts[0].kind != "text/plain"):
        if any(part.body.strip() for part in parts):
            return parts
    return []


def _kind(fields: Fields) -> str:
    value = (fields.get("content-type") or ["text/plain"])[0]
    kind = value.partition(";")[0].strip().lower()
    return kind if kind.count("/") == 1 else "text/plain"


def _is_attachment(fields: Fields) -> bool:
    disposition = (fields.get("content-disposition") or [""])[0].partition(";")[0].strip().lower()
    if disposition == "attachment":
        return True
    return bool(_parameter(fields, "filename", "content-disposition") or _parameter(fields, "name"))


def _parameter(fields: Fields, name: str, header: str = "content-type") -> str:
    value = (fields.get(header) or [""])[0][:4000]
    if name not in value.lower():
        return ""
    message = Message()
    message[header] = value
    try:
        found = message.get_param(name, header=header)
        return collapse_rfc2231_value(found) if found is not None else ""
    # The standard library raises these on malformed parameters.
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def _from_base64(payload: bytes) -> bytes:
    data = _NOT_BASE64.sub(b"", payload)
    if len(data) % 4 == 1:
        raise UndecodableTextError("broken base64")
    return binascii.a2b_base64(data + b"=" * (-len(data) % 4))
