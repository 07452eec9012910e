"""Whose texts a file of an evaluation holds -> that file found again, when a person wants to be forgotten.

Every adapter that took part in an evaluation has a random mark in its evaluation folder, which stays with it through
renaming and new trainings. Writings, answers and reports carry the marks of the adapters whose texts they hold, so
that they are found in the folders of other adapters, too. Knows nothing of names.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.evaluation.blind_pairs import PAIRS_FILE, marks_in_pairs
from ditto_cli.evaluation.judges.ledger import LEDGER_FILE, forget_answers
from ditto_cli.evaluation.writings import WRITINGS_PREFIX, marks_of
from ditto_cli.store import make_exclusively, read_bytes, remove_tree, write_text
from ditto_cli.store.files import TEMPORARY_PREFIX, list_folder

MARK_FILE = "mark"
_MARK = re.compile(r"[0-9a-f]{32}")
_COMMENT = re.compile(r"<!-- texts of:((?: [0-9a-f]{32})*) -->\s*$")


@dataclass(frozen=True)
class Removed:
    """What was taken out of an evaluation folder."""

    num_files: int = 0
    num_bytes: int = 0
    num_answers: int = 0

    def __add__(self, other: Removed) -> Removed:
        return Removed(
            self.num_files + other.num_files,
            self.num_bytes + other.num_bytes,
            self.num_answers + other.num_answers,
        )


def mark_of(folder: Path) -> str:
    """The mark of the adapter whose evaluation folder this is; made on first use."""
    mark = known_mark(folder)
    if mark is None:
        mark = secrets.token_hex(16)
        if not make_exclusively(folder / MARK_FILE, f"{mark}\n".encode()):
            quicker = known_mark(folder)  # of another process; None where the file is damaged
            if quicker is not None:
                return quicker
            write_text(folder / MARK_FILE, mark + "\n")
    return mark


def known_mark(folder: Path) -> str | None:
    """The mark in a folder; None where there is none, or a damaged one."""
    if MARK_FILE not in list_folder(folder):
        return None
    found = _MARK.fullmatch(read_bytes(folder / MARK_FILE).decode("ascii", "replace").strip())
    return found[0] if found else None


def marked_page(page: str, marks: Iterable[str]) -> str:
    """A report's page that says, in a comment at its end, whose texts it holds."""
    return f"{page.rstrip()}\n<!-- texts of:{''.join(f' {mark}' for mark in sorted(set(marks)))} -->\n"


def forget_in(folder: Path, name: str, mark: str | None) -> Removed:
    """Remove from another adapter's evaluation folder what holds texts of the adapter with this mark and name.

    Files of a ditto that set no marks, and damaged ones, cannot be told apart: such writings are removed, since they
    can be made again, and such reports where they name the adapter.
    """
    removed = Removed()
    for file in list_folder(folder):
        path = folder / file
        if file == PAIRS_FILE or file.startswith(WRITINGS_PREFIX):
            marks = (marks_in_pairs if file == PAIRS_FILE else marks_of)(read_bytes(path))
            doomed = marks is None or mark in marks
        elif file.startswith(TEMPORARY_PREFIX):  # what a killed command left of any of them
            doomed = True
        elif file.endswith(".html"):
            page = read_bytes(path).decode("utf-8", "replace")
            comment = _COMMENT.search(page)
            doomed = mark in comment[1].split() if comment else _names(page, name)
        else:
            if LEDGER_FILE.fullmatch(file) and mark is not None:
                removed += Removed(num_answers=forget_answers(path, mark))
            continue
        if doomed:
            removed += Removed(1, path.lstat().st_size)
            remove_tree(path)
    return removed


def _names(page: str, name: str) -> bool:
    return re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", page) is not None
