"""A PDF -> its text, in paragraphs again. A PDF knows lines at places of a page; all else is told by their look.

Running heads, page numbers and hyphens at line ends are taken out. The library is the extra `documents`.
"""

from __future__ import annotations

import ctypes
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.common import missing_package, titled_prompt
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, SourceText

_HEAD_BYTES = 1024
_MAX_PAGES = 1000
_EDGE_LINES = 3  # of a page, that may be running heads or feet
_REPEATED_SHARE = 0.6  # of the pages, on which the same line at the same edge is a running head
_GAP = 1.35  # times the usual distance of lines: more is space between paragraphs
_SIZE_STEP = 1.15  # a heading's letters are larger
_INDENT = 0.8  # of the letter size, from which on a first line is indented
_FULL_SHARE = 0.85  # of the widest line: a shorter line, into which the next word had fitted, was ended on purpose
_UNREADABLE_SHARE = 0.2
_HYPHEN = "\ufffe"  # what pdfium writes for one at the end of a line, in place of the line end
_LINE = re.compile(rf"[^\r\n{_HYPHEN}]+{_HYPHEN}?")
_BULLET = re.compile(r"(?:[-*\u2022\u2023\u25aa\u25cf\u2013]|\d{1,2}[.)])\s")
_SENTENCE_END = re.compile(r"[.!?\u2026:;\u3002\uff01\uff1f][\"'\u2019\u201d»)\]]*$")
_CJK = re.compile(r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]")
_UNREADABLE = re.compile(r"[\ufffd\ue000-\uf8ff\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True)
class _Line:
    """A line of a page: its place in points, from the left and from the bottom, and the size of its letters."""

    text: str
    x: float
    y: float
    size: float


def read_pdf(name: str, raw: bytes) -> Reading:
    """A .pdf file with text in it: one text.

    Raises:
        InputError: the extra is missing, or it is another kind of file, encrypted, or only pictures of pages.
    """
    if b"%PDF-" not in raw[:_HEAD_BYTES]:
        raise InputError(
            f"{name} is not a PDF in spite of its name: open it in the program that wrote it, and save it as .txt."
        )
    try:
        import pypdfium2
    except ImportError:
        raise missing_package(name, ".pdf") from None
    try:
        document = pypdfium2.PdfDocument(raw)
    except pypdfium2.PdfiumError:
        if b"/Encrypt" not in raw:  # its error code may be that of a file before
            raise
        raise InputError(
            f"{name} is protected (encrypted), so its text cannot be read: print it into a new PDF, or save it as .txt."
        ) from None
    if len(document) > _MAX_PAGES:
        raise InputError(
            f"{name} has more than {_MAX_PAGES} pages: put a few texts of a person into files of their own."
        )
    text = normalise_text(_text_of([_lines(page.get_textpage()) for page in document]))
    if not text:
        raise InputError(
            f"{name} holds pictures of pages and no text: run a text recognition (OCR) over it first, "
            "or type the text as .txt."
        )
    if len(_UNREADABLE.findall(text)) > _UNREADABLE_SHARE * len(text):
        raise InputError(
            f"{name} does not say which letters its text is made of: run a text recognition (OCR) over it, "
            "or type the text as .txt."
        )
    # A title in the file's properties is one if the text begins with it.
    title = " ".join(normalise_text(document.get_metadata_value("Title")).split())
    first, _, rest = text.partition("\n")
    if not (title and first.strip() == title and rest.strip()):
        title, rest = "", text
    return Reading((SourceText(name, rest.strip("\n"), titled_prompt("a text", title)),))


def _lines(page: Any) -> list[_Line]:
    from pypdfium2 import raw as pdfium

    lines: list[_Line] = []
    text = page.get_text_range()
    x, y, matrix = ctypes.c_double(), ctypes.c_double(), pdfium.FS_MATRIX()
    for match in _LINE.finditer(text):
        shown = " ".join(match[0].replace(_HYPHEN, "-").split())
        if shown:
            start = match.start() + len(match[0]) - len(match[0].lstrip())
            index = pdfium.FPDFText_GetCharIndexFromTextIndex(page, start)
            pdfium.FPDFText_GetCharOrigin(page, index, x, y)
            pdfium.FPDFText_GetMatrix(page, index, matrix)
            size = pdfium.FPDFText_GetFontSize(page, index)
            lines.append(_Line(shown, x.value, y.value, abs(size * matrix.d) or size))
    return lines


def _text_of(pages: Sequence[Sequence[_Line]]) -> str:
    bare = _without_edges(pages)
    lines = [line for page in bare for line in page]
    if not lines:
        return ""
    steps = [above.y - below.y for page in bare for above, below in pairwise(page)]
    usual_step = _usual([step for step in steps if step > 0])
    widest = max(len(line.text) for line in lines)
    hyphenated = frozenset(re.findall(r"\w+-\w+", " ".join(line.text for line in lines)))
    pieces = [lines[0].text]
    for above, below in pairwise(lines):
        if separator := _separator(above, below, usual_step, widest):
            pieces += [separator, below.text]
        else:
            pieces += _continued(pieces.pop(), below.text, hyphenated)
    return "".join(pieces)


def _usual(steps: Sequence[float]) -> float:
    """The distance of lines within paragraphs: the most frequent one, the smaller of several."""
    counts = Counter(round(step, 1) for step in steps)
    if not counts:
        return 0.0
    most = max(counts.values())
    return min(step for step, count in counts.items() if count == most) if most > 1 else statistics.median(steps)


def _separator(above: _Line, below: _Line, usual_step: float, widest: int) -> str:
    """What stands between two lines: a blank line, a line end, or nothing if the paragraph goes on."""
    step = above.y - below.y
    has_other_size = not 1 / _SIZE_STEP < above.size / (below.size or 1) < _SIZE_STEP
    # The end of a column or a page says nothing; the sentence does.
    ends_with_column = step < 0 and _SENTENCE_END.search(above.text) is not None
    if step > _GAP * usual_step or has_other_size or ends_with_column:
        return "\n\n"
    if above.text.endswith("-") and below.text[:1].islower():
        return ""
    first_word = below.text.split(maxsplit=1)[0]
    was_ended = len(above.text) + 1 + len(first_word) <= _FULL_SHARE * widest
    is_indented = step > 0 and below.x - above.x > _INDENT * below.size
    if is_indented and (was_ended or _SENTENCE_END.search(above.text)):
        return "\n\n"
    return "\n" if _BULLET.match(below.text) or (was_ended and step >= 0) else ""


def _continued(line: str, following: str, hyphenated: frozenset[str]) -> tuple[str, str]:
    if line.endswith("\u00ad"):
        return line[:-1], following
    head = re.search(r"(\w+)-$", line[-60:])
    if head is not None and following[:1].islower():
        tail = re.match(r"\w+", following)
        is_compound = tail is not None and f"{head[1]}-{tail[0]}" in hyphenated
        return line if is_compound else line[:-1], following
    if _CJK.match(line[-1:]) and _CJK.match(following):
        return line, following
    return f"{line} ", following


def _without_edges(pages: Sequence[Sequence[_Line]]) -> list[list[_Line]]:
    """The pages without running heads, running feet and page numbers."""
    bare = [list(page) for page in pages]
    for edge in (0, -1):
        for _ in range(_EDGE_LINES):
            counts = Counter(_shape(page[edge].text) for page in bare if page)
            least = max(2, _REPEATED_SHARE * sum(counts.values())) if len(pages) > 2 else len(pages) + 1
            for number, page in enumerate(bare, start=1):
                if page and (counts[_shape(page[edge].text)] >= least or _is_number(page[edge].text, number, counts)):
                    del page[edge]
    return bare


def _shape(text: str) -> str:
    """A line without the page number that it may begin or end with."""
    return re.sub(r"^\d+\b|\b\d+\W*$", "#", text)


def _is_number(text: str, page: int, counts: Counter[str]) -> bool:
    match = _page_number().fullmatch(text)
    return match is not None and (
        bool(match["page"] or match["of"]) or str(page) in re.findall(r"\d+", text) or counts[_shape(text)] > 2
    )


@cache
def _page_number() -> re.Pattern[str]:
    page, of = ("|".join(map(re.escape, words("pages")[subject])) for subject in ("page", "of"))
    dash = "[-\u2013\u2014]?"
    return re.compile(
        rf"(?P<page>{page})?\s*{dash}\s*\d{{1,4}}\s*{dash}(?P<of>\s*(?:{of})\s*\d{{1,4}})?", re.IGNORECASE
    )
