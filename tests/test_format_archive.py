"""Archives of texts: what is read of them, what is left out and said, and archives that are made to harm."""

import io
import random
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations import sources
from ditto_cli.demonstrations.sources import READERS, REFUSED, STREAM_READERS, max_bytes, reason_to_skip
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
        }
    )
    assert texts == {
        "x.zip/Takeout/Mail/Sent.mbox#1": "Mail 1",
        "x.zip/Takeout/Mail/Sent.mbox#2": "Mail 2",
        "x.zip/Sent.mbox/mbox#1": "Mail 1",
        "x.zip/Sent.mbox/mbox#2": "Mail 2",
    }
    assert skipped == {}


def linked(name):
    link = zipfile.ZipInfo(name)
    link.external_attr = 0o120777 << 16
    return link


def test_an_archive_in_an_archive_is_read_as_notion_packs_them() -> None:
    texts, skipped = read({"Part-1.zip": zipped({"a.md": "One"}), "Part-2.zip": zipped({"a.md": "Two"})})
    assert (texts, skipped) == ({"x.zip/Part-1.zip/a.md": "One", "x.zip/Part-2.zip/a.md": "Two"}, {})
    crowd = {f"{number}.zip": zipped({"a.md": "One"}) for number in range(21)} | {"b.md": "Two"}
    assert len(read(crowd)[1]) == 21


def test_what_is_left_out_is_said() -> None:
    members = {
        "good.txt": "Good",
        "../up.txt": "x",
        "/etc/abs.txt": "Abs",
        "inner.zip": zipped({"deeper.zip": zipped({"a.txt": "x"})}),
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
    assert texts == {"x.zip/good.txt": "Good", "x.zip//etc/abs.txt": "Abs", "x.zip/odd\\nname.txt": "Odd"}
    assert {name.removeprefix("x.zip/"): reason.split(":")[0] for name, reason in skipped.items()} == {
        "../up.txt": "a hidden file",
        "inner.zip/deeper.zip": "an archive in the archive",
        "__MACOSX/._good.txt": "a hidden file",
        ".hidden.txt": "a hidden file",
        "README.md": "a README, not a text to learn from",
        "photo.jpg": "a picture, not a text",
        "old.doc": "an old Word file",
        "mail.pst": "an archive of Outlook",
        "program.exe": f"not one of {', '.join(sorted((*READERS, *STREAM_READERS)))}",
        "empty.txt": "is empty, so there is nothing to learn from it",
        "broken.docx": "is damaged, or not a .docx file in spite of its name, or protected with a password",
        "broken.pdf": "is damaged, or not a .pdf file in spite of its name, or protected with a password",
        "large.txt": "has more than 2,097,152 characters",
        "link.txt": "a link, not a file",
    }


def test_a_name_with_a_nul() -> None:
    raw = zipped({"a.txtXb": "x", "c.txt": "Good"}).replace(b"a.txtXb", b"a.txt\0b")
    texts, skipped = read(raw)
    assert texts == {"x.zip/c.txt": "Good"}
    assert list(skipped) == ["x.zip/a.txt\\x00b"]


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
def test_two_files_of_one_name(tmp_path: Path) -> None:
    package = io.BytesIO(zipped({"a.txt": "One"}))
    with zipfile.ZipFile(package, "a") as file:
        file.writestr("a.txt", "Two")
    (tmp_path / "x.zip").write_bytes(package.getvalue())
    found = [(source.id, source.text) for source in sources.read_sources([tmp_path / "x.zip"]).texts]
    assert found == [("x.zip/a.txt", "One"), ("x.zip/a.txt (2)", "Two")]


def test_a_damaged_and_a_protected_member_do_not_cost_the_others() -> None:
    raw = bytearray(zipped({"a.txt": "AAAA", "b.txt": "BBBB", "c.txt": "CCCC", "d.mbox": "DDDD"}, compression=0))
    raw[raw.index(b"AAAA")] = 0
    raw[raw.index(b"DDDD")] = 0
    entry = raw.index(b"b.txt", raw.index(b"PK\x01\x02")) - 46
    raw[entry + 8] |= 1
    texts, skipped = read(bytes(raw))
    assert texts == {"x.zip/c.txt": "CCCC"}
    assert skipped == dict.fromkeys(
        ("x.zip/a.txt", "x.zip/b.txt", "x.zip/d.mbox"), "damaged in the archive, or protected with a password"
    )


def test_nothing_is_written_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read({"a.txt": "x", "sub/b.txt": "y", "../c.txt": "z"})
    assert list(tmp_path.rglob("*")) == []
    assert list(tmp_path.parent.glob("c.txt")) == []


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "x.zip is damaged, or not a .zip file"),
        (b"no archive", "x.zip is damaged, or not a .zip file"),
        (zipped({"a.txt": "Hello" * 50})[:-30], "x.zip is damaged, or not a .zip file"),
        (zipped({}), "x.zip: there is no text of yours in it (nothing)"),
        (zipped({"a.jpg": "x"}), "x.zip: there is no text of yours in it (a picture"),
        (zipped({"a.txt": ""}), "x.zip: there is no text of yours in it (is empty"),
    ],
)
def test_archives_that_are_refused(raw: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(raw)
    with pytest.raises(InputError) as caught:
        sources.read_sources([tmp_path / "x.zip"])
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["b.csv", "b.mbox"])
def test_a_bomb_is_left_out(name: str) -> None:
    texts, skipped = read({"a.txt": "Good", name: b"0" * (11 * 2**20)})
    assert texts == {"x.zip/a.txt": "Good"}
    assert skipped == {f"x.zip/{name}": "unpacks to far more than a text takes"}


def test_limits_of_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_FILES", 4)
    assert "more than 4 files" in refusal({f"{number}.txt": "x" for number in range(5)})


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
    assert {suffix: max_bytes(suffix) // 2**20 for suffix in (".txt", ".md", ".json", ".html", ".docx")} == {
        ".txt": 32,
        ".md": 2,
        ".json": 64,
        ".html": 16,
        ".docx": 32,
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
