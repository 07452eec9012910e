"""An email, or an archive of many -> `SourceText`s: what the sender wrote, and a prompt made of subject and original.

Reads mbox files (Thunderbird, Apple Mail, Gmail Takeout, Unix) and Maildir folders, one mail at a time. Of a mail the
headers and those parts that are texts; an attachment is never taken for the text. The standard library takes the bytes
apart. Quotes and signatures are `quotes`' business.
"""

from __future__ import annotations

import binascii
import contextlib
import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import collapse_rfc2231_value
from functools import cache, partial
from itertools import chain, islice, takewhile
from pathlib import Path
from typing import BinaryIO, Literal

from ditto_cli.demonstrations import encoding
from ditto_cli.demonstrations.html_text import html_mail_to_text
from ditto_cli.demonstrations.language import excerpt
from ditto_cli.demonstrations.quotes import remove_quoted, unwrap_flowed
from ditto_cli.demonstrations.words import one_of, words
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Reading, Skipped, SourceText

_NOT_READABLE = "not a mail that can be read"
_ENCRYPTED_KINDS = {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
_PGP_SIGNED = re.compile(r"-----BEGIN PGP SIGNED MESSAGE-----\n(?:[A-Za-z-]{1,20}: [^\n]{0,100}\n){0,9}\n?")
_MAX_PARTS = 200
# Added to the plain text that a program makes of HTML: where a link leads, what a picture is called.
_OF_THE_PROGRAM = re.compile(r"<[^<>\s]{1,2000}>|\[(?:image|cid):[^\[\]]{0,500}\]|https?://\S+")
# A word, or a character where words are not separated.
_WORD = re.compile(r"[\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]|[^\W\u0e00-\u0eff\u3040-\u9fff\uac00-\ud7af]+")


def read_email(name: str, raw: bytes) -> Reading:
    """The email's own text."""
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
        if fields.keys().isdisjoint(("from", "to", "subject", "date", "message-id", "mime-version", "content-type")):
            return Skipped(name, _NOT_READABLE)
        kinds_of_folder = _labelled_kinds(fields)
        if any(map(_EXPUNGED.match, fields.get("x-mozilla-status", []))):
            kinds_of_folder.add("trash")
        if is_of_archive and (reasons := [reason for kind, reason in NOT_KEPT.items() if kind in kinds_of_folder]):
            return Skipped(name, reasons[0])
        mail = mail_of(fields)
        own = remove_quoted(_text_of(message, is_whole=True)[0])
        parts = list(islice(message.walk(), _MAX_PARTS))
        kinds = {
            part.get_content_type()
            for part in parts
            if part.get_content_disposition() != "attachment" or part.get_content_type() in _ENCRYPTED_KINDS
        }
    # UndecodableTextError among them: damaged beyond what decoders forgive. TypeError: a charset in numbered parts.
    except (ValueError, TypeError, RecursionError):
        return Skipped(name, _NOT_READABLE)
    text = encoding.normalise_text(own.text)
    if not text or text.startswith("-----BEGIN PGP MESSAGE-----"):
        is_encrypted = text or kinds & _ENCRYPTED_KINDS
        return Skipped(name, "encrypted" if is_encrypted else "nothing in it was written by its sender")
    if mail.form == "reply":
        mail = replace(mail, original=encoding.normalise_text(own.original))
    if not_written := next((why for kind, why in _PROGRAMS_OWN.items() if kind in kinds), None):
        mail = replace(mail, not_written=not_written)
    return SourceText(id=name, text=text, prompt=mail_prompt(mail), mail=mail, authors=authors_of(fields))


def mail_prompt(mail: Mail) -> str | None:
    """The instruction that a mail answers, by its form; None where neither subject nor original says any."""
    to = f" to {mail.recipient_name}" if mail.recipient_name else ""
    comma = "," if to else ""
    subject = mail.subject.replace('"', "'")
    about = f' with the subject "{subject}"' if subject else ""
    if mail.form == "reply" and mail.original:
        return f"Write a reply{to}{comma} to this email{about}:\n\n{excerpt(mail.original)}"
    if not subject:
        return None
    if mail.form == "reply":
        return f'Write a reply{to}{comma} to the email "{subject}".'
    if mail.form == "forward":
        return f'Write a note{to} to go with the forwarded email "{subject}".'
    return f"Write an email{to}{about}."


def _text_of(part: Message, *, is_whole: bool = False) -> tuple[str, bool]:
    """The text of a part and of all below it, with quotes in lines with ">"; and whether it was HTML."""
    kind = part.get_content_type().split()[0]  # some programs write no semicolon behind it
    below = part.get_payload()
    is_mail = isinstance(below, list) and part.get_content_maintype() != "multipart"  # that was attached
    disposition = part.get_content_disposition()
    is_named = bool(parameter(part, "name")) and disposition != "inline"  # some programs name the body
    is_file = disposition == "attachment" or is_named or bool(parameter(part, "filename", "content-disposition"))
    if is_mail or (is_file and not is_whole):
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
        return html_mail_to_text(encoding.unify_line_ends(part_text(part))), True
    if kind not in ("text/plain", "text/markdown", "text/enriched", "text/richtext"):
        return "", False
    text = encoding.unify_line_ends(part_text(part))
    if kind in ("text/enriched", "text/richtext"):
        text = re.sub(r"<param>[^<]{0,200}</param>|</?[A-Za-z-]{1,40}>", "", text, flags=re.IGNORECASE)
        text = re.sub(r"\n(\n*)", lambda ends: ends[1] or " ", text.replace("<<", "<"))  # RFC 1896
    if parameter(part, "format").lower() == "flowed":
        text = unwrap_flowed(text, delete_space=parameter(part, "delsp").lower() == "yes")
    text = _ENCODED_BLOCKS.sub("", text)
    if match := _PGP_SIGNED.match(text):
        text = text[match.end() :].partition("-----BEGIN PGP SIGNATURE-----")[0]
        text = re.sub(r"^- ", "", text, flags=re.MULTILINE)  # RFC 9580, 7.2
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


# --- headers

_CALENDAR = "a calendar message"
_ENCODED_BLOCKS = re.compile(
    r"^-----BEGIN PGP PUBLIC KEY BLOCK-----\n(?:[^-\n][^\n]{0,100}\n|\n){1,3000}-----END PGP PUBLIC KEY BLOCK-----$"
    r"|^begin \d{3} [^\n]{1,200}\n(?:[ -`]{1,61}\n){1,20000}end$",
    re.MULTILINE,
)
_PROGRAMS_OWN = {"text/calendar": _CALENDAR, "text/vnd.google.email-reaction+json": "a reaction, no words"}
NOT_KEPT = {"drafts": "a draft", "spam": "marked as spam", "trash": "in the trash"}  # by kind of folder
_PREFIX = re.compile(
    rf"(?:(?P<reply>{one_of('mail_subjects', 'reply')})|(?P<forward>{one_of('mail_subjects', 'forward')}))"
    r"(?:\[\d{1,3}\]|\(\d{1,3}\))?\s?[:\uff1a]\s*",
    re.IGNORECASE,
)
_ITALIAN_REPLY = re.compile(r"R:\s+")  # capital only, as Outlook writes it
_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]@]{1,100}@[^\s<>,;:\"'()\[\]@]{1,200}")
_QUOTED_NAME = re.compile(r'"[^"]*"')
_IDENTITY = re.compile(r"<\s*([^<>\s]{1,400})\s*>")
_MAX_RECIPIENTS_CHARACTERS = 20_000
_MAX_SUBJECT_CHARACTERS = 500
_EXPUNGED = re.compile(r"\s*[0-9a-f]{3}[89a-f]", re.IGNORECASE)  # of Thunderbird: deleted, and not yet taken out
_CALENDAR_SUBJECT = re.compile(rf"(?:{one_of('mail_subjects', 'calendar')})\s?[:\uff1a]\s", re.IGNORECASE)
_ABSENCE_SUBJECT = re.compile(rf"(?:re: |aw: )?(?:{one_of('mail_subjects', 'absence')})", re.IGNORECASE)
_DELIVERY_SUBJECT = re.compile(one_of("mail_subjects", "delivery"), re.IGNORECASE)
_NAME = re.compile(r"[^\W\d_]{2,40}(?:['\u2019-][^\W\d_]{1,40}){0,2}")
# "Sent-1", "Sent 2024", "sent-mail-jan-2024"
_FOLDER_NUMBER = re.compile(r"(?:[-_ .]*\(?\d{1,4}\)?|[-_][a-z]{3}(?=[-_]\d))+\Z")
_MODIFIED_UTF7 = re.compile(r"&([A-Za-z0-9+,]*)-")


