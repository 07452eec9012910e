"""The body of an email -> what its sender wrote, and what was quoted: no reply, no forward, no signature in the former.

An attribution ("On Monday Anna wrote:") is known in any language by the address and the date in it; words, rules and
copied headers are in words/quotes.yaml. What the mail program adds below and between the own lines goes: signature,
contact block, disclaimer, "Sent from my iPhone" (words/signatures.yaml), and the marks that it makes of HTML. A
sign-off and the name below it ("Best, Anna") are the style of the person and stay. Every pattern looks at few short
lines, so that no text takes long.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile

from ditto_cli.demonstrations.authorship import closing_in, name_in
from ditto_cli.demonstrations.words import one_of, words

_WORDS = words("quotes")


@dataclass(frozen=True)
class OwnPart:
    """The two sides of a mail's body: what the sender wrote, and what it answers or passes on, as far as quoted."""

    text: str
    original: str = ""  # without its own quotes and signature


@dataclass(frozen=True)
class _Body:
    """The lines of a body, and what is asked of each more than once."""

    bare: Sequence[str]  # without blanks around them and without invisible marks
    is_above_quote: Sequence[bool]  # whether the next line with text is a quoted one


_ATTRIBUTION_CHARACTERS, _ATTRIBUTION_WORDS = 500, 30
_COLONS = (":", "\uff1a", "\u0589", "\ufe55", "\u1366")
_COLON = re.compile("[:\uff1a]")
_INVISIBLE = re.compile("[\u00ad\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_WROTE = re.compile(
    rf"(?<![^\s>,])(?:{one_of('quotes', 'wrote')})(?=[\s:\uff1a,(])|{one_of('quotes', 'wrote_unspaced')}", re.IGNORECASE
)
_QUOTING = re.compile(rf"(?:{one_of('quotes', 'quoting')})\s", re.IGNORECASE)
_WORD_START = re.compile(rf"(?:{one_of('quotes', 'starts')})\s|[在于於]")
_DATE_START = re.compile(
    r"(?:[^\W\d_]{2,14}[.,]{0,2}\s)?\d{1,2}(?:[./]|\.?\s\S|,)|\d{4}[-/.\u5e74\ub144]|[^\W\d_]{3,14},\s[^\W\d_]{3,12}\s\d{1,2}"
)
# A year in one of four calendars or a date in figures, and a time of day.
_DAY = re.compile(r"(?<!\d)(?:1[34]|19|2[05])\d\d(?!\d)|(?<!\d)\d{1,4}([./-])\s?\d{1,2}\1\s?\d{2,4}(?!\d)")
_TIME = re.compile(r"(?<!\d)\d{1,2}\s?[:.h\u6642\u65f6\uc2dc]\s?\d\d(?!\d)")
_ADDRESS = re.compile(r"[<(\[]?[^\s<>@()]{1,100}@[^\s<>@()]{1,200}[>)\]]?")
_BRACKETED_ADDRESS = re.compile(r"[<(\[]\s?(?:mailto:)?[^\s<>@()]{1,100}@[^\s<>@()]{1,200}\s?[>)\]]")
_BULLET = re.compile(r"[-*\u2022\u2013+]\s|\d{1,3}[.)]\s")
# With the name of who wrote it (mutt), or with its headers behind it (Yahoo).
_MESSAGE_RULE = re.compile(
    rf"[-_=*\u2010-\u2014]{{2,40}}\s*(?:{one_of('quotes', 'message_rules')})"
    r"(?: (?:from|von|de|di|da|van|od|от) .{1,100}?)?\s*[-_=*:\u2010-\u2014]{1,60}(?: \w+: .*)?",
    re.IGNORECASE,
)
_ZOHO_RULE = re.compile(r"-{3,8} .{10,300} -{3,8}")
# Of GroupWise and Notes.
_GROUPWISE_LINE = re.compile(
    r">>> [^>].{0,200}(?:@|\d[:.]\d\d).{0,200} >>>"
    r"|.{2,80} ---\d{1,4}[-./]\d{1,2}[-./]\d{2,4} \d{1,2}[:.]\d\d.{0,12}---.*"
)
_REPLY_ABOVE = re.compile(rf"[#=*\s-]{{2,}}.{{0,40}}(?:{one_of('quotes', 'reply_above')}).{{0,60}}", re.IGNORECASE)
_FORWARD_LINE = re.compile(rf"(?:{one_of('quotes', 'forward_lines')})\s*[:\uff1a]", re.IGNORECASE)
_SENDER_FIELDS, _OTHER_FIELDS = frozenset(_WORDS["sender_fields"]), frozenset(_WORDS["other_fields"])
_WORDS_OF_JOURNEYS = frozenset(_WORDS["of_journeys"])
_UNKNOWN_FIELD = re.compile(r"\*?[^\W\d_][^\d:\uff1a<>@]{1,30}[:\uff1a]\*?\s?(.{1,300})")
_BLANK_LINES = re.compile(r"\n{4,}")  # that many say no more than two


