"""Style panel and task scale as a judge: which of two texts is more the author's without saying less of what was asked.

Offline and deterministic. A text that recites a demonstration or has collapsed into repetition loses against one that
does not: a copy is no writing in somebody's style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.evaluation.appraisal import Appraisal
from ditto_cli.evaluation.types import Judgement, Pair, Writing

_TIE = 1e-9


class StyleJudge:
    """What was measured of each writing, pair by pair."""

    name = "style and task"

    def __init__(self, appraise: Callable[[Writing], Appraisal]) -> None:
        self._appraise = appraise

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair, in their order."""
        judgements = []
        for number, pair in enumerate(pairs, start=1):
            judgements.append(self._judge_one(pair))
            on_judged(number)
        return judgements

    def _judge_one(self, pair: Pair) -> Judgement:
        first, second = self._appraise(pair.first), self._appraise(pair.second)
        reasons = [one.fault for one in (first, second) if one.fault]
        ahead = first.worth - second.worth
        score = 0.5 if abs(ahead) <= _TIE else float(ahead > 0)
        return Judgement(pair, score, "; ".join(reasons))
