"""Text files (.txt, .md) and pages (.html) -> texts, with a prompt made of the title; chats exported as pages -> turns.

What programs for blogs and notes write above a text goes: YAML between --- lines (Jekyll, Hugo, Hexo,
Obsidian), TOML between +++ lines (Hugo), and lines `Key: value` below the title (Notion). The key `prompt` is ours; of
those of other programs only the title and a description say what the text answers. Of a page, menus, comments and other
people's words stay out: the rules are those of HTML itself (article, main, nav, ...) and of many blog programs.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import yaml

from ditto_cli.demonstrations.chats import FORWARDED, SYSTEM_LINE, Message, chat_reading
from ditto_cli.demonstrations.encoding import charset_of_page, decode_file, normalise_text, unify_line_ends, usable
from ditto_cli.demonstrations.html_text import html_to_text, tidy
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, Skipped, SourceText

if TYPE_CHECKING:
    from bs4 import Tag

_MAX_CHARACTERS = 20_000  # 1 MiB of YAML takes ten seconds; a TOML key of many dots, its square
_ENDS = {"---": ("---", "..."), "+++": ("+++",), ";;;": (";;;",)}
_YAML_LINE = re.compile(r"([^\W\d_][\w .&/-]{0,40}?)\s*:(?:\s|$)")
_TOML_LINE = re.compile(r"\s*(?:[\"']?[\w.-]{1,40}[\"']?\s*=|\[)")
_PROPERTY = re.compile(r"([^\s:#>-][^:\n]{0,50}):(\s.*|$)")
_NOTION_NAME = re.compile(r" [0-9a-f]{32}$")
_OUR_KEY = "prompt"
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Lines of nothing but tags of Liquid ({% ... %}, {{ ... }}), shortcodes of Hugo ({{< ... >}}), attributes ({: ...}), or
# the frames of Notion; and the item for which a table of contents is put.
_TAG_LINES = re.compile(
    r"^(?:(?:[*+-]|1\.)[ \t][^\n]{0,60}\n(?=\{:toc))?"
    r"(?:[ \t]*(?:\{%[^{}]{0,600}%\}|\{\{[^{}]{0,600}\}\}|\{:[^{}\n]{0,200}\}|</?aside>))+[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
_TAG = r"(?:\{\{[^{}\n]{0,300}\}\}|\{%[^{}\n]{0,300}%\}|\{:[^{}\n]{0,200}\})"
_INLINE_TAG = re.compile(rf"(?: (?={_TAG}(?:[ ,.;:!?)]|$)))?{_TAG}", re.MULTILINE)
_EMPTY_LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,300})\]\(\)")
_RULES_WITH_LANGUAGE = dict.fromkeys(("---json", "---js", "---yaml", "---yml", "---toml"), "---")
# Of Markdown, Obsidian and Logseq: comments, queries, pictures, properties, names of blocks; of links to other notes
# the words stay.
_NOTE_MARKS = (
    (re.compile(r" ?%%.*?%%", re.DOTALL), ""),
    (re.compile(r"^```(?:dataview|dataviewjs|tasks|query)\n.*?^```[ \t]*$", re.DOTALL | re.MULTILINE), ""),
    (re.compile(r" ?!\[\[[^\[\]\n]{1,300}\]\]|<img\s[^<>]{0,2000}?\bsrc=[^<>]{0,2000}>"), ""),
    (re.compile(r"!\[[^\[\]\n]{0,300}\](?:\([^()\n]{0,2000}\)|\[[^\[\]\n]{0,100}\])"), ""),
    (re.compile(r"\A(?:[\w/-]{1,40}::[ \t][^\n]*\n){2,}\n|^[ \t]*(?:id|collapsed)::[^\n]*(?:\n|\Z)", re.MULTILINE), ""),
    (re.compile(r"[ \t]\^[\w-]{1,40}$", re.MULTILINE), ""),
    (re.compile(r"\[\[(?:[^\[\]|\n]{1,300}\|)?(?:[^\[\]|\n]{1,300}/)?([^\[\]|\n/]{1,300})\]\]"), r"\1"),
)


def read_plain(name: str, raw: bytes) -> Reading:
    """A .txt file: one text, with optional front matter."""
    text = decode_file(name, raw)
    body, prompt, authors = split_front_matter(name, text) or (text, None, ())
    return Reading((SourceText(name, usable(name, body), prompt, authors=authors),))


def read_markdown(name: str, raw: bytes) -> Reading:
    """A .md file: as .txt, and HTML comments are left out."""
    text = decode_file(name, raw).removeprefix("\ufeff")
    head = split_front_matter(name, text)
    body, prompt, authors = head or (text, None, ())
    visible = _COMMENT.sub(lambda comment: "" if comment[0].endswith("-->") else "<!--", body)
    if "<!--" in visible:
        raise InputError(f"{name} holds a comment (<!--) that never ends: close it with -->.")
    if head is None:
        visible, prompt = split_properties(name, visible) or (visible, None)
        visible = _without_marks(visible)
    return Reading((SourceText(name, usable(name, visible), prompt, authors=authors),))


def split_front_matter(name: str, text: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    """The text without what stands above it, the prompt and the authors that this says; None where nothing does."""
    text = unify_line_ends(text).removeprefix("\ufeff")
    if (hugo := _json_front_matter(text)) is not None:
        return hugo
    lines = text.split("\n")
    top = next((number for number, line in enumerate(lines) if line.strip()), 0)
    rule = lines[top].rstrip()
    rule = _RULES_WITH_LANGUAGE.get(rule, rule)
    # Of Pelican, which puts no rule around the keys, and Hexo, which puts one below them.
    height = next((number for number, line in enumerate(lines[top:]) if line.rstrip() in ("", "---")), 0)
    block = [line for line in lines[top : top + height] if not line.startswith((" ", "\t", "-"))]
    bare = [_YAML_LINE.match(line) for line in block]
    fields = {line[1].casefold(): line.string[line.end() :].strip() for line in bare if line is not None}
    is_closed = lines[top + height].rstrip() == "---"
    if len(fields) >= (2 if is_closed else 3) and None not in bare and fields.keys() <= _known_keys() - {_OUR_KEY}:
        body = "\n".join(lines[top + height + is_closed :])
        return _without_marks(_without_tags(body)), _prompt_of(fields, body), _authors_of(fields)
    rest = lines[top + 1 :]
    num = next((number for number, line in enumerate(rest) if line.rstrip() in _ENDS.get(rule, ())), None)
    inside = rest[: 1 if num is None else num]
    is_json = lines[top].startswith("---js")
    if not (is_json or _holds_keys(rule, inside)) or (num is None and not "".join(inside).strip()):
        return None
    if num is None:
        raise _front_matter_error(name, top + 1, "never ends")
    head = "\n".join(inside) + "\n"
    if len(head) > _MAX_CHARACTERS:
        raise _front_matter_error(name, top + 1, f"is longer than {_MAX_CHARACTERS:,} characters")
    try:
        # Nothing is built of the tags and dates of a blog.
        is_toml = rule == "+++" or lines[top].startswith("---toml")
        head = f"{{{head}}}" if rule == ";;;" else head
        content = (tomllib.loads(head) if is_toml else yaml.load(head, Loader=yaml.BaseLoader)) or {}
    # RecursionError: thousands of brackets.
    except (yaml.YAMLError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        # What a person wrote into another program is passed over; ours must be right.
        if _OUR_KEY in head.casefold():
            raise _front_matter_error(name, top + 1, "is not valid YAML or TOML")
        content = {"title": ""}
    fields = {str(key).casefold(): value for key, value in content.items()}
    body = "\n".join(rest[num + 1 :])
    others = {key: value for key, value in fields.items() if key != _OUR_KEY}
    if others:
        body = _without_marks(_without_tags(body))
    prompt = _prompt_of(others, body)
    if _OUR_KEY in fields:
        said = fields[_OUR_KEY]
        prompt = normalise_text(said).strip() if isinstance(said, str) else None
        if not prompt:
            raise _front_matter_error(name, top + 1, "has a prompt that is not a text")
    return body, prompt, _authors_of(fields)


def split_properties(name: str, text: str) -> tuple[str, str | None] | None:
    """The text without title and lines `Key: value`, as Notion writes them, and its prompt; None if there are none."""
    lines = unify_line_ends(text).split("\n")
    filled = [number for number, line in enumerate(lines) if line.strip()]
    if not filled or not lines[filled[0]].startswith("# "):
        return None
    start = end = filled[1] if len(filled) > 1 else len(lines)
    while end < len(lines) and lines[end].strip():
        end += 1
    found = [_PROPERTY.match(line) for line in lines[start:end]]
    fields = {match[1].strip().casefold(): match[2].strip() for match in found if match}
    if not all(found):
        fields, end = {}, start
    body = _TAG_LINES.sub("", "\n".join(lines[end:]))
    is_of_notion = _NOTION_NAME.search(PurePosixPath(name).stem) is not None
    if not body.strip() or not (is_of_notion or not _known_keys().isdisjoint(fields)):
        return None
    fields["title"] = lines[filled[0]].removeprefix("# ")
    return body, _prompt_of(fields, body)


def _holds_keys(rule: str, lines: Sequence[str]) -> bool:
    """Whether lines below a rule are keys and values, or nothing; a text may begin with a rule too."""
    if rule not in _ENDS:
        return False
    filled = [line for line in lines if line.strip()]
    written = [line for line in filled if not line.startswith("#")]
    if rule == ";;;":
        return bool(written) and written[0].lstrip().startswith('"')
    if rule == "+++":
        return not written or _TOML_LINE.match(written[0]) is not None
    if not written:  # as in the template; "# A heading" is a text
        return not filled or any(_YAML_LINE.match(line.lstrip("# ")) for line in filled)
    keys = [match[1] for line in written if (match := _YAML_LINE.match(line))]
    # "Dear Bo: ..." and "PS: ..." are of a letter.
    return _YAML_LINE.match(written[0]) is not None and any(
        key.casefold() in _known_keys() or not (" " in key or key[0].isupper()) for key in keys
    )


@cache
def _known_keys() -> frozenset[str]:
    known = words("front_matter")
    return frozenset((_OUR_KEY, *known["title"], *known["description"], *chain.from_iterable(known["others"])))


def _without_tags(text: str) -> str:
    """The text of a post without what its program puts something else for."""
    return _EMPTY_LINK.sub(r"\1", _INLINE_TAG.sub("", _TAG_LINES.sub("", text)))


def _without_marks(text: str) -> str:
    """The text of a note without what its program shows otherwise; where only our keys stand above, it is as it is."""
    for mark, words_in_it in _NOTE_MARKS:
        text = mark.sub(words_in_it, text)
    return text


def _authors_of(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """Who is said to have written it; what is not a name, or a list of names, says nothing."""
    said = [fields[key] for key in words("front_matter")["authors"] if key in fields]
    names = [name for value in said for name in (value if isinstance(value, list) else [value])]
    return tuple(" ".join(name.split()) for name in names if isinstance(name, str) and name.strip())[:1]


def _json_front_matter(text: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    """The text below Hugo's third form, an object of JSON, the prompt and the authors that this says."""
    text = text.lstrip()
    try:
        fields, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    body = text[end:]
    if not isinstance(fields, dict) or _known_keys().isdisjoint(fields) or not body.startswith("\n"):
        return None
    fields = {key.casefold(): value for key, value in fields.items()}
    return body, _prompt_of(fields, body), _authors_of(fields)


