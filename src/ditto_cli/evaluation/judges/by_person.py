"""Pairs -> judgements by a person, who sees two texts side by side and not who wrote them.

Sides and order are drawn from a seed, so that stopping early is fair to all. Every answer is in the ledger at once,
filed under the two texts, so that it is known wherever they meet again. The pairs of an adapter's last evaluation are
kept in its folder, as private as its writings, so that a page can show them, too.
Knows nothing of terminals and pages: whoever calls shows the texts and asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ditto_cli.evaluation.judgements import Judgement, Pair, parse
from ditto_cli.evaluation.judges import Answer, Ledger
from ditto_cli.seeds import derive_seed
from ditto_cli.store import read_bytes, write_text

PERSON = "me"
BLIND_PAIRS_FILE = "pairs.json"
Pick = Literal["left", "right", "same"]


@dataclass(frozen=True)
class Shown:
    """A pair before a person's eyes; `number` of `total` says how far they are."""

    id: str
    prompt: str
    left: str
    right: str
    number: int
    total: int


class StoredPairs(BaseModel):
    """The pairs of an evaluation, and the other adapters whose texts they hold (see `evaluation_files`)."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[2] = 2
    participants: list[str]
    seed: int
    pairs: list[Pair]


def keep_pairs(folder: Path, pairs: Sequence[Pair], seed: int, participants: Sequence[str]) -> None:
    """Keep the pairs of an evaluation in the place of those of the one before; `participants` are other adapters."""
    stored = StoredPairs(participants=list(participants), seed=seed, pairs=list(pairs))
    write_text(folder / BLIND_PAIRS_FILE, stored.model_dump_json() + "\n")


class BlindPairs:
    """Pairs, and what one person has said of them so far."""

    def __init__(self, pairs: Sequence[Pair], ledger: Ledger, *, seed: int) -> None:
        self._pairs = {f"{index}": pair for index, pair in enumerate(pairs)}
        self._ledger = ledger
        self._seed = seed

    @classmethod
    def read(cls, folder: Path, key: bytes) -> BlindPairs:
        """The pairs of the last evaluation, by its folder; nothing where none has left any."""
        path = folder / BLIND_PAIRS_FILE
        stored = parse(StoredPairs, read_bytes(path)) if path.exists() else None
        if stored is None:
            return cls([], Ledger(None), seed=0)
        return cls(stored.pairs, Ledger.of(folder, key, PERSON), seed=stored.seed)

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def next(self, skipped: Collection[str]) -> Shown | None:
        """The first pair that was neither judged nor skipped, in the order of `--judge me`."""
        remaining = [id_ for id_, pair in self._pairs.items() if id_ not in skipped and self.known(pair) is None]
        if not remaining:
            return None
        found = min(remaining, key=lambda id_: self._draw("order", self._pairs[id_]))
        pair = self._pairs[found]
        return Shown(found, pair.prompt.prompt, *self._sides(pair), self.total - len(remaining) + 1, self.total)

    def keep(self, id_: str, left: str, right: str, pick: Pick) -> None:
        """File what was said of a pair by the texts that stood there: an evaluation may have come between.

        Raises:
            KeyError: no such pair.
            DiskError: it cannot be kept.
        """
        if self._sides(self._pairs[id_]) != (left, right):
            raise KeyError(id_)
        picked = {"left": left, "right": right}.get(pick)
        answer = Answer("tie" if picked is None else "A" if picked == min(left, right) else "B")
        self._ledger.add(PERSON, _question(left, right), answer)

    def known(self, pair: Pair) -> Judgement | None:
        """What follows from the ledger, or from the texts alone: equal ones are a tie."""
        first, second = pair.first.text, pair.second.text
        if first == second:
            return Judgement(pair, 0.5)
        answer = self._ledger.get(PERSON, _question(first, second))
        if answer is None or answer.choice is None:
            return None
        if answer.choice == "tie":
            return Judgement(pair, 0.5)
        return Judgement(pair, float((answer.choice == "A") == (first < second)))

    def tally(self) -> list[dict[str, object]]:
        """For each rival: how often the evaluated adapter was picked, the rival, and neither."""
        counts: dict[tuple[str, str], Counter[float | None]] = {}
        for pair in self._pairs.values():
            judgement = self.known(pair)
            if judgement is not None and pair.first.text != pair.second.text:
                counts.setdefault((pair.first.contestant, pair.second.contestant), Counter())[judgement.score] += 1
        return [
            {"adapter": first, "rival": second, "won": count[1.0], "lost": count[0.0], "same": count[0.5]}
            for (first, second), count in counts.items()
        ]

    def _sides(self, pair: Pair) -> tuple[str, str]:
        """The text on the left, and the one on the right."""
        first, second = pair.first.text, pair.second.text
        return (second, first) if self._draw("side", pair) % 2 == 1 else (first, second)

    def _draw(self, purpose: str, pair: Pair) -> int:
        """A number that is the same for the same pair."""
        first, second = pair.first, pair.second
        drawn_for = (pair.prompt.id, first.contestant, first.index, second.contestant, second.index)
        return derive_seed(self._seed, "judge", purpose, *drawn_for)


def _question(text: str, other: str) -> str:
    """What the ledger files an answer under, A being the text that sorts first; for both orders and every seed."""
    return "\x1f".join(sorted((text, other)))


_QUESTION = "Which one sounds more like you? a = left, b = right, '=' = no difference, s = skip, q = stop: "
_PICKS: dict[str, Pick] = {"a": "left", "b": "right", "=": "same"}


class PersonJudge:
    """A `Judge` that asks whoever sits there."""

    name = PERSON

    def __init__(self, ledger: Ledger, ask: Callable[[str], str], show: Callable[[Shown], None], *, seed: int) -> None:
        """Ask nothing yet; `ask` shows one line and returns what is typed, and its `EOFError` means stop."""
        self._ledger = ledger
        self._ask = ask
        self._show = show
        self._seed = seed

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair; None where the person skipped it or had stopped. Equal texts are a tie unasked."""
        blind, skipped = BlindPairs(pairs, self._ledger, seed=self._seed), set[str]()
        while shown := blind.next(skipped):
            on_judged(shown.number - 1)
            self._show(shown)
            try:
                typed = self._ask(_QUESTION).strip().lower()
            except EOFError:
                break
            if typed == "q":
                break
            if typed == "s":
                skipped.add(shown.id)
            elif typed in _PICKS:  # anything else shows the pair again
                blind.keep(shown.id, shown.left, shown.right, _PICKS[typed])
        on_judged(len(pairs))
        return [blind.known(pair) or Judgement(pair, None) for pair in pairs]
