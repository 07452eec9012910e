"""Finished stages of a run -> the next generation of an adapter, in one step that either happens or does not.

    <adapter>/current.json                        {"schema_version": 1, "generation": 2}, written last
    <adapter>/generations/000002/record.json      what it is
    <adapter>/generations/000002/<stage>/         adapter_config.json, adapter_model.safetensors: PEFT's own names
    <adapter>/generations/.staging-<random>/      a run in progress, or what a killed one left

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
from ditto_cli.store.names import check_name
from ditto_cli.store.records import AdapterRecord, CurrentGeneration, read_document

CURRENT_FILE = "current.json"
RECORD_FILE = "record.json"
GENERATIONS_FOLDER = "generations"
STAGE_FILES = ("adapter_config.json", "adapter_model.safetensors")
STAGING_PREFIX = ".staging-"
REMOVED_PREFIX = ".removed-"
STALE_SECONDS = 24 * 60 * 60
NUM_KEPT_GENERATIONS = 2  # the one before may still be read by a command that started earlier

_NUMBER_DIGITS = 6


class StagedGeneration:
    """A generation in the making; use it as a context manager, which discards what was not published."""

    def __init__(self, adapter: Path) -> None:
        self._adapter = adapter
        self._folder = adapter / GENERATIONS_FOLDER / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
        self._stages: list[str] = []
        self._published = False
        try:
            files.make_private_folder(self._folder)
        except BaseException:
            with suppress(DiskError):
                self.discard()
            raise

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that are safely on the disk, in the order in which they came."""
        return tuple(self._stages)

    def add_stage(self, stage: str, contents: Mapping[str, bytes]) -> None:
        """Write one finished stage, durably.

        Args:
            stage: `sft`, `round1`, ...
            contents: PEFT's file names and what is in them.

        Raises:
            DiskError: the disk refused; the stages before this one are kept.
        """
        assert stage not in self._stages, f"stage {stage} was added before"
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
        self._stages.append(stage)

    def publish(self, record: AdapterRecord) -> Path:
        """Make this the adapter's current generation, and remove those older than the one before.

        Returns:
            The generation's folder.

        Raises:
            DiskError: the disk refused. The adapter is what it was, unless only the last flush failed, when it is
                already the new one.
        """
        assert not self._published, "a generation is published once"
        assert set(record.stage_names) == set(self._stages), "the record must list the stages that were added"
        files.write_text(self._folder / RECORD_FILE, record.model_dump_json(indent=2) + "\n")
        number = max(generation_numbers(self._adapter), default=0) + 1
        target = generation_folder(self._adapter, number)
        try:
            files.move(self._folder, target)
            current = CurrentGeneration(generation=number)
            files.write_text(self._adapter / CURRENT_FILE, current.model_dump_json() + "\n")
        except BaseException:
            self._take_back(number)
            raise
        self._published = True
        _prune(self._adapter)
        return target

    def move_to(self, name: str) -> None:
        """Let this become a generation of another adapter than the one it was begun for.

        Raises:
            InputError: the name cannot be one.
            DiskError: the disk refused; it is still where it was.
        """
        check_name(name)
        adapter = self._adapter.parent / name
        folder = adapter / GENERATIONS_FOLDER / self._folder.name
        files.make_private_folder(folder.parent)
        files.move(self._folder, folder)
        self._adapter, self._folder = adapter, folder

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


def sweep(folder: Path) -> None:
    """Remove what killed processes left in a folder of the store a day ago or longer."""
    for name in files.list_folder(folder):
        if name.startswith((STAGING_PREFIX, REMOVED_PREFIX, files.TEMPORARY_PREFIX)):
            # Rubbish that cannot be removed is no reason to refuse a training.
            with suppress(DiskError, OSError):
                if time.time() - (folder / name).lstat().st_mtime > STALE_SECONDS:
                    files.remove_tree(folder / name)


def _named_generation(adapter: Path) -> int | None:
    if CURRENT_FILE not in files.list_folder(adapter):
        return None
    return read_document(adapter / CURRENT_FILE, CurrentGeneration).generation


def _prune(adapter: Path) -> None:
    for number in generation_numbers(adapter)[:-NUM_KEPT_GENERATIONS]:
        # The new generation is published; what cannot be removed now goes after the next one.
        with suppress(DiskError):
            files.remove_tree(generation_folder(adapter, number))
