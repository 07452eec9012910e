"""Many texts of a person -> the few files of a demonstrations folder: chosen, named, some of them kept back.

Decides and renders; writing the files is the caller's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ditto_cli.demonstrations.choice import Choice, Limits, Picked, pick
from ditto_cli.demonstrations.redaction import Redactor, redactor_for
from ditto_cli.demonstrations.splitting import divided
from ditto_cli.demonstrations.writing import stem_for, text_file
from ditto_cli.errors import InputError
from ditto_cli.types import Skipped, SourceText

DEFAULT_PICK = 7
MOST_WITHOUT_PICK = 9


@dataclass(frozen=True)
class NewText:
    """A file to be written, from which text it comes, and why that was chosen.

    Attributes:
        name: of the file.
        content: what it holds.
        text: the person's text in it.
        long_prompt: a prompt of several lines, which quotes somebody else and so stays out of the person's file.
        source: the id of the text.
        reason: in a line, why it was picked; "" where nothing had to be chosen.
        is_held_out: whether it is kept back for `ditto eval`.
        num_texts: how many short texts were joined to it; 1 for most.
    """

    name: str
    content: str
    text: str
    long_prompt: str | None
    source: str
    reason: str
    is_held_out: bool
    num_texts: int = 1


@dataclass(frozen=True)
class Intake:
    """What comes into the folder, and what does not, of `num_texts` texts; every text is in the one or the other.

    `note` is what the person should know of the choice.
    """

    new: tuple[NewText, ...]
    left_out: tuple[Skipped, ...]
    num_texts: int
    note: str = ""


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

    Args:
        texts: all that there are.
        present: what the folder and its `held_out` hold already; none of it comes in twice.
        taken: names of the files in the folder and in `held_out`.
        num: how many to pick for training; None takes all if they are few, else seven.
        num_held_out: how many more to keep back.
        limits: lengths to pick from.
        split: divide texts that are too long at paragraphs, instead of leaving them out.
        redact: replace personal data by stand-ins; "names": names and places too.
        divide: take a note with several texts, divided by rules, for several.

    Raises:
        InputError: nothing can be taken, or too little to keep anything back.
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
        is_long = text.prompt is not None and "\n" in text.prompt.strip()
        name, content = text_file(stem_for(_about(text), names), text.text, None if is_long else text.prompt)
        names.add(name)
        new.append(
            NewText(
                name=name,
                content=content,
                text=text.text,
                long_prompt=text.prompt if is_long else None,
                source=text.id,
                reason=picked.reason,
                is_held_out=text.id in held_out,
                num_texts=picked.num_texts,
            )
        )
    return Intake(tuple(new), (*repeated, *choice.left_out), len(parts), choice.note)


def kept_back(picked: Sequence[Picked], num: int) -> list[Picked]:
    """`num` of the texts to hold out: spread over the ranking, and never its first.

    Raises:
        InputError: not one would be left to train on.
    """
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
    if num is not None or limits is not None or len(candidates) - num_held_out > MOST_WITHOUT_PICK:
        return pick(candidates, (num or DEFAULT_PICK) + num_held_out, limits)
    refusals = [text.mail.not_written if text.mail is not None else None for text in candidates]
    pairs = list(zip(candidates, refusals, strict=True))
    return Choice(
        tuple(Picked(text, "") for text, refusal in pairs if refusal is None),
        tuple(Skipped(text.id, refusal) for text, refusal in pairs if refusal is not None),
    )


def _about(text: SourceText) -> str:
    """Words for a file's name; a subject may hold an address, which a file's name should not give away."""
    if text.mail is not None and text.mail.subject:
        return Redactor().redact(text.mail.subject)
    return PurePosixPath(text.id.split("#", 1)[0]).stem
