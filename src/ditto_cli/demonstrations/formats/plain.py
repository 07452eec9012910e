"""Text files: .txt and .md, with optional YAML front matter."""

from __future__ import annotations

import re

import yaml

from ditto_cli.demonstrations.encoding import normalise_text, unify_line_ends
from ditto_cli.demonstrations.formats.common import decoded, named, usable
from ditto_cli.demonstrations.reading import Reading
from ditto_cli.errors import InputError
from ditto_cli.types import SourceText

_FRONT_MATTER_RULE = "---"
_MAX_FRONT_MATTER_CHARACTERS = 100_000  # 1 MiB of it takes ten seconds
_YAML_TEXT = "tag:yaml.org,2002:str"
# What blogs put there; it does not say what the text answers.
_IGNORED_KEYS = frozenset({"title", "date", "author", "tags", "subject", "layout"})
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def read_plain(name: str, raw: bytes) -> Reading:
    """A .txt file: one text, with optional front matter.

    Raises:
        InputError: binary, empty, or broken front matter.
    """
    prompt, body, _ = _split_front_matter(name, decoded(name, raw))
    return Reading((SourceText(id=name, text=usable(name, body), prompt=prompt),))


def read_markdown(name: str, raw: bytes) -> Reading:
    """A .md file: as .txt, and HTML comments are left out.

    Raises:
        InputError: binary, empty, broken front matter, or a comment that never ends.
    """
    prompt, body, first_line = _split_front_matter(name, decoded(name, raw))
    # Without an end, the pattern would look for one from each beginning anew.
    last = body.rfind("-->") + 3 if "-->" in body else 0
    visible = _COMMENT.sub("", body[:last]) + body[last:]
    if "<!--" in visible:
        line = first_line + body.count("\n", 0, body.rindex("<!--"))
        raise InputError(f"{name} line {line}: this comment never ends, so its extent is unknown: close it with -->.")
    return Reading((SourceText(id=name, text=usable(name, visible), prompt=prompt),))


def _split_front_matter(name: str, text: str) -> tuple[str | None, str, int]:
    """Prompt, body, and the number of the line on which the body begins."""
    lines = unify_line_ends(text).removeprefix("\ufeff").split("\n")
    top = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if lines[top].rstrip() != _FRONT_MATTER_RULE:
        return None, "\n".join(lines), 1
    end = next((index for index in range(top + 1, len(lines)) if lines[index].rstrip() == _FRONT_MATTER_RULE), None)
    if end is None:
        raise _broken(name, top + 1, "the front matter that begins here never ends")
    header = _load_front_matter(name, lines[top + 1 : end], top + 2)
    return _prompt_of(name, header, top + 2), "\n".join(lines[end + 1 :]), end + 2


def _load_front_matter(name: str, lines: list[str], first_line: int) -> list[tuple[yaml.Node, yaml.Node]]:
    text = "\n".join(lines) + "\n"
    if len(text) > _MAX_FRONT_MATTER_CHARACTERS:
        raise _broken(name, first_line, f"the front matter is longer than {_MAX_FRONT_MATTER_CHARACTERS:,} characters")
    # Composed only: nothing is built of the tags and dates of a blog, and a key that is there twice is seen.
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line if error.problem_mark is not None else 0
        raise _broken(name, first_line + min(line, len(lines)), "the front matter is not valid YAML") from None
    # RecursionError: thousands of brackets.
    except (yaml.YAMLError, RecursionError):
        raise _broken(name, first_line, "the front matter is not valid YAML") from None
    if root is None:
        return []
    if not isinstance(root, yaml.MappingNode):
        raise _broken(name, first_line, "the front matter has no `key: value` lines")
    pairs: list[tuple[yaml.Node, yaml.Node]] = root.value
    return pairs


def _prompt_of(name: str, header: list[tuple[yaml.Node, yaml.Node]], first_line: int) -> str | None:
    prompt: str | None = None
    for key, value in header:
        line = first_line + key.start_mark.line
        word = key.value if isinstance(key, yaml.ScalarNode) else None
        if word in _IGNORED_KEYS:
            continue
        if word != "prompt":
            raise _broken(name, line, f"the front matter has {named([word])}, and only prompt is read")
        if prompt is not None:
            raise _broken(name, line, "the front matter has two prompts")
        prompt = normalise_text(value.value).strip() if value.tag == _YAML_TEXT else ""
        if not prompt:
            raise _broken(name, line, "the prompt is not a text")
    return prompt


def _broken(name: str, line: int, problem: str) -> InputError:
    return InputError(
        f'{name} line {line}: {problem}. Write ---, prompt: "...", --- at the top; '
        f"if the text itself begins with a rule, write it as ***."
    )