def _prompt_of(fields: Mapping[str, Any], body: str) -> str | None:
    """What the title and the description say; a description that is a part of the text itself says nothing."""

    def first(subject: str) -> str:
        values = (fields.get(key) for key in words("front_matter")[subject])
        return next((" ".join(value.split()) for value in values if isinstance(value, str) and value.strip()), "")

    about = first("description")
    is_own = about.rstrip(".\u2026 ") in " ".join(body.split())
    return titled_prompt("a post", first("title"), "" if is_own else about)


def titled_prompt(kind: str, title: str, about: str = "") -> str | None:
    """The instruction that a text with this title answers; None if neither that nor what it is about says anything."""
    title, about = _one_line(title, 200), _one_line(about, 400)
    if not title:
        return f"Write {kind} about this: {about}" if about else None
    prompt = f'Write {kind} with the title "{title}".'
    return f"{prompt} It is about this: {about}" if about and about != title else prompt


def _one_line(text: str, max_characters: int) -> str:
    line = " ".join(normalise_text(text).split()).replace('"', "'")
    return line if len(line) <= max_characters and re.search(r"\w", line) else ""


def _front_matter_error(name: str, line: int, problem: str) -> InputError:
    return InputError(
        f'{name} line {line}: the front matter that begins here {problem}. Write ---, prompt: "...", --- at the top; '
        f"if the text itself begins with a rule, write it as ***."
    )


