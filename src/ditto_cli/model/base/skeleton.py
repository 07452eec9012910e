"""A base model without its weights -> whether a stranger's adapter fits it, and the files of one that does.

The base is built from its own configuration on torch's meta device: all of its modules in no memory and no time. What
an adapter's files say is made here from settings that were checked; nothing but numbers is taken from the stranger.
"""

from __future__ import annotations

from collections.abc import Mapping

from peft import set_peft_model_state_dict
from safetensors.torch import load

from ditto_cli.config import LoraSettings
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.model.policy.lora import WEIGHTS_FILE
from ditto_cli.model.policy.policy import Policy

_NAME = "imported"

Shapes = Mapping[str, tuple[int, ...]]


def attach(skeleton: Policy, lora: LoraSettings) -> Shapes:
    """Put an adapter of these settings on the skeleton.

    Returns:
        The shapes of the tensors that such an adapter has.

    Raises:
        IncompatibleError: the base has no such modules.
    """
    try:
        skeleton.add_adapter(_NAME, lora, seed=0)
    except InputError as error:
        raise IncompatibleError(str(error)) from None
    return {key: tuple(value.shape) for key, value in skeleton.weights(_NAME).items()}


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

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    for key, module in skeleton.model.named_modules():
        if key.rpartition(".")[2].startswith("lora_"):
            module.to_empty(device="cpu")  # only the adapter gets memory; all of it is filled below
    set_peft_model_state_dict(skeleton.model, load(weights), adapter_name=_NAME)
    return {**skeleton.serialise(_NAME), WEIGHTS_FILE: weights}
