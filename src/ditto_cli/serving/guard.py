"""Who may ask this server: of a request from elsewhere, without the key, or too large, nothing is read."""

from __future__ import annotations

import hmac
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

MAX_BODY_BYTES = 2**20


class Guard:
    """Turns away, before anything is read, who must not ask or sends too much.

    Args:
        app: what is guarded.
        hosts: what the Host header may name; None is any, for a server with a key that listens on every address.
        key: what requests must bear, or None.
        open_paths: what anybody may get without the key: files that hold nothing private.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, key: str | None, open_paths: frozenset[str]) -> None:
        self._app = app
        self._open_paths = open_paths
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
                await problem(413, f"The request is larger than {MAX_BODY_BYTES} bytes.")(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return unread.pop() if unread else await receive()

        await self._app(scope, replay, send)

    def _refusal(self, request: Request) -> JSONResponse | None:
        # A site can have its name resolved to this machine (DNS rebinding): then it is in Host, and else in Origin.
        host = request.headers.get("host", "").lower()
        if self._hosts is not None and _host_name(host) not in self._hosts:
            return problem(403, "The Host header names another server.")
        origin = request.headers.get("origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return problem(403, "Pages of other sites may not ask this server.")
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        is_open = request.method == "GET" and request.url.path in self._open_paths
        if not (self._key is None or is_open or hmac.compare_digest(given.encode(), self._key.encode())):
            return problem(401, "The API key is missing or wrong.", kind="authentication_error")
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


def _host_name(host: str) -> str:
    """Without a port."""
    return host.rpartition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
