"""Tables and lists that programs export: which column is the text, which rows are left out, what is refused."""

import csv
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.sources import READERS
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, SourceText
from format_files import attempt


def read(content, suffix=".csv"):
    raw = content if isinstance(content, bytes) else content.encode()
    return READERS[suffix](f"a{suffix}", raw)


def refusal(content, suffix=".csv"):
    with pytest.raises(InputError) as caught:
        read(content, suffix)
    assert str(caught.value).startswith(f"a{suffix} ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def skipped(reading):
    return [(item.name, item.reason.split(":")[0]) for item in reading.skipped]


@pytest.mark.parametrize(("got", "wrote"), [("received", "sent"), ("Incoming", "Outgoing"), ("eingehend", "ausgehend")])
def test_what_a_telephone_received_is_somebody_elses(got, wrote):
    reading = read(f"address,type,body\n+4917,{got},Come on Sunday.\n+4917,{wrote},I will.\n")
    assert [source.text for source in reading.texts] == ["I will."]
    assert skipped(reading) == [("a.csv#2", "written by somebody else")]


def test_a_list_of_messages_may_hold_plain_texts_too():
    content = [{"type": "received", "text": "Come."}, {"type": "sent", "text": "I will."}, "And bring tea."]
    assert [source.text for source in read(json.dumps(content), ".json").texts] == ["I will.", "And bring tea."]


def test_a_type_beside_an_author_leaves_all():
    assert len(read("type,author,body\nreceived,Ada,one\nsent,Mia,two\n").texts) == 2


# --- .csv


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    "column", ["completion", "Text", "BODY", "Message Body", "Full_Text", "Inhalt", "Réponse", "texto"]
)
def test_the_column_of_the_texts_is_known_by_its_name(column: str, delimiter: str) -> None:
    rows = [["id", column, "date"], ["1", 'Say "hi", you;\n\nand\tgo | on', "2020"], ["2", "Bye", "2021"]]
    text = "\r\n".join(delimiter.join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows)
    assert read(text).texts == (
        SourceText("a.csv#2", 'Say "hi", you;\n\nand\tgo | on', None),
        SourceText("a.csv#3", "Bye", None),
    )


@pytest.mark.parametrize(
    ("header", "prompt"),
    [
        ("prompt", "Ask"),
        ("Question", "Ask"),
        ("Titel", 'Write a post with the title "Ask".'),
        ("subject", 'Write an email with the subject "Ask".'),
        ("date", None),
    ],
)
def test_the_prompt_of_a_row(header: str, prompt: str | None) -> None:
    assert read(f"{header},text\nAsk,Hello\n").texts == (SourceText("a.csv#2", "Hello", prompt),)
    assert read(f"{header},text\n  ,Hello\n").texts == (SourceText("a.csv#2", "Hello", None),)


QUOTING = "<p>He said:</p><blockquote><p>Never.</p></blockquote><p>I did.</p>"


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        # Of several columns of texts the likeliest counts.
        ("text,completion\nno,yes\n", {2: "yes"}),
        ("message,body\nno,yes\n", {2: "yes"}),
        # What spreadsheets write.
        ("sep=;\nid;text\n1;a,b\n", {3: "a,b"}),
        ("text\n\ufeffCafé\n".encode("utf-16"), {2: "Café"}),
        ("text\nCafé au lait\n".encode("cp1252"), {2: "Café au lait"}),
        ("text\rone\rtwo\r", {2: "one", 3: "two"}),
        ('text,x\n"abc" def,1\n', {2: "abc def"}),
        # HTML of a blog.
        ('content\n"<p>One &amp; two</p><p>Three</p>"\n', {2: "One & two\n\nThree"}),
        ("content\nI <3 you\n", {2: "I <3 you"}),
        (f"content\n{QUOTING}\n", {2: "He said:\n\nI did."}),
        # A type of something else than messages, and a column of media that makes no archive of Instagram.
        ("type,body\nreceived,one\npost,two\n", {2: "one", 3: "two"}),
        ("id,body,media\n1,one,\n", {2: "one"}),
    ],
)
def test_the_texts_of_a_table(content: str | bytes, rows: dict[int, str]) -> None:
    assert read(content).texts == tuple(SourceText(f"a.csv#{number}", text, None) for number, text in rows.items())


def test_a_comma_divides_nothing_in_tsv() -> None:
    assert read("id\ttext\n1\tone, two\n", ".tsv").texts[0].text == "one, two"


def test_rows_without_a_text_are_left_out_and_said() -> None:
    reading = read("title,text\na,one\n\nb,\nc\nd,two,too much\ne,five\n")
    assert [source.id for source in reading.texts] == ["a.csv#2", "a.csv#7"]
    assert [name for name, _ in skipped(reading)] == ["a.csv#4", "a.csv#5", "a.csv#6"]
    assert skipped(reading)[2][1] == "has more fields than there are columns"


