"""The same prompts, greedily, in our policy and in another program: do both write the same, and how far are they apart.

What two programs differ in for the base alone is the price of rounding and of the number format; an adapter that was
exported rightly may double it, and one whose rows lie in another order is off by nats. So the limit of a check is
`SLACK` nats, plus twice what the base alone differs by.
"""

from __future__ import annotations

import importlib.util
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ditto_cli.errors import IncompatibleError
from ditto_cli.model.base.loading import load_source
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.lora import Lora
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.types import SampleRequest

log = logging.getLogger(__name__)

SLACK = 0.02  # nats of one token's log-probability
MOST_OF_BASE = {"f32": 0.02, "f16": 0.1, "q8_0": 0.5}  # docs/export.md has what was measured
SLACK_OF_16_BIT = 0.5  # finds a wrong sum, which is nats away, and no more
PROMPTS = (
    "Write a short note to a neighbour about a parcel.",
    "Tell a friend how the weekend was.",
    "Ask the landlord when the heating will be repaired.",
    "Thank an aunt for the book that she sent.",
    "Say in two sentences what the meeting decided.",
)
MAX_TOKENS = 48


@dataclass(frozen=True)
class Step:
    """One token of a greedy text.

    Attributes:
        margin: how much likelier it is than the second, in nats; None where the program does not tell.
    """

    token_id: int
    logp: float
    margin: float | None = None


@dataclass(frozen=True)
class Told:
    """What a program told of a text that it wrote, and whether it took the last token for the text's end."""

    steps: Sequence[Step]
    ended: bool


@dataclass(frozen=True)
class Parity:
    """What came of a comparison.

    Attributes:
        num_tokens: of our texts.
        num_same: of them before the texts part, or the other one ends.
        gap: the largest difference of log-probabilities before they part, in nats.
        margins: where texts part, how much likelier our token was than our second.
    """

    num_tokens: int
    num_same: int
    gap: float
    margins: tuple[float, ...]

    def is_within(self, limit: float) -> bool:
        """Whether the gap is, and texts part only where such gaps can change the order of two tokens."""
        return self.num_same > 0 and self.gap <= limit and all(margin <= 2 * limit for margin in self.margins)


def limit_of(base: Parity, dtype: str | None) -> float:
    """What an adapter may differ by where its base alone differs by so much, in nats.

    IncompatibleError: the base itself does not write the same in a form of this `dtype` (None: of its publisher).
    """
    most = MOST_OF_BASE.get(dtype or "", MOST_OF_BASE["q8_0"])
    if base.gap > most or not base.is_within(SLACK + most):
        raise IncompatibleError(
            f"The base as GGUF does not write what the base writes here ({base.gap:.1e} nats apart, {base.num_same} of "
            f"{base.num_tokens} tokens the same; at most {most} is rounding): nothing was kept."
        )
    return SLACK + 2 * base.gap


def greedy(policy: Policy, prompts: Sequence[tuple[int, ...]], max_tokens: int = MAX_TOKENS) -> list[list[Step]]:
    """What the active adapter writes for each prompt, given as token ids."""
    requests = [SampleRequest(prompt, seed=0) for prompt in prompts]
    written = sample(policy, requests, max_new_tokens=max_tokens, temperature=0.0)
    texts = []
    for prompt, text in zip(prompts, written, strict=True):
        ids_1T = torch.tensor([[*prompt, *text.token_ids]], device=policy.hardware.device)
        positions_1T = torch.arange(ids_1T.shape[1], device=ids_1T.device)[None]
        with policy.using(policy.active):
            hidden_TH = policy.hidden(ids_1T, torch.ones_like(ids_1T), positions_1T)[0, len(prompt) - 1 : -1]
            logps_NV = policy.head().logits(hidden_TH).log_softmax(-1)
        each = zip(text.token_ids, logps_NV, logps_NV.topk(2).values, strict=True)
        texts.append([Step(token, float(logps[token]), float(two[0] - two[1])) for token, logps, two in each])
    return texts


def compare(ours: Sequence[Sequence[Step]], theirs: Sequence[Told], tokenizer: Any) -> Parity:
    """Texts for the same prompts.

    `theirs` may lack tokens that are a part of a character only, and end at special tokens at which ours does not, as
    llama.cpp's do.
    """
    special = set(tokenizer.added_tokens_encoder.values())
    num_same, gap, margins = 0, 0.0, []
    for mine, other in zip(ours, theirs, strict=True):
        told = iter(other.steps)
        step = next(told, None)
        for own in mine:
            if step is None and other.ended and other.steps[-1].token_id in special:
                break
            if step is not None and step.token_id == own.token_id:
                gap = max(gap, abs(own.logp - step.logp))
                step = next(told, None)
            elif "\ufffd" not in tokenizer.decode([own.token_id]):
                assert own.margin is not None, "ours have margins"
                margins.append(own.margin)
                break
            num_same += 1
    return Parity(sum(map(len, ours)), num_same, gap, tuple(margins))