def mail_of(fields: Fields) -> Mail:
    """What the headers say, without the text of the original."""
    written = encoding.normalise_text(first(fields, "subject"))[: 2 * _MAX_SUBJECT_CHARACTERS].strip()
    form: Literal["new", "reply", "forward"] = "new"
    subject = written
    while match := _PREFIX.match(subject) or _ITALIAN_REPLY.match(subject):
        if subject == written:  # the outermost prefix counts
            form = "forward" if match.groupdict().get("forward") else "reply"
        subject = subject[match.end() :]
    answered = _identity(fields, "in-reply-to") or _identity(fields, "references", is_last=True)
    if form == "new" and "in-reply-to" in fields:
        form = "reply"
    kinds = _labelled_kinds(fields)
    return Mail(
        sender=next(iter(_addresses(fields, "from")), None),
        recipients=tuple(dict.fromkeys(_addresses(fields, "to") + _addresses(fields, "cc"))),
        form=form,
        subject=" ".join(subject.split())[:_MAX_SUBJECT_CHARACTERS],
        message_id=_identity(fields, "message-id"),
        in_reply_to=answered if form == "reply" else None,
        not_written=_why_not_written(fields, written),
        is_sent="sent" in kinds if kinds else None,
        recipient_name=_recipient_name(fields),
    )


