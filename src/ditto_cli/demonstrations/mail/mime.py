"""Bytes of an email -> its headers, and the characters of its parts. The standard library takes it apart."""

from __future__ import annotations

import binascii
import contextlib
import re
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, repair_mojibake

Fields = dict[str, list[str]]  # by lower-case name, on one line; encoded words are not yet decoded

# A mark, blank lines, and what an archive puts above a mail.
_ABOVE_THE_HEAD = re.compile(rb"(?:\xef\xbb\xbf|[\r\n]+|>?From [^\r\n]*[\r\n]+){1,9}")
_BASE64_LINE = re.compile(rb"(?:[A-Za-z0-9+/]+={1,2})*[A-Za-z0-9+/]*={0,2}")
_FULL_LINE = 60  # bytes in a line of base64 that another one follows
_META_CHARSET = re.compile(rb"<meta\s[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9_.:-]{2,30})", re.IGNORECASE)
_MAX_TEXT_BYTES = 2 * 2**20
_MAX_WORD_CHARACTERS = 2000  # of a header with encoded words
_MAX_VALUE_CHARACTERS = 4000


def open_mail(raw: bytes) -> tuple[Fields, Message]:
    """The header fields, and the mail with its parts.

    Raises:
        UndecodableTextError: parts lie in parts without end, or the headers are binary.
    """
    above = _ABOVE_THE_HEAD.match(raw)
    try:
        message = message_from_bytes(raw[above.end() :] if above else raw)
    except RecursionError:
        raise UndecodableTextError("parts in parts without end") from None
    fields: Fields = {}
    for name, value in message.raw_items():
        line = " ".join(str(value).split())
        if not line.isascii():  # bytes that nobody encoded: UTF-8 (RFC 6532), or in the charset of the body
            written = line.encode("ascii", "surrogateescape")
            try:
                line = written.decode()
            except UnicodeDecodeError:
                line = decode_text(written, parameter(message, "charset"))
        fields.setdefault(name.lower(), []).append(line)
    return fields, message


def first(fields: Fields, name: str) -> str:
    """The first value of a field, decoded and on one line; "" if it is not there."""
    values = fields.get(name)
    return decoded_words(values[0]) if values else ""


def decoded_words(value: str) -> str:
    """A header's value with its encoded words ("=?utf-8?q?...?=") decoded."""
    value = value[: 10 * _MAX_WORD_CHARACTERS]
    if "=?" in value:
        value = value[:_MAX_WORD_CHARACTERS]
        with contextlib.suppress(HeaderParseError, ValueError):  # then it is shown as it is
            pieces: list[str] = []
            # Neighbours with one charset come joined: some programs cut in the middle of a character.
            for piece, charset in decode_header(value):
                if isinstance(piece, bytes):
                    pieces.append(decode_text(piece, charset) if charset else piece.decode("raw-unicode-escape"))
                else:
                    pieces.append(piece)
            value = "".join(pieces)
    return " ".join(repair_mojibake(value).split())


def is_attachment(part: Message) -> bool:
    """Whether a part is a file that was attached, whatever its kind."""
    disposition = str(part.get("content-disposition", "")).partition(";")[0].strip().lower()
    is_named = bool(parameter(part, "name")) and disposition != "inline"  # some programs name the body
    return disposition == "attachment" or is_named or bool(parameter(part, "filename", "content-disposition"))


def parameter(part: Message, name: str, header: str = "content-type") -> str:
    """A parameter of Content-Type or of another header; "" if it is not there."""
    value = str(part.get(header, ""))[:_MAX_VALUE_CHARACTERS]
    if name not in value.lower():
        return ""
    short = Message()
    short[header] = value
    try:
        found = short.get_param(name, header=header)
        return collapse_rfc2231_value(found) if found is not None else ""
    # The standard library raises these on malformed parameters.
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def part_text(part: Message) -> str:
    """The characters of a part that is a text.

    Raises:
        UndecodableTextError: damaged, binary, or longer than what anybody writes.
    """
    is_base64 = str(part.get("content-transfer-encoding", "")).partition(";")[0].strip().lower() == "base64"
    if is_base64:
        del part["content-transfer-encoding"]  # the standard library reads what stands below it, too
    content = part.get_payload(decode=True)
    raw = content if isinstance(content, bytes) else b""
    raw = _from_base64(raw) if is_base64 else raw
    if len(raw) > _MAX_TEXT_BYTES:
        raise UndecodableTextError("a text of more than 2 MiB")
    charset = parameter(part, "charset")
    if not charset and part.get_content_subtype() == "html" and (named := _META_CHARSET.search(raw[:4096])):
        charset = named[1].decode("ascii")
    return decode_text(raw, charset)


def _from_base64(raw: bytes) -> bytes:
    """What was encoded, in one block or several; without the plain footer that a mailing list puts below."""
    lines = [line.strip() for line in raw.splitlines()]
    are_data = [_BASE64_LINE.fullmatch(line) is not None for line in lines]
    if not any(is_data and line for is_data, line in zip(are_data, lines, strict=True)):
        return raw  # somebody decoded it and left the label
    end = max((number for number, line in enumerate(lines) if are_data[number] and len(line) >= _FULL_LINE), default=-1)
    is_below_blank = False
    for number in range(end + 1, len(lines)):
        if not are_data[number] or (is_below_blank and lines[number] and not lines[number].endswith(b"=")):
            break
        is_below_blank = not lines[number] and end >= 0
        end = number if lines[number] else end
    decoded: list[bytes] = []
    for block in re.findall(rb"[A-Za-z0-9+/]+", re.sub(rb"[^A-Za-z0-9+/=]", b"", b"".join(lines[: end + 1]))):
        if len(block) % 4 == 1:
            raise UndecodableTextError("broken base64")
        decoded.append(binascii.a2b_base64(block + b"=" * (-len(block) % 4)))
    return b"".join(decoded)
