"""llama.cpp inside this process (`xllamacpp`), as the other side of a check."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from ditto_cli.errors import IncompatibleError
from ditto_cli.exchange.parity import (
    MAX_TOKENS,
    PROMPTS,
    Step,
    Told,
    compare,
    greedy,
    limit_of,
    policy_for_check,
    require_parity,
)
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.policy.lora import Lora


def is_installed() -> bool:
    """Whether a check can be run."""
    return importlib.util.find_spec("xllamacpp") is not None


class LlamaCpp:
    """A base with an adapter, both as GGUF files, on the CPU.

    Args:
        base: of the base.
        adapter: of the adapter.
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

    def num_chat_tokens(self, prompt: str) -> int:
        """Tokens of a user's prompt by the file's own tokenizer and chat template."""
        messages = [{"role": "user", "content": prompt}]
        answer = self._server.handle_chat_completions({"messages": messages, "max_tokens": 1})
        return int(answer["usage"]["prompt_tokens"])

    def greedy(self, prompts: Sequence[tuple[int, ...]], strength: float = 1.0) -> list[Told]:
        """What it writes for each prompt, given as token ids."""
        return [self._write(prompt, strength) for prompt in prompts]

    def _write(self, prompt: tuple[int, ...], strength: float) -> Told:
        answer = self._server.handle_completions(
            {
                "prompt": list(prompt),
                "n_predict": MAX_TOKENS,
                "temperature": 0.0,
                "n_probs": 1,
                "cache_prompt": False,
                "lora": [{"id": 0, "scale": strength}],
            }
        )
        if "choices" not in answer:
            raise IncompatibleError(f"llama.cpp cannot use what was exported: {answer.get('message', answer)}")
        (choice,) = answer["choices"]
        told = (choice["logprobs"] or {}).get("content", [])
        return Told([Step(token["id"], token["logprob"]) for token in told], choice["finish_reason"] == "stop")


def check_gguf(
    source: BaseSource, lora: Lora, base: Path, adapter: Path, dtype: str | None, noted: Callable[[str], None]
) -> None:
    """Check that an adapter writes in llama.cpp what it writes here; `noted` is told what was found.

    `base` and `adapter` are GGUF files, the base in `dtype` where it was written by us.

    Raises:
        IncompatibleError: it does not.
    """
    policy, prompts = policy_for_check(source, lora, noted)
    ours = greedy(policy, prompts)
    policy.switch(None)
    ours_of_base = greedy(policy, prompts)
    engine = LlamaCpp(base, adapter, max(map(len, prompts)) + MAX_TOKENS)
    theirs, theirs_of_base = engine.greedy(prompts), engine.greedy(prompts, strength=0.0)

    tokenizer = policy.chat.tokenizer
    of_base = compare(ours_of_base, theirs_of_base, tokenizer)
    require_parity(compare(ours, theirs, tokenizer), limit_of(of_base, dtype), noted)
    num, own = engine.num_chat_tokens(PROMPTS[0]), len(prompts[0])
    if dtype is not None and num != own:
        noted(
            f"llama.cpp's chat makes {num} tokens of a prompt of which ours makes {own}: it may think first, "
            "greet with another system text, or know the base's tokenizer otherwise. Compare its prompt."
        )
