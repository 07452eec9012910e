"""Word and OpenDocument files: what counts as the text, and files that are broken, protected or made to harm."""

import contextlib
import io
import random
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.documents import read_office
from ditto_cli.demonstrations.sources import read_safely
from ditto_cli.errors import InputError
from ditto_cli.types import Reading
from format_files import W, attempt, docx, odt, paragraph, zipped

KINDS = ("docx", "odt")
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 500


def made(kind, *texts):
    """A document with these paragraphs."""
    if kind == "docx":
        return docx("".join(paragraph(text) if text else "<w:p/>" for text in texts))
    return odt("".join(f"<text:p>{text}</text:p>" if text else "<text:p/>" for text in texts))


def only(kind, raw):
    (source,) = read_office(f"a.{kind}", raw).texts
    return source


def refusal(kind, raw):
    with pytest.raises(InputError) as caught:
        read_safely(f".{kind}", f"a.{kind}", raw)
    message = str(caught.value)
    assert message.startswith(f"a.{kind}")
    assert "\n" not in message
    assert ": " in message
    return message


BOTH = pytest.mark.parametrize("kind", KINDS)


@BOTH
def test_paragraphs_and_all_scripts(kind: str) -> None:
    source = only(kind, made(kind, "Grüße, «Zoë» &amp; &lt;Tom&gt;", "今日は寒い。", "שלום עולם"))
    assert source.id == f"a.{kind}"
    assert source.text == "Grüße, «Zoë» & <Tom>\n\n今日は寒い。\n\nשלום עולם"
    assert source.prompt is None


@BOTH
def test_who_separates_paragraphs_by_empty_ones_ends_lines_by_paragraphs(kind: str) -> None:
    letter = made(kind, "Dear Tom,", "", "Body one.", "", "Body two.", "", "Best,", "Anna")
    assert only(kind, letter).text == "Dear Tom,\n\nBody one.\n\nBody two.\n\nBest,\nAnna"
    # One blank line among many paragraphs is space before the signature, and no system.
    report = made(kind, "One.", "Two.", "Three.", "Four.", "", "Anna")
    assert only(kind, report).text == "One.\n\nTwo.\n\nThree.\n\nFour.\n\nAnna"


def test_docx_changes_are_accepted_and_comments_left_out() -> None:
    body = (
        '<w:p><w:r><w:t xml:space="preserve">I  went </w:t></w:r>'
        '<w:del w:id="1"><w:r><w:delText>never </w:delText></w:r></w:del>'
        '<w:ins w:id="2"><w:r><w:t xml:space="preserve">often </w:t></w:r></w:ins>'
        '<w:r><w:commentReference w:id="0"/></w:r><w:r><w:t>out</w:t><w:tab/><w:t>and</w:t><w:br/><w:t>in</w:t></w:r>'
        '<w:r><w:footnoteReference w:id="5"/></w:r></w:p>'
    )
    notes = f'<w:footnotes xmlns:w="{W}"><w:footnote w:id="5">{paragraph("NOTE")}</w:footnote></w:footnotes>'
    comments = f'<w:comments xmlns:w="{W}"><w:comment w:id="0">{paragraph("COMMENT")}</w:comment></w:comments>'
    reading = read_office("a.docx", docx(body, more={"word/footnotes.xml": notes, "word/comments.xml": comments}))
    assert [source.text for source in reading.texts] == ["I  went often out\tand\nin"]
    assert [skipped.reason for skipped in reading.skipped] == ["footnotes left out (1): only the running text is read"]


def test_odt_changes_are_accepted_and_comments_left_out() -> None:
    body = (
        '<text:tracked-changes><text:changed-region text:id="c"><text:deletion><text:p>never</text:p></text:deletion>'
        "</text:changed-region></text:tracked-changes>"
        "<text:p>I <text:s/>went\n     <text:change text:change-id='c'/><text:span>often</text:span>"
        "<office:annotation><dc:creator>B</dc:creator><text:p>COMMENT</text:p></office:annotation> out<text:tab/>and"
        "<text:line-break/>in<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>NOTE</text:p>"
        "</text:note-body></text:note><text:s text:c='3'/>x<text:s text:c='99999999'/>y</text:p>"
        "<text:table-of-content><text:index-body><text:p>Contents</text:p></text:index-body></text:table-of-content>"
        "<text:section><text:p>End</text:p></text:section>"
    )
    reading = read_office("a.odt", odt(body))
    assert [source.text for source in reading.texts] == ["I  went often out\tand\nin   x y\n\nEnd"]
    assert [skipped.reason for skipped in reading.skipped] == ["footnotes left out (1): only the running text is read"]


