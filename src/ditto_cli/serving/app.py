"""The OpenAI-compatible API: chat completions, completions and models, whose model names are voices.

Nothing of a request is logged. A page of another site cannot ask: the Host must be this server's, and so the Origin.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

from ditto_cli.errors import DittoError, IncompatibleError, InputError
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.engine import Engine, Order, Token
from ditto_cli.serving.streaming import TextStream
from ditto_cli.serving.voice_library import Speaker, VoiceLibrary

MAX_BODY_BYTES = 2**20
_WATCH_SECONDS = 1.0
_LOOK_SECONDS = 0.2

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
    """What both kinds of requests may ask for; None is what the voice was trained with."""

    model: str = Field(max_length=512, pattern=r"^[ -~]+$")
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    n: int = Field(1, ge=1, le=8)
    stream: bool = False
    stream_options: dict[str, Any] | None = None


class ChatRequest(Sampling):
    """`/v1/chat/completions`."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False


class CompletionRequest(Sampling):
    """`/v1/completions`: the prompt as it is, without the chat template."""

    prompt: Text
    logprobs: int | None = Field(None, ge=0)


class Guard:
    """Turns away, before anything is read, who must not ask or sends too much.

    Args:
        app: what is guarded.
        hosts: what the Host header may name; None is any, for a server with a key that listens on every address.
        key: what requests must bear, or None.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, key: str | None) -> None:
        self._app = app
        self._hosts = hosts
        self._key = key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = self._refusal(Request(scope))
        if refused is not None:
            await refused(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:
                await _problem(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return unread.pop() if unread else await receive()

        await self._app(scope, replay, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        # A site can have its name resolved to this machine (DNS rebinding): then it is in Host, and else in Origin.
        host = _host_name(request.headers.get("host", ""))
        if self._hosts is not None and host not in self._hosts:
            return _problem(403, "The Host header names another server.")
        origin = request.headers.get("origin")
        if origin is not None and _host_name(origin.partition("://")[2]) not in (self._hosts or {host}):
            return _problem(403, "Pages of other sites may not ask this server.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self._key is not None and not hmac.compare_digest(given.encode(), self._key.encode()):
            return _problem(401, "The API key is missing or wrong.", kind="authentication_error")
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdecimal() and int(length) <= MAX_BODY_BYTES):
            return _problem(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")
        return None


def make_app(
    engine: Engine,
    library: VoiceLibrary,
    chat: ChatFormat,
    context_tokens: int,
    *,
    hosts: frozenset[str] | None,
    key: str | None,
) -> FastAPI:
    """The server's application; it starts and stops the engine."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        engine.start()
        watching = asyncio.create_task(_watch(library))
        try:
            yield
        finally:
            watching.cancel()
            engine.stop()

    app = FastAPI(title="ditto", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts, key=key)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DittoError, _refused)
    started = int(time.time())

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        entries = [
            {"id": title, "object": "model", "created": started, "owned_by": "ditto"} for title in library.titles()
        ]
        return {"object": "list", "data": entries}

    @app.post("/v1/chat/completions")
    async def chat_completions(wanted: ChatRequest, request: Request) -> Any:
        ids = chat.conversation_ids([message.turn for message in wanted.messages])
        limit = wanted.max_completion_tokens or wanted.max_tokens
        return await _answer(request, wanted, ids, limit, _CHAT, has_logprobs=wanted.logprobs)

    @app.post("/v1/completions")
    async def completions(wanted: CompletionRequest, request: Request) -> Any:
        ids = tuple(chat.tokenizer(wanted.prompt)["input_ids"])
        return await _answer(request, wanted, ids, wanted.max_tokens, _TEXT, has_logprobs=wanted.logprobs is not None)

    async def _answer(
        request: Request,
        wanted: Sampling,
        prompt_ids: tuple[int, ...],
        limit: int | None,
        shape: _Shape,
        *,
        has_logprobs: bool,
    ) -> Any:
        speaker = await asyncio.to_thread(library.speaker, wanted.model)
        room = context_tokens - len(prompt_ids)
        if not prompt_ids or room < 1:
            raise InputError(f"The prompt has {len(prompt_ids)} tokens; this base reads 1 to {context_tokens - 1}.")
        texts = _Texts(engine, wanted, speaker, prompt_ids, min(limit or speaker.max_new_tokens, room), chat)
        head = {"id": f"{shape.prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": wanted.model}
        if wanted.stream:
            wants_usage = bool((wanted.stream_options or {}).get("include_usage"))
            events = _events(texts, head, shape, has_logprobs=has_logprobs, wants_usage=wants_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        leaving = asyncio.create_task(_cancel_when_gone(request, texts))
        try:
            async for _ in texts.pieces():
                pass
        finally:
            leaving.cancel()
            texts.cancel()
        choices = [shape.whole(index, one, texts, has_logprobs) for index, one in enumerate(texts.done)]
        return {**head, "object": shape.whole_object, "choices": choices, "usage": texts.usage()}

    return app


async def _cancel_when_gone(request: Request, texts: _Texts) -> None:
    """Nobody reads the answer any more: its texts leave."""
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_SECONDS)
    texts.cancel()
    texts.fail(DittoError("Nobody waits for the answer."))


