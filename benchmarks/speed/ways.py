"""One round in each way: as ditto trains it, as the paper's released code does, with TRL's DPOTrainer; and checks.

`plain` samples two prompts at a time with `generate`, M sequences each, until the longest of them is done. An update
pads the chosen and rejected sequences of all its comparisons to the longest of them, computes all logits of that one
batch and the log-softmax over all positions, and the reference's anew in every update.

`trl` samples with `generate`, all prompts at once. The trainer makes its own copy `ref` of an adapter `default` as it
is built, scores all comparisons under it once (it knows nothing of sequences that come twice), and casts the adapter of
a 4-bit base to bf16. It gets the comparisons of all updates in their order, as token ids, so that none are made again.

Where memory is too small for a batch of these two, it is made smaller and the gradient accumulated, and a note says so.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import datasets
import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from trl import DPOConfig, DPOTrainer

from ditto_cli.errors import MemoryLimitError
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.updates import (
    POLICY,
    REFERENCE,
    Updater,
    accumulate_gradient,
    dpo_terms,
    freeze_reference,
    score_under_reference,
)
from ditto_cli.model.policy.memory import MemoryGuard, free_memory, halving, keeping_what_is_there
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score
from ditto_cli.seeds import derive_seed
from ditto_cli.types import Comparison, SampleRequest
from speed.messages import heard
from speed.work import REFERENCE_PHASE, SAMPLING, UPDATES, Figures, Phases, Work, completion_tokens

OURS, PLAIN, TRL, CHECK = "ours", "plain", "trl", "check"
WAYS = (OURS, PLAIN, TRL, CHECK)
GRADIENT_ERROR = "gradient: largest difference / largest entry"
SAMPLER_GAP = "sampler against trainer: largest gap of mean log-probability, nats a token"
SWITCH = "switch between adapters, ms"
_NOISE = 0.02  # deviation of what is added to all of an adapter's weights
_SWITCHES = 20


@dataclass
class Bench:
    """What a way works on, and where its figures go."""

    policy: Policy
    work: Work
    phases: Phases
    notes: list[str] = field(default_factory=list)


def measure(way: str, bench: Bench) -> dict[str, float]:
    """Run the round in one way; returns the figures of `check`, the others' go to `bench`."""
    if way == CHECK:
        return run_checks(bench)
    {OURS: our_round, PLAIN: plain_round, TRL: trl_round}[way](bench)
    return {}


def prepare(policy: Policy, work: Work, name: str = POLICY) -> None:
    """An adapter of the preset's shape that changes something, and no token that ends a completion.

    Then one small step, so that no phase pays for what a process does once.
    """
    settings = work.settings
    policy.chat = replace(policy.chat, stop_token_ids=frozenset())
    policy.model.generation_config.eos_token_id = None
    policy.add_adapter(name, settings.lora, derive_seed(settings.seed, "lora"))
    generator = torch.Generator().manual_seed(derive_seed(settings.seed, "noise"))
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_((torch.randn(parameter.shape, generator=generator) * _NOISE).to(parameter.device))
    if name == POLICY:
        freeze_reference(policy)
    ids = torch.zeros((1, 16), dtype=torch.long, device=policy.hardware.device)
    policy.model.train()
    with policy.hardware.autocast():
        policy.model(input_ids=ids, use_cache=False).logits.float().mean().backward()
    for parameter in policy.parameters():
        parameter.grad = None
    policy.model.eval()


# --- ours


