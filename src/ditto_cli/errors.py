"""Everything that ditto refuses, as one tree; each class carries the exit code that the command ends with.

A message is one line: what was given, why it cannot work, what to do. It never contains text of a demonstration.
"""

from __future__ import annotations


class DittoError(Exception):
    """An error that is told to the user in one line, without a traceback."""

    exit_code = 1


class InputError(DittoError):
    """A file, folder, setting or argument that cannot be used."""

    exit_code = 2


class UnknownAdapterError(InputError):
    """There is no adapter of that name."""


class IncompatibleError(DittoError):
    """An adapter and a base model that do not belong together."""

    exit_code = 3


class DiskError(DittoError):
    """The disk is full, not writable, or holds something damaged."""

    exit_code = 4


class DamagedError(DiskError):
    """A file of the store is missing, or is not what was written; the disk itself did what was asked."""


class MemoryLimitError(DittoError):
    """The work does not fit into memory, even one sequence at a time."""

    exit_code = 5


class NonFiniteError(DittoError):
    """A loss, gradient or weight became NaN or infinite; nothing of it was saved."""

    exit_code = 6


class LockedError(DittoError):
    """Another process works on the same adapter."""

    exit_code = 7


class DeviceError(DittoError):
    """The device asked for is not there or cannot do what was asked."""

    exit_code = 8


class InterruptedRun(DittoError):
    """The user pressed Ctrl-C; a training goes on from its last checkpoint when it is started again."""

    exit_code = 130


class TerminatedRun(InterruptedRun):
    """The process was asked to end by SIGTERM; as after Ctrl-C, nothing is lost."""

    exit_code = 143
