"""The body of an email -> what its sender wrote, and what was quoted: no reply, no forward, no signature in the former.

Attributions ("On Monday Anna wrote:"), rules and copied headers are known in the languages of `quote_words`. Every
pattern looks at one short line, so that no text takes long.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ditto_cli.demonstrations.mail import quote_words
from ditto_cli.demonstrations.mail.signatures import without_rule_at_end, without_signature


@dataclass(frozen=True)
class OwnPart:
    """The two sides of a mail's body.

    Attributes:
        text: what the sender wrote.
        original: what the mail answers or passes on, as far as it is quoted, without its own quotes and signature.
    """

    text: str
    original: str = ""


def _one_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))


_ATTRIBUTION_LINES = 4  # a long name and address push "wrote:" down
_ATTRIBUTION_CHARACTERS = 500
_COLONS = (":", "\uff1a")
_WROTE = re.compile(
    rf"(?<![^\s>\u00a0,])(?:{_one_of(quote_words.WROTE)})(?=[\s:\uff1a,(])|{_one_of(quote_words.WROTE_UNSPACED)}",
    re.IGNORECASE,
)
_WORD_START = re.compile(rf"(?:{_one_of(quote_words.ATTRIBUTION_STARTS)})\s|[在于於]")
_DATE_START = re.compile(
    r"(?:[^\W\d_]{2,14}[.,]{0,2}\s)?\d{1,2}(?:[./]|\.?\s\S|,)|\d{4}[-/.\u5e74\ub144]|[^\W\d_]{3,14},\s[^\W\d_]{3,12}\s\d{1,2}"
)
# Without a ">" below it, only a date or an address tells an attribution from "On the wall somebody wrote:".
_DATE = re.compile(r"\b(?:19|20)\d\d(?!\d)|\b\d{1,2}[:.]\d\d(?!\d)")
_ADDRESS = re.compile(r"[<(\[]?[^\s<>@()]{1,100}@[^\s<>@()]{1,200}[>)\]]?")
_BRACKETED_ADDRESS = re.compile(r"[<\[][^\s<>@]{1,100}@[^\s<>@]{1,200}[>\]]")
_PRONOUNS = frozenset(
    {"you", "he", "she", "they", "i", "we", "someone", "somebody", "er", "sie", "ich", "il", "elle", "du", "as"}
)
_NAME_WORDS = 5
_MESSAGE_RULE = re.compile(
    rf"[-_=*\u2013\u2014]{{2,40}}\s*(?:{_one_of(quote_words.MESSAGE_RULES)})\s*[-_=*:\u2013\u2014]{{1,60}}",
    re.IGNORECASE,
)
_ZOHO_RULE = re.compile(r"-{3,8} .{10,300} -{3,8}")
_FORWARD_LINE = re.compile(rf"(?:{_one_of(quote_words.FORWARD_LINES)})\s*[:\uff1a]", re.IGNORECASE)
_RULE_CHARACTERS = 160
_RULE_STARTS = "-_=*\u2013\u2014"
_FIELD_NAME_CHARACTERS = 40
_FIELD_MARKS = " \t*\u00a0"
_SENDER_FIELDS, _OTHER_FIELDS = frozenset(quote_words.SENDER_FIELDS), frozenset(quote_words.OTHER_FIELDS)
_FIELD_LINES = 7  # the lines below the first that may hold its fellow fields
_MAX_ORIGINAL_CHARACTERS = 20_000


def remove_quoted(body: str) -> OwnPart:
    r"""Own and quoted part of `body`, whose line ends are \n.

    A forwarded message and an unmarked original end the text; lines that begin with ">" are taken out, and what was
    written below or between them stays. A signature ends at the next quote.
    """
    own, quoted = _split(body.split("\n"))
    original = ""
    if any(line.strip() for line in quoted):
        first, nested = _split(_without_fields(_limited(quoted)))
        original = "\n".join(first).strip() or "\n".join(_without_fields(nested)).strip()
    return OwnPart("\n".join(own), original)


def unwrap_flowed(body: str, *, delete_space: bool) -> str:
    r"""Paragraphs of a format=flowed body (RFC 3676) as one line each; quoted ones keep a ">".

    Args:
        body: the decoded part, with \n line ends.
        delete_space: the part's DelSp parameter: the space that marks a soft line end is no part of the text.
    """
    paragraphs: list[list[str]] = []
    open_depth: int | None = None  # quote depth of the paragraph that the next line may continue
    for line in body.split("\n"):
        if not line and open_depth is None:
            paragraphs.append([""])
            continue
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        is_stuffed_mark = content.startswith(" >")  # keeps its space, or it would be taken for a quote
        content = content if is_stuffed_mark else content.removeprefix(" ")
        is_signature = content == "-- "
        is_soft = content.endswith(" ") and not is_signature
        if is_soft and delete_space:
            content = content[:-1]
        if depth == open_depth and not is_signature:
            paragraphs[-1].append(content)
        else:
            paragraphs.append([f"{'>' * depth} {content}" if depth else content])
        open_depth = depth if is_soft else None
    return "\n".join("".join(pieces) for pieces in paragraphs)


def _split(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The own lines, and the quoted ones with one level of marks taken off."""
    own: list[str] = []
    stretch: list[str] = []  # of own lines, up to the next quote
    quoted: list[str] = []
    index = 0
    while index < len(lines):
        line = lines[index]
        if not line:
            stretch.append(line)
            index += 1
            continue
        height = _introduction_height(lines, index)
        if height and not _is_quoted(lines, index + height):  # the original follows without marks
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