def our_round(bench: Bench) -> None:
    """The first round as `ditto train` runs it (`ditto_cli.method.ditto`)."""
    policy, work, phases = bench.policy, bench.work, bench.phases
    texts, settings = work.texts, work.settings
    max_tokens = settings.dpo.micro_batch_tokens
    prepare(policy, work)
    policy.recompute_layers(policy.hardware.is_cuda)
    with keeping_what_is_there(), heard(bench.notes):
        with phases.measured(SAMPLING) as figures:
            sampled = sample(
                policy,
                work.requests(),
                max_new_tokens=texts.max_new_tokens,
                temperature=settings.sampling.temperature,
                max_slots=settings.sampling.max_slots,
            )
            figures.tokens = sum(len(tokens.token_ids) for tokens in sampled)
        samples = [
            replace(one, token_ids=tokens.token_ids, ended=tokens.ended, reference_logp=tokens.logp)
            for one, tokens in zip(work.drawn, sampled, strict=True)
        ]
        with phases.measured(REFERENCE_PHASE) as figures:
            own = score_under_reference(policy, texts.unscored(), texts.prompts, max_tokens=max_tokens)
            figures.tokens = texts.num_tokens
            if not policy.is_exact:
                samples = score_under_reference(policy, samples, texts.prompts, max_tokens=max_tokens)
                figures.tokens += work.sampled_tokens
        history = History(tuple(own))
        history.add_round(samples)
        updater = Updater(policy, settings.dpo, settings.rounds, seed=settings.seed)
        with phases.measured(UPDATES) as figures:
            free_memory()
            for step in range(settings.rounds.steps):
                comparisons = draw_comparisons(history, settings.dpo, seed=settings.seed, step=step)
                updater.update(comparisons, texts.prompts, round_number=0, step=step)
                figures.tokens += completion_tokens(comparisons)


# --- the released code's way


def plain_round(bench: Bench) -> None:
    """Sampling and updates; the reference's time is part of the updates."""
    prepare(bench.policy, bench.work)
    bench.policy.recompute_layers(bench.policy.hardware.is_cuda)
    generate_all(bench, prompts_at_a_time=2)
    plain_updates(bench)


def generate_all(bench: Bench, *, prompts_at_a_time: int, adapter: str = POLICY) -> None:
    """The sampling phase with the library's `generate`, fewer prompts at a time when memory is full."""
    work, policy = bench.work, bench.policy
    names = list(work.texts.prompts)

    def generated(num_prompts: int) -> None:
        with policy.using(adapter), policy.hardware.autocast(), bench.phases.measured(SAMPLING) as figures:
            torch.manual_seed(work.settings.seed)
            for first in range(0, len(names), num_prompts):
                figures.tokens += _generate(policy, work, names[first : first + num_prompts])

    fit_phase(bench, SAMPLING, generated, min(prompts_at_a_time, len(names)), noun="prompt")


