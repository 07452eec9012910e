"""Header fields of an email -> `Mail`: who, to whom, in which form, and whether a person wrote it at all.

Reads what is decided before the text is decoded. Knows labels and flags of mail programs, and no text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import chain
from typing import Literal

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.mail.mime import Fields, decoded_words, first
from ditto_cli.demonstrations.words import words
from ditto_cli.types import Mail

_Form = Literal["new", "reply", "forward"]

KNOWN_FIELDS = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")
AUTOMATIC = "an automatic mail"
OUT_OF_OFFICE = "an out-of-office notice"
DELIVERY = "a delivery report"
CALENDAR = "a calendar message"
NOT_KEPT = {"drafts": "a draft", "spam": "marked as spam", "trash": "in the trash"}  # by kind of folder


def _one_of(subject: str) -> str:
    """A pattern for the words of a kind in the subjects of mails."""
    entries = words("mail_subjects")[subject]
    flat = chain.from_iterable(entry if isinstance(entry, list) else [entry] for entry in entries)
    return "|".join(re.escape(word) for word in sorted(flat, key=len, reverse=True))


_PREFIX = re.compile(
    rf"(?:(?P<reply>{_one_of('reply')})|(?P<forward>{_one_of('forward')}))(?:\[\d{{1,3}}\]|\(\d{{1,3}}\))?"
    r"\s?[:\uff1a]\s*",
    re.IGNORECASE,
)
_ITALIAN_REPLY = re.compile(r"R:\s+")  # capital only, as Outlook writes it
_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]@]{1,100}@[^\s<>,;:\"'()\[\]@]{1,200}")
_QUOTED_NAME = re.compile(r'"[^"]*"')
_IDENTITY = re.compile(r"<\s*([^<>\s]{1,400})\s*>")
_MAX_RECIPIENTS_CHARACTERS = 20_000
_MAX_SUBJECT_CHARACTERS = 500
_EXPUNGED = re.compile(r"\s*[0-9a-f]{3}[89a-f]", re.IGNORECASE)  # of Thunderbird: deleted, and not yet taken out
_CALENDAR_SUBJECT = re.compile(rf"(?:{_one_of('calendar')})\s?[:\uff1a]\s", re.IGNORECASE)
_ABSENCE_SUBJECT = re.compile(rf"(?:re: |aw: )?(?:{_one_of('absence')})", re.IGNORECASE)
_DELIVERY_SUBJECT = re.compile(_one_of("delivery"), re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_]{2,40}(?:['\u2019-][^\W\d_]{1,40}){0,2}")
# "Sent-1", "Sent 2024", "sent-mail-jan-2024"
_FOLDER_NUMBER = re.compile(r"(?:[-_ .]*\(?\d{1,4}\)?|[-_][a-z]{3}(?=[-_]\d))+\Z")
_MODIFIED_UTF7 = re.compile(r"&([A-Za-z0-9+,]*)-")


def mail_of(fields: Fields) -> Mail:
    """What the headers say, without the text of the original."""
    written = normalise_text(first(fields, "subject"))[: 2 * _MAX_SUBJECT_CHARACTERS].strip()
    form, subject = _form_and_subject(written)
    answered = _identity(fields, "in-reply-to") or _identity(fields, "references", is_last=True)
    if form == "new" and "in-reply-to" in fields:
        form = "reply"
    sender = next(iter(_addresses(fields, "from")), None)
    kinds = _labelled_kinds(fields)
    return Mail(
        sender=sender,
        recipients=tuple(dict.fromkeys(_addresses(fields, "to") + _addresses(fields, "cc"))),
        form=form,
        subject=subject[:_MAX_SUBJECT_CHARACTERS],
        message_id=_identity(fields, "message-id"),
        in_reply_to=answered if form == "reply" else None,
        not_written=_not_written(fields, written),
        is_sent="sent" in kinds if kinds else None,
        recipient_name=_recipient_name(fields),
    )


def authors_of(fields: Fields) -> tuple[str, ...]:
    """The names under which a mail knows its sender: as displayed, and the address."""
    written = fields.get("from", [""])[0][:_MAX_RECIPIENTS_CHARACTERS]
    name, _, comment = written.partition("<")[0].partition("(")  # "ada@x.org (Ada Reed)" is the old form
    shown = decoded_words((comment if "@" in name else name).strip(" \"'\t)"))
    return tuple(one for one in (shown, *_addresses(fields, "from")[:1]) if one)


def reason_not_kept(fields: Fields) -> str | None:
    """Why the program that kept the mail does not count it as one: a draft, spam, deleted; None if it does."""
    kinds = _labelled_kinds(fields)
    is_expunged = any(map(_EXPUNGED.match, fields.get("x-mozilla-status", [])))
    return next((reason for kind, reason in NOT_KEPT.items() if kind in kinds), "in the trash" if is_expunged else None)


def folder_kind(name: str) -> str | None:
    """What a mail program keeps in a folder or file of this name: sent, drafts, spam, trash or inbox; None if unknown.

    Args:
        name: as a path; the folder nearest to the mails decides. In Maildir++, dots lie between folders.
    """
    path = re.split(r"[/\\]", name)
    parts = path[-1].split(".")
    for above in reversed(path[:-1]):  # as Thunderbird and Apple Mail lay them
        if not above.endswith((".sbd", ".mbox")):
            break
        parts = [*above.split("."), *parts]
    for part in reversed(parts):
        label = _MODIFIED_UTF7.sub(
            lambda match: f"+{match[1].replace(',', '/')}-".encode().decode("utf-7", "replace") if match[1] else "&",
            part,
        )
        for spelling in (label, _FOLDER_NUMBER.sub("", label.lower())):
            if kind := _folders().get(_folded(spelling)):
                return kind
    return None


@cache
def _folders() -> dict[str, str]:
    return {_folded(name): kind for kind, rows in words("mail_folders").items() for name in chain.from_iterable(rows)}


def _folded(label: str) -> str:
    """A label for comparison: without case, quotes and marks that nobody sees."""
    return " ".join(unicodedata.normalize("NFC", label).casefold().replace("\u200c", "").strip(' "').split())


def _form_and_subject(written: str) -> tuple[_Form, str]:
    """The form by the outermost prefix, and the subject without any."""
    form: _Form = "new"
    subject = written
    while match := _PREFIX.match(subject) or _ITALIAN_REPLY.match(subject):
        if subject == written:
            form = "forward" if match.groupdict().get("forward") else "reply"
        subject = subject[match.end() :]
    return form, " ".join(subject.split())


def _addresses(fields: Fields, name: str) -> list[str]:
    value = ",".join(fields.get(name, []))[:_MAX_RECIPIENTS_CHARACTERS]
    return [address.lower().strip(".") for address in _ADDRESS.findall(_QUOTED_NAME.sub(" ", value))]


def _identity(fields: Fields, name: str, *, is_last: bool = False) -> str | None:
    found = _IDENTITY.findall(" ".join(fields.get(name, []))[:_MAX_RECIPIENTS_CHARACTERS])
    return found[-1 if is_last else 0] if found else None


def _recipient_name(fields: Fields) -> str:
    """The first name of the one recipient; "" if it is not known, or there are several."""
    value = ",".join(fields.get("to", []))
    shown = decoded_words(value.partition("<")[0]).strip(" \"'\t")
    first_name = (shown.partition(",")[2] or shown).split()[:1]  # "Berg, Bo"
    if value.count("@") != 1 or "<" not in value or not first_name or not _NAME.fullmatch(first_name[0]):
        return ""
    return "" if first_name[0].lower() in words("mail_subjects")["no_first_name"] else first_name[0]


def _not_written(fields: Fields, subject: str) -> str | None:
    """What a program wrote in the sender's name; what a program wrote in its own has another sender."""
    kind = (fields.get("content-type") or [""])[0].lower()
    if kind.startswith("multipart/report") or _DELIVERY_SUBJECT.match(subject):
        return DELIVERY
    if kind.startswith("text/calendar") or _CALENDAR_SUBJECT.match(subject):
        return CALENDAR
    automatic = (fields.get("auto-submitted") or ["no"])[0].strip().lower()
    if _ABSENCE_SUBJECT.match(subject) or "x-autoreply" in fields or automatic.startswith("auto-replied"):
        return OUT_OF_OFFICE
    return AUTOMATIC if automatic.startswith("auto-") else None


def _labelled_kinds(fields: Fields) -> set[str]:
    """The kinds of folders that Gmail's labels name, in whatever language; those that the person made are none."""
    labels = first(fields, "x-gmail-labels").split(",")
    return {kind for label in labels if (kind := _folders().get(_folded(label)))}
