"""The store's folder -> adapters by name: list, look up, begin a new generation, rename, remove.

An adapter is a folder `home/adapters/<name>`; its name is the folder's name. What is inside is told in `generations`.
This module does not know what an adapter's weights mean.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.errors import DiskError, InputError
from ditto_cli.store import files
from ditto_cli.store.generations import (
    CURRENT_FILE,
    GENERATIONS_FOLDER,
    RECORD_FILE,
    REMOVED_PREFIX,
    STAGE_FILES,
    StagedGeneration,
    current_generation,
    generation_numbers,
    sweep,
)
from ditto_cli.store.names import check_name, is_valid_name, unknown_adapter
from ditto_cli.store.records import AdapterRecord, missing_file, read_document, store_key

ADAPTERS_FOLDER = "adapters"
EVALUATION_FOLDER = "evaluation"


@dataclass(frozen=True)
class AdapterEntry:
    """One line of the list of adapters: either its record, or in words why that cannot be read."""

    name: str
    record: AdapterRecord | None
    problem: str | None
    size_bytes: int


class AdapterStore:
    """All adapters below one home folder. It keeps nothing in memory: the disk is the truth."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._adapters = home / ADAPTERS_FOLDER

    def key(self) -> bytes:
        """The secret that demonstrations are hashed with; it never leaves this store.

        Raises:
            DiskError: the store cannot be written.
        """
        return store_key(self._home)

    def folder(self, name: str) -> Path:
        """Where all of an adapter lies, or would lie."""
        return self._adapters / name

    def evaluation_folder(self, name: str) -> Path:
        """Where an adapter's evaluations lie: with the adapter, so that they are renamed and removed with it.

        Raises:
            DiskError: it cannot be made.
        """
        folder = self._adapters / name / EVALUATION_FOLDER
        files.make_private_folder(folder)
        return folder

    def names(self) -> list[str]:
        """Sorted names of all adapters, damaged ones too.

        Raises:
            DiskError: the store cannot be read.
        """
        return [name for name in files.list_folder(self._adapters) if self.exists(name)]

    def exists(self, name: str) -> bool:
        """Whether an adapter of this name was ever published; a first training that still runs does not count."""
        if not is_valid_name(name):
            return False
        folder = self._adapters / name
        return CURRENT_FILE in files.list_folder(folder) or bool(generation_numbers(folder))

    def begin(self, name: str) -> StagedGeneration:
        """Start a new generation of a new or existing adapter; nothing of it is seen before it is published.

        Raises:
            InputError: the name cannot be one.
            DiskError: the disk refused.
        """
        check_name(name)
        adapter = self._adapters / name
        for folder in (self._adapters, adapter, adapter / GENERATIONS_FOLDER):
            sweep(folder)
        return StagedGeneration(adapter)

    def record(self, name: str) -> AdapterRecord:
        """The record of the current generation, after a look that all its files are there.

        Raises:
            InputError: no such adapter.
            DiskError: it is damaged, or a newer ditto wrote it.
        """
        return self._read_current(name)[1]

    def stage_folder(self, name: str, stage: str | None = None) -> Path:
        """Folder of one stage, as PEFT loads it.

        Args:
            name: the adapter.
            stage: `sft`, `round2` or short `2`; None takes the published stage.

        Raises:
            InputError: no such adapter or stage.
            DiskError: the adapter is damaged.
        """
        generation, record = self._read_current(name)
        if stage is None:
            return generation / record.published
        for known in record.stage_names:
            if stage in (known, known.removeprefix("round")):
                return generation / known
        raise InputError(f"Adapter {name!r} has no stage {stage!r}: it has {', '.join(record.stage_names)}.")

    def rename(self, old: str, new: str) -> None:
        """Give an adapter another name. Its record keeps the name that it was trained as.

        Raises:
            InputError: no such adapter, or the new name cannot be one or is taken.
            DiskError: the disk refused.
        """
        self._require(old)
        check_name(new)
        if new in files.list_folder(self._adapters):
            raise InputError(f"There is already an adapter {new!r}: remove it first or choose another name.")
        files.move(self._adapters / old, self._adapters / new)

    def remove(self, name: str) -> None:
        """Remove an adapter with all its generations.

        Raises:
            InputError: no such adapter.
            DiskError: the disk refused.
        """
        self._require(name)
        # Renamed first, so that a kill halfway leaves no adapter that looks whole.
        doomed = self._adapters / f"{REMOVED_PREFIX}{secrets.token_hex(8)}"
        files.move(self._adapters / name, doomed)
        files.remove_tree(doomed)

    def size_bytes(self, name: str) -> int:
        """Bytes of all files of an adapter, all generations together.

        Raises:
            InputError: no such adapter.
        """
        self._require(name)
        return files.folder_size(self._adapters / name)

    def entries(self) -> list[AdapterEntry]:
        """All adapters for a list, sorted by name; a damaged one comes with its problem in words.

        Raises:
            DiskError: the store cannot be read.
        """
        return [self._entry(name) for name in self.names()]

    def _entry(self, name: str) -> AdapterEntry:
        size_bytes = files.folder_size(self._adapters / name)
        try:
            return AdapterEntry(name, self.record(name), None, size_bytes)
        except DiskError as error:
            return AdapterEntry(name, None, str(error), size_bytes)

    def _require(self, name: str) -> None:
        if not self.exists(name):
            raise unknown_adapter(name, self.names())

    def _read_current(self, name: str) -> tuple[Path, AdapterRecord]:
        self._require(name)
        generation = current_generation(self._adapters / name)
        if generation is None:  # removed by another process since the line above
            raise unknown_adapter(name, self.names())
        record = read_document(generation / RECORD_FILE, AdapterRecord)
        for stage in record.stage_names:
            present = files.list_folder(generation / stage)
            for file in STAGE_FILES:
                if file not in present:
                    raise missing_file(generation / stage / file)
        return generation, record
