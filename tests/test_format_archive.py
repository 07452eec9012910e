"""Archives of texts: what is read of them, what is left out and said, and archives that are made to harm."""

import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations import sources
from ditto_cli.demonstrations.readers import READERS, REFUSED, max_bytes, reason_to_skip
from ditto_cli.demonstrations.sources import STREAM_READERS
from ditto_cli.errors import InputError
from ditto_cli.types import Skipped, SourceText
from format_files import attempt, docx, lines, odt, paragraph, pdf, zipped

EML = "From: Rita <rita@example.org>\nTo: bo@example.org\nSubject: {subject}\n\n{text}\n"


def read_all(name, raw):
    return list(STREAM_READERS[".zip"](name, io.BytesIO(raw)))


def read(members):
    items = read_all("x.zip", members if isinstance(members, bytes) else zipped(members))
    return (
        {item.id: item.text for item in items if isinstance(item, SourceText)},
        {item.name: item.reason for item in items if isinstance(item, Skipped)},
    )


def refusal(members):
    with pytest.raises(InputError) as caught:
        read(members)
    assert str(caught.value).startswith("x.zip ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_all_formats_in_one_archive() -> None:
    texts, skipped = read(
        {
            "posts/": "",
            "posts/a.html": "<article>One</article><article>Two</article>",
            "b.docx": docx(paragraph("Word")),
            "c.odt": odt("<text:p>Open</text:p>"),
            "d.pdf": pdf([lines("Print it")]),
            "e.csv": "text\nRow\n",
            "f.json": '["Entry"]',
            "g.jsonl": '{"completion": "Line"}',
            "h.md": "Mark",
            "i.TXT": "Plain",
            "j.eml": EML.format(subject="Hi", text="Mail"),
        }
    )
    assert texts == {
        "x.zip/posts/a.html#1": "One",
        "x.zip/posts/a.html#2": "Two",
        "x.zip/b.docx": "Word",
        "x.zip/c.odt": "Open",
        "x.zip/d.pdf": "Print it",
        "x.zip/e.csv#2": "Row",
        "x.zip/f.json#1": "Entry",
        "x.zip/g.jsonl#1": "Line",
        "x.zip/h.md": "Mark",
        "x.zip/i.TXT": "Plain",
        "x.zip/j.eml": "Mail",
    }
    assert skipped == {}


def test_mail_archives_inside() -> None:
    mbox = "".join(
        f"From - Mon Jan  1 00:00:00 2024\n{EML.format(subject=f'S{number}', text=f'Mail {number}')}\n"
        for number in (1, 2)
    )
    texts, skipped = read(
        {
            "Takeout/Mail/Sent.mbox": mbox,
            "Sent.mbox/mbox": mbox,
            "Maildir/cur/17.M1.host:2,S": EML.format(subject="a", text="Kept"),
            "Maildir/cur/18.M1.host:2,DS": EML.format(subject="b", text="Draft"),
            "Maildir/new/19.M1.host": EML.format(subject="c", text="New"),
        }
    )
    assert texts == {
        "x.zip/Takeout/Mail/Sent.mbox#1": "Mail 1",
        "x.zip/Takeout/Mail/Sent.mbox#2": "Mail 2",
        "x.zip/Sent.mbox/mbox#1": "Mail 1",
        "x.zip/Sent.mbox/mbox#2": "Mail 2",
        "x.zip/Maildir/cur/17.M1.host:2,S": "Kept",
        "x.zip/Maildir/new/19.M1.host": "New",
    }
    assert skipped == {"x.zip/Maildir/cur/18.M1.host:2,DS": "a draft"}


def linked(name):
    link = zipfile.ZipInfo(name)
    link.external_attr = 0o120777 << 16
    return link


def test_what_is_left_out_is_said() -> None:
    members = {
        "good.txt": "Good",
        "../up.txt": "x",
        "/etc/abs.txt": "x",
        "C:/drive.txt": "x",
        "back\\slash.txt": "x",
        "inner.zip": zipped({"a.txt": "x"}),
        "__MACOSX/._good.txt": "x",
        ".hidden.txt": "x",
        "README.md": "x",
        "photo.jpg": "x",
        "old.doc": "x",
        "mail.pst": "x",
        "program.exe": "x",
        "empty.txt": "",
        "broken.docx": "x",
        "broken.pdf": "x",
        "large.txt": "a" * (2 * 2**20 + 1),
    }
    package = io.BytesIO(zipped(members))
    with zipfile.ZipFile(package, "a") as file:
        file.writestr(linked("link.txt"), "/etc/passwd")
        file.writestr("odd\nname.txt", "Odd")
    texts, skipped = read(package.getvalue())
    assert texts == {"x.zip/good.txt": "Good", "x.zip/odd\\nname.txt": "Odd"}
    assert {name.removeprefix("x.zip/"): reason.split(":")[0] for name, reason in skipped.items()} == {
        "../up.txt": "its path leads out of the archive",
        "/etc/abs.txt": "its path leads out of the archive",
        "C:/drive.txt": "its path leads out of the archive",
        "back\\slash.txt": "its path leads out of the archive",
        "inner.zip": "an archive in the archive",
        "__MACOSX/._good.txt": "a hidden file",
        ".hidden.txt": "a hidden file",
        "README.md": "a README, not a text to learn from",
        "photo.jpg": "a picture, not a text",
        "old.doc": "an old Word file",
        "mail.pst": "an archive of Outlook",
        "program.exe": f"not one of {', '.join(sorted((*READERS, *STREAM_READERS)))}",
        "empty.txt": "is empty, so there is nothing to learn from it",
        "broken.docx": "is not a Word file in spite of its name",
        "broken.pdf": "is not a PDF in spite of its name",
        "large.txt": "is larger than 2 MiB, more than a person's text",
        "link.txt": "a link or device, not a file",
    }


def test_a_name_with_a_nul() -> None:
    raw = zipped({"a.txtXb": "x", "c.txt": "Good"}).replace(b"a.txtXb", b"a.txt\0b")
    texts, skipped = read(raw)
    assert texts == {"x.zip/c.txt": "Good"}
    assert skipped == {"x.zip/a.txt\\x00b": "its path leads out of the archive"}


def test_a_member_without_a_name() -> None:
    raw = zipped({"a.txt": "Good", "\x7f": "x"})
    start = raw.rindex(b"PK\x01\x02")
    nameless = raw[:start] + raw[start : start + 28] + b"\0\0" + raw[start + 30 : start + 46] + raw[start + 47 :]
    end = nameless.rindex(b"PK\x05\x06")
    size = int.from_bytes(nameless[end + 12 : end + 16], "little") - 1
    texts, skipped = read(nameless[: end + 12] + size.to_bytes(4, "little") + nameless[end + 16 :])
    assert texts == {"x.zip/a.txt": "Good"}
    assert list(skipped) == ["x.zip/"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name() -> None:
    package = io.BytesIO(zipped({"a.txt": "One"}))
    with zipfile.ZipFile(package, "a") as file:
        file.writestr("a.txt", "Two")
    texts, skipped = read(package.getvalue())
    assert texts == {"x.zip/a.txt": "One"}
    assert skipped == {"x.zip/a.txt": "a second file of this name"}


def test_a_damaged_and_a_protected_member_do_not_cost_the_others() -> None:
    raw = bytearray(zipped({"a.txt": "AAAA", "b.txt": "BBBB", "c.txt": "CCCC", "d.mbox": "DDDD"}, compression=0))
    raw[raw.index(b"AAAA")] = 0
    raw[raw.index(b"DDDD")] = 0
    entry = raw.index(b"b.txt", raw.index(b"PK\x01\x02")) - 46
    raw[entry + 8] |= 1
    texts, skipped = read(bytes(raw))
    assert texts == {"x.zip/c.txt": "CCCC"}
    assert {name.removeprefix("x.zip/"): reason.split(":")[0] for name, reason in skipped.items()} == {
        "a.txt": "damaged in the archive",
        "b.txt": "protected with a password",
        "d.mbox": "damaged in the archive",
    }


def test_nothing_is_written_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read({"a.txt": "x", "sub/b.txt": "y", "../c.txt": "z"})
    assert list(tmp_path.rglob("*")) == []
    assert list(tmp_path.parent.glob("c.txt")) == []


def test_documents_that_are_named_zip() -> None:
    assert read(docx(paragraph("Word")))[0] == {"x.zip": "Word"}
    assert read(odt("<text:p>Open</text:p>"))[0] == {"x.zip": "Open"}
    assert "a spreadsheet: save the sheet" in refusal(zipped({"xl/workbook.xml": "<x/>"}))
    assert "a whole book" in refusal(zipped({"mimetype": "application/epub+zip"}))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is damaged, or not a zip archive"),
        (b"no archive", "is damaged, or not a zip archive"),
        (zipped({"a.txt": "Hello" * 50})[:-30], "is damaged, or not a zip archive"),
        (zipped({}), "holds nothing that can be read"),
        (zipped({"a.jpg": "x"}), "holds nothing that can be read as a text (a.jpg: a picture"),
        (zipped({"a.txt": ""}), "holds nothing that can be read as a text (a.txt: is empty"),
    ],
)
def test_archives_that_are_refused(raw: bytes, words: str) -> None:
    assert words in refusal(raw)