def authors_of(fields: Fields) -> tuple[str, ...]:
    """The names under which a mail knows its sender: as displayed, and the address."""
    written = fields.get("from", [""])[0][:_MAX_RECIPIENTS_CHARACTERS]
    name, _, comment = written.partition("<")[0].partition("(")  # "ada@x.org (Ada Reed)" is the old form
    shown = decoded_words((comment if "@" in name else name).strip(" \"'\t)"))
    return tuple(one for one in (shown, *_addresses(fields, "from")[:1]) if one)


def folder_kind(name: str) -> str | None:
    """What a mail program keeps at this path: sent, drafts, spam, trash or inbox; None if unknown.

    The folder nearest to the mails decides. In Maildir++, dots lie between folders.
    """
    last, *above = reversed(re.split(r"[/\\]", name))
    # As Thunderbird and Apple Mail lay them.
    folders = [last, *takewhile(lambda folder: folder.endswith((".sbd", ".mbox")), above)]
    folders += above[:1] if re.fullmatch(r"(?:19|20)\d\d(?:[-_.]?\d\d)?", last) else []  # Sent/2024
    for part in [part for folder in folders for part in reversed(folder.split("."))]:
        label = _MODIFIED_UTF7.sub(
            lambda match: f"+{match[1].replace(',', '/')}-".encode().decode("utf-7", "replace") if match[1] else "&",
            part,
        )
        for spelling in (label, _FOLDER_NUMBER.sub("", label.lower())):
            if kind := _folders().get(_fold(spelling)):
                return kind
    return None


@cache
def _folders() -> dict[str, str]:
    return {_fold(name): kind for kind, rows in words("mail_folders").items() for name in chain.from_iterable(rows)}


def _fold(label: str) -> str:
    """A label for comparison: without case, quotes and marks that nobody sees."""
    return " ".join(unicodedata.normalize("NFC", label).casefold().replace("\u200c", "").strip(' "').split())


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


def _why_not_written(fields: Fields, subject: str) -> str | None:
    """What a program wrote in the sender's name; what a program wrote in its own has another sender."""
    kind = (fields.get("content-type") or [""])[0].lower()
    if kind.startswith("multipart/report") or _DELIVERY_SUBJECT.match(subject):
        return "a delivery report"
    if kind.startswith("text/calendar") or _CALENDAR_SUBJECT.match(subject):
        return _CALENDAR
    automatic = (fields.get("auto-submitted") or ["no"])[0].strip().lower()
    if _ABSENCE_SUBJECT.match(subject) or "x-autoreply" in fields or automatic.startswith("auto-replied"):
        return "an out-of-office notice"
    return "an automatic mail" if automatic.startswith("auto-") else None


