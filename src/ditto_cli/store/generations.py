"""A training that is not finished -> the next generation of an adapter, in one step that either happens or does not.

    <adapter>/generations/000002/record.json   what it is
    <adapter>/generations/000002/<stage>/      adapter_config.json, adapter_model.safetensors: PEFT's own names
    <adapter>/run/generation/<stage>/          finished stages of a run; the folder becomes the next generation as it is
    <adapter>/run/checkpoints/000007/          adapter_model.safetensors, optimizer.safetensors, and last state.json

A generation gets its number only when it is complete, and is never changed afterwards: the newest number is the one in
use.

A checkpoint counts when its state.json is there and every file is what its digest says; else the one before is taken.
The demonstrations are not in it: they are read again from the user's folder, and their keyed hashes tell if they are
the same. What the model sampled is in it, as token ids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field

from ditto_cli.config import Settings
from ditto_cli.errors import DamagedError, DiskError
from ditto_cli.store import files
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
    damaged,
    missing_file,
    read_document,
    seal,
)
from ditto_cli.types import StageFigures

RECORD_FILE = "record.json"
GENERATIONS_FOLDER = "generations"
STAGE_FILES = ("adapter_config.json", "adapter_model.safetensors")
NUM_KEPT_GENERATIONS = 2  # the one before may still be read by a command that started earlier
RUN_FOLDER = "run"
STATE_FILE = "state.json"
STAGES_FOLDER = "generation"
CHECKPOINTS_FOLDER = "checkpoints"
NUM_KEPT_CHECKPOINTS = 2


def current_generation(adapter: Path) -> Path | None:
    """Folder of the generation in use; None when there is none."""
    generations = files.list_numbered(adapter / GENERATIONS_FOLDER)
    return generations[-1] if generations else None


def check_file(path: Path, digest: FileDigest) -> None:
    """Accept a file whose content is what its record says; DiskError: it is missing, or was changed since."""
    if path.name not in files.list_folder(path.parent):
        raise missing_file(path)
    if FileDigest.of(files.read_bytes(path)) != digest:
        raise damaged(path, "its content is not what was written")


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
    looks: dict[StageName, StageFigures] = Field({})
    own_logps: list[float] = Field([], description="of the demonstrations under the reference; empty before round 0")
    pair_logps: list[float] = Field([], description="of both sides of each given pair, likewise")
    samples: list[SampleState] = Field([])
    steps: list[StepState] = Field([])
    files: dict[str, FileDigest] = Field({})


class UnfinishedRun:
    """The one training of an adapter that is in progress or was interrupted; its stages become the next generation.

    Attributes:
        digests: stage -> file name -> digest, of the stages that are safely on the disk, in the order of their coming.
    """

    def __init__(self, adapter: Path, key: bytes) -> None:
        self.key = key
        self._adapter = adapter
        self._folder = adapter / RUN_FOLDER
        self._stages = self._folder / STAGES_FOLDER
        self._checkpoints = self._folder / CHECKPOINTS_FOLDER
        self.digests: dict[str, dict[str, FileDigest]] = {}

    @property
    def has_checkpoints(self) -> bool:
        """Whether there is any, whole or not."""
        return bool(files.list_numbered(self._checkpoints))

    @property
    def newest_folder(self) -> Path:
        """Where the newest checkpoint lies; there is one."""
        return files.list_numbered(self._checkpoints)[-1]

    def stage_folder(self, stage: str) -> Path:
        """Where a stage lies until all of it is published."""
        return self._stages / stage

    def add_stage(self, stage: str, contents: Mapping[str, bytes]) -> None:
        """Write one finished stage, durably: PEFT's file names and what is in them. The stages before it stay."""
        assert stage not in self.digests, f"stage {stage} was added before"
        assert set(STAGE_FILES) <= set(contents), f"stage {stage} needs {STAGE_FILES}"
        files.write_folder(self._stages / stage, contents)
        self.digests[stage] = {name: FileDigest.of(data) for name, data in contents.items()}

    def newest(self) -> RunState | None:
        """The newest checkpoint that is whole, with its stages taken over; None where there is none.

        What was written behind it, damaged checkpoints and later stages, is removed.
        """
        damaged: list[Path] = []
        for folder in reversed(files.list_numbered(self._checkpoints)):
            try:
                state = read_document(folder / STATE_FILE, RunState)
                digests = {stage.stage: stage.files for stage in state.stages}
                for name, digest in state.files.items():
                    check_file(folder / name, digest)
                self._check_stages(digests)
            except DamagedError:  # what the disk refuses may be there again at the next try
                damaged.append(folder)
                continue
            later = [self._stages / name for name in files.list_folder(self._stages) if name not in digests]
            for path in (*damaged, *later):
                files.remove_tree(path)
            self.digests = digests
            return state
        return None

    def save(self, state: RunState, contents: Mapping[str, bytes]) -> None:
        """Write a checkpoint of named files, durably, and remove those older than the one before.

        Digests of all files are filled in in the state. DiskError: the disk refused; the checkpoints before are as they
        were.
        """
        before = files.list_numbered(self._checkpoints)
        folder = files.next_numbered(self._checkpoints)
        digests = {name: FileDigest.of(data) for name, data in contents.items()}
        stored = state.model_copy(update={"stages": self._with_digests(state.stages), "files": digests})
        files.write_folder(folder, {**contents, STATE_FILE: seal(stored)})
        for old in before[: 1 - NUM_KEPT_CHECKPOINTS]:
            with suppress(DiskError):  # goes after the next one
                files.remove_tree(old)

    def start_over(self) -> None:
        """Remove all that is there of the run."""
        self.digests = {}
        files.remove_tree(self._folder)

    def publish(self, record: AdapterRecord) -> AdapterRecord:
        """Make the stages the adapter's current generation; checkpoints, and generations older than the one before, go.

        Returns the record as it is stored, with the digests of all files. Where the disk refuses, the adapter is what
        it was, unless only the last flush failed, when it is already the new one.
        """
        assert set(record.stage_names) == set(self.digests), "the record must list the stages that were added"
        self._check_stages(self.digests)  # what a disk or another process did to them since is found here
        stored = record.model_copy(update={"stages": self._with_digests(record.stages)})
        files.write_bytes(self._stages / RECORD_FILE, seal(stored))
        generations = self._adapter / GENERATIONS_FOLDER
        files.make_private_folder(generations)
        before = files.list_numbered(generations)
        files.move(self._stages, files.next_numbered(generations))
        # The new generation is published; what cannot be removed now goes after the next one.
        with suppress(DiskError):
            for old in before[: 1 - NUM_KEPT_GENERATIONS]:
                files.remove_tree(old)
            self.start_over()
        return stored

    def _check_stages(self, digests: Mapping[str, Mapping[str, FileDigest]]) -> None:
        for stage, contents in digests.items():
            for name, digest in contents.items():
                check_file(self._stages / stage / name, digest)

    def _with_digests(self, stages: Sequence[StageRecord]) -> list[StageRecord]:
        return [stage.model_copy(update={"files": self.digests[stage.stage]}) for stage in stages]


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
