"""One process at a time works on an adapter; the others are told who does.

The system's own lock (flock) goes with its process, however that ends. On disks where it silently does nothing, a
second file, which only one process can make, names the owner and so tells whether it lives. And if both fail, nothing
breaks: generations are published under numbers of their own, after a look at every byte.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.errors import DiskError, LockedError
from ditto_cli.store import files

OWNER_SUFFIX = ".owner"

_SCRATCH = re.compile(re.escape(files.TEMPORARY_PREFIX) + r"([0-9]+)-([0-9]+)-[0-9a-f]{8}")
_WRITING_SECONDS = 10.0
_UNSUPPORTED = (errno.ENOLCK, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


@dataclass(frozen=True)
class Owner:
    """A process: its number, when it began (numbers come again), and its machine."""

    pid: int
    started: str
    host: str

    @staticmethod
    def this() -> Owner:
        """The process that runs this."""
        return Owner(os.getpid(), _start_time(os.getpid()), socket.gethostname())

    def lives(self) -> bool:
        """Whether it still runs; of another machine's processes nothing can be known."""
        if self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):  # OverflowError: a number that no process can have
            return False
        except PermissionError:  # another user's
            pass
        # Where the system does not tell when a process began, its number says nothing; the system's lock has to do.
        return self.started != "" and _start_time(self.pid) == self.started


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`, which is made and afterwards removed; its folder must exist.

    Args:
        path: the lock file; the owner's file lies beside it.
        what: what is locked, for the message.

    Raises:
        LockedError: another process holds it.
        DiskError: the files cannot be made.
    """
    claim = path.with_suffix(OWNER_SUFFIX)
    descriptor = _acquire(path, claim, what)
    try:
        _claim(claim, what)
        try:
            yield
        finally:
            # What was done under the lock is done; the next owner puts the file of a dead one aside.
            with suppress(DiskError):
                files.remove_tree(claim)
    finally:
        try:
            with suppress(DiskError):  # whoever has opened it meanwhile sees that it is gone
                files.remove_tree(path)
        finally:
            os.close(descriptor)


def scratch_name() -> str:
    """A name for a folder of this process alone, by which `is_abandoned` knows when it is dead."""
    owner = Owner.this()
    return f"{files.TEMPORARY_PREFIX}{owner.pid}-{owner.started or 0}-{secrets.token_hex(4)}"


def is_abandoned(name: str) -> bool:
    """Whether a name is of `scratch_name` in a process that is dead."""
    match = _SCRATCH.fullmatch(name)
    return match is not None and not Owner(int(match[1]), match[2], socket.gethostname()).lives()


def _acquire(path: Path, claim: Path, what: str) -> int:
    """The system's own lock; where there is none, an open file."""
    while True:
        descriptor = files.open_private(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise _locked_error(what, _read_owner(claim)) from None
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                os.close(descriptor)
                raise DiskError(f"{path} cannot be locked ({error.strerror}): choose another $DITTO_HOME.") from None
        if _is_still(path, descriptor):
            return descriptor
        os.close(descriptor)  # its last owner removed it: the next one makes a new file


def _claim(claim: Path, what: str) -> None:
    """Make the owner's file, which only one process can; that of a dead owner is put aside."""
    while not _made(claim):
        owner = _read_owner(claim)
        # One of this very process is what could not be removed before: it has the system's lock.
        if (owner.lives() and owner != Owner.this()) if owner else _is_fresh(claim):
            raise _locked_error(what, owner)
        aside = files.put_aside(claim)
        if _read_owner(aside) != owner:  # another process was quicker to take the dead one's place: it is theirs
            with suppress(DiskError):
                files.move(aside, claim)
            raise _locked_error(what, _read_owner(claim))
        files.remove_tree(aside)


def _made(claim: Path) -> bool:
    try:
        return files.make_exclusively(claim, json.dumps(vars(Owner.this())).encode())
    except DiskError as error:
        # On a full disk the system's lock has to do, else nothing could be removed from it.
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        raise


def _is_fresh(claim: Path) -> bool:
    """Whether a file without a readable owner may be one that is just being written."""
    with suppress(OSError):
        return time.time() - claim.stat().st_mtime < _WRITING_SECONDS
    return False


def _locked_error(what: str, owner: Owner | None) -> LockedError:
    who = "another process" if owner is None else f"process {owner.pid}"
    return LockedError(f"{what} is in use by {who}: wait for it to end, or stop it.")


def _is_still(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read_owner(claim: Path) -> Owner | None:
    """Who wrote the file; None where nobody did, or a crash cut it off."""
    try:
        content = json.loads(claim.read_bytes())
        return Owner(int(content["pid"]), str(content["started"]), str(content["host"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _start_time(pid: int) -> str:
    """When a process began, in the system's own words; empty where the system does not tell."""
    try:
        # The fields behind the name, which stands in brackets and may hold anything.
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