def test_a_bomb_is_refused() -> None:
    assert "unpacks to far more" in refusal({"a.txt": "Good", "b.csv": b"0" * (11 * 2**20)})
    assert "unpacks to far more" in refusal({"a.txt": "Good", "b.mbox": b"0" * (11 * 2**20)})
    # What is not read cannot harm.
    assert read({"a.txt": "Good", "b.bin": b"0" * (11 * 2**20)})[0] == {"x.zip/a.txt": "Good"}


def test_limits_of_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {f"{number}.txt": "x" * 100 + str(number) for number in range(5)}
    monkeypatch.setattr(sources, "MAX_READ_BYTES", 350)
    texts, skipped = read(members)
    assert len(texts) == 3
    assert [name for name in skipped if "beyond" in skipped[name]] == ["x.zip/3.txt", "x.zip/4.txt"]
    monkeypatch.setattr(sources, "MAX_MEMBERS", 4)
    assert "more than 4 files" in refusal(members)


def test_a_document_in_an_archive_keeps_its_own_limits() -> None:
    large = docx(paragraph("x"), more={"word/comments.xml": b" " * (11 * 2**20)})
    texts, skipped = read({"a.txt": "Good", "b.docx": large})
    assert texts == {"x.zip/a.txt": "Good"}
    assert "unpacks to far more" in skipped["x.zip/b.docx"]


