"""Many people on a local Ray: each gets the adapter of `ditto train`, whatever becomes of processes and machines."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli_helpers import MARKER, SMALL, write_folder
from ditto_cli.errors import InputError

pytest_plugins = ["cli_helpers"]

pytest.importorskip("ray")
WAIT_SECONDS = 240
SHORT = [word for word in SMALL if word not in ("--device", "cpu")]


@pytest.fixture
def people(tmp_path):
    """Two people with texts, one of whose texts has no prompt, and one with an empty folder."""
    root = tmp_path / "people"
    write_folder(root / "ann", {"a.md": f"---\nprompt: Invite Bo.\n---\nhi bo - the {MARKER} and tea at four x\n"})
    write_folder(root / "ben", {"b.txt": f"dear all, the {MARKER} is ill and so we do not meet on friday. ben\n"})
    write_folder(root / "cat", {})
    return root


@pytest.fixture
def train(ditto, people, tmp_path):
    """Start `ditto fleet train` in a process of its own, with a temporary folder of its own."""
    (tmp_path / "t").mkdir()
    started = []

    def start(*arguments):
        environment = ditto.variables({"TMPDIR": str(tmp_path / "t"), "OMP_NUM_THREADS": "1"})
        command = [sys.executable, "-m", "ditto_cli", "fleet", "train", str(people), "--base", str(ditto.base)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(
            [*command, *SHORT, *arguments], env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def weights(ditto, name):
    record = ditto.record(name)
    return {
        stage: (ditto.stage(name, stage) / "adapter_model.safetensors").read_bytes() for stage in record.stage_names
    }


def status(ditto):
    return {one["name"]: one for one in json.loads(ditto("fleet", "status", "--json").out)["people"]}


def ray_folders():
    return list(Path("/tmp").glob("ditto-ray-*"))


def files_with_marker(folder):
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                if MARKER.encode() in Path(place, name).read_bytes():
                    found.append(name)
            except OSError:  # gone meanwhile, or a socket
                continue
    return found


def test_each_gets_the_adapter_of_ditto_train_and_nothing_of_it_stays_elsewhere(ditto, people, train, tmp_path):
    before = set(ray_folders())
    process = train()
    seen = set()
    while process.poll() is None:
        for folder in (tmp_path / "t", *(set(ray_folders()) - before)):
            seen |= set(files_with_marker(folder))
        time.sleep(0.5)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert seen == set()
    assert list((tmp_path / "t").iterdir()) == []
    assert set(ray_folders()) <= before
    assert MARKER not in err
    assert "cat" in out
    assert "1 refused, 2 done" in err
    found = status(ditto)
    assert [found[name]["state"] for name in ("ann", "ben", "cat")] == ["done", "done", "refused"]
    assert (people / "ben" / "prompts.yaml").exists()
    fleet, record = weights(ditto, "ben"), ditto.record("ben")
    result = ditto.process(
        *("train", people / "ben", "--base", ditto.base, *SMALL), environment={"OMP_NUM_THREADS": "1"}
    )
    assert result.code == 0, result.err
    assert weights(ditto, "ben") == fleet
    alone = ditto.record("ben")
    assert alone.demonstration_hashes == record.demonstration_hashes
    assert alone.folder == record.folder
    (ditto.home / "fleet" / "status.json").unlink()
    again = ditto("fleet", "train", people, "--base", ditto.base, *SHORT)  # those of ditto train count, too
    assert again.code == 0, again.err
    assert again.out.count("trained already") == 2
    assert "All who can be are trained already" in again.err
    assert json.loads((ditto.home / "fleet" / "status.json").read_text())["is_over"]


def test_before_a_fleet_begins_no_record_of_others_is_read(ditto, people, monkeypatch):
    def refuse(address):
        raise InputError("No Ray here.")

    monkeypatch.setattr("ditto_cli.cli.train.last_training", lambda *_: pytest.fail("every record is read"))
    monkeypatch.setattr("ditto_cli.cli.fleet.cluster", refuse)
    result = ditto("fleet", "train", people, "--base", ditto.base, *SHORT)
    assert (result.code, result.error) == (2, "error: No Ray here.")


@pytest.mark.slow
def test_gpus_that_the_cluster_lacks_are_refused(ditto, people):
    result = ditto.process("fleet", "train", people, "--base", ditto.base, *SHORT, "--gpus-per-task", "1")
    assert result.code == 8
    assert "1 GPUs" in result.error
    assert "the best have 0" in result.error


def test_without_ray_one_line_says_what_to_install(ditto, people, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    result = ditto("fleet", "train", people, "--base", ditto.base, *SHORT)
    assert result.code == 2
    assert "pip install 'ditto-cli[fleet]'" in result.error


def test_nobody_and_nothing(ditto, tmp_path):
    assert "was trained here yet" in ditto("fleet", "status").only_error
    (tmp_path / "empty").mkdir()
    assert "holds no folders" in ditto("fleet", "train", tmp_path / "empty").error
    assert "is not a folder" in ditto("fleet", "train", tmp_path / "nowhere").error


def test_a_second_fleet_on_a_store_is_refused(ditto, people):
    from ditto_cli.fleet.status import only_fleet

    with only_fleet(ditto.home):
        result = ditto.process("fleet", "train", people, "--base", ditto.base, *SHORT)
    assert result.code == 7
    assert "The fleet of this store is in use by process" in result.error
    assert "folders in" not in result.out  # nobody was looked at, who may be trained when the other ends


def test_at_the_end_nobody_runs(ditto):
    from ditto_cli.fleet.status import FleetStatus, PersonStatus, StatusBoard

    people = [PersonStatus(name=name, state="waiting") for name in ("ann", "ben")]
    board = StatusBoard(ditto.home, FleetStatus(folder="people", begun=0, updated=0, people=people))
    board.set("ann", "running", detail="SFT", seconds_left=8.0)
    board.set("ben", "done", seconds=9.0)
    board.end()
    found = status(ditto)
    assert [found[name]["state"] for name in ("ann", "ben")] == ["waiting", "done"]
    assert found["ann"]["detail"] == ""


@pytest.mark.parametrize(("name", "num_left"), [("alice", 0), ("bob", 2)])
def test_forget_takes_the_name_out_of_status_and_page(trained, name, num_left):
    from ditto_cli.fleet.status import FLEET_FOLDER, PAGE_FILE, FleetStatus, PersonStatus, StatusBoard

    status = FleetStatus(folder="people", begun=0, updated=0, people=[PersonStatus(name=name, state="done")])
    StatusBoard(trained.home, status).end()
    (trained.home / FLEET_FOLDER / PAGE_FILE).write_text(f"<td>{name}</td>")
    assert trained("forget", "alice", "--yes").code == 0
    assert len(list((trained.home / FLEET_FOLDER).iterdir())) == num_left


@pytest.mark.slow
def test_a_driver_that_is_killed_and_started_again_trains_nobody_twice(ditto, people, train):
    first = train("--cpus-per-task", str(os.cpu_count()))  # one after the other
    end = time.monotonic() + WAIT_SECONDS
    while ditto.names() != ["ann"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGKILL)
    before = ditto.record("ann").created
    second = train()
    out, err = second.communicate()
    assert second.returncode == 0, err
    assert "trained already" in out
    assert ditto.record("ann").created == before
    assert ditto.names() == ["ann", "ben"]


@pytest.mark.slow
def test_who_was_on_a_machine_that_is_lost_is_trained_on_another(ditto, people, train):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    try:
        process = train("--address", cluster.address)
        end = time.monotonic() + WAIT_SECONDS
        while (
            not (ditto.home / "fleet" / "status.json").exists()
            or [one["state"] for one in status(ditto).values()].count("running") < 2
        ):
            assert time.monotonic() < end
            time.sleep(0.1)
        cluster.remove_node(lost)
        _, err = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, err
        assert "2 done" in err
        assert ditto.names() == ["ann", "ben"]
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_everybody_gets_a_verdict_and_one_page_shows_all_the_worst_first(ditto, people, train):
    process = train()
    assert process.wait(WAIT_SECONDS) == 0
    result = ditto.process("fleet", "eval", people, "--json", environment={"OMP_NUM_THREADS": "1"})
    assert result.code == 0, result.err
    reports = json.loads(result.out)
    assert {report["adapter"] for report in reports} == {"ann", "ben"}
    assert "cat: " in result.err
    page = (ditto.home / "fleet" / "report.html").read_text()
    assert page.index(reports[0]["adapter"]) < page.index(reports[1]["adapter"])
    assert MARKER not in page
    for name, other in (("ann", "ben"), ("ben", "ann")):
        own = (ditto.home / "adapters" / name / "evaluation" / "report.html").read_text()
        assert f"{name}:" in own
        assert f">{other}" not in own
    alone = ditto.process("eval", "--adapter", "ann", "--json", environment={"OMP_NUM_THREADS": "1"})
    report = next(report for report in reports if report["adapter"] == "ann")
    figures = [
        {one["title"]: (one["task"], one["style"]) for one in found["contestants"]}
        for found in (report, json.loads(alone.out))
    ]
    assert figures[0] == figures[1]
