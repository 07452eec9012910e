"""What a reader of one format gives back: texts, and what it left out and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ditto_cli.types import SourceText


@dataclass(frozen=True)
class Skipped:
    """A file, a part of one or a folder that gave no text, and the reason in a few words."""

    name: str
    reason: str


@dataclass(frozen=True)
class Reading:
    """What a file, or a whole folder, held."""

    texts: tuple[SourceText, ...]
    skipped: tuple[Skipped, ...] = ()


# (name for the user, the file's bytes) -> what is in it. Raises InputError with the name where nothing can be read.
Reader = Callable[[str, bytes], Reading]
