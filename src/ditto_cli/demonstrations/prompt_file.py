"""prompts.yaml beside the texts: the prompts that ditto found, by a hash of the text that each one is for.

So an inserted, renamed or moved text moves no prompt, and what the user wrote in ditto.yaml stays as it is. Only
renders text; writing is the caller's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import yaml

from ditto_cli.config import read_yaml
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.folder_file import check_lines
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

PROMPT_FILE = "prompts.yaml"
NON_PRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_HEADER = """\
# Prompts that ditto found for texts that came without one: read and correct them here, they matter as much as the
# texts. ditto adds to this file and changes nothing in it. The number is made from the text, whatever its file is
# called; a text that is changed gets a new prompt. What ditto.yaml or the text's own file says wins.
"""
_ADVICE = "correct it, or delete it to have the prompts found again"


def text_hash(text: str) -> str:
    """What a text is known by, in 16 hexadecimal digits; how its words are spaced does not matter."""
    return hashlib.sha256(" ".join(normalise_text(text).split()).encode("utf-8")).hexdigest()[:16]


def prompt_key(source: SourceText) -> str:
    """The hash of a text as it lies in its file: redaction, which stand-ins of other texts change, moves no prompt."""
    return source.prompt_key or text_hash(source.text)


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts in a folder's prompts.yaml, by the hash of their text; an emptied one counts as none.

    Raises:
        InputError: the file cannot be read as `number: prompt` lines.
    """
    path = folder / PROMPT_FILE
    if not path.exists():
        return {}
    try:
        entries = read_yaml(path)
    except InputError as error:
        raise InputError(f"{str(error).removesuffix('.')}: {_ADVICE}.") from None
    for key, prompt in entries.items():
        if not isinstance(key, str) or not isinstance(prompt, str | None):
            raise InputError(f"{path} must hold `number: prompt` lines, and one is of another kind: {_ADVICE}.")
    return {key: prompt.strip() for key, prompt in entries.items() if prompt and prompt.strip()}


def render_prompts(existing: str | None, new: Sequence[tuple[SourceText, str]]) -> str:
    """The text of prompts.yaml with more prompts, below those that are there.

    Args:
        existing: its text so far; None begins one.
        new: texts and their prompts; of two entries for one text the later one counts.

    Raises:
        InputError: `existing` is laid out so that nothing can stand below it.
    """
    text = _HEADER if existing is None else existing
    if not text.endswith("\n"):
        text += "\n"
    entries = {prompt_key(source): (source.id, prompt) for source, prompt in new}
    for key, (identity, prompt) in entries.items():
        # A block takes whatever somebody writes into it, quotes and colons too.
        block = "\n  ".join(_lines(prompt))
        text += f"\n# {' '.join(_lines(identity))}\n{key}: |\n  {block}\n"
    check_lines(text, list(entries), PROMPT_FILE)
    return text


def _lines(text: str) -> list[str]:
    """The lines of a text without what YAML cannot hold; the first one begins with no space."""
    lines = [NON_PRINTABLE.sub("", line.expandtabs(1)).rstrip() for line in text.splitlines()]
    return "\n".join(lines).strip().split("\n")
