"""One file of a person's texts -> `SourceText`s. Each format is a function; `READERS` is the list of them.

To add a format: write a function (name, bytes) -> texts that raises InputError with the name, and enter it below.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

import yaml

from ditto_cli.demonstrations.email_file import read_email
from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text, unify_line_ends
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

Reader = Callable[[str, bytes], list[SourceText]]

_FRONT_MATTER_RULE = "---"
_YAML_TEXT = "tag:yaml.org,2002:str"
# What blogs put there; it does not say what the text answers.
_IGNORED_KEYS = frozenset({"title", "date", "author", "tags", "subject", "layout"})
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_KEY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,30}")


def read_plain(name: str, raw: bytes) -> list[SourceText]:
    """A .txt file: one text, with optional front matter.

    Raises:
        InputError: binary, empty, or broken front matter.
    """
    prompt, body, _ = _split_front_matter(name, _decode(name, raw))
    return [SourceText(id=name, text=_usable(name, body), prompt=prompt)]


def read_markdown(name: str, raw: bytes) -> list[SourceText]:
    """A .md file: as .txt, and HTML comments are left out.

    Raises:
        InputError: binary, empty, broken front matter, or a comment that never ends.
    """
    prompt, body, first_line = _split_front_matter(name, _decode(name, raw))
    visible = _COMMENT.sub("", body)
    if "<!--" in visible:
        line = first_line + body.count("\n", 0, body.rindex("<!--"))
        raise InputError(f"{name} line {line}: this comment never ends, so its extent is unknown: close it with -->.")
    return [SourceText(id=name, text=_usable(name, visible), prompt=prompt)]


def read_jsonl(name: str, raw: bytes) -> list[SourceText]:
    """A .jsonl file: a text a line, as prompt and completion or as messages; ids count all lines of the file.

    Raises:
        InputError: binary, empty, or a line that is not such an entry.
    """
    # Other line ends, such as U+2028, may stand inside a JSON text.
    lines = re.split(r"\r\n?|\n", _decode(name, raw).removeprefix("\ufeff"))
    texts = [_read_entry(name, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not texts:
        raise InputError(_empty(name))
    return texts


READERS: dict[str, Reader] = {
    ".eml": read_email,
    ".jsonl": read_jsonl,
    ".md": read_markdown,
    ".txt": read_plain,
}


def _decode(name: str, raw: bytes) -> str:
    try:
        return decode_text(raw)
    except UndecodableTextError:
        raise InputError(
            f"{name} is a binary file in spite of its name, so there is no text to read: save the text itself as .txt."
        ) from None


def _usable(name: str, text: str) -> str:
    if not (usable := normalise_text(text)):
        raise InputError(_empty(name))
    return usable


def _empty(name: str) -> str:
    return f"{name} is empty, so there is nothing to learn from it: put your text into it, or delete it."


def _split_front_matter(name: str, text: str) -> tuple[str | None, str, int]:
    """Prompt, body, and the number of the line on which the body begins."""
    lines = unify_line_ends(text).removeprefix("\ufeff").split("\n")
    top = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[top].rstrip() != _FRONT_MATTER_RULE:
        return None, "\n".join(lines), 1
    end = next((index for index in range(top + 1, len(lines)) if lines[index].rstrip() == _FRONT_MATTER_RULE), None)
    if end is None:
        raise _broken(name, top + 1, "the front matter that begins here never ends")
    header = _load_front_matter(name, lines[top + 1 : end], top + 2)
    return _prompt_of(name, header, top + 2), "\n".join(lines[end + 1 :]), end + 2


def _load_front_matter(name: str, lines: list[str], first_line: int) -> list[tuple[yaml.Node, yaml.Node]]:
    # Composed only: nothing is built of the tags and dates of a blog, and a key that is there twice is seen.
    try:
        root = yaml.compose("\n".join(lines) + "\n", Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark is not None else 0
        raise _broken(name, first_line + min(line, len(lines)), "the front matter is not valid YAML") from None
    # RecursionError: thousands of brackets.
    except (yaml.YAMLError, RecursionError):
        raise _broken(name, first_line, "the front matter is not valid YAML") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _broken(name, first_line, "the front matter has no `key: value` lines")
    pairs: list[tuple[yaml.Node, yaml.Node]] = root.value
    return pairs


def _prompt_of(name: str, header: list[tuple[yaml.Node, yaml.Node]], first_line: int) -> str | None:
    prompt: str | None = None
    for key, value in header:
        line = first_line + key.start_mark.line
        word = key.value if isinstance(key, yaml.ScalarNode) else None
        if word in _IGNORED_KEYS:
            continue
        if word != "prompt":
            raise _broken(name, line, f"the front matter has {_named([word])}, and only prompt is read")
        if prompt is not None:
            raise _broken(name, line, "the front matter has two prompts")
        prompt = normalise_text(value.value).strip() if value.tag == _YAML_TEXT else ""
        if not prompt:
            raise _broken(name, line, "the prompt is not a text")
    return prompt


def _broken(name: str, line: int, problem: str) -> InputError:
    return InputError(
        f'{name} line {line}: {problem}. Write ---, prompt: "...", --- at the top; '
        f"if the text itself begins with a rule, write it as ***."
    )


def _named(keys: Iterable[object]) -> str:
    """The keys, in words; one that does not look like a key may be the text itself, and stays unsaid."""
    names = [key for key in keys if isinstance(key, str) and _KEY_NAME.fullmatch(key)]
    return f"the unknown key {', '.join(names)}" if names else "an unknown key"


def _read_entry(name: str, number: int, line: str) -> SourceText:
    place = f"{name} line {number}"
    entry = _load_entry(place, line)
    prompt, completion = _from_messages(place, entry) if "messages" in entry else _from_pair(place, entry)
    # JSON can spell half of a surrogate pair, which no tokenizer and no file takes.
    for text in (prompt, completion):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"{place} holds half of a character (a lone surrogate): write the file anew as UTF-8.")
    text = normalise_text(completion)
    if not text:
        raise InputError(
            f"{place} is empty, so there is nothing to learn from it: fill in its text, or delete the line."
        )
    return SourceText(id=f"{name}#{number}", text=text, prompt=normalise_text(prompt).strip() or None)


def _load_entry(place: str, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line, object_pairs_hook=_without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f'{place}, column {error.colno}, is not valid JSON: write one {{"prompt": ..., "completion": ...}} a line.'
        ) from None
    except (_RepeatedKeyError, RecursionError, ValueError):
        raise InputError(f"{place} has a key twice, or is nested too deep: keep one of each.") from None
    if not isinstance(entry, dict):
        raise InputError(f'{place} is not an object: write one {{"prompt": ..., "completion": ...}} a line.')
    return entry


class _RepeatedKeyError(ValueError):
    """An object of JSON holds a key twice; Python would silently keep the last."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise _RepeatedKeyError
    return entry


