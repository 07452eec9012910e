"""A training that is killed, interrupted, or meets a full disk: it goes on as if nothing had been."""

import errno
import os
import random
import shutil
import signal
import subprocess
import time
from unittest import mock

import pytest

from children import KILLED, Child
from ditto_cli.method.updates import Updater
from ditto_cli.store import AdapterStore
from faults import FailAt, KillAt
from outcome import Outcome
from training import weights_of

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


def check_resume(workshop, folder, points):
    """Kill a training before each of these changes of the disk, and start it again."""
    outcome = Outcome()
    for place, number in enumerate(points):
        home = folder / f"killed-{place}"
        killed = workshop.child(workshop.training(home, KillAt(number, torn=place % 2 == 1)))
        again = workshop.child(workshop.training(home))
        if killed.code != KILLED:
            problem = f"it was not killed but ended with {killed.code}: {killed.err}"
        elif again.code != 0:
            problem = f"the second run ended with {again.code}: {again.err}"
        else:
            problem = None if weights_of(home) == workshop.undisturbed else "other weights"
        outcome.add(problem, f"killed before change {number}")
        shutil.rmtree(home)
    return outcome


def test_resume_after_a_kill(workshop, tmp_path, promise):
    points = spread(workshop.num_operations, 64)
    title = "resume after kill -9 at each crash point of a tiny run: bit-identical"
    promise(title, check_resume(workshop, tmp_path, points), at_least=60)


def check_signals(workshop, folder, number_of_cases, seconds):
    """Stop a training by signals at random moments, and start it again."""
    generator = random.Random(1)
    outcome = Outcome()
    for case in range(number_of_cases):
        home = folder / f"stopped-{case}"
        number, code = generator.choice(((signal.SIGINT, 130), (signal.SIGTERM, 143)))
        child = Child(workshop.training(home), folder / "logs")
        time.sleep(generator.uniform(0.15, seconds * 0.9))
        child.send(number)
        stopped = child.wait()
        again = workshop.child(workshop.training(home))
        if stopped.code not in (code, 0) or "Traceback" in stopped.err:
            problem = f"it ended with {stopped.code}: {stopped.err}"
        elif again.code != 0:
            problem = f"the second run ended with {again.code}: {again.err}"
        else:
            problem = None if weights_of(home) == workshop.undisturbed else "other weights"
        outcome.add(problem, f"signal {number} in case {case}")
    return outcome


def check_signals_in_updates(workshop, folder, updates):
    """Stop a training inside an update, when the weights have moved and nothing else has."""
    outcome = Outcome()
    for number in updates:
        home = folder / f"stopped-in-{number}"
        stopped = workshop.child(lambda home=home, number=number: _stop_in_update(workshop, home, number))
        again = workshop.child(workshop.training(home))
        if stopped.code != 143 or again.code != 0:
            problem = f"they ended with {stopped.code} and {again.code}: {stopped.err}{again.err}"
        else:
            problem = None if weights_of(home) == workshop.undisturbed else "other weights"
        outcome.add(problem, f"stopped in update {number}")
    return outcome


def _stop_in_update(workshop, home, number):
    real, calls = Updater.update, [0]

    def update(updater, *arguments, **keywords):
        metrics = real(updater, *arguments, **keywords)
        calls[0] += 1
        if calls[0] == number:
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics

    with mock.patch.object(Updater, "update", update):
        workshop.training(home)()


def test_signals_at_random_moments(workshop, tmp_path, promise):
    started = time.monotonic()
    assert workshop.child(workshop.training(tmp_path / "timed")).code == 0
    outcome = check_signals(workshop, tmp_path, 20, time.monotonic() - started)
    more = check_signals_in_updates(workshop, tmp_path, range(1, 13, 3))
    outcome = Outcome(outcome.run + more.run, outcome.failures + more.failures)
    promise("signals (Ctrl-C, SIGTERM) at random moments: resumable, bit-identical", outcome, at_least=20)


def check_full_disk(workshop, folder, points):
    """A disk that is full, or broken once, from the N-th change of a second training on."""
    outcome = Outcome()
    before = folder / "before"
    assert workshop.child(workshop.training(before)).code == 0
    old = weights_of(before)
    texts = workshop_texts()
    for place, number in enumerate(points):
        home = folder / f"full-{place}"
        shutil.copytree(before, home)
        fault = FailAt(number) if place % 3 else FailAt(number, errno.EIO, lasting=False)
        ended = workshop.child(workshop.training(home, fault, texts=texts))
        store = AdapterStore(home)
        if ended.code not in (0, 4):  # 0: the change that failed was one that can be done later
            problem = f"it ended with {ended.code}: {ended.err}"
        elif "Traceback" in ended.err:
            problem = ended.err
        elif store.check("alice") is not None:
            problem = store.check("alice")
        elif ended.code == 4 and weights_of(home) != old:
            problem = "the adapter from before is not what it was"
        else:
            problem = None
        outcome.add(problem, f"change {number}")
        shutil.rmtree(home)
    return outcome


def check_small_disk(workshop, folder, sizes_kib):
    """The same on a real file system of these sizes."""
    outcome = Outcome()
    before = folder / "before-small"
    assert workshop.child(workshop.training(before)).code == 0
    old = weights_of(before)
    for size in sizes_kib:
        home = folder / f"small-{size}"
        home.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "tmpfs", str(home)], check=True)
        try:
            shutil.copytree(before, home, dirs_exist_ok=True)
            ended = workshop.child(workshop.training(home, texts=workshop_texts()))
            problem = None
            if ended.code != 4 or "No space left" not in ended.err or weights_of(home) != old:
                problem = f"it ended with {ended.code}: {ended.err}"
            outcome.add(problem, f"{size} KiB")
        finally:
            subprocess.run(["umount", str(home)], check=True)
    return outcome


def test_full_disk_in_training(workshop, tmp_path, promise):
    outcome = check_full_disk(workshop, tmp_path, spread(workshop.num_operations, 36))
    promise("disk full or broken at each change of a training: previous adapter intact, exit 4", outcome, at_least=36)


def test_small_disk(workshop, tmp_path, promise):
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("only root may mount a file system here")
    subprocess.run(["umount", str(tmp_path)], check=True)
    used = used_kib(workshop)
    outcome = check_small_disk(workshop, tmp_path, [used + room for room in (8, 24, 40, 64, 100)])
    promise("disk full on a real small tmpfs: previous adapter intact, exit 4", outcome, at_least=5)


def spread(last, number):
    """`number` different numbers from 1 to `last`, as evenly as can be."""
    assert last >= number
    return sorted({1 + place * (last - 1) // (number - 1) for place in range(number)})


def workshop_texts():
    """Other texts than those of the adapter that is there before."""
    from ditto_cli.types import Demonstration
    from training import TEXTS

    return (*TEXTS, Demonstration("c.md", "Thank Al.", "al. that book. wow x"))


def used_kib(workshop):
    """What a finished store takes on a tmpfs, whose pages have 4 KiB."""
    files = [path for path in (workshop.place / "undisturbed").rglob("*") if path.is_file()]
    return sum(-(-path.stat().st_size // 4096) * 4 for path in files)
