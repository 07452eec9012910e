"""ditto.yaml and prompts.yaml beside the texts: what goes into a new one, or below the lines of one that is there.

Only renders text; writing is the caller's. What a person wrote is never changed. prompts.yaml has the prompts that
ditto found by a hash of the text that each one is for, so an inserted, renamed or moved text moves no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ditto_cli.config import FOLDER_FILE, SCHEMA_VERSION, FolderFile, read_yaml
from ditto_cli.demonstrations.redaction import prompt_key
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

_EXAMPLES = """
# The settings to start from, else those that fit this computer.
# preset: paper-mistral-7b

# The prompt whose samples are shown while the model trains.
# watch_prompt: Write an email to a friend who is moving house.

# What a text is the answer to, by its file. Those that ditto finds itself are in prompts.yaml.
# prompts: {first-text.md: Write an email to Tom about the heating.}

# Any setting of a preset, changed for this folder.
# dpo: {learning_rate: 2.0e-5}

# Another seed gives another run.
# seed: 1
"""

Value = str | bool | list[str]


def new_folder_file(settings: Mapping[str, Value | None]) -> str:
    """The text of a ditto.yaml with these settings and commented examples of others; a None is left out."""
    given = {key: value for key, value in settings.items() if value is not None}
    lines = "".join(f"{line}\n" for line in (f"schema_version: {SCHEMA_VERSION}", *map(_line, given, given.values())))
    return f"# Settings of this folder for ditto. Everything but schema_version may be left out.\n{lines}{_EXAMPLES}"


def lines_to_add(existing: str, present: FolderFile, settings: Mapping[str, Value | None]) -> list[str]:
    """The lines that give a ditto.yaml (its text, and what that says) the settings that it lacks; none for a None."""
    new: dict[str, str] = {}
    for key, value in settings.items():
        if value is None or getattr(present, key) == value:
            continue
        if key in present.model_fields_set:
            raise InputError(
                f"{FOLDER_FILE} sets {key} to something else: change that line to {_line(key, value)}, or leave the "
                "option out."
            )
        new[key] = _line(key, value)
    check_lines("\n".join([existing, *new.values()]), list(new), FOLDER_FILE)
    return list(new.values())


def check_lines(text: str, keys: Sequence[str], name: str) -> None:
    """See to it that the last entries of a YAML mapping are these."""
    try:
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError):
        content = None
    if keys and not (isinstance(content, dict) and set(keys) <= set(content)):
        raise InputError(f"{name} is laid out so that nothing can be added to it: write plain `key: value` lines.")


def _line(key: str, value: Value) -> str:
    return f"{key}: {_written(value)}"


def _written(value: Value) -> str:
    """A value as YAML on one line, whatever it holds."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_written, value))}]"
    return str(yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))).strip()


# --- prompts.yaml

PROMPT_FILE = "prompts.yaml"
NON_PRINTABLE = yaml.reader.Reader.NON_PRINTABLE
_HEADER = """\
# Prompts that ditto found for texts that came without one: read and correct them here, they matter as much as the
# texts. ditto adds to this file and changes nothing in it. The number is made from the text, whatever its file is
# called; a text that is changed gets a new prompt. What ditto.yaml or the text's own file says wins.
"""
_ADVICE = "correct it, or delete it to have the prompts found again"


def read_prompts(folder: Path) -> dict[str, str]:
    """The prompts in a folder's prompts.yaml, by the hash of their text; an emptied one counts as none."""
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
    """The text of prompts.yaml (None begins one) with more prompts, of two for one text the later one, at its end."""
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
