"""An adapter, or a base, in Hugging Face's layout -> one GGUF file for llama.cpp, Ollama and LM Studio.

A base is written tensor by tensor: no more than one of them is in memory. Tensor names come from the tables of the
`gguf` package. What these do not say is here, as llama.cpp's own converter does it: the architecture of a model type,
whether rotary pairs lie side by side there, norms that are kept less one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import gguf
import numpy as np
import torch
from safetensors import safe_open

from ditto_cli.errors import IncompatibleError
from ditto_cli.model.policy.lora import Lora
from ditto_cli.model.policy.policy import Policy

Array = np.ndarray[Any, Any]

DTYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
_ADAPTER_KEY = re.compile(r"base_model\.model\.(.+)\.lora_([AB])\.weight")
_PASSED_OVER = ("vision_tower.", "multi_modal_projector.", "vision_model.", "audio_tower.", "rotary_emb.inv_freq")

# What llama.cpp calls the ways of cutting a text before its merges are looked up, by the pattern in tokenizer.json.
_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_CASES = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s|"
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s|"
)
_CASES_TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_PATTERNS = {
    _WORDS + r"\p{N}{1,3}" + _TAIL: "llama-bpe",
    _WORDS + r"\p{N}" + _TAIL: "qwen2",
    _CASES % ("", "") + r"\p{N}" + _CASES_TAIL: "tekken",
    _CASES % (_ENDINGS, _ENDINGS) + r"\p{N}{1,3}" + _CASES_TAIL: "gpt-4o",
}


@dataclass(frozen=True)
class Architecture:
    """A kind of base, as llama.cpp knows it.

    Attributes:
        pairs_rows: llama.cpp turns neighbouring rows of a head's q and k together, the safetensors keep such rows half
            a head apart.
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

    def tensor_namer(self, num_layers: int) -> Callable[[str], str]:
        """What gives the name in GGUF files of a tensor or module in safetensors, or raises `IncompatibleError`."""
        names = gguf.get_tensor_name_map(self.arch, num_layers)

        def name(key: str) -> str:
            plain = key.replace("language_model.", "")  # of a base that sees pictures too
            found = names.get_name(plain, try_suffixes=(".weight", ".bias"))
            if found is None:
                raise IncompatibleError(f"llama.cpp has no place for {key} in the type {self.name}.")
            return cast(str, found)

        return name


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


def write_adapter(lora: Lora, skeleton: Policy, path: Path, name: str) -> None:
    """An adapter as a GGUF file of fp32 tensors.

    Raises:
        IncompatibleError: llama.cpp's layout of this base's type, or of a module that is adapted, is not known.
        OSError: the disk refused.
    """
    config = skeleton.model.config.get_text_config()
    architecture = _architecture_of(config)
    name_of = architecture.tensor_namer(config.num_hidden_layers)
    tensors = {}
    for key, value in lora.weights.items():
        found = _ADAPTER_KEY.fullmatch(key)
        assert found is not None, key
        module, matrix = found.groups()
        data = value.numpy()
        if matrix == "B":
            data = _reorder(architecture, module, data, config)
        tensors[f"{name_of(module + '.weight')}.lora_{matrix.lower()}"] = data
    writer = gguf.GGUFWriter(path, architecture.name)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(lora.config.lora_alpha))
    writer.add_name(name)
    _write(writer, {tensor: _at_hand(data) for tensor, data in tensors.items()})


def write_base(folder: Path, skeleton: Policy, path: Path, dtype: str) -> None:
    """A base as a GGUF file with tokenizer and chat template.

    `folder` has its safetensors and tokenizer, `skeleton` its modules. Matrices are of `dtype`: f32, f16 or q8_0;
    vectors stay fp32.

    Raises:
        IncompatibleError: its type, a tensor, its rotary embedding or its tokenizer has no known form in llama.cpp.
        OSError: the disk refused.
    """
    config = skeleton.model.config.get_text_config()
    architecture = _architecture_of(config)
    is_known = architecture.writes_base
    if architecture.every is not None:  # layers of two kinds have to take turns as llama.cpp takes for granted
        rotary = getattr(config, "no_rope_layers", None)  # 1 where there is one
        layers = rotary if rotary is not None else [kind == "sliding_attention" for kind in config.layer_types]
        is_known &= all(bool(layer) == (place % architecture.every != 0) for place, layer in enumerate(layers, start=1))
    if not is_known:
        raise IncompatibleError(
            f"This base of the type {config.model_type} cannot be written as GGUF here: take its publisher's GGUF "
            "file, or convert it with llama.cpp's convert_hf_to_gguf.py."
        )
    writer = gguf.GGUFWriter(path, architecture.name)
    writer.add_type("model")
    writer.add_name(skeleton.identity.id)
    writer.add_file_type(_FILE_TYPES[dtype])
    _add_sizes(writer, config, architecture)
    factors = _rotary_factors(writer, config, skeleton)
    tokenizer = skeleton.chat.tokenizer
    adds_bos = tokenizer.bos_token_id is not None and tokenizer("a")["input_ids"][:1] == [tokenizer.bos_token_id]
    _add_vocabulary(writer, folder, config.vocab_size, adds_bos=adds_bos)
    tensors = {name: _at_hand(data) for name, data in factors.items()}
    tensors.update(_base_tensors(folder, config, architecture, DTYPES[dtype]))
    _write(writer, tensors)


