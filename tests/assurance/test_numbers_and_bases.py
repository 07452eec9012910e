"""Numbers that are not finite are never saved; an adapter is never put on another base in silence."""

import errno
import json
import math
import shutil
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from children import in_child
from conftest import CHATML, load_tiny, save_tiny_base
from disk_gate import intercepted
from ditto_cli.cli.app import run_guarded
from ditto_cli.errors import DiskError, InputError
from ditto_cli.method import updates
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.store import AdapterStore
from ditto_cli.types import SilentReporter
from outcome import Outcome
from test_damage import commands, files_below
from training import SETTINGS, TEXTS, ditto, weights_of

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]


class Poisoner(SilentReporter):
    """Puts a bad number into a weight when a stage has come to a step."""

    def __init__(self, policy, stage, step, value, which):
        self._policy, self._at, self._value, self._which = policy, (stage, step), value, which
        self._stage = ""

    def begin_work(self, stage, total, unit):
        self._stage = stage

    def advance_work(self, completed, metrics):
        if (self._stage, completed) == self._at:
            with torch.no_grad():
                self._policy.parameters()[self._which].view(-1)[0] = self._value


def poisoned_weights(home, base, stage, step, value, which):
    policy = load_tiny(base)
    reporter = Poisoner(policy, stage, step, value, which)
    with AdapterStore(home).training("alice") as kept:
        train_ditto(policy, Job.of(policy, "alice", TEXTS, SETTINGS, "Say hello."), kept, reporter)


def poisoned_loss(home, base, call, value):
    """The loss of one micro-batch becomes `value`."""
    real, calls = updates.dpo_terms, [0]

    def dpo_terms(*arguments, **keywords):
        from dataclasses import replace

        terms = real(*arguments, **keywords)
        calls[0] += 1
        return replace(terms, losses_P=terms.losses_P * value) if calls[0] == call else terms

    with mock.patch.object(updates, "dpo_terms", dpo_terms):
        undisturbed(home, base)


def poisoned_gradient(home, base, call, value):
    """The gradient of one weight becomes `value` in one update, while the loss is sound."""
    real, calls = updates.accumulate_gradient, [0]

    def accumulate_gradient(policy, *arguments, **keywords):
        terms = real(policy, *arguments, **keywords)
        calls[0] += 1
        if calls[0] == call:
            policy.parameters()[0].grad.view(-1)[0] = value
        return terms

    with mock.patch.object(updates, "accumulate_gradient", accumulate_gradient):
        undisturbed(home, base)


def poisoned_step(home, base, call, value):
    """An optimizer step leaves `value` in a weight."""
    real, calls = torch.optim.AdamW.step, [0]

    def step(optimizer, *arguments, **keywords):
        result = real(optimizer, *arguments, **keywords)
        calls[0] += 1
        if calls[0] == call:
            with torch.no_grad():
                optimizer.param_groups[0]["params"][-1].view(-1)[-1] = value
        return result

    with mock.patch.object(torch.optim.AdamW, "step", step):
        undisturbed(home, base)


def undisturbed(home, base):
    policy = load_tiny(base)
    with AdapterStore(home).training("alice") as kept:
        train_ditto(policy, Job.of(policy, "alice", TEXTS, SETTINGS, "Say hello."), kept, SilentReporter())


def poisons():
    for value in (math.nan, math.inf, -math.inf):
        for stage, step in (("SFT", 1), ("SFT", 3), ("round 1: DPO", 2), ("round 1: DPO", 6), ("round 2: DPO", 3)):
            for which in (0, -1):
                yield f"weight {which} = {value} after {stage} {step}", poisoned_weights, (stage, step, value, which)
        for call in (1, 9):
            yield f"loss * {value}", poisoned_loss, (call, value)
            yield f"gradient {value}", poisoned_gradient, (call, value)
        for call in (2, 3, 4, 9):  # the third is SFT's last
            yield f"step to {value}", poisoned_step, (call, value)


def check_non_finite(workshop, folder, *, step=1):
    outcome = Outcome()
    before = folder / "before"
    assert workshop.child(workshop.training(before, settings=SETTINGS.model_copy(update={"seed": 5}))).code == 0
    old = weights_of(before)
    for name, poison, arguments in list(poisons())[::step]:
        home = folder / "poisoned"
        shutil.copytree(before, home)
        ended = workshop.child(
            lambda poison=poison, arguments=arguments, home=home: run_guarded(
                lambda: poison(home, workshop.base, *arguments)
            )
        )
        bad = [path.name for path in home.rglob("*.safetensors") if not is_finite(path)]
        problem = None
        if bad:
            problem = f"saved in {bad}"
        elif ended.code != 6 or "Traceback" in ended.err:
            problem = f"it ended with {ended.code}: {ended.err}"
        elif weights_of(home) != old:
            problem = "the adapter from before is not what it was"
        outcome.add(problem, name)
        shutil.rmtree(home)
    return outcome


