"""An author -> the prompts of an evaluation: those of texts that were kept back first, then new ones, made once.

New prompts are stored beside the adapter, so that later evaluations ask for the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ditto_cli.evaluation.new_prompts import is_new, new_prompts
from ditto_cli.evaluation.types import Author, EvalPrompt
from ditto_cli.store import read_bytes, write_text

PROMPTS_FILE = "prompts.json"
# Judgements on one prompt resemble each other, so twelve prompts with one text each tell more than six with two.
NUM_PROMPTS = 12


class _StoredPrompts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    prompts: list[str]


def evaluation_prompts(author: Author, folder: Path, *, num: int = NUM_PROMPTS) -> tuple[EvalPrompt, ...]:
    """`num` prompts: one for each text kept back, filled up with new ones.

    Args:
        author: whose texts.
        folder: where the new prompts are kept.
        num: how many are wanted.
    """
    prompts = held_out_prompts(author)[:num]
    missing = num - len(prompts)
    if missing > 0:
        stored = _stored(folder / PROMPTS_FILE)
        known = [d.prompt for d in (*author.demonstrations, *author.held_out)]
        if len(stored) < missing or not all(is_new(prompt, known) for prompt in stored):
            stored = new_prompts(known, num=missing, purpose="evaluation")
            write_text(folder / PROMPTS_FILE, _StoredPrompts(prompts=stored).model_dump_json(indent=2) + "\n")
        prompts += [EvalPrompt(f"new-{i}", prompt, "new") for i, prompt in enumerate(stored[:missing], start=1)]
    return tuple(prompts)


def held_out_prompts(author: Author) -> list[EvalPrompt]:
    """The prompts of the texts kept back, each with what the author wrote for it; each prompt once."""
    texts = {text.prompt: text for text in reversed(author.held_out)}
    return [EvalPrompt(t.id, t.prompt, "held_out", t.completion) for t in author.held_out if texts[t.prompt] is t]


def given_prompts(prompts: Sequence[str]) -> tuple[EvalPrompt, ...]:
    """Prompts of the user's own, each once."""
    return tuple(EvalPrompt(f"given-{i}", text, "given") for i, text in enumerate(dict.fromkeys(prompts), start=1))


def _stored(path: Path) -> list[str]:
    """The prompts of an earlier evaluation; none where there are none, or where they cannot be read."""
    if not path.exists():
        return []
    try:
        return _StoredPrompts.model_validate(json.loads(read_bytes(path))).prompts
    except (ValueError, ValidationError):  # damaged: they are made anew
        return []