def _labelled_kinds(fields: Fields) -> set[str]:
    """The kinds of folders that Gmail's labels name, in whatever language; those that the person made are none."""
    labels = first(fields, "x-gmail-labels").split(",")
    return {kind for label in labels if (kind := _folders().get(_fold(label)))}


# --- bytes

Fields = dict[str, list[str]]  # by lower-case name, on one line; encoded words are not yet decoded

# A mark, blank lines, and what an archive puts above a mail.
_ABOVE_THE_HEAD = re.compile(rb"\A(?:\xef\xbb\xbf|[\r\n]+|>?From [^\r\n]*[\r\n]+){1,9}")
_BASE64_LINE = re.compile(rb"(?:[A-Za-z0-9+/]+={1,2})*[A-Za-z0-9+/]*={0,2}")
_FULL_LINE = 60  # bytes in a line of base64 that another one follows
_MAX_WORD_CHARACTERS = 2000  # of a header with encoded words


def open_mail(raw: bytes) -> tuple[Fields, Message]:
    """The header fields, and the mail with its parts; `UndecodableTextError` where they are beyond repair."""
    # Programs that write line ends twice write "\r\r\n".
    message = message_from_bytes(_ABOVE_THE_HEAD.sub(b"", raw.replace(b"\r\r\n", b"\n"), count=1))
    fields: Fields = {}
    for name, value in message.raw_items():
        line = " ".join(str(value).split())
        if not line.isascii():  # bytes that nobody encoded: UTF-8 (RFC 6532), or in the charset of the body
            written = line.encode("ascii", "surrogateescape")
            try:
                line = written.decode()
            except UnicodeDecodeError:
                line = encoding.decode_text(written, parameter(message, "charset"))
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
                raw = piece if isinstance(piece, bytes) else piece.encode("raw-unicode-escape")
                pieces.append(encoding.decode_text(raw, charset) if charset else raw.decode("raw-unicode-escape"))
            value = "".join(pieces)
    return " ".join(encoding.repair_mojibake(value).split())


def parameter(part: Message, name: str, header: str = "content-type") -> str:
    """A parameter of Content-Type or of another header; "" if it is not there."""
    short = Message()
    short[header] = str(part.get(header, ""))[:4000]
    try:
        found = short.get_param(name, header=header)
        return collapse_rfc2231_value(found) if found is not None else ""
    # The standard library raises these on malformed parameters.
    except (ValueError, LookupError, AttributeError, TypeError):
        return ""


def part_text(part: Message) -> str:
    """The characters of a part that is a text; `UndecodableTextError` where it is longer than anybody writes."""
    is_base64 = str(part.get("content-transfer-encoding", "")).partition(";")[0].strip().lower() == "base64"
    if is_base64:
        del part["content-transfer-encoding"]  # the standard library reads what stands below it, too
    content = part.get_payload(decode=True)
    raw = content if isinstance(content, bytes) else b""
    raw = _from_base64(raw) if is_base64 else raw
    if len(raw) > 2 * 2**20:
        raise encoding.UndecodableTextError("a text of more than 2 MiB")
    is_page = part.get_content_subtype() == "html"
    return encoding.decode_text(raw, parameter(part, "charset") or (encoding.charset_of_page(raw) if is_page else None))


def _from_base64(raw: bytes) -> bytes:
    """What was encoded, in one block or several; without the plain footer that a mailing list puts below."""
    lines = [line.strip() for line in raw.splitlines()]
    are_data = [_BASE64_LINE.fullmatch(line) is not None for line in lines]
    first, *others = [line for line in lines if line] or [b""]
    is_cut_off = len(first) % 4 != 0 and len(first) < _FULL_LINE and bool(others)
    is_all_plain = not any(is_data and line for is_data, line in zip(are_data, lines, strict=True))
    if is_all_plain or (b" " in raw.strip() and (is_cut_off or not _BASE64_LINE.fullmatch(first))):
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
            raise encoding.UndecodableTextError("broken base64")
        decoded.append(binascii.a2b_base64(block + b"=" * (-len(block) % 4)))
    return b"".join(decoded)


