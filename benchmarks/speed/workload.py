"""The work of one round, the same in every way: whose texts, how long each completion gets, what is compared.

Each sampled completion has a length drawn by seed, at which its row ends whatever the model says: 0.4 to 1.5 times its
demonstration's length, and one in ten runs to the limit of 1.5 times the longest. Updates are on ours' own samples; in
the other ways, and where no sampling is measured, on made-up completions of the same lengths (seeded random token ids):
time does not depend on which tokens they are.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from pathlib import Path

from ditto_cli.config import Settings
from ditto_cli.demonstrations import attach_prompts, read_folder
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.rounds import Encoded, encode_demonstrations, own_completions
from ditto_cli.model.chat import ChatFormat
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, Completion, SampleRequest

PERSONA = Path(__file__).parents[2] / "examples" / "demos" / "maya"
_TO_THE_LIMIT = 0.1  # share of completions


@dataclass(frozen=True)
class TextSizes:
    """Lengths of made-up demonstrations in tokens."""

    prompt: int
    shortest: int
    longest: int


SIZES = {"mistral-7b": TextSizes(60, 450, 750), "qwen3-8b": TextSizes(60, 450, 750), "tiny": TextSizes(7, 8, 20)}
NUM_DEMONSTRATIONS = {"embedded": 5, "mistral-7b": 7, "qwen3-8b": 7, "tiny": 3}


@dataclass(frozen=True)
class Workload:
    """One round's work.

    Attributes:
        encoded: the demonstrations as token ids.
        settings: the preset's, with the round's number of samples and updates.
        drawn: the made-up completions, those of one demonstration behind each other; their lengths are the forced ones.
    """

    encoded: Encoded
    settings: Settings
    drawn: tuple[Completion, ...]

    @property
    def sampled_tokens(self) -> int:
        """Tokens that every way samples."""
        return sum(len(completion.token_ids) for completion in self.drawn)

    def requests(self) -> list[SampleRequest]:
        """What to sample, each with its own seed and length."""
        prompts, seed = self.encoded.prompts, self.settings.seed
        return [
            SampleRequest(
                prompts[c.demonstration_id],
                derive_seed(seed, "sample", 0, c.demonstration_id, c.index),
                len(c.token_ids),
            )
            for c in self.drawn
        ]

    def unscored_history(self) -> History:
        """The round's history with made-up reference log-probabilities, for ways that score by themselves."""

        def made_up(completions: tuple[Completion, ...]) -> tuple[Completion, ...]:
            return tuple(replace(one, reference_logp=-float(len(one.token_ids))) for one in completions)

        history = History(made_up(tuple(own_completions(self.encoded))))
        history.add_round(made_up(self.drawn))
        return history

    def comparisons(self, history: History) -> list[list[Comparison]]:
        """Those of each update."""
        settings = self.settings
        return [
            draw_comparisons(history, settings.dpo, seed=settings.seed, step=s) for s in range(settings.rounds.steps)
        ]


def persona_texts(chat: ChatFormat, settings: Settings, num_demonstrations: int, *, context_tokens: int) -> Encoded:
    """Demonstrations of the example persona."""
    demonstrations = attach_prompts(read_folder(PERSONA).texts, {})[0][:num_demonstrations]
    return encode_demonstrations(chat, demonstrations, settings.sampling, context_tokens=context_tokens)


def made_up_texts(sizes: TextSizes, settings: Settings, num_demonstrations: int, *, vocabulary: int) -> Encoded:
    """Demonstrations of seeded random token ids."""
    generator = random.Random(derive_seed(settings.seed, "demonstrations"))
    prompts, completions = {}, {}
    for number in range(num_demonstrations):
        name = f"made_up_{number:02}.md"
        prompts[name] = _ids(generator, sizes.prompt, vocabulary)
        completions[name] = _ids(generator, generator.randint(sizes.shortest, sizes.longest), vocabulary)
    longest = max(len(ids) for ids in completions.values())
    return Encoded(prompts, completions, math.ceil(settings.sampling.length_factor * longest))


def workload_of(encoded: Encoded, settings: Settings, *, vocabulary: int) -> Workload:
    """The round on these demonstrations; all that is random in it comes from the settings' seed."""
    drawn = []
    for name, own in encoded.completions.items():
        for index in range(settings.sampling.completions_per_prompt):
            generator = random.Random(derive_seed(settings.seed, "made up", name, index))
            length = _forced_length(generator, len(own), encoded.max_new_tokens)
            drawn.append(Completion(name, 0, index, _ids(generator, length, vocabulary), True, math.nan))
    return Workload(encoded, settings, tuple(drawn))


def completion_tokens(comparisons: list[Comparison]) -> int:
    """Tokens of both sides of all comparisons, however often a sequence comes."""
    return sum(len(side.token_ids) for one in comparisons for side in (one.chosen, one.rejected))


def _forced_length(generator: random.Random, own_length: int, limit: int) -> int:
    share, factor = generator.random(), generator.uniform(0.4, 1.5)
    return limit if share < _TO_THE_LIMIT else min(limit, max(1, round(factor * own_length)))


def _ids(generator: random.Random, num: int, vocabulary: int) -> tuple[int, ...]:
    return tuple(generator.randrange(vocabulary) for _ in range(num))
