"""The lines that somebody wrote -> the same without what their mail program adds below and between them.

Signature after "-- ", contact block, disclaimer, "Sent from my iPhone", and the marks that a program makes of HTML go.
A sign-off and the name below it ("Best, Anna") are the person's style and stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ditto_cli.demonstrations.closings import closing_in, name_in
from ditto_cli.demonstrations.words import words

_WORDS: dict[str, list[str]] = words("signatures")


def _pattern(names: str, form: str = "{}") -> re.Pattern[str]:
    found = ("|".join(_WORDS[name]) for name in names.split())
    return re.compile(form.format(*found), re.IGNORECASE)


_SIGNATURE_MARKS = frozenset({"--", "\u2014\u2014"})
_RULE_LINE = re.compile(r"[_\-=*\u2014\u2500]{5,}")
_SENT_LINE_CHARACTERS, _SENT_LINE_WORDS = 130, 14
_SENT_WITH, _SENT_WITH_AT_END = tuple(_WORDS["sent_with"]), tuple(_WORDS["sent_with_at_end"])
_LINK = re.compile(r"<?https?://\S+|<\S*>|\[image:[^\]]*\]")
_TAIL_LINES = 16  # no contact block is longer
_BLOCK_CHARACTERS, _BLOCK_WORDS = 90, 8  # nor its lines
_LABEL_WORDS = 3  # beside the number to call or the address: "Tel", "Mobile (office)"
_CONTACT = re.compile(r"\+?[\d(][\d\s()./\-\u2013]{5,28}\d|[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}")
_NUM_LEGAL_WORDS = 10  # no disclaimer is shorter
_OF_DISCLAIMERS = (
    _pattern("mail_words mail_words_unspaced", r"\b(?:{})\b|{}"),
    _pattern("secret_words"),
    _pattern("legal_words"),
)
_FOOTER, _MAILING_LIST = _pattern("footers", r"\W*(?:{})"), _pattern("mailing_lists")
_PARAGRAPH_CHARACTERS = 4000  # as much of a paragraph as is looked at
_LAST_PARAGRAPHS = 6
_LINES_BELOW_CLOSING = 60
_SENT_LINE_PLACES = 3
# What Gmail and Outlook write in plain text for a picture, a link and bold letters.
_PICTURE = re.compile(
    r"\[(?:cid:|image: ?|image removed by sender|inline image|https?://\S{1,500}\.(?:png|jpe?g|gif)\b)([^\]\n]{0,500})\]",
    re.IGNORECASE,
)
_ADDRESS_OF_LINK = re.compile(
    r"(?<=[^\s(<:])[ \t]?(\n?)[ \t]?<(?:(?:https?|ftp|file)://|mailto:|tel:|sip:)[^<>\s]{1,2000}>", re.IGNORECASE
)
_STARS = re.compile(r"(?<![\w*\\])\*(?=[^\s*])((?:[^*\n]|\n(?!\n)){0,200}[^\s*])\*(?![\w*])")


def without_signature(lines: Sequence[str]) -> list[str]:
    """The lines of one stretch of own text, without what was added to them; unchanged where nothing was."""
    kept = _before_mark(without_program_marks(lines))
    kept = _without_sent_line(kept)
    kept = _without_footers(kept)
    return _without_contact_block(kept)


def without_program_marks(lines: Sequence[str]) -> list[str]:
    """The lines without the marks that programs write in plain text for what was HTML.

    Stands for pictures and the addresses of links behind their words go. Stars around words go where the program made
    other marks too, and around a heading or a label ("*Where:* in the hall"); else they are the person's own.
    """
    if not lines:
        return []
    written = "\n".join(lines)
    text = _PICTURE.sub(lambda mark: "" if re.search(r"\w", mark[1]) else mark[1], written)  # an emoji is a picture too
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
    return kept[:-1] if kept and _RULE_LINE.fullmatch(kept[-1].strip()) else list(lines)


def _before_mark(lines: list[str]) -> list[str]:
    last_closing = _last_closing(lines)
    for index, line in enumerate(lines):
        if line == "-- " or (line.rstrip() in _SIGNATURE_MARKS and index > last_closing):
            return lines[:index]
        # Mailman draws a rule and names the list below it.
        if _RULE_LINE.fullmatch(line.strip()) and any(map(_MAILING_LIST.search, lines[index + 1 : index + 3])):
            return lines[:index]
    return lines


def _without_sent_line(lines: list[str]) -> list[str]:
    """Without "Sent from my phone", which stands among the last lines; elsewhere it is a sentence."""
    last = [index for index, line in enumerate(lines) if line.strip()][-_SENT_LINE_PLACES:]
    return [line for index, line in enumerate(lines) if index not in last or not _is_sent_line(line)]


def _is_sent_line(line: str) -> bool:
    if not 8 <= len(line) <= 3 * _SENT_LINE_CHARACTERS:
        return False
    bare = _LINK.sub("", line).strip(" \t*_[]()\u200b").lower()
    if not bare or len(bare) > _SENT_LINE_CHARACTERS:
        return False
    if not (bare.startswith(_SENT_WITH) or bare.endswith(_SENT_WITH_AT_END)):
        return False
    has_program = any(map(bare.__contains__, _WORDS["programs"]))
    return has_program and len(bare.split()) <= _SENT_LINE_WORDS and not bare.endswith("?")


def _without_footers(lines: list[str]) -> list[str]:
    """Without a disclaimer and all that follows it."""
    starts = [
        index for index, line in enumerate(lines) if line.strip() and (index == 0 or not lines[index - 1].strip())
    ]
    last_closing = _last_closing(lines)
    for start in starts[-_LAST_PARAGRAPHS:]:
        end = next((index for index in range(start, len(lines)) if not lines[index].strip()), len(lines))
        if _is_footer(" ".join(lines[start:end])[:_PARAGRAPH_CHARACTERS]) and last_closing < end:
            return without_rule_at_end(lines[:start])
    return lines


def _last_closing(lines: Sequence[str]) -> int:
    """The last line that is a closing, or -1: up to there, what looks like a mark or a footer is the letter's."""
    first = max(0, len(lines) - _LINES_BELOW_CLOSING)
    return next((index for index in range(len(lines) - 1, first - 1, -1) if closing_in(lines[index]) is not None), -1)


def _is_footer(paragraph: str) -> bool:
    if _FOOTER.match(paragraph):
        return True
    is_long = len(paragraph.split()) >= _NUM_LEGAL_WORDS or (not paragraph.isascii() and len(paragraph) >= 60)
    return is_long and all(word.search(paragraph) for word in _OF_DISCLAIMERS)


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
    is_block = all(len(line) <= _BLOCK_CHARACTERS and len(line.split()) <= _BLOCK_WORDS for line in block)
    # "My number is 0170 ..." and the name below are of the letter.
    if not is_block or not any(map(_is_contact, block)) or _is_name_apart(lines, tail[-1]):
        return lines
    return without_rule_at_end(lines[: tail[place] + 1])


def _is_name_apart(lines: Sequence[str], index: int) -> bool:
    line = lines[index].strip()
    return not lines[index - 1].strip() and line[0].isupper() and name_in(line) == line


def _is_contact(line: str) -> bool:
    bare, num = _CONTACT.subn(" ", line)
    return num > 0 and len(bare.split()) <= _LABEL_WORDS
