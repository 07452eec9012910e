"""The lines that somebody wrote -> the same without what their mail program adds below every mail.

Signature after "-- ", contact block, disclaimer and "Sent from my iPhone" go. A sign-off and the name below it ("Best,
Anna") are the person's style and stay.
"""

# ruff: noqa: RUF001  words of other alphabets look like Latin ones

from __future__ import annotations

import re
from collections.abc import Sequence

from ditto_cli.demonstrations.mail.quote_words import PHONE_LABELS, PROGRAMS, SENT_WITH, SENT_WITH_AT_END, SIGN_OFFS

_SIGNATURE_MARKS = frozenset({"--", "\u2014\u2014"})
_RULE_LINE = re.compile(r"[_\-=*\u2014\u2500]{5,}")
_SENT_LINE_CHARACTERS, _SENT_LINE_WORDS = 130, 14
_LINK = re.compile(r"<?https?://\S+|<\S*>|\[image:[^\]]*\]")
_TAIL_LINES = 16  # no contact block is longer
_LINE_CHARACTERS, _LINE_WORDS = 90, 10  # nor its lines
_PHONE = re.compile(
    rf"(?:[\W_]*(?:{'|'.join(PHONE_LABELS)})\b[\W_]*){{0,3}}\+?[\d()][\d\s()./\-\u2013]{{5,28}}\d"
    r"(?:[ \t]*\(?(?:ext|x|int|durchwahl)\W{0,3}\d{1,5}\)?)?",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?:\w{1,12}\W{1,3})?\W{0,2}[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}\W{0,2}", re.IGNORECASE
)
_WEB = re.compile(r"(?:web\w*\W{1,3}|www\W{1,3}|internet\W{1,3})?(?:https?://|www\.)\S{3,100}", re.IGNORECASE)
_POSTAL = re.compile(
    r"(?:[A-Z]{1,2}-)?\d{4,5}(?:\s?[A-Z]{2})?\s+\w.{1,40}"
    r"|.{2,40}\s\d{1,4}[a-z]?,\s*(?:[A-Z]{1,2}-)?\d{4,6}\b.{0,40}"
)
_COMPANY = re.compile(
    r".*\b(?:GmbH|AG|KG|e\.\s?V\.|Ltd|LLC|Inc|Corp|S\.?A\.?R?\.?L?|B\.?V|S\.?r\.?l|S\.?p\.?A|AB|ApS|A/S|AS|Oy"
    r"|s\.\s?r\.\s?o|Sp\. z o\.o|ООО|ЗАО|HRB|USt-?Id\w*|VAT)\b.*|.*(?:株式会社|有限公司).*"
)
_BULLET = re.compile(r"\s*(?:[-*\u2022\u2013+]\s|\d{1,3}[.)]\s)")
_SIGN_OFF = re.compile(rf"(?:[^\W\d_]{{1,14}} ){{0,2}}(?:{'|'.join(SIGN_OFFS)})", re.IGNORECASE)
_NAME = re.compile(r"(?:[^\W\d_][\w.'\u2019-]{0,20}\s?){1,4}")
_SIGN_OFF_WORDS = 6
_LEGAL_WORDS = 10  # no disclaimer is shorter
_MAIL_WORD = re.compile(
    r"\b(?:e-?mail|message|communication|transmission|nachricht|courriel|messaggio|comunicazione|mensaje|correo|mensagem"
    r"|bericht|meddeland\w*|mejl|meddelelse\w*|besked|e-post\w*|melding\w*|wiadomość|zpráva|сообщение|письмо)\b"
    r"|メール|邮件|郵件",
    re.IGNORECASE,
)
_SECRET_WORD = re.compile(
    r"confiden[tc]|privileged|proprietary|vertraulich|riservat|vertrouwelijk|konfiden|fortrolig|poufn|důvěrn|конфиденц"
    r"|機密|保密|机密",
    re.IGNORECASE,
)
_LEGAL_WORD = re.compile(
    r"recipient|addressee|intended|unauthor|disclos|delete|liabilit|empfänger|adressat|bestimmt|irrtümlich|vernicht"
    r"|lösch|destinat|supprim|détrui|interdit|elimin|borr|prohib|proibi|cancell|erro\b|ontvanger|geadresseerde|bestemd"
    r"|verwijder|mottagare|avsedd|radera|modtager|slet|mottaker|slett|odbiorc|usuń|usunię|příjemc|smaž|получател|удалит"
    r"|宛先|削除|破棄|收件人|删除|刪除",
    re.IGNORECASE,
)
_FOOTER = re.compile(
    r"\W*(?:please (?:consider|think of) the environment|bitte (?:denken|prüfen) sie .{0,60}(?:umwelt|ausdruck|drucken)"
    r"|pensez à l.environnement|virus-?free\b|virenfrei\b|sin virus\b|this e-?mail has been (?:checked|scanned)"
    r"|diese e-?mail wurde von avast|you received this message because|confidentiality notice\b|disclaimer\s*:"
    r"|to unsubscribe from this)",
    re.IGNORECASE,
)
_MAILING_LIST = re.compile(r"mailing list|mailingliste|liste de diffusion", re.IGNORECASE)
_PARAGRAPH_CHARACTERS = 4000  # as much of a paragraph as is looked at
_LAST_PARAGRAPHS = 6
_SENT_LINE_PLACES = 3
_SIGN_OFF = re.compile(
    r"\W*(?:(?:all|my|with|many|warm|kind)?\s*(?:the )?(?:best|regards|love|cheers|yours|thanks|thank you|wishes|hugs?)"
    r"|(?:mit )?(?:viele|liebe|beste|herzliche|freundliche[nm]?)\s+gr(?:ü|ue)(?:ß|ss)\w*|gru(?:ß|ss)|lg|vg|mfg"
    r"|cordialement|amitiés|bises|bisous|saludos|un abrazo|abraços?|saluti|baci|groet(?:en|jes)|hälsningar|mvh"
    r"|pozdrawiam|s pozdravem|с уважением|x+o*x*)\b[^.?]{0,30}$",
    re.IGNORECASE,
)


