"""HTML -> plain text with its line and paragraph breaks. Of mails, pages, and documents that a library made HTML of.

Smileys that programs write as pictures or in symbol fonts become characters; other pictures leave nothing. In mails,
programs mark quotes and signatures by element and class: quotes become lines with ">" first, signatures go.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

from ditto_cli.demonstrations.words import words

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
    reader = _TextReader(_tight_selectors(markup), is_document=is_document)
    reader.feed(_prepare(markup))
    reader.close()
    return "".join(reader.pieces)


def _prepare(markup: str) -> str:
    """The HTML `tidied`, with characters for signs in symbol fonts and for the marks of Word's lists."""

    def signs(match: re.Match[str]) -> str:
        return match[1] + html.escape(html.unescape(match[2]).translate(_WINGDINGS), quote=False)

    def list_mark(match: re.Match[str]) -> str:
        mark = html.unescape(match[1]).strip()
        return f"{mark} " if mark[:1].isalnum() and mark[-1] in ".)" else _BULLET

    return _IN_WINGDINGS.sub(signs, _LIST_MARK.sub(list_mark, tidy(markup)))


def tidy(markup: str) -> str:
    """The HTML without comments, and with nothing in it that never ends.

    The standard library's parser looks for the end of each open tag, comment and section anew: a broken mail of 100 KB
    takes it half a minute. Of sections that Office writes (<![if ...]>) it refuses some.
    """
    # A comment that never ends goes on to the end, as in browsers.
    bare = re.sub(r"<!--.*?(?:-->|\Z)", "", _COMMENTED_STYLE.sub(r"\1", markup), flags=re.DOTALL).replace("<![", "<! ")
    last = bare.rfind(">") + 1
    return bare[:last] + bare[last:].replace("<", "&lt;")


class _TextReader(HTMLParser):
    """Makes `pieces` of text of the tags and texts that it is told; `tight` as of `_tight_selectors`."""

    def __init__(self, tight: dict[str, bool], *, is_document: bool = False) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._is_document = is_document
        self._tight = tight
        self._is_tight_paragraph = False
        self._has_blank_line = False  # the line is a space that does not break, with which programs keep a line open
        self._depths: Counter[str] = Counter()  # by region
        self._numbers: list[int] = []  # of the next items of the lists around; 0 where they have none
        self._mark = ""  # of the item that was begun last

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
        else:
            self._break_around(tag)
        if tag == "li":
            number = self._numbers[-1] if self._numbers else 0
            self._mark = f"{number}. " if number else _BULLET
            self._write(self._mark)
            self._numbers[-1:] = [number + bool(number)]
        if region := _REGIONS.get(tag):
            self._depths[region] += 1
        if region == "list":
            attributes = dict(attrs)
            has_marks_of_its_own = "type" in attributes or "none" in (attributes.get("style") or "")
            start = attributes.get("start") or ""
            number = int(start) if re.fullmatch(r"[1-9]\d{0,5}", start) else 1
            is_numbered = tag == "ol" and not has_marks_of_its_own and "reversed" not in attributes
            self._numbers.append(number if is_numbered else 0)

    def handle_endtag(self, tag: str) -> None:
        if region := _REGIONS.get(tag):
            self._depths[region] = max(0, self._depths[region] - 1)
        if region == "list":
            del self._numbers[-1:]
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

    def write_line(self, text: str) -> None:
        """Text as it is, as a paragraph of its own."""
        self._break_around("p")
        self._write(text)
        self._break_around("p")

    def _break_around(self, tag: str) -> None:
        if tag in ("p", "div") and self.pieces and self.pieces[-1] == self._mark:
            return  # the mark and the item are one line
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
        tail = "".join(piece[-2:] for piece in self.pieces[-2:])
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
    if not 0 < len(alt) <= 12 or any(map(str.isalpha, alt)):  # a family in skin tones has eleven
        return ""
    names = f"{attributes.get('class')} {attributes.get('src')}".lower()
    is_sign = any(character > "\u2000" and unicodedata.category(character) in ("So", "Me") for character in alt)
    return alt if is_sign or "emoji" in names or "smil" in names or "emoticon" in names else ""


# --- mails

