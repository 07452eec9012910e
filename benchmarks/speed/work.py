"""The work of one round, the same in every way, and the record of what a way took for it.

Each sampled completion has a length drawn by seed, at which its row ends whatever the model says: 0.4 to 1.5 times its
demonstration's length, and one in ten runs to the limit of 1.5 times the longest. Updates are on ours' own samples; in
the other ways on made-up completions of the same lengths (seeded random token ids): time does not depend on which
tokens they are.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from ditto_cli.config import Settings
from ditto_cli.demonstrations.folder import read_folder
from ditto_cli.demonstrations.prompts import attach_prompts
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.ditto import round_requests
from ditto_cli.model.base.template import Texts, tokenise
from ditto_cli.model.hardware import Hardware
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, Completion, SampleRequest
from speed.shapes import EMBEDDED, chat_of, configuration, settings_of

SAMPLING, REFERENCE_PHASE, UPDATES = "sampling", "reference", "updates"
PHASES = (SAMPLING, REFERENCE_PHASE, UPDATES)
PERSONA = Path(__file__).parents[2] / "examples" / "demos" / "maya"
_TO_THE_LIMIT = 0.1  # share of completions


@dataclass(frozen=True)
class TextSizes:
    """How many demonstrations are made up, and their lengths in tokens."""

    num: int
    prompt: int
    shortest: int
    longest: int


SIZES = {"tiny": TextSizes(3, 7, 8, 20)}
LARGE_SIZES = TextSizes(7, 60, 450, 750)  # of the published shapes
NUM_OF_PERSONA = 5


class Figures(BaseModel):
    """One phase of one way.

    Attributes:
        seconds: wall-clock time; None when there is no result.
        peak_bytes: most memory in use during the phase on a GPU, in the process so far on a CPU.
        tokens: sampled tokens, or completion tokens on both sides of all comparisons that were trained on.
        problem: why there is no result.
    """

    model_config = ConfigDict(extra="forbid")

    seconds: float | None = None
    peak_bytes: int = 0
    tokens: int = 0
    problem: str | None = None


class Outcome(BaseModel):
    """What one process measured of one way on one shape; where something failed, `problem` says what."""

    model_config = ConfigDict(extra="forbid")

    shape: str
    way: str
    machine: str = ""
    work: str = ""
    problem: str | None = None
    phases: dict[str, Figures] = {}
    notes: list[str] = []
    checks: dict[str, float] = {}

    @property
    def seconds(self) -> float | None:
        """Of all phases; None when one of them has no result."""
        values = [phase.seconds for phase in self.phases.values()]
        return None if not values or None in values else sum(value for value in values if value is not None)


@dataclass
class Phases:
    """The phases that this process measured, as they come; `on_phase` is called after each."""

    hardware: Hardware
    figures: dict[str, Figures]
    on_phase: Callable[[], None] = lambda: None

    @contextmanager
    def measured(self, name: str) -> Iterator[Figures]:
        """Time the block and its peak; it fills in the rest. An error leaves nothing behind."""
        figures = Figures()
        gc.collect()
        if self.hardware.is_cuda:
            torch.cuda.reset_peak_memory_stats(self.hardware.device)
        start = self.now()
        yield figures
        figures.seconds = self.now() - start
        figures.peak_bytes = self.hardware.peak_memory_bytes()
        self.file(name, figures)

    def file(self, name: str, figures: Figures) -> None:
        """Keep a phase."""
        self.figures[name] = figures
        self.on_phase()

    def now(self) -> float:
        """Seconds, when all that was asked of the device is done."""
        if self.hardware.is_cuda:
            torch.cuda.synchronize(self.hardware.device)
        return time.perf_counter()


@dataclass(frozen=True)
class Work:
    """One round's work.

    Attributes:
        texts: the demonstrations as token ids.
        settings: the preset's, with the round's number of samples and updates.
        drawn: the made-up completions, those of one demonstration behind each other; their lengths are the forced ones.
    """

    texts: Texts
    settings: Settings
    drawn: tuple[Completion, ...]

    @property
    def sampled_tokens(self) -> int:
        """Tokens that every way samples."""
        return sum(len(completion.token_ids) for completion in self.drawn)

    def requests(self) -> list[SampleRequest]:
        """What to sample, in the order of `drawn`: the round's own requests with the forced lengths."""
        wanted = round_requests(self.texts, self.settings, 0)
        return [
            replace(wanted[one.demonstration_id, one.index], max_new_tokens=len(one.token_ids)) for one in self.drawn
        ]

    def unscored_history(self) -> History:
        """The round's history with made-up reference log-probabilities, for ways that score by themselves."""

        def made_up(completions: tuple[Completion, ...]) -> tuple[Completion, ...]:
            return tuple(replace(one, reference_logp=-float(len(one.token_ids))) for one in completions)

        history = History(made_up(tuple(self.texts.unscored())))
        history.add_round(made_up(self.drawn))
        return history

    def comparisons(self, history: History) -> list[list[Comparison]]:
        """Those of each update."""
        settings = self.settings
        return [
            draw_comparisons(history, settings.dpo, seed=settings.seed, step=s) for s in range(settings.rounds.steps)
        ]

    def describe(self) -> str:
        """The round's sizes, in a line."""
        texts, settings = self.texts, self.settings
        return (
            f"{len(texts.prompts)} demonstrations ({texts.num_tokens} tokens), "
            f"{settings.sampling.completions_per_prompt} samples each ({self.sampled_tokens} tokens, limit "
            f"{texts.max_new_tokens}), {settings.rounds.steps} updates of "
            f"{settings.dpo.comparisons_per_prompt * len(texts.prompts)} comparisons"
        )


