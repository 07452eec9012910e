"""A voice and its person's texts -> which of them are shown before a prompt, and which of several drafts is best."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.eval import read_author
from ditto_cli.cli.render import warn
from ditto_cli.errors import InputError
from ditto_cli.store import AdapterRecord
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.appraisal import Appraiser
    from ditto_cli.evaluation.types import Author
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
    """Writes with the voices of a session. The texts of a person are read, and judged by, where they are asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._authors: dict[str, Author | None] = {}
        self._appraisers: dict[str, Appraiser] = {}

    def write(self, prompt: str, draw: Draw, voice: Voice) -> list[Chosen]:
        """`draw.num` texts, each the best of as many as are asked for, or as the adapter's settings say.

        Raises:
            InputError: texts are asked for and not there.
        """
        record = self._record(voice)
        best_of = (record.settings.sampling.best_of if record else 1) if draw.best_of is None else draw.best_of
        shown = (record.settings.sampling.with_texts if record else 0) if draw.with_texts is None else draw.with_texts
        is_asked = (draw.best_of or 1) > 1 or bool(draw.with_texts)
        author = self._author(voice, record, is_asked=is_asked) if best_of > 1 or shown else None
        if author is None:
            best_of, shown = 1, 0
        written = self._session.write(
            prompt,
            num=draw.num * best_of,
            seed=draw.seed,
            temperature=draw.temperature,
            max_new_tokens=draw.max_new_tokens,
            voice=voice,
            shots=_shots(author, prompt, shown),
        )
        if author is None or best_of == 1:
            return [Chosen(tokens, 1) for tokens in written]
        drafts = [written[start : start + best_of] for start in range(0, len(written), best_of)]
        return [Chosen(self._best(prompt, voice, author, group), best_of) for group in drafts]

    def _best(self, prompt: str, voice: Voice, author: Author, drafts: list[SampledTokens]) -> SampledTokens:
        from ditto_cli.evaluation.appraisal import Appraiser
        from ditto_cli.evaluation.types import Writing

        if voice.adapter not in self._appraisers:
            self._appraisers[voice.adapter] = Appraiser.fit(author)
        appraiser = self._appraisers[voice.adapter]

        def worth(tokens: SampledTokens) -> float:
            text = self._session.text(tokens)
            return appraiser.worth(prompt, Writing(voice.title, "", 0, text, len(tokens.token_ids), tokens.ended))

        return max(drafts, key=worth)

    def _record(self, voice: Voice) -> AdapterRecord | None:
        return None if voice.adapter == BASE_VOICE else self._session.store.record(voice.adapter)

    def _author(self, voice: Voice, record: AdapterRecord | None, *, is_asked: bool) -> Author | None:
        """The person's texts; None, and that is said, where only the adapter's settings want them and they are gone.

        Raises:
            InputError: the user asked for what needs them.
        """
        if record is None:  # beside an adapter in --compare the base writes as it is
            return None
        if voice.adapter not in self._authors:
            try:
                self._authors[voice.adapter] = _texts_of(record)
            except InputError as error:
                if is_asked:
                    raise
                warn(f"{error} Until then each text is the first that is drawn.")
                self._authors[voice.adapter] = None
        return self._authors[voice.adapter]


def _texts_of(record: AdapterRecord) -> Author:
    if record.folder is None or not Path(record.folder).is_dir():
        raise InputError(
            f"The texts that {record.name} learnt from are not where they were, and they are needed to choose among "
            "drafts and to be shown: put them back, or leave --best-of and --with-texts out."
        )
    return read_author(Path(record.folder))


def _shots(author: Author | None, prompt: str, num: int) -> list[tuple[str, str]]:
    from ditto_cli.evaluation.contestants import nearest_texts, turns

    return turns(nearest_texts(author.demonstrations, prompt, num)) if author is not None and num else []
