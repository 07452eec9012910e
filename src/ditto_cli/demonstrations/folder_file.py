"""What `ditto init` learnt about a folder -> the text of its ditto.yaml; what a person wrote there stays to the byte.

Only renders text; reading is `config.read_folder_file`, writing is the caller's. Lines are put in where the parser says
that a mapping ends: a library that loads and writes the file anew moves comments and indentation.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml

from ditto_cli.config import FOLDER_FILE, SCHEMA_VERSION
from ditto_cli.demonstrations.encoding import unify_line_ends
from ditto_cli.errors import InputError

_HEADER = f"""\
# Settings of this folder for ditto. Everything but schema_version may be left out.
schema_version: {SCHEMA_VERSION}
"""
_EXAMPLES = """
# The settings to start from, else those that fit this computer.
# preset: paper-mistral-7b

# The prompt whose samples are shown while the model trains.
# watch_prompt: Write an email to a friend who is moving house.

# Any setting of a preset, changed for this folder.
# dpo: {learning_rate: 2.0e-5}

# Another seed gives another run.
# seed: 1
"""
_PROMPTS_COMMENT = "\n# What each text is the answer to. Read and correct these: they matter as much as the texts.\n"


Value = str | bool | list[str]


def render_folder_file(
    existing: str | None,
    *,
    defaults: Mapping[str, Value | None] = {},
    changes: Mapping[str, Value] = {},
    prompts: Mapping[str, str] = {},
    without: Collection[str] = (),
) -> str:
    """The new text of ditto.yaml.

    Args:
        existing: its text so far, of which every other line stays; None writes a commented one.
        defaults: settings that are added where the file has none; a None is left out.
        changes: settings that are set whatever the file has.
        prompts: by id; those that the file does not have yet are added.
        without: ids whose prompts are taken out.

    Raises:
        InputError: `existing` is not a YAML mapping, or is laid out so that nothing can be changed in it.
    """
    text = _HEADER if existing is None else unify_line_ends(existing).removeprefix("\ufeff")
    if text and not text.endswith("\n"):
        text += "\n"
    for key, value in defaults.items():
        if value is not None and _load(text).get(key) is None:
            text = _with_setting(text, key, value)
    for key, change in changes.items():
        text = _with_setting(text, key, change)
    if existing is None:
        text += _EXAMPLES
    for identity in without:
        text = _without_prompt(text, identity)
    return _with_prompts(text, prompts)


def _with_setting(text: str, key: str, value: Value) -> str:
    """`text` with a top-level setting, in the place of the value that it has."""
    content = _load(text)
    if content.get(key) == value:
        return text
    node = _value_node(text, key)
    if node is None:
        changed = f"{text}{key}: {_written(value)}\n"
    elif content.get(key) is None:
        changed = _fill(text, node, f" {_written(value)}")
    else:
        changed = text[: node.start_mark.index] + _written(value) + text[node.end_mark.index :]
    return _checked(changed, {**content, key: value})


def _without_prompt(text: str, identity: str) -> str:
    """`text` without the lines of one prompt; the same if it has none."""
    content = _load(text)
    present = content.get("prompts")
    if not isinstance(present, dict) or identity not in present:
        return text
    node = _value_node(text, "prompts")
    assert isinstance(node, yaml.MappingNode), "what was loaded as a mapping is one"
    rest = {key: prompt for key, prompt in present.items() if key != identity}
    if node.flow_style or not rest:
        inside = ", ".join(f"{_quoted(str(key))}: {_quoted(str(prompt))}" for key, prompt in rest.items())
        end = node.end_mark.index if node.flow_style else _end_of_last_line(text, node) - 1
        changed = f"{text[: node.start_mark.index]}{{{inside}}}{text[end:]}"
        if not node.flow_style:  # the mapping stood on the lines below its key
            changed = f"{text[: node.start_mark.index].rstrip()} {{}}{text[end:]}"
    else:
        key, value = next((key, value) for key, value in node.value if key.value == identity)
        start = text.rindex("\n", 0, key.start_mark.index) + 1
        changed = text[:start] + text[_end_of_lines(text, value) :]
    return _checked(changed, {**content, "prompts": rest})


def _with_prompts(text: str, prompts: Mapping[str, str]) -> str:
    """`text` with the prompts that it lacks, after those that it has."""
    content = _load(text)
    present = content.get("prompts") or {}
    if not isinstance(present, dict):
        raise InputError(f"{FOLDER_FILE}: prompts must hold `file name: prompt` lines, not a {type(present).__name__}.")
    missing = {key: value for key, value in prompts.items() if key not in present}
    if not missing:
        return text
    entries = [f"{_quoted(key)}: {_quoted(value)}" for key, value in missing.items()]
    node = _value_node(text, "prompts")
    if node is None:
        changed = text + _PROMPTS_COMMENT + "prompts:\n" + _lines(entries, indent=2)
    elif not isinstance(node, yaml.MappingNode):
        changed = _fill(text, node, "\n" + _lines(entries, indent=2).removesuffix("\n"))
    elif node.flow_style:
        start = text.index("{", node.start_mark.index) + 1
        changed = text[:start] + ", ".join(entries) + (", " if present else "") + text[start:]
    else:
        end = _end_of_last_line(text, node)
        changed = text[:end] + _lines(entries, indent=node.start_mark.column) + text[end:]
    return _checked(changed, {**content, "prompts": {**present, **missing}})


def _load(text: str) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        place = f" (line {error.problem_mark.line + 1})" if error.problem_mark is not None else ""
        raise InputError(f"{FOLDER_FILE} is not valid YAML{place}: correct it, or delete it to start anew.") from None
    # ValueError: a date that does not exist. RecursionError: thousands of brackets.
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InputError(f"{FOLDER_FILE} is not valid YAML: correct it, or delete it to start anew.") from None
    if content is not None and not isinstance(content, dict):
        raise InputError(f"{FOLDER_FILE} must hold `key: value` lines, not a {type(content).__name__}.")
    return content or {}


def _value_node(text: str, key: str) -> yaml.Node | None:
    """Where the parser found the value of a top-level key; the last one, which is the one that counts."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        return None
    return next((value for name, value in reversed(root.value) if name.value == key), None)


