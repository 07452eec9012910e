"""Demonstrations and settings -> what a run will do, piece by piece, before it does it.

Counts only: no model and no seconds. All of it is known beforehand but how long the samples become: the base is taken
to write to the length limit, as it knows no end of such texts, and an adapter's samples to be spread around the length
of their demonstration, the longest of each batch up to the limit. docs/plan.md has what that was read off.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from ditto_cli.config import Settings
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.reference import scoring_batches
from ditto_cli.method.rounds import Encoded, begins_as_reference, own_completions
from ditto_cli.method.train import BASE_STAGE, UPDATES_PER_CHECKPOINT
from ditto_cli.method.updates import micro_batches, sequences_of
from ditto_cli.seeds import derive_seed
from ditto_cli.types import SFT_STAGE, Completion, round_stage

SHORTEST, LONGEST = 0.2, 1.8  # of an adapter's samples, as multiples of their demonstration


@dataclass(frozen=True)
class Group:
    """Completions of one prompt: tokens of the prompt, and of each completion."""

    prompt: int
    completions: tuple[int, ...]

    @property
    def num_scored(self) -> int:
        """Tokens whose log-probability is computed."""
        return sum(self.completions)

    @property
    def num_tokens(self) -> int:
        """Tokens of all."""
        return self.prompt + self.num_scored


Row = tuple[Group, ...]  # scored in one pass


@dataclass(frozen=True)
class Batch:
    """Texts of one SFT update, behind each other in one row: tokens of each, prompt included."""

    texts: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens of the row."""
        return sum(self.texts)


@dataclass(frozen=True)
class Decoding:
    """A batch of samples.

    Attributes:
        reads: of each pass that reads prompts, how many there are and the tokens of the longest.
        rows: how many sequences there are in each step.
        columns: tokens that the cache comes to hold of each.
        num_tokens: tokens that are sampled.
    """

    reads: tuple[tuple[int, int], ...]
    rows: tuple[int, ...]
    columns: int
    num_tokens: int


@dataclass(frozen=True)
class Phase:
    """A stretch of the run under the name that it has in the progress; what it does, in any order.

    `kind` is what it is called where phases are added up.
    """

    name: str
    kind: str
    samples: tuple[Decoding, ...] = ()
    scored: tuple[Row, ...] = ()
    updates: tuple[tuple[Row, ...], ...] = ()
    sft: tuple[Batch, ...] = ()
    saves: int = 0


@dataclass(frozen=True)
class Writings:
    """What is sampled for the user and the choice between stages, in tokens; the caller knows, since training does not.

    Attributes:
        background: prompts that the base writes for, once.
        looks: prompts that every stage writes for.
        continued: of the look for memorised text: tokens given, and most tokens that it goes on for.
        watch: the prompt whose sample is shown of the base and every stage.
    """

    background: tuple[int, ...]
    looks: tuple[int, ...]
    continued: tuple[tuple[int, int], ...]
    watch: int


@dataclass(frozen=True)
class RunPlan:
    """The phases in their order; `max_new_tokens` is the length limit."""

    phases: tuple[Phase, ...]
    max_new_tokens: int

    def decodings(self) -> Iterator[Decoding]:
        """Every batch of samples."""
        return (decoding for phase in self.phases for decoding in phase.samples)

    def scored(self) -> Iterator[Row]:
        """Every row that is scored without gradients."""
        return (row for phase in self.phases for row in phase.scored)

    def micro_batches(self) -> Iterator[Row]:
        """Every micro-batch of every update."""
        return (row for phase in self.phases for update in phase.updates for row in update)

    def batches(self) -> Iterator[Batch]:
        """Every batch of SFT."""
        return (batch for phase in self.phases for batch in phase.sft)


def plan_run(encoded: Encoded, settings: Settings, writings: Writings, *, is_exact: bool) -> RunPlan:
    """What `train_ditto` will do with these demonstrations and settings, as far as it is known beforehand.

    Args:
        encoded: the demonstrations.
        settings: of the run.
        writings: what is sampled for the choice between stages.
        is_exact: the policy's; then samples of the reference itself are not scored.
    """
    limit = encoded.max_new_tokens
    shown = (writings.watch, *writings.looks)
    spread = _spread([len(ids) for ids in encoded.completions.values()], len(shown), limit)

    def written(stage: str, kind: str, wanted: Sequence[tuple[int, int]]) -> Phase:
        return Phase(f"{stage}: writing", kind, (decoding(wanted, settings.sampling.max_slots),))

    def look(stage: str, others: Sequence[Completion] = ()) -> Phase:
        """What a stage writes, with the samples of the round that follows."""
        sampled = [(len(encoded.prompts[one.demonstration_id]), len(one.token_ids)) for one in others]
        watched, *rest = zip(shown, spread, strict=True)
        return written(stage, "samples of the stages", [watched, *sampled, *rest, *writings.continued])

    base = [(prompt, limit) for prompt in (writings.watch, *writings.background)]
    phases = [written(BASE_STAGE, "samples of the base", base), Phase("SFT", "SFT", sft=_batches(encoded, settings))]
    own = own_completions(encoded)
    history = History(tuple(own))
    others_scored = list(_rows(own, encoded.prompts, settings.dpo.micro_batch_tokens)) if settings.rounds.num else []
    saves = 1
    for number in range(settings.rounds.num):
        if number > 0 and settings.rounds.reference == "previous":
            others_scored += _rows(history.completions(), encoded.prompts, settings.dpo.micro_batch_tokens)
        sampled = _sampled(encoded, settings, number)
        history.add_round(sampled)
        phases.append(look(SFT_STAGE if number == 0 else round_stage(number), sampled))
        if not (is_exact and begins_as_reference(settings, number)):
            rows = tuple(_rows(sampled, encoded.prompts, settings.dpo.micro_batch_tokens))
            phases.append(Phase(f"round {number + 1}: scoring", "scores of the samples", scored=rows))
        phases.append(
            Phase(f"round {number + 1}: DPO", "DPO updates", updates=_updates(history, encoded, settings, number))
        )
        saves += 2 + (settings.rounds.steps - 1) // UPDATES_PER_CHECKPOINT
    phases.append(look(round_stage(settings.rounds.num) if settings.rounds.num else SFT_STAGE))
    phases.append(Phase("", "the rest", scored=tuple(others_scored), saves=saves))
    return RunPlan(tuple(phases), limit)


