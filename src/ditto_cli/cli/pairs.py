"""The given pairs of a folder: `ditto demos pairs`, and the picks of `ditto eval --judge me` that are kept as such."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.context import confirm, in_terminal
from ditto_cli.cli.editor import edited
from ditto_cli.cli.folder import say_skipped, warn_of_pairs
from ditto_cli.cli.render import print_json, print_table, say
from ditto_cli.config import PAIRS_FILE, read_folder_file
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder import pair_line, pair_lines, read_pairs
from ditto_cli.demonstrations.redaction import redactor_for
from ditto_cli.errors import InputError
from ditto_cli.evaluation.judges.by_person import PERSON
from ditto_cli.shown import shorten
from ditto_cli.store import append_line, write_text

if TYPE_CHECKING:
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.evaluation.types import Judge


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
        if before is None:
            raise InputError(f"{folder / PAIRS_FILE} has no pair in line {line}.")
        if remove is not None:
            _replace(folder, line, before, [])
        else:
            _edit(folder, line, before)
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


def _edit(folder: Path, line: int, before: str) -> None:
    """Let the user edit the preferred text of a line's pair."""
    found = next((pair for pair in read_pairs(folder)[0] if pair.id == f"{PAIRS_FILE}#{line}"), None)
    if found is None:
        raise InputError(
            f"Line {line} of {PAIRS_FILE} is no pair that can be used: edit the file itself, or remove it."
        )
    with edited(found.chosen + "\n", suffix=".txt") as raw:
        chosen = normalise_text(raw.decode("utf-8", errors="replace"))
        if not chosen or chosen == found.rejected:
            raise InputError("Nothing is changed: the text is empty, or the same as the other one.")
        _replace(folder, line, before, [pair_line(found.prompt, chosen, found.rejected)])


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


def keep_picks(judge: Judge, findings: Findings, others: Collection[str], folder: Path) -> None:
    """Keep what a person picked as pairs, if she says yes.

    Not what `others`, other adapters, wrote, nor for prompts of texts kept back.
    """
    if judge.name != PERSON or not in_terminal():
        return
    picked = []
    for judgement in findings.judgements:
        pair = judgement.pair
        sides = (pair.first, pair.second) if judgement.score == 1 else (pair.second, pair.first)
        is_clear = judgement.score in (0.0, 1.0) and pair.prompt.source != "held_out"
        if is_clear and not any(side.contestant in others for side in sides):
            picked.append((pair.prompt.prompt, sides[0].text, sides[1].text))
    if picked and confirm(f"Keep these {len(picked)} picks in {folder / PAIRS_FILE}, to learn from?", ""):
        num = sum(keep_pair(folder, *texts) for texts in picked)
        say(f"New pairs: {num}. To learn from them: ditto train {folder}")