def _generate(policy: Policy, work: Work, names: Sequence[str]) -> int:
    """Sample one batch, each row to its forced length; returns its tokens."""
    prompts, settings, device = work.texts.prompts, work.settings.sampling, policy.hardware.device
    width, pad = max(len(prompts[name]) for name in names), policy.chat.end_token_id
    ids = [[pad] * (width - len(prompts[name])) + list(prompts[name]) for name in names]
    is_real = [[0] * (width - len(prompts[name])) + [1] * len(prompts[name]) for name in names]
    lengths = torch.tensor([len(c.token_ids) for name in names for c in work.drawn if c.demonstration_id == name])
    lengths = lengths.to(device)

    def are_done(input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        return lengths <= input_ids.shape[1] - width

    output = policy.model.generate(
        input_ids=torch.tensor(ids, device=device),
        attention_mask=torch.tensor(is_real, device=device),
        generation_config=GenerationConfig(
            do_sample=True,
            temperature=settings.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=work.texts.max_new_tokens,
            num_return_sequences=settings.completions_per_prompt,
            eos_token_id=None,
            pad_token_id=pad,
        ),
        stopping_criteria=[are_done],
    )
    assert output.shape[1] - width == int(lengths.max()), "a row ended where it was not to end"
    return int(lengths.sum())


def plain_updates(bench: Bench) -> None:
    """The updates, each on one padded batch, or on parts of it when memory is full."""
    work, policy = bench.work, bench.policy
    dpo, parameters = work.settings.dpo, policy.parameters()
    steps = work.comparisons(work.unscored_history())
    optimizer = torch.optim.AdamW(parameters, lr=dpo.learning_rate, weight_decay=0.0)

    def updated(pairs: int) -> None:
        policy.model.train()
        with bench.phases.measured(UPDATES) as figures:
            for comparisons in steps:
                optimizer.zero_grad(set_to_none=True)
                for first in range(0, len(comparisons), pairs):
                    padded_gradient(policy, work, comparisons[first : first + pairs], len(comparisons))
                torch.nn.utils.clip_grad_norm_(parameters, dpo.max_grad_norm)
                optimizer.step()
                figures.tokens += completion_tokens(comparisons)

    fit_phase(bench, UPDATES, updated, len(steps[0]), noun="sequence", factor=2)


def padded_gradient(policy: Policy, work: Work, comparisons: Sequence[Comparison], num: int) -> None:
    """Add the gradient of one batch of a step of `num` comparisons: from all logits, the reference's computed anew."""
    prompts, pad = work.texts.prompts, policy.chat.end_token_id
    sides = [one.chosen for one in comparisons] + [one.rejected for one in comparisons]
    rows = [[*prompts[side.demonstration_id], *side.token_ids] for side in sides]
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    is_real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    is_completion = is_real.clone()
    for row, side in enumerate(sides):
        is_completion[row, : len(prompts[side.demonstration_id])] = 0
    batch = [tensor.to(policy.hardware.device) for tensor in (ids, is_real, is_completion)]
    with policy.using(REFERENCE):
        reference = _full_logps(policy, *batch)
    logps = _full_logps(policy, *batch)
    dpo = work.settings.dpo
    terms = dpo_terms(*logps.chunk(2), *reference.chunk(2), beta=dpo.beta)
    is_own = torch.tensor([one.chosen.round is None for one in comparisons], device=logps.device)
    imitation = -(logps / batch[2].sum(dim=1)).chunk(2)[0] * is_own  # the SFT term, of demonstrations alone
    ((terms.losses_P + dpo.sft_weight * imitation).sum() / num).backward()


def _full_logps(policy: Policy, ids: Tensor, is_real: Tensor, is_completion: Tensor) -> Tensor:
    with policy.hardware.autocast():
        logits = policy.model(input_ids=ids, attention_mask=is_real, use_cache=False).logits
    logps = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
    return (logps * is_completion[:, 1:]).sum(dim=1)


def fit_phase(
    bench: Bench, phase: str, work: Callable[[int], None], limit: int, *, noun: str, factor: int = 1, lower: Any = None
) -> None:
    """Do `work(limit)`, where `limit` times `factor` is a batch, or with as much less as memory takes.

    The work files its own figures; what did not fit becomes a note, or the phase's result.
    """
    guard = MemoryGuard(bench.policy.guard.memory)
    try:
        guard.fit(phase, work, limit, noun=noun, advice="", lower=lower or halving())
    except MemoryLimitError:
        bench.phases.file(phase, Figures(problem=f"out of memory even with {factor} {noun}s a batch"))
        return
    if fitted := guard.lowered.get(phase):
        full = f"{phase}: out of memory with {factor * limit} {noun}s a batch"
        bench.notes.append(f"{full}; measured with {factor * fitted}")


# --- TRL


class _OnTokenIds(DPOTrainer):
    """TRL's trainer on rows that are token ids already."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


def trl_round(bench: Bench) -> None:
    """Sampling in one batch, reference while the trainer is built, updates by the trainer."""
    work, policy, adapter = bench.work, bench.policy, "default"  # the adapter's name that TRL asks for
    prepare(policy, work, adapter)
    generate_all(bench, prompts_at_a_time=len(work.texts.prompts), adapter=adapter)
    policy.switch(adapter, trainable=True)
    datasets.disable_progress_bars()
    steps = work.comparisons(work.unscored_history())
    num = len(steps[0])

    def trained(pairs: int) -> None:
        if "ref" in policy.adapters:  # of a try that did not fit
            policy.model.delete_adapter("ref")
        with policy.lent_to_trainer(), tempfile.TemporaryDirectory() as scratch:
            with bench.phases.measured(REFERENCE_PHASE):
                trainer = _trainer(bench, steps, pairs, scratch)
            with bench.phases.measured(UPDATES) as figures:
                trainer.train()
                figures.tokens = sum(completion_tokens(comparisons) for comparisons in steps)

    def smaller_part(pairs: int) -> int:
        return max((part for part in range(1, pairs) if num % part == 0), default=0)

    fit_phase(bench, UPDATES, trained, num, noun="sequence", factor=2, lower=smaller_part)


def _trainer(bench: Bench, steps: list[list[Comparison]], pairs: int, scratch: str) -> DPOTrainer:
    prompts, settings, is_cuda = bench.work.texts.prompts, bench.work.settings, bench.policy.hardware.is_cuda
    rows = [
        {
            "prompt_ids": list(prompts[one.chosen.demonstration_id]),
            "chosen_ids": list(one.chosen.token_ids),
            "rejected_ids": list(one.rejected.token_ids),
        }
        for step in steps
        for one in step
    ]
    trainer = _OnTokenIds(
        model=bench.policy.model,
        args=DPOConfig(
            output_dir=scratch,
            beta=settings.dpo.beta,
            learning_rate=settings.dpo.learning_rate,
            lr_scheduler_type="constant",
            loss_type=["sigmoid", "sft"] if settings.dpo.sft_weight else ["sigmoid"],
            loss_weights=[1.0, settings.dpo.sft_weight] if settings.dpo.sft_weight else None,
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
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=bench.policy.chat.tokenizer,
    )
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)
    return trainer


# --- checks: whether ours computes what the plain way computes, and how long a switch between adapters takes


def run_checks(bench: Bench) -> dict[str, float]:
    """Each check's figure; with an adapter that drops nothing, so that two ways to compute it are comparable."""
    settings = bench.work.settings
    lora = settings.lora.model_copy(update={"dropout": 0.0})
    calm = replace(bench.work, settings=settings.model_copy(update={"lora": lora}))
    prepare(bench.policy, calm)
    bench.policy.recompute_layers(bench.policy.hardware.is_cuda)
    few = [request for one, request in zip(calm.drawn, calm.requests(), strict=True) if one.index < 2]
    return {
        GRADIENT_ERROR: gradient_error(bench.policy, calm),
        SAMPLER_GAP: sampler_gap(bench.policy, few),
        SWITCH: switch_milliseconds(bench.policy),
    }


def gradient_error(policy: Policy, work: Work) -> float:
    """Our gradient of one update against the plain way's, pair by pair."""
    prompts, settings = work.texts.prompts, work.settings
    max_tokens = settings.dpo.micro_batch_tokens
    history = History(tuple(score_under_reference(policy, work.texts.unscored(), prompts, max_tokens=max_tokens)))
    history.add_round(score_under_reference(policy, work.drawn, prompts, max_tokens=max_tokens))
    comparisons = draw_comparisons(history, settings.dpo, seed=settings.seed, step=0)
    policy.model.train()
    accumulate_gradient(policy, comparisons, prompts, settings.dpo)
    ours = _taken_gradient(policy)
    for comparison in comparisons:
        padded_gradient(policy, work, [comparison], len(comparisons))
    plain = _taken_gradient(policy)
    return float((ours - plain).abs().max() / plain.abs().max())


def _taken_gradient(policy: Policy) -> Tensor:
    gradients = []
    for parameter in policy.parameters():
        assert parameter.grad is not None
        gradients.append(parameter.grad.detach().float().flatten().cpu())
        parameter.grad = None
    return torch.cat(gradients)


def sampler_gap(policy: Policy, requests: Sequence[SampleRequest], *, temperature: float = 1.0) -> float:
    """What the sampler drew with against what the trainer scores: the largest gap of a completion, in nats a token."""
    most = max(request.max_new_tokens or 0 for request in requests)
    with policy.using(POLICY):
        sampled = sample(policy, requests, max_new_tokens=most, temperature=temperature)
        pairs = [
            (float(score(policy, request.prompt_ids, [tokens.token_ids])[0]), tokens)
            for request, tokens in zip(requests, sampled, strict=True)
        ]
    return max(abs(scored - tokens.logp) / len(tokens.token_ids) for scored, tokens in pairs)


def switch_milliseconds(policy: Policy) -> float:
    """Mean time to switch between two adapters in memory."""
    start = time.perf_counter()
    for number in range(_SWITCHES):
        policy.switch((POLICY, REFERENCE)[number % 2])
    return (time.perf_counter() - start) / _SWITCHES * 1000
