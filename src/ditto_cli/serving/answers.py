"""Texts -> OpenAI's two kinds of answers, whole or as server-sent events."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from ditto_cli.errors import DittoError
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.guard import error_body
from ditto_cli.serving.orders import Token
from ditto_cli.serving.texts import Draft, Texts

Json = dict[str, Any]
Told = list[tuple[str, float]]  # of each token, text and log-probability


class Shape(Protocol):
    """How the two kinds differ."""

    prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, text: str) -> Json:
        """A text that has ended, in a choice."""

    def piece(self, text: str) -> Json:
        """A piece of one, in a choice."""

    def logprobs(self, told: Told) -> Json:
        """Of tokens."""


class ChatShape:
    """Of `/v1/chat/completions`."""

    prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def whole(self, text: str) -> Json:
        """A message."""
        return {"message": {"role": "assistant", "content": text}}

    def piece(self, text: str) -> Json:
        """A delta."""
        return {"delta": {"role": "assistant", "content": text}}

    def logprobs(self, told: Told) -> Json:
        """A list of tokens."""
        return {
            "content": [
                {"token": text, "logprob": logp, "bytes": list(text.encode()), "top_logprobs": []}
                for text, logp in told
            ]
        }


class TextShape:
    """Of `/v1/completions`."""

    prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def whole(self, text: str) -> Json:
        """The text."""
        return {"text": text}

    def piece(self, text: str) -> Json:
        """The piece."""
        return {"text": text}

    def logprobs(self, told: Told) -> Json:
        """Two lists."""
        return {"tokens": [text for text, _ in told], "token_logprobs": [logp for _, logp in told]}


class Answer:
    """The answer to one request."""

    def __init__(
        self, texts: Texts, chat: ChatFormat, shape: Shape, model: str, *, best_of: int, has_logprobs: bool
    ) -> None:
        self._texts = texts
        self._tokenizer = chat.tokenizer
        self._shape = shape
        self._best_of = best_of
        self._has_logprobs = has_logprobs
        self._head = {"id": f"{shape.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}

    async def whole(self) -> Json:
        """All texts, when they have ended.

        Raises:
            DittoError: there is no text.
        """
        chosen = await self._texts.chosen()
        choices = [self._choice(index, self._shape.whole(d.stream.sent), d) for index, d in enumerate(chosen)]
        return {**self._head, "object": self._shape.whole_object, "choices": choices, "usage": self._texts.usage()}

    async def events(self, *, wants_usage: bool) -> AsyncIterator[str]:
        """Server-sent events, until the texts have ended or nobody reads on: then the texts are not wanted any more.

        Pieces come as they are drawn; where there are drafts to choose from, the text comes whole.
        """
        head = {**self._head, "object": self._shape.chunk_object}
        try:
            if self._best_of > 1:
                for index, draft in enumerate(await self._texts.chosen()):
                    choice = self._choice(index, self._shape.piece(draft.stream.sent), draft)
                    yield _event({**head, "choices": [choice]})
            else:
                async for index, piece, token in self._texts.pieces():
                    finish = self._texts.drafts[index].finish
                    if piece or finish or self._has_logprobs:
                        logprobs = self._logprobs([token])
                        choice = _choice(index, self._shape.piece(piece), finish, logprobs, self._best_of)
                        yield _event({**head, "choices": [choice]})
            if wants_usage:
                yield _event({**head, "choices": [], "usage": self._texts.usage()})
        except DittoError as error:  # the answer has begun, so that its status cannot say it
            yield _event(error_body(str(error)))
        finally:
            self._texts.cancel()
        yield "data: [DONE]\n\n"

    def _choice(self, index: int, content: Json, draft: Draft) -> Json:
        return _choice(index, content, draft.finish, self._logprobs(draft.tokens), self._best_of)

    def _logprobs(self, tokens: Sequence[Token]) -> Json | None:
        if not self._has_logprobs:
            return None
        return self._shape.logprobs([(self._tokenizer.decode([token.token_id]), token.logp) for token in tokens])


def _choice(index: int, content: Json, finish: str | None, logprobs: Json | None, best_of: int) -> Json:
    """One text; `best_of` is ditto's own."""
    return {"index": index, **content, "finish_reason": finish, "logprobs": logprobs, "best_of": best_of}


def _event(content: Json) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
