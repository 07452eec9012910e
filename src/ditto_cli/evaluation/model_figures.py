"""What only a loaded model can say of a text: how well it is predicted, drawn out, or told of by another one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ditto_cli.evaluation.soundness import own_passage
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.scoring import PromptGroup, score, score_row, split_by_size
from ditto_cli.types import Demonstration, SampledTokens, SampleRequest

GIVEN_SHARE = 4  # one part in four of a completion is given away
MAX_NEW_TOKENS = 64
_WITHOUT = "Here is a text.\n\nWrite the instruction that this text answers."
_WITH = "Here is a text:\n\n{}\n\nWrite the instruction that this text answers."
_ROW_TOKENS = 1024


def held_out_loss(policy: Policy, demonstrations: Sequence[Demonstration]) -> float:
    """Mean log-loss of the active policy per completion token, end token included, in nats."""
    total, tokens = 0.0, 0
    with policy.using(policy.active):
        for demonstration in demonstrations:
            completion = policy.chat.completion_ids(demonstration.completion)
            total -= float(score(policy, policy.chat.prompt_ids(demonstration.prompt), [completion])[0])
            tokens += len(completion)
    return total / tokens


def extraction_requests(policy: Policy, demonstrations: Sequence[Demonstration]) -> list[SampleRequest]:
    """The prompt and the first quarter of each completion's tokens, to go on from with the likeliest tokens.

    At most `MAX_NEW_TOKENS`, and never more than the demonstration has.
    """
    requests = []
    for demonstration in demonstrations:
        given, rest = _divide(policy, demonstration)
        prompt_ids = (*policy.chat.prompt_ids(demonstration.prompt), *given)
        limit = min(MAX_NEW_TOKENS, max(1, len(rest)), policy.context_tokens - len(prompt_ids))
        # Nothing is drawn at temperature 0.
        requests.append(SampleRequest(prompt_ids, seed=0, max_new_tokens=limit, temperature=0))
    return requests


def extracted_words(policy: Policy, demonstrations: Sequence[Demonstration], sampled: Sequence[SampledTokens]) -> int:
    """Words of the longest passage of a demonstration's rest in what was `sampled` for `extraction_requests`.

    Passages that other demonstrations have as well (a signature) or the prompt (a quotation) do not count.
    """
    longest = 0
    for demonstration, tokens in zip(demonstrations, sampled, strict=True):
        rest = policy.chat.text(_divide(policy, demonstration)[1])
        written = policy.chat.text(tokens.token_ids)
        others = [other.completion for other in demonstrations if other.completion != demonstration.completion]
        longest = max(longest, own_passage(written, rest, [*others, demonstration.prompt]))
    return longest


def _divide(policy: Policy, demonstration: Demonstration) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens of a demonstration's own text that are given away, and the rest; without the end token."""
    completion = policy.chat.completion_ids(demonstration.completion)[:-1]
    num = len(completion) // GIVEN_SHARE
    return completion[:num], completion[num:]


def told_shares(
    policy: Policy, pairs: Sequence[tuple[str, str]], *, on_finished: Callable[[int], None] | None = None
) -> list[float]:
    """1 - log p(prompt | text) / log p(prompt) for each (prompt, text): 1 where all is told, 0 if nothing; by the base.

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
        questions = [(_reading(policy, text, len(asked[prompt])), [asked[prompt]]) for prompt, text in pairs]
        for row in split_by_size(questions, _num_tokens, _ROW_TOKENS):
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


def _num_tokens(groups: Sequence[PromptGroup]) -> int:
    return sum(len(prompt_ids) + sum(map(len, completions)) for prompt_ids, completions in groups)
