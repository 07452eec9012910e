"""The records in which programs export chats and posts -> their texts. archive_forms.yaml has which key holds what."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from math import isnan, nan
from typing import Any

from ditto_cli.demonstrations.encoding import repair_mojibake
from ditto_cli.demonstrations.formats.chats import (
    FORWARDED,
    SYSTEM_LINE,
    Message,
    chat_reading,
    in_order,
    posts_reading,
    seconds_of,
)
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.words import words
from ditto_cli.types import People, Reading

_NUM_RECORDS_TRIED = 200
_LINE_ELEMENT = re.compile(r"<(?:p|div|br)\b")
_EMOJI_ELEMENT = re.compile(r"<emoji [^<>]{0,200}?\balt=\"([^\"<>]{1,20})\"[^<>]{0,200}>")
# Parts of a message in Telegram.
_NAMES_OF_OTHERS = ("mention", "mention_name", "bot_command")
_NO_WORDS = (*_NAMES_OF_OTHERS, "link", "email", "phone", "hashtag", "cashtag", "bank_card")


def archive_reading(name: str, content: Any) -> Reading | None:
    """The texts of an archive of a known program, by its JSON or the rows of its table; None if it is of none.

    Raises:
        InputError: it holds no words of a person.
    """
    for form in words("archive_forms").values():
        lists = [found for path in form["lists"] for found in _lists_at(content, path)]
        if chats := [found for found in lists if _fits(form, found)]:
            if form.get("people"):
                people = (_read_message(form, record, "").authors for records in chats for record in records)
                return Reading((), (People(name, "a list of people, no texts", tuple(filter(None, people))),))
            owner = _text_at(content, form.get("top_owner", ""))
            messages = [_read_messages(form, part, owner) for chat in chats for part in _divide_chats(form, chat)]
            return posts_reading(name, messages) if "posts" in form else chat_reading(name, messages)
    return None


def _lists_at(content: Any, path: str) -> list[list[Any]]:
    places = _values_at(content, path)
    # The nodes of a conversation with ChatGPT lie in an object, all other records in a list.
    return [places] if path.endswith("mapping{}") else [place for place in places if isinstance(place, list)]


def _fits(form: Mapping[str, Any], records: list[Any]) -> bool:
    return any(all(_values_at(record, path) for path in form["needs"]) for record in records[:_NUM_RECORDS_TRIED])


def _divide_chats(form: Mapping[str, Any], records: list[Any]) -> list[list[dict[str, Any]]]:
    chats: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if isinstance(record, dict):
            key = _text_at(record, form["apart"]) if "apart" in form else ""
            chats.setdefault(key, []).append(record)
    return list(chats.values())


def _read_messages(form: Mapping[str, Any], records: list[dict[str, Any]], owner: str) -> list[Message]:
    messages = [_read_message(form, record, owner) for record in records]
    # Slack says a person's name with some of the messages only, the id with all.
    names: dict[str, tuple[str, ...]] = {}
    for message in messages:
        if message.authors and len(message.authors) > len(names.get(message.authors[-1], ())):
            names[message.authors[-1]] = message.authors
    return in_order([replace(each, authors=names.get((each.authors or ("",))[-1], ())) for each in messages])


def _read_message(form: Mapping[str, Any], record: dict[str, Any], owner: str) -> Message:
    names = [repair_mojibake(text) for path in form.get("authors", ()) if (text := _text_at(record, path).strip())]
    authors = tuple(dict.fromkeys(names))
    text = next((text for path in form["text"] if (text := _text_at(record, path))), "")
    if form.get("html"):
        bare = _without_element(_without_element(text, "quote"), "at")  # others' words and names in Skype and Teams
        bare = bare if _LINE_ELEMENT.search(bare) else bare.replace("\n", "<br>")
        text = html_to_text(_EMOJI_ELEMENT.sub(r"\1", bare)).strip().removeprefix(">")
    for other in {str(one) for path in form.get("mentions", ()) for one in _values_at(record, path)}:
        text = re.sub(rf"@{re.escape(other)}\b ?", "", text)
    is_persons = (
        all(_text_at(record, path) in [value or "" for value in only] for path, only in form.get("only", {}).items())
        and not any(_is_filled(record, path) for path in form.get("never", ()))
        and not ("posts" in form and text.startswith("RT @"))
    )
    reason = "" if is_persons else form.get("posts", SYSTEM_LINE)
    if not reason and any(_is_filled(record, path) for path in form.get("foreign", ())):
        reason = FORWARDED
    is_owner = any(
        _text_at(record, path) in values if values else _is_filled(record, path)
        for path, values in form.get("owner", {}).items()
    )
    identity, answers = _text_at(record, form.get("id", "")), _text_at(record, form.get("answers", ""))
    times = (seconds_of(value) for path in form.get("time", ()) for value in _values_at(record, path))
    return Message(
        authors,
        text,
        seconds=next((time for time in times if not isnan(time)), nan),
        id=identity,
        answers="" if answers == identity else answers,
        is_owner=is_owner or (bool(authors) and authors[-1] in (owner, f"user{owner}")),
        reason=reason,
    )


def _values_at(node: Any, path: str) -> list[Any]:
    """All that lies at a path."""
    found = [node]
    for part in path.split(".") if path else ():
        key = part.rstrip("[]{}")
        if key:
            found = [inner[key] for inner in found if isinstance(inner, dict) and key in inner]
        if part.endswith("[]"):
            found = [one for inner in found if isinstance(inner, list) for one in inner]
        elif part.endswith("{}"):
            found = [one for inner in found if isinstance(inner, dict) for one in inner.values()]
    return found


def _is_filled(record: Any, path: str) -> bool:
    return any(bool(value) and value not in ("False", "0") for value in _values_at(record, path))


def _text_at(record: Any, path: str) -> str:
    """What lies at a path, as text; "" if there is nothing."""
    return "\n".join(text for value in _values_at(record, path) if (text := _text_of(value))) if path else ""


def _text_of(value: Any) -> str:
    if isinstance(value, (str, bool, int, float)):
        return str(value)
    if not isinstance(value, list):
        return ""
    # A message that Telegram divides by its form; none if that is only names, links and tags.
    kinds = {str(part.get("type")) for part in value if isinstance(part, dict)}
    if kinds <= set(_NO_WORDS) and not any(isinstance(part, str) and part.strip() for part in value):
        return ""
    parts = (
        part.get("text") if isinstance(part, dict) and part.get("type") not in _NAMES_OF_OTHERS else part
        for part in value
    )
    return "".join(part for part in parts if isinstance(part, str))


def _without_element(html: str, element: str) -> str:
    """The HTML without an element and what is in it."""
    first, *others = re.split(rf"<{element}\b", html)
    return "".join([first, *(other.partition(f"</{element}>")[2] for other in others)])
