"""Prompt and text -> token ids: the one tokenisation path, for training, sampling and scoring alike.

Knows a tokenizer and its chat template, nothing of models. Thinking modes are switched off. A person's text is never
read as control tokens: what looks like an end-of-turn marker in it is encoded as plain characters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from jinja2 import TemplateError

from ditto_cli.config import SamplingSettings
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.types import Completion, Demonstration, Preference

# Every name under which a known chat template takes the wish not to think; templates ignore the others.
_NO_THINKING = {"enable_thinking": False, "thinking": False}
# Some templates write today's date into the prompt; a fixed one keeps training and sampling on the same tokens.
# Llama 3's take it as an argument, others ask the clock.
_DATE = datetime(2024, 7, 26)
_CLOCK = re.compile(r"""strftime_now\(\s*(['"])(.*?)\1\s*\)""")
Turn = tuple[str, str]  # role and content
_PROBE = "Zq7"  # text that no template contains, to find where a template puts a message


@dataclass(frozen=True)
class ChatFormat:
    """How one tokenizer writes a prompt and the completion that answers it.

    Attributes:
        lead: text between the generation prompt and the completion's first character (" " for Mistral, else "").
        end_token_id: the token that ends the assistant's turn; trained on, and what sampling stops at.
        stop_token_ids: `end_token_id` and every other token that ends a generation or begins a turn.
        opening: what begins the assistant's text, where the template's own generation prompt would begin something
            else (a train of thought, or a choice of channel); None where it does not.
    """

    tokenizer: Any
    lead: str
    end_token_id: int
    stop_token_ids: frozenset[int]
    bos_token_id: int | None
    opening: str | None = None

    def prompt_ids(self, prompt: str, shots: Sequence[tuple[str, str]] = ()) -> tuple[int, ...]:
        """Token ids of a user turn with `prompt`, up to where the assistant's text begins.

        Before it come `shots`, pairs of prompt and answer (a few-shot prompt).
        """
        turns = [
            ("user" if side == 0 else "assistant", text.strip()) for shot in shots for side, text in enumerate(shot)
        ]
        return self.conversation_ids([*turns, ("user", prompt)])

    def conversation_ids(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        """Token ids of a conversation, up to where the assistant's next text begins."""
        ids = self._encode_turns(turns)
        if self.bos_token_id is not None and ids[:1] != (self.bos_token_id,):
            ids = (self.bos_token_id, *ids)
        return ids

    def shown_ids(self, turns: Sequence[Turn], shots: Sequence[tuple[str, str]], max_tokens: int) -> tuple[int, ...]:
        """`conversation_ids` after as many of the last shots as fit; they come before the first user."""
        start = next((place for place, (role, _) in enumerate(turns) if role != "system"), len(turns))
        for first in range(len(shots)):
            shown = [turn for prompt, text in shots[first:] for turn in (("user", prompt), ("assistant", text.strip()))]
            ids = self.conversation_ids([*turns[:start], *shown, *turns[start:]])
            if len(ids) <= max_tokens:
                return ids
        return self.conversation_ids(turns)

    def begun_ids(self, begun: str) -> tuple[int, ...]:
        """Token ids of what the assistant has begun to say, for the model to go on with."""
        return self._encode(self.lead + begun, untrusted=True)

    def completion_ids(self, text: str) -> tuple[int, ...]:
        """Token ids of the assistant's `text` and the end token."""
        return (*self._encode(self.lead + text.strip(), untrusted=True), self.end_token_id)

    def text(self, token_ids: tuple[int, ...]) -> str:
        """The text of sampled token ids, without end and other special tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True)).strip()

    def _encode_turns(self, turns: Sequence[Turn]) -> tuple[int, ...]:
        if not any(self._holds_special_token(content) for _, content in turns):
            return self._encode(self._render_turns(turns))
        # The contents are spliced in as plain characters, so none can end its own turn or begin another.
        probes = [f"{_PROBE}{index}q" for index in range(len(turns))]
        rest = self._render_turns([(role, probe) for (role, _), probe in zip(turns, probes, strict=True)])
        ids: tuple[int, ...] = ()
        contents = {probe: content for probe, (_, content) in zip(probes, turns, strict=True)}
        for probe, content in sorted(contents.items(), key=lambda item: rest.find(item[0])):  # a template may move them
            if rest.count(probe) != 1:
                raise IncompatibleError(
                    "The chat template of this base drops or repeats a turn that holds control tokens."
                )
            before, rest = rest.split(probe)
            ids += (*self._encode(before), *self._encode(content.strip(), untrusted=True))
        return (*ids, *self._encode(rest))

    def _render_turns(self, turns: Sequence[Turn]) -> str:
        try:
            return _render(self.tokenizer, turns, generate=self.opening is None) + (self.opening or "")
        except (TemplateError, ValueError) as error:
            raise IncompatibleError(f"The chat template of this base cannot hold these turns ({error}).") from None

    def _encode(self, text: str, *, untrusted: bool = False) -> tuple[int, ...]:
        split = untrusted and self._holds_special_token(text)
        ids = self.tokenizer(text, add_special_tokens=False, split_special_tokens=split)["input_ids"]
        return tuple(ids)

    def _holds_special_token(self, text: str) -> bool:
        return any(str(token) in text for token in self.tokenizer.added_tokens_encoder)


def chat_format(tokenizer: Any, generation_eos: int | list[int] | None) -> ChatFormat:
    """Read a tokenizer's chat template once: where completions begin and which token ends them.

    `generation_eos` is `eos_token_id` of the model's generation config.
    """
    if not tokenizer.chat_template:
        raise IncompatibleError("This base has no chat template: choose an instruction-tuned (chat) model.")
    try:
        if "strftime_now(" in _CLOCK.sub("", tokenizer.get_chat_template()):
            raise IncompatibleError("The chat template of this base writes the current date: choose another base.")
        asked = ("user", "Hello")
        prompt = _render(tokenizer, [asked], generate=True)
        user_turn = _render(tokenizer, [asked], generate=False)
        full = _render(tokenizer, [asked, ("assistant", _PROBE)], generate=False)
    except (TemplateError, ValueError) as error:  # ValueError: several templates, and no default among them
        raise IncompatibleError(f"The chat template of this base cannot hold plain text ({error}).") from None
    head, found, tail = full.rpartition(_PROBE)
    if not found:
        raise IncompatibleError("The chat template of this base drops the assistant's text: choose another base.")
    lead, opening = "", None
    if head.startswith(prompt) and not head.removeprefix(prompt).strip():
        lead = head.removeprefix(prompt)
    elif head.startswith(user_turn):
        # DeepSeek-R1's generation prompt opens a thought that no switch closes, gpt-oss's leaves the channel open.
        opening = head.removeprefix(user_turn)
    end = _first_special(tokenizer, tail)
    if end is None:
        end = tokenizer.eos_token_id
    if end is None:
        raise IncompatibleError("This base has no token that ends a text: choose another base.")
    generation = generation_eos if isinstance(generation_eos, list) else [generation_eos]
    # Where a policy has lost its end token and opens another turn, the text is over.
    turn = _first_special(tokenizer, prompt.removeprefix(user_turn)) if prompt.startswith(user_turn) else None
    stops = {end, turn, tokenizer.eos_token_id, *generation} - {None}
    begin = tokenizer.bos_token_id
    if begin is not None and tokenizer("a")["input_ids"][:1] != [begin] and not prompt.startswith(tokenizer.bos_token):
        begin = None  # neither the tokenizer nor its template puts one before a text
    return ChatFormat(tokenizer, lead, end, frozenset(stops), begin, opening)


def _first_special(tokenizer: Any, text: str) -> int | None:
    """The id of the first special token that is written out in a text."""
    special: dict[str, int] = tokenizer.added_tokens_encoder
    places = {text.find(token): token for token in special if token in text}
    return special[places[min(places)]] if places else None


def _render(tokenizer: Any, turns: Sequence[Turn], *, generate: bool) -> str:
    """A conversation, with the assistant's next turn opened behind it if `generate`."""
    return str(
        tokenizer.apply_chat_template(
            [{"role": role, "content": content} for role, content in turns],
            chat_template=_CLOCK.sub(lambda call: repr(_DATE.strftime(call[2])), tokenizer.get_chat_template()),
            tokenize=False,
            add_generation_prompt=generate,
            date_string=_DATE.strftime("%d %b %Y"),
            **_NO_THINKING,
        )
    )


@dataclass(frozen=True)
class Texts:
    """The demonstrations and given pairs as token ids, and the length limit that follows from the demonstrations.

    Attributes:
        completions: by demonstration, with the end token.
        pairs: pair id -> token ids of its prompt, of the preferred text and of the other, with end tokens.
    """

    prompts: Mapping[str, tuple[int, ...]]
    completions: Mapping[str, tuple[int, ...]]
    max_new_tokens: int
    pairs: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)

    @property
    def num_tokens(self) -> int:
        """Tokens of all demonstrations' own texts."""
        return sum(len(ids) for ids in self.completions.values())

    def unscored(self) -> list[Completion]:
        """The demonstrations, then both sides of each pair, the preferred one first; without reference scores."""
        own = [Completion(name, None, 0, ids, True, math.nan) for name, ids in self.completions.items()]
        for name, (_, *sides) in self.pairs.items():
            own += [Completion(name, None, side, ids, True, math.nan) for side, ids in enumerate(sides)]
        return own


def tokenise(
    chat: ChatFormat,
    demonstrations: Sequence[Demonstration],
    sampling: SamplingSettings,
    *,
    context_tokens: int,
    pairs: Sequence[Preference] = (),
) -> Texts:
    """Tokenise each text, or refuse one that does not fit the base's context: nothing is ever cut off."""
    prompts = {d.id: chat.prompt_ids(d.prompt) for d in demonstrations}
    completions = {d.id: chat.completion_ids(d.completion) for d in demonstrations}
    compared = {
        pair.id: (chat.prompt_ids(pair.prompt), *map(chat.completion_ids, (pair.chosen, pair.rejected)))
        for pair in pairs
    }
    sizes = {name: len(prompts[name]) + len(ids) for name, ids in completions.items()}
    sizes |= {name: len(prompt_ids) + max(map(len, sides)) for name, (prompt_ids, *sides) in compared.items()}
    for name, num_tokens in sizes.items():
        if num_tokens > context_tokens:
            raise InputError(
                f"{name} has {num_tokens} tokens with its prompt, and this base reads at most "
                f"{context_tokens}: divide it (ditto init FOLDER --split), or take a base with a longer context."
            )
    longest = max(len(ids) for ids in completions.values())
    room = context_tokens - max(len(ids) for ids in prompts.values())
    return Texts(prompts, completions, min(math.ceil(sampling.length_factor * longest), room), compared)
