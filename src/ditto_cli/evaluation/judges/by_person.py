"""Pairs -> judgements by a person, who sees two texts side by side and not who wrote them.

Sides and order are drawn from the seed, so that stopping early is fair to all. Every answer is in the ledger at once.
Knows nothing of terminals: whoever calls shows the texts and asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ditto_cli.evaluation.judges.ledger import Answer, Ledger
from ditto_cli.evaluation.judges.question import question
from ditto_cli.evaluation.types import Judgement, Pair
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Demonstration

_QUESTION = "Which one sounds more like you? a = left, b = right, '=' = no difference, s = skip, q = stop: "
_AGAIN = "Please answer a, b, =, s or q: "
_LEFT, _RIGHT, _TIE, _SKIP, _STOP = "a", "b", "=", "s", "q"


class Show(Protocol):
    """Whoever puts a pair before the person's eyes; `number` of `total` says how far they are."""

    def __call__(  # noqa: D102
        self, reference_texts: Sequence[str], prompt: str, left: str, right: str, number: int, total: int
    ) -> None: ...


class PersonJudge:
    """A `Judge` that asks whoever sits there."""

    def __init__(
        self,
        demonstrations: Sequence[Demonstration],
        ledger: Ledger,
        ask: Callable[[str], str],
        show: Show,
        *,
        seed: int,
    ) -> None:
        """Ask nothing yet.

        Args:
            demonstrations: the author's own texts.
            ledger: the answers so far.
            ask: shows one line and returns what is typed; `EOFError` means stop.
            show: shows the author's own texts, the prompt and the two texts.
            seed: of sides and order.
        """
        self._demonstrations = tuple(demonstrations)
        self._ledger = ledger
        self._ask = ask
        self._show = show
        self._seed = seed

    @property
    def name(self) -> str:
        """`me`."""
        return "me"

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair; None where the person skipped it or had stopped. Equal texts are a tie unasked.

        Raises:
            DiskError: an answer cannot be kept.
        """
        found: dict[int, Judgement] = {}
        for index, pair in enumerate(pairs):
            known = self._known(pair)
            if known is not None:
                found[index] = known
        on_judged(len(found))
        stopped = False
        for index in sorted(set(range(len(pairs))) - set(found), key=lambda index: self._draw("order", pairs[index])):
            pair = pairs[index]
            # The same two texts may stand in an earlier pair, too.
            judgement = self._known(pair)
            if judgement is None and not stopped:
                typed = self._typed(pair, len(found) + 1, len(pairs))
                stopped = typed == _STOP
                self._keep(pair, typed)
                judgement = Judgement(pair, None, "skipped") if typed == _SKIP else self._known(pair)
            found[index] = judgement or Judgement(pair, None, "not asked: stopped before")
            on_judged(len(found))
        return [found[index] for index in range(len(pairs))]

    def _typed(self, pair: Pair, number: int, total: int) -> str:
        """What the person types about a pair, asked until it is one of the answers."""
        left, right = (pair.second, pair.first) if self._first_is_right(pair) else (pair.first, pair.second)
        own = [shown.completion for shown in self._demonstrations]
        self._show(own, pair.prompt.prompt, left.text, right.text, number, total)
        line = _QUESTION
        while True:
            try:
                typed = self._ask(line).strip().lower()
            except EOFError:
                return _STOP
            if typed in (_LEFT, _RIGHT, _TIE, _SKIP, _STOP):
                return typed
            line = _AGAIN

    def _keep(self, pair: Pair, typed: str) -> None:
        if typed == _TIE:
            self._ledger.add(self.name, self._question(pair), Answer("tie"))
        elif typed in (_LEFT, _RIGHT):
            prefers_first = (typed == _LEFT) != self._first_is_right(pair)
            self._ledger.add(
                self.name, self._question(pair), Answer("A" if prefers_first == _first_is_a(pair) else "B")
            )

    def _known(self, pair: Pair) -> Judgement | None:
        """What follows from the ledger, or from the texts alone."""
        if pair.first.text == pair.second.text:
            return Judgement(pair, 0.5, "equal texts")
        answer = self._ledger.get(self.name, self._question(pair))
        if answer is None or answer.choice is None:
            return None
        if answer.choice == "tie":
            return Judgement(pair, 0.5, "no difference")
        return Judgement(pair, float((answer.choice == "A") == _first_is_a(pair)))

    def _question(self, pair: Pair) -> str:
        """What the ledger files an answer under; the same for both orders of a pair and for every seed."""
        return question(self._demonstrations, pair, swapped=not _first_is_a(pair))

    def _first_is_right(self, pair: Pair) -> bool:
        return self._draw("side", pair) % 2 == 1

    def _draw(self, purpose: str, pair: Pair) -> int:
        first, second = pair.first, pair.second
        drawn_for = (pair.prompt.id, first.contestant, first.index, second.contestant, second.index)
        return derive_seed(self._seed, "judge", purpose, *drawn_for)


def _first_is_a(pair: Pair) -> bool:
    return pair.first.text < pair.second.text
