"""The system calls that change a disk, each behind one gate; `files` builds all writing on them, nobody else does.

Before each operation the gate asks the interceptor, if one is installed. The tests install one to count operations, to
kill the process before the N-th, to let it fail as a full or broken disk does, or to note all of them for a replay.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

OperationKind = Literal["create", "write", "sync", "rename", "link", "unlink", "mkdir", "rmdir", "sync_folder"]


@dataclass(frozen=True)
class Operation:
    """One change that is about to be made."""

    kind: OperationKind
    path: Path
    target: Path | None = None  # where a rename or link goes
    data: bytes = b""  # what a write adds to the end of the file
    descriptor: int = -1  # the open file of a write


Interceptor = Callable[[Operation], None]
_interceptor: Interceptor | None = None


@contextmanager
def intercepted(interceptor: Interceptor) -> Iterator[None]:
    """Within the block, `interceptor` hears of every operation before it is made, and may raise instead."""
    global _interceptor  # noqa: PLW0603 - one disk, one gate
    before, _interceptor = _interceptor, interceptor
    try:
        yield
    finally:
        _interceptor = before


def create(path: Path, mode: int) -> int:
    """Make a new file, which must not be there; returns its descriptor."""
    _announce(Operation("create", path))
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)


def open_to_append(path: Path) -> int:
    """Open a private file for reading and for writing at its end; makes it if need be."""
    _announce(Operation("create", path))
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)


def write(path: Path, descriptor: int, data: bytes) -> None:
    """Write all of `data`."""
    _announce(Operation("write", path, data=data, descriptor=descriptor))
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync(path: Path, descriptor: int) -> None:
    """Flush a file's content to the disk."""
    _announce(Operation("sync", path))
    os.fsync(descriptor)


def rename(source: Path, target: Path) -> None:
    """Rename a file or folder; a file at `target` is replaced, a folder with something in it is not."""
    _announce(Operation("rename", source, target=target))
    os.replace(source, target)


def link(source: Path, target: Path) -> None:
    """Give a file a second name, which must not be there."""
    _announce(Operation("link", source, target=target))
    os.link(source, target)


def unlink(path: Path) -> None:
    """Remove a file."""
    _announce(Operation("unlink", path))
    os.unlink(path)


def mkdir(path: Path) -> None:
    """Make a private folder."""
    _announce(Operation("mkdir", path))
    os.mkdir(path, 0o700)


def rmdir(path: Path) -> None:
    """Remove an empty folder."""
    _announce(Operation("rmdir", path))
    os.rmdir(path)


def sync_folder(path: Path) -> None:
    """Flush the names in a folder to the disk."""
    _announce(Operation("sync_folder", path))
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems have no flush for folders; nothing more can be done on those.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _announce(operation: Operation) -> None:
    if _interceptor is not None:
        _interceptor(operation)
