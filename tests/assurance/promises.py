"""The assurance run: every promise that ditto makes to its user is put to the test by injecting the fault.

`make assurance` runs it and writes docs/assurance.md. Everything that computes does so in forked children. A pytest
plugin.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; forked children cannot use a parent's threads

import json
import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from training import Workshop

pytest_plugins = ["cli_helpers"]

_HEAD = """# Assurance

For whoever must rely on it: what ditto promises, put to the test by injecting the fault. `make assurance` wrote this.

{machine}

| promise | passed / run | seconds |
|---|---|---|
"""


@pytest.fixture
def promise():
    """`promise(title, outcome, at_least=60)` puts a row into the table and fails where the promise was broken."""
    started = time.monotonic()

    def keep(title, outcome, *, at_least):
        if rows := _rows_file():
            with rows.open("a", encoding="utf-8") as file:  # of several processes
                file.write(json.dumps((title, outcome.passed, outcome.run, time.monotonic() - started)) + "\n")
        assert not outcome.failures, "\n".join(outcome.failures[:20])
        assert outcome.run >= at_least, f"only {outcome.run} cases were run, {at_least} are promised"

    return keep


def _rows_file():
    """Beside the table; `make assurance` removes it before and after."""
    target = os.environ.get("ASSURANCE_TABLE")
    return Path(f"{target}.rows") if target else None


def pytest_sessionfinish():
    rows_file = _rows_file()
    if rows_file is None or not rows_file.exists():
        return
    rows = sorted(json.loads(line) for line in rows_file.read_text(encoding="utf-8").splitlines())
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
        + f"; {sum(row[3] for row in rows):.0f} s in all."
    )
    lines = [f"| {title} | {passed} / {run} | {seconds:.0f} |" for title, passed, run, seconds in rows]
    rows_file.with_suffix("").write_text(_HEAD.format(machine=machine) + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """What the tests train with."""
    return Workshop.make(tmp_path_factory.mktemp("workshop"))
