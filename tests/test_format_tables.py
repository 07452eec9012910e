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


def test_a_type_that_says_something_else_leaves_all():
    assert len(read("type,body\nreceived,one\npost,two\n").texts) == 2
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


def test_of_several_columns_of_texts_the_likeliest_counts() -> None:
    assert [source.text for source in read("text,completion\nno,yes\n").texts] == ["yes"]
    assert [source.text for source in read("message,body\nno,yes\n").texts] == ["yes"]


def test_rows_without_a_text_are_left_out_and_said() -> None:
    reading = read("title,text\na,one\n\nb,\nc\nd,two,too much\ne,five\n")
    assert [source.id for source in reading.texts] == ["a.csv#2", "a.csv#7"]
    assert [name for name, _ in skipped(reading)] == ["a.csv#4", "a.csv#5", "a.csv#6"]
    assert skipped(reading)[2][1] == "has more fields than there are columns"


def test_what_spreadsheets_write() -> None:
    assert read("sep=;\nid;text\n1;a,b\n").texts == (SourceText("a.csv#3", "a,b", None),)
    assert read("text\n\ufeffCafé\n".encode("utf-16")).texts[0].text == "Café"
    assert read("text\nCafé au lait\n".encode("cp1252")).texts[0].text == "Café au lait"
    assert read("text\rone\rtwo\r").texts[1].text == "two"
    assert read("id\ttext\n1\tone, two\n", ".tsv").texts[0].text == "one, two"


def test_html_of_a_blog_export_becomes_text() -> None:
    assert read('content\n"<p>One &amp; two</p><p>Three</p>"\n').texts[0].text == "One & two\n\nThree"
    assert read("content\nI <3 you\n").texts[0].text == "I <3 you"
    quoting = "<p>He said:</p><blockquote><p>Never.</p></blockquote><p>I did.</p>"
    assert read(f"content\n{quoting}\n").texts[0].text == "He said:\n\nI did."


def test_a_large_field_is_read_and_the_limit_of_the_library_put_back() -> None:
    limit = csv.field_size_limit()
    assert len(read("text\n" + "word " * 100_000).texts[0].text) > 400_000
    assert csv.field_size_limit() == limit


def test_text_after_a_closing_quote_is_what_programs_do_write() -> None:
    assert read('text,x\n"abc" def,1\n').texts[0].text == "abc def"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("text\n", "holds no text"),
        ("text\n \n", "holds no text"),
        ("id,date\n1,2\n", "no column of texts"),
        ('text\n"one\ntwo\n', "never closed"),
        (bytes(range(256)) * 3, "binary"),
    ],
)
def test_tables_that_are_refused(content: str, words: str) -> None:
    assert words in refusal(content)


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


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("{", "not valid JSON (line 1, column 2)"),
        ("7", "holds no text"),
        ("[7]", "holds no text"),
        ("{}", "holds no text"),
        ('[{"id": "x"}]', "no column of texts"),
        ('{"a": [1], "b": [2]}', "no column of texts"),
        ('["", " "]', "holds no text"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
    ],
)
def test_json_that_is_refused(content: str, words: str) -> None:
    assert words in refusal(content, ".json")


def test_rows_of_other_programs_as_json_lines() -> None:
    rows = '{"author": "ada", "body": "one"}\n{"author": "mia", "body": ""}\n{"author": "mia", "body": "three"}\n'
    found = read(rows, ".jsonl")
    assert [(source.id, source.text, source.authors) for source in found.texts] == [
        ("a.jsonl#1", "one", ("ada",)),
        ("a.jsonl#3", "three", ("mia",)),
    ]
    assert len(found.skipped) == 1


def test_a_column_of_media_makes_no_archive_of_instagram() -> None:
    assert [source.text for source in read("id,body,media\n1,one,\n").texts] == ["one"]


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
