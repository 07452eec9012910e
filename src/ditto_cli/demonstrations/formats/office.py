"""Word and OpenDocument files (.docx, .odt) -> text: as the document reads with all changes accepted, notes left out.

Both go through HTML, so that lists and tables come out alike. The library for .docx is the extra `documents`.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.common import missing_package, titled_prompt, usable
from ditto_cli.demonstrations.formats.packages import check_package, kind_of
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

_READ = {"docx": "a Word file", "odt": "an OpenDocument text"}
_TITLE_CLASS = "document-title"
_STYLE_MAP = f"p[style-name='Title'] => h1.{_TITLE_CLASS}:fresh"
_EMPTY_PARAGRAPH = re.compile(r"<p>(?:\s|&nbsp;|<br ?/>|<a id=\"[^\"]*\"></a>)*</p>")
_TITLE = re.compile(rf'<h1 class="{_TITLE_CLASS}">(.*?)</h1>', re.DOTALL)
_FIRST_HEADING = re.compile(r"\s*<h1>(.*?)</h1>", re.DOTALL)
_EMPTY_SHARE = 1 / 3  # of the gaps between paragraphs, from which on an empty paragraph is the author's blank line
_MAX_SPACES = 100  # one element of an .odt may stand for any number of them
_NAMESPACE = "{{urn:oasis:names:tc:opendocument:xmlns:{}:1.0}}"
_TEXT, _STYLE = _NAMESPACE.format("text"), _NAMESPACE.format("style")
_ODT_LEFT_OUT = frozenset(
    """text:tracked-changes office:annotation office:annotation-end text:note text:sequence-decls text:variable-decls
    text:user-field-decls office:forms text:table-of-content text:alphabetical-index text:illustration-index
    text:table-index text:bibliography text:user-index text:object-index text:number text:ruby-text text:hidden-text
    text:hidden-paragraph svg:title svg:desc draw:image draw:object draw:object-ole office:binary-data
    table:table-columns table:table-column text:bibliography-mark-group office:event-listeners""".split()  # noqa: SIM905
)
_ODT_HTML = {
    "text:list": "ul",
    "text:list-item": "li",
    "text:list-header": "li",
    "table:table": "table",
    "table:table-row": "tr",
    "table:table-cell": "td",
}


def read_docx(name: str, raw: bytes) -> Reading:
    """A .docx file: one text.

    Raises:
        InputError: the extra is missing, or it is another kind of file, protected or empty.
    """
    return _read(name, raw, "docx")


def read_odt(name: str, raw: bytes) -> Reading:
    """An .odt file: one text.

    Raises:
        InputError: the extra is missing, or it is another kind of file, protected or empty.
    """
    return _read(name, raw, "odt")


def _read(name: str, raw: bytes, wanted: str) -> Reading:
    kind = kind_of(raw)
    if kind == "protected":
        raise InputError(f"{name} is protected with a password: save it without one, or save its text as .txt.")
    if kind == "doc":
        raise InputError(f"{name} is an old Word file (.doc) in spite of its name: save it anew as .docx or .txt.")
    if kind not in _READ:
        found = f" (it looks like .{kind})" if kind else ""
        problem = "is damaged" if kind == "damaged" else f"is not {_READ[wanted]} in spite of its name{found}"
        raise InputError(
            f"{name} {problem}: open it in the program that wrote it, and save it anew as .{wanted} or .txt."
        )
    check_package(name, raw)
    markup, num_notes = _docx_html(name, raw) if kind == "docx" else _odt_html(name, raw)
    # The title, where the document shows one, becomes the prompt.
    title, body = _split_title(markup)
    title = html_to_text(title, is_document=True).strip()
    text = normalise_text(html_to_text(_with_typed_blank_lines(body), is_document=True))
    if not text:
        title, text = "", usable(name, title)
    noun = "footnote" if num_notes == 1 else "footnotes"
    skipped = (Skipped(name, f"{num_notes} {noun} left out: only the running text is read"),) if num_notes else ()
    return Reading((SourceText(name, text, titled_prompt("a text", title)),), skipped)


def _docx_html(name: str, raw: bytes) -> tuple[str, int]:
    """The document as HTML, and how many footnotes it has."""
    try:
        import mammoth
        from mammoth import documents, transforms
    except ImportError:
        raise missing_package(name, ".docx") from None

    num_notes = 0

    def without_note(_: object) -> Any:
        nonlocal num_notes
        num_notes += 1
        return documents.text("")

    result = mammoth.convert_to_html(
        io.BytesIO(raw),
        style_map=_STYLE_MAP,
        include_embedded_style_map=False,
        ignore_empty_paragraphs=False,
        convert_image=lambda _: [],
        transform_document=transforms.element_of_type(documents.NoteReference, without_note),
    )
    return str(result.value), num_notes


def _odt_html(name: str, raw: bytes) -> tuple[str, int]:
    """The document as HTML, and how many footnotes it has.

    Raises:
        InputError: there is no body of text in it.
    """
    with zipfile.ZipFile(io.BytesIO(raw)) as package:
        content = ElementTree.fromstring(package.read("content.xml"))
    # The style Title, and those that a program derived from it.
    titles = {"Title"}
    for style in content.iter(f"{_STYLE}style"):
        if style.get(f"{_STYLE}parent-style-name") == "Title":
            titles.add(style.get(f"{_STYLE}name", ""))
    body = content.find("./{*}body/{*}text")
    if body is None:
        raise InputError(
            f"{name} holds no text: open it in the program that wrote it, and save it anew as .odt or .txt."
        )
    return "".join(_odt_blocks(body, titles)), sum(1 for _ in body.iter(f"{_TEXT}note"))


def _split_title(markup: str) -> tuple[str, str]:
    """The title, as HTML, and the rest: a paragraph of the style Title, or the only heading 1 if all begins with it."""
    found = _TITLE.search(markup)
    if found is None and markup.count("<h1") == 1:
        found = _FIRST_HEADING.match(_EMPTY_PARAGRAPH.sub("", markup))
        markup = _EMPTY_PARAGRAPH.sub("", markup) if found else markup
    return (found[1], markup[: found.start()] + markup[found.end() :]) if found else ("", markup)


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


def _odt_blocks(element: Element, titles: set[str]) -> Iterator[str]:
    for child in element:
        tag = _tag(child)
        if tag in _ODT_LEFT_OUT:
            continue
        if tag == "text:p":
            paragraph = "".join(_odt_inline(child))
            if child.get(f"{_TEXT}style-name") in titles:
                yield f'<h1 class="{_TITLE_CLASS}">{paragraph}</h1>'
            else:
                yield f"<div>{paragraph}</div>" if _tag(element) == "text:list-item" else f"<p>{paragraph}</p>"
        elif tag == "text:h":
            heading = "h1" if child.get(f"{_TEXT}outline-level") == "1" else "h2"
            yield f"<{heading}>{''.join(_odt_inline(child))}</{heading}>"
        elif tag in _ODT_HTML:
            yield f"<{_ODT_HTML[tag]}>"
            yield from _odt_blocks(child, titles)
            yield f"</{_ODT_HTML[tag]}>"
        else:
            yield from _odt_blocks(child, titles)  # sections, frames, text boxes, what extensions bring


def _odt_inline(element: Element) -> Iterator[str]:
    """A paragraph's text. Runs of white space in the XML mean one space; more are elements of their own."""
    yield _odt_text(element.text)
    for child in element:
        tag = _tag(child)
        if tag == "text:s":
            count = child.get(f"{_TEXT}c", "1")
            yield " " * (min(int(count), _MAX_SPACES) if count.isdecimal() and len(count) <= 4 else 1)
        elif tag == "text:tab":
            yield "\t"
        elif tag == "text:line-break":
            yield "<br />"
        elif tag not in _ODT_LEFT_OUT:
            yield "<br />" if tag in ("text:p", "text:h") else ""  # of a text box
            yield from _odt_inline(child)
        yield _odt_text(child.tail)


def _tag(element: Element) -> str:
    """The element's name with the prefix that programs write: "text:p"."""
    namespace, _, name = element.tag.rpartition("}")
    return f"{namespace.removesuffix(':1.0').removesuffix('-compatible').rpartition(':')[2]}:{name}"


def _odt_text(text: str | None) -> str:
    return html.escape(re.sub(r"[ \t\r\n]+", " ", text or ""), quote=False)
