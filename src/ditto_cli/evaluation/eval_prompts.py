"""An author -> the prompts of an evaluation: those of texts that were kept back first, then new ones of the same kind.

New prompts come from a bank of tasks, of which one half serves to select a round and the other to evaluate it: a round
that was selected on a prompt would look better there than it is. Those of an evaluation are stored beside the adapter,
so that later ones ask for the same. Knows nothing of the texts. No torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, field_validator

from ditto_cli.errors import InputError
from ditto_cli.evaluation.judgements import Author, EvalPrompt, parse
from ditto_cli.evaluation.soundness import words
from ditto_cli.store import read_bytes, write_text

Purpose = Literal["selection", "evaluation"]
PURPOSES: tuple[Purpose, ...] = ("selection", "evaluation")

PROMPTS_FILE = "prompts.json"
# Judgements on one prompt resemble each other, so twelve prompts with one text each tell more than six with two.
NUM_PROMPTS = 12
_RESEMBLANCE_LIMIT = 0.5
# Up to the noun only; what may describe it stands in the bank.
_LENGTH = re.compile(r"\d+(-words?)?")
_ORDER = re.compile(r"(?:please )?(?:write|draft|compose)(?: me| us)? an?(?P<describing> .*)? \S+")


class Kind(BaseModel):
    """One kind of text in the bank; data/prompts.yaml says what is what."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opening: str
    nouns: list[str]
    hints: list[str]
    nearest: list[str]
    tasks: list[str]


class Bank(BaseModel):
    """The tasks by kind, and lists of words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    function_words: frozenset[str]
    describing_words: frozenset[str]
    kinds: dict[str, Kind]
    numbers: dict[str, str]

    @field_validator("function_words", "describing_words", mode="before")
    @classmethod
    def _split(cls, text: str) -> list[str]:
        return text.split()  # as a YAML list, `on` and `no` would be truth values

    def content(self, prompt: str) -> frozenset[str]:
        """The words of a prompt that tell what it is about."""
        return frozenset(words(prompt)) - self.function_words


class _StoredPrompts(BaseModel):
    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    prompts: list[str]


@cache
def read_bank() -> Bank:
    """The bank that comes with ditto."""
    return Bank(**yaml.safe_load((Path(__file__).parent / "data" / "prompts.yaml").read_text(encoding="utf-8")))


def kind_of(prompts: Sequence[str]) -> str:
    """The kind of text that most prompts ask for, by the first word that names one; email if none does."""
    nouns = {noun: name for name, kind in read_bank().kinds.items() for noun in kind.nouns + kind.hints}
    asked = [
        next((nouns[word] for word in re.findall(r"[\w-]+", prompt.casefold()) if word in nouns), None)
        for prompt in prompts
    ]
    counts = Counter(kind for kind in asked if kind is not None)
    return counts.most_common(1)[0][0] if counts else "email"


def new_prompts(demonstration_prompts: Sequence[str], *, num: int, purpose: Purpose) -> list[str]:
    """Prompts of the demonstrations' kind, always the same ones; other kinds follow when it has too few.

    Where all demonstrations' prompts begin alike with an order for a text of a certain length or tone, e.g. "Write a
    short email", new ones begin so too.

    What resembles a demonstration's prompt is left out, and the two purposes never share a task.

    Raises:
        InputError: the bank has fewer.
    """
    bank = read_bank()
    own_kind = kind_of(demonstration_prompts)
    prompts = []
    for name in (own_kind, *bank.kinds[own_kind].nearest):
        kind = bank.kinds[name]
        openings = {_opening(bank, prompt, kind.nouns) for prompt in demonstration_prompts}
        opening = (openings.pop() if len(openings) == 1 else None) or kind.opening
        for task in kind.tasks[PURPOSES.index(purpose) :: len(PURPOSES)]:
            if is_new(task, demonstration_prompts):
                prompts.append(f"{opening} {task}")
    if len(prompts) < num:
        raise InputError(
            f"{num} new prompts were asked for and ditto has {len(prompts)}: ask for fewer, or give your own."
        )
    return prompts[:num]


def is_new(prompt: str, demonstration_prompts: Sequence[str]) -> bool:
    """Whether a prompt asks for something else than each of the demonstrations' prompts."""
    bank = read_bank()
    own = bank.content(prompt)
    return all(len(own & bank.content(known)) <= _RESEMBLANCE_LIMIT * len(own) for known in demonstration_prompts)


def _opening(bank: Bank, prompt: str, nouns: Sequence[str]) -> str | None:
    parts = prompt.split()
    place = next((place for place, part in enumerate(parts) if part.lower().rstrip(".,:;") in nouns), None)
    if place is None:
        return None
    opening = " ".join(parts[: place + 1])
    order = _ORDER.fullmatch(opening.lower())
    describing = [part.rstrip(",") for part in (order["describing"] or "").split()] if order else []
    if not order or not all(part in bank.describing_words or _LENGTH.fullmatch(part) for part in describing):
        return None
    followed = words(" ".join(parts[place + 1 : place + 2]))
    # "email newsletter": another noun changes what the first one means.
    if opening[-1].isalpha() and followed and followed[0] not in bank.function_words:
        return None
    return opening.rstrip(".,:;")


def evaluation_prompts(author: Author, folder: Path, *, num: int = NUM_PROMPTS) -> tuple[EvalPrompt, ...]:
    """`num` prompts: one for each text kept back, filled up with new ones, which are kept in `folder`."""
    prompts = held_out_prompts(author)[:num]
    missing = num - len(prompts)
    if missing > 0:
        path = folder / PROMPTS_FILE
        earlier = parse(_StoredPrompts, read_bytes(path)) if path.exists() else None
        stored = [] if earlier is None else earlier.prompts
        known = [d.prompt for d in (*author.learnt, *author.held_out)]
        if len(stored) < missing or not all(is_new(prompt, known) for prompt in stored):
            stored = new_prompts(known, num=missing, purpose="evaluation")
            write_text(path, _StoredPrompts(prompts=stored).model_dump_json(indent=2) + "\n")
        prompts += [EvalPrompt(f"new-{i}", prompt, "new") for i, prompt in enumerate(stored[:missing], start=1)]
    return tuple(prompts)


def held_out_prompts(author: Author) -> list[EvalPrompt]:
    """The prompts of the texts kept back, each with what the author wrote for it; each prompt once."""
    texts = {text.prompt: text for text in reversed(author.held_out)}
    return [EvalPrompt(t.id, t.prompt, "held_out", t.completion) for t in author.held_out if texts[t.prompt] is t]


def given_prompts(prompts: Sequence[str]) -> tuple[EvalPrompt, ...]:
    """Prompts of the user's own, each once."""
    return tuple(EvalPrompt(f"given-{i}", text, "given") for i, text in enumerate(dict.fromkeys(prompts), start=1))
