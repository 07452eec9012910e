"""Work in forked children of a process that has everything imported: a kill costs no start of torch."""

import io
import os
import signal
import sys
import time
import traceback
from dataclasses import dataclass

KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (128 and the signal's number when killed), and what it wrote."""

    code: int
    err: str


class Child:
    """A function in a forked process; its standard error goes to a file."""

    def __init__(self, function, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / f"child-{time.monotonic_ns()}.err"
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _run(function, self._log)

    def send(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=120.0):
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                return Ended(code if code >= 0 else 128 - code, self.err())
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise TimeoutError(f"the child did not end:\n{self.err()}")
            time.sleep(0.002)

    def err(self):
        return self._log.read_text(encoding="utf-8", errors="replace")


def in_child(function, folder, seconds=120.0):
    """Run a function in a child to its end."""
    return Child(function, folder).wait(seconds)


def _run(function, log):
    code = 99
    try:
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, 2)
        os.dup2(descriptor, 1)
        # pytest's capture put objects of its own in the place of these.
        sys.stdout = sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - as long as the child
        sys.stdin = io.StringIO()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0)
        function()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
