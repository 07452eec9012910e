"""Texts -> demonstrations: a prompt that is stored, that a base model writes, or that is made of title or first words.

DITTO needs the instruction that each text answers. Knows no model: it pairs texts with prompts, tells by the layout
what a text is, writes the question for a base and cleans its answer. And renders the files beside the texts, ditto.yaml
and prompts.yaml, whose lines by a person are never changed; writing is the caller's. prompts.yaml knows a prompt by a
hash of its text, so an inserted, renamed or moved text moves no prompt.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Literal

import yaml

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PROMPT_FILE, SCHEMA_VERSION, FolderFile, read_yaml
from ditto_cli.demonstrations.authorship import closing_in
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.redaction import prompt_key, redactor_for
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Demonstration, SourceText

Kind = Literal["email", "letter", "essay", "post", "text"]

_MARKS_BEFORE = " \t*_#>-•`"
_COMMAS = (",", "\uff0c", "\u060c")
_STOPS = (*_COMMAS, *"!?:;.", "\u3001", "\uff01", "\uff1a", "\u3002")
_HEADING = re.compile(r"#{1,6}\s")
_LIST_ITEM = re.compile(r"(?:[-*•+]|\d{1,2}[.)]|\[[ x]\])\s")
_TOP_LINES, _ADDRESS_WORDS = 8, 8  # above the greeting of a letter stand a date and addresses, in short lines
_GREETING_WORDS, _GREETING_CHARACTERS = 5, 40
_MIN_WORDS, _MAX_WORDS = 4, 60  # of an instruction that a model wrote


@dataclass(frozen=True)
class Form:
    """What a text is, as its layout shows; two texts of one kind get prompts of one form."""

    kind: Kind
    addressee: str | None  # who is greeted, if it is a person with a name
    title: str | None  # the heading or head line, if there is one
    body: str  # the text without greeting, marks and line ends

    @property
    def task(self) -> str:
        """What every instruction for such a text begins with: "Write an email to Tom"."""
        article = "an" if self.kind[0] == "e" else "a"
        addressee = f" to {self.addressee}" if self.addressee else ""
        return f"Write {article} {self.kind}{addressee}"


def attach_prompts(
    texts: Sequence[SourceText], by_id: Mapping[str, str], by_hash: Mapping[str, str] = {}
) -> tuple[list[Demonstration], list[SourceText]]:
    """The texts with what ditto.yaml says of them (`by_id`), else their own prompt, else that of prompts.yaml.

    And the texts that still have no prompt.
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
    """`attach_prompts` with what a folder's ditto.yaml and prompts.yaml say, redacted as the texts are."""
    by_id, by_hash = settings.prompts, read_prompts(folder)
    if redactor := redactor_for(settings.redact, [text.text for text in texts]):
        by_id, by_hash = (
            {key: redactor.redact(prompt) for key, prompt in stored.items()} for stored in (by_id, by_hash)
        )
    return attach_prompts(texts, by_id, by_hash)


def stale_prompts(texts: Sequence[SourceText], by_id: Mapping[str, str]) -> list[str]:
    """Ids in ditto.yaml's prompts that no text has, in their order: a file that was renamed or deleted.

    Not one of a text that was kept back since: its prompt went with it into prompts.yaml.
    """
    present = {identity for source in texts for identity in (source.id, source.id.removeprefix(f"{HELD_OUT_FOLDER}/"))}
    return [identity for identity in by_id if identity not in present]


def form_of(source: SourceText) -> Form:
    """What kind of text this is by its layout; what is greeted or signed, or lies in a mail file, is an email."""
    lines = [bare for line in source.text.split("\n") if (bare := line.strip(_MARKS_BEFORE))]
    place = next((n for n, line in enumerate(lines[:_TOP_LINES]) if _is_greeting(line)), -1)
    if place + 1 == len(lines) or any(len(line.split()) > _ADDRESS_WORDS for line in lines[:place]):
        place = -1
    greeting = lines[place] if place >= 0 else ""
    is_apart = greeting.endswith(_COMMAS) and re.search(rf"{re.escape(greeting)}\s*\n\s*\n", source.text) is not None
    is_signed = len(lines) > 2 and any(len(line.split()) <= 6 and closing_in(line) is not None for line in lines[-3:])
    if source.mail is not None or is_signed or is_apart:
        known = "" if source.mail is None else source.mail.recipient_name
        kind: Kind = "letter" if place > 0 and source.mail is None else "email"
        # From the first capital behind the first word on: "Mr. Stone".
        named = dropwhile(lambda word: not word[0].isupper(), greeting.strip(" ".join(_STOPS)).split()[1:])
        return Form(kind, " ".join(named) or known or None, None, " ".join(lines[place + 1 :]))
    title = _title(source.text)
    num_words = sum(len(line.split()) for line in lines)
    is_essay = num_words >= max(250, 25 * len(lines))  # in all, and on average
    return Form("essay" if is_essay else "post" if title else "text", None, title, " ".join(lines))


def plain_instruction(source: SourceText) -> str:
    """An instruction made of the text's own title or first words, where no model writes a better one.

    It tells texts apart and gives no greeting away: how a person greets is to be learnt.
    """
    form = form_of(source)
    cited = " ".join((form.title or form.body).split()[:12])[:120].rstrip().replace('"', "'")
    if form.title:
        return f'{form.task} with the title "{cited}".'
    mark = " ..." if len(cited) < len(form.body) else ""
    return f'{form.task} that says "{cited}{mark}".' if cited else f"{form.task}."


