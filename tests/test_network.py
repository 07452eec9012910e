"""The hosts that a command contacted: by name, told before the error, and none where only a local base is used."""

import os
import socket
import subprocess
import sys

import pytest

from ditto_cli.cli import sample
from ditto_cli.cli.network import host_log
from ditto_cli.errors import DittoError

pytest_plugins = ["cli_helpers"]

NONE = "hosts contacted: none"


@pytest.fixture
def log():
    log = host_log()
    log.clear()
    log.is_wanted = True
    return log


@pytest.fixture
def told(log, capsys):
    """What the log says at the end."""

    def tell():
        log.tell()
        return capsys.readouterr().err.removesuffix("\n").removeprefix("hosts contacted: ")

    return tell


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_name_that_was_looked_up_is_told_and_not_its_address(told, port):
    socket.create_connection(("localhost", port)).close()
    assert told() == "localhost"


def test_an_address_is_told_where_no_name_was_looked_up(told, port):
    socket.create_connection(("127.0.0.1", port)).close()
    assert told() == "127.0.0.1"


def test_a_connection_below_the_look_up_is_told(told, port):
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", port))
    assert told() == "127.0.0.1"


def test_a_host_that_cannot_be_found_was_still_asked_for(told):
    with pytest.raises(OSError):  # noqa: PT011, whichever the system says
        socket.create_connection(("quokka.invalid", 9), timeout=1)
    assert told() == "quokka.invalid"


def test_datagrams_are_told(told, port):
    with socket.socket(type=socket.SOCK_DGRAM) as connection:
        connection.sendto(b"x", ("127.0.0.1", port))
        connection.sendmsg([b"x"], [], 0, ("127.0.0.2", port))
    assert told() == "127.0.0.1, 127.0.0.2"


def test_unix_sockets_and_ones_own_addresses_are_no_hosts(told, tmp_path):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as connection:
        server.bind(str(tmp_path / "s"))
        server.listen()
        connection.connect(str(tmp_path / "s"))
    socket.getaddrinfo(None, 80)
    assert told() == "none"


def test_nothing_is_told_where_no_command_asked(told, log):
    log.clear()
    assert told() == ""


def test_commands_that_load_a_model_end_with_it(trained, texts):
    sampled = trained("sample", "--adapter", "alice", "--max-tokens", "3", "hi")
    assert (sampled.code, sampled.err.splitlines()[-1]) == (0, NONE)
    assert NONE not in sampled.out
    assert trained("init", texts).err.splitlines()[-1] == NONE


def test_after_a_failure_the_error_is_the_last_line(ditto, texts):
    for arguments in (["train", "/nowhere"], ["sample", "hi"], ["eval", "/nowhere"], ["init", "/dev/null"]):
        result = ditto(*arguments)
        assert result.err.splitlines() == [NONE, result.only_error], arguments


def test_other_commands_do_not_tell(trained):
    for arguments in (["adapters", "list"], ["adapters", "show", "nobody"], ["train", "--help"], ["train"]):
        assert "hosts" not in trained(*arguments).err, arguments


def test_a_command_tells_its_own_hosts_only(ditto, port, monkeypatch):
    def contact(*_, **__):
        socket.create_connection(("localhost", port)).close()
        raise DittoError("No.")

    monkeypatch.setattr(sample, "run_sample", contact)
    assert ditto("sample", "hi").err.splitlines() == ["hosts contacted: localhost", "error: No."]
    monkeypatch.setattr(sample, "run_sample", lambda *_, **__: None)
    assert ditto("sample", "hi").err.splitlines() == [NONE]


def test_what_a_process_sets_for_privacy(ditto, texts):
    code = (
        "import os, resource, sys, ditto_cli.cli.train as train\n"
        "def show(*_, **__):\n"
        "    hub = [os.environ.get(f'HF_HUB_DISABLE_{name}') for name in ('XET', 'TELEMETRY')]\n"
        "    print(*hub, resource.getrlimit(resource.RLIMIT_CORE)[0])\n"
        "train.run_train = show\n"
        "from ditto_cli.cli.app import main\n"
        f"sys.argv = ['ditto', 'train', {str(texts)!r}]\n"
        "main()\n"
    )
    variables = {key: value for key, value in ditto.variables().items() if not key.startswith("HF_")}
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "1 1 0"


def test_no_kernel_is_fetched_and_nothing_is_said_of_it(tmp_path):
    """Where `kernels` is installed, bitsandbytes asks the hub for code as it is imported, on some processors."""
    (tmp_path / "kernels.py").write_text(f"open({str(tmp_path / 'seen')!r}, 'w').close()")
    done = subprocess.run(
        [sys.executable, "-c", "import ditto_cli.model.base.loading"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (tmp_path / "seen").exists()
