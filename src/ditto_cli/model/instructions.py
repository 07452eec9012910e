"""Reverse instruction: the base model reads a text and writes the instruction that the text answers.

Each text is proposed several instructions, all in one batch. Those that copy the text, make things up or say nothing of
it are refused, and of the others the one is taken that makes the text itself likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from ditto_cli.demonstrations.prompts import (
    EXAMPLES,
    Form,
    clean_instruction,
    form_of,
    instruction_problem,
    invented_words,
    plain_instruction,
    reverse_instruction_request,
)
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.seeds import derive_seed
from ditto_cli.types import SampledTokens, SampleRequest, SourceText

_MAX_NEW_TOKENS = 40
_MAX_SLOTS = 16  # the examples make prompts long, and every slot holds one
_NUM_DRAWN = 2
_TEMPERATURE = 0.5
# In nats; the best of a few by the example personas (docs/prompts.md).
_COST_OF_INVENTED_WORD, _LEAST_GAIN = 2.0, 5.0
_ASKED_CHARACTERS = _SCORED_CHARACTERS = 800  # what a text is about stands at its beginning


@dataclass(frozen=True)
class Instruction:
    """A prompt for a text, and whether the model wrote it (else it is built from the text's own first line)."""

    text_id: str
    prompt: str
    by_model: bool


def write_instructions(policy: Policy, texts: Sequence[SourceText]) -> list[Instruction]:
    """One instruction for each text, by the base model without any adapter; the same texts always get the same."""
    forms = [form_of(text.text, is_mail=text.mail is not None) for text in texts]
    proposals = propose(policy, texts, forms)
    instructions = []
    with policy.using(None):
        for text, form, proposed in zip(texts, forms, proposals, strict=True):
            usable = [item for item in proposed if instruction_problem(item, text.text, form) is None]
            prompt = best_of(policy, usable, text.text, form)
            instructions.append(
                Instruction(text.id, prompt or plain_instruction(text.text, form), by_model=prompt is not None)
            )
    return instructions


def propose(policy: Policy, texts: Sequence[SourceText], forms: Sequence[Form]) -> list[list[str]]:
    """What the base says, cleaned, each once: its likeliest answers, with examples and without, then some drawn.

    Examples show a small base the form of an answer, and tempt it to repeat theirs; without them it stays with the
    text.
    """
    shown = [_request_ids(policy, text.text, form, _examples(form)) for text, form in zip(texts, forms, strict=True)]
    bare = [_request_ids(policy, text.text, form, ()) for text, form in zip(texts, forms, strict=True)]
    greedy = [SampleRequest(ids, 0) for ids in (*shown, *bare)]
    drawn = [  # those of one text side by side, so that its question is read once for all of them
        SampleRequest(ids, derive_seed(0, "instruction", text.id, number))
        for text, ids in zip(texts, bare, strict=True)
        for number in range(_NUM_DRAWN)
    ]
    draw = partial(sample, policy, max_new_tokens=_MAX_NEW_TOKENS, max_slots=_MAX_SLOTS)
    with policy.using(None):
        likeliest, others = draw(greedy, temperature=0), draw(drawn, temperature=_TEMPERATURE)
    proposals = []
    for index, form in enumerate(forms):
        answers = [likeliest[index], likeliest[len(texts) + index]]
        answers += others[_NUM_DRAWN * index : _NUM_DRAWN * (index + 1)]
        said = [_cleaned(policy, answer, form) for answer in answers]
        proposals.append([item for item in dict.fromkeys(said) if item is not None])
    return proposals


def _cleaned(policy: Policy, answer: SampledTokens, form: Form) -> str | None:
    """One sentence that begins with the form's opening; None of an answer that the length limit cut within it."""
    written = clean_instruction(policy.chat.text((*policy.chat.begun_ids(form.opening), *answer.token_ids)))
    if written is None or not written.startswith(form.opening):
        return None
    is_whole = written[-1] in ".!?"
    if not (is_whole or answer.ended):
        return None
    return written if is_whole else f"{written}."


def best_of(policy: Policy, instructions: Sequence[str], text: str, form: Form) -> str | None:
    """The instruction under which the active policy finds the text likeliest; None if none makes it much likelier.

    The text's log-probability under an instruction less that under a bare "Write an email." is their pointwise mutual
    information. Each word that the text has not costs some of it: what is made up may be likely too.
    """
    if not instructions:
        return None
    completion = policy.chat.completion_ids(text[:_SCORED_CHARACTERS])[:-1]
    with torch.no_grad():
        bare, *logps = (
            float(score(policy, policy.chat.prompt_ids(prompt), [completion])[0])
            for prompt in (f"{form.task}.", *instructions)
        )
    gains = [
        logp - bare - _COST_OF_INVENTED_WORD * invented_words(instruction, text, form)
        for logp, instruction in zip(logps, instructions, strict=True)
    ]
    best = max(gains)
    return instructions[gains.index(best)] if best > _LEAST_GAIN else None


def _examples(form: Form) -> tuple[tuple[str, str], ...]:
    """The examples with the one of the text's own kind last, where it counts most."""
    own = Form(form.kind).task
    return tuple(sorted(EXAMPLES, key=lambda example: example[1].startswith(own)))


def _request_ids(policy: Policy, text: str, form: Form, examples: Sequence[tuple[str, str]]) -> tuple[int, ...]:
    """The question with its examples and the text's beginning, or less of them where the base's context is short."""
    ids: tuple[int, ...] = ()
    for shown, most_characters in ((examples, _ASKED_CHARACTERS), ((), _ASKED_CHARACTERS), ((), 200)):
        ids = policy.chat.prompt_ids(
            reverse_instruction_request(text, most_characters=most_characters),
            [(reverse_instruction_request(example), answer) for example, answer in shown],
            begun=form.opening,
        )
        if len(ids) + _MAX_NEW_TOKENS <= policy.context_tokens:
            break
    return ids
