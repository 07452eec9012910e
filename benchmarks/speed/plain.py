"""One round as the paper's released code runs it.

Two prompts at a time are sampled with `generate`, M sequences each, until the longest of them is done. An update pads
the chosen and rejected sequences of all its comparisons to the longest of them, computes all logits of that one batch
and the log-softmax over all positions, and the reference's anew in every update. Where memory is too small the batch
is halved and the gradient accumulated, and the figures say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from ditto_cli.errors import MemoryLimitError
from ditto_cli.method.losses import DpoTerms, dpo_terms
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.model.memory import fit_memory, halving
from ditto_cli.model.policy import Policy
from ditto_cli.types import Comparison, Completion
from speed.records import SAMPLING, UPDATES, PhaseFigures
from speed.ways import Bench
from speed.workload import Workload, completion_tokens

OUT_OF_MEMORY = "out of memory"


class ForcedLengths(StoppingCriteria):
    """Ends each row of a batch at a length of its own."""

    def __init__(self, prompt_width: int, lengths: Tensor) -> None:
        self._prompt_width = prompt_width
        self._lengths = lengths

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        """Which rows are done."""
        return self._lengths <= input_ids.shape[1] - self._prompt_width


def plain_round(bench: Bench) -> None:
    """Sampling and updates; the reference's time is part of the updates."""
    bench.policy.checkpoint_activations(bench.policy.num_layers if bench.policy.hardware.is_cuda else 0)
    generate_all(bench, prompts_at_a_time=2)
    plain_updates(bench)


def generate_all(bench: Bench, *, prompts_at_a_time: int, adapter: str = POLICY) -> None:
    """The sampling phase with the library's `generate`, fewer prompts at a time when memory is full."""
    workload, policy = bench.workload, bench.policy
    names = list(workload.encoded.prompts)

    def generated(num_prompts: int) -> PhaseFigures:
        places = 0
        with policy.using(adapter), policy.hardware.autocast(), bench.phases.measured(SAMPLING) as figures:
            torch.manual_seed(workload.settings.seed)
            for first in range(0, len(names), num_prompts):
                tokens, computed = _generate(policy, workload, names[first : first + num_prompts])
                figures.tokens += tokens
                places += computed
            figures.padding = 1 - figures.tokens / places
        return figures

    fit_phase(bench, SAMPLING, generated, min(prompts_at_a_time, len(names)), noun="prompt")


def _generate(policy: Policy, workload: Workload, names: Sequence[str]) -> tuple[int, int]:
    """Tokens of one batch's completions, and the rows times steps that they took."""
    prompts, settings = workload.encoded.prompts, workload.settings.sampling
    device = policy.hardware.device
    width = max(len(prompts[name]) for name in names)
    pad = policy.chat.end_token_id
    ids = torch.tensor([[pad] * (width - len(prompts[name])) + list(prompts[name]) for name in names], device=device)
    columns = torch.arange(width, device=device)
    own_widths = torch.tensor([[len(prompts[name])] for name in names], device=device)
    lengths = torch.tensor([len(c.token_ids) for name in names for c in workload.drawn if c.demonstration_id == name])
    output = policy.model.generate(
        input_ids=ids,
        attention_mask=(columns >= width - own_widths).long(),
        generation_config=GenerationConfig(
            do_sample=True,
            temperature=settings.temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=workload.encoded.max_new_tokens,
            num_return_sequences=settings.completions_per_prompt,
            eos_token_id=None,
            pad_token_id=pad,
        ),
        stopping_criteria=StoppingCriteriaList([ForcedLengths(width, lengths.to(device))]),
    )
    steps = output.shape[1] - width
    assert steps == int(lengths.max()), "a row ended where it was not to end"
    return int(lengths.sum()), output.shape[0] * steps


