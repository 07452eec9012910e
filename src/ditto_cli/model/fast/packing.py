"""Linear layers in the form in which a CPU multiplies few rows fastest, for as long as something is sampled.

A step of sampling multiplies as many rows as there are sequences. The library's product is made for hundreds of rows;
MKL is faster on weights that were packed for that number of rows before (docs/performance.md). The active adapter is
added to the packed copy, which costs nothing more; the base's own weights are not touched, and the copy, as large as
they are, goes when the sampling ends.

Legend: R rows, I inputs, O outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ditto_cli.model.policy.policy import Policy

_OPERATOR = "_mkl_reorder_linear_weight"  # what torch's own compiler packs with; private, so it may go
# Below, the weights' way from memory is what takes the time, in either form.
_LEAST_ROWS = 4


@contextmanager
def packed_linears(policy: Policy) -> Iterator[Callable[[int], None]]:
    """Within the block, products of few rows are taken from packed weights; what comes out is the same up to rounding.

    Does nothing where it does not apply: on a GPU, with 4-bit weights, or on a CPU without MKL.

    Returns:
        A function to call with the number of rows before each step; it packs anew when that has halved or grown.
    """
    has_mkl = torch.backends.mkl.is_available() and hasattr(torch.ops.mkl, _OPERATOR)
    layers = _packable(policy) if has_mkl and policy.hardware.device.type == "cpu" else []
    num_packed = 0

    def fit(num_rows: int) -> None:
        nonlocal num_packed
        wanted = max(num_rows, _LEAST_ROWS)
        is_fitting = num_packed // 2 < wanted <= num_packed
        if is_fitting or not layers or (num_rows == 1 and not num_packed):
            return
        for layer in layers:
            layer.forward = _packed_forward(layer, policy.active, wanted)
        num_packed = wanted

    try:
        yield fit
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _packable(policy: Policy) -> list[Any]:
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
            layers.append(module)
    return layers


def _packed_forward(layer: Any, adapter: str | None, num_rows: int) -> Callable[[Tensor], Tensor]:
    linear = layer.get_base_layer() if isinstance(layer, LoraLayer) else layer
    weight_OI = linear.weight.detach()
    if linear is not layer and adapter in layer.lora_A:
        weight_OI = weight_OI + layer.get_delta_weight(adapter).detach()
    packed = getattr(torch.ops.mkl, _OPERATOR)(weight_OI, num_rows)
    usual = type(layer).forward

    def forward(inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        rows_RI = inputs.reshape(-1, inputs.shape[-1])
        if rows_RI.shape[0] > num_rows:  # a prompt is read
            return usual(layer, inputs, *args, **kwargs)
        missing = num_rows - rows_RI.shape[0]
        if missing:
            rows_RI = nn.functional.pad(rows_RI, (0, 0, 0, missing))
        # The unpacked weight is only for other numbers of rows, which do not occur here.
        rows_RO = torch.ops.mkl._mkl_linear(rows_RI, packed, linear.weight, linear.bias, num_rows)
        return rows_RO[: num_rows - missing].reshape(*inputs.shape[:-1], -1)

    return forward
