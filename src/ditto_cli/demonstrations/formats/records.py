"""Tables and lists (.csv, .tsv, .json, .jsonl, .js) -> a text a row, with who wrote it where a column says so.

Which column holds the text is told by its name. What known programs export is `archive_records`' business. A row
without a text is left out, and said; a .jsonl file, which somebody wrote for us, is refused for it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ditto_cli.demonstrations.encoding import normalise_text, repair_mojibake, unify_line_ends
from ditto_cli.demonstrations.formats.archive_records import archive_reading
from ditto_cli.demonstrations.formats.chats import Message, chat_reading, in_order, is_owner_name, seconds_of
from ditto_cli.demonstrations.formats.common import decoded, empty, named, reason, titled_prompt
from ditto_cli.demonstrations.formats.web import looks_like_html
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

_DELIMITERS = ",;\t|"
_MAX_COLUMNS = 1000
_MAX_CHARACTERS = 2 * 2**20  # as of a .txt file
_NUM_COLUMNS_SHOWN = 8
_HEADER_CHARACTERS = 20_000
# What the first cell of a file without column names holds is somebody's text, and stays unsaid.
_COLUMN_NAME = re.compile(r"[^\W\d][\w-]{0,30}")
_RENAME = 'name the column of the texts "completion" (and that of the instructions "prompt")'
_LAST = "\0"
_REST = "\0"  # the key of a row's fields beyond the columns; no column name holds it
_NO_TEXT = re.compile(r"[\w.@:/+-]*", re.ASCII)  # an id, a tag or an address
_OF_X = re.compile(r"\s*window\.YTD\.\w{1,60}\.part\d{1,6}\s*=")
# Of an author who is an object.
_NAME_KEYS = ("display_name", "displayName", "real_name", "name", "username", "login", "screen_name", "email", "id")

_Row = Mapping[str, Any]


class _RepeatedKeyError(ValueError):
    """An object of JSON holds a key twice; Python would silently keep the last."""


def read_json(name: str, raw: bytes) -> Reading:
    """A .json file: an archive of a known program, a list of texts or entries, an object that holds one, or one entry.

    Raises:
        InputError: binary, not valid JSON, no usable entry, or no telling which key holds the text.
    """
    text = decoded(name, raw).removeprefix("\ufeff")
    if not text.strip():
        raise InputError(empty(name))
    content = _load_json(name, text)
    if not _is_for_us(content) and (archive := archive_reading(name, content)) is not None:
        return archive
    entries = _find_entries(name, content)
    if not entries:
        raise InputError(empty(name))
    if _is_chat(content):
        records = [entry for entry in entries if isinstance(entry, dict)]
        chat = _Columns(name, records)
        messages = in_order([chat.message(record) for record in records])
        return chat_reading(name, [messages])
    if any(isinstance(entry, dict) and "messages" in entry for entry in entries):
        return _read_rows(name, "entry", enumerate(entries, start=1), _read_conversation)
    objects = [entry for entry in entries if isinstance(entry, dict)]
    columns = _Columns(name, objects) if objects or not any(isinstance(entry, str) for entry in entries) else None

    def read(place: str, identity: str, entry: Any) -> SourceText:
        if isinstance(entry, str):
            return _make_text(place, identity, "", entry)
        if columns is None:
            raise InputError(f"{place} is no text")
        return columns.read(place, identity, entry)

    return _read_rows(name, "entry", enumerate(entries, start=1), read)


def read_jsonl(name: str, raw: bytes) -> Reading:
    """A .jsonl file: a text a line, as prompt and completion or as messages; or an archive. Ids count the lines.

    Raises:
        InputError: binary, empty, or a line that is not such an entry.
    """
    # Other line ends, such as U+2028, may stand inside a JSON text.
    lines = re.split(r"\r\n?|\n", decoded(name, raw).removeprefix("\ufeff"))
    entries = [
        (f"{name} line {number}", f"{name}#{number}", line) for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not entries:
        raise InputError(empty(name))
    first = _load_line(*entries[0][::2])
    if not first.keys() <= {"messages", "prompt", "completion"}:
        content = [_load_line(place, line) for place, _, line in entries]
        if (archive := archive_reading(name, content)) is not None:
            return archive
        if first.keys().isdisjoint(("messages", "prompt", "completion")) and _find_columns(list(first), "texts"):
            return _read_rows(name, "line", enumerate(content, start=1), _Columns(name, content).read)
    return Reading(tuple(_read_line(place, identity, line) for place, identity, line in entries))


def read_csv(name: str, raw: bytes) -> Reading:
    """A .csv or .tsv file with a row of column names: a text a row; ids count rows as a spreadsheet does.

    Raises:
        InputError: binary, empty, no telling which column holds the text, a quote that is never closed, no usable row.
    """
    text = unify_line_ends(decoded(name, raw).removeprefix("\ufeff"))
    if stated := re.match(r"sep=([,;\t|])\n", text):  # what Excel writes and reads
        text = text[stated.end() :]
    rows = _split_rows(name, text, stated[1] if stated else _find_delimiter(text))
    if not rows:
        raise InputError(empty(name))
    (_, header), *body = rows
    if len(header) > _MAX_COLUMNS:
        raise InputError(f"{name} has more than {_MAX_COLUMNS} columns, so it is no table of texts: {_RENAME}.")
    num_above = 1 if stated else 0
    numbered: list[tuple[int, dict[str, str]]] = []
    for number, cells in body:
        rest = {_REST: ""} if any(cells[len(header) :]) else {}
        numbered.append((num_above + number, dict(zip(header, cells, strict=False)) | rest))
    if (archive := archive_reading(name, [row for _, row in numbered])) is not None:
        return archive
    columns = _Columns(name, [row for _, row in numbered], header)
    return _read_rows(name, "row", numbered, columns.read)


def read_js(name: str, raw: bytes) -> Reading:
    """A .js file of an archive of X (Twitter): the posts. Its other files, and programs, hold none.

    Raises:
        InputError: it holds no posts.
    """
    text = decoded(name, raw)
    head = _OF_X.match(text)
    archive = archive_reading(name, _load_json(name, text[head.end() :])) if head is not None else None
    if archive is None:
        raise InputError(f"{name} holds no texts: of an archive of X (Twitter) the posts are read, tweets.js.")
    return archive


class _Columns:
    """Which column of a table holds the text, which says what it answers, and which who wrote it."""

    def __init__(self, name: str, rows: Sequence[_Row], header: Sequence[str] = ()) -> None:
        every = list(header or dict.fromkeys(key for row in rows for key in row))
        of_text = {key for row in rows for key, value in row.items() if isinstance(value, str)}
        keys = header or [key for key in every if key in of_text]
        texts = _find_columns(keys, "ours")
        if len(texts) != 1:
            texts = _find_columns(keys, "texts")
        if len(texts) != 1 or keys.count(texts[0]) != 1:
            found = f"several columns that may hold the texts ({_show_names(texts)})" if texts else "no column of texts"
            among = "" if texts or not _show_names(keys) else f" (it has {_show_names(keys)})"
            raise InputError(f"{name} has {found}{among}: {_RENAME}.")
        self._text = texts[0]
        self._prompts = [column for column in _find_columns(keys, "prompts") if column != self._text]
        self._titles = _find_columns(keys, "titles")
        self._subjects = _find_columns(keys, "subjects")
        self._times = _find_columns(every, "times")
        # The name of a thing is there once, that of a person with each of their texts.
        names = [column for column in _find_columns(every, "names") if _has_repeats(row.get(column) for row in rows)]
        authors = (*_find_columns(every, "authors"), *_find_columns(every, "author_ids")) or names
        self._authors = [column for column in authors if column != self._text]

    def read(self, place: str, identity: str, row: Any) -> SourceText:
        """The text of a row.

        Raises:
            InputError: there is none.
        """
        if not isinstance(row, dict):
            raise InputError(f"{place} is no entry with named fields")
        if _REST in row:
            raise InputError(f"{place} has more fields than there are columns: put a text with separators into quotes")
        text = row.get(self._text)
        if not isinstance(text, str):
            raise InputError(f"{place} has no text")
        # Before anything is taken away: of letters that were read wrongly, some are invisible marks.
        text = repair_mojibake(text)
        if looks_like_html(text):
            text = html_to_text(text)
        return replace(_make_text(place, identity, self._prompt_of(row), text), authors=self._authors_of(row))

    def message(self, row: _Row) -> Message:
        """A message of a chat; nobody's where the row has no author."""
        text = row.get(self._text)
        authors = self._authors_of(row)
        times = (seconds_of(row.get(column)) for column in self._times)
        time = next((time for time in times if time is not None), None)
        is_owner = bool(authors) and is_owner_name(authors[0])
        return Message(authors, text if isinstance(text, str) else "", time, is_owner=is_owner)

    def _authors_of(self, row: _Row) -> tuple[str, ...]:
        names = [repair_mojibake(one) for column in self._authors for one in _names_in(row.get(column))]
        return tuple(dict.fromkeys(names))

    def _prompt_of(self, row: _Row) -> str:
        if prompt := _first_value(row, self._prompts):
            return prompt
        if subject := " ".join(_first_value(row, self._subjects).split()).replace('"', "'"):
            return f'Write an email with the subject "{subject}".'
        return titled_prompt("a post", _first_value(row, self._titles)) or ""


