"""A training that was interrupted: what is kept of it, that it goes on bit for bit, and when it must not."""

import json
import os
import re
import shutil
import signal
from dataclasses import dataclass, field
from unittest import mock

import pytest

from conftest import heard, load_tiny
from disk_gate import intercepted
from ditto_cli import interrupts
from ditto_cli.config import Settings
from ditto_cli.errors import DiskError, InterruptedRun
from ditto_cli.method import ditto as loop
from ditto_cli.method import run as story
from ditto_cli.method import updates as scoring
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.method.updates import REFERENCE
from ditto_cli.model.policy.lora import WEIGHTS_FILE
from ditto_cli.store import AdapterStore, RunIdentity, RunState, StageRecord, remove_tree
from ditto_cli.types import Demonstration, SampleRequest, SilentReporter, StageChoice, StageFigures
from test_store import BASE, Fault, Killed, make_record, stage_files

MARKER = "quokka"
TEXTS = (
    Demonstration("a.md", "Invite Bo.", f"hi bo - tea? the {MARKER} x"),
    Demonstration("b.md", "Decline.", f"no can do! {MARKER} ill x"),
)
CHANGES = {
    "truncated": lambda data: data[: len(data) // 2],
    "flipped": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :],
    "deleted": None,
}


def settings_with(reference="sft", **dpo):
    return Settings.model_validate(
        {
            "base": {"id": "tiny"},
            "lora": {"r": 2, "alpha": 8, "dropout": 0.1, "targets": ("q_proj", "v_proj")},
            "sft": {"learning_rate": 1e-2, "batch_size": 2, "max_steps": 3, "warmup_ratio": 0.25, "stop_loss": 0.0},
            "dpo": {"learning_rate": 1e-3, "beta": 0.1, "warmup_ratio": 0.25, "max_grad_norm": 0.1, **dpo},
            "rounds": {"num": 2, "steps": 6, "reference": reference},
            "sampling": {"completions_per_prompt": 2, "length_factor": 0.75},
        }
    )


@dataclass
class Watcher(SilentReporter):
    """Remembers what it is told; raises `error` when the stage `stop[0]` has done `stop[1]` of its work."""

    stop: tuple = ()
    error: type = KeyboardInterrupt
    stages: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def begin_work(self, stage, total, unit):
        self.stages.append(stage)

    def advance_work(self, completed, metrics):
        if self.stop and self.stages[-1] == self.stop[0] and completed >= self.stop[1]:
            raise self.error

    @property
    def said(self):
        """What was noted of the training before, without its time."""
        return [re.sub(r" of 2\d{3}-[^ ,]+", "", note) for note in self.notes if "raining of" in note]


@dataclass
class Selector:
    """Looks at every stage once; presses Ctrl-C when it is to look at one of them."""

    stop: str = ""
    looks: list = field(default_factory=list)

    def base_requests(self):
        return [SampleRequest((1, 2, 3), seed=1, max_new_tokens=2)]

    def see_base(self, sampled):
        assert len(sampled) == 1
        self.saw_base = True

    def requests(self):
        return [SampleRequest((1, 2), seed, max_new_tokens=seed) for seed in (1, 2)]

    def look(self, stage, sampled):
        assert self.saw_base
        assert all(1 <= len(one.token_ids) <= limit for one, limit in zip(sampled, (1, 2), strict=True))
        if stage == self.stop:
            raise KeyboardInterrupt
        self.looks.append(stage)
        return StageFigures({"selection/style": len(stage) / 10}, (f"{stage} is odd",), (0.1, 1 / 3, len(stage) / 7))

    def choose(self, looks):
        return StageChoice("round1", "; ".join(f"{stage} {figures}" for stage, figures in looks.items()))


@pytest.fixture(scope="module")
def policy(tiny_folder):
    """One base for all runs of this file: each must leave it as it found it."""
    return load_tiny(tiny_folder)


