"""Texts -> demonstrations: a prompt that is stored, that a base model writes, or that is made of title or first words.

DITTO needs the instruction that each text answers. Knows no model: it pairs texts with prompts, tells by the layout
what a text is, writes the question for a base and cleans its answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from ditto_cli.config import HELD_OUT_FOLDER, FolderFile
from ditto_cli.demonstrations.closings import closing_in, name_in, plain_word
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.prompt_file import prompt_key, read_prompts
from ditto_cli.demonstrations.redaction import redactor_for
from ditto_cli.demonstrations.words import words
from ditto_cli.types import Demonstration, SourceText

Kind = Literal["email", "letter", "essay", "post", "note", "text"]

_MARKS_BEFORE = " \t*_#>-•`"
_DASHES = ("-", "\u2013", "\u2014")
_STOPS = (*",!?:;.", "\uff0c", "\u3001", "\uff01", "\uff1a", "\u3002", "\u060c")
_STRIPPED = " " + "".join((*_STOPS, *_DASHES))
_STOP = re.compile(f"[{''.join(_STOPS)}]")
_HEADING = re.compile(r"#{1,6}\s")
_LIST_ITEM = re.compile(r"(?:[-*•+]|\d{1,2}[.)]|\[[ x]\])\s")
_HASHTAG = re.compile(r"(?:^|\s)#[^\W\d_]\w+")
_MAX_NAME_WORDS, _MAX_CLOSING_WORDS, _MAX_UNSPACED_NAME = 4, 6, 10
_TOP_LINES, _ADDRESS_WORDS = 8, 8  # above the greeting of a letter stand a date and addresses, in short lines
_ESSAY_WORDS, _PARAGRAPH_WORDS = 250, 25  # in all, and on average
_HEAD_WORDS, _HEAD_CHARACTERS = 12, 120
_MIN_WORDS, _MAX_WORDS = 4, 60  # of an instruction that a model wrote


@dataclass(frozen=True)
class Form:
    """What a text is, as its layout shows; two texts of one kind get prompts of one form.

    Attributes:
        kind: as an instruction names it.
        addressee: who is greeted, if it is a person with a name.
        title: the heading or head line, if there is one.
        body: the text without greeting and what stands above it, marks and line ends.
    """

    kind: Kind
    addressee: str | None
    title: str | None
    body: str

    @property
    def task(self) -> str:
        """What every instruction for such a text begins with: "Write an email to Tom"."""
        article = "an" if self.kind[0] == "e" else "a"
        addressee = f" to {self.addressee}" if self.addressee else ""
        return f"Write {article} {self.kind}{addressee}"


def attach_prompts(
    texts: Sequence[SourceText], by_id: Mapping[str, str], by_hash: Mapping[str, str] = {}
) -> tuple[list[Demonstration], list[SourceText]]:
    """Give each text its prompt: what ditto.yaml says of it, else its own, else what prompts.yaml says.

    Args:
        texts: what a folder held.
        by_id: prompts of ditto.yaml, by the texts' ids.
        by_hash: prompts of prompts.yaml, by the texts' hashes.

    Returns:
        The demonstrations, and the texts that still have no prompt, both in the order of `texts`.
    """
    demonstrations: list[Demonstration] = []
    without: list[SourceText] = []
    for source in texts:
        found = (by_id.get(source.id, ""), source.prompt or "", by_hash.get(prompt_key(source), ""))
        prompt = next((prompt.strip() for prompt in found if prompt.strip()), None)
        if prompt is None:
            without.append(source)
        else:
            demonstrations.append(Demonstration(id=source.id, prompt=prompt, completion=source.text))
    return demonstrations, without


def attach_stored_prompts(
    folder: Path, texts: Sequence[SourceText], settings: FolderFile
) -> tuple[list[Demonstration], list[SourceText]]:
    """`attach_prompts` with what a folder's ditto.yaml and prompts.yaml say, redacted as the texts are.

    Raises:
        InputError: prompts.yaml cannot be read.
    """
    by_id, by_hash = settings.prompts, read_prompts(folder)
    if redactor := redactor_for(settings.redact, [text.text for text in texts]):
        by_id, by_hash = (
            {key: redactor.redact(prompt)[0] for key, prompt in stored.items()} for stored in (by_id, by_hash)
        )
    return attach_prompts(texts, by_id, by_hash)


def stale_prompts(texts: Sequence[SourceText], by_id: Mapping[str, str]) -> list[str]:
    """Ids in ditto.yaml's prompts that no text has, in their order: a file that was renamed or deleted.

    Not one of a text that was kept back since: its prompt went with it into prompts.yaml.
    """
    present = {identity for source in texts for identity in (source.id, source.id.removeprefix(f"{HELD_OUT_FOLDER}/"))}
    return [identity for identity in by_id if identity not in present]


def form_of(source: SourceText) -> Form:
    """What kind of text this is, by its layout alone; what lies in a mail file is an email."""
    lines = [bare for line in source.text.split("\n") if (bare := line.strip(_MARKS_BEFORE))]
    greetings = ((n, _greeting_in(line)) for n, line in enumerate(lines[:_TOP_LINES]))
    place, greeting = next((found for found in greetings if found[1] is not None), (0, None))
    if any(len(line.split()) > _ADDRESS_WORDS for line in lines[:place]):
        place, greeting = 0, None
    ends = [line.strip(_STRIPPED) for line in (*lines[:1], *lines[-1:])]
    is_between_names = len(lines) > 2 and lines[0].endswith((",", ".")) and all(map(_is_name, ends))
    if greeting is None and is_between_names and ends[0][0].isupper():
        place, greeting = 0, _Greeting(ends[0], "")  # "Dave." above and "Kit" below, as curt people write
    is_signed = len(lines) > 2 and any(
        len(line.split()) <= _MAX_CLOSING_WORDS and closing_in(line) is not None for line in lines[-3:]
    )
    if source.mail is not None or greeting is not None or is_signed:
        known = "" if source.mail is None else source.mail.recipient_name
        body = " ".join(lines if greeting is None else [greeting.rest, *lines[place + 1 :]])
        kind: Kind = "letter" if place and source.mail is None else "email"
        return Form(kind, (greeting.addressee if greeting else "") or known or None, None, body.strip())
    whole = [line.strip() for line in source.text.split("\n") if line.strip()]
    title = _title(source.text, whole)
    num_words = [len(line.split()) for line in (whole[1:] if title else whole)]
    if sum(num_words) >= max(_ESSAY_WORDS, _PARAGRAPH_WORDS * len(num_words)):
        kind = "essay"
    elif title or _HASHTAG.search(source.text):
        kind = "post"
    else:
        is_list = len(whole) > 2 and 2 * sum(bool(_LIST_ITEM.match(line)) for line in whole) > len(whole)
        kind = "note" if is_list else "text"
    return Form(kind, None, title, " ".join(lines))


def plain_instruction(source: SourceText) -> str:
    """An instruction made of the text's own title or first words, where no model writes a better one.

    It tells texts apart and gives no greeting away: how a person greets is to be learnt.
    """
    form = form_of(source)
    cited = " ".join((form.title or form.body).split()[:_HEAD_WORDS])[:_HEAD_CHARACTERS].rstrip().replace('"', "'")
    if form.title:
        return f'{form.task} with the title "{cited}".'
    mark = " ..." if len(cited) < len(form.body) else ""
    return f'{form.task} that says "{cited}{mark}".' if cited else f"{form.task}."


def reverse_instruction_request(text: str, most_characters: int) -> str:
    """The message that asks a base model for the instruction which `text` answers; a long text is cut."""
    excerpt = text
    if len(text) > most_characters:
        excerpt = text[:most_characters].rsplit(maxsplit=1)[0] + " ..."
    return (
        "Somebody was asked to write the text below. What was the request? Say what the text does, for whom and with "
        "which facts, and nothing of how it sounds. "
        'Answer with one short sentence that begins with "Write", and nothing else.\n\n'
        f'"{excerpt}"'
    )


def clean_instruction(raw: str) -> str | None:
    """The first line of a base's answer as an instruction; None if it is not "Write" and 3 to 59 more words."""
    line = " ".join(normalise_text(raw).split("\n")[0].split()).strip("*_` ")
    if line.startswith(('"', "\u201c")) or line.count('"') % 2:
        line = line.strip('"\u201c\u201d')
    if not line.startswith("Write ") or not _MIN_WORDS <= len(line.split()) <= _MAX_WORDS:
        return None
    return line if line.endswith((*".!?", '."', ".'")) else f"{line}."


