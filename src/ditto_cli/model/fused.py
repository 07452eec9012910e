"""A linear layer with its adapter as one step of autograd, for scoring and training on a CPU.

The library computes the layer, the adapter, their scaling and their sum one after the other, and again on the way back:
passes over the whole output that only move memory. Here the adapter's products are added where the layer's stand, and
its own gradient is taken in the form that a CPU multiplies faster. The numbers are the same up to rounding.

Legend: T tokens, I inputs, O outputs, R rank of the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from ditto_cli.model.policy import Policy


class _AdaptedLinear(torch.autograd.Function):
    """x W^T + b + s (x A^T) B^T, with gradients for x, A and B; W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight_OI: Tensor, bias_O: Tensor | None, a_RI: Tensor, b_OR: Tensor, scaling: float
    ) -> Tensor:
        inputs_TI = inputs.reshape(-1, inputs.shape[-1])
        outputs_TO = nn.functional.linear(inputs_TI, weight_OI, bias_O)
        inner_TR = inputs_TI @ a_RI.T
        outputs_TO.addmm_(inner_TR, b_OR.T, alpha=scaling)
        ctx.save_for_backward(inputs_TI, weight_OI, a_RI, b_OR, inner_TR)
        ctx.scaling = scaling
        return outputs_TO.view(*inputs.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        inputs_TI, weight_OI, a_RI, b_OR, inner_TR = ctx.saved_tensors
        (outputs,) = gradients
        outputs_TO = outputs.reshape(-1, outputs.shape[-1])
        inner_gradient_TR = (outputs_TO @ b_OR).mul_(ctx.scaling)
        inputs_gradient = None
        if ctx.needs_input_grad[0]:
            gradient_TI = (outputs_TO @ weight_OI).addmm_(inner_gradient_TR, a_RI)
            inputs_gradient = gradient_TI.view(*outputs.shape[:-1], -1)
        a_gradient = b_gradient = None
        if ctx.needs_input_grad[3]:
            a_gradient = inner_gradient_TR.T @ inputs_TI
            b_gradient = (inner_TR.T @ outputs_TO).mul_(ctx.scaling).T
        return inputs_gradient, None, None, a_gradient, b_gradient, None


@contextmanager
def fused_adapters(policy: Policy) -> Iterator[None]:
    """Within the block, fp32 layers on a CPU compute their adapter so; others, and any with dropout, as they are.

    Nothing is changed where activations are recomputed: that happens later, outside of the block.
    """
    is_left = policy.hardware.is_cuda or policy.num_checkpointed_layers > 0
    layers = [] if is_left else [module for module in policy.model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _is_plain(module: nn.Module) -> bool:
    if not isinstance(module, LoraLayer) or "forward" in vars(module):
        return False
    linear = module.get_base_layer()
    return type(linear) is nn.Linear and linear.weight.dtype == torch.float32 and not module.lora_variant


def _forward(layer: Any, inputs: Tensor, *arguments: Any, **options: Any) -> Any:
    active = [] if layer.disable_adapters else [name for name in layer.active_adapters if name in layer.lora_A]
    drops = layer.training and any(getattr(layer.lora_dropout[name], "p", 0) > 0 for name in active)
    if len(active) != 1 or drops or layer.merged or arguments or options:
        return type(layer).forward(layer, inputs, *arguments, **options)
    (name,) = active
    linear = layer.get_base_layer()
    a_RI, b_OR = layer.lora_A[name].weight, layer.lora_B[name].weight
    return _AdaptedLinear.apply(inputs, linear.weight, linear.bias, a_RI, b_OR, layer.scaling[name])
