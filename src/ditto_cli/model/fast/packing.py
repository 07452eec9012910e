"""Linear layers in the form in which a CPU multiplies few rows fastest, for as long as something is sampled.

A step of sampling multiplies as many rows as there are sequences. The library's product is made for hundreds of rows;
oneDNN is faster on weights that were packed before (docs/performance.md). The active adapter is added to the packed
copy, which costs nothing more; the base's own weights are not touched, and the copy, as large as they are, goes when
the sampling ends.

Legend: O outputs, I inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ditto_cli.model.policy.policy import Policy

# What torch's own compiler packs and multiplies with; private, so they may go.
_OPERATORS = ("_reorder_linear_weight", "_linear_pointwise")
_ROWS = 16  # that weights are packed for; any other number goes as fast


@contextmanager
def packed_linears(policy: Policy, *, with_adapter: bool = True) -> Iterator[None]:
    """Within the block, products are taken from packed weights; what comes out is the same up to rounding.

    Without the adapter, it stays beside the packed layers, as where each row has another one. Does nothing where it
    does not apply: on a GPU, with 4-bit weights, or on a CPU without oneDNN.
    """
    is_there = torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, each) for each in _OPERATORS)
    layers = _packable(policy, with_adapter) if is_there and policy.hardware.device.type == "cpu" else []
    try:
        for layer in layers:
            layer.forward = _packed_forward(layer, policy.active)
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _packable(policy: Policy, with_adapter: bool) -> list[Any]:
    """Each fp32 linear layer, with its adapters where it has some, whose `forward` is the class's own."""
    layers: list[Any] = []
    inside: set[nn.Module] = set()  # a layer with adapters: the layer itself, and the adapters' own
    for module in policy.model.modules():
        if module in inside or "forward" in vars(module):
            continue
        linear = module
        if isinstance(module, LoraLayer):
            linear = module.get_base_layer()
            inside.update(module.modules())
        if type(linear) is nn.Linear and linear.weight.dtype == torch.float32:
            layers.append(module if with_adapter else linear)
    return layers


def _packed_forward(layer: Any, adapter: str | None) -> Callable[..., Tensor]:
    linear = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    weight_OI = linear.weight.detach()
    if linear is not layer and adapter in layer.lora_A:
        weight_OI = weight_OI + layer.get_delta_weight(adapter).detach()
    packed = torch.ops.mkldnn._reorder_linear_weight(weight_OI, _ROWS)

    def forward(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return torch.ops.mkldnn._linear_pointwise(inputs, packed, linear.bias, "none", [], "")

    return forward
