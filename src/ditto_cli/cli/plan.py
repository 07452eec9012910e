"""`ditto plan` and `ditto train --dry-run`: what a training will do, and whether it fits.

Texts, tokens, steps and disk are counted, memory is a formula, and the time is that of the last training of this kind.
No weights are loaded or downloaded, nothing is locked, and nothing written but a base's small files into the cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.preparation import DEFAULT_WATCH_PROMPT, Order, Plan, plan_facts, plan_job, prepare, read_order
from ditto_cli.cli.render import print_facts, print_json, say, warn
from ditto_cli.config import resolve_settings, resolved_quantize
from ditto_cli.demonstrations.prompts import attach_prompts, attach_stored_prompts
from ditto_cli.store import AdapterStore, cache_home, store_home
from ditto_cli.types import Demonstration

if TYPE_CHECKING:
    pass

# As long as what the base writes where a text has no prompt yet.
_PLACEHOLDER = "Write an email to a colleague about the change of plans for the meeting next week."


def run_plan(options: TrainOptions, *, as_json: bool) -> None:
    """See `ditto plan --help`."""
    from ditto_cli.model.hardware import detect

    order = read_order(options)
    hardware = detect(order.device)
    from ditto_cli.model.base.loading import load_skeleton
    from ditto_cli.model.base.source import locate_base

    preset = order.preset or hardware.default_preset()
    settings = resolve_settings(preset, order.folder_file, os.environ, order.overrides)
    quantize = resolved_quantize(settings.base.quantize, is_cuda=hardware.is_cuda)
    cache = cache_home(os.environ)
    policy = load_skeleton(locate_base(settings.base.id, settings.base.revision, cache, say, weights=False), hardware)
    demonstrations, num_missing = _demonstrations(order)
    watch_prompt = order.folder_file.watch_prompt or DEFAULT_WATCH_PROMPT
    job, selector = prepare(
        policy, order.adapter, demonstrations, settings, watch_prompt=watch_prompt, publish=order.publish
    )
    plan = plan_job(policy, job, selector, quantize, AdapterStore(store_home(os.environ)))
    notes = [*hardware.notes(), *plan.warnings]
    if num_missing:
        notes.append(f"{num_missing} of the texts have no prompt yet: one of usual length is counted for each.")
    if as_json:
        print_json(_as_json(plan, preset, num_missing, notes))
        return
    print_facts(plan_facts(plan, preset))
    for line in notes:
        warn(line)


def _as_json(plan: Plan, preset: str, num_missing: int, notes: Sequence[str]) -> dict[str, Any]:
    job, need, settings = plan.job, plan.need, plan.job.settings
    return {
        "schema_version": 2,
        "adapter": job.name,
        "texts": len(job.demonstrations),
        "tokens": job.texts.num_tokens,
        "missing_prompts": num_missing,
        "base": plan.base,
        "quantize": plan.quantize,
        "device": plan.device,
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


def _demonstrations(order: Order) -> tuple[list[Demonstration], int]:
    """The texts, with a stand-in where a prompt is missing; and how many those are."""
    texts = order.view.reading.texts
    found, without = attach_stored_prompts(order.folder, texts, order.folder_file)
    prompts = {demonstration.id: demonstration.prompt for demonstration in found}
    prompts |= {text.id: _PLACEHOLDER for text in without}
    return attach_prompts(texts, prompts)[0], len(without)
