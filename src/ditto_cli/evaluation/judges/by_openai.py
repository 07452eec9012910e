"""Pairs -> judgements by a model behind a server that speaks OpenAI's chat completions.

Each pair is asked in both orders; a judge that answers by the place gives a tie. Every answer is in the ledger before
the next one counts, so a run that breaks goes on where it was. The client library waits and asks again.
Only the server that was named hears of anything: no redirects, no proxy before this machine's own servers, and of what
the environment holds for OpenAI's servers nothing together with a key that was given for this one.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from multiprocessing.pool import ThreadPool
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ditto_cli.errors import DittoError, InputError
from ditto_cli.evaluation.judgements import Judgement, Pair
from ditto_cli.evaluation.judges import Answer, Ledger, question, read_choice
from ditto_cli.types import Demonstration

if TYPE_CHECKING:
    import openai

log = logging.getLogger(__name__)

KEY_VARIABLE = "OPENAI_API_KEY"
_PLACEHOLDER_KEY = "none"  # servers that check no key want one all the same
# One spelling of an address, so that what is checked here and what the client connects to cannot differ.
_ADDRESS = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?(?:/[^\s\\@?#]*)?", re.IGNORECASE)
_CONNECT_SECONDS = 10.0
_OWN_HEADERS = ("accept", "content-type", "user-agent")
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
_DISAGREE = "the two orders disagree"


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, and how to ask it.

    `base_url` goes up to where `/chat/completions` follows. Without an `api_key` it is `$OPENAI_API_KEY`, or a
    placeholder. `timeout_seconds` is the longest silence of the server; `max_answer_tokens` is lifted for models that
    think longer before they answer.
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
    host = (urlsplit(base_url).hostname or "") if _is_address(base_url) else ""
    if host == "localhost":
        return False
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True


def _is_address(base_url: str) -> bool:
    try:
        return bool(_ADDRESS.fullmatch(base_url)) and urlsplit(base_url).port != 0
    except ValueError:  # a port beyond 65535, or no IPv6 address between the brackets
        return False


@dataclass
class Usage:
    """Requests that were or will be answered, the tokens of these, and answers taken from the ledger.

    Of a run they are as the server counts them, 0 where it does not; before it they are told by a rule of thumb.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_requests: int = 0
    num_cached: int = 0

    def money(self, input_price: float, output_price: float) -> float:
        """What it costs, at prices for a million tokens."""
        return (self.prompt_tokens * input_price + self.completion_tokens * output_price) / 1e6


