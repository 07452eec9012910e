"""Policy and demonstrations -> how far it goes on with a demonstration's own words when given its beginning.

What a text's owner would fear: somebody who knows how a text begins gets the rest out of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence

from ditto_cli.evaluation.recitation import own_passage
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import SampleRequest, sample
from ditto_cli.types import Demonstration

GIVEN_SHARE = 4  # one part in four of a completion is given away
MAX_NEW_TOKENS = 64
MAX_SLOTS = 16  # whole texts stand in the cache, so fewer than for short prompts


def extract(policy: Policy, demonstrations: Sequence[Demonstration], *, max_new_tokens: int = MAX_NEW_TOKENS) -> int:
    """Words of the longest passage of a demonstration that the active policy writes when given the text's beginning.

    The policy gets the prompt and the first quarter of the completion's tokens, and goes on with the likeliest tokens.
    Passages that other demonstrations have as well (a signature) or the prompt (a quotation) do not count.

    Args:
        policy: the active adapter is used.
        demonstrations: what it could know by heart; at least one.
        max_new_tokens: most tokens that it goes on with, and never more than the demonstration has.
    """
    prompts = [policy.chat.prompt_ids(demonstration.prompt) for demonstration in demonstrations]
    completions = [policy.chat.completion_ids(demonstration.completion)[:-1] for demonstration in demonstrations]
    given = [len(completion) // GIVEN_SHARE for completion in completions]
    requests = [
        # Nothing is drawn at temperature 0.
        SampleRequest((*prompt, *completion[:num]), seed=0, max_new_tokens=max(1, len(completion) - num))
        for prompt, completion, num in zip(prompts, completions, given, strict=True)
    ]
    room = policy.context_tokens - max(len(request.prompt_ids) for request in requests)
    continued = sample(policy, requests, max_new_tokens=min(max_new_tokens, room), temperature=0, max_slots=MAX_SLOTS)
    longest = 0
    for demonstration, completion, num, tokens in zip(demonstrations, completions, given, continued, strict=True):
        rest = completion[num:]
        written = policy.chat.text(tokens.token_ids)
        others = [other.completion for other in demonstrations if other.completion != demonstration.completion]
        longest = max(longest, own_passage(written, policy.chat.text(rest), [*others, demonstration.prompt]))
    return longest