def _lines(entries: list[str], *, indent: int) -> str:
    return "".join(f"{' ' * indent}{entry}\n" for entry in entries)


def _fill(text: str, node: yaml.Node, value: str) -> str:
    """`text` with `value` in the place of an empty node, be it nothing at all or `null`."""
    start, end = node.start_mark.index, node.end_mark.index
    if not text[start:end].strip():
        start = end = text.rindex(":", 0, end) + 1
    rest = text[end:]
    if "\n" not in value:
        return text[:start].rstrip(" ") + value + rest
    # Lines go below the key; a comment beside the key stays beside it.
    line_end = rest.index("\n")
    return text[:start].rstrip(" ") + rest[:line_end] + value + rest[line_end:]


def _end_of_last_line(text: str, mapping: yaml.MappingNode) -> int:
    """Index of the line start after the mapping's last value, before comments that belong to the next key."""
    return _end_of_lines(text, mapping.value[-1][1])


def _end_of_lines(text: str, value: yaml.Node) -> int:
    index: int = value.end_mark.index
    if isinstance(value, yaml.ScalarNode) and value.style in ("|", ">"):
        return text.rfind("\n", 0, index) + 1  # the mark of a block is already on the line after it
    return text.index("\n", index) + 1


def _written(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(_quoted(entry) for entry in value)}]"
    return _quoted(value)


def _quoted(text: str) -> str:
    """A YAML double-quoted scalar on one line, whatever `text` holds."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return '"' + "".join(char if char.isprintable() else f"\\U{ord(char):08x}" for char in escaped) + '"'


def _checked(text: str, expected: dict[Any, Any]) -> str:
    try:
        is_as_expected = yaml.safe_load(text) == expected
    except yaml.YAMLError:
        is_as_expected = False
    if not is_as_expected:
        raise InputError(
            f"{FOLDER_FILE} is laid out so that nothing can be added to it: write plain `key: value` lines."
        )
    return text