def test_odt_elements_of_unknown_extensions() -> None:
    body = (
        '<text:p>a <x:mark xmlns:x="urn:x">b</x:mark> c<?x y?><!-- no --> d</text:p>'
        '<x:box xmlns:x="urn:x"><text:p>e</text:p></x:box>'
    )
    assert only("odt", odt(body)).text == "a b c d\n\ne"


def test_docx_lists_and_tables() -> None:
    def cell(*texts):
        return f"<w:tc>{''.join(paragraph(text) for text in texts)}</w:tc>"

    numbering = (
        f'<w:numbering xmlns:w="{W}"><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/>'
        '</w:lvl></w:abstractNum><w:num w:numId="1"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )
    item = (
        '<w:p><w:pPr><w:numPr><w:ilvl w:val="0"/><w:numId w:val="1"/></w:numPr></w:pPr><w:r><w:t>{}</w:t></w:r></w:p>'
    )
    table = f"<w:tbl><w:tr>{cell('a', 'b')}{cell('c')}</w:tr><w:tr>{cell('d')}{cell('e')}</w:tr></w:tbl>"
    body = paragraph("Buy:") + item.format("milk") + item.format("eggs") + table
    assert (
        only("docx", docx(body, more={"word/numbering.xml": numbering})).text == "Buy:\n\n- milk\n- eggs\n\na b c\nd e"
    )


def test_odt_lists_and_tables() -> None:
    items = "".join(f"<text:list-item><text:p>{text}</text:p></text:list-item>" for text in ("milk", "eggs"))
    cells = [
        "".join(f"<table:table-cell><text:p>{text}</text:p></table:table-cell>" for text in row) for row in ("ac", "de")
    ]
    rows = "".join(f"<table:table-row>{row}</table:table-row>" for row in cells)
    body = f"<text:p>Buy:</text:p><text:list>{items}</text:list><table:table>{rows}</table:table>"
    assert only("odt", odt(body)).text == "Buy:\n\n- milk\n- eggs\n\na c\nd e"


@pytest.mark.parametrize(
    ("kind", "raw"),
    [
        ("docx", docx("<w:p/>" + paragraph("My day", "Titel") + paragraph("Text"))),
        ("docx", docx(paragraph("My day", "Heading1") + paragraph("Text"))),
        ("odt", odt('<text:p text:style-name="Title">My day</text:p><text:p>Text</text:p>')),
        ("odt", odt('<text:h text:outline-level="1">My day</text:h><text:p>Text</text:p>')),
    ],
)
def test_a_shown_title_becomes_the_prompt(kind: str, raw: bytes) -> None:
    source = only(kind, raw)
    assert source.prompt == 'Write a text with the title "My day".'
    assert source.text == "Text"


def test_headings_inside_a_text_are_no_title() -> None:
    source = only("docx", docx(paragraph("Hello") + paragraph("Part", "Heading1") + paragraph("Text")))
    assert source.prompt is None
    assert source.text == "Hello\n\nPart\n\nText"
    both = only("docx", docx(paragraph("One", "Heading1") + paragraph("a") + paragraph("Two", "Heading1")))
    assert both.prompt is None
    assert both.text == "One\n\na\n\nTwo"


def test_a_document_of_nothing_but_its_title() -> None:
    source = only("docx", docx(paragraph("My day", "Titel")))
    assert (source.text, source.prompt) == ("My day", None)


@BOTH
def test_a_long_document(kind: str) -> None:
    texts = [f"Paragraph {number}: " + "the rain went on. " * 40 for number in range(250)]  # about 40 pages
    assert len(only(kind, made(kind, *texts)).text.split("\n\n")) == 250


def test_the_content_says_what_a_file_is() -> None:
    assert only("docx", made("odt", "Hello")).text == "Hello"
    assert only("odt", made("docx", "Hello")).text == "Hello"


@BOTH
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"just a text",
        b"%PDF-1.4\n",
        zipped({"a.txt": "x"}),
        zipped({"xl/workbook.xml": "<x/>"}),
        zipped({"content.xml": "<a/>"}),
        OLE + "WordDocument".encode("utf-16-le"),
        OLE + "EncryptedPackage".encode("utf-16-le"),
        b"PK\x03\x04 nothing else",
        zipped({})[:10],
    ],
)
def test_other_files_by_that_name(kind: str, raw: bytes) -> None:
    assert f"is damaged, or not a .{kind} file in spite of its name, or protected with a password" in refusal(kind, raw)


@BOTH
def test_an_empty_document(kind: str) -> None:
    assert "is empty" in refusal(kind, made(kind))
    assert "is empty" in refusal(kind, made(kind, "", " ", ""))


LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a 'ha'>"
    + "".join(
        f"<!ENTITY {after} '{f'&{before};' * 10}'>" for before, after in zip("abcdefghi", "bcdefghij", strict=True)
    )
    + "]>"
)


def with_entities(kind, declared, text):
    """A document of this text, below the declaration of its entities."""
    if kind == "odt":
        return odt(f"<text:p>{text}</text:p>", prolog=declared)
    body = f'<w:document xmlns:w="{W}"><w:body>{paragraph(text)}</w:body></w:document>'
    return docx("", document=f'<?xml version="1.0"?>{declared}{body}')


@BOTH
def test_entity_bombs_end_within_the_limits(kind: str) -> None:
    refusal(kind, with_entities(kind, LAUGHS, "&j;"))


@BOTH
def test_no_other_file_is_read(kind: str, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("hunter2")
    raw = with_entities(kind, f'<!DOCTYPE x [<!ENTITY file SYSTEM "file://{tmp_path}/secret.txt">]>', "x &file;")
    try:
        texts = [source.text for source in read_safely(f".{kind}", f"a.{kind}", raw).texts]
    except InputError as error:
        texts = [str(error)]
    assert "hunter2" not in str(texts)


@BOTH
def test_bombs_of_size_end_within_the_limits(kind: str) -> None:
    raw = io.BytesIO()
    name = "content.xml" if kind == "odt" else "word/document.xml"
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as package, package.open(name, "w") as member:
        for _ in range(1100):
            member.write(b" " * 2**20)
    refusal(kind, raw.getvalue())


def test_nesting_without_end_is_refused() -> None:
    deep = "<w:tbl><w:tr><w:tc>" * 3000 + paragraph("x") + "</w:tc></w:tr></w:tbl>" * 3000
    refusal("docx", docx(deep))
    refusal("odt", odt("<text:section>" * 5000 + "<text:p>x</text:p>" + "</text:section>" * 5000))


@BOTH
def test_an_encrypted_member(kind: str) -> None:
    raw = bytearray(made(kind, "x"))
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        directory = package.start_dir
    position = raw.find(b"PK\x01\x02", directory)
    while position >= 0:
        raw[position + 8] |= 1
        position = raw.find(b"PK\x01\x02", position + 4)
    refusal(kind, bytes(raw))


@BOTH
def test_truncated_anywhere(kind: str) -> None:
    raw = made(kind, "Hello")
    for end in range(0, len(raw), max(1, len(raw) // 60)):
        refusal(kind, raw[:end])


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mammoth", None)
    message = r"^a\.docx: reading \.docx needs a further package: pip install 'ditto-cli\[documents\]'$"
    with pytest.raises(InputError, match=message):
        read_office("a.docx", made("docx", "x"))  # in this process, where the library is missing


def stored(kind):
    """The same document without compression, so that a changed byte reaches the XML."""
    with zipfile.ZipFile(io.BytesIO(made(kind, "Hello you", "Bye"))) as package:
        return zipped({name: package.read(name) for name in package.namelist()}, compression=zipfile.ZIP_STORED)


def patched_crcs(raw):
    """The archive with checksums that fit its changed content."""
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        members = {}
        for member in package.infolist():
            start = member.header_offset + 30 + len(member.filename.encode())
            members[member.filename] = raw[start : start + member.compress_size]
    return zipped(members)


BASES = {kind: stored(kind) for kind in KINDS}


@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 2**32),
    num_changes=st.integers(1, 12),
    with_crcs=st.booleans(),
    noise=st.binary(max_size=40),
)
def test_damaged_documents_are_a_reading_or_an_input_error(
    kind: str, seed: int, num_changes: int, with_crcs: bool, noise: bytes
) -> None:
    draw = random.Random(seed)
    raw = bytearray(BASES[kind])
    for _ in range(num_changes):
        place = draw.randrange(len(raw))
        if draw.random() < 0.2 and noise:
            raw[place : place + len(noise)] = noise
        else:
            raw[place] = draw.randrange(256)
    changed = bytes(raw)
    if with_crcs:
        # A name may be empty, and whatever else cannot be zipped.
        with contextlib.suppress(zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeError, IndexError):
            changed = patched_crcs(changed)
    for name in (f"a.{kind}", "a.docx"):
        reading = attempt(partial(read_safely, name[1:]), name, changed)
        assert reading is None or isinstance(reading, Reading)


@settings(max_examples=200, deadline=None)
@given(
    raw=st.binary(max_size=200),
    start=st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06", OLE[:8], b"{\\rtf", b"%PDF-"]),
)
def test_any_bytes_are_an_input_error(raw: bytes, start: bytes) -> None:
    for kind in KINDS:
        refusal(kind, start + raw)