# --- archives

MAX_MESSAGE_BYTES = 32 * 2**20

_HEAD_LINES, _HEAD_BYTES = 40, 4000  # of the headers below a separator
_LINE = re.compile(rb"From(?: ([^\r\n]{0,250}))?\r*\n")
_HEAD_LINE = re.compile(rb">?From |[!-9;-~]{1,76}:")
_HEADERS = re.compile(rb"^([!-9;-~]{1,76}):", re.MULTILINE)
_HEAD_END = re.compile(rb"\n\r*\n")
# What programs write behind "From ": nothing, a sign, an address, or a date in any language.
_ENVELOPE = re.compile(rb"\s*\Z|-(?:\s|\Z)|MAILER-DAEMON|(?:[^\s<>@]{0,50}\s){0,4}\S{1,200}@\S{1,200}(?:\s*\Z|.*\d\d)")
_TIME, _YEAR = re.compile(rb"\d[:.]\d\d(?!\d)"), re.compile(rb"(?<!\d)(?:19|20)\d\d(?!\d)")
_FIELDS = frozenset(b"from to cc bcc subject date sender reply-to in-reply-to references status message-id".split())
# Nobody types these below a line of a text.
_TECHNICAL = re.compile(
    rb"x-.+|received|return-path|delivered-to|envelope-to|mime-version|content-.+|message-id|dkim-signature|arc-.+"
    rb"|authentication-results"
)
_ESCAPED = re.compile(rb">+From ")
_FLAGS = re.compile(r"[:;!_-]2,([A-Za-z]*)$")


def is_mbox(head: bytes) -> bool:
    """Whether a file that begins with `head` (a kilobyte is enough) is an mbox, whatever its name."""
    line, _, below = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").partition(b"\n")
    return _is_separator(line + b"\n", below)


def is_maildir(folder: Path) -> bool:
    """Whether a folder is a Maildir: it has a real folder cur, and new, which a copy may have lost as it was empty."""
    if not _is_real(folder / "cur"):
        return False
    try:
        return _is_real(folder / "new") or any(map(_FLAGS.search, os.listdir(folder / "cur")))
    except OSError:
        return False


def apple_mbox_file(folder: Path) -> Path | None:
    """The file "mbox" in a folder as Apple Mail exports it ("Sent.mbox" is a folder); None if there is none."""
    file = folder / "mbox"
    return file if os.path.isfile(file) and not os.path.islink(file) else None


def read_mbox(name: str, stream: BinaryIO) -> Iterator[SourceText | Skipped]:
    """The mails of an mbox, in their order, as "Sent.mbox#17"; never more than one is held in memory."""
    number = 0
    for number, raw in enumerate(_messages(name, stream), start=1):
        yield _mail_of_archive(f"{name}#{number}", name, raw)
    if not number:
        raise InputError(
            f"{name} holds no mail that begins with a line 'From ...', so it is not an mbox: "
            "export the mails as .mbox or .eml, or give another file."
        )


def read_maildir(name: str, folder: Path) -> Iterator[SourceText | Skipped]:
    """The mails of a Maildir's cur and new, by file name, and then those of the folders below it, as "Mail/.Sent#3".

    Links are left alone.
    """
    try:
        parts = [folder / part for part in ("cur", "new") if _is_real(folder / part)]
        files = [path for part in parts for path in part.iterdir() if not path.name.startswith(".")]
        folders = sorted(path.name for path in folder.iterdir() if _is_real(path))
    except OSError as error:
        raise InputError(f"{name} cannot be read ({type(error).__name__}): check the folder and its rights.") from None
    for number, path in enumerate(sorted(files, key=lambda path: path.name), start=1):
        identity = f"{name}#{number}"
        flags = match[1] if (match := _FLAGS.search(path.name)) else ""
        if path.is_symlink() or not path.is_file():  # a link, a folder, or something that never ends
            yield Skipped(identity, "not a file")
        elif "D" in flags or "T" in flags:
            yield Skipped(identity, "a draft" if "D" in flags else "in the trash")
        else:
            try:
                with path.open("rb") as file:
                    raw = file.read(MAX_MESSAGE_BYTES + 1)
            except OSError as error:
                yield Skipped(identity, f"cannot be read ({type(error).__name__})")
                continue
            yield _mail_of_archive(identity, str(folder), raw if len(raw) <= MAX_MESSAGE_BYTES else None)
    for below in folders:
        if below not in ("cur", "new", "tmp") and any(_is_real(folder / below / part) for part in ("cur", "new")):
            yield from read_maildir(f"{name}/{encoding.readable_name(below)}", folder / below)


