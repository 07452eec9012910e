"""Finished stages of a run -> the next generation of an adapter, in one step that either happens or does not.

    <adapter>/current.json                        which generation is in use, written last
    <adapter>/generations/000002/record.json      what it is
    <adapter>/generations/000002/<stage>/         adapter_config.json, adapter_model.safetensors: PEFT's own names
    <adapter>/generations/.staging-<random>/      one in the making, or what a killed process left

A generation gets its number only when it is complete, and is never changed afterwards. That is why the newest number
is as good as current.json where that file is missing (a kill between the two last steps of a first training).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ditto_cli.errors import DiskError
from ditto_cli.store import files
from ditto_cli.store.records import (
    AdapterRecord,
    CurrentGeneration,
    FileDigest,
    damaged,
    missing_file,
    read_document,
    seal,
)

CURRENT_FILE = "current.json"
RECORD_FILE = "record.json"
GENERATIONS_FOLDER = "generations"
STAGE_FILES = ("adapter_config.json", "adapter_model.safetensors")
STAGING_PREFIX = ".staging-"
REMOVED_PREFIX = ".removed-"
STALE_SECONDS = 24 * 60 * 60
NUM_KEPT_GENERATIONS = 2  # the one before may still be read by a command that started earlier

_NUMBER_DIGITS = 6
_NUMBER_TRIES = 100


class StagedGeneration:
    """A generation in the making; as a context manager it discards what was not published.

    Args:
        adapter: the adapter's folder.
        folder: where it is made, on the same disk; None takes a new folder beside the finished generations.
    """

    def __init__(self, adapter: Path, folder: Path | None = None) -> None:
        self._adapter = adapter
        self._folder = folder or adapter / GENERATIONS_FOLDER / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
        self._digests: dict[str, dict[str, FileDigest]] = {}
        self._published = False
        try:
            files.make_private_folder(adapter / GENERATIONS_FOLDER)
            files.make_private_folder(self._folder)
        except BaseException:
            with suppress(DiskError):
                self.discard()
            raise

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that are safely on the disk, in the order in which they came."""
        return tuple(self._digests)

    @property
    def digests(self) -> Mapping[str, Mapping[str, FileDigest]]:
        """Stage -> file name -> digest, for every stage."""
        return self._digests

    def stage_folder(self, stage: str) -> Path:
        """Where a stage lies until all of it is published."""
        return self._folder / stage

    def add_stage(self, stage: str, contents: Mapping[str, bytes]) -> None:
        """Write one finished stage, durably.

        Args:
            stage: `sft`, `round1`, ...
            contents: PEFT's file names and what is in them.

        Raises:
            DiskError: the disk refused; the stages before this one are kept.
        """
        assert stage not in self._digests, f"stage {stage} was added before"
        assert set(STAGE_FILES) <= set(contents), f"stage {stage} needs {STAGE_FILES}"
        folder = self._folder / stage
        try:
            files.make_private_folder(folder)
            for name, data in contents.items():
                files.write_bytes(folder / name, data)
        except BaseException:
            with suppress(DiskError):
                files.remove_tree(folder)
            raise
        self._digests[stage] = {name: FileDigest.of(data) for name, data in contents.items()}

    def adopt(self, digests: Mapping[str, Mapping[str, FileDigest]]) -> None:
        """Take over the stages that an earlier process wrote here, and remove what else is here.

        Raises:
            DiskError: one of them is missing or damaged; nothing is taken over.
        """
        for stage, contents in digests.items():
            for name, digest in contents.items():
                check_file(self._folder / stage / name, digest)
        for name in files.list_folder(self._folder):
            if name not in digests:
                files.remove_tree(self._folder / name)
        self._digests = {stage: dict(contents) for stage, contents in digests.items()}

    def publish(self, record: AdapterRecord) -> AdapterRecord:
        """Make this the adapter's current generation, and remove those older than the one before.

        Returns:
            The record as it is stored, with the digests of all files.

        Raises:
            DiskError: the disk refused. The adapter is what it was, unless only the last flush failed, when it is
                already the new one.
        """
        assert not self._published, "a generation is published once"
        assert set(record.stage_names) == set(self._digests), "the record must list the stages that were added"
        for stage, contents in self._digests.items():  # what a disk or another process did to them since is found here
            for name, digest in contents.items():
                check_file(self._folder / stage / name, digest)
        stages = [stage.model_copy(update={"files": self._digests[stage.stage]}) for stage in record.stages]
        stored = record.model_copy(update={"stages": stages})
        files.write_bytes(self._folder / RECORD_FILE, seal(stored))
        number = self._move_into_place()
        try:
            files.write_bytes(self._adapter / CURRENT_FILE, seal(CurrentGeneration(generation=number)))
        except BaseException:
            self._take_back(number)
            raise
        self._published = True
        _prune(self._adapter)
        return stored

    def discard(self) -> None:
        """Remove all that was staged; an adapter that has no generation leaves no folder.

        Raises:
            DiskError: it cannot be removed.
        """
        files.remove_tree(self._folder)
        files.remove_empty_folder(self._adapter / GENERATIONS_FOLDER)
        files.remove_empty_folder(self._adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._published:
            # An error on its way to the user matters more than rubbish, which a later `begin` sweeps.
            with suppress(DiskError):
                self.discard()

    def _move_into_place(self) -> int:
        """Rename the folder to the next free number; another process may take one at the same time."""
        number = max(generation_numbers(self._adapter), default=0) + 1
        for _ in range(_NUMBER_TRIES):
            try:
                files.move(self._folder, generation_folder(self._adapter, number))
                return number
            except DiskError:
                if self._folder.exists() and not generation_folder(self._adapter, number).exists():
                    raise
                if not self._folder.exists():  # it moved, and only a flush failed
                    self._take_back(number)
                    raise
            except BaseException:
                self._take_back(number)
                raise
            number += 1
        raise DiskError(f"{self._adapter} gets new generations all the time: stop the other trainings of that name.")

    def _take_back(self, number: int) -> None:
        """Undo the numbering after a failure, unless current.json already names the new generation."""
        with suppress(DiskError, OSError):
            if not self._folder.exists() and _named_generation(self._adapter) != number:
                files.move(generation_folder(self._adapter, number), self._folder)


def generation_numbers(adapter: Path) -> list[int]:
    """Numbers of the complete generations of an adapter, oldest first."""
    names = files.list_folder(adapter / GENERATIONS_FOLDER)
    return sorted(int(name) for name in names if len(name) >= _NUMBER_DIGITS and name.isascii() and name.isdecimal())


def generation_folder(adapter: Path, number: int) -> Path:
    """Where a generation lies."""
    return adapter / GENERATIONS_FOLDER / f"{number:0{_NUMBER_DIGITS}d}"


def current_generation(adapter: Path) -> Path | None:
    """Folder of the generation in use; None when there is none.

    Raises:
        DiskError: current.json is damaged.
    """
    number = _named_generation(adapter)
    if number is None:
        number = max(generation_numbers(adapter), default=None)
    return None if number is None else generation_folder(adapter, number)


def roll_forward(adapter: Path) -> None:
    """Let current.json name the newest generation: one that has a number is complete.

    Raises:
        DiskError: current.json is damaged, or the disk refused.
    """
    newest = max(generation_numbers(adapter), default=None)
    if newest is not None and _named_generation(adapter) != newest:
        files.write_bytes(adapter / CURRENT_FILE, seal(CurrentGeneration(generation=newest)))


def check_file(path: Path, digest: FileDigest) -> None:
    """Accept a file whose content is what its record says.

    Raises:
        DiskError: it is missing, or was changed since.
    """
    if path.name not in files.list_folder(path.parent):
        raise missing_file(path)
    if FileDigest.of(files.read_bytes(path)) != digest:
        raise damaged(path, "its content is not what was written")


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder of the store: what was to be removed, and old staging."""
    for name in leftovers(folder):
        # Rubbish that cannot be removed is no reason to refuse a training.
        with suppress(DiskError, OSError):
            is_old = time.time() - (folder / name).lstat().st_mtime > STALE_SECONDS
            if is_old or name.startswith(REMOVED_PREFIX):
                files.remove_tree(folder / name)


def leftovers(folder: Path) -> list[str]:
    """Names in a folder of the store that are no part of it: work in progress, or what a killed process left."""
    prefixes = (STAGING_PREFIX, REMOVED_PREFIX, files.TEMPORARY_PREFIX)
    return [name for name in files.list_folder(folder) if name.startswith(prefixes)]


def _named_generation(adapter: Path) -> int | None:
    if CURRENT_FILE not in files.list_folder(adapter):
        return None
    return read_document(adapter / CURRENT_FILE, CurrentGeneration).generation


def _prune(adapter: Path) -> None:
    for number in generation_numbers(adapter)[:-NUM_KEPT_GENERATIONS]:
        # The new generation is published; what cannot be removed now goes after the next one.
        with suppress(DiskError):
            files.remove_tree(generation_folder(adapter, number))