def is_finite(path):
    return all(bool(np.isfinite(values).all()) for values in load_file(path).values())


def test_non_finite_numbers(workshop, tmp_path, promise):
    title = "NaN or Inf in loss, gradient, weight: exit 6, never saved (import: see hostile archives)"
    promise(title, check_non_finite(workshop, tmp_path), at_least=40)


_POSITIONS = {"rope_theta": 5.0, "rope_type": "default"}


def other_bases(workshop, folder):
    """Bases on which an adapter of the workshop's must not be put, by name."""
    yield "same shapes, other weights", save_tiny_base(folder / "seed", seed=7)
    yield "wider", save_tiny_base(folder / "wide", hidden_size=64)
    yield "wider inside", save_tiny_base(folder / "inside", intermediate_size=128)
    yield "longer context", save_tiny_base(folder / "context", context_tokens=1024)
    yield "other template", save_tiny_base(folder / "template", template=CHATML.replace("assistant", "Assistant"))
    for name, file, change in (
        ("one layer less", "config.json", lambda c: c | {"num_hidden_layers": 1}),
        (
            "other positions",
            "config.json",
            lambda c: c | {"rope_parameters": {"rope_theta": 5.0, "rope_type": "default"}},
        ),
        ("other norm", "config.json", lambda c: c | {"rms_norm_eps": 0.1}),
        ("other activation", "config.json", lambda c: c | {"hidden_act": "gelu"}),
        ("tokenizer with other words", "tokenizer.json", lambda c: c | {"normalizer": {"type": "Lowercase"}}),
    ):
        copy = folder / name.replace(" ", "-")
        shutil.copytree(workshop.base, copy)
        content = json.loads((copy / file).read_text(encoding="utf-8"))
        (copy / file).write_text(json.dumps(change(content)), encoding="utf-8")
        yield name, copy
    one = folder / "one-number"
    shutil.copytree(workshop.base, one)
    weights = bytearray((one / "model.safetensors").read_bytes())
    weights[-1] ^= 64
    (one / "model.safetensors").write_bytes(weights)
    yield "one number changed", one


def check_wrong_bases(workshop, folder):
    outcome = Outcome()
    home = workshop.place / "undisturbed"
    sample = ("sample", "--adapter", "alice", "--device", "cpu", "--seed", "1", "--max-tokens", "8")
    same = folder / "same"
    shutil.copytree(workshop.base, same)
    for name, base in (("the same base elsewhere", same), *other_bases(workshop, folder)):
        (code,), said = commands(workshop, home, (*sample, "--base", base, "Hi."))
        problem = None
        if (code == 0) != (base == same) or (base != same and (code != 3 or "Traceback" in said)):
            problem = f"it ended with {code}: {said}"
        outcome.add(problem, name)
    for commit, allowed in (("a" * 40, True), ("b" * 40, False)):
        outcome.add(
            _revision_problem(workshop, folder / commit[0], sample, commit, allowed=allowed), f"hub {commit[0]}"
        )
    return outcome


def _revision_problem(workshop, folder, sample, newest, *, allowed):
    """Train on revision a of a hub base; then take the base by its name, when `newest` is the newest revision."""
    hub, home = folder / "hub", folder / "home"
    model = hub / "models--org--tiny"
    for commit, base in (("a" * 40, workshop.base), ("b" * 40, save_tiny_base(folder / "b", seed=9))):
        shutil.copytree(base, model / "snapshots" / commit)
    (model / "refs").mkdir()
    texts = folder / "texts"
    texts.mkdir()
    (texts / "a.md").write_text("---\nprompt: Invite Bo.\n---\nhi bo - tea at 4? x\n", encoding="utf-8")

    def run(*arguments):
        def job():
            with mock.patch("huggingface_hub.constants.HF_HUB_CACHE", str(hub)):
                ditto(home, *arguments)

        return workshop.child(job)

    (model / "refs" / "main").write_text("a" * 40, encoding="ascii")
    small = ("--set", "rounds.num=0", "--set", "sft.max_steps=2", "--publish", "last")
    trained = run("train", texts, "--name", "alice", "--base", "org/tiny", "--device", "cpu", *small)
    if trained.code != 0:
        return f"training ended with {trained.code}: {trained.err}"
    (model / "refs" / "main").write_text(newest, encoding="ascii")
    recorded, named = run(*sample, "Hi."), run(*sample, "--base", "org/tiny", "Hi.")
    if recorded.code != 0:
        return f"on its recorded revision: {recorded.code}: {recorded.err}"
    return None if named.code == (0 if allowed else 3) else f"by name: {named.code}: {named.err}"


