"""`alice`, `alice:sft`, `alice:0.6`, `a:0.7+b:2:0.3`: who speaks, as it is written on the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ditto_cli.errors import InputError

BASE_VOICE = "base"
BASE_TEMPERATURE, BASE_MAX_NEW_TOKENS = 0.8, 400  # which no training has found
_MAX_STRENGTH = 2.0
_STRENGTH = re.compile(r"[0-9]+\.[0-9]*|\.[0-9]+")


@dataclass(frozen=True)
class Voice:
    """An adapter's name, or `base`; one of its stages, or None for the published one; and what is mixed with it.

    Attributes:
        adapter: whose temperature, length limit and texts count.
        strength: what the adapter's change of the base is multiplied by.
        also: the rest of a mix, with nothing mixed with them.
    """

    adapter: str
    stage: str | None = None
    strength: float = 1.0
    also: tuple[Voice, ...] = ()

    @property
    def title(self) -> str:
        """As it is written on the command line."""
        return "+".join(
            ":".join([part.adapter, *filter(None, [part.stage]), *([f"{part.strength:.12g}"] * (part.strength != 1))])
            for part in self.parts()
        )

    def parts(self) -> Iterator[Voice]:
        """Itself, and what is mixed with it."""
        yield self
        yield from self.also

    @staticmethod
    def parse(text: str, stage: str | None = None) -> Voice:
        """From words; `stage` counts where they name none. A strength has a decimal point, the number of a round none.

        Raises:
            InputError: no name, a stage or strength of the base, or a strength that is none.
        """
        first, *others = [_parse_part(part, stage) for part in text.split("+")]
        if others and BASE_VOICE in (part.adapter for part in (first, *others)):
            raise InputError(f"{text}: the base is in every mix already; a lower strength brings a voice nearer to it.")
        return Voice(first.adapter, first.stage, first.strength, tuple(others))


def _parse_part(text: str, stage: str | None) -> Voice:
    adapter, *rest = text.strip().split(":")
    if not adapter:
        raise InputError("An adapter's name is missing: give names like --compare base,alice,bob.")
    strength = float(rest.pop()) if rest and _STRENGTH.fullmatch(rest[-1]) else 1.0
    if not 0 <= strength <= _MAX_STRENGTH:
        raise InputError(f"{text}: a strength is between 0.0, which is the base, and {_MAX_STRENGTH}.")
    if adapter == BASE_VOICE and (rest or strength != 1):
        raise InputError(f"{text}: the base has no stages and no strength.")
    if len(rest) > 1:
        raise InputError(f"{text}: a voice is written NAME, NAME:STAGE, NAME:0.6 or NAME:STAGE:0.6.")
    return Voice(adapter, rest[0] if rest else (None if adapter == BASE_VOICE else stage), strength)
