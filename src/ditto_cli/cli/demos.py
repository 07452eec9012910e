"""`ditto demos`: add, show, edit and remove demonstrations and pairs; the conversation of `ditto init` about them.

What other commands bring, as an edited sample, is kept from here too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from shutil import which

from ditto_cli.cli.context import confirm, folder_base
from ditto_cli.cli.render import ask, print_json, print_table, say, warn
from ditto_cli.cli.texts import (
    audit_texts,
    place_of,
    say_skipped,
    show_audit,
    view_folder,
    warn_of_pairs,
    write_new_texts,
)
from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PAIRS_FILE, PROMPT_FILE, FolderFile, read_folder_file
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder import (
    MANY_TEXTS,
    TEMPLATE,
    is_unedited_template,
    pair_line,
    pair_lines,
    read_folder,
    read_held_out,
    read_pairs,
    take_in,
)
from ditto_cli.demonstrations.posts import read_markdown, read_plain
from ditto_cli.demonstrations.prompts import attach_stored_prompts
from ditto_cli.demonstrations.redaction import redactor_for
from ditto_cli.demonstrations.sources import file_names, read_source, read_sources
from ditto_cli.errors import InputError
from ditto_cli.shown import shorten
from ditto_cli.store import append_line, remove_tree, write_text
from ditto_cli.types import Reading, SourceText

_USUAL_EDITORS = ("sensible-editor", "nano", "vim", "vi")
_TEXT_SUFFIXES = frozenset({".md", ".txt", ".eml", ".html", ".htm", ".csv", ".tsv", ".json", ".jsonl", ".yaml"})


def run_add(folder: Path, source: str | None, prompt: str | None) -> None:
    """Add the texts of a file, of standard input (`-`), or one that is written in an editor."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file: give the folder with the texts.")
    if source == "-" or (source is None and not sys.stdin.isatty()):
        reading = _name_by_words(read_markdown("standard input", sys.stdin.buffer.read()))
    elif source is None:
        _write_in_editor(folder, prompt)
        return
    else:
        reading = read_sources([Path(source)], read_folder_file(folder).me)
    say_skipped(reading.skipped)
    if len(reading.texts) >= MANY_TEXTS:
        raise InputError(
            f"{source} holds {len(reading.texts):,} texts: choose among them with ditto init {folder} --from {source}."
        )
    say(add_texts(folder, reading.texts, prompt))


def add_texts(folder: Path, texts: tuple[SourceText, ...], prompt: str | None = None) -> str:
    """Write texts as files of a demonstrations folder; where they lie, a line each.

    `prompt` is what they answer, where that is not the texts' own.
    """
    settings = read_folder_file(folder)
    given = [text if prompt is None else replace(text, prompt=prompt) for text in texts]
    names = [*file_names(folder), *file_names(folder / HELD_OUT_FOLDER)]
    known = _texts_of(folder, settings)
    intake = take_in(given, known, names, num=None, redact=settings.redact, divide=False)
    write_new_texts(folder, intake.new)
    say_skipped(intake.left_out)
    lines = []
    for new in intake.new:
        has_prompt = new.long_prompt or new.content.startswith("---\nprompt:")
        missing = "" if has_prompt else "; it has no prompt yet: give one with --prompt, or `ditto init` finds one"
        lines.append(f"Added {folder / place_of(new)}{missing}.")
    return "\n".join(lines)


def keep_edited(raw: bytes, sample: str, prompt: str, folder: Path, adapter: str, writer: str | None = None) -> str:
    """Add what a person made of a sample to the texts, if it is hers by now; what came of it, in a line.

    No pair is made of what another adapter wrote: `ditto forget` would not find it here.
    """
    if not raw.strip():
        return "Not kept: it was left empty."
    (text,) = read_plain("the edited text", raw).texts
    if text.text == normalise_text(sample):
        return "Not kept: it was not changed, and a model's own text teaches it nothing."
    told = add_texts(folder, (replace(text, id="sample"),), prompt)
    if writer in (None, adapter) and keep_pair(folder, prompt, text.text, sample):
        told += f" Kept in {PAIRS_FILE} that you prefer it to what was written."
    return f"{told} To learn from it: ditto train {folder} --name {adapter}"


def _texts_of(folder: Path, settings: FolderFile) -> list[SourceText]:
    """The texts that a folder holds; none where it holds nothing usable yet."""
    try:
        return [*read_folder(folder, settings).texts, *read_held_out(folder, settings).texts]
    except InputError:
        return []


