"""One process at a time works on an adapter: who is refused, who gets in, and what a dead owner leaves."""

import errno
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from disk_gate import intercepted
from ditto_cli.errors import DiskError, LockedError
from ditto_cli.store import AdapterStore, locks
from ditto_cli.store.locks import locked, process_facts
from test_store import publish

# A process that waits for a line, tries to take the lock, tells how it went, and keeps it until its stdin ends.
TAKING = """
import sys
from pathlib import Path
from ditto_cli.errors import LockedError
from ditto_cli.store.locks import locked
print("ready", flush=True)
sys.stdin.readline()
try:
    with locked(Path(sys.argv[1]), "Adapter alice"):
        print("won", flush=True)
        sys.stdin.read()
except LockedError as error:
    print(error, flush=True)
"""


class Process:
    """One that is started and not yet trying."""

    def __init__(self, path):
        self.child = subprocess.Popen(
            [sys.executable, "-c", TAKING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    @property
    def pid(self):
        return self.child.pid

    def try_it(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()

    def hear(self):
        return self.child.stdout.readline().rstrip("\n")

    def kill(self):
        self.child.kill()
        self.child.wait()


@contextmanager
def processes(path, number=1):
    """Some that all are ready; none is left behind."""
    started = [Process(path) for _ in range(number)]
    try:
        assert [process.hear() for process in started] == ["ready"] * number
        yield started
    finally:
        for process in started:
            process.kill()
            process.child.stdin.close()
            process.child.stdout.close()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "alice.lock"


def idle(descriptor, operation):
    """As on disks where the system's lock silently does nothing."""


def failing(number):
    def flock(descriptor, operation):
        raise OSError(number, "words of the system")

    return flock


@pytest.fixture
def idle_flock(monkeypatch):
    monkeypatch.setattr(fcntl, "flock", idle)


def owner_file(path):
    return path.with_suffix(".owner")


def get_in(path):
    """Take the lock, and see that its file names this process meanwhile and then is gone."""
    with locked(path, "Adapter alice"):
        assert json.loads(owner_file(path).read_text()) == process_facts(os.getpid())
    assert os.listdir(path.parent) == []


def is_refused(path, who=".*"):
    with pytest.raises(LockedError) as caught, locked(path, "Adapter alice"):
        pass
    assert re.fullmatch(f"Adapter alice is in use by {who}: wait for it to end, or stop it\\.", str(caught.value))
    assert caught.value.exit_code == 7
    return True


def test_of_several_at_once_one_wins_and_the_others_are_told_by_whom(path):
    with processes(path, 4) as four:
        for process in four:
            process.try_it()
        said = {process.pid: process.hear() for process in four}
        (winner,) = [pid for pid, word in said.items() if word == "won"]
        del said[winner]
        # The winner may have the lock and not yet have written into the file.
        in_use = {
            f"Adapter alice is in use by {who}: wait for it to end, or stop it."
            for who in (f"process {winner}", "another process")
        }
        assert set(said.values()) <= in_use
        assert len(said) == 3
        started = time.monotonic()
        assert is_refused(path, f"process {winner}")
        assert time.monotonic() - started < 1


def test_an_owner_that_was_killed_keeps_nobody_out(path):
    with processes(path) as (process,):
        process.try_it()
        assert process.hear() == "won"
        process.kill()
        assert json.loads(owner_file(path).read_text())["pid"] == process.pid
        get_in(path)


@pytest.mark.parametrize("flock", [idle, failing(errno.ENOLCK)], ids=["idle", "missing"])
def test_without_the_systems_lock_the_owners_name_still_counts(path, monkeypatch, flock):
    monkeypatch.setattr(fcntl, "flock", flock)
    get_in(path)
    with processes(path) as (process,):
        process.try_it()
        assert process.hear() == "won"
        assert is_refused(path, f"process {process.pid}")
        process.kill()
        get_in(path)


def test_a_lock_that_fails_otherwise_is_told(path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", failing(errno.EIO))
    with pytest.raises(DiskError, match=r"alice\.lock cannot be locked \(words of the system\): check the disk"):
        get_in(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 2**22 + 1},  # above the most that Linux gives
        {"pid": 10**30},
        {"started": "1"},  # the number came again
        {"host": "elsewhere"},  # nothing can be known of it
    ],
)
def test_an_owner_that_cannot_be_alive_keeps_nobody_out(path, idle_flock, changes):
    owner_file(path).write_text(json.dumps(process_facts(os.getppid()) | changes))
    get_in(path)


@pytest.mark.parametrize(
    "torn",
    [
        b"",
        b'{"pid": 12',
        b"\xff\xfe",
        b"[" * 1000,
        b"[]",
        b"12",
        b'{"pid": "x", "started": "1", "host": "h"}',
        b'{"pid": null, "started": "1", "host": "h"}',
    ],
)
def test_a_torn_owner_keeps_nobody_out_and_lets_nobody_in(path, torn):
    owner_file(path).write_bytes(torn)
    get_in(path)
    with locked(path, "Adapter alice"):
        owner_file(path).write_bytes(torn)
        assert is_refused(path)  # by the system's lock


def test_of_two_that_find_a_dead_owner_the_slower_is_refused(path, idle_flock, monkeypatch):
    owner_file(path).write_text(json.dumps({"pid": 2**22 + 1, "started": "1", "host": socket.gethostname()}))
    quicker = process_facts(os.getppid())
    unlink = os.unlink

    def late(target):
        unlink(target)
        if Path(target) == owner_file(path):
            monkeypatch.undo()
            owner_file(path).write_text(json.dumps(quicker))

    monkeypatch.setattr(os, "unlink", late)
    assert is_refused(path, f"process {quicker['pid']}")


def test_an_owner_that_could_not_be_removed_keeps_its_own_process_not_out(path):
    def refuse(operation):
        if operation.kind == "unlink" and operation.path == owner_file(path):
            raise OSError(errno.EIO, "words of the system")

    with intercepted(refuse), locked(path, "Adapter alice"):
        pass
    assert owner_file(path).exists()
    get_in(path)


def test_a_lock_file_that_its_owner_removed_meanwhile_is_made_anew(path, monkeypatch):
    flock, removed = fcntl.flock, []

    def late(descriptor, operation):
        if not removed:
            removed.append(path)
            path.unlink()
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with locked(path, "Adapter alice"):
        assert removed == [path]
        assert path.exists()
        assert is_refused(path, f"process {os.getpid()}")
    with locked(path, "Adapter alice"):  # nothing is left of the wait
        pass


def test_an_error_inside_lets_go(path):
    with pytest.raises(ZeroDivisionError), locked(path, "Adapter alice"):
        raise ZeroDivisionError
    get_in(path)


def test_both_files_are_private_whatever_the_umask(path):
    before = os.umask(0)
    try:
        with locked(path, "Adapter alice"):
            assert [file.stat().st_mode & 0o777 for file in (path, owner_file(path))] == [0o600, 0o600]
    finally:
        os.umask(before)


def test_no_descriptor_is_left(path):
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with locked(path, "Adapter alice"):
            assert is_refused(path, f"process {os.getpid()}")
    assert len(os.listdir("/proc/self/fd")) == before


# What holds the lock


@pytest.fixture
def store(tmp_path):
    store = AdapterStore(tmp_path / "home")
    publish(store, "alice")
    publish(store, "bob")
    return store


def test_whoever_changes_an_adapter_that_is_being_trained_is_refused(store):
    with store.training("alice"):
        for change in (
            lambda: store.remove("alice"),
            lambda: store.rename("alice", "carol"),
            lambda: store.rename("bob", "alice"),
            lambda: store.training("alice").__enter__(),
        ):
            with pytest.raises(LockedError, match=f"Adapter alice is in use by process {os.getpid()}"):
                change()
        assert store.check("alice") is None  # readers need no lock
        publish(store, "bob", "two")
    store.rename("alice", "carol")
    assert store.names() == ["bob", "carol"]


def test_a_name_that_is_being_trained_for_the_first_time_is_taken(store):
    with store.training("carol"), pytest.raises(LockedError, match="Adapter carol is in use"):
        store.rename("alice", "carol")
    store.rename("alice", "carol")


def test_no_lock_file_is_left(store, tmp_path):
    store.remove("alice")
    assert os.listdir(tmp_path / "home" / "locks") == []
    publish(store, "alice")
    assert store.names() == ["alice", "bob"]


def test_a_refused_disk_is_told(tmp_path):
    (tmp_path / "home").write_bytes(b"")
    with pytest.raises(DiskError), AdapterStore(tmp_path / "home").training("alice"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_lock_file_that_cannot_be_made_is_told(path, monkeypatch, number):
    real = os.open

    def refuse(target, *arguments, **keywords):
        if Path(target) == path:
            raise OSError(number, "words of the system")
        return real(target, *arguments, **keywords)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(DiskError, match=r"alice\.lock cannot be locked \(words of the system\)"):
        get_in(path)
    assert os.listdir(path.parent) == []


def test_a_full_disk_keeps_nobody_from_removing(store, tmp_path):
    def full(operation):
        if operation.kind in ("create", "write"):
            raise OSError(errno.ENOSPC, "words of the system")

    with intercepted(full):
        store.remove("alice")
    assert store.names() == ["bob"]


def test_where_the_system_does_not_tell_when_a_process_began_its_number_counts_nothing(path, monkeypatch):
    monkeypatch.setattr(locks, "_start_time", lambda pid: "")
    owner_file(path).write_text(json.dumps(process_facts(os.getppid()) | {"started": ""}))
    get_in(path)


def test_an_owner_that_is_dead_but_not_waited_for_keeps_nobody_out(path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner_file(path).write_text(json.dumps(process_facts(child.pid)))
    assert is_refused(path, f"process {child.pid}")
    child.kill()
    while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    with locked(path, "Adapter alice"):
        pass
    child.wait()