def _read_rows(
    name: str, noun: str, rows: Iterable[tuple[int, Any]], read: Callable[[str, str, Any], SourceText]
) -> Reading:
    """The rows that can be read; for each other one, why not.

    Raises:
        InputError: there is no row that can be read.
    """
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    for number, row in rows:
        place, identity = f"{name} {noun} {number}", f"{name}#{number}"
        try:
            texts.append(read(place, identity, row))
        except InputError as error:
            skipped.append(Skipped(identity, reason(place, error)))
    if not texts:
        why = f" ({skipped[0].name.removeprefix(name)}: {skipped[0].reason})" if skipped else ""
        raise InputError(f"{name} holds no text that can be read{why}: fill its column of texts, or take it away.")
    return Reading(tuple(texts), tuple(skipped))


def _make_text(place: str, identity: str, prompt: str, completion: str) -> SourceText:
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


# --- JSON


def _load_json(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_refuse_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} line {error.lineno}, column {error.colno}, is not valid JSON: export the file anew, "
            "or save the texts as .txt."
        ) from None
    except _RepeatedKeyError:
        raise InputError(
            f"{name} has a key twice in one entry, and which of them counts is not known: export the file anew, "
            "or save the texts as .txt."
        ) from None
    except RecursionError:
        raise InputError(f"{name} is nested too deep to read: save the texts as .txt.") from None
    except ValueError:  # a number of thousands of digits
        raise InputError(f"{name} is not JSON that can be read: save the texts as .txt.") from None