def decoding(wanted: Sequence[tuple[int, int]], max_slots: int) -> Decoding:
    """How sampling goes about it: slots are filled again as sequences end, a prompt's length is read once.

    Args:
        wanted: tokens of the prompt and of the sample, for each sequence; prompts of equal length count as one.
        max_slots: most sequences at a time.
    """
    waiting, left = deque(wanted), list[int]()
    reads, rows = list[tuple[int, int]](), list[int]()
    columns = 0
    while waiting or left:
        arrivals = [waiting.popleft() for _ in range(min(max_slots - len(left), len(waiting)))]
        if arrivals:
            prompts = {prompt for prompt, _ in arrivals}
            reads.append((len(prompts), max(prompts)))
            columns = max(columns if left else 0, *prompts)
            left += [tokens for _, tokens in arrivals]
        left = [tokens - 1 for tokens in left if tokens > 1]
        if left:
            rows.append(len(left))
            columns += 1
    return Decoding(tuple(reads), tuple(rows), columns, sum(tokens for _, tokens in wanted))


def _spread(lengths: Sequence[int], num: int, limit: int) -> list[int]:
    """`num` lengths around those of the demonstrations, at equal steps; the longest is the limit."""
    mean = sum(lengths) / len(lengths)
    shares = [SHORTEST + (LONGEST - SHORTEST) * (index + 0.5) / num for index in range(num)]
    spread = [min(limit, max(1, round(mean * share))) for share in shares]
    return [*spread[:-1], limit] if spread else []


def _sampled(encoded: Encoded, settings: Settings, number: int) -> list[Completion]:
    """Stand-ins for a round's samples: only their lengths matter."""
    num = settings.sampling.completions_per_prompt
    names = list(encoded.prompts)
    shares = [SHORTEST + (LONGEST - SHORTEST) * (place + 0.5) / (num * len(names)) for place in range(num * len(names))]
    random.Random(derive_seed(settings.seed, "planned lengths", number)).shuffle(shares)
    sampled = []
    for place, (name, index) in enumerate((name, index) for name in names for index in range(num)):
        length = math.ceil(len(encoded.completions[name]) * shares[place])
        tokens = encoded.max_new_tokens if shares[place] == max(shares) else min(length, encoded.max_new_tokens)
        sampled.append(Completion(name, number, index, (0,) * tokens, True, 0.0))
    return sampled


def _updates(history: History, encoded: Encoded, settings: Settings, number: int) -> tuple[tuple[Row, ...], ...]:
    """The micro-batches of a round's updates: the comparisons are those that will be drawn."""
    updates = []
    for step in range(settings.rounds.steps):
        drawn = draw_comparisons(history, settings.dpo, seed=settings.seed, step=number * settings.rounds.steps + step)
        rows = []
        for batch in micro_batches(drawn, encoded.prompts, settings.dpo.micro_batch_tokens):
            named = sequences_of(batch)
            rows.append(tuple(_group(encoded.prompts[name], list(own.values())) for name, own in named.items()))
        updates.append(tuple(rows))
    return tuple(updates)


def _rows(completions: Sequence[Completion], prompts: Mapping[str, tuple[int, ...]], max_tokens: int) -> Iterator[Row]:
    """What is scored at a time."""
    for batch in scoring_batches(completions, prompts, max_tokens):
        of_each = groupby(batch, key=lambda completion: completion.demonstration_id)
        yield tuple(_group(prompts[name], list(own)) for name, own in of_each)


def _group(prompt_ids: Sequence[int], completions: Sequence[Completion]) -> Group:
    return Group(len(prompt_ids), tuple(len(completion.token_ids) for completion in completions))


def _batches(encoded: Encoded, settings: Settings) -> tuple[Batch, ...]:
    """Each pass over the texts in batches; which texts meet is drawn by the trainer, so here it is drawn anew."""
    lengths = [len(encoded.prompts[name]) + len(ids) for name, ids in encoded.completions.items()]
    generator = random.Random(derive_seed(settings.seed, "planned batches"))
    batches: list[Batch] = []
    while len(batches) < settings.sft.max_steps:
        order = generator.sample(lengths, len(lengths))
        size = settings.sft.batch_size
        parts = [order[start : start + size] for start in range(0, len(order), size)]
        batches += [Batch(tuple(part)) for part in parts]
    return tuple(batches[: settings.sft.max_steps])
