"""The HTML of an email -> plain text in which what mail programs quote stands in lines with ">".

Mail programs mark quotes and signatures by element and class; here those marks become the ones that `quotes` knows.
Tags are read one after the other: a tree of hostile HTML takes minutes to build and to search.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

from ditto_cli.demonstrations.html_text import html_to_text, tidied
from ditto_cli.demonstrations.words import words

_Kind = Literal["quote", "wrapped", "rest", "dropped"]

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9:]{0,30})\b([^<>]*)>")
_NAMES = re.compile(
    r"\b(?:class|id)\s{0,3}=\s{0,3}(?:\"([^\"]{0,400})|'([^']{0,400})|([^\s\"'>]{1,100}))", re.IGNORECASE
)
_KINDS: dict[str, _Kind] = {name: kind for kind, names in words("quotes")["html_marks"].items() for name in names}
_GMAIL_ATTRIBUTION = "gmail_attr"
_OUTLOOK_RULE = re.compile(r"border-top:\s?solid #(?:E1E1E1|B5C4DF)", re.IGNORECASE)
# A line down the left side is how every program shows a quote, Outlook's prefix for each line among them.
_LEFT_RULE = re.compile(r"border-left:\s?(?!none|0)[^;\"']{0,60}\b(?:solid|\d)", re.IGNORECASE)
# Gmail's "indent more": the person's own words.
_INDENTED = re.compile(r"margin:\s?0(?:px)?\s0(?:px)?\s0(?:px)?\s40px;\s?border:\s?(?:none|medium none)", re.IGNORECASE)
_BLOCKQUOTE = re.compile(r"(</?)blockquote\b", re.IGNORECASE)  # where it is only an indentation
_VOID = frozenset("area base br col embed hr img input link meta source track wbr".split())  # noqa: SIM905
_MARK = re.compile("\ue000(\\d{1,4})\ue000")
_MARK_CHARACTER = "\ue000"
_MAX_QUOTES = 200
_MAX_QUOTE_CHARACTERS = 60_000


@dataclass
class _Region:
    """An element that is open: where its content begins, and how many elements were open before it."""

    kind: _Kind
    depth: int
    start: int


def html_mail_to_text(html: str) -> str:
    """The visible text of an HTML email; quoted lines begin with ">"."""
    own, quotes = _taken_apart(tidied(html.replace(_MARK_CHARACTER, "")))

    def quote(match: re.Match[str]) -> str:
        lines = html_to_text(quotes[int(match[1])]).strip().split("\n")
        return "\n".join(["", *(f"> {line}" for line in lines), ""])

    return _MARK.sub(quote, html_to_text(_BLOCKQUOTE.sub(r"\1div", own)))


def _taken_apart(html: str) -> tuple[str, list[str]]:
    """The HTML with a numbered mark in place of each quote, and the HTML of the quotes."""
    own: list[str] = []
    quotes: list[str] = []
    regions: list[_Region] = []
    open_names: list[str] = []
    num_open: Counter[str] = Counter()
    done = 0  # up to here the HTML is in `own` or left out
    last_blockquote = html.lower().rfind("<blockquote")

    def end(region: _Region, position: int) -> None:
        if region.kind == "quote" and len(quotes) < _MAX_QUOTES:
            own.append(f"<p>{_MARK_CHARACTER}{len(quotes)}{_MARK_CHARACTER}</p>")
            quotes.append(html[region.start : min(position, region.start + _MAX_QUOTE_CHARACTERS)])

    for tag in _TAG.finditer(html):
        name = tag[2].lower()
        if name in _VOID and not regions and _kind(tag, last_blockquote) != "rest":
            continue
        if tag[1]:
            if not num_open[name]:
                continue
            while (closed := open_names.pop()) != name:
                num_open[closed] -= 1
            num_open[name] -= 1
            while regions and regions[-1].depth >= len(open_names):
                region = regions.pop()
                end(region, tag.start())
                done = tag.end()
            continue
        kind = None if regions and regions[-1].kind != "wrapped" else _kind(tag, last_blockquote)
        if kind is not None and not (regions and kind != "quote"):
            if not regions:
                own.append(html[done : tag.start()])
            if kind == "rest":
                end(_Region("quote", 0, tag.start()), len(html))
                return "".join(own), quotes
            regions.append(_Region(kind, len(open_names), tag.end()))
        if name not in _VOID:
            open_names.append(name)
            num_open[name] += 1
    if regions:
        end(regions[-1], len(html))
    else:
        own.append(html[done:])
    return "".join(own), quotes


def _kind(tag: re.Match[str], last_blockquote: int) -> _Kind | None:
    """What a start tag begins; None for an element of the person's own text."""
    attributes = tag[3]
    if tag[2].lower() == "blockquote":
        return None if _INDENTED.search(attributes) else "quote"
    if not attributes:
        return None
    has_quote_below = last_blockquote > tag.end()
    for match in _NAMES.finditer(attributes):
        for word in (match[1] or match[2] or match[3] or "").lower().split():
            if word == _GMAIL_ATTRIBUTION:
                return "dropped" if has_quote_below else "rest"  # without a quote it is a forward
            if kind := _KINDS.get(word):
                return "quote" if kind == "wrapped" and not has_quote_below else kind
    if tag[2].lower() == "div" and _LEFT_RULE.search(attributes):
        return "quote"
    return "rest" if _OUTLOOK_RULE.search(attributes) else None