def without_signature(lines: Sequence[str]) -> list[str]:
    """The lines of one stretch of own text, without what was added below them; unchanged where nothing was."""
    kept = _before_mark(lines)
    kept = _without_sent_line(kept)
    kept = _without_footers(kept)
    return _without_contact_block(kept)


def without_rule_at_end(lines: Sequence[str]) -> list[str]:
    """The lines, without the rule that Outlook draws above an original."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept[:-1] if kept and _RULE_LINE.fullmatch(kept[-1].strip()) else list(lines)


def _before_mark(lines: Sequence[str]) -> list[str]:
    for index, line in enumerate(lines):
        if line == "-- " or (line.rstrip() in _SIGNATURE_MARKS and not _has_sign_off(lines[index + 1 :])):
            return list(lines[:index])
        # Mailman draws a rule and names the list below it.
        if _RULE_LINE.fullmatch(line.strip()) and any(map(_is_list_line, lines[index + 1 : index + 3])):
            return list(lines[:index])
    return list(lines)


def _without_sent_line(lines: list[str]) -> list[str]:
    """Without "Sent from my phone", which stands among the last lines; elsewhere it is a sentence."""
    last = [index for index, line in enumerate(lines) if line.strip()][-_SENT_LINE_PLACES:]
    return [line for index, line in enumerate(lines) if index not in last or not _is_sent_line(line)]


def _is_list_line(line: str) -> bool:
    return len(line) < _SENT_LINE_CHARACTERS and _MAILING_LIST.search(line) is not None


def _is_sent_line(line: str) -> bool:
    if not 8 <= len(line) <= 3 * _SENT_LINE_CHARACTERS:
        return False
    bare = _LINK.sub("", line).strip(" \t*_[]()\u200b").lower()
    if not bare or len(bare) > _SENT_LINE_CHARACTERS:
        return False
    if not (bare.startswith(SENT_WITH) or bare.endswith(SENT_WITH_AT_END)):
        return False
    return len(bare.split()) <= _SENT_LINE_WORDS and not bare.endswith("?") and any(map(bare.__contains__, PROGRAMS))


def _without_footers(lines: list[str]) -> list[str]:
    """Without a disclaimer and all that follows it."""
    starts = [
        index for index, line in enumerate(lines) if line.strip() and (index == 0 or not lines[index - 1].strip())
    ]
    for start in starts[-_LAST_PARAGRAPHS:]:
        end = next((index for index in range(start, len(lines)) if not lines[index].strip()), len(lines))
        if _is_footer(" ".join(lines[start:end])[:_PARAGRAPH_CHARACTERS]) and not _has_sign_off(lines[end:]):
            return without_rule_at_end(lines[:start])
    return lines


def _has_sign_off(lines: Sequence[str]) -> bool:
    """Whether the letter still goes on in these lines: it ends below its sign-off."""
    return any(len(line) < _SENT_LINE_CHARACTERS and _SIGN_OFF.match(line) for line in lines)


def _is_footer(paragraph: str) -> bool:
    if _FOOTER.match(paragraph):
        return True
    is_long = len(paragraph.split()) >= _LEGAL_WORDS or (not paragraph.isascii() and len(paragraph) >= 60)
    return is_long and all(word.search(paragraph) for word in (_MAIL_WORD, _SECRET_WORD, _LEGAL_WORD))


def _without_contact_block(lines: list[str]) -> list[str]:
    tail = [
        index
        for index, line in enumerate(lines[-3 * _TAIL_LINES :], max(0, len(lines) - 3 * _TAIL_LINES))
        if line.strip()
    ]
    tail = tail[-_TAIL_LINES:]
    region: list[int] = []
    for index in reversed(tail):
        if not _may_stand_in_block(lines[index]):
            break
        region.insert(0, index)
    if not region or not _is_contact(lines[region[-1]]):
        return lines
    num_hard = sum(_is_hard_contact(lines[index]) for index in region)
    if not num_hard:
        return lines
    first_contact = next(position for position, index in enumerate(region) if _is_contact(lines[index]))
    cut = _first_to_drop(lines, region, first_contact)
    before = next((lines[index].rstrip() for index in reversed(tail) if index < cut), "")
    is_announced = before.endswith((":", "\uff1a")) and not _is_sign_off(before)
    is_signed = bool(before) and (_is_sign_off(before) or _is_name(before))
    if is_announced or not (is_signed or num_hard >= 2):
        return lines
    return without_rule_at_end(lines[:cut])


def _first_to_drop(lines: Sequence[str], region: Sequence[int], first_contact: int) -> int:
    """The line with which the block begins: below the sign-off and its name, or below a name."""
    for position in range(first_contact - 1, -1, -1):
        if _is_sign_off(lines[region[position]]):
            has_name = position + 1 < first_contact and not _is_contact(lines[region[position + 1]])
            return region[min(position + 1 + has_name, len(region) - 1)]
    # Without a sign-off: the names that begin the block, job titles and companies below them.
    above = region[:first_contact]
    names = next((position for position, index in enumerate(above) if _is_name(lines[index])), None)
    if names is not None:
        return region[names + 1]
    return region[first_contact]


def _may_stand_in_block(line: str) -> bool:
    text = line.strip()
    if _RULE_LINE.fullmatch(text) or _is_contact(text):
        return True
    if len(text) > _LINE_CHARACTERS or len(text.split()) > _LINE_WORDS or _BULLET.match(line):
        return False
    return _is_sign_off(text) or not text.endswith((".", "?", "!", ":", "\u3002", "\uff1f", "\uff01", ";"))


def _is_hard_contact(line: str) -> bool:
    """A number to call or an address to write to, and nothing else."""
    text = line.strip(" \t*|")
    if not text or len(text) > _LINE_CHARACTERS or _BULLET.match(line):
        return False
    pieces = [piece.strip() for piece in re.split(r"\s[|\u00b7\u2022/]\s|\s{3,}|,\s(?=\D)", text) if piece.strip()]
    return (
        bool(pieces)
        and any(_PHONE.fullmatch(piece) or _ADDRESS.fullmatch(piece) for piece in pieces)
        and len(pieces) <= 5
    )


def _is_contact(line: str) -> bool:
    text = line.strip(" \t*|")
    if not text or len(text) > _LINE_CHARACTERS or _BULLET.match(line):
        return False
    if _is_hard_contact(line) or _WEB.fullmatch(text):
        return True
    return len(text.split()) <= _LINE_WORDS and bool(_POSTAL.fullmatch(text) or _COMPANY.fullmatch(text))


def _is_sign_off(line: str) -> bool:
    text = line.strip(" \t*")
    return len(text) <= 50 and len(text.split()) <= _SIGN_OFF_WORDS and _SIGN_OFF.match(text) is not None


def _is_name(line: str) -> bool:
    text = line.strip(" \t*,\u2013-")
    if len(text) > 40 or not _NAME.fullmatch(text):
        return False
    return all(
        not word[0].islower() or word in ("von", "van", "de", "der", "da", "di", "del", "la", "el")
        for word in text.split()
    )