def round_work(shape: str, *, samples: int, updates: int, sizes: TextSizes | None = None) -> Work:
    """A round on the shape, without its model; all that is random in it comes from the settings' seed.

    Args:
        shape: of the base; texts of the embedded base are the example persona's, all others are made up.
        samples: of each demonstration.
        updates: of the round.
        sizes: of made-up texts, where they are not to be those of the shape.
    """
    settings = settings_of(
        shape, {"sampling.completions_per_prompt": samples, "rounds.steps": updates, "rounds.num": 1}
    )
    vocabulary = configuration(shape).vocab_size
    if shape == EMBEDDED:
        demonstrations = attach_prompts(read_folder(PERSONA).texts, {})[0][:NUM_OF_PERSONA]
        context_tokens = configuration(shape).max_position_embeddings
        texts = tokenise(chat_of(shape), demonstrations, settings.sampling, context_tokens=context_tokens)
    else:
        texts = made_up_texts(sizes or SIZES.get(shape, LARGE_SIZES), settings, vocabulary=vocabulary)
    return work_of(texts, settings, vocabulary=vocabulary)


def made_up_texts(sizes: TextSizes, settings: Settings, *, vocabulary: int) -> Texts:
    """Demonstrations of seeded random token ids below `vocabulary`."""
    generator = random.Random(derive_seed(settings.seed, "demonstrations"))
    prompts, completions = {}, {}
    for number in range(sizes.num):
        name = f"made_up_{number:02}.md"
        prompts[name] = _ids(generator, sizes.prompt, vocabulary)
        completions[name] = _ids(generator, generator.randint(sizes.shortest, sizes.longest), vocabulary)
    longest = max(len(ids) for ids in completions.values())
    return Texts(prompts, completions, math.ceil(settings.sampling.length_factor * longest))


def work_of(texts: Texts, settings: Settings, *, vocabulary: int) -> Work:
    """The round on these demonstrations."""
    drawn = []
    for name, own in texts.completions.items():
        for index in range(settings.sampling.completions_per_prompt):
            generator = random.Random(derive_seed(settings.seed, "made up", name, index))
            share, factor = generator.random(), generator.uniform(0.4, 1.5)
            limit = texts.max_new_tokens
            length = limit if share < _TO_THE_LIMIT else min(limit, max(1, round(factor * len(own))))
            drawn.append(Completion(name, 0, index, _ids(generator, length, vocabulary), True, math.nan))
    return Work(texts, settings, tuple(drawn))


def completion_tokens(comparisons: list[Comparison]) -> int:
    """Tokens of both sides of all comparisons, however often a sequence comes."""
    return sum(len(side.token_ids) for one in comparisons for side in (one.chosen, one.rejected))


def _ids(generator: random.Random, num: int, vocabulary: int) -> tuple[int, ...]:
    return tuple(generator.randrange(vocabulary) for _ in range(num))
