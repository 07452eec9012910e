"""The same round with other people's programs: TRL's DPOTrainer, and transformers' continuous batching.

TRL's trainer makes its own copy `ref` of an adapter `default` as it is built, scores all comparisons under it once (it
knows nothing of sequences that come twice), and casts the adapter of a 4-bit base to bf16. It is given the comparisons
of all updates of the round in their order, as token ids, so its own tokenisation is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import datasets
from transformers import ContinuousBatchingConfig, GenerationConfig
from trl import DPOConfig, DPOTrainer

from ditto_cli.method.reference import POLICY
from ditto_cli.model.callbacks import TALKATIVE_CALLBACKS
from ditto_cli.types import Comparison
from speed.plain import fit_phase, generate_all
from speed.records import REFERENCE_PHASE, SAMPLING, UPDATES, PhaseFigures
from speed.ways import Bench, add_noisy_adapter, ignore_stops, warm_up
from speed.workload import completion_tokens

DEFAULT = "default"  # the adapter's name that TRL asks for
_COPY = "ref"
_PAGE_TOKENS, _BATCH_TOKENS = 64, 1024


class _OnTokenIds(DPOTrainer):
    """TRL's trainer on rows that are token ids already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def trl_round(bench: Bench) -> None:
    """Sampling in one batch, reference while the trainer is built, updates by the trainer; makes its own adapter."""
    ignore_stops(bench.policy)
    add_noisy_adapter(bench.policy, DEFAULT, bench.workload)
    warm_up(bench.policy)
    generate_all(bench, prompts_at_a_time=len(bench.workload.encoded.prompts), adapter=DEFAULT)
    bench.policy.switch(DEFAULT, trainable=True)
    datasets.disable_progress_bars()
    steps = bench.workload.comparisons(bench.workload.unscored_history())
    num = len(steps[0])

    def trained(pairs: int) -> PhaseFigures:
        model = bench.policy.model
        if _COPY in bench.policy.adapters:  # of a try that did not fit
            model.delete_adapter(_COPY)
        with bench.policy.lent_to_trainer(), tempfile.TemporaryDirectory() as scratch:
            with bench.phases.measured(REFERENCE_PHASE) as figures:
                trainer = _trainer(bench, steps, pairs, scratch)
            with bench.phases.measured(UPDATES) as figures:
                trainer.train()
                figures.tokens = sum(completion_tokens(comparisons) for comparisons in steps)
                figures.padding = _padding(bench, steps, pairs)
        return figures

    fit_phase(bench, UPDATES, trained, num, noun="sequence", factor=2, lower=_part_of(num))


def _part_of(num: int) -> Callable[[int], int]:
    """The next smaller divisor; 0 when there is none."""
    return lambda limit: max((part for part in range(1, limit) if num % part == 0), default=0)


def _trainer(bench: Bench, steps: list[list[Comparison]], pairs: int, scratch: str) -> DPOTrainer:
    settings, is_cuda = bench.workload.settings, bench.policy.hardware.is_cuda
    trainer = _OnTokenIds(
        model=bench.policy.model,
        args=DPOConfig(
            output_dir=scratch,
            beta=settings.dpo.beta,
            learning_rate=settings.dpo.learning_rate,
            lr_scheduler_type="constant",
            max_grad_norm=settings.dpo.max_grad_norm,
            weight_decay=0.0,
            optim="adamw_torch",
            per_device_train_batch_size=pairs,
            gradient_accumulation_steps=len(steps[0]) // pairs,
            max_steps=len(steps),
            train_sampling_strategy="sequential",
            precompute_ref_log_probs=True,
            precompute_ref_batch_size=pairs,
            disable_dropout=False,
            activation_checkpointing=is_cuda,
            max_length=None,
            bf16=is_cuda,
            use_cpu=not is_cuda,
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        ),
        train_dataset=datasets.Dataset.from_list([_row(bench, one) for step in steps for one in step]),
        processing_class=bench.policy.chat.tokenizer,
    )
    for callback in TALKATIVE_CALLBACKS:
        trainer.remove_callback(callback)
    return trainer


def _row(bench: Bench, comparison: Comparison) -> dict[str, list[int]]:
    return {
        "prompt_ids": list(bench.workload.encoded.prompts[comparison.chosen.demonstration_id]),
        "chosen_ids": list(comparison.chosen.token_ids),
        "rejected_ids": list(comparison.rejected.token_ids),
    }


def _padding(bench: Bench, steps: list[list[Comparison]], pairs: int) -> float:
    """Share of the places of TRL's batches that hold no token."""
    tokens = places = 0
    for comparisons in steps:
        for first in range(0, len(comparisons), pairs):
            batch = [_row(bench, comparison) for comparison in comparisons[first : first + pairs]]
            lengths = [
                len(row["prompt_ids"]) + len(row[side]) for row in batch for side in ("chosen_ids", "rejected_ids")
            ]
            tokens, places = tokens + sum(lengths), places + max(lengths) * len(lengths)
    return 1 - tokens / places


def continuous_batching(bench: Bench) -> None:
    """Sampling alone, by the library's own scheduler with a paged cache.

    Raises:
        RuntimeError: it gave up; whatever else it raises where it cannot run.
    """
    workload, policy = bench.workload, bench.policy
    base = policy.model.get_base_model()
    base.set_attn_implementation("sdpa")  # it makes its own paged variant of a known one
    limits = GenerationConfig(
        do_sample=True,
        temperature=workload.settings.sampling.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=workload.encoded.max_new_tokens,
        eos_token_id=None,
        pad_token_id=policy.chat.end_token_id,
    )
    # Room for all requests: left to itself it takes nearly all memory, and on a CPU fills it with zeros first.
    longest = max(len(ids) for ids in workload.encoded.prompts.values()) + workload.encoded.max_new_tokens
    pages = len(workload.drawn) * (longest // _PAGE_TOKENS + 2)
    paging = ContinuousBatchingConfig(page_size=_PAGE_TOKENS, num_blocks=pages, max_batch_tokens=_BATCH_TOKENS)
    requests = {str(number): request for number, request in enumerate(workload.requests())}
    with (
        policy.using(POLICY),
        bench.phases.measured(SAMPLING) as figures,
        base.continuous_batching_context_manager(
            generation_config=limits, continuous_batching_config=paging, block=True, timeout=5
        ) as manager,
    ):
        for name, request in requests.items():
            manager.add_request(
                list(request.prompt_ids), request_id=name, max_new_tokens=request.max_new_tokens, eos_token_id=-1
            )
        waiting = set(requests)
        while waiting:
            result = manager.get_result(timeout=1)
            if result is None:
                if not manager.is_running():
                    raise RuntimeError("the scheduler's thread ended")
                continue
            if result.error is not None:
                raise RuntimeError(str(result.error))
            if result.is_finished():
                assert len(result.generated_tokens) == requests[result.request_id].max_new_tokens
                waiting.discard(result.request_id)
                figures.tokens += len(result.generated_tokens)
