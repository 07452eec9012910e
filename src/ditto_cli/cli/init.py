"""`ditto init`: texts of any kind into a folder, an audit of what is there, missing prompts, and ditto.yaml."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ditto_cli.cli.demos import converse
from ditto_cli.cli.folder import (
    FolderView,
    audit_texts,
    check_folder_file,
    machine_preset,
    say_skipped,
    show_audit,
    store_folder_file,
    view_folder,
    write_missing_prompts,
)
from ditto_cli.cli.render import print_json, print_table, say
from ditto_cli.config import (
    FOLDER_FILE,
    FolderFile,
    Settings,
    adapter_name_of,
    load_preset,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.demonstrations import (
    HELD_OUT_FOLDER,
    MAX_TEXTS,
    TEMPLATE_NAME,
    AuditRow,
    Intake,
    Limits,
    NothingUsableError,
    Reading,
    attach_prompts,
    file_names,
    gather,
    kept_back,
    pick,
    read_folder,
    read_held_out,
    stored_prompts,
    take_in,
    template_text,
)
from ditto_cli.demonstrations.folder_file import Value
from ditto_cli.errors import InputError
from ditto_cli.store import cache_home, check_name, make_private_folder, move, suggest_name, write_text
from ditto_cli.types import SourceText


@dataclass(frozen=True)
class InitOptions:
    """The options of `ditto init`."""

    folder: Path
    sources: Sequence[Path]
    pick: int | None
    hold_out: int
    words: tuple[int, int] | None
    me: Sequence[str]
    split: bool
    redact: bool
    redact_names: bool
    name: str | None
    preset: str | None
    write_prompts: bool
    device: str


def run_init(options: InitOptions, *, as_json: bool) -> None:
    """See `ditto init --help`.

    Raises:
        InputError: nothing usable is there, or an option cannot be used.
        DiskError: the folder cannot be written.
    """
    folder = options.folder
    _check(options)
    folder_file = read_folder_file(folder)
    adapter = options.name or folder_file.name or suggest_name(adapter_name_of(folder, folder_file, None))
    check_name(adapter)
    changes = _changes(options)
    settings: dict[str, Value | None] = {"name": adapter, "preset": options.preset}
    check_folder_file(folder, defaults=settings, changes=changes)  # before anything is written
    intake: Intake | None = None
    if options.sources:
        intake = _take_in(options, folder_file)
    elif _is_empty(folder):
        _refuse_without_texts(options)
        if _in_terminal(as_json):
            make_private_folder(folder)
            converse(folder)
        if _is_empty(folder):
            _start_folder(options, adapter, as_json=as_json)
            return
    if options.hold_out and not options.sources:
        _put_aside(folder, folder_file.model_copy(update=changes), options.hold_out)
    folder_file = read_folder_file(folder).model_copy(update=changes)
    view = view_folder(folder, folder_file)
    store_folder_file(folder, defaults=settings, changes=changes)
    prompts = _find_prompts(options, folder_file, view)
    rows = audit_texts(view.texts, prompts, _settings(options, folder_file).base)
    if as_json:
        _print_json(folder, adapter, view.reading, rows, intake)
        return
    show_audit(f"{len(view.reading.texts)} texts in {folder}", rows)
    say(f"Wrote {folder / FOLDER_FILE}. Next: ditto train {folder}")
    if _in_terminal(as_json):
        converse(folder)


def _changes(options: InitOptions) -> dict[str, Value]:
    """What the options change in ditto.yaml; texts that came in are divided already."""
    changes: dict[str, Value] = {}
    if redact := _redact(options):
        changes["redact"] = redact
    if options.split and not options.sources:
        changes["split"] = True
    if options.me and not options.sources:
        changes["me"] = list(options.me)
    return changes


def _redact(options: InitOptions) -> bool | Literal["names"]:
    return "names" if options.redact_names else options.redact


def _check(options: InitOptions) -> None:
    folder = options.folder
    if options.preset is not None:
        load_preset(options.preset)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give a folder, as in ditto init FOLDER --from {folder}.")
    if options.words is not None and not 1 <= options.words[0] <= options.words[1]:
        raise InputError("--words takes the fewest and the most words of a text, as in --words 40 600.")
    for option, given in (("--pick", options.pick is not None), ("--words", options.words is not None)):
        if given and not options.sources:
            raise InputError(f"{option} chooses among many texts: say where they are with --from.")
    for source in options.sources:
        if source.resolve() == folder.resolve():
            raise InputError(f"--from {source} is the folder itself: choose from it into a new one.")


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def _refuse_without_texts(options: InitOptions) -> None:
    given = [flag for flag in ("hold_out", "split", "redact", "redact_names") if getattr(options, flag)]
    if given:
        raise InputError(f"{options.folder} holds no texts yet, so --{given[0].replace('_', '-')} has nothing to do.")


def _in_terminal(as_json: bool) -> bool:
    """Whether there is somebody to ask."""
    return not as_json and sys.stdin.isatty() and sys.stderr.isatty()


def _start_folder(options: InitOptions, adapter: str, *, as_json: bool) -> None:
    folder = options.folder
    make_private_folder(folder)
    write_text(folder / TEMPLATE_NAME, template_text())
    store_folder_file(folder, defaults={"name": adapter, "preset": options.preset})
    say(f"Made {folder} with {TEMPLATE_NAME}, which shows what a demonstration looks like, and {FOLDER_FILE}.")
    say(f"Put your text below its comment, one text a file, four to nine of them; then run: ditto init {folder}")
    if as_json:
        _print_json(folder, adapter, Reading(()), [])


def _take_in(options: InitOptions, folder_file: FolderFile) -> Intake:
    """Choose from the sources, and write what was chosen; nothing is written before all is chosen."""
    folder = options.folder
    trained, held_out = _present(folder, folder_file)
    if options.pick is not None and len(trained) >= options.pick:
        raise InputError(f"{folder} has {len(trained)} texts already, no fewer than --pick {options.pick}: raise that.")
    found = gather(options.sources, options.me or folder_file.me)
    intake = take_in(
        found.texts,
        [*trained, *held_out],
        [*file_names(folder), *file_names(folder / HELD_OUT_FOLDER)],
        num=None if options.pick is None else options.pick - len(trained),
        num_held_out=max(0, options.hold_out - len(held_out)),
        limits=Limits(*options.words) if options.words is not None else None,
        split=options.split,
        redact=_redact(options) or folder_file.redact,
    )
    num = len(trained) + sum(not new.is_held_out for new in intake.new)
    if num > MAX_TEXTS:
        raise InputError(f"{folder} would hold {num} texts, too many to learn from: choose with --pick 7.")
    make_private_folder(folder)
    for new in intake.new:
        if new.is_held_out:
            make_private_folder(folder / HELD_OUT_FOLDER)
        write_text(folder / _place(new.name, is_held_out=new.is_held_out), new.content)
    say_skipped((*found.skipped, *intake.left_out))
    if senders := sorted({text.mail.sender for text in found.texts if text.mail is not None and text.mail.sender}):
        say(f"Taken for the person's own: mails from {', '.join(senders[:5])}. If that is wrong, say --me ADDRESS.")
    rows = [
        (_place(new.name, is_held_out=new.is_held_out), new.source, new.reason or "all were taken")
        for new in intake.new
    ]
    print_table(f"{len(intake.new)} of {intake.num_texts:,} texts", ("file", "from", "why"), rows, to_stderr=True)
    return replace(intake, left_out=(*found.skipped, *intake.left_out))


def _place(name: str, *, is_held_out: bool) -> str:
    return f"{HELD_OUT_FOLDER}/{name}" if is_held_out else name


def _present(folder: Path, folder_file: FolderFile) -> tuple[list[SourceText], list[SourceText]]:
    """What the folder holds already, to train on and kept back; nothing where it holds no text yet."""
    if _is_empty(folder):
        return [], []
    held_out = list(read_held_out(folder, folder_file).texts)
    try:
        return list(read_folder(folder, folder_file).texts), held_out
    except NothingUsableError:
        return [], held_out


def _put_aside(folder: Path, folder_file: FolderFile, num: int) -> None:
    """Move files into `held_out`, and their prompts in ditto.yaml with them."""
    num -= len(read_held_out(folder, folder_file).texts)  # a second run moves no more
    if num <= 0:
        return
    texts = read_folder(folder, folder_file).texts
    whole = [text for text in texts if (folder / text.id).is_file()]  # a part of a file cannot be moved
    if len(whole) < num:
        raise InputError(
            f"--hold-out {num}: only {len(whole)} texts are in a file of their own: "
            "put each into one, or choose into a new folder with --from."
        )
    chosen = kept_back(pick(whole, len(whole), Limits(1, 10**6)).picked, num)
    for picked in chosen:
        if (folder / HELD_OUT_FOLDER / picked.text.id).exists():
            raise InputError(f"{HELD_OUT_FOLDER} has a {picked.text.id} already: rename one of them.")
    make_private_folder(folder / HELD_OUT_FOLDER)
    for picked in chosen:
        name = picked.text.id
        move(folder / name, folder / HELD_OUT_FOLDER / name)
        if prompt := folder_file.prompts.get(name):
            store_folder_file(folder, prompts={f"{HELD_OUT_FOLDER}/{name}": prompt}, without=[name])
        say(f"{name} is kept back in {HELD_OUT_FOLDER}: never trained on, and what `ditto eval` asks first.")


def _find_prompts(options: InitOptions, folder_file: FolderFile, view: FolderView) -> Mapping[str, str]:
    """All prompts that there are, by id; the base model writes the missing ones, if it may."""
    stored = stored_prompts(folder_file, view.texts)
    demonstrations, without = attach_prompts(view.texts, stored)
    if without and options.write_prompts:
        from ditto_cli.model.hardware import detect

        hardware = detect(options.device)
        from ditto_cli.model.base.loading import load_policy

        settings = _settings(options, folder_file)
        policy = load_policy(settings.base, hardware, cache_home(os.environ), say)
        written = write_missing_prompts(options.folder, without, policy)
        demonstrations, _ = attach_prompts(view.texts, {**stored, **written})
    return {demonstration.id: demonstration.prompt for demonstration in demonstrations}


def _settings(options: InitOptions, folder_file: FolderFile) -> Settings:
    preset = options.preset or os.environ.get("DITTO_PRESET") or folder_file.preset
    return resolve_settings(preset or machine_preset(options.device), folder_file, os.environ, flags={})


def _print_json(
    folder: Path, adapter: str, reading: Reading, rows: Sequence[AuditRow], intake: Intake | None = None
) -> None:
    skipped = (*(intake.left_out if intake is not None else ()), *reading.skipped)
    document: dict[str, object] = {
        "folder": str(folder),
        "name": adapter,
        "texts": [row.as_json() for row in rows],
        "skipped": [{"name": entry.name, "reason": entry.reason} for entry in skipped],
    }
    if intake is not None:
        document["taken"] = [
            {"file": _place(new.name, is_held_out=new.is_held_out), "from": new.source, "why": new.reason}
            for new in intake.new
        ]
    print_json(document)