def link_originals(texts: Sequence[SourceText]) -> list[SourceText]:
    """The same texts; a reply to a mail among them has that mail's text as its original, and the prompt that follows.

    Give it all mails of an archive, received ones too, before `own_texts`.
    """
    by_identity = {
        source.mail.message_id: source for source in reversed(texts) if source.mail and source.mail.message_id
    }
    linked: list[SourceText] = []
    for source in texts:
        mail = source.mail
        answered = by_identity.get(mail.in_reply_to) if mail is not None and mail.in_reply_to else None
        if mail is not None and answered is not None and answered is not source:
            mail = replace(mail, original=answered.text)
            source = replace(source, mail=mail, prompt=mail_prompt(mail))  # noqa: PLW2901
        linked.append(source)
    return linked


def _mail_of_archive(identity: str, archive: str, raw: bytes | None) -> SourceText | Skipped:
    kind = folder_kind(archive)
    if kind in NOT_KEPT:
        return Skipped(identity, NOT_KEPT[kind])
    if raw is None:
        return Skipped(identity, f"larger than {MAX_MESSAGE_BYTES // 2**20} MiB")
    found = parse_mail(identity, raw)
    if kind == "sent" and isinstance(found, SourceText) and found.mail is not None and found.mail.is_sent is None:
        return replace(found, mail=replace(found.mail, is_sent=True))
    return found


def _messages(name: str, stream: BinaryIO) -> Iterator[bytes | None]:
    """Each message without its separator; None for one that is too large to hold.

    What stands above the first separator is one, too, if there is any separator.
    """
    held: list[bytes] = []
    below: deque[bytes] = deque()  # lines that were read to tell whether a message begins above them
    size = num_separators = 0
    read = partial(stream.readline, 2**16)
    try:
        while line := below.popleft() if below else read():
            if line.startswith(b"From"):
                while len(below) < _HEAD_LINES and (further := read()):
                    below.append(further)
                if _is_separator(line, b"".join(below)):
                    num_separators += 1
                    if size and (num_separators > 1 or b"".join(held).strip(b"\xef\xbb\xbf\r\n")):
                        yield b"".join(held) if size <= MAX_MESSAGE_BYTES else None
                    held, size = [], 0
                    continue
            size += len(line)
            if size <= MAX_MESSAGE_BYTES:
                held.append(line[1:] if _ESCAPED.match(line) else line)
            else:
                held.clear()
    except OSError as error:
        raise InputError(
            f"{name} cannot be read to its end ({type(error).__name__}): copy it to another disk and try again."
        ) from None
    if num_separators:
        yield b"".join(held) if size <= MAX_MESSAGE_BYTES else None


def _is_separator(line: bytes, below: bytes) -> bool:
    """Whether a message begins with the line; what stands below it tells."""
    separator = _LINE.match(line)
    if separator is None or not _HEAD_LINE.match(below):
        return False
    blank = _HEAD_END.search(below)
    names = {found.lower() for found in _HEADERS.findall(below[: blank.start() if blank else _HEAD_BYTES])}
    is_technical = any(_TECHNICAL.fullmatch(found) for found in names)
    behind = separator[1] or b""
    is_envelope = _ENVELOPE.match(behind) or (_TIME.search(behind) and _YEAR.search(behind))
    return bool(is_envelope and (is_technical or names & _FIELDS)) or bool(is_technical and names & _FIELDS)


def _is_real(folder: Path) -> bool:
    return os.path.isdir(folder) and not os.path.islink(folder)