async def _watch(library: VoiceLibrary) -> None:
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        with suppress(DittoError, OSError):  # the store cannot be read just now, or the server is ending
            await asyncio.to_thread(library.drop_what_is_gone)


class _One:
    """One text of a request as far as it has come."""

    def __init__(self, stream: TextStream) -> None:
        self.stream = stream
        self.tokens: list[Token] = []
        self.finish: str | None = None


class _Texts:
    """The texts of one request, whose tokens come from the engine's thread."""

    def __init__(
        self,
        engine: Engine,
        wanted: Sampling,
        speaker: Speaker,
        prompt_ids: tuple[int, ...],
        limit: int,
        chat: ChatFormat,
    ) -> None:
        self._engine = engine
        stops = [wanted.stop] if isinstance(wanted.stop, str) else wanted.stop or []
        seed = wanted.seed if wanted.seed is not None else secrets.randbits(32)
        self._tokenizer = chat.tokenizer
        self._num_prompt_tokens = len(prompt_ids)
        self._queue: asyncio.Queue[tuple[int, Token | Exception]] = asyncio.Queue()
        self.done = [_One(TextStream(chat.tokenizer, stops)) for _ in range(wanted.n)]
        loop = asyncio.get_running_loop()

        def order(index: int) -> Order:
            def put(what: Token | Exception) -> None:
                loop.call_soon_threadsafe(self._queue.put_nowait, (index, what))

            return Order(
                prompt_ids=prompt_ids,
                voice=speaker.parts,
                max_tokens=limit,
                temperature=speaker.temperature if wanted.temperature is None else wanted.temperature,
                top_p=wanted.top_p,
                seed=(seed + index) % 2**63,
                on_token=put,
                on_error=put,
            )

        self.orders = [order(index) for index in range(wanted.n)]

    async def pieces(self) -> AsyncIterator[tuple[int, str, Token]]:
        """Index, new piece of text, and token, as they come, until all texts have ended.

        Raises:
            DittoError: there is no text.
        """
        self._engine.submit(self.orders)
        while any(one.finish is None for one in self.done):
            index, token = await self._queue.get()
            if isinstance(token, Exception):
                raise token if isinstance(token, DittoError) else DittoError(f"It failed: {type(token).__name__}.")
            one = self.done[index]
            if one.finish is not None:
                continue
            one.tokens.append(token)
            piece = one.stream.feed(token.token_id, is_last=token.finish is not None)
            one.finish = "stop" if one.stream.is_stopped else token.finish
            if one.finish is not None:
                self.orders[index].cancel()
            yield index, piece, token

    def fail(self, error: DittoError) -> None:
        """End the wait for them."""
        self._queue.put_nowait((0, error))

    def cancel(self) -> None:
        """Nobody waits for them any more."""
        for order in self.orders:
            order.cancel()

    def usage(self) -> dict[str, int]:
        """Tokens of the prompt and of all texts."""
        written = sum(len(one.tokens) for one in self.done)
        whole = self._num_prompt_tokens + written
        return {"prompt_tokens": self._num_prompt_tokens, "completion_tokens": written, "total_tokens": whole}

    def logprobs(self, tokens: Sequence[Token]) -> list[dict[str, Any]]:
        """Of each token, as chat completions tell them."""
        texts = [self._tokenizer.decode([token.token_id]) for token in tokens]
        return [
            {"token": text, "logprob": token.logp, "bytes": list(text.encode()), "top_logprobs": []}
            for text, token in zip(texts, tokens, strict=True)
        ]


