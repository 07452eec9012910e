"""A run's plan in seconds and bytes, for `ditto plan` and `ditto train`, and what the run then measured beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ditto_cli.cli.render import print_table
from ditto_cli.config import Settings
from ditto_cli.types import Demonstration, Reporter, WatchedSample

if TYPE_CHECKING:
    from ditto_cli.evaluation.contestants import WritingPlan
    from ditto_cli.method.estimate import Estimator
    from ditto_cli.method.plan import RunPlan
    from ditto_cli.method.rounds import Encoded
    from ditto_cli.model.chat import ChatFormat
    from ditto_cli.model.footprint import Load, MemoryModel
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy import Policy

_SFT_STAGE = "SFT"
_REST = "the rest"
_CHECKPOINT_COPIES = 3  # the weights and AdamW's two moments


@dataclass(frozen=True)
class Need:
    """Memory of a run: what is held all the time, by name, and what each kind of work has at its peak beside it."""

    fixed: Mapping[str, int]
    phases: Mapping[str, int]

    @property
    def peak_bytes(self) -> int:
        """The most at any time."""
        return sum(self.fixed.values()) + max(self.phases.values())


@dataclass(frozen=True)
class Forecast:
    """What is known of a run before it begins; `estimator` is None where no base was loaded to measure with."""

    run: RunPlan
    load: Load
    memory: MemoryModel
    need: Need
    disk_bytes: int
    estimator: Estimator | None = None
    calibration_seconds: float = 0.0

    def kinds(self) -> dict[str, float]:
        """Seconds by kind of work; empty where nothing was measured."""
        return {} if self.estimator is None else self.estimator.kinds(self.run)


def count_run(
    chat: ChatFormat,
    demonstrations: Sequence[Demonstration],
    encoded: Encoded,
    settings: Settings,
    selection: WritingPlan,
    watch_prompt: str,
    *,
    is_exact: bool,
) -> RunPlan:
    """What the run will do, with the writings that the choice between stages asks for."""
    from ditto_cli.evaluation.selection import background_plan
    from ditto_cli.method.plan import Writings, plan_run

    def lengths(plan: WritingPlan) -> tuple[int, ...]:
        return tuple(len(chat.prompt_ids(prompt.prompt)) for prompt in plan.prompts for _ in range(plan.num))

    writings = Writings(
        lengths(background_plan(demonstrations, selection)),
        lengths(selection),
        continuations(encoded),
        len(chat.prompt_ids(watch_prompt)),
    )
    return plan_run(encoded, settings, writings, is_exact=is_exact)


def guess_run(encoded: Encoded, settings: Settings, *, watch: int, is_exact: bool) -> RunPlan:
    """The same where the base's tokenizer is not at hand: new prompts are taken to be as long as the watched one."""
    from ditto_cli.evaluation.selection import NUM_PROMPTS
    from ditto_cli.method.plan import Writings, plan_run

    background = tuple(len(ids) for ids in encoded.prompts.values())
    writings = Writings(background, (watch,) * NUM_PROMPTS, continuations(encoded), watch)
    return plan_run(encoded, settings, writings, is_exact=is_exact)


def continuations(encoded: Encoded) -> tuple[tuple[int, int], ...]:
    """Of each demonstration: the tokens that are given away, and the most that it is then gone on with."""
    from ditto_cli.evaluation import extraction

    pairs = []
    for name, ids in encoded.completions.items():
        own = len(ids) - 1  # without the end token
        given = own // extraction.GIVEN_SHARE
        pairs.append((len(encoded.prompts[name]) + given, min(max(1, own - given), extraction.MAX_NEW_TOKENS)))
    return tuple(pairs)


def forecast_memory(run: RunPlan, memory: MemoryModel, hardware: Hardware, *, process_bytes: int) -> Forecast:
    """Memory and disk; nothing has to be loaded for it.

    Args:
        run: what will be done.
        memory: of the base and the adapter.
        hardware: where.
        process_bytes: of the program without any model, on a CPU.
    """
    from ditto_cli.method.estimate import load_of
    from ditto_cli.model.footprint import CUDA_CONTEXT_BYTES

    load = load_of(run)
    fixed = {
        "CUDA" if hardware.is_cuda else "program": CUDA_CONTEXT_BYTES if hardware.is_cuda else process_bytes,
        "base": memory.base_bytes,
        "adapter, reference, optimizer": memory.adapter_bytes,
    }
    num_stages = sum(phase.name.endswith(": DPO") for phase in run.phases) + 1
    one = memory.adapter_bytes // 5
    # Two checkpoints are kept while a run lasts, and every stage.
    disk_bytes = one * (num_stages + 2 * _CHECKPOINT_COPIES)
    return Forecast(run, load, memory, Need(fixed, memory.phases(load)), disk_bytes)


