"""`ditto fleet`: every folder of a folder is a person; who can be trained is trained on Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.context import find_base, open_store
from ditto_cli.cli.folder import add_prompts
from ditto_cli.cli.network import host_log
from ditto_cli.cli.plan import plan_job, prepare, read_order, stored_prompts, with_stand_ins
from ditto_cli.cli.progress import live_lines
from ditto_cli.cli.render import as_json_ready, duration, print_json, print_table, say, size
from ditto_cli.config import resolved_quantize
from ditto_cli.errors import DeviceError, DittoError, InputError
from ditto_cli.fleet.cluster import Ended, Failure, Progress, Resources, check_resources, cluster, run_tasks
from ditto_cli.fleet.status import FleetStatus, PersonStatus, StatusBoard, read_status
from ditto_cli.fleet.training import Task, Trained, is_trained, publish, train_person
from ditto_cli.store import AdapterStore, store_home

_MOST_RUNNING_SHOWN = 12


@dataclass(frozen=True)
class FleetOptions:
    """What `ditto fleet train` is asked for."""

    people: Path
    address: str | None
    num_gpus: float
    num_cpus: float
    fresh: bool
    train: TrainOptions


@dataclass(frozen=True)
class _Person:
    """One folder: its task, or why there is none; `row` is its line of the table."""

    name: str
    task: Task | None
    problem: str
    row: tuple[str, ...]
    peak_bytes: int = 0


def run_fleet_train(options: FleetOptions) -> None:
    """See `ditto fleet train --help`.

    Raises:
        DittoError: nobody can be trained, somebody failed, or as Ray and the store give reason to.
    """
    store = open_store()
    people = _read_people(options, store)
    columns = ("person", "texts", "tokens", "updates", "adapter", "")
    print_table(f"{len(people)} folders in {options.people}", columns, [person.row for person in people])
    tasks = [person.task for person in people if person.task is not None]
    if not tasks and any(person.problem for person in people):
        raise InputError("Nobody can be trained: see above.")
    now = time.time()
    waiting = {task.name for task in tasks}
    statuses = [
        PersonStatus(
            name=person.name,
            state="waiting"
            if person.name in waiting and not person.problem
            else "refused"
            if person.problem
            else "done",
            detail=person.problem,
        )
        for person in people
    ]
    board = StatusBoard(
        store_home(os.environ), FleetStatus(folder=str(options.people), begun=now, updated=now, people=statuses)
    )
    board.write(is_over=not tasks)
    if not tasks:
        say("All of them are trained already; --fresh trains them again.")
        return
    memory = max(person.peak_bytes for person in people)
    # On a GPU the weights lie there; what is left is the program.
    resources = Resources(options.num_gpus, options.num_cpus, memory if not options.num_gpus else 4 * 2**30)
    with cluster(options.address) as machines, live_lines() as shown:
        for machine in machines:
            host_log().add(machine)
        if machines:
            say(f"Texts and adapters travel between here and {', '.join(machines)}.")
        say(f"{len(tasks)} to train, {min(len(tasks), check_resources(resources))} at a time.")
        by_name = {task.name: task for task in tasks}
        try:
            for event in run_tasks(((task.name, task) for task in tasks), train_person, resources):
                if isinstance(event, Ended):
                    _finish(event, by_name[event.name], store, board)
                else:
                    _show_progress(event, board)
                board.write()
                shown.show(list(_lines(board.status)))
        finally:
            board.write(is_over=True)
    counts = board.status.counts()
    say(_summary(counts))
    if counts.get("failed"):
        raise DittoError("Some were not trained, see above; the same command tries these again.")


def run_fleet_status(*, as_json: bool) -> None:
    """See `ditto fleet status --help`.

    Raises:
        InputError: no fleet was trained here.
        DiskError: its file is damaged.
    """
    status = read_status(store_home(os.environ))
    if as_json:
        print_json(as_json_ready(status))
        return
    rows = [
        (person.name, person.state, _detail(person), "" if person.seconds is None else duration(person.seconds))
        for person in status.people
        if person.state != "done"
    ]
    print_table(f"{status.folder}: {_summary(status.counts())}", ("person", "", "where, or why", "time"), rows)
    ago = duration(time.time() - status.updated)
    say(f"It ended {ago} ago." if status.is_over else f"As of {ago} ago.")


def _read_people(options: FleetOptions, store: AdapterStore) -> list[_Person]:
    """Each folder as `ditto train` would read it, counted on a base without weights.

    Raises:
        InputError: there are no folders, or the base cannot be found.
        DeviceError: no preset is known for the cluster's GPUs.
    """
    if not options.people.is_dir():
        raise InputError(f"{options.people} is not a folder: give the one that holds a folder for each person.")
    folders = sorted(path for path in options.people.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"{options.people} holds no folders: make one for each person, with their texts in it.")
    from ditto_cli.model.hardware import detect

    hardware = detect("auto" if options.num_gpus else "cpu")
    if options.num_gpus and not hardware.is_cuda and not (options.train.preset or os.environ.get("DITTO_PRESET")):
        raise DeviceError("This machine has no GPU to choose a preset by: say --preset, as in --preset qwen3-8b-24gb.")
    from ditto_cli.model.base.loading import load_skeleton
    from ditto_cli.model.policy.policy import Policy

    skeletons: dict[str, Policy] = {}
    people: list[_Person] = []
    for folder in folders:
        name = folder.name
        try:
            order = read_order(replace(options.train, folder=folder))
            name = order.adapter
            if name in {person.name for person in people}:
                raise InputError("another folder has this name already: give one of them a `name` in its ditto.yaml.")
            _, settings = order.settings(hardware)
            base = f"{settings.base.id}@{settings.base.revision}"
            if base not in skeletons:
                found = find_base(settings.base.id, settings.base.revision, weights=False)
                skeletons[base] = load_skeleton(found, hardware)
            prompts, _ = stored_prompts(folder, order)
            job, selector = prepare(
                skeletons[base],
                name,
                with_stand_ins(order, prompts),
                settings,
                watch_prompt=order.watch_prompt,
                publish="best",
            )
            quantize = resolved_quantize(settings.base.quantize, is_cuda=bool(options.num_gpus))
            plan = plan_job(skeletons[base], job, selector, quantize, store)
            texts = tuple(order.view.reading.texts)
            where = str(folder.resolve())
            task = Task(name, where, texts, prompts, settings, order.watch_prompt, bool(options.num_gpus))
            is_done = not options.fresh and is_trained(store, task)
            steps = settings.sft.max_steps + settings.rounds.num * settings.rounds.steps
            cells = (str(len(texts)), str(job.texts.num_tokens), str(steps), size(plan.need.adapter))
            row = (name, *cells, "trained already" if is_done else "")
            people.append(_Person(name, None if is_done else task, "", row, plan.need.peak))
        except DittoError as error:
            problem = str(error)
            people.append(_Person(name, None, problem, (name, "", "", "", "", problem)))
    return people


def _finish(ended: Ended, task: Task, store: AdapterStore, board: StatusBoard) -> None:
    """Put what came of a person into the store; what goes wrong there is that person's failure."""
    outcome = ended.outcome
    if isinstance(outcome, Trained):
        try:
            folder = Path(task.folder)
            missing = [(text, outcome.prompts[text.id]) for text in task.texts if text.id in outcome.prompts]
            add_prompts(folder, missing)
            publish(store, task, outcome)
        except DittoError as error:
            outcome = Failure(str(error))
    if isinstance(outcome, Failure):
        say(f"{ended.name} failed: {outcome.reason}")
        board.set(ended.name, "failed", detail=outcome.reason, seconds_left=None)
    else:
        seconds = outcome.record.seconds
        say(f"{ended.name} is done, {duration(seconds)}: {outcome.record.published} is published.")
        board.set(ended.name, "done", detail="", seconds_left=None, seconds=seconds)


def _show_progress(progress: Mapping[str, Progress], board: StatusBoard) -> None:
    for name, one in progress.items():
        board.set(name, "running", detail=one.stage, seconds_left=one.seconds_left, tries=one.tries)


def _lines(status: FleetStatus) -> Iterator[str]:
    yield _summary(status.counts())
    running = [person for person in status.people if person.state == "running"]
    for person in running[:_MOST_RUNNING_SHOWN]:
        yield f"  {person.name}: {_detail(person)}"
    if len(running) > _MOST_RUNNING_SHOWN:
        yield f"  and {len(running) - _MOST_RUNNING_SHOWN} more"


def _detail(person: PersonStatus) -> str:
    detail = person.detail
    if person.seconds_left is not None:
        detail += f", about {duration(person.seconds_left)} left in it"
    return f"{detail} (try {person.tries})" if person.tries > 1 else detail


def _summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{num} {state}" for state, num in counts.items())
