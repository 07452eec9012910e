"""Tables and lists as programs export them (.csv, .tsv, .json) -> a text a row.

Which column holds the text is told by its name. A row without one is left out, and said; a .jsonl file, which somebody
wrote for us, is refused for it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ditto_cli.demonstrations.encoding import unify_line_ends
from ditto_cli.demonstrations.formats.common import decoded, empty, reason, titled_prompt
from ditto_cli.demonstrations.formats.limits import limited
from ditto_cli.demonstrations.formats.tables import RepeatedKeyError, from_messages, source_text, without_repeats
from ditto_cli.demonstrations.formats.web import looks_like_html
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.reading import Reading, Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

_TEXT_COLUMNS = frozenset(
    """completion text body content message post reply answer response comment fulltext inhalt nachricht beitrag antwort
    kommentar texte contenu corps réponse commentaire publication texto contenido cuerpo mensaje respuesta comentario
    publicación""".split()  # noqa: SIM905
)
_PROMPT_COLUMNS = frozenset(
    "prompt instruction question frage aufgabe anweisung consigne pregunta instrucción".split()  # noqa: SIM905
)
_TITLE_COLUMNS = frozenset("title headline heading titel überschrift titre título".split())  # noqa: SIM905
_SUBJECT_COLUMNS = frozenset({"subject", "betreff", "objet", "asunto"})
_OURS = "completion"  # who has this column has named it for us
_DELIMITERS = ",;\t|"
_MAX_COLUMNS = 1000
_NUM_COLUMNS_SHOWN = 8
_HEADER_CHARACTERS = 20_000
# What the first cell of a file without column names holds is somebody's text, and stays unsaid.
_COLUMN_NAME = re.compile(r"[^\W\d][\w-]{0,30}")
_RENAME = 'name the column of the texts "completion" (and that of the instructions "prompt")'

_Row = Mapping[str, Any]


def read_json(name: str, raw: bytes) -> Reading:
    """A .json file: a list of texts or entries, an object that holds one such list, or one entry.

    Raises:
        InputError: binary, not valid JSON, no usable entry, or no telling which key holds the text.
    """
    text = decoded(name, raw).removeprefix("\ufeff")
    if not text.strip():
        raise InputError(empty(name))
    # A list of brackets takes forty times its own size.
    with limited(name):
        content = _load_json(name, text)
    entries = _entries(name, content)
    if not entries:
        raise InputError(empty(name))
    if any(isinstance(entry, dict) and "messages" in entry for entry in entries):
        return _leniently(name, "entry", enumerate(entries, start=1), _read_conversation)
    objects = [entry for entry in entries if isinstance(entry, dict)]
    keys = dict.fromkeys(key for entry in objects for key in entry if isinstance(entry[key], str))
    columns = _Columns(name, list(keys)) if objects or not any(isinstance(entry, str) for entry in entries) else None

    def read(place: str, identity: str, entry: Any) -> SourceText:
        if isinstance(entry, str):
            return source_text(place, identity, "", entry)
        if columns is None:
            raise InputError(f"{place} is no text")
        return columns.read(place, identity, entry)

    return _leniently(name, "entry", enumerate(entries, start=1), read)


def read_csv(name: str, raw: bytes) -> Reading:
    """A .csv or .tsv file with a row of column names: a text a row; ids count rows as a spreadsheet does.

    Raises:
        InputError: binary, empty, no telling which column holds the text, a quote that is never closed, no usable row.
    """
    text = unify_line_ends(decoded(name, raw).removeprefix("\ufeff"))
    if stated := re.match(r"sep=([,;\t|])\n", text):  # what Excel writes and reads
        text = text[stated.end() :]
    with limited(name):
        rows = _rows(name, text, stated[1] if stated else _delimiter(text))
    if not rows:
        raise InputError(empty(name))
    (_, header), *body = rows
    if len(header) > _MAX_COLUMNS:
        raise InputError(f"{name} has more than {_MAX_COLUMNS} columns, so it is no table of texts: {_RENAME}.")
    columns = _Columns(name, header)
    num_above = 1 if stated else 0
    numbered = (
        (num_above + number, dict(zip(header, cells, strict=False)) | _rest(header, cells)) for number, cells in body
    )
    return _leniently(name, "row", numbered, columns.read)


class _Columns:
    """Which column of an export holds the text, and which says what it answers."""

    def __init__(self, name: str, header: Sequence[str]) -> None:
        texts = _those(header, _TEXT_COLUMNS)
        named_for_us = _those(header, frozenset({_OURS}))
        if len(named_for_us) == 1:
            texts = named_for_us
        if len(texts) != 1 or header.count(texts[0]) != 1:
            found = f"several columns that may hold the texts ({_shown(texts)})" if texts else "no column of texts"
            among = "" if texts or not _shown(header) else f" (it has {_shown(header)})"
            raise InputError(f"{name} has {found}{among}: {_RENAME}.")
        self._text = texts[0]
        self._prompts = [column for column in _those(header, _PROMPT_COLUMNS) if column != self._text]
        self._titles = _those(header, _TITLE_COLUMNS)
        self._subjects = _those(header, _SUBJECT_COLUMNS)

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
        if looks_like_html(text):
            with limited(place):
                text = html_to_text(text)
        return source_text(place, identity, self._prompt_of(row), text)

    def _prompt_of(self, row: _Row) -> str:
        if prompt := _first(row, self._prompts):
            return prompt
        if subject := " ".join(_first(row, self._subjects).split()).replace('"', "'"):
            return f'Write an email with the subject "{subject}".'
        return titled_prompt("a post", _first(row, self._titles)) or ""


def _leniently(
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


def _read_conversation(place: str, identity: str, entry: Any) -> SourceText:
    if not isinstance(entry, dict) or "messages" not in entry:
        raise InputError(f"{place} has no messages")
    return source_text(place, identity, *from_messages(place, entry))


def _load_json(name: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=without_repeats)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{name} line {error.lineno}, column {error.colno}, is not valid JSON: export the file anew, "
            "or save the texts as .txt."
        ) from None
    except RepeatedKeyError:
        raise InputError(
            f"{name} has a key twice in one entry, and which of them counts is not known: export the file anew, "
            "or save the texts as .txt."
        ) from None
    except ValueError:  # a number of thousands of digits
        raise InputError(f"{name} is not JSON that can be read: save the texts as .txt.") from None


def _entries(name: str, content: Any) -> list[Any]:
    if isinstance(content, list):
        return content
    if isinstance(content, str):
        return [content]
    if not isinstance(content, dict):
        raise InputError(f"{name} holds no list of texts: write a list of texts in quotes, or save them as .txt.")
    lists = [key for key, value in content.items() if isinstance(value, list) and key != "messages"]
    if "messages" in content or not lists or _those(list(content), _TEXT_COLUMNS):
        return [content]
    if len(lists) > 1:
        shown = f" ({_shown(lists)})" if _shown(lists) else ""
        raise InputError(f"{name} holds several lists{shown}, and which of them is the texts is not known: keep one.")
    only: list[Any] = content[lists[0]]
    return only


_LAST = "\0"
_REST = "\0"  # the key of a row's fields beyond the columns; no column name holds it


def _rest(header: Sequence[str], cells: Sequence[str]) -> dict[str, str]:
    return {_REST: ""} if any(cells[len(header) :]) else {}


def _rows(name: str, text: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows that hold anything, each with its number in the file."""
    limit = csv.field_size_limit(max(1, len(text)))
    # A quote that is still open swallows the last line; a strict reader would also refuse what programs do write.
    reader = csv.reader(io.StringIO(f"{text}\n{_LAST}", newline=""), delimiter=delimiter)
    try:
        rows = list(enumerate(reader, start=1))
    except csv.Error:
        raise InputError(f"{name} is not a table that can be read: export it anew as .csv in UTF-8.") from None
    finally:
        csv.field_size_limit(limit)
    if rows.pop()[1] != [_LAST]:
        raise InputError(
            f'{name} has a quote (") that is never closed, so where its rows end is not known: '
            "close it, or export the file anew."
        )
    return [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]


