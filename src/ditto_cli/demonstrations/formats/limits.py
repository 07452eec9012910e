"""Time and memory for a library that reads a file from somewhere, and its failures as one line.

Such files may be built to take for ever or to fill the memory. Where the platform has no such limits, none are set.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from ditto_cli.errors import InputError

SECONDS = 20.0
MEGABYTES = 768
_AGAIN_SECONDS = 0.5  # a library may catch what ends it, so the alarm goes on
_MEBIBYTE = 2**20


class _TimeUpError(BaseException):
    """Ends a library's work. No Exception, for libraries catch those and go on."""


@contextmanager
def limited(name: str, seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Ends the work inside it after `seconds`, or when it takes `megabytes` more of memory than the process has.

    Warnings and log lines of what runs inside are not shown. The clock runs in the main thread only.

    Raises:
        InputError: a limit is hit.
    """
    mine = _TimeUpError()
    try:
        with _silenced(), _memory_limit(megabytes), _time_limit(seconds, mine):
            yield
    except _TimeUpError as time_up:
        if time_up is not mine:
            raise
        problem = f"takes more than {seconds:.0f} s to read"
    except MemoryError:
        problem = f"needs more than {megabytes} MB of memory to read"
    except RecursionError:
        problem = "is nested too deep to read"
    else:
        return
    raise InputError(f"{name} {problem}, so it is damaged or no text of a person: save the text itself as .txt.")


@contextmanager
def parsing(name: str, kind: str) -> Iterator[None]:
    """Around calls of a library that parses: its failures become one line.

    Args:
        name: the file, for the user.
        kind: what the file claims to be, with its article: "a PDF".

    Raises:
        InputError: the library failed, or a limit is hit.
    """
    try:
        with limited(name):
            yield
    except InputError:
        raise
    # On damaged files these libraries raise whatever their code runs into: KeyError, AttributeError, struct.error.
    except Exception:
        problem = f"is damaged, or not {kind} in spite of its name"
    else:
        return
    raise InputError(f"{name} {problem}: open it in the program that wrote it, and save the text as .txt.")


@contextmanager
def _silenced() -> Iterator[None]:
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def _memory_limit(megabytes: int) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    present = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    wanted = present + megabytes * _MEBIBYTE
    if soft != resource.RLIM_INFINITY:
        wanted = min(wanted, soft)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextmanager
def _time_limit(seconds: float, time_up: _TimeUpError) -> Iterator[None]:
    if sys.platform == "win32" or threading.current_thread() is not threading.main_thread():
        yield
        return
    start = time.monotonic()
    outer_handler = signal.getsignal(signal.SIGALRM)
    outer_seconds, outer_interval = signal.getitimer(signal.ITIMER_REAL)
    is_outer_sooner = 0 < outer_seconds < seconds
    is_open, has_rung = True, False

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal has_rung
        if not is_open:
            return
        if is_outer_sooner and callable(outer_handler) and time.monotonic() - start < seconds:
            has_rung = True
            outer_handler(number, frame)
            return
        raise time_up

    with ExitStack() as restored:
        # Of an outer timer that rang meanwhile, the next time is an interval away; never, where it has none.
        restored.callback(
            lambda: _put_back(outer_handler, start, outer_interval if has_rung else outer_seconds, outer_interval)
        )
        signal.signal(signal.SIGALRM, end)
        signal.setitimer(signal.ITIMER_REAL, outer_seconds if is_outer_sooner else seconds, _AGAIN_SECONDS)
        try:
            yield
        finally:
            is_open = False
            signal.setitimer(signal.ITIMER_REAL, 0)


def _put_back(
    handler: Callable[[int, FrameType | None], object] | int | None, start: float, seconds: float, interval: float
) -> None:
    if sys.platform == "win32":
        return
    signal.signal(signal.SIGALRM, signal.SIG_DFL if handler is None else handler)
    if seconds:
        # At least a moment: 0 would switch the timer off that is due.
        signal.setitimer(signal.ITIMER_REAL, max(1e-3, seconds - (time.monotonic() - start)), interval)
