"""What this machine can do: device, memory, and the preset that fits it."""

from __future__ import annotations

import os
import resource
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

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
    """The device to work on; `auto` is the first CUDA device, else the CPU.

    Raises:
        DeviceError: CUDA was asked for and is not there.
    """
    if choice == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: this torch sees no CUDA device; use --device cpu, or install a CUDA build.")
    if choice != "cpu" and torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return Hardware(torch.device("cuda", 0), properties.name, properties.total_memory)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Hardware(torch.device("cpu"), f"CPU, {torch.get_num_threads()} threads", pages)
