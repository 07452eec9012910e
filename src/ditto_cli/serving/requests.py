"""What may be asked, in OpenAI's words, and who may ask: of others' requests, and too large ones, nothing is read."""

from __future__ import annotations

import hmac
from typing import Annotated, Any, Literal

from fastapi import Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.types import ASGIApp, Receive, Scope, Send

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