def forecast(policy: Policy, settings: Settings, run: RunPlan, *, process_bytes: int) -> Forecast:
    """Seconds as well, measured on the loaded policy, which is left as it was found; no seconds if memory is full."""
    from ditto_cli.method.estimate import Estimator, load_of, typical_group
    from ditto_cli.model.calibration import calibrate
    from ditto_cli.model.footprint import memory_of, shape_of, weights_of
    from ditto_cli.model.memory import free_memory, is_out_of_memory

    base = policy.model
    shape, weights = shape_of(base.config), weights_of(base, base.get_output_embeddings())

    def memory(saved_ratio: float = 1.0) -> MemoryModel:
        return memory_of(policy, settings.lora, saved_ratio=saved_ratio)

    group, load = typical_group(run), load_of(run)
    widths = [decoding.rows[0] for decoding in run.decodings() if decoding.rows]
    try:
        calibration = calibrate(
            policy,
            settings.lora,
            memory(),
            shape,
            weights,
            group=(group.prompt, group.completions),
            rows=(min(widths, default=1), max(widths, default=1)),
            context=min(load.columns, group.prompt + run.max_new_tokens // 2),
        )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        free_memory()  # the training itself goes on with less at a time
        return forecast_memory(run, memory(), policy.hardware, process_bytes=process_bytes)
    known = forecast_memory(run, memory(calibration.saved_ratio), policy.hardware, process_bytes=process_bytes)
    estimator = Estimator(shape, weights, calibration, save_bytes=_CHECKPOINT_COPIES * known.memory.adapter_bytes // 5)
    return replace(known, estimator=estimator, calibration_seconds=calibration.took_seconds)


@dataclass
class Stopwatch:
    """A `Reporter` around another that times what it is told of."""

    inner: Reporter
    seconds: dict[str, float] = field(default_factory=dict)
    sft_updates: int = 0
    _stage: str = ""
    _started: float = 0.0

    def stage_started(self, stage: str, total: int, unit: str) -> None:
        """Begin to time a stage."""
        self._stage, self._started = stage, time.monotonic()
        self.inner.stage_started(stage, total, unit)

    def stage_advanced(self, completed: int, metrics: Mapping[str, float]) -> None:
        """Count the updates of SFT, which may stop early."""
        if self._stage == _SFT_STAGE:
            self.sft_updates = completed
        self.inner.stage_advanced(completed, metrics)

    def stage_ended(self) -> None:
        """Keep what the stage took."""
        self.seconds[self._stage] = time.monotonic() - self._started
        self.inner.stage_ended()

    def sample_shown(self, sample: WatchedSample) -> None:
        """Show it."""
        self.inner.sample_shown(sample)

    def noted(self, message: str) -> None:
        """Show it."""
        self.inner.noted(message)


def show_comparison(known: Forecast, watch: Stopwatch, *, whole_seconds: float, peak_bytes: int, is_cuda: bool) -> None:
    """Planned against measured, of what this process did; nothing where it did not do the whole run."""
    names = {phase.name for phase in known.run.phases if phase.name}
    if known.estimator is None or names - set(watch.seconds):
        return
    planned: dict[str, float] = {}
    measured: dict[str, float] = {}
    for phase in known.run.phases:
        seconds = known.estimator.seconds(phase)
        if phase.sft:
            seconds = known.estimator.sft_seconds(phase.sft[: watch.sft_updates])
        planned[phase.kind] = planned.get(phase.kind, 0.0) + seconds
        measured[phase.kind] = measured.get(phase.kind, 0.0) + watch.seconds.get(phase.name, 0.0)
    measured[_REST] = whole_seconds - sum(watch.seconds[name] for name in names)
    rows = []
    num_sft = len(list(known.run.batches()))
    for kind, seconds in planned.items():
        stopped = kind == _SFT_STAGE and watch.sft_updates < num_sft
        note = f", stopped after {watch.sft_updates} of {num_sft}" if stopped else ""
        rows.append((kind + note, duration(seconds), duration(measured[kind]), _difference(seconds, measured[kind])))
    whole = sum(planned.values())
    rows.append(("all", duration(whole), duration(whole_seconds), _difference(whole, whole_seconds)))
    peak = known.need.peak_bytes - (known.need.fixed["CUDA"] if is_cuda else 0)  # torch counts its own tensors only
    rows.append(("memory", size(peak), size(peak_bytes), _difference(peak, peak_bytes)))
    print_table("", ("planned and measured", "planned", "measured", "difference"), rows)


def duration(seconds: float) -> str:
    """`2 min 40 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(num_bytes: int) -> str:
    """`3.1 GiB`."""
    return f"{num_bytes / 2**30:.1f} GiB" if num_bytes >= 2**30 else f"{num_bytes / 2**20:.0f} MiB"


def _difference(planned: float, measured: float) -> str:
    return f"{planned / measured - 1:+.0%}" if measured > 0 else ""
