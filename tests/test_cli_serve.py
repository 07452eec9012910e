"""`ditto serve` as a program: it says where it listens, answers, and ends with Ctrl-C."""

import json
import signal
import socket
import urllib.request

import pytest

from ditto_cli.cli.serve import _server_key

pytest.importorskip("fastapi")
pytest_plugins = ["cli_helpers"]


@pytest.fixture
def served(trained):
    """Starts a server at a free port; gives its address and the process."""
    running = []

    def start(*arguments):
        address, process = trained.serve(*arguments)
        running.append(process)
        return address, process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def ask(address, path, content=None, **headers):
    data = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(address + path, data, {"content-type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_it_answers_and_ends_with_ctrl_c(served):
    address, process = served("--adapter", "alice")
    assert address.startswith("http://127.0.0.1:")
    assert [entry["id"] for entry in ask(address, "/models")["data"]][:2] == ["base", "alice"]
    wanted = {"model": "alice", "messages": [{"role": "user", "content": "the quokka"}], "max_tokens": 4}
    assert ask(address, "/chat/completions", wanted)["usage"]["completion_tokens"] <= 4
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "quokka" not in out + err  # no log of what was asked
    voices, page, hosts = err.splitlines()
    assert voices == "Voices: base, alice, alice:sft, alice:round1"
    assert page == f"In a browser: {address.removesuffix('/v1')}"
    assert hosts == "hosts contacted: none"


def test_other_addresses_need_the_key_that_is_shown(trained, served):
    key = _server_key(trained.home)  # of a server before
    address, process = served("--host", "0.0.0.0")
    address = address.replace("0.0.0.0", "127.0.0.1")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        ask(address, "/models")
    assert ask(address, "/models", Authorization=f"Bearer {key}")["data"]
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert next(line for line in err.splitlines() if "key" in line).split()[-1] == key


def test_a_port_that_is_taken_is_said_in_one_line(trained):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = trained("serve", "--port", taken.getsockname()[1])
    assert result.code == 2
    assert "take another --port" in result.only_error


def test_an_unknown_adapter_is_said_in_one_line(trained):
    assert "Unknown adapter 'nobody'" in trained("serve", "--port", "0", "--adapter", "nobody").error