def _load_line(place: str, line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line, object_pairs_hook=_refuse_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f'{place}, column {error.colno}, is not valid JSON: write one {{"prompt": ..., "completion": ...}} a line.'
        ) from None
    except (_RepeatedKeyError, RecursionError, ValueError):
        raise InputError(f"{place} has a key twice, or is nested too deep: keep one of each.") from None
    if not isinstance(entry, dict):
        raise InputError(f'{place} is not an object: write one {{"prompt": ..., "completion": ...}} a line.')
    return entry


def _refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entry = dict(pairs)
    if len(entry) != len(pairs):
        raise _RepeatedKeyError
    return entry


def _find_entries(name: str, content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    if isinstance(content, str):
        return [content]
    if not isinstance(content, dict):
        raise InputError(f"{name} holds no list of texts: write a list of texts in quotes, or save them as .txt.")
    if _is_chat(content):
        return list(content["messages"])
    lists = [
        key
        for key, value in content.items()
        if isinstance(value, list)
        and key != "messages"
        and not (value and all(isinstance(one, str) and _NO_TEXT.fullmatch(one) for one in value))
    ]
    if "messages" in content or not lists or _find_columns(list(content), "texts"):
        return [content]
    if len(lists) > 1:
        shown = f" ({_show_names(lists)})" if _show_names(lists) else ""
        raise InputError(f"{name} holds several lists{shown}, and which of them is the texts is not known: keep one.")
    only: list[Any] = content[lists[0]]
    return only


def _is_chat(content: Any) -> bool:
    """Whether it is the chat of a program that we do not know: messages without roles."""
    messages = content.get("messages") if isinstance(content, dict) else None
    return isinstance(messages, list) and any(
        isinstance(message, dict) and "role" not in message and any(_find_columns(list(message), "authors"))
        for message in messages
    )


def _is_for_us(content: Any) -> bool:
    """Whether it is demonstrations as the documentation has them: there, what the assistant says is the person's."""
    entries = content if isinstance(content, list) else [content]
    conversations = [entry for entry in entries if isinstance(entry, dict) and "messages" in entry]
    return bool(conversations) and all(
        entry.keys() == {"messages"}
        and isinstance(messages := entry["messages"], list)
        and all(isinstance(message, dict) and message.keys() <= {"role", "content"} for message in messages)
        and [message.get("role") for message in messages] in (["user", "assistant"], ["assistant"])
        for entry in conversations
    )


def _read_line(place: str, identity: str, line: str) -> SourceText:
    entry = _load_line(place, line)
    if "messages" in entry:
        return _make_text(place, identity, *_from_messages(place, entry))
    _check_keys(place, entry, {"prompt", "completion"}, "prompt and completion, or messages, are read")
    if "completion" not in entry:
        raise InputError(f"{place} has no completion: put the person's text there.")
    prompt = "" if entry.get("prompt") is None else entry["prompt"]
    completion = entry["completion"]
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise InputError(f"{place}: prompt and completion must be texts in quotes.")
    return _make_text(place, identity, prompt, completion)


def _read_conversation(place: str, identity: str, entry: Any) -> SourceText:
    if not isinstance(entry, dict) or "messages" not in entry:
        raise InputError(f"{place} has no messages")
    return _make_text(place, identity, *_from_messages(place, entry))


def _from_messages(place: str, entry: dict[str, Any]) -> tuple[str, str]:
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


def _check_keys(place: str, entry: dict[str, Any], allowed: set[str], read: str) -> None:
    unknown = [key for key in entry if key not in allowed]
    if unknown:
        raise InputError(f"{place} has {named(unknown)}: only {read}.")


# --- tables


def _split_rows(name: str, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows that hold anything, each with its number in the file."""
    rows: list[tuple[int, list[str]]] = []
    limit = csv.field_size_limit(max(1, len(text)))
    last: list[str] = []
    # A quote that is still open swallows the last line; a strict reader would also refuse what programs do write.
    reader = csv.reader(io.StringIO(f"{text}\n{_LAST}", newline=""), delimiter=delimiter)
    try:
        for number, last in enumerate(reader, start=1):
            if any(cell.strip() for cell in last) and last != [_LAST]:
                rows.append((number, last))
    except csv.Error:
        raise InputError(f"{name} is not a table that can be read: export it anew as .csv in UTF-8.") from None
    finally:
        csv.field_size_limit(limit)
    if last != [_LAST]:
        raise InputError(
            f'{name} has a quote (") that is never closed, so where its rows end is not known: '
            "close it, or export the file anew."
        )
    return rows


def _find_delimiter(text: str) -> str:
    """The separator that gives the first row a column of texts, else the one that gives it the most columns."""
    head = text.lstrip("\n")[:_HEADER_CHARACTERS]
    headers: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        try:
            headers[delimiter] = next(reader, [])
        except csv.Error:
            headers[delimiter] = []
    return max(headers, key=lambda each: (bool(_find_columns(headers[each], "texts")), len(headers[each])))


def _find_columns(header: Sequence[str], kind: str) -> list[str]:
    return [column for column in header if re.sub(r"[\s_.:-]+", "", column).casefold() in words("columns")[kind]]


def _show_names(columns: Sequence[str]) -> str:
    """The names of columns; what does not look like one may be the text of a person, and stays unsaid."""
    names = [column.strip() for column in columns if _COLUMN_NAME.fullmatch(column.strip())]
    more = ", ..." if len(names) > _NUM_COLUMNS_SHOWN else ""
    return ", ".join(names[:_NUM_COLUMNS_SHOWN]) + more


def _first_value(row: _Row, columns: Sequence[str]) -> str:
    values = (row.get(column) for column in columns)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")


def _names_in(value: Any) -> list[str]:
    """The names of an author, who may be an object with several."""
    values = [value.get(key) for key in _NAME_KEYS] if isinstance(value, dict) else [value]
    return [
        str(one).strip()
        for one in values
        if isinstance(one, (str, int)) and not isinstance(one, bool) and str(one).strip()
    ]


def _has_repeats(values: Iterable[Any]) -> bool:
    names = [value for value in values if isinstance(value, str) and value.strip()]
    return len(set(names)) < len(names)
