"""Tokens, as they come -> pieces of text that can be sent: no half characters, nothing of a stop sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_BROKEN = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """One text in the making. What is sent adds up to the text without white space around it, as of `ditto sample`.

    Args:
        tokenizer: a Hugging Face tokenizer.
        stops: the text ends before the first of these.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self._token_ids: list[int] = []
        self.sent = ""
        self.is_stopped = False

    def feed(self, token_id: int, *, is_last: bool) -> str:
        """The piece that can be sent after this token; with the last one, all that is left."""
        self._token_ids.append(token_id)
        text: str = self._tokenizer.decode(self._token_ids, skip_special_tokens=True)
        found = [text.find(stop) for stop in self._stops if stop in text]
        if found:
            self.is_stopped = is_last = True
            text = text[: min(found)]
        if not is_last:
            text = text.rstrip(_BROKEN)  # the rest of a character is still to come
            text = text[: len(text) - self._held_back(text)]
        piece = text.strip()[len(self.sent) :]
        self.sent += piece
        return piece

    def _held_back(self, text: str) -> int:
        """Characters at the end with which a stop sequence may begin."""
        most = max(map(len, self._stops), default=1) - 1
        return next(
            (num for num in range(min(most, len(text)), 0, -1) if any(s.startswith(text[-num:]) for s in self._stops)),
            0,
        )
