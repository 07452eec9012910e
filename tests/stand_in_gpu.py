"""A CUDA device for a torch that was built without one: import this before torch (`pytest -p stand_in_gpu`).

stand_in_gpu.cpp says what it is and what it cannot show. It is compiled when it is first imported, which takes half a
minute and a C++ compiler; importing torch comes after its library is there, for torch asks once who is.
"""

import ctypes
import hashlib
import importlib.util
import os
import runpy
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace

# bitsandbytes has its kernels for unknown devices compiled anew for every shape.
os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")

NAME = "GPU that computes on the CPU"
TOTAL_BYTES = 24 * 2**30
_LIBRARIES = ("c10", "torch_cpu", "torch")


def _build(torch_folder):
    """The compiled library, made anew when the source or torch is another."""
    source = Path(__file__).with_suffix(".cpp")
    state = f"{source.read_text()} {(torch_folder / 'version.py').read_text()}"
    built = source.parent / "__pycache__" / f"stand_in_gpu-{hashlib.sha256(state.encode()).hexdigest()[:16]}.so"
    if not built.exists():
        built.parent.mkdir(exist_ok=True)
        include = torch_folder / "include"
        places = [f"-I{include}", f"-I{include / 'torch/csrc/api/include'}", f"-L{torch_folder / 'lib'}"]
        made = built.with_suffix(f".{os.getpid()}")
        command = [os.environ.get("CXX") or "g++", "-std=c++20", "-O1", "-w", "-shared", "-fPIC", *places]
        subprocess.run([*command, str(source), "-o", str(made), *(f"-l{name}" for name in _LIBRARIES)], check=True)
        made.replace(built)
    return built


assert "torch" not in sys.modules, "too late: torch was imported before"
_folder = Path(importlib.util.find_spec("torch").origin).parent
assert runpy.run_path(str(_folder / "version.py"))["cuda"] is None, "this torch has a CUDA of its own: make gpu"
_path = _build(_folder)
for _name in _LIBRARIES:
    ctypes.CDLL(str(_folder / "lib" / f"lib{_name}.so"))
_library = ctypes.CDLL(str(_path))
_library.bytes_in_use.restype = _library.most_bytes.restype = ctypes.c_int64
_library.limit_bytes.argtypes = [ctypes.c_int64]
_library.new_graph.restype = ctypes.c_void_p
_library.delete_graph.argtypes = _library.begin_capture.argtypes = _library.replay.argtypes = [ctypes.c_void_p]
_library.is_capturing.restype = ctypes.c_bool

import bitsandbytes  # noqa: F401 - before CUDA is said to be there: its kernels for that are not
import torch


class _Stream:
    """All is done at once, so there is nothing to wait for."""

    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


class _Graph:
    def __init__(self):
        self.handle = _library.new_graph()

    def replay(self):
        _library.replay(self.handle)

    def __del__(self):
        _library.delete_graph(self.handle)


@contextmanager
def _capturing(graph, stream=None):
    _library.begin_capture(graph.handle)
    try:
        yield
    finally:
        _library.end_capture()


def _synchronize(device=None):
    if _library.is_capturing():
        raise RuntimeError("operation not permitted when stream is capturing")


def _limit_memory(share, device=None):
    _library.limit_bytes(int(share * TOTAL_BYTES))


_STREAM = _Stream()
_PROPERTIES = SimpleNamespace(name=NAME, total_memory=TOTAL_BYTES, major=8, minor=9, multi_processor_count=1)
_ANSWERS = {
    "_exchange_device": 0,
    "_maybe_exchange_device": 0,
    "current_device": 0,
    "current_stream": _STREAM,
    "device_count": 1,
    "empty_cache": None,
    "get_arch_list": ["sm_80", "sm_90"],
    "get_device_capability": (8, 9),
    "get_device_name": NAME,
    "get_device_properties": _PROPERTIES,
    "_lazy_init": None,
    "is_available": True,
    "is_bf16_supported": True,
    "is_initialized": True,
    "manual_seed": None,
    "manual_seed_all": None,
    "set_device": None,
    "set_rng_state": None,
    "set_rng_state_all": None,
    "set_stream": None,
}
for _name, _answer in _ANSWERS.items():
    setattr(torch.cuda, _name, lambda *given, _answer=_answer, **options: _answer)
for _name, _function in {
    "CUDAGraph": _Graph,
    "Stream": _Stream,
    "get_rng_state": lambda device=None: torch.get_rng_state(),
    "get_rng_state_all": lambda: [torch.get_rng_state()],
    "graph": _capturing,
    "is_current_stream_capturing": _library.is_capturing,
    "max_memory_allocated": lambda device=None: _library.most_bytes(),
    "max_memory_reserved": lambda device=None: _library.most_bytes(),
    "mem_get_info": lambda device=None: (TOTAL_BYTES - _library.bytes_in_use(), TOTAL_BYTES),
    "memory_allocated": lambda device=None: _library.bytes_in_use(),
    "memory_reserved": lambda device=None: _library.bytes_in_use(),
    "reset_peak_memory_stats": lambda device=None: _library.forget_most_bytes(),
    "set_per_process_memory_fraction": _limit_memory,
    "stream": lambda stream: nullcontext(),
    "synchronize": _synchronize,
}.items():
    setattr(torch.cuda, _name, _function)
torch._C._cuda_getDeviceCount = lambda: 1
torch.cuda._initialized = True


def _addmm_to(self, one, other, out_dtype, *, beta=1, alpha=1, out):
    """What only CUDA has; TRL multiplies bf16 with it."""
    return out.copy_(torch.addmm(self.to(out_dtype), one.to(out_dtype), other.to(out_dtype), beta=beta, alpha=alpha))


def _count_integers(self, bins=100, least=0, most=0):
    """What CUDA has for integers, too; mixtures of experts count with it."""
    return torch.histc(self.cpu().float(), bins, least, most).to(self.dtype).to(self.device)


_OPERATORS = torch.library.Library("aten", "IMPL")
_OPERATORS.impl("addmm.dtype_out", _addmm_to, "CUDA")
_OPERATORS.impl("histc", _count_integers, "CUDA")
