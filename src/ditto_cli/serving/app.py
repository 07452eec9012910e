"""The OpenAI-compatible API: chat completions, completions and models, whose model names are voices.

Nothing of a request is logged. A page of another site cannot ask: the Host must be this server's, and so the Origin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from ditto_cli.errors import DittoError, IncompatibleError, InputError, UnknownAdapterError
from ditto_cli.evaluation.texts_at_hand import Aid, Shelf
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.answers import Answer, ChatShape, Shape, TextShape
from ditto_cli.serving.guard import Guard, problem
from ditto_cli.serving.orders import Engine
from ditto_cli.serving.page import OPEN_PATHS, Keep, page_routes
from ditto_cli.serving.requests import ChatRequest, CompletionRequest
from ditto_cli.serving.texts import Texts, Wanted
from ditto_cli.serving.voice_library import Speaker, VoiceLibrary

_WATCH_SECONDS = 1.0
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Serving:
    """What a server has.

    Attributes:
        engine: writes.
        library: of the voices.
        shelf: of their persons' texts.
        chat: tokenisation of the base.
        context_tokens: most of a prompt and its text.
        keep: adds a text to a person's folder, for the page.
        key_of_store: the store's secret.
    """

    engine: Engine
    library: VoiceLibrary
    shelf: Shelf
    chat: ChatFormat
    context_tokens: int
    keep: Keep
    key_of_store: bytes


def make_app(serving: Serving, *, hosts: frozenset[str] | None, key: str | None) -> FastAPI:
    """The server's application; it starts and stops the engine.

    Args:
        serving: what it has.
        hosts: see `Guard`.
        key: see `Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        serving.engine.start()
        watching = asyncio.create_task(_watch(serving.library))
        try:
            yield
        finally:
            watching.cancel()
            serving.engine.stop()

    app = FastAPI(title="ditto", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, hosts=hosts, key=key, open_paths=OPEN_PATHS)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DittoError, _refused)
    app.add_exception_handler(HTTPException, _refused_by_library)
    app.include_router(page_routes(serving.library, serving.keep, serving.key_of_store))
    started = int(time.time())

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        entries = [
            {"id": title, "object": "model", "created": started, "owned_by": "ditto"}
            for title in serving.library.titles()
        ]
        return {"object": "list", "data": entries}

    @app.post("/v1/chat/completions")
    async def chat_completions(wanted: ChatRequest, request: Request) -> Any:
        written = await asyncio.to_thread(_conversation, serving, wanted)
        return await _answer(serving, written, request, ChatShape(), has_logprobs=wanted.logprobs)

    @app.post("/v1/completions")
    async def completions(wanted: CompletionRequest, request: Request) -> Any:
        written = await asyncio.to_thread(_continuation, serving, wanted)
        return await _answer(serving, written, request, TextShape(), has_logprobs=wanted.logprobs is not None)

    return app


def _conversation(serving: Serving, wanted: ChatRequest) -> Wanted:
    speaker = serving.library.speaker(wanted.model)
    turns = [message.turn for message in wanted.messages]
    prompt = next((text for role, text in reversed(turns) if role == "user"), "")
    best_of = 1 if wanted.stream and wanted.best_of is None else wanted.best_of
    aid = serving.shelf.aid_for(speaker.record, best_of, wanted.with_texts)
    limit = wanted.max_completion_tokens or wanted.max_tokens or speaker.max_new_tokens
    shots = aid.texts.shots(prompt, aid.with_texts) if aid.texts else []
    ids = serving.chat.shown_ids(turns, shots, serving.context_tokens - limit)
    return _wanted(serving, wanted, speaker, ids, limit, prompt, aid)


def _continuation(serving: Serving, wanted: CompletionRequest) -> Wanted:
    speaker = serving.library.speaker(wanted.model)
    aid = serving.shelf.aid_for(speaker.record, wanted.best_of or 1, 0)
    ids = tuple(serving.chat.tokenizer(wanted.prompt)["input_ids"])
    return _wanted(serving, wanted, speaker, ids, wanted.max_tokens or speaker.max_new_tokens, wanted.prompt, aid)


def _wanted(
    serving: Serving,
    wanted: ChatRequest | CompletionRequest,
    speaker: Speaker,
    ids: tuple[int, ...],
    limit: int,
    prompt: str,
    aid: Aid,
) -> Wanted:
    room = serving.context_tokens - len(ids)
    if not ids or room < 1:
        raise InputError(f"The prompt has {len(ids)} tokens; this base reads 1 to {serving.context_tokens - 1}.")
    texts = aid.texts if aid.best_of > 1 else None
    return Wanted(wanted, speaker, ids, min(limit, room), prompt, aid.best_of, texts)


async def _answer(serving: Serving, wanted: Wanted, request: Request, shape: Shape, *, has_logprobs: bool) -> Any:
    texts = Texts(serving.engine, wanted, serving.chat)
    asked = wanted.sampling
    answer = Answer(texts, serving.chat, shape, asked.model, best_of=wanted.best_of, has_logprobs=has_logprobs)
    if asked.stream:
        wants_usage = bool((asked.stream_options or {}).get("include_usage"))
        return StreamingResponse(answer.events(wants_usage=wants_usage), media_type="text/event-stream")
    leaving = asyncio.create_task(_cancel_when_gone(request, texts))
    try:
        return await answer.whole()
    finally:
        leaving.cancel()
        texts.cancel()


async def _cancel_when_gone(request: Request, texts: Texts) -> None:
    """Nobody reads the answer any more: its texts leave."""
    while not await request.is_disconnected():
        await asyncio.sleep(_LOOK_SECONDS)
    texts.cancel()
    texts.fail(DittoError("Nobody waits for the answer."))


async def _watch(library: VoiceLibrary) -> None:
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        with suppress(Exception):  # the store cannot be read just now, or the server is ending
            await asyncio.to_thread(library.drop_what_is_gone)


def _invalid(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, without what it holds."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return problem(400, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")


def _refused(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, UnknownAdapterError):
        return problem(404, str(error))
    if isinstance(error, InputError | IncompatibleError):
        return problem(400, str(error))
    return problem(500, str(error), "server_error")


def _refused_by_library(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, str(error.detail))
