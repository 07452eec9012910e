"""What somebody else wrote: the part of it that a prompt quotes, and why it is left out. Of mails and of chats."""

from __future__ import annotations

import re

BY_OTHERS = "written by somebody else"

_CHARACTERS = 1600
_END = re.compile(r"\n\n|[.!?\u2026][\"'\u201d\u2019)]?(?=\s|\Z)|[\u3002\uff01\uff1f]")
_CUT_MARK = " [...]"


def excerpt(text: str) -> str:
    """The text, or its beginning up to the end of a sentence: at most 1,600 characters."""
    start = text[:_CHARACTERS]
    if len(text) <= _CHARACTERS:
        return text
    ends = [match.end() for match in _END.finditer(start)] or [start.rfind(" ")]
    return (start[: ends[-1]] if ends[-1] >= len(start) // 3 else start).rstrip() + _CUT_MARK
