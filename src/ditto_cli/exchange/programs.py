"""What other programs are told beside an exported adapter: Ollama's Modelfile, command lines, a model card."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path

from ditto_cli.model.policy.lora import vllm_rank
from ditto_cli.store import AdapterRecord


def modelfile(base: str, adapter: str, *, temperature: float, max_new_tokens: int) -> str:
    """Ollama's recipe; paths as they are from the folder that it lies in."""
    # Plain sampling at a temperature, as in training: Ollama's own defaults cut and penalise.
    settings = {
        "temperature": temperature,
        "top_k": 0,
        "top_p": 1.0,
        "min_p": 0.0,
        "repeat_penalty": 1.0,
        "num_predict": max_new_tokens,
    }
    lines = [f"FROM {base}", f"ADAPTER {adapter}", *(f"PARAMETER {key} {value}" for key, value in settings.items())]
    return "\n".join(lines) + "\n"


def llama_command(base: str, adapter: str) -> str:
    """Of llama.cpp's server with plain sampling."""
    return shlex.join(["llama-server", "-m", base, "--lora", adapter, "--top-k", "0", "--top-p", "1", "--min-p", "0"])


def vllm_command(base: str, revision: str | None, adapters: Sequence[tuple[str, Path]], max_rank: int) -> str:
    """Of vLLM's server: on this machine only, and without its usage statistics."""
    modules = [f"{name}={folder}" for name, folder in adapters]
    words = ["vllm", "serve", base, *(["--revision", revision] if revision else [])]
    words += ["--host", "127.0.0.1", "--enable-lora", "--max-lora-rank", str(vllm_rank(max_rank))]
    return "VLLM_NO_USAGE_STATS=1 " + shlex.join([*words, "--lora-modules", *modules])


def model_card(title: str, base: str, record: AdapterRecord, rank: int) -> str:
    """README.md of an adapter's folder, in the hub's form; nothing of the person's texts is in it."""
    dpo, sft = record.settings.dpo, record.settings.sft
    return f"""---
base_model: {json.dumps(base)}
library_name: peft
pipeline_tag: text-generation
tags: [lora, ditto]
---

# {title}

A LoRA adapter of rank {rank} that makes {base} write like one person. It was trained with
ditto on {record.num_demonstrations} texts of that person, which are not part of this folder; a trained adapter can
still give pieces of them away, so share it only with people who may have these texts.

- method: SFT, then DITTO rounds (arXiv 2406.00888); published stage: {record.published}
- SFT rate {sft.learning_rate:g}, DPO rate {dpo.learning_rate:g}, beta {dpo.beta:g}, SFT term {dpo.sft_weight:g}
- sampling as in training: temperature {record.settings.sampling.temperature:g}, no top-k, no top-p, at most
  {record.max_new_tokens} new tokens
- the base's own licence holds for using it

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained({base!r}), "FOLDER")
```
"""
