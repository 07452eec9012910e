"""Bases in another form, made once into the cache: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError

from ditto_cli.errors import DiskError
from ditto_cli.store import fsync_tree, make_private_folder, move

_STAGING_PREFIX = ".converting-"
_STALE_SECONDS = 24 * 60 * 60


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


def drop_conversion(folder: Path) -> None:
    """Remove a conversion that cannot be read, or that another has replaced."""
    shutil.rmtree(folder, ignore_errors=True)