class OpenAIJudge:
    """A `Judge` that asks a server.

    Attributes:
        usage: of the last call of `judge`, also when it broke off.
        position_bias: share of the pairs of the last call whose two orders were answered differently; None when none
            was answered.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        demonstrations: Sequence[Demonstration],
        ledger: Ledger,
        *,
        num_workers: int = 4,
    ) -> None:
        """Connect to nothing yet; `num_workers` questions are under way at a time."""
        self._endpoint = endpoint
        self._demonstrations = tuple(demonstrations)
        self._ledger = ledger
        self._num_workers = num_workers
        self._identity = f"openai {endpoint.base_url.rstrip('/')} {endpoint.model}"
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
        failures: dict[str, str] = {}

        def tell() -> None:
            on_judged(sum(all(text in answers for text in both) for both in questions))

        def record(outcome: _Outcome) -> None:
            answer = outcome.answer
            if outcome.failure:
                failures[outcome.question] = outcome.failure
            else:
                self._ledger.add(self._identity, outcome.question, answer)
            answers[outcome.question] = answer
            self.usage.prompt_tokens += answer.prompt_tokens
            self.usage.completion_tokens += answer.completion_tokens
            self.usage.num_requests += outcome.num_requests
            tell()

        tell()
        if missing:
            self._ask_all(missing, record)
        judgements = []
        for pair, both in zip(pairs, questions, strict=True):
            if not both:
                judgements.append(Judgement(pair, 0.5, "equal texts"))
                continue
            straight, swapped = (answers[text].choice for text in both)
            if straight is None or swapped is None:
                why = next((failures[text] for text in both if text in failures), "no usable answer")
                judgements.append(Judgement(pair, None, why))
            elif straight != _OPPOSITE[swapped]:
                judgements.append(Judgement(pair, 0.5, _DISAGREE))
            else:
                judgements.append(Judgement(pair, {"A": 1.0, "B": 0.0, "tie": 0.5}[straight], "both orders agree"))
        told = [one.reason for one, both in zip(judgements, questions, strict=True) if both and one.score is not None]
        self.position_bias = told.count(_DISAGREE) / len(told) if told else None
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

    def _ask_all(self, questions: Sequence[str], record: Callable[[_Outcome], None]) -> None:
        """Ask by several threads, and record by this one.

        After the first error nothing new is asked; what is under way is still recorded, and then the error is raised.
        After Ctrl-C only what has arrived is recorded: the threads of the pool are daemons, which nobody waits for.
        """
        failures_in_a_row = 0
        problem: Exception | None = None
        stopped = threading.Event()
        server = _Server(self._endpoint)

        def ask(text: str) -> _Outcome | Exception | None:
            try:
                return None if stopped.is_set() else _ask(server, text)
            except Exception as error:
                stopped.set()
                return error

        with closing(server.client), ThreadPool(min(self._num_workers, len(questions))) as pool:
            outcomes = pool.imap_unordered(ask, questions)
            try:
                for outcome in outcomes:
                    if isinstance(outcome, Exception):
                        problem = problem or outcome
                    elif outcome is not None:
                        record(outcome)
                        failures_in_a_row = failures_in_a_row + 1 if outcome.failure else 0
                        if failures_in_a_row == _MOST_FAILURES_IN_A_ROW:
                            stopped.set()
                            problem = problem or DittoError(
                                f"The judge {self._endpoint.host} failed {_MOST_FAILURES_IN_A_ROW} questions in a row "
                                f"({outcome.failure}): see what it says itself, and run the command again; answers so "
                                "far are kept."
                            )
            except KeyboardInterrupt:
                stopped.set()
                with suppress(Exception):  # the run ends anyway, and as an interrupted one
                    while isinstance(outcome := outcomes.next(timeout=0.2), _Outcome):  # for the pool to pass it on
                        record(outcome)
                raise
        if problem:
            raise problem


@dataclass(frozen=True)
class _Outcome:
    """What asking one question led to. `failure` says why there is no answer that could be kept."""

    question: str
    answer: Answer
    num_requests: int
    failure: str = ""


def _ask(server: _Server, text: str) -> _Outcome:
    """One question, asked again where the answer cannot be read."""
    prompt_tokens = completion_tokens = 0
    for num_before, reminder in enumerate(_REMINDERS):
        try:
            reply = server.ask(text + reminder)
        except _QuestionFailed as failure:
            return _Outcome(text, Answer(None, prompt_tokens, completion_tokens), num_before, str(failure))
        prompt_tokens += reply.tokens("prompt_tokens")
        completion_tokens += reply.tokens("completion_tokens")
        choice = read_choice(reply.content)
        if choice is not None:
            break
        if reply.is_cut and not reply.content.strip():  # it was all thought, and the answer would have followed
            server.leave_out({"max_completion_tokens"})
    return _Outcome(text, Answer(choice, prompt_tokens, completion_tokens), num_before + 1)


class _QuestionFailed(Exception):
    """This question got no answer, and the next one may get one; the message says why.

    `refusal` is all that a server says that takes no such request. It may hold texts and is never shown.
    """

    def __init__(self, reason: str, refusal: str = "") -> None:
        super().__init__(reason)
        self.refusal = refusal


@dataclass(frozen=True)
class _Reply:
    """What the server answered: the words, none where it sent none, and whether the length limit ended them."""

    content: str
    is_cut: bool
    usage: object

    def tokens(self, kind: str) -> int:
        """`prompt_tokens` or `completion_tokens` as the server counted them, else 0."""
        counted = self.usage.get(kind) if isinstance(self.usage, dict) else None
        return max(counted, 0) if isinstance(counted, int) else 0


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
    unwanted += ["x-stainless-retry-count", "x-stainless-read-timeout"]
    return client, {**dict.fromkeys(unwanted, openai.Omit()), "Authorization": f"Bearer {key}"}


class _Server:
    """A server to ask, by several threads at once."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._has_answered = False
        self.client, self._headers = connect(endpoint)
        # What a server may not know; whatever it refuses is left out from then on.
        self._options: dict[str, Any] = {
            "response_format": {"type": "json_object"},
            "temperature": 0,
            "max_completion_tokens": endpoint.max_answer_tokens,
        }

    def ask(self, text: str) -> _Reply:
        """Send one user turn.

        Raises:
            _QuestionFailed: no answer to this one.
            InputError: wrong key, model or address.
            DittoError: the server is not there, or answers nobody for now.
        """
        options = dict(self._options)
        while True:
            try:
                reply = self._send(text, options)
            except _QuestionFailed as failure:
                culprit = next((name for name in options if name in failure.refusal), "response_format")
                if not failure.refusal or culprit not in options:
                    raise
                del options[culprit]
            else:
                self.leave_out(set(self._options) - set(options))
                return reply

    def leave_out(self, names: set[str]) -> None:
        """Send these options no more: the server does not know them, or thinks longer than they let it."""
        names = names & set(self._options)
        if names:
            self._options = {key: value for key, value in self._options.items() if key not in names}
            log.warning(f"The judge {self._endpoint.host} does without {', '.join(sorted(names))} from here on.")

    def _send(self, text: str, options: dict[str, Any]) -> _Reply:
        import openai

        endpoint = self._endpoint
        try:
            raw = self.client.chat.completions.with_raw_response.create(
                model=endpoint.model,
                messages=[{"role": "user", "content": text}],
                extra_headers=self._headers,
                **options,
            )
        except openai.APIConnectionError as error:  # a timeout among them
            has_connected = type(error.__cause__).__name__ != "ConnectTimeout"  # of httpx or httpx2
            if isinstance(error, openai.APITimeoutError) and has_connected:
                raise _QuestionFailed(f"no answer within {endpoint.timeout_seconds:.3g} s") from None
            failure = " ".join(f"no connection ({error.__cause__ or error})".split())
            raise DittoError(
                f"The judge at {endpoint.base_url} cannot be reached: {failure}. Start it or check the address, and "
                "run the command again; answers so far are kept."
            ) from None
        except openai.APIStatusError as error:
            raise self._failure_of(error) from None
        if not self._has_answered and not raw.text.lstrip().startswith("{"):
            raise InputError(
                f"{endpoint.base_url} answers, but not as a chat completions server: check the address, which "
                "often ends in /v1."
            )
        try:
            answer = json.loads(raw.text)
            contents = [(one["message"].get("content"), one.get("finish_reason")) for one in answer["choices"]]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise _QuestionFailed("an answer that is no chat completion") from None
        self._has_answered = True
        content, finish = contents[0] if contents else ("", "")
        return _Reply(content if isinstance(content, str) else "", finish == "length", answer.get("usage"))

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
            return _QuestionFailed(f"status {status}")
        named = re.fullmatch(r"[\w.-]{1,60}", error.code or "")
        reason = f"status {status}" + (f", {named[0]}" if named else "")
        return _QuestionFailed(f"the server refused the question ({reason})", str(error.body) or "nothing")
