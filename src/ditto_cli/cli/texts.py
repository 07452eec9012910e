"""What `init`, `train` and `demos` share: a folder's texts read, audited and shown, and prompts found for them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.context import load_base
from ditto_cli.cli.render import print_table, say, warn
from ditto_cli.config import (
    FOLDER_FILE,
    HELD_OUT_FOLDER,
    PROMPT_FILE,
    BaseSettings,
    FolderFile,
    read_folder_file,
    read_settings_text,
)
from ditto_cli.demonstrations.choice import AuditRow, audit, audit_pair
from ditto_cli.demonstrations.folder import MANY_TEXTS, NewText, read_folder, read_held_out
from ditto_cli.demonstrations.prompts import (
    Value,
    attach_stored_prompts,
    lines_to_add,
    new_folder_file,
    plain_instruction,
    read_prompts,
    render_prompts,
    stale_prompts,
)
from ditto_cli.demonstrations.redaction import prompt_key
from ditto_cli.model.base.conversions import EMBEDDED_ID
from ditto_cli.model.base.tokens import token_counter
from ditto_cli.shown import shorten
from ditto_cli.store import append_line, cache_home, make_private_folder, write_text
from ditto_cli.types import Demonstration, Preference, Reading, Skipped, SourceText

if TYPE_CHECKING:
    from ditto_cli.model.policy.policy import Policy

_NUM_NAMES_SHOWN = 3


def view_folder(folder: Path, folder_file: FolderFile) -> tuple[Reading, tuple[SourceText, ...]]:
    """What a folder holds, and all texts that need a prompt, those kept back too; what is left out is said."""
    reading, held_out = read_folder(folder, folder_file), read_held_out(folder, folder_file)
    texts = (*reading.texts, *held_out.texts)
    read_prompts(folder)  # a file that cannot be read is said before a base is loaded
    say_skipped((*reading.skipped, *held_out.skipped))
    for name in stale_prompts(texts, folder_file.prompts):
        warn(f"{FOLDER_FILE} has a prompt for {name}, which is not in the folder.")
    if len(reading.texts) >= MANY_TEXTS:
        warn(
            f"{len(reading.texts)} texts are many: DITTO is made for fewer than ten, and time grows with their "
            "number. Four to seven good ones serve as well."
        )
    return reading, texts


def say_skipped(skipped: Sequence[Skipped]) -> None:
    """What is left out and why, on stderr: by name, or counted where many have one reason."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for entry in skipped:
        by_reason[entry.reason].append(entry.name)
    for reason, names in by_reason.items():
        if len(names) <= _NUM_NAMES_SHOWN:
            for name in names:
                warn(f"{name} is left out: {reason}.")
        else:
            shown = ", ".join(names[:_NUM_NAMES_SHOWN])
            warn(f"{len(names):,} are left out ({shown}, ...): {reason}.")


def audit_texts(texts: Sequence[SourceText], prompts: Mapping[str, str], base: BaseSettings) -> tuple[AuditRow, ...]:
    """What should be known of each text before a model learns it; tokens where the base's tokenizer is at hand."""
    return audit(texts, prompts, token_counter(base, cache_home(os.environ)))


def show_audit(rows: Sequence[AuditRow], title: str = "", *, for_log: bool = False) -> None:
    """The audit as a table on stdout, and each warning in a line on stderr.

    `for_log` is for a run whose messages may be kept: all on stderr, and without a word of the person's.
    """
    cells = []
    for row in rows:
        tokens = "-" if row.tokens is None else str(row.tokens)
        prompt = [] if for_log else [shorten(row.prompt or "(none yet)", 70)]
        codes = ", ".join(warning.code.replace("_", " ") for warning in row.warnings) or "none"
        cells.append((row.id, str(row.words), tokens, row.language or "-", *prompt, codes))
    columns = ("text", "words", "tokens", "language", *(() if for_log else ("prompt",)), "warnings")
    print_table(title, columns, cells, to_stderr=for_log)
    for row in rows:
        for warning in row.warnings:
            warn(f"{row.id}: {warning.message}.")


def warn_of_pairs(pairs: Sequence[Preference]) -> None:
    """What should be known of each given pair, on stderr."""
    for pair in pairs:
        for warning in audit_pair(pair):
            warn(f"{pair.id}: {warning.message}.")


