"""The store's own operations: killed at each change, cut off from power, refused by the disk, raced for."""

import errno
import os
import shutil
import time
from unittest import mock

import pytest

from children import KILLED, Child, in_child
from disk_gate import intercepted
from ditto_cli.cli.app import run_guarded
from ditto_cli.errors import DiskError
from ditto_cli.store import AdapterStore, write_text
from faults import Counter, FailAt, KillAt
from outcome import Outcome
from power import Log, lay_out, states
from test_store import make_record, stage_files
from training import ditto, weights_of

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


def publish(store, text, name="alice"):
    with store.training(name) as kept:
        for stage in ("sft", "round1"):
            kept.add_stage(stage, stage_files(f"{text} {stage}"))
        kept.publish(make_record(watch_prompt=text))


def train(store, text, name="alice"):
    """What a training does with the disk: stages and checkpoints, then all is published."""
    with store.training(name) as kept:
        kept.start_over()
        for stage in ("sft", "round1"):
            kept.add_stage(stage, stage_files(f"{text} {stage}"))
            kept.save(run_state(tuple(kept.digests)), {"policy.safetensors": b"weights"})
        kept.publish(make_record(watch_prompt=text))


def run_state(stage_names):
    from ditto_cli.store import RunIdentity, RunState

    record = make_record(stage_names)
    identity = RunIdentity(
        settings=record.settings,
        base=record.base,
        quantize="none",
        device="cpu",
        demonstrations=["5" * 64],
        watch_prompt="6" * 64,
        versions={},
    )
    return RunState(identity=identity, begun=record.created, seconds=1, base_sample="Dear", stages=record.stages)


# Each operation with what is done before it.
OPERATIONS = {
    "publish the first": ([], lambda store: publish(store, "one")),
    "publish the third": (["one", "two"], lambda store: publish(store, "three")),
    "train the first": ([], lambda store: train(store, "one")),
    "train the third": (["one", "two"], lambda store: train(store, "three")),
    "rename": (["one"], lambda store: store.rename("alice", "al")),
    "forget": (["one", "two"], lambda store: store.remove("alice")),
}


def seen(home):
    """Name -> text of every adapter; raises where one is damaged."""
    store = AdapterStore(home)
    found = {}
    for name in store.names():
        problem = store.check(name)
        if problem is not None:
            raise DiskError(problem)
        text = store.record(name).watch_prompt
        weights = (store.stage_folder(name) / "adapter_model.safetensors").read_text(encoding="utf-8")
        if weights != f"{text} round1":
            raise DiskError(f"{name} mixes {text} with {weights}")
        found[name] = text
    return found


def problem_of(home, allowed):
    """What is wrong with a store that must be in one of the allowed states, and be of use afterwards."""
    try:
        found = seen(home)
        if found not in allowed:
            return f"{found} is neither of {allowed}"
        store = AdapterStore(home)
        publish(store, "afterwards")
        if seen(home) != found | {"alice": "afterwards"}:
            return f"after another publication: {seen(home)}"
        store.remove("alice")
        left = [path.name for path in home.joinpath("adapters").iterdir()]
        if set(left) != set(seen(home)):
            return f"after forgetting there is {left}"
    except DiskError as error:
        return str(error)
    return None


def prepared(folder, texts):
    """A store with these publications of alice."""
    store = AdapterStore(folder)
    for text in texts:
        publish(store, text)
    store.key()
    return folder


def outcomes(folder, name):
    """The two states between which an operation may end."""
    before, operation = OPERATIONS[name]
    home = prepared(folder / "whole", before)
    old = seen(home)
    counter = Counter()
    with intercepted(counter):
        operation(AdapterStore(home))
    new = seen(home)
    shutil.rmtree(home)
    return old, new, counter.count


