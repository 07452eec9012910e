"""What somebody else wrote: the part of it that a prompt quotes, and why it is left out. Of mails and of chats."""

from __future__ import annotations

import re

BY_OTHERS = "written by somebody else"

_WORDS, _CHARACTERS = 200, 1600
_SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)]?(?=\s|\Z)|[\u3002\uff01\uff1f]")
_CUT_MARK = " [...]"


def excerpt(text: str) -> str:
    """The text, or its beginning up to the end of a paragraph or sentence: at most 200 words and 1,600 characters."""
    start = text[:_CHARACTERS]
    words = list(re.finditer(r"\S+", start))
    if len(words) > _WORDS:
        start = start[: words[_WORDS - 1].end()]
    elif len(text) <= _CHARACTERS:
        return text
    paragraph = start.rfind("\n\n")
    sentence = max((match.end() for match in _SENTENCE_END.finditer(start)), default=0)
    space = max(start.rfind(" "), start.rfind("\n"))
    ends = [end for end in (paragraph, sentence, space) if end >= len(start) // 3]
    return start[: ends[0] if ends else len(start)].rstrip() + _CUT_MARK
