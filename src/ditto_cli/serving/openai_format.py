"""Requests and answers in OpenAI's words: what may be asked and by whom, and the texts that are given back.

Of others' requests, and too large ones, nothing is read. An answer's texts are ordered from the engine, joined from its
tokens, and the best of their drafts answered: whole, or as server-sent events.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from ditto_cli.errors import DittoError
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.texts_at_hand import TextsAtHand
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.engine import Engine, Order, Token
from ditto_cli.serving.voice_library import Speaker

MAX_BODY_BYTES = 2**20

Text = Annotated[str, Field(max_length=MAX_BODY_BYTES)]
Stop = Annotated[str, Field(max_length=1000)]


class TextPart(BaseModel):
    """A piece of a message; pictures and sounds are refused."""

    type: Literal["text"]
    text: Text


class Message(BaseModel):
    """A turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Text | list[TextPart]

    @property
    def turn(self) -> tuple[str, str]:
        """Role and content as chat templates know them."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ("system" if self.role == "developer" else self.role), text


class Sampling(BaseModel):
    """What both kinds of requests may ask for; None is what the voice was trained with.

    `best_of` is the number of drafts of which each text is the best, as in `ditto sample`; what is streamed is drawn
    once unless more are asked for.
    """

    model: str = Field(max_length=512, pattern=r"^[ -~]+$")
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    n: int = Field(1, ge=1, le=8)
    best_of: int | None = Field(None, ge=1, le=64)
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class ChatRequest(Sampling):
    """`/v1/chat/completions`; `with_texts` of the person's texts are shown before the conversation."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    with_texts: int | None = Field(None, ge=0, le=9)


class CompletionRequest(Sampling):
    """`/v1/completions`: the prompt as it is, without the chat template."""

    prompt: Text
    logprobs: int | None = Field(None, ge=0)


class Guard:
    """Turns away, before anything is read, who must not ask or sends too much.

    Args:
        hosts: what the Host header may name; None is any, for a server with a key that listens on every address.
        open_paths: what anybody may get without the key: files that hold nothing private.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, key: str | None, open_paths: frozenset[str]) -> None:
        self._app = app
        self._open_paths = open_paths
        self._hosts = hosts
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        refused = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        # A site can have its name resolved to this machine (DNS rebinding): then it is in Host, and else in Origin.
        host = request.headers.get("host", "").lower()
        name = host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]  # without a port
        if self._hosts is not None and name not in self._hosts:
            return problem(403, "The Host header names another server.")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return problem(403, "Pages of other sites may not ask this server.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_open = request.method == "GET" and request.url.path in self._open_paths
        if not (self._key is None or is_open or hmac.compare_digest(given.encode(), self._key.encode())):
            return problem(401, "The API key is missing or wrong.", kind="authentication_error")
        if "transfer-encoding" in request.headers:
            return problem(411, "The request must say its length (Content-Length).")
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal() and int(length) <= MAX_BODY_BYTES):
            return problem(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")
        return None


def error_body(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    """An error in OpenAI's shape."""
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def problem(status: int, message: str, kind: str = "invalid_request_error") -> JSONResponse:
    """The answer to a request that is refused."""
    return JSONResponse(error_body(message, kind), status_code=status)


# --- answers

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
