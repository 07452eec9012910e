"""Writings that were made before -> not made again, so that a second judge or a second look costs no sampling.

A file of writings is named by a keyed digest of all that they depend on. It lies with the adapter that wrote, and is as
private. It carries the marks of that adapter and of the one for whose evaluation it was made (see `traces`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ditto_cli.evaluation.types import Writing
from ditto_cli.store import keyed_hash, read_bytes, write_text

if TYPE_CHECKING:  # they import torch, which whoever looks for marks need not load
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan

WRITINGS_PREFIX = "writings-"
_DIGEST_CHARACTERS = 24


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

    Args:
        folder: where the files lie.
        key: the store's secret.
        base: digests and precision of the base in memory, in words.
        marks: of the adapters whose texts, or answers to whose prompts, are kept here.
    """

    def __init__(self, folder: Path, *, key: bytes, base: str, marks: Sequence[str] = ()) -> None:
        self._folder = folder
        self._marks = sorted(set(marks))
        self._key = key
        self._base = base

    def get(self, contestant: Contestant, weights: str, plan: WritingPlan) -> list[Writing] | None:
        """Writings of an earlier evaluation; None where there are none, or where the file is damaged."""
        path = self._path(contestant, weights, plan)
        if not path.exists():
            return None
        stored = _parsed(read_bytes(path))
        if stored is None:
            return None
        return [Writing(contestant=contestant.title, **row.model_dump()) for row in stored.writings]

    def put(self, contestant: Contestant, weights: str, plan: WritingPlan, writings: list[Writing]) -> None:
        """Keep writings."""
        rows = [
            _StoredWriting.model_validate({k: v for k, v in asdict(w).items() if k != "contestant"}) for w in writings
        ]
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


def marks_of(data: bytes) -> list[str] | None:
    """The marks in a file of writings; None where it is damaged, or of an older ditto that set none."""
    stored = _parsed(data)
    return None if stored is None else stored.marks


def _parsed(data: bytes) -> _StoredWritings | None:
    try:
        return _StoredWritings.model_validate(json.loads(data))
    except (ValueError, RecursionError, ValidationError):
        return None
