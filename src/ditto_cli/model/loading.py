"""Which base, and where -> a policy: the weights as they are or in 4 bit, the tokenisation, and what base it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from transformers.utils import logging as transformers_logging

from ditto_cli.config import BaseSettings, resolved_quantize
from ditto_cli.errors import InputError, MemoryLimitError
from ditto_cli.model.attention import GROUPED_SDPA
from ditto_cli.model.chat import chat_format
from ditto_cli.model.conversions import drop_conversion
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.memory import is_out_of_memory, say_nothing
from ditto_cli.model.policy import Policy, lighter_base
from ditto_cli.model.quantised import keep_quantised, quantised_place
from ditto_cli.model.source import BaseSource, identify, locate_base
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
        IncompatibleError: it has no usable chat template.
        MemoryLimitError: it does not fit into memory.
    """
    source = locate_base(settings.id, settings.revision, cache, noted)
    return load_source(source, settings.quantize, hardware, cache, noted)


def load_source(
    source: BaseSource,
    quantize: str,
    hardware: Hardware,
    cache: Path | None = None,
    noted: Callable[[str], None] = say_nothing,
) -> Policy:
    """Load a base model from its local folder; `quantize` auto is nf4 on CUDA and none on a CPU.

    With a `cache` the 4-bit form is kept there, and taken from there.
    """
    resolved = resolved_quantize(quantize, is_cuda=hardware.is_cuda)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(source.folder, trust_remote_code=False)
        identity = identify(source, str(tokenizer.chat_template))
        if resolved == "nf4":
            base = _load_four_bit(source, identity, hardware, cache, noted)
        else:
            base = _load_weights(source.folder, hardware, None)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise InputError(f"Base model {source.id} cannot be loaded as a causal language model: {reason}") from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            f"Base model {source.id} does not fit into the memory of {hardware.name}: close other programs, or take "
            f"{lighter_base(resolved)}."
        ) from None
    base.requires_grad_(False)
    base.eval()
    chat = chat_format(tokenizer, base.generation_config.eos_token_id)
    return Policy(base, chat, identity, hardware, resolved)


def _load_four_bit(
    source: BaseSource, identity: BaseIdentity, hardware: Hardware, cache: Path | None, noted: Callable[[str], None]
) -> Any:
    place = None if cache is None else quantised_place(source, identity, str(_compute_dtype(hardware)), cache)
    if place is not None and place.is_dir():
        try:
            return _load_weights(place, hardware, None)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            noted(f"The 4-bit base in {place} is damaged and is made anew.")
            drop_conversion(place)
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=_compute_dtype(hardware),
    )
    base = _load_weights(source.folder, hardware, four_bit)
    if place is not None:
        keep_quantised(base, place, noted)
    return base


def _load_weights(folder: Path, hardware: Hardware, quantization: BitsAndBytesConfig | None) -> Any:
    return AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=_compute_dtype(hardware),
        attn_implementation=GROUPED_SDPA,  # takes the pattern that scoring gives each group
        device_map={"": hardware.device},
        trust_remote_code=False,
        # An explicit None would hide that the files are quantised already.
        **({} if quantization is None else {"quantization_config": quantization}),
    )


def _compute_dtype(hardware: Hardware) -> torch.dtype:
    return torch.bfloat16 if hardware.is_cuda else torch.float32
