"""What a user points at -> all texts in it: files of any format, mail archives, zip archives, folders with all below.

One bad file among hundreds is said and left out. A zip archive is read in memory, never extracted. Nothing is waited
for: readers of formats that may hang or fill the memory run in a process of their own, with limits of time and memory.
A folder of demonstrations is `folder`'s business.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import lzma
import os
import pickle
import resource
import signal
import stat
import struct
import subprocess
import sys
import threading
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import BinaryIO, cast

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, PAIRS_FILE, PROMPT_FILE
from ditto_cli.demonstrations import mail
from ditto_cli.demonstrations.authorship import own_texts
from ditto_cli.demonstrations.chats import read_chat_text
from ditto_cli.demonstrations.documents import read_office, read_pdf
from ditto_cli.demonstrations.encoding import damaged, normalise_text, open_file, read_whole, readable_name
from ditto_cli.demonstrations.posts import read_markdown, read_page, read_plain
from ditto_cli.demonstrations.quotes import text_of_saved_mail
from ditto_cli.demonstrations.tabular import read_csv, read_json, read_jsonl
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import People, Reader, Reading, Skipped, SourceText


def _chat_or(read: Reader) -> Reader:
    return lambda name, raw: read_chat_text(name, raw) or read(name, raw)


def _read_text(name: str, raw: bytes) -> Reading:
    """A .txt file, which may be a mail that was saved as text."""
    (text,) = read_plain(name, raw).texts
    own = text_of_saved_mail(text.text)
    if own is not None and not own.strip():
        raise InputError(f"{name}: nothing in it was written by its sender.")
    return Reading((text if own is None else replace(text, text=normalise_text(own)),))


_MEBIBYTE = 2**20
_FORMATS: tuple[tuple[str, Reader, int], ...] = (  # suffixes, and how many MiB such a file may have
    (".csv .tsv", read_csv, 64),
    (".docx .odt", read_office, 32),  # with pictures, as mails have attachments
    (".eml", mail.read_email, 32),
    (".htm .html", read_page, 16),
    (".js .json", read_json, 64),
    (".jsonl", read_jsonl, 64),
    (".markdown .md", _chat_or(read_markdown), 2),  # a novel
    (".pdf", read_pdf, 32),
    (".txt", _chat_or(_read_text), 32),  # a chat of years
)
READERS: dict[str, Reader] = {suffix: read for suffixes, read, _ in _FORMATS for suffix in suffixes.split()}
_MAX_BYTES = {suffix: num * _MEBIBYTE for suffixes, _, num in _FORMATS for suffix in suffixes.split()}
REFUSED: dict[str, str] = {suffix: reason for reason, suffixes in words("refused_kinds").items() for suffix in suffixes}
MAX_FILES = 20_000  # in a zip archive
MAX_TEXTS = 200_000
_MAX_INNER_BYTES, _MOST_BESIDE_AN_ARCHIVE = 256 * _MEBIBYTE, 20
MAX_CHARACTERS = 2**21  # in one text
# What the standard library raises on damaged, protected and unknown archives and members.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, OSError, RuntimeError, ValueError, ArithmeticError, LookupError),
)

Item = SourceText | Skipped


def read_sources(paths: Sequence[Path], me: Sequence[str] = ()) -> Reading:
    """All texts below `paths`; of archives of mail and of chats only what the person wrote, as `only_own` tells it.

    Raises:
        UnknownAuthorError: several people wrote, and `me` names none of them.
        InputError: a path that cannot be read, nothing usable in any, or mail whose owner cannot be told.
    """
    items: list[Item] = []
    given: set[str] = set()
    num_texts: Counter[str] = Counter()  # by id: two files may have one name
    for path in paths:
        for item in read_source(path):
            if isinstance(item, SourceText):
                num_texts[item.id] += 1
                if (num := num_texts[item.id]) > 1:
                    item = replace(item, id=f"{item.id} ({num})")  # noqa: PLW2901
                if path.suffix.lower() == ".eml":  # who hands in a single mail says that it is the person's
                    given.add(item.id)
            items.append(item)
            if len(items) > MAX_TEXTS:
                raise InputError(f"There are more than {MAX_TEXTS} texts in what is given: give a part of them.")
    reading = only_own(items, me, given=given)
    if not reading.texts:
        shown = ", ".join(readable_name(str(path)) for path in paths[:3])
        reasons = "; ".join(list(dict.fromkeys(entry.reason for entry in reading.skipped))[:3]) or "nothing"
        raise InputError(f"{shown}: there is no text of yours in it ({reasons}): give files or mail that you wrote.")
    return reading


def only_own(items: Sequence[Item], me: Sequence[str] = (), *, given: Collection[str] = ()) -> Reading:
    """Without what others wrote; what a mail answers becomes part of its prompt where that mail is there too.

    `given` are ids of mails that were handed in one by one, and are the person's whatever their sender.
    """
    people = {names[-1]: names for item in items if isinstance(item, People) for names in item.names}
    texts = mail.link_originals(
        [
            replace(item, authors=people.get((item.authors or ("",))[-1], item.authors))
            for item in items
            if isinstance(item, SourceText)
        ]
    )
    skipped = [item for item in items if isinstance(item, Skipped)]
    own, received = own_texts([text for text in texts if text.id not in given], me)
    kept = {text.id for text in own}.union(given)
    return Reading(tuple(text for text in texts if text.id in kept), (*skipped, *received))


def read_source(path: Path, name: str | None = None) -> Iterator[Item]:
    """The texts of one file or folder; a file of mails may have any name."""
    name = name or readable_name(path.name if path.name not in ("", "..") else path.resolve().name)
    suffix = path.suffix.lower()
    if os.path.isdir(path):
        yield from _of_folder(path, name)
    elif suffix in READERS:
        yield from _of_bytes(suffix, name, read_whole(path, name, max_bytes(suffix)))
    else:
        with open_file(path, name) as file:
            if suffix not in STREAM_READERS and not mail.is_mbox(file.read(4096)):
                raise InputError(f"{name} is left out: {reason_to_skip(path.name) or 'not a text'}.")
            file.seek(0)
            yield from STREAM_READERS.get(suffix, mail.read_mbox)(name, file)


def _of_bytes(suffix: str, name: str, raw: bytes) -> Iterator[Item]:
    reading = read_safely(suffix, name, raw)
    for text in reading.texts:
        if len(text.text) > MAX_CHARACTERS:
            raise InputError(f"{text.id} has more than {MAX_CHARACTERS:,} characters: give the part that matters.")
    yield from reading.texts
    yield from reading.skipped


def _of_folder(folder: Path, name: str) -> Iterator[Item]:
    """The files in a folder and below it, in the order of their names; links to folders are not followed."""
    if mail.is_maildir(folder):
        yield from mail.read_maildir(name, folder)
        return
    if (mbox := mail.apple_mbox_file(folder)) is not None:
        yield from read_source(mbox, name)
        return
    names = sorted(file_names(folder)) if name.count("/") < 200 else []  # no folders lie deeper
    # What is kept back in a folder of demonstrations is never trained on.
    own = (FOLDER_FILE, PROMPT_FILE, PAIRS_FILE, HELD_OUT_FOLDER) if FOLDER_FILE in names else ()
    for entry in names:
        path, shown = folder / entry, f"{name}/{readable_name(entry)}"
        if entry.startswith(".") or entry in own or (os.path.isdir(path) and path.is_symlink()):
            continue
        # Thunderbird's mbox files have no suffix.
        is_of_known_kind = not path.suffix or path.suffix.lower() in (*READERS, *STREAM_READERS) or os.path.isdir(path)
        if not is_of_known_kind and (why := reason_to_skip(path.name)):
            yield Skipped(shown, why)
            continue
        try:
            yield from read_source(path, shown)
        except InputError as error:
            yield _left_out(shown, error)


def file_names(folder: Path) -> list[str]:
    """Names of all that lies in a folder; none where there is no folder."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _left_out(name: str, error: InputError) -> Skipped:
    return Skipped(name, str(error).removeprefix(name).removeprefix(" is left out").lstrip(": ").rstrip("."))


