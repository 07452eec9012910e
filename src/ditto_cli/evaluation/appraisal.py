"""A text for a prompt -> how far it is the author's (style) and does what was asked (task), and both in one figure.

Also as a judge of pairs, offline and deterministic. A text that recites a demonstration or has collapsed into
repetition loses against one that does not: a copy is no writing in somebody's style.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ditto_cli.evaluation.soundness import collapsed, recitation_check
from ditto_cli.evaluation.style import StylePanel, TextEncoder
from ditto_cli.evaluation.task import TaskScale
from ditto_cli.evaluation.types import Author, Judgement, Pair, Writing

_STEEPNESS = 4.0
_TIE = 1e-9


@dataclass(frozen=True)
class Appraisal:
    """Both axes, 0 like others or like a text for another prompt, 1 like the author; `fault` says what else is wrong.

    A text with a fault (it recites, or repeats itself) has done nothing: its task is 0 at most.
    """

    style: float
    task: float
    fault: str | None = None

    @property
    def worth(self) -> float:
        """The chance that it is the author's, times the chance that it answers the prompt; 0 with a fault.

        Each axis becomes a chance by the logistic curve through 0.12 at 0, one half at 0.5 and 0.88 at 1.
        """
        return 0.0 if self.fault else _chance(self.style) * _chance(self.task)


@dataclass(frozen=True)
class Appraiser:
    """Panel, task scale and limit on recitation of one author."""

    panel: StylePanel
    scale: TaskScale
    recites: Callable[[str], str | None]

    @classmethod
    def fit(
        cls,
        author: Author,
        base_texts: Sequence[str] = (),
        *,
        own_told: Sequence[float] = (),
        others_told: Sequence[float] = (),
        encoder: TextEncoder | None = None,
    ) -> Appraiser:
        """Calibrate both axes for an author.

        `base_texts` are what the base wrote for the demonstrations' prompts, in their order, or nothing; for the others
        see `TaskScale.fit` and `StylePanel`.
        """
        return cls(
            StylePanel(author.texts, base_texts, encoder=encoder),
            TaskScale.fit(author.demonstrations, base_texts, own_told=own_told, others_told=others_told),
            recitation_check(author.learnt, [text.completion for text in author.held_out]),
        )

    def appraise(self, prompt: str, writing: Writing, told: float | None = None) -> Appraisal:
        """Where a writing lies; `told` is what `model_figures.told_shares` gives for it."""
        fault = self.recites(writing.text) or collapsed(writing)
        task = self.scale.value(prompt, writing.text, told)
        return Appraisal(self.panel.score(writing.text).total, min(0.0, task) if fault else task, fault)

    def worth(self, prompt: str, writing: Writing) -> float:
        """The worth of a text that is to be taken; 0 if it was cut before its end."""
        return self.appraise(prompt, writing).worth if writing.ended else 0.0


def _chance(value: float) -> float:
    return 1 / (1 + math.exp(-_STEEPNESS * (value - 0.5)))


class StyleJudge:
    """Which of two texts is worth more, by what was measured of each writing."""

    name = "style and task"

    def __init__(self, appraise: Callable[[Writing], Appraisal]) -> None:
        self._appraise = appraise

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair, in their order."""
        judgements = []
        for number, pair in enumerate(pairs, start=1):
            first, second = self._appraise(pair.first), self._appraise(pair.second)
            ahead = first.worth - second.worth
            score = 0.5 if abs(ahead) <= _TIE else float(ahead > 0)
            reasons = [one.fault for one in (first, second) if one.fault]
            judgements.append(Judgement(pair, score, "; ".join(reasons)))
            on_judged(number)
        return judgements
