"""The device that is taken, what is said of it before a training, and what cannot be trained on."""

import importlib
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

import ditto_cli
from ditto_cli.errors import DeviceError
from ditto_cli.model import hardware
from ditto_cli.model.hardware import GIB, Hardware, detect

pytest_plugins = ["cli_helpers"]

CPU = Hardware(torch.device("cpu"), "CPU, 4 threads", 8 * GIB)
GPU = Hardware(torch.device("cuda", 0), "a GPU", 24 * GIB, torch.bfloat16)


@pytest.fixture
def gpus(monkeypatch):
    """A machine with many GPUs: `gpus("5,3")` lets this process see two; None is no such variable."""

    def gpus(visible):
        if visible is None:
            monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        else:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    def names():
        return os.environ.get("CUDA_VISIBLE_DEVICES", "0,1,2,3,4,5").split(",")

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that what is there now comes back
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: names() != [""])
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 1, raising=False)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda index: SimpleNamespace(name=f"GPU {names()[index]}", total_memory=24 * GIB),
    )
    hardware._show_only.cache_clear()
    yield gpus
    hardware._show_only.cache_clear()


@pytest.mark.parametrize(
    ("visible", "choice", "left"),
    [
        ("5,3", "cuda:1", "3"),
        ("5,3", "cuda:0", "5"),
        ("5,3", "cuda", "5,3"),
        ("5,3", "auto", "5,3"),
        ("GPU-8f3,GPU-a01", "cuda:1", "GPU-a01"),
        (None, "cuda:2", "2"),
    ],
)
def test_one_gpu_is_taken_and_with_a_number_no_other_is_seen(gpus, visible, choice, left):
    gpus(visible)
    found = detect(choice)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == left
    name = f"GPU {left.split(',')[0]}"
    assert found == Hardware(torch.device("cuda", 0), name, 24 * GIB, torch.bfloat16)
    assert detect(choice) == found  # not the second of the one that is left
    assert found.default_preset() == "qwen3-8b-24gb"


@pytest.mark.parametrize(("visible", "choice"), [("5,3", "cuda:2"), ("5", "cuda:1"), ("", "cuda"), ("", "cuda:0")])
def test_a_gpu_that_is_not_there_is_refused(gpus, visible, choice):
    gpus(visible)
    with pytest.raises(DeviceError, match=f"--device {choice}: ") as refused:
        detect(choice)
    assert "\n" not in str(refused.value)


def test_a_gpu_that_is_in_use_already_cannot_be_changed(gpus, monkeypatch):
    gpus("5,3")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with pytest.raises(DeviceError, match="set CUDA_VISIBLE_DEVICES instead"):
        detect("cuda:1")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,3"


def test_without_a_gpu_the_cpu_is_taken(gpus):
    gpus("")
    found = detect("auto")
    assert (found.device.type, found.dtype, found.is_cuda) == ("cpu", torch.float32, False)
    assert found == detect("cpu")
    assert 0 < found.available_bytes() <= found.memory_bytes


def test_of_a_gpu_what_this_process_has_already_counts_as_available(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GIB, 24 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 2 * GIB)
    assert GPU.available_bytes() == 7 * GIB