def is_installed() -> bool:
    """Whether a check in llama.cpp can be run."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """llama.cpp in this process (`xllamacpp`), on the CPU, with a base and an adapter as GGUF files.

    Args:
        num_tokens: of the longest prompt with its text. Longer contexts would place the tokens of some bases otherwise.
    """

    def __init__(self, base: Path, adapter: Path, num_tokens: int) -> None:
        import xllamacpp

        settings = xllamacpp.CommonParams()
        settings.model.path = str(base)
        settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
        settings.n_ctx = math.ceil(num_tokens / 256) * 256
        settings.n_parallel, settings.n_gpu_layers = 1, 0
        settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
        settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.verbosity = -1
        settings.port = 0
        try:
            self._server = xllamacpp.Server(settings)
        except RuntimeError as error:
            raise IncompatibleError(f"llama.cpp cannot load what was exported: {error}") from None

    def greedy(self, prompts: Sequence[tuple[int, ...]], strength: float = 1.0) -> list[Told]:
        """What it writes for each prompt, given as token ids."""
        asked = {"n_predict": MAX_TOKENS, "temperature": 0.0, "n_probs": 1, "cache_prompt": False}
        texts = []
        for prompt in prompts:
            lora = [{"id": 0, "scale": strength}]
            answer = self._server.handle_completions({**asked, "prompt": list(prompt), "lora": lora})
            if "choices" not in answer:
                raise IncompatibleError(f"llama.cpp cannot use what was exported: {answer.get('message', answer)}")
            (choice,) = answer["choices"]
            told = (choice["logprobs"] or {}).get("content", [])
            steps = [Step(token["id"], token["logprob"]) for token in told]
            texts.append(Told(steps, choice["finish_reason"] == "stop"))
        return texts


def policy_for_check(source: BaseSource, lora: Lora) -> tuple[Policy, list[tuple[int, ...]]]:
    """Our side of a check: the base in full precision with the adapter on it, and the prompts as token ids."""
    policy = load_source(source, "none", detect("cpu"))
    policy.put_adapter("exported", lora)
    return policy, [policy.chat.prompt_ids(prompt) for prompt in PROMPTS]


def require_parity(parity: Parity, limit: float) -> None:
    """Say what a check found.

    Raises:
        IncompatibleError: more than `limit` nats.
    """
    log.info(
        f"Checked: {parity.num_same} of {parity.num_tokens} tokens are the same; the largest difference of a token's "
        f"log-probability is {parity.gap:.1e} nats (limit {limit:.1e})."
    )
    if not parity.is_within(limit):
        raise IncompatibleError(
            "What was exported does not write what the adapter writes here, so it was not kept: please report which "
            "base this is; --no-check writes it all the same."
        )


def check_merged(source: BaseSource, lora: Lora, folder: Path, dtype: torch.dtype) -> None:
    """Check that the merged model in `folder` writes what the adapter writes on its base; raises what differs."""
    policy, prompts = policy_for_check(source, lora)
    ours = greedy(policy, prompts)
    del policy  # two bases need not be in memory
    merged = load_source(BaseSource("local", str(folder), None, folder), "none", detect("cpu"))
    theirs = [Told(text, ended=False) for text in greedy(merged, prompts)]
    # In 16 bit each weight is rounded anew.
    limit = SLACK if dtype == torch.float32 else SLACK + SLACK_OF_16_BIT
    require_parity(compare(ours, theirs, merged.chat.tokenizer), limit)


def check_gguf(source: BaseSource, lora: Lora, base: Path, adapter: Path, dtype: str | None) -> None:
    """Check that an adapter writes in llama.cpp what it writes here.

    `base` and `adapter` are GGUF files, the base in `dtype` where it was written by us.

    Raises:
        IncompatibleError: it does not.
    """
    policy, prompts = policy_for_check(source, lora)
    ours = greedy(policy, prompts)
    policy.switch(None)
    ours_of_base = greedy(policy, prompts)
    engine = LlamaCpp(base, adapter, max(map(len, prompts)) + MAX_TOKENS)
    theirs, theirs_of_base = engine.greedy(prompts), engine.greedy(prompts, strength=0.0)
    tokenizer = policy.chat.tokenizer
    of_base = compare(ours_of_base, theirs_of_base, tokenizer)
    require_parity(compare(ours, theirs, tokenizer), limit_of(of_base, dtype))
