"""Paths that a user gave -> open files: nothing is waited for, and what cannot be opened is told in one line."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ditto_cli.errors import InputError


def is_folder(path: Path) -> bool:
    """Whether it is a folder; False where that cannot be told."""
    return os.path.isdir(path)


@contextmanager
def opened(path: Path, name: str) -> Iterator[BinaryIO]:
    """A regular file, open for reading.

    Raises:
        InputError: it is missing, not a file, or may not be read.
    """
    try:
        # Before opening: a FIFO would block here for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f"{name} is a pipe, socket or device, not a file: take it out of the folder.")
        file = path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{name} does not exist, or is a link to what does not: check the path.") from None
    except (OSError, ValueError) as error:
        raise _unreadable(name, error) from None
    with file:
        try:
            yield file
        except OSError as error:
            raise _unreadable(name, error) from None


def read_whole(path: Path, name: str, max_bytes: int) -> bytes:
    """A regular file's bytes.

    Raises:
        InputError: as `opened`, or it is larger than `max_bytes`.
    """
    with opened(path, name) as file:
        raw = file.read(max_bytes + 1)
    if len(raw) > max_bytes:
        raise InputError(
            f"{name} is larger than {max_bytes // 2**20} MiB, more than a person's text: "
            "save the text itself, without pictures and attachments."
        )
    return raw


def _unreadable(name: str, error: Exception) -> InputError:
    return InputError(
        f"{name} cannot be read ({type(error).__name__}): check its rights and where it links to, or take it away."
    )
