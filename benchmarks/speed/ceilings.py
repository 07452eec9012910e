"""What the machine does at best: products at the base's own sizes, and copying."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from ditto_cli.model.hardware import Hardware
from speed.records import Ceilings
from speed.shapes import Architecture

_ROWS = 1024
_COPIED_BYTES = 2**28
_SECONDS = 0.4  # of trying, for each size
_TRIES = 4


def measure_ceilings(sizes: Architecture, hardware: Hardware) -> Ceilings:
    """Products of 1024 rows with each linear layer of the base, in fp32 on a CPU and bf16 on CUDA; bytes copied.

    A copied byte counts twice, as read and as written.
    """
    dtype = torch.bfloat16 if hardware.is_cuda else torch.float32
    flops, seconds = 0.0, 0.0
    layers = [(shape, sizes.num_layers) for shape in sizes.linears] + [(sizes.head, 1)]
    best: dict[tuple[int, int], float] = {}
    for shape, num in layers:
        if shape not in best:
            best[shape] = _product_seconds(shape, dtype, hardware)
        flops += num * 2.0 * _ROWS * shape[0] * shape[1]
        seconds += num * best[shape]
    source = torch.ones(_COPIED_BYTES // 4, device=hardware.device)
    target = torch.empty_like(source)
    copying = _fastest(lambda: target.copy_(source), hardware)
    return Ceilings(
        flops_per_second=flops / seconds,
        bytes_per_second=2 * _COPIED_BYTES / copying,
        dtype=str(dtype).removeprefix("torch."),
    )


def _product_seconds(shape: tuple[int, int], dtype: torch.dtype, hardware: Hardware) -> float:
    rows = torch.randn(_ROWS, shape[1], device=hardware.device, dtype=dtype)
    weight = torch.randn(shape, device=hardware.device, dtype=dtype)
    return _fastest(lambda: torch.nn.functional.linear(rows, weight), hardware)


def _fastest(work: Callable[[], torch.Tensor], hardware: Hardware) -> float:
    """Seconds of one call at best, in runs that are long enough for the clock."""

    def timed(calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            work()
        if hardware.is_cuda:
            torch.cuda.synchronize(hardware.device)
        return (time.perf_counter() - start) / calls

    timed(1)
    calls = max(1, min(1000, int(_SECONDS / _TRIES / max(timed(1), 1e-6))))
    return min(timed(calls) for _ in range(_TRIES))
