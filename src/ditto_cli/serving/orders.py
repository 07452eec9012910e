"""What an engine is asked for and what it gives: texts to be written, token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from ditto_cli.errors import InputError
from ditto_cli.model.policy.chorus import Parts
from ditto_cli.model.policy.lora import Lora


@dataclass(frozen=True)
class Token:
    """One token of a text, as it was drawn; the last one says why it is the last: stop or length."""

    token_id: int
    logp: float
    finish: str | None


@dataclass(eq=False)
class Order:
    """One text that somebody asks for.

    Attributes:
        prompt_ids: token ids of the prompt.
        voice: whose text it is.
        max_tokens: most that it may have.
        temperature: 0 takes the likeliest token.
        top_p: tokens are drawn from the likeliest that have this share of the probability.
        seed: same seed, same text.
        on_token: told of each token, in a thread of the engine's.
        on_error: told why there is no text, in a thread of the engine's.
    """

    prompt_ids: tuple[int, ...]
    voice: Parts
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    on_token: Callable[[Token], None]
    on_error: Callable[[Exception], None]
    is_cancelled: bool = field(default=False, init=False)

    @property
    def num_tokens(self) -> int:
        """Most tokens whose keys and values it takes."""
        return len(self.prompt_ids) + self.max_tokens

    def fail(self, error: Exception) -> None:
        """There is no text, or no more of it."""
        if not self.is_cancelled:
            self.is_cancelled = True
            with suppress(RuntimeError):  # who would be told is gone: its event loop is closed
                self.on_error(error)

    def cancel(self) -> None:
        """Not wanted any more: it leaves before the next token."""
        self.is_cancelled = True


class Engine(Protocol):
    """Who writes."""

    def start(self) -> None:
        """Begin to write."""

    def stop(self) -> None:
        """End; who waits for a text is told that there is none."""

    def submit(self, orders: Sequence[Order]) -> None:
        """Write these as soon as there is room."""

    def has(self, key: str) -> bool:
        """Whether an adapter is at hand."""

    def load(self, key: str, lora: Lora) -> None:
        """Have an adapter at hand, perhaps in the place of one that was longest not asked for."""

    def forget(self, key: str) -> None:
        """Let go of an adapter at once, with all texts of it that are in the making."""


def gone() -> InputError:
    """The error of a text whose adapter was removed."""
    return InputError("This adapter was removed.")
