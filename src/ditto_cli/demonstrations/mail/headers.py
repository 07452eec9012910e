"""Header fields of an email -> `Mail`: who, to whom, in which form, and whether a person wrote it at all.

Reads what is decided before the text is decoded. Knows labels and flags of mail programs, and no text.
"""

from __future__ import annotations

import re
from typing import Literal

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.mail.mime import Fields, decoded_words, first
from ditto_cli.demonstrations.mail.quote_words import FORWARD_PREFIXES, REPLY_PREFIXES
from ditto_cli.types import Mail

_Form = Literal["new", "reply", "forward"]

KNOWN_FIELDS = ("from", "to", "subject", "date", "message-id", "mime-version", "content-type")
AUTOMATIC = "an automatic mail"
OUT_OF_OFFICE = "an out-of-office notice"
DELIVERY = "a delivery report"
CALENDAR = "a calendar message"
BULK = "a list or bulk mail"

_PREFIX = re.compile(
    rf"(?:(?P<reply>{'|'.join(REPLY_PREFIXES)})|(?P<forward>{'|'.join(FORWARD_PREFIXES)}))(?:\[\d{{1,3}}\]|\(\d{{1,3}}\))?"
    r"\s?[:\uff1a]\s*",
    re.IGNORECASE,
)
_ITALIAN_REPLY = re.compile(r"R:\s+")  # capital only, as Outlook writes it
_ADDRESS = re.compile(r"[^\s<>,;:\"'()\[\]@]{1,100}@[^\s<>,;:\"'()\[\]@]{1,200}")
_QUOTED_NAME = re.compile(r'"[^"]*"')
_IDENTITY = re.compile(r"<\s*([^<>\s]{1,400})\s*>")
_MAX_RECIPIENTS_CHARACTERS = 20_000
_MAX_SUBJECT_CHARACTERS = 500
_BOT = re.compile(
    r"(?:no|do.?not|not).?reply|donotreply|mailer.?daemon|postmaster|bounces?(?:[+-].*)?|notifications?|notify|newsletter"
    r"|automailer|alerts?|auto(?:reply|mated)?|robot|bot|ne-pas-repondre|noresponder|nicht-antworten"
)
_DELIVERY_SENDER = re.compile(r"mailer.?daemon|postmaster")
_CALENDAR_SUBJECT = re.compile(
    r"(?:accepted|declined|tentative(?:ly accepted)?|cancell?ed|invitation|updated invitation|zugesagt|abgelehnt"
    r"|mit vorbehalt|abgesagt|angenommen|accepté|refusé|provisoire|annulé|aceptad[oa]|rechazad[oa]|provisional"
    r"|cancelad[oa]|accettat[oa]|rifiutat[oa]|annullat[oa]|aceit[oe]|recusado|geaccepteerd|afgewezen|voorlopig"
    r"|geannuleerd|accepterat|avböjt|accepteret|afvist|akseptert|avslått|zaakceptowane|odrzucone|přijato|odmítnuto"
    r"|принято|отклонено|承諾|辞退|已接受|已拒绝)\s?[:\uff1a]\s",
    re.IGNORECASE,
)
_ABSENCE_SUBJECT = re.compile(
    r"(?:re: |aw: )?(?:(?:automatic|auto).?(?:reply|response)\s?:|out of (?:the )?office|abwesenheit|abwesend"
    r"|automatische antwort|réponse automatique|absence du bureau|respuesta automática|fuera de la oficina"
    r"|risposta automatica|fuori sede|fuori ufficio|resposta automática|fora do escritório|automatisch antwoord|afwezig"
    r"|autosvar|automatiskt? svar|frånvaro|fravær|automatyczna odpowiedź|odpowiedź automatyczna|automatická odpověď"
    r"|автоматический ответ|автоответ|自動返信|自動応答|自动回复|自动答复|on (?:vacation|holiday|leave):)",
    re.IGNORECASE,
)
_DELIVERY_SUBJECT = re.compile(
    r"(?:undeliver(?:able|ed)|delivery (?:status notification|failure|report)|mail delivery (?:failed|system)"
    r"|returned mail|unzustellbar|failure notice|non remis|no se puede entregar|read:\s|gelesen:\s|lu\s?:\s)",
    re.IGNORECASE,
)
_TITLES = frozenset(
    "mr mrs ms miss dr prof sir herr frau hr fr mme m mlle sr sra srta don doña sig dott ing dhr mevr pan".split()  # noqa: SIM905
)
_NO_PERSON = frozenset(
    "team support info office sales service kontakt contact admin the mail customer undisclosed".split()  # noqa: SIM905
)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_NAME = re.compile(r"[^\W\d_][^\W\d_.'\u2019-]*(?:['\u2019-][^\W\d_]+){0,2}")
_SENT_LABELS = frozenset(
    (
        *("sent", "sent mail", "sent items", "sent messages", "gesendet", "gesendete elemente", "gesendete objekte"),
        *(
            "envoyés",
            "messages envoyés",
            "éléments envoyés",
            "enviados",
            "elementos enviados",
            "correo enviado",
            "enviadas",
        ),
        *(
            "itens enviados",
            "posta inviata",
            "inviati",
            "inviata",
            "verzonden",
            "verzonden items",
            "skickat",
            "skickade",
            "sendt",
        ),
        *("sendte", "sendt post", "wysłane", "elementy wysłane", "odeslané", "odeslaná pošta", "отправленные"),
        *(
            "送信済み",
            "送信済みメール",
            "已发邮件",
            "已发送",
            "已发送邮件",
            "寄件備份",
            "보낸편지함",
            "sent-mail",
            "sent_mail",
        ),
    )
)
_NOT_KEPT = {
    "a draft": (
        *(
            "drafts",
            "draft",
            "entwürfe",
            "brouillons",
            "borradores",
            "bozze",
            "rascunhos",
            "concepten",
            "utkast",
            "kladder",
        ),
        *("kladde", "wersje robocze", "koncepty", "черновики", "下書き", "草稿"),
    ),
    "marked as spam": (
        "spam",
        "junk",
        "junk-e-mail",
        "courrier indésirable",
        "correo no deseado",
        "迷惑メール",
        "垃圾邮件",
        "спам",
    ),
    "in the trash": (
        *(
            "trash",
            "papierkorb",
            "corbeille",
            "papelera",
            "cestino",
            "lixeira",
            "prullenbak",
            "papperskorgen",
            "papirkurv",
        ),
        *("kosz", "koš", "корзина", "ゴミ箱", "已删除邮件", "deleted", "deleted items", "gelöschte elemente"),
    ),
}


