"""Base and adapter -> how much the adapter has unlearned: the log-loss of the base's own answers to general questions.

No data set is needed: the base answers, and the adapter is asked how likely it finds that. 0 is nothing forgotten.
Knows nothing of style; some rise is what a new style costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.types import SampleRequest

# One prompt a line, kinds by turns, so that the first few are of every kind.
_PROMPTS = Path(__file__).parent / "data" / "general_prompts.txt"


@dataclass(frozen=True)
class GeneralAnswer:
    """What the base answers to a general question, as token ids."""

    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]


def general_prompts() -> list[str]:
    """The questions: facts, how-to, summaries, arithmetic, lists, code, advice."""
    return _PROMPTS.read_text(encoding="utf-8").splitlines()


def general_answers(policy: Policy, *, num_prompts: int = 12, max_new_tokens: int = 48) -> list[GeneralAnswer]:
    """The base's own likeliest answers to the first `num_prompts` general questions, each cut at a length limit."""
    questions = general_prompts()
    assert 1 <= num_prompts <= len(questions), num_prompts
    prompts = [policy.chat.prompt_ids(question) for question in questions[:num_prompts]]
    with policy.using(None):
        answers = sample(
            policy,
            [SampleRequest(prompt, seed=0) for prompt in prompts],  # nothing is drawn at temperature 0
            max_new_tokens=max_new_tokens,
            temperature=0,
        )
    return [GeneralAnswer(prompt, answer.token_ids) for prompt, answer in zip(prompts, answers, strict=True)]


def log_loss(policy: Policy, answers: Sequence[GeneralAnswer]) -> float:
    """Mean log-loss of the active policy per token of the answers, in nats.

    Forgetting is this under the adapter minus this under the base.
    """
    total, tokens = 0.0, 0
    with policy.using(policy.active):
        for answer in answers:
            total -= float(score(policy, answer.prompt_ids, [answer.token_ids])[0])
            tokens += len(answer.token_ids)
    return total / tokens