# Runs each command in a fork up to where it asks for the device, and tells whether bitsandbytes was there by then.
_COMMANDS = """
import os, sys
from ditto_cli.cli.app import main
from ditto_cli.model import hardware
assert "bitsandbytes" not in sys.modules
hardware.detect = lambda choice: os._exit(80 if "bitsandbytes" in sys.modules else 81 if choice == "cuda:1" else 82)
for command in sys.stdin.read().splitlines():
    child = os.fork()
    if child == 0:
        sys.argv = ["ditto", *command.split("|"), "--device", "cuda:1"]
        main()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_the_device_is_chosen_before_bitsandbytes_takes_hold_of_all(trained, texts, folder_of):
    # A base that may be large enough to write the prompt that is missing.
    folder = folder_of({"a.txt": "no prompt yet", "ditto.yaml": f"base: {{id: {trained.base}}}\n"})
    base = ["--base", trained.base]
    commands = [
        ["train", texts, *base],
        ["plan", texts, *base],
        ["init", folder, "--preset", "smollm2-135m-cpu"],
        ["sample", "--adapter", "alice", "hi"],
        ["eval", "--adapter", "alice"],
        ["eval", texts, "--cross-validate", "2"],
        ["serve", "--port", "0"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", _COMMANDS],
        input="\n".join("|".join(map(str, command)) for command in commands),
        env=trained.variables(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stdout.split() == ["81"] * len(commands), done.stderr


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cuda:100", "CUDA", "cuda:0,1", ""])
@pytest.mark.parametrize("command", ["train", "sample"])
def test_what_is_no_device_is_refused_in_one_line(ditto, texts, command, device):
    result = ditto(command, texts, "--device", device)
    assert result.code == 2
    assert result.only_error.startswith(f"error: --device {device}: take auto, cpu, cuda, or cuda:1")


def test_of_a_gpu_that_emulates_bf16_the_user_is_told(monkeypatch):
    capability = (7, 5)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    (note,) = GPU.notes()
    assert note.startswith("a GPU has compute capability 7.5, ")
    assert CPU.notes() == []
    capability = (8, 0)
    assert GPU.notes() == []


def test_of_an_apple_machine_the_user_is_told(monkeypatch):
    machine = "arm64"
    monkeypatch.setattr(hardware, "sys", SimpleNamespace(platform="darwin"))
    monkeypatch.setattr(hardware, "platform", SimpleNamespace(machine=lambda: machine))
    (note,) = CPU.notes()
    assert note.startswith("Apple's GPU is not used")
    machine = "x86_64"
    assert CPU.notes() == []


def test_a_gpu_is_not_taken_by_its_number_where_several_are_seen_all_the_same(gpus, monkeypatch):
    gpus("5,3")
    monkeypatch.setattr(torch._C, "_cuda_getDeviceCount", lambda: 2, raising=False)
    with pytest.raises(DeviceError, match="set CUDA_VISIBLE_DEVICES instead"):
        detect("cuda:1")
    assert detect("cuda").is_cuda


def test_a_gpu_needs_the_headers_of_python_to_train(monkeypatch, tmp_path):
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert "no headers of Python: install python3-dev" in GPU.training_problem()
    (tmp_path / "Python.h").touch()
    assert GPU.training_problem() is None


def test_a_gpu_that_torch_was_not_built_for_cannot_train(monkeypatch):
    capability = (6, 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_75", "sm_80", "sm_120", "compute_120"])
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert "nothing for its compute capability 6.1" in GPU.training_problem()
    capability = (7, 5)
    assert "compute capability" not in (GPU.training_problem() or "")


@pytest.mark.parametrize(("build", "words"), [(None, "a build for CPUs"), ("13.0", "older than CUDA 13.0 needs")])
def test_a_gpu_that_stays_idle_is_said_once_where_none_was_chosen(monkeypatch, tmp_path, said, build, words):
    (tmp_path / "nvidiactl").touch()
    monkeypatch.setattr(hardware, "GPU_DEVICES", (str(tmp_path / "nvidiactl"),))
    monkeypatch.setattr(torch.version, "cuda", build)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    hardware._warn_of_idle_gpu.cache_clear()
    detect("cpu")
    assert said == []
    detect("auto")
    detect("auto")
    (line,) = said
    assert words in line
    hardware._warn_of_idle_gpu.cache_clear()


@pytest.mark.parametrize(
    ("release", "given", "expected"),
    [
        ("6.8.0-generic", {}, "expandable_segments:True"),
        ("5.15.1-microsoft-standard-WSL2", {}, None),
        ("6.8.0-generic", {"PYTORCH_ALLOC_CONF": "x:1"}, "x:1"),
        ("6.8.0-generic", {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:False"}, None),
    ],
)
def test_segments_grow_where_the_driver_can_and_nobody_says_otherwise(monkeypatch, release, given, expected):
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        monkeypatch.setenv(name, "")  # so that what is there now comes back
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("platform.release", lambda: release)
    importlib.reload(ditto_cli)
    assert os.environ.get("PYTORCH_ALLOC_CONF") == expected


def test_a_gpu_needs_a_c_compiler_to_train(ditto, texts, monkeypatch, tmp_path):
    programs = set()
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in programs else None)
    monkeypatch.delenv("CC", raising=False)
    problem = GPU.training_problem()
    assert "no C compiler: install gcc" in problem
    assert CPU.training_problem() is None
    for name in ("cc", "gcc", "clang"):
        programs = {name}
        assert GPU.training_problem() is None
    programs = {"icx"}
    assert GPU.training_problem() is not None
    monkeypatch.setenv("CC", "icx")
    assert GPU.training_problem() is None
    monkeypatch.delenv("CC")
    monkeypatch.setattr(hardware, "detect", lambda choice: GPU)
    result = ditto.train(texts)
    assert (result.code, result.only_error) == (8, f"error: a GPU: {problem}.")
    assert ditto.names() == []


def test_the_doctor_shows_what_is_to_be_known_of_the_device(ditto, monkeypatch):
    import json

    assert json.loads(ditto("doctor", "--json").out)["environment"]["device_notes"] == []
    assert re.search(r"^device notes +none$", ditto("doctor").out, re.MULTILINE)
    real = hardware.detect
    monkeypatch.setattr(hardware, "detect", lambda choice: GPU if choice == "auto" else real(choice))
    monkeypatch.setattr(hardware, "four_bit_problem", lambda device: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    monkeypatch.setattr("shutil.which", lambda name: None)
    notes = [*GPU.notes(), GPU.training_problem()]
    assert json.loads(ditto("doctor", "--json").out)["environment"]["device_notes"] == notes
    result = ditto("doctor")
    assert result.code == 0
    assert re.search(rf"^device notes +{re.escape('; '.join(notes))}$", result.out, re.MULTILINE)
