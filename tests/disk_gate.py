"""Between `store.files`, which alone changes the store, and the system: hears of each change, and may stop it.

A test installs a function to count the changes, to kill the process before the N-th, to let it fail as a full or broken
disk does, or to note all of them for a replay.
"""

import os
import stat
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.store import files


@dataclass(frozen=True)
class Operation:
    """A change that is about to be made: create, write, sync, rename, link, unlink, mkdir, rmdir or sync_folder."""

    kind: str
    path: Path
    target: Path | None = None  # where a rename or link goes
    data: bytes = b""  # what a write adds to the end of the file
    descriptor: int = -1  # the open file of a write


@contextmanager
def intercepted(interceptor):
    """Within the block, `interceptor` hears of every operation before it is made, and may raise instead."""
    before, files.os = files.os, _Gate(interceptor)
    try:
        yield
    finally:
        files.os = before


class _Gate:
    """The module `os`, as `files` uses it."""

    def __init__(self, interceptor):
        self._announce = interceptor
        self._paths = {}  # of open files

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0o777):
        if flags & os.O_CREAT:
            self._announce(Operation("create", Path(path)))
        descriptor = os.open(path, flags, mode)
        self._paths[descriptor] = Path(path)
        return descriptor

    def write(self, descriptor, data):
        self._announce(Operation("write", self._paths[descriptor], data=bytes(data), descriptor=descriptor))
        return os.write(descriptor, data)

    def fsync(self, descriptor):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        self._announce(Operation("sync_folder" if is_folder else "sync", self._paths[descriptor]))
        os.fsync(descriptor)

    def replace(self, source, target):
        self._announce(Operation("rename", source, target=target))
        os.replace(source, target)

    def link(self, source, target):
        self._announce(Operation("link", source, target=target))
        os.link(source, target)

    def unlink(self, path):
        self._announce(Operation("unlink", path))
        os.unlink(path)

    def mkdir(self, path, mode):
        self._announce(Operation("mkdir", path))
        os.mkdir(path, mode)

    def rmdir(self, path):
        self._announce(Operation("rmdir", path))
        os.rmdir(path)
