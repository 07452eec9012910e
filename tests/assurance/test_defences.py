"""Each defence switched off in turn: what it defends against must then be seen by its test."""

import random
from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock

import pytest

from ditto_cli.store import files
from outcome import Outcome
from test_damage import check_adapters, check_checkpoints
from test_numbers_and_bases import check_archives, check_names, check_non_finite, check_wrong_bases
from test_privacy import check_canaries
from test_store_faults import check_kills, check_power_loss, check_races, check_refusals, check_replacement_kills
from test_training_faults import check_resume, check_signals_in_updates, spread

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


def nothing(*arguments, **keywords):
    return None


def unlocked(*arguments, **keywords):
    return nullcontext()


def in_place(path, data, *, mode=0o600):
    """A write without a file beside it."""
    if path.exists():
        files.os.unlink(path)
    files._write_new_file(path, data, mode)


@contextmanager
def readable_files():
    real = files._write_new_file
    with mock.patch.object(files, "_write_new_file", lambda path, data, mode: real(path, data, 0o644)):
        yield


def unflushed(descriptor, data):
    files.os.write(descriptor, data)


DEFENCES = {
    "files are flushed": ([("ditto_cli.store.files._write", unflushed)], "power"),
    "folders are flushed": (["ditto_cli.store.files.fsync_path"], "power"),
    "a write goes beside and is renamed": ([("ditto_cli.store.files.write_bytes", in_place)], "replacements"),
    "what a killed process left is swept": (["ditto_cli.store.files.sweep"], "kills"),
    "a refusal of the disk becomes one line": ([("ditto_cli.store.files.disk_errors", unlocked)], "refusals"),
    "one process at a time": ([("ditto_cli.store.adapter_store.locked", unlocked)], "races"),
    "documents carry their digest": ([("ditto_cli.store.records._content_digest", lambda content: None)], "records"),
    "weights are read against their digest": (["ditto_cli.store.adapter_store.check_file"], "weights"),
    "checkpoints are read against their digest": (["ditto_cli.store.generations.check_file"], "checkpoints"),
    "every draw comes from the seed": (
        [("ditto_cli.method.updates.derive_seed", lambda *purpose: random.getrandbits(60))],
        "resume",
    ),
    "the optimizer is restored": (["ditto_cli.method.updates.Updater.restore"], "resume"),
    "a signal waits for the end of an update": ([("ditto_cli.method.ditto.deferred", nullcontext)], "signals"),
    "weights are checked to be finite": (
        [("ditto_cli.model.policy.policy._all_finite", lambda values: True)],
        "numbers",
    ),
    "the base is checked against the record": (["ditto_cli.store.records.describe_mismatch"], "bases"),
    "names are checked": (
        [("ditto_cli.store.adapter_store._name_problem", nothing), ("ditto_cli.store.adapter_store.locked", unlocked)],
        "names",
    ),
    "an archive's base is checked": (["ditto_cli.cli.adapters.check_base"], "archives"),
    "an archive's tensors are checked": (["ditto_cli.model.base.loading.describe_misfit"], "archives"),
    "files are private": ([readable_files], "canaries"),
    "forget removes": (["ditto_cli.store.AdapterStore.remove"], "canaries"),
}


def checks(workshop, folder):
    """The tests that must notice, on few cases."""
    last = workshop.num_operations
    return {
        "power": lambda: check_power_loss(folder, per_moment=3),
        "kills": lambda: check_kills(folder, ("publish the third", "forget")),
        "replacements": lambda: check_replacement_kills(folder),
        "refusals": lambda: check_refusals(folder, ("publish the first",), step=4),
        "races": lambda: check_races(folder, 2),
        "records": lambda: check_adapters(workshop, folder, only="record.json"),
        "weights": lambda: check_adapters(workshop, folder, only="adapter_model.safetensors"),
        "checkpoints": lambda: check_checkpoints(workshop, folder, step=3),
        "resume": lambda: check_resume(workshop, folder, spread(last, 24)[10:14]),
        "signals": lambda: check_signals_in_updates(workshop, folder, (2, 5)),
        "numbers": lambda: check_non_finite(workshop, folder, step=5),
        "bases": lambda: check_wrong_bases(workshop, folder),
        "names": lambda: check_names(folder, 300),
        "archives": lambda: check_archives(workshop, folder, step=2),
        "canaries": lambda: check_canaries(workshop, folder),
    }


def test_each_defence_is_needed(workshop, tmp_path, promise):
    outcome = Outcome()
    for number, (name, (targets, check)) in enumerate(DEFENCES.items()):
        folder = tmp_path / str(number)
        with ExitStack() as stack:
            for target in targets:
                if callable(target):
                    stack.enter_context(target())
                    continue
                place, replacement = target if isinstance(target, tuple) else (target, nothing)
                stack.enter_context(mock.patch(place, replacement))
            try:
                failures = checks(workshop, folder)[check]().failures
            except Exception as error:  # the test could not even be set up without it
                failures = [repr(error)]
        outcome.add(None if failures else "its test did not notice", name)
    promise("each defence switched off in turn: its test fails", outcome, at_least=len(DEFENCES))
