"""What this machine can do: device, memory, 4-bit weights, and the preset that fits it."""

from __future__ import annotations

import functools
import logging
import os
import platform
import re
import resource
import shutil
import sys
import sysconfig
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from ditto_cli.config import CPU_PRESET, GPU_DEVICES
from ditto_cli.errors import DeviceError

log = logging.getLogger(__name__)

GIB = 2**30
_LEAST_CAPABILITY = 8  # of CUDA: the first whose cores multiply bf16
_MOST_NF4_ERROR = 0.2  # of the weights' deviation; NF4 comes to about 0.1


@dataclass(frozen=True)
class Hardware:
    """The device that a run uses, its memory in bytes, and the type that it computes in (fp32, or bf16 by autocast)."""

    device: torch.device
    name: str
    memory_bytes: int
    dtype: torch.dtype = torch.float32

    @property
    def is_cuda(self) -> bool:
        """Whether this is a CUDA device."""
        return self.device.type == "cuda"

    @property
    def num_threads(self) -> int:
        """Threads of torch on the CPU."""
        return torch.get_num_threads()

    def default_preset(self) -> str:
        """The shipped preset for this device's memory."""
        if not self.is_cuda:
            return CPU_PRESET
        return "qwen3-8b-24gb" if self.memory_bytes >= 20 * GIB else "qwen3-4b-12gb"

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 products around one forward pass; nothing in fp32, which on a CPU is both faster and exact.

        Never held open over an optimizer's step: the copies of the weights that it keeps would be the first ones.
        """
        return nullcontext() if self.dtype == torch.float32 else torch.autocast(self.device.type, dtype=self.dtype)

    def peak_memory_bytes(self) -> int:
        """Most memory used so far: allocated on the GPU, or resident of this process on a CPU."""
        if self.is_cuda:
            return int(torch.cuda.max_memory_allocated(self.device))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def available_bytes(self) -> int:
        """Memory that this process could have in all: what is free, and what it has already."""
        if self.is_cuda:
            free, _ = torch.cuda.mem_get_info(self.device)
            return int(free) + torch.cuda.memory_reserved(self.device)
        return int(psutil.virtual_memory().available + psutil.Process().memory_info().rss)

    def notes(self) -> list[str]:
        """What the user should know of this device before a training, in a line each."""
        if self.is_cuda and (capability := torch.cuda.get_device_capability(self.device))[0] < _LEAST_CAPABILITY:
            return [
                f"{self.name} has compute capability {capability[0]}.{capability[1]}, and bf16 is emulated below 8.0: "
                "expect it to be slow."
            ]
        if not self.is_cuda and sys.platform == "darwin" and platform.machine() == "arm64":
            return ["Apple's GPU is not used: bitsandbytes has no 4-bit weights for it. The CPU computes."]
        return []

    def training_problem(self) -> str | None:
        """Why nothing can be trained here, in a line; None where it can."""
        if not self.is_cuda:
            return None
        known = [int(name[3:]) for name in torch.cuda.get_arch_list() if re.fullmatch(r"sm_\d+", name)]
        if known and (capability := torch.cuda.get_device_capability(self.device)) < divmod(min(known), 10):
            shown = ".".join(map(str, capability))
            return f"this torch has nothing for its compute capability {shown}: install a build for older GPUs"
        compiles = "training on a GPU compiles kernels (TRL's, with Triton), and there"
        if not any(shutil.which(name) for name in (os.environ.get("CC") or "cc", "gcc", "clang")):
            return f"{compiles} is no C compiler: install gcc"
        if not Path(sysconfig.get_path("include"), "Python.h").is_file():
            return f"{compiles} are no headers of Python: install python3-dev"
        return None


def detect(choice: str = "auto") -> Hardware:
    """The one device to work on; `auto` is the first visible CUDA device, else the CPU.

    `cuda:N` is the Nth of the visible devices. To be called before bitsandbytes is imported, as PEFT does: that takes
    hold of every GPU that it sees.
    """
    if choice != "cpu":
        if choice.startswith("cuda:"):
            _show_only(int(choice.removeprefix("cuda:")))
        if torch.cuda.is_available():
            # A look at the GPUs before has fixed which of them are seen.
            if ":" in choice and getattr(torch._C, "_cuda_getDeviceCount", lambda: 1)() > 1:
                raise DeviceError(f"--device {choice}: GPUs were looked for already; set CUDA_VISIBLE_DEVICES instead.")
            properties = torch.cuda.get_device_properties(0)
            return Hardware(torch.device("cuda", 0), properties.name, properties.total_memory, torch.bfloat16)
        if choice != "auto":
            raise DeviceError(
                f"--device {choice}: this torch sees no such CUDA device; use --device cpu, or install a CUDA build."
            )
        _warn_of_idle_gpu()
    # Where losses are far off, gradients underflow, and denormal numbers take a CPU many times as long. Threads take
    # this over from the one that starts them, so it is set before any model is there.
    torch.set_flush_denormal(True)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Hardware(torch.device("cpu"), f"CPU, {torch.get_num_threads()} threads", pages)


@functools.cache
def _show_only(number: int) -> None:
    """Hide all CUDA devices but one from every library of this process: some take whatever they see."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible is not None else [str(index) for index in range(number + 1)]
    if torch.cuda.is_initialized():
        raise DeviceError(f"--device cuda:{number}: a GPU is in use already; set CUDA_VISIBLE_DEVICES instead.")
    os.environ["CUDA_VISIBLE_DEVICES"] = names[number] if number < len(names) else ""


@functools.cache
def _warn_of_idle_gpu() -> None:
    """Say once where a GPU is there that torch cannot use: the base of a machine without one is far smaller."""
    if "CUDA_VISIBLE_DEVICES" in os.environ or not any(Path(path).exists() for path in GPU_DEVICES):
        return
    cuda = torch.version.cuda
    reason = "it is a build for CPUs" if cuda is None else f"the driver may be older than CUDA {cuda} needs"
    log.warning(f"This torch cannot use the GPU of this machine ({reason}): the CPU computes, with a far smaller base.")


def four_bit_problem(device: torch.device) -> str | None:
    """Why weights cannot be held in NF4 on `device`, in words; None where a small matrix comes back as it should."""
    try:
        weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).to(device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from bitsandbytes.functional import dequantize_4bit, quantize_4bit

            packed, state = quantize_4bit(weights, quant_type="nf4")
            restored = dequantize_4bit(packed, state).float()
    except Exception as error:  # a missing library, kernel or driver comes in many classes
        return f"bitsandbytes fails here ({type(error).__name__})"
    deviation = float((restored - weights).std() / weights.std())
    return None if deviation < _MOST_NF4_ERROR else f"bitsandbytes computes wrongly here (error {deviation:.2f})"
