"""Word and OpenDocument files and PDFs (.docx, .odt, .pdf) -> their running text; footnotes are left out, and said.

The first two go through HTML, so that lists and tables come out alike, and read as with all changes accepted. A PDF
knows lines at places of a page: paragraphs, running heads, page numbers and broken words are told by their look. The
libraries for .docx and .pdf are the extra `documents`.
"""

from __future__ import annotations

import ctypes
import html
import io
import re
import statistics
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ditto_cli.demonstrations.encoding import damaged, normalise_text, usable
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.posts import titled_prompt
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

_EMPTY_PARAGRAPH = re.compile(r"<p>(?:\s|&nbsp;|<br ?/>|<a id=\"[^\"]*\"></a>)*</p>")
_TITLE = re.compile(rf"(?:{_EMPTY_PARAGRAPH.pattern}|\s)*<h1>(.*?)</h1>", re.DOTALL)
_EMPTY_SHARE = 1 / 3  # of the gaps between paragraphs, from which on an empty paragraph is the author's blank line
_NOTE_MARK = re.compile(r'<sup><a href="#(?:foot|end)note-[^>]*>[^<]*</a></sup>')
_NOTES = re.compile(r'<ol><li id="(?:foot|end)note-')
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_ODT_HTML = {"list": "ul", "list-item": "li", "table": "table", "table-row": "tr", "table-cell": "td"}
_MAX_SPACES = 100  # one element of an .odt may stand for any number of them


def read_office(name: str, raw: bytes) -> Reading:
    """A Word or OpenDocument file, told by its content: one text."""
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        content = package.read("content.xml") if "content.xml" in package.NameToInfo else None
    if content is None:
        try:
            import mammoth
        except ImportError:
            raise _missing_package(name, ".docx") from None
        result = mammoth.convert_to_html(
            io.BytesIO(raw),
            style_map="p[style-name='Title'] => h1:fresh",
            include_embedded_style_map=False,
            ignore_empty_paragraphs=False,
            convert_image=lambda _: [],
        )
        markup, num_notes = _NOTE_MARK.subn("", _NOTES.split(result.value)[0])
    else:
        body = ElementTree.fromstring(content).find("./{*}body/{*}text")
        if body is None:
            raise InputError(damaged(name))
        markup, num_notes = "".join(_odt_pieces(body)), sum(1 for _ in body.iter(f"{_TEXT}note"))
    # The only heading 1 or paragraph of the style Title, where all begins with it, becomes the prompt.
    found = _TITLE.match(markup) if markup.count("<h1") == 1 else None
    title = html_to_text(found[1], is_document=True).strip() if found else ""
    running = markup[found.end() :] if found else markup
    text = normalise_text(html_to_text(_with_typed_blank_lines(running), is_document=True))
    if not text:
        title, text = "", usable(name, title)
    skipped = (Skipped(name, f"footnotes left out ({num_notes}): only the running text is read"),) if num_notes else ()
    return Reading((SourceText(name, text, titled_prompt("a text", title)),), skipped)


def _missing_package(name: str, suffix: str) -> InputError:
    return InputError(f"{name}: reading {suffix} needs a further package: pip install 'ditto-cli[documents]'")


def _with_typed_blank_lines(markup: str) -> str:
    """HTML in which paragraphs are those that the author means.

    Who separates paragraphs by empty ones ends a line by a paragraph; who has no empty ones sees space between all.
    """
    num_gaps = len(re.findall(r"</p>\s*<p>", _EMPTY_PARAGRAPH.sub("", markup)))
    num_empty = len(re.findall(rf"(?:{_EMPTY_PARAGRAPH.pattern})+(?=<)", markup))
    if num_empty <= _EMPTY_SHARE * num_gaps:
        return _EMPTY_PARAGRAPH.sub("", markup)
    lines = _EMPTY_PARAGRAPH.sub("<br />", markup)
    return lines.replace("<p>", "<div>").replace("</p>", "</div>")


def _odt_pieces(element: Element, *, is_inline: bool = False) -> Iterator[str]:
    """What is in an element, as HTML. Text is only in paragraphs; runs of white space in the XML mean one space."""
    if is_inline:
        yield _odt_text(element.text)
    for child in element:
        tag = child.tag.rpartition("}")[2]
        is_block = tag in ("p", "h")
        if tag == "s":
            count = child.get(f"{_TEXT}c", "1")
            yield " " * (min(int(count), _MAX_SPACES) if count.isdecimal() and len(count) <= 4 else 1)
        elif tag == "tab":
            yield "\t"
        elif tag == "line-break":
            yield "<br />"
        elif is_block and not is_inline:
            is_title = child.get(f"{_TEXT}style-name") == "Title" or child.get(f"{_TEXT}outline-level") == "1"
            is_item = element.tag.endswith("}list-item")
            name = "h1" if is_title else "h2" if tag == "h" else "div" if is_item else "p"
            yield f"<{name}>"
            yield from _odt_pieces(child, is_inline=True)
            yield f"</{name}>"
        elif tag in _ODT_HTML:
            yield f"<{_ODT_HTML[tag]}>"
            yield from _odt_pieces(child)
            yield f"</{_ODT_HTML[tag]}>"
        elif tag not in words("page_parts")["odt_elements"]:  # sections, frames, text boxes, what extensions bring
            yield "<br />" if is_block else ""
            yield from _odt_pieces(child, is_inline=is_inline)
        if is_inline:
            yield _odt_text(child.tail)


