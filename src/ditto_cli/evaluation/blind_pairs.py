"""The pairs of an adapter's last evaluation, kept so that a page can show them blind; picks are those of `--judge me`.

The file lies in the adapter's evaluation folder, is as private as its writings, and carries the marks of the adapters
whose texts it holds (see `traces`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ditto_cli.evaluation.judges.by_person import PERSON, Pick, Picks
from ditto_cli.evaluation.judges.ledger import Ledger
from ditto_cli.evaluation.types import Pair, Writing
from ditto_cli.store import read_bytes, write_text

PAIRS_FILE = "pairs.json"


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    marks: dict[str, str] = {}
    own_mark: str
    seed: int
    pairs: list[Pair]


def keep_pairs(folder: Path, pairs: Sequence[Pair], seed: int, own_mark: str, marks: Mapping[str, str]) -> None:
    """Keep the pairs of an evaluation in the place of those of the one before.

    Args:
        folder: of the evaluated adapter's evaluations.
        pairs: in which a person would be asked about them.
        seed: of the evaluation.
        own_mark: of the evaluated adapter.
        marks: of contestants that are other adapters, by title.
    """
    stored = _Stored(marks=dict(marks), own_mark=own_mark, seed=seed, pairs=list(pairs))
    write_text(folder / PAIRS_FILE, stored.model_dump_json() + "\n")


def marks_in_pairs(data: bytes) -> list[str] | None:
    """The marks in a file of pairs; None where it is damaged."""
    stored = _parsed(data)
    return None if stored is None else [stored.own_mark, *stored.marks.values()]


def texts_by_mark(marks: Mapping[str, str], writings: Iterable[Writing]) -> dict[str, set[str]]:
    """What contestants wrote, by their marks; `marks` are by title, and two stages of an adapter share one."""
    texts: dict[str, set[str]] = {mark: set() for mark in marks.values()}
    for writing in writings:
        if writing.contestant in marks:
            texts[marks[writing.contestant]].add(writing.text)
    return texts


def person_ledger(folder: Path, key: bytes, judge: str, texts: Mapping[str, Collection[str]]) -> Ledger:
    """The answers of a person or a server; `texts` are those of other adapters, by mark."""

    def marks_in(question: str) -> list[str]:
        return sorted(mark for mark, own in texts.items() if any(text and text in question for text in own))

    return Ledger(folder / f"answers-{judge}.jsonl", key=key, marks=marks_in)


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
    """The pairs of the last evaluation, and what the person has said of them so far."""

    def __init__(self, pairs: Sequence[Pair], picks: Picks) -> None:
        self._pairs = {f"{index}": pair for index, pair in enumerate(pairs)}
        self._picks = picks

    @classmethod
    def read(cls, folder: Path, key: bytes) -> BlindPairs:
        """What lies in an evaluation folder; nothing where no evaluation has left anything."""
        path = folder / PAIRS_FILE
        stored = _parsed(read_bytes(path)) if path.exists() else None
        if stored is None:
            return cls([], Picks(Ledger(None), seed=0))
        writings = [writing for pair in stored.pairs for writing in (pair.first, pair.second)]
        ledger = person_ledger(folder, key, PERSON, texts_by_mark(stored.marks, writings))
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
        number = len(self._pairs) - len(open_) + 1
        return Shown(found, pair.prompt.prompt, left.text, right.text, number, len(self._pairs))

    def keep(self, id_: str, left: str, right: str, pick: Pick) -> None:
        """File what was said of a pair.

        Args:
            id_: of the pair.
            left: the text that stood on its left: an evaluation may have come between.
            right: the other one.
            pick: what was said.

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


def _parsed(data: bytes) -> _Stored | None:
    try:
        return _Stored.model_validate_json(data)
    except ValidationError:
        return None
