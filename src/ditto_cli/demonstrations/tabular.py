"""Tables and lists (.csv, .tsv, .json, .jsonl, .js) -> their texts: of archives of known programs, else a text a row.

Which column holds the text, and which says who wrote it, is told by its name; archive_forms.yaml has which key of an
archive holds what. A row without a text is left out, and said.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from math import isnan, nan
from typing import Any

from ditto_cli.demonstrations import chats, encoding
from ditto_cli.demonstrations.html_text import html_to_text, looks_like_html
from ditto_cli.demonstrations.posts import titled_prompt
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import People, Reading, Skipped, SourceText

_LAST = "\0"
_NO_EXCHANGE = "not one message of a user and then one of an assistant, which would be the person's"
_GONE = ("[deleted]", "[removed]")
_ENTITY = re.compile(r"&(?:amp|lt|gt|quot|#\d{1,5});")
_OF_TAG = re.compile(r"[\w.@:/+-]*", re.ASCII)  # an id, a tag or an address
_OF_X = re.compile(r"\A\s*window\.YTD\.\w{1,60}\.part\d{1,6}\s*=")


csv.field_size_limit(2**27)  # a file is smaller


def read_json(name: str, raw: bytes) -> Reading:
    """A .json file: an archive of a known program, a list of texts or entries, an object that holds one, or one entry.

    A .js file of an archive of X is one behind a name.
    """
    content = _load(name, _OF_X.sub("", encoding.decode_file(name, raw).removeprefix("\ufeff"), count=1))
    return _reading(name, content, list(enumerate(_find_entries(content), start=1)))


def read_jsonl(name: str, raw: bytes) -> Reading:
    """A .jsonl file: as a list in .json, an entry a line. Ids count the lines."""
    # Other line ends, such as U+2028, may stand inside a JSON text.
    lines = enumerate(re.split(r"\r\n?|\n", encoding.decode_file(name, raw).removeprefix("\ufeff")), start=1)
    entries = [(number, _load(f"{name} line {number}", line)) for number, line in lines if line.strip()]
    return _reading(name, [entry for _, entry in entries], entries)


def read_csv(name: str, raw: bytes) -> Reading:
    """A .csv or .tsv file with a row of column names: a text a row; ids count rows as a spreadsheet does."""
    rows = _split_rows(name, encoding.unify_line_ends(encoding.decode_file(name, raw).removeprefix("\ufeff")))
    if not rows:
        raise InputError(encoding.empty(name))
    (_, header), *body = rows
    whole = [(number, cells) for number, cells in body if not any(cells[len(header) :])]
    entries = [(number, dict(zip(header, cells, strict=False))) for number, cells in whole]
    reading = _reading(name, [entry for _, entry in entries], entries, header)
    why = "has more fields than there are columns: put a text with separators into quotes"
    ragged = [Skipped(f"{name}#{number}", why) for number, cells in body if any(cells[len(header) :])]
    return Reading(reading.texts, (*reading.skipped, *ragged))


def _reading(name: str, content: Any, rows: Sequence[tuple[int, Any]], header: Sequence[str] = ()) -> Reading:
    """The archive of a known program, else the rows that hold a text; for each other one, why not."""
    if not rows and not header:
        raise InputError(encoding.empty(name))
    is_ours = any(_is_demonstration(entry) for _, entry in rows)
    if not is_ours and (archive := archive_reading(name, content)) is not None:
        return archive
    columns = _find_kinds(name, [entry for _, entry in rows if isinstance(entry, dict)], header)
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    for number, entry in rows:
        identity = f"{name}#{number}"
        row = entry if isinstance(entry, dict) else {}
        is_exchange = is_ours and "messages" in row
        if is_exchange:
            prompt, text = _exchange(row) or ("", "")
        else:
            prompt, text = ("", entry) if isinstance(entry, str) else _prompt_and_text(row, columns)
        if any(_plain(row.get(column)) in words("columns")["received"] for column in columns["directions"]):
            skipped.append(Skipped(identity, encoding.BY_OTHERS))
        elif (text := encoding.normalise_text(text)) and text.strip() not in _GONE:
            authors = _names(row, columns["authors"])
            authors = (" ".join(authors),) if authors and columns["authors"] == columns["first_and_last"] else authors
            texts.append(SourceText(identity, text, encoding.normalise_text(prompt).strip() or None, authors=authors))
        else:
            skipped.append(Skipped(identity, _NO_EXCHANGE if is_exchange else "no text in it"))
    if not texts:
        raise InputError(f"{name} holds no text that can be read: put the texts into its column of texts.")
    return Reading(tuple(texts), tuple(skipped))


def _find_kinds(name: str, rows: Sequence[Mapping[str, Any]], header: Sequence[str]) -> dict[str, list[str]]:
    """Which columns of a table hold the text, what it answers, who wrote it and whether it was sent, by kind."""
    every = list(header or dict.fromkeys(key for row in rows for key in row))
    columns = {kind: _find_columns(every, kind) for kind in ("texts", "prompts", "titles", "subjects", "directions")}
    if not header:
        columns["texts"] = [key for key in columns["texts"] if any(isinstance(row.get(key), str) for row in rows)]
    if every and not columns["texts"] and not any(map(_is_demonstration, rows)):
        raise InputError(
            f'{name} has no column of texts: name the column of the texts "completion" (and that of the '
            'instructions "prompt").'
        )
    authors = [*_find_columns(every, "authors"), *_find_columns(every, "author_ids")]
    full = _find_columns(every, "first_and_last")
    authors = authors or (full if len(full) == 2 else [])  # of a recommendation that somebody wrote
    for column in [] if authors else _find_columns(every, "names"):
        names = [row[column] for row in rows if isinstance(row.get(column), str) and row[column].strip()]
        # The name of a thing is there once, that of a person with each of their texts.
        authors += [column] if len(set(names)) < len(names) else []
    # Where a table has no column of authors, as those of telephones: one that says sent of some rows, received of
    # others, and nothing else.
    received, sent = words("columns")["received"], words("columns")["sent"]
    said = {column: {_plain(row.get(column)) for row in rows} for column in columns["directions"]}
    columns["directions"] = [
        column
        for column, values in said.items()
        if not authors and not values.isdisjoint(received) and values <= {*received, *sent}
    ][:1]
    return {**columns, "authors": authors, "first_and_last": full}


def _prompt_and_text(row: Mapping[str, Any], columns: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What a row answers, and its text; "" for what is not there."""
    column = (*columns["texts"], "completion")[0]
    text = row.get(column)
    if not isinstance(text, str):
        return "", ""
    # Before anything is taken away: of letters that were read wrongly, some are invisible marks.
    text = encoding.repair_mojibake(text)
    if _ENTITY.search(text) and not looks_like_html(text):
        text = html.unescape(text)
    text = chats.without_quoted_lines(text)
    if text.startswith('{"'):  # of comments on YouTube
        with suppress(ValueError, RecursionError):
            text = "".join(str(part.get("text", "")) for part in json.loads(f"[{text}]"))
    if column == "ShareCommentary":
        text = text.replace('"\n"', "\n")  # as LinkedIn divides lines
    if {"creationDate", "uuid"} <= row.keys():  # of Day One
        text = re.sub(r"!\[\]\([^()\s]{0,200}\)|\\(?=[^\w\s])", "", text)
    prompt = _first_value(row, columns["prompts"])
    if not prompt and (subject := " ".join(_first_value(row, columns["subjects"]).split()).replace('"', "'")):
        prompt = f'Write an email with the subject "{subject}".'
    prompt = prompt or titled_prompt("a post", _first_value(row, columns["titles"])) or ""
    return prompt, html_to_text(text) if looks_like_html(text) else text


