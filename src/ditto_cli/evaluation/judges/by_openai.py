"""Pairs -> judgements by a model behind a server that speaks OpenAI's chat completions.

Each pair is asked in both orders; a judge that answers by the place gives a tie. Every answer is in the ledger as soon
as it is there, so a run that breaks goes on where it was. The client library waits and asks again.
Texts go to the server that was named alone: no redirects, and no proxy before this machine's own servers.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing.pool import ThreadPool
from statistics import fmean
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ditto_cli.errors import DittoError, InputError
from ditto_cli.evaluation.judgements import Judgement, Pair
from ditto_cli.evaluation.judges import Answer, Ledger, question, read_choice
from ditto_cli.types import Demonstration

if TYPE_CHECKING:
    import openai
    from openai.types.chat import ChatCompletion

log = logging.getLogger(__name__)

KEY_VARIABLE = "OPENAI_API_KEY"
TIMEOUT_SECONDS = 60.0  # the longest silence of the server
MAX_RETRIES = 4
MAX_ANSWER_TOKENS = 300
NUM_WORKERS = 4  # questions that are under way at a time

_CONNECT_SECONDS = 10.0
_OWN_HEADERS = ("accept", "content-type", "user-agent")
_PLACEHOLDER_KEY = "none"  # servers that check no key want one all the same
# One spelling of an address, so that what is checked here and what the client connects to cannot differ.
_ADDRESS = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:/[^\s\\@?#]*)?", re.IGNORECASE)
# An answer that cannot be read: the question again, with these words behind it.
_REMINDERS = (
    "",
    '\n\nYour answer must be one JSON object such as {"reason": "short sentences", "answer": "B"}.',
    "\n\nAnswer with one word: A, B or tie.",
)
_MOST_FAILURES_IN_A_ROW = 3
_BYTES_PER_TOKEN = 4  # of English; other languages have more bytes a letter and more tokens a word
_ANSWER_TOKENS = 50  # the JSON object that is asked for, with a reason of fifteen words
_OPPOSITE = {"A": "B", "B": "A", "tie": "tie"}
_SCORES = {"A": 1.0, "B": 0.0, "tie": 0.5}


@dataclass(frozen=True)
class Endpoint:
    """Where a server is: `base_url` goes up to where `/chat/completions` follows."""

    base_url: str
    model: str

    def __post_init__(self) -> None:
        try:
            is_address = _ADDRESS.fullmatch(self.base_url) and urlsplit(self.base_url).port != 0
        except ValueError:  # a port beyond 65535, or no IPv6 address between the brackets
            is_address = False
        if not is_address:
            shown = self.base_url.rpartition("@")[2]  # before it may stand a password
            raise InputError(
                f"The judge's address {shown!r} cannot be used: give http:// or https://, a host and a path, "
                "without a password, e.g. http://localhost:8000/v1."
            )

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.base_url).netloc

    @property
    def leaves_machine(self) -> bool:
        """Whether texts sent there leave this computer: False for loopback hosts only."""
        host = urlsplit(self.base_url).hostname or ""
        try:
            return not ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host != "localhost"


@dataclass
class Usage:
    """Questions that were or will be asked, their tokens, and answers taken from the ledger.

    Of a run tokens are as the server counts them, 0 where it does not; before it they are told by a rule of thumb.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_questions: int = 0
    num_cached: int = 0

    def money(self, input_price: float, output_price: float) -> float:
        """What it costs, at prices for a million tokens."""
        return (self.prompt_tokens * input_price + self.completion_tokens * output_price) / 1e6


