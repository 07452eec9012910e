"""A folder -> the texts and pairs in it, and what was left out and why; many texts -> the few files of such a folder.

Knows the folder's rules (which files count, in which order); what is inside a file is `sources`' business. Nothing is
left out silently or waited for. New files are chosen, named, and some of them kept back; writing them is the caller's,
and each reads back as exactly its text and prompt. pairs.jsonl beside the texts has a line for each pair of texts of
which the person preferred one, in TRL's format, `{"prompt", "chosen", "rejected"}` as texts or as conversations, so
pairs from elsewhere work.
"""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import yaml

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PAIRS_FILE, PROMPT_FILE, FolderFile
from ditto_cli.demonstrations.choice import Choice, Picked, pick
from ditto_cli.demonstrations.encoding import normalise_text, open_file, read_whole, readable_name
from ditto_cli.demonstrations.language import Limits, divide_text
from ditto_cli.demonstrations.mail import apple_mbox_file, is_maildir
from ditto_cli.demonstrations.prompts import attach_stored_prompts
from ditto_cli.demonstrations.redaction import Redactor, redactor_for
from ditto_cli.demonstrations.sources import READERS, Item, file_names, only_own, read_source, reason_to_skip
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Preference, Reading, Skipped, SourceText

MANY_TEXTS = 10  # from here on the method is outside of what it was made for
MAX_TEXTS = 50  # more than anybody waits for
_TEMPLATE_REASON = "the template, not edited yet"
_NOT_IMITATED = f"SFT imitates the first {MAX_TEXTS} texts that were preferred; the pair is compared all the same"
_NUM_NAMES_SHOWN = 2
_LONGEST_ABOVE_A_TEXT = 1_000  # characters of a prompt in one line


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
            if path.suffix.lower() == ".eml":
                given.add(name)
    reading = only_own(items, settings.me, given=given)
    firsts = {text.text: text for text in reversed(reading.texts)}
    texts = [text for text in reading.texts if firsts[text.text] is text]
    repeated = [
        Skipped(text.id, f"same text as {first.id}")
        for text in reading.texts
        if (first := firsts[text.text]) is not text
    ]
    redactor = redactor_for(settings.redact, [text.text for text in texts])
    found, refused = read_pairs(folder, redactor)
    kept_back: list[str] = []
    if found:  # the texts of `held_out` and their prompts, with the stand-ins that the folder's texts get
        plain = settings.model_copy(update={"redact": False})
        held_out = read_held_out(folder, plain).texts
        prompts = [text.prompt for text in attach_stored_prompts(folder, held_out, plain)[0]]
        kept_back = [redactor.redact(part) if redactor else part for part in (*prompts, *(t.text for t in held_out))]
    pairs, hidden = without_kept_back(found, kept_back)
    refused += hidden
    if settings.split:
        texts = [part for text in texts for part in divide_text(text, notes=True, max_words=Limits().max_words)]
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
            return "texts that are kept back"
        if is_maildir(path) or apple_mbox_file(path) is not None:
            return None
        return "a folder; only the files directly in the given folder are read"
    if reason := reason_to_skip(path.name):
        return reason
    if path.suffix.lower() == ".md" and path.is_file():
        with open_file(path, readable_name(path.name)) as file:
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
        return (
            f"{shown} is empty: put four to seven texts of one person into it "
            "(.txt, .md, .eml, .docx, .pdf, .html, .zip, ...)."
        )
    details = "; ".join(f"{entry.name}: {entry.reason}" for entry in visible[:_NUM_NAMES_SHOWN])
    more = f" and {len(visible) - _NUM_NAMES_SHOWN} more" if len(visible) > _NUM_NAMES_SHOWN else ""
    return f"{shown} holds nothing to learn from ({details}{more}): put four to seven texts into it."


TEMPLATE_NAME = "my-first-text.md"
TEMPLATE: str = words("new_files")["template"]


def is_unedited_template(text: str) -> bool:
    """Whether `text` is the template as it was written, line ends aside."""
    return normalise_text(text) == normalise_text(TEMPLATE)


# --- pairs.jsonl

_MAX_BYTES = 8 * 2**20


