"""A chat -> the turns of its people: messages in a row are one text, and what they answer is its prompt.

Reads what WhatsApp, iMessage, Signal and Discord export as text. Which of the people is ours, `authorship` knows; an
archive that calls its owner "Me" says so itself.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from itertools import islice, takewhile
from math import isfinite, isnan, nan

from ditto_cli.demonstrations.encoding import BY_OTHERS, decode_text, normalise_text, repair_mojibake, unify_line_ends
from ditto_cli.demonstrations.language import excerpt
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

SYSTEM_LINE = "a line of the chat program"
STAND_IN = "a picture, call or deleted message, no words"
NO_WORDS = "no words in it, only signs or links"
FORWARDED = "passed on: somebody else's words"

_OWNER = "\0owner"
_PAUSE_SECONDS = 3600
_DAY_SECONDS = 86_400  # a day later, a message answers nothing

_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# <@U02>, <@!123>, <#C1|general>, <!here>, <:party:123>; WhatsApp isolates the name, or writes the number.
_MENTION = re.compile(
    r" ?(?:<[@#!][^<>\n]{1,100}>|<a?:\w{1,60}:\d{1,25}>|@\u2068[^\u2069\n]{1,80}\u2069|"
    r"@\u202a?\+?\d(?:[ \u00a0]?\d){6,15}\u202c?)"
)
_LABELLED_LINK = re.compile(r"<(?:https?://|mailto:)[^|<>\s]{1,2000}\|([^<>\n]{1,500})>")
_BARE_LINK = re.compile(r"<(?:mailto:|(?=https?://))([^|<>\s]{1,2000})>")
_NOT_OWN_LINE = re.compile(r"\s*(?:>|&gt;)|!\[[^\[\]]*\]\([^()]*\)$|\(- .* -\)$")
_EMOJI_CODE = re.compile(r"(?<![\w:]):([a-z0-9_+-]{1,40}):(?::skin-tone-\d:)?(?![\w:])")
# X and Mastodon begin an answer with the names of those who get it.
_ANSWERED_NAMES = re.compile(r"\A(?:@[\w.@-]{1,100}\s+)+")
_SHORT_LINK = re.compile(r"\s?https?://t\.co/\w{1,20}")

# A date and a time as telephones write them all over the world, in brackets or before a dash.
_STAMP = (
    r"(?P<date>\d{1,4}(?:[./-] ?|\u5e74 ?|\ub144 ?)\d{1,2}(?:[./-] ?|\u6708 ?|\uc6d4 ?)\d{1,4})"
    r"(?P<between>[^\d\n\[\]]{1,14}?)(?P<hour>\d{1,2})[:.\u6642](?P<minute>\d{2})(?:[:.](?P<second>\d{2}))?"
)
_WHATSAPP = re.compile(
    r"[\u200e\u200f\ufeff]*(?:\["
    + _STAMP
    + r"(?P<behind>[^\d\n\]]{0,12})\] ?|"
    # Android; in Korean a comma stands for the dash.
    + re.sub(r"\?P<(\w+)>", r"?P<\1_>", _STAMP)
    + r"(?P<behind_>[^\d\n:,-]{0,12}?)(?: [-\u2013] |, (?=[^\n:]{1,80} : )))(?P<rest>.*)"
)
# Copied out of WhatsApp Web, and in Vietnamese, the time comes first; in Arabic a mark stands between the numbers.
_TIME_FIRST = re.compile(
    r"\A(\[?)(\d{1,2}[:.]\d{2}(?:[:.]\d{2})?(?:[ \u202f][^\d\s,\]]{1,6})?), "
    r"(\d{1,4}[./-]\d{1,2}[./-]\d{1,4})(?=\]| [-\u2013] )"
)
_MARK_IN_DATE = re.compile(r"(?<=\d)[\u200e\u200f](?=[./-])|(?<=[./-])[\u200e\u200f](?=\d)")
# Lines of other programs that begin with a time and a name: LINE, Zoom, IRC, KakaoTalk, and copies out of Telegram.
_BARE_CLOCK = r"(?:[^\d\s\]]{1,4} )?\d{1,2}:\d{2}(?::\d{2})?(?: ?[AaPp][Mm])?"
_CLOCK = rf"(?:(?:\d{{4}}-\d\d-\d\d|[A-Z][a-z]{{2}} \d\d) )?\[?{_BARE_CLOCK}\]?"
_CLOCKED = re.compile(rf"{_CLOCK}(?:\t| -!- )|--- (?:Day|Log) |\*{{4}} (?:BEGIN|ENDING) LOGGING ")
_LINE_HEADS = re.compile(
    rf"{_CLOCK}\t[@+&~%]?([^\t\n]{{1,40}})\t(.*)"
    rf"|{_CLOCK}[ \t]+From {{1,3}}([^:\n]{{1,60}}?)(?: {{1,3}}[Tt]o [^:\n]{{1,60}})?:(.*)"
    rf"|{_CLOCK} <[ @+&~%]?([^<>\s]{{1,40}})>[ \t](.*)"
    rf"|\[([^\[\]\n]{{1,40}})\] \[{_BARE_CLOCK}\] (.*)"
    r"|([^\[\]\n]{1,60}), \[\d{1,2}[./-]\d{1,2}[./-]\d{2,4} \d{1,2}:\d{2}(?: [AP]M)?\]()"
)
_IMESSAGE = re.compile(r"([A-Z][a-z]{2} \d{1,2}, \d{4} +\d{1,2}:\d{2}:\d{2} [AP]M)(?: \([^\n]*\))?(?P<event> .+)?")
_DISCORD = re.compile(r"\[\d{1,4}\W[^\[\]\n]{4,16}\d[:.]\d{2}[^\d\[\]\n]{0,6}\] (.+)")
# "IMG-1.jpg (file attached)" above a caption, "<attached: 1.jpg>" behind one, "plan.pdf • 2 pages ...".
_ATTACHED = re.compile(
    r"\A\S[^\n]{0,200}\.\w{2,5} \([^()\n]{3,40}\)(?:\n|\Z)|[\u200e ]?<[^<>:\n]{3,30}: ?[^<>\n]{1,200}\.\w{2,5}>"
)
_DOCUMENT = re.compile(r"[^\n]{1,200}\.\w{2,5} \u2022 [^\n]{1,60}")
_PATH = re.compile(r"(?:[~/]|attachments/|[A-Z]:\\)\S.*\.\w{2,5}")
_PLACE = re.compile(r"[^\n]{0,80}https://(?:maps\.google\.com/|maps\.app\.goo\.gl/|foursquare\.com/v/)\S*")
_EDITED = re.compile(r"(?:\u200e?<[^<>\n]{3,60}>|\([^()\n]{3,30}\))\Z")
_EDITED_BY_WHATSAPP = re.compile(r"(?<=\S) ?[<\u2039](?=[^<>]* |[\u3040-\u9fff])[^<>:/\u2039\n]{5,60}>\Z")
_AT_A_TIME = re.compile(r" \w{1,4} \d{1,2}[:.]\d{2}(?: ?[ap]\.?m)?\Z")  # "missed voice call at 10:23"
# The day above a chat; what stands in a letter above a quoted chat has no number, or is longer.
_HEADING = re.compile(r"(?=\D*\d)[^\n]{1,40}")


@dataclass(frozen=True)
class Message:
    """One message of a chat."""

    authors: tuple[str, ...]  # names of its writer; none where the program itself speaks
    text: str  # as the person typed it; "" if there is nothing but a picture
    seconds: float = nan  # when, on any one clock
    id: str = ""  # what others name it by
    answers: str = ""  # the id of the message that it answers
    is_owner: bool = False  # whether the archive says that its owner wrote it
    reason: str = ""  # why it is left out

    @property
    def writer(self) -> str:
        """What tells its writer from others; "" where the program itself speaks."""
        if self.is_owner or (self.authors and self.authors[0].strip().casefold() in _lines_of("owners")):
            return _OWNER
        return (self.authors or ("",))[-1]


@dataclass
class _Turn:
    first: Message
    number: int
    key: str
    last_seconds: float = nan
    parts: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "\n".join(self.parts)


def chat_reading(name: str, chats: Sequence[Sequence[Message]]) -> Reading:
    """The turns of one file's chats, each with its people's names; ids count the messages of the file."""
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    num_messages = 0
    knows_owner = any(message.writer == _OWNER and message.reason != SYSTEM_LINE for chat in chats for message in chat)
    for chat in chats:
        turns, left_out = _divide_turns(name, chat, num_messages)
        num_messages += len(chat)
        skipped += left_out
        by_id = {each: turn for turn in turns for each in turn.ids if each}
        for before, turn in zip([None, *turns], turns, strict=False):
            identity = f"{name}#{turn.number}"
            if not turn.parts:
                continue
            if knows_owner and turn.key != _OWNER:
                skipped.append(Skipped(identity, BY_OTHERS))
                continue
            if not any(re.search(r"\w", word) for word in turn.text.split() if "://" not in word and "@" not in word):
                skipped.append(Skipped(identity, NO_WORDS))
                continue
            answered = by_id.get(turn.first.answers, turn)
            if answered is turn and before and not turn.first.seconds - before.last_seconds > _DAY_SECONDS:
                answered = before
            is_answer = answered.key != turn.key and answered.parts
            prompt = f"Write a reply to this message:\n\n{excerpt(answered.text)}" if is_answer else None
            authors = () if turn.key == _OWNER else turn.first.authors
            texts.append(SourceText(identity, turn.text, prompt, authors=authors))
    return _make_reading(name, texts, skipped)


def posts_reading(name: str, archive: Iterable[Sequence[Message]]) -> Reading:
    """What one person wrote in public or to a language model, each a text of its own; ids count what the file holds."""
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    for number, post in enumerate((post for posts in archive for post in posts), start=1):
        identity = f"{name}#{number}"
        text, reason = _take_words(replace(post, is_owner=True))
        text = normalise_text(_SHORT_LINK.sub("", _ANSWERED_NAMES.sub("", text, count=1))).strip()
        if reason or not re.search(r"\w", text):
            skipped.append(Skipped(identity, reason or NO_WORDS))
        else:
            texts.append(SourceText(identity, text, None))
    return _make_reading(name, texts, skipped)


def _make_reading(name: str, texts: Sequence[SourceText], skipped: Sequence[Skipped]) -> Reading:
    if not texts:
        why = f" ({', '.join(dict.fromkeys(entry.reason for entry in skipped))})" if skipped else ""
        raise InputError(f"{name} holds no texts of a person{why}: give the files with the messages or posts.")
    return Reading(tuple(texts), tuple(skipped))


def _divide_turns(name: str, chat: Sequence[Message], num_before: int) -> tuple[list[_Turn], list[Skipped]]:
    """Messages in a row of one person, unless a long pause or an answer to another message divides them."""
    turns: list[_Turn] = []
    skipped: list[Skipped] = []
    for number, message in enumerate(chat, start=num_before + 1):
        key = message.writer
        text, reason = _take_words(message)
        if reason:
            skipped.append(Skipped(f"{name}#{number}", reason))
        if not key or reason == SYSTEM_LINE:
            continue
        turn = turns[-1] if turns else None
        if (
            turn is None
            or turn.key != key
            or (message.answers and message.answers != turn.first.answers)
            or message.seconds - turn.last_seconds > _PAUSE_SECONDS
        ):
            turns.append(turn := _Turn(message, number, key))
        if text and not turn.parts:
            turn.number = number
        turn.last_seconds = message.seconds
        turn.parts += [text] if text else []
        turn.ids.append(message.id)
    return turns, skipped


def _take_words(message: Message) -> tuple[str, str]:
    """The words of a message, or "" and why there are none."""
    if message.reason or not (message.authors or message.is_owner):
        return "", message.reason or SYSTEM_LINE
    text = unify_line_ends(repair_mojibake(message.text)).strip()
    if _is_written_by_program(text, message.authors):
        return "", STAND_IN
    text = _ATTACHED.sub("", text)
    edited = _EDITED.search(text[-70:])
    if edited and (edited[0].startswith("\u200e") or _fold(edited[0]) in _lines_of("edited")):
        text = text[: len(text) - len(edited[0])]
    text = _BARE_LINK.sub(r"\1", _LABELLED_LINK.sub(r"\1", _MENTION.sub("", text)))
    text = without_quoted_lines(text)
    text = _EMOJI_CODE.sub(lambda code: words("chat_lines")["emoji"].get(code[1], ""), text)
    text = normalise_text(_MARKS.sub("", html.unescape(text))).strip()
    return text, "" if text else STAND_IN


def without_quoted_lines(text: str) -> str:
    """A message without lines that quote another, pictures and reactions; as it is where nothing would be left."""
    own = [line for line in text.split("\n") if not _NOT_OWN_LINE.match(line)]
    return "\n".join(own) if any(line.strip() for line in own) else text


def _is_written_by_program(text: str, authors: Sequence[str]) -> bool:
    """Whether a message is what the program put in place of a picture, call or deleted message."""
    plain = _AT_A_TIME.sub("", _fold(text))
    heading, line_end, _ = text.partition("\n")
    names = [part for author in authors for part in (author.casefold(), author.casefold().split(" ")[0])]
    starts = [f"{who} " for who in (*names, *_lines_of("you"))]
    return (
        not plain
        # On iPhones a mark that nobody sees stands before everything that WhatsApp writes, in any language.
        or text.startswith("\u200e")
        or re.fullmatch(r"<[^<>\n]{3,60}>|!\[[^\[\]]*\]\([^()\n]*\)", text) is not None
        or plain in _lines_of("stand_ins")
        or _PLACE.fullmatch(text) is not None
        or _DOCUMENT.fullmatch(text) is not None
        or (line_end and heading.rstrip().endswith(":") and _fold(heading.rstrip(" :")) in _lines_of("headings"))
        or any(plain.startswith(start) and plain.removeprefix(start) in _lines_of("deeds") for start in starts)
        or any(
            plain.startswith(f"{who}{deed} ") and len(plain) <= 80 and not re.search(r"[,.?!]", plain)
            for who in starts
            for deed in _lines_of("deeds_to")
        )
        or (
            not line_end and any(plain.startswith(a) and plain.endswith(b) for a, b in words("chat_lines")["reactions"])
        )
    )


def _fold(line: str) -> str:
    folded = " ".join(_MARKS.sub("", line).strip().strip("<>()").casefold().split())
    return folded.rstrip(".").strip()


@cache
def _lines_of(kind: str) -> frozenset[str]:
    lines = {_fold(line) for line in words("chat_lines")[kind]}
    if kind == "stand_ins":
        for entry in words("chat_lines")["absences"].values():
            pairs = [(thing, gone) for thing in entry["things"] for gone in entry["gone"]]
            lines |= {_fold(f"{thing}{space}{gone}") for thing, gone in pairs for space in ("", " ")}
            lines |= {_fold(f"{gone} {thing}") for thing, gone in pairs}
    return frozenset(lines)


def in_order(messages: Sequence[Message]) -> list[Message]:
    """Messages by their time, for some programs write the newest first; one without a time stays where it is."""
    last = next((message.seconds for message in messages if not isnan(message.seconds)), 0.0)
    times = [last := last if isnan(message.seconds) else message.seconds for message in messages]
    return [message for _, message in sorted(zip(times, messages, strict=True), key=lambda pair: pair[0])]


def seconds_of(value: object) -> float:
    """A time as programs store it: seconds or milliseconds since 1970, ISO 8601, or imessage-exporter's; else NaN."""
    text = " ".join(str(value).removesuffix(" UTC").split())
    with suppress(ValueError):
        number = float(text)
        return nan if not isfinite(number) else number / 1000 if number > 1e11 else number
    for read in (datetime.fromisoformat, lambda text: datetime.strptime(text, "%b %d, %Y %I:%M:%S %p")):
        with suppress(ValueError, OverflowError):
            moment = read(text)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return nan


