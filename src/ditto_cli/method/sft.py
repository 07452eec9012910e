"""Stage one: imitate the demonstrations (paper, section 3.2, first step) with `trl.SFTTrainer`, completions only."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from datasets import Dataset
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import SFTConfig, SFTTrainer

from ditto_cli.config import Settings, SftSettings
from ditto_cli.errors import NonFiniteError
from ditto_cli.model.base.template import Texts
from ditto_cli.model.fast.rows import ROW_ATTENTION, Row
from ditto_cli.model.policy.memory import free_memory
from ditto_cli.model.policy.policy import Policy, lighter_base
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Reporter

_IGNORED = -100  # label of tokens that take no part in the loss


class _LossWatcher(TrainerCallback):
    """Keeps and reports each step's loss; ends the training when one is low enough, or not finite.

    Deviation: a loss below `stop_loss` alone is not enough. How low it is before anything is learnt depends on the
    texts (plain prose, a prompt that tells the text): one update would be all, and no text would ever end.
    """

    def __init__(self, reporter: Reporter, settings: SftSettings) -> None:
        self.losses: list[float] = []
        self._reporter = reporter
        self._settings = settings

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """See `transformers.TrainerCallback`."""
        if logs and "loss" in logs:
            loss = float(logs["loss"])
            self.losses.append(loss)
            self._reporter.advance_work(state.global_step, {"loss": loss})
            is_low = loss < self._settings.stop_loss and loss <= self._settings.stop_share * self.losses[0]
            if not math.isfinite(loss) or is_low:
                control.should_training_stop = True


def imitate(policy: Policy, texts: Texts, settings: Settings, reporter: Reporter) -> list[float]:
    """Train the active adapter until a batch's loss is low enough, or for `sft.max_steps`.

    When memory is full, the adapter is put back and all begins anew, each batch in smaller parts. Returns the batch
    losses, one a step: mean over the completions' tokens, end token included.
    """
    sft, before = settings.sft, [parameter.detach().clone() for parameter in policy.parameters()]

    def train(limit: int) -> list[float]:
        texts_at_a_time = _smaller_part(sft.batch_size, limit + 1)  # a remembered limit may be of another batch size
        watcher = _LossWatcher(reporter, sft)
        _train(policy, before, texts, trainer_arguments(policy, sft, texts_at_a_time, settings.seed), watcher)
        return watcher.losses

    reporter.begin_work("SFT", sft.max_steps, "updates")
    losses = policy.guard.fit(
        "sft",
        train,
        sft.batch_size,
        noun="text",
        advice=f"take shorter texts, or {lighter_base(policy.quantize)}",
        lower=lambda limit: _smaller_part(sft.batch_size, min(limit, len(texts.prompts))),
    )
    reporter.end_work()
    if not all(math.isfinite(loss) for loss in losses):
        raise NonFiniteError(f"The SFT loss is not finite at step {len(losses)}: lower sft.learning_rate.")
    if not policy.is_finite():
        raise NonFiniteError("A weight of the adapter is not finite after SFT: lower sft.learning_rate.")
    return losses


def _train(
    policy: Policy, weights: Sequence[torch.Tensor], texts: Texts, arguments: SFTConfig, watcher: TrainerCallback
) -> None:
    """Train the active adapter from `weights`, whatever it holds now."""
    examples = [
        {"input_ids": [*prompt_ids, *ids], "labels": [_IGNORED] * len(prompt_ids) + list(ids)}
        for prompt_ids, ids in zip(texts.prompts.values(), texts.completions.values(), strict=True)
    ]
    in_rows = policy.takes_groups and policy.sees_all(max(len(example["input_ids"]) for example in examples))
    try:
        with policy.lent_to_trainer() as model:
            trainer = SFTTrainer(
                model=model,
                args=arguments,
                train_dataset=Dataset.from_list(examples),
                processing_class=policy.chat.tokenizer,
                data_collator=_one_row if in_rows else None,
                callbacks=[watcher],
            )
            for callback in (PrinterCallback, ProgressCallback):  # they print by themselves; ours reports instead
                trainer.remove_callback(callback)
            # TRL casts the adapters of a quantised base to bf16, where most of DITTO's updates would round away.
            for parameter, value in zip(policy.parameters(), weights, strict=True):
                parameter.data, parameter.grad = value.clone(), None
                assert parameter.dtype == torch.float32
            trainer.train()
    finally:
        policy.model.eval()
        free_memory()


def _smaller_part(batch_size: int, limit: int) -> int:
    """The largest divisor of `batch_size` below `limit`; 0 when there is none."""
    return max((part for part in range(1, limit) if batch_size % part == 0), default=0)


def _one_row(texts: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Any]:
    """A batch's texts behind each other in one row, each seeing itself only: the padded batch's numbers, unpadded.

    The first label of a text is that of a prompt's token, which is ignored, so that no text is foretold by another.
    """
    row = Row.of([(len(text["input_ids"]), ()) for text in texts], torch.device("cpu"))
    return {
        "input_ids": torch.cat([torch.tensor(text["input_ids"]) for text in texts])[None],
        "labels": torch.cat([torch.tensor(text["labels"]) for text in texts])[None],
        "position_ids": row.positions_1T,
        "attention_mask": row.pattern_11TT,
        ROW_ATTENTION: row.groups,
    }


def trainer_arguments(policy: Policy, settings: SftSettings, texts_at_a_time: int, seed: int) -> SFTConfig:
    """What the trainer is to do, on one device only: TRL refuses to spread a model over all GPUs that it sees."""
    trainer_seed = derive_seed(seed, "sft") % 2**32
    arguments = SFTConfig(
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
        use_cpu=not policy.hardware.is_cuda,
        bf16=policy.hardware.dtype == torch.bfloat16,
        activation_checkpointing=False,  # the policy's layers know whether they recompute
        max_length=None,
        router_aux_loss_coef=0.0,  # a few texts are not to balance a base's experts
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
    assert arguments.device.type == policy.hardware.device.type  # looked for here, with all GPUs that are there
    arguments._n_gpu = 1
    return arguments
