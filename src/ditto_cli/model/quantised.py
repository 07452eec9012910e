"""The 4-bit form of a base, kept in the cache, so that only the first load reads the 16-bit weights and quantises them.

Which base it is stays decided by the 16-bit files (`identify`).
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ditto_cli.errors import DiskError
from ditto_cli.model.conversions import convert_into, drop_conversion
from ditto_cli.model.source import BaseSource
from ditto_cli.store import BaseIdentity

# The kept form is that of these libraries; another version of theirs makes it anew.
_LIBRARIES = ("bitsandbytes", "transformers")
_PREFIX = "nf4"
_SPARE_BYTES = 2 * 2**30  # left free on the disk at least


def quantised_place(source: BaseSource, identity: BaseIdentity, compute_dtype: str, cache: Path) -> Path:
    """Where the 4-bit form of a base is kept, or would be; another place as soon as a file of the base changes.

    Its name begins with the base's, so that its other forms are found.
    """
    base = [identity.id, compute_dtype]
    form = [identity.config_digest, identity.weights_digest, *(version(name) for name in _LIBRARIES)]
    for path in sorted([*source.folder.glob("*.safetensors"), *source.folder.glob("generation_config.json")]):
        status = path.stat()
        form.append(f"{path.name} {status.st_size} {status.st_mtime_ns}")
    return cache / "bases" / f"{_PREFIX}-{_short_digest(base)}-{_short_digest(form)}"


def keep_quantised(model: Any, place: Path, noted: Callable[[str], None]) -> None:
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
            drop_conversion(older)


def _short_digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