def remove_quoted(body: str) -> OwnPart:
    r"""Own and quoted part of `body`, whose line ends are \n.

    A forwarded message and an unmarked original end the text; lines that begin with ">" are taken out, and what was
    written below or between them stays. A signature ends at the next quote.
    """
    own, quoted = _split(_BLANK_LINES.sub("\n\n\n", body).split("\n"))
    original = ""
    if any(line.strip() for line in quoted):
        first, nested = _split(_without_fields("\n".join(quoted)[:20_000].split("\n")))
        original = "\n".join(first).strip()
        original = original or "\n".join(without_program_marks(_without_fields(nested))).strip()
    return OwnPart("\n".join(own), original)


def text_of_saved_mail(text: str) -> str | None:
    """The own text of a mail that a program saved as plain text, below its headers; None where it is no such text."""
    lines = text.strip("\n").split("\n")
    head = list(takewhile(str.strip, lines))
    height = _header_height(_body(head), 0)
    # A memo, which people write themselves, has neither addresses nor tabs.
    is_of_program = re.search(r"\S@\S|:\t", "\n".join(lines[:height])) is not None
    return remove_quoted("\n".join(lines[height:])).text if is_of_program else None


def unwrap_flowed(body: str, *, delete_space: bool) -> str:
    """Paragraphs of a format=flowed body (RFC 3676) as one line each; quoted ones keep a ">".

    `delete_space` is the part's parameter DelSp: the space that marks a soft line end is no part of the text.
    """
    paragraphs: list[list[str]] = []
    open_depth: int | None = None  # quote depth of the paragraph that the next line may continue
    for line in body.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        # A space was put before what would be taken for a mark; before ">" it stays, or that would be.
        content = content if content.startswith(" >") else content.removeprefix(" ")
        is_signature = content == "-- "
        is_soft = content.endswith(" ") and not is_signature
        content = content[:-1] if is_soft and delete_space else content
        if depth == open_depth and not is_signature:
            paragraphs[-1].append(content)
        else:
            paragraphs.append([f"{'>' * depth} {content}" if depth else content])
        open_depth = depth if is_soft else None
    return "\n".join("".join(pieces) for pieces in paragraphs)


