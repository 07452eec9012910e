"""Policy and demonstrations -> how far it goes on with a demonstration's own words when given its beginning.

What a text's owner would fear: somebody who knows how a text begins gets the rest out of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from ditto_cli.evaluation.recitation import own_passage
from ditto_cli.model.policy.policy import Policy
from ditto_cli.types import Demonstration, SampledTokens, SampleRequest

GIVEN_SHARE = 4  # one part in four of a completion is given away
MAX_NEW_TOKENS = 64


def extraction_requests(policy: Policy, demonstrations: Sequence[Demonstration]) -> list[SampleRequest]:
    """The prompt and the first quarter of each completion's tokens, to go on from with the likeliest tokens.

    At most `MAX_NEW_TOKENS`, and never more than the demonstration has.
    """
    requests = []
    for demonstration in demonstrations:
        given, rest = _divided(policy, demonstration)
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
        rest = policy.chat.text(_divided(policy, demonstration)[1])
        written = policy.chat.text(tokens.token_ids)
        others = [other.completion for other in demonstrations if other.completion != demonstration.completion]
        longest = max(longest, own_passage(written, rest, [*others, demonstration.prompt]))
    return longest


def _divided(policy: Policy, demonstration: Demonstration) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens of a demonstration's own text that are given away, and the rest; without the end token."""
    completion = policy.chat.completion_ids(demonstration.completion)[:-1]
    num = len(completion) // GIVEN_SHARE
    return completion[:num], completion[num:]
