"""Text files: .txt and .md, with what programs for blogs and notes write above a text."""

from __future__ import annotations

import re

from ditto_cli.demonstrations.formats.common import decoded, usable
from ditto_cli.demonstrations.formats.front_matter import split_front_matter, split_properties
from ditto_cli.errors import InputError
from ditto_cli.types import Reading, SourceText

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def read_plain(name: str, raw: bytes) -> Reading:
    """A .txt file: one text, with optional front matter.

    Raises:
        InputError: binary, empty, or broken front matter.
    """
    head = split_front_matter(name, decoded(name, raw))
    return Reading((SourceText(id=name, text=usable(name, head.body), prompt=head.prompt),))


def read_markdown(name: str, raw: bytes) -> Reading:
    """A .md file: as .txt, and HTML comments are left out.

    Raises:
        InputError: binary, empty, broken front matter, or a comment that never ends.
    """
    head = split_front_matter(name, decoded(name, raw))
    body = head.body
    # Without an end, the pattern would look for one from each beginning anew.
    last = body.rfind("-->") + 3 if "-->" in body else 0
    visible = _COMMENT.sub("", body[:last]) + body[last:]
    if "<!--" in visible:
        line = head.first_line + body.count("\n", 0, body.rindex("<!--"))
        raise InputError(f"{name} line {line}: this comment never ends, so its extent is unknown: close it with -->.")
    if not head.is_there:
        head = split_properties(name, visible)
        visible = head.body
    return Reading((SourceText(id=name, text=usable(name, visible), prompt=head.prompt),))
