"""Pairs -> judgements by a person, who sees two texts side by side and not who wrote them.

Sides and order are drawn from a seed, so that stopping early is fair to all. Every answer is in the ledger at once,
filed under the two texts, so that it is known wherever they meet again.
Knows nothing of terminals: whoever calls shows the texts and asks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

from ditto_cli.evaluation.judges.ledger import Answer, Ledger
from ditto_cli.evaluation.judges.question import Choice
from ditto_cli.evaluation.types import Judgement, Pair, Writing
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Demonstration

PERSON = "me"
Pick = Literal["left", "right", "same"]


class Picks:
    """What one person says of texts that were written in her style."""

    def __init__(self, ledger: Ledger, *, seed: int) -> None:
        self._ledger = ledger
        self._seed = seed

    def sides(self, pair: Pair) -> tuple[Writing, Writing]:
        """The text on the left, and the one on the right."""
        return (pair.second, pair.first) if self.draw("side", pair) % 2 == 1 else (pair.first, pair.second)

    def keep(self, pair: Pair, pick: Pick) -> None:
        """File a pick."""
        choice: Choice = "tie"
        if pick != "same":
            picked_first = self.sides(pair)[0 if pick == "left" else 1] is pair.first
            choice = "A" if picked_first == _first_is_a(pair) else "B"
        self._ledger.add(PERSON, self._question(pair), Answer(choice))

    def known(self, pair: Pair) -> Judgement | None:
        """What follows from the ledger, or from the texts alone: equal ones are a tie."""
        if pair.first.text == pair.second.text:
            return Judgement(pair, 0.5, "equal texts")
        answer = self._ledger.get(PERSON, self._question(pair))
        if answer is None or answer.choice is None:
            return None
        if answer.choice == "tie":
            return Judgement(pair, 0.5, "no difference")
        return Judgement(pair, float((answer.choice == "A") == _first_is_a(pair)))

    def draw(self, purpose: str, pair: Pair) -> int:
        """A number that is the same for the same pair."""
        first, second = pair.first, pair.second
        drawn_for = (pair.prompt.id, first.contestant, first.index, second.contestant, second.index)
        return derive_seed(self._seed, "judge", purpose, *drawn_for)

    def _question(self, pair: Pair) -> str:
        """What the ledger files an answer under; the same for both orders of a pair and for every seed."""
        return "\x1f".join(sorted((pair.first.text, pair.second.text)))


def _first_is_a(pair: Pair) -> bool:
    return pair.first.text < pair.second.text


_QUESTION = "Which one sounds more like you? a = left, b = right, '=' = no difference, s = skip, q = stop: "
_AGAIN = "Please answer a, b, =, s or q: "
_PICKS: dict[str, Pick] = {"a": "left", "b": "right", "=": "same"}
_SKIP, _STOP = "s", "q"


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
        self._picks = Picks(ledger, seed=seed)
        self._ask = ask
        self._show = show

    @property
    def name(self) -> str:
        """`me`."""
        return PERSON

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair; None where the person skipped it or had stopped. Equal texts are a tie unasked."""
        found: dict[int, Judgement] = {}
        for index, pair in enumerate(pairs):
            known = self._picks.known(pair)
            if known is not None:
                found[index] = known
        on_judged(len(found))
        stopped = False
        for index in sorted(
            set(range(len(pairs))) - set(found), key=lambda index: self._picks.draw("order", pairs[index])
        ):
            pair = pairs[index]
            # The same two texts may stand in an earlier pair, too.
            judgement = self._picks.known(pair)
            if judgement is None and not stopped:
                typed = self._typed(pair, len(found) + 1, len(pairs))
                stopped = typed == _STOP
                if typed in _PICKS:
                    self._picks.keep(pair, _PICKS[typed])
                judgement = Judgement(pair, None, "skipped") if typed == _SKIP else self._picks.known(pair)
            found[index] = judgement or Judgement(pair, None, "not asked: stopped before")
            on_judged(len(found))
        return [found[index] for index in range(len(pairs))]

    def _typed(self, pair: Pair, number: int, total: int) -> str:
        """What the person types about a pair, asked until it is one of the answers."""
        left, right = self._picks.sides(pair)
        own = [shown.completion for shown in self._demonstrations]
        self._show(own, pair.prompt.prompt, left.text, right.text, number, total)
        line = _QUESTION
        while True:
            try:
                typed = self._ask(line).strip().lower()
            except EOFError:
                return _STOP
            if typed in (*_PICKS, _SKIP, _STOP):
                return typed
            line = _AGAIN
