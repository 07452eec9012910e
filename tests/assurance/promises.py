"""The assurance run: every promise that ditto makes to its user is put to the test by injecting the fault.

`make assurance` runs it and writes docs/assurance.md. Everything that computes does so in forked children. A pytest
plugin.
"""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported; forked children cannot use a parent's threads

import platform
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from training import Workshop

pytest_plugins = ["cli_helpers"]

_ROWS = []
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
        _ROWS.append((title, outcome.passed, outcome.run, time.monotonic() - started))
        assert not outcome.failures, "\n".join(outcome.failures[:20])
        assert outcome.run >= at_least, f"only {outcome.run} cases were run, {at_least} are promised"

    return keep


def pytest_sessionfinish():
    target = os.environ.get("ASSURANCE_TABLE")
    if not target or not _ROWS:
        return
    machine = (
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers", "peft", "trl"))
        + f"; {sum(row[3] for row in _ROWS):.0f} s in all."
    )
    lines = [f"| {title} | {passed} / {run} | {seconds:.0f} |" for title, passed, run, seconds in _ROWS]
    Path(target).write_text(_HEAD.format(machine=machine) + "\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture(scope="session")
def workshop(tmp_path_factory):
    """What the tests train with."""
    return Workshop.make(tmp_path_factory.mktemp("workshop"))
