"""History of completions -> the comparisons of one update (paper, section 3.2). No torch.

Three kinds are the paper's: online (demonstration over a completion of this round), replay (over one of an earlier
round) and inter-model (a later round's completion over an earlier round's). The fourth are the pairs that the person
gave herself. Everything is keyed by the demonstration, never by its prompt, so two with one prompt stay two.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain

from ditto_cli.config import PAIRS_FILE, DpoSettings, MixtureSettings, Settings
from ditto_cli.errors import InputError
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, ComparisonKind, Completion, Preference


@dataclass
class History:
    """The demonstrations, the given pairs, and the completions of every round so far.

    Attributes:
        given: both sides of each given pair, the preferred one first.
        rounds: for round 0, 1, ...: demonstration id -> its completions (the paper's D_t).
    """

    demonstrations: tuple[Completion, ...]
    given: tuple[tuple[Completion, Completion], ...] = ()
    rounds: list[dict[str, tuple[Completion, ...]]] = field(default_factory=list)

    @staticmethod
    def of(completions: Sequence[Completion], num_demonstrations: int) -> History:
        """Of so many demonstrations and, behind them, both sides of each pair; before any round."""
        own, sides = completions[:num_demonstrations], completions[num_demonstrations:]
        return History(tuple(own), tuple(zip(sides[::2], sides[1::2], strict=True)))

    def add_round(self, completions: Sequence[Completion]) -> None:
        """File the completions of the next round."""
        number = len(self.rounds)
        assert all(completion.round == number for completion in completions)
        known = {d.demonstration_id for d in self.demonstrations}
        assert {completion.demonstration_id for completion in completions} in (known, set())
        self.rounds.append(
            {i: tuple(c for c in completions if c.demonstration_id == i) for i in sorted(known)},
        )

    def completions(self) -> list[Completion]:
        """The demonstrations and all samples, those of one demonstration behind each other; then the pairs' sides."""
        own = [
            completion
            for own in self.demonstrations
            for completion in (own, *(c for sampled in self.rounds for c in sampled[own.demonstration_id]))
        ]
        return [*own, *chain.from_iterable(self.given)]


_MOST_PAIRS = 1000  # all are scored under the reference before the rounds, which draw some hundreds


def check_comparable(settings: Settings, pairs: Sequence[Preference]) -> None:
    """Refuse a run whose rounds would have nothing to compare, no samples and no given pairs, or far too many."""
    if settings.rounds.num and len(pairs) > _MOST_PAIRS:
        raise InputError(f"{PAIRS_FILE} has {len(pairs):,} pairs: keep those that matter, at most {_MOST_PAIRS:,}.")
    if settings.rounds.num and not settings.sampling.completions_per_prompt and not pairs:
        raise InputError(f"DPO without samples needs given pairs, and {PAIRS_FILE} has none that may be learnt.")


def draw_comparisons(history: History, settings: DpoSettings, *, seed: int, step: int) -> list[Comparison]:
    """The comparisons of update `step`, counted from 0 through the whole run, in the newest round of `history`.

    There are `comparisons_per_prompt` of them for every demonstration, of which the given ones take theirs from any.
    Which demonstrations get which kind is drawn. Within a step no pair is used twice while its pool lasts.
    They are grouped by demonstration, in the order of `history.demonstrations`; given ones come last.
    """
    generator = random.Random(derive_seed(seed, "comparisons", step))
    total = len(history.demonstrations) * settings.comparisons_per_prompt
    counts = count_kinds(total, step, settings.mixture, num_rounds=len(history.rounds), num_given=len(history.given))
    if not any(history.rounds[-1].values()):  # nothing is sampled: plain DPO
        counts = dict.fromkeys(ComparisonKind, 0) | {ComparisonKind.GIVEN: min(total, len(history.given))}
    kinds = [kind for kind in ComparisonKind for _ in range(counts[kind])]
    generator.shuffle(kinds)
    comparisons: list[Comparison] = []
    for demonstration in history.demonstrations:
        here, kinds = kinds[: settings.comparisons_per_prompt], kinds[settings.comparisons_per_prompt :]
        own = [kind for kind in here if kind is not ComparisonKind.GIVEN]
        pools = {kind: _endless(_pool(history, demonstration, kind), generator) for kind in own}
        comparisons += [Comparison(kind, *next(pools[kind])) for kind in own]
    given = generator.sample(history.given, counts[ComparisonKind.GIVEN])
    return [*comparisons, *(Comparison(ComparisonKind.GIVEN, chosen, rejected) for chosen, rejected in given)]


def count_kinds(
    total: int, step: int, mixture: MixtureSettings, *, num_rounds: int, num_given: int = 0
) -> dict[ComparisonKind, int]:
    """How many of a step's `total` comparisons are of each kind.

    The shares hold over the run, not only on average: each step takes what brings the run's total closest to its
    share, so a share of 10 % of 3 comparisons comes up too. With one round there is no earlier one, and the shares
    of replay and inter-model go to online; so does what is left of the given ones' where each has come up once.
    """
    has_earlier, given = float(num_rounds > 1), mixture.given if num_given else 0.0
    shares = {
        ComparisonKind.INTER_MODEL: mixture.inter_model * has_earlier,
        ComparisonKind.REPLAY: mixture.replay * has_earlier,
        ComparisonKind.GIVEN: given,
    }
    whole = mixture.online + mixture.replay + mixture.inter_model + given
    counts, share, taken = {}, 0.0, 0
    for kind, own in shares.items():  # boundaries of cumulated shares, so that the counts add up to at most `total`
        share += own
        until = round(share / whole * total * (step + 1)) - round(share / whole * total * step)
        counts[kind], taken = until - taken, until
    counts[ComparisonKind.GIVEN] = min(counts[ComparisonKind.GIVEN], num_given)
    return counts | {ComparisonKind.ONLINE: total - sum(counts.values())}


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