def _architecture_of(config: Any) -> Architecture:
    """Of a text model's configuration; raises `IncompatibleError` where the layout of its type is not known here."""
    known = ARCHITECTURES.get(config.model_type)
    if known is None:
        raise IncompatibleError(
            f"Bases of the type {config.model_type} cannot be exported as GGUF; {', '.join(ARCHITECTURES)} can. "
            "Export with --to merged, and convert that folder with llama.cpp's convert_hf_to_gguf.py."
        )
    return known


def _reorder(architecture: Architecture, key: str, rows: Array, config: Any) -> Array:
    """Rows of a q or k projection, or of an adapter's B on it, in llama.cpp's order; others as they are."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    count = next((num for name, num in heads.items() if f".{name}" in key), None)
    if count is None or not architecture.pairs_rows:
        return rows
    halves = rows.reshape(count, 2, len(rows) // count // 2, *rows.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows.shape))


_Tensor = tuple[tuple[int, ...], gguf.GGMLQuantizationType, Callable[[], Array]]


def _at_hand(data: Array) -> _Tensor:
    return data.shape, DTYPES["f32"], lambda: data


def _base_tensors(
    folder: Path, config: Any, architecture: Architecture, dtype: gguf.GGMLQuantizationType
) -> Iterator[tuple[str, _Tensor]]:
    name_of = architecture.tensor_namer(config.num_hidden_layers)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            shapes = {key: tuple(opened.get_slice(key).get_shape()) for key in opened.keys()}  # noqa: SIM118
        for key, shape in shapes.items():
            is_tied = key.endswith("lm_head.weight") and config.tie_word_embeddings
            if is_tied or any(part in key for part in _PASSED_OVER):
                continue

            def read(file: Path = file, key: str = key) -> Array:
                with safe_open(file, framework="pt") as opened:
                    data: Array = opened.get_tensor(key).to(torch.float32).numpy()
                if key.endswith("norm.weight"):
                    data = data + np.float32(architecture.norm_offset)
                return _reorder(architecture, key, data, config)

            block = gguf.GGML_QUANT_SIZES[dtype][0]
            fitting = dtype if shape[-1] % block == 0 else DTYPES["f16"]
            yield name_of(key), (shape, DTYPES["f32"] if len(shape) == 1 else fitting, read)


def _write(writer: gguf.GGUFWriter, tensors: Mapping[str, _Tensor]) -> None:
    for name, (shape, dtype, _) in tensors.items():
        in_bytes = gguf.quant_shape_to_byte_shape(shape, dtype)
        writer.add_tensor_info(name, in_bytes, np.dtype(np.uint8), math.prod(in_bytes), dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, dtype, read in tensors.values():
        writer.write_tensor_data(gguf.quantize(np.ascontiguousarray(read()), dtype))
    writer.close()


def _add_sizes(writer: gguf.GGUFWriter, config: Any, architecture: Architecture) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if window := getattr(config, "sliding_window", None):
        writer.add_sliding_window(window)
    if cap := getattr(config, "attn_logit_softcapping", None):
        writer.add_attn_logit_softcapping(cap)
    if cap := getattr(config, "final_logit_softcapping", None):
        writer.add_final_logit_softcapping(cap)
    if architecture.arch == gguf.MODEL_ARCH.GRANITE:
        writer.add_attention_scale(config.attention_multiplier)
        writer.add_embedding_scale(config.embedding_multiplier)
        writer.add_residual_scale(config.residual_multiplier)
        writer.add_logit_scale(config.logits_scaling)


def _rotary_factors(writer: gguf.GGUFWriter, config: Any, skeleton: Policy) -> dict[str, Array]:
    """Tells the rotary embedding's settings, and gives the tensors by which frequencies are divided."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = config.rope_parameters
    if "sliding_attention" in rope:
        writer.add_rope_freq_base_swa(rope["sliding_attention"]["rope_theta"])
    rope = rope.get("full_attention", rope)
    kind = rope.get("rope_type", "default")
    num = int(head * rope.get("partial_rotary_factor", 1.0))
    writer.add_rope_dimension_count(num)
    writer.add_rope_freq_base(rope["rope_theta"])
    if kind == "default":
        return {}
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
        return {}
    if kind == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        return {}
    if kind == "llama3":
        rotary = next(m for n, m in skeleton.model.get_decoder().named_modules() if n.endswith("rotary_emb"))
        plain = rope["rope_theta"] ** -(np.arange(0, num, 2, dtype=np.float32) / num)
        frequencies = type(rotary)(config).inv_freq.numpy()  # the library's own, on a CPU
        return {"rope_freqs.weight": (plain / frequencies).astype(np.float32)}
    if kind == "longrope":
        original = rope["original_max_position_embeddings"]
        growth = config.max_position_embeddings / original
        scale = np.sqrt(1 + np.log(growth) / np.log(original)) if growth > 1 else 1.0
        writer.add_rope_scaling_orig_ctx_len(original)
        writer.add_rope_scaling_attn_factors(float(rope.get("attention_factor") or scale))
        return {
            f"rope_factors_{name}.weight": np.array(rope[f"{name}_factor"], np.float32) for name in ("long", "short")
        }
    raise IncompatibleError(f"Rotary embeddings of the type {kind} have no known form in GGUF: take --to merged.")