def reverse_instruction_request(text: str, most_characters: int) -> str:
    """The message that asks a base model for the instruction which `text` answers; a long text is cut."""
    if len(text) > most_characters:
        text = text[:most_characters].rsplit(maxsplit=1)[0] + " ..."
    return str(words("requests")["reverse_instruction"]).format(text=text)


def clean_instruction(raw: str) -> str | None:
    """The first line of a base's answer as an instruction; None if it is not "Write" and 3 to 59 more words."""
    line = " ".join(normalise_text(raw).split("\n")[0].split()).strip("*_` ")
    if line.startswith(('"', "\u201c")) or line.count('"') % 2:
        line = line.strip('"\u201c\u201d')
    if not line.startswith("Write ") or not _MIN_WORDS <= len(line.split()) <= _MAX_WORDS:
        return None
    return line if line.endswith((*".!?", '."', ".'")) else f"{line}."


def _title(text: str) -> str | None:
    """A heading, or a short line without a full stop that stands apart from longer ones below it."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len(lines) < 2 or _LIST_ITEM.match(lines[0]):
        return None
    title = lines[0].strip(_MARKS_BEFORE)
    is_apart = bool(re.match(r"[^\n]*\n\s*\n", text.lstrip()))
    is_short = len(title.split()) <= 12 and not title.endswith(_STOPS) and len(lines[1].split()) >= 15
    return (title or None) if _HEADING.match(lines[0]) or (is_apart and is_short) else None


def _is_greeting(line: str) -> bool:
    """Whether a line at the top greets, in whatever language: a few words and a comma ("Hi Tom,", "Hallo!")."""
    is_short = len(line) <= _GREETING_CHARACTERS and len(line.split()) <= _GREETING_WORDS
    is_one = is_short and line.endswith((*_COMMAS, "!", ":", "\uff01", "\uff1a"))
    return is_one and closing_in(line) is None and not re.search(r"\d", line)


# --- ditto.yaml and prompts.yaml

Value = str | bool | list[str]


def new_folder_file(settings: Mapping[str, Value | None]) -> str:
    """The text of a ditto.yaml with these settings and commented examples of others; a None is left out."""
    given = {key: value for key, value in settings.items() if value is not None}
    lines = "".join(f"{line}\n" for line in (f"schema_version: {SCHEMA_VERSION}", *map(_line, given, given.values())))
    top, examples = words("new_files")["settings_top"], words("new_files")["settings_examples"]
    return f"{top}{lines}\n{examples}"


def lines_to_add(existing: str, present: FolderFile, settings: Mapping[str, Value | None]) -> list[str]:
    """The lines that give a ditto.yaml (its text, and what that says) the settings that it lacks; none for a None."""
    new: dict[str, str] = {}
    for key, value in settings.items():
        if value is None or getattr(present, key) == value:
            continue
        if key in present.model_fields_set:
            raise InputError(
                f"{FOLDER_FILE} sets {key} to something else: change that line to {_line(key, value)}, or leave the "
                "option out."
            )
        new[key] = _line(key, value)
    _check_lines("\n".join([existing, *new.values()]), list(new), FOLDER_FILE)
    return list(new.values())


def _check_lines(text: str, keys: Sequence[str], name: str) -> None:
    """See to it that the last entries of a YAML mapping are these."""
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        content = None
    if keys and not (isinstance(content, dict) and set(keys) <= set(content)):
        raise InputError(f"{name} is laid out so that nothing can be added to it: write plain `key: value` lines.")


def _line(key: str, value: Value) -> str:
    if isinstance(value, bool):
        return f"{key}: {str(value).lower()}"
    written = yaml.safe_dump(value, default_style='"', default_flow_style=True, allow_unicode=True, width=float("inf"))
    return f"{key}: {written.strip()}"


_ADVICE = "correct it, or delete it to have the prompts found again"


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts in a folder's prompts.yaml, by the hash of their text; an emptied one counts as none."""
    path = folder / PROMPT_FILE
    if not path.exists():
        return {}
    try:
        entries = read_yaml(path)
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('.')}: {_ADVICE}.") from None
    for key, prompt in entries.items():
        if not isinstance(key, str) or not isinstance(prompt, str | None):
            raise InputError(f"{path} must hold `number: prompt` lines, and one is of another kind: {_ADVICE}.")
    return {key: prompt.strip() for key, prompt in entries.items() if prompt and prompt.strip()}


def render_prompts(existing: str | None, new: Sequence[tuple[SourceText, str]]) -> str:
    """The text of prompts.yaml (None begins one) with more prompts, of two for one text the later one, at its end."""
    text: str = words("new_files")["prompts_top"] if existing is None else existing
    if not text.endswith("\n"):
        text += "\n"
    entries = {prompt_key(source): (source.id, prompt) for source, prompt in new}
    for key, (identity, prompt) in entries.items():
        # A block takes whatever somebody writes into it, quotes and colons too.
        block = "\n  ".join(_lines(prompt))
        text += f"\n# {' '.join(_lines(identity))}\n{key}: |\n  {block}\n"
    _check_lines(text, list(entries), PROMPT_FILE)
    return text


def _lines(text: str) -> list[str]:
    """The lines of a text without what YAML cannot hold; the first one begins with no space."""
    lines = [yaml.reader.Reader.NON_PRINTABLE.sub("", line.expandtabs(1)).rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip().split("\n")
