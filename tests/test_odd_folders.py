"""Odd folders and archives: `ditto init` handles each or refuses it in one line, and harms nothing.

Each runs in a child of its own, forked by a process that has imported ditto and no torch: its memory is ditto's alone.
"""

import json
import os
import stat
import subprocess
import sys
import time

import pytest

from cli_helpers import Ditto
from ditto_cli.config import read_folder_file
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder import read_folder, take_in
from ditto_cli.demonstrations.sources import read_sources
from mail_corpus import write_mbox
from odd_documents import MARKER
from odd_folders import ODD

MAX_BYTES = 2**30
MAX_SECONDS = 20

# A job a line on standard input; how its child ended a line on standard output.
_SERVER = """
import json, os, resource, signal, sys, time, traceback
import ditto_cli.cli.init
from ditto_cli.cli.app import main
from ditto_cli.demonstrations import sources
from ditto_cli.demonstrations.language import language_of
language_of("this loads the model of languages")

def run(job):
    os.environ.clear()
    os.environ.update(job["environment"])
    for number, path in enumerate((os.devnull, job["out"], job["err"])):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", encoding="utf-8"), open(2, "w", encoding="utf-8")
    sys.argv = ["ditto", *job["arguments"]]
    # So that what should not happen does not take the machine's memory.
    resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
    code = 0
    try:
        main()
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 99
    sys.stdout.flush()
    sys.stderr.flush()
    sources._process.stop()  # so that its memory counts
    os._exit(98 if "torch" in sys.modules else code)

for line in sys.stdin:
    job = json.loads(line)
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        run(job)
    ended = 0
    while not ended:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if not ended and time.monotonic() - started > job["seconds"]:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.002)
    result = {"code": os.waitstatus_to_exitcode(status), "bytes": usage.ru_maxrss * 1024}
    print(json.dumps({**result, "seconds": time.monotonic() - started}), flush=True)
"""


class Forker:
    """Runs `ditto` in forked children, one at a time."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, place, *arguments, seconds=MAX_SECONDS):
        """How it ended, and what it said; its store is the folder `home` in `place`."""
        (place / "no-base").mkdir()  # a base without a tokenizer: counting tokens is not what is asked here
        job = {
            "arguments": arguments,
            "environment": Ditto(place / "home", None).variables({"DITTO_BASE__ID": str(place / "no-base")}),
            "out": str(place / "out"),
            "err": str(place / "err"),
            "seconds": seconds,
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        ended = json.loads(self._process.stdout.readline())
        said = {name: (place / name).read_text(encoding="utf-8") for name in ("out", "err")}
        return ended, said["out"], said["err"]

    def close(self):
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def forker():
    forker = Forker()
    yield forker
    forker.close()


def snapshot(folder):
    """Everything below a folder: what it is, and its first and last bytes; nothing is opened that may block."""
    found = {}
    for top, folders, files in os.walk(os.fsencode(folder)):
        for name in [*folders, *files]:
            path = os.path.join(top, name)
            status = os.lstat(path)
            content = (status.st_mode, status.st_size)
            if stat.S_ISREG(status.st_mode):
                with open(path, "rb") as file:
                    content = (*content, file.read(2**20), status.st_mtime_ns)
            found[path] = content
    return found


def arguments_of(odd, given, folder):
    options = ["--no-prompts", "--offline", *odd.options]
    return ["init", folder, "--from", given, *options] if odd.is_source else ["init", given, *options]


@pytest.fixture
def made(request, tmp_path):
    """An odd thing, made; its name, itself, what is to be given, and the folder of the demonstrations."""
    odd = ODD[request.param]
    if odd.needs_rights and os.geteuid() == 0:
        pytest.skip("root may read everything")
    place = tmp_path / "user"
    place.mkdir()
    given = odd.make(place)
    yield odd, given, tmp_path / "new" if odd.is_source else given
    if odd.needs_rights:
        given.chmod(0o700)


def test_there_are_enough():
    assert len(ODD) >= 75


@pytest.mark.parametrize("made", ODD, indirect=True)
def test_it_is_handled_or_refused_in_one_line(made, forker, tmp_path):
    odd, given, folder = made
    before = snapshot(tmp_path / "user")
    ended, out, err = forker.run(tmp_path, *map(str, arguments_of(odd, given, folder)))
    after = snapshot(tmp_path / "user")
    said = " ".join(f"{out}\n{err}".split())

    assert ended["code"] == (2 if odd.is_refused else 0), err
    assert "Traceback" not in err
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert errors == (err.splitlines()[-1:] if odd.is_refused else [])
    for words in odd.says:
        assert words in said
    assert MARKER not in said
    assert all(char.isprintable() for char in said), "what a terminal would obey"

    assert not (tmp_path / "home").exists(), "the store was touched"
    assert {path: after.get(path) for path in before} == before, "the user's files were changed"
    if odd.is_refused:
        assert not (tmp_path / "new").exists()
    elif odd.texts:
        texts = read_folder(folder, read_folder_file(folder)).texts
        assert len(texts) == odd.texts
        assert any(normalise_text(odd.holds) in text.text for text in texts)
    if odd.is_source and not odd.is_refused:
        check_round_trip(odd, given, folder)

    assert ended["bytes"] < MAX_BYTES
    assert ended["seconds"] < MAX_SECONDS

    own = {os.path.basename(path) for path in after if path not in before}
    if odd.is_refused or odd.is_source:
        assert not own
    else:
        assert own - {b"alice"} == ({b"ditto.yaml"} if odd.texts else {b"ditto.yaml", b"my-first-text.md"})


def check_round_trip(odd, given, folder):
    """What lies in the folder is what was chosen, and is read to the texts and prompts that were chosen from."""
    me = [address for flag, address in zip(odd.options, odd.options[1:], strict=False) if flag == "--me"]
    found = read_sources([given], me)
    num = int(odd.options[odd.options.index("--pick") + 1]) if "--pick" in odd.options else None
    is_redacted = "--redact" in odd.options
    intake = take_in(found.texts, [], [], num=num, split="--split" in odd.options, redact=is_redacted)
    by_id = {text.id: text for text in found.texts}

    assert {path.name for path in folder.iterdir()} == {"ditto.yaml", *(new.name for new in intake.new)}
    read = {text.id: text for text in read_folder(folder, read_folder_file(folder)).texts}
    for new in intake.new:
        assert (folder / new.name).read_text(encoding="utf-8") == new.content
        whole, _, part = new.source.replace("#text", "#part").partition("#part")
        text = by_id[whole if part else new.source]
        if part:
            assert read[new.name].text in text.text
        elif not is_redacted:
            assert (read[new.name].text, read[new.name].prompt) == (text.text, text.prompt)


@pytest.mark.parametrize("num", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_eight_are_picked_from_a_big_archive(forker, tmp_path, num):
    write_mbox(tmp_path / "big.mbox", num, 0)
    started = time.monotonic()
    command = ("init", tmp_path / "new", "--from", tmp_path / "big.mbox", "--pick", "8", "--no-prompts")
    ended, out, err = forker.run(tmp_path, *map(str, command), seconds=90)
    assert ended["code"] == 0, err
    assert len(list((tmp_path / "new").glob("*.md"))) == 8
    assert "8 of" in " ".join(err.split())
    assert len(out.splitlines()) > 8
    assert time.monotonic() - started < 60
    assert ended["bytes"] < MAX_BYTES
