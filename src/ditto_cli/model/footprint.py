"""A base's shape -> bytes: of its weights, of an adapter in training, and of what each kind of work holds at its peak.

All of it follows from the configuration, so that a base can be judged before it is loaded or even downloaded. What
autograd keeps was read off the layers of the Llama family, which the presets' bases belong to.

Legend: T tokens of one forward pass, N of them whose logits are computed, V vocabulary, H hidden size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from ditto_cli.config import LoraSettings
from ditto_cli.errors import InputError
from ditto_cli.model.attention import SPARE_TOKENS
from ditto_cli.model.fixed_steps import ROOM_TOKENS
from ditto_cli.model.hardware import available_bytes
from ditto_cli.model.passes import Pass
from ditto_cli.model.policy import Policy
from ditto_cli.model.scoring import tokens_a_chunk

MIB, GIB = 2**20, 2**30
# What CUDA itself, its libraries and the gaps of torch's allocator take of a GPU's memory, beside all tensors.
CUDA_CONTEXT_BYTES = 800 * MIB
_SFT_VOCABULARY = 32_768  # of the logits, TRL has this many columns at a time,
_SFT_LOGIT_COPIES = 9  # and on the way back so many steps of their gradient, where it has no kernel of its own
_LOGIT_COPIES = 3  # the logits, their log-softmax, and the gradient
# On a CPU the C library gives back little of what a pass has freed while passes differ in length (docs/plan.md): a
# phase comes to this many times its largest pass.
_UNEVEN = 1.4
_USED_SHARE = 0.85  # of a GPU's memory that an update may come to; the rest is the desktop's
_BLOCK, _SCALE_BLOCK, _NF4_CODES, _SCALE_CODES = 64, 256, 16, 256  # bitsandbytes: weights a scale, scales a scale


class UnknownShapeError(InputError):
    """A base of a kind whose time and memory cannot be reckoned."""


@dataclass(frozen=True)
class Linear:
    """One kind of linear layer: the last part of its name, its sides, and how many of it there are."""

    name: str
    inputs: int
    outputs: int
    num: int


@dataclass(frozen=True)
class Weights:
    """What a base is made of: its linear layers but for the head, and the number of all its other weights."""

    linears: tuple[Linear, ...]
    num_others: int

    @property
    def num(self) -> int:
        """All weights; those that embedding and head share count once."""
        return self.num_others + sum(linear.inputs * linear.outputs * linear.num for linear in self.linears)

    def num_bytes(self, *, quantize: str, dtype_bytes: int) -> int:
        """Bytes of the weights in memory; `quantize` is nf4 or none."""
        if quantize != "nf4":
            return self.num * dtype_bytes
        packed = sum(linear.num * _nf4_bytes(linear.inputs * linear.outputs) for linear in self.linears)
        return packed + self.num_others * dtype_bytes

    def num_lora(self, lora: LoraSettings) -> int:
        """Weights of an adapter: A and B at every layer that is aimed at; layers of other names have none."""
        return sum(lora.r * (linear.inputs + linear.outputs) * linear.num for linear in self.targets(lora))

    def targets(self, lora: LoraSettings) -> list[Linear]:
        """The layers that get an adapter."""
        return [linear for linear in self.linears if lora.targets == "all-linear" or linear.name in lora.targets]


@dataclass(frozen=True)
class Shape:
    """The sizes of a decoder of the Llama family."""

    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_heads: int
    head_size: int
    vocabulary: int
    is_tied: bool
    has_head_norms: bool = False

    @property
    def weights(self) -> Weights:
        """What a base of this shape is made of."""
        queries, keys = self.heads * self.head_size, self.key_heads * self.head_size
        sides = {
            **{"q_proj": (self.hidden, queries), "k_proj": (self.hidden, keys), "v_proj": (self.hidden, keys)},
            **{"o_proj": (queries, self.hidden), "gate_proj": (self.hidden, self.intermediate)},
            **{"up_proj": (self.hidden, self.intermediate), "down_proj": (self.intermediate, self.hidden)},
        }
        norms = 2 * self.hidden + 2 * self.head_size * self.has_head_norms
        embeddings = self.vocabulary * self.hidden * (1 if self.is_tied else 2)
        return Weights(
            tuple(Linear(name, *of, self.layers) for name, of in sorted(sides.items())),
            embeddings + self.layers * norms + self.hidden,
        )

    @property
    def cache_elements(self) -> int:
        """Keys and values of one token."""
        return 2 * self.layers * self.key_heads * self.head_size


# The shipped presets' bases, from the config.json of each.
SHAPES: Mapping[str, Shape] = {
    "embedded": Shape(30, 576, 1536, 9, 3, 64, 49_152, is_tied=True),
    "HuggingFaceTB/SmolLM2-135M-Instruct": Shape(30, 576, 1536, 9, 3, 64, 49_152, is_tied=True),
    "mistralai/Mistral-7B-Instruct-v0.2": Shape(32, 4096, 14_336, 32, 8, 128, 32_000, is_tied=False),
    "Qwen/Qwen3-4B": Shape(36, 2560, 9728, 32, 8, 128, 151_936, is_tied=True, has_head_norms=True),
    "Qwen/Qwen3-8B": Shape(36, 4096, 12_288, 32, 8, 128, 151_936, is_tied=False, has_head_norms=True),
}


def shape_of(config: Any) -> Shape:
    """The shape in a model's configuration (transformers); what it lacks has the family's usual value.

    Raises:
        UnknownShapeError: it has no single size of each kind.
    """
    text = config.get_text_config()

    def size(name: str, usual: int | None = None) -> int:
        """Under whichever name the family stores it."""
        value = getattr(text, name, None) or usual
        if not isinstance(value, int):
            raise UnknownShapeError(f"bases of the kind {text.model_type} have no single {name}.")
        return value

    hidden, heads = size("hidden_size"), size("num_attention_heads")
    return Shape(
        layers=size("num_hidden_layers"),
        hidden=hidden,
        intermediate=size("intermediate_size", 4 * hidden),
        heads=heads,
        key_heads=size("num_key_value_heads", heads),
        head_size=size("head_dim", hidden // heads),
        vocabulary=size("vocab_size"),
        is_tied=bool(getattr(text, "tie_word_embeddings", True)),
        has_head_norms=str(text.model_type).startswith("qwen3"),
    )


def weights_of(model: nn.Module, head: nn.Module | None) -> Weights:
    """What a model is made of, on whichever device and in whichever precision; an adapter on it is left out.

    Args:
        model: a base, loaded or on the meta device.
        head: its output head.
    """
    counts: Counter[tuple[str, int, int]] = Counter()
    inner: set[int] = set()
    for key, module in model.named_modules():
        if isinstance(module, nn.Linear) and module is not head and "lora_" not in key:
            counts[key.removesuffix(".base_layer").rpartition(".")[2], module.in_features, module.out_features] += 1
            inner.add(id(module.weight))
    others = {id(p): p.numel() for key, p in model.named_parameters() if "lora_" not in key and id(p) not in inner}
    return Weights(tuple(Linear(*kind, num) for kind, num in sorted(counts.items())), sum(others.values()))


def tensor_bytes(tensors: Iterable[Any]) -> int:
    """Bytes of parameters as they lie in memory, with the scales of those in 4 bits; each counts once."""
    total = 0
    for tensor in {id(one): one for one in tensors}.values():
        total += tensor.numel() * tensor.element_size()
        state = vars(tensor).get("quant_state")  # of bitsandbytes
        if state is not None:
            parts = [state.absmax, state.code]
            if state.nested:
                parts += [state.state2.absmax, state.state2.code, state.offset]
            total += sum(part.numel() * part.element_size() for part in parts)
    return total


def _nf4_bytes(num: int) -> int:
    scales = math.ceil(num / _BLOCK)
    codes = 4 * (_NF4_CODES + _SCALE_CODES + 1)
    return math.ceil(num / 2) + scales + 4 * math.ceil(scales / _SCALE_BLOCK) + codes


@dataclass(frozen=True)
class Load:
    """The largest pieces of a run, by which its memory is told.

    Attributes:
        sft: texts of SFT's largest row, and its tokens, prompts included.
        update: the largest micro-batch.
        scoring: the largest row that is scored under the reference.
        rows: sequences that are sampled side by side.
        columns: tokens that the cache comes to hold of each.
    """

    sft: tuple[int, int]
    update: Pass
    scoring: Pass
    rows: int
    columns: int


class MemoryModel:
    """Bytes of a training on one base: `fixed` for all of it, and more at the peak of each phase.

    Args:
        shape: of the base.
        weights: of the base.
        lora: of the adapter.
        quantize: nf4 or none.
        is_cuda: bf16 with checkpointed activations, else fp32.
        memory_bytes: of the GPU; without it every layer is taken to compute its activations anew.
        saved_ratio: what autograd was measured to keep, over what is counted here.
    """

    def __init__(
        self,
        shape: Shape,
        weights: Weights,
        lora: LoraSettings,
        *,
        quantize: str,
        is_cuda: bool,
        memory_bytes: int | None = None,
        saved_ratio: float = 1.0,
    ) -> None:
        self._shape, self._weights, self._lora = shape, weights, lora
        self._quantize, self._is_cuda, self._saved_ratio = quantize, is_cuda, saved_ratio
        self._element = 2 if is_cuda else 4
        self._memory_bytes = memory_bytes

    @property
    def base_bytes(self) -> int:
        """The base's weights."""
        return self._weights.num_bytes(quantize=self._quantize, dtype_bytes=self._element)

    @property
    def adapter_bytes(self) -> int:
        """Policy, gradient, AdamW's two moments and the reference, in fp32."""
        return 5 * 4 * self._weights.num_lora(self._lora)

    def phases(self, load: Load) -> dict[str, int]:
        """Bytes at the peak of each kind of work, beside what is fixed."""
        sft, scoring, update = self.sft(load.sft[1]), self.forward(load.scoring), self.update(load.update)
        sampling = self.sampling(load.rows, load.columns)
        if self._is_cuda:
            return {"sft": sft, "scoring": scoring, "update": update, "sampling": sampling}
        return {
            "sft": round(_UNEVEN * sft),
            "scoring": scoring,
            "update": round(_UNEVEN * update),
            "sampling": sampling,
        }

    def sft(self, tokens: int) -> int:
        """One forward and backward pass of a batch's texts in one row, on a base that attends text by text."""
        kept = self._kept(Pass(tokens, tokens), self._shape.layers if self._is_cuda else 0)
        copies = 1 if self._is_cuda else _SFT_LOGIT_COPIES
        logits = tokens * min(self._shape.vocabulary, _SFT_VOCABULARY) * 4 * copies
        return kept + logits + self._passing(tokens) + tokens**2  # the mask

    def update(self, batch: Pass) -> int:
        """One forward and backward pass of a micro-batch."""
        return self._update(batch, self.checkpointed_layers(batch))

    def checkpointed_layers(self, batch: Pass) -> int:
        """The fewest layers that must compute their activations anew for an update to stay in its share of the GPU."""
        if not self._is_cuda:
            return 0
        layers = self._shape.layers
        if self._memory_bytes is None:
            return layers
        room = _USED_SHARE * self._memory_bytes - CUDA_CONTEXT_BYTES - self.base_bytes - self.adapter_bytes
        return next((num for num in range(layers) if self._update(batch, num) <= room), layers)

    def _update(self, batch: Pass, checkpointed: int) -> int:
        return self._kept(batch, checkpointed) + self._logits(batch.num_scored) + self._passing(batch.tokens)

    def forward(self, group: Pass) -> int:
        """A pass without gradients."""
        return self._logits(group.num_scored) + self._passing(group.tokens) + group.pairs * (1 + self._element)

    def sampling(self, rows: int, columns: int) -> int:
        """Cache with spare room, what moves when it grows, and the distributions of one step."""
        spare = ROOM_TOKENS if self._is_cuda else SPARE_TOKENS
        cache = rows * (columns + spare) * self._shape.cache_elements * self._element
        moving = cache if self._is_cuda else 2 * cache // self._shape.layers  # into wider room, all layers or one
        packed = 0 if self._is_cuda or self._quantize == "nf4" or rows == 1 else self._weights.num * 4
        return cache + moving + packed + rows * self._shape.vocabulary * 4 * 4

    def saved_bytes(self, group: Pass) -> int:
        """What autograd keeps of a group's forward pass where no activations are recomputed; none of the weights."""
        kept = self._shape.layers * self._layer_elements(group) * self._element
        return kept + self._masks(group.pairs) + group.num_scored * self._shape.hidden * self._element

    def _kept(self, batch: Pass, checkpointed: int) -> int:
        """Of a checkpointed layer one hidden state; and of one at a time all, while it is computed anew."""
        hidden = batch.tokens * self._shape.hidden
        one = self._layer_elements(batch) + 2 * hidden * self._is_cuda  # there the norms compute in fp32
        elements = (self._shape.layers - checkpointed) * one
        if checkpointed:
            elements += checkpointed * hidden + one
        masks = 3 * batch.pairs if self._is_cuda else self._masks(batch.pairs)
        return round((elements * self._element + masks) * self._saved_ratio)

    def _masks(self, pairs: int) -> int:
        """The mask in the numbers of the attention, which every layer makes for itself."""
        return pairs * self._shape.layers * self._element

    def _logits(self, num_scored: int) -> int:
        at_a_time = min(num_scored, tokens_a_chunk(self._shape.vocabulary, is_cuda=self._is_cuda))
        return at_a_time * self._shape.vocabulary * 4 * _LOGIT_COPIES

    def _passing(self, tokens: int) -> int:
        """What one layer needs for a moment: gradients, and a 4-bit layer's weights in full."""
        largest = max((linear.inputs * linear.outputs for linear in self._weights.linears), default=0)
        unpacked = largest * self._element if self._quantize == "nf4" else 0
        return tokens * (3 * self._shape.intermediate + 4 * self._shape.hidden) * self._element + unpacked

    def _layer_elements(self, batch: Pass) -> int:
        """Numbers that autograd keeps in one layer.

        Of each copied token: keys and values of all heads. Of each token always: the inputs of both norms, queries,
        keys and values of all heads, what attention gives and its sums, and gate, its activation and the other half of
        the MLP. For the adapter: the input of each layer that it is on (the norms' outputs, attention's, the MLP's
        product) and what A makes of it. Where there is dropout, each layer keeps an input and a mask of its own.
        """
        shape = self._shape
        queries = shape.heads * shape.head_size
        targets = {linear.name: linear.inputs for linear in self._weights.targets(self._lora)}
        if self._lora.dropout > 0:
            inputs = 2 * sum(targets.values())
        else:
            inputs = _any(targets, "q_proj", "k_proj", "v_proj") * shape.hidden
            inputs += _any(targets, "gate_proj", "up_proj") * shape.hidden
            inputs += _any(targets, "down_proj") * shape.intermediate
        norms = 2 * (shape.heads + shape.key_heads) * shape.head_size * shape.has_head_norms
        kept = 2 * shape.hidden + 4 * queries + shape.heads + 3 * shape.intermediate + 2 + norms
        return batch.tokens * (kept + inputs + self._lora.r * len(targets)) + 2 * queries * batch.copied


def memory_of(policy: Policy, lora: LoraSettings, *, saved_ratio: float = 1.0) -> MemoryModel:
    """The model of a loaded base's memory."""
    head = policy.model.get_output_embeddings()
    return MemoryModel(
        shape_of(policy.model.config),
        weights_of(policy.model, head),
        lora,
        quantize=policy.quantize,
        is_cuda=policy.hardware.is_cuda,
        memory_bytes=min(policy.hardware.memory_bytes, available_bytes(policy.hardware)),
        saved_ratio=saved_ratio,
    )


def _any(names: Collection[str], *wanted: str) -> int:
    return int(any(name in names for name in wanted))
