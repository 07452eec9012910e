"""The OpenAI-compatible API, whose model names are voices, and the page at `/` with what it asks for.

Nothing of a request is logged. A page of another site cannot ask: the Host must be this server's, and so the Origin.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from ditto_cli.errors import DittoError, IncompatibleError, InputError, UnknownAdapterError
from ditto_cli.evaluation.judges.by_person import BlindPairs, Pick
from ditto_cli.evaluation.report import REPORT_FILE
from ditto_cli.evaluation.texts_at_hand import Shelf, folder_of, require_folder
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.serving.engine import Engine
from ditto_cli.serving.openai_format import Answer, ChatRequest, CompletionRequest, Guard, Text, Wanted, problem
from ditto_cli.serving.voice_library import VoiceLibrary
from ditto_cli.store import read_bytes

_WATCH_SECONDS = 1.0
_LOOK_SECONDS = 0.2

# Edited text, text as it was written, prompt, folder, adapter, which adapter wrote it -> what came of it.
Keep = Callable[[bytes, str, str, Path, str, str | None], str]

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_REPORT_HEADERS = _HEADERS | {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class KeptText(BaseModel):
    """A text that the person made of a sample."""

    prompt: Annotated[Text, Field(min_length=1, pattern=r"\S")]
    text: Text
    written: Text
    writer: Text | None = None  # the adapter; None for the base


class Judged(BaseModel):
    """What the person said of a pair; `left` and `right` are the texts that stood there."""

    id: Annotated[str, Field(max_length=20)]
    left: Text
    right: Text
    pick: Pick


class Skips(BaseModel):
    """Pairs that are passed over for now."""

    skipped: Annotated[list[Annotated[str, Field(max_length=20)]], Field(max_length=10_000)] = []


@dataclass(frozen=True)
class Serving:
    """What a server has.

    Attributes:
        shelf: of the texts of the voices' persons.
        context_tokens: most of a prompt and its text.
        keep: adds a text to a person's folder, for the page.
    """

    engine: Engine
    library: VoiceLibrary
    shelf: Shelf
    chat: ChatFormat
    context_tokens: int
    keep: Keep
    key_of_store: bytes


def make_app(serving: Serving, *, hosts: frozenset[str] | None, key: str | None) -> FastAPI:
    """The server's application, which starts and stops the engine; for `hosts` and `key` see `Guard`."""

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
    app.add_middleware(Guard, hosts=hosts, key=key, open_paths=frozenset(_FILES))
    app.include_router(_page_routes(serving))
    started = int(time.time())

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        """What is wrong with a request, without what it holds."""
        first = error.errors()[0]
        return problem(400, f"{'.'.join(str(part) for part in first['loc'][1:])}: {first['msg']}")

    @app.exception_handler(DittoError)
    def refuse(request: Request, error: DittoError) -> JSONResponse:
        if isinstance(error, UnknownAdapterError):
            return problem(404, str(error))
        if isinstance(error, InputError | IncompatibleError):
            return problem(400, str(error))
        return problem(500, str(error), "server_error")

    @app.exception_handler(HTTPException)
    def refused_by_library(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail))

    @app.get("/v1/models")
    def models() -> dict[str, Any]:
        entries = [
            {"id": title, "object": "model", "created": started, "owned_by": "ditto"}
            for title in serving.library.titles()
        ]
        return {"object": "list", "data": entries}

    @app.post("/v1/chat/completions")
    async def chat_completions(asked: ChatRequest, request: Request) -> Any:
        return await _answer(serving, asked, request)

    @app.post("/v1/completions")
    async def completions(asked: CompletionRequest, request: Request) -> Any:
        return await _answer(serving, asked, request)

    return app


