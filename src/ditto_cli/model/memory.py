"""Full memory: what it looks like, how to free what can be freed, and how to go on with less at a time.

Knows nothing of the work that does not fit: that is a function of a limit, which is lowered until it fits.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

from ditto_cli.errors import MemoryLimitError
from ditto_cli.model.hardware import Hardware

T = TypeVar("T")

# Full memory where it has no error class of its own: torch on a CPU (Linux; other systems), and CUDA's libraries.
_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


def say_nothing(message: str) -> None:
    """What `noted` is for a caller who has nobody to tell."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the GPU's or this machine's memory is full."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def free_memory() -> None:
    """Give back what nobody uses any more: objects in cycles, and blocks that torch or the C library keeps."""
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    # glibc holds on to a gigabyte of what SFT's passes have freed (docs/plan.md); other C libraries have no such call.
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


@contextmanager
def keeping_what_is_there() -> Iterator[None]:
    """Within the block, objects in cycles are looked for among newer ones only: a base and its libraries take 0.3 s."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def halving(least: int = 1) -> Callable[[int], int]:
    """A `lower` for `fit_memory`: half the limit but not below `least`, and 0 from there on."""
    return lambda limit: max(limit // 2, least) if limit > least else 0


def fit_memory(
    work: Callable[[int], T],
    limit: int,
    *,
    noun: str,
    advice: str,
    hardware: Hardware,
    lower: Callable[[int], int] | None = None,
    noted: Callable[[str], None] = say_nothing,
) -> tuple[T, int]:
    """Do `work(limit)`; when memory is full, do it anew with a lower limit, until it fits.

    Args:
        work: has to begin anew at every call, and to keep nothing large of a call that failed.
        limit: the first to try.
        noun: what the limit counts, in the singular ("sequence").
        advice: what the user can do when nothing fits.
        hardware: whose memory it is.
        lower: the limit to try after one that did not fit, 0 for none; by default half of it, down to 1.
        noted: told each lowering, in one line.

    Returns:
        What `work` gave, and the limit that fitted.

    Raises:
        MemoryLimitError: the lowest limit does not fit either.
    """
    lower = halving() if lower is None else lower
    memory = "GPU memory" if hardware.is_cuda else "This machine's memory"
    while True:
        try:
            return work(limit), limit
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Not in the except block: there the traceback still holds the frames of the failed work, with their tensors.
        free_memory()
        less = lower(limit)
        if less < 1:
            raise MemoryLimitError(f"{memory} is full even with {_counted(limit, noun)} at a time: {advice}.")
        instead = f" instead of {limit}" if less < limit else ""  # equal: something else was lowered
        noted(f"{memory} is full: going on with {_counted(less, noun)} at a time{instead}.")
        limit = less


def _counted(num: int, noun: str) -> str:
    return f"{num} {noun}" if num == 1 else f"{num} {noun}s"
