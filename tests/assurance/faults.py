"""Faults at the N-th change of the disk: kill, torn write, full or broken disk; and a log of all changes."""

import errno
import os
import signal


class Counter:
    """Counts operations and does nothing."""

    def __init__(self):
        self.count = 0

    def __call__(self, operation):
        self.count += 1


class KillAt:
    """Ends the process before operation `number`, counted from 1; a torn write leaves half of its bytes first."""

    def __init__(self, number, *, torn=False):
        self._left = number
        self._torn = torn

    def __call__(self, operation):
        self._left -= 1
        if self._left == 0:
            if self._torn and operation.kind == "write":
                os.write(operation.descriptor, operation.data[: len(operation.data) // 2])
            os.kill(os.getpid(), signal.SIGKILL)


class FailAt:
    """Lets operation `number` fail; a full disk refuses everything that needs space from then on."""

    NEEDS_SPACE = ("create", "write", "mkdir", "sync", "rename")

    def __init__(self, number, error=errno.ENOSPC, *, lasting=True):
        self._left = number
        self._error = error
        self._lasting = lasting
        self.has_failed = False

    def __call__(self, operation):
        self._left -= 1
        if self._left > 0 or (self.has_failed and not self._lasting):
            return
        if operation.kind in self.NEEDS_SPACE or not self._lasting:
            self.has_failed = True
            raise OSError(self._error, os.strerror(self._error))
