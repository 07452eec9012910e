"""The environment -> the store's folder -> adapters by name: list, look up, begin a new generation, rename, remove.

An adapter is a folder `home/adapters/<name>`; its name is the folder's name. What is inside is told in `generations`.
Whoever changes an adapter holds `home/locks/<name>.lock`; readers need no lock. This module does not know what an
adapter's weights mean.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from ditto_cli.errors import DiskError, InputError, UnknownAdapterError
from ditto_cli.interrupts import deferred
from ditto_cli.store import files
from ditto_cli.store.generations import (
    CHECKPOINTS_FOLDER,
    GENERATIONS_FOLDER,
    RECORD_FILE,
    RUN_FOLDER,
    STAGES_FOLDER,
    UnfinishedRun,
    check_file,
    current_generation,
)
from ditto_cli.store.locks import is_abandoned, locked, scratch_name
from ditto_cli.store.records import AdapterRecord, damaged, missing_file, read_document, store_key

ADAPTERS_FOLDER = "adapters"
LOCKS_FOLDER = "locks"
EVALUATION_FOLDER = "evaluation"
HOME_VARIABLE = "DITTO_HOME"
MAX_NAME_LENGTH = 64

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# These mean a model, a baseline or a stage on the command line.
_RESERVED = re.compile(r"base|few-shot|sft|round[0-9]+", re.IGNORECASE)


def store_home(environment: Mapping[str, str]) -> Path:
    """Folder of adapters and the key: `$DITTO_HOME`, else the platform's data folder. It is not made here."""
    return _chosen_home(environment) or Path(platformdirs.user_data_dir("ditto", appauthor=False))


def cache_home(environment: Mapping[str, str]) -> Path:
    """Folder of what can be made again: `$DITTO_HOME/cache`, else the platform's cache folder. It is not made here."""
    home = _chosen_home(environment)
    return home / "cache" if home else Path(platformdirs.user_cache_dir("ditto", appauthor=False))


