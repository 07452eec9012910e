"""Word and OpenDocument files (.docx, .odt) -> text: as the document reads with all changes accepted, notes left out.

Both go through HTML, so that lists and tables come out alike. Their libraries are the extra `documents`.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.common import empty, missing_package, titled_prompt
from ditto_cli.demonstrations.formats.limits import limited, parsing
from ditto_cli.demonstrations.formats.packages import check_package, is_old_word, is_protected, kind_of
from ditto_cli.demonstrations.html_text import html_to_text
from ditto_cli.demonstrations.reading import Reading, Skipped
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

if TYPE_CHECKING:
    from odfdo import Document, Element

_TITLE_CLASS = "document-title"
_STYLE_MAP = f"p[style-name='Title'] => h1.{_TITLE_CLASS}:fresh"
_EMPTY_PARAGRAPH = re.compile(r"<p>(?:\s|&nbsp;|<br ?/>|<a id=\"[^\"]*\"></a>)*</p>")
_TITLE = re.compile(rf'<h1 class="{_TITLE_CLASS}">(.*?)</h1>', re.DOTALL)
_FIRST_HEADING = re.compile(r"\s*<h1>(.*?)</h1>", re.DOTALL)
_EMPTY_SHARE = 1 / 3  # of the gaps between paragraphs, from which on an empty paragraph is the author's blank line
_MAX_SPACES = 100  # one element of an .odt may stand for any number of them
_COMMENT = "!"
_ODT_LEFT_OUT = frozenset(
    """! text:tracked-changes office:annotation office:annotation-end text:note text:sequence-decls text:variable-decls
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
        InputError: the extra is missing, or it is another kind of file, damaged, protected or empty.
    """
    if (kind := kind_of(raw)) == "odt":
        return read_odt(name, raw)
    _refuse_other_kinds(name, raw, kind, "docx", "a Word file")
    check_package(name, raw, "a Word file")
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

    with parsing(name, "a Word file"):
        result = mammoth.convert_to_html(
            io.BytesIO(raw),
            style_map=_STYLE_MAP,
            include_embedded_style_map=False,
            ignore_empty_paragraphs=False,
            convert_image=lambda _: [],
            transform_document=transforms.element_of_type(documents.NoteReference, without_note),
        )
    return _reading(name, str(result.value), num_notes)


def read_odt(name: str, raw: bytes) -> Reading:
    """An .odt file: one text.

    Raises:
        InputError: the extra is missing, or it is another kind of file, damaged, protected or empty.
    """
    if (kind := kind_of(raw)) == "docx":
        return read_docx(name, raw)
    _refuse_other_kinds(name, raw, kind, "odt", "an OpenDocument text")
    check_package(name, raw, "an OpenDocument file")
    try:
        from odfdo import Document
    except ImportError:
        raise missing_package(name, ".odt") from None

    with parsing(name, "an OpenDocument file"):
        document = Document(io.BytesIO(raw))
        body = document.body
        notes = body.get_elements("descendant::text:note")
        title_styles = _title_styles(document)
    with limited(name):
        pieces = "".join(_odt_blocks(body, title_styles))
    return _reading(name, pieces, len(notes))


def _refuse_other_kinds(name: str, raw: bytes, kind: str, wanted: str, what: str) -> None:
    if kind == wanted:
        return
    if kind == "ole" and is_protected(raw):
        raise InputError(f"{name} is protected with a password: save it without one, or save its text as .txt.")
    if kind == "ole" and is_old_word(raw):
        raise InputError(f"{name} is an old Word file (.doc) in spite of its name: save it anew as .docx or .txt.")
    if kind == "damaged":
        problem = "is damaged"
    else:
        found = f" (it looks like .{kind})" if kind not in ("", "ole") else ""
        problem = f"is not {what} in spite of its name{found}"
    raise InputError(f"{name} {problem}: open it in the program that wrote it, and save it anew as .{wanted} or .txt.")


def _reading(name: str, markup: str, num_notes: int) -> Reading:
    """The text of a document's HTML; its title, where the document shows one, becomes the prompt."""
    with limited(name):
        title, body = _split_title(markup)
        text = normalise_text(html_to_text(_with_typed_blank_lines(body), is_document=True))
        title = html_to_text(title, is_document=True).strip()
    if not text:
        title, text = "", normalise_text(title)
    if not text:
        raise InputError(empty(name))
    noun = "footnote" if num_notes == 1 else "footnotes"
    skipped = (Skipped(name, f"{num_notes} {noun} left out: only the running text is read"),) if num_notes else ()
    return Reading((SourceText(name, text, titled_prompt("a text", title)),), skipped)


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


def _title_styles(document: Document) -> frozenset[str]:
    """The names of the paragraph styles that are the style Title, or that a program derived from it."""
    names = {"Title"}
    for style in document.get_styles("paragraph", automatic=True):
        if style.get_attribute_string("style:parent-style-name") == "Title":
            names.add(str(style.get_attribute_string("style:name")))
    return frozenset(names)


def _odt_blocks(element: Element, title_styles: frozenset[str]) -> Iterator[str]:
    for child in element.children:
        tag = _tag(child)
        if tag in _ODT_LEFT_OUT:
            continue
        if tag == "text:p":
            paragraph = "".join(_odt_inline(child))
            if str(child.get_attribute_string("text:style-name")) in title_styles:
                yield f'<h1 class="{_TITLE_CLASS}">{paragraph}</h1>'
            else:
                yield f"<div>{paragraph}</div>" if _tag(element) == "text:list-item" else f"<p>{paragraph}</p>"
        elif tag == "text:h":
            level = child.get_attribute_string("text:outline-level")
            heading = "h1" if level == "1" else "h2"
            yield f"<{heading}>{''.join(_odt_inline(child))}</{heading}>"
        elif tag in _ODT_HTML:
            yield f"<{_ODT_HTML[tag]}>"
            yield from _odt_blocks(child, title_styles)
            yield f"</{_ODT_HTML[tag]}>"
        else:
            yield from _odt_blocks(child, title_styles)  # sections, frames, text boxes


def _odt_inline(element: Element) -> Iterator[str]:
    """A paragraph's text. Runs of white space in the XML mean one space; more are elements of their own."""
    yield _odt_text(element.text)
    for child in element.children:
        tag = _tag(child)
        if tag == "text:s":
            count = child.get_attribute_string("text:c") or "1"
            yield " " * (min(int(count), _MAX_SPACES) if count.isdecimal() and len(count) <= 4 else 1)
        elif tag == "text:tab":
            yield "\t"
        elif tag == "text:line-break":
            yield "<br />"
        elif tag in ("text:p", "text:h"):  # of a text box
            yield "<br />"
            yield from _odt_inline(child)
        elif tag not in _ODT_LEFT_OUT:
            yield from _odt_inline(child)
        yield _odt_text(child.tail or "")


def _tag(element: Element) -> str:
    try:
        return element.tag
    except ValueError:
        return ""  # of an extension that odfdo does not know; what is in it counts
    except TypeError:
        return _COMMENT  # or a processing instruction


def _odt_text(text: str) -> str:
    return html.escape(re.sub(r"[ \t\r\n]+", " ", text), quote=False)