class OpenAIJudge:
    """A `Judge` that asks a server.

    Attributes:
        usage: of the last call of `judge`.
        position_bias: share of the pairs of the last call whose two orders were answered differently; None when none
            was answered.
    """

    def __init__(self, endpoint: Endpoint, demonstrations: Sequence[Demonstration], ledger: Ledger) -> None:
        self._endpoint = endpoint
        self._demonstrations = tuple(demonstrations)
        self._ledger = ledger
        self._identity = f"openai {endpoint.base_url.rstrip('/')} {endpoint.model}"
        # What a server may not know.
        self._options: dict[str, Any] = {
            "response_format": {"type": "json_object"},
            "temperature": 0,
            "max_completion_tokens": MAX_ANSWER_TOKENS,
        }
        self.usage = Usage()
        self.position_bias: float | None = None

    @property
    def name(self) -> str:
        """`openai`, the model and the server."""
        return f"openai ({self._endpoint.model} at {self._endpoint.host})"

    def describe_cost(self, pairs: Sequence[Pair]) -> Usage:
        """What `judge` would ask for these pairs, without answers that must be asked for again; asks nothing."""
        known, missing = self._known_and_missing([self._questions(pair) for pair in pairs])
        tokens = sum(math.ceil(len(text.encode("utf-8")) / _BYTES_PER_TOKEN) for text in missing)
        return Usage(tokens, len(missing) * _ANSWER_TOKENS, len(missing), len(known))

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair: 1 or 0 where both orders agree, else a tie; None where the server gave no answer.

        Raises:
            InputError: wrong key, model or address, or the package `openai` is missing.
            DittoError: the server is not there, or fails again and again.
        """
        questions = [self._questions(pair) for pair in pairs]
        answers, missing = self._known_and_missing(questions)
        self.usage = Usage(num_cached=len(answers))

        def show_progress() -> None:
            on_judged(sum(all(text in answers for text in both) for both in questions))

        show_progress()
        for text, answer in self._ask_all(missing):
            answers[text] = answer
            self.usage.prompt_tokens += answer.prompt_tokens
            self.usage.completion_tokens += answer.completion_tokens
            self.usage.num_questions += 1
            show_progress()
        judgements: list[Judgement] = []
        disagreements: list[bool] = []
        for pair, both in zip(pairs, questions, strict=True):
            if not both:
                judgements.append(Judgement(pair, 0.5))
                continue
            straight, swapped = (answers[text].choice for text in both)
            if straight is None or swapped is None:
                judgements.append(Judgement(pair, None))
                continue
            disagreements.append(straight != _OPPOSITE[swapped])
            judgements.append(Judgement(pair, 0.5 if disagreements[-1] else _SCORES[straight]))
        self.position_bias = fmean(disagreements) if disagreements else None
        return judgements

    def _questions(self, pair: Pair) -> tuple[str, ...]:
        """The pair as it stands and swapped; nothing for equal texts."""
        if pair.first.text == pair.second.text:
            return ()
        return tuple(question(self._demonstrations, pair, swapped=swapped) for swapped in (False, True))

    def _known_and_missing(self, questions: Sequence[tuple[str, ...]]) -> tuple[dict[str, Answer], list[str]]:
        """Of all different questions, the answers in the ledger, and those to ask."""
        found = {text: self._ledger.get(self._identity, text) for both in questions for text in both}
        known = {text: answer for text, answer in found.items() if answer is not None}
        return known, [text for text in found if text not in known]

    def _ask_all(self, questions: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        """Each question with its answer; one that the server failed to answer has no choice, and is asked again later.

        Threads ask, and keep what is answered. After an error nothing new is asked, and what is under way is waited
        for; after Ctrl-C nobody waits, as the threads of a pool are daemons.
        """
        if not questions:
            return
        problems: list[DittoError] = []
        failures_in_a_row = 0

        def ask(text: str) -> tuple[str, Answer | str]:
            if problems:
                raise problems[0]
            try:
                outcome = self._ask(client, text)
                if isinstance(outcome, Answer):
                    self._ledger.add(self._identity, text, outcome)
                return text, outcome
            except DittoError as error:
                problems.append(error)
                raise

        with closing(connect(self._endpoint)) as client, ThreadPool(min(NUM_WORKERS, len(questions))) as pool:
            try:
                for text, outcome in pool.imap_unordered(ask, questions):
                    if isinstance(outcome, Answer):
                        failures_in_a_row = 0
                        yield text, outcome
                        continue
                    failures_in_a_row += 1
                    if failures_in_a_row == _MOST_FAILURES_IN_A_ROW:
                        failed = f"failed {_MOST_FAILURES_IN_A_ROW} questions in a row ({outcome})"
                        problems.append(
                            DittoError(
                                f"The judge at {self._endpoint.base_url} {failed}: see what it says itself, and run "
                                "the command again; answers so far are kept."
                            )
                        )
                        raise problems[0]
                    yield text, Answer(None)
            except DittoError:
                pool.terminate()
                pool.join()
                raise

    def _ask(self, client: openai.OpenAI, text: str) -> Answer | str:
        """The answer to one question, asked again where it cannot be read; or why there is none."""
        import openai

        prompt_tokens = completion_tokens = 0
        choice = None
        for reminder in _REMINDERS:
            try:
                reply = self._send(client, text + reminder)
                content = str(reply.choices[0].message.content or "")
                is_cut = reply.choices[0].finish_reason == "length"
            except openai.APIError as error:
                return self._reason_of(error)
            except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
                return "an answer that is no chat completion; the address often ends in /v1"
            prompt_tokens += getattr(reply.usage, "prompt_tokens", None) or 0
            completion_tokens += getattr(reply.usage, "completion_tokens", None) or 0
            choice = read_choice(content)
            if choice is not None:
                break
            if is_cut and not content.strip():  # it was all thought, and the answer would have followed
                self._leave_out_options()
        return Answer(choice, prompt_tokens, completion_tokens)

    def _send(self, client: openai.OpenAI, text: str) -> ChatCompletion:
        import openai

        send = partial(
            client.chat.completions.create, model=self._endpoint.model, messages=[{"role": "user", "content": text}]
        )
        try:
            return send(**self._options)
        except (openai.BadRequestError, openai.UnprocessableEntityError):
            reply = send()
            self._leave_out_options()
            return reply

    def _leave_out_options(self) -> None:
        """Send none of them any more: the server does not know them, or thinks longer than they let it."""
        if self._options:
            log.warning(f"The judge {self._endpoint.host} does without {', '.join(self._options)} from here on.")
            self._options = {}

    def _reason_of(self, error: openai.APIError) -> str:
        """Why one question has no answer, when the client had asked again as often as it may.

        Raises:
            InputError: no question will have one: wrong key, model or address.
            DittoError: no question will have one for now.
        """
        import openai

        endpoint = self._endpoint
        if isinstance(error, openai.APITimeoutError):
            return f"no answer within {TIMEOUT_SECONDS:.3g} s"
        if not isinstance(error, openai.APIStatusError):
            cause = " ".join(str(error.__cause__ or error).split())
            raise DittoError(
                f"The judge at {endpoint.base_url} cannot be reached ({cause}): start it or check the address, and "
                "run the command again; answers so far are kept."
            ) from None
        status = error.status_code
        if status in (401, 403):
            raise InputError(
                f"The judge {endpoint.host} refuses access (status {status}): check the key in ${KEY_VARIABLE}."
            ) from None
        if status == 404 or status < 400:  # redirects are not followed
            raise InputError(
                f"The judge {endpoint.host} knows no model {endpoint.model!r}, or is not at {endpoint.base_url} "
                f"(status {status}): check the model's name and the address, which often ends in /v1."
            ) from None
        if status == 429:
            raise DittoError(
                f"The judge {endpoint.host} takes no more questions for now (status 429: too many, or the account's "
                "quota is used up): run the command again later; answers so far are kept."
            ) from None
        return f"status {status}"


def connect(endpoint: Endpoint) -> openai.OpenAI:
    """A client for this server, which connects to nothing yet.

    Raises:
        InputError: the package `openai` is not installed, or the environment's proxy cannot be used.
    """
    try:
        import openai
    except ImportError:
        raise InputError(
            "The judge `openai` needs the package openai, which is not installed: pip install 'ditto-cli[openai]'."
        ) from None
    timeout = openai.Timeout(TIMEOUT_SECONDS, connect=_CONNECT_SECONDS)
    try:
        http_client = openai.DefaultHttpxClient(
            follow_redirects=False, timeout=timeout, trust_env=endpoint.leaves_machine
        )
    except (ValueError, ImportError) as error:
        raise InputError(f"The proxy that the environment names cannot be used ({type(error).__name__}).") from None
    own_key = os.environ.get(KEY_VARIABLE, "").strip()
    key = own_key or _PLACEHOLDER_KEY
    client = openai.OpenAI(
        base_url=endpoint.base_url,
        api_key=key,
        timeout=timeout,
        max_retries=MAX_RETRIES,
        http_client=http_client,
    )
    # It would also send the kind of computer, and without a key what the environment holds for OpenAI's servers.
    unwanted = [
        name
        for name in client.default_headers
        if name.lower().startswith("x-stainless-") or (not own_key and name.lower() not in _OWN_HEADERS)
    ]
    headers: dict[str, Any] = {**dict.fromkeys(unwanted, openai.Omit()), "Authorization": f"Bearer {key}"}
    return client.with_options(default_headers=headers)
