"""Files of the store that were truncated, changed or deleted: noticed, and said in one line."""

import shutil
import sys

import pytest

from ditto_cli.store import AdapterStore
from faults import KillAt
from outcome import Outcome
from training import ditto, weights_of

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


def another_digit(data):
    """What is still valid JSON where the file is JSON."""
    place = data.rfind(b'"seconds": ')
    return flipped(data, len(data) // 3 if place < 0 else place + len(b'"seconds": '))


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] if data else b"x"


DAMAGES = {
    "halved": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "first byte": lambda data: flipped(data, 0),
    "middle byte": lambda data: flipped(data, len(data) // 2),
    "last byte but one": lambda data: flipped(data, max(0, len(data) - 2)),
    "another digit": another_digit,
    "zeroed": lambda data: bytes(len(data)),
    "longer": lambda data: data + b"\0",
    "deleted": lambda data: None,
}


def damage(path, kind):
    """Damage a file; its length may stay, so that only its content tells."""
    data = DAMAGES[kind](path.read_bytes())
    if data is None:
        path.unlink()
    else:
        path.write_bytes(data)


def check_adapters(workshop, folder, *, only=""):
    """Every file of an adapter with two generations: it is listed, and works as before or is refused by code 4."""
    whole = folder / "whole"
    for seed in (0, 1):
        ended = workshop.child(workshop.training(whole, settings=seeded(seed)))
        assert ended.code == 0, ended.err
    sample = ("sample", "--adapter", "alice", "--device", "cpu", "--seed", "1", "--max-tokens", "8", "Hi.")
    _, before = commands(workshop, whole, sample)
    outcome = Outcome()
    cases = [(path, kind) for path in files_below(whole / "adapters") for kind in DAMAGES if only in path.name]
    for path, kind in cases:
        home = folder / "damaged"
        shutil.copytree(whole, home)
        damage(home / path.relative_to(whole), kind)
        codes, said = commands(workshop, home, ("adapters", "list"), ("doctor",), sample)
        is_used = "generations/000001" not in str(path)
        noticed = AdapterStore(home).check("alice") is not None
        problem = None
        if "Traceback" in said:
            problem = said
        elif codes[0] != 0:
            problem = f"the list ended with {codes[0]}: {said}"
        elif codes[2] == 0 and not said.endswith(before):
            problem = f"another text was sampled: {said}"
        elif codes[2] not in (0, 4):
            problem = f"sampling ended with {codes[2]}: {said}"
        elif is_used and not noticed:
            problem = "the damage was not noticed"
        elif noticed and codes[1] != 4:
            problem = f"doctor ended with {codes[1]}: {said}"
        outcome.add(problem, f"{path.relative_to(whole)} {kind}")
        shutil.rmtree(home)
    return outcome


def check_checkpoints(workshop, folder, *, step=1):
    """Every file of an interrupted training: it goes on from what is whole, to the same weights."""
    whole = folder / "interrupted"
    workshop.child(workshop.training(whole, KillAt(workshop.num_operations * 3 // 4)))
    outcome = Outcome()
    cases = [(path, kind) for path in files_below(whole / "adapters") for kind in DAMAGES]
    for path, kind in cases[::step]:
        home = folder / "damaged"
        shutil.copytree(whole, home)
        damage(home / path.relative_to(whole), kind)
        ended = workshop.child(workshop.training(home))
        problem = None
        if ended.code != 0 or "Traceback" in ended.err:
            problem = f"it ended with {ended.code}: {ended.err}"
        elif weights_of(home) != workshop.undisturbed:
            problem = "other weights"
        outcome.add(problem, f"{path.relative_to(whole)} {kind}")
        shutil.rmtree(home)
    return outcome


def test_damage(workshop, tmp_path, promise):
    outcome = check_adapters(workshop, tmp_path)
    more = check_checkpoints(workshop, tmp_path)
    both = Outcome(outcome.run + more.run, outcome.failures + more.failures)
    title = "damaged checkpoint or record (truncate, flip, delete each file): stepped back or listed, no traceback"
    promise(title, both, at_least=200)


def commands(workshop, home, *each):
    """Exit codes of commands in one child, and all that they wrote."""
    place = home.parent / "codes"

    def job():
        codes = []
        for arguments in each:
            code = 0
            try:
                ditto(home, *arguments)
            except SystemExit as end:
                code = end.code or 0
            codes.append(code)
            sys.stderr.flush()
        place.write_text(" ".join(map(str, codes)), encoding="ascii")

    ended = workshop.child(job)
    assert ended.code == 0, ended.err
    return [int(code) for code in place.read_text(encoding="ascii").split()], ended.err


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def seeded(seed):
    from training import SETTINGS

    return SETTINGS.model_copy(update={"seed": seed})
