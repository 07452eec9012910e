"""One base model in memory with any number of LoRA adapters on it, of which one or none is active.

Adapters are added, switched and removed without touching the base weights, so switching back gives the same logits
bit for bit. Adapter weights are fp32 always: at DITTO's learning rates a bf16 weight rounds almost every update away.
Of a base that sees pictures too, only the text decoder is used and gets adapters.

Legend: B sequences, T tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.cache_utils import DummyLayer, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_layers import GradientCheckpointingLayer

from ditto_cli.config import WORKING_BASES, LoraSettings
from ditto_cli.errors import IncompatibleError, InputError, NonFiniteError
from ditto_cli.model.base.template import ChatFormat
from ditto_cli.model.fast.rows import ROW_ATTENTION, Group
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.policy.lora import Lora, contents
from ditto_cli.model.policy.memory import MemoryGuard
from ditto_cli.store import BaseIdentity

_CACHE_SHARE = 0.15  # of the device's memory, for keys and values of sequences side by side


@dataclass(frozen=True)
class Head:
    """The output head and the scaling that the model's family puts on its logits."""

    linear: Any
    scale: float
    softcap: float | None

    def logits(self, hidden: Tensor) -> Tensor:
        """fp32 logits [..., V] of hidden states [..., H]."""
        logits = self.linear(hidden.to(self.linear.weight.dtype)).float()
        if self.scale != 1:
            logits = logits * self.scale
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


