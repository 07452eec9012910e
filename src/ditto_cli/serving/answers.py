"""The texts of one request: ordered from the engine, joined from its tokens, and the best of their drafts answered.

An answer has one of OpenAI's two shapes, and comes whole or as server-sent events.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from ditto_cli.errors import DittoError
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.texts_at_hand import TextsAtHand
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.engine import Engine, Order, Token
from ditto_cli.serving.requests import ChatRequest, CompletionRequest, error_body
from ditto_cli.serving.voice_library import Speaker

Json = dict[str, Any]
_BROKEN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Wanted:
    """What is written for a request.

    Attributes:
        prompt_ids: token ids of the prompt, with all that is shown before it.
        prompt: the words that drafts are judged by.
        best_of: drafts of each text.
        texts: who chooses among them; None where there is one.
    """

    asked: ChatRequest | CompletionRequest
    speaker: Speaker
    prompt_ids: tuple[int, ...]
    limit: int
    prompt: str
    best_of: int
    texts: TextsAtHand | None


class Draft:
    """One text in the making, of which no half characters are sent and nothing of a stop sequence.

    What is sent adds up to the text without white space around it, as of `ditto sample`.

    Attributes:
        finish: why it ended: stop or length; None while it goes on.
    """

    def __init__(self, tokenizer: Any, stops: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._stops = [stop for stop in stops if stop]
        self.tokens: list[Token] = []
        self.sent = ""
        self.finish: str | None = None

    def feed(self, token: Token) -> str:
        """The piece that can be sent after this token; with the last one, all that is left."""
        self.tokens.append(token)
        self.finish = token.finish
        text: str = self._tokenizer.decode([one.token_id for one in self.tokens], skip_special_tokens=True)
        found = [text.find(stop) for stop in self._stops if stop in text]
        if found:
            self.finish = "stop"
            text = text[: min(found)]
        if self.finish is None:
            text = text.rstrip(_BROKEN)  # the rest of a character is still to come
            most = min(max(map(len, self._stops), default=1) - 1, len(text))
            beginnings = (num for num in range(most, 0, -1) if any(s.startswith(text[-num:]) for s in self._stops))
            text = text[: len(text) - next(beginnings, 0)]  # with which a stop sequence may begin
        piece = text.strip()[len(self.sent) :]
        self.sent += piece
        return piece


class Answer:
    """The answer to one request; its tokens come from the engine's thread."""

    def __init__(self, engine: Engine, wanted: Wanted, chat: ChatFormat) -> None:
        asked, speaker = wanted.asked, wanted.speaker
        self._engine = engine
        self._wanted = wanted
        self._tokenizer = chat.tokenizer
        self._is_chat = isinstance(asked, ChatRequest)
        self._has_logprobs = asked.logprobs is not None and asked.logprobs is not False
        identity = f"{'chatcmpl' if self._is_chat else 'cmpl'}-{secrets.token_hex(12)}"
        self._head = {"id": identity, "created": int(time.time()), "model": asked.model}
        stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
        seed = asked.seed if asked.seed is not None else secrets.randbits(32)
        num = asked.n * wanted.best_of
        self._queue: asyncio.Queue[tuple[int, Token | Exception]] = asyncio.Queue()
        self._drafts = [Draft(chat.tokenizer, stops) for _ in range(num)]
        loop = asyncio.get_running_loop()

        def order(index: int) -> Order:
            def put(what: Token | Exception) -> None:
                loop.call_soon_threadsafe(self._queue.put_nowait, (index, what))

            return Order(
                prompt_ids=wanted.prompt_ids,
                voice=speaker.parts,
                max_tokens=wanted.limit,
                temperature=speaker.temperature if asked.temperature is None else asked.temperature,
                top_p=asked.top_p,
                seed=(seed + index) % 2**63,
                on_token=put,
                on_error=put,
            )

        self._orders = [order(index) for index in range(num)]

    async def whole(self) -> Json:
        """All texts, when they have ended; DittoError: there are none."""
        chosen = enumerate(await self._choose())
        choices = [self._choice(index, draft, "message", draft.sent, draft.tokens) for index, draft in chosen]
        kind = "chat.completion" if self._is_chat else "text_completion"
        return {**self._head, "object": kind, "choices": choices, "usage": self._usage()}

    async def events(self) -> AsyncIterator[str]:
        """Server-sent events, until the texts have ended or nobody reads on: then the texts are not wanted any more.

        Pieces come as they are drawn; where there are drafts to choose from, the text comes whole.
        """
        head = {**self._head, "object": "chat.completion.chunk" if self._is_chat else "text_completion"}
        try:
            if self._wanted.best_of > 1:
                for index, draft in enumerate(await self._choose()):
                    choice = self._choice(index, draft, "delta", draft.sent, draft.tokens)
                    yield _event({**head, "choices": [choice]})
            else:
                async for index, piece, token in self._pieces():
                    draft = self._drafts[index]
                    if piece or draft.finish or self._has_logprobs:
                        yield _event({**head, "choices": [self._choice(index, draft, "delta", piece, [token])]})
            if (self._wanted.asked.stream_options or {}).get("include_usage"):
                yield _event({**head, "choices": [], "usage": self._usage()})
        except DittoError as error:  # the answer has begun, so that its status cannot say it
            yield _event(error_body(str(error)))
        finally:
            self.cancel()
        yield "data: [DONE]\n\n"

    def cancel(self) -> None:
        """Nobody waits for the texts any more: they leave, and there is no answer."""
        for order in self._orders:
            order.is_cancelled = True
        self._queue.put_nowait((0, DittoError("Nobody waits for the answer.")))

    async def _pieces(self) -> AsyncIterator[tuple[int, str, Token]]:
        """Index of a draft, new piece of it, and token, as they come, until all drafts have ended."""
        self._engine.submit(self._orders)
        while any(draft.finish is None for draft in self._drafts):
            index, token = await self._queue.get()
            if isinstance(token, Exception):
                raise token if isinstance(token, DittoError) else DittoError(f"It failed: {type(token).__name__}.")
            draft = self._drafts[index]
            if self._orders[index].is_cancelled:
                continue
            piece = draft.feed(token)
            if draft.finish is not None:
                self._orders[index].is_cancelled = True
            yield index, piece, token

    async def _choose(self) -> list[Draft]:
        """The texts, when all drafts have ended: of each group of drafts the best."""
        async for _ in self._pieces():
            pass
        texts, num = self._wanted.texts, self._wanted.best_of
        if texts is None:
            return self._drafts
        title = self._wanted.speaker.title
        written = [Writing(title, "", 0, d.sent, len(d.tokens), d.finish == "stop") for d in self._drafts]
        chosen = []
        for start in range(0, len(written), num):
            best = await asyncio.to_thread(texts.best, self._wanted.prompt, written[start : start + num])
            chosen.append(self._drafts[start + best])
        return chosen

    def _choice(self, index: int, draft: Draft, key: str, text: str, tokens: Sequence[Token]) -> Json:
        """A text, or a piece of one with its tokens; `best_of` is ditto's own."""
        content: Json = {key: {"role": "assistant", "content": text}} if self._is_chat else {"text": text}
        logprobs: Json | None = None
        if self._has_logprobs:
            words = [(self._tokenizer.decode([token.token_id]), token.logp) for token in tokens]
            logprobs = {"tokens": [word for word, _ in words], "token_logprobs": [logp for _, logp in words]}
            if self._is_chat:
                logprobs = {
                    "content": [
                        {"token": word, "logprob": logp, "bytes": list(word.encode()), "top_logprobs": []}
                        for word, logp in words
                    ]
                }
        best_of = self._wanted.best_of
        return {"index": index, **content, "finish_reason": draft.finish, "logprobs": logprobs, "best_of": best_of}

    def _usage(self) -> dict[str, int]:
        """Tokens of the prompt and of all drafts."""
        written = sum(len(draft.tokens) for draft in self._drafts)
        read = len(self._wanted.prompt_ids)
        return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def _event(content: Json) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
