"""Reverse instruction: the base model reads a text and writes the instruction that the text answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ditto_cli.demonstrations import clean_instruction, is_about, plain_instruction, reverse_instruction_request
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import SampleRequest, sample
from ditto_cli.types import SourceText

_MAX_NEW_TOKENS = 64


@dataclass(frozen=True)
class Instruction:
    """A prompt for a text, and whether the model wrote it (else it is built from the text's own first line)."""

    text_id: str
    prompt: str
    by_model: bool


def write_instructions(policy: Policy, texts: Sequence[SourceText]) -> list[Instruction]:
    """One instruction for each text, by the base model without any adapter, greedily (so always the same)."""
    requests = [SampleRequest(policy.chat.prompt_ids(reverse_instruction_request(text.text)), 0) for text in texts]
    with policy.using(None):
        answers = sample(policy, requests, max_new_tokens=_MAX_NEW_TOKENS, temperature=0)
    instructions = []
    for text, answer in zip(texts, answers, strict=True):
        written = clean_instruction(policy.chat.text(answer.token_ids))
        if written is not None and is_about(written, text.text):
            instructions.append(Instruction(text.id, written, by_model=True))
        else:
            instructions.append(Instruction(text.id, plain_instruction(text.text), by_model=False))
    return instructions