def run(policy, home, *, settings=None, texts=TEXTS, watcher=None, selector=None, watch_prompt="Say hello."):
    """Train `alice` in this home, from wherever it stands."""
    watcher = watcher or Watcher()
    job = Job.of(policy, "alice", texts, settings or settings_with(), watch_prompt)
    with AdapterStore(home).training("alice") as kept, heard(watcher.notes):
        return train_ditto(policy, job, kept, watcher, selector or Selector())


def outcome(home):
    """All that a training leaves but its times: the weights of every stage, and the record."""
    store = AdapterStore(home)
    record = store.record("alice").model_dump(mode="json")
    weights = {stage["stage"]: (store.stage_folder("alice", stage["stage"])).iterdir() for stage in record["stages"]}
    for part in (record, *record["stages"]):
        part.pop("created", None)
        part.pop("seconds")
    record.pop("demonstration_hashes")  # with a key of each store
    return record, {stage: {path.name: path.read_bytes() for path in files} for stage, files in weights.items()}


def interrupt(policy, home, stage, completed, **options):
    """Train until Ctrl-C comes there; returns what is then said."""
    with pytest.raises(InterruptedRun) as caught:
        run(policy, home, watcher=Watcher((stage, completed)), **options)
    return str(caught.value)


@dataclass
class Undisturbed:
    """What a training leaves that nothing interrupted, and the checkpoints that it wrote meanwhile."""

    outcome: tuple
    saved: list = field(default_factory=list)


@pytest.fixture(scope="module")
def undisturbed(policy, tmp_path_factory):
    """By the reference of its rounds."""
    found = {}
    for reference in ("sft", "previous"):
        home, saved = tmp_path_factory.mktemp(reference), []

        def note(operation, home=home, saved=saved):
            if operation.kind == "rename" and operation.target.name == "state.json":
                state = json.loads(operation.path.read_text())
                sizes = tuple(len(state[part]) for part in ("stages", "samples", "steps"))
                saved.append((*sizes, len(checkpoints(home))))

        with intercepted(note):
            run(policy, home, settings=settings_with(reference))
        assert not run_folder(home).exists()
        found[reference] = Undisturbed(outcome(home), saved)
    return found


@pytest.fixture(scope="module")
def begun(policy, tmp_path_factory):
    """A store with a training that was stopped after SFT; not to be changed."""
    home = tmp_path_factory.mktemp("begun")
    with pytest.raises(InterruptedRun):
        run(policy, home, selector=Selector(stop="sft"))
    return home


@pytest.fixture
def home(begun, tmp_path):
    """A copy of that store."""
    return shutil.copytree(begun, tmp_path / "home")


@pytest.fixture(scope="module")
def advanced(policy, begun, tmp_path_factory):
    """A store with a training that was stopped in round 2 after 3 updates; not to be changed."""
    home = shutil.copytree(begun, tmp_path_factory.mktemp("advanced") / "home")
    interrupt(policy, home, "round 2: DPO", 3)
    return home


@pytest.fixture
def advanced_home(advanced, tmp_path):
    """A copy of that store."""
    return shutil.copytree(advanced, tmp_path / "advanced")


def run_folder(home):
    return home / "adapters" / "alice" / "run"


def checkpoints(home):
    return sorted((run_folder(home) / "checkpoints").iterdir())


# Going on


def test_ctrl_c_in_sft_means_from_the_start(policy, undisturbed, tmp_path):
    said = interrupt(policy, tmp_path, "SFT", 2)
    assert said == "Stopped before SFT was finished: the same command begins anew."
    watcher = Watcher()
    run(policy, tmp_path, watcher=watcher)
    assert (watcher.said, watcher.stages[:2]) == ([], ["base: writing", "SFT"])
    assert outcome(tmp_path) == undisturbed["sft"].outcome


