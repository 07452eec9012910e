"""One question in words -> one answer in words, by a server that speaks OpenAI's chat completions.

The client library waits and asks again; here stands what the server may know, and why there is no answer, in one line.
Only the server that was named hears of anything: no redirects, no proxy before this machine's own servers, and of what
the environment holds for OpenAI's servers nothing together with a key that was given for this one.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from pydantic import BaseModel, ValidationError

from ditto_cli.errors import DittoError, InputError

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
        base_url=endpoint.base_url,
        api_key=key,
        timeout=timeout,
        max_retries=endpoint.max_retries,
        http_client=http_client,
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


class QuestionFailed(Exception):
    """This question got no answer, and the next one may get one; the message says why."""


class _Refused(Exception):
    """The server takes no such request.

    Its message can be shown; `words` is all that the server says, which may hold texts and is never shown.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(reason)
        self.words = words


class _Message(BaseModel):
    content: Any = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Any = None


class Reply(BaseModel):
    """What the server answered."""

    choices: list[_Choice]
    usage: Any = None

    @property
    def content(self) -> str:
        """The words; none where the server sent none."""
        content = self.choices[0].message.content if self.choices else ""
        return content if isinstance(content, str) else ""

    @property
    def cut(self) -> bool:
        """Whether the length limit ended it."""
        return bool(self.choices) and self.choices[0].finish_reason == "length"

    def tokens(self, kind: str) -> int:
        """`prompt_tokens` or `completion_tokens` as the server counted them, else 0."""
        counted = self.usage.get(kind) if isinstance(self.usage, dict) else None
        return max(counted, 0) if isinstance(counted, int) else 0


class ChatServer:
    """A server to ask, by several threads at once."""

    def __init__(self, endpoint: Endpoint, *, noted: Callable[[str], None]) -> None:
        """Connect to nothing yet; `noted` is told, by the thread that asks, what the user should know.

        Raises:
            InputError: the package `openai` is not installed, or the environment's proxy cannot be used.
        """
        self._endpoint = endpoint
        self._noted = noted
        self._answered = False
        self._client, self._headers = connect(endpoint)
        # What a server may not know; whatever it refuses is left out from then on.
        self._options: dict[str, Any] = {
            "response_format": {"type": "json_object"},
            "temperature": 0,
            "max_completion_tokens": endpoint.max_answer_tokens,
        }

    def ask(self, text: str) -> Reply:
        """Send one user turn.

        Raises:
            QuestionFailed: no answer to this one.
            InputError: wrong key, model or address.
            DittoError: the server is not there, or answers nobody for now.
        """
        options = dict(self._options)
        while True:
            try:
                reply = self._send(text, options)
            except _Refused as refusal:
                culprit = next((name for name in options if name in refusal.words), None)
                culprit = culprit or ("response_format" if "response_format" in options else None)
                if culprit is None:
                    raise QuestionFailed(f"the server refused the question ({refusal})") from None
                del options[culprit]
            else:
                self.leave_out(set(self._options) - set(options))
                return reply

    def check_reachable(self) -> None:
        """Connect once and leave: the client itself would try for seconds whether a server begins to be there.

        Raises:
            DittoError: nobody listens at the address.
        """
        address = urlsplit(self._endpoint.base_url)
        if leaves_machine(self._endpoint.base_url) and getproxies():
            return
        try:
            port = address.port or (443 if address.scheme.lower() == "https" else 80)
            socket.create_connection((address.hostname, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise self._unreachable(error) from None

    def _unreachable(self, cause: BaseException) -> DittoError:
        failure = " ".join(f"no connection ({cause})".split())
        return DittoError(
            f"The judge at {self._endpoint.base_url} cannot be reached: {failure}. Start it or check the address, and "
            "run the command again; answers so far are kept."
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def leave_out(self, names: set[str]) -> None:
        """Send these options no more: the server does not know them, or thinks longer than they let it."""
        names = names & set(self._options)
        if names:
            self._options = {key: value for key, value in self._options.items() if key not in names}
            self._noted(f"The judge {self._endpoint.host} does without {', '.join(sorted(names))} from here on.")

    def _send(self, text: str, options: dict[str, Any]) -> Reply:
        import openai

        endpoint = self._endpoint
        try:
            raw = self._client.chat.completions.with_raw_response.create(
                model=endpoint.model,
                messages=[{"role": "user", "content": text}],
                extra_headers=self._headers,
                **options,
            )
        except openai.APITimeoutError:
            raise QuestionFailed(f"no answer within {endpoint.timeout_seconds:.3g} s") from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error.__cause__ or error) from None
        except openai.APIStatusError as error:
            raise self._failure_of(error) from None
        if not self._answered and not raw.text.lstrip().startswith("{"):
            raise InputError(
                f"{endpoint.base_url} answers, but not as a chat completions server: check the address, which "
                "often ends in /v1."
            )
        try:
            reply = Reply.model_validate_json(raw.text)
        except ValidationError:
            raise QuestionFailed("an answer that is no chat completion") from None
        self._answered = True
        return reply

    def _failure_of(self, error: openai.APIStatusError) -> Exception:
        """What a status means that stayed when the client had asked again as often as it may."""
        endpoint, status = self._endpoint, error.status_code
        if status in (401, 403):
            source = "the key that was given" if endpoint.api_key else f"the key in ${KEY_VARIABLE}, if there is one"
            return InputError(f"The judge {endpoint.host} refuses access with {source} (status {status}): check it.")
        if status == 404:
            return InputError(
                f"The judge {endpoint.host} knows no model {endpoint.model!r}, or nothing is at {endpoint.base_url} "
                "(status 404): check the model's name and the address, which often ends in /v1."
            )
        if status < 400:
            return InputError(
                f"The judge {endpoint.base_url} sends elsewhere (status {status}): texts are sent only to the address "
                "that was given, so give the new one."
            )
        pause = re.fullmatch(r"\d{1,9}", error.response.headers.get("retry-after", ""))
        if status == 429 or pause:
            reason = f"it asks for a pause of {pause[0]} s" if pause else f"status {status}"
            reason = "the account's quota is used up" if error.code == "insufficient_quota" else reason
            return DittoError(
                f"The judge {endpoint.host} takes no more questions for now ({reason}): run the command again "
                "later; answers so far are kept."
            )
        if status in (408, 409) or status >= 500:
            return QuestionFailed(f"status {status}")
        named = re.fullmatch(r"[\w.-]{1,60}", error.code or "")
        return _Refused(f"status {status}" + (f", {named[0]}" if named else ""), str(error.body))
