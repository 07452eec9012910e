"""What `ditto init` learnt about a folder -> a new ditto.yaml, or lines below one that is there.

Only renders text; reading is `config.read_folder_file`, writing is the caller's. What a person wrote is never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import yaml

from ditto_cli.config import FOLDER_FILE, SCHEMA_VERSION, FolderFile
from ditto_cli.errors import InputError

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
    """The lines that give a ditto.yaml the settings that it lacks; none for what it says already.

    Args:
        existing: its text.
        present: what that says.
        settings: by key; a None is left out.

    Raises:
        InputError: it says something else, or is laid out so that nothing can stand below it.
    """
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
    """See to it that the last entries of a YAML mapping are these.

    Raises:
        InputError: they are read as something else, for what stands above them is in braces or ended.
    """
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
