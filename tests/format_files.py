"""Documents for the tests of formats, made by hand: what a program would write, and what none would."""

import io
import zipfile

from ditto_cli.errors import InputError

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
OFFICE_RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"


def zipped(members, *, compression=zipfile.ZIP_DEFLATED):
    """The bytes of a zip: name (or ZipInfo) -> text or bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as package:
        for name, content in members.items():
            package.writestr(name, content)
    return file.getvalue()


def paragraph(text, style=None):
    properties = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f'<w:p>{properties}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def docx(body, *, document=None, more=None):
    """A .docx whose body is this WordprocessingML."""
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="{identity}"><w:name w:val="{name}"/></w:style>'
        for identity, name in (("Titel", "Title"), ("Heading1", "heading 1"), ("ListBullet", "List Bullet"))
    )
    if document is None:
        document = (
            f'<?xml version="1.0" encoding="UTF-8"?><w:document xmlns:w="{W}"><w:body>{body}</w:body></w:document>'
        )
    types = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>'
    )
    relations = (
        '<?xml version="1.0"?><Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{OFFICE_RELATION}" Target="word/document.xml"/></Relationships>'
    )
    return zipped(
        {
            "[Content_Types].xml": types,
            "_rels/.rels": relations,
            "word/document.xml": document,
            "word/styles.xml": f'<?xml version="1.0"?><w:styles xmlns:w="{W}">{styles}</w:styles>',
            **(more or {}),
        }
    )


ODF = {
    "office": "urn:oasis:names:tc:opendocument:xmlns:office:1.0",
    "text": "urn:oasis:names:tc:opendocument:xmlns:text:1.0",
    "table": "urn:oasis:names:tc:opendocument:xmlns:table:1.0",
    "style": "urn:oasis:names:tc:opendocument:xmlns:style:1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "draw": "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0",
}


def odt(body, *, styles="", prolog="", more=None):
    """An .odt whose text is this OpenDocument XML."""
    names = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in ODF.items())
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?>{prolog}<office:document-content {names} office:version="1.2">'
        f"<office:automatic-styles>{styles}</office:automatic-styles>"
        f"<office:body><office:text>{body}</office:text></office:body></office:document-content>"
    )
    manifest = (
        '<?xml version="1.0"?><manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0">'
        '<manifest:file-entry manifest:full-path="/" '
        'manifest:media-type="application/vnd.oasis.opendocument.text"/></manifest:manifest>'
    )
    empty_styles = f'<?xml version="1.0"?><office:document-styles {names} office:version="1.2"/>'
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": manifest,
            "content.xml": content,
            "styles.xml": empty_styles,
            **(more or {}),
        }
    )


def pdf(pages, *, title=None, with_unicode=False, extra=b"", encrypted=False):
    """A PDF whose pages are lists of (x, y, size, text), or bytes of a content stream.

    With `with_unicode`, the letters are glyph numbers and a /ToUnicode table says what they mean.
    """
    glyphs = {}

    def shown(text):
        if not with_unicode:
            return b"(" + text.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)").encode("cp1252") + b")"
        return b"<" + "".join(f"{glyphs.setdefault(each, len(glyphs) + 1):04x}" for each in text).encode() + b">"

    streams = []
    for page in pages:
        if isinstance(page, bytes):
            streams.append(page)
            continue
        lines = (b"BT /F1 %g Tf 1 0 0 1 %g %g Tm %s Tj ET" % (size, x, y, shown(text)) for x, y, size, text in page)
        streams.append(b"\n".join(lines))
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b""]
    if with_unicode:
        table = "".join(f"<{glyph:04x}> <{each.encode('utf-16-be').hex()}>\n" for each, glyph in glyphs.items())
        cmap = (
            f"/CIDInit /ProcSet findresource begin begincmap 1 begincodespacerange <0000> <ffff> endcodespacerange\n"
            f"{len(glyphs)} beginbfchar\n{table}endbfchar endcmap"
        ).encode()
        objects.append(
            b"<< /Type /Font /Subtype /Type0 /BaseFont /X /Encoding /Identity-H /DescendantFonts [4 0 R] "
            b"/ToUnicode 5 0 R >>"
        )
        objects.append(
            b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /X /DW 500 "
            b"/CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> >>"
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(cmap), cmap))
    else:
        objects.append(b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>")
    kids = []
    for stream in streams:
        kids.append(b"%d 0 R" % (len(objects) + 1))
        objects.append(
            b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> "
            b"/Contents %d 0 R >>" % (len(objects) + 2)
        )
        objects.append(b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream))
    objects[1] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(kids))
    trailer = b"/Root 1 0 R"
    if title is not None:
        objects.append(b"<< /Title (%s) >>" % title.encode("cp1252"))
        trailer += b" /Info %d 0 R" % len(objects)
    if encrypted:
        objects.append(b"<< /Filter /Standard /V 1 /R 2 /O (%s) /U (%s) /P -4 >>" % (b"x" * 32, b"y" * 32))
        trailer += b" /Encrypt %d 0 R /ID [(a) (a)]" % len(objects)
    out = bytearray(b"%PDF-1.5\n" + extra)
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    out += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer\n<< /Size %d %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(out)


def lines(*texts, x=60, top=700, step=14, size=11):
    """A page's lines, one below the other; None leaves one out."""
    return [(x, top - step * index, size, text) for index, text in enumerate(texts) if text is not None]


def attempt(read, name, raw):
    """What a reader gives back, or None where it refuses in one line that begins with the name."""
    message = None
    try:
        result = read(name, raw)
    except InputError as error:
        result, message = None, str(error)
    assert message is None or (message.startswith(name) and "\n" not in message)
    return result
