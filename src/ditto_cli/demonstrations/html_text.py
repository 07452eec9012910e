"""HTML -> plain text with its line and paragraph breaks. Of mails, pages, and documents that a library made HTML of.

Smileys that programs write as pictures or in symbol fonts become characters; other pictures leave nothing.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

# Elements inside which the text is read otherwise.
_REGIONS = {
    **dict.fromkeys(("script", "style", "title"), "dropped"),
    **dict.fromkeys(("ul", "ol"), "list"),
    **dict.fromkeys(("td", "th"), "cell"),
    "blockquote": "quote",
    "pre": "pre",
}
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "pre"})
_LINES = frozenset({"div", "li", "tr", "hr", "body", "section", "article", "header", "footer", "blockquote"})
_BULLET = "- "
_HTML_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
_COMMENTED_STYLE = re.compile(r"(<style\b[^<>]{0,200}>)\s{0,20}<!--", re.IGNORECASE)  # as Word hides its sheets
_MARGIN = re.compile(r"\bmargin(-top|-bottom)?\s*:([^;]*)")
_NUMBER = re.compile(r"\d*\.?\d+")
_MAX_ALT_CHARACTERS = 12  # a family in skin tones has eleven
# What Word writes for ":)", "-->" and what else it corrects; its own private characters lie 0xf000 above.
_WINGDINGS = dict(zip(map(ord, "JKLàßçèóüûCDFRY«n§v"), "🙂😐🙁→←⇐⇒⇔✓✗👍👎☞☀✡★■▪❖", strict=True))
_WORD_PRIVATE = {0xF000 + code: character for code, character in _WINGDINGS.items()}
_IN_WINGDINGS = re.compile(
    r"(<(?:span|font)\b[^<>]{0,300}wingdings[^<>]{0,300}>(?:<\w[^<>]{0,300}>){0,3})([^<>]+)", re.IGNORECASE
)
_BEGINS_AS_HTML = re.compile(
    r"\s*<(?:!--|(?:!doctype|html|p|div|h[1-6]|ul|ol|figure|article|section|span)\b[^>]*>)", re.IGNORECASE
)
# Word writes the dash or number of a list as text, and spaces in another font behind it.
_LIST_MARK = re.compile(
    r"<span\b[^<>]{0,300}mso-list:\s?ignore[^<>]{0,300}>([^<>]{0,30})(?:<span\b[^<>]{0,300}>[^<>]{0,300}</span>)?</span>",
    re.IGNORECASE,
)


def looks_like_html(text: str) -> bool:
    """Whether a text, such as the field of an export, is HTML and no plain text."""
    return _BEGINS_AS_HTML.match(text) is not None


def html_to_text(markup: str, *, is_document: bool = False) -> str:
    """The visible text of HTML.

    Quotations (blockquote) are left out. The markup need not be well formed. In that of an office document
    (`is_document`) each space was typed, and a table is no means of layout: a row is a line.
    """
    reader = _TextReader(is_document=is_document, tight=_tight_selectors(markup))

    def signs(match: re.Match[str]) -> str:
        return match[1] + html.escape(html.unescape(match[2]).translate(_WINGDINGS), quote=False)

    def list_mark(match: re.Match[str]) -> str:
        mark = html.unescape(match[1]).strip()
        return f"{mark} " if mark[:1].isalnum() and mark[-1] in ".)" else _BULLET

    reader.feed(_IN_WINGDINGS.sub(signs, _LIST_MARK.sub(list_mark, tidied(markup))))
    reader.close()
    return "".join(reader.pieces)


def tidied(markup: str) -> str:
    """The HTML without comments, and with nothing in it that never ends.

    The standard library's parser looks for the end of each open tag, comment and section anew: a broken mail of 100 KB
    takes it half a minute. Of sections that Office writes (<![if ...]>) it refuses some.
    """
    markup = _COMMENTED_STYLE.sub(r"\1", markup)
    pieces: list[str] = []
    position = 0
    while (start := markup.find("<!--", position)) >= 0:
        pieces.append(markup[position:start])
        end = markup.find("-->", start + 4)
        position = end + 3 if end >= 0 else len(markup)  # one that never ends goes on to the end, as in browsers
    bare = "".join([*pieces, markup[position:]]).replace("<![", "<! ")
    last = bare.rfind(">") + 1
    return bare[:last] + bare[last:].replace("<", "&lt;")


class _TextReader(HTMLParser):
    def __init__(self, *, is_document: bool, tight: dict[str, bool]) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._is_document = is_document
        self._tight = tight
        self._is_tight_paragraph = False
        self._has_blank_line = False  # the line is a space that does not break, with which programs keep a line open
        self._depths: Counter[str] = Counter()  # by region

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "body":
            self._depths["dropped"] = 0  # a head that was never closed must not swallow the text
        elif tag == "p":
            # To its writer a paragraph was a line where no space stands above and below it.
            attributes = dict(attrs)
            classes = (attributes.get("class") or "").lower().split()
            said = [_has_no_margins(attributes.get("style") or "")]
            said += [self._tight.get(f"{element}.{name}") for name in classes for element in ("p", "")]
            said += [True if name.startswith(("mso", "x_mso")) else None for name in classes]
            self._is_tight_paragraph = next((one for one in said if one is not None), self._tight.get("p", False))
        if tag == "br":
            self._write("\n")
        elif tag == "img":
            self._write(_emoji(dict(attrs)))
        elif not (tag in ("p", "div") and self.pieces and self.pieces[-1] == _BULLET):
            self._break_around(tag)
        if tag == "li":
            self._write(_BULLET)
        if region := _REGIONS.get(tag):
            self._depths[region] += 1

    def handle_endtag(self, tag: str) -> None:
        if region := _REGIONS.get(tag):
            self._depths[region] = max(0, self._depths[region] - 1)
        if region == "cell":
            self._end_cell_part()
        self._break_around(tag)

    def handle_data(self, data: str) -> None:
        data = data.translate(_WORD_PRIVATE)
        if self._depths["pre"] or self._is_document:
            self._write(data)
            return
        folded = _HTML_SPACE.sub(" ", data)
        if not self.pieces or self.pieces[-1].endswith(("\n", " ")):
            folded = folded.lstrip(" ")
            if not folded and "\xa0" in data and self.pieces and not self._depths["cell"]:
                self._has_blank_line = self.pieces[-1].endswith("\n")
        self._write(folded)

    def _break_around(self, tag: str) -> None:
        if self._is_document and self._depths["cell"]:
            if tag == "p":
                self._end_cell_part()
        elif _REGIONS.get(tag) == "list" and self._depths["list"]:
            self._break(1)  # a list inside a list
        elif tag in _PARAGRAPHS:
            self._break(1 if tag == "p" and self._is_tight_paragraph else 2)
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
        self._write("\n" * max(0, (2 if self._has_blank_line else num_line_ends) - present))

    def _write(self, text: str) -> None:
        if text and not self._depths["dropped"] and not self._depths["quote"]:
            self.pieces.append(text)
            self._has_blank_line = False


def _tight_selectors(markup: str) -> dict[str, bool]:
    """By "p", "p.class" and ".class": whether the page's style sheets take all space from such paragraphs."""
    found: dict[str, bool] = {}
    low = markup.lower()
    for rule in low[max(0, low.find("<style")) : low.rfind("</style") + 1].split("}"):
        selectors, _, style = rule.rpartition("{")
        said = _has_no_margins(style)
        if said is not None:
            names = selectors.rpartition(">")[2].split(",")
            found.update((name.split()[-1], said) for name in names if name.strip())
    return found


def _has_no_margins(style: str) -> bool | None:
    """Whether a style leaves no space above and below; None where it does not say both."""
    margins = _MARGIN.findall(style.lower())
    sizes = [_NUMBER.match(size) for _, value in margins for size in value.split()[::2]]
    if any(size is not None and float(size[0]) >= 0.1 for size in sizes):
        return False
    return True if sizes and all(sizes) and (len(margins) > 1 or not margins[0][0]) else None


def _emoji(attributes: dict[str, str | None]) -> str:
    """The character that a picture stands for; "" for other pictures, whatever their description says."""
    alt = (attributes.get("data-emoji") or attributes.get("alt") or "").strip()
    if not 0 < len(alt) <= _MAX_ALT_CHARACTERS or any(map(str.isalpha, alt)):
        return ""
    names = f"{attributes.get('class')} {attributes.get('src')}".lower()
    is_sign = any(character > "\u2000" and unicodedata.category(character) in ("So", "Me") for character in alt)
    return alt if is_sign or "emoji" in names or "smil" in names or "emoticon" in names else ""
