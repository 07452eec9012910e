"""The one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from ditto_cli import interrupts
from ditto_cli.cli.network import host_log, protect_process
from ditto_cli.errors import DiskError, DittoError, InterruptedRun, MemoryLimitError


def run_guarded(app: Callable[[], None]) -> None:
    """Run the command line; every foreseen failure ends in one line on stderr and its exit code."""
    interrupts.listen()
    host_log().clear()
    protect_process()
    try:
        _run(app)
    except KeyboardInterrupt:
        _end(interrupts.stopped("Stopped."))
    except DittoError as error:
        _end(error)
    except BrokenPipeError:  # the reader of our output went away: nothing to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # Only the system's words: a path may be private, and a text never belongs here.
        reason = error.strerror or type(error).__name__
        _end(DiskError(f"The system refused to read or write ({reason}); `ditto --debug ...` shows where."))
    except Exception as error:
        # torch's own errors for full memory are told by name and words: importing torch here would slow every command.
        if type(error).__name__ == "OutOfMemoryError":
            _end(MemoryLimitError("The GPU's memory is full: close other programs, or take a smaller --preset."))
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            _end(MemoryLimitError("This machine's memory is full: close other programs, or take a smaller --preset."))
        _end(DittoError(f"Something unforeseen failed ({type(error).__name__}); `ditto --debug ...` shows where."))


def _run(app: Callable[[], None]) -> None:
    """Run typer, and undo what it makes of two exceptions: Ctrl-C ends it without a word, a closed pipe with 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == InterruptedRun.exit_code:
            raise KeyboardInterrupt from None
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    finally:
        try:
            sys.stdout.flush()  # here, where a pipe that was closed is still told from a failure
        finally:
            host_log().tell()  # before the error line, which is the last one


def _end(error: DittoError) -> None:
    from ditto_cli.cli.render import fail

    if os.environ.get("DITTO_DEBUG"):
        with suppress(OSError):
            traceback.print_exc()
    fail(str(error))
    sys.exit(error.exit_code)
