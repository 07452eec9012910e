"""Stage one: imitate the demonstrations (paper, section 3.2, first step) with `trl.SFTTrainer`, completions only."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from ditto_cli.config import SftSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.model.callbacks import TALKATIVE_CALLBACKS, EachStep
from ditto_cli.model.fused import fused_adapters
from ditto_cli.model.memory import fit_memory, free_memory, say_nothing
from ditto_cli.model.policy import Policy
from ditto_cli.model.rows import ROW, Row
from ditto_cli.seeds import derive_seed

_MOST_MASK_BYTES = 2**30
_IGNORED = -100  # label of tokens that take no part in the loss


@dataclass(frozen=True)
class Imitation:
    """One demonstration as token ids; the completion holds its end token, which is trained like any other."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]


def imitate(
    policy: Policy,
    examples: Sequence[Imitation],
    settings: SftSettings,
    *,
    seed: int,
    on_step: Callable[[int, float], None],
    noted: Callable[[str], None] = say_nothing,
) -> list[float]:
    """Train the active adapter until a batch's loss is below `settings.stop_loss`, or for `settings.max_steps`.

    When memory is full, the adapter is put back and all begins anew, each batch in smaller parts.

    Args:
        policy: its active adapter is trained; everything else is left as it was.
        examples: already tokenised, so that training and sampling share one tokenisation path.
        settings: learning rate, batch size, when to stop.
        seed: of the order of the examples.
        on_step: told the step, counted from 1, and its batch's mean token loss; from 1 again after beginning anew.
        noted: told, in one line, when memory is full.

    Returns:
        The batch losses, one a step.

    Raises:
        MemoryLimitError: not even one text at a time fits into memory.
        NonFiniteError: a loss or a weight is NaN or infinite.
    """
    before = [parameter.detach().clone() for parameter in policy.parameters()]

    def train(texts_at_a_time: int) -> list[float]:
        losses: list[float] = []

        def record(step: int, loss: float) -> bool:
            losses.append(loss)
            on_step(step, loss)
            return not math.isfinite(loss) or loss < settings.stop_loss

        arguments = _trainer_arguments(settings, texts_at_a_time, seed, is_cuda=policy.hardware.is_cuda)
        _train(policy, before, examples, arguments, record)
        return losses

    losses, _ = fit_memory(
        train,
        settings.batch_size,
        noun="text",
        advice=f"take shorter texts, or {policy.lighter_base}",
        hardware=policy.hardware,
        lower=lambda limit: _smaller_part(settings.batch_size, min(limit, len(examples))),
        noted=noted,
    )
    if not all(math.isfinite(loss) for loss in losses):
        raise NonFiniteError(f"The SFT loss is not finite at step {len(losses)}: lower sft.learning_rate.")
    if not policy.is_finite():
        raise NonFiniteError("A weight of the adapter is not finite after SFT: lower sft.learning_rate.")
    return losses


def _train(
    policy: Policy,
    weights: Sequence[torch.Tensor],
    examples: Sequence[Imitation],
    arguments: SFTConfig,
    on_step: Callable[[int, float], bool],
) -> None:
    """Train the active adapter from `weights`, whatever it holds now."""
    try:
        with policy.lent_to_trainer() as model, fused_adapters(policy), policy.hardware.autocast():
            trainer = SFTTrainer(
                model=model,
                args=arguments,
                train_dataset=Dataset.from_list([_row(example) for example in examples]),
                processing_class=policy.chat.tokenizer,
                data_collator=partial(_one_row, policy) if _fits_in_a_row(policy, examples, arguments) else None,
                callbacks=[EachStep(on_step)],
            )
            for callback in TALKATIVE_CALLBACKS:
                trainer.remove_callback(callback)
            # TRL casts the adapters of a quantised base to bf16, where most of DITTO's updates would round away.
            for parameter, value in zip(policy.parameters(), weights, strict=True):
                parameter.data, parameter.grad = value.clone(), None
                assert parameter.dtype == torch.float32
            trainer.train()
    finally:
        policy.checkpoint_activations(0)
        policy.model.eval()
        free_memory()


def _smaller_part(batch_size: int, limit: int) -> int:
    """The largest divisor of `batch_size` below `limit`; 0 when there is none."""
    return max((part for part in range(1, limit) if batch_size % part == 0), default=0)


def _row(example: Imitation) -> dict[str, list[int]]:
    return {
        "input_ids": [*example.prompt_ids, *example.completion_ids],
        "labels": [_IGNORED] * len(example.prompt_ids) + list(example.completion_ids),
    }


def _fits_in_a_row(policy: Policy, examples: Sequence[Imitation], arguments: SFTConfig) -> bool:
    """Whether a batch can be one row: its mask hides no sliding window and is small, also if each layer has its own."""
    lengths = sorted(len(example.prompt_ids) + len(example.completion_ids) for example in examples)
    tokens = sum(lengths[-arguments.per_device_train_batch_size :])
    within = policy.window is None or lengths[-1] <= policy.window
    return within and tokens**2 * (1 if policy.takes_structure else 4 * policy.num_layers) <= _MOST_MASK_BYTES


def _one_row(policy: Policy, texts: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
    """A batch's texts behind each other in one row, each seeing itself only: the padded batch's numbers, unpadded.

    The first label of a text is that of a prompt's token, which is ignored, so that no text is foretold by another.
    """
    row = Row.of([(len(text["input_ids"]), ()) for text in texts], torch.device("cpu"))
    structure = {ROW: row.groups} if policy.takes_structure else {}
    return {
        "input_ids": torch.cat([torch.tensor(text["input_ids"]) for text in texts])[None],
        "labels": torch.cat([torch.tensor(text["labels"]) for text in texts])[None],
        "position_ids": row.positions_1T,
        "attention_mask": row.pattern_11TT,
        **structure,
    }


def _trainer_arguments(settings: SftSettings, texts_at_a_time: int, seed: int, *, is_cuda: bool) -> SFTConfig:
    trainer_seed = derive_seed(seed, "sft") % 2**32
    return SFTConfig(
        # Nothing is saved, but the trainer creates this folder: so one that is there, and that most users cannot write.
        output_dir=os.sep,
        per_device_train_batch_size=texts_at_a_time,
        gradient_accumulation_steps=settings.batch_size // texts_at_a_time,
        max_steps=settings.max_steps,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=math.ceil(settings.warmup_ratio * settings.max_steps),
        weight_decay=0.0,
        optim="adamw_torch",
        seed=trainer_seed,
        data_seed=trainer_seed,
        use_cpu=not is_cuda,
        bf16=False,  # autocast is ours, so that the trainer does not wrap the shared model's forward
        activation_checkpointing=is_cuda,
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
