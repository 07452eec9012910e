"""Seconds and peak memory of a phase, on CUDA and on Linux."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from ditto_cli.model.hardware import Hardware
from speed.records import PhaseFigures

_PROCESS = Path("/proc/self")


class Phases:
    """The phases that this process measured; `on_phase` is called after each."""

    def __init__(self, hardware: Hardware, on_phase: Callable[[], None] = lambda: None) -> None:
        self.hardware = hardware
        self.figures: dict[str, PhaseFigures] = {}
        self._on_phase = on_phase

    @contextmanager
    def measured(self, name: str) -> Iterator[PhaseFigures]:
        """Time the block; it fills in the rest. An error leaves nothing behind."""
        figures = PhaseFigures()
        gc.collect()
        self._reset_peak()
        start = self.now()
        yield figures
        figures.seconds = self.now() - start
        figures.peak_bytes = self._peak()
        self.file(name, figures)

    def file(self, name: str, figures: PhaseFigures) -> None:
        """Keep a phase."""
        self.figures[name] = figures
        self._on_phase()

    def now(self) -> float:
        """Seconds, when all that was asked of the device is done."""
        if self.hardware.is_cuda:
            torch.cuda.synchronize(self.hardware.device)
        return time.perf_counter()

    def _reset_peak(self) -> None:
        if self.hardware.is_cuda:
            torch.cuda.reset_peak_memory_stats(self.hardware.device)
            return
        try:
            (_PROCESS / "clear_refs").write_text("5")  # VmHWM becomes what is resident now; see man 5 proc
        except OSError:
            return  # the peak is then that of the whole process so far

    def _peak(self) -> int:
        if not self.hardware.is_cuda:
            try:
                for line in (_PROCESS / "status").read_text().splitlines():
                    if line.startswith("VmHWM:"):
                        return int(line.split()[1]) * 1024
            except OSError:
                pass
        return self.hardware.peak_memory_bytes()
