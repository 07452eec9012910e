"""What `init`, `train` and `demos` share: a folder's texts read, audited and shown, and prompts found for them."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.render import print_table, say, warn
from ditto_cli.cli.text import shorten
from ditto_cli.config import CPU_PRESET, FOLDER_FILE, BaseSettings, FolderFile, read_settings_text
from ditto_cli.demonstrations import (
    MANY_TEXTS,
    AuditRow,
    Reading,
    Skipped,
    audit,
    read_folder,
    read_held_out,
    render_folder_file,
    stale_prompts,
)
from ditto_cli.demonstrations.folder_file import Value
from ditto_cli.model.base.tokens import token_counter
from ditto_cli.store import cache_home, write_text
from ditto_cli.types import SourceText

if TYPE_CHECKING:
    from ditto_cli.model.policy.policy import Policy

_NUM_NAMES_SHOWN = 3
_GPU_DEVICES = ("/dev/nvidiactl", "/dev/dxg")  # Linux, and Linux inside Windows


@dataclass(frozen=True)
class FolderView:
    """A demonstrations folder as it is read: what is trained on, what is kept back, what is left out."""

    reading: Reading
    held_out: Reading

    @property
    def texts(self) -> tuple[SourceText, ...]:
        """All texts that need a prompt."""
        return (*self.reading.texts, *self.held_out.texts)


def view_folder(folder: Path, folder_file: FolderFile) -> FolderView:
    """Read a folder and say on stderr what is left out.

    Raises:
        InputError: nothing in it can be used, or a text cannot be read.
    """
    view = FolderView(read_folder(folder, folder_file), read_held_out(folder, folder_file))
    say_skipped((*view.reading.skipped, *view.held_out.skipped))
    for name in stale_prompts(view.texts, folder_file.prompts):
        warn(f"{FOLDER_FILE} has a prompt for {name}, which is not in the folder.")
    if len(view.reading.texts) >= MANY_TEXTS:
        warn(
            f"{len(view.reading.texts)} texts are many: DITTO is made for fewer than ten, and time grows with their "
            "number. Four to seven good ones serve as well."
        )
    return view


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


def machine_preset(device: str) -> str:
    """The preset that fits this machine; torch is only asked where a GPU may be."""
    if not device.startswith("cuda") and not any(Path(path).exists() for path in _GPU_DEVICES):
        return CPU_PRESET
    from ditto_cli.model.hardware import detect

    return detect(device).default_preset()


def audit_texts(texts: Sequence[SourceText], prompts: Mapping[str, str], base: BaseSettings) -> tuple[AuditRow, ...]:
    """What should be known of each text before a model learns it; tokens where the base's tokenizer is at hand."""
    counter = token_counter(base, cache_home(os.environ))
    if counter is None:
        return audit(texts, prompts)
    return audit(texts, prompts, special_tokens=counter.special_tokens, count_tokens=counter.count)


def show_audit(title: str, rows: Sequence[AuditRow]) -> None:
    """The audit as a table on stdout, and each warning in a line on stderr."""
    prompts = [shorten(row.prompt or "(none yet)", 70) for row in rows]
    cells = [(*_facts(row), prompt, _codes(row)) for row, prompt in zip(rows, prompts, strict=True)]
    print_table(title, ("text", "words", "tokens", "language", "prompt", "warnings"), cells)
    _warn_of(rows)


def say_audit(rows: Sequence[AuditRow]) -> None:
    """The audit on stderr, for a run whose messages may be kept in a log: without a word of the person's."""
    cells = [(*_facts(row), _codes(row)) for row in rows]
    print_table("", ("text", "words", "tokens", "language", "warnings"), cells, to_stderr=True)
    _warn_of(rows)


def _facts(row: AuditRow) -> tuple[str, str, str, str]:
    return row.id, str(row.words), "-" if row.tokens is None else str(row.tokens), row.language or "-"


def _codes(row: AuditRow) -> str:
    return ", ".join(warning.code.replace("_", " ") for warning in row.warnings) or "none"


def _warn_of(rows: Sequence[AuditRow]) -> None:
    for row in rows:
        for warning in row.warnings:
            warn(f"{row.id}: {warning.message}.")


def write_missing_prompts(folder: Path, without: Sequence[SourceText], policy: Policy) -> dict[str, str]:
    """Let the base model write the instruction that each text answers; show them and store them in ditto.yaml."""
    from ditto_cli.model.instructions import write_instructions

    say(f"{len(without)} of the texts have no prompt: the base model writes the instruction that each one answers.")
    instructions = write_instructions(policy, without)
    rows = [
        (item.text_id, "the base model" if item.by_model else "the text's first line", item.prompt)
        for item in instructions
    ]
    print_table("", ("text", "prompt by", "prompt"), rows, to_stderr=True)
    prompts = {item.text_id: item.prompt for item in instructions}
    store_folder_file(folder, prompts=prompts)
    say(f"Stored in {folder / FOLDER_FILE}: edit them there where they miss the point.")
    return prompts


def store_folder_file(
    folder: Path,
    *,
    defaults: Mapping[str, Value | None] = {},
    changes: Mapping[str, Value] = {},
    prompts: Mapping[str, str] = {},
    without: Collection[str] = (),
) -> None:
    """Write ditto.yaml; what the user has in it stays. The arguments are those of `render_folder_file`.

    Raises:
        InputError: it is laid out so that it cannot be changed.
        DiskError: it cannot be written.
    """
    existing, text = _rendered(folder, defaults, changes, prompts, without)
    if text != existing:
        write_text(folder / FOLDER_FILE, text)


def check_folder_file(
    folder: Path, *, defaults: Mapping[str, Value | None] = {}, changes: Mapping[str, Value] = {}
) -> None:
    """Find out whether ditto.yaml can be changed so, without writing it.

    Raises:
        InputError: it cannot.
    """
    _rendered(folder, defaults, changes, {}, ())


def _rendered(
    folder: Path,
    defaults: Mapping[str, Value | None],
    changes: Mapping[str, Value],
    prompts: Mapping[str, str],
    without: Collection[str],
) -> tuple[str | None, str]:
    """The text that ditto.yaml has, and the one that it gets."""
    path = folder / FOLDER_FILE
    existing = read_settings_text(path) if path.exists() else None
    return existing, render_folder_file(existing, defaults=defaults, changes=changes, prompts=prompts, without=without)
