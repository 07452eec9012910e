"""A page (.html) -> its posts, with a prompt made of the title; of a chat that was exported as a page the turns.

Menus, comments and other people's words stay out: the rules are those of HTML itself (article, main, nav, ...) and of
the blog programs that many use.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ditto_cli.demonstrations.encoding import charset_of_page, decoded, normalise_text
from ditto_cli.demonstrations.formats.chats import FORWARDED, SYSTEM_LINE, Message, chat_reading
from ditto_cli.demonstrations.formats.plain import split_front_matter, titled_prompt
from ditto_cli.demonstrations.html_text import html_to_text, tidied
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

if TYPE_CHECKING:
    from bs4 import Tag

_FRAME = frozenset({"html", "body", "main", "article"})  # whatever their classes are, they hold the content
_HIDDEN_STYLE = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_SITE_NAME = re.compile(r"\s+(?:\||»|::|·)\s+[^|»·]*$")


def read_page(name: str, raw: bytes) -> Reading:
    """A page: the turns of the chat that it is, else its posts."""
    if b"_a6-h" in raw:
        raise InputError(
            f"{name} is a page of Facebook or Instagram, in which nobody's words can be told from another's: "
            "export it anew in the format JSON."
        )
    form = next((form for form in words("chat_pages").values() if form["mark"].encode() in raw), None)
    return read_html(name, raw) if form is None else _read_chat(name, raw, form)


def read_html(name: str, raw: bytes) -> Reading:
    """A page's posts: each `<article>` is one, else the main part of the page is."""
    from bs4 import BeautifulSoup  # takes longer to import than most commands take

    page = decoded(name, raw, charset_of_page(raw))
    body, prompt_above = split_front_matter(name, page) or (page, None)  # of a post of Jekyll
    soup = BeautifulSoup(tidied(body), "html.parser")
    articles: list[Tag] = []
    inside: set[int] = set()
    for article in soup.find_all("article"):
        if id(article) in inside:
            continue
        articles.append(article)
        inside.update(map(id, article.find_all("article")))
        # Its header is left out, but for the heading.
        if (header := article.find("header")) is not None and (heading := header.find(["h1", "h2", "h3"])) is not None:
            header.insert_before(heading)
    _take_out(soup.find_all(_is_left_out))
    roots = [article for article in articles if not article.decomposed]
    with_title = [article for article in roots if article.find("h1") is not None]
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    if len(with_title) == 1:
        skipped = [Skipped(name, "the teaser of another post")] * (len(roots) - 1)
        roots = with_title
    roots = roots or [soup.find("main") or soup.find(role="main") or soup.body or soup]
    for number, root in enumerate(roots, start=1):
        is_one_of_many = len(roots) > 1
        identity = f"{name}#{number}" if is_one_of_many else name
        quotations = root.find_all("blockquote")
        _take_out(quotations)
        if quotations:
            skipped.append(Skipped(identity, "a quotation in it (blockquote): not the person's own words"))
        prompt = None
        heading = root.find(["h1", "h2", "h3"] if is_one_of_many else "h1")
        if heading is not None and (is_one_of_many or len(root.find_all("h1")) == 1):
            prompt = titled_prompt("a post", _one_line(heading))
            heading.decompose()  # the prompt says it
        if not is_one_of_many:
            title = _SITE_NAME.sub("", _one_line(soup.title)) if soup.title is not None else ""
            prompt = prompt_above or prompt or titled_prompt("a post", title)
        if text := normalise_text(html_to_text(str(root))):
            texts.append(SourceText(identity, text, prompt))
        else:
            skipped.append(Skipped(identity, "no text of its own in this article"))
    if not texts:
        raise InputError(
            f"{name} has no text of its own (only menus, scripts or quotations): copy your text from the page "
            "and save it as .txt."
        )
    return Reading(tuple(texts), tuple(skipped))


def _take_out(tags: Iterable[Tag]) -> None:
    for tag in tags:
        if not tag.decomposed:  # it lay in another one
            tag.decompose()


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


def _one_line(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())


def _read_chat(name: str, raw: bytes, form: Mapping[str, str]) -> Reading:
    from bs4 import BeautifulSoup

    messages: list[Message] = []
    authors: tuple[str, ...] = ()
    for tag in BeautifulSoup(tidied(decoded(name, raw)), "html.parser").find_all(class_=form["message"]):
        if tag.decomposed:  # it lay in what was passed on
            continue
        if form["never"] in (tag.get("class") or ()) or tag.find(class_=form["never"]) is not None:
            messages.append(Message((), "", reason=SYSTEM_LINE))
            continue
        link = tag.select_one(f".{form['apart']} a[href]")
        answers = str(link["href"]).removeprefix("#go_to_") if link is not None else ""
        foreign = tag.find_all(class_=form["foreign"])
        for part in (*foreign, *tag.find_all(class_=form["apart"])):
            part.decompose()
        if (author := tag.find(class_=form["author"])) is not None:  # said with the first of a row only
            authors = tuple(filter(None, (_one_line(author), str(author.get("data-user-id") or ""))))
        parts = tag.find_all(class_=form["text"])
        for link in [link for part in parts for link in part.find_all(["a", "span"])]:  # the names of people mentioned
            if not link.decomposed and (link.get_text().startswith("@") or "Mention" in str(link.get("onclick") or "")):
                link.decompose()
        text = "\n".join(html_to_text(str(part)).strip() for part in parts)
        reason = FORWARDED if foreign and not text.strip() else ""
        messages.append(Message(authors, text, id=str(tag.get("id") or ""), answers=answers, reason=reason))
    return chat_reading(name, [messages])
