"""Made-up letters, mails, archives and documents, from which odd ones are made. No pytest, no torch, nobody's words."""

import io
import os
import random
import zipfile
from pathlib import Path

GIGABYTE = 2**30
# No message and no table may show it, for it stands in the texts.
MARKER = "quokka"

NAMES = ["Ada", "Bo", "Cy", "Dora", "Eli", "Fay", "Gus", "Hana", "Ivo", "June", "Kit", "Lou"]
THINGS = ["kettle", "ladder", "sofa", "canoe", "piano", "tent", "drill", "clock", "lamp", "bench", "rope", "sail"]
_PLACES = ["shed", "attic", "harbour", "garden", "cellar", "market", "library", "station"]
_DONE = ["mended", "painted", "sold", "washed", "weighed", "carried", "counted", "borrowed", "dropped", "praised"]
_SENTENCES = (
    "so the {thing} is back in the {place}, and I could not be happier - it took me {num} evenings.",
    "{name} came by and {done} the {thing}; we laughed about it until {num} o'clock.",
    "Could you bring the {thing} to the {place} on the {num}th? If not, never mind, we will manage.",
    "I have {done} {num} of them since Monday, and {name} still says that it is not enough!",
    "Do you remember the {thing} that {name} once {done} behind the {place}? It is gone now.",
    "By the way: nobody at the {place} has {done} a {thing} for {num} years, as far as I know.",
    "What would a {marker} do with a {thing}? {name} thinks it would be {done} at once.",
    "My {place} smells of {thing} and tea, and {name} sends you {num} greetings.",
)


def letter(number):
    """A text of about ninety words; another one for each number."""
    draw = random.Random(number)
    chosen = [*draw.sample(_SENTENCES[:6], 4), _SENTENCES[6], _SENTENCES[7]]
    sentences = [
        sentence.format(
            name=draw.choice(NAMES),
            thing=draw.choice(THINGS),
            place=draw.choice(_PLACES),
            done=draw.choice(_DONE),
            num=draw.randrange(2, 29),
            marker=MARKER,
        )
        for sentence in chosen
    ]
    middle = " ".join(sentences[2:5])
    return f"Hi {draw.choice(NAMES)},\n\n{' '.join(sentences[:2])}\n\n{middle}\n\n{sentences[5]}\n\nBig hug\nMaya\n"


def letter_bytes(number):
    return letter(number).encode()


def mail(body, subject="The shed", sender="maya@example.com", to="bo@example.com", content="text/plain", **fields):
    """A simple email; fields by name with _ for -."""
    head = {"From": sender, "To": to, "Subject": subject, "Date": "Mon, 01 Jan 2024 10:00:00 +0000"}
    head |= {"MIME-Version": "1.0", "Content-Type": content}
    head |= {name.replace("_", "-"): value for name, value in fields.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in head.items())
    return lines.encode() + b"\n" + (body if isinstance(body, bytes) else body.encode())


def mbox(mails, line_end=b"\n"):
    text = b"".join(
        b"From maya@example.com Mon Jan  1 10:00:00 2024\n" + each.rstrip(b"\n") + b"\n\n" for each in mails
    )
    return text.replace(b"\n", line_end)


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    """A zip of {name: content}."""
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", compression) as package:
        for name, content in members.items():
            package.writestr(name, content)
    return raw.getvalue()


_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
_ODF = "urn:oasis:names:tc:opendocument:xmlns"


def document_xml(text, head=""):
    paragraphs = "".join(f"<w:p><w:r><w:t>{line}</w:t></w:r></w:p>" for line in text.split("\n") if line)
    return f'<?xml version="1.0"?>{head}<w:document xmlns:w="{_WORD}"><w:body>{paragraphs}</w:body></w:document>'


def docx_of(xml, **more):
    """A Word file around its word/document.xml."""
    types = (
        '<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/><Override PartName="/word/document.xml" ContentType='
        '"application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"/></Types>'
    )
    relation = f'<Relationship Id="r1" Type="{_OFFICE}" Target="word/document.xml"/>'
    relations = f'<?xml version="1.0"?><Relationships xmlns="{_RELATIONS}">{relation}</Relationships>'
    return zipped({"[Content_Types].xml": types, "_rels/.rels": relations, "word/document.xml": xml, **more})


def content_xml(text, head=""):
    paragraphs = "".join(f"<text:p>{line}</text:p>" for line in text.split("\n") if line)
    return (
        f'<?xml version="1.0"?>{head}<office:document-content xmlns:office="{_ODF}:office:1.0" '
        f'xmlns:text="{_ODF}:text:1.0" xmlns:style="{_ODF}:style:1.0" office:version="1.2"><office:automatic-styles/>'
        f"<office:body><office:text>{paragraphs}</office:text></office:body></office:document-content>"
    )


def odt_of(xml):
    """An OpenDocument text around its content.xml."""
    styles = f'<?xml version="1.0"?><office:document-styles xmlns:office="{_ODF}:office:1.0" office:version="1.2"/>'
    meta = f'<?xml version="1.0"?><office:document-meta xmlns:office="{_ODF}:office:1.0" office:version="1.2"/>'
    files = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{kind}"/>'
        for path, kind in (("/", "application/vnd.oasis.opendocument.text"), ("content.xml", "text/xml"))
    )
    manifest = (
        f'<?xml version="1.0"?><manifest:manifest xmlns:manifest="{_ODF}:manifest:1.0">{files}</manifest:manifest>'
    )
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": xml,
            "styles.xml": styles,
            "meta.xml": meta,
            "META-INF/manifest.xml": manifest,
        }
    )


def pdf_of(objects, trailer=""):
    """A PDF of its objects, numbered from 1; the first is the catalog."""
    raw = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, start=1):
        places.append(len(raw))
        raw += b"%d 0 obj\n%s\nendobj\n" % (number, content if isinstance(content, bytes) else content.encode())
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    return (
        raw
        + (
            f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
            f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{len(raw)}\n%%EOF\n"
        ).encode()
    )


def pdf(text, trailer=""):
    """A PDF of one page with these lines on it."""
    shown = " ".join(f"({line}) Tj 0 -14 Td" for line in text.replace("(", "").replace(")", "").split("\n"))
    stream = f"BT /F1 11 Tf 72 760 Td {shown} ET"
    return pdf_of(
        [
            "<< /Type /Catalog /Pages 2 0 R >>",
            "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
            "/Resources << /Font << /F1 5 0 R >> >> >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
            "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        ],
        trailer,
    )


def _bytes_of(content):
    """Of a text, of bytes, or of a function that makes either only when it is wanted."""
    content = content() if callable(content) else content
    return content if isinstance(content, bytes) else content.encode()


def folder_of(place, files, name="alice"):
    """A folder of {name: content}; a name may be bytes or a path."""
    folder = place / name
    folder.mkdir(parents=True)
    for file, content in files.items():
        path = Path(os.fsdecode(os.path.join(os.fsencode(folder), os.fsencode(file))))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes_of(content))
    return folder


def file_of(place, name, content):
    path = place / name
    path.write_bytes(_bytes_of(content))
    return path


def sparse(path, head=b""):
    """A file of a gigabyte that takes no place on the disk: zeros after its head."""
    path.write_bytes(head)
    os.truncate(path, GIGABYTE)
    return path
