"""A folder of files -> texts: formats, encodings, emails, prompts, and every way in which a folder is refused."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.encoding import UndecodableTextError, decode_text, normalise_text
from ditto_cli.demonstrations.folder import TEMPLATE, TEMPLATE_NAME, is_unedited_template, read_folder
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.sources import reason_to_skip
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

SECRET = "zebrafish"  # stands for the person's words: no message may hold it


def fill(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def read_one(folder: Path, name: str, content: str | bytes) -> SourceText:
    reading = read_folder(fill(folder, {name: content}))
    assert len(reading.texts) == 1
    return reading.texts[0]


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_folder(folder)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert message.isprintable(), "one line, nothing that a terminal would act upon"
    assert SECRET not in message
    assert len(message) < 400
    return message


# --- the folder


def test_texts_come_in_order_with_the_file_name_as_id(tmp_path: Path) -> None:
    fill(tmp_path, {"mail10.txt": "ten", "mail09.txt": "nine", "Mail02.MD": "two", "a.txt": "first"})
    assert read_folder(tmp_path) == Reading(
        texts=(
            SourceText("a.txt", "first", None),
            SourceText("Mail02.MD", "two", None),
            SourceText("mail09.txt", "nine", None),
            SourceText("mail10.txt", "ten", None),
        ),
        skipped=(),
    )


def test_what_is_left_out_is_said_except_the_folder_file(tmp_path: Path) -> None:
    fill(
        tmp_path,
        {
            "one.txt": "text",
            "README.md": "about",
            "readme": "about",
            ".hidden.txt": "x",
            "ditto.yaml": "seed: 1",
            "photo.jpg": b"\xff\xd8\x00",
            "cv.doc": b"x",
            TEMPLATE_NAME: TEMPLATE,
        },
    )
    (tmp_path / "held_out").mkdir()
    (tmp_path / "more").mkdir()
    folder = "a folder; only the files directly in the given folder are read"
    assert read_folder(tmp_path).skipped == (
        Skipped(".hidden.txt", "a hidden file"),
        Skipped("cv.doc", reason_to_skip("cv.doc") or ""),
        Skipped("held_out", "texts that are kept back"),
        Skipped("more", folder),
        Skipped(TEMPLATE_NAME, "the template, not edited yet"),
        Skipped("photo.jpg", reason_to_skip("photo.jpg") or ""),
        Skipped("readme", "a README, not a text to learn from"),
        Skipped("README.md", "a README, not a text to learn from"),
    )


def test_the_second_of_two_equal_texts_is_skipped(tmp_path: Path) -> None:
    fill(
        tmp_path, {"a.txt": "Hi Tom\n\nbye\n", "b.txt": b"Hi Tom  \r\n\r\n\r\nbye", "c.jsonl": '{"completion": "new"}'}
    )
    reading = read_folder(tmp_path)
    assert [source.id for source in reading.texts] == ["a.txt", "c.jsonl#1"]
    assert reading.skipped == (Skipped("b.txt", "same text as a.txt"),)


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("a\nb\x1b[31m.txt", "a\\nb\\x1b[31m.txt"),  # one printable line
        ("cafe\u0301.txt", "caf\u00e9.txt"),  # composed
    ],
)
def test_the_id_of_a_strange_file_name(tmp_path: Path, name: str, identity: str) -> None:
    assert read_one(tmp_path, name, "text").id == identity


def test_mails_that_lie_in_the_folder_one_by_one_are_the_persons_whatever_their_sender(tmp_path: Path) -> None:
    mails = {
        f"{number}.eml": f"From: {sender}\nTo: bo@x.org\nSubject: s\n\nHi Bo, this is number {number}.\n"
        for number, sender in enumerate(["anna@work.org", "anna@work.org", "anna@home.org", "a.b@home.org"])
    }
    mails["4.eml"] = "Subject: no sender\n\nHi Cy, a draft of mine.\n"
    assert [text.id for text in read_folder(fill(tmp_path, mails)).texts] == sorted(mails)


def test_a_link_to_a_file_elsewhere_is_read(tmp_path: Path) -> None:
    elsewhere = fill(tmp_path, {"original": "linked text"}) / "original"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").symlink_to(elsewhere)
    assert read_folder(folder).texts == (SourceText("a.txt", "linked text", None),)


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path / "nowhere").endswith("nowhere does not exist: give the folder that holds your texts.")


def test_refuses_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    fill(tmp_path, {"mail.txt": SECRET})
    assert "mail.txt is not a folder" in refusal(tmp_path / "mail.txt")


def test_refuses_impossible_paths(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert "loop is not a folder that can be read" in refusal(tmp_path / "loop")
    assert "is not a folder that can be read" in refusal(Path("a\0b"))


@pytest.mark.parametrize("files", [{}, {"ditto.yaml": "seed: 1"}, {".DS_Store": b"\0\0"}])
def test_refuses_an_empty_folder(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert f"{tmp_path} is empty: put four to seven texts" in refusal(fill(tmp_path, files))


def test_refuses_a_folder_with_only_unsupported_files_by_name(tmp_path: Path) -> None:
    message = refusal(fill(tmp_path, {f"{number}.jpg": b"\xff" for number in range(7)}))
    reason = reason_to_skip("0.jpg")
    assert f"(0.jpg: {reason}; 1.jpg: {reason} and 5 more)" in message


@pytest.mark.parametrize("name", ["mails.doc", "mails.pages", "mails.msg", "mails.pst"])
def test_documents_get_a_hint(tmp_path: Path, name: str) -> None:
    message = refusal(fill(tmp_path, {name: SECRET}))
    assert f"({name}: " in message
    assert re.search("save|export", message)


def test_refuses_a_folder_of_folders(tmp_path: Path) -> None:
    (tmp_path / "held_out").mkdir()
    assert "holds nothing to learn from (held_out: texts that are kept back)" in refusal(tmp_path)


def test_refuses_the_template_alone(tmp_path: Path) -> None:
    message = refusal(fill(tmp_path, {TEMPLATE_NAME: TEMPLATE.replace("\n", "\r\n"), "notes.doc": b""}))
    assert f"holds only the template: edit {TEMPLATE_NAME}" in message


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\1\0"
BINARY = [
    PNG,
    b"zebrafish\0text",
    b"zebrafis\0text",
    bytes(range(1, 256)),
    b"\xff\xfezebrafish\0\0\0",
    b"caf\xe9 \x01\x02",
]
EMPTY = [b"", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xff\xfe"]
NO_BODY = ["---\nprompt: Write it.\n---\n", "<!-- only this -->", "---\n---\n\n"]
TEXT_FILES = ["a.txt", "a.md", "a.jsonl"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        *[({"b.txt": SECRET, name: raw}, f"{name} is empty") for name in TEXT_FILES for raw in EMPTY],
        *[({"a.md": content}, "a.md is empty") for content in NO_BODY],
        *[({name: raw}, f"{name} is a binary file") for name in TEXT_FILES for raw in BINARY],
        *[
            ({"a.eml": raw}, "a.eml is left out (not a mail that can be read)")
            for raw in (PNG, b"no headers, zebrafish", b"", b"\0\0")
        ],
        (
            {"a.md": "---\nprompt: x\n---\none <!-- a\n -->\n\n<!-- zebrafish\n"},
            "a.md holds a comment (<!--) that never ends",
        ),
        ({"a.html": "<p>" + "word " * 500_000}, "a.html has more than 2,097,152 characters"),
        ({"a.txt": b"x" * (2**21 + 1)}, "a.txt has more than 2,097,152 characters"),
    ],
)
def test_refuses_a_file_that_holds_no_text(tmp_path: Path, files: dict[str, str | bytes], message: str) -> None:
    assert refusal(fill(tmp_path, files)).startswith(message)


def test_a_file_of_2_mib_is_read(tmp_path: Path) -> None:
    assert len(read_one(tmp_path, "a.txt", b"x" * 2**21).text) == 2**21


def test_an_unreadable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, {"a.txt": SECRET})

    def denied(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # the tests may run as root, who may read anything
    assert refusal(tmp_path).startswith("a.txt cannot be read (PermissionError): check its rights")


# --- encodings


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"plain", "plain"),
        ("Gr\u00fc\u00dfe \u2013 \U0001f600".encode(), "Gr\u00fc\u00dfe \u2013 \U0001f600"),
        (b"\xef\xbb\xbfcaf\xc3\xa9", "caf\u00e9"),
        (b"\xff\xfeH\0i\0", "Hi"),
        (b"\xfe\xff\0H\0i", "Hi"),
        (b"\xff\xfe\0\0H\0\0\0", "H"),
        (b"\0\0\xfe\xff\0\0\0H", "H"),
        ("Hi Tom,\r\nsee you".encode("utf-16-le"), "Hi Tom,\r\nsee you"),
        ("Hi Tom,\r\nsee you".encode("utf-16-be"), "Hi Tom,\r\nsee you"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442 \u0442\u0435\u0431\u0435\n".encode("utf-16-le"), "привет тебе\n"),
        ("I don\u2019t \u2013 50 \u20ac".encode("cp1252"), "I don\u2019t \u2013 50 \u20ac"),
        ("caf\u00e9".encode("latin-1"), "caf\u00e9"),
        ("El ni\u00f1o comi\u00f3 ma\u00f1ana".encode("latin-1"), "El ni\u00f1o comi\u00f3 ma\u00f1ana"),
        (
            "\u00c7a va tr\u00e8s bien. \u00c0 bient\u00f4t".encode("cp1252"),
            "\u00c7a va tr\u00e8s bien. \u00c0 bient\u00f4t",
        ),
        (
            "Привет, Том! Как дела? Увидимся завтра вечером.".encode("cp1251"),
            "Привет, Том! Как дела? Увидимся завтра вечером.",
        ),
    ],
)
def test_decodes_what_people_save(raw: bytes, expected: str) -> None:
    assert decode_text(raw) == expected


@pytest.mark.parametrize("raw", [PNG, b"ab\0cd", b"abc\0de", b"\xff\xfea", b"\0" * 10, b"a\0\1\0", b"\xe9\x01 text"])
def test_binary_is_not_a_text(raw: bytes) -> None:
    with pytest.raises(UndecodableTextError):
        decode_text(raw)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\r\nb\rc", "a\nb\nc"),
        ("one  \ntwo\t\n", "one\ntwo"),
        ("\n \n  indented\n\n", "  indented"),
        ("one\n\n\n \n\ntwo\n\nthree\nfour", "one\n\ntwo\n\nthree\nfour"),
        ("cafe\u0301", "caf\u00e9"),
        ("a\x00b\x1b[0mc\x7fd\x9d", "abcd"),
        ("don\x92t", "don\u2019t"),
        ("tab\tstays", "tab\tstays"),
        ("\ufeffa\ufeffb", "ab"),
        ("line\u2028line\u2029paragraph\x0cpage\x85next", "line\nline\n\nparagraph\npage\nnext"),
        ("e\x00\u0301", "\u00e9"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_normalises(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


@settings(deadline=None)  # other work on the machine must not fail a test
@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise_text(text)
    assert normalise_text(once) == once


@settings(deadline=None)
@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_decoding_what_was_decoded_changes_nothing(text: str) -> None:
    settled = normalise_text(text)
    assert normalise_text(decode_text(settled.encode())) == settled


@settings(deadline=None)
@given(st.binary())
def test_bytes_are_decoded_or_refused(raw: bytes) -> None:
    try:
        text = decode_text(raw)
    except UndecodableTextError:
        return
    settled = normalise_text(text)
    assert normalise_text(decode_text(settled.encode())) == settled


# --- .txt and .md


def test_comments_are_left_out_of_markdown_only(tmp_path: Path) -> None:
    fill(tmp_path, {"a.md": "<!-- note\n\nnote -->\none\n\n<!-- x -->\n\ntwo", "b.txt": "one <!-- stays -->"})
    assert [source.text for source in read_folder(tmp_path).texts] == ["one\n\ntwo", "one <!-- stays -->"]


# --- .jsonl


def test_jsonl_entries_keep_their_line_numbers_and_may_share_a_prompt(tmp_path: Path) -> None:
    lines = [
        '{"prompt": "Write it.", "completion": "one\\n\\ntwo"}',
        "",
        '{"prompt": "Write it.", "completion": "other\u2028line"}',
        '{"completion": "no prompt"}',
        '{"prompt": " ", "completion": "blank"}',
        '{"prompt": null, "completion": "null"}',
        '{"messages": [{"role": "user", "content": "Ask"}, {"role": "assistant", "content": "Said"}]}',
        '{"messages": [{"content": "Alone", "role": "assistant"}]}',
    ]
    assert read_folder(fill(tmp_path, {"a.jsonl": "\r\n".join(lines)})).texts == (
        SourceText("a.jsonl#1", "one\n\ntwo", "Write it."),
        SourceText("a.jsonl#3", "other\nline", "Write it."),
        SourceText("a.jsonl#4", "no prompt", None),
        SourceText("a.jsonl#5", "blank", None),
        SourceText("a.jsonl#6", "null", None),
        SourceText("a.jsonl#7", "Said", "Ask"),
        SourceText("a.jsonl#8", "Alone", None),
    )


USER, ASSISTANT = {"role": "user", "content": "q"}, {"role": "assistant", "content": SECRET}


@pytest.mark.parametrize(
    "entry",
    [
        '["zebrafish"]',
        "{}",
        '{"prompt": "zebrafish"}',
        '{"text": "zebrafish"}',
        '{"Dear zebrafish": "hi"}',
        '{"completion": 5}',
        '{"completion": "  \\n"}',
        json.dumps({"messages": [USER, ASSISTANT], "prompt": "x"}),
        json.dumps({"messages": SECRET}),
        json.dumps({"messages": [SECRET]}),
        json.dumps({"messages": [{"role": "user"}]}),
        json.dumps({"messages": [{**USER, "name": SECRET}]}),
        json.dumps({"messages": [USER, ASSISTANT, USER, ASSISTANT]}),
        json.dumps({"messages": [ASSISTANT, USER]}),
        json.dumps({"messages": []}),
    ],
)
def test_a_line_without_a_text_is_left_out_and_said(tmp_path: Path, entry: str) -> None:
    reading = read_folder(fill(tmp_path, {"a.jsonl": '{"completion": "good"}\n\n' + entry + "\n"}))
    assert [source.text for source in reading.texts] == ["good"]
    assert [skipped.name for skipped in reading.skipped] == ["a.jsonl#3"]
    assert SECRET not in reading.skipped[0].reason


@pytest.mark.parametrize("line", ['{"completion": "zebrafish"', "zebrafish", '{"completion": ' + "[" * 100_000 + "}"])
def test_a_line_that_is_no_json_is_refused_with_its_number(tmp_path: Path, line: str) -> None:
    message = refusal(fill(tmp_path, {"a.jsonl": '{"completion": "good"}\n\n' + line + "\n"}))
    assert message.startswith("a.jsonl line 3 is not valid JSON")


def test_what_is_said_to_the_system_is_no_part_of_an_exchange(tmp_path: Path) -> None:
    line = json.dumps({"messages": [{"role": "system", "content": "Be kind."}, USER, ASSISTANT]})
    assert read_one(tmp_path, "a.jsonl", line) == SourceText("a.jsonl#1", SECRET, "q")


def test_html_that_is_not_closed_still_gives_its_text() -> None:
    assert html_to_text("<title>x<body><p>one<p>two<pre>a\n  b</pre><table><tr><td>1<td>2</table>").strip().split(
        "\n\n"
    ) == [
        "one",
        "two",
        "a\n  b",
        "12",
    ]


# --- the template


def test_the_template_is_recognised_and_a_text_below_it_is_read(tmp_path: Path) -> None:
    assert is_unedited_template(TEMPLATE)
    assert is_unedited_template("\ufeff" + TEMPLATE.replace("\n", "\r\n") + "\r\n")
    edited = TEMPLATE + "\nHi Tom,\n\nlunch?\n"
    assert not is_unedited_template(edited)
    assert read_one(tmp_path, TEMPLATE_NAME, edited) == SourceText(TEMPLATE_NAME, "Hi Tom,\n\nlunch?", None)


def test_the_templates_prompt_counts_once_it_is_uncommented(tmp_path: Path) -> None:
    edited = TEMPLATE.replace("# prompt: ", "prompt: ") + "Hi sis"
    expected = SourceText(TEMPLATE_NAME, "Hi sis", "Write an email to my sister about our summer holiday")
    assert read_one(tmp_path, TEMPLATE_NAME, edited) == expected


def test_this_room_imports_no_torch() -> None:
    code = "import sys, ditto_cli.demonstrations.folder\n"
    code += "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
