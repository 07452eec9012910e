"""One file of a person's texts -> `SourceText`s. Each format is a function; `READERS` is the list of them.

To add a format: write a `Reader`, which raises InputError with the file's name, and enter it below.
"""

from __future__ import annotations

from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain
from ditto_cli.demonstrations.formats.reading import Reader, Reading, Skipped
from ditto_cli.demonstrations.formats.tables import read_jsonl
from ditto_cli.demonstrations.mail.message import read_email

READERS: dict[str, Reader] = {
    ".eml": read_email,
    ".jsonl": read_jsonl,
    ".md": read_markdown,
    ".txt": read_plain,
}

__all__ = ["READERS", "Reader", "Reading", "Skipped"]
