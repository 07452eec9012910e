"""`ditto forget`: all that ditto keeps of an adapter is removed, and what it cannot know of is named."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ditto_cli.cli.render import ask, say
from ditto_cli.errors import DiskError, InputError
from ditto_cli.evaluation.traces import Removed, forget_in, known_mark
from ditto_cli.store import AdapterStore, store_home
from ditto_cli.store.adapters import EVALUATION_FOLDER

_MIB = 2**20
_UNKNOWN = (
    "Not known to ditto, so not removed: what `ditto export` wrote, reports outside of the store (--report, "
    "or of --cross-validate on a folder), copies of the store, backups and snapshots of the disk, and what a judge's "
    "server kept."
)


def run_forget(name: str, *, sure: bool) -> None:
    """Remove an adapter, and what evaluations of other adapters show of it, after a question on a terminal."""
    store = AdapterStore(store_home(os.environ))
    if store.finish_removals():
        say("What a command that was killed had left is removed.")
        if not store.has(name):
            return
    size_bytes = store.size_bytes(name)
    texts = _folder_of_texts(store, name)
    if not sure and not _agreed(name, size_bytes):
        say("Nothing was removed.")
        return
    # First the others: the mark that tells what is to be found there lies with the adapter itself.
    traces = _forget_elsewhere(store, name)
    store.remove(name)
    say(f"Removed {name} ({_size(size_bytes)}): its stages, evaluations, answers of judges and unfinished training.")
    if traces == Removed():
        say("Evaluations of other adapters held nothing of it.")
    else:
        say(
            f"Removed from evaluations of other adapters: {traces.num_files} files with texts of it "
            f"({_size(traces.num_bytes)}), {traces.num_answers} answers of judges about them."
        )
    say(_UNKNOWN)
    say(f"Your own texts in {texts} were not touched." if texts else "Your own texts were not touched.")


def _agreed(name: str, size_bytes: int) -> bool:
    if not sys.stdin.isatty():
        raise InputError(f"Removing adapter {name} cannot be undone: say --yes where nobody can be asked.")
    question = f"Remove adapter {name} with all its stages ({_size(size_bytes)}) and all that evaluations show of it?"
    try:
        return ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def _forget_elsewhere(store: AdapterStore, name: str) -> Removed:
    mark = known_mark(_evaluations(store, name))
    removed = Removed()
    for other in sorted({*store.names(), *store.unfinished_names()} - {name}):
        removed += forget_in(_evaluations(store, other), name, mark)
    return removed


def _evaluations(store: AdapterStore, name: str) -> Path:
    """Where they lie if there are any; the folder is not made."""
    return store.folder(name) / EVALUATION_FOLDER


def _folder_of_texts(store: AdapterStore, name: str) -> str | None:
    try:
        return store.record(name).folder
    except (DiskError, InputError):  # damaged, or a first training that was never finished
        return None


def _size(num_bytes: int) -> str:
    return f"{num_bytes / _MIB:.1f} MiB"
