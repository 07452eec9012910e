"""The HTML of an email -> plain text with its line and paragraph breaks; a quoted original becomes a line ">"."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_DROPPED = frozenset({"script", "style", "title"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre"})
_LINES = frozenset({"div", "li", "tr", "hr", "body", "section", "article", "header", "footer"})
_HTML_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")


def html_to_text(html: str) -> str:
    """The visible text of an HTML email.

    A quoted original (blockquote) is reduced to a line ">", which marks its place for `remove_quoted`.
    """
    reader = _TextReader()
    reader.feed(html)
    reader.close()
    return "".join(reader.pieces)


class _TextReader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
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
        else:
            self._break_around(tag)
        if tag == "pre":
            self._pre_depth += 1
        if tag == "li":
            self._write("- ")

    def handle_endtag(self, tag: str) -> None:
        if tag in _DROPPED:
            self._dropped_depth = max(0, self._dropped_depth - 1)
        elif tag == "blockquote":
            self._quote_depth = max(0, self._quote_depth - 1)
        elif tag == "pre":
            self._pre_depth = max(0, self._pre_depth - 1)
        elif tag in ("td", "th"):
            self._write(" ")
        self._break_around(tag)

    def handle_data(self, data: str) -> None:
        if self._pre_depth:
            self._write(data)
            return
        folded = _HTML_SPACE.sub(" ", data)
        if not self.pieces or self.pieces[-1].endswith(("\n", " ")):
            folded = folded.lstrip(" ")
        self._write(folded)

    def _break_around(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._break(2)
        elif tag in _LINES:
            self._break(1)

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