def _chosen_home(environment: Mapping[str, str]) -> Path | None:
    chosen = environment.get(HOME_VARIABLE, "")
    # A shell expands ~ itself; a .env file or a service's unit does not.
    return Path(os.path.abspath(os.path.expanduser(chosen))) if chosen else None


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
        """The secret that demonstrations are hashed with; it never leaves this store."""
        return store_key(self._home)

    def folder(self, name: str) -> Path:
        """Where all of an adapter lies, or would lie."""
        return self._adapters / name

    def evaluation_folder(self, name: str) -> Path:
        """Where an adapter's evaluations lie: with the adapter, so that they are renamed and removed with it."""
        folder = self._adapters / name / EVALUATION_FOLDER
        files.make_private_folder(folder)
        return folder

    def names(self) -> list[str]:
        """Sorted names of all adapters, damaged ones too."""
        return [name for name in files.list_folder(self._adapters) if self.exists(name)]

    def exists(self, name: str) -> bool:
        """Whether an adapter of this name was ever published; a first training that still runs does not count."""
        return is_valid_name(name) and current_generation(self._adapters / name) is not None

    def has(self, name: str) -> bool:
        """Whether there is anything of this name: an adapter, or a training that is not finished."""
        return self.exists(name) or self.is_unfinished(name)

    def is_unfinished(self, name: str) -> bool:
        """Whether a training of this name has got so far that it can go on when it is interrupted."""
        run = self._adapters / name / RUN_FOLDER
        return is_valid_name(name) and all(
            files.list_folder(run / part) for part in (STAGES_FOLDER, CHECKPOINTS_FOLDER)
        )

    def unfinished_names(self) -> list[str]:
        """Sorted names with a training that is in progress or was interrupted."""
        return [name for name in files.list_folder(self._adapters) if self.is_unfinished(name)]

    @contextmanager
    def training(self, name: str) -> Iterator[UnfinishedRun]:
        """The training of a new or existing adapter: the interrupted one if there is one, else an empty one.

        Nothing of it is seen before it is published. What nobody could go on from is removed, before and afterwards.
        """
        adapter = self._adapters / name
        with self._locked(name):
            self._sweep(name)
            kept = UnfinishedRun(adapter, self.key())
            if not self.is_unfinished(name):
                kept.start_over()
            try:
                yield kept
            finally:
                with suppress(DiskError):  # an error on its way to the user matters more than rubbish
                    if not self.is_unfinished(name):
                        kept.start_over()
                files.remove_empty_folder(adapter / GENERATIONS_FOLDER)
                files.remove_empty_folder(adapter)

    def record(self, name: str) -> AdapterRecord:
        """The record of the current generation, after a look that all its files are there."""
        return self._read_current(name)[1]

    def stage_folder(self, name: str, stage: str | None = None) -> Path:
        """Folder of one stage, as PEFT loads it: `sft`, `round2` or short `2`; None takes the published one."""
        generation, record = self._read_current(name)
        if stage is None:
            return generation / record.published
        for known in record.stage_names:
            if stage in (known, known.removeprefix("round")):
                return generation / known
        raise InputError(f"Adapter {name!r} has no stage {stage!r}: it has {', '.join(record.stage_names)}.")

    def checked_stage_folder(self, name: str, stage: str | None = None) -> Path:
        """`stage_folder`, after its files were read whole and found to be what was written."""
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

        InputError: no such adapter, or the new name cannot be one or is taken.
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
        """Remove all that there is of a name: every generation, evaluations, an unfinished training."""
        self._require_anything(name)
        with self._locked(name), deferred():
            # Renamed first, so that a kill halfway leaves no adapter that looks whole; `_sweep` removes the rest.
            doomed = self._adapters / f"{files.REMOVED_PREFIX}{secrets.token_hex(8)}"
            files.move(self._adapters / name, doomed)
            files.remove_tree(doomed)
            files.sweep(self._adapters)
            files.fsync_path(self._adapters)

    def finish_removals(self) -> int:
        """Remove what a removal left that was killed, and temporary stores of dead processes; gives their number."""
        doomed = [self._adapters / n for n in files.list_folder(self._adapters) if n.startswith(files.REMOVED_PREFIX)]
        doomed += [self._home / n for n in files.list_folder(self._home) if is_abandoned(n)]
        for folder in doomed:
            files.remove_tree(folder)
        return len(doomed)

    @contextmanager
    def scratch_folder(self) -> Iterator[Path]:
        """A new private folder that is removed after the block."""
        folder = self._home / scratch_name()
        files.make_private_folder(folder)
        try:
            yield folder
        finally:
            files.remove_tree(folder)

    def size_bytes(self, name: str) -> int:
        """Bytes of all files of a name, all generations and an unfinished training together."""
        self._require_anything(name)
        return files.folder_size(self._adapters / name)

    def entries(self) -> list[AdapterEntry]:
        """All adapters for a list, sorted by name; a damaged one comes with its problem in words."""
        entries = []
        for name in self.names():
            record, problem = None, None
            try:
                record = self.record(name)
            except DiskError as error:
                problem = str(error)
            entries.append(AdapterEntry(name, record, problem, files.folder_size(self._adapters / name)))
        return entries

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        check_name(name)
        files.make_private_folder(self._home / LOCKS_FOLDER)
        with locked(self._home / LOCKS_FOLDER / f"{name}.lock", f"Adapter {name}"):
            yield

    def _sweep(self, name: str) -> None:
        adapter = self._adapters / name
        places = (adapter, adapter / GENERATIONS_FOLDER, adapter / EVALUATION_FOLDER)
        for folder in (self._home, self._home / LOCKS_FOLDER, self._adapters, *places):
            files.sweep(folder)

    def _require_anything(self, name: str) -> None:
        """Accept also what a killed process left, or evaluations whose adapter is gone."""
        if not (is_valid_name(name) and files.list_folder(self._adapters / name)):
            raise unknown_adapter(name, self.names())

    def _require(self, name: str) -> None:
        if not self.exists(name):
            raise unknown_adapter(name, self.names())

    def _read_current(self, name: str) -> tuple[Path, AdapterRecord]:
        generation = current_generation(self._adapters / name) if is_valid_name(name) else None
        if generation is None:
            raise unknown_adapter(name, self.names())
        record = read_document(generation / RECORD_FILE, AdapterRecord)
        for stage in record.stages:
            present = files.list_folder(generation / stage.stage)
            for file, digest in stage.files.items():
                path = generation / stage.stage / file
                if file not in present:
                    raise missing_file(path)
                if path.stat().st_size != digest.size:
                    raise damaged(path, "its size is not what was written")
        return generation, record


def check_name(name: str) -> None:
    """Accept a name for a new adapter; the InputError for one that cannot be it suggests one that can."""
    problem = _name_problem(name)
    if problem is not None:
        raise InputError(f"{name!r} cannot be an adapter's name: {problem}; try {suggest_name(name)!r}.")


def is_valid_name(name: str) -> bool:
    """Whether `check_name` accepts it."""
    return _name_problem(name) is None


def suggest_name(name: str) -> str:
    """A valid name near to any text."""
    ascii_letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_letters).lstrip("._-")[:MAX_NAME_LENGTH].rstrip("._-")
    if not cleaned:
        return "my-adapter"
    return cleaned if is_valid_name(cleaned) else f"my-{cleaned}"[:MAX_NAME_LENGTH]


def unknown_adapter(name: str, names: Sequence[str]) -> InputError:
    """The error for a name that no adapter has, with the three nearest of those that there are."""
    if not names:
        return UnknownAdapterError(
            f"Unknown adapter {name!r}: there are no adapters yet; make one with `ditto train FOLDER`."
        )
    *others, last = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    near = f"{', '.join(others)} or {last}" if others else last
    return UnknownAdapterError(f"Unknown adapter {name!r}: did you mean {near}?")


def _name_problem(name: str) -> str | None:
    if len(name) > MAX_NAME_LENGTH:
        return f"it is longer than {MAX_NAME_LENGTH} characters"
    if not _VALID.fullmatch(name):
        return "it must start with a letter or digit and hold only letters a-z, digits, '.', '_' and '-'"
    if _RESERVED.fullmatch(name):
        return "that word means something else on the command line"
    return None
