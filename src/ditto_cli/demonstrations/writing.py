"""A text and its prompt -> a file of a demonstrations folder, which reads back as exactly that text and prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

import yaml

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.formats.plain import read_markdown, read_plain

_RULE = "---"
_SLUG_CHARACTERS = 40


@dataclass(frozen=True)
class TextFile:
    """A file to be written: its name, and what it holds."""

    name: str
    content: str


def text_file(stem: str, text: str, prompt: str | None) -> TextFile:
    """The file for a text, as Markdown where that keeps it whole, else as plain text.

    Args:
        stem: the file's name without suffix.
        text: the person's text, not empty.
        prompt: what it answers, if that is known.
    """
    text = normalise_text(text)
    prompt = normalise_text(prompt or "").strip() or None
    is_plain = "<!--" in text  # in Markdown that would be a comment
    content = f"{_front_matter(text, prompt)}{text}\n"
    name = stem + (".txt" if is_plain else ".md")
    (read,) = (read_plain if is_plain else read_markdown)(name, content.encode()).texts
    assert (read.text, read.prompt) == (text, prompt), "what is written is read as the same"
    return TextFile(name, content)


def stem_for(about: str, taken: Collection[str]) -> str:
    """A file's name without suffix: a number that is free, then words of `about` in plain letters.

    Args:
        about: a subject, a title or a file's name.
        taken: names of the files that are there.
    """
    plain = unicodedata.normalize("NFKD", about).encode("ascii", "ignore").decode("ascii").lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:_SLUG_CHARACTERS].strip("-") or "text"
    used = {int(match[1]) for name in taken if (match := re.match(r"(\d{1,6})-", name))}
    return f"{max(used, default=0) + 1:02d}-{slug}"


def _front_matter(text: str, prompt: str | None) -> str:
    if prompt is None:
        # A text that begins with a rule would be read as front matter.
        return f"{_RULE}\n{_RULE}\n" if text.split("\n", 1)[0].rstrip() == _RULE else ""
    header = yaml.dump({"prompt": prompt}, Dumper=_Dumper, allow_unicode=True, width=10_000)
    return f"{_RULE}\n{header}{_RULE}\n"


class _Dumper(yaml.SafeDumper):
    """Writes a prompt of several lines as a block, which is easy to edit."""


def _as_block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _as_block)