class Policy:
    """A loaded base model, its tokenisation, and the adapters on it.

    Attributes:
        model: the base until the first adapter is added, then the PEFT model around it.
        speed: "auto", "plain" or "graph", see `BaseSettings`.
        has_graphs: whether a CUDA graph of its steps has not failed yet.
    """

    def __init__(
        self,
        base: Any,
        chat: ChatFormat,
        identity: BaseIdentity,
        hardware: Hardware,
        quantize: str,
        speed: str = "auto",
    ) -> None:
        self.model: Any = base
        self.chat = chat
        self.identity = identity
        self.hardware = hardware
        self.quantize = quantize
        self.speed = speed
        self.active: str | None = None
        self.guard = MemoryGuard("GPU memory" if hardware.is_cuda else "This machine's memory")
        self.has_graphs = True
        self._base = base
        self._decoder = base.get_decoder()
        self._prefix = next(name for name, module in base.named_modules() if module is self._decoder)
        self._config = base.config.get_text_config()

    @property
    def context_tokens(self) -> int:
        """Most tokens that the base can read and write at once."""
        return int(self._config.max_position_embeddings)

    @property
    def window(self) -> int | None:
        """Most tokens back that some layer's attention reaches, where a base limits it."""
        window = getattr(self._config, "sliding_window", None)
        return int(window) if window and getattr(self._config, "use_sliding_window", True) else None

    @property
    def rope_border(self) -> int | None:
        """Tokens beyond which a base places all of a text otherwise, and with it what is computed beside it."""
        rope = getattr(self._config, "rope_parameters", None) or {}
        grows = rope.get("rope_type") in ("longrope", "dynamic")
        return rope.get("original_max_position_embeddings") if grows else None

    def sees_all(self, num_tokens: int) -> bool:
        """Whether a text of so many tokens can share a row: no layer's window hides a part of it, nor is it moved."""
        return all(border is None or num_tokens <= border for border in (self.window, self.rope_border))

    @property
    def has_slots(self) -> bool:
        """Whether sequences of different prompts can be sampled side by side, and texts scored in one row.

        Not where a layer is neither full nor sliding attention: its state knows no positions, so texts would mix.
        """
        layers = {type(layer) for layer in DynamicCache(config=self._config).layers}
        is_known = layers <= {DynamicLayer, DynamicSlidingWindowLayer, DummyLayer}
        return self.speed != "plain" and is_known and self._base.config._attn_implementation in ("sdpa", ROW_ATTENTION)

    @property
    def takes_groups(self) -> bool:
        """Whether a row's groups reach the attention, so that several may share a row."""
        hands_on = inspect.signature(self._decoder.forward).parameters.values()
        drops = getattr(self._config, "attention_dropout", 0) or 0  # which is the library's to do
        is_ours = self.has_slots and self._base.config._attn_implementation == ROW_ATTENTION and not drops
        return is_ours and any(parameter.kind is parameter.VAR_KEYWORD for parameter in hands_on)

    @property
    def cached_token_bytes(self) -> int:
        """Bytes of the keys and values of one token."""
        layers = getattr(self._config, "per_layer_config", None) or [self._config] * self._config.num_hidden_layers
        numbers = 0
        for layer in layers:
            heads = getattr(layer, "num_key_value_heads", None) or layer.num_attention_heads
            numbers += 2 * heads * (getattr(layer, "head_dim", None) or layer.hidden_size // layer.num_attention_heads)
        return numbers * self.hardware.dtype.itemsize

    @property
    def max_cached_tokens(self) -> int:
        """Most tokens whose keys and values lie in memory side by side."""
        return int(_CACHE_SHARE * self.hardware.memory_bytes / self.cached_token_bytes)

    @property
    def is_exact(self) -> bool:
        """Whether sampling and scoring find the same log-probabilities up to rounding."""
        return self.hardware.dtype == torch.float32 and self.quantize == "none"

    @property
    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters in memory."""
        return tuple(self.model.peft_config) if isinstance(self.model, PeftModel) else ()

    def add_adapter(self, name: str, lora: LoraSettings, seed: int) -> None:
        """A fresh adapter (B = 0, so it changes nothing yet), A drawn from `seed`; it becomes active and trainable."""
        # A Mamba layer hands the weights of its last product to a kernel, past any adapter on it.
        head = next(name for name, module in self._base.named_modules() if module is self._base.get_output_embeddings())
        inside = f"{re.escape(self._prefix)}\\.|{re.escape(head)}$"
        excluded = re.compile(rf"(?!{inside}).*|.*\.mamba\.out_proj")
        modules = [name for name, module in self._base.named_modules() if isinstance(module, nn.Linear)]
        linear = [name.removesuffix(".base_layer") for name in modules if ".lora_" not in name]  # adapters' own are not
        adaptable = [name for name in linear if not excluded.fullmatch(name)]
        kinds = sorted({name.rpartition(".")[2] for name in adaptable})
        if lora.targets != "all-linear" and (missing := sorted(set(lora.targets) - set(kinds))):
            raise InputError(
                f"lora.targets: this base has no {', '.join(missing)}; its layers are {', '.join(kinds)}. "
                "--set lora.targets=all-linear takes all of them."
            )
        config = LoraConfig(
            r=lora.r,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=lora.targets if isinstance(lora.targets, str) else list(lora.targets),
            task_type="CAUSAL_LM",
        )
        if len(adaptable) < len(linear):
            config.exclude_modules = excluded.pattern
        with torch.random.fork_rng(devices=[self.hardware.device] if self.hardware.is_cuda else []):
            torch.manual_seed(seed)
            self._attach(name, config)
        self.switch(name, trainable=True)

    def put_adapter(self, name: str, lora: Lora) -> None:
        """An adapter with its weights; it becomes active, not trainable."""
        try:
            self._attach(name, lora.config)
            shapes, given = ({key: value.shape for key, value in w.items()} for w in (self.weights(name), lora.weights))
            if shapes != given:
                raise ValueError("other layers")
            set_peft_model_state_dict(self.model, dict(lora.weights), adapter_name=name)
        except (ValueError, RuntimeError):  # ValueError also where the base has no such modules
            if name in self.adapters:
                self.remove(name)
            raise IncompatibleError(f"The adapter does not fit the base {self.identity.id}: other layers.") from None
        self.switch(name)

    def copy_adapter(self, source: str, name: str) -> None:
        """A second adapter with the weights of `source`; it becomes active and trainable."""
        weights = {key: value.clone() for key, value in self.weights(source).items()}
        self.put_adapter(name, Lora(self.model.peft_config[source], weights))
        self.switch(name, trainable=True)

    def switch(self, name: str | None, *, trainable: bool = False) -> None:
        """Make an adapter active, or none (the base alone). Takes milliseconds: no weights move."""
        if name is None:
            if isinstance(self.model, PeftModel) and self.adapters:
                self.model.base_model.disable_adapter_layers()
        else:
            self.model.base_model.enable_adapter_layers()
            self.model.set_adapter(name, inference_mode=not trainable)
        self.active = name

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Within the block `name` is active and nothing trains; then all is as before."""
        before, trained = self.active, self.model.training
        trainable = before is not None and any(p.requires_grad for p in self.parameters())
        self.switch(name)
        self.model.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.switch(before, trainable=trainable)
            self.model.train(trained)

    def remove(self, name: str) -> None:
        """Drop an adapter from memory; the base is active afterwards unless another one was."""
        if self.active == name:
            self.switch(None)
        active = self.active
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns that it makes another adapter active; ours is chosen below
            self.model.delete_adapter(name)
        if not self.adapters:  # PEFT cannot be without an adapter: give the plain base back
            self.model = self.model.unload()
            self._base = self.model
        self.switch(active)

    def parameters(self) -> list[nn.Parameter]:
        """The active adapter's weights, in a fixed order."""
        marker = f".{self.active}."
        return [p for key, p in self.model.named_parameters() if "lora_" in key and marker in key]

    def is_finite(self) -> bool:
        """Whether all of the active adapter's weights are; a NaN in one need not show in any output."""
        return _all_finite(self.parameters())

    def weights(self, name: str) -> dict[str, Tensor]:
        """An adapter's tensors under PEFT's own keys."""
        return dict(get_peft_model_state_dict(self.model, adapter_name=name, save_embedding_layers=False))

    def serialise(self, name: str) -> dict[str, bytes]:
        """An adapter as PEFT's two files; one with a weight that is NaN or infinite is never written."""
        weights = self.weights(name)
        if not _all_finite(weights.values()):
            raise NonFiniteError(
                "The adapter's weights are not finite, so it was not saved: lower dpo.learning_rate and "
                "sft.learning_rate."
            )
        return contents(Lora(self.model.peft_config[name], weights), self.identity.id, self.identity.revision)

    def hidden(
        self,
        input_ids_BT: Tensor,
        attention_mask: Tensor,
        position_ids_BT: Tensor,
        cache: Any = None,
        *,
        groups: Sequence[Group] = (),
    ) -> Tensor:
        """Last hidden states [B, T, H] of the active policy.

        The mask is [B, T + cached] of real tokens, or bool [B, 1, T, T]: which token sees which. A cache grows by T.
        `groups` are the structure behind the mask of a row; where a base hands it on, attention is computed by it.
        """
        structure = {ROW_ATTENTION: tuple(groups)} if groups and self.takes_groups else {}
        with self.hardware.autocast():
            output = self._decoder(
                input_ids=input_ids_BT,
                attention_mask=attention_mask,
                position_ids=position_ids_BT,
                past_key_values=cache,
                use_cache=cache is not None,
                **structure,
            )
        return output.last_hidden_state

    def head(self) -> Head:
        """The output head with its family's logit scaling."""
        config = self._config.to_dict()
        factors = (config.get(key) for key in ("logit_scale", "lm_head_multiplier", "output_multiplier"))
        scale = math.prod(float(factor) for factor in factors if factor) / (config.get("logits_scaling") or 1.0)
        return Head(self._base.get_output_embeddings(), scale, config.get("final_logit_softcapping"))

    def check_head(self) -> None:
        """Compare `head` with what the base itself makes of two tokens; refuse a family with other logits."""
        ids = torch.arange(2, device=self.hardware.device)[None] + 1
        with torch.inference_mode(), self.hardware.autocast():
            theirs = self._base(input_ids=ids, use_cache=False).logits[0, -1].float()
            ours = self.head().logits(self.hidden(ids, torch.ones_like(ids), ids - 1)[0, -1])
        if not float((theirs - ours).abs().max()) <= 0.05 * max(1.0, float(theirs.abs().max())):
            raise IncompatibleError(
                f"Base model {self.identity.id} scales its logits in a way unknown here: take {WORKING_BASES}."
            )

    @contextmanager
    def lent_to_trainer(self) -> Iterator[Any]:
        """The model for a trainer, which puts a `forward` of its own on the base and on what is around it.

        Afterwards theirs is back.
        """
        lent = (self._base, self.model)
        own = [{key: value for key, value in vars(one).items() if key == "forward"} for one in lent]
        try:
            yield self.model
        finally:
            for one, before in zip(lent, own, strict=True):
                # The flag would keep accelerate from its autocast the next time.
                for key in ("forward", "_original_forward", "_is_accelerate_prepared"):
                    vars(one).pop(key, None)
                vars(one).update(before)

    def recompute_layers(self, is_recomputing: bool) -> None:
        """Let each layer compute its activations anew in the backward pass, or not: less memory, more time.

        The library's own switch adds a hook on the embeddings each time, which only reentrant recomputing needs.
        """
        for layer in self._decoder.modules():
            if isinstance(layer, GradientCheckpointingLayer):
                layer.gradient_checkpointing = is_recomputing
                layer._gradient_checkpointing_func = partial(checkpoint, use_reentrant=False)

    def _attach(self, name: str, config: LoraConfig) -> None:
        assert name not in self.adapters, name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT warns of a second adapter, which is the point here
            if self.adapters:
                self.model.add_adapter(name, config)
            else:
                self.model = get_peft_model(self._base, config, adapter_name=name)
        for key, parameter in self.model.named_parameters():
            if "lora_" in key:
                parameter.data = parameter.data.float()
        self.model.eval()


def lighter_base(quantize: str) -> str:
    """What takes less memory than a base in this form, as advice to the user."""
    return "a smaller base (--base)" + (", or base.quantize=nf4" if quantize == "none" else "")


def _all_finite(tensors: Iterable[Tensor]) -> bool:
    """One reduction over all, so that a GPU is waited for once. The largest magnitude cannot overflow as a sum can."""
    with torch.no_grad():
        return bool(torch.isfinite(nn.utils.get_total_norm(list(tensors), norm_type=math.inf)))
