"""A base's model type -> how llama.cpp names and lays out its tensors.

Tensor names come from the tables of the `gguf` package. What these do not say is here, as llama.cpp's own converter
does it: the architecture of a model type, whether rotary pairs lie side by side there, norms that are kept less one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import gguf
import numpy as np

from ditto_cli.errors import IncompatibleError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Architecture:
    """A kind of base, as llama.cpp knows it.

    Attributes:
        arch: its name in the tables.
        pairs_rows: llama.cpp turns neighbouring rows of a head's q and k together, the safetensors keep such rows half
            a head apart.
        norm_offset: what is added to the weights of norms.
        every: llama.cpp knows by number which layers have full attention, or no rotary embedding: each so many-th.
        writes_base: the whole base can be written; proven with tiny ones of that type (docs/export.md).
    """

    arch: gguf.MODEL_ARCH
    pairs_rows: bool = False
    norm_offset: int = 0
    every: int | None = None
    writes_base: bool = True

    @property
    def name(self) -> str:
        """As GGUF files spell it."""
        return cast(str, gguf.MODEL_ARCH_NAMES[self.arch])


_ARCH = gguf.MODEL_ARCH
ARCHITECTURES = {
    "llama": Architecture(_ARCH.LLAMA, pairs_rows=True),
    "mistral": Architecture(_ARCH.LLAMA, pairs_rows=True),
    "ministral3": Architecture(_ARCH.MISTRAL3, pairs_rows=True, writes_base=False),
    "smollm3": Architecture(_ARCH.SMOLLM3, pairs_rows=True, every=4),
    "granite": Architecture(_ARCH.GRANITE, pairs_rows=True),
    "qwen2": Architecture(_ARCH.QWEN2),
    "qwen3": Architecture(_ARCH.QWEN3),
    "gemma2": Architecture(_ARCH.GEMMA2, norm_offset=1, every=2),
    "gemma3_text": Architecture(_ARCH.GEMMA3, norm_offset=1, every=6),
    "phi3": Architecture(_ARCH.PHI3),
}


def architecture_of(config: Any) -> Architecture:
    """Of a text model's configuration.

    Raises:
        IncompatibleError: llama.cpp's layout of that type is not known here.
    """
    known = ARCHITECTURES.get(config.model_type)
    if known is None:
        raise IncompatibleError(
            f"Bases of the type {config.model_type} cannot be exported as GGUF; {', '.join(ARCHITECTURES)} can. "
            "Export with --to merged, and convert that folder with llama.cpp's convert_hf_to_gguf.py."
        )
    return known


class TensorNames:
    """Names of a base's tensors in GGUF files."""

    def __init__(self, architecture: Architecture, num_layers: int) -> None:
        self._names = gguf.get_tensor_name_map(architecture.arch, num_layers)
        self._architecture = architecture

    def of(self, key: str) -> str:
        """Of a tensor's or module's name in safetensors.

        Raises:
            IncompatibleError: llama.cpp has none for it.
        """
        plain = key.replace("language_model.", "")  # of a base that sees pictures too
        name = self._names.get_name(plain, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise IncompatibleError(f"llama.cpp has no place for {key} in the type {self._architecture.name}.")
        return cast(str, name)


def reordered(architecture: Architecture, key: str, rows: Array, config: Any) -> Array:
    """Rows of a q or k projection, or of an adapter's B on it, in llama.cpp's order; others as they are."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((num for name, num in heads.items() if f".{name}" in key), None)
    if count is None or not architecture.pairs_rows:
        return rows
    halves = rows.reshape(count, 2, len(rows) // count // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))