def _read_request(serving: Serving, asked: ChatRequest | CompletionRequest) -> Wanted:
    speaker = serving.library.speaker(asked.model)
    limit = asked.max_tokens or speaker.max_new_tokens
    if isinstance(asked, ChatRequest):
        turns = [message.turn for message in asked.messages]
        prompt = next((text for role, text in reversed(turns) if role == "user"), "")
        best_of = 1 if asked.stream and asked.best_of is None else asked.best_of
        aid = serving.shelf.aid_for(speaker.record, best_of, asked.with_texts)
        limit = asked.max_completion_tokens or limit
        shots = aid.texts.shots(prompt, aid.with_texts) if aid.texts else []
        ids = serving.chat.shown_ids(turns, shots, serving.context_tokens - limit)
    else:
        aid = serving.shelf.aid_for(speaker.record, asked.best_of or 1, 0)
        prompt, ids = asked.prompt, tuple(serving.chat.tokenizer(asked.prompt)["input_ids"])
    room = serving.context_tokens - len(ids)
    if not ids or room < 1:
        raise InputError(f"The prompt has {len(ids)} tokens; this base reads 1 to {serving.context_tokens - 1}.")
    texts = aid.texts if aid.best_of > 1 else None
    return Wanted(asked, speaker, ids, min(limit, room), prompt, aid.best_of, texts)


async def _answer(serving: Serving, asked: ChatRequest | CompletionRequest, request: Request) -> Any:
    wanted = await asyncio.to_thread(_read_request, serving, asked)
    answer = Answer(serving.engine, wanted, serving.chat)
    if asked.stream:
        return StreamingResponse(answer.events(), media_type="text/event-stream")

    async def cancel_when_nobody_waits() -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_SECONDS)
        answer.cancel()

    leaving = asyncio.create_task(cancel_when_nobody_waits())
    try:
        return await answer.whole()
    finally:
        leaving.cancel()
        answer.cancel()


async def _watch(library: VoiceLibrary) -> None:
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        with suppress(Exception):  # the store cannot be read just now, or the server is ending
            await asyncio.to_thread(library.drop_what_is_gone)


def _page_routes(serving: Serving) -> APIRouter:
    """Adapters, reports, texts that are kept, and pairs to be judged blind."""
    router, keeping, library = APIRouter(), Lock(), serving.library
    for path, (name, media_type) in _FILES.items():
        router.add_api_route(path, _file(name, media_type), methods=["GET"])

    @router.get("/page/adapters")
    def adapters() -> list[dict[str, Any]]:
        return [
            {
                "name": name,
                "stages": list(record.stage_names),
                "published": record.published,
                "best_of": record.settings.sampling.best_of,
                "has_texts": folder_of(record) is not None,
                "has_report": (library.evaluation_folder(name) / REPORT_FILE).is_file(),
            }
            for name, record in library.records().items()
        ]

    @router.get("/page/adapters/{name}/report")
    def report(name: str) -> HTMLResponse:
        library.record(name)
        place = library.evaluation_folder(name) / REPORT_FILE
        if not place.is_file():
            raise InputError(f"There is no report of {name} yet: run ditto eval --adapter {name}.")
        return HTMLResponse(read_bytes(place), headers=_REPORT_HEADERS)

    @router.post("/page/adapters/{name}/texts")
    def keep_text(name: str, text: KeptText) -> dict[str, str]:
        folder = require_folder(library.record(name))
        with keeping:  # the name of a new file is chosen before it is there
            return {"message": serving.keep(text.text.encode(), text.written, text.prompt, folder, name, text.writer)}

    def pairs_of(name: str) -> BlindPairs:
        library.record(name)
        return BlindPairs.read(library.evaluation_folder(name), serving.key_of_store)

    @router.post("/page/adapters/{name}/pairs/next")
    def next_pair(name: str, skips: Skips) -> dict[str, Any]:
        pairs = pairs_of(name)
        return {"pair": pairs.next(skips.skipped), "total": pairs.total, "tally": pairs.tally()}

    @router.post("/page/adapters/{name}/pairs")
    def judge(name: str, judged: Judged) -> dict[str, Any]:
        try:
            pairs_of(name).keep(judged.id, judged.left, judged.right, judged.pick)
        except KeyError:
            raise InputError("This pair is not there any more: an evaluation has come between.") from None
        return {}

    return router


def _file(name: str, media_type: str) -> Callable[[], Response]:
    def answer() -> Response:
        content = files("ditto_cli.serving").joinpath("static", name).read_bytes()
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer
