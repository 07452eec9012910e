"""Where a server is -> a client for it that tells it no more than it must know.

Only the server that was named hears of anything: no redirects, no proxy before this machine's own servers, and of what
the environment holds for OpenAI's servers nothing together with a key that was given for this one.
"""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ditto_cli.errors import InputError

if TYPE_CHECKING:
    import openai

KEY_VARIABLE = "OPENAI_API_KEY"
# Servers that check no key want one all the same.
_PLACEHOLDER_KEY = "none"
# One spelling of an address, so that what is checked here and what the client connects to cannot differ.
_ADDRESS = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:/[^\s\\@?#]*)?", re.IGNORECASE)
_CONNECT_SECONDS = 10.0
_OWN_HEADERS = ("accept", "content-type", "user-agent")


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and how to ask it.

    Attributes:
        base_url: up to where `/chat/completions` follows, e.g. `http://localhost:8000/v1`.
        model: as the server names it.
        api_key: None takes `$OPENAI_API_KEY`, and without that a placeholder.
        timeout_seconds: longest silence of the server.
        max_retries: how often a question is sent again when the server is busy, slow or broken.
        max_answer_tokens: length limit of an answer, lifted for models that think longer before they answer.
    """

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 60.0
    max_retries: int = 4
    max_answer_tokens: int = 300

    def __post_init__(self) -> None:
        if not _is_address(self.base_url):
            shown = self.base_url.rpartition("@")[2]  # before it may stand a password
            raise InputError(
                f"The judge's address {shown!r} cannot be used: give http:// or https://, a host and a path, "
                "without a password, e.g. http://localhost:8000/v1."
            )
        if self.api_key is not None and not re.fullmatch(r"[!-~]+", self.api_key):
            raise InputError("The judge's key holds white space or special characters: give it as the server made it.")

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc


def leaves_machine(base_url: str) -> bool:
    """Whether texts sent to this address leave this computer: False for loopback hosts only."""
    if not _is_address(base_url):
        return True
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def connect(endpoint: Endpoint) -> tuple[openai.OpenAI, dict[str, Any]]:
    """A client for this server, which connects to nothing yet, and the headers to send with each request.

    Raises:
        InputError: the package `openai` is not installed, or the environment's proxy cannot be used.
    """
    try:
        import openai
    except ImportError:
        raise InputError(
            "The judge `openai` needs the package openai, which is not installed: pip install 'ditto-cli[openai]'."
        ) from None
    from_environment = os.environ.get(KEY_VARIABLE, "").strip() if endpoint.api_key is None else ""
    key = endpoint.api_key or from_environment or _PLACEHOLDER_KEY
    timeout = openai.Timeout(endpoint.timeout_seconds, connect=min(_CONNECT_SECONDS, endpoint.timeout_seconds))
    try:
        http_client = openai.DefaultHttpxClient(
            follow_redirects=False, timeout=timeout, trust_env=leaves_machine(endpoint.base_url)
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"The proxy that the environment names cannot be used ({type(error).__name__}).") from None
    client = openai.OpenAI(
        base_url=endpoint.base_url, api_key=key, timeout=timeout, max_retries=0, http_client=http_client
    )
    # The client would also send the kind of computer, and whatever the environment holds for OpenAI's own servers.
    unwanted = [
        name
        for name in client.default_headers
        if name.lower().startswith("x-stainless-") or (not from_environment and name.lower() not in _OWN_HEADERS)
    ]
    headers: dict[str, Any] = {name: openai.Omit() for name in unwanted}
    headers |= {f"x-stainless-{name}": openai.Omit() for name in ("retry-count", "read-timeout")}
    return client, headers | {"Authorization": f"Bearer {key}"}


def _is_address(base_url: str) -> bool:
    try:
        return bool(_ADDRESS.fullmatch(base_url)) and urlsplit(base_url).port != 0
    except ValueError:  # a port beyond 65535, or no IPv6 address between the brackets
        return False