def mail_of(fields: Fields) -> Mail:
    """What the headers say, without the text of the original."""
    written = normalise_text(first(fields, "subject"))[: 2 * _MAX_SUBJECT_CHARACTERS].strip()
    form, subject = _form_and_subject(written)
    answered = _identity(fields, "in-reply-to") or _identity(fields, "references", is_last=True)
    if form == "new" and "in-reply-to" in fields:
        form = "reply"
    sender = next(iter(_addresses(fields, "from")), None)
    return Mail(
        sender=sender,
        recipients=tuple(dict.fromkeys(_addresses(fields, "to") + _addresses(fields, "cc"))),
        form=form,
        subject=subject[:_MAX_SUBJECT_CHARACTERS],
        message_id=_identity(fields, "message-id"),
        in_reply_to=answered if form == "reply" else None,
        not_written=_not_written(fields, sender, written),
        is_sent=_is_sent(fields),
        recipient_name=_recipient_name(fields),
    )


def reason_not_kept(fields: Fields) -> str | None:
    """Why the program that kept the mail does not count it as one: a draft, spam, deleted; None if it does."""
    labels = _labels(fields)
    for reason, names in _NOT_KEPT.items():
        if labels & set(names):
            return reason
    status = "".join(fields.get("x-status", []))
    if "T" in status or fields.get("x-unsent", [""])[0].strip() == "1":
        return "a draft"
    if "mail-draft" in "".join(fields.get("x-uniform-type-identifier", [])):
        return "a draft"
    is_expunged = any(_hexadecimal(value) & 0x8 for value in fields.get("x-mozilla-status", []))
    return "in the trash" if "D" in status or is_expunged else None


def is_sent_folder(name: str) -> bool:
    """Whether a folder or file of this name is where a mail program keeps what its owner sent."""
    last = re.split(r"[/\\]", name.lower().removesuffix(".mbox").removesuffix(".mbx"))[-1]
    return last in _SENT_LABELS or last.rsplit(".", 1)[-1] in _SENT_LABELS


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
    """By which name a letter to the one recipient would call them; "" if it is not known, or there are several."""
    value = ",".join(fields.get("to", []))
    if value.count("@") != 1 or "<" not in value:
        return ""
    shown = decoded_words(value.partition("<")[0]).strip(" \"'\t")
    if "@" in shown or not shown or len(shown) > 80:
        return ""
    if shown.count(",") == 1:
        shown = " ".join(reversed(shown.split(",")))  # "Berg, Bo"
    words = [word.strip(",.") for word in shown.split()]
    if not words or len(words) > 5 or words[0].lower() in _NO_PERSON:
        return ""
    if words[0].lower() in _TITLES:
        return " ".join(shown.split()) if len(words) > 1 else ""
    if _CJK.search(shown):
        return " ".join(shown.split())
    return words[0] if _NAME.fullmatch(words[0]) and len(words[0]) > 1 else ""


def _not_written(fields: Fields, sender: str | None, subject: str) -> str | None:
    name = (sender or "").partition("@")[0]
    kind = (fields.get("content-type") or [""])[0].lower()
    if kind.startswith("multipart/report") or _DELIVERY_SENDER.fullmatch(name) or _DELIVERY_SUBJECT.match(subject):
        return DELIVERY
    if kind.startswith("text/calendar") or _CALENDAR_SUBJECT.match(subject):
        return CALENDAR
    if _ABSENCE_SUBJECT.match(subject) or {"x-autoreply", "x-autorespond", "x-auto-response"} & set(fields):
        return OUT_OF_OFFICE
    automatic = (fields.get("auto-submitted") or ["no"])[0].partition(";")[0].strip().lower()
    if automatic.startswith("auto-replied"):
        return OUT_OF_OFFICE
    precedence = (fields.get("precedence") or [""])[0].strip().lower()
    if automatic not in ("no", "") or precedence == "auto_reply" or _BOT.fullmatch(name):
        return AUTOMATIC
    return BULK if precedence in ("bulk", "list", "junk") else None


def _labels(fields: Fields) -> set[str]:
    value = first(fields, "x-gmail-labels")
    return {label.strip(' "').lower() for label in value.split(",")} if value else set()


def _is_sent(fields: Fields) -> bool | None:
    labels = _labels(fields)
    return bool(labels & _SENT_LABELS) if labels else None


def _hexadecimal(value: str) -> int:
    try:
        return int(value.strip()[:8], 16)
    except ValueError:
        return 0
