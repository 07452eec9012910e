"""What is kept of an evaluation, and whose texts it holds.

All of it lies in the folder of the adapter that was evaluated, and is as private as its texts. A file of writings is
named by a keyed digest of all that they depend on, so that nothing is sampled twice. Writings, pairs and reports name
the other adapters whose texts they hold (`participants`), so that these are found when one of them is forgotten.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict

from ditto_cli.evaluation.eval_prompts import PROMPTS_FILE
from ditto_cli.evaluation.judgements import Writing, parse
from ditto_cli.evaluation.report import REPORT_DATA_FILE, REPORT_FILE, EvalReport
from ditto_cli.store import keyed_hash, read_bytes, remove_tree, write_text
from ditto_cli.store.files import TEMPORARY_PREFIX, list_folder

if TYPE_CHECKING:  # they import torch, which `ditto forget` need not load
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan

_DIGEST_CHARACTERS = 24


class _StoredWritings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[4] = 4
    participants: list[str]
    writings: list[Writing]


class _Participants(BaseModel):
    participants: list[str]


class WritingStore:
    """Writings of contestants in one folder, by what they depend on.

    `base` is digests and precision of the base in memory, in words.
    """

    def __init__(self, folder: Path, *, key: bytes, base: str) -> None:
        self._folder = folder
        self._key = key
        self._base = base

    def get(self, contestant: Contestant, weights: str, plan: WritingPlan) -> list[Writing] | None:
        """Writings of an earlier evaluation; None where there are none, or where the file is damaged."""
        path = self._path(contestant, weights, plan)
        stored = parse(_StoredWritings, read_bytes(path)) if path.exists() else None
        return None if stored is None else [replace(one, contestant=contestant.title) for one in stored.writings]

    def put(self, contestant: Contestant, weights: str, plan: WritingPlan, writings: list[Writing]) -> None:
        """Keep writings."""
        stored = _StoredWritings(participants=list(contestant.participants), writings=writings)
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
        return self._folder / f"writings-{digest}.json"


def keep_report(folder: Path, report: EvalReport, page: str) -> None:
    """Keep a report, as data and as a page, in the place of the one before, which stays where the disk refuses."""
    data = folder / REPORT_DATA_FILE
    before = _participants(folder, data.name) if data.exists() else None
    if before is None:  # of an earlier ditto: nobody knows whose texts it has
        remove_tree(folder / REPORT_FILE)
    # Until the new page is there, the data name those of the old one too.
    of_both = report.model_copy(update={"participants": sorted({*report.participants, *(before or ())})})
    write_text(data, of_both.model_dump_json(indent=2) + "\n")
    write_text(folder / REPORT_FILE, page)
    if of_both != report:
        write_text(data, report.model_dump_json(indent=2) + "\n")


def forget_in(folder: Path, name: str) -> Counter[str]:
    """Remove from another adapter's evaluation folder what holds texts of the adapter `name`.

    What is damaged, or of an earlier ditto, which named nobody, is removed too, since it can be made again. Returns how
    many `files` are gone, and their `bytes`.
    """
    files = list_folder(folder)
    known = {file: _participants(folder, file) for file in files}
    doomed = [file for file in files if (names := known[file]) is None or name in names]
    if REPORT_DATA_FILE in doomed or REPORT_DATA_FILE not in files:
        doomed = [file for file in files if file == REPORT_FILE or file in doomed]
    removed = Counter[str](files=len(doomed), bytes=sum((folder / file).lstat().st_size for file in doomed))
    for file in sorted(doomed, key=lambda file: file != REPORT_FILE):
        remove_tree(folder / file)
    return removed


def rename_in(folder: Path, name: str, names: Collection[str]) -> None:
    """Have another adapter's evaluation folder call the adapter `name` by all of `names`."""
    for file in list_folder(folder):
        if name in (known := _participants(folder, file) or ()):
            document = json.loads(read_bytes(folder / file))
            document["participants"] = sorted({*known} - {name} | {*names})
            write_text(folder / file, json.dumps(document, ensure_ascii=False) + "\n")


def _participants(folder: Path, file: str) -> Collection[str] | None:
    """The other adapters whose texts a file holds; None where that cannot be told."""
    if file.startswith(TEMPORARY_PREFIX):  # what a killed command left of any of them
        return None
    if not file.endswith(".json") or file == PROMPTS_FILE:
        return ()
    found = parse(_Participants, read_bytes(folder / file))
    return None if found is None else found.participants