def _title(text: str, lines: Sequence[str]) -> str | None:
    """A heading, or a short line without a full stop that stands apart from longer ones below it."""
    if len(lines) < 2 or _LIST_ITEM.match(lines[0]):
        return None
    title = lines[0].strip(_MARKS_BEFORE)
    is_apart = bool(re.match(r"[^\n]*\n\s*\n", text.lstrip()))
    is_short = len(title.split()) <= 12 and not title.endswith(_STOPS) and len(lines[1].split()) >= 15
    return (title or None) if _HEADING.match(lines[0]) or (is_apart and is_short) else None


@dataclass(frozen=True)
class _Greeting:
    """Whom a line greets ("" if that is nobody with a name), and what else it says."""

    addressee: str
    rest: str


@cache
def _vocabulary() -> tuple[re.Pattern[str], tuple[str, ...], frozenset[str], frozenset[str]]:
    """words/greetings.yaml: what greets, of plain words or in scripts without spaces; who is nobody; titles."""
    table = words("greetings")

    def plain(phrases: Iterable[str]) -> list[str]:
        longest_first = sorted(phrases, key=len, reverse=True)
        return [" ".join(map(plain_word, phrase.split())) for phrase in longest_first]

    greetings = plain(phrase for language in table["languages"].values() for phrase in language["greetings"])
    nobody = plain(word for language in table["languages"].values() for word in language["nobody"])
    pattern = re.compile(rf"(?:(?:{'|'.join(greetings)})(?: |\Z))+")
    unspaced = tuple(sorted(table["unspaced"], key=len, reverse=True))
    return pattern, unspaced, frozenset(nobody), frozenset(plain(table["titles"]))


