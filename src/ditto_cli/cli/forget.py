"""`ditto forget`: all that ditto keeps of an adapter is removed, and what it cannot know of is named."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ditto_cli.cli.context import confirm, open_store
from ditto_cli.cli.render import say
from ditto_cli.config import PAIRS_FILE
from ditto_cli.errors import DiskError, InputError
from ditto_cli.evaluation.traces import forget_in, known_mark
from ditto_cli.fleet.status import forget_person
from ditto_cli.shown import size
from ditto_cli.store import store_home
from ditto_cli.store.adapters import EVALUATION_FOLDER

_UNKNOWN = (
    "Not known to ditto, so not removed: what `ditto export` wrote, reports outside of the store (--report, "
    "or of --cross-validate on a folder), copies of the store, backups and snapshots of the disk, and what a judge's "
    "server kept."
)


def run_forget(name: str, *, sure: bool) -> None:
    """Remove an adapter, and what evaluations of other adapters show of it, after a question on a terminal."""
    store = open_store()
    if store.finish_removals():
        say("What a command that was killed had left is removed.")
        if not store.has(name):
            return
    size_bytes = store.size_bytes(name)
    try:
        texts = store.record(name).folder
    except (DiskError, InputError):  # damaged, or a first training that was never finished
        texts = None
    question = f"Remove adapter {name} with all its stages ({size(size_bytes)}) and all that evaluations show of it?"
    refusal = f"Removing adapter {name} cannot be undone: say --yes where nobody can be asked."
    if not sure and not confirm(question, refusal):
        say("Nothing was removed.")
        return
    # First the others: the mark that tells what is to be found there lies with the adapter itself.
    mark, traces = known_mark(store.folder(name) / EVALUATION_FOLDER), Counter[str]()
    for other in sorted({*store.names(), *store.unfinished_names()} - {name}):
        traces += forget_in(store.folder(other) / EVALUATION_FOLDER, name, mark)
    forget_person(store_home(os.environ), name)
    store.remove(name)
    say(f"Removed {name} ({size(size_bytes)}): its stages, evaluations, answers of judges and unfinished training.")
    if not traces.total():
        say("Evaluations of other adapters held nothing of it.")
    else:
        say(
            f"Removed from evaluations of other adapters: {traces['files']} files with texts of it "
            f"({size(traces['bytes'])}), {traces['answers']} answers of judges about them."
        )
    say(_UNKNOWN)
    say(f"Your own texts in {texts} were not touched." if texts else "Your own texts were not touched.")
    from ditto_cli.demonstrations.folder import pair_lines

    with suppress(InputError, OSError):  # a file that cannot be read undoes nothing of it
        if texts and (num := len(pair_lines(Path(texts)))):
            say(f"What {name} wrote may stand in {PAIRS_FILE} there (pairs: {num}): see ditto demos pairs {texts}.")