_KINDS: dict[str, str] = {name: kind for kind, names in words("quotes")["html_marks"].items() for name in names}
_OUTLOOK_RULE = re.compile(r"border-top:\s?solid #(?:E1E1E1|B5C4DF)", re.IGNORECASE)
# A line down the left side is how every program shows a quote, Outlook's prefix for each line among them.
_LEFT_RULE = re.compile(r"border-left:\s?(?!none|0)[^;\"']{0,60}\b(?:solid|\d)", re.IGNORECASE)
# Gmail's "indent more": the person's own words.
_INDENTED = re.compile(r"margin:\s?0(?:px)?\s0(?:px)?\s0(?:px)?\s40px;\s?border:\s?(?:none|medium none)", re.IGNORECASE)
_HIDDEN = re.compile(
    r"display:\s?none|mso-hide:\s?all|visibility:\s?hidden|(?<![\w-])(?:max-height|opacity):\s?0(?:px)?\s?(?:[;!]|\Z)",
    re.IGNORECASE,
)
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905


def html_mail_to_text(html: str) -> str:
    """The visible text of an HTML email; quoted lines begin with ">"."""
    prepared = _prepare(html)
    reader = _MailReader(_tight_selectors(html), prepared.lower().count("<blockquote"))
    reader.feed(prepared)
    reader.close()
    while reader.regions:
        reader.end_region()
    return "".join(reader.own.pieces)


class _MailReader(HTMLParser):
    """Hands each part of an email to the reader of what its sender wrote, to one of a quote, or to none."""

    def __init__(self, tight: dict[str, bool], num_blockquotes: int) -> None:
        super().__init__(convert_charrefs=True)
        self.own = _TextReader(tight)
        # Elements that are not own: kind, name, and how many of that name are open from there on.
        self.regions: list[tuple[str, str, int]] = []
        self._tight = tight
        self._to: _TextReader | None = self.own
        self._num_blockquotes = num_blockquotes  # from here on

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._num_blockquotes -= tag == "blockquote"
        around, name, num = self.regions[-1] if self.regions else ("", "", 0)
        kind = self._kind(tag, {key: value or "" for key, value in attrs}) if around in ("", "wrapped") else ""
        if kind and (kind == "quote" or not around) and (tag not in _VOID or kind == "rest"):
            self.regions.append((kind, "" if kind == "rest" else tag, 1))
            self._to = _TextReader(self._tight) if kind in ("quote", "rest") else None
            return
        if tag == name:
            self.regions[-1] = (around, name, num + 1)
        if self._to is not None:
            if tag == "blockquote" and self._to is self.own:  # only an indentation
                tag = "div"
            elif tag == "blockquote":
                self._to.write_line(">")  # where a quote in the quote stood
            self._to.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        kind, name, num = self.regions[-1] if self.regions else ("", "", 0)
        if tag == name and num == 1:
            self.end_region()
            return
        if tag == name:
            self.regions[-1] = (kind, name, num - 1)
        if self._to is not None:
            self._to.handle_endtag("div" if tag == "blockquote" and self._to is self.own else tag)

    def handle_data(self, data: str) -> None:
        if self.regions and self.regions[-1][0] == "attribution" and data.lstrip().startswith("-----"):
            self.regions[-1] = ("rest", "", 1)  # it heads a forward, in which others are quoted
            self._to = _TextReader(self._tight)
        if self._to is not None:
            self._to.handle_data(data)

    def end_region(self) -> None:
        """End the innermost element that is not the sender's."""
        self.regions.pop()
        if self._to is not None:
            lines = "".join(self._to.pieces).strip().split("\n")
            self.own.write_line("\n".join(["", *(f"> {line}" for line in lines), ""]))
        self._to = None if self.regions else self.own

    def _kind(self, tag: str, attributes: dict[str, str]) -> str:
        """What a start tag begins, by the names of words/quotes.yaml; "" for an element of the person's own text."""
        style = attributes.get("style", "")
        if tag == "blockquote":
            return "" if _INDENTED.search(style) else "quote"
        if _HIDDEN.search(style):
            return "dropped"
        has_quote_below = self._num_blockquotes > 0
        name = attributes.get("name", "") if tag == "div" else ""
        for word in f"{attributes.get('class', '')} {attributes.get('id', '')} {name}".lower().split():
            if word == "gmail_attr":
                return "attribution" if has_quote_below else "rest"  # without a quote it is a forward
            if kind := _KINDS.get(word):
                return "quote" if kind == "wrapped" and not has_quote_below else kind
        if tag == "div" and _LEFT_RULE.search(style):
            return "quote"
        return "rest" if _OUTLOOK_RULE.search(style) else ""
