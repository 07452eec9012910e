"""An email -> one `SourceText`: what the sender wrote, and a prompt made of its subject and of what it answers.

Reads text parts only; an attachment is never taken for the text. Quotes and signatures are `quotes`' business.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from email.message import Message
from itertools import islice

from ditto_cli.demonstrations.encoding import normalise_text, unify_line_ends
from ditto_cli.demonstrations.mail.headers import CALENDAR, KNOWN_FIELDS, authors_of, mail_of, reason_not_kept
from ditto_cli.demonstrations.mail.html_quotes import html_mail_to_text
from ditto_cli.demonstrations.mail.mime import is_attachment, open_mail, parameter, part_text
from ditto_cli.demonstrations.mail.quotes import remove_quoted, unwrap_flowed
from ditto_cli.demonstrations.prompt_forms import excerpt
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Reading, Skipped, SourceText

NOTHING_OWN = "nothing in it was written by its sender"
NOT_READABLE = "not a mail that can be read"
ENCRYPTED = "encrypted"

_ENCRYPTED_KINDS = ("multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime")
_PGP_SIGNED = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z-]{1,20}: [^\n]{0,100}\n){0,9}\n?")
_PGP_SIGNATURE = "-----BEGIN PGP SIGNATURE-----"
_PGP_MESSAGE = "-----BEGIN PGP MESSAGE-----"
_MAX_PARTS = 200
# Added to the plain text that a program makes of HTML: where a link leads, what a picture is called.
_OF_THE_PROGRAM = re.compile(r"<[^<>\s]{1,2000}>|\[(?:image|cid):[^\[\]]{0,500}\]|https?://\S+")
# A word, or a character where words are not separated.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]|[^\W\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]+")


def read_email(name: str, raw: bytes) -> Reading:
    """The email's own text.

    Raises:
        InputError: not an email, damaged, encrypted, or nothing in it was written by the sender.
    """
    found = parse_mail(name, raw, is_of_archive=False)
    if isinstance(found, Skipped):
        raise InputError(
            f"{name} is left out ({found.reason}): save your own words in it as .txt, or take the file away."
        )
    return Reading((found,))


def parse_mail(name: str, raw: bytes, *, is_of_archive: bool = True) -> SourceText | Skipped:
    """A mail's own text with what its headers say, or why there is none; drafts and the like only out of an archive."""
    try:
        fields, message = open_mail(raw)
        is_mail = any(field in fields for field in KNOWN_FIELDS)
        reason = reason_not_kept(fields) if is_mail and is_of_archive else None
        if not is_mail or reason:
            return Skipped(name, reason or NOT_READABLE)
        mail = mail_of(fields)
        own = remove_quoted(_text_of(message, is_whole=True)[0])
        kinds = {part.get_content_type() for part in islice(message.walk(), _MAX_PARTS)}
    # UndecodableTextError among them: damaged beyond what decoders forgive.
    except (ValueError, RecursionError):
        return Skipped(name, NOT_READABLE)
    text = normalise_text(own.text)
    if not text or text.startswith(_PGP_MESSAGE):
        return Skipped(name, ENCRYPTED if text or kinds & set(_ENCRYPTED_KINDS) else NOTHING_OWN)
    if mail.form == "reply":
        mail = replace(mail, original=normalise_text(own.original))
    if "text/calendar" in kinds:
        mail = replace(mail, not_written=CALENDAR)
    return SourceText(id=name, text=text, prompt=mail_prompt(mail), mail=mail, authors=authors_of(fields))


def mail_prompt(mail: Mail) -> str | None:
    """The instruction that a mail answers, by its form; None where neither subject nor original says any."""
    to = f" to {mail.recipient_name}" if mail.recipient_name else ""
    subject = mail.subject.replace('"', "'")
    about = f' with the subject "{subject}"' if subject else ""
    if mail.form == "reply" and mail.original:
        comma = "," if to else ""
        return f"Write a reply{to}{comma} to this email{about}:\n\n{excerpt(mail.original)}"
    if not subject:
        return None
    if mail.form == "reply":
        return f'Write a reply{to}{"," if to else ""} to the email "{subject}".'
    if mail.form == "forward":
        return f'Write a note{to} to go with the forwarded email "{subject}".'
    return f"Write an email{to}{about}."


def _text_of(part: Message, *, is_whole: bool = False) -> tuple[str, bool]:
    """The text of a part and of all below it, with quotes in lines with ">"; and whether it was HTML."""
    kind = part.get_content_type()
    below = part.get_payload()
    is_mail = isinstance(below, list) and part.get_content_maintype() != "multipart"  # that was attached
    if is_mail or (is_attachment(part) and not is_whole):
        return "", False
    if isinstance(below, list):
        # Beside the first part of related ones lie its pictures.
        parts = below[: 1 if kind == "multipart/related" else _MAX_PARTS]
        inner = [_text_of(one) for one in parts if isinstance(one, Message)]
        filled = [one for one in inner if one[0].strip()]
        if kind == "multipart/alternative":
            return _best(filled)
        return "\n\n".join(text for text, _ in filled), any(is_html for _, is_html in filled)
    if kind == "text/html":
        return html_mail_to_text(unify_line_ends(part_text(part))), True
    if kind != "text/plain":
        return "", False
    text = unify_line_ends(part_text(part))
    if parameter(part, "format").lower() == "flowed":
        text = unwrap_flowed(text, delete_space=parameter(part, "delsp").lower() == "yes")
    if match := _PGP_SIGNED.match(text):
        text = text[match.end() :].partition(_PGP_SIGNATURE)[0]
    return text, False


def _best(alternatives: list[tuple[str, bool]]) -> tuple[str, bool]:
    """The HTML where a program made the plain text of it, breaking its lines; else the plain text."""
    plain = next((text for text, is_html in alternatives if not is_html), None)
    rich = next((text for text, is_html in alternatives if is_html), None)
    if plain is None or rich is None:
        return (plain or rich or "", plain is None)
    of_plain, of_rich = (Counter(_WORD.findall(_OF_THE_PROGRAM.sub(" ", text).lower())) for text in (plain, rich))
    num_common = (of_plain & of_rich).total()
    # The plain text alone has the line above a quote and the signature.
    is_made_of_it = num_common >= 0.9 * of_rich.total() and num_common >= 0.4 * of_plain.total()
    return (rich, True) if is_made_of_it else (plain, False)