def _names(row: Mapping[str, Any], columns: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for value in map(row.get, columns):
        values = map(value.get, words("columns")["name_keys"]) if isinstance(value, dict) else [value]
        names += [str(one).strip() for one in values if isinstance(one, (str, int)) and not isinstance(one, bool)]
    return tuple(dict.fromkeys(encoding.repair_mojibake(name) for name in names if name))


# --- JSON


def _load(place: str, text: str) -> Any:
    if not text.strip():
        raise InputError(encoding.empty(place))
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        at = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{place} is not valid JSON{at}: export it anew, or save the texts as .txt.") from None


def _find_entries(content: Any) -> list[Any]:
    """The list that a file is; of an object that is no entry itself, the longest list of entries or texts in it."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict) or _is_demonstration(content) or _find_columns(list(content), "texts"):
        return [content]
    lists = [
        value
        for value in content.values()
        if isinstance(value, list)
        and any(isinstance(one, dict) or (isinstance(one, str) and not _OF_TAG.fullmatch(one)) for one in value)
    ]
    return max(lists, key=len, default=[content])


def _is_demonstration(entry: Any) -> bool:
    """Whether it is as the documentation has them: there, what the assistant says is the person's."""
    if not isinstance(entry, dict):
        return False
    return entry.keys() in ({"completion"}, {"prompt", "completion"}) or _exchange(entry) is not None


def _exchange(entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """What the user said, and the assistant's answer; None where these are not all that was said."""
    messages = entry.get("messages")
    if entry.keys() != {"messages"} or not isinstance(messages, list):
        return None
    if not all(isinstance(message, dict) for message in messages):
        return None
    said = [message for message in messages if message.get("role") != "system"]
    contents = [message.get("content") for message in said]
    roles = [message.get("role") for message in said]
    if roles not in (["user", "assistant"], ["assistant"]) or not all(isinstance(one, str) for one in contents):
        return None
    return "" if len(contents) == 1 else contents[0], contents[-1]


# --- tables


def _split_rows(name: str, text: str) -> list[tuple[int, list[str]]]:
    """The rows that hold anything, each with its number in the file."""
    # The separator that gives the first line a column of texts, else the one that gives it the most columns.
    head = text.lstrip("\n").partition("\n")[0]
    headers = {each: [cell.strip('"') for cell in head.split(each)] for each in ",;\t|"}
    best = max(headers, key=lambda each: (bool(_find_columns(headers[each], "texts")), len(headers[each])))
    # A quote that is still open swallows the last line; a strict reader would also refuse what programs do write.
    reader = csv.reader(io.StringIO(f"{text}\n{_LAST}", newline=""), delimiter=best)
    try:
        rows = list(enumerate(reader, start=1))
    except csv.Error:
        raise InputError(f"{name} is not a table that can be read: export it anew as .csv in UTF-8.") from None
    if rows.pop()[1] != [_LAST]:
        raise InputError(f'{name} has a quote (") that is never closed: close it, or export the file anew.')
    filled = [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    return filled[1:] if filled and filled[0][1][0].startswith("sep=") else filled  # as Excel reads and writes it


def _find_columns(keys: Iterable[str], kind: str) -> list[str]:
    """The keys that are names of this kind, the likeliest first."""
    named = {re.sub(r"[\s_.:-]+", "", key).casefold(): key for key in keys}
    return [named[name] for name in words("columns")[kind] if name in named]


def _first_value(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    values = (row.get(column) for column in columns)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")


def _plain(value: Any) -> str:
    return str(value).strip().casefold()


# --- archives of known programs

_OF_OTHERS = re.compile(r"<(quote|at)\b.*?(?:</\1>|\Z)", re.DOTALL)  # words and names in Skype and Teams
_LINE_ELEMENT = re.compile(r"<(?:p|div|br)\b")
_EMOJI_ELEMENT = re.compile(r"<emoji [^<>]{0,200}?\balt=\"([^\"<>]{1,20})\"[^<>]{0,200}>")
# Parts of a message in Telegram.
_NAMES_OF_OTHERS = ("mention", "mention_name", "bot_command", "blockquote")  # or their words
_NO_WORDS = (*_NAMES_OF_OTHERS, "link", "email", "phone", "hashtag", "cashtag", "bank_card")


def archive_reading(name: str, content: Any) -> Reading | None:
    """The texts of an archive of a known program, by its JSON or the rows of its table; None if it is of none."""
    for form in words("archive_forms").values():
        lists: list[list[Any]] = []
        for path in form["lists"]:
            places = _values_at(content, path)
            # The nodes of a conversation with ChatGPT lie in an object, all other records in a list.
            lists += [places] if path.endswith("mapping{}") else [place for place in places if isinstance(place, list)]
        if found := [
            records
            for records in lists
            if any(all(_values_at(one, path) for path in form["needs"]) for one in records[:200])
        ]:
            if form.get("people"):
                people = (_read_message(form, record, "").authors for records in found for record in records)
                return Reading((), (People(name, "a list of people, no texts", tuple(filter(None, people))),))
            owner = _text_at(content, form.get("top_owner", ""))
            messages = [part for records in found for part in _read_chats(form, records, owner)]
            return chats.posts_reading(name, messages) if "posts" in form else chats.chat_reading(name, messages)
    return None


def _read_chats(form: Mapping[str, Any], records: list[Any], owner: str) -> list[list[chats.Message]]:
    by_chat: dict[str, list[chats.Message]] = {}
    for record in records:
        if isinstance(record, dict):
            key = _text_at(record, form["apart"]) if "apart" in form else ""
            by_chat.setdefault(key, []).append(_read_message(form, record, owner))
    for key, messages in by_chat.items():
        # Slack says a person's name with some of the messages only, the id with all.
        names: dict[str, tuple[str, ...]] = {}
        for message in messages:
            if message.authors and len(message.authors) > len(names.get(message.authors[-1], ())):
                names[message.authors[-1]] = message.authors
        named = [replace(each, authors=names.get((each.authors or ("",))[-1], ())) for each in messages]
        by_chat[key] = chats.in_order(named)
    return list(by_chat.values())


def _read_message(form: Mapping[str, Any], record: dict[str, Any], owner: str) -> chats.Message:
    names = [
        encoding.repair_mojibake(text) for path in form.get("authors", ()) if (text := _text_at(record, path).strip())
    ]
    authors = tuple(dict.fromkeys(names))
    text = next((text for path in form["text"] if (text := _text_at(record, path))), "")
    if form.get("html"):
        bare = _OF_OTHERS.sub("", text)
        bare = bare if _LINE_ELEMENT.search(bare) else bare.replace("\n", "<br>")
        text = html_to_text(_EMOJI_ELEMENT.sub(r"\1", bare)).strip().removeprefix(">")
    for other in {str(one) for path in form.get("mentions", ()) for one in _values_at(record, path)}:
        text = re.sub(rf"@{re.escape(other)}\b ?", "", text)
    is_persons = (
        all(_text_at(record, path) in [value or "" for value in only] for path, only in form.get("only", {}).items())
        and not any(_is_filled(record, path) for path in form.get("never", ()))
        and not ("posts" in form and text.startswith("RT @"))
    )
    reason = "" if is_persons else form.get("posts", chats.SYSTEM_LINE)
    if not reason and any(_is_filled(record, path) for path in form.get("foreign", ())):
        reason = chats.FORWARDED
    is_owner = any(
        _text_at(record, path) in values if values else _is_filled(record, path)
        for path, values in form.get("owner", {}).items()
    )
    identity, answers = _text_at(record, form.get("id", "")), _text_at(record, form.get("answers", ""))
    times = (chats.seconds_of(value) for path in form.get("time", ()) for value in _values_at(record, path))
    return chats.Message(
        authors,
        text,
        seconds=next((time for time in times if not isnan(time)), nan),
        id=identity,
        answers="" if answers == identity else answers,
        is_owner=is_owner or (bool(authors) and authors[-1] in (owner, f"user{owner}")),
        reason=reason,
    )


def _values_at(node: Any, path: str) -> list[Any]:
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
