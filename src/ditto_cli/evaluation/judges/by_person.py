"""Pairs -> judgements by a person, who sees two texts side by side and not who wrote them.

Sides and order are drawn from a seed, so that stopping early is fair to all. Every answer is in the ledger at once,
filed under the two texts, so that it is known wherever they meet again. The pairs of an adapter's last evaluation are
kept in its folder, as private as its writings, so that a page can show them, too.
Knows nothing of terminals and pages: whoever calls shows the texts and asks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ditto_cli.evaluation.judges import Answer, Choice, Ledger
from ditto_cli.evaluation.types import Judgement, Pair, Writing, parsed
from ditto_cli.seeds import derive_seed
from ditto_cli.store import read_bytes, write_text
from ditto_cli.types import Demonstration

PERSON = "me"
PAIRS_FILE = "pairs.json"
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


# Puts a pair before the person's eyes: the author's own texts, the prompt, left, right, and how far they are, n of m.
Show = Callable[[Sequence[str], str, str, str, int, int], None]


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
        """Ask nothing yet; `ask` shows one line and returns what is typed, and its `EOFError` means stop."""
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
        open_pairs, skipped = BlindPairs(pairs, self._picks), set[str]()
        while shown := open_pairs.next(skipped):
            on_judged(shown.number - 1)
            typed = self._typed(shown)
            if typed == _STOP:
                break
            if typed == _SKIP:
                skipped.add(shown.id)
            else:
                open_pairs.keep(shown.id, shown.left, shown.right, _PICKS[typed])
        on_judged(len(pairs))
        return [
            self._picks.known(pair)
            or Judgement(pair, None, "skipped" if f"{index}" in skipped else "not asked: stopped before")
            for index, pair in enumerate(pairs)
        ]

    def _typed(self, shown: Shown) -> str:
        """What the person types about a pair, asked until it is one of the answers."""
        own = [text.completion for text in self._demonstrations]
        self._show(own, shown.prompt, shown.left, shown.right, shown.number, shown.total)
        line = _QUESTION
        while True:
            try:
                typed = self._ask(line).strip().lower()
            except EOFError:
                return _STOP
            if typed in (*_PICKS, _SKIP, _STOP):
                return typed
            line = _AGAIN


class StoredPairs(BaseModel):
    """The pairs of an evaluation, with the marks of the adapters whose texts they hold (see `traces`)."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    marks: dict[str, str] = {}
    own_mark: str
    seed: int
    pairs: list[Pair]


def keep_pairs(folder: Path, pairs: Sequence[Pair], seed: int, own_mark: str, marks: Mapping[str, str]) -> None:
    """Keep the pairs of an evaluation in the place of those of the one before.

    `own_mark` is the evaluated adapter's; `marks` are of contestants that are other adapters, by title.
    """
    stored = StoredPairs(marks=dict(marks), own_mark=own_mark, seed=seed, pairs=list(pairs))
    write_text(folder / PAIRS_FILE, stored.model_dump_json() + "\n")


@dataclass(frozen=True)
class Shown:
    """A pair before a person's eyes; `number` of `total` says how far they are."""

    id: str
    prompt: str
    left: str
    right: str
    number: int
    total: int


class BlindPairs:
    """Pairs, such as those of the last evaluation, and what the person has said of them so far."""

    def __init__(self, pairs: Sequence[Pair], picks: Picks) -> None:
        self._pairs = {f"{index}": pair for index, pair in enumerate(pairs)}
        self._picks = picks

    @classmethod
    def read(cls, folder: Path, key: bytes) -> BlindPairs:
        """What lies in an evaluation folder; nothing where no evaluation has left anything."""
        path = folder / PAIRS_FILE
        stored = parsed(StoredPairs, read_bytes(path)) if path.exists() else None
        if stored is None:
            return cls([], Picks(Ledger(None), seed=0))
        writings = [writing for pair in stored.pairs for writing in (pair.first, pair.second)]
        ledger = Ledger.of(folder, key, PERSON, stored.marks, writings)
        return cls(stored.pairs, Picks(ledger, seed=stored.seed))

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self._pairs)

    def next(self, skipped: Iterable[str]) -> Shown | None:
        """The first pair that was neither judged nor skipped, in the order of `--judge me`."""
        left_out = set(skipped)
        open_ = [id_ for id_, pair in self._pairs.items() if id_ not in left_out and self._picks.known(pair) is None]
        if not open_:
            return None
        found = min(open_, key=lambda id_: self._picks.draw("order", self._pairs[id_]))
        pair = self._pairs[found]
        left, right = self._picks.sides(pair)
        number = self.total - len(open_) + 1
        return Shown(found, pair.prompt.prompt, left.text, right.text, number, self.total)

    def keep(self, id_: str, left: str, right: str, pick: Pick) -> None:
        """File what was said of a pair by the texts that stood there: an evaluation may have come between.

        Raises:
            KeyError: no such pair.
            DiskError: it cannot be kept.
        """
        pair = self._pairs[id_]
        if [side.text for side in self._picks.sides(pair)] != [left, right]:
            raise KeyError(id_)
        self._picks.keep(pair, pick)

    def tally(self) -> list[dict[str, object]]:
        """For each rival: how often the evaluated adapter was picked, the rival, and neither."""
        counts: dict[tuple[str, str], Counter[str]] = {}
        for pair in self._pairs.values():
            judgement = self._picks.known(pair)
            if judgement is not None and pair.first.text != pair.second.text:
                kind = "won" if judgement.score == 1 else "lost" if judgement.score == 0 else "same"
                counts.setdefault((pair.first.contestant, pair.second.contestant), Counter())[kind] += 1
        return [
            {"adapter": first, "rival": second, "won": count["won"], "lost": count["lost"], "same": count["same"]}
            for (first, second), count in counts.items()
        ]
