"""Work for many people -> outcomes, one at a time, on Ray; it knows nothing of what the work is.

Ray places the tasks, and tries one again whose process, machine or memory was lost. Each runs in a process of its own.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ditto_cli.errors import DeviceError, DittoError, InputError
from ditto_cli.types import SilentReporter

TRIES = 3  # of each person, before it counts as failed
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Resources:
    """What one person's task holds while it runs, in Ray's units; memory in bytes."""

    num_gpus: float
    num_cpus: float
    memory_bytes: int


@dataclass(frozen=True)
class Progress:
    """Where a running task is."""

    stage: str
    seconds_left: float | None
    tries: int


@dataclass(frozen=True)
class Ended:
    """One person's outcome: what the work returned, or the `DittoError` that says why there is none."""

    name: str
    outcome: Any


@contextmanager
def cluster(address: str | None) -> Iterator[list[str]]:
    """A connection to a cluster; without an address, a Ray of this machine's own that ends with the block.

    Yields the addresses of the machines that texts will travel to. InputError: Ray is not installed, or does not answer
    there. DittoError: it does not start here.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
        os.environ["RAY_task_oom_retries"] = str(TRIES - 1)  # noqa: SIM112 - as Ray spells it
    try:
        import ray
    except ImportError:
        raise InputError("ditto fleet needs Ray: pip install 'ditto-cli[fleet]'.") from None
    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    # Ray opens the folder that it is given to everybody, so it lies in one that is closed; sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="ditto-ray-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        try:
            if address is None:
                inside = str(Path(folder, "r"))
                # "local": without an address Ray would take a cluster of somebody else that runs on this machine.
                ray.init("local", include_dashboard=False, _temp_dir=inside, _node_ip_address="127.0.0.1", **quiet)
            else:
                ray.init(address=address, **quiet)
        except Exception as error:  # whatever it is that Ray makes of an address
            kind = type(error).__name__
            if address is None:
                raise DittoError(f"Ray does not start on this machine ({kind}): close other programs.") from None
            raise InputError(f"Ray cannot be reached at {address} ({kind}): is it running?") from None
        try:
            yield [] if address is None else sorted({node["NodeManagerAddress"] for node in _machines()})
        finally:
            ray.shutdown()


def check_resources(needed: Resources) -> int:
    """How many tasks the cluster can run at a time; DeviceError: not even one, for which Ray would wait for ever."""
    nodes = [node["Resources"] for node in _machines()]
    wanted = {"GPU": needed.num_gpus, "CPU": needed.num_cpus, "memory": needed.memory_bytes}
    places = sum(int(min(node.get(kind, 0) / amount for kind, amount in wanted.items() if amount)) for node in nodes)
    if places:
        return places
    best = {kind: max((node.get(kind, 0) for node in nodes), default=0) for kind in wanted}
    raise DeviceError(
        f"No machine of the cluster has what a task needs: {needed.num_gpus:g} GPUs, {needed.num_cpus:g} CPUs and "
        f"{needed.memory_bytes / 2**30:.1f} GiB; the best have {best['GPU']:g}, {best['CPU']:g} and "
        f"{best['memory'] / 2**30:.1f} GiB."
    )


def _machines() -> list[dict[str, Any]]:
    """What Ray says of each machine that is there."""
    import ray

    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in known if node["Alive"]]


def run_tasks(
    tasks: Iterable[tuple[str, Any]],
    work: Callable[[Any, TaskReporter], Any],
    resources: Resources,
    *,
    keeps_process: bool = False,
) -> Iterator[Ended | Mapping[str, Progress]]:
    """Have each task done, as many at a time as there is room for; yields outcomes, and every second who is where.

    Tasks are names, each once, and what `work`, an importable function, is to be given. With `keeps_process` a process
    does one task after the other, for tasks that leave nothing behind.
    """
    import ray

    places = check_resources(resources)
    board: Any = ray.remote(num_cpus=0, max_restarts=-1)(_Board).remote()
    remote: Any = ray.remote(
        max_retries=TRIES - 1,
        max_calls=0 if keeps_process else 1,
        num_gpus=resources.num_gpus,
        num_cpus=resources.num_cpus,
        memory=resources.memory_bytes,
    )(_do)
    waiting = iter(tasks)
    running: dict[Any, str] = {}
    while True:
        while len(running) < 2 * places + 2 and (task := next(waiting, None)) is not None:
            name, given = task
            running[remote.remote(work, given, name, board)] = name
        if not running:
            return
        ready, _ = ray.wait(list(running), timeout=_LOOK_SECONDS)
        for one in ready:
            name = running.pop(one)
            try:
                outcome = ray.get(one)
            except ray.exceptions.RayError as error:
                outcome = DittoError(f"it was lost {TRIES} times ({type(error).__name__})")
            yield Ended(name, outcome)
        if not ready:
            try:
                progress: Mapping[str, Progress] = ray.get(board.look.remote(), timeout=_LOOK_SECONDS)
                yield progress
            except ray.exceptions.RayError:  # its machine was lost; it is started anew elsewhere
                yield {}


class TaskReporter(SilentReporter):
    """Tells the board where a task is, at most once a second; no text goes through."""

    def __init__(self, board: Any, name: str) -> None:
        self._board = board
        self._name = name
        self._stage, self._total = "", 1
        self._begun = self._told = 0.0

    def begin_work(self, title: str, total: int, unit: str) -> None:
        """See `Reporter`."""
        self._stage, self._total, self._begun = title, total, time.monotonic()
        self._board.tell.remote(self._name, title, None)

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """See `Reporter`."""
        now = time.monotonic()
        if completed and now - self._told > _LOOK_SECONDS:
            self._told = now
            left = (now - self._begun) / completed * (self._total - completed)
            self._board.tell.remote(self._name, self._stage, left)


class _Board:
    """The actor that running tasks tell where they are; who was begun again shows that here."""

    def __init__(self) -> None:
        self._progress: dict[str, Progress] = {}

    def begin(self, name: str) -> None:
        tries = self._progress[name].tries + 1 if name in self._progress else 1
        self._progress[name] = Progress("starting", None, tries)

    def tell(self, name: str, stage: str, seconds_left: float | None) -> None:
        if name in self._progress:
            self._progress[name] = Progress(stage, seconds_left, self._progress[name].tries)

    def end(self, name: str) -> None:
        self._progress.pop(name, None)

    def look(self) -> dict[str, Progress]:
        return self._progress


def _do(work: Callable[[Any, TaskReporter], Any], given: Any, name: str, board: Any) -> Any:
    """What runs in a task: an error that we foresaw is an outcome, and no other carries more than its type out."""
    board.begin.remote(name)
    try:
        return work(given, TaskReporter(board, name))
    except DittoError as error:
        return error
    except Exception as error:
        return DittoError(f"an unexpected {type(error).__name__}")
    finally:
        board.end.remote(name)