def find_prompts(
    folder: Path,
    texts: Sequence[SourceText],
    folder_file: FolderFile,
    base: BaseSettings,
    *,
    policy: Policy | None = None,
    device: str = "auto",
) -> list[Demonstration]:
    """The texts with their prompts; those that are missing are written, shown, and stored in prompts.yaml.

    A base of 3B parameters and more writes them; else they are made of each text's title or first words.

    `policy` is the base if it is loaded; else it is loaded here, on `device`, if it is to write.
    """
    demonstrations, without = attach_stored_prompts(folder, texts, folder_file)
    if not without:
        return demonstrations
    written = _instructions(without, base, policy, device)
    found = [item or plain_instruction(text) for text, item in zip(without, written, strict=True)]
    rows = [
        (text.id, "the base model" if item else "the text's first line", prompt)
        for text, item, prompt in zip(without, written, found, strict=True)
    ]
    print_table("", ("text", "prompt by", "prompt"), rows, to_stderr=True)
    add_prompts(folder, list(zip(without, found, strict=True)))
    say(f"Stored in {folder / PROMPT_FILE}: edit them there where they miss the point.")
    return attach_stored_prompts(folder, texts, folder_file)[0]


def _instructions(
    texts: Sequence[SourceText], base: BaseSettings, policy: Policy | None, device: str
) -> Sequence[str | None]:
    """What the base says that each text answers; nothing where it is too small to be asked, which needs no weights."""
    missing = f"{len(texts)} of the texts have no prompt"
    if base.id != EMBEDDED_ID:
        from ditto_cli.model.hardware import detect

        # Before what takes hold of all GPUs is imported.
        hardware = detect(device) if policy is None else policy.hardware
        from ditto_cli.model.instructions import can_write_instructions, write_instructions

        if can_write_instructions(base, cache_home(os.environ)):
            if policy is None:
                say(f"{missing}. Loading {base.id} to write them: that may take minutes.")
                policy = load_base(base, hardware)
            say(f"{missing}: {base.id} writes the instruction that each one answers.")
            return write_instructions(policy, texts)
    say(f"{missing}: each gets a plain one of its title or first words. Bases of 3B and more write better ones.")
    return [None] * len(texts)


def add_prompts(folder: Path, new: Sequence[tuple[SourceText, str]]) -> None:
    """Store prompts in prompts.yaml, below those that are there."""
    stored, path = read_prompts(folder), folder / PROMPT_FILE
    lacking = [(text, prompt) for text, prompt in new if stored.get(prompt_key(text)) != prompt]
    if lacking:
        write_text(path, render_prompts(read_settings_text(path) if path.exists() else None, lacking))


def place_of(new: NewText) -> Path:
    """Where a text that was taken in lies, below its folder."""
    return Path(HELD_OUT_FOLDER, new.name) if new.is_held_out else Path(new.name)


def write_new_texts(folder: Path, new: Sequence[NewText]) -> None:
    """Write what was taken in as files of a folder, which is made if it is missing, and their long prompts."""
    make_private_folder(folder)
    if any(text.is_held_out for text in new):
        make_private_folder(folder / HELD_OUT_FOLDER)
    # First the prompts: a text that is there is not taken in again, and one without its text does no harm.
    texts = [SourceText(place_of(text).as_posix(), text.text, text.long_prompt) for text in new]
    add_prompts(folder, [(text, text.prompt) for text in texts if text.prompt])
    for text in new:
        write_text(folder / place_of(text), text.content)


def store_folder_file(folder: Path, settings: Mapping[str, Value | None]) -> None:
    """Write ditto.yaml where there is none, else add below it what it lacks (no None); nothing in it is changed."""
    path = folder / FOLDER_FILE
    if not path.exists():
        write_text(path, new_folder_file(settings))
        return
    for line in check_folder_file(folder, settings):
        append_line(path, line)


def check_folder_file(folder: Path, settings: Mapping[str, Value | None]) -> list[str]:
    """The lines that `store_folder_file` would add to a ditto.yaml; nothing is written."""
    path = folder / FOLDER_FILE
    if not path.exists():
        return []
    return lines_to_add(read_settings_text(path), read_folder_file(folder), settings)
