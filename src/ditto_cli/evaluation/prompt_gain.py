"""Policy, prompts and texts -> how much of a prompt's information a text tells, in the base's own probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.evaluation.task import Pair
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import PromptGroup, score_row

_WITHOUT = "Here is a text.\n\nWrite the instruction that this text answers."
_WITH = "Here is a text:\n\n{}\n\nWrite the instruction that this text answers."
_ROW_TOKENS = 1024


def told_shares(
    policy: Policy, pairs: Sequence[Pair], *, on_finished: Callable[[int], None] | None = None
) -> list[float]:
    """1 - log p(prompt | text) / log p(prompt) for each pair under the base alone: 1 where all is told, 0 if nothing.

    It may be below 0: a text about something else makes a prompt less likely. Of a text that does not fit the context
    the beginning counts.
    """
    chat = policy.chat
    alone = {prompt: 0.0 for prompt, _ in pairs}
    asked = {prompt: chat.completion_ids(prompt) for prompt in alone}
    with policy.using(None):
        if alone:
            shared = [(chat.prompt_ids(_WITHOUT), list(asked.values()))]
            alone = dict(zip(asked, score_row(policy, shared).tolist(), strict=True))
        told: list[float] = []
        for row in _rows([(_reading(policy, text, len(asked[prompt])), [asked[prompt]]) for prompt, text in pairs]):
            told += score_row(policy, row).tolist()
            if on_finished is not None:
                on_finished(len(told))
    return [1 - logp / alone[prompt] for (prompt, _), logp in zip(pairs, told, strict=True)]


def _reading(policy: Policy, text: str, room: int) -> tuple[int, ...]:
    """The question with as much of the text as fits beside `room` tokens."""
    ids = policy.chat.prompt_ids(_WITH.format(text))
    while len(ids) + room > policy.context_tokens and text:
        text = text[: len(text) // 2]
        ids = policy.chat.prompt_ids(_WITH.format(text))
    return ids


def _rows(groups: Sequence[PromptGroup]) -> list[list[PromptGroup]]:
    rows: list[list[PromptGroup]] = []
    tokens = _ROW_TOKENS
    for prompt_ids, completions in groups:
        size = len(prompt_ids) + sum(map(len, completions))
        if tokens + size > _ROW_TOKENS:
            rows.append([])
            tokens = 0
        rows[-1].append((prompt_ids, completions))
        tokens += size
    return rows