@pytest.mark.parametrize(
    ("stage", "completed", "place"),
    [
        ("sft: writing", 1, "after sft"),
        ("round 1: DPO", 1, "in round 1 after 1 of 6 updates"),
        ("round 1: DPO", 6, "in round 1 after 6 of 6 updates"),
        ("round1: writing", 1, "after round1"),
        ("round 2: scoring", 1, "after round1"),
        ("round 2: DPO", 3, "in round 2 after 3 of 6 updates"),
        ("round 2: DPO", 6, "in round 2 after 6 of 6 updates"),
        ("round2: writing", 1, "after round2"),
    ],
)
def test_an_interrupted_training_goes_on_bit_for_bit(policy, undisturbed, home, stage, completed, place):
    said = interrupt(policy, home, stage, completed)
    assert said == f"Stopped, {place}: the same command goes on from the last checkpoint (--fresh starts over)."
    assert AdapterStore(home).names() == []
    assert policy.adapters == ()
    watcher = Watcher()
    run(policy, home, watcher=watcher)
    assert watcher.said == [f"Going on with the training, {place}; --fresh starts over."]
    assert "SFT" not in watcher.stages
    assert outcome(home) == undisturbed["sft"].outcome
    assert not AdapterStore(home).is_unfinished("alice")
    assert policy.adapters == ()


PLACES = (
    ("base: writing", 1),
    ("SFT", 2),
    ("sft: writing", 2),
    *(("round 1: DPO", done) for done in (1, 5, 6)),
    ("round1: writing", 7),
    ("round 2: scoring", 1),  # not where the reference moves: there the policy itself has scored what it wrote
    *(("round 2: DPO", done) for done in (3, 6)),
    ("round2: writing", 2),
)


@pytest.mark.parametrize(("end", "reference"), [(KeyboardInterrupt, "sft"), (Killed, "previous")])
def test_so_it_does_when_it_is_interrupted_again_and_again(policy, undisturbed, tmp_path, reference, end):
    settings = settings_with(reference)
    for place in PLACES:
        if place[0] == "round 2: scoring" and reference == "previous":
            continue
        with pytest.raises(InterruptedRun if end is KeyboardInterrupt else Killed):
            run(policy, tmp_path, settings=settings, watcher=Watcher(place, end))
        assert policy.adapters == ()
    run(policy, tmp_path, settings=settings)
    assert outcome(tmp_path) == undisturbed[reference].outcome
    assert undisturbed["previous"].outcome[1]["round2"] != undisturbed["sft"].outcome[1]["round2"]


@pytest.mark.parametrize("call", [1, 2])
def test_so_it_does_when_interrupted_while_texts_are_scored_under_a_new_reference(
    policy, undisturbed, tmp_path, monkeypatch, call
):
    """Under the first one the demonstrations, and when it moves all that was sampled as well."""
    settings, calls, real = settings_with("previous"), [], loop.score_under_reference

    def interrupted(*arguments, **options):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    for module in (loop, scoring):
        monkeypatch.setattr(module, "score_under_reference", interrupted)
    with pytest.raises(InterruptedRun, match=f"after {['sft', 'round1'][call - 1]}: "):
        run(policy, tmp_path, settings=settings)
    run(policy, tmp_path, settings=settings)
    assert outcome(tmp_path) == undisturbed["previous"].outcome


@pytest.mark.parametrize(("reference", "stage"), [("sft", "sft"), ("previous", "round1")])
def test_the_reference_is_that_of_the_round_again(policy, tmp_path, monkeypatch, reference, stage):
    settings, seen, real = settings_with(reference), [], loop.draw_comparisons
    interrupt(policy, tmp_path, "round 2: DPO", 3, settings=settings)
    monkeypatch.setattr(
        loop,
        "draw_comparisons",
        lambda *given, **named: seen.append(policy.serialise(REFERENCE)[WEIGHTS_FILE]) or real(*given, **named),
    )
    run(policy, tmp_path, settings=settings)
    expected = (AdapterStore(tmp_path).stage_folder("alice", stage) / WEIGHTS_FILE).read_bytes()
    assert seen == [expected] * 3


