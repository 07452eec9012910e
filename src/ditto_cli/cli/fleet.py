"""`ditto fleet`: every folder of a folder is a person; who can be trained is trained on Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ditto_cli.cli.arguments import FleetOptions
from ditto_cli.cli.context import find_base, folder_adapter, open_store
from ditto_cli.cli.network import host_log
from ditto_cli.cli.render import live_lines, print_json, print_table, say
from ditto_cli.cli.texts import add_prompts
from ditto_cli.cli.train import plan_order, read_order
from ditto_cli.config import read_folder_file
from ditto_cli.errors import DeviceError, DittoError, InputError
from ditto_cli.evaluation.eval_prompts import evaluation_prompts
from ditto_cli.evaluation.report import REPORT_FILE, EvalReport
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.fleet.cluster import Ended, Resources, check_resources, cluster, run_tasks
from ditto_cli.fleet.status import (
    FLEET_FOLDER,
    PAGE_FILE,
    FleetStatus,
    PersonStatus,
    StatusBoard,
    only_fleet,
    read_status,
)
from ditto_cli.fleet.tasks import EvalTask, TrainTask, evaluate_person, is_trained, publish, train_person
from ditto_cli.shown import duration, size
from ditto_cli.store import AdapterStore, store_home, write_text
from ditto_cli.store.generations import STAGE_FILES

_PROGRAM_BYTES = 4 * 2**30  # and of an evaluation on a CPU


def run_fleet_train(options: FleetOptions) -> None:
    """See `ditto fleet train --help`."""
    store = open_store()
    with only_fleet(store_home(os.environ)):  # before it is looked who is trained already
        statuses, tasks, peak_bytes = _read_people(options, store)
        if all(status.state == "refused" for status in statuses):
            raise InputError("Nobody can be trained: see above.")
        if not tasks:
            _board(options, statuses).end()
            say("All who can be are trained already; --fresh trains them again.")
            return

        def keep(name: str, outcome: Any) -> tuple[float, str]:
            """Put what came of a person into the store."""
            task, record = tasks[name], outcome.record
            add_prompts(Path(task.folder), [(t, outcome.prompts[t.id]) for t in task.texts if t.id in outcome.prompts])
            publish(store, task, outcome)
            return record.seconds, f"{name} is done, {duration(record.seconds)}: {record.published} is published."

        _run(options, statuses, tasks, train_person, peak_bytes, keep)


def run_fleet_eval(options: FleetOptions) -> None:
    """See `ditto fleet eval --help`."""
    from ditto_cli.evaluation.evaluation_files import keep_report
    from ditto_cli.evaluation.html import render_html, render_overview
    from ditto_cli.evaluation.report import style_of

    store = open_store()
    with only_fleet(store_home(os.environ)):
        tasks, statuses = {}, {}
        for folder in _person_folders(options.people):
            name = folder.name
            try:
                name = folder_adapter(folder, read_folder_file(folder))
                tasks[name] = _eval_task(store, name, folder, is_on_gpu=bool(options.num_gpus))
                statuses[name] = PersonStatus(name=name, state="waiting")
            except DittoError as error:
                statuses[name] = PersonStatus(name=name, state="refused", detail=str(error))
                say(f"{name}: {error}")
        if not tasks:
            raise InputError("Nobody can be evaluated: see above.")
        reports: dict[str, EvalReport] = {}

        def keep(name: str, outcome: Any) -> tuple[float, str]:
            """Write a person's own report beside the adapter."""
            keep_report(store.evaluation_folder(name), outcome, render_html(outcome))
            reports[name] = outcome
            return outcome.run.seconds, f"{name}: {outcome.verdict.advice}"

        def worth(report: EvalReport) -> float:
            own = next(c for c in report.contestants if c.title.startswith(f"{report.adapter}:"))
            return style_of(own.style) + own.task.value

        try:
            _run(options, list(statuses.values()), tasks, evaluate_person, _PROGRAM_BYTES, keep)
        finally:
            if reports:
                ordered = sorted(reports.values(), key=worth)
                pages = [(r, (store.evaluation_folder(r.adapter) / REPORT_FILE).as_uri()) for r in ordered]
                page = store_home(os.environ) / FLEET_FOLDER / PAGE_FILE
                write_text(page, render_overview(f"{len(ordered)} people of {options.people.name}", pages))
                if options.as_json:
                    print_json(ordered)
                else:
                    print_table("", ("person", "verdict"), [(r.adapter, r.verdict.advice) for r in ordered])
                say(f"All of them, the worst first: {page}")


def run_fleet_status(*, as_json: bool) -> None:
    """See `ditto fleet status --help`."""
    status = read_status(store_home(os.environ))
    if as_json:
        print_json(status)
        return
    rows = [
        (person.name, person.state, _detail(person), "" if person.seconds is None else duration(person.seconds))
        for person in status.people
        if person.state != "done"
    ]
    print_table(f"{status.folder}: {_summary(status.counts())}", ("person", "", "where, or why", "time"), rows)
    ago = duration(time.time() - status.updated)
    say(f"It ended {ago} ago." if status.is_over else f"As of {ago} ago.")


def _board(options: FleetOptions, people: list[PersonStatus]) -> StatusBoard:
    """What other terminals see of the people."""
    now = time.time()
    status = FleetStatus(folder=str(options.people), begun=now, updated=now, people=people)
    board = StatusBoard(store_home(os.environ), status)
    board.write()
    return board


