"""What a user typed as an adapter's name -> a name that is safe as a folder, or one line which says what would be."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Sequence

from ditto_cli.errors import InputError, UnknownAdapterError

MAX_NAME_LENGTH = 64

_VALID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
# These mean a model, a baseline or a stage on the command line.
_RESERVED = re.compile(r"base|few-shot|sft|round[0-9]+", re.IGNORECASE)
# Windows takes these for devices, whatever follows a dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


def check_name(name: str) -> None:
    """Accept a name for a new adapter.

    Raises:
        InputError: it cannot be one; the message suggests one that can.
    """
    problem = _name_problem(name)
    if problem is not None:
        raise InputError(f"{name!r} cannot be an adapter's name: {problem}; try {suggest_name(name)!r}.")


def is_valid_name(name: str) -> bool:
    """Whether `check_name` accepts it."""
    return _name_problem(name) is None


def suggest_name(name: str) -> str:
    """A valid name near to any text."""
    ascii_letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode("ascii")
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", ascii_letters).lstrip("._-")[:MAX_NAME_LENGTH].rstrip("._-")
    if not cleaned:
        return "my-adapter"
    return cleaned if is_valid_name(cleaned) else f"my-{cleaned}"[:MAX_NAME_LENGTH]


def unknown_adapter(name: str, names: Sequence[str]) -> InputError:
    """The error for a name that no adapter has, with the three nearest of those that there are."""
    if not names:
        return UnknownAdapterError(
            f"Unknown adapter {name!r}: there are no adapters yet; make one with `ditto train FOLDER`."
        )
    *others, last = difflib.get_close_matches(name, names, n=3, cutoff=0.0)
    near = f"{', '.join(others)} or {last}" if others else last
    return UnknownAdapterError(f"Unknown adapter {name!r}: did you mean {near}?")


def _name_problem(name: str) -> str | None:
    if len(name) > MAX_NAME_LENGTH:
        return f"it is longer than {MAX_NAME_LENGTH} characters"
    if not _VALID.fullmatch(name):
        return "it must start with a letter or digit and hold only letters a-z, digits, '.', '_' and '-'"
    if _RESERVED.fullmatch(name):
        return "that word means something else on the command line"
    if _DEVICE.fullmatch(name):
        return "that is the name of a device on Windows"
    return None