def _write_in_editor(folder: Path, prompt: str | None = None) -> None:
    """Let the user write a text in an editor, and add it."""
    with edited(TEMPLATE) as raw:
        if is_unedited_template(raw.decode("utf-8", errors="replace")):
            raise InputError("Nothing was written, so nothing is added.")
        say(add_texts(folder, _name_by_words(read_markdown("the text", raw)).texts, prompt))


def run_list(folder: Path, *, as_json: bool) -> None:
    """The demonstrations with the audit."""
    settings = read_folder_file(folder)
    reading, texts = view_folder(folder, settings)
    demonstrations, _ = attach_stored_prompts(folder, texts, settings)
    rows = audit_texts(texts, {d.id: d.prompt for d in demonstrations}, folder_base(settings))
    if as_json:
        print_json({"folder": str(folder), "texts": [row.as_json() for row in rows]})
    else:
        show_audit(rows, f"{len(reading.texts)} texts in {folder}")
        if pairs := reading.pairs:
            say(f"Pairs beside them: {len(pairs)}; see ditto demos pairs {folder}.")


def run_edit(folder: Path, name: str) -> None:
    """Open a demonstration's file in the user's editor, and say whether it can still be read."""
    path = _file_of(folder, name)
    if path.suffix.lower() not in _TEXT_SUFFIXES:
        raise InputError(f"{path.name} is not a plain text file: open it in the program that wrote it.")
    edit_file(path)
    read_folder(folder, read_folder_file(folder))
    say(f"{path} is changed. What was trained before does not know it: ditto train {folder}")


def run_rm(folder: Path, name: str, *, sure: bool) -> None:
    """Remove a demonstration's file."""
    path = _file_of(folder, name)
    identity = path.relative_to(folder).as_posix()
    try:
        num = sum(isinstance(item, SourceText) for item in read_source(path, identity))
    except InputError:
        num = 1  # what cannot be read may go
    if num > 1:
        raise InputError(f"{identity} holds {num} texts: take one out of it yourself, or delete the file yourself.")
    refusal = f"Removing {identity} cannot be undone: add --yes to do it without being asked."
    if not sure and not confirm(f"Remove {path} for good?", refusal):
        raise InputError("Nothing was removed.")
    remove_tree(path)
    stored = f" Its prompt stays in {PROMPT_FILE}: delete it there." if (folder / PROMPT_FILE).exists() else ""
    say(f"Removed {path}.{stored} An adapter that learnt it still knows it: train anew, or ditto forget NAME.")


def _file_of(folder: Path, name: str) -> Path:
    """The file of a text, by its name."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the one with the texts.")
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in (*folder.iterdir(), *(folder / HELD_OUT_FOLDER).glob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name not in (FOLDER_FILE, PROMPT_FILE, PAIRS_FILE)
    )
    if name.removeprefix("./") not in files:
        raise InputError(f"{folder} has no text {name}; it has {', '.join(files[:9]) or 'none'}.")
    return folder / name


_COMMANDS = "w: write a text in your editor; p: paste one; Enter: done."


def converse(folder: Path) -> None:
    """Let the user write and paste texts one by one, until an empty line or the end of input."""
    say(_COMMANDS)
    while True:
        num = len(_texts_of(folder, read_folder_file(folder)))
        try:
            command = ask(f"{num} texts> ").strip().lower()
        except EOFError:
            return
        try:
            if not command:
                return
            if command == "w":
                _write_in_editor(folder)
            elif command == "p":
                _paste(folder)
            else:
                warn(_COMMANDS)
        except InputError as error:
            warn(str(error))


def _paste(folder: Path) -> None:
    """Let the user paste a text and say what it answers, and add it."""
    say("Paste the text; a line with only . ends it.")
    lines: list[str] = []
    with suppress(EOFError):
        while (line := ask("")).strip() != ".":
            lines.append(line)
    reading = _name_by_words(read_markdown("the text", "\n".join(lines).encode("utf-8", errors="replace")))
    prompt = ""
    with suppress(EOFError):
        prompt = ask("What does it answer, as in: Write an email to Bo about the hens (Enter: proposed later)? ")
    say(add_texts(folder, reading.texts, prompt.strip() or None))


def _name_by_words(reading: Reading) -> Reading:
    """The texts, each named by its first words, which become its file's name; they had none."""
    texts = [replace(text, id=" ".join(re.findall(r"\w+", text.text)[:5]) or text.id) for text in reading.texts]
    return replace(reading, texts=tuple(texts))


