"""Text files (.txt, .md), without what programs for blogs and notes write above a text (title, date, tags).

YAML between --- lines (Jekyll, Hugo, Hexo, Obsidian, pandoc), TOML between +++ lines (Hugo), and lines `Key: value`
below the title (Notion). The key `prompt` is ours; of those of other programs only the title and a description say what
the text answers.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

import yaml

from ditto_cli.demonstrations.encoding import decoded, normalise_text, unify_line_ends, usable
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, SourceText

_MAX_CHARACTERS = 20_000  # 1 MiB of YAML takes ten seconds; a TOML key of many dots, its square
_ENDS = {"---": ("---", "..."), "+++": ("+++",)}
_YAML_LINE = re.compile(r"([^\W\d_][\w .&/-]{0,40}?)\s*:(?:\s|$)")
_TOML_LINE = re.compile(r"\s*(?:[\"']?[\w.-]{1,40}[\"']?\s*=|\[)")
_PROPERTY = re.compile(r"([^\s:#>-][^:\n]{0,50}):(\s.*|$)")
_NOTION_NAME = re.compile(r" [0-9a-f]{32}$")
_OUR_KEY = "prompt"
_TITLE_CHARACTERS, _ABOUT_CHARACTERS = 200, 400
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
# Lines of nothing but tags of Liquid ({% ... %}, {{ ... }}), shortcodes of Hugo ({{< ... >}}), attributes ({: ...}), or
# the frames of Notion.
_TAG_LINES = re.compile(
    r"^(?:[ \t]*(?:\{%[^{}]{0,600}%\}|\{\{[^{}]{0,600}\}\}|\{:[^{}\n]{0,200}\}|</?aside>))+[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)


def read_plain(name: str, raw: bytes) -> Reading:
    """A .txt file: one text, with optional front matter."""
    text = decoded(name, raw)
    body, prompt = split_front_matter(name, text) or (text, None)
    return Reading((SourceText(name, usable(name, body), prompt),))


def read_markdown(name: str, raw: bytes) -> Reading:
    """A .md file: as .txt, and HTML comments are left out."""
    text = decoded(name, raw).removeprefix("\ufeff")
    head = split_front_matter(name, text)
    body, prompt = head or (text, None)
    # Without an end, the pattern would look for one from each beginning anew.
    last = body.rfind("-->") + 3 if "-->" in body else 0
    visible = _COMMENT.sub("", body[:last]) + body[last:]
    if "<!--" in visible:
        raise InputError(f"{name} holds a comment (<!--) that never ends: close it with -->.")
    if head is None:
        visible, prompt = split_properties(name, visible) or (visible, None)
    return Reading((SourceText(name, usable(name, visible), prompt),))


def split_front_matter(name: str, text: str) -> tuple[str, str | None] | None:
    """The text without what stands above it, and the prompt that this says; None where nothing does."""
    text = unify_line_ends(text).removeprefix("\ufeff")
    if (hugo := _json_front_matter(text)) is not None:
        return hugo
    lines = text.split("\n")
    top = next((number for number, line in enumerate(lines) if line.strip()), 0)
    rule = lines[top].rstrip()
    rest = lines[top + 1 :]
    num = next((number for number, line in enumerate(rest) if line.rstrip() in _ENDS.get(rule, ())), None)
    inside = rest[: 1 if num is None else num]
    if not _holds_keys(rule, inside) or (num is None and not "".join(inside).strip()):
        return None
    if num is None:
        raise _broken(name, top + 1, "never ends")
    head = "\n".join(inside) + "\n"
    if len(head) > _MAX_CHARACTERS:
        raise _broken(name, top + 1, f"is longer than {_MAX_CHARACTERS:,} characters")
    try:
        # Nothing is built of the tags and dates of a blog.
        content = (tomllib.loads(head) if rule == "+++" else yaml.load(head, Loader=yaml.BaseLoader)) or {}
    # RecursionError: thousands of brackets.
    except (yaml.YAMLError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        # What a person wrote into another program is passed over; ours must be right.
        if _OUR_KEY in head.casefold():
            raise _broken(name, top + 1, "is not valid YAML or TOML")
        content = {"title": ""}
    fields = {str(key).casefold(): value for key, value in content.items()}
    body = "\n".join(rest[num + 1 :])
    others = {key: value for key, value in fields.items() if key != _OUR_KEY}
    if others:
        body = _TAG_LINES.sub("", body)
    prompt = _prompt_of(others, body)
    if _OUR_KEY in fields:
        said = fields[_OUR_KEY]
        prompt = normalise_text(said).strip() if isinstance(said, str) else None
        if not prompt:
            raise _broken(name, top + 1, "has a prompt that is not a text")
    return body, prompt


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


def _json_front_matter(text: str) -> tuple[str, str | None] | None:
    """The text below Hugo's third form, an object of JSON, and the prompt that this says."""
    text = text.lstrip()
    try:
        fields, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    body = text[end:]
    if not isinstance(fields, dict) or _known_keys().isdisjoint(fields) or not body.startswith("\n"):
        return None
    return body, _prompt_of({key.casefold(): value for key, value in fields.items()}, body)


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
    title, about = _one_line(title, _TITLE_CHARACTERS), _one_line(about, _ABOUT_CHARACTERS)
    if not title:
        return f"Write {kind} about this: {about}" if about else None
    prompt = f'Write {kind} with the title "{title}".'
    return f"{prompt} It is about this: {about}" if about and about != title else prompt


def _one_line(text: str, max_characters: int) -> str:
    line = " ".join(normalise_text(text).split()).replace('"', "'")
    return line if len(line) <= max_characters and re.search(r"\w", line) else ""


def _broken(name: str, line: int, problem: str) -> InputError:
    return InputError(
        f'{name} line {line}: the front matter that begins here {problem}. Write ---, prompt: "...", --- at the top; '
        f"if the text itself begins with a rule, write it as ***."
    )
