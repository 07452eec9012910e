"""The demonstrations as token ids, tokenised once for the whole run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ditto_cli.config import SamplingSettings
from ditto_cli.errors import InputError
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.types import Completion, Demonstration


@dataclass(frozen=True)
class Texts:
    """The demonstrations as token ids, and the length limit that follows from them.

    Attributes:
        prompts: demonstration id -> token ids of its prompt.
        completions: demonstration id -> token ids of the person's text, with the end token.
        max_new_tokens: length limit for sampled completions.
    """

    prompts: Mapping[str, tuple[int, ...]]
    completions: Mapping[str, tuple[int, ...]]
    max_new_tokens: int

    @property
    def num_tokens(self) -> int:
        """Tokens of all demonstrations' own texts."""
        return sum(len(ids) for ids in self.completions.values())

    def unscored(self) -> list[Completion]:
        """The demonstrations as completions, in their order, without the reference's log-probabilities."""
        return [Completion(name, None, 0, ids, True, math.nan) for name, ids in self.completions.items()]


def tokenise(
    chat: ChatFormat, demonstrations: Sequence[Demonstration], sampling: SamplingSettings, *, context_tokens: int
) -> Texts:
    """Tokenise each demonstration.

    Raises:
        InputError: a demonstration does not fit the base's context. Nothing is ever cut off.
    """
    prompts = {d.id: chat.prompt_ids(d.prompt) for d in demonstrations}
    completions = {d.id: chat.completion_ids(d.completion) for d in demonstrations}
    for name, ids in completions.items():
        if len(prompts[name]) + len(ids) > context_tokens:
            raise InputError(
                f"{name} has {len(prompts[name]) + len(ids)} tokens with its prompt, and this base reads at most "
                f"{context_tokens}: divide it (ditto init FOLDER --split), or take a base with a longer context."
            )
    longest = max(len(ids) for ids in completions.values())
    room = context_tokens - max(len(ids) for ids in prompts.values())
    return Texts(prompts, completions, min(math.ceil(sampling.length_factor * longest), room))
