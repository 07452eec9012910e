"""The words of the evaluation room: who wrote what for which prompt, and who was preferred. No torch, no files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from pydantic import BaseModel, ValidationError

from ditto_cli.types import Demonstration, Preference

_Stored = TypeVar("_Stored", bound=BaseModel)

BASE_CONTESTANT = "base"
FEW_SHOT_CONTESTANT = "few-shot"
TEXTS_CONTESTANT = "texts"  # the evaluated adapter with some of its texts at hand


@dataclass(frozen=True)
class Author:
    """A person's texts: the demonstrations that are trained on, those that were kept back from it, and given pairs."""

    demonstrations: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]
    pairs: tuple[Preference, ...] = ()

    @property
    def texts(self) -> list[str]:
        """All of the person's own texts."""
        return [text.completion for text in (*self.demonstrations, *self.held_out)]

    @property
    def learnt(self) -> list[Demonstration]:
        """All that a training teaches to write, and that may come back word for word."""
        return [*self.demonstrations, *(Demonstration(pair.id, pair.prompt, pair.chosen) for pair in self.pairs)]


# A held-out text's own prompt, one from the user's file, or one made for the evaluation.
PromptSource = Literal["held_out", "given", "new"]


@dataclass(frozen=True)
class EvalPrompt:
    """A task that no contestant was trained on; `author_text` is what the author really wrote for it, if held out."""

    id: str
    prompt: str
    source: PromptSource
    author_text: str | None = None


@dataclass(frozen=True)
class Writing:
    """What a contestant wrote for a prompt. Writings of equal `prompt_id` and `index` were drawn with one seed.

    `ended` is False where the length limit cut the text; `num_tokens` are the base's tokens, end token included.
    """

    contestant: str
    prompt_id: str
    index: int
    text: str
    num_tokens: int
    ended: bool


@dataclass(frozen=True)
class Pair:
    """Two writings for one prompt, to be compared."""

    prompt: EvalPrompt
    first: Writing
    second: Writing

    def __post_init__(self) -> None:
        assert self.first.prompt_id == self.second.prompt_id == self.prompt.id, "a pair never crosses prompts"


@dataclass(frozen=True)
class Judgement:
    """A judge's answer: 1 the first text sounds more like the author, 0 the second, 0.5 a tie; None no answer."""

    pair: Pair
    score: float | None


class Judge(Protocol):
    """Whoever says which of two texts sounds more like the author."""

    @property
    def name(self) -> str:
        """For reports: `style`, `model`, `openai`, `me`, with what else identifies it."""

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair, in their order; `on_judged` is told how many are done.

        Raises:
            DittoError: the judge cannot go on; what it has judged is kept, and the next run goes on from there.
        """


def parse(model: type[_Stored], data: bytes) -> _Stored | None:
    """What a file or a line holds; None where it is damaged, or of another ditto."""
    try:
        return model.model_validate_json(data)
    except ValidationError:
        return None
