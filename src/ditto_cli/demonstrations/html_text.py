"""HTML -> plain text with its line and paragraph breaks. Of mails, pages, and documents that a library made HTML of."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DROPPED = frozenset({"script", "style", "title"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre"})
_LINES = frozenset({"div", "li", "tr", "hr", "body", "section", "article", "header", "footer"})
_LISTS = frozenset({"ul", "ol"})
_CELLS = frozenset({"td", "th"})
_BULLET = "- "
_HTML_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")


def html_to_text(html: str, *, is_document: bool = False) -> str:
    """The visible text of HTML.

    A quoted original (blockquote) is reduced to a line ">", which marks its place for `remove_quoted`.

    Args:
        html: a whole page or a part of one; it need not be well formed.
        is_document: made of an office document. There, each space was typed, and a table is no means of layout: a row
            is a line.
    """
    reader = _TextReader(is_document=is_document)
    reader.feed(tidied(html))
    reader.close()
    return "".join(reader.pieces)


def tidied(html: str) -> str:
    """The HTML without comments, and with nothing in it that never ends.

    The standard library's parser looks for the end of each open tag, comment and section anew: a broken mail of 100 KB
    takes it half a minute. Of sections that Office writes (<![if ...]>) it refuses some.
    """
    pieces: list[str] = []
    position = 0
    while (start := html.find("<!--", position)) >= 0:
        pieces.append(html[position:start])
        end = html.find("-->", start + 4)
        position = end + 3 if end >= 0 else len(html)  # one that never ends goes on to the end, as in browsers
    bare = "".join([*pieces, html[position:]]).replace("<![", "<!")
    last = bare.rfind(">") + 1
    return bare[:last] + bare[last:].replace("<", "&lt;")


class _TextReader(HTMLParser):
    def __init__(self, *, is_document: bool) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._is_document = is_document
        self._cell_depth = 0
        self._list_depth = 0
        self._dropped_depth = 0
        self._quote_depth = 0
        self._pre_depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._dropped_depth = 0  # a head that was never closed must not swallow the text
        if tag in _DROPPED:
            self._dropped_depth += 1
        elif tag == "blockquote":
            self._break(1)
            self._write(">")
            self._break(1)
            self._quote_depth += 1
        elif tag == "br":
            self._write("\n")
        elif not (tag in ("p", "div") and self.pieces and self.pieces[-1] == _BULLET):
            self._break_around(tag)
        if tag == "pre":
            self._pre_depth += 1
        elif tag in _LISTS:
            self._list_depth += 1
        elif tag in _CELLS:
            self._cell_depth += 1
        elif tag == "li":
            self._write(_BULLET)

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped_depth = max(0, self._dropped_depth - 1)
        elif tag == "blockquote":
            self._quote_depth = max(0, self._quote_depth - 1)
        elif tag == "pre":
            self._pre_depth = max(0, self._pre_depth - 1)
        elif tag in _LISTS:
            self._list_depth = max(0, self._list_depth - 1)
        elif tag in _CELLS:
            self._cell_depth = max(0, self._cell_depth - 1)
            self._end_cell_part()
        self._break_around(tag)

    def handle_data(self, data: str) -> None:
        if self._pre_depth or self._is_document:
            self._write(data)
            return
        folded = _HTML_SPACE.sub(" ", data)
        if not self.pieces or self.pieces[-1].endswith(("\n", " ")):
            folded = folded.lstrip(" ")
        self._write(folded)

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        """What Office writes as <![if ...]>; where the standard library gives up, browsers go on after the next ">"."""
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.rawdata.find(">", i) + 1 or -1

    def _break_around(self, tag: str) -> None:
        if self._is_document and self._cell_depth:
            if tag == "p":
                self._end_cell_part()
        elif tag in _LISTS and self._list_depth:
            self._break(1)  # a list inside a list
        elif tag in _PARAGRAPHS:
            self._break(2)
        elif tag in _LINES:
            self._break(1)

    def _end_cell_part(self) -> None:
        if not self._is_document or (self.pieces and not self.pieces[-1].endswith((" ", "\n"))):
            self._write(" ")

    def _break(self, num_line_ends: int) -> None:
        """End the line, and leave a blank one if `num_line_ends` is 2, unless that is so already."""
        if not self.pieces:
            return
        tail = "".join(self.pieces[-2:])
        present = len(tail) - len(tail.rstrip("\n"))
        self._write("\n" * max(0, num_line_ends - present))

    def _write(self, text: str) -> None:
        if text and not self._dropped_depth and not self._quote_depth:
            self.pieces.append(text)
