"""What `init` and `train` share: a folder's texts shown, and prompts found for those that have none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.render import print_table, say, warn
from ditto_cli.cli.text import shorten
from ditto_cli.config import FOLDER_FILE, FolderFile
from ditto_cli.demonstrations import MANY_TEXTS, Reading, render_folder_file, stale_prompts
from ditto_cli.store import write_text
from ditto_cli.types import SourceText

if TYPE_CHECKING:
    from ditto_cli.model.policy import Policy


def show_reading(reading: Reading, folder_file: FolderFile) -> None:
    """Say what is usable and what is not, on stderr."""
    for skipped in reading.skipped:
        warn(f"{skipped.name} is left out: {skipped.reason}.")
    for name in stale_prompts(reading.texts, folder_file.prompts):
        warn(f"{FOLDER_FILE} has a prompt for {name}, which is not in the folder.")
    if len(reading.texts) >= MANY_TEXTS:
        warn(
            f"{len(reading.texts)} texts are many: DITTO is made for fewer than ten, and time grows with their number. "
            "Four to seven good ones serve as well."
        )


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
    folder: Path, *, name: str | None = None, preset: str | None = None, prompts: dict[str, str] | None = None
) -> None:
    """Write ditto.yaml; what the user has in it stays."""
    path = folder / FOLDER_FILE
    existing = path.read_text(encoding="utf-8-sig") if path.exists() else None
    write_text(path, render_folder_file(existing, name=name, preset=preset, prompts=prompts or {}))


def text_rows(texts: Sequence[SourceText], prompts: dict[str, str]) -> list[tuple[str, str, str]]:
    """Rows of a table: id, words, prompt."""
    return [
        (text.id, str(len(text.text.split())), shorten(prompts.get(text.id) or text.prompt or "(none yet)", 90))
        for text in texts
    ]