def _run(
    options: FleetOptions,
    people: list[PersonStatus],
    tasks: Mapping[str, Any],
    work: Callable[[Any, Any], Any],
    memory_bytes: int,
    keep: Callable[[str, Any], tuple[float, str]],
) -> None:
    """Have all tasks done; who fails does not hold up the others.

    `keep` takes each outcome: how many seconds it took, and what there is to say of it.
    """
    # On a GPU the weights lie there, and what is left is the program.
    resources = Resources(options.num_gpus, options.num_cpus, _PROGRAM_BYTES if options.num_gpus else memory_bytes)
    board = _board(options, people)
    status = board.status
    try:
        with cluster(options.address) as machines, live_lines() as show:
            for machine in machines:
                host_log().add(machine)
            if machines:
                say(f"Texts and adapters travel between here and {', '.join(machines)}.")
            say(f"{len(tasks)} to do, {min(len(tasks), check_resources(resources))} at a time.")
            for event in run_tasks(tasks.items(), work, resources):
                if isinstance(event, Ended):
                    try:
                        if isinstance(event.outcome, DittoError):
                            raise event.outcome
                        seconds, told = keep(event.name, event.outcome)
                        board.set(event.name, "done", detail="", seconds_left=None, seconds=seconds)
                        say(told)
                    except DittoError as error:  # of the task, or of the disk here
                        say(f"{event.name} failed: {error}")
                        board.set(event.name, "failed", detail=str(error), seconds_left=None)
                else:
                    for name, one in event.items():
                        board.set(name, "running", detail=one.stage, seconds_left=one.seconds_left, tries=one.tries)
                board.write()
                running = [f"  {one.name}: {_detail(one)}" for one in status.people if one.state == "running"]
                show([_summary(status.counts()), *running])
    finally:
        board.end()
    counts = status.counts()
    say(_summary(counts))
    if counts.get("failed"):
        raise DittoError("Some failed, see above; the same command tries these again.")


def _person_folders(people: Path) -> list[Path]:
    if not people.is_dir():
        raise InputError(f"{people} is not a folder: give the one that holds a folder for each person.")
    folders = sorted(path for path in people.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not folders:
        raise InputError(f"{people} holds no folders: make one for each person, with their texts in it.")
    return folders


def _read_people(options: FleetOptions, store: AdapterStore) -> tuple[list[PersonStatus], dict[str, TrainTask], int]:
    """Each folder as `ditto train` would read it, counted on a base without weights, and shown as a line of a table.

    All people, the tasks of those to be trained by name, and the most bytes that one takes.
    """
    folders = _person_folders(options.people)
    from ditto_cli.model.hardware import detect

    is_on_gpu = bool(options.num_gpus)
    hardware = detect("auto" if is_on_gpu else "cpu")
    if is_on_gpu and not hardware.is_cuda and not (options.preset or os.environ.get("DITTO_PRESET")):
        raise DeviceError("This machine has no GPU to choose a preset by: say --preset, as in --preset qwen3-8b-24gb.")
    from ditto_cli.model.base.loading import load_skeleton
    from ditto_cli.model.policy.policy import Policy

    skeletons: dict[str, Policy] = {}
    statuses: list[PersonStatus] = []
    tasks: dict[str, TrainTask] = {}
    rows, peak_bytes = [], 0
    for folder in folders:
        name = folder.name
        try:
            order = read_order(options.train_options(folder))
            if order.adapter in {status.name for status in statuses}:
                raise InputError("another folder has this name already: give one of them a `name` in its ditto.yaml.")
            name = order.adapter
            _, settings = order.settings(hardware)
            base = f"{settings.base.id}@{settings.base.revision}"
            if base not in skeletons:
                found = find_base(settings.base.id, settings.base.revision, weights=False)
                skeletons[base] = load_skeleton(found, hardware)
            plan = plan_order(order, settings, skeletons[base], is_cuda=is_on_gpu)
            texts, pairs = order.reading.texts, order.reading.pairs
            where = str(folder.resolve())
            task = TrainTask(name, where, texts, order.prompts, settings, order.watch_prompt, is_on_gpu, pairs)
            is_done = not options.fresh and is_trained(store, task)
            steps = settings.sft.max_steps + settings.rounds.num * settings.rounds.steps
            cells = (str(len(texts)), str(plan.job.texts.num_tokens), str(steps), size(plan.need.adapter))
            rows.append((name, *cells, "trained already" if is_done else ""))
            statuses.append(PersonStatus(name=name, state="done" if is_done else "waiting"))
            if not is_done:
                tasks[name] = task
            peak_bytes = max(peak_bytes, plan.need.peak)
        except DittoError as error:
            rows.append((name, "", "", "", "", str(error)))
            statuses.append(PersonStatus(name=name, state="refused", detail=str(error)))
    columns = ("person", "texts", "tokens", "updates", "adapter", "")
    print_table(f"{len(folders)} folders in {options.people}", columns, rows)
    return statuses, tasks, peak_bytes


def _eval_task(store: AdapterStore, name: str, folder: Path, *, is_on_gpu: bool) -> EvalTask:
    """What an evaluation of an adapter takes, read from the store and the person's folder."""
    record = store.record(name)
    author = read_author(folder)
    competing = dict.fromkeys((record.published, record.stage_names[0], record.stage_names[-1]))
    stages = {}
    for stage in competing:
        place = store.checked_stage_folder(name, stage)
        stages[stage] = {file: (place / file).read_bytes() for file in STAGE_FILES}
    prompts = evaluation_prompts(author, store.evaluation_folder(name))
    return EvalTask(name, record, stages, author, tuple(prompts), is_on_gpu)


def _detail(person: PersonStatus) -> str:
    """Where somebody's training is, or why there is none."""
    left = "" if person.seconds_left is None else f", about {duration(person.seconds_left)} left in it"
    tries = f" (try {person.tries})" if person.tries > 1 else ""
    return person.detail + left + tries


def _summary(counts: Mapping[str, int]) -> str:
    """`3 waiting, 2 done`."""
    return ", ".join(f"{num} {state}" for state, num in counts.items())
