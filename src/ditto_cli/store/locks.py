"""One process at a time works on an adapter; the others are told who does.

The system's own lock (flock, by `filelock`) goes with its process, however that ends. Beside it lies a file that names
the owner, for the message, and for disks where the system's lock silently does nothing: only one process can make that
file, and it counts while that process lives. And if both fail, no adapter breaks: a generation is published whole.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ditto_cli.errors import DiskError, LockedError
from ditto_cli.store import files

OWNER_SUFFIX = ".owner"

_SCRATCH = re.compile(re.escape(files.TEMPORARY_PREFIX) + r"([0-9]+)-([0-9]+)-[0-9a-f]{8}")
_UNSUPPORTED = (errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)
_TRY_SECONDS = 0.1  # an owner that just ends removes the file that this process has opened: then once more


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, which is made and afterwards removed; its folder must exist.

    The owner's file lies beside it. `what` is locked, for the LockedError where another process holds it.
    """
    from filelock import FileLock, Timeout  # takes 0.1 s, for which commands that only read need not wait

    owner_file = path.with_suffix(OWNER_SUFFIX)
    lock = FileLock(path, timeout=_TRY_SECONDS, poll_interval=_TRY_SECONDS / 4, mode=0o600, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise _locked_error(what, owner_file) from None
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            with files.disk_errors(path, "locked"):
                raise
    try:
        _claim(owner_file, what)
        try:
            yield
        finally:
            # What was done under the lock is done; the next owner removes the file of a dead one.
            with suppress(DiskError):
                files.remove_tree(owner_file)
    finally:
        try:
            with suppress(DiskError):  # whoever has opened it meanwhile sees that it is gone
                files.remove_tree(path)
        finally:
            lock.release()


def scratch_name() -> str:
    """A name for a folder of this process alone, by which `is_abandoned` knows when it is dead."""
    pid = os.getpid()
    return f"{files.TEMPORARY_PREFIX}{pid}-{_start_time(pid) or 0}-{secrets.token_hex(4)}"


def is_abandoned(name: str) -> bool:
    """Whether a name is of `scratch_name` in a process that is dead; never where the system does not tell."""
    match = _SCRATCH.fullmatch(name)
    return match is not None and (_start_time(match[1]) or "0") != match[2]


def _claim(owner_file: Path, what: str) -> None:
    """Make the owner's file, which only one process can; that of a dead owner is removed."""
    this = process_facts(os.getpid())
    try:
        for _ in range(2):
            if files.make_exclusively(owner_file, json.dumps(this).encode()):
                return
            owner = _read_owner(owner_file)
            # One of this very process is what could not be removed before: it has the system's lock. Nothing is known
            # of another machine's processes, and where the system does not tell when one began.
            is_alive = owner and owner.get("started") and owner == process_facts(owner.get("pid", 0))
            if owner != this and is_alive:
                break
            files.remove_tree(owner_file)
    except DiskError as error:
        # On a full disk the system's lock has to do, else nothing could be removed from it.
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
            return
        raise
    raise _locked_error(what, owner_file)


def _locked_error(what: str, owner_file: Path) -> LockedError:
    owner = _read_owner(owner_file)
    who = "another process" if owner is None else f"process {owner.get('pid')}"
    return LockedError(f"{what} is in use by {who}: wait for it to end, or stop it.")


def _read_owner(owner_file: Path) -> dict[str, Any] | None:
    """Who made the file; None where nobody did, or a crash cut it off."""
    try:
        owner = json.loads(owner_file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return owner if isinstance(owner, dict) else None


def process_facts(pid: int) -> dict[str, Any]:
    """What the owner's file says of a process: its number, when it began (numbers come again), and its machine."""
    return {"pid": pid, "started": _start_time(pid), "host": socket.gethostname()}


def _start_time(pid: int | str) -> str:
    """When a process began, in the system's own words; empty where it is dead, or the system does not tell."""
    try:
        # The fields behind the name, which stands in brackets and may hold anything: first the state.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return "" if fields[0] in ("Z", "X") else fields[19]  # dead, and nobody has asked how it ended
    except (OSError, IndexError):
        return ""
