"""The style panel as a judge: which of two texts has more of the author's habits. Offline and deterministic.

A text that recites a demonstration or has collapsed into repetition loses against one that does not, whatever its
style: a copy is no writing in somebody's style.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.evaluation.collapse import collapsed
from ditto_cli.evaluation.recitation import recitation_check
from ditto_cli.evaluation.style import StylePanel
from ditto_cli.evaluation.types import Author, Judgement, Pair, Writing


class StyleJudge:
    """The panel, fitted to one author."""

    name = "style panel"

    def __init__(self, panel: StylePanel, author: Author) -> None:
        self._panel = panel
        self._recites = recitation_check(author.demonstrations, [text.completion for text in author.held_out])

    def judge(self, pairs: Sequence[Pair], *, on_judged: Callable[[int], None]) -> list[Judgement]:
        """One judgement a pair, in their order."""
        judgements = []
        for number, pair in enumerate(pairs, start=1):
            judgements.append(self._judge_one(pair))
            on_judged(number)
        return judgements

    def disqualifies(self, writing: Writing) -> str | None:
        """Why a writing does not count as one in the author's style, or None if it does."""
        return self._recites(writing.text) or collapsed(writing)

    def _judge_one(self, pair: Pair) -> Judgement:
        first, second = self.disqualifies(pair.first), self.disqualifies(pair.second)
        if first is None and second is None:
            return Judgement(pair, self._panel.compare(pair.first.text, pair.second.text))
        if first is not None and second is not None:
            return Judgement(pair, 0.5, f"both: {first}; {second}")
        return Judgement(pair, 0.0 if first is not None else 1.0, first or second or "")