# --- pages

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

    page = decode_file(name, raw, charset_of_page(raw))
    body, prompt_above, authors = split_front_matter(name, page) or (page, None, ())  # of a post of Jekyll
    soup = BeautifulSoup(tidy(body), "html.parser")
    articles = [article for article in soup.find_all("article") if article.find_parent("article") is None]
    for article in articles:
        # Its header is left out, but for the heading.
        if (header := article.find("header")) is not None and (heading := header.find(["h1", "h2", "h3"])) is not None:
            header.insert_before(heading)
    # Those of Word and of Apple's programs say which paragraphs are lines.
    sheets = "".join(sheet for sheet in map(str, soup.find_all("style")) if "Mso" in sheet or "p.p1" in sheet)
    _take_out(soup.find_all(_is_left_out))
    roots = [article for article in articles if not article.decomposed]
    with_title = [article for article in roots if article.find("h1") is not None]
    texts: list[SourceText] = []
    skipped: list[Skipped] = []
    if len(with_title) == 1:
        skipped = [Skipped(name, "the teaser of another post")] * (len(roots) - 1)
        roots = with_title
    content = soup.find_all(class_=words("page_parts")["content"])
    roots = roots or [soup.find("main") or soup.find(role="main") or (content or [soup.body or soup])[0]]
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
            prompt = titled_prompt("a post", _text_of(heading))
            heading.decompose()  # the prompt says it
        if not is_one_of_many:
            title = _SITE_NAME.sub("", _text_of(soup.title)) if soup.title is not None else ""
            prompt = prompt_above or prompt or titled_prompt("a post", title)
        if text := normalise_text(html_to_text(sheets + str(root))):
            texts.append(SourceText(identity, text, prompt, authors=authors))
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
    names |= {f"{tag.name}.{name}" for name in names}
    is_hidden = tag.has_attr("hidden") or tag.get("aria-hidden") == "true"
    is_hidden = is_hidden or _HIDDEN_STYLE.search(" ".join(_words(tag.get("style")))) is not None
    is_part = bool(names.intersection(left_out["names"])) or bool({*_words(tag.get("role"))} & {*left_out["roles"]})
    return is_hidden or is_part


def _words(value: str | Iterable[str] | None) -> list[str]:
    joined = value if isinstance(value, str) else " ".join(value or ())
    return joined.lower().split()


def _text_of(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())


def _read_chat(name: str, raw: bytes, form: Mapping[str, str]) -> Reading:
    from bs4 import BeautifulSoup

    messages: list[Message] = []
    authors: tuple[str, ...] = ()
    for tag in BeautifulSoup(tidy(decode_file(name, raw)), "html.parser").find_all(class_=form["message"]):
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
            authors = tuple(filter(None, (_text_of(author), str(author.get("data-user-id") or ""))))
        parts = tag.find_all(class_=form["text"])
        for link in [link for part in parts for link in part.find_all(["a", "span"])]:  # the names of people mentioned
            if not link.decomposed and (link.get_text().startswith("@") or "Mention" in str(link.get("onclick") or "")):
                link.decompose()
        text = "\n".join(html_to_text(str(part)).strip() for part in parts)
        reason = FORWARDED if foreign and not text.strip() else ""
        messages.append(Message(authors, text, id=str(tag.get("id") or ""), answers=answers, reason=reason))
    return chat_reading(name, [messages])
