"""A shape's name -> a `Policy` of that size: the real embedded base, or seeded random weights that nobody downloads.

A random base is built on the meta device and filled one module after the other, so that in NF4 a 7B never lies in
memory in 16 bit. What replaces the linear layers is transformers' own quantizer, so that PEFT finds what it finds in
a model that was loaded from a folder.
"""

from __future__ import annotations

import os
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
    GenerationConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)
from transformers.quantizers.auto import AutoHfQuantizer

from ditto_cli.config import FolderFile, Settings, resolve_settings
from ditto_cli.model.base.loading import attention_of, load_policy, prevent_repacking
from ditto_cli.model.base.source import locate_base
from ditto_cli.model.base.template import ChatFormat, chat_format
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import BaseIdentity, cache_home

EMBEDDED, MISTRAL, QWEN, TINY = "embedded", "mistral-7b", "qwen3-8b", "tiny"
SHAPES = (EMBEDDED, MISTRAL, QWEN, TINY)
_STD = 0.02
_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_UNTIED: dict[str, Any] = {
    "tie_word_embeddings": False,
    **{"bos_token_id": None, "eos_token_id": None, "pad_token_id": None},
}
_LARGE: dict[str, Any] = {
    **{"hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128},
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    **_UNTIED,
}


def settings_of(shape: str, overrides: dict[str, Any]) -> Settings:
    """The settings of the shape's preset."""
    preset = "smollm2-135m-cpu" if shape == EMBEDDED else "paper-mistral-7b"
    return resolve_settings(preset, FolderFile(), {}, overrides)


def configuration(shape: str) -> Any:
    """The shape's model configuration, as its makers publish it."""
    if shape == EMBEDDED:
        return AutoConfig.from_pretrained(_embedded_folder())
    if shape == MISTRAL:  # Mistral-7B-Instruct-v0.2
        layers = {"intermediate_size": 14_336, "num_hidden_layers": 32, "sliding_window": None, "rms_norm_eps": 1e-5}
        return MistralConfig(vocab_size=32_000, max_position_embeddings=32_768, **layers, **_LARGE)
    if shape == QWEN:  # Qwen3-8B
        layers = {"intermediate_size": 12_288, "num_hidden_layers": 36, "rms_norm_eps": 1e-6}
        return Qwen3Config(vocab_size=151_936, max_position_embeddings=40_960, **layers, **_LARGE)
    assert shape == TINY, shape
    layers = {"intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaConfig(vocab_size=320, hidden_size=64, max_position_embeddings=512, **layers, **_UNTIED)


def chat_of(shape: str) -> ChatFormat:
    """The shape's tokenisation, without its model."""
    if shape == EMBEDDED:
        return chat_format(AutoTokenizer.from_pretrained(_embedded_folder()), None)
    return chat_format(byte_tokenizer(), None)


def build_policy(shape: str, hardware: Hardware, quantize: str, *, seed: int = 0) -> Policy:
    """The base of a shape, without adapters; the embedded one is never quantised."""
    if shape == EMBEDDED:
        return load_policy(settings_of(shape, {}).base, hardware, cache_home(os.environ))
    base = random_base(configuration(shape), hardware, quantize, seed=seed)
    digests = {f"{part}_digest": "0" * 64 for part in ("config", "weights", "tokenizer", "chat_template")}
    identity = BaseIdentity(source="local", id=f"random-{shape}", revision=None, **digests)
    return Policy(base, chat_of(shape), identity, hardware, quantize)


def random_base(config: Any, hardware: Hardware, quantize: str, *, seed: int) -> Any:
    """A causal language model with seeded weights (normal, deviation 0.02), on the device from the beginning."""
    dtype, attention = hardware.dtype, attention_of(config, is_plain=hardware.is_cuda)
    with torch.device("meta"):
        base = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
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
            value = torch.empty(parameter.shape, dtype=dtype, device=hardware.device)
            value = value.normal_(std=_STD, generator=generator) if value.ndim > 1 else value.fill_(1.0)  # norms
            module._parameters[key] = _as_parameter(base, f"{name}.{key}", value, quantizer)
        if any(buffer.is_meta for buffer in module.buffers(recurse=False)):  # the rotary embedding's frequencies
            with torch.device(hardware.device):
                base.set_submodule(name, type(module)(config))
    if quantizer is not None:
        base.hf_quantizer = quantizer
        quantizer.postprocess_model(base)
        prevent_repacking(base)
    base.generation_config = GenerationConfig()
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


def _as_parameter(base: Any, name: str, value: torch.Tensor, quantizer: Any) -> nn.Parameter:
    """The value as it lies in the module: packed at once where it is one of a 4-bit layer's."""
    if quantizer is None or not quantizer.param_needs_quantization(base, name):
        return nn.Parameter(value, requires_grad=False)
    packed: nn.Parameter = quantizer.get_quantize_ops().convert({name: [value]}, model=base)[name]
    return packed


def _embedded_folder() -> Path:
    return locate_base(EMBEDDED, None, cache_home(os.environ)).folder
