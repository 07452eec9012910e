"""Which base, and where -> a policy: the weights as they are or in 4 bit, the tokenisation, and what base it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)
from transformers.utils import logging as transformers_logging

from ditto_cli.config import BaseSettings, resolved_quantize
from ditto_cli.errors import InputError, MemoryLimitError
from ditto_cli.model.base.conversions import drop, four_bit_place, keep_four_bit
from ditto_cli.model.base.source import PICTURE_MODELS, BaseSource, identify, locate_base
from ditto_cli.model.base.template import chat_format
from ditto_cli.model.fast.rows import ROW_ATTENTION
from ditto_cli.model.footprint import base_bytes
from ditto_cli.model.hardware import GIB, Hardware, detect
from ditto_cli.model.policy.memory import is_out_of_memory, say_nothing
from ditto_cli.model.policy.policy import Policy, lighter_base
from ditto_cli.store import BaseIdentity


def load_policy(settings: BaseSettings, hardware: Hardware, cache: Path, noted: Callable[[str], None]) -> Policy:
    """Load a base model for `hardware`.

    Args:
        settings: which base, revision and quantisation.
        hardware: the device.
        cache: folder for the converted embedded base and for 4-bit forms.
        noted: told, in one line, what takes long.

    Raises:
        InputError: the base cannot be found or read.
        IncompatibleError: it has no usable chat template, or is of a family that does not work.
        MemoryLimitError: it does not fit into memory; told before a download where that can be known.
    """
    quantize = resolved_quantize(settings.quantize, is_cuda=hardware.is_cuda)

    def check(source: BaseSource) -> None:
        needed, whole = base_bytes(load_skeleton(source, hardware), quantize)
        is_mostly_whole = quantize == "nf4" and 2 * whole > needed > GIB
        left = f", {whole / GIB:.0f} of it in 16 bit, as NF4 leaves vocabulary and experts" if is_mostly_whole else ""
        if needed > hardware.memory_bytes:
            raise MemoryLimitError(
                f"Base model {source.id} takes {needed / GIB:.0f} GiB{left}, and {hardware.name} has "
                f"{hardware.memory_bytes / GIB:.0f}: it is not downloaded; take {lighter_base(quantize)}."
            )
        if left:
            noted(f"{source.id} takes {needed / GIB:.0f} GiB{left}.")

    source = locate_base(settings.id, settings.revision, cache, noted, check=check)
    return load_source(source, quantize, hardware, cache, noted, speed=settings.speed)


def load_source(
    source: BaseSource,
    quantize: str,
    hardware: Hardware,
    cache: Path | None = None,
    noted: Callable[[str], None] = say_nothing,
    *,
    speed: str = "auto",
) -> Policy:
    """Load a base model from its local folder; with a `cache` the 4-bit form is kept there, and taken from there."""
    resolved = resolved_quantize(quantize, is_cuda=hardware.is_cuda)
    try:
        tokenizer, config = read_settings(source)
        identity = identify(source, str(tokenizer.chat_template))
        attention = attention_of(config, is_plain=speed == "plain" or hardware.is_cuda)
        if resolved == "nf4":
            base = _load_four_bit(config, source, identity, hardware, attention, cache, noted)
        else:
            base = _load_weights(config, source.folder, hardware, attention, None)
    except (ValueError, KeyError, OSError, ImportError) as error:
        raise _unreadable(source, error) from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            f"Base model {source.id} does not fit into the memory of {hardware.name}: close other programs, or take "
            f"{lighter_base(resolved)}."
        ) from None
    chat = chat_format(tokenizer, base.generation_config.eos_token_id)
    base.generation_config = GenerationConfig()  # what a base's maker likes in sampling is no part of the policy
    base.requires_grad_(False)
    base.eval()
    policy = Policy(base, chat, identity, hardware, resolved, speed)
    policy.check_head()
    return policy


def load_skeleton(source: BaseSource, hardware: Hardware | None = None) -> Policy:
    """A policy on torch's meta device: all of the base's modules, its identity and tokenisation, and no weights.

    Raises:
        InputError: the base's files are no causal language model's.
        IncompatibleError: it has no usable chat template.
    """
    try:
        tokenizer, config = read_settings(source)
        with torch.device("meta"):
            base = auto_class(config).from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise _unreadable(source, error) from None
    base.requires_grad_(False)
    base.eval()
    identity = identify(source, str(tokenizer.chat_template))
    return Policy(base, chat_format(tokenizer, None), identity, hardware or detect("cpu"), "none")


def attention_of(config: Any, *, is_plain: bool) -> str:
    """The attention to load a base with: by groups of a row, the library's default, or eager where it has no other."""
    if not auto_class(config)._model_mapping[type(config)]._supports_sdpa:
        return "eager"
    return "sdpa" if is_plain else ROW_ATTENTION


def auto_class(config: Any) -> Any:
    """What loads the base; some text models are only published with eyes."""
    return AutoModelForImageTextToText if config.model_type in PICTURE_MODELS else AutoModelForCausalLM


def read_settings(source: BaseSource) -> tuple[Any, Any]:
    """The tokenizer and the configuration in a base's folder."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
    return tokenizer, AutoConfig.from_pretrained(source.folder, trust_remote_code=False)


def _unreadable(source: BaseSource, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
    return InputError(f"Base model {source.id} cannot be loaded as a causal language model: {reason}")


def _load_four_bit(
    config: Any,
    source: BaseSource,
    identity: BaseIdentity,
    hardware: Hardware,
    attention: str,
    cache: Path | None,
    noted: Callable[[str], None],
) -> Any:
    place = None if cache is None else four_bit_place(source.folder, identity, str(hardware.dtype), cache)
    if place is not None and place.is_dir():
        try:
            return _without_repacking(_load_weights(config, place, hardware, attention, None))
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            noted(f"The 4-bit base in {place} is damaged and is made anew.")
            drop(place)
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.dtype,
    )
    base = _load_weights(config, source.folder, hardware, attention, four_bit)
    if place is not None:
        keep_four_bit(base, place, noted)
    return _without_repacking(base)


def _load_weights(
    config: Any, folder: Path, hardware: Hardware, attention: str, quantization: BitsAndBytesConfig | None
) -> Any:
    return auto_class(config).from_pretrained(
        folder,
        dtype=hardware.dtype,
        attn_implementation=attention,
        device_map={"": hardware.device},
        trust_remote_code=False,
        # An explicit None would hide that the files are quantised already.
        **({} if quantization is None else {"quantization_config": quantization}),
    )


def _without_repacking(base: Any) -> Any:
    """On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks weights in the first pass and then has no gradient."""
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return base
