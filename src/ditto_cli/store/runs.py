"""A training that is not finished: its checkpoints, and the stages that it has finished, until all is published.

    <adapter>/run/generation/<stage>/          finished stages; the folder becomes the next generation as it is
    <adapter>/run/checkpoints/000007/          policy.safetensors, optimizer.safetensors, and last state.json

A checkpoint counts when its state.json is there and every file is what its digest says; else the one before is taken.
The demonstrations are not in it: they are read again from the user's folder, and their keyed hashes tell if they are
the same. What the model sampled is in it, as token ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from ditto_cli.config import Settings
from ditto_cli.errors import DamagedError, DiskError
from ditto_cli.store import files
from ditto_cli.store.generations import StagedGeneration, check_file
from ditto_cli.store.records import (
    SCHEMA_VERSION,
    AdapterRecord,
    BaseIdentity,
    FileDigest,
    Sha256,
    StageName,
    StageRecord,
    StoredDocument,
    UtcTime,
    read_document,
    seal,
)

RUN_FOLDER = "run"
STATE_FILE = "state.json"
STAGES_FOLDER = "generation"
NUM_KEPT_CHECKPOINTS = 2


class RunIdentity(StoredDocument):
    """All that decides what a training computes: only a run with the same identity may go on from a checkpoint."""

    settings: Settings
    base: BaseIdentity
    quantize: str
    device: str
    demonstrations: list[Sha256]
    watch_prompt: Sha256
    versions: dict[str, str]

    def difference(self, other: RunIdentity) -> str | None:
        """In words, what of `other` is not as in this one; None if they are the same."""
        if self.demonstrations != other.demonstrations or self.watch_prompt != other.watch_prompt:
            return "the texts or prompts changed"
        if self.settings != other.settings:
            mine, theirs = _flat(self.settings.model_dump()), _flat(other.settings.model_dump())
            return f"the settings changed ({', '.join(key for key in mine if mine[key] != theirs[key])})"
        if self.base != other.base or self.quantize != other.quantize:
            return "the base changed"
        if self.device != other.device:
            return f"it ran on {self.device}, and this is {other.device}"
        return None if self.versions == other.versions else "the installed packages changed"


class SampleState(StoredDocument):
    """One sampled completion; `demonstration` counts the demonstrations from 0."""

    demonstration: int = Field(ge=0)
    round: int = Field(ge=0)
    index: int = Field(ge=0)
    token_ids: list[int]
    ended: bool
    reference_logp: float


class StepState(StoredDocument):
    """The figures of one update."""

    values: dict[str, float]
    kinds: dict[str, int]


class LookState(StoredDocument):
    """What the selector of the published stage saw in one stage."""

    metrics: dict[str, float]
    warnings: list[str]
    values: list[float]


class RunState(StoredDocument):
    """Where a training stands.

    The rounds that are finished are the stages behind SFT; `samples` may hold one round more, which is then the one in
    progress, with its updates so far in `steps`.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    identity: RunIdentity
    begun: UtcTime
    seconds: float
    base_sample: str
    stages: list[StageRecord] = Field(min_length=1)
    looks: dict[StageName, LookState] = Field({})
    own_logps: list[float] = Field([], description="of the demonstrations under the reference; empty before round 0")
    pair_logps: list[float] = Field([], description="of both sides of each given pair, likewise")
    samples: list[SampleState] = Field([])
    steps: list[StepState] = Field([])
    files: dict[str, FileDigest] = Field({})


class UnfinishedRun:
    """The one training of an adapter that is in progress or was interrupted.

    Attributes:
        key: the store's secret, that demonstrations are hashed with.
        generation: the finished stages.
    """

    def __init__(self, adapter: Path, key: bytes) -> None:
        self.key = key
        self._adapter = adapter
        self._folder = adapter / RUN_FOLDER
        self._checkpoints = self._folder / "checkpoints"
        self.generation = StagedGeneration(adapter, self._folder / STAGES_FOLDER)

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is any, whole or not."""
        return bool(files.list_numbered(self._checkpoints))

    def newest(self) -> RunState | None:
        """The newest checkpoint that is whole, with its stages taken over; None where there is none."""
        damaged: list[Path] = []
        for folder in reversed(files.list_numbered(self._checkpoints)):
            try:
                state = read_document(folder / STATE_FILE, RunState)
                for name, digest in state.files.items():
                    check_file(folder / name, digest)
                self.generation.adopt({stage.stage: stage.files for stage in state.stages})
            except DamagedError:  # what the disk refuses may be there again at the next try
                damaged.append(folder)
                continue
            for later in damaged:  # so that it is not tried again
                files.remove_tree(later)
            return state
        return None

    @property
    def newest_folder(self) -> Path:
        """Where the newest checkpoint lies; there is one."""
        return files.list_numbered(self._checkpoints)[-1]

    def save(self, state: RunState, contents: Mapping[str, bytes]) -> None:
        """Write a checkpoint, durably, and remove those older than the one before.

        Args:
            state: where the run stands; digests of all files are filled in here.
            contents: file name -> content.

        Raises:
            DiskError: the disk refused; the checkpoints before are as they were.
        """
        before = files.list_numbered(self._checkpoints)
        folder = files.next_numbered(self._checkpoints)
        stages = [stage.model_copy(update={"files": self.generation.digests[stage.stage]}) for stage in state.stages]
        digests = {name: FileDigest.of(data) for name, data in contents.items()}
        stored = state.model_copy(update={"stages": stages, "files": digests})
        files.write_folder(folder, {**contents, STATE_FILE: seal(stored)})
        for old in before[: 1 - NUM_KEPT_CHECKPOINTS]:
            with suppress(DiskError):  # goes after the next one
                files.remove_tree(old)

    def start_over(self) -> None:
        """Remove all that is there of the run."""
        self.generation = StagedGeneration(self._adapter, self._folder / STAGES_FOLDER)
        files.remove_tree(self._folder)

    def publish(self, record: AdapterRecord) -> AdapterRecord:
        """Make the finished stages the adapter's current generation; the checkpoints go.

        Raises:
            DiskError: the disk refused; the adapter and the run are as they were, unless only the last flush failed.
        """
        stored = self.generation.publish(record)
        with suppress(DiskError):  # the next training finds checkpoints without any stage, and removes them
            self.start_over()
        return stored

    def remove_empty_folders(self) -> None:
        """Leave no folder behind that nothing was put into."""
        for folder in (self._folder / STAGES_FOLDER, self._checkpoints, self._folder):
            files.remove_empty_folder(folder)


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
