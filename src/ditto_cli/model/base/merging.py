"""A base and an adapter -> one model in the base's own 16 or 32 bit.

Never from a 4-bit base: its grid swallows most of what an adapter changes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from peft import PeftModel, get_peft_model, set_peft_model_state_dict
from safetensors import SafetensorError

from ditto_cli.errors import DiskError, IncompatibleError, MemoryLimitError
from ditto_cli.model.base.loading import auto_class, read_settings
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.policy.lora import Lora
from ditto_cli.model.policy.memory import is_out_of_memory
from ditto_cli.store import write_bytes

_TOKENIZER = ("*.json", "*.jinja", "*.model", "*.txt")


def merge(source: BaseSource, lora: Lora, folder: Path, noted: Callable[[str], None]) -> torch.dtype:
    """Write the base with the adapter added to its weights, as a Hugging Face folder with tokenizer and template.

    Args:
        source: the unquantised base; all of it is loaded into main memory.
        lora: an adapter of this base.
        folder: is there, and empty.
        noted: told what takes long.

    Returns:
        The dtype of the weights, which is that of the base's.

    Raises:
        MemoryLimitError: the base does not fit into main memory.
        OSError: the disk refused.
    """
    _, config = read_settings(source)
    noted(f"Loading {source.id} as it was published, and adding the adapter to it.")
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
    for pattern in _TOKENIZER:
        for path in source.folder.glob(pattern):
            if not (folder / path.name).exists() and not path.name.endswith(".index.json"):
                write_bytes(folder / path.name, path.read_bytes())
    return dtype