# --- chats as text


def read_chat_text(name: str, raw: bytes) -> Reading | None:
    """The turns of a chat that was exported as text; None if it is no such chat."""
    try:
        text = unify_line_ends(decode_text(raw))
    except ValueError:
        return None
    lines = [
        _TIME_FIRST.sub(r"\1\3, \2", _MARK_IN_DATE.sub("", line[:20]) + line[20:])
        for line in text.removeprefix("\ufeff").split("\n")
    ]
    filled = list(islice((line for line in lines if line.strip("\ufeff\u200e \t")), 5))
    for head, read in ((_WHATSAPP, _of_whatsapp), (_IMESSAGE, _of_imessage), (_DISCORD, _of_discord)):
        # A text that only quotes such a line is no chat.
        first = next((line for line in filled if head.fullmatch(line) or not _HEADING.fullmatch(line)), "")
        if head is _WHATSAPP and filled and re.search("KakaoTalk|카카오톡", filled[0]):  # below a title
            first = next((line for line in filled if head.fullmatch(line)), first)
        is_chat = any(line.startswith("Guild: ") for line in filled) if head is _DISCORD else head.fullmatch(first)
        if not is_chat:
            continue
        parts: list[tuple[re.Match[str], list[str]]] = []  # the head of each message and the lines below it
        for line in lines:
            if found := head.fullmatch(line):
                parts.append((found, []))
            elif parts:
                parts[-1][1].append(line)
        messages = read(parts)
        if len(messages) > 1 and any(message.authors for message in messages):
            return chat_reading(name, [messages])
    return _read_line_heads(name, filled, lines)