def check_kills(folder, names=tuple(OPERATIONS), *, step=1):
    outcome = Outcome()
    for name in names:
        before, operation = OPERATIONS[name]
        old, new, count = outcomes(folder, name)
        template = prepared(folder / "template", before)
        for number in range(1, count + 2, step):
            for torn in (False, True):
                home = folder / "killed"
                shutil.copytree(template, home)

                def job(home=home, operation=operation, number=number, torn=torn):
                    with intercepted(KillAt(number, torn=torn)):
                        operation(AdapterStore(home))

                ended = in_child(job, folder / "logs")
                expected = KILLED if number <= count else 0
                problem = f"it ended with {ended.code}: {ended.err}" if ended.code != expected else None
                allowed = [old, new] if number <= count else [new]
                outcome.add(problem or problem_of(home, allowed), f"{name}, killed before change {number}")
                shutil.rmtree(home)
        shutil.rmtree(template)
    return outcome


def check_replacement_kills(folder):
    """A file that is written over the one before (prompts, a report), killed before each change."""
    outcome = Outcome()
    folder.mkdir(parents=True, exist_ok=True)
    place, old, new = folder / "report.html", "old", "new " * 99
    counter = Counter()
    with intercepted(counter):
        write_text(place, old)
    for number in range(1, counter.count + 1):
        for torn in (False, True):
            place.write_text(old, encoding="ascii")

            def job(number=number, torn=torn):
                with intercepted(KillAt(number, torn=torn)):
                    write_text(place, new)

            ended = in_child(job, folder / "logs")
            found = place.read_text(encoding="ascii") if place.exists() else None
            is_whole = ended.code == KILLED and found in (old, new)
            outcome.add(None if is_whole else f"{ended.code}: {found}", f"written over, killed before change {number}")
    return outcome


def check_import_kills(workshop, folder):
    """The import of an archive, killed before each of its changes of the disk."""
    archive, counted = folder / "alice.ditto", folder / "counted"
    folder.mkdir(parents=True, exist_ok=True)
    exported = workshop.child(
        lambda: ditto(workshop.place / "undisturbed", "export", "alice", "--to", "ditto", "--out", archive)
    )
    assert exported.code == 0, exported.err
    command = ("adapters", "import", archive, "--base", workshop.base)

    def count():
        counter = Counter()
        try:
            with intercepted(counter):
                ditto(folder / "whole", *command)
        finally:
            counted.write_text(str(counter.count), encoding="ascii")

    assert workshop.child(count).code == 0
    whole, outcome = weights_of(folder / "whole"), Outcome()
    for number in range(1, int(counted.read_text(encoding="ascii")) + 1):
        home = folder / "killed"

        def job(home=home, number=number):
            with intercepted(KillAt(number, torn=number % 2 == 1)):
                ditto(home, *command)

        ended = workshop.child(job)
        again = workshop.child(lambda home=home: ditto(home, *command))
        names = AdapterStore(home).names()
        problem = None
        if ended.code != KILLED:
            problem = f"it ended with {ended.code}: {ended.err}"
        elif again.code not in (0, 2):  # 2: it was already there
            problem = f"the second import ended with {again.code}: {again.err}"
        elif names != ["alice"] or weights_of(home) != whole:
            problem = f"afterwards there is {names}"
        outcome.add(problem, f"import, killed before change {number}")
        shutil.rmtree(home)
    return outcome


def test_kills(workshop, tmp_path, promise):
    outcome = check_kills(tmp_path)
    for more in (check_import_kills(workshop, tmp_path / "import"), check_replacement_kills(tmp_path / "over")):
        outcome = Outcome(outcome.run + more.run, outcome.failures + more.failures)
    title = "store operations (publish, train, rename, forget, import) killed at each change: old or new state"
    promise(title, outcome, at_least=300)


