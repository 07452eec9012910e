"""What this machine can do: device, memory, and the preset that fits it."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from ditto_cli.config import CPU_PRESET
from ditto_cli.errors import DeviceError
from ditto_cli.types import DeviceChoice

GIB = 2**30


@dataclass(frozen=True)
class Hardware:
    """The device that a run uses, and its memory in bytes."""

    device: torch.device
    name: str
    memory_bytes: int

    @property
    def is_cuda(self) -> bool:
        """Whether this is a CUDA device."""
        return self.device.type == "cuda"

    def default_preset(self) -> str:
        """The shipped preset for this device's memory."""
        if not self.is_cuda:
            return CPU_PRESET
        return "qwen3-8b-24gb" if self.memory_bytes >= 20 * GIB else "qwen3-4b-12gb"

    def autocast(self) -> AbstractContextManager[None]:
        """bf16 matrix products on CUDA; nothing on a CPU, where fp32 is both faster and exact."""
        if self.is_cuda:
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def is_exact(self, quantize: str) -> bool:
        """Whether all is fp32, so that sampling and scoring find the same log-probabilities up to rounding.

        Args:
            quantize: nf4 or none.
        """
        return not self.is_cuda and quantize == "none"

    def peak_memory_bytes(self) -> int:
        """Most memory used so far: allocated on the GPU, or resident of this process on a CPU."""
        if self.is_cuda:
            return int(torch.cuda.max_memory_allocated(self.device))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def detect(choice: DeviceChoice = "auto") -> Hardware:
    """The device to work on; `auto` is the first CUDA device, else the CPU, which then takes denormal numbers for 0.

    Raises:
        DeviceError: CUDA was asked for and is not there.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: this torch sees no CUDA device; use --device cpu, or install a CUDA build.")
    if choice != "cpu" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Hardware(torch.device("cuda", 0), properties.name, properties.total_memory)
    # Where losses are far off, gradients underflow, and denormal numbers take a CPU many times as long. Threads take
    # this over from the one that starts them, so it is set before any model is there.
    torch.set_flush_denormal(True)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Hardware(torch.device("cpu"), f"CPU, {torch.get_num_threads()} threads", pages)


def resident_bytes() -> int:
    """What this process has in memory now; where the system does not tell, the most that it had."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


def available_bytes(hardware: Hardware) -> int:
    """Memory that this process could have in all: the GPU's that is free, or this machine's and what it has already."""
    if hardware.is_cuda:
        free, _ = torch.cuda.mem_get_info(hardware.device)
        return int(free) + torch.cuda.memory_reserved(hardware.device)
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return hardware.memory_bytes
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["MemAvailable"] * 1024 + resident_bytes()
