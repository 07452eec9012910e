"""A text in the user's own editor."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

from ditto_cli.cli.render import warn
from ditto_cli.errors import DittoError, InputError
from ditto_cli.store import remove_tree, write_text

_USUAL = ("sensible-editor", "nano", "vim", "vi")


def edit_file(path: Path) -> None:
    """Open a file in $VISUAL, $EDITOR or a usual editor, and wait until it is closed."""
    command = _editor()
    try:
        done = subprocess.run([*command, str(path)], check=False)
    except OSError as error:
        raise InputError(f"The editor {command[0]} cannot be started ({error.strerror}): set EDITOR to one.") from None
    if done.returncode != 0:
        raise InputError(f"The editor {command[0]} ended with an error ({done.returncode}): nothing was taken from it.")


@contextmanager
def edited(text: str, *, suffix: str = ".md") -> Iterator[bytes]:
    """What the user makes of a text, for the block to use; it is lost only after the block has ended well.

    While it is edited it lies in a private folder. Where the block fails, it stays there, and the error says where.
    """
    folder = Path(tempfile.mkdtemp(prefix="ditto-"))  # mode 0700
    path = folder / f"text{suffix}"
    write_text(path, text)
    try:
        edit_file(path)
        yield path.read_bytes()
    except BaseException as error:
        if path.read_bytes() == text.encode():
            remove_tree(folder)
        elif isinstance(error, DittoError):
            raise type(error)(f"{error} What you wrote is kept in {path}.") from None
        else:
            warn(f"What you wrote is kept in {path}.")
        raise
    remove_tree(folder)


def _editor() -> list[str]:
    for variable in ("VISUAL", "EDITOR"):
        if chosen := os.environ.get(variable, "").strip():
            try:
                return shlex.split(chosen)
            except ValueError:
                raise InputError(f"{variable} is not a command: {chosen!r}; set it to your editor's.") from None
    usual = next((path for name in _USUAL if (path := which(name))), None)
    if usual is None:
        raise InputError("No editor is known: set EDITOR to one, as in EDITOR=nano, or give the text as a file.")
    return [usual]