class _Shape:
    """How OpenAI's two kinds of answers differ."""

    prefix: str
    whole_object: str
    chunk_object: str

    def whole(self, index: int, one: _One, texts: _Texts, has_logprobs: bool) -> dict[str, Any]:
        """A text that has ended, as a choice."""
        raise NotImplementedError

    def chunk(self, index: int, piece: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        """A piece of one."""
        raise NotImplementedError

    def logprobs(self, texts: _Texts, tokens: Sequence[Token]) -> Any:
        """Of tokens."""
        raise NotImplementedError


class _ChatShape(_Shape):
    prefix, whole_object, chunk_object = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def whole(self, index: int, one: _One, texts: _Texts, has_logprobs: bool) -> dict[str, Any]:
        message = {"role": "assistant", "content": one.stream.sent}
        logprobs = self.logprobs(texts, one.tokens) if has_logprobs else None
        return {"index": index, "message": message, "finish_reason": one.finish, "logprobs": logprobs}

    def chunk(self, index: int, piece: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        delta = {"role": "assistant", "content": piece}
        return {"index": index, "delta": delta, "finish_reason": finish, "logprobs": logprobs}

    def logprobs(self, texts: _Texts, tokens: Sequence[Token]) -> Any:
        return {"content": texts.logprobs(tokens)}


class _TextShape(_Shape):
    prefix, whole_object, chunk_object = "cmpl", "text_completion", "text_completion"

    def whole(self, index: int, one: _One, texts: _Texts, has_logprobs: bool) -> dict[str, Any]:
        logprobs = self.logprobs(texts, one.tokens) if has_logprobs else None
        return {"index": index, "text": one.stream.sent, "finish_reason": one.finish, "logprobs": logprobs}

    def chunk(self, index: int, piece: str, finish: str | None, logprobs: Any) -> dict[str, Any]:
        return {"index": index, "text": piece, "finish_reason": finish, "logprobs": logprobs}

    def logprobs(self, texts: _Texts, tokens: Sequence[Token]) -> Any:
        told = texts.logprobs(tokens)
        return {"tokens": [one["token"] for one in told], "token_logprobs": [one["logprob"] for one in told]}


_CHAT, _TEXT = _ChatShape(), _TextShape()


async def _events(
    texts: _Texts, head: dict[str, Any], shape: _Shape, *, has_logprobs: bool, wants_usage: bool
) -> AsyncIterator[str]:
    """Server-sent events, until the texts have ended or nobody reads on: then the texts are not wanted any more."""
    head = {**head, "object": shape.chunk_object}
    try:
        async for index, piece, token in texts.pieces():
            finish = texts.done[index].finish
            logprobs = shape.logprobs(texts, [token]) if has_logprobs else None
            if piece or finish or has_logprobs:
                yield _event({**head, "choices": [shape.chunk(index, piece, finish, logprobs)]})
        if wants_usage:
            yield _event({**head, "choices": [], "usage": texts.usage()})
    except DittoError as error:  # the answer has begun, so that its status cannot say it
        yield _event(_error(str(error)))
    finally:
        texts.cancel()
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _error(message: str, kind: str = "invalid_request_error") -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def _problem(status: int, message: str, kind: str = "invalid_request_error") -> JSONResponse:
    return JSONResponse(_error(message, kind), status_code=status)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, without what it holds."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _problem(400, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")


def _refused(request: Request, error: Exception) -> JSONResponse:
    status = 400 if isinstance(error, InputError | IncompatibleError) else 500
    unknown = isinstance(error, InputError) and str(error).startswith(("Unknown adapter", "The model "))
    return _problem(
        404 if unknown else status, str(error), "invalid_request_error" if status == 400 else "server_error"
    )


def _host_name(host: str) -> str:
    """Without a port, in small letters."""
    return (host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]).lower()
