"""Ctrl-C and SIGTERM -> KeyboardInterrupt, at a moment when nothing is half done.

Once `listen` was called, the first signal is held back while a `deferred` block lasts (an update of the weights, a
write of a checkpoint); a second one is obeyed at once, wherever it comes.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from ditto_cli.errors import InterruptedRun, TerminatedRun

_HELD_BACK = b"\nStopping as soon as this step is done; once more stops at once.\n"


@dataclass
class _Heard:
    first: int | None = None
    count: int = 0
    depth: int = 0
    is_pending: bool = False
    was_cut: bool = False


_heard = _Heard()


def listen() -> None:
    """Hear SIGINT and SIGTERM from now on, and forget those heard before; a signal that is ignored stays so."""
    if threading.current_thread() is not threading.main_thread():
        return
    vars(_heard).update(vars(_Heard()))
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as the shell has it for jobs in the background
            signal.signal(number, _handle)


@contextmanager
def deferred() -> Iterator[None]:
    """Within the block the first signal waits; it is raised as KeyboardInterrupt at the block's end."""
    if _heard.depth == 0:
        _heard.was_cut = False
    _heard.depth += 1
    try:
        yield
    except KeyboardInterrupt:
        _heard.was_cut = True
        raise
    finally:
        _heard.depth -= 1
    if _heard.is_pending and _heard.depth == 0:
        _heard.is_pending = False
        raise KeyboardInterrupt


def is_urgent() -> bool:
    """Whether a second signal came, or one cut a `deferred` block short: what is in memory may be half done."""
    return _heard.count > 1 or _heard.was_cut


def stopped(message: str) -> InterruptedRun:
    """The error that ends the command: exit code 130 after Ctrl-C, 143 after SIGTERM."""
    return TerminatedRun(message) if _heard.first == signal.SIGTERM else InterruptedRun(message)


def _handle(number: int, frame: FrameType | None) -> None:
    _heard.count += 1
    if _heard.first is None:
        _heard.first = number
    if _heard.depth > 0 and _heard.count == 1:
        _heard.is_pending = True
        with suppress(OSError):  # Ctrl-C has ended the reader of a pipe too
            os.write(2, _HELD_BACK)
        return
    _heard.is_pending = False
    raise KeyboardInterrupt