def _limited(lines: Sequence[str]) -> list[str]:
    """The first lines, up to the length that an original may have."""
    kept: list[str] = []
    left = _MAX_ORIGINAL_CHARACTERS
    for line in lines:
        kept.append(line[:left])
        left -= len(line) + 1
        if left <= 0:
            break
    return kept


def _without_fields(lines: Sequence[str]) -> list[str]:
    """Without the headers of the original that may stand above its text."""
    start = 0
    while start < len(lines):
        if not lines[start].strip():
            start += 1
        elif height := _introduction_height(lines, start):
            start += height
        else:
            break
    return list(lines[start:])


def _introduction_height(lines: Sequence[str], index: int) -> int:
    """How many lines from `index` on introduce somebody else's words: attribution, rule, headers; 0 if none do."""
    line = lines[index].strip()
    if not line or line.startswith(">"):
        return 0
    if len(line) <= _ATTRIBUTION_CHARACTERS and (line.endswith(_COLONS) or line[0] in _RULE_STARTS):
        if len(line) <= _RULE_CHARACTERS and (_MESSAGE_RULE.fullmatch(line) or _FORWARD_LINE.fullmatch(line)):
            return _rule_height(lines, index)
        if _ZOHO_RULE.fullmatch(line) and _WROTE.search(line) and _DATE.search(line):
            return 1
    return _header_height(lines, index) or _attribution_height(lines, index)


def _rule_height(lines: Sequence[str], index: int) -> int:
    """How many lines a rule ("--- Original Message ---") takes with the headers or the attribution below it."""
    height = 1
    while index + height < len(lines) and not lines[index + height].strip():
        height += 1
    if index + height >= len(lines):
        return 1
    return height + (_header_height(lines, index + height) or _attribution_height(lines, index + height))


def _header_height(lines: Sequence[str], index: int) -> int:
    """How many lines from `index` on are headers that a program copied; 0 if none."""
    kinds: set[str] = set()
    last = index
    has_sender = False
    for position in range(index, min(len(lines), index + 1 + _FIELD_LINES)):
        field = _field(lines[position])
        if field is None:
            if position == index:
                return 0
            continue
        last = position
        kinds.add(field)
        has_sender = has_sender or (field in _SENDER_FIELDS and _has_value(lines, position))
    return last + 1 - index if has_sender and len(kinds) >= 3 else 0


def _field(line: str) -> str | None:
    """The name of the mail header that the line is, in lower case; None if it is none."""
    name, colon, _ = line[:_FIELD_NAME_CHARACTERS].replace("\uff1a", ":").partition(":")
    name = name.strip(_FIELD_MARKS).lower()
    return name if colon and (name in _SENDER_FIELDS or name in _OTHER_FIELDS) else None


def _has_value(lines: Sequence[str], index: int) -> bool:
    return bool(re.split("[:\uff1a]", lines[index], maxsplit=1)[1].strip(" *\t"))


def _attribution_height(lines: Sequence[str], index: int) -> int:
    """How many lines from `index` on are an attribution; 0 if none."""
    height = _lines_to_colon(lines, index)
    if not height:
        return 0
    window = [line.strip() for line in lines[index : index + height]]
    if any(_begins_attribution(line) for line in window[1:]) and not _DATE.search(window[0]):
        return 0  # the attribution begins further down
    joined = re.sub(r"\s+", " ", " ".join(window))
    return height if _is_attribution(joined, height, is_quote_below=_is_quoted(lines, index + height)) else 0


def _lines_to_colon(lines: Sequence[str], index: int) -> int:
    """How many lines it is from `index` to one that ends with a colon, if they may be one sentence; else 0."""
    for position in range(index, min(len(lines), index + _ATTRIBUTION_LINES)):
        line = lines[position].strip()
        if not line or len(line) > _ATTRIBUTION_CHARACTERS or line.startswith(">"):
            return 0
        if line.endswith(_COLONS):
            return position + 1 - index
    return 0


def _begins_attribution(line: str) -> bool:
    return _WORD_START.match(line) is not None or _DATE_START.match(line) is not None


def _is_attribution(joined: str, height: int, *, is_quote_below: bool) -> bool:
    if len(joined) > _ATTRIBUTION_CHARACTERS:
        return False
    verb = _WROTE.search(joined)
    has_date, address = _DATE.search(joined) is not None, _ADDRESS.search(joined)
    begins = _begins_attribution(joined)
    if verb is None:
        # Gmail in Russian and Japanese: date, name and address, and no verb.
        return begins and has_date and height <= 3 and _BRACKETED_ADDRESS.search(joined) is not None
    if begins:
        return is_quote_below or has_date or address is not None
    if address is not None and height <= 2:
        # "Tom Berg <t@x.org> wrote:" is sure only with a date or a quote.
        return has_date or (is_quote_below and address.start() < verb.start())
    before = joined[: verb.start()].split()
    is_name = 0 < len(before) <= _NAME_WORDS and all(not word[0].islower() for word in before)
    return height == 1 and is_quote_below and is_name and before[0].lower() not in _PRONOUNS


def _is_quoted(lines: Sequence[str], index: int) -> bool:
    """Whether the first line with text from `index` on is a quoted one."""
    for position in range(index, len(lines)):
        if lines[position].strip():
            return lines[position].startswith(">")
    return False
