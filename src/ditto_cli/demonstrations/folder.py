"""A folder -> the texts in it, and what was left out and why. Nothing is left out silently, and no file is waited for.

Knows the folder's rules (which files count, in which order); what is inside a file is `formats`' business.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PAIRS_FILE, FolderFile
from ditto_cli.demonstrations.choice import Limits
from ditto_cli.demonstrations.encoding import normalise_text, readable_name
from ditto_cli.demonstrations.folder_files import PROMPT_FILE
from ditto_cli.demonstrations.mail.mailboxes import apple_mbox_file, is_maildir
from ditto_cli.demonstrations.pairs import read_pairs, without_kept_back
from ditto_cli.demonstrations.prompts import attach_stored_prompts
from ditto_cli.demonstrations.reader_basics import opened
from ditto_cli.demonstrations.readers import reason_to_skip
from ditto_cli.demonstrations.redaction import Redactor, redactor_for
from ditto_cli.demonstrations.sources import Item, file_names, is_one_mail, only_own, read_source
from ditto_cli.demonstrations.splitting import divided
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

MANY_TEXTS = 10  # from here on the method is outside of what it was made for
MAX_TEXTS = 50  # more than anybody waits for
_TEMPLATE_REASON = "the template, not edited yet"
_FOLDER_REASON = "a folder; only the files directly in the given folder are read"
_NOT_IMITATED = f"SFT imitates the first {MAX_TEXTS} texts that were preferred; the pair is compared all the same"
_HELD_OUT_REASON = "texts that are kept back"
_USUAL_KINDS = ".txt, .md, .eml, .docx, .pdf, .html, .zip, ..."
_NUM_NAMES_SHOWN = 2


class NothingUsableError(InputError):
    """A folder that is there and holds no text yet."""


def read_folder(folder: Path, settings: FolderFile | None = None) -> Reading:
    """The texts of a demonstrations folder, in the order of their names, as its ditto.yaml wants them.

    Raises:
        NothingUsableError: no text in it can be used.
        InputError: no such folder, too many texts, or a file that claims to be a text and cannot be read.
    """
    settings = settings or FolderFile()
    items: list[Item] = []
    given: set[str] = set()
    if is_maildir(folder):
        items += read_source(folder, readable_name(folder.resolve().name))
    else:
        for path in _entries(folder):
            name = readable_name(path.name)
            items += [Skipped(name, reason)] if (reason := _reason_to_skip(path)) else read_source(path, name)
            if is_one_mail(path):
                given.add(name)
    reading = only_own(items, settings.me, given=given)
    unique: dict[str, SourceText] = {}
    repeated: list[Skipped] = []
    for text in reading.texts:
        if (first := unique.setdefault(text.text, text)) is not text:
            repeated.append(Skipped(text.id, f"same text as {first.id}"))
    texts = list(unique.values())
    redactor = redactor_for(settings.redact, list(unique))
    found, refused = read_pairs(folder, redactor)
    pairs, hidden = without_kept_back(found, _kept_back(folder, settings, redactor) if found else ())
    refused += hidden
    if settings.split:
        texts = [part for text in texts for part in divided(text, notes=True, max_words=Limits().max_words)]
    if redactor is not None:
        texts = [redactor.redacted(text) for text in texts]
    if not texts:  # as the DPO paper has it (section 4): what was preferred is imitated
        chosen = {pair.chosen: SourceText(pair.id, pair.chosen, pair.prompt) for pair in pairs}
        texts = list(chosen.values())[:MAX_TEXTS]
        refused += [Skipped(text.id, _NOT_IMITATED) for text in list(chosen.values())[MAX_TEXTS:]]
    reading = Reading(tuple(texts), (*reading.skipped, *repeated, *refused), pairs)
    if not reading.texts:
        raise NothingUsableError(_nothing_usable(folder, reading.skipped))
    if len(reading.texts) > MAX_TEXTS:
        shown = readable_name(str(folder))
        raise InputError(
            f"{shown} holds {len(reading.texts)} texts, too many to learn from: choose the best into a new folder: "
            f"ditto init NEW_FOLDER --from {shown} --pick 7."
        )
    return reading


def _kept_back(folder: Path, settings: FolderFile, redactor: Redactor | None) -> set[str]:
    """The texts of a folder's `held_out` and their prompts, with the stand-ins that the folder's texts get."""
    plain = settings.model_copy(update={"redact": False})
    texts = read_held_out(folder, plain).texts
    prompts = (text.prompt for text in attach_stored_prompts(folder, texts, plain)[0])
    return {redactor.redact(part) if redactor else part for part in (*prompts, *(text.text for text in texts))}


def read_held_out(folder: Path, settings: FolderFile | None = None) -> Reading:
    """The texts that are kept back in a demonstrations folder's `held_out`; ids begin with "held_out/"."""
    kept_back = folder / HELD_OUT_FOLDER
    if not os.path.isdir(kept_back) or not any(not name.startswith(".") for name in file_names(kept_back)):
        return Reading(())
    # a.md beside it is another text than held_out/a.md.
    reading = read_folder(kept_back, settings)
    return Reading(
        tuple(replace(text, id=f"{HELD_OUT_FOLDER}/{text.id}") for text in reading.texts),
        tuple(Skipped(f"{HELD_OUT_FOLDER}/{entry.name}", entry.reason) for entry in reading.skipped),
    )


