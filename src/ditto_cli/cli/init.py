"""`ditto init`: look at a folder, say what is usable, find missing prompts, write ditto.yaml."""

from __future__ import annotations

import os
from pathlib import Path

from ditto_cli.cli.folder import show_reading, store_folder_file, text_rows, write_missing_prompts
from ditto_cli.cli.render import print_json, print_table, say
from ditto_cli.config import (
    FOLDER_FILE,
    FolderFile,
    adapter_name_of,
    load_preset,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.demonstrations import TEMPLATE_NAME, Reading, attach_prompts, read_folder, template_text
from ditto_cli.errors import InputError
from ditto_cli.store import cache_home, check_name, make_private_folder, suggest_name, write_text
from ditto_cli.types import Demonstration, DeviceChoice, SourceText


def run_init(
    folder: Path, *, name: str | None, preset: str | None, write_prompts: bool, device: DeviceChoice, as_json: bool
) -> None:
    """See `ditto init --help`.

    Raises:
        InputError: the folder holds nothing usable, or a name or preset cannot be used.
    """
    if preset is not None:
        load_preset(preset)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder with one text a file.")
    folder_file = read_folder_file(folder)
    adapter = name or folder_file.name or suggest_name(adapter_name_of(folder, folder_file, None))
    check_name(adapter)
    if _is_empty(folder):
        _start_folder(folder, adapter, preset)
        if as_json:
            _show_result(folder, adapter, Reading((), ()), [], as_json=True)
        return
    reading = read_folder(folder)
    show_reading(reading, folder_file)
    demonstrations, without = attach_prompts(reading.texts, folder_file.prompts)
    if without and write_prompts:
        prompts = _let_base_write(folder, without, folder_file, preset, device)
        demonstrations, without = attach_prompts(reading.texts, {**folder_file.prompts, **prompts})
    store_folder_file(folder, name=adapter, preset=preset)
    _show_result(folder, adapter, reading, demonstrations, as_json=as_json)


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def _start_folder(folder: Path, name: str, preset: str | None) -> None:
    make_private_folder(folder)
    write_text(folder / TEMPLATE_NAME, template_text())
    store_folder_file(folder, name=name, preset=preset)
    say(f"Made {folder} with {TEMPLATE_NAME}, which shows what a demonstration looks like, and {FOLDER_FILE}.")
    say(f"Put your text below its comment, one text a file, four to nine of them; then run: ditto init {folder}")


def _let_base_write(
    folder: Path, without: list[SourceText], folder_file: FolderFile, preset: str | None, device: DeviceChoice
) -> dict[str, str]:
    from ditto_cli.model.hardware import detect
    from ditto_cli.model.policy import load_policy

    hardware = detect(device)
    settings = resolve_settings(
        preset or os.environ.get("DITTO_PRESET") or folder_file.preset or hardware.default_preset(),
        folder_file,
        os.environ,
        flags={},
    )
    policy = load_policy(settings.base, hardware, cache_home(os.environ), say)
    return write_missing_prompts(folder, without, policy)


def _show_result(
    folder: Path, adapter: str, reading: Reading, demonstrations: list[Demonstration], *, as_json: bool
) -> None:
    prompts = {demonstration.id: demonstration.prompt for demonstration in demonstrations}
    if as_json:
        print_json(
            {
                "folder": str(folder),
                "name": adapter,
                "texts": [
                    {"id": text.id, "words": len(text.text.split()), "prompt": prompts.get(text.id)}
                    for text in reading.texts
                ],
                "skipped": [{"name": skipped.name, "reason": skipped.reason} for skipped in reading.skipped],
            }
        )
        return
    print_table(
        f"{len(reading.texts)} texts in {folder}", ("text", "words", "prompt"), text_rows(reading.texts, prompts)
    )
    say(f"Wrote {folder / FOLDER_FILE}. Next: ditto train {folder}")
