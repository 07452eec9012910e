"""Many texts of a person -> the few files of a demonstrations folder: chosen, named, some of them kept back.

Decides and renders; writing the files is the caller's. A file reads back as exactly its text and prompt.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from ditto_cli.demonstrations.choice import Choice, Picked, pick
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.language import Limits, divided
from ditto_cli.demonstrations.redaction import Redactor, redactor_for
from ditto_cli.demonstrations.sources import READERS
from ditto_cli.errors import InputError
from ditto_cli.types import Skipped, SourceText


@dataclass(frozen=True)
class NewText:
    """A file to be written, from which text it comes, and why that was chosen."""

    name: str
    content: str
    text: str
    long_prompt: str | None  # of several lines; it quotes somebody else and so stays out of the person's file
    source: str  # the id of the text
    reason: str  # "" where nothing had to be chosen
    is_held_out: bool
    num_texts: int = 1  # more where short texts were joined


@dataclass(frozen=True)
class Intake:
    """What comes into the folder, and what does not, of `num_texts` texts; every text is in the one or the other."""

    new: tuple[NewText, ...]
    left_out: tuple[Skipped, ...]
    num_texts: int
    note: str = ""  # what the person should know of the choice


def take_in(
    texts: Sequence[SourceText],
    present: Sequence[SourceText],
    taken: Collection[str],
    *,
    num: int | None,
    num_held_out: int = 0,
    limits: Limits | None = None,
    split: bool = False,
    redact: bool | str = False,
    divide: bool = True,
) -> Intake:
    """Choose among texts and make files of them.

    Nothing comes in twice: `present` is what the folder and its `held_out` hold already, under the names `taken`. `num`
    texts are picked for training (None: all if they are few, else seven) and `num_held_out` more are kept back. `split`
    divides what is too long at paragraphs, `divide` a note with several texts at its rules.
    """
    redactor = redactor_for(redact, [text.text for text in texts])
    max_words = (limits or Limits()).max_words if split else None
    parts = [part for text in texts for part in divided(text, notes=divide, max_words=max_words)]
    candidates = parts if redactor is None else [redactor.redacted(part) for part in parts]
    known = {text.text for text in present}
    repeated: list[Skipped] = []
    fresh: list[SourceText] = []
    for text in candidates:
        if text.text in known:
            repeated.append(Skipped(text.id, "same text as another"))
        else:
            known.add(text.text)
            fresh.append(text)
    if not fresh:
        raise InputError("All of these texts are in the folder already: there is nothing to add.")
    choice = _choice(fresh, num, num_held_out, limits)
    if not choice.picked:
        reasons = "; ".join(dict.fromkeys(entry.reason for entry in choice.left_out))
        raise InputError(f"None of these texts can be taken ({reasons}): give texts that the person wrote.")
    held_out = {picked.text.id for picked in kept_back(choice.picked, num_held_out)}
    new: list[NewText] = []
    names = set(taken)
    for picked in choice.picked:
        text = picked.text
        prompt, long_prompt = text.prompt, None
        if prompt is not None and "\n" in prompt.strip():
            prompt, long_prompt = None, prompt
        about = PurePosixPath(text.id.split("#", 1)[0]).stem
        if text.mail is not None and text.mail.subject:  # an address in it would be given away by the file's name
            about = Redactor().redact(text.mail.subject)
        name, content = text_file(stem_for(about, names), text.text, prompt)
        names.add(name)
        is_held_out = text.id in held_out
        new.append(
            NewText(name, content, text.text, long_prompt, text.id, picked.reason, is_held_out, picked.num_texts)
        )
    return Intake(tuple(new), (*repeated, *choice.left_out), len(parts), choice.note)


def kept_back(picked: Sequence[Picked], num: int) -> list[Picked]:
    """`num` of the texts to hold out: spread over the ranking, and never its first."""
    if num == 0:
        return []
    if num >= len(picked):
        raise InputError(
            f"--hold-out {num} leaves nothing to train on, since there are {len(picked)} usable texts: hold out fewer."
        )
    places = [round((index + 1) * (len(picked) - 1) / num) for index in range(num)]
    chosen = [picked[place] for place in places]
    # What is learnt of one part gives the others of that text away.
    wholes = Counter(one.text.id.partition("#part")[0] for one in picked)
    if any(wholes[one.text.id.partition("#part")[0]] > 1 for one in chosen):
        raise InputError("--hold-out would keep a part of a text back and train on another: leave one of the two out.")
    return chosen


def _choice(candidates: Sequence[SourceText], num: int | None, num_held_out: int, limits: Limits | None) -> Choice:
    """All of a few texts, but those that nobody wrote; of many, or where lengths are given, the best ones."""
    if num is not None or limits is not None or len(candidates) - num_held_out > 9:  # else all
        return pick(candidates, (num or 7) + num_held_out, limits)
    picked, left_out = [], []
    for text in candidates:
        if text.mail is not None and text.mail.not_written is not None:
            left_out.append(Skipped(text.id, text.mail.not_written))
        else:
            picked.append(Picked(text, ""))
    return Choice(tuple(picked), tuple(left_out))


def text_file(stem: str, text: str, prompt: str | None) -> tuple[str, str]:
    """Name and content of the file for a text, as Markdown where that keeps it whole, else as plain text."""
    text = normalise_text(text)
    prompt = normalise_text(prompt or "").strip() or None
    suffix = ".txt" if "<!--" in text else ".md"  # in Markdown that would be a comment

    def reads_back(content: str) -> bool:
        try:
            texts = READERS[suffix](stem + suffix, content.encode()).texts
        except InputError:
            return False
        return [(read.text, read.prompt) for read in texts] == [(text, prompt)]

    content = f"{text}\n"
    if prompt is not None:
        header = yaml.safe_dump({"prompt": prompt}, allow_unicode=True, width=10_000)
        content = f"---\n{header}---\n{content}"
    elif not reads_back(content):  # it begins as front matter or a chat does
        content = f"---\n---\n{content}"
    assert reads_back(content), "what is written is read as the same"
    return stem + suffix, content


def stem_for(about: str, taken: Collection[str]) -> str:
    """A file's name without suffix: a number that no name in `taken` has, then words of `about` in plain letters."""
    plain = unicodedata.normalize("NFKD", about).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "text"
    used = {int(match[1]) for name in taken if (match := re.match(r"(\d{1,6})-", name))}
    return f"{max(used, default=0) + 1:02d}-{slug}"
