"""What `ditto fleet` costs, what it survives, and how many people one driver holds; prints what docs/scale.md shows.

python benchmarks/fleet.py faults       # eight people on the embedded base; a machine and the driver are lost
python benchmarks/fleet.py people       # 8, 32 and 128 people on a tiny random base: seconds and bytes a person
python benchmarks/fleet.py simulated    # 10,000 people whose training is a pause
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ditto_cli.fleet.cluster import Ended, Resources, TaskReporter, cluster, run_tasks
from ditto_cli.fleet.status import FleetStatus, PersonStatus, StatusBoard
from ditto_cli.store import AdapterStore

ROOT = Path(__file__).parent.parent
SHORT = [
    *("--preset", "smollm2-135m-cpu", "--set", "sft.max_steps=4", "--set", "rounds.num=1"),
    *("--set", "rounds.steps=2", "--set", "sampling.completions_per_prompt=2"),
]
TINY = [*SHORT[:2], "--set", "sft.max_steps=2", "--set", "rounds.num=1", "--set", "rounds.steps=1", *SHORT[8:]]
SIMULATED = 10_000


def command(home: Path, *words: object, name: str = "fleet") -> subprocess.Popen[str]:
    """Start `ditto` with a store of its own and one thread."""
    environment = {**os.environ, "DITTO_HOME": str(home), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "ditto_cli", name, *map(str, words)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a command, which must succeed."""
    _, err = process.communicate()
    assert process.returncode == 0, err


def make_people(root: Path, num: int, texts_each: int) -> None:
    """Folders of people who share the example personas' texts among them."""
    texts = sorted((ROOT / "examples" / "demos").glob("*/[0-9]*.md"))
    for person in range(num):
        folder = root / f"person{person:03}"
        folder.mkdir(parents=True)
        for place in range(texts_each):
            text = texts[(person * texts_each + place) % len(texts)]
            shutil.copy(text, folder / f"{place}-{text.name}")


def weights(home: Path, name: str) -> list[bytes]:
    """All stages of an adapter."""
    store = AdapterStore(home)
    stages = store.record(name).stage_names
    return [(store.stage_folder(name, stage) / "adapter_model.safetensors").read_bytes() for stage in stages]


def trained_seconds(home: Path) -> float:
    """What the adapters of a store say that their trainings took, without the programs around them."""
    store = AdapterStore(home)
    return sum(store.record(name).seconds for name in store.names())


def faults(place: Path) -> None:
    """Eight people one after the other, then as tasks, then where a machine and the driver are lost."""
    from ray.cluster_utils import Cluster

    make_people(place / "people", 8, 3)
    alone, fleet = place / "alone", place / "fleet"
    finish(command(alone, "--json", name="doctor"))
    fleet.mkdir()
    (fleet / "cache").symlink_to(alone / "cache")  # the base is made ready once
    os.environ["DITTO_HOME"] = str(fleet)  # the machines' processes find it there, too
    seconds = []
    for folder in sorted((place / "people").iterdir()):
        began = time.monotonic()
        finish(command(alone, folder, *SHORT, "--device", "cpu", name="train"))
        seconds.append(time.monotonic() - began)
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    words = ("train", place / "people", *SHORT, "--address", nodes.address)
    began = time.monotonic()
    finish(command(fleet, *words))
    undisturbed = time.monotonic() - began
    outside = [(sum(seconds) - trained_seconds(alone)) / 8, (undisturbed - trained_seconds(fleet)) / 8]
    overhead = (outside[1] - outside[0]) / (trained_seconds(fleet) / 8)
    shutil.rmtree(fleet / "adapters")
    second = nodes.add_node(num_cpus=1)
    began = time.monotonic()
    driver = command(fleet, *words)
    store = AdapterStore(fleet)
    while len(store.names()) < 2:
        time.sleep(0.2)
    nodes.remove_node(second)
    while len(store.names()) < 4:
        time.sleep(0.2)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.communicate()
    nodes.add_node(num_cpus=1)
    before = {name: store.record(name).created for name in store.names()}
    finish(command(fleet, *words))
    wall = time.monotonic() - began
    names = AdapterStore(alone).names()
    same = sum(weights(alone, name) == weights(fleet, name) for name in names)
    twice = sum(store.record(name).created != created for name, created in before.items())
    nodes.shutdown()
    print("| eight people, embedded base, short settings | |\n|---|---|")
    print(f"| `ditto train`, one after the other, one thread | {sum(seconds):.0f} s |")
    print(f"| `ditto fleet train`, one machine of one processor | {undisturbed:.0f} s |")
    print(f"| outside of the training itself, a person: alone, fleet | {outside[0]:.1f} s, {outside[1]:.1f} s |")
    print(f"| what Ray adds to a training | {overhead:.1%} |")
    print(f"| two machines, one lost after two people, driver killed after {len(before)} | {wall:.0f} s |")
    print(f"| adapters with the same bytes | {same} of {len(names)} |")
    print(f"| finished adapters that were trained again | {twice} of {len(before)} |")


def people(place: Path) -> None:
    """Seconds and bytes a person, of 8, 32 and 128 on two to four machines."""
    from ray.cluster_utils import Cluster

    sys.path.insert(0, str(ROOT / "tests"))
    from conftest import save_tiny_base

    base = save_tiny_base(place / "tiny", context_tokens=2048)
    print("| people | machines | seconds | machine's seconds a person | bytes a person |\n|---|---|---|---|---|")
    for num, machines in ((8, 2), (32, 4), (128, 4)):
        home = place / f"home{num}"
        make_people(place / f"people{num}", num, 2)
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        for _ in range(machines - 1):
            nodes.add_node(num_cpus=1)
        began = time.monotonic()
        finish(command(home, "train", place / f"people{num}", "--base", base, *TINY, "--address", nodes.address))
        seconds = time.monotonic() - began
        nodes.shutdown()
        size = sum(path.stat().st_size for path in (home / "adapters").rglob("*") if path.is_file())
        assert len(AdapterStore(home).names()) == num
        print(f"| {num} | {machines} | {seconds:.0f} | {seconds * machines / num:.1f} | {size // num} |", flush=True)


def pause(given: None, reporter: TaskReporter) -> None:
    """What a simulated person's training is."""
    reporter.begin_work("a pause", 1, "pauses")
    time.sleep(0.01)


def simulated(place: Path) -> None:
    """The driver's memory, and how long a status takes, with 10,000 people."""
    names = [f"person{number:05}" for number in range(SIMULATED)]
    board = StatusBoard(
        place,
        FleetStatus(folder="people", begun=0, updated=0, people=[PersonStatus(name=n, state="waiting") for n in names]),
    )
    began, statuses = time.monotonic(), []
    with cluster(None):
        for event in run_tasks(((name, None) for name in names), pause, Resources(0, 0.1, 0), keeps_process=True):
            if isinstance(event, Ended):
                board.set(event.name, "done", seconds=0.01)
            board.write()
        seconds = time.monotonic() - began
    board.end()
    for _ in range(3):
        began = time.monotonic()
        status = command(place, "status", "--json")
        out, _ = status.communicate()
        statuses.append(time.monotonic() - began)
    done = sum(person["state"] == "done" for person in json.loads(out)["people"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    print("| simulated people | done | seconds | driver's memory | a status |\n|---|---|---|---|---|")
    print(f"| {SIMULATED} | {done} | {seconds:.0f} | {memory:.0f} MiB | {min(statuses):.1f} s |")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="fleet-", dir="/tmp") as folder:
        {"faults": faults, "people": people, "simulated": simulated}[sys.argv[1]](Path(folder))
