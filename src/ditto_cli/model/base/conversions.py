"""Bases in another form, made once into the cache: whole or not at all, whatever happens meanwhile.

The 4-bit form of a base is one of them: only the first load reads the 16-bit weights and quantises them. Which base it
is stays decided by the 16-bit files (`identify`).
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ditto_cli.errors import DiskError
from ditto_cli.store import BaseIdentity, fsync_tree, make_private_folder, move

_STAGING_PREFIX = ".converting-"
_STALE_SECONDS = 24 * 60 * 60
# The kept 4-bit form is that of these libraries; another version of theirs makes it anew.
_LIBRARIES = ("bitsandbytes", "transformers")
_SPARE_BYTES = 2 * 2**30  # left free on the disk at least


def convert_into(final: Path, write: Callable[[Path], None]) -> None:
    """Let a library write a base's files, and give them their place when they are all there.

    Args:
        final: the folder that does not exist yet; another process may be making it as well.
        write: puts the files into the folder that it is given.

    Raises:
        OSError: the cache cannot be written; whatever else `write` raises goes through as well.
        DiskError: the same, found by the store.
    """
    sweep(final.parent)
    make_private_folder(final.parent)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=final.parent))
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


def sweep(folder: Path) -> None:
    """Remove what killed conversions left a day ago or longer."""
    for path in folder.glob(f"{_STAGING_PREFIX}*"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                shutil.rmtree(path)


def drop(folder: Path) -> None:
    """Remove a form that is damaged or replaced."""
    shutil.rmtree(folder, ignore_errors=True)


def four_bit_place(folder: Path, identity: BaseIdentity, compute_dtype: str, cache: Path) -> Path:
    """Where the 4-bit form of the base in `folder` is kept, or would be; another place as soon as a file of it changes.

    Its name begins with the base's, so that its other forms are found.
    """
    form = [identity.config_digest, identity.weights_digest, *(version(name) for name in _LIBRARIES)]
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("generation_config.json")]):
        status = path.stat()
        form.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return cache / "bases" / f"nf4-{_short_digest([identity.id, compute_dtype])}-{_short_digest(form)}"


def keep_four_bit(model: Any, place: Path, noted: Callable[[str], None]) -> None:
    """Write a 4-bit model to `place`, and remove the base's other forms, of other versions or files.

    Where the disk refuses, that is said, and the next load quantises again.

    Args:
        model: the base as transformers loaded it, without adapters.
        place: a folder that does not exist yet.
        noted: told, in one line, what happens.
    """
    needed = sum(tensor.nbytes for tensor in model.state_dict().values())
    size = f"{needed / 2**30:.1f} GiB"
    existing = next(folder for folder in place.parents if folder.is_dir())
    if shutil.disk_usage(existing).free < needed + _SPARE_BYTES:
        noted(f"No room to keep the 4-bit base, {size} in {place.parent}: each load quantises it anew.")
        return
    noted(f"Keeping the 4-bit base for the next time, {size} in {place.parent}.")
    try:
        convert_into(place, model.save_pretrained)
    except (OSError, DiskError, SafetensorError, ValueError, RuntimeError) as error:
        # The base is loaded and can be used, whatever a library makes of writing it.
        reason = (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
        noted(f"The 4-bit base could not be kept in {place.parent} ({reason}): each load quantises it anew.")
        return
    base = place.name.rpartition("-")[0]
    for older in place.parent.glob(f"{base}-*"):
        if older != place:
            drop(older)


def _short_digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
