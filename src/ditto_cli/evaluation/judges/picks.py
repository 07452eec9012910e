"""A person's picks among pairs: which text stands on which side, what was picked, and what of it is in the ledger.

Sides are drawn from a seed. An answer is filed under the two texts, so that it is known wherever they meet again.
"""

from __future__ import annotations

from typing import Literal

from ditto_cli.evaluation.judges.ledger import Answer, Ledger
from ditto_cli.evaluation.judges.question import Choice
from ditto_cli.evaluation.types import Judgement, Pair, Writing
from ditto_cli.seeds import derive_seed

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
        """File a pick.

        Raises:
            DiskError: it cannot be kept.
        """
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