def test_wrong_bases(workshop, tmp_path, promise):
    title = "adapter on a wrong base (revision, same-shape weights, depth, template, tokenizer): no silent load"
    promise(title, check_wrong_bases(workshop, tmp_path), at_least=12)


_PARTS = ["..", ".", "/", "\\", "\0", "a", "CON", "nul", "-rf", "~", " ", "\n", "\u00e9", "\u202e", "$HOME"]
NAMES = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(_PARTS)).map("".join),
    st.from_regex(r"[A-Za-z0-9._-]{0,70}", fullmatch=True),
    st.binary(max_size=20).map(lambda data: data.decode("utf-8", "surrogateescape")),
)


def check_names(folder, number_of_names):
    """No name leads a change of the disk, or a look at it, out of the store's own folders."""
    outcome = Outcome()
    home = folder / "home"
    store = AdapterStore(home)
    store.key()  # made once, whatever the names
    touched = []

    @settings(
        max_examples=number_of_names,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(NAMES)
    def one(name):
        touched.clear()
        problem = None
        for use in (store.record, store.stage_folder, store.remove, store.checked_stage_folder, store.size_bytes):
            try:
                use(name)
                problem = f"{use.__name__} found something"
            except InputError:
                pass
        try:
            with store.training(name):
                pass
        except (DiskError, ValueError) as error:  # ValueError: a NUL in a path
            problem = f"it was tried: {error}"
        except InputError:
            if touched:
                problem = f"a refused name touched {touched}"
        allowed = (home / "adapters" / name,) if "\0" not in name else ()
        for path in touched:
            inside = path in (home, home / "locks", home / "adapters", home.parent) or path.parent == home / "locks"
            if not inside and not any(path == place or path.is_relative_to(place) for place in allowed):
                problem = f"it touched {path}"
            if not inside and path.resolve() != path.absolute():
                problem = f"it led to {path.resolve()}"
        outcome.add(problem, repr(name))

    def note(operation):
        paths = [path for path in (operation.path, operation.target) if path is not None]
        touched.extend(paths)
        for path in paths:
            if not path.resolve().is_relative_to(folder):
                raise PermissionError(errno.EPERM, "outside of the test's folder")

    with intercepted(note):
        one()
    shutil.rmtree(home, ignore_errors=True)
    left = [path for path in files_below(folder) if path.is_relative_to(folder)]
    outcome.add(f"left behind: {left}" if left else None, "what is left")
    return outcome


def test_names(tmp_path, promise):
    title = "adapter names (`..`, NUL, unicode, `CON`, `-rf`): no path outside the store"
    with mock.patch("os.fsync"):
        outcome = check_names(tmp_path, 10_000)
    promise(title, outcome, at_least=10_000)


def check_archives(workshop, folder, *, step=1):
    """Hostile archives, each to the command line: refused, and not a byte anywhere."""
    from hostile_archives import hostile_archives

    home, work = folder / "home", folder / "work"
    work.mkdir(parents=True)
    archive = work / "alice.ditto"
    ended = workshop.child(
        lambda: ditto(workshop.place / "undisturbed", "export", "alice", "--to", "ditto", "--out", archive)
    )
    assert ended.code == 0, ended.err
    hostile = list(hostile_archives(archive.read_bytes()))[::step]
    archive.unlink()
    outcome, results = Outcome(), folder / "results"
    for name, data in hostile:
        (work / "in.ditto").write_bytes(data)
        place = folder / "log"

        def job(place=place):
            code = 0
            try:
                ditto(home, "adapters", "import", work / "in.ditto", "--base", workshop.base)
            except SystemExit as end:
                code = end.code or 0
            place.write_text(str(code), encoding="ascii")

        ended = in_child(job, results)
        code = int(place.read_text(encoding="ascii"))
        made = [
            path for path in files_below(folder) if path.parent != results and path not in (work / "in.ditto", place)
        ]
        problem = None
        if code not in (2, 3) or "Traceback" in ended.err:
            problem = f"it ended with {code}: {ended.err}"
        elif made:
            problem = f"it left {made}"
        outcome.add(problem, name)
    return outcome


def test_archives(workshop, tmp_path, promise):
    title = "hostile archives: refused, 0 bytes outside the staging folder"
    promise(title, check_archives(workshop, tmp_path), at_least=60)
