"""A voice and its person's texts -> texts of it, each the best of several drafts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditto_cli.cli.render import warn
from ditto_cli.evaluation.texts_at_hand import Shelf
from ditto_cli.evaluation.types import Writing
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.types import SampledTokens


@dataclass(frozen=True)
class Draw:
    """What is asked of every voice; None is what the adapter was trained with."""

    num: int
    seed: int
    best_of: int | None
    with_texts: int | None
    temperature: float | None
    max_new_tokens: int | None


@dataclass(frozen=True)
class Chosen:
    """A text that was given, and of how many it was the best."""

    tokens: SampledTokens
    of: int


class Writer:
    """Writes with the voices of a session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._shelf = Shelf(warn)

    def write(self, prompt: str, draw: Draw, voice: Voice) -> list[Chosen]:
        """`draw.num` texts, each the best of as many as are asked for, or as the adapter's settings say."""
        record = None if voice.adapter == BASE_VOICE else self._session.store.record(voice.adapter)
        aid = self._shelf.aid_for(record, draw.best_of, draw.with_texts)
        num = aid.best_of
        written = self._session.write(
            prompt,
            num=draw.num * num,
            seed=draw.seed,
            temperature=draw.temperature,
            max_new_tokens=draw.max_new_tokens,
            voice=voice,
            shots=aid.texts.shots(prompt, aid.with_texts) if aid.texts else (),
        )
        if aid.texts is None or num == 1:
            return [Chosen(tokens, 1) for tokens in written]
        drafts = [
            Writing(voice.title, "", 0, self._session.text(tokens), len(tokens.token_ids), tokens.ended)
            for tokens in written
        ]
        starts = range(0, len(written), num)
        best = [start + aid.texts.best(prompt, drafts[start : start + num]) for start in starts]
        return [Chosen(written[index], num) for index in best]
