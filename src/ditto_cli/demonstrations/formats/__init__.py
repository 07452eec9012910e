"""One file of a person's texts -> `SourceText`s. Each format is a function; `READERS` is the list of them.

To add a format: write a `Reader`, which raises InputError with the file's name, and enter it in `readers`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO

from ditto_cli.demonstrations.formats.archive import read_zip
from ditto_cli.demonstrations.formats.readers import READERS, REFUSED, max_bytes, reason_to_skip
from ditto_cli.demonstrations.formats.reading import Reader, Reading, Skipped
from ditto_cli.demonstrations.mail.archive import read_mbox
from ditto_cli.types import SourceText

# (name for the user, the open file) -> what is in it, one text after the other.
STREAM_READERS: dict[str, Callable[[str, BinaryIO], Iterator[SourceText | Skipped]]] = {
    ".mbox": read_mbox,
    ".zip": read_zip,
}

__all__ = ["READERS", "REFUSED", "STREAM_READERS", "Reader", "Reading", "Skipped", "max_bytes", "reason_to_skip"]
