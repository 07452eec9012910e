"""What `ditto train`, `ditto plan` and a fold of `--cross-validate` begin with: order, job, and what it will take."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.folder import FolderView, view_folder
from ditto_cli.cli.render import duration, size
from ditto_cli.config import (
    CPU_PRESET,
    FolderFile,
    Settings,
    adapter_name_of,
    load_preset,
    parse_assignments,
    preset_names,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.errors import DeviceError, DittoError, InputError
from ditto_cli.store import AdapterRecord, AdapterStore, check_name, suggest_name
from ditto_cli.types import SFT_STAGE, Demonstration, round_stage

if TYPE_CHECKING:
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job
    from ditto_cli.model.footprint import Need
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy.policy import Policy

_HEADERS, _RECORDS_BYTES, _SAMPLED_TOKEN_BYTES = 1.05, 2**20, 16  # of the weights' files; in JSON
_CHECKPOINTS, _COPIES = 3, 3  # the one in the making and two before; the weights and AdamW's two moments
# Watched while it trains where ditto.yaml names no other.
DEFAULT_WATCH_PROMPT = "Write a short email to a colleague to ask whether we can move our meeting to Tuesday."


@dataclass(frozen=True)
class Order:
    """What the user asked for, as far as it is known without a model."""

    folder: Path
    folder_file: FolderFile
    view: FolderView
    adapter: str
    preset: str | None
    overrides: Mapping[str, object]
    publish: str
    device: str


def read_order(options: TrainOptions) -> Order:
    """Read the folder and refuse all that can be refused without loading torch.

    Raises:
        DittoError: as the folder and the settings give reason to.
    """
    folder = options.folder
    folder_file = read_folder_file(folder)
    flags = {"base.id": options.base, "base.revision": options.revision, "base.quantize": options.quantize}
    overrides = {**flags, "seed": options.seed, **parse_assignments(options.assignments or [])}
    preset = options.preset or os.environ.get("DITTO_PRESET") or folder_file.preset
    if preset is not None:
        load_preset(preset)
    check_publish(options.publish, resolve_settings(preset or CPU_PRESET, folder_file, os.environ, overrides))
    adapter = options.name or folder_file.name or suggest_name(adapter_name_of(folder, folder_file, None))
    check_name(adapter)
    view = view_folder(folder, folder_file)
    return Order(folder, folder_file, view, adapter, preset, overrides, options.publish, options.device)


def check_publish(publish: str, settings: Settings) -> str:
    """The stage that is asked for, in full.

    Raises:
        InputError: the run will have no such stage.
    """
    if publish in ("best", "last"):
        return publish
    stages = [SFT_STAGE, *(round_stage(number) for number in range(1, settings.rounds.num + 1))]
    for stage in stages:
        if publish in (stage, stage.removeprefix("round")):
            return stage
    raise InputError(f"--publish {publish}: this run has no such stage; take best, last, {', '.join(stages)}.")


def require_training(hardware: Hardware) -> None:
    """Refuse a device on which nothing can be trained, before anything is loaded.

    Raises:
        DeviceError: something is missing there.
    """
    problem = hardware.training_problem()
    if problem is not None:
        raise DeviceError(f"{hardware.name}: {problem}.")


def prepare(
    policy: Policy,
    name: str,
    demonstrations: Sequence[Demonstration],
    settings: Settings,
    *,
    watch_prompt: str,
    publish: str,
    folder: str | None = None,
) -> tuple[Job, RoundSelector]:
    """The job, and who chooses the stage that it publishes; the same for a training, its plan and a fold.

    Raises:
        InputError: a demonstration does not fit the base's context.
    """
    from ditto_cli.evaluation.selection import RoundSelector, selection_plan
    from ditto_cli.method.run import Job

    job = Job.of(policy, name, demonstrations, settings, watch_prompt, folder)
    plan = selection_plan(
        job.demonstrations,
        seed=settings.seed,
        temperature=settings.sampling.temperature,
        max_new_tokens=job.texts.max_new_tokens,
    )
    return job, RoundSelector(policy, job.demonstrations, plan, publish=publish)


@dataclass(frozen=True)
class Plan:
    """All that is shown.

    Attributes:
        job: what will be trained.
        base: the base's name, with its commit where it is known.
        quantize: nf4 or none.
        device: in words.
        need: memory.
        available_bytes: memory that there is for it.
        disk_bytes: most that the run has in the store.
        last: the newest training on this base and device.
        store_folder: where the adapter will lie.
    """

    job: Job
    base: str
    quantize: str
    device: str
    need: Need
    available_bytes: int
    disk_bytes: int
    last: AdapterRecord | None
    store_folder: str

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
    """What a job will take on this base, which may be loaded or not."""
    from ditto_cli.model.footprint import memory_need

    texts, settings, identity = job.texts, job.settings, policy.identity
    own = {name: len(texts.prompts[name]) + len(ids) for name, ids in texts.completions.items()}
    longest = max(len(ids) for ids in texts.prompts.values()) + texts.max_new_tokens
    num_side_by_side = len(own) * settings.sampling.completions_per_prompt + 1 + len(selector.requests())
    need = memory_need(
        policy,
        settings,
        quantize,
        cached_tokens=min(policy.max_cached_tokens, min(settings.sampling.max_slots, num_side_by_side) * longest),
        row_tokens=min(
            max(settings.dpo.micro_batch_tokens, longest + max(own.values())),
            sum(own.values()) + 2 * settings.dpo.comparisons_per_prompt * len(own) * texts.max_new_tokens,
        ),
        batch_tokens=sum(sorted(own.values())[-settings.sft.batch_size :]),
    )
    num_sampled = settings.rounds.num * settings.sampling.completions_per_prompt * len(own) * texts.max_new_tokens
    base = identity.id if identity.revision is None else f"{identity.id} at {identity.revision[:12]}"
    return Plan(
        job,
        base,
        quantize,
        policy.hardware.name,
        need,
        policy.hardware.available_bytes(),
        int(need.adapter * (1 + settings.rounds.num + _CHECKPOINTS * _COPIES) * _HEADERS)
        + _RECORDS_BYTES
        + _CHECKPOINTS * num_sampled * _SAMPLED_TOKEN_BYTES,
        _last_training(store, identity.id, policy.hardware.name),
        str(store.folder(job.name)),
    )


def plan_facts(plan: Plan, preset: str) -> dict[str, str]:
    """What is shown of a plan, by name."""
    job, need, settings = plan.job, plan.need, plan.job.settings
    texts = len(job.demonstrations)
    steps = f"SFT up to {settings.sft.max_steps} updates, then {settings.rounds.num} rounds of "
    steps += f"{settings.sampling.completions_per_prompt * texts} samples and {settings.rounds.steps} DPO updates"
    memory = f"about {size(need.peak)} at most, in {need.phase} ({size(need.base)} of it the base); "
    last = plan.last
    return {
        "adapter": job.name,
        "texts": f"{texts}, {job.texts.num_tokens} tokens",
        "base": f"{plan.base}, {'4-bit NF4' if plan.quantize == 'nf4' else 'not quantised'}",
        "device": plan.device,
        "preset": preset,
        "steps": steps,
        "samples": f"at most {job.texts.max_new_tokens} tokens each",
        "memory": memory + f"{size(plan.available_bytes)} are free",
        "disk": f"{size(plan.disk_bytes)} while it trains",
        "time": f"last time {duration(last.seconds)} ({last.name}, {last.num_demonstrations} texts)"
        if last
        else "not known before the first training on this base",
        "stored in": plan.store_folder,
    }


def _last_training(store: AdapterStore, base_id: str, device: str) -> AdapterRecord | None:
    """The newest adapter that was trained on this base and device."""
    records = []
    for name in store.names():
        with suppress(DittoError):  # a damaged adapter is told where it is used
            records.append(store.record(name))
    alike = [record for record in records if (record.base.id, record.device) == (base_id, device)]
    return max(alike, key=lambda record: record.created, default=None)