def plain_updates(bench: Bench) -> None:
    """The updates, each on one padded batch, or on parts of it when memory is full."""
    workload, policy = bench.workload, bench.policy
    settings = workload.settings
    steps = workload.comparisons(workload.unscored_history())
    optimizer = torch.optim.AdamW(policy.parameters(), lr=settings.dpo.learning_rate, weight_decay=0.0)
    parameters = policy.parameters()

    def updated(pairs: int) -> PhaseFigures:
        bench.step_seconds.clear()
        tokens = places = 0
        policy.model.train()
        with bench.phases.measured(UPDATES) as figures:
            for comparisons in steps:
                before = bench.phases.now()
                optimizer.zero_grad(set_to_none=True)
                for first in range(0, len(comparisons), pairs):
                    batch = comparisons[first : first + pairs]
                    real, computed = _padded_gradient(policy, workload, batch, len(comparisons))
                    tokens, places = tokens + real, places + computed
                torch.nn.utils.clip_grad_norm_(parameters, settings.dpo.max_grad_norm)
                optimizer.step()
                bench.step_seconds.append(bench.phases.now() - before)
            figures.tokens = sum(completion_tokens(comparisons) for comparisons in steps)
            figures.padding = 1 - tokens / places
        return figures

    fit_phase(bench, UPDATES, updated, len(steps[0]), noun="sequence", factor=2)


def _padded_gradient(
    policy: Policy, workload: Workload, comparisons: Sequence[Comparison], num_of_step: int
) -> tuple[int, int]:
    """Add the gradient of one batch; returns its tokens and its places."""
    sides = [one.chosen for one in comparisons] + [one.rejected for one in comparisons]
    rows = [[*workload.encoded.prompts[side.demonstration_id], *side.token_ids] for side in sides]
    width = max(len(row) for row in rows)
    pad = policy.chat.end_token_id
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    is_real = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    is_completion = is_real.clone()
    for row, side in enumerate(sides):
        is_completion[row, : len(workload.encoded.prompts[side.demonstration_id])] = 0
    batch = [tensor.to(policy.hardware.device) for tensor in (ids, is_real, is_completion)]
    with policy.using(REFERENCE):
        reference = _full_logps(policy, *batch)
    terms = _terms(_full_logps(policy, *batch), reference, beta=workload.settings.dpo.beta)
    (terms.losses_P.sum() / num_of_step).backward()
    return int(is_real.sum()), ids.numel()


def _terms(logps: Tensor, reference: Tensor, *, beta: float) -> DpoTerms:
    return dpo_terms(*logps.chunk(2), *reference.chunk(2), beta=beta)


def _full_logps(policy: Policy, ids: Tensor, is_real: Tensor, is_completion: Tensor) -> Tensor:
    with policy.hardware.autocast():
        logits = policy.model(input_ids=ids, attention_mask=is_real, use_cache=False).logits
    logps = torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(2, ids[:, 1:, None]).squeeze(2)
    return (logps * is_completion[:, 1:]).sum(dim=1)


def full_logp(policy: Policy, prompt_ids: Sequence[int], completion: Completion) -> Tensor:
    """Summed log-probability of one sequence by itself, from all logits."""
    ids = torch.tensor([[*prompt_ids, *completion.token_ids]], device=policy.hardware.device)
    is_completion = torch.ones_like(ids)
    is_completion[0, : len(prompt_ids)] = 0
    return _full_logps(policy, ids, torch.ones_like(ids), is_completion)[0]


def fit_phase(
    bench: Bench, phase: str, work: Any, limit: int, *, noun: str, factor: int = 1, lower: Any = None
) -> None:
    """Do `work(limit)`, or with as much less as memory takes; what did not fit becomes a note or the result.

    Args:
        bench: gets the note.
        phase: files its own figures when it fits.
        work: begins anew at every call.
        limit: the first to try.
        noun: what `factor` times the limit counts.
        factor: see `noun`.
        lower: the limit to try after one that did not fit, by default half of it.
    """
    try:
        _, fitted = fit_memory(
            work, limit, noun=noun, advice="", hardware=bench.policy.hardware, lower=lower or halving()
        )
    except MemoryLimitError:
        bench.phases.file(phase, PhaseFigures(problem=f"{OUT_OF_MEMORY} even with {factor} {noun}s a batch"))
        return
    if fitted < limit:
        bench.notes.append(
            f"{phase}: {OUT_OF_MEMORY} with {factor * limit} {noun}s a batch; measured with {factor * fitted}"
        )
