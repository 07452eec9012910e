"""The store's folder -> adapters by name: list, look up, begin a new generation, rename, remove.

An adapter is a folder `home/adapters/<name>`; its name is the folder's name. What is inside is told in `generations`
and `runs`. Whoever changes an adapter holds `home/locks/<name>.lock`; readers need no lock. This module does not know
what an adapter's weights mean.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.errors import DiskError, InputError
from ditto_cli.interrupts import deferred
from ditto_cli.store import files
from ditto_cli.store.generations import (
    CURRENT_FILE,
    GENERATIONS_FOLDER,
    RECORD_FILE,
    REMOVED_PREFIX,
    STAGE_FILES,
    StagedGeneration,
    check_file,
    current_generation,
    generation_numbers,
    roll_forward,
    sweep,
)
from ditto_cli.store.locks import is_abandoned, locked, scratch_name
from ditto_cli.store.names import check_name, is_valid_name, unknown_adapter
from ditto_cli.store.records import AdapterRecord, damaged, missing_file, read_document, store_key
from ditto_cli.store.runs import UnfinishedRun, unfinished

ADAPTERS_FOLDER = "adapters"
LOCKS_FOLDER = "locks"
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

    def has(self, name: str) -> bool:
        """Whether there is anything of this name: an adapter, or a training that is not finished."""
        return self.exists(name) or self.is_unfinished(name)

    def is_unfinished(self, name: str) -> bool:
        """Whether a training of this name is in progress or was interrupted."""
        return is_valid_name(name) and unfinished(self._adapters / name)

    def unfinished_names(self) -> list[str]:
        """Sorted names with a training that is in progress or was interrupted.

        Raises:
            DiskError: the store cannot be read.
        """
        return [name for name in files.list_folder(self._adapters) if self.is_unfinished(name)]

    @contextmanager
    def begin(self, name: str) -> Iterator[StagedGeneration]:
        """A new generation of a new or existing adapter; nothing of it is seen before it is published.

        Raises:
            InputError: the name cannot be one.
            LockedError: another process works on the adapter.
            DiskError: the disk refused.
        """
        with self._locked(name):
            self._tidy(name)
            with StagedGeneration(self._adapters / name) as staged:
                yield staged

    @contextmanager
    def training(self, name: str) -> Iterator[UnfinishedRun]:
        """The training of a new or existing adapter: the interrupted one if there is one, else an empty one.

        Raises:
            InputError: the name cannot be one.
            LockedError: another process works on the adapter.
            DiskError: the disk refused.
        """
        with self._locked(name):
            self._tidy(name)
            kept = UnfinishedRun(self._adapters / name, self.key())
            if not self.is_unfinished(name):  # its stages were published, and it was killed before it could tidy up
                kept.start_over()
            try:
                yield kept
            finally:
                kept.leave()
                files.remove_empty_folder(self._adapters / name / GENERATIONS_FOLDER)
                files.remove_empty_folder(self._adapters / name)

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

    def checked_stage_folder(self, name: str, stage: str | None = None) -> Path:
        """`stage_folder`, after its files were read whole and found to be what was written.

        Raises:
            InputError: no such adapter or stage.
            DiskError: the adapter is damaged.
        """
        folder = self.stage_folder(name, stage)
        for known in self.record(name).stages:
            if known.stage == folder.name:
                for file, digest in known.files.items():
                    check_file(folder / file, digest)
        return folder

    def check(self, name: str) -> str | None:
        """What is wrong with an adapter, in words, after a look at every byte of it; None if nothing is."""
        try:
            for stage in self.record(name).stage_names:
                self.checked_stage_folder(name, stage)
        except DiskError as error:
            return str(error)
        return None

    def rename(self, old: str, new: str) -> None:
        """Give an adapter another name. Its record keeps the name that it was trained as.

        Raises:
            InputError: no such adapter, or the new name cannot be one or is taken.
            LockedError: another process works on one of the two.
            DiskError: the disk refused.
        """
        self._require(old)
        check_name(new)
        with ExitStack() as locks:
            for name in sorted({old, new}):  # in one order everywhere, so that two renames cannot wait for each other
                locks.enter_context(self._locked(name))
            self._require(old)
            if self.has(new):
                raise InputError(f"There is already an adapter {new!r}: remove it first or choose another name.")
            if new in files.list_folder(self._adapters):
                raise InputError(f"There are leftovers of the name {new!r}: `ditto forget {new}` removes them.")
            files.move(self._adapters / old, self._adapters / new)

    def remove(self, name: str) -> None:
        """Remove all that there is of a name: every generation, evaluations, an unfinished training.

        Raises:
            InputError: there is nothing of that name.
            LockedError: another process works on it.
            DiskError: the disk refused.
        """
        self._require_anything(name)
        with self._locked(name), deferred():
            # Renamed first, so that a kill halfway leaves no adapter that looks whole; `sweep` removes the rest.
            doomed = self._adapters / f"{REMOVED_PREFIX}{secrets.token_hex(8)}"
            files.move(self._adapters / name, doomed)
            files.remove_tree(doomed)
            sweep(self._adapters)
            files.fsync_folder(self._adapters)

    def finish_removals(self) -> int:
        """Remove what a removal left that was killed, and temporary stores of dead processes; gives their number.

        Raises:
            DiskError: something of it cannot be removed.
        """
        doomed = [self._adapters / n for n in files.list_folder(self._adapters) if n.startswith(REMOVED_PREFIX)]
        doomed += [self._home / n for n in files.list_folder(self._home) if is_abandoned(n)]
        for folder in doomed:
            files.remove_tree(folder)
        return len(doomed)

    def scratch_folder(self) -> Path:
        """A new private folder for a store that lives as long as this process; the caller removes it.

        Raises:
            DiskError: it cannot be made.
        """
        folder = self._home / scratch_name()
        files.make_private_folder(folder)
        return folder

    def size_bytes(self, name: str) -> int:
        """Bytes of all files of a name, all generations and an unfinished training together.

        Raises:
            InputError: there is nothing of that name.
        """
        self._require_anything(name)
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

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        check_name(name)
        files.make_private_folder(self._home / LOCKS_FOLDER)
        with locked(self._lock(name), f"Adapter {name}"):
            yield

    def _lock(self, name: str) -> Path:
        return self._home / LOCKS_FOLDER / f"{name}.lock"

    def _tidy(self, name: str) -> None:
        """Remove what killed processes left, and finish the last step of a publication that one was killed in."""
        adapter = self._adapters / name
        places = (adapter, adapter / GENERATIONS_FOLDER, adapter / EVALUATION_FOLDER)
        for folder in (self._home, self._home / LOCKS_FOLDER, self._adapters, *places):
            sweep(folder)
        with suppress(DiskError):  # a damaged current.json is replaced by the next publication
            roll_forward(adapter)

    def _require_anything(self, name: str) -> None:
        """Accept also what a killed process left, or evaluations whose adapter is gone."""
        if not (is_valid_name(name) and files.list_folder(self._adapters / name)):
            raise unknown_adapter(name, self.names())

    def _require(self, name: str) -> None:
        if not self.exists(name):
            raise unknown_adapter(name, self.names())

    def _read_current(self, name: str) -> tuple[Path, AdapterRecord]:
        self._require(name)
        generation = current_generation(self._adapters / name)
        if generation is None:  # removed by another process since the line above
            raise unknown_adapter(name, self.names())
        record = read_document(generation / RECORD_FILE, AdapterRecord)
        for stage in record.stages:
            present = files.list_folder(generation / stage.stage)
            for file in {*STAGE_FILES, *stage.files}:
                path = generation / stage.stage / file
                if file not in present:
                    raise missing_file(path)
                if file not in stage.files or path.stat().st_size != stage.files[file].size:
                    raise damaged(path, "its size is not what was written")
        return generation, record