def read_zip(name: str, stream: BinaryIO) -> Iterator[Item]:
    """The texts of an archive, in its order, as "export.zip/posts/a.html"."""
    try:
        package = zipfile.ZipFile(stream)
    except _DAMAGED:
        raise InputError(damaged(name)) from None
    with package:
        # Not is_dir(), which fails where a member has no name.
        members = [member for member in package.infolist() if not member.filename.endswith("/")]
        if len(members) > MAX_FILES:
            raise InputError(f"{name} holds more than {MAX_FILES} files: pack those of one person alone.")
        for member in members:
            identity = f"{name}/{readable_name(member.orig_filename)}"
            path = PurePosixPath(member.orig_filename)
            suffix = path.suffix.lower()
            # Apple Mail exports a folder "Sent.mbox" with a file "mbox" in it.
            are_mails = suffix == ".mbox" or path.name == "mbox"
            # Notion packs an archive into another.
            is_archive = suffix == ".zip" and ".zip/" not in name and len(members) <= _MOST_BESIDE_AN_ARCHIVE
            if why := _why_left_out(member, is_stream=are_mails or is_archive):
                yield Skipped(identity, why)
                continue
            try:
                if is_archive:
                    yield from read_zip(identity, io.BytesIO(package.read(member)))
                elif are_mails:
                    with package.open(member) as mails:
                        yield from mail.read_mbox(identity, cast("BinaryIO", mails))
                else:
                    yield from _of_bytes(suffix, identity, package.read(member))
            except InputError as error:
                yield _left_out(identity, error)
            except _DAMAGED:
                yield Skipped(identity, "damaged in the archive, or protected with a password")