def _odt_text(text: str | None) -> str:
    return html.escape(re.sub(r"[ \t\r\n]+", " ", text or ""), quote=False)


# --- PDF

_GAP = 1.35  # times the usual distance of lines: more is space between paragraphs
_FULL_SHARE = 0.85  # of the widest line: a shorter line, into which the next word had fitted, was ended on purpose
_HYPHEN = "\ufffe"  # what pdfium writes for one at the end of a line, in place of the line end
_LINE = re.compile(rf"[^\r\n{_HYPHEN}]+{_HYPHEN}?")
_BULLET = re.compile(r"(?:[-*\u2022\u2023\u25aa\u25cf\u2013]|\d{1,2}[.)])\s")
_SENTENCE_END = re.compile(r"[.!?\u2026:;\u3002\uff01\uff1f][\"'\u2019\u201d»)\]]*$")
_BROKEN_WORD = re.compile(r"\w-$|\u00ad$")
_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_UNREADABLE = re.compile(r"[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")
# "3", "- 3 -", "Page 3 of 7", "S. 3/7"
_PAGE_NUMBER = re.compile(
    r"[\s\u2013\u2014-]*\d{1,4}[\s\u2013\u2014-]*|"
    r"(?:[^\W\d]{1,8}\.?\s+)?\d{1,4}\s*(?:/|[^\W\d]{1,4}\s)\s*\d{1,4}"
)


class _Line(NamedTuple):
    text: str
    y: float  # how high its letters stand on the page, in points


def read_pdf(name: str, raw: bytes) -> Reading:
    """A .pdf file with text in it: one text."""
    try:
        import pypdfium2
    except ImportError:
        raise _missing_package(name, ".pdf") from None
    document = pypdfium2.PdfDocument(raw)
    text = normalise_text(_text_of([_lines(page.get_textpage()) for page in document]))
    if not text or len(_UNREADABLE.findall(text)) > 0.2 * len(text):
        raise InputError(
            f"{name} holds no text that can be read, only pictures of pages or of letters: run a text recognition "
            "(OCR) over it first, or type the text as .txt."
        )
    return Reading((SourceText(name, text, None),))


def _lines(page: Any) -> list[_Line]:
    from pypdfium2 import raw as pdfium

    lines: list[_Line] = []
    x, y = ctypes.c_double(), ctypes.c_double()
    for match in _LINE.finditer(page.get_text_range()):
        shown = " ".join(match[0].replace(_HYPHEN, "-").split())
        if shown:
            start = match.start() + len(match[0]) - len(match[0].lstrip())
            index = pdfium.FPDFText_GetCharIndexFromTextIndex(page, start)
            pdfium.FPDFText_GetCharOrigin(page, index, x, y)
            lines.append(_Line(shown, y.value))
    return lines


def _text_of(pages: Sequence[Sequence[_Line]]) -> str:
    bare = _without_edges(pages)
    lines = [line for page in bare for line in page]
    steps = [round(above.y - below.y, 1) for page in bare for above, below in pairwise(page)]
    usual_step = statistics.mode(sorted(step for step in steps if step > 0) or [0.0])
    widest = max((len(line.text) for line in lines), default=0)
    pieces = [line.text for line in lines[:1]]
    for above, below in pairwise(lines):
        step = above.y - below.y
        ends_sentence = _SENTENCE_END.search(above.text) is not None
        num_fitting = len(above.text) + 1 + len(below.text.split(maxsplit=1)[0])
        was_ended = step >= 0 and num_fitting <= _FULL_SHARE * widest
        # The end of a column or a page says nothing; the sentence does.
        if step > _GAP * usual_step or (step < 0 and ends_sentence):
            pieces.append("\n\n")
        elif _BROKEN_WORD.search(above.text) and below.text[:1].islower():
            pieces[-1] = above.text[:-1]
        elif _BULLET.match(below.text):
            pieces.append("\n")
        elif was_ended:
            pieces.append("\n\n" if ends_sentence else "\n")
        elif not (_CJK.match(above.text[-1:]) and _CJK.match(below.text)):
            pieces.append(" ")
        pieces.append(below.text)
    return "".join(pieces)


def _without_edges(pages: Sequence[Sequence[_Line]]) -> list[list[_Line]]:
    """The pages without running heads, running feet and page numbers: one line or two at each edge."""
    bare = [list(page) for page in pages]
    for edge in (0, -1, 0, -1):
        counts = Counter(_shape(page[edge].text) for page in bare if page)
        least = max(3, 0.6 * len(pages))  # of the pages, on which the same line at the same edge is a running head
        for number, page in enumerate(bare, start=1):
            text = page[edge].text if page else ""
            is_number = _PAGE_NUMBER.fullmatch(text) is not None and str(number) in re.findall(r"\d+", text)
            if page and (is_number or counts[_shape(text)] >= least):
                del page[edge]
    return bare


def _shape(text: str) -> str:
    """A line without the page number that it may begin or end with."""
    return re.sub(r"^\d+\b|\b\d+\W*$", "#", text)