@pytest.mark.parametrize("reference", ["sft", "previous"])
def test_each_stage_is_looked_at_once_even_if_looks_are_interrupted(policy, undisturbed, tmp_path, reference):
    """What was sampled beside a look is not kept without it: the run would go on from there, and never look."""
    looks, settings = [], settings_with(reference)
    for stage in ("sft", "round1", "round2"):
        selector = Selector(stop=stage)
        with pytest.raises(InterruptedRun, match=f"Stopped, after {stage}: "):
            run(policy, tmp_path, settings=settings, selector=selector)
        looks += selector.looks
    selector = Selector()
    run(policy, tmp_path, settings=settings, selector=selector)
    assert [*looks, *selector.looks] == ["sft", "round1", "round2"]
    assert outcome(tmp_path) == undisturbed[reference].outcome


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    ("owner", "name", "is_before", "done"),
    [(story._Run, "_restore", True, 3), (loop.Updater, "update", True, 4), (loop.Updater, "update", False, 4)],
)
def test_a_signal_waits_until_a_checkpoint_is_read_or_an_update_is_whole(
    policy, advanced_home, undisturbed, monkeypatch, number, code, owner, name, is_before, done
):
    before = {each: signal.signal(each, signal.default_int_handler) for each in (signal.SIGINT, signal.SIGTERM)}
    real = getattr(owner, name)

    def disturbed(*arguments, **named):
        if is_before:
            os.kill(os.getpid(), number)
        result = real(*arguments, **named)
        if not is_before:
            os.kill(os.getpid(), number)
        return result

    monkeypatch.setattr(owner, name, disturbed)
    try:
        interrupts.listen()
        with pytest.raises(InterruptedRun) as caught:
            run(policy, advanced_home)
    finally:
        interrupts.listen()  # forget the signal
        for each, handler in before.items():
            signal.signal(each, handler)
    assert caught.value.exit_code == code
    assert f"in round 2 after {done} of 6 updates" in str(caught.value)
    monkeypatch.undo()
    run(policy, advanced_home)
    assert outcome(advanced_home) == undisturbed["sft"].outcome


# Checkpoints


def test_a_killed_training_goes_on_from_its_newest_checkpoint(policy, undisturbed, home):
    said = []
    for stop in (("round 1: DPO", 3), ("round 1: DPO", 4), ("round 2: scoring", 1), ("round 2: DPO", 6)):
        watcher = Watcher(stop, Killed)
        with pytest.raises(Killed):
            run(policy, home, watcher=watcher)
        said += watcher.said
    watcher = Watcher()
    run(policy, home, watcher=watcher)
    places = (
        "after sft",
        "in round 1 after 0 of 6 updates",
        "in round 1 after 0 of 6 updates",
        "after round1",
        "in round 2 after 5 of 6 updates",
    )
    assert [*said, *watcher.said] == [f"Going on with the training, {place}; --fresh starts over." for place in places]
    assert outcome(home) == undisturbed["sft"].outcome


@pytest.mark.parametrize("reference", ["sft", "previous"])
def test_a_checkpoint_is_written_after_each_stage_each_sampling_and_five_updates(undisturbed, reference):
    saved = undisturbed[reference].saved
    # Stages, samples, updates; the last is the last stage's look.
    sizes = [(1, 0, 0), (1, 4, 0), (1, 4, 5), (2, 4, 0), (2, 8, 0), (2, 8, 5), (3, 8, 0), (3, 8, 0)]
    assert [tuple(one[:3]) for one in saved] == sizes
    assert [one[3] for one in saved] == [1, 2, 3, 3, 3, 3, 3, 3]  # the one in the making and two before


def test_a_checkpoint_holds_no_text_and_no_token_of_a_demonstration(policy, advanced_home):
    own = [policy.chat.completion_ids(text.completion) for text in TEXTS]
    own += [tuple(policy.chat.prompt_ids(text.prompt)) for text in TEXTS] + [policy.chat.completion_ids(MARKER)[:-1]]
    assert len(own[-1]) == len(MARKER)
    files = [path for path in run_folder(advanced_home).rglob("*") if path.is_file()]
    states = [path for path in files if path.name == "state.json"]
    assert len(states) == 2
    for path in files:
        data = path.read_bytes()
        assert not any(word.encode() in data for text in TEXTS for word in (MARKER, text.prompt, text.completion))
    for path in states:
        lists = list(number_lists(json.loads(path.read_text())))
        assert len(lists) > 8  # the samples, of which there are eight, do have theirs
        for numbers in lists:
            assert not any(contains(numbers, ids) for ids in own)


