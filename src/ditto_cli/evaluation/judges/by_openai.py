"""Pairs -> judgements by a model behind a server that speaks OpenAI's chat completions.

Each pair is asked in both orders; a judge that answers by the place gives a tie. Every answer is in the ledger before
the next one counts, so a run that breaks goes on where it was. The package `openai` is imported when it judges.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

from ditto_cli.errors import DittoError
from ditto_cli.evaluation.judges import Answer, Ledger, question, read_choice
from ditto_cli.evaluation.judges.chat_server import ChatServer, Endpoint, QuestionFailed
from ditto_cli.evaluation.types import Judgement, Pair
from ditto_cli.types import Demonstration

# An answer that cannot be read: the question again, with these words behind it.
_REMINDERS = (
    "",
    '\n\nYour answer must be one JSON object such as {"reason": "short sentences", "answer": "B"}.',
    "\n\nAnswer with one word: A, B or tie.",
)
_MOST_FAILURES_IN_A_ROW = 3
_BYTES_PER_TOKEN = 4  # of English; other languages have more bytes a letter and more tokens a word
_ANSWER_TOKENS = 50  # the JSON object that is asked for, with a reason of fifteen words


@dataclass(frozen=True)
class CostEstimate:
    """What a run would ask for; tokens by a rule of thumb, without answers that must be asked for again."""

    num_requests: int
    num_cached: int
    prompt_tokens_estimate: int

    def money(self, input_price: float, output_price: float) -> float:
        """About what it costs, at prices for a million tokens."""
        return (self.prompt_tokens_estimate * input_price + self.num_requests * _ANSWER_TOKENS * output_price) / 1e6


@dataclass(frozen=True)
class Usage:
    """What was asked: tokens as the server counts them (0 where it does not), and answers taken from the ledger.

    `num_requests` are those that were answered, also with words that could not be read.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    num_requests: int = 0
    num_cached: int = 0

    def money(self, input_price: float, output_price: float) -> float:
        """What it cost, at prices for a million tokens."""
        return (self.prompt_tokens * input_price + self.completion_tokens * output_price) / 1e6


