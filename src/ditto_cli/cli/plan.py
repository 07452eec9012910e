"""A job on a base -> what its training takes, before it takes it.

Texts, tokens, steps and disk are counted, memory is a formula, and the time is that of the last training of this kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ditto_cli.config import preset_names
from ditto_cli.errors import DittoError
from ditto_cli.shown import duration, size
from ditto_cli.store import AdapterRecord, AdapterStore

if TYPE_CHECKING:
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job
    from ditto_cli.model.footprint import Need
    from ditto_cli.model.policy.policy import Policy

_HEADERS, _RECORDS_BYTES, _SAMPLED_TOKEN_BYTES = 1.05, 2**20, 16  # of the weights' files; in JSON
_CHECKPOINTS, _COPIES = 3, 3  # the one in the making and two before; the weights and AdamW's two moments


@dataclass(frozen=True)
class Plan:
    """What a job takes on a base, which may be loaded or not."""

    job: Job
    policy: Policy
    quantize: str
    store: AdapterStore
    need: Need
    available_bytes: int
    disk_bytes: int

    @property
    def base(self) -> str:
        """The base's name with its revision."""
        identity = self.policy.identity
        return identity.id if identity.revision is None else f"{identity.id} at {identity.revision[:12]}"

    @cached_property
    def last(self) -> AdapterRecord | None:
        """The newest training on this base and device; every record is read for it."""
        return last_training(self.store, self.policy.identity.id, self.policy.hardware.name)

    @property
    def warnings(self) -> list[str]:
        """What to do where memory is short."""
        need, free = self.need, size(self.available_bytes)
        if need.peak <= self.available_bytes:
            return []
        fixed = need.program + need.base + need.adapters
        if fixed < self.available_bytes:
            return [
                f"{need.phase} may need {size(need.peak)}, and {free} are free: it then goes on with less at a time, "
                "which takes longer. Close other programs, or take shorter texts."
            ]
        smaller = " or ".join(f"--preset {name}" for name in preset_names() if name.startswith(("qwen3-4b", "smollm2")))
        return [f"It does not fit: base and adapters alone need {size(fixed)}, and {free} are free; take {smaller}."]


def plan_job(policy: Policy, job: Job, selector: RoundSelector, quantize: str, store: AdapterStore) -> Plan:
    """Count and estimate what a job will take."""
    from ditto_cli.model.footprint import memory_need

    texts, settings = job.texts, job.settings
    own = {name: len(texts.prompts[name]) + len(ids) for name, ids in texts.completions.items()}
    pairs = [sum(map(len, parts)) for parts in texts.pairs.values()]
    longest = max(len(ids) for ids in texts.prompts.values()) + texts.max_new_tokens
    num_side_by_side = len(own) * settings.sampling.completions_per_prompt + 1 + len(selector.requests())
    need = memory_need(
        policy,
        settings,
        quantize,
        cached_tokens=min(policy.max_cached_tokens, min(settings.sampling.max_slots, num_side_by_side) * longest),
        row_tokens=min(
            max(settings.dpo.micro_batch_tokens, longest + max(own.values()), *pairs),
            sum(own.values()) + sum(pairs) + 2 * settings.dpo.comparisons_per_prompt * len(own) * texts.max_new_tokens,
        ),
        batch_tokens=sum(sorted(own.values())[-settings.sft.batch_size :]),
    )
    num_sampled = settings.rounds.num * settings.sampling.completions_per_prompt * len(own) * texts.max_new_tokens
    disk_bytes = (
        int(need.adapter * (1 + settings.rounds.num + _CHECKPOINTS * _COPIES) * _HEADERS)
        + _RECORDS_BYTES
        + _CHECKPOINTS * num_sampled * _SAMPLED_TOKEN_BYTES
    )
    return Plan(job, policy, quantize, store, need, policy.hardware.available_bytes(), disk_bytes)


def plan_facts(plan: Plan, preset: str) -> dict[str, str]:
    """What is shown of a plan, by name."""
    job, need, settings = plan.job, plan.need, plan.job.settings
    texts = len(job.demonstrations)
    num_samples = settings.sampling.completions_per_prompt * texts
    steps = f"SFT up to {settings.sft.max_steps} updates"
    if settings.rounds.num and not num_samples:
        steps += f", then {settings.rounds.num * settings.rounds.steps} DPO updates on the pairs"
    elif settings.rounds.num:
        steps += f", then {settings.rounds.num} rounds of {num_samples} samples and {settings.rounds.steps} DPO updates"
    memory = f"about {size(need.peak)} at most, in {need.phase} ({size(need.base)} of it the base); "
    last = plan.last
    return {
        "adapter": job.name,
        "texts": f"{texts}, {job.texts.num_tokens} tokens" + (f"; pairs: {len(job.pairs)}" if job.pairs else ""),
        "base": f"{plan.base}, {'4-bit NF4' if plan.quantize == 'nf4' else 'not quantised'}",
        "device": plan.policy.hardware.name,
        "preset": preset,
        "steps": steps,
        "samples": f"at most {job.texts.max_new_tokens} tokens each",
        "memory": memory + f"{size(plan.available_bytes)} are free",
        "disk": f"{size(plan.disk_bytes)} while it trains",
        "time": f"last time {duration(last.seconds)} ({last.name}, {last.num_demonstrations} texts)"
        if last
        else "not known before the first training on this base",
        "stored in": str(plan.store.folder(job.name)),
    }


def plan_document(plan: Plan, preset: str, num_missing: int, notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON."""
    job, need, settings = plan.job, plan.need, plan.job.settings
    return {
        "schema_version": 2,
        "adapter": job.name,
        "texts": len(job.demonstrations),
        "pairs": len(job.pairs),
        "tokens": job.texts.num_tokens,
        "missing_prompts": num_missing,
        "base": plan.base,
        "quantize": plan.quantize,
        "device": plan.policy.hardware.name,
        "preset": preset,
        "max_new_tokens": job.texts.max_new_tokens,
        "sft_updates": settings.sft.max_steps,
        "rounds": settings.rounds.num,
        "samples_per_round": settings.sampling.completions_per_prompt * len(job.demonstrations),
        "updates_per_round": settings.rounds.steps,
        "memory": {
            "program": need.program,
            "base": need.base,
            "adapters": need.adapters,
            "phases": dict(need.phases),
            "peak_bytes": need.peak,
            "available_bytes": plan.available_bytes,
            "fits": need.peak <= plan.available_bytes,
        },
        "disk_bytes": plan.disk_bytes,
        "last_seconds": plan.last.seconds if plan.last else None,
        "notes": list(notes),
    }


def last_training(store: AdapterStore, base_id: str, device: str) -> AdapterRecord | None:
    """The newest adapter that was trained on this base and device."""
    records = []
    for name in store.names():
        with suppress(DittoError):  # a damaged adapter is told where it is used
            records.append(store.record(name))
    alike = [record for record in records if (record.base.id, record.device) == (base_id, device)]
    return max(alike, key=lambda record: record.created, default=None)
