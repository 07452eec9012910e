"""`ditto serve`: users do not mix, and floods and those who leave hold nobody up."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from outcome import Outcome

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


def load(kind, base):
    """What came of a load, in a process of its own: its threads must not be there when others fork."""
    program = Path(__file__).with_name("server_load.py")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (program.parents[1], *sys.path)))}
    done = subprocess.run(
        [sys.executable, str(program), kind, str(base)], capture_output=True, text=True, timeout=800, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    outcome = Outcome()
    for number, problem in enumerate(json.loads(done.stdout.splitlines()[-1])):
        outcome.add(problem, str(number))
    return outcome


def test_users_never_mix(promise, tiny_folder):
    promise(
        "server: interleaved requests of eight users, two adapters and the base: each text is that of its voice alone",
        load("mix", tiny_folder),
        at_least=10_000,
    )


def test_who_leaves_and_who_floods_holds_nobody_up(promise, tiny_folder):
    promise(
        "server: floods of which half leave before their end: the others get their texts, no slot stays taken",
        load("flood", tiny_folder),
        at_least=500,
    )
