"""`ditto init`: texts of any kind into a folder, an audit of what is there, missing prompts, and ditto.yaml."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ditto_cli.cli.arguments import InitOptions
from ditto_cli.cli.context import folder_adapter, folder_base, in_terminal
from ditto_cli.cli.demos import converse
from ditto_cli.cli.render import ask, print_json, print_table, say, warn
from ditto_cli.cli.texts import (
    add_prompts,
    audit_texts,
    check_folder_file,
    find_prompts,
    place_of,
    say_skipped,
    show_audit,
    store_folder_file,
    view_folder,
    write_new_texts,
)
from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, FolderFile, load_preset, read_folder_file
from ditto_cli.demonstrations.authorship import UnknownAuthorError
from ditto_cli.demonstrations.choice import pick
from ditto_cli.demonstrations.folder import (
    MAX_TEXTS,
    TEMPLATE,
    TEMPLATE_NAME,
    Intake,
    NothingUsableError,
    kept_back,
    read_folder,
    read_held_out,
    take_in,
)
from ditto_cli.demonstrations.language import Limits
from ditto_cli.demonstrations.prompts import Value, attach_stored_prompts, read_prompts
from ditto_cli.demonstrations.sources import file_names, read_sources
from ditto_cli.errors import InputError
from ditto_cli.store import make_private_folder, move, write_text
from ditto_cli.types import Reading


def run_init(options: InitOptions) -> None:
    """See `ditto init --help`."""
    folder = options.folder
    _check(options)
    can_ask = not options.as_json and in_terminal() and sys.stderr.isatty()
    folder_file = read_folder_file(folder)
    adapter = folder_adapter(folder, folder_file, options.name)
    changes: dict[str, Value] = {"redact": options.redact} if options.redact else {}
    if not options.sources:  # texts that come in are chosen and divided already
        changes |= ({"split": True} if options.split else {}) | ({"me": options.me} if options.me else {})
    name = options.name if (folder / FOLDER_FILE).exists() else adapter
    settings: dict[str, Value | None] = {"name": name, "preset": options.preset, **changes}
    check_folder_file(folder, settings)  # before anything is written
    read_prompts(folder)
    intake: Intake | None = None
    if options.sources:
        intake = _take_in(options, options.sources, folder_file, can_ask=can_ask)
    elif _is_empty(folder):
        if not _begin(options, adapter, can_ask=can_ask):
            return
    elif options.hold_out:
        _put_aside(folder, folder_file.model_copy(update=changes), options.hold_out)
    folder_file = read_folder_file(folder).model_copy(update=changes)
    reading, texts = view_folder(folder, folder_file)
    store_folder_file(folder, settings)
    base = folder_base(folder_file, options.preset, options.device)
    if options.write_prompts:
        demonstrations = find_prompts(folder, texts, folder_file, base, device=options.device)
    else:
        demonstrations, _ = attach_stored_prompts(folder, texts, folder_file)
    rows = audit_texts(texts, {one.id: one.prompt for one in demonstrations}, base)
    if options.as_json:
        skipped = (*(intake.left_out if intake else ()), *reading.skipped)
        document: dict[str, object] = {
            "folder": str(folder),
            "name": adapter,
            "texts": [row.as_json() for row in rows],
            "skipped": [{"name": entry.name, "reason": entry.reason} for entry in skipped],
        }
        if intake:
            document["taken"] = [
                {"file": place_of(new).as_posix(), "from": new.source, "why": new.reason} for new in intake.new
            ]
        print_json(document)
        return
    show_audit(rows, f"{len(reading.texts)} texts in {folder}")
    say(f"Wrote {folder / FOLDER_FILE}. Next: ditto train {folder}")
    if can_ask:
        converse(folder)


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
    for source in options.sources or ():
        if source.resolve() == folder.resolve():
            raise InputError(f"--from {source} is the folder itself: choose from it into a new one.")


def _begin(options: InitOptions, adapter: str, *, can_ask: bool) -> bool:
    """Let the user put texts into an empty folder; one that stays empty gets a template. Whether it holds texts."""
    folder = options.folder
    redact = "--redact-names" if options.redact_names else "--redact"
    for flag, given in (("--hold-out", options.hold_out), ("--split", options.split), (redact, options.redact)):
        if given:
            raise InputError(f"{folder} holds no texts yet, so {flag} has nothing to do.")
    make_private_folder(folder)
    if can_ask:
        converse(folder)
    if not _is_empty(folder):
        return True
    write_text(folder / TEMPLATE_NAME, TEMPLATE)
    store_folder_file(folder, {"name": adapter, "preset": options.preset})
    say(f"Made {folder} with {TEMPLATE_NAME}, which shows what a demonstration looks like, and {FOLDER_FILE}.")
    say(f"Put your text below its comment, one text a file, four to nine of them; then run: ditto init {folder}")
    if options.as_json:
        print_json({"folder": str(folder), "name": adapter, "texts": [], "skipped": []})
    return False


def _is_empty(folder: Path) -> bool:
    return not folder.exists() or all(path.name.startswith(".") for path in folder.iterdir())


def _take_in(options: InitOptions, sources: Sequence[Path], folder_file: FolderFile, *, can_ask: bool) -> Intake:
    """Choose from the sources, and write what was chosen; nothing is written before all is chosen."""
    folder = options.folder
    held_out = read_held_out(folder, folder_file).texts
    try:
        trained = read_folder(folder, folder_file).texts if folder.exists() else ()
    except NothingUsableError:
        trained = ()
    if options.pick is not None and len(trained) >= options.pick:
        raise InputError(f"{folder} has {len(trained)} texts already, no fewer than --pick {options.pick}: raise that.")
    found = _read_sources(sources, options.me or folder_file.me, can_ask=can_ask)
    intake = take_in(
        found.texts,
        [*trained, *held_out],
        [*file_names(folder), *file_names(folder / HELD_OUT_FOLDER)],
        num=None if options.pick is None else options.pick - len(trained),
        num_held_out=max(0, options.hold_out - len(held_out)),
        limits=Limits(*options.words) if options.words is not None else None,
        split=options.split,
        redact=options.redact or folder_file.redact,
    )
    num = len(trained) + sum(not new.is_held_out for new in intake.new)
    if num > MAX_TEXTS:
        raise InputError(f"{folder} would hold {num} texts, too many to learn from: choose with --pick 7.")
    write_new_texts(folder, intake.new)
    intake = replace(intake, left_out=(*found.skipped, *intake.left_out))
    taken = [(place_of(new).as_posix(), new.source, new.reason or "all were taken") for new in intake.new]
    print_table(f"{len(taken)} of {intake.num_texts:,} texts", ("file", "from", "why"), taken, to_stderr=True)
    say_skipped(intake.left_out)
    if intake.note:
        warn(intake.note)
    senders = ((text.mail and text.mail.sender) or next(iter(text.authors), None) for text in found.texts)
    if writers := Counter(filter(None, senders)).most_common(5):
        shown = ", ".join(f"{name} ({num:,})" for name, num in writers)
        say(f"Taken for the person's own: what {shown} wrote. If that is wrong, say --me NAME or ADDRESS.")
    return intake


def _read_sources(sources: Sequence[Path], me: Sequence[str], *, can_ask: bool) -> Reading:
    """All texts of the sources that are the person's; where that is not known, the user is asked who it is."""
    try:
        return read_sources(sources, me)
    except UnknownAuthorError as error:
        if not can_ask:
            raise
        writers = error.writers
        rows = [
            (str(number), writer.name, f"{writer.num_texts:,}", f"{writer.num_words:,}")
            for number, writer in enumerate(writers, start=1)
        ]
        print_table("Several people wrote these", ("", "who", "texts", "words"), rows, to_stderr=True)
        try:
            answer = ask("Whose style is to be learnt? Number or name: ").strip()
        except EOFError:
            raise error from None
    is_number = answer.isdecimal() and 1 <= int(answer) <= len(writers)
    return read_sources(sources, [writers[int(answer) - 1].name if is_number else answer])


def _put_aside(folder: Path, folder_file: FolderFile, num: int) -> None:
    """Move files into `held_out`; prompts that ditto.yaml has for them by name go on in prompts.yaml."""
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
        if prompt := folder_file.prompts.get(name):
            add_prompts(folder, [(picked.text, prompt)])
        move(folder / name, folder / HELD_OUT_FOLDER / name)
        say(f"{name} is kept back in {HELD_OUT_FOLDER}: never trained on, and what `ditto eval` asks first.")