@dataclass(frozen=True)
class _Outcome:
    """What asking one question led to. `failure` says why there is no answer that could be kept."""

    question: str
    answer: Answer
    num_requests: int
    failure: str = ""


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
        noted: Callable[[str], None],
        num_workers: int = 4,
    ) -> None:
        """Connect to nothing yet.

        `noted` is told, in one line, what the user should know, by the thread that calls `judge`; `num_workers`
        questions are under way at a time.
        """
        self._endpoint = endpoint
        self._demonstrations = tuple(demonstrations)
        self._ledger = ledger
        self._noted = noted
        self._num_workers = num_workers
        self.usage = Usage()
        self.position_bias: float | None = None

    @property
    def name(self) -> str:
        """`openai`, the model and the server."""
        return f"openai ({self._endpoint.model} at {self._endpoint.host})"

    def describe_cost(self, pairs: Sequence[Pair]) -> CostEstimate:
        """What `judge` would ask for these pairs; asks nothing."""
        known, missing = self._known_and_missing([self._questions(pair) for pair in pairs])
        tokens = sum(math.ceil(len(text.encode("utf-8")) / _BYTES_PER_TOKEN) for text in missing)
        return CostEstimate(len(missing), len(known), tokens)

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
            if outcome.failure:
                failures[outcome.question] = outcome.failure
            else:
                self._ledger.add(self._identity, outcome.question, outcome.answer)
            answers[outcome.question] = outcome.answer
            self.usage = Usage(
                self.usage.prompt_tokens + outcome.answer.prompt_tokens,
                self.usage.completion_tokens + outcome.answer.completion_tokens,
                self.usage.num_requests + outcome.num_requests,
                self.usage.num_cached,
            )
            tell()

        tell()
        if missing:
            self._ask_all(missing, record)
        judgements = [
            _judgement(pair, [answers[text] for text in both], next((failures[q] for q in both if q in failures), ""))
            for pair, both in zip(pairs, questions, strict=True)
        ]
        answered = [
            [answers[text].choice for text in both]
            for both, judgement in zip(questions, judgements, strict=True)
            if both and judgement.score is not None
        ]
        self.position_bias = sum(not _agree(*orders) for orders in answered) / len(answered) if answered else None
        return judgements

    @property
    def _identity(self) -> str:
        return f"openai {self._endpoint.base_url.rstrip('/')} {self._endpoint.model}"

    def _questions(self, pair: Pair) -> tuple[str, ...]:
        """The pair as it stands and swapped; nothing for equal texts."""
        if pair.first.text == pair.second.text:
            return ()
        return tuple(question(self._demonstrations, pair, swapped=swapped) for swapped in (False, True))

    def _known_and_missing(self, questions: Sequence[tuple[str, ...]]) -> tuple[dict[str, Answer], list[str]]:
        """Of all different questions, the answers in the ledger, and those to ask."""
        known, missing = {}, []
        for text in dict.fromkeys(text for both in questions for text in both):
            answer = self._ledger.get(self._identity, text)
            if answer is None:
                missing.append(text)
            else:
                known[text] = answer
        return known, missing

    def _ask_all(self, questions: Sequence[str], record: Callable[[_Outcome], None]) -> None:
        """Ask by several threads, and record by this one.

        After the first error nothing new is asked; what is under way is still recorded, and then the error is raised.
        After Ctrl-C only what has arrived is recorded: the threads of the pool are daemons, which nobody waits for.
        """
        notes: list[str] = []
        failures_in_a_row = 0
        problem: Exception | None = None
        stopped = threading.Event()
        server = ChatServer(self._endpoint, noted=notes.append)

        def ask(text: str) -> _Outcome | None:
            if stopped.is_set():
                return None
            try:
                return self._ask(server, text)
            except Exception:
                stopped.set()
                raise

        server.check_reachable()
        with closing(server), ThreadPool(min(self._num_workers, len(questions))) as pool:
            outcomes = pool.imap_unordered(ask, questions)
            try:
                for _ in questions:
                    try:
                        outcome = outcomes.next()
                        while notes:
                            self._noted(notes.pop(0))
                        if outcome is not None:
                            record(outcome)
                            failures_in_a_row = failures_in_a_row + 1 if outcome.failure else 0
                            if failures_in_a_row >= _MOST_FAILURES_IN_A_ROW:
                                raise DittoError(
                                    f"The judge {self._endpoint.host} failed {_MOST_FAILURES_IN_A_ROW} questions in a "
                                    f"row ({outcome.failure}): see what it says itself, and run the command again; "
                                    "answers so far are kept."
                                )
                    except Exception as error:
                        problem = problem or error
                        stopped.set()
            except KeyboardInterrupt:
                stopped.set()
                with suppress(Exception):  # the run ends anyway, and as an interrupted one
                    while outcome := outcomes.next(timeout=0.2):  # seconds, for the pool to pass an answer on
                        record(outcome)
                raise
        if problem:
            raise problem

    def _ask(self, server: ChatServer, text: str) -> _Outcome:
        """One question, asked again where the answer cannot be read."""
        prompt_tokens = completion_tokens = 0
        for num_before, reminder in enumerate(_REMINDERS):
            try:
                reply = server.ask(text + reminder)
            except QuestionFailed as failure:
                return _Outcome(text, Answer(None, prompt_tokens, completion_tokens), num_before, str(failure))
            prompt_tokens += reply.tokens("prompt_tokens")
            completion_tokens += reply.tokens("completion_tokens")
            choice = read_choice(reply.content)
            if choice is not None:
                break
            if reply.cut and not reply.content.strip():  # it was all thought, and the answer would have followed
                server.leave_out({"max_completion_tokens"})
        return _Outcome(text, Answer(choice, prompt_tokens, completion_tokens), num_before + 1)


def _judgement(pair: Pair, answers: Sequence[Answer], failure: str) -> Judgement:
    """What the answers to a pair as it stands and swapped say together; no answers are those of equal texts."""
    if not answers:
        return Judgement(pair, 0.5, "equal texts")
    straight, swapped = (answer.choice for answer in answers)
    if straight is None or swapped is None:
        return Judgement(pair, None, failure or "no usable answer")
    if not _agree(straight, swapped):
        return Judgement(pair, 0.5, "the two orders disagree")
    return Judgement(pair, {"A": 1.0, "B": 0.0, "tie": 0.5}[straight], "both orders agree")


def _agree(straight: str | None, swapped: str | None) -> bool:
    return straight == {"A": "B", "B": "A", "tie": "tie"}.get(swapped or "")
