"""A shape's name -> a `Policy` of that size: the real embedded base, or seeded random weights that nobody downloads.

A random base is built on the meta device and filled one module after the other, so that in NF4 a 7B never lies in
memory in 16 bit. What replaces the linear layers is transformers' own quantizer, so that PEFT finds what it finds in
a model that was loaded from a folder.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.quantizers.auto import AutoHfQuantizer

from ditto_cli.config import FolderFile, Settings, resolve_settings, resolved_quantize
from ditto_cli.model.attention import GROUPED_SDPA
from ditto_cli.model.chat import ChatFormat, chat_format
from ditto_cli.model.footprint import SHAPES as SIZES
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.loading import load_policy
from ditto_cli.model.policy import Policy
from ditto_cli.model.source import locate_base
from ditto_cli.seeds import derive_seed
from ditto_cli.store import BaseIdentity, cache_home

EMBEDDED = "embedded"
SHAPES = (EMBEDDED, "mistral-7b", "qwen3-8b", "tiny")
_STD = 0.02
_NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)  # a weight, its block's scale, that scale's own scale
_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


@dataclass(frozen=True)
class Architecture:
    """The sizes that the arithmetic of a round depends on.

    Attributes:
        linears: (out, in) features of the linear layers of one block.
        num_layers: number of blocks.
        num_heads: query heads of a block.
        head_size: features of one head.
        head: (out, in) features of the output head.
        weight_bytes: of all blocks' linear weights and the head, as they lie in memory.
    """

    linears: tuple[tuple[int, int], ...]
    num_layers: int
    num_heads: int
    head_size: int
    head: tuple[int, int]
    weight_bytes: float


def settings_of(shape: str, overrides: dict[str, Any]) -> Settings:
    """The settings of the shape's preset."""
    preset = "smollm2-135m-cpu" if shape == EMBEDDED else "paper-mistral-7b"
    return resolve_settings(preset, FolderFile(), {}, overrides)


def configuration(shape: str) -> Any:
    """The shape's model configuration, as its makers publish it."""
    if shape == EMBEDDED:
        return AutoConfig.from_pretrained(_embedded_folder())
    if shape == "mistral-7b":
        sizes = _published("mistralai/Mistral-7B-Instruct-v0.2")
        return MistralConfig(**sizes, max_position_embeddings=32768, rms_norm_eps=1e-5, sliding_window=None)
    if shape == "qwen3-8b":
        return Qwen3Config(**_published("Qwen/Qwen3-8B"), max_position_embeddings=40960, rms_norm_eps=1e-6)
    untied = {"tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    assert shape == "tiny", shape
    return LlamaConfig(
        vocab_size=320,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        **untied,
    )


def _published(base: str) -> dict[str, Any]:
    """The sizes of a preset's base, and what both of them have."""
    shape = SIZES[base]
    return {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_heads,
        "head_dim": shape.head_size,
        "tie_word_embeddings": shape.is_tied,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
        **{"bos_token_id": None, "eos_token_id": None, "pad_token_id": None},
    }


def quantize_of(shape: str, quantize: str, *, is_cuda: bool) -> str:
    """`auto` is what the product takes: NF4 on CUDA; the embedded base is never quantised."""
    return "none" if shape == EMBEDDED else resolved_quantize(quantize, is_cuda=is_cuda)


def architecture(config: Any, quantize: str, *, is_cuda: bool) -> Architecture:
    """The sizes of a configuration with its weights in NF4 or not."""
    hidden, inner, size = config.hidden_size, config.intermediate_size, _head_size(config)
    queries, keys = config.num_attention_heads * size, config.num_key_value_heads * size
    attention = [(queries, hidden), (keys, hidden), (keys, hidden), (hidden, queries)]
    linears = (*attention, (inner, hidden), (inner, hidden), (hidden, inner))
    full_bytes = 2 if is_cuda else 4
    num_weights = config.num_hidden_layers * sum(rows * columns for rows, columns in linears)
    head = (config.vocab_size, hidden)
    weight_bytes = num_weights * (_NF4_BYTES if quantize == "nf4" else full_bytes) + head[0] * head[1] * full_bytes
    return Architecture(linears, config.num_hidden_layers, config.num_attention_heads, size, head, weight_bytes)


def chat_of(shape: str) -> ChatFormat:
    """The shape's tokenisation, without its model."""
    if shape == EMBEDDED:
        return chat_format(AutoTokenizer.from_pretrained(_embedded_folder()), None)
    return chat_format(byte_tokenizer(), None)


def build_policy(shape: str, hardware: Hardware, quantize: str, *, seed: int = 0) -> Policy:
    """The base of a shape, without adapters."""
    if shape == EMBEDDED:
        return load_policy(settings_of(shape, {}).base, hardware, cache_home(os.environ), _noted)
    base = random_base(configuration(shape), hardware, quantize, seed=seed)
    nothing = "0" * 64
    identity = BaseIdentity(
        source="local",
        id=f"random-{shape}",
        revision=None,
        config_digest=nothing,
        weights_digest=nothing,
        tokenizer_digest=nothing,
        chat_template_digest=nothing,
    )
    return Policy(base, chat_of(shape), identity, hardware, quantize)


def random_base(config: Any, hardware: Hardware, quantize: str, *, seed: int) -> Any:
    """A causal language model with seeded weights (normal, deviation 0.02), on the device from the beginning."""
    dtype = torch.bfloat16 if hardware.is_cuda else torch.float32
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=GROUPED_SDPA)
    quantizer = None
    if quantize == "nf4":
        four_bit = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
        )
        quantizer = AutoHfQuantizer.from_config(four_bit, pre_quantized=False)
        quantizer.preprocess_model(model=base, dtype=dtype, device_map={"": hardware.device})
    generator = torch.Generator(hardware.device).manual_seed(derive_seed(seed, "weights"))
    for name, module in list(base.named_modules()):
        for key, parameter in list(module.named_parameters(recurse=False)):
            value = _drawn(parameter.shape, dtype, generator)
            module._parameters[key] = _as_parameter(base, f"{name}.{key}", value, quantizer)
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):  # the rotary embedding's frequencies
            with torch.device(hardware.device):
                base.set_submodule(name, type(module)(config))
    if quantizer is not None:
        base.hf_quantizer = quantizer
        quantizer.postprocess_model(base)
    base.requires_grad_(False)
    base.eval()
    return base


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, and a chat template."""
    special = ["<|user|>", "<|assistant|>", "<|end|>", "<|pad|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: index for index, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>", chat_template=_TEMPLATE
    )


def _drawn(shape: torch.Size, dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Weights of a matrix; those of a norm are ones."""
    value = torch.empty(shape, dtype=dtype, device=generator.device)
    return value.normal_(std=_STD, generator=generator) if value.ndim > 1 else value.fill_(1.0)


def _as_parameter(base: Any, name: str, value: torch.Tensor, quantizer: Any) -> nn.Parameter:
    """The value as it lies in the module: packed at once where it is one of a 4-bit layer's."""
    if quantizer is None or not quantizer.param_needs_quantization(base, name):
        return nn.Parameter(value, requires_grad=False)
    packed: nn.Parameter = quantizer.get_quantize_ops().convert({name: [value]}, model=base)[name]
    return packed


def _embedded_folder() -> Path:
    return locate_base(EMBEDDED, None, cache_home(os.environ), _noted).folder


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _noted(message: str) -> None:
    print(message, file=sys.stderr)
