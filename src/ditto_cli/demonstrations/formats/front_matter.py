"""What programs for blogs and notes write above a text (title, date, tags), and the marks that they leave in it.

YAML between --- lines (Jekyll, Hugo, Hexo, Obsidian, pandoc), TOML between +++ lines and JSON (Hugo), and lines
`Key: value` below the title (Notion). The key `prompt` is ours; of those of other programs only the title and a
description say what the text answers.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import PurePosixPath

import yaml

from ditto_cli.demonstrations.encoding import normalise_text, unify_line_ends
from ditto_cli.demonstrations.formats.common import titled_prompt
from ditto_cli.demonstrations.words import words
from ditto_cli.errors import InputError

# 1 MiB of YAML takes ten seconds; a TOML key of many dots, its square.
_MAX_CHARACTERS = {"---": 100_000, "+++": 10_000, "{": 100_000}
_YAML_TEXT = "tag:yaml.org,2002:str"
_ENDS = {"---": ("---", "..."), "+++": ("+++",)}
_YAML_LINE = re.compile(r"([^\W\d_][\w .&/-]{0,40}?)\s*:(?:\s|$)")
_PROPERTY = re.compile(r"([^\s:#>-][^:\n]{0,50})::?(\s.*|$)")
_NOTION_NAME = re.compile(r" [0-9a-f]{32}$")
_TOML_LINE = re.compile(r"\s*(?:[\"']?[\w.-]{1,40}[\"']?\s*=|\[)")
_OUR_KEY = "prompt"
_CLOSE_TO_OURS = 0.85
_DAY = re.compile(r"\d{4}-\d{1,2}-\d{1,2}-(?=.)")
# Lines of nothing but tags of Liquid ({% ... %}, {{ ... }}), shortcodes of Hugo ({{< ... >}}), attributes ({: ...}), or
# the frames of Notion.
_TAG_LINES = re.compile(
    r"^(?:[ \t]*(?:\{%[^{}]{0,600}%\}|\{\{[^{}]{0,600}\}\}|\{:[^{}\n]{0,200}\}|</?aside>))+[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)


@dataclass(frozen=True)
class FrontMatter:
    """A text file in two parts.

    Attributes:
        body: the text.
        first_line: the number of the line on which the body begins.
        prompt: what the text answers, as far as the keys say.
        is_there: whether anything stood above the text.
    """

    body: str
    first_line: int = 1
    prompt: str | None = None
    is_there: bool = False


@dataclass(frozen=True)
class _Field:
    """A key of any program, its value where that is a text, and its line."""

    key: str
    value: str | None
    line: int


def split_front_matter(name: str, text: str) -> FrontMatter:
    """The text without what stands above it.

    Raises:
        InputError: keys and values that are broken, or a prompt that is none.
    """
    lines = unify_line_ends(text).removeprefix("\ufeff").split("\n")
    top = next((number for number, line in enumerate(lines) if line.strip()), 0)
    rule = lines[top].rstrip()
    if rule.startswith("{"):
        return _split_json(name, "\n".join(lines))
    rest = lines[top + 1 :]
    num = next((number for number, line in enumerate(rest) if line.rstrip() in _ENDS.get(rule, ())), None)
    inside = rest[: 1 if num is None else num]
    if not _holds_keys(rule, inside) or (num is None and not "".join(inside).strip()):
        return FrontMatter("\n".join(lines))
    if num is None:
        raise _broken(name, top + 1, "the front matter that begins here never ends")
    head = "\n".join(inside) + "\n"
    if len(head) > _MAX_CHARACTERS[rule]:
        raise _broken(name, top + 2, f"the front matter is longer than {_MAX_CHARACTERS[rule]:,} characters")
    fields = (_toml_fields if rule == "+++" else _yaml_fields)(name, head, top + 2)
    return _divided(name, fields, "\n".join(rest[num + 1 :]), top + num + 3)


def split_properties(name: str, text: str) -> FrontMatter:
    """The text without the lines `Key: value` that Notion writes below the title, or Pelican at the top."""
    lines = text.split("\n")
    start = top = next((number for number, line in enumerate(lines) if line.strip()), 0)
    title = lines[top].removeprefix("# ").strip() if lines[top].startswith("# ") else None
    if title is not None:
        start = next((number for number in range(top + 1, len(lines)) if lines[number].strip()), len(lines))
    end = next((number for number in range(start, len(lines)) if not lines[number].strip()), len(lines))
    found = [_PROPERTY.match(line) for line in lines[start:end]]
    fields = [_Field(match[1].strip(), match[2].strip(), 0) for match in found if match]
    if len(fields) < len(found):
        fields, end = [], start
    if title is None:
        is_there = len(fields) > 1 and fields[0].key.casefold() == "title"
    else:
        is_of_notion = _NOTION_NAME.search(PurePosixPath(name).stem) is not None
        is_there = is_of_notion or any(_is_known(field.key) for field in fields)
        fields.insert(0, _Field("title", title, 0))
    body = _TAG_LINES.sub("", "\n".join(lines[end:]))
    if not is_there or not body.strip():
        return FrontMatter(text)
    return FrontMatter(body, end + 1, _prompt_of(name, fields, body), True)


def _holds_keys(rule: str, lines: Sequence[str]) -> bool:
    """Whether lines below a rule are keys and values, or nothing; a text may begin with a rule too."""
    if rule not in _ENDS:
        return False
    filled = [line for line in lines if line.strip()]
    written = [line for line in filled if not line.startswith("#")]
    if not filled:
        return True
    if rule == "+++":
        return not written or _TOML_LINE.match(written[0]) is not None
    if not written:  # as in the template; "# A heading" is a text
        return any(_YAML_LINE.match(line.lstrip("# ")) for line in filled)
    keys = [match[1] for line in written if (match := _YAML_LINE.match(line))]
    starts_with_key = _YAML_LINE.match(written[0]) is not None
    # "Dear Bo: ..." and "PS: ..." are of a letter.
    return starts_with_key and any(_is_known(key) or not (" " in key or key[0].isupper()) for key in keys)


def _is_known(key: str) -> bool:
    return key.casefold() in _known_keys()


@cache
def _known_keys() -> frozenset[str]:
    known = words("front_matter")
    return frozenset((_OUR_KEY, *known["title"], *known["description"], *chain.from_iterable(known["others"])))


def _yaml_fields(name: str, text: str, first_line: int) -> list[_Field]:
    # Composed only: nothing is built of the tags and dates of a blog, and a key that is there twice is seen.
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        found = [(number, match) for number, line in enumerate(text.split("\n")) if (match := _PROPERTY.match(line))]
        fields = [_Field(match[1].strip(), match[2].strip(), first_line + number) for number, match in found]
        # What a person wrote into another program without quotes is read a line at a time; ours must be right.
        if fields and all(field.key.casefold() != _OUR_KEY for field in fields):
            return fields
        line = error.problem_mark.line if error.problem_mark is not None else 0
        raise _broken(name, first_line + min(line, text.count("\n")), "the front matter is not valid YAML") from None
    # RecursionError: thousands of brackets.
    except (yaml.YAMLError, RecursionError):
        raise _broken(name, first_line, "the front matter is not valid YAML") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise _broken(name, first_line, "the front matter has no `key: value` lines")
    fields = []
    for key, value in root.value if root is not None else ():
        if isinstance(key, yaml.ScalarNode):
            # A title may be a number; a prompt that is one is a mistake.
            is_text = isinstance(value, yaml.ScalarNode) and (value.tag == _YAML_TEXT or key.value != _OUR_KEY)
            fields.append(_Field(key.value, value.value if is_text else None, first_line + key.start_mark.line))
    return fields


def _toml_fields(name: str, text: str, first_line: int) -> list[_Field]:
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        at = re.search(r"at line (\d+)", str(error))
        raise _broken(name, first_line + (int(at[1]) - 1 if at else 0), "the front matter is not valid TOML") from None
    return [_Field(key, value if isinstance(value, str) else None, first_line) for key, value in content.items()]


def _split_json(name: str, text: str) -> FrontMatter:
    start = len(text) - len(text.lstrip())
    try:
        content, end = json.JSONDecoder().raw_decode(text[: start + _MAX_CHARACTERS["{"]], start)
    except (ValueError, RecursionError):
        return FrontMatter(text)
    if not content or text[end:].split("\n", 1)[0].strip():
        return FrontMatter(text)
    fields = [_Field(key, value if isinstance(value, str) else None, 1) for key, value in content.items()]
    return _divided(name, fields, text[end:], text.count("\n", 0, end) + 1)


def _divided(name: str, fields: Sequence[_Field], body: str, first_line: int) -> FrontMatter:
    prompts = [field for field in fields if field.key.casefold() == _OUR_KEY]
    others = [field for field in fields if field.key.casefold() != _OUR_KEY]
    for field in others:
        if difflib.get_close_matches(field.key.casefold(), [_OUR_KEY], cutoff=_CLOSE_TO_OURS):
            raise _broken(name, field.line, f"the front matter has the key {field.key}, and only {_OUR_KEY} is read")
    if len(prompts) > 1:
        raise _broken(name, prompts[1].line, "the front matter has two prompts")
    if others:
        body = _TAG_LINES.sub("", body)
    if not prompts:
        return FrontMatter(body, first_line, _prompt_of(name, others, body) if others else None, True)
    prompt = normalise_text(prompts[0].value or "").strip()
    if not prompt:
        raise _broken(name, prompts[0].line, "the prompt is not a text")
    return FrontMatter(body, first_line, prompt, True)


def _prompt_of(name: str, fields: Sequence[_Field], body: str) -> str | None:
    """What the title and the description say; a description that is a part of the text itself says nothing."""

    def first(subject: str) -> str:
        by_key = {field.key.casefold(): field.value for field in reversed(fields) if field.value}
        return next((" ".join(by_key[key].split()) for key in words("front_matter")[subject] if key in by_key), "")

    title, about = first("title"), first("description")
    file = PurePosixPath(name).stem
    if not title and _DAY.match(file):  # Jekyll makes a title of it too
        title = _DAY.sub("", file).replace("-", " ").capitalize()
    is_own = about.rstrip(".\u2026 ") in " ".join(body.split())
    return titled_prompt("a post", title, "" if is_own else about)


def _broken(name: str, line: int, problem: str) -> InputError:
    return InputError(
        f'{name} line {line}: {problem}. Write ---, prompt: "...", --- at the top; '
        f"if the text itself begins with a rule, write it as ***."
    )
