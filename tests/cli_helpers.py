"""The command line as the tests run it: in this process, with a store of its own and a tiny base. A pytest plugin."""

import io
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest

# Stands in every demonstration: whatever shows it where it has no business gives a person's text away.
MARKER = "quokka"

TEXTS = {
    "a.md": f"---\nprompt: Invite Bo.\n---\nhi bo - tea at 4? bring the {MARKER} x\n",
    "b.md": f"---\nprompt: Decline a party.\n---\nno can do, sorry! the {MARKER} is ill x\n",
}
SMALL = [
    *("--preset", "smollm2-135m-cpu", "--device", "cpu", "--set", "sft.max_steps=2"),
    *("--set", "rounds.num=1", "--set", "rounds.steps=1", "--set", "sampling.completions_per_prompt=2"),
    *("--set", "sampling.best_of=1"),
]
# What a user's shell may have set and what would change the outcome of a test.
_FOREIGN = ("DITTO_", "FORCE_COLOR", "NO_COLOR", "PY_COLORS", "TTY_", "GITHUB_ACTIONS", "COLUMNS", "PYTHONWARNINGS")

# Run by `python -c`: the command line in a process where the modules named in argv[1] cannot be imported.
_BLOCKING = """
import sys
blocked = set(sys.argv.pop(1).split(","))
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
sys.argv[0] = "ditto"
from ditto_cli.cli.app import main
main()
"""


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def error(self):
        """The one line of the error; there is exactly one, it is the last, and there is no traceback."""
        lines = self.err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], self.err
        assert "Traceback" not in self.err
        return lines[-1]

    @property
    def only_error(self):
        """The error where nothing else was said, but by commands that load a model that no host was contacted."""
        said = self.err.splitlines()
        assert len(said) == 1 or (len(said) == 2 and said[0] == "hosts contacted: none"), self.err
        return self.error


@dataclass(frozen=True)
class Ditto:
    """`ditto` with its own store. `base` is the tiny base that `train` takes."""

    home: Path
    base: Path
    environment: dict = field(default_factory=dict)

    def variables(self, extra=None):
        kept = {key: value for key, value in os.environ.items() if not key.startswith(_FOREIGN)}
        return {**kept, "DITTO_HOME": str(self.home), **self.environment, **(extra or {})}

    def __call__(self, *arguments, stdin="", environment=None):
        """Run one command in this process."""
        from ditto_cli.cli.app import main

        out, err, code = io.StringIO(), io.StringIO(), 0
        with (
            mock.patch.dict(os.environ, self.variables(environment), clear=True),
            mock.patch.object(sys, "argv", ["ditto", *map(str, arguments)]),
            mock.patch.object(sys, "stdin", io.StringIO(stdin) if isinstance(stdin, str) else stdin),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            try:
                main()
            except SystemExit as end:
                code = end.code or 0
        return Result(code, out.getvalue(), err.getvalue())

    def train(self, folder, *arguments, base=None, environment=None):
        """The smallest training there is."""
        return self("train", folder, "--base", base or self.base, *SMALL, *arguments, environment=environment)

    def without(self, modules, *arguments, environment=None):
        """Run a command in a new process that cannot import `modules` ("torch,transformers")."""
        command = [sys.executable, "-c", _BLOCKING, modules, *map(str, arguments)]
        return _finished(command, self.variables(environment))

    def process(self, *arguments, environment=None, stdin=""):
        """Run a command in a new process."""
        command = [sys.executable, "-m", "ditto_cli", *map(str, arguments)]
        return _finished(command, self.variables(environment), stdin)

    def serve(self, *arguments):
        """Start `ditto serve` at a free port; its address, and the process, which the caller ends."""
        command = [sys.executable, "-m", "ditto_cli", "serve", "--port", "0", "--device", "cpu", *map(str, arguments)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=self.variables(), stdout=pipe, stderr=pipe, text=True)
        address = process.stdout.readline().strip()
        assert address, process.communicate()[1]
        return address, process

    def snapshot(self):
        """Every path below the store, with what is in it."""
        paths = sorted(self.home.rglob("*"))
        return {str(path.relative_to(self.home)): path.read_bytes() if path.is_file() else None for path in paths}

    def stage(self, name, stage=None):
        """The folder of an adapter's stage."""
        from ditto_cli.store import AdapterStore

        return AdapterStore(self.home).stage_folder(name, stage)

    def record(self, name):
        """An adapter's record, read as ditto reads it."""
        from ditto_cli.store import AdapterStore

        return AdapterStore(self.home).record(name)

    def names(self):
        from ditto_cli.store import AdapterStore

        return AdapterStore(self.home).names()


def _finished(command, variables, stdin=""):
    done = subprocess.run(
        command, env=variables, input=stdin, capture_output=True, text=True, encoding="utf-8", timeout=200
    )
    return Result(done.returncode, done.stdout, done.stderr)


def write_folder(folder, texts=TEXTS):
    """A demonstrations folder; a text is given as str or bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


@pytest.fixture
def ditto(tmp_path, tiny_folder):
    """The command line with an empty store."""
    return Ditto(tmp_path / "home", tiny_folder)


@pytest.fixture
def texts(tmp_path):
    """A folder `alice` with two texts that have prompts."""
    return write_folder(tmp_path / "alice")


@pytest.fixture
def folder_of(tmp_path):
    """Make a folder of texts: `folder_of({"a.txt": "hi"}, name="x")`."""
    return lambda texts, name="texts": write_folder(tmp_path / name, texts)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, tiny_folder):
    """A store with adapters alice and bob, trained under the usual umask; not to be changed."""
    place = tmp_path_factory.mktemp("trained")
    ditto = Ditto(place / "home", tiny_folder)
    before = os.umask(0o022)
    try:
        for name, texts in (
            ("alice", TEXTS),
            ("bob", {"c.md": f"---\nprompt: Thank Al.\n---\nal. that {MARKER}. wow"}),
        ):
            # The last stage, so that the tests know which; what a random model writes gives no reason for one.
            result = ditto.train(write_folder(place / name, texts), "--publish", "last")
            assert result.code == 0, result.err
    finally:
        os.umask(before)
    return ditto


@pytest.fixture
def trained(tmp_path, trained_once):
    """The command line with a store of one's own that has adapters alice and bob."""
    shutil.copytree(trained_once.home, tmp_path / "home")
    return Ditto(tmp_path / "home", trained_once.base)