# --- which files are read


@pytest.mark.parametrize("suffix", sorted(REFUSED))
def test_what_is_refused_says_what_to_do(suffix: str) -> None:
    assert suffix not in READERS
    assert suffix not in STREAM_READERS
    reason = reason_to_skip("A" + suffix.upper())
    assert reason == REFUSED[suffix]
    assert ": " in reason


def test_names_that_are_read_or_not() -> None:
    for suffix in (*READERS, *STREAM_READERS):
        assert reason_to_skip(f"a/b{suffix}") is None
    assert reason_to_skip("Readme.txt") == "a README, not a text to learn from"
    assert reason_to_skip("a/.git/b.txt") == reason_to_skip("__MACOSX/a.txt") == "a hidden file"
    assert (reason_to_skip("a") or "").startswith("not one of .csv, .docx")


def test_how_large_a_file_may_be() -> None:
    assert {suffix: max_bytes(suffix) // 2**20 for suffix in (".txt", ".md", ".json", ".html", ".docx", ".zip")} == {
        ".txt": 32,
        ".md": 2,
        ".json": 64,
        ".html": 16,
        ".docx": 32,
        ".zip": 2048,
    }


BASE = zipped({"a.txt": "Hello", "b/c.html": "<p>You", "d.eml": EML.format(subject="s", text="t")}, compression=0)


@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**32), num_changes=st.integers(1, 10), head=st.binary(max_size=30))
def test_damaged_archives_are_items_or_an_input_error(seed: int, num_changes: int, head: bytes) -> None:
    draw = random.Random(seed)
    raw = bytearray(BASE)
    for _ in range(num_changes):
        # Half of the changes into the directory, where the structure is.
        start = BASE.index(b"PK\x01\x02") if draw.random() < 0.5 else 0
        raw[draw.randrange(start, len(raw))] = draw.randrange(256)
    for changed in (bytes(raw), head + bytes(raw), head):
        items = attempt(read_all, "x.zip", changed)
        assert all(isinstance(item, SourceText | Skipped) for item in items or ())