def _add_vocabulary(writer: gguf.GGUFWriter, folder: Path, num_rows: int, *, adds_bos: bool) -> None:
    """The tokenizer in `folder`, with stand-ins for rows of the embedding that it has no token for."""
    if not (folder / "tokenizer.json").exists():
        raise IncompatibleError(
            "This base has no tokenizer.json, from which its tokenizer is written: take --to merged."
        )
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    model, kinds = tokenizer["model"], gguf.TokenType
    if model["type"] != "BPE":
        raise IncompatibleError(f"A tokenizer of the type {model['type']} has no known form in GGUF: take --to merged.")
    has_bytes = bool(model.get("byte_fallback"))
    ids = {number: (text, kinds.NORMAL) for text, number in model["vocab"].items()}
    if has_bytes:
        is_byte = re.compile(r"<0x[0-9A-F]{2}>").fullmatch
        ids = {number: (text, kinds.BYTE if is_byte(text) else kind) for number, (text, kind) in ids.items()}
    for token in tokenizer["added_tokens"]:
        text = token["content"].replace("\u2581", " ") if has_bytes else token["content"]  # spaces, as they are shown
        ids[token["id"]] = (text, kinds.CONTROL if token["special"] else kinds.USER_DEFINED)
    tokens = [ids.get(number, (f"[PAD{number}]", kinds.UNUSED)) for number in range(num_rows)]
    writer.add_token_list([text for text, _ in tokens])
    writer.add_token_types([kind for _, kind in tokens])
    if has_bytes:
        scores: dict[str, float] = {}  # llama.cpp joins by score what Hugging Face joins by the order of its merges
        for place, pair in enumerate(model["merges"]):
            scores.setdefault("".join(pair if isinstance(pair, list) else pair.split(" ")), -float(place))
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_scores([scores.get(text, -float(len(scores) + 1)) for text, _ in tokens])
        writer.add_add_space_prefix("Prepend" in json.dumps(tokenizer.get("normalizer")))
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre_tokenizer(tokenizer["pre_tokenizer"]))
    special = gguf.SpecialVocab(folder, load_merges=not has_bytes, n_vocab=num_rows)
    special.add_special_token["bos"] = adds_bos  # else llama.cpp takes what most tokenizers of the kind do
    special.add_to_gguf(writer, quiet=True)


def _pre_tokenizer(settings: Mapping[str, Any]) -> str:
    steps = settings.get("pretokenizers", [settings])
    for step in steps:
        if pattern := step.get("pattern", {}).get("Regex"):
            if pattern in _PATTERNS:
                return _PATTERNS[pattern]
            break
    else:
        return "smollm" if any(step["type"] == "Digits" for step in steps) else "gpt-2"
    raise IncompatibleError(
        "This base's tokenizer cuts texts in a way whose name in GGUF is not known: take the publisher's GGUF file."
    )
