"""Word and OpenDocument files (.docx, .odt) -> text: as the document reads with all changes accepted, notes left out.

Both go through HTML, so that lists and tables come out alike. The library for .docx is the extra `documents`.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.reader_basics import damaged, missing_package, titled_prompt, usable
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

_STYLE_MAP = "p[style-name='Title'] => h1:fresh"
_EMPTY_PARAGRAPH = re.compile(r"<p>(?:\s|&nbsp;|<br ?/>|<a id=\"[^\"]*\"></a>)*</p>")
_TITLE = re.compile(rf"(?:{_EMPTY_PARAGRAPH.pattern}|\s)*<h1>(.*?)</h1>", re.DOTALL)
_EMPTY_SHARE = 1 / 3  # of the gaps between paragraphs, from which on an empty paragraph is the author's blank line
_NOTE_MARK = re.compile(r'<sup><a href="#(?:foot|end)note-[^>]*>[^<]*</a></sup>')
_NOTES = re.compile(r'<ol><li id="(?:foot|end)note-')
_TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"
_ODT_LEFT_OUT = frozenset(
    """tracked-changes annotation note sequence-decls variable-decls user-field-decls forms table-of-content
    alphabetical-index illustration-index table-index bibliography user-index object-index number ruby-text hidden-text
    hidden-paragraph title desc image object object-ole event-listeners""".split()  # noqa: SIM905
)
_ODT_HTML = {"list": "ul", "list-item": "li", "table": "table", "table-row": "tr", "table-cell": "td"}
_MAX_SPACES = 100  # one element of an .odt may stand for any number of them


def read_office(name: str, raw: bytes) -> Reading:
    """A Word or OpenDocument file, told by its content: one text."""
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        content = package.read("content.xml") if "content.xml" in package.NameToInfo else None
    if content is None:
        markup, num_notes = _docx_html(name, raw)
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


def _docx_html(name: str, raw: bytes) -> tuple[str, int]:
    """The document as HTML, and how many footnotes it has."""
    try:
        import mammoth
    except ImportError:
        raise missing_package(name, ".docx") from None
    result = mammoth.convert_to_html(
        io.BytesIO(raw),
        style_map=_STYLE_MAP,
        include_embedded_style_map=False,
        ignore_empty_paragraphs=False,
        convert_image=lambda _: [],
    )
    return _NOTE_MARK.subn("", _NOTES.split(result.value)[0])


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
            name = _odt_paragraph(child, element)
            yield f"<{name}>"
            yield from _odt_pieces(child, is_inline=True)
            yield f"</{name}>"
        elif tag in _ODT_HTML:
            yield f"<{_ODT_HTML[tag]}>"
            yield from _odt_pieces(child)
            yield f"</{_ODT_HTML[tag]}>"
        elif tag not in _ODT_LEFT_OUT:  # sections, frames, text boxes, what extensions bring
            yield "<br />" if is_block else ""
            yield from _odt_pieces(child, is_inline=is_inline)
        if is_inline:
            yield _odt_text(child.tail)


def _odt_paragraph(element: Element, parent: Element) -> str:
    """The HTML element for a paragraph or heading."""
    if element.get(f"{_TEXT}style-name") == "Title" or element.get(f"{_TEXT}outline-level") == "1":
        return "h1"
    if element.tag.endswith("}h"):
        return "h2"
    return "div" if parent.tag.endswith("}list-item") else "p"


def _odt_text(text: str | None) -> str:
    return html.escape(re.sub(r"[ \t\r\n]+", " ", text or ""), quote=False)