def _delimiter(text: str) -> str:
    """The separator that gives the first row a column of texts, else the one that gives it the most columns."""
    head = text.lstrip("\n")[:_HEADER_CHARACTERS]
    headers: dict[str, list[str]] = {}
    for delimiter in _DELIMITERS:
        reader = csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)
        try:
            headers[delimiter] = next(reader, [])
        except csv.Error:
            headers[delimiter] = []
    return max(headers, key=lambda each: (bool(_those(headers[each], _TEXT_COLUMNS)), len(headers[each])))


def _those(header: Sequence[str], names: frozenset[str]) -> list[str]:
    return [column for column in header if re.sub(r"[\s_.:-]+", "", column).casefold() in names]


def _shown(columns: Sequence[str]) -> str:
    """The names of columns; what does not look like one may be the text of a person, and stays unsaid."""
    names = [column.strip() for column in columns if _COLUMN_NAME.fullmatch(column.strip())]
    more = ", ..." if len(names) > _NUM_COLUMNS_SHOWN else ""
    return ", ".join(names[:_NUM_COLUMNS_SHOWN]) + more


def _first(row: _Row, columns: Sequence[str]) -> str:
    values = (row.get(column) for column in columns)
    return next((value.strip() for value in values if isinstance(value, str) and value.strip()), "")
