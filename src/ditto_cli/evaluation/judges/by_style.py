"""Pairs -> judgements by the measures of style and task: offline, deterministic, the default."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.evaluation.appraisal import Appraisal
from ditto_cli.evaluation.judgements import Judgement, Pair, Writing

_TIE = 1e-9


class StyleJudge:
    """Which of two texts is worth more, by what was measured of each writing."""

    name = "style and task"

    def __init__(self, appraise: Callable[[Writing], Appraisal]) -> None:
        self._appraise = appraise

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair, in their order."""
        judgements = []
        for number, pair in enumerate(pairs, start=1):
            ahead = self._appraise(pair.first).worth - self._appraise(pair.second).worth
            judgements.append(Judgement(pair, 0.5 if abs(ahead) <= _TIE else float(ahead > 0)))
            on_judged(number)
        return judgements
