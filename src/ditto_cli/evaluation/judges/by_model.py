"""Pairs -> judgements by a chat model in memory: which of the answers "A" and "B" it finds more likely.

It writes nothing: the two answers are scored. Each pair is asked in both orders and the log-odds are averaged, so that
a liking for the first or the second place cancels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.evaluation.judgements import Judgement, Pair
from ditto_cli.evaluation.judges import LETTER_ANSWER, question, without_longest
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import Demonstration

# Log-odds of less than this, in nats, are a tie: a chance of 52.5 % is no opinion, and bf16 logits are no finer.
TIE_BAND = 0.1


class ModelJudge:
    """A `Judge` that asks a loaded chat model, without any adapter on it.

    Attributes:
        position_bias: share of the pairs of the last call in which the two orders preferred different texts; None when
            there was nothing to ask.
    """

    def __init__(self, policy: Policy, demonstrations: Sequence[Demonstration]) -> None:
        """Make a judge of the base itself.

        Raises:
            IncompatibleError: the base's tokenizer has no two tokens for the two answers.
        """
        self._policy = policy
        self._demonstrations = tuple(demonstrations)
        self._lead, self._answers = _answer_tokens(policy.chat)
        self.position_bias: float | None = None

    @property
    def name(self) -> str:
        """`model` and which one."""
        return f"model ({self._policy.identity.id})"

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair; within `TIE_BAND` a tie. Equal texts are a tie without a question.

        Raises:
            InputError: a pair and the shortest demonstration do not fit the model's context together.
        """
        judgements: list[Judgement] = []
        disagreements: list[bool] = []
        with self._policy.using(None):
            for pair in pairs:
                if pair.first.text == pair.second.text:
                    judgements.append(Judgement(pair, 0.5))
                else:
                    straight, swapped = (self._log_odds(prompt_ids) for prompt_ids in self._prompts(pair))
                    log_odds = (straight - swapped) / 2
                    outcome = 0.5 if abs(log_odds) <= TIE_BAND else float(log_odds > 0)
                    judgements.append(Judgement(pair, outcome))
                    disagreements.append((straight > 0) == (swapped > 0))
                on_judged(len(judgements))
        self.position_bias = sum(disagreements) / len(disagreements) if disagreements else None
        return judgements

    def _prompts(self, pair: Pair) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The question in both orders, with as many demonstrations as fit both."""
        shown = self._demonstrations
        room = self._policy.context_tokens - len(self._lead) - 1
        while True:
            straight, swapped = (
                self._policy.chat.prompt_ids(question(shown, pair, swapped=order, answer_form=LETTER_ANSWER))
                for order in (False, True)
            )
            longest = max(len(straight), len(swapped))
            if longest <= room:
                return straight, swapped
            if len(shown) == 1:
                raise InputError(
                    f"A question to the judge {self.name} has {longest} tokens with one demonstration, and there is "
                    f"room for {room}: let the texts be shorter, or take a judge with a longer context."
                )
            shown = without_longest(shown)

    def _log_odds(self, prompt_ids: tuple[int, ...]) -> float:
        """Of text A against text B, in nats."""
        logp_a, logp_b = score(self._policy, (*prompt_ids, *self._lead), self._answers).tolist()
        return float(logp_a - logp_b)


def _answer_tokens(chat: ChatFormat) -> tuple[tuple[int, ...], tuple[tuple[int], tuple[int]]]:
    """What both answers begin with, if anything, and the one token in which each differs from the other.

    The end token is left out: how likely a bare letter ends is no opinion about the text.
    """
    first, second = (chat.completion_ids(letter)[:-1] for letter in ("A", "B"))
    for index, (of_first, of_second) in enumerate(zip(first, second, strict=False)):
        if of_first != of_second:
            return first[:index], ((of_first,), (of_second,))
    raise IncompatibleError("This base cannot be a judge: its tokenizer does not tell the answers A and B apart.")