def read_pairs(folder: Path, redactor: Redactor | None = None) -> tuple[list[Preference], list[Skipped]]:
    """The pairs in a folder's pairs.jsonl, and the lines that are none; nothing where there is no such file.

    Of two pairs that are equal once redacted the first counts, of two that contradict each other neither.

    Raises:
        InputError: the file cannot be read.
    """
    pairs: dict[tuple[str, str, str], Preference] = {}
    skipped: list[Skipped] = []
    for number, line in pair_lines(folder).items():
        name = f"{PAIRS_FILE}#{number}"
        pair = _parse_pair(name, line, redactor)
        if isinstance(pair, str):
            skipped.append(Skipped(name, pair))
        elif (first := pairs.setdefault((pair.prompt, pair.chosen, pair.rejected), pair)) is not pair:
            skipped.append(Skipped(name, f"the same as {first.id}"))
    for prompt, chosen, rejected in list(pairs):
        one, other = pairs.get((prompt, chosen, rejected)), pairs.get((prompt, rejected, chosen))
        if one is not None and other is not None:
            skipped.append(Skipped(one.id, f"it contradicts {other.id}: remove one of them"))
            del pairs[prompt, chosen, rejected], pairs[prompt, rejected, chosen]
    return list(pairs.values()), skipped


def pair_lines(folder: Path) -> dict[int, str]:
    """The lines of a folder's pairs.jsonl that are not empty, by their numbers from 1."""
    path = folder / PAIRS_FILE
    if not path.exists():
        return {}
    try:
        text = read_whole(path, PAIRS_FILE, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it as that.") from None
    return {number: line for number, line in enumerate(text.split("\n"), start=1) if line.strip()}


def pair_line(prompt: str, chosen: str, rejected: str) -> str:
    """A pair as a line of pairs.jsonl."""
    return json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}, ensure_ascii=False)


def without_kept_back(
    pairs: Sequence[Preference], kept_back: Collection[str]
) -> tuple[tuple[Preference, ...], tuple[Skipped, ...]]:
    """The pairs in which none of the prompts and texts that are kept back stands, and the others."""
    hidden = {pair.id for pair in pairs if not {pair.prompt, pair.chosen, pair.rejected}.isdisjoint(kept_back)}
    reason = "it is of a text that is kept back"
    kept = tuple(pair for pair in pairs if pair.id not in hidden)
    return kept, tuple(Skipped(pair.id, reason) for pair in pairs if pair.id in hidden)


def _parse_pair(name: str, line: str, redactor: Redactor | None) -> Preference | str:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return "not a line of JSON"
    if not isinstance(content, dict):
        return "not an object with prompt, chosen and rejected"
    found: dict[str, str] = {}
    for key in ("prompt", "chosen", "rejected"):
        value = content.get(key)
        if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):  # a conversation of one turn
            value = value[0].get("content")
        found[key] = normalise_text(value) if isinstance(value, str) else ""
    if missing := [key for key, text in found.items() if not text]:
        return f"no {' and '.join(missing)} in it"
    if redactor is not None:
        found = {key: redactor.redact(text) for key, text in found.items()}
    if found["chosen"] == found["rejected"]:
        return "both texts are the same"
    return Preference(name, **found)


# --- new files


@dataclass(frozen=True)
class NewText:
    """A file to be written, from which text it comes, and why that was chosen."""

    name: str
    content: str
    text: str
    long_prompt: str | None  # it quotes somebody else and so stays out of the person's file
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
    parts = [part for text in texts for part in divide_text(text, notes=divide, max_words=max_words)]
    candidates = parts if redactor is None else [redactor.redacted(part) for part in parts]
    known = {text.text for text in present}
    firsts = {text.text: text for text in reversed(candidates) if text.text not in known}
    fresh = [text for text in candidates if firsts.get(text.text) is text]
    repeated = [Skipped(text.id, "same text as another") for text in candidates if firsts.get(text.text) is not text]
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
        if prompt is not None and ("\n" in prompt.strip() or len(prompt) > _LONGEST_ABOVE_A_TEXT):
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
    if num is not None or limits is not None or len(candidates) - num_held_out > 9:
        return pick(candidates, (num or 7) + num_held_out, limits)
    reasons = {text.id: text.mail.not_written for text in candidates if text.mail and text.mail.not_written}
    picked = [Picked(text, "") for text in candidates if text.id not in reasons]
    return Choice(tuple(picked), tuple(map(Skipped, reasons, reasons.values())))


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
