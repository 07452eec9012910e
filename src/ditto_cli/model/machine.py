"""What torch and bitsandbytes can do on this machine: looked at and tried out, as versions and drivers vary."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch

from ditto_cli.model.hardware import Hardware, detect

_ROWS = 64
_MOST_ERROR = 0.2  # of the weights' deviation; NF4 comes to about 0.1


@dataclass(frozen=True)
class Machine:
    """The device that a run would take, torch's threads, and why 4-bit weights cannot be used there if so."""

    hardware: Hardware
    num_threads: int
    four_bit_problem: str | None


def examine() -> Machine:
    """Look at this machine; takes a moment, and a few KiB of the device's memory."""
    hardware = detect("auto")
    return Machine(hardware, torch.get_num_threads(), four_bit_problem(hardware.device))


def four_bit_problem(device: torch.device) -> str | None:
    """Why weights cannot be held in NF4 on `device`, in words; None where a small matrix comes back as it should."""
    weights = torch.randn(_ROWS, _ROWS, generator=torch.Generator().manual_seed(0)).to(device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from bitsandbytes.functional import dequantize_4bit, quantize_4bit

            packed, state = quantize_4bit(weights, quant_type="nf4")
            restored = dequantize_4bit(packed, state).float()
    except Exception as error:  # a missing library, kernel or driver comes in many classes
        return f"bitsandbytes fails here ({type(error).__name__})"
    deviation = float((restored - weights).std() / weights.std())
    return None if deviation < _MOST_ERROR else f"bitsandbytes computes wrongly here (error {deviation:.2f})"