def _greeting_in(line: str) -> _Greeting | None:
    """The greeting with which a line begins, if it is one: "Hi Tom, quick one"; not "Hey Jude is a song"."""
    pattern, unspaced, nobody, titles = _vocabulary()
    if phrase := next((phrase for phrase in unspaced if line.startswith(phrase)), None):
        name, *rest = _STOP.split(line[len(phrase) :], maxsplit=1)
        return _Greeting(" ".join(name.split()), "".join(rest)) if len(name) <= _MAX_UNSPACED_NAME else None
    pieces = line.split()
    keys = [plain_word(piece) for piece in pieces]
    match = pattern.match(" ".join(keys))
    if match is None:
        return None
    start = len(match[0].split())
    stops = (n for n in range(start, len(pieces)) if pieces[n] in _DASHES or _ends_clause(pieces[n], keys[n], titles))
    stop = next(stops, len(pieces) - 1)
    clause, behind = pieces[start : stop + 1], pieces[stop + 1 :]
    name = " ".join(clause).strip(_STRIPPED)
    is_name = _is_name(name) and nobody.isdisjoint(keys[start : stop + 1])
    if pieces[start - 1].endswith(_STOPS):  # "Good morning, Anna!" names her, "Hello, Yesterday, we ..." nobody
        is_name = is_name and not behind and name[0].isupper()
        return _Greeting(name, "") if is_name else _Greeting("", " ".join(pieces[start:]))
    # "Hi mum!", "hi bo - tea?" and "Hello all," greet, but not "Liebe ist, wenn ..."
    is_sentence = name[:1].islower() and pieces[0][0].isupper() and nobody.isdisjoint(keys[start : stop + 1])
    if len(name.split()) > _MAX_NAME_WORDS or (is_sentence and (behind or len(clause) > 1)):
        return None
    return _Greeting(name[0].upper() + name[1:] if is_name else "", " ".join(behind))


def _ends_clause(piece: str, key: str, titles: Set[str]) -> bool:
    return piece.endswith(_STOPS) and not (piece.endswith(".") and key in titles)


def _is_name(text: str) -> bool:
    return name_in(text, _MAX_NAME_WORDS) == text