def _from_pair(place: str, entry: dict[str, Any]) -> tuple[str, str]:
    _check_keys(place, entry, {"prompt", "completion"}, "prompt and completion, or messages, are read")
    if "completion" not in entry:
        raise InputError(f"{place} has no completion: put the person's text there.")
    prompt = "" if entry.get("prompt") is None else entry["prompt"]
    completion = entry["completion"]
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(f"{place}: prompt and completion must be texts in quotes.")
    return prompt, completion


def _from_messages(place: str, entry: dict[str, Any]) -> tuple[str, str]:
    _check_keys(place, entry, {"messages"}, "messages is read beside it; put the rest away")
    messages = entry["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise InputError(f'{place}: messages must be a list of {{"role": ..., "content": ...}}.')
    for message in messages:
        _check_keys(place, message, {"role", "content"}, "role and content are read of a message")
        if not isinstance(message.get("role"), str) or not isinstance(message.get("content"), str):
            raise InputError(f"{place}: each message needs a role and a content, both texts in quotes.")
    roles = [message["role"] for message in messages]
    if "system" in roles:
        raise InputError(f"{place} has a system message, which would be lost: put what matters into the user message.")
    if roles not in (["user", "assistant"], ["assistant"]):
        raise InputError(
            f"{place} has {len(roles)} messages that are not one user and then one assistant: keep the last such two."
        )
    return "" if len(messages) == 1 else messages[0]["content"], messages[-1]["content"]


def _check_keys(place: str, entry: dict[str, Any], allowed: set[str], read: str) -> None:
    unknown = [key for key in entry if key not in allowed]
    if unknown:
        raise InputError(f"{place} has {_named(unknown)}: only {read}.")
