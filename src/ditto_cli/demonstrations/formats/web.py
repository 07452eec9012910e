"""A page (.html) -> its posts, with a prompt made of the title. Menus, comments and other people's words stay out.

The rules are those of HTML itself (article, main, nav, ...) and of the blog programs that many use.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.common import decoded, titled_prompt
from ditto_cli.demonstrations.formats.front_matter import split_front_matter
from ditto_cli.demonstrations.html_text import html_to_text, tidied
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_FRAME = frozenset({"html", "body", "main", "article"})  # whatever their classes are, they hold the content
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_META_CHARSET = re.compile(rb"<meta\s[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:-]{2,30})", re.IGNORECASE)
_META_BYTES = 4096  # within which a page names its charset
_BEGINS_AS_HTML = re.compile(
    r"\s*<(?:!--|(?:!doctype|html|p|div|h[1-6]|ul|ol|figure|article|section|span)\b[^>]*>)", re.IGNORECASE
)
_SITE_NAME = re.compile(r"\s+(?:\||»|::|·)\s+[^|»·]*$")
_SITE_NAME_AFTER_DASH = re.compile(r"(?<=\S)\s+[-\u2013\u2014]\s+(?:\S+\s+){0,2}\S+$")
_WORDS_OF_A_TITLE = 3
_QUOTE_REASON = "a quotation in it (blockquote) is left out: not the person's own words"


def read_html(name: str, raw: bytes) -> Reading:
    """A page's posts: each `<article>` is one, else the main part of the page is.

    Raises:
        InputError: binary, or nothing but menus and quotations.
    """
    from bs4 import BeautifulSoup  # takes longer to import than most commands take

    # A page that says so in ASCII is not in UTF-16.
    named = _META_CHARSET.search(raw[:_META_BYTES])
    charset = named[1].decode("ascii") if named and b"utf-16" not in named[1].lower() else None
    head = split_front_matter(name, decoded(name, raw, charset))  # of a post of Jekyll
    soup = BeautifulSoup(tidied(head.body), "html.parser")
    page_title = _page_title(soup)
    articles, num_teasers = _articles(soup)
    roots = articles or [soup.find("main") or soup.find(role="main") or soup.body or soup]
    # First of all: a heading may stand in a <header>, which is left out.
    titles = [_take_heading(root, is_one_of_many=len(roots) > 1) for root in roots]
    for tag in soup.find_all(_is_left_out):
        if not tag.decomposed:
            tag.decompose()
    texts: list[SourceText] = []
    skipped = [Skipped(name, "the teaser of another post")] * num_teasers
    for number, (root, title) in enumerate(zip(roots, titles, strict=True), start=1):
        identity = name if len(roots) == 1 else f"{name}#{number}"
        quotations = root.find_all("blockquote")
        for quotation in quotations:
            if not quotation.decomposed:
                quotation.decompose()
        text = normalise_text(html_to_text(str(root)))
        if not text:
            skipped.append(Skipped(identity, "no text of its own in this article"))
            continue
        prompt = titled_prompt("a post", title)
        if len(roots) == 1:
            prompt = head.prompt or titled_prompt("a post", title or page_title)
        texts.append(SourceText(identity, text, prompt))
        if quotations:
            skipped.append(Skipped(identity, _QUOTE_REASON))
    if not texts:
        raise InputError(
            f"{name} has no text of its own (only menus, scripts or quotations): copy your text from the page "
            "and save it as .txt."
        )
    return Reading(tuple(texts), tuple(skipped))


def looks_like_html(text: str) -> bool:
    """Whether a text, such as the field of an export, is HTML and no plain text."""
    return _BEGINS_AS_HTML.match(text) is not None


def _page_title(soup: BeautifulSoup) -> str:
    headings = [text for tag in _outermost(soup, lambda tag: tag.name == "h1") if (text := _one_line(tag))]
    if len(headings) == 1:
        return headings[0]
    if soup.title is None:
        return ""
    title = _one_line(soup.title)
    shorter = _SITE_NAME.sub("", title)
    if shorter == title:
        shorter = _SITE_NAME_AFTER_DASH.sub("", title)
        if len(shorter.split()) < _WORDS_OF_A_TITLE:
            shorter = title
    return shorter


def _articles(soup: BeautifulSoup) -> tuple[list[Tag], int]:
    """The posts of a page, and how many articles are teasers of others: beside the only one with an h1."""
    bounds = _outermost(soup, lambda tag: tag.name == "article" or _is_left_out(tag))
    articles = [tag for tag in bounds if tag.name == "article"]
    main = [article for article in articles if article.find("h1") is not None]
    if len(articles) > 1 and len(main) == 1:
        return main, len(articles) - 1
    return articles, 0


def _outermost(soup: BeautifulSoup, is_one: Callable[[Tag], bool]) -> Iterator[Tag]:
    """The elements of a kind that lie in no other of it; in one pass, for old pages are nested thousands deep."""
    inside: set[int] = set()
    for tag in soup.find_all(True):  # parents come before their children
        if id(tag.parent) in inside:
            inside.add(id(tag))
        elif is_one(tag):
            inside.add(id(tag))
            yield tag


def _is_left_out(tag: Tag) -> bool:
    left_out = words("page_parts")
    if tag.name in left_out["elements"]:
        return True
    if tag.name in _FRAME or not tag.attrs:
        return False
    names = {*_words(tag.get("class")), *_words(tag.get("id"))}
    return (
        not names.isdisjoint(left_out["names"])
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or not set(_words(tag.get("role"))).isdisjoint(left_out["roles"])
        or _HIDDEN_STYLE.search(" ".join(_words(tag.get("style")))) is not None
    )


def _words(value: str | Iterable[str] | None) -> list[str]:
    joined = value if isinstance(value, str) else " ".join(value or ())
    return joined.lower().split()


def _take_heading(root: Tag, *, is_one_of_many: bool) -> str:
    """The heading of a part, which is taken out of it: the prompt says it."""
    heading = root.find(["h1", "h2", "h3"] if is_one_of_many else "h1")
    if heading is None or not (is_one_of_many or len(root.find_all("h1")) == 1):
        return ""
    title = _one_line(heading)
    heading.decompose()
    return title


def _one_line(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())