def check_power_loss(folder, *, per_moment=5):
    outcome = Outcome()
    home = folder / "logged"
    home.mkdir(parents=True)
    store = AdapterStore(home)
    log = Log(home)
    with intercepted(log):
        store.key()
        log.mark({})
        for text in ("one", "two"):
            publish(store, text)
            log.mark({"alice": text})
        train(store, "three")
        log.mark({"alice": "three"})
        store.rename("alice", "al")
        log.mark({"al": "three"})
        publish(store, "four")
        log.mark({"al": "three", "alice": "four"})
        store.remove("al")
        log.mark({"alice": "four"})
    for place, (moment, tree) in enumerate(states(log, per_moment=per_moment)):
        allowed = [{}] if moment < log.marks[0][0] else []
        for index, (end, state) in enumerate(log.marks):
            upcoming = log.marks[index + 1] if index + 1 < len(log.marks) else (end, state)
            if end <= moment and (moment < upcoming[0] or upcoming[0] == end):
                allowed = [state, upcoming[1]] if moment > end else [state]
        laid_out = folder / "state"
        lay_out(tree, laid_out)
        key = laid_out / "key"
        if key.exists() and len(key.read_bytes()) != 32:
            outcome.add("the key is torn", f"state {place}")
        else:
            outcome.add(problem_of(laid_out, allowed), f"state {place} at change {moment}")
        shutil.rmtree(laid_out)
    return outcome


def test_power_loss(tmp_path, promise):
    promise("power loss: write log replayed without what was not flushed", check_power_loss(tmp_path), at_least=1000)


def check_refusals(folder, names=tuple(OPERATIONS), *, step=1):
    """A disk that is full from the N-th change on, or broken once: an error of one line, and old or new state."""
    outcome = Outcome()
    for name in names:
        before, operation = OPERATIONS[name]
        old, new, count = outcomes(folder, name)
        template = prepared(folder / "template", before)
        for number in range(1, count + 1, step):
            for error, lasting in ((errno.ENOSPC, True), (errno.EIO, False)):
                home = folder / "refused"
                shutil.copytree(template, home)
                problem, allowed = None, [new]
                try:
                    with intercepted(FailAt(number, error, lasting=lasting)):
                        operation(AdapterStore(home))
                except DiskError:
                    allowed = [old, new]
                except Exception as unforeseen:
                    problem = repr(unforeseen)
                outcome.add(problem or problem_of(home, allowed), f"{name}, refused at change {number}")
                shutil.rmtree(home)
        shutil.rmtree(template)
    return outcome


def test_refusals(tmp_path, promise):
    title = "disk full or broken at each change of a store operation: old or new state, one line"
    promise(title, check_refusals(tmp_path), at_least=300)


def check_races(folder, number_of_races):
    """Two processes train one name at the same moment: one wins, the other is told so by exit code 7."""
    outcome = Outcome()
    texts = ("two", "three")
    for race in range(number_of_races):
        home = prepared(folder / f"race-{race}", ["one"])
        ready, go = os.pipe()
        children = [
            Child(lambda text=text, home=home, ready=ready: _racer(home, ready, text), folder / "logs")
            for text in texts
        ]
        os.write(go, b"xx")
        ended = [child.wait() for child in children]
        os.close(ready)
        os.close(go)
        codes = [end.code for end in ended]
        if sorted(codes) != [0, 7]:
            problem = f"they ended with {codes}: {ended[0].err}{ended[1].err}"
        elif seen(home) != {"alice": texts[codes.index(0)]}:
            problem = f"{seen(home)} instead of what the winner trained"
        elif "is in use by " not in ended[codes.index(7)].err:
            problem = f"the loser was told {ended[codes.index(7)].err}"
        else:
            problem = None
        outcome.add(problem, f"race {race}")
        shutil.rmtree(home)
    return outcome


def _racer(home, ready, text):
    def work():
        os.read(ready, 1)  # both wait here for the start
        with AdapterStore(home).training("alice") as kept:
            kept.start_over()
            for stage in ("sft", "round1"):
                kept.add_stage(stage, stage_files(f"{text} {stage}"))
            deadline = time.monotonic() + 5  # a training takes longer than the other one needs to be refused
            while not lost.exists() and time.monotonic() < deadline:
                time.sleep(0.002)
            kept.publish(make_record(watch_prompt=text))

    lost = home / "lost"
    try:
        run_guarded(work)
    finally:
        lost.touch()


def test_races(tmp_path, promise):
    promise("two trains of one name: one winner, the other exit 7", check_races(tmp_path, 50), at_least=50)


def test_races_where_locks_do_nothing(tmp_path, promise):
    with mock.patch("fcntl.flock"):
        outcome = check_races(tmp_path, 20)
    promise("the same where the system's lock silently does nothing", outcome, at_least=20)
