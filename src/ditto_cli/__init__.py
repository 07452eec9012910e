"""ditto: make a language model write like one person, from fewer than ten of that person's own texts.

Importing it sets what torch and the model libraries read from the environment when they are imported themselves.
"""

from __future__ import annotations

import importlib
import logging
import os
import platform
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ditto_cli.api import AdapterRecord, DittoError, EvalReport, Writer, evaluate, export, train

__all__ = ["AdapterRecord", "DittoError", "EvalReport", "Writer", "evaluate", "export", "train"]
__version__ = "0.1.0"

os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Threads that wait spinning keep their core from whatever else wants it, and a busy machine then takes many times as
# long; a thousand rounds of it bridge the gaps within a step (docs/performance.md). OpenMP reads it as torch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
# Batches of many sizes leave holes in a GPU's memory that only segments which can grow fill again. NVIDIA's driver for
# WSL fails at them (pytorch issue 192330).
if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ and "microsoft" not in platform.release().lower():
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
# The package kernels, where it is installed, is for code from the hub, which transformers and bitsandbytes would fetch
# unasked. To them it is not there; bitsandbytes says so on some processors.
sys.modules.setdefault("kernels", None)  # type: ignore[arg-type]
logging.getLogger("ditto_cli").addHandler(logging.NullHandler())  # who imports it decides who hears
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def __getattr__(name: str) -> object:
    """The Python API is imported when it is first used: `ditto --help` has no need of it."""
    if name in __all__:
        return getattr(importlib.import_module("ditto_cli.api"), name)
    raise AttributeError(f"module 'ditto_cli' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