def run_pairs(folder: Path, *, edit: int | None, remove: int | None, as_json: bool) -> None:
    """Show the pairs, or edit or remove the one of a line."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give the one with the texts.")
    if edit is not None and remove is not None:
        raise InputError("Give --edit or --remove, not both.")
    pairs, skipped = read_pairs(folder, redactor_for(read_folder_file(folder).redact, []))
    line = edit if remove is None else remove
    if line is not None:
        before = pair_lines(folder).get(line)
        found = next((pair for pair in read_pairs(folder)[0] if pair.id == f"{PAIRS_FILE}#{line}"), None)
        if before is not None and remove is not None:
            _replace(folder, line, before, [])
        elif before is None or found is None:
            raise InputError(f"{folder / PAIRS_FILE} has no pair in line {line} that can be used.")
        else:
            with edited(found.chosen + "\n", suffix=".txt") as raw:
                chosen = normalise_text(raw.decode("utf-8", errors="replace"))
                if not chosen or chosen == found.rejected:
                    raise InputError("Nothing is changed: the text is empty, or the same as the other one.")
                _replace(folder, line, before, [pair_line(found.prompt, chosen, found.rejected)])
        say(f"{folder / PAIRS_FILE} is changed. What was trained before does not know it: ditto train {folder}")
        return
    if as_json:
        print_json({"folder": str(folder), "pairs": [asdict(pair) for pair in pairs]})
    else:
        rows = [
            (pair.id.partition("#")[2], *(shorten(text, 40) for text in (pair.prompt, pair.chosen, pair.rejected)))
            for pair in pairs
        ]
        print_table(f"Pairs in {folder}: {len(pairs)}", ("line", "prompt", "preferred", "over"), rows)
    say_skipped(skipped)
    warn_of_pairs(pairs)


def _replace(folder: Path, line: int, before: str, after: list[str]) -> None:
    """Put other lines in the place of one; those around it, empty ones too, stay as they are now."""
    lines = pair_lines(folder)  # anew: while an editor was open, pairs may have been kept
    if lines.get(line) != before:
        raise InputError(f"{PAIRS_FILE} was changed meanwhile, and line {line} is another: try again.")
    rows = [lines.get(number, "") for number in range(1, max(lines) + 1)]
    rows[line - 1 : line] = after
    write_text(folder / PAIRS_FILE, "".join(f"{row}\n" for row in rows))


def keep_pair(folder: Path, prompt: str, chosen: str, rejected: str) -> bool:
    """Add a pair to a folder's pairs.jsonl; False where it is there already, or both sides are the same.

    It is redacted as a text that is added to the folder.
    """
    redactor = redactor_for(read_folder_file(folder).redact, [chosen])
    clean = redactor.redact if redactor else str
    prompt, chosen, rejected = (clean(normalise_text(text)) for text in (prompt, chosen, rejected))
    is_known = any(
        (pair.prompt, pair.chosen, pair.rejected) == (prompt, chosen, rejected) for pair in read_pairs(folder)[0]
    )
    if is_known or not chosen or not rejected or chosen == rejected:
        return False
    append_line(folder / PAIRS_FILE, pair_line(prompt, chosen, rejected))
    return True


def edit_file(path: Path) -> None:
    """Open a file in $VISUAL, $EDITOR or a usual editor, and wait until it is closed."""
    usual = next(filter(which, _USUAL_EDITORS), None)
    editor = os.environ.get("VISUAL", "").strip() or os.environ.get("EDITOR", "").strip() or usual
    if editor is None:
        raise InputError("No editor is known: set EDITOR to one, as in EDITOR=nano, or give the text as a file.")
    # By the shell, as git does, for the variable may hold options; what the shell has to say of it goes to stderr.
    done = subprocess.run(["sh", "-c", f'{editor} "$1"', "sh", str(path)], check=False)
    if done.returncode != 0:
        raise InputError(
            f"The editor {editor} ended with an error ({done.returncode}), so nothing was taken from it: set EDITOR to "
            "one that works."
        )


@contextmanager
def edited(text: str, *, suffix: str = ".md") -> Iterator[bytes]:
    """What the user makes of a text, for the block to use; it is lost only after the block has ended well.

    While it is edited it lies in a private folder. Where the block fails, it stays there, and a note says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="ditto-"))  # mode 0700
    path = folder / f"text{suffix}"
    write_text(path, text)
    try:
        edit_file(path)
        yield path.read_bytes()
    except BaseException:
        if path.read_bytes() == text.encode():
            remove_tree(folder)
        else:
            warn(f"What you wrote is kept in {path}.")
        raise
    remove_tree(folder)
