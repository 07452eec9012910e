"""An .eml file -> one `SourceText`: what the sender wrote, and a prompt made of the subject.

Reads text parts only; an attachment is never taken for the text. Quotes and signatures are `quotes`' business.
"""

from __future__ import annotations

import email
import re
from email.errors import InvalidBase64LengthDefect
from email.message import EmailMessage
from email.policy import default as default_policy

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text, unify_line_ends
from ditto_cli.demonstrations.formats.html_text import html_to_text
from ditto_cli.demonstrations.formats.reading import Reading
from ditto_cli.demonstrations.mail.quotes import remove_quoted, unwrap_flowed
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

_KNOWN_HEADERS = ("From", "To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Type")
_REPLY = r"(?:re|aw|sv|antw)"
_FORWARD = r"(?:fwd?|wg|tr|rv)"
_SUBJECT_PREFIX = re.compile(rf"(?:{_REPLY}|{_FORWARD})(?:\[\d+\])?\s*:\s*", re.IGNORECASE)
_REPLY_PREFIX = re.compile(rf"{_REPLY}(?:\[\d+\])?\s*:", re.IGNORECASE)
_HEADER_END = re.compile(rb"\r?\n\r?\n|\r\r")


def read_email(name: str, raw: bytes) -> Reading:
    """The email's own text.

    Raises:
        InputError: not an email, damaged, or nothing in it was written by the sender.
    """
    try:
        message = _parse(raw)
        body = _body(message)
        prompt = _prompt(message)
    # Lookup, Index, Attribute and TypeError: the standard library's header parser raises them on malformed headers.
    except (ValueError, LookupError, AttributeError, TypeError):
        raise InputError(
            f"{name} is not an email that can be read (damaged, or another kind of file): "
            "save its text as .txt, or take the file away."
        ) from None
    text = normalise_text(remove_quoted(body))
    if not text:
        raise InputError(
            f"{name} is empty once quoted messages, signature and attachments are left out: "
            "take the file away, or save your own words as .txt."
        )
    return Reading((SourceText(id=name, text=text, prompt=prompt),))


def _parse(raw: bytes) -> EmailMessage:
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    message = email.message_from_bytes(raw, policy=default_policy)
    if not any(header in message for header in _KNOWN_HEADERS):
        raise UndecodableTextError("no header lines")
    head = _HEADER_END.split(raw, maxsplit=1)[0]
    if not head.isascii():
        # Headers in bare UTF-8 or latin-1: the parser would put replacement characters for them.
        subject = email.message_from_string(decode_text(head), policy=default_policy)["Subject"]
        del message["Subject"]
        if subject is not None:
            message["Subject"] = " ".join(str(subject).split())
    return message


def _prompt(message: EmailMessage) -> str | None:
    """The instruction that the email answers, as far as its subject says it; None without a subject."""
    written = re.sub(r"\s+", " ", normalise_text(str(message["Subject"] or ""))).strip()
    subject = written
    while match := _SUBJECT_PREFIX.match(subject):
        subject = subject[match.end() :]
    if not subject:
        return None
    subject = subject.replace('"', "'")
    if _REPLY_PREFIX.match(written) or message["In-Reply-To"]:
        return f'Write a reply to the email "{subject}".'
    return f'Write an email with the subject "{subject}".'


def _body(message: EmailMessage) -> str:
    return "\n\n".join(text for text in _texts(message, is_root=True) if text.strip())


def _texts(part: EmailMessage, *, is_root: bool = False) -> list[str]:
    """The text parts in reading order."""
    if not is_root and (part.is_attachment() or part.get_filename() is not None):
        return []
    kind = part.get_content_type()
    if not part.is_multipart():
        return [_text_of(part)] if kind in ("text/plain", "text/html") else []
    if part.get_content_maintype() != "multipart":
        return []  # message/rfc822: somebody else's email
    subparts = [subpart for subpart in part.iter_parts() if isinstance(subpart, EmailMessage)]
    if kind == "multipart/alternative":
        return _best_alternative(subparts)
    if kind == "multipart/related":
        subparts = subparts[:1]  # the rest are its pictures
    return [text for subpart in subparts for text in _texts(subpart)]


def _best_alternative(subparts: list[EmailMessage]) -> list[str]:
    """The plain text, else the first alternative that holds any."""
    # False sorts first, and the sort is stable.
    for subpart in sorted(subparts, key=lambda subpart: subpart.get_content_type() != "text/plain"):
        texts = _texts(subpart)
        if any(text.strip() for text in texts):
            return texts
    return []


def _text_of(part: EmailMessage) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes), "a part that is not multipart decodes to bytes"
    if any(isinstance(defect, InvalidBase64LengthDefect) for defect in part.defects):
        raise UndecodableTextError("broken base64")
    text = unify_line_ends(_decode_payload(payload, part.get_content_charset()))
    if part.get_content_type() == "text/html":
        return html_to_text(text)
    if str(part.get_param("format", "")).lower() == "flowed":
        return unwrap_flowed(text, delete_space=str(part.get_param("delsp", "")).lower() == "yes")
    return text


def _decode_payload(payload: bytes, charset: str | None) -> str:
    # latin-1 is declared for what is in truth cp1252, and decodes anything.
    declared = {"iso-8859-1": "cp1252", "latin-1": "cp1252", "us-ascii": "utf-8"}.get(charset or "", charset)
    if declared is not None:
        try:
            return payload.decode(declared)
        except (LookupError, UnicodeDecodeError):
            pass  # an unknown or a wrong name: the bytes themselves tell more
    return decode_text(payload)
