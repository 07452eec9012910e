"""The process in which files are read that may hang: limits, failures in one line, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from ditto_cli.demonstrations import sources
from ditto_cli.demonstrations.sources import ReadingProcess, read_safely
from ditto_cli.errors import InputError
from format_files import docx, lines, odt, paragraph, pdf

GOOD = b"<p>Hello"


def program_with(code):
    """The process's program, in which ".x" is read by this code; `raw` and `name` are its file."""
    body = "\n".join(f"    {line}" for line in code.splitlines())
    reader = f"def read(name, raw):\n{body}\n"
    return sources._PROGRAM.replace("\nserve()", f"\n{reader}READERS['.x'] = read\nserve()")


@pytest.fixture
def started():
    """Starts processes that end with the test."""
    processes = []

    def start(code="", seconds=20.0):
        processes.append(ReadingProcess(seconds, program_with(code or "raise KeyError")))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


def wait_for(happens, seconds=15.0):
    end = time.monotonic() + seconds
    while not happens() and time.monotonic() < end:
        time.sleep(0.02)
    return happens()


def is_running(pid):
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


CATCHES_ALL = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
TEXT = "from ditto_cli.types import SourceText\nfrom ditto_cli.types import Reading\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while True: pass", "takes more than 1 s to read"),
        ("import time; time.sleep(60)", "takes more than 1 s to read"),
        (CATCHES_ALL, "takes more than 1 s to read"),
        # Python's lock is held all the time.
        ("import re; re.match('(a+)+$', 'a' * 60 + 'b')", "takes more than 1 s to read"),
        (
            "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: pass",
            "takes more than 1 s",
        ),
        ("bytearray(4 * 2**30)", "needs more than 1024 MB of memory to read"),
        ("kept = []\nwhile True: kept.append(bytearray(2**24))", "needs more than 1024 MB of memory to read"),
        ("return read(name, raw)", "is damaged, or not a .x file in spite of its name"),
        ("raise KeyError('secret')", "is damaged, or not a .x file in spite of its name"),
        ("raise AttributeError('secret')", "is damaged, or not a .x file in spite of its name"),
        ("import struct; struct.unpack('<I', b'')", "is damaged, or not a .x file in spite of its name"),
        ("raw.decode('utf-8')", "is damaged, or not a .x file in spite of its name"),
        ("sys.exit('secret')", "is damaged, or not a .x file in spite of its name"),
        ("raise KeyboardInterrupt", "is damaged, or not a .x file in spite of its name"),
        ("import os; os._exit(0)", "is damaged, or not a .x file in spite of its name"),
        ("import os; os.abort()", "is damaged, or not a .x file in spite of its name"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "is damaged, or not a .x file"),
        ("import os; os.close(1)", "is damaged, or not a .x file in spite of its name"),
        ("return lambda: 0", "is damaged, or not a .x file in spite of its name"),  # cannot be pickled
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is Linux's")
def test_a_reader_that_hangs_or_fails_is_one_line_and_the_next_file_is_read(started, code, words, capfd) -> None:
    process = started(code, seconds=1.0 if "takes more" in words else 20.0)
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        process.read(".x", "a.x", b"\xff secret")
    assert time.monotonic() - start < 20
    assert re.fullmatch(r"a\.x [^\n]+: [^\n]+\.", str(caught.value))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert [text.text for text in process.read(".html", "b.html", GOOD).texts] == ["Hello"]
    assert capfd.readouterr() == ("", "")


def test_what_a_reader_refuses_it_refuses_in_its_own_words(started) -> None:
    process = started("from ditto_cli.errors import InputError\nraise InputError(name + ' is odd: leave it.')")
    with pytest.raises(InputError, match=r"^a\.x is odd: leave it\.$"):
        process.read(".x", "a.x", b"")


def test_what_libraries_say_is_not_shown(started, capfd) -> None:
    noise = "import logging, sys, warnings\nprint('noise')\nsys.stderr.write('noise')\n"
    noise += "warnings.warn('noise')\nlogging.getLogger('x').error('noise')\n"
    reading = started(f"{noise}{TEXT}return Reading((SourceText(name, 'x', None),))").read(".x", "a.x", b"")
    assert reading.texts[0].text == "x"
    assert capfd.readouterr() == ("", "")


