"""One question in words -> one answer in words, by a server that speaks OpenAI's chat completions.

Waits and asks again where that can help, and says in one line where it cannot. Knows nothing of pairs.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from ditto_cli.errors import DittoError, InputError
from ditto_cli.evaluation.judges.endpoint import KEY_VARIABLE, Endpoint, connect

if TYPE_CHECKING:
    import openai

_FIRST_DELAY_SECONDS = 1.0
_LONGEST_DELAY_SECONDS = 30.0
# A server that asks for a longer pause means a quota, not a rate.
_LONGEST_ASKED_DELAY_SECONDS = 120.0


@dataclass(frozen=True)
class Reply:
    """What the server answered; `cut` where the length limit ended it. Tokens as the server counted them, else 0."""

    content: str
    cut: bool
    prompt_tokens: int
    completion_tokens: int


class QuestionFailed(Exception):
    """This question got no answer, and the next one may get one; the message says why."""


class _Refused(Exception):
    """The server takes no such request.

    `reason` can be shown; `words` is all that the server says, which may hold texts and is never shown.
    """

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


class _Message(BaseModel):
    content: Any = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Any = None


class _Completion(BaseModel):
    choices: list[_Choice]
    usage: Any = None


class ChatServer:
    """A server to ask, by several threads at once."""

    def __init__(self, endpoint: Endpoint, *, noted: Callable[[str], None], wait: Callable[[float], object]) -> None:
        """Connect to nothing yet.

        Args:
            endpoint: the server.
            noted: told, in one line, what the user should know.
            wait: pauses for some seconds; a true result means that nobody waits for the answer any more.

        Raises:
            InputError: the package `openai` is not installed, or the environment's proxy cannot be used.
        """
        self._endpoint = endpoint
        self._noted = noted
        self._wait = wait
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
                reply = self._ask(text, options)
            except _Refused as refusal:
                culprit = next((name for name in options if name in refusal.words), None)
                culprit = culprit or ("response_format" if "response_format" in options else None)
                if culprit is None:
                    raise QuestionFailed(f"the server refused the question ({refusal.reason})") from None
                del options[culprit]
            else:
                self._leave_out(set(self._options) - set(options))
                return reply

    def lift_answer_limit(self) -> None:
        """Let answers be as long as the server lets them."""
        self._leave_out({"max_completion_tokens"} & set(self._options))

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _leave_out(self, names: set[str]) -> None:
        if names:
            self._options = {key: value for key, value in self._options.items() if key not in names}
            self._noted(f"The judge {self._endpoint.host} does without {', '.join(sorted(names))} from here on.")

    def _ask(self, text: str, options: dict[str, Any]) -> Reply:
        """Send until there is an answer or no hope."""
        import openai

        endpoint = self._endpoint
        failure, delay = "", _FIRST_DELAY_SECONDS
        for attempt in range(endpoint.max_retries + 1):
            if attempt:
                self._noted(f"The judge {endpoint.host}: {failure}; asking again in {delay:.3g} s.")
                if self._wait(delay):
                    break
            delay = min(_FIRST_DELAY_SECONDS * 2**attempt, _LONGEST_DELAY_SECONDS)
            try:
                return self._send(text, options)
            except openai.APITimeoutError:
                failure = f"no answer within {endpoint.timeout_seconds:.3g} s"
            except openai.APIConnectionError as error:
                failure = " ".join(f"no connection ({error.__cause__ or type(error).__name__})".split())
                if not self._answered or attempt == endpoint.max_retries:
                    raise _unreachable(endpoint, failure) from None
            except openai.APIStatusError as error:
                self._answered = True
                failure = f"status {error.status_code}"
                asked = self._delay_or_raise(error)
                delay = delay if asked is None else asked
                if error.status_code == 429 and attempt == endpoint.max_retries:
                    raise _busy(endpoint, f"{failure} {attempt + 1} times") from None
            except ValidationError:
                failure = "an answer that is no chat completion"
        raise QuestionFailed(failure)

    def _send(self, text: str, options: dict[str, Any]) -> Reply:
        raw = self._client.chat.completions.with_raw_response.create(
            model=self._endpoint.model,
            messages=[{"role": "user", "content": text}],
            extra_headers=self._headers,
            **options,
        )
        if not self._answered and not raw.text.lstrip().startswith("{"):
            raise InputError(
                f"{self._endpoint.base_url} answers, but not as a chat completions server: check the address, which "
                "often ends in /v1."
            )
        completion = _Completion.model_validate_json(raw.text)
        self._answered = True
        content, cut = "", False
        if completion.choices:
            first = completion.choices[0]
            content = first.message.content if isinstance(first.message.content, str) else ""
            cut = first.finish_reason == "length"
        return Reply(content, cut, _tokens(completion, "prompt_tokens"), _tokens(completion, "completion_tokens"))

    def _delay_or_raise(self, error: openai.APIStatusError) -> float | None:
        """How long the server wants to be left alone, None if it does not say; raises where waiting is no use."""
        endpoint, status = self._endpoint, error.status_code
        if status in (401, 403):
            source = "the key that was given" if endpoint.api_key else f"the key in ${KEY_VARIABLE}, if there is one"
            raise InputError(
                f"The judge {endpoint.host} refuses access with {source} (status {status}): check it."
            ) from None
        if status == 404:
            raise InputError(
                f"The judge {endpoint.host} knows no model {endpoint.model!r}, or nothing is at {endpoint.base_url} "
                "(status 404): check the model's name and the address, which often ends in /v1."
            ) from None
        if status < 400:
            raise InputError(
                f"The judge {endpoint.base_url} sends elsewhere (status {status}): texts are sent only to the address "
                "that was given, so give the new one."
            ) from None
        if status == 429 and error.code == "insufficient_quota":
            raise _busy(endpoint, "the account's quota is used up") from None
        if status not in (408, 409, 429) and status < 500:
            named = re.fullmatch(r"[\w.-]{1,60}", error.code or "")
            raise _Refused(f"status {status}" + (f", {named[0]}" if named else ""), str(error.body)) from None
        asked = _asked_delay(error.response.headers.get("retry-after"))
        if asked is not None and asked > _LONGEST_ASKED_DELAY_SECONDS:
            raise _busy(endpoint, f"it asks for a pause of {asked:.0f} s") from None
        return asked


def _tokens(completion: _Completion, name: str) -> int:
    counted = completion.usage.get(name) if isinstance(completion.usage, dict) else None
    return max(counted, 0) if isinstance(counted, int) else 0


def _asked_delay(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which holds seconds or a date (RFC 9110, section 10.2.3)."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _unreachable(endpoint: Endpoint, failure: str) -> DittoError:
    return DittoError(
        f"The judge at {endpoint.base_url} cannot be reached: {failure}. Start it or check the address, and run the "
        "command again; answers so far are kept."
    )


def _busy(endpoint: Endpoint, reason: str) -> DittoError:
    return DittoError(
        f"The judge {endpoint.host} takes no more questions for now ({reason}): run the command again "
        "later; answers so far are kept."
    )