def _entries(folder: Path) -> list[Path]:
    shown = readable_name(str(folder))
    try:
        names = os.listdir(folder)
    # ValueError: a NUL in the path.
    except (OSError, ValueError) as error:
        why = "does not exist" if isinstance(error, FileNotFoundError) else "is not a folder that can be read"
        raise InputError(f"{shown} {why}: give the folder that holds your texts.") from None
    if len({readable_name(name) for name in names}) < len(names):
        raise InputError(f"{shown} holds two files whose names look the same: rename one of them.")
    texts = set(names) - {FOLDER_FILE, PROMPT_FILE, PAIRS_FILE}
    return [folder / name for name in sorted(texts, key=lambda name: (name.casefold(), name))]


def _reason_to_skip(path: Path) -> str | None:
    if os.path.isdir(path) and not path.name.startswith("."):
        if path.name == HELD_OUT_FOLDER:
            return _HELD_OUT_REASON
        return None if is_maildir(path) or apple_mbox_file(path) is not None else _FOLDER_REASON
    if reason := reason_to_skip(path.name):
        return reason
    if path.suffix.lower() == ".md" and path.is_file():
        with opened(path, readable_name(path.name)) as file:
            if is_unedited_template(file.read(2 * len(TEMPLATE)).decode("utf-8", errors="replace")):
                return _TEMPLATE_REASON
    return None


def _nothing_usable(folder: Path, skipped: tuple[Skipped, ...]) -> str:
    shown = readable_name(str(folder))
    if template := next((entry.name for entry in skipped if entry.reason == _TEMPLATE_REASON), None):
        return (
            f"{shown} holds only the template: edit {template}, put a text of yours below its comment, and try again."
        )
    visible = [entry for entry in skipped if not entry.name.startswith(".")]
    if not visible:
        return f"{shown} is empty: put four to seven texts of one person into it ({_USUAL_KINDS})."
    details = "; ".join(f"{entry.name}: {entry.reason}" for entry in visible[:_NUM_NAMES_SHOWN])
    more = f" and {len(visible) - _NUM_NAMES_SHOWN} more" if len(visible) > _NUM_NAMES_SHOWN else ""
    return f"{shown} holds nothing to learn from ({details}{more}): put four to seven texts into it."


TEMPLATE_NAME = "my-first-text.md"

# The prompt is a comment on purpose: one that is left as it was would be a wrong one.
TEMPLATE = """\
---
# What is your text the answer to? Say it in one line and remove the "# ". Left as it is, a line will be proposed.
# prompt: Write an email to my sister about our summer holiday
---
<!--
Put one of your own texts below this comment, just as you sent it: an email, a post, a letter.

- One text a file. Name the next one as you like: second.md, third.txt. Emails saved as .eml work as they are.
- Four to seven good ones suffice; stay below ten. Choose those that sound most like you.
- Take texts that you wrote yourself, not what a model or somebody else wrote for you.
- They stay on this computer.

This comment may stay; it is not learnt.
-->
"""


def is_unedited_template(text: str) -> bool:
    """Whether `text` is the template as it was written, line ends aside."""
    return normalise_text(text) == normalise_text(TEMPLATE)
