"""Full memory: what it looks like, how to free what can be freed, and how to go on with less at a time.

Knows nothing of the work that does not fit: that is a function of a limit, which is lowered until it fits.
"""

from __future__ import annotations

import ctypes
import gc
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from ditto_cli.errors import MemoryLimitError
from ditto_cli.shown import plural

log = logging.getLogger(__name__)

T = TypeVar("T")

# Full memory where it has no error class of its own: torch on a CPU (Linux; other systems), CUDA, its driver and
# Triton, and CUDA's libraries.
_SIGNS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)


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
    # glibc holds on to a gigabyte of what SFT's passes have freed; other C libraries have no such call.
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
    """A `lower` for `MemoryGuard.fit`: half the limit but not below `least`, and 0 from there on."""
    return lambda limit: max(limit // 2, least) if limit > least else 0


@dataclass
class MemoryGuard:
    """Does work with as much at a time as memory takes, and remembers what it took.

    Attributes:
        lowered: kind of work -> the limit that memory asked for, which later work of that kind begins with.
    """

    memory: str
    lowered: dict[str, int] = field(default_factory=dict)

    def fit(
        self,
        kind: str,
        work: Callable[[int], T],
        limit: int,
        *,
        noun: str,
        advice: str,
        lower: Callable[[int], int] | None = None,
    ) -> T:
        """Do `work(limit)`; when memory is full, do it anew with a lower limit, until it fits.

        `work` has to begin anew at every call, and to keep nothing large of a call that failed. `lower` gives the limit
        to try after one that did not fit, 0 for none; by default half of it, down to 1. A lowered limit is remembered
        for its `kind` of work. The limit counts `noun`s ("sequence"); `advice` is what the user can do when nothing
        fits.
        """
        lower = halving() if lower is None else lower
        limit = min(limit, self.lowered.get(kind, limit))
        while True:
            try:
                return work(limit)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            # Not in the except block: there the traceback still holds the failed work's frames, with their tensors.
            free_memory()
            less = lower(limit)
            if less < 1:
                raise MemoryLimitError(f"{self.memory} is full even with {plural(limit, noun)} at a time: {advice}.")
            log.warning(f"{self.memory} is full: going on with {plural(less, noun)} at a time instead of {limit}.")
            self.lowered[kind] = limit = less