def test_one_process_reads_file_after_file_and_imports_no_torch(started) -> None:
    found = "','.join(each for each in ('torch', 'transformers', 'numpy') if each in sys.modules)"
    process = started(f"import os, sys\n{TEXT}return Reading((SourceText(name, f'{{os.getpid()}}', {found} or None),))")
    answers = {process.read(".x", f"{number}.x", b"").texts[0].text for number in range(3)}
    assert len(answers) == 1
    assert answers != {str(os.getpid())}
    assert process.read(".x", "a.x", b"").texts[0].prompt is None


@pytest.mark.parametrize(
    ("suffix", "raw"),
    [
        (".csv", b"text\nHello\n"),
        (".docx", docx(paragraph("Hello"))),
        (".html", GOOD),
        (".json", b'["Hello"]'),
        (".jsonl", b'{"completion": "Hello"}'),
        (".odt", odt("<text:p>Hello</text:p>")),
        (".pdf", pdf([lines("Hello")])),
        (".md", b"Hello"),
        (".txt", b"Hello"),
        (".eml", b"From: ada@x.example\nSubject: Tea\n\nHello\n"),
    ],
)
def test_each_format_is_read(suffix: str, raw: bytes) -> None:
    assert [text.text for text in read_safely(suffix, f"a{suffix}", raw).texts] == ["Hello"]


def test_large_files_and_texts_pass(started) -> None:
    process = started(f"{TEXT}return Reading((SourceText(name, raw.decode() * 2, None),))")
    assert len(process.read(".x", "a.x", b"a" * 2**23).texts[0].text) == 2**24


def test_several_threads_may_ask(started) -> None:
    process = started(f"{TEXT}return Reading((SourceText(name, raw.decode(), None),))")
    found = {}

    def ask(number):
        found[number] = process.read(".x", "a.x", str(number).encode()).texts[0].text

    threads = [threading.Thread(target=partial(ask, number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: str(number) for number in range(8)}


def test_a_module_in_the_users_folder_is_not_imported(started, tmp_path, monkeypatch) -> None:
    for name in ("bs4", "email", "pickle", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit")
    monkeypatch.chdir(tmp_path)
    assert started().read(".html", "a.html", GOOD).texts


@pytest.mark.skipif(sys.platform == "win32", reason="no such limits there")
def test_our_own_process_has_no_limit_and_no_handler(started) -> None:
    import resource

    before = (
        [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)],
        [resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)],
    )
    assert started().read(".html", "a.html", GOOD).texts
    assert before == (
        [signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGINT)],
        [resource.getrlimit(kind) for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU)],
    )


def test_one_that_died_meanwhile_is_replaced_and_none_is_left(started) -> None:
    process = started()
    process.read(".html", "a.html", GOOD)
    first = process._process.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: not is_running(first))
    assert process.read(".html", "a.html", GOOD).texts
    second = process._process.pid
    process.stop()
    process.stop()
    assert not any(Path(f"/proc/{pid}").exists() for pid in (first, second))


# Our process, which asks for a file that takes for ever.
_ASKS = """
import sys
from ditto_cli.demonstrations.sources import ReadingProcess
process = ReadingProcess(60, sys.argv[1])
process.read(".html", "a.html", b"<p>x")
print(process._process.pid, flush=True)
try:
    if sys.argv[2] == "busy":
        process.read(".x", "a.x", b"")
    input()
except KeyboardInterrupt:
    print("interrupted", process._process, flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("state", ["busy", "idle"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_our_process(state: str, number: int) -> None:
    ours = subprocess.Popen(
        [sys.executable, "-c", _ASKS, program_with(CATCHES_ALL), state],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # a group, as of a terminal, to whose members Ctrl-C goes
        text=True,
    )
    with ours:
        pid = int(ours.stdout.readline())
        time.sleep(0.3)
        assert is_running(pid)
        os.killpg(ours.pid, number) if number == signal.SIGINT else os.kill(ours.pid, number)
        said = ours.communicate()[0]
    assert wait_for(lambda: not is_running(pid))
    if number == signal.SIGINT:
        assert said.startswith("interrupted None" if state == "busy" else "interrupted <Popen")
