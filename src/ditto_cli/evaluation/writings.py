"""Writings that were made before -> not made again, so that a second judge or a second look costs no sampling.

A file of writings is named by a keyed digest of all that they depend on. It lies with the adapter, and is as private.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ditto_cli.evaluation.contestants import Contestant, WritingPlan
from ditto_cli.evaluation.types import Writing
from ditto_cli.store import keyed_hash, read_bytes, write_text

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

    schema_version: Literal[1] = 1
    writings: list[_StoredWriting]


class WritingStore:
    """Writings of contestants in one folder, by what they depend on.

    Args:
        folder: where the files lie.
        key: the store's secret.
        base: digests and precision of the base in memory, in words.
    """

    def __init__(self, folder: Path, *, key: bytes, base: str) -> None:
        self._folder = folder
        self._key = key
        self._base = base

    def get(self, contestant: Contestant, weights: str, plan: WritingPlan) -> list[Writing] | None:
        """Writings of an earlier evaluation; None where there are none, or where the file is damaged."""
        path = self._path(contestant, weights, plan)
        if not path.exists():
            return None
        try:
            stored = _StoredWritings.model_validate(json.loads(read_bytes(path)))
        except (ValueError, ValidationError):
            return None
        return [Writing(contestant=contestant.title, **row.model_dump()) for row in stored.writings]

    def put(self, contestant: Contestant, weights: str, plan: WritingPlan, writings: list[Writing]) -> None:
        """Keep writings.

        Raises:
            DiskError: the disk refused.
        """
        rows = [
            _StoredWriting.model_validate({k: v for k, v in asdict(w).items() if k != "contestant"}) for w in writings
        ]
        write_text(self._path(contestant, weights, plan), _StoredWritings(writings=rows).model_dump_json() + "\n")

    def _path(self, contestant: Contestant, weights: str, plan: WritingPlan) -> Path:
        """Every word that the writings depend on goes into the name, so a changed one is another file."""
        parts = {
            "base": self._base,
            "weights": weights,
            "shots": [[shot.prompt, shot.completion] for shot in contestant.shots],
            "plan": asdict(plan),
        }
        digest = keyed_hash(self._key, json.dumps(parts, sort_keys=True))[:_DIGEST_CHARACTERS]
        return self._folder / f"writings-{digest}.json"
