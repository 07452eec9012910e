"""Tables and lists (.csv, .tsv, .json, .jsonl, .js) -> a text a row, with who wrote it where a column says so.

Which column holds the text is told by its name. What known programs export is `archive_records`' business. A row
without a text is left out, and said.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ditto_cli.demonstrations.encoding import normalise_text, repair_mojibake, unify_line_ends
from ditto_cli.demonstrations.formats.archive_records import archive_reading
from ditto_cli.demonstrations.formats.common import decoded, empty, titled_prompt
from ditto_cli.demonstrations.formats.web import looks_like_html
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.prompt_forms import BY_OTHERS
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

_DELIMITERS = ",;\t|"
_LAST = "\0"
_TOO_MANY_FIELDS = "has more fields than there are columns: put a text with separators into quotes"
_NO_TEXT = "no text in it"
_NO_EXCHANGE = "not one message of a user and then one of an assistant, which would be the person's"
_OF_TAG = re.compile(r"[\w.@:/+-]*", re.ASCII)  # an id, a tag or an address
_OF_X = re.compile(r"\A\s*window\.YTD\.\w{1,60}\.part\d{1,6}\s*=")
# Of an author who is an object.
_NAME_KEYS = ("display_name", "displayName", "real_name", "name", "username", "login", "screen_name", "email", "id")

_Rows = Sequence[tuple[int, Any]]  # each with its number in the file

csv.field_size_limit(2**27)  # a file is smaller


def read_json(name: str, raw: bytes) -> Reading:
    """A .json file: an archive of a known program, a list of texts or entries, an object that holds one, or one entry.

    A .js file of an archive of X is one behind a name.

    Raises:
        InputError: binary, not valid JSON, no usable entry, or no telling which key holds the text.
    """
    content = _load(name, _OF_X.sub("", decoded(name, raw).removeprefix("\ufeff"), count=1))
    return _reading(name, content, list(enumerate(_find_entries(content), start=1)))


def read_jsonl(name: str, raw: bytes) -> Reading:
    """A .jsonl file: as a list in .json, an entry a line. Ids count the lines.

    Raises:
        InputError: binary, empty, a line that is not valid JSON, or no usable entry.
    """
    # Other line ends, such as U+2028, may stand inside a JSON text.
    lines = enumerate(re.split(r"\r\n?|\n", decoded(name, raw).removeprefix("\ufeff")), start=1)
    entries = [(number, _load(f"{name} line {number}", line)) for number, line in lines if line.strip()]
    return _reading(name, [entry for _, entry in entries], entries)


def read_csv(name: str, raw: bytes) -> Reading:
    """A .csv or .tsv file with a row of column names: a text a row; ids count rows as a spreadsheet does.

    Raises:
        InputError: binary, empty, no telling which column holds the text, a quote that is never closed, no usable row.
    """
    rows = _split_rows(name, unify_line_ends(decoded(name, raw).removeprefix("\ufeff")))
    if not rows:
        raise InputError(empty(name))
    (_, header), *body = rows
    whole = [(number, cells) for number, cells in body if not any(cells[len(header) :])]
    entries = [(number, dict(zip(header, cells, strict=False))) for number, cells in whole]
    reading = _reading(name, [entry for _, entry in entries], entries, header)
    ragged = [Skipped(f"{name}#{number}", _TOO_MANY_FIELDS) for number, cells in body if any(cells[len(header) :])]
    return Reading(reading.texts, (*reading.skipped, *ragged))


def _reading(name: str, content: Any, rows: _Rows, header: Sequence[str] = ()) -> Reading:
    """The archive of a known program, else the rows that hold a text; for each other one, why not."""
    if not rows and not header:
        raise InputError(empty(name))
    is_ours = any(_is_demonstration(entry) for _, entry in rows)
    if not is_ours and (archive := archive_reading(name, content)) is not None:
        return archive
    columns = _Columns(name, [entry for _, entry in rows if isinstance(entry, dict)], header)
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    for number, entry in rows:
        identity = f"{name}#{number}"
        is_exchange = is_ours and isinstance(entry, dict) and "messages" in entry
        prompt, text = (_exchange(entry) or ("", "")) if is_exchange else columns.prompt_and_text(entry)
        if columns.is_received(entry):
            skipped.append(Skipped(identity, BY_OTHERS))
        elif text := normalise_text(text):
            authors = columns.authors(entry)
            texts.append(SourceText(identity, text, normalise_text(prompt).strip() or None, authors=authors))
        else:
            skipped.append(Skipped(identity, _NO_EXCHANGE if is_exchange else _NO_TEXT))
    if not texts:
        raise InputError(f"{name} holds no text that can be read: put the texts into its column of texts.")
    return Reading(tuple(texts), tuple(skipped))


class _Columns:
    """Which column of a table holds the text, which says what it answers, and which who wrote it."""

    def __init__(self, name: str, rows: Sequence[Mapping[str, Any]], header: Sequence[str]) -> None:
        every = list(header or dict.fromkeys(key for row in rows for key in row))
        texts = [
            column
            for column in _find_columns(every, "texts")
            if header or any(isinstance(row.get(column), str) for row in rows)
        ]
        if every and not texts and not any(map(_is_demonstration, rows)):
            raise InputError(
                f'{name} has no column of texts: name the column of the texts "completion" (and that of the '
                'instructions "prompt").'
            )
        self._text = texts[0] if texts else "completion"
        self._prompts = _find_columns(every, "prompts")
        self._titles = _find_columns(every, "titles")
        self._subjects = _find_columns(every, "subjects")
        # The name of a thing is there once, that of a person with each of their texts.
        names = [column for column in _find_columns(every, "names") if _has_repeats(row.get(column) for row in rows)]
        self._authors = (*_find_columns(every, "authors"), *_find_columns(every, "author_ids")) or names
        # Where a table has no column of authors, as those of telephones.
        directions = [] if self._authors else _find_columns(every, "directions")
        self._direction = next((each for each in directions if _is_direction(row.get(each) for row in rows)), "")

    def prompt_and_text(self, row: Any) -> tuple[str, str]:
        """What a row answers, and its text; "" for what is not there."""
        if isinstance(row, str):
            return "", row
        text = row.get(self._text) if isinstance(row, dict) else None
        if not isinstance(text, str):
            return "", ""
        # Before anything is taken away: of letters that were read wrongly, some are invisible marks.
        text = repair_mojibake(text)
        return self._prompt_of(row), html_to_text(text) if looks_like_html(text) else text

    def is_received(self, row: Any) -> bool:
        """Whether the row says that it came from somebody else."""
        return isinstance(row, dict) and _plain(row.get(self._direction)) in words("columns")["received"]

    def authors(self, row: Any) -> tuple[str, ...]:
        """The names of who wrote a row."""
        columns = self._authors if isinstance(row, dict) else ()
        names = [repair_mojibake(one) for column in columns for one in _names_in(row.get(column))]
        return tuple(dict.fromkeys(names))

    def _prompt_of(self, row: Mapping[str, Any]) -> str:
        if prompt := _first_value(row, self._prompts):
            return prompt
        if subject := " ".join(_first_value(row, self._subjects).split()).replace('"', "'"):
            return f'Write an email with the subject "{subject}".'
        return titled_prompt("a post", _first_value(row, self._titles)) or ""


# --- JSON


def _load(place: str, text: str) -> Any:
    if not text.strip():
        raise InputError(empty(place))
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
    # A quote that is still open swallows the last line; a strict reader would also refuse what programs do write.
    reader = csv.reader(io.StringIO(f"{text}\n{_LAST}", newline=""), delimiter=_find_delimiter(text))
    try:
        rows = list(enumerate(reader, start=1))
    except csv.Error:
        raise InputError(f"{name} is not a table that can be read: export it anew as .csv in UTF-8.") from None
    if rows.pop()[1] != [_LAST]:
        raise InputError(f'{name} has a quote (") that is never closed: close it, or export the file anew.')
    filled = [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    return filled[1:] if filled and filled[0][1][0].startswith("sep=") else filled  # as Excel reads and writes it


def _find_delimiter(text: str) -> str:
    """The separator that gives the first line a column of texts, else the one that gives it the most columns."""
    head = text.lstrip("\n").partition("\n")[0]
    headers = {each: [cell.strip('"') for cell in head.split(each)] for each in _DELIMITERS}
    return max(headers, key=lambda each: (bool(_find_columns(headers[each], "texts")), len(headers[each])))


def _find_columns(keys: Iterable[str], kind: str) -> list[str]:
    """The keys that are names of this kind, the likeliest first."""
    named = {re.sub(r"[\s_.:-]+", "", key).casefold(): key for key in keys}
    return [named[name] for name in words("columns")[kind] if name in named]


def _first_value(row: Mapping[str, Any], columns: Sequence[str]) -> str:
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


def _plain(value: Any) -> str:
    return str(value).strip().casefold()


def _is_direction(values: Iterable[Any]) -> bool:
    """Whether a column says sent of some rows, received of others, and nothing else."""
    known = words("columns")
    said = {_plain(value) for value in values}
    return not said.isdisjoint(known["received"]) and said <= {*known["received"], *known["sent"]}


def _has_repeats(values: Iterable[Any]) -> bool:
    names = [value for value in values if isinstance(value, str) and value.strip()]
    return len(set(names)) < len(names)
