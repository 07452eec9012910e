"""A chat that was exported as a page (Telegram, Discord, iMessage) -> the turns of its people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ditto_cli.demonstrations.formats.chats import FORWARDED, SYSTEM_LINE, Message, chat_reading, is_owner_name
from ditto_cli.demonstrations.formats.common import decoded
from ditto_cli.demonstrations.formats.web import read_html
from ditto_cli.demonstrations.html_text import html_to_text, tidied
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading

if TYPE_CHECKING:
    from bs4 import Tag

_OF_META = (b"_a6-g", b"_a6-h", b"_a6-p")  # classes of the pages that Facebook and Instagram export


def read_page(name: str, raw: bytes) -> Reading:
    """A page: the turns of the chat that it is, else its posts.

    Raises:
        InputError: nothing usable in it, or a page of Facebook or Instagram, where everybody's words look alike.
    """
    form = next((form for form in words("chat_pages").values() if form["mark"].encode() in raw), None)
    if form is None:
        if all(mark in raw for mark in _OF_META):
            raise InputError(
                f"{name} is a page that Facebook or Instagram exported, in which nobody's words can be told from "
                "another's: export it anew in the format JSON."
            )
        return read_html(name, raw)
    from bs4 import BeautifulSoup  # takes longer to import than most commands take

    soup = BeautifulSoup(tidied(decoded(name, raw)), "html.parser")
    messages: list[Message] = []
    authors: tuple[str, ...] = ()
    for tag in soup.find_all(class_=form["message"]):
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
        if (author := tag.find(class_=form["author"])) is not None:
            names = (" ".join(author.get_text(" ").split()), str(author.get("data-user-id") or ""))
            authors = tuple(filter(None, names))
        text = "\n".join(_words_of(part) for part in tag.find_all(class_=form["text"]))
        reason = FORWARDED if foreign and not text.strip() else ""
        is_owner = bool(authors) and is_owner_name(authors[0])
        messages.append(Message(authors, text, None, str(tag.get("id") or ""), answers, is_owner, reason))
    return chat_reading(name, [messages])


def _words_of(tag: Tag) -> str:
    """The words of a message without the names of people that it mentions."""
    for link in tag.find_all(["a", "span"]):
        if not link.decomposed and (link.get_text().startswith("@") or "Mention" in str(link.get("onclick") or "")):
            link.decompose()
    return html_to_text(str(tag)).strip()