def number_lists(document):
    """All lists of numbers in a JSON document."""
    if isinstance(document, list) and document and all(isinstance(part, int | float) for part in document):
        yield document
    elif isinstance(document, list | dict):
        for part in document.values() if isinstance(document, dict) else document:
            yield from number_lists(part)


def contains(numbers, ids):
    return any(tuple(numbers[place : place + len(ids)]) == tuple(ids) for place in range(len(numbers) - len(ids) + 1))


def test_what_looks_for_tokens_finds_them():
    (numbers,) = number_lists({"a": [{"b": [1, 2, 3]}, "x"]})
    assert contains(numbers, (2, 3))
    assert not contains(numbers, (3, 2))


def damage(path, change):
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize("kind", CHANGES)
def test_a_damaged_checkpoint_steps_back_to_the_one_before(policy, advanced, undisturbed, tmp_path, kind):
    names = sorted(os.listdir(checkpoints(advanced)[-1]))
    assert names == ["adapter_config.json", "adapter_model.safetensors", "optimizer.safetensors", "state.json"]
    for name in names:
        home = shutil.copytree(advanced, tmp_path / name)
        damage(checkpoints(home)[-1] / name, CHANGES[kind])
        with AdapterStore(home).training("alice") as kept:
            state = kept.newest()
        assert (len(state.stages), len(state.samples), len(state.steps)) == (2, 8, 0)
        assert len(checkpoints(home)) == 1  # the damaged one is not tried again
    watcher = Watcher()
    run(policy, home, watcher=watcher)
    assert watcher.said == ["Going on with the training, in round 2 after 0 of 6 updates; --fresh starts over."]
    assert outcome(home) == undisturbed["sft"].outcome


def test_foreign_names_among_the_checkpoints_are_no_checkpoints(advanced_home):
    for name in (".tmp-x", "newest", "٣"):
        (run_folder(advanced_home) / "checkpoints" / name).mkdir()
    with AdapterStore(advanced_home).training("alice") as kept:
        assert len(kept.newest().steps) == 3


# Beginning anew


@pytest.fixture
def stopped_in_sft(monkeypatch):
    """What is said when a training begins with SFT, which here is as far as it gets."""

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    def stopped(policy, home, **changes):
        watcher = Watcher()
        monkeypatch.setattr(loop, "imitate", interrupted)
        with pytest.raises(InterruptedRun, match="begins anew"):
            run(policy, home, watcher=watcher, **changes)
        return watcher.said

    return stopped


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"texts": (TEXTS[0], Demonstration("b.md", "Decline.", "no."))}, "the texts or prompts changed"),
        ({"texts": (TEXTS[0], Demonstration("b.md", "Say no.", TEXTS[1].completion))}, "the texts or prompts changed"),
        ({"texts": TEXTS[::-1]}, "the texts or prompts changed"),
        ({"texts": TEXTS[:1]}, "the texts or prompts changed"),
        ({"watch_prompt": "Say bye."}, "the texts or prompts changed"),
        ({"settings": settings_with(beta=0.2)}, "the settings changed (dpo.beta)"),
        (
            {"settings": settings_with("previous", per_token=True)},
            "the settings changed (dpo.per_token, rounds.reference)",
        ),
    ],
)
def test_what_is_not_the_same_training_begins_anew_and_says_why(policy, home, stopped_in_sft, changes, words):
    assert stopped_in_sft(policy, home, **changes) == [f"The training that was interrupted is dropped: {words}."]
    assert not AdapterStore(home).is_unfinished("alice")


