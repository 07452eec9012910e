"""Which reader reads a file, by its suffix; how large it may be; and what is said of files that are not read.

Readers of formats that may hang or fill the memory run in a process of their own, with limits of time and memory. It is
started for the first such file and reads one after the other; one that a file has stopped is replaced for the next. It
ends with ours, however ours ends. What libraries print, warn of and log in it is not shown.
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
from pathlib import PurePosixPath
from queue import SimpleQueue

from ditto_cli.demonstrations.formats.chats import read_chat_text
from ditto_cli.demonstrations.formats.office import read_office
from ditto_cli.demonstrations.formats.pdf import read_pdf
from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain
from ditto_cli.demonstrations.formats.records import read_csv, read_json, read_jsonl
from ditto_cli.demonstrations.formats.web import read_page
from ditto_cli.demonstrations.mail.message import read_email
from ditto_cli.demonstrations.reader_basics import damaged
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reader, Reading


def _chat_or(read: Reader) -> Reader:
    return lambda name, raw: read_chat_text(name, raw) or read(name, raw)


READERS: dict[str, Reader] = {
    ".csv": read_csv,
    ".docx": read_office,
    ".eml": read_email,
    ".htm": read_page,
    ".html": read_page,
    ".js": read_json,
    ".json": read_json,
    ".jsonl": read_jsonl,
    ".markdown": _chat_or(read_markdown),
    ".md": _chat_or(read_markdown),
    ".odt": read_office,
    ".pdf": read_pdf,
    ".tsv": read_csv,
    ".txt": _chat_or(read_plain),
}
# Their readers run here, unless it is a chat of years; those of all other kinds in a process that may hang.
_QUICK_SUFFIXES = (".eml", ".markdown", ".md", ".txt")
# Read one text after the other: they may be far larger than the memory. Their readers are in `sources`.
STREAM_SUFFIXES = (".mbox", ".zip")

_MEBIBYTE = 2**20
_TEXT_BYTES = 2 * _MEBIBYTE  # a novel
_MAX_BYTES = {
    **dict.fromkeys((".htm", ".html"), 16 * _MEBIBYTE),
    # With pictures and attachments; a chat of years.
    **dict.fromkeys((".docx", ".eml", ".odt", ".pdf", ".txt"), 32 * _MEBIBYTE),
    **dict.fromkeys((".csv", ".js", ".json", ".jsonl", ".tsv"), 64 * _MEBIBYTE),
    ".zip": 2048 * _MEBIBYTE,
    ".mbox": 64 * 1024 * _MEBIBYTE,
}
REFUSED: dict[str, str] = {suffix: reason for reason, suffixes in words("refused_kinds").items() for suffix in suffixes}
_OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini"})


def read_safely(suffix: str, name: str, raw: bytes) -> Reading:
    """What a file holds, whatever its bytes are and whatever a library makes of them; `suffix` is in `READERS`."""
    is_quick = suffix in _QUICK_SUFFIXES and (suffix == ".eml" or len(raw) <= _TEXT_BYTES)
    return READERS[suffix](name, raw) if is_quick else _process.read(suffix, name, raw)


def max_bytes(suffix: str) -> int:
    """How large a file with this suffix (".txt", in lower case) may be to be read."""
    return _MAX_BYTES.get(suffix, _TEXT_BYTES)


def reason_to_skip(name: str) -> str | None:
    """Why a file is left out, told by its name, or its path in an archive, alone; None if it is to be read."""
    path = PurePosixPath(name)
    if any(part.startswith(".") or part.lower() in _OF_SYSTEMS for part in path.parts):
        return "a hidden file"
    if path.name.lower().startswith("readme"):
        return "a README, not a text to learn from"
    suffix = path.suffix.lower()
    if suffix in READERS or suffix in STREAM_SUFFIXES:
        return None
    return REFUSED.get(suffix) or f"not one of {', '.join(sorted((*READERS, *STREAM_SUFFIXES)))}"


SECONDS = 20
SECONDS_PER_MEBIBYTE = 4  # a chat as JSON takes less than one
MEGABYTES = 1024

_PROGRAM = """
from ditto_cli.demonstrations.readers import READERS, serve
serve()
"""

_Request = tuple[str, str, bytes]  # suffix, name, bytes


class ReadingProcess:
    """A process that reads files, each in so many seconds, and for each MiB of it `SECONDS_PER_MEBIBYTE` more."""

    def __init__(self, seconds: float = SECONDS, program: str = _PROGRAM) -> None:
        self._seconds = seconds
        self._program = program
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.stop)

    def read(self, suffix: str, name: str, raw: bytes) -> Reading:
        """What the reader for this suffix gives back."""
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
            self._process = subprocess.Popen(
                # -P: a module in the folder where the user is must not be taken for one of ours.
                [sys.executable, "-P", "-c", self._program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            assert self._process.stdout is not None, "a pipe"
            is_ready = self._process.stdout.read(1)  # the clock is for the file
            assert is_ready, "it starts"
        return self._process


_process = ReadingProcess()


def serve() -> None:
    """What the process runs: answers requests until its standard input ends."""
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
            answer = pickle.dumps(READERS[suffix](name, raw))
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
