"""`ditto train`: the plan, the run as it goes, and what changed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.folder import FolderView, audit_texts, say_audit, view_folder, write_missing_prompts
from ditto_cli.cli.forecast import Forecast, Stopwatch, count_run, duration, forecast, show_comparison, size
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import print_facts, print_side_by_side, print_table, say, warn
from ditto_cli.config import (
    CPU_PRESET,
    FolderFile,
    Settings,
    adapter_name_of,
    load_preset,
    parse_assignments,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.demonstrations import attach_prompts, stored_prompts
from ditto_cli.errors import InputError
from ditto_cli.store import (
    AdapterRecord,
    AdapterStore,
    UnfinishedRun,
    cache_home,
    check_name,
    store_home,
    suggest_name,
)
from ditto_cli.types import SFT_STAGE, Demonstration, DeviceChoice, round_stage

if TYPE_CHECKING:
    from ditto_cli.method.plan import RunPlan
    from ditto_cli.method.rounds import Encoded
    from ditto_cli.method.train import Job
    from ditto_cli.model.policy import Policy

# Watched while it trains where ditto.yaml names no other.
DEFAULT_WATCH_PROMPT = "Write a short email to a colleague to ask whether we can move our meeting to Tuesday."


def run_train(options: TrainOptions, *, fresh: bool) -> None:
    """See `ditto train --help`.

    Raises:
        DittoError: as the folder, the settings, the base and the run give reason to.
    """
    order = read_order(options)
    store = AdapterStore(store_home(os.environ))
    with store.training(order.adapter) as kept:  # a second training of this name ends here, before it loads anything
        if fresh:
            kept.start_over()
        record, compare = _train(order, store, kept)
    _show_result(order.adapter, record, compare)


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
    _check_publish(options.publish, resolve_settings(preset or CPU_PRESET, folder_file, os.environ, overrides))
    adapter = options.name or folder_file.name or suggest_name(adapter_name_of(folder, folder_file, None))
    check_name(adapter)
    view = view_folder(folder, folder_file)
    return Order(folder, folder_file, view, adapter, preset, overrides, options.publish, options.device)


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
    device: DeviceChoice


def _train(order: Order, store: AdapterStore, kept: UnfinishedRun) -> tuple[AdapterRecord, Callable[[], None]]:
    """Train; returns the record, and what shows the plan beside what was measured."""
    from ditto_cli.evaluation.selection import RoundSelector, selection_plan
    from ditto_cli.method.rounds import encode_demonstrations
    from ditto_cli.method.train import Job, train_ditto
    from ditto_cli.model.hardware import detect, resident_bytes
    from ditto_cli.model.loading import load_policy

    hardware = detect(order.device)
    preset = order.preset or hardware.default_preset()
    settings = resolve_settings(preset, order.folder_file, os.environ, order.overrides)
    publish = _check_publish(order.publish, settings)
    process_bytes = resident_bytes()
    policy = load_policy(settings.base, hardware, cache_home(os.environ), say)
    demonstrations = _demonstrations(order, policy)
    job = Job(
        order.adapter,
        tuple(demonstrations),
        settings,
        order.folder_file.watch_prompt or DEFAULT_WATCH_PROMPT,
        str(order.folder.resolve()),
    )
    encoded = encode_demonstrations(
        policy.chat, job.demonstrations, settings.sampling, context_tokens=policy.context_tokens
    )
    prompts = {demonstration.id: demonstration.prompt for demonstration in demonstrations}
    say_audit(audit_texts(order.view.reading.texts, prompts, settings.base))
    _show_plan(policy, job, encoded, preset, store)
    plan = selection_plan(
        job.demonstrations,
        seed=settings.seed,
        temperature=settings.sampling.temperature,
        max_new_tokens=encoded.max_new_tokens,
    )
    run = count_run(
        policy.chat, job.demonstrations, encoded, settings, plan, job.watch_prompt, is_exact=policy.is_exact
    )
    known = _forecast(policy, settings, run, process_bytes)
    started = time.monotonic()
    with reporter() as shown:
        watch = Stopwatch(shown)
        selector = RoundSelector(policy, job.demonstrations, plan, publish=publish)
        record = train_ditto(policy, job, kept, watch, selector)
    seconds, peak_bytes = time.monotonic() - started, hardware.peak_memory_bytes()
    if known is None:
        return record, lambda: None
    return record, lambda: show_comparison(
        known, watch, whole_seconds=seconds, peak_bytes=peak_bytes, is_cuda=hardware.is_cuda
    )


def _demonstrations(order: Order, policy: Policy) -> list[Demonstration]:
    """The texts with their prompts; the base writes those that are missing."""
    texts = order.view.reading.texts
    prompts = stored_prompts(order.folder_file, texts)
    without = attach_prompts(texts, prompts)[1]
    if without:
        prompts |= write_missing_prompts(order.folder, without, policy)
    return attach_prompts(texts, prompts)[0]


def _check_publish(publish: str, settings: Settings) -> str:
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


def _show_plan(policy: Policy, job: Job, encoded: Encoded, preset: str, store: AdapterStore) -> None:
    settings = job.settings
    identity = policy.identity
    base = identity.id if identity.revision is None else f"{identity.id} at {identity.revision[:12]}"
    print_facts(
        {
            "adapter": job.name,
            "texts": f"{len(job.demonstrations)}, {encoded.num_tokens} tokens",
            "base": f"{base}, {'4-bit NF4' if policy.quantize == 'nf4' else 'not quantised'}",
            "device": policy.hardware.name,
            "preset": preset,
            "steps": describe_steps(settings, len(job.demonstrations)),
            "stored in": str(store.folder(job.name)),
        },
        to_stderr=True,
    )
    if store.exists(job.name):
        warn(f"There is an adapter {job.name} already: it stays in use until this run is finished, which replaces it.")


def describe_steps(settings: Settings, num_demonstrations: int) -> str:
    """The stages of a run in a line."""
    rounds, samples = settings.rounds, settings.sampling.completions_per_prompt * num_demonstrations
    sft = f"SFT up to {settings.sft.max_steps} updates"
    return f"{sft}, then {rounds.num} rounds of {samples} samples and {rounds.steps} DPO updates"


def _forecast(policy: Policy, settings: Settings, run: RunPlan, process_bytes: int) -> Forecast | None:
    """What the training will take, where this kind of base is understood; else it is trained all the same."""
    from ditto_cli.model.footprint import UnknownShapeError

    try:
        known = forecast(policy, settings, run, process_bytes=process_bytes)
    except UnknownShapeError as error:
        say(f"Time and memory are not told: {error}")
        return None
    _show_forecast(known)
    return known


def _show_forecast(known: Forecast) -> None:
    if known.estimator is None:
        say(f"Memory was full while this machine was measured: up to {size(known.need.peak_bytes)} are needed.")
        return
    took, whole = duration(known.calibration_seconds), duration(sum(known.kinds().values()))
    say(f"Measured this machine for {took}: about {whole}, and up to {size(known.need.peak_bytes)} of memory.")


def _show_result(adapter: str, record: AdapterRecord, compare: Callable[[], None]) -> None:
    rows = []
    for stage in record.stages:
        metrics = stage.metrics
        rows.append(
            (
                stage.stage,
                f"{stage.seconds:.0f} s",
                f"{metrics['loss']:.2f}",
                f"{metrics['rewards/margins']:.2f}" if "rewards/margins" in metrics else "",
                f"{metrics['selection/style']:.2f}",
                f"{metrics['selection/ended']:.0%}",
            )
        )
    print_table("", ("stage", "time", "loss", "reward margin", "style on new prompts", "texts that ended"), rows)
    texts = [("base", record.base_sample), *((stage.stage, stage.sample or "") for stage in record.stages)]
    print_side_by_side(record.watch_prompt, texts)
    compare()
    say(f"{record.published} is published: {record.reason}.")
    say(f"Adapter {adapter} is ready, {record.seconds:.0f} s. Next:")
    say(f'  ditto sample --adapter {adapter} "{record.watch_prompt}"')
    say(f"  ditto eval --adapter {adapter}")
