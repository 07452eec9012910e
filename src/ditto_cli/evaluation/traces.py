"""What is kept of evaluations: writings, so that nothing is sampled twice, and whose texts every file holds.

A file of writings is named by a keyed digest of all that they depend on, lies with the adapter that wrote, and is as
private. Every adapter that took part in an evaluation has a random mark in its evaluation folder, which stays with it
through renaming and new trainings. Writings, answers and reports carry the marks of the adapters whose texts they hold,
so that they are found in the folders of other adapters, too, when a person wants to be forgotten. Knows nothing of
names.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from ditto_cli.evaluation.judges import LEDGER_FILE, forget_answers
from ditto_cli.evaluation.judges.by_person import BLIND_PAIRS_FILE, StoredPairs
from ditto_cli.evaluation.types import Writing, parsed
from ditto_cli.store import keyed_hash, make_exclusively, read_bytes, remove_tree, write_text
from ditto_cli.store.files import TEMPORARY_PREFIX, list_folder

if TYPE_CHECKING:  # they import torch, which whoever looks for marks need not load
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan

MARK_FILE = "mark"
WRITINGS_PREFIX = "writings-"
_DIGEST_CHARACTERS = 24
_MARK = re.compile(r"[0-9a-f]{32}")
_COMMENT = re.compile(r"<!-- texts of:((?: [0-9a-f]{32})*) -->\s*$")


class _StoredWriting(BaseModel):
    model_config = ConfigDict(extra="forbid")

    prompt_id: str
    index: int
    text: str
    num_tokens: int
    ended: bool


class _StoredWritings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[2] = 2
    marks: list[str] = Field(description="of whoever wrote, and of whom it was written for")
    writings: list[_StoredWriting]


class WritingStore:
    """Writings of contestants in one folder, by what they depend on.

    `base` is digests and precision of the base in memory, in words; `marks` are of the adapters whose texts, or answers
    to whose prompts, are kept here.
    """

    def __init__(self, folder: Path, *, key: bytes, base: str, marks: Sequence[str] = ()) -> None:
        self._folder = folder
        self._marks = sorted(set(marks))
        self._key = key
        self._base = base

    def get(self, contestant: Contestant, weights: str, plan: WritingPlan) -> list[Writing] | None:
        """Writings of an earlier evaluation; None where there are none, or where the file is damaged."""
        path = self._path(contestant, weights, plan)
        stored = parsed(_StoredWritings, read_bytes(path)) if path.exists() else None
        return None if stored is None else [Writing(contestant.title, **row.model_dump()) for row in stored.writings]

    def put(self, contestant: Contestant, weights: str, plan: WritingPlan, writings: list[Writing]) -> None:
        """Keep writings."""
        rows = [_StoredWriting.model_validate(writing, from_attributes=True) for writing in writings]
        stored = _StoredWritings(marks=self._marks, writings=rows)
        write_text(self._path(contestant, weights, plan), stored.model_dump_json() + "\n")

    def _path(self, contestant: Contestant, weights: str, plan: WritingPlan) -> Path:
        """Every word that the writings depend on goes into the name, so a changed one is another file."""
        parts = {
            "base": self._base,
            "weights": weights,
            "shots": [contestant.nearest, *([shot.prompt, shot.completion] for shot in contestant.shots)],
            "plan": asdict(plan),
        }
        digest = keyed_hash(self._key, json.dumps(parts, sort_keys=True))[:_DIGEST_CHARACTERS]
        return self._folder / f"{WRITINGS_PREFIX}{digest}.json"


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


def forget_in(folder: Path, name: str, mark: str | None) -> Counter[str]:
    """Remove from another adapter's evaluation folder what holds texts of the adapter with this mark and name.

    Files of a ditto that set no marks, and damaged ones, cannot be told apart: such writings are removed, since they
    can be made again, and such reports where they name the adapter. Returns how many `files`, their `bytes`, and how
    many `answers` of judges are gone.
    """
    removed = Counter[str]()
    for file in list_folder(folder):
        path = folder / file
        if file == BLIND_PAIRS_FILE:
            pairs = parsed(StoredPairs, read_bytes(path))
            doomed = pairs is None or mark in (pairs.own_mark, *pairs.marks.values())
        elif file.startswith(WRITINGS_PREFIX):
            stored = parsed(_StoredWritings, read_bytes(path))
            doomed = stored is None or mark in stored.marks
        elif file.startswith(TEMPORARY_PREFIX):  # what a killed command left of any of them
            doomed = True
        elif file.endswith(".html"):
            page = read_bytes(path).decode("utf-8", "replace")
            comment = _COMMENT.search(page)
            named = re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", page)
            doomed = mark in comment[1].split() if comment else named is not None
        else:
            if LEDGER_FILE.fullmatch(file) and mark is not None:
                removed["answers"] += forget_answers(path, mark)
            continue
        if doomed:
            removed.update(files=1, bytes=path.lstat().st_size)
            remove_tree(path)
    return removed
