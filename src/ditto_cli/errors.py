"""Everything that ditto refuses, as one tree; each class carries the exit code that the command ends with.

    DittoError            1   something else that we foresaw
    ├── InputError        2   a file, folder, setting or argument that cannot be used
    │   └── UnknownAdapterError 2  no adapter of that name
    ├── IncompatibleError 3   an adapter and a base model that do not belong together
    ├── DiskError         4   no space, no rights
    │   └── DamagedError  4   a file of the store is missing or damaged
    ├── MemoryLimitError  5   it does not fit, even one sequence at a time
    ├── NonFiniteError    6   a loss, gradient or weight became NaN or infinite
    ├── LockedError       7   another process works on the same adapter
    ├── DeviceError       8   the device asked for is not there or cannot do it
    └── InterruptedRun  130   Ctrl-C; a training goes on from its checkpoint
        └── TerminatedRun 143 the same by SIGTERM

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
