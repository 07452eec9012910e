"""History of completions -> the comparisons of one update (paper, section 3.2). No torch.

Three kinds: online (demonstration over a completion of this round), replay (over one of an earlier round) and
inter-model (a later round's completion over an earlier round's). Everything is keyed by the demonstration, never by
its prompt, so two demonstrations with one prompt stay two.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ditto_cli.config import DpoSettings, MixtureSettings
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, ComparisonKind, Completion


@dataclass
class History:
    """The demonstrations, and the completions of every round so far.

    Attributes:
        demonstrations: the person's own texts, in a fixed order.
        rounds: for round 0, 1, ...: demonstration id -> its completions (the paper's D_t).
    """

    demonstrations: tuple[Completion, ...]
    rounds: list[dict[str, tuple[Completion, ...]]] = field(default_factory=list)

    def add_round(self, completions: Sequence[Completion]) -> None:
        """File the completions of the next round."""
        number = len(self.rounds)
        assert all(completion.round == number for completion in completions)
        known = {d.demonstration_id for d in self.demonstrations}
        assert {completion.demonstration_id for completion in completions} == known
        self.rounds.append(
            {i: tuple(c for c in completions if c.demonstration_id == i) for i in sorted(known)},
        )

    def completions(self) -> list[Completion]:
        """The demonstrations and all samples, those of one demonstration behind each other."""
        return [
            completion
            for own in self.demonstrations
            for completion in (own, *(c for sampled in self.rounds for c in sampled[own.demonstration_id]))
        ]


def draw_comparisons(history: History, settings: DpoSettings, *, seed: int, step: int) -> list[Comparison]:
    """The comparisons of update `step`, counted from 0 through the whole run, in the newest round of `history`.

    Every demonstration gets `comparisons_per_prompt` of them. Which demonstrations get the replay and inter-model
    ones is drawn. Within a step no pair is used twice while its pool lasts.
    They are grouped by demonstration, in the order of `history.demonstrations`.
    """
    generator = random.Random(derive_seed(seed, "comparisons", step))
    total = len(history.demonstrations) * settings.comparisons_per_prompt
    counts = count_kinds(total, step, settings.mixture, num_rounds=len(history.rounds))
    kinds = [kind for kind in ComparisonKind for _ in range(counts[kind])]
    generator.shuffle(kinds)
    comparisons: list[Comparison] = []
    for demonstration in history.demonstrations:
        pools = {
            kind: _endless(pool, generator) for kind in ComparisonKind if (pool := _pool(history, demonstration, kind))
        }
        for _ in range(settings.comparisons_per_prompt):
            kind = kinds.pop(0)
            chosen, rejected = next(pools[kind])
            comparisons.append(Comparison(kind, chosen, rejected))
    return comparisons


def count_kinds(total: int, step: int, mixture: MixtureSettings, *, num_rounds: int) -> dict[ComparisonKind, int]:
    """How many of a step's `total` comparisons are of each kind.

    The shares hold over the run, not only on average: each step takes what brings the run's total closest to its
    share, so a share of 10 % of 3 comparisons comes up too. With one round there is no earlier one, and the shares
    of replay and inter-model go to online.
    """
    if num_rounds == 1:
        return {ComparisonKind.ONLINE: total, ComparisonKind.REPLAY: 0, ComparisonKind.INTER_MODEL: 0}
    weights = {ComparisonKind.REPLAY: mixture.replay, ComparisonKind.INTER_MODEL: mixture.inter_model}
    whole = mixture.online + mixture.replay + mixture.inter_model

    def until(kinds: Sequence[ComparisonKind], steps: int) -> int:
        return round(sum(weights[kind] for kind in kinds) / whole * total * steps)

    # Boundaries of cumulated shares, so that the three counts always add up to `total`.
    first, second = (ComparisonKind.INTER_MODEL,), (ComparisonKind.INTER_MODEL, ComparisonKind.REPLAY)
    inter_model = until(first, step + 1) - until(first, step)
    both = until(second, step + 1) - until(second, step)
    return {
        ComparisonKind.ONLINE: total - both,
        ComparisonKind.REPLAY: both - inter_model,
        ComparisonKind.INTER_MODEL: inter_model,
    }


def _pool(history: History, demonstration: Completion, kind: ComparisonKind) -> list[tuple[Completion, Completion]]:
    """All (chosen, rejected) pairs of one kind for one demonstration."""
    rounds = [completions[demonstration.demonstration_id] for completions in history.rounds]
    *earlier, newest = rounds
    if kind is ComparisonKind.ONLINE:
        return [(demonstration, completion) for completion in newest]
    if kind is ComparisonKind.REPLAY:
        return [(demonstration, completion) for completions in earlier for completion in completions]
    return [
        (later, before)
        for number, completions in enumerate(rounds)
        for later in completions
        for older in rounds[:number]
        for before in older
    ]


def _endless(
    pool: list[tuple[Completion, Completion]], generator: random.Random
) -> Iterator[tuple[Completion, Completion]]:
    """Pairs in random order, each once before any comes again."""
    while True:
        yield from generator.sample(pool, len(pool))
