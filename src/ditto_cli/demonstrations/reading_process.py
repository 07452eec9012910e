"""The readers of formats that may hang or fill the memory, in a process of their own, with limits of time and memory.

It is started for the first such file and reads one after the other; one that a file has stopped is replaced for the
next. It ends with ours, however ours ends. What libraries print, warn of and log in it is not shown.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import SimpleQueue

from ditto_cli.demonstrations.formats.common import damaged
from ditto_cli.errors import InputError
from ditto_cli.types import Reader, Reading

SECONDS = 20
SECONDS_PER_MEBIBYTE = 4  # a chat as JSON takes less than one
MEGABYTES = 1024

# The __init__ of this room imports what reads no file (numpy, pydantic), which would take most of the time to start.
_PROGRAM = """
import sys, types
room = sys.modules[sys.argv[1]] = types.ModuleType(sys.argv[1])
room.__path__ = [sys.argv[2]]
from ditto_cli.demonstrations.readers import READERS
from ditto_cli.demonstrations.reading_process import serve
serve(READERS)
"""

_Request = tuple[str, str, bytes]  # suffix, name, bytes


class ReadingProcess:
    """A process that reads files, for as long as this object is used.

    Args:
        seconds: how long it may take for one file, and for each MiB of it `SECONDS_PER_MEBIBYTE` longer.
        program: what it runs, for tests.
    """

    def __init__(self, seconds: float = SECONDS, program: str = _PROGRAM) -> None:
        self._seconds = seconds
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def read(self, suffix: str, name: str, raw: bytes) -> Reading:
        """What the reader for this suffix gives back.

        Raises:
            InputError: the reader refuses the file, fails, or hits a limit.
        """
        with self._lock:
            try:
                answer = self._ask((suffix, name, raw))
            except BaseException:  # Ctrl-C: what it would still answer belongs to no later file
                self.stop()
                raise
        if isinstance(answer, Reading):
            return answer
        raise InputError(answer)

    def stop(self) -> None:
        """Ends the process; a further file would start another one."""
        process, self._process = self._process, None
        if process is not None:
            # OSError: of a request that it did not take.
            with contextlib.suppress(OSError), process:
                process.kill()

    def _ask(self, request: _Request) -> Reading | str:
        is_new = self._process is None
        process = self._running()
        seconds = self._seconds + SECONDS_PER_MEBIBYTE * (len(request[2]) // 2**20)
        end = time.monotonic() + seconds
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
            assert process.stdin is not None, "a pipe"
            assert process.stdout is not None, "a pipe"
            pickle.dump(request, process.stdin)
            process.stdin.flush()
            answer: Reading | str = pickle.load(process.stdout)
        # It was killed, or a library brought it down.
        except (OSError, EOFError, pickle.UnpicklingError):
            self.stop()
            if time.monotonic() >= end:
                return _hit_limit(request[1], f"takes more than {seconds:g} s")
            # One that has read before may have been killed before this file came: a new one tells.
            return damaged(request[1]) if is_new else self._ask(request)
        finally:
            timer.cancel()
        return answer

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            arguments = [__name__.rpartition(".")[0], str(Path(__file__).parent)]
            self._process = subprocess.Popen(
                # -P: a module in the folder where the user is must not be taken for one of ours.
                [sys.executable, "-P", "-c", self._program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None, "a pipe"
            is_ready = self._process.stdout.read(1)  # the clock is for the file
            assert is_ready, "it starts"
        return self._process


def serve(readers: Mapping[str, Reader]) -> None:
    """What the process runs: answers requests, with the readers by suffix, until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; it ends when our process wants it to
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    _limit_memory()
    requests: SimpleQueue[_Request] = SimpleQueue()
    threading.Thread(target=_receive, args=(requests,), daemon=True).start()
    answers.write(b".")
    answers.flush()
    while True:
        request = requests.get()
        suffix, name, raw = request
        try:
            answer = pickle.dumps(readers[suffix](name, raw))
        except InputError as error:
            answer = pickle.dumps(str(error))
        except MemoryError:
            answer = pickle.dumps(_hit_limit(name, f"needs more than {MEGABYTES} MB of memory"))
        # On damaged files libraries raise whatever their code runs into: KeyError, struct.error, even SystemExit.
        except BaseException:
            answer = pickle.dumps(damaged(name))
        del request, raw
        answers.write(answer)
        answers.flush()


def _receive(requests: SimpleQueue[_Request]) -> None:
    try:
        while True:
            requests.put(pickle.load(sys.stdin.buffer))
    finally:
        os._exit(0)  # our process has ended, whatever a reader is doing


def _limit_memory() -> None:
    if sys.platform == "win32":
        return
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEGABYTES * 2**20
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit, and does not always take it
        resource.setrlimit(resource.RLIMIT_AS, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))


def _hit_limit(name: str, problem: str) -> str:
    return f"{name} {problem} to read, so it is damaged or no text of a person: save the text itself as .txt."
