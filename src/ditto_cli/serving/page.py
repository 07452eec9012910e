"""The page at `/` and what it asks for: adapters, reports, texts that are kept, and pairs to be judged blind."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, Response
from pydantic import BaseModel, Field

from ditto_cli.errors import InputError
from ditto_cli.evaluation.judges.by_person import BlindPairs, Pick
from ditto_cli.evaluation.report import REPORT_FILE
from ditto_cli.evaluation.texts_at_hand import folder_of, require_folder
from ditto_cli.serving.requests import Text
from ditto_cli.serving.voice_library import VoiceLibrary
from ditto_cli.store import AdapterRecord, read_bytes

# Edited text, text as it was written, prompt, folder, adapter, which adapter wrote it -> what came of it.
Keep = Callable[[bytes, str, str, Path, str, str | None], str]

_FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
OPEN_PATHS = frozenset(_FILES)
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


def page_routes(library: VoiceLibrary, keep: Keep, key_of_store: bytes) -> APIRouter:
    """The routes of the page.

    Args:
        library: of the voices.
        keep: adds a text to a person's folder.
        key_of_store: the store's secret, under which judgements are filed.
    """
    router, keeping = APIRouter(), Lock()
    for path, (name, media_type) in _FILES.items():
        router.add_api_route(path, _file(name, media_type), methods=["GET"])

    @router.get("/page/adapters")
    def adapters() -> list[dict[str, Any]]:
        return [_told(library, name, record) for name, record in library.records().items()]

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
            return {"message": keep(text.text.encode(), text.written, text.prompt, folder, name, text.writer)}

    def pairs_of(name: str) -> BlindPairs:
        library.record(name)
        return BlindPairs.read(library.evaluation_folder(name), key_of_store)

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


def _told(library: VoiceLibrary, name: str, record: AdapterRecord) -> dict[str, Any]:
    return {
        "name": name,
        "stages": list(record.stage_names),
        "published": record.published,
        "best_of": record.settings.sampling.best_of,
        "has_texts": folder_of(record) is not None,
        "has_report": (library.evaluation_folder(name) / REPORT_FILE).is_file(),
    }


def _file(name: str, media_type: str) -> Callable[[], Response]:
    def answer() -> Response:
        content = files("ditto_cli.serving").joinpath("static", name).read_bytes()
        return Response(content, media_type=media_type, headers=_HEADERS)

    return answer
