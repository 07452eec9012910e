"""`ditto train` and `ditto plan`: what is asked for, what it takes, the run as it goes, and what changed.

A plan counts texts, tokens, steps and disk; memory is a formula, and the time is that of the last training of its kind.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.context import find_base, folder_adapter, load_base, named_preset, open_store, require_training
from ditto_cli.cli.render import print_facts, print_json, print_side_by_side, print_table, reporter, say, warn
from ditto_cli.cli.texts import audit_texts, find_prompts, show_audit, view_folder, warn_of_pairs
from ditto_cli.cli.tracking import check_tracker, tracked
from ditto_cli.config import (
    CPU_PRESET,
    FolderFile,
    Settings,
    parse_assignments,
    preset_names,
    read_folder_file,
    resolve_settings,
    resolved_quantize,
)
from ditto_cli.demonstrations.prompts import attach_prompts, attach_stored_prompts
from ditto_cli.errors import DittoError, InputError
from ditto_cli.method.comparisons import check_comparable
from ditto_cli.shown import duration, size
from ditto_cli.store import AdapterRecord, AdapterStore
from ditto_cli.types import SFT_STAGE, Reading, round_stage

if TYPE_CHECKING:
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job
    from ditto_cli.model.footprint import Need
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy.policy import Policy

_METHODS: Mapping[str, Mapping[str, object]] = {
    "ditto": {},
    "sft": {"rounds.num": 0},
    "dpo": {"sampling.completions_per_prompt": 0, "dpo.sft_weight": 0.0},
}
# Watched while it trains where ditto.yaml names no other.
_WATCH_PROMPT = "Write a short email to a colleague to ask whether we can move our meeting to Tuesday."
# As long as what the base writes where a text has no prompt yet.
_PLACEHOLDER = "Write an email to a colleague about the change of plans for the meeting next week."
_HEADERS, _RECORDS_BYTES, _SAMPLED_TOKEN_BYTES = 1.05, 2**20, 16  # of the weights' files; in JSON
_CHECKPOINTS, _COPIES = 3, 3  # the one in the making and two before; the weights and AdamW's two moments


def run_plan(options: TrainOptions) -> None:
    """See `ditto plan --help`; no weights are loaded, and nothing written but a base's small files into the cache."""
    from ditto_cli.model.hardware import detect

    order = read_order(options)
    hardware = detect(options.device)
    from ditto_cli.model.base.loading import load_skeleton

    preset, settings = order.settings(hardware)
    policy = load_skeleton(find_base(settings.base.id, settings.base.revision, weights=False), hardware)
    plan = plan_order(order, settings, policy, is_cuda=hardware.is_cuda)
    notes = [*hardware.notes(), *plan.warnings]
    num_missing = len(plan.job.demonstrations) - len(order.prompts)
    if num_missing:
        notes.append(f"{num_missing} of the texts have no prompt yet: one of usual length is counted for each.")
    if options.as_json:
        print_json(plan_document(plan, preset, num_missing, notes))
        return
    print_facts(plan_facts(plan, preset))
    for line in notes:
        warn(line)


@dataclass(frozen=True)
class Order:
    """What the user asked for, as far as it is known without a model."""

    options: TrainOptions
    folder_file: FolderFile
    reading: Reading
    adapter: str
    preset: str | None
    overrides: Mapping[str, object]

    @property
    def watch_prompt(self) -> str:
        """The prompt whose samples are shown while it trains."""
        return self.folder_file.watch_prompt or _WATCH_PROMPT

    @cached_property
    def prompts(self) -> dict[str, str]:
        """Those that are known of the texts, by their ids."""
        found, _ = attach_stored_prompts(self.options.folder, self.reading.texts, self.folder_file)
        return {demonstration.id: demonstration.prompt for demonstration in found}

    def settings(self, hardware: Hardware) -> tuple[str, Settings]:
        """The preset on this machine, and all settings."""
        preset = self.preset or hardware.default_preset()
        return preset, resolve_settings(preset, self.folder_file, os.environ, self.overrides)


def read_order(options: TrainOptions, given: Mapping[str, object] | None = None) -> Order:
    """Read the folder and refuse all that can be refused without torch; `given` are more settings by dotted names."""
    folder_file = read_folder_file(options.folder)
    flags = {"base.id": options.base, "base.revision": options.revision, "base.quantize": options.quantize}
    assignments = {**parse_assignments(options.assignments or []), **(given or {})}
    if decided := sorted(_METHODS[options.method].keys() & assignments.keys()):
        raise InputError(f"--method {options.method} decides {decided[0]} itself: leave it or --set out.")
    overrides = {**flags, "seed": options.seed, **assignments, **_METHODS[options.method]}
    preset = named_preset(options.preset, folder_file)
    settings = resolve_settings(preset or CPU_PRESET, folder_file, os.environ, overrides)
    check_publish(options.publish, settings)
    adapter = folder_adapter(options.folder, folder_file, options.name)
    reading, _ = view_folder(options.folder, folder_file)
    if not settings.rounds.num:
        reading = replace(reading, pairs=())  # SFT alone learns nothing of them
    check_comparable(settings, reading.pairs)
    return Order(options, folder_file, reading, adapter, preset, overrides)


def check_publish(publish: str, settings: Settings) -> str:
    """The stage that is asked for, in full."""
    if publish in ("best", "last"):
        return publish
    stages = [SFT_STAGE, *(round_stage(number) for number in range(1, settings.rounds.num + 1))]
    for stage in stages:
        if publish in (stage, stage.removeprefix("round")):
            return stage
    raise InputError(f"--publish {publish}: this run has no such stage; take best, last, {', '.join(stages)}.")


def plan_order(order: Order, settings: Settings, policy: Policy, *, is_cuda: bool) -> Plan:
    """What an order will take on a base without weights; for a text without a prompt one of usual length is counted."""
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job

    texts, pairs = order.reading.texts, order.reading.pairs
    prompts = {text.id: order.prompts.get(text.id, _PLACEHOLDER) for text in texts}
    demonstrations, _ = attach_prompts(texts, prompts)
    job = Job.of(policy, order.adapter, demonstrations, settings, order.watch_prompt, pairs=pairs)
    selector = RoundSelector(policy, demonstrations, pairs, settings, job.texts.max_new_tokens)
    quantize = resolved_quantize(settings.base.quantize, is_cuda=is_cuda)
    return plan_job(policy, job, selector, quantize)


@dataclass(frozen=True)
class Plan:
    """What a job takes on a base, which may be loaded or not."""

    job: Job
    policy: Policy
    quantize: str
    need: Need
    available_bytes: int
    disk_bytes: int

    @property
    def base(self) -> str:
        """The base's name with its revision."""
        identity = self.policy.identity
        return identity.id if identity.revision is None else f"{identity.id} at {identity.revision[:12]}"

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


def plan_job(policy: Policy, job: Job, selector: RoundSelector, quantize: str) -> Plan:
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
    return Plan(job, policy, quantize, need, policy.hardware.available_bytes(), disk_bytes)


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
    last = last_training(open_store(), plan.policy.identity.id, plan.policy.hardware.name)
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
        "stored in": str(open_store().folder(job.name)),
    }


def plan_document(plan: Plan, preset: str, num_missing: int, notes: Sequence[str]) -> dict[str, Any]:
    """The same as JSON."""
    job, need, settings = plan.job, plan.need, plan.job.settings
    last = last_training(open_store(), plan.policy.identity.id, plan.policy.hardware.name)
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
        "last_seconds": last.seconds if last else None,
        "notes": list(notes),
    }


def last_training(store: AdapterStore, base_id: str, device: str) -> AdapterRecord | None:
    """The newest adapter that was trained on this base and device; every record is read for it."""
    records = []
    for name in store.names():
        with suppress(DittoError):  # a damaged adapter is told where it is used
            records.append(store.record(name))
    alike = [record for record in records if (record.base.id, record.device) == (base_id, device)]
    return max(alike, key=lambda record: record.created, default=None)


def train_adapter(options: TrainOptions, given: Mapping[str, object] | None = None) -> AdapterRecord:
    """Train and publish an adapter; the plan, the progress and what should be known go to stderr.

    `given` are settings by dotted names, besides those of the options.
    """
    check_tracker(options.track)
    order = read_order(options, given)
    store = open_store()
    with store.training(order.adapter) as kept:  # a second training of this name ends here, before it loads anything
        if options.fresh:
            kept.start_over()
        from ditto_cli.model.hardware import detect

        hardware = detect(options.device)
        require_training(hardware)
        from ditto_cli.evaluation.selection import RoundSelector
        from ditto_cli.method.run import Job, train_ditto

        preset, settings = order.settings(hardware)
        publish = check_publish(options.publish, settings)
        policy = load_base(settings.base, hardware)
        texts = order.reading.texts
        demonstrations = find_prompts(options.folder, texts, order.folder_file, settings.base, policy=policy)
        pairs, where = order.reading.pairs, str(options.folder.resolve())
        job = Job.of(policy, order.adapter, demonstrations, settings, order.watch_prompt, where, pairs)
        selector = RoundSelector(policy, demonstrations, pairs, settings, job.texts.max_new_tokens, publish)
        prompts = {demonstration.id: demonstration.prompt for demonstration in demonstrations}
        show_audit(audit_texts(texts, prompts, settings.base), for_log=True)
        warn_of_pairs(pairs)
        plan = plan_job(policy, job, selector, policy.quantize)
        print_facts(plan_facts(plan, preset), to_stderr=True)
        for line in (*hardware.notes(), *plan.warnings):
            warn(line)
        if store.exists(job.name):
            there = f"There is an adapter {job.name} already"
            warn(f"{there}: it stays in use until this run is finished, which replaces it.")
        with reporter() as shown, tracked(shown, options.track, settings, store.folder(job.name)) as told:
            record = train_ditto(policy, job, kept, told, selector)
        say(f"Memory: planned {size(plan.need.peak)}, used {size(hardware.peak_memory_bytes())}.")
        return record


def run_train(options: TrainOptions) -> None:
    """See `ditto train --help`."""
    record = train_adapter(options)
    rows = []
    for stage in record.stages:
        metrics = stage.metrics
        rows.append(
            (
                stage.stage,
                f"{stage.seconds:.0f} s",
                f"{metrics['loss']:.2f}",
                f"{metrics['rewards/margins']:.2f}" if "rewards/margins" in metrics else "",
                f"{metrics['selection/style']:.2f} and {metrics['selection/task']:.2f}",
                f"{metrics['selection/ended']:.0%}",
            )
        )
    columns = ("stage", "time", "loss", "reward margin", "style and task on new prompts", "texts that ended")
    print_table("", columns, rows)
    texts = [("base", record.base_sample), *((stage.stage, stage.sample or "") for stage in record.stages)]
    print_side_by_side(record.watch_prompt, texts)
    say(f"{record.published} is published: {record.reason}.")
    say(f"Adapter {record.name} is ready, {record.seconds:.0f} s. Next:")
    say(f'  ditto sample --adapter {record.name} "{record.watch_prompt}"')
    say(f"  ditto eval --adapter {record.name}")