def _read_line_heads(name: str, top: Sequence[str], lines: Sequence[str]) -> Reading | None:
    """A chat in which a time and a name head each message; None where two people do not speak twice each."""
    messages: list[Message] = []
    # A text that quotes a chat further down is none.
    if not any(map(_LINE_HEADS.fullmatch, top)) or re.fullmatch(r"---\w*", top[0].rstrip()):
        return None
    for line in lines:
        if found := _LINE_HEADS.fullmatch(line):
            writer, text = (group for group in found.groups() if group is not None)
            is_person = re.search(r"\w", writer) is not None  # "-->" is what WeeChat says
            messages.append(Message((writer.strip(),) if is_person else (), text.strip()))
        elif messages and not _CLOCKED.match(line):  # that would be the program's
            messages[-1] = replace(messages[-1], text=f"{messages[-1].text}\n{line}".strip("\n"))
    # LINE puts a text of several lines into quotes.
    messages = [
        replace(message, text=message.text[1:-1]) if re.fullmatch(r'"[^"]*\n[^"]*"', message.text) else message
        for message in messages
    ]
    counts = Counter(message.authors for message in messages if message.authors).most_common(2)
    return chat_reading(name, [messages]) if len(counts) == 2 and counts[1][1] > 1 else None


def _of_whatsapp(parts: Sequence[tuple[re.Match[str], list[str]]]) -> list[Message]:
    """Also of the exporters that write as WhatsApp does: "[date, time] name: text"."""
    messages: list[Message] = []
    day, last_date = 0, ""
    for head, below in parts:
        found = {key.rstrip("_"): value for key, value in head.groupdict().items() if value is not None}
        # Which number is the month is not known, and does not matter: days that are written on are counted.
        day += found["date"] != last_date
        last_date = found["date"]
        around = {_fold(found["between"].strip(" ,\u060c")), _fold(found.get("behind", ""))}
        hour = int(found["hour"])
        if around & (_lines_of("afternoon") | _lines_of("forenoon")):
            hour = hour % 12 + (12 if around & _lines_of("afternoon") else 0)
        seconds = day * _DAY_SECONDS + hour * 3600 + int(found["minute"]) * 60 + int(found.get("second", 0))
        rest = found["rest"]
        name, colon, text = (f"{rest} " if rest.endswith(":") else rest).partition(": ")
        name = _MARKS.sub("", name).strip(" \u202f\u00a0~")
        # 'Mia changed the subject to "Plan: garden"' is no name.
        is_said = colon and name and len(name) <= 80 and not re.search('["\u201c\u201e\u00ab]', name)
        text = _EDITED_BY_WHATSAPP.sub("", "\n".join([text if is_said else rest, *below]).rstrip())
        messages.append(Message((name,) if is_said else (), text, seconds))
    return messages


def _of_imessage(parts: Sequence[tuple[re.Match[str], list[str]]]) -> list[Message]:
    """imessage-exporter: a line with the time, one with the name, the text; indented copies below what they answer."""
    messages: list[Message] = []
    for head, below in parts:
        lines = [line for line in below if not line.startswith("    ")]
        authors = (lines.pop(0).strip(),) if lines and head["event"] is None else ()
        own = takewhile(lambda line: not line.startswith(("Tapbacks:", "Stickers:", "Reactions:")), lines)
        kept = [line for line in own if not _PATH.fullmatch(line) and _fold(line) not in _lines_of("stand_ins")]
        messages.append(Message(authors, "\n".join(kept), seconds_of(head[1])))
    return messages


def _of_discord(parts: Sequence[tuple[re.Match[str], list[str]]]) -> list[Message]:
    """DiscordChatExporter's text: "[03-Mar-25 10:10 AM] ada", the text, blocks like {Reactions}."""
    return [
        Message(
            (head[1].removesuffix(" (pinned)"),),
            "\n".join(takewhile(lambda line: not re.fullmatch(r"\{\w+\}|={20,}", line), below)),
        )
        for head, below in parts
    ]
