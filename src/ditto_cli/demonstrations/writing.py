"""A text and its prompt -> a file of a demonstrations folder, which reads back as exactly that text and prompt."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

import yaml

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.readers import READERS
from ditto_cli.errors import InputError

_RULE = "---"
_SLUG_CHARACTERS = 40


def text_file(stem: str, text: str, prompt: str | None) -> tuple[str, str]:
    """Name and content of the file for a text, as Markdown where that keeps it whole, else as plain text.

    Args:
        stem: the file's name without suffix.
        text: the person's text, not empty.
        prompt: what it answers, if that is known.
    """
    text = normalise_text(text)
    prompt = normalise_text(prompt or "").strip() or None
    suffix = ".txt" if "<!--" in text else ".md"  # in Markdown that would be a comment

    def reads_back(content: str) -> bool:
        try:
            texts = READERS[suffix](stem + suffix, content.encode()).texts
        except InputError:
            return False
        return [(read.text, read.prompt) for read in texts] == [(text, prompt)]

    content = f"{text}\n"
    if prompt is not None:
        header = yaml.safe_dump({"prompt": prompt}, allow_unicode=True, width=10_000)
        content = f"{_RULE}\n{header}{_RULE}\n{content}"
    elif not reads_back(content):  # it begins as front matter or a chat does
        content = f"{_RULE}\n{_RULE}\n{content}"
    assert reads_back(content), "what is written is read as the same"
    return stem + suffix, content


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