def test_another_base_begins_anew(policy, home, stopped_in_sft, monkeypatch):
    monkeypatch.setattr(policy, "identity", policy.identity.model_copy(update={"weights_digest": "9" * 64}))
    assert stopped_in_sft(policy, home) == ["The training that was interrupted is dropped: the base changed."]


@pytest.mark.parametrize("kind", CHANGES)
@pytest.mark.parametrize("stage", ["sft", "round1"])
def test_a_damaged_finished_stage_means_from_the_start(policy, advanced_home, stopped_in_sft, stage, kind):
    damage(run_folder(advanced_home) / "generation" / stage / "adapter_model.safetensors", CHANGES[kind])
    assert stopped_in_sft(policy, advanced_home) == []
    assert not AdapterStore(advanced_home).is_unfinished("alice")


def test_start_over_starts_over(policy, home, stopped_in_sft):
    with AdapterStore(home).training("alice") as kept:
        kept.start_over()
        assert kept.newest() is None
    assert not (home / "adapters" / "alice").exists()
    assert stopped_in_sft(policy, home) == []


# The store alone


IDENTITY = RunIdentity(
    settings=Settings(),
    base=BASE,
    quantize="none",
    device="cpu",
    demonstrations=["5" * 64],
    watch_prompt="6" * 64,
    versions={"torch": "2"},
)


def state(num_steps=0, stages=("sft",)):
    return RunState(
        identity=IDENTITY,
        begun="2026-01-02T03:04:05+00:00",
        seconds=1.0,
        base_sample="Dear Sir or Madam,",
        stages=[StageRecord(stage=stage, seconds=1.5, metrics={"loss": 2.0}, sample=None) for stage in stages],
        steps=[{"values": {"loss": 1.0}, "kinds": {"online": 1}}] * num_steps,
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"quantize": "nf4"}, "the base changed"),
        ({"device": "cuda"}, "it ran on cpu, and this is cuda"),
        ({"versions": {"torch": "3"}}, "the installed packages changed"),
    ],
)
def test_the_difference_of_two_runs_in_words(changes, words):
    assert IDENTITY.difference(IDENTITY.model_copy(update=changes)) == words


@pytest.fixture
def store(tmp_path):
    return AdapterStore(tmp_path / "home")


def begin(kept):
    kept.add_stage("sft", stage_files("x"))
    kept.save(state(1), {"weights": b"one"})


def test_a_checkpoint_is_kept_from_one_process_to_the_next(store, tmp_path):
    with store.training("alice") as kept:
        assert kept.newest() is None
        begin(kept)
        kept.save(state(2), {"weights": b"two"})
    assert (store.names(), store.unfinished_names(), store.has("alice")) == ([], ["alice"], True)
    with store.training("alice") as kept:
        found = kept.newest()
        assert len(found.steps) == 2
        assert (kept.newest_folder / "weights").read_bytes() == b"two"
        assert list(kept.digests) == ["sft"]
        kept.publish(make_record(("sft",)))
    assert (store.unfinished_names(), store.check("alice")) == ([], None)
    assert sorted(os.listdir(tmp_path / "home/adapters/alice")) == ["generations"]


def test_a_stage_behind_the_newest_checkpoint_is_made_again(store):
    with store.training("alice") as kept:
        begin(kept)
        kept.add_stage("round1", stage_files("y"))
    with store.training("alice") as kept:
        kept.newest()
        assert os.listdir(kept.stage_folder("sft").parent) == ["sft"]
        kept.add_stage("round1", stage_files("z"))


@pytest.mark.parametrize("manner", ["once", "kill"])
def test_a_checkpoint_that_fails_leaves_the_one_before(store, tmp_path, manner):
    with store.training("alice") as kept:
        begin(kept)
        kept.save(state(2), {"weights": b"two"})
    for fail_at in range(1, 100):
        fault = Fault(at=fail_at, manner=manner)
        home = shutil.copytree(tmp_path / "home", tmp_path / str(fail_at))
        with AdapterStore(home).training("alice") as kept:
            kept.newest()
            failed = None
            with intercepted(fault):
                try:
                    kept.save(state(3), {"weights": b"three"})
                except (DiskError, Killed) as error:
                    failed = error
        with AdapterStore(home).training("alice") as kept:
            found = len(kept.newest().steps)
            word = {2: b"two", 3: b"three"}[found]
            assert (kept.newest_folder / "weights").read_bytes() == word
            assert found == 3 or failed is not None
            kept.save(state(4), {"weights": b"four"})
            assert len(kept.newest().steps) == 4
        if fault.num_operations < fail_at:
            break
    assert failed is None
    assert fail_at > 10