def _split(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The own lines, and the quoted ones with one level of marks taken off."""
    body = _body(lines)
    own: list[str] = []
    stretch: list[str] = []  # of own lines, up to the next quote
    quoted: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        height = _introduction_height(body, index) if line else 0
        if height and not body.is_above_quote[index + height - 1]:  # the original follows without marks
            quoted += lines[index + height :]
            stretch = without_rule_at_end(stretch)
            break
        if not height and not line.startswith(">"):
            stretch.append(line)
            index += 1
            continue
        if stretch:
            own += without_signature(without_rule_at_end(stretch) if height else stretch)
            stretch = []
            quoted.append("")
        if not height:
            quoted.append(line[1:].removeprefix(" "))
        index += height or 1
    return own + without_signature(stretch), quoted


def _body(lines: Sequence[str]) -> _Body:
    bare = [line.strip() if line.isascii() else _with_ascii_digits(_INVISIBLE.sub("", line)).strip() for line in lines]
    is_above_quote = [False] * len(lines)
    for index in range(len(lines) - 2, -1, -1):
        is_above_quote[index] = lines[index + 1].startswith(">") or (not bare[index + 1] and is_above_quote[index + 1])
    return _Body(bare, is_above_quote)


def _with_ascii_digits(line: str) -> str:
    return "".join(str(unicodedata.decimal(one)) if one.isdecimal() else one for one in line).replace("\xa0", " ")


def _without_fields(lines: Sequence[str]) -> list[str]:
    """Without the headers of the original that may stand above its text."""
    body = _body(lines)
    start = 0
    while start < len(lines):
        if body.bare[start] and not (height := _introduction_height(body, start)):
            break
        start += height if body.bare[start] else 1
    return list(lines[start:])


def _introduction_height(body: _Body, index: int) -> int:
    """How many lines from `index` on introduce somebody else's words: attribution, rule, headers; 0 if none do."""
    line = body.bare[index]
    if len(line) <= 300 and (_GROUPWISE_LINE.fullmatch(line) or _REPLY_ABOVE.fullmatch(line)):
        return 1
    if not line or line.startswith(">"):
        return 0
    if len(line) <= _ATTRIBUTION_CHARACTERS and (line.endswith(_COLONS) or line[0] in "-_=*\u2010\u2013\u2014"):
        if _MESSAGE_RULE.fullmatch(line) or _FORWARD_LINE.fullmatch(line):
            # With the headers or the attribution below it.
            below = next((position for position in range(index + 1, len(body.bare)) if body.bare[position]), None)
            if below is None:
                return 1
            return below - index + (_header_height(body, below) or _attribution_height(body, below))
        if _ZOHO_RULE.fullmatch(line) and _WROTE.search(line) and (_DAY.search(line) or _TIME.search(line)):
            return 1
    return _header_height(body, index) or _attribution_height(body, index)


def _header_height(body: _Body, index: int) -> int:
    """How many lines from `index` on are headers that a program copied; 0 if none.

    In a language that is not known, a block of three fields is one if the first holds an address, and another a date.
    """
    bare = body.bare
    if ":" not in bare[index] and _field(bare[index]) is None:
        return 0
    region = range(index, min(len(bare), index + 8))  # the lines below the first that may hold its fellow fields
    fields = {position: field for position in region if (field := _field(bare[position]))}
    has_sender = any(
        field in _SENDER_FIELDS and _COLON.split(bare[at], 1)[1].strip(" *") for at, field in fields.items()
    )
    # "From: Berlin, To: Prague, Date: Friday" is the plan of a journey.
    is_of_mail = not _WORDS_OF_JOURNEYS.issuperset(fields.values()) or any(
        re.search(r"@|^\*", bare[position]) or _DAY.search(bare[position]) for position in region
    )
    if index in fields and has_sender and is_of_mail and len(set(fields.values())) >= 3:
        return max(fields) + 1 - index
    first = _UNKNOWN_FIELD.fullmatch(bare[index]) if "@" in bare[index] else None
    if first is None or not _BRACKETED_ADDRESS.search(first[1]):
        return 0
    block = list(takewhile(bool, (_UNKNOWN_FIELD.fullmatch(bare[position]) for position in region)))
    has_day = any(match and _DAY.search(match[1]) for match in block)
    return len(block) if has_day and len(block) >= 3 else 0


@lru_cache(maxsize=64)
def _field(line: str) -> str | None:
    """The name of the mail header that a line is, in lower case; None if it is none."""
    colon = _COLON.search(line, 0, 40)
    name = line[: colon.start()].strip(" \t*\u00a0").lower() if colon else ""
    return name if name in _SENDER_FIELDS or name in _OTHER_FIELDS else None


def _attribution_height(body: _Body, index: int) -> int:
    """How many lines from `index` on are an attribution; 0 if none.

    It ends with a line that ends with a colon, or that stands above a quote.
    """
    window: list[str] = []
    for position in range(index, min(len(body.bare), index + 4)):  # a long name and address push "wrote:" down
        line = body.bare[position]
        if not line or len(line) > _ATTRIBUTION_CHARACTERS or line.startswith(">"):
            break
        window.append(line)
        if not line.endswith(_COLONS) and not body.is_above_quote[position]:
            continue
        below = next(filter(None, body.bare[position + 1 : position + 3]), "")
        if (len(window) == 1 or _begins_in_first(window)) and _is_attribution(
            window, is_above_quote=body.is_above_quote[position], is_above_list=_BULLET.match(below) is not None
        ):
            return len(window)
    return 0


def _begins_in_first(window: Sequence[str]) -> bool:
    """Whether an attribution of several lines begins with the first: it says what the others do not say."""
    first, others = window[0], " ".join(window[1:])
    has_full_stop = first.endswith(".") and len(first.split()[-1]) > 4  # "Dr.", "p.m."
    if first.endswith(("!", "?", "\u2026", "\u3002")) or (has_full_stop and others[0].isupper()):
        return False
    patterns = (_DAY, _TIME, _BRACKETED_ADDRESS)
    says, others_say = ({pattern for pattern in patterns if pattern.search(text)} for text in (first, others))
    if says - others_say or first.endswith(("<", "(")) or others.startswith(("<", "(", "[")):
        return True
    is_complete_below = _BRACKETED_ADDRESS in others_say and len(others_say) > 1
    return _begins_attribution(first) and not is_complete_below and not any(map(_begins_attribution, window[1:]))


def _begins_attribution(line: str) -> bool:
    return _WORD_START.match(line) is not None or _DATE_START.match(line) is not None


def _is_attribution(window: Sequence[str], *, is_above_quote: bool, is_above_list: bool) -> bool:
    joined = re.sub(r"\s+", " ", " ".join(window))
    if len(joined) > _ATTRIBUTION_CHARACTERS:
        return False
    has_day = _DAY.search(joined) is not None
    has_time = _TIME.search(_DAY.sub(" ", joined)) is not None
    has_colon = joined.endswith(_COLONS)
    is_full = has_colon and has_day and has_time  # all that programs write
    is_told_by_address = len(_BRACKETED_ADDRESS.findall(joined)) == 1 and len(joined.split()) <= _ATTRIBUTION_WORDS
    if is_above_quote:
        is_found = (is_full and len(window) <= 2) or (is_told_by_address and (has_colon or has_day or has_time))
    else:
        is_found = is_full and is_told_by_address and not is_above_list
    is_found = is_found or (is_above_quote and has_colon and _QUOTING.match(joined) is not None)
    verb = _WROTE.search(joined) if has_colon else None
    if is_found or verb is None:
        return is_found
    # Without a quote below, only a date or an address tells it from "On the wall somebody wrote:".
    address = _ADDRESS.search(joined)
    if _begins_attribution(joined):
        return is_above_quote or has_day or has_time or address is not None
    if address is not None and len(window) <= 2:
        return has_day or has_time or (is_above_quote and address.start() < verb.start())
    before = joined[: verb.start()].split()
    is_name = 0 < len(before) <= 5 and all(not word[0].islower() for word in before)
    return len(window) == 1 and is_above_quote and is_name and before[0].lower() not in _WORDS["pronouns"]


# --- what the mail program adds

_ADDED_WORDS: dict[str, list[str]] = words("signatures")


def _pattern(names: str, form: str = "{}") -> re.Pattern[str]:
    found = ("|".join(_ADDED_WORDS[name]) for name in names.split())
    return re.compile(form.format(*found), re.IGNORECASE)


_RULE_LINE = re.compile(r"[_\-=*#\u2014\u2500]{5,}")
_NAMED_RULE = re.compile(r"-{3,40}\s?[^\s-][^-]{0,40}-{3,40}")
_SENT_LINE_CHARACTERS, _SENT_LINE_WORDS = 130, 14
_BRAND = re.compile(r"(?!p\.?\s?s\b)(?:.*(?:\biphone|\bipad\b)(?!.*[.!?]$)|.*\bk-9\b)", re.IGNORECASE)
_ADVERTISED = re.compile(
    r"(?:outlook|bluemail).{0,30}(?:(?<![a-z])ios|android)|(?:(?<![a-z])ios|android).{0,30}outlook"
)
# Of Outlook's advertisement and of Windows Mail's, in any language.
_ADVERTISED_LINK = re.compile(r"https?://(?:aka\.ms/\w{6,8}|go\.microsoft\.com/fwlink/\?LinkId=550986)\b")
_LINK = re.compile(r"<?https?://\S+|<\S*>|\[image:[^\]]*\]")
_TAIL_LINES = 16  # no contact block is longer
_LABEL_WORDS = 3  # beside the number to call or the address: "Tel", "Mobile (office)"
_CONTACT = re.compile(
    r"\+?[\d(][\d\s()./\-\u2013]{5,28}\d|[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}|(?:https?://|www\.)\S{4,100}"
)
_OF_COMPANY = re.compile(r"\b(?:HR[AB]?|KRS|NIP|USt|SIRET|VAT|IVA|CIF|Reg)\b|\|")
_NUM_LEGAL_WORDS = 10  # no disclaimer is shorter
_OF_DISCLAIMERS = (
    _pattern("mail_words mail_words_unspaced", r"\b(?:{})\b|{}"),
    _pattern("secret_words"),
    _pattern("legal_words"),
)
_FOOTER, _MAILING_LIST = _pattern("footers", r"[\W_]*(?:{})"), _pattern("mailing_lists")
# What Gmail and Outlook write in plain text for a picture, a link and bold letters.
_PICTURE = re.compile(
    r"\[(?:cid:|image: ?|image removed by sender|inline image|https?://\S{1,500}\.(?:png|jpe?g|gif)\b)([^\]\n]{0,500})\]"
    r"|<[^<>\n]{1,80}\.(?:png|jpe?g|gif|heic)>",
    re.IGNORECASE,
)
_ADDRESS_OF_LINK = re.compile(
    r"(?<=[^\s(<:])[ \t]?(\n?)[ \t]?<(?:(?:https?|ftp|file)://|mailto:|tel:|sip:)[^<>\s]{1,2000}>", re.IGNORECASE
)
_STARS = re.compile(r"(?<![\w*\\])\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){0,200}[^\s*])\*(?![\w*])")


def without_signature(lines: Sequence[str]) -> list[str]:
    """The lines of one stretch of own text, without what was added to them; unchanged where nothing was."""
    kept = without_program_marks(
        [line for line in lines if len(line) > _SENT_LINE_CHARACTERS or not _ADVERTISED_LINK.search(line)]
    )
    last_closing = _last_closing(kept)
    for index, line in enumerate(kept):
        is_mark = line == "-- " or (line.rstrip() in ("--", "\u2014\u2014") and index > last_closing)
        # Mailman draws a rule and names the list below it.
        is_rule = _RULE_LINE.fullmatch(line.strip()) is not None
        if is_mark or (is_rule and any(map(_MAILING_LIST.search, kept[index + 1 : index + 3]))):
            kept = kept[:index]
            break
    # "Sent from my phone" stands among the last lines; elsewhere it is a sentence.
    last = [index for index, line in enumerate(kept) if line.strip()][-3:]
    if len(last) > 1 and _BRAND.match(kept[last[-1]]) and len(kept[last[-1]].split()) <= 9:
        above = kept[last[-2]].strip()
        if not kept[last[-1] - 1].strip() and (closing_in(above) is not None or name_in(above) == above):
            kept = kept[: last[-1]]  # in any language, below the name
    kept = [line for index, line in enumerate(kept) if index not in last or not _is_sent_line(line)]
    return _without_contact_block(_without_footers(kept))


def without_program_marks(lines: Sequence[str]) -> list[str]:
    """The lines without the marks that programs write in plain text for what was HTML.

    Stands for pictures and the addresses of links behind their words go. Stars around words go where the program made
    other marks too, and around a heading or a label ("*Where:* in the hall"); else they are the person's own.
    """
    if not lines:
        return []
    written = "\n".join(lines)
    # Words describe a picture; an emoji is one itself.
    text = _PICTURE.sub(lambda mark: "" if mark[1] is None or re.search(r"\w", mark[1]) else mark[1], written)
    text = _ADDRESS_OF_LINK.sub(r"\1", text)
    is_of_program = text != written

    def bare(stars: re.Match[str]) -> str:
        inner, around = stars[1], (text[: stars.start()][-1:], text[stars.end() :][:1])
        is_heading = around[0] in ("", "\n") and around[1] in ("", "\n") and " " in inner and inner[0].isupper()
        is_label = inner.endswith(":") or around[1] == ":"
        return inner if is_of_program or is_heading or is_label else stars[0]

    reduced = _STARS.sub(bare, text).split("\n")
    return [line for line, before in zip(reduced, lines, strict=True) if line.strip() or not before.strip()]


def without_rule_at_end(lines: Sequence[str]) -> list[str]:
    """The lines, without the rule that Outlook draws above an original."""
    kept = list(lines)
    while kept and not kept[-1].strip():
        kept.pop()
    last = kept[-1].strip() if kept else ""
    return kept[:-1] if _RULE_LINE.fullmatch(last) or _NAMED_RULE.fullmatch(last) else list(lines)


def _is_sent_line(line: str) -> bool:
    if not 8 <= len(line) <= 3 * _SENT_LINE_CHARACTERS:
        return False
    bare = _LINK.sub("", line).strip(" \t*_[]()\u200b").lower()
    if not bare or len(bare) > _SENT_LINE_CHARACTERS:
        return False
    begins, ends = tuple(_ADDED_WORDS["sent_with"]), tuple(_ADDED_WORDS["sent_with_at_end"])
    if _ADVERTISED.search(bare) and len(bare.split()) <= 8 and not bare.endswith((".", "?", "!")):
        return True  # "Get Outlook for iOS", in any language
    if not (bare.startswith(begins) or bare.endswith(ends)):
        return False
    has_program = any(map(bare.__contains__, _ADDED_WORDS["programs"]))
    return has_program and len(bare.split()) <= _SENT_LINE_WORDS and not bare.endswith("?")


def _without_footers(lines: list[str]) -> list[str]:
    """Without a disclaimer and all that follows it."""
    starts = [
        index for index, line in enumerate(lines) if line.strip() and (index == 0 or not lines[index - 1].strip())
    ]
    last_closing = _last_closing(lines)
    for start in starts[-6:]:
        end = next((index for index in range(start, len(lines)) if not lines[index].strip()), len(lines))
        paragraph = " ".join(lines[start:end])[:4000]  # as much of a paragraph as is looked at
        is_long = len(paragraph.split()) >= _NUM_LEGAL_WORDS or (not paragraph.isascii() and len(paragraph) >= 60)
        is_disclaimer = is_long and all(word.search(paragraph) for word in _OF_DISCLAIMERS)
        if (is_disclaimer or _FOOTER.match(paragraph)) and last_closing < end:
            return without_rule_at_end(lines[:start])
    return lines


def _last_closing(lines: Sequence[str]) -> int:
    """The last line that is a closing, or -1: up to there, what looks like a mark or a footer is the letter's."""
    first = max(0, len(lines) - 60)
    return next((index for index in range(len(lines) - 1, first - 1, -1) if closing_in(lines[index]) is not None), -1)


def _without_contact_block(lines: list[str]) -> list[str]:
    """Without what stands below the name at the end, where a number to call or an address is among it."""
    first = max(0, len(lines) - 3 * _TAIL_LINES)
    tail = [index for index in range(first, len(lines)) if lines[index].strip()][-_TAIL_LINES:]
    last_closing = _last_closing(lines)
    place = next((place for place, index in enumerate(tail) if index == last_closing), None)
    if place is not None:
        below = lines[tail[place + 1]] if place + 1 < len(tail) else ""
        # "Thanks Mia!" above "Ada"; but below "Best, Ada" stands what she is.
        place += bool(below) and (name_in(below) is not None or not closing_in(lines[last_closing]))
    else:
        place = next((place for place, index in enumerate(tail) if index and _is_name_apart(lines, index)), len(tail))
    block = [lines[index].strip() for index in tail[place + 1 :]]
    # As its lines are; those of companies are longer.
    is_block = all((len(line) <= 90 and len(line.split()) <= 8) or _OF_COMPANY.search(line) for line in block)
    without_contacts = [_CONTACT.subn(" ", line) for line in block]
    has_contact = any(num and len(label.split()) <= _LABEL_WORDS for label, num in without_contacts)
    # "My number is 0170 ..." and the name below are of the letter.
    if not is_block or not has_contact or _is_name_apart(lines, tail[-1]):
        return lines
    return without_rule_at_end(lines[: tail[place] + 1])


def _is_name_apart(lines: Sequence[str], index: int) -> bool:
    line = lines[index].strip()
    return not lines[index - 1].strip() and line[0].isupper() and name_in(line) == line
