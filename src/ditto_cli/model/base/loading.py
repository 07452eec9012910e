"""Which base, and where -> a policy: the weights as they are or in 4 bit, the tokenisation, and what base it is.

A skeleton is a base without its weights: all of its modules on torch's meta device, in no memory and no time. It tells
whether a stranger's adapter fits. A merged base is one with an adapter added to its own 16 or 32 bit; never from a
4-bit base, whose grid swallows most of what an adapter changes.
"""

from __future__ import annotations

import logging
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ditto_cli.model.policy.policy import Policy, lighter_base  # isort: skip - before PEFT: see that package
from peft import PeftModel, get_peft_model, set_peft_model_state_dict
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

from ditto_cli.config import BaseSettings, LoraSettings, resolved_quantize
from ditto_cli.errors import DiskError, IncompatibleError, InputError, MemoryLimitError
from ditto_cli.model.base.conversions import four_bit_place, keep_four_bit
from ditto_cli.model.base.source import PICTURE_MODELS, SMALL_FILES, BaseSource, identify, locate_base
from ditto_cli.model.base.template import chat_format
from ditto_cli.model.fast.rows import ROW_ATTENTION
from ditto_cli.model.footprint import base_bytes
from ditto_cli.model.hardware import GIB, Hardware, detect
from ditto_cli.model.policy.lora import WEIGHTS_FILE, Lora, contents
from ditto_cli.model.policy.memory import is_out_of_memory
from ditto_cli.shown import reason_of
from ditto_cli.store import BaseIdentity, write_bytes

log = logging.getLogger(__name__)

_IMPORTED = "imported"  # the name of a stranger's adapter on a skeleton

Shapes = Mapping[str, tuple[int, ...]]


def load_policy(settings: BaseSettings, hardware: Hardware, cache: Path) -> Policy:
    """Load a base model for `hardware`; `cache` is where the converted embedded base and 4-bit forms are kept.

    Raises:
        InputError: the base cannot be found or read.
        IncompatibleError: it has no usable chat template, or is of a family that does not work.
        MemoryLimitError: it does not fit into memory; told before a download where that can be known.
    """
    quantize = resolved_quantize(settings.quantize, is_cuda=hardware.is_cuda)

    def check(source: BaseSource) -> None:
        needed = base_bytes(load_skeleton(source, hardware), quantize)
        if needed > hardware.memory_bytes:
            raise MemoryLimitError(
                f"Base model {source.id} takes {needed / GIB:.0f} GiB, and {hardware.name} has "
                f"{hardware.memory_bytes / GIB:.0f}: it is not downloaded; take {lighter_base(quantize)}."
            )

    source = locate_base(settings.id, settings.revision, cache, check=check)
    return load_source(source, quantize, hardware, cache, speed=settings.speed)


def load_source(
    source: BaseSource,
    quantize: str,
    hardware: Hardware,
    cache: Path | None = None,
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
            base = _load_four_bit(config, source, identity, hardware, attention, cache)
            prevent_repacking(base)
        else:
            base = _load_weights(config, source.folder, hardware, attention, None)
    except (ValueError, KeyError, OSError, ImportError) as error:
        raise _unreadable(source, error) from None
    except Exception as error:
        # The library hides why it could not quantise a weight that it had read: in full memory.
        if not is_out_of_memory(error) and "automatic conversion of the weights" not in str(error):
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
    """A policy on torch's meta device: all of the base's modules, its identity and tokenisation, and no weights."""
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


def attach(skeleton: Policy, lora: LoraSettings) -> Shapes:
    """Put an adapter of these settings on the skeleton; returns the shapes of the tensors that such an adapter has."""
    try:
        skeleton.add_adapter(_IMPORTED, lora, seed=0)
    except InputError as error:
        raise IncompatibleError(str(error)) from None
    return {key: tuple(value.shape) for key, value in skeleton.weights(_IMPORTED).items()}


def describe_misfit(expected: Shapes, given: Shapes) -> str | None:
    """The first way in which an adapter's tensors are not those that its settings give on a base; None if they are."""
    missing = sorted(set(expected) - set(given))
    if missing:
        return f"it lacks {len(missing)} of {len(expected)} tensors, {missing[0]} first"
    unknown = sorted(set(given) - set(expected))
    if unknown:
        return f"it has {len(unknown)} tensors that the base has no module for, {unknown[0]} first"
    for key, shape in given.items():
        if shape != expected[key]:
            return f"its {key} has the shape {list(shape)} and not {list(expected[key])}"
    return None


def adapter_files(skeleton: Policy, weights: bytes) -> dict[str, bytes]:
    """PEFT's two files for weights that fit what was attached: our own configuration, and the weights as they are.

    Nothing but numbers is taken from a stranger: the configuration is made from settings that were checked.
    """
    own = Lora(skeleton.model.peft_config[_IMPORTED], {})
    return {**contents(own, skeleton.identity.id, skeleton.identity.revision), WEIGHTS_FILE: weights}


def merge(source: BaseSource, lora: Lora, folder: Path) -> torch.dtype:
    """Write the base with the adapter added to its weights, as a Hugging Face folder with tokenizer and template.

    The whole unquantised base is loaded into main memory. Returns the dtype of the weights, which is the base's own.
    """
    _, config = read_settings(source)
    log.info(f"Loading {source.id} as it was published, and adding the adapter to it.")
    try:
        base = auto_class(config).from_pretrained(source.folder, dtype="auto", trust_remote_code=False)
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # of a base that lies elsewhere, and of each other's old names
            model: PeftModel = get_peft_model(base, lora.config)
            if set_peft_model_state_dict(model, dict(lora.weights)).unexpected_keys:
                raise ValueError("other layers")
            model.merge_and_unload(safe_merge=True).save_pretrained(folder)
        dtype: torch.dtype = base.dtype
    except (SafetensorError, ValueError) as error:
        if isinstance(error, ValueError):
            raise IncompatibleError(f"The adapter cannot be merged into {source.id}: {error}") from None
        raise DiskError(
            f"The merged model could not be written ({error}): free space, or give another --out."
        ) from None
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise MemoryLimitError(
            f"Base model {source.id} does not fit into main memory in 16 bit, as merging needs: close other programs, "
            "or export with --to gguf or --to peft, which load no base."
        ) from None
    for pattern in SMALL_FILES:
        for path in source.folder.glob(pattern):
            if not (folder / path.name).exists() and not path.name.endswith(".index.json"):
                write_bytes(folder / path.name, path.read_bytes())
    return dtype


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
    return InputError(f"Base model {source.id} cannot be loaded as a causal language model: {reason_of(error)}")


def _load_four_bit(
    config: Any,
    source: BaseSource,
    identity: BaseIdentity,
    hardware: Hardware,
    attention: str,
    cache: Path | None,
) -> Any:
    place = None if cache is None else four_bit_place(source.folder, identity, str(hardware.dtype), cache)
    is_damaged = False
    if place is not None and place.is_dir():
        try:
            return _load_weights(config, place, hardware, attention, None)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            if is_out_of_memory(error) or isinstance(error, torch.AcceleratorError):
                raise
            log.info(f"The 4-bit base in {place} is damaged and is made anew.")
            is_damaged = True
    four_bit = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=hardware.dtype,
    )
    base = _load_weights(config, source.folder, hardware, attention, four_bit)
    if place is not None:
        if is_damaged:  # not removed before: full memory may look like that
            shutil.rmtree(place, ignore_errors=True)
        keep_four_bit(base, place)
    return base


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


def prevent_repacking(base: Any) -> None:
    """On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks weights in the first pass and then has no gradient."""
    for module in base.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