def _why_left_out(member: zipfile.ZipInfo, *, is_stream: bool) -> str | None:
    suffix = PurePosixPath(member.orig_filename).suffix.lower()
    if stat.S_ISLNK(member.external_attr >> 16):
        return "a link, not a file"
    if suffix == ".zip" and (not is_stream or member.file_size > _MAX_INNER_BYTES):
        return "an archive in the archive: unpack it, and give its folder"
    if member.file_size > max(10 * _MEBIBYTE, 200 * member.compress_size):  # text reaches 20, zeros 1,000
        return "unpacks to far more than a text takes"
    if is_stream:
        return None
    if why := reason_to_skip(member.orig_filename):
        return why
    return f"larger than {max_bytes(suffix) // _MEBIBYTE} MiB" if member.file_size > max_bytes(suffix) else None


# (name for the user, the open file) -> what is in it, one text after the other: they may be larger than the memory.
STREAM_READERS: dict[str, Callable[[str, BinaryIO], Iterator[Item]]] = {".mbox": mail.read_mbox, ".zip": read_zip}


# --- one file


def read_safely(suffix: str, name: str, raw: bytes) -> Reading:
    """What a file holds, whatever its bytes are and whatever a library makes of them; `suffix` is in `READERS`."""
    # Unless it is a chat of years; the readers of all other kinds run in a process, for they may hang.
    is_quick = suffix == ".eml" or (suffix in (".markdown", ".md", ".txt") and len(raw) <= max_bytes(".md"))
    return READERS[suffix](name, raw) if is_quick else _process.read(suffix, name, raw)


def max_bytes(suffix: str) -> int:
    """How large a file with this suffix (".txt", in lower case) may be to be read."""
    return _MAX_BYTES.get(suffix, 0)


def reason_to_skip(name: str) -> str | None:
    """Why a file is left out, told by its name, or its path in an archive, alone; None if it is to be read."""
    path = PurePosixPath(name)
    if any(part.startswith((".", "__MACOSX")) or part.lower() in ("thumbs.db", "desktop.ini") for part in path.parts):
        return "a hidden file"
    if path.name in ("archive_browser.html", "posts_index.html"):
        return "an index of other files"
    if path.name.lower().startswith("readme"):
        return "a README, not a text to learn from"
    suffix = path.suffix.lower()
    kinds = sorted((*READERS, *STREAM_READERS))
    return None if suffix in kinds else REFUSED.get(suffix) or f"not one of {', '.join(kinds)}"


SECONDS = 20
SECONDS_PER_MEBIBYTE = 4  # a chat as JSON takes less than one
MEGABYTES = 1024

_PROGRAM = """
from ditto_cli.demonstrations.sources import READERS, serve
serve()
"""

_Request = tuple[str, str, bytes]  # suffix, name, bytes


class ReadingProcess:
    """A process that reads file after file, each in so many seconds and `SECONDS_PER_MEBIBYTE` more for each MiB.

    It is started for the first file; one that a file has stopped is replaced for the next. It ends with ours, however
    ours ends. What libraries print, warn of and log in it is not shown.
    """

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
        process = self._process = self._process or subprocess.Popen(
            # -P: a module in the folder where the user is must not be taken for one of ours.
            [sys.executable, "-P", "-c", self._program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert process.stdin is not None, "a pipe"
        assert process.stdout is not None, "a pipe"
        is_ready = not is_new or process.stdout.read(1)  # the clock is for the file
        assert is_ready, "it starts"
        seconds = self._seconds + SECONDS_PER_MEBIBYTE * (len(request[2]) // _MEBIBYTE)
        end = time.monotonic() + seconds
        timer = threading.Timer(seconds, process.kill)
        timer.start()
        try:
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


_process = ReadingProcess()


def serve() -> None:
    """What the process runs: answers requests until its standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too; it ends when our process wants it to
    answers, sys.stdout = sys.stdout.buffer, sys.stderr
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    wanted = MEGABYTES * _MEBIBYTE if most == resource.RLIM_INFINITY else min(MEGABYTES * _MEBIBYTE, most)
    with contextlib.suppress(ValueError, OSError):  # macOS knows the limit, and does not always take it
        resource.setrlimit(resource.RLIMIT_AS, (wanted, most))
    requests: SimpleQueue[_Request] = SimpleQueue()

    def receive() -> None:
        try:
            while True:
                requests.put(pickle.load(sys.stdin.buffer))
        finally:
            os._exit(0)  # our process has ended, whatever a reader is doing

    threading.Thread(target=receive, daemon=True).start()
    answers.write(b".")
    answers.flush()
    while True:
        suffix, name, raw = requests.get()
        try:
            answer = pickle.dumps(READERS[suffix](name, raw))
        except InputError as error:
            answer = pickle.dumps(str(error))
        except MemoryError:
            answer = pickle.dumps(_hit_limit(name, f"needs more than {MEGABYTES} MB of memory"))
        # On damaged files libraries raise whatever their code runs into: KeyError, struct.error, even SystemExit.
        except BaseException:
            answer = pickle.dumps(damaged(name))
        del raw
        answers.write(answer)
        answers.flush()


def _hit_limit(name: str, problem: str) -> str:
    return f"{name} {problem} to read, so it is damaged or no text of a person: save the text itself as .txt."
