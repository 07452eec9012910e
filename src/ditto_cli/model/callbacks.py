"""A Hugging Face trainer callback that knows nothing: it hands every step's loss to a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback

# What Hugging Face's trainers print by themselves; ours reports instead.
TALKATIVE_CALLBACKS = (PrinterCallback, ProgressCallback)


class EachStep(TrainerCallback):
    """Calls `on_step(step, loss)` after each step, `step` counted from 1; ends the training when it returns True."""

    def __init__(self, on_step: Callable[[int, float], bool]) -> None:
        self._on_step = on_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback`."""
        if logs and "loss" in logs and self._on_step(state.global_step, float(logs["loss"])):
            control.should_training_stop = True
