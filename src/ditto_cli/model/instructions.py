"""Reverse instruction: a base model reads a text and writes the instruction that the text answers.

Each text is asked for once. Small bases name the thing and miss what is asked (docs/prompts.md), so they are not asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ditto_cli.config import BaseSettings
from ditto_cli.demonstrations.prompts import clean_instruction, form_of, reverse_instruction_request
from ditto_cli.model.base.loading import load_skeleton
from ditto_cli.model.base.source import locate_base
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.types import SampleRequest, SourceText

LEAST_PARAMETERS = 2_700_000_000  # those that are sold as 3B begin here
_MAX_NEW_TOKENS = 80
_MAX_SLOTS = 16
_ASKED_CHARACTERS = 2000  # what a text is about stands at its beginning


def can_write_instructions(base: BaseSettings, cache: Path) -> bool:
    """Whether a base is large enough to be asked, by its small files; its weights are not looked at."""
    skeleton = load_skeleton(locate_base(base.id, base.revision, cache, weights=False))
    return sum(parameter.numel() for parameter in skeleton.model.parameters()) >= LEAST_PARAMETERS


def write_instructions(policy: Policy, texts: Sequence[SourceText]) -> list[str | None]:
    """What the base, without any adapter, likeliest says that each text answers; None where that is no instruction."""
    # The base goes on with "Write an email to Tom": texts of one kind get prompts of one form, and the name is right.
    tasks = [form.task if (form := form_of(text)).kind != "text" else "Write" for text in texts]
    most_characters = min(_ASKED_CHARACTERS, policy.context_tokens // 4)
    requests = []
    for text, task in zip(texts, tasks, strict=True):
        prompt_ids = policy.chat.prompt_ids(reverse_instruction_request(text.text, most_characters))
        requests.append(SampleRequest((*prompt_ids, *policy.chat.begun_ids(task)), 0))
    with policy.using(None):
        answers = sample(policy, requests, max_new_tokens=_MAX_NEW_TOKENS, temperature=0, max_slots=_MAX_SLOTS)
    instructions: list[str | None] = []
    for task, answer in zip(tasks, answers, strict=True):
        said = policy.chat.text((*policy.chat.begun_ids(task), *answer.token_ids))
        is_whole = answer.ended or "\n" in said
        instruction = clean_instruction(said) if is_whole else None
        instructions.append(None if instruction == f"{task}." else instruction)
    return instructions