def test_an_unfinished_training_is_renamed_and_removed_with_its_adapter(store, tmp_path):
    with store.training("alice") as kept:
        kept.add_stage("sft", stage_files("old"))
        kept.publish(make_record(("sft",)))
    with store.training("alice") as kept:
        begin(kept)
    store.rename("alice", "carol")
    assert (store.names(), store.unfinished_names()) == (["carol"], ["carol"])
    assert store.size_bytes("carol") > len("old")
    store.remove("carol")
    assert not store.has("carol")
    assert os.listdir(tmp_path / "home" / "adapters") == []


def test_a_first_training_that_is_unfinished_can_be_removed(store, tmp_path):
    with store.training("alice") as kept:
        begin(kept)
    assert not store.exists("alice")
    store.remove("alice")
    assert (store.unfinished_names(), os.listdir(tmp_path / "home" / "locks")) == ([], [])


def test_what_the_disk_refuses_is_no_damage_and_costs_no_checkpoint(store, tmp_path, monkeypatch):
    with store.training("alice") as kept:
        begin(kept)
    with store.training("alice") as kept, monkeypatch.context() as patch:
        refused = DiskError("No permission.")
        patch.setattr("ditto_cli.store.files.read_bytes", mock.Mock(side_effect=refused))
        with pytest.raises(DiskError, match=r"No permission\."):
            kept.newest()
    with store.training("alice") as kept:
        assert kept.newest() is not None


def test_checkpoints_whose_stages_were_published_are_no_unfinished_training(store, tmp_path):
    with store.training("alice") as kept:
        begin(kept)
    remove_tree(tmp_path / "home" / "adapters" / "alice" / "run" / "generation")
    assert store.unfinished_names() == []
    with store.training("alice") as kept:
        assert not kept.has_checkpoints
    assert not (tmp_path / "home" / "adapters" / "alice").exists()


def test_a_resumed_run_writes_for_the_choice_in_the_same_batches(policy, tmp_path, monkeypatch):
    """Other rows beside a text can round its logits otherwise, and on a GPU that is another text."""
    batches = []
    real = loop.sample

    def recorded(policy, requests, **options):
        batches.append([(request.prompt_ids, request.seed, request.max_new_tokens) for request in requests])
        return real(policy, requests, **options)

    monkeypatch.setattr(loop, "sample", recorded)
    run(policy, tmp_path / "undisturbed")
    undisturbed = list(batches)
    batches.clear()
    base, sft, first, second = undisturbed
    assert (len(sft), len(first), len(second), len(base)) == (7, 7, 3, 2)
    assert sft[:3] == first[:3] == second  # the held prompt, the selector's, then the round's own
    assert sft[3:] != first[3:]
    # Each process has the base write again: it has no panel yet.
    interrupt(policy, tmp_path / "other", "round 1: DPO", 1)
    assert batches == [base, sft]
    # What was written for round 1's look, and beside it for round 2, counts when all of it is scored.
    interrupt(policy, tmp_path / "other", "round 2: scoring", 1)
    assert batches[2:] == [base, first]
    run(policy, tmp_path / "other")
    assert batches[4:] == [base, first, second]


def test_a_run_goes_on_where_the_base_wrote_nothing(policy, tmp_path, monkeypatch):
    monkeypatch.setattr("ditto_cli.model.base.template.ChatFormat.text", lambda self, ids: "")
    interrupt(policy, tmp_path, "round 1: DPO", 1)
    assert run(policy, tmp_path).base_sample == ""
