"""Files of entries: .jsonl, a demonstration a line."""

from __future__ import annotations

import json
import re
from typing import Any

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.common import decoded, empty, named
from ditto_cli.demonstrations.reading import Reading
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

_MAX_CHARACTERS = 2 * 2**20  # as of a .txt file


def read_jsonl(name: str, raw: bytes) -> Reading:
    """A .jsonl file: a text a line, as prompt and completion or as messages; ids count all lines of the file.

    Raises:
        InputError: binary, empty, or a line that is not such an entry.
    """
    # Other line ends, such as U+2028, may stand inside a JSON text.
    lines = re.split(r"\r\n?|\n", decoded(name, raw).removeprefix("\ufeff"))
    texts = [_read_entry(name, number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not texts:
        raise InputError(empty(name))
    return Reading(tuple(texts))


def source_text(place: str, identity: str, prompt: str, completion: str) -> SourceText:
    """An entry's text, with its prompt if it has one.

    Raises:
        InputError: no text is left of it, it is too long, or it holds what is no character.
    """
    # JSON can spell half of a surrogate pair, which no tokenizer and no file takes.
    for text in (prompt, completion):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"{place} holds half of a character (a lone surrogate): write the file anew as UTF-8.")
    text = normalise_text(completion)
    if not text:
        raise InputError(
            f"{place} is empty, so there is nothing to learn from it: fill in its text, or delete the line."
        )
    if len(text) > _MAX_CHARACTERS:
        raise InputError(f"{place} is longer than 2 MiB, more than a person's text: put a part of it there.")
    return SourceText(id=identity, text=text, prompt=normalise_text(prompt).strip() or None)


def from_messages(place: str, entry: dict[str, Any]) -> tuple[str, str]:
    """Prompt and completion of an entry {"messages": [...]}.

    Raises:
        InputError: it is no exchange of one user message and one answer.
    """
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


def _read_entry(name: str, number: int, line: str) -> SourceText:
    place = f"{name} line {number}"
    entry = _load_entry(place, line)
    prompt, completion = from_messages(place, entry) if "messages" in entry else _from_pair(place, entry)
    return source_text(place, f"{name}#{number}", prompt, completion)


def _load_entry(place: str, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f'{place}, column {error.colno}, is not valid JSON: write one {{"prompt": ..., "completion": ...}} a line.'
        ) from None
    except (RepeatedKeyError, RecursionError, ValueError):
        raise InputError(f"{place} has a key twice, or is nested too deep: keep one of each.") from None
    if not isinstance(entry, dict):
        raise InputError(f'{place} is not an object: write one {{"prompt": ..., "completion": ...}} a line.')
    return entry


class RepeatedKeyError(ValueError):
    """An object of JSON holds a key twice; Python would silently keep the last."""


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; for `object_pairs_hook`.

    Raises:
        RepeatedKeyError: a key is there twice.
    """
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise RepeatedKeyError
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


def _check_keys(place: str, entry: dict[str, Any], allowed: set[str], read: str) -> None:
    unknown = [key for key in entry if key not in allowed]
    if unknown:
        raise InputError(f"{place} has {named(unknown)}: only {read}.")