def test_a_large_field_is_read_and_the_limit_of_the_library_put_back() -> None:
    limit = csv.field_size_limit()
    assert len(read("text\n" + "word " * 100_000).texts[0].text) > 400_000
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("suffix", "content", "words"),
    [
        (".csv", "", "is empty"),
        (".csv", "\n\n", "is empty"),
        (".csv", "text\n", "holds no text"),
        (".csv", "text\n \n", "holds no text"),
        (".csv", "id,date\n1,2\n", "no column of texts"),
        (".csv", 'text\n"one\ntwo\n', "never closed"),
        (".csv", bytes(range(256)) * 3, "binary"),
        (".json", "", "is empty"),
        (".json", "[]", "is empty"),
        (".json", "{", "not valid JSON (line 1, column 2)"),
        (".json", "7", "holds no text"),
        (".json", "[7]", "holds no text"),
        (".json", "{}", "holds no text"),
        (".json", '[{"id": "x"}]', "no column of texts"),
        (".json", '{"a": [1], "b": [2]}', "no column of texts"),
        (".json", '["", " "]', "holds no text"),
        (".json", "[" * 100_000, "not valid JSON"),
        (".json", "9" * 5000, "not valid JSON"),
    ],
)
def test_files_that_are_refused(suffix: str, content: str | bytes, words: str) -> None:
    assert words in refusal(content, suffix)


def test_a_refusal_says_no_text_of_the_person() -> None:
    message = refusal("Dear Tom I love you,so much\nand,more\n")
    assert "Tom" not in message
    assert "much" not in message
    assert "completion" in message


# --- .json


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        (["one", "two"], [("#1", "one", None), ("#2", "two", None)]),
        ("one", [("#1", "one", None)]),
        ([{"prompt": "Ask", "completion": "x"}], [("#1", "x", "Ask")]),
        ([{"id": 1, "title": "T", "content": "<p>x</p>"}], [("#1", "x", 'Write a post with the title "T".')]),
        ({"posts": [{"body": "x"}, {"body": "y"}], "count": 2}, [("#1", "x", None), ("#2", "y", None)]),
        ({"text": "x", "tags": ["a"]}, [("#1", "x", None)]),
        ([{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}], [("#1", "a", "q")]),
        ({"messages": [{"role": "assistant", "content": "a"}]}, [("#1", "a", None)]),
        (  # a talk with a model: what its user said
            {"messages": [{"role": role, "content": role[0]} for role in ("system", "user", "assistant", "user")]},
            [("#2", "u", None), ("#4", "u", None)],
        ),
    ],
)
def test_shapes_of_json(content: object, texts: list[tuple[str, str, str | None]]) -> None:
    found = read("\ufeff" + json.dumps(content), ".json").texts
    assert [(source.id.removeprefix("a.json"), source.text, source.prompt) for source in found] == texts


def test_entries_without_a_text_are_left_out_and_said() -> None:
    reading = read('[{"text": "a"}, {"text": ""}, {"text": 3}, {"id": 1}, 7, "b", null, {"text": "\\ud800"}]', ".json")
    assert [source.id for source in reading.texts] == ["a.json#1", "a.json#6", "a.json#8"]
    assert [name for name, _ in skipped(reading)] == [f"a.json#{number}" for number in (2, 3, 4, 5, 7)]
    assert reading.texts[2].text == "\ufffd"  # half a character
    assert [source.text for source in read('["a", 1]', ".json").texts] == ["a"]


def test_rows_of_other_programs_as_json_lines() -> None:
    rows = '{"author": "ada", "body": "one"}\n{"author": "mia", "body": ""}\n{"author": "mia", "body": "three"}\n'
    found = read(rows, ".jsonl")
    assert [(source.id, source.text, source.authors) for source in found.texts] == [
        ("a.jsonl#1", "one", ("ada",)),
        ("a.jsonl#3", "three", ("mia",)),
    ]
    assert len(found.skipped) == 1


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["text", "body", "prompt", "title", "messages", "role", "content", ""]), inner
        )
    ),
    max_leaves=12,
)
TABLES = st.lists(
    st.sampled_from(
        ["text", "prompt", "body", ",", ";", "\t", '"', '""', "\n", "\r", "\r\n", "a b", "é", "\0", "<p>", "sep=;\n"]
    ),
    max_size=40,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(
    raw=st.one_of(
        st.binary(max_size=200),
        VALUES.map(lambda value: json.dumps(value).encode()),
        TABLES.map(str.encode),
        TABLES.map(lambda rest: b"text,prompt\n" + rest.encode()),
    ),
    suffix=st.sampled_from([".csv", ".tsv", ".json", ".jsonl"]),
)
def test_any_bytes_are_a_reading_or_an_input_error(raw: bytes, suffix: str) -> None:
    reading = attempt(READERS[suffix], "a" + suffix, raw)
    assert reading is None or isinstance(reading, Reading)
    assert all(source.text.strip("\n") for source in (reading.texts if reading else ()))
