"""A PDF -> its text, in paragraphs again. A PDF knows lines at places of a page; all else is told by their look.

Running heads, page numbers and hyphens at line ends are taken out. The library is the extra `documents`.
"""

from __future__ import annotations

import ctypes
import re
import statistics
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.reader_basics import missing_package
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, SourceText

_REPEATED_SHARE = 0.6  # of the pages, on which the same line at the same edge is a running head
_GAP = 1.35  # times the usual distance of lines: more is space between paragraphs
_FULL_SHARE = 0.85  # of the widest line: a shorter line, into which the next word had fitted, was ended on purpose
_UNREADABLE_SHARE = 0.2
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
    """A line of a page, and how high its letters stand, in points."""

    text: str
    y: float


def read_pdf(name: str, raw: bytes) -> Reading:
    """A .pdf file with text in it: one text."""
    try:
        import pypdfium2
    except ImportError:
        raise missing_package(name, ".pdf") from None
    document = pypdfium2.PdfDocument(raw)
    text = normalise_text(_text_of([_lines(page.get_textpage()) for page in document]))
    if not text or len(_UNREADABLE.findall(text)) > _UNREADABLE_SHARE * len(text):
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
        if separator := _separator(above, below, usual_step, widest):
            pieces += [separator, below.text]
        elif _BROKEN_WORD.search(above.text) and below.text[:1].islower():
            pieces += [pieces.pop()[:-1], below.text]
        else:
            pieces += ["" if _CJK.match(above.text[-1:]) and _CJK.match(below.text) else " ", below.text]
    return "".join(pieces)


def _separator(above: _Line, below: _Line, usual_step: float, widest: int) -> str:
    """What stands between two lines: a blank line, a line end, or nothing if the paragraph goes on."""
    step = above.y - below.y
    ends_sentence = _SENTENCE_END.search(above.text) is not None
    # The end of a column or a page says nothing; the sentence does.
    if step > _GAP * usual_step or (step < 0 and ends_sentence):
        return "\n\n"
    if _BROKEN_WORD.search(above.text) and below.text[:1].islower():
        return ""
    first_word = below.text.split(maxsplit=1)[0]
    was_ended = step >= 0 and len(above.text) + 1 + len(first_word) <= _FULL_SHARE * widest
    if _BULLET.match(below.text):
        return "\n"
    return "" if not was_ended else "\n\n" if ends_sentence else "\n"


def _without_edges(pages: Sequence[Sequence[_Line]]) -> list[list[_Line]]:
    """The pages without running heads, running feet and page numbers: one line or two at each edge."""
    bare = [list(page) for page in pages]
    for edge in (0, -1, 0, -1):
        counts = Counter(_shape(page[edge].text) for page in bare if page)
        least = max(3, _REPEATED_SHARE * len(pages))
        for number, page in enumerate(bare, start=1):
            text = page[edge].text if page else ""
            is_number = _PAGE_NUMBER.fullmatch(text) is not None and str(number) in re.findall(r"\d+", text)
            if page and (is_number or counts[_shape(text)] >= least):
                del page[edge]
    return bare


def _shape(text: str) -> str:
    """A line without the page number that it may begin or end with."""
    return re.sub(r"^\d+\b|\b\d+\W*$", "#", text)
