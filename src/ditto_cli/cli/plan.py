"""`ditto plan` and `ditto train --dry-run`: what a training will do, how long it takes, whether it fits.

Nothing is locked or downloaded, and nothing written but the base's own form into the cache, as by every command that
loads it. A base that would not fit is told from its configuration, and not loaded.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ditto_cli.cli.arguments import TrainOptions
from ditto_cli.cli.fitting import PresetRow, changes_that_fit, preset_rows
from ditto_cli.cli.forecast import Forecast, count_run, duration, forecast, forecast_memory, guess_run, size
from ditto_cli.cli.render import print_facts, print_json, print_table, say, warn
from ditto_cli.cli.train import DEFAULT_WATCH_PROMPT, Order, describe_steps, read_order
from ditto_cli.config import BaseSettings, Settings, resolve_settings, resolved_quantize
from ditto_cli.demonstrations import attach_prompts, stored_prompts
from ditto_cli.errors import InputError
from ditto_cli.store import cache_home
from ditto_cli.types import Demonstration

if TYPE_CHECKING:
    from ditto_cli.method.plan import RunPlan
    from ditto_cli.method.rounds import Encoded
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.source import BaseSource

# As long as what the base writes where a text has no prompt yet.
_PLACEHOLDER = "Write an email to a colleague about the change of plans for the meeting next week."
_CHARACTERS_PER_TOKEN = 4  # where the base's tokenizer is not here
_BUSY = 0.5  # of each core, on average over the last minute
_TEMPLATE_TOKENS = 30  # what a chat template puts around a prompt, about
_KINDS = {"sft": "SFT", "scoring": "scoring", "update": "a DPO update", "sampling": "sampling"}


def run_plan(options: TrainOptions, *, as_json: bool) -> None:
    """See `ditto plan --help`.

    Raises:
        DittoError: as the folder, the settings and the base give reason to.
    """
    order = read_order(options)
    plan = _make(order)
    if as_json:
        print_json(plan.as_json())
    else:
        plan.show()


@dataclass(frozen=True)
class _Plan:
    """All that is shown."""

    order: Order
    preset: str
    settings: Settings
    hardware: Hardware
    quantize: str
    encoded: Encoded
    num_missing_prompts: int
    is_guessed: bool
    known: Forecast
    load_seconds: float | None
    available_bytes: int
    presets: tuple[PresetRow, ...]
    changes: tuple[str, ...]
    load_average: float

    @property
    def cache_bytes(self) -> int:
        return self.known.memory.base_bytes if self.quantize == "nf4" else 0

    @property
    def fits(self) -> bool:
        return self.known.need.peak_bytes <= self.available_bytes

    def as_json(self) -> dict[str, Any]:
        seconds = self.known.kinds()
        return {
            "schema_version": 1,
            "adapter": self.order.adapter,
            "texts": len(self.encoded.completions),
            "tokens": self.encoded.num_tokens,
            "tokens_are_guessed": self.is_guessed,
            "missing_prompts": self.num_missing_prompts,
            "base": self.settings.base.id,
            "quantize": self.quantize,
            "device": self.hardware.name,
            "preset": self.preset,
            "max_new_tokens": self.encoded.max_new_tokens,
            "phases": [
                {"phase": kind, "amount": amount, "seconds": _rounded(seconds.get(kind))}
                for kind, amount in _amounts(self.known.run, self.settings).items()
            ],
            "seconds": _rounded(sum(seconds.values())) if seconds else None,
            "load_seconds": _rounded(self.load_seconds),
            "calibration_seconds": _rounded(self.known.calibration_seconds) if seconds else None,
            "memory": {
                "fixed": dict(self.known.need.fixed),
                "phases": dict(self.known.need.phases),
                "peak_bytes": self.known.need.peak_bytes,
                "available_bytes": self.available_bytes,
                "fits": self.fits,
            },
            "disk_bytes": self.known.disk_bytes,
            "cache_bytes": self.cache_bytes,
            "presets": [
                {
                    "preset": row.preset,
                    "base": row.base,
                    "quantize": row.quantize,
                    "peak_bytes": row.peak_bytes,
                    "fits": row.fits,
                }
                for row in self.presets
            ],
            "changes": list(self.changes),
        }

    def show(self) -> None:
        guessed = " (guessed: the base's tokenizer is not on this machine)" if self.is_guessed else ""
        in_cache = f", and {size(self.cache_bytes)} in the cache for the 4-bit base, once" if self.cache_bytes else ""
        print_facts(
            {
                "adapter": self.order.adapter,
                "texts": f"{len(self.encoded.completions)}, {self.encoded.num_tokens} tokens{guessed}",
                "base": f"{self.settings.base.id}, {'4-bit NF4' if self.quantize == 'nf4' else 'not quantised'}",
                "device": self.hardware.name,
                "preset": self.preset,
                "steps": describe_steps(self.settings, len(self.encoded.completions)),
                "samples": f"at most {self.encoded.max_new_tokens} tokens each",
                "disk": f"{size(self.known.disk_bytes)} while it trains{in_cache}",
            }
        )
        self._show_time()
        self._show_memory()
        this = PresetRow(
            f"{self.preset} (this plan)", self.settings.base.id, self.quantize, self.known.need.peak_bytes, self.fits
        )
        rows = [
            (
                row.preset,
                f"{row.base}, {'4-bit' if row.quantize == 'nf4' else 'not quantised'}",
                "not known" if row.peak_bytes is None else size(row.peak_bytes),
                "" if row.fits is None else "yes" if row.fits else "no",
            )
            for row in (this, *(one for one in self.presets if one.preset != self.preset))
        ]
        print_table(
            "Presets, with these texts", ("preset", "base", "memory", f"fits {size(self.available_bytes)}"), rows
        )
        for line in (*self._notes(), *self.changes):
            warn(line)

    def _show_time(self) -> None:
        seconds = self.known.kinds()
        rows = [
            (kind, amount, duration(seconds[kind]) if seconds else "not measured")
            for kind, amount in _amounts(self.known.run, self.settings).items()
        ]
        if seconds:
            rows.append(("all", "", duration(sum(seconds.values()))))
        print_table("Work", ("phase", "how much", "time"), rows)

    def _show_memory(self) -> None:
        need = self.known.need
        rows = [(name, size(num)) for name, num in need.fixed.items()]
        rows += [(f"while it does: {_KINDS[name]}", size(num)) for name, num in need.phases.items()]
        rows += [("at its peak", size(need.peak_bytes)), ("free for it here", size(self.available_bytes))]
        print_table("Memory", ("what", "size"), rows)

    def _notes(self) -> list[str]:
        notes = [
            "How long samples become is not known beforehand: the base is taken to write to the limit, and an adapter "
            "texts around the demonstrations' lengths, the longest up to the limit."
        ]
        if self.num_missing_prompts:
            notes.append(
                f"{self.num_missing_prompts} of the texts have no prompt yet and are counted with one of usual length; "
                "the base writes them when it trains."
            )
        if self.known.estimator is not None and self.load_average > _BUSY * (os.cpu_count() or 1):
            notes.append(
                f"Other programs kept this machine busy while it was measured (load {self.load_average:.1f}): "
                "without them it takes less time."
            )
        if self.known.estimator is None:
            reason = "is not on this machine" if self.is_guessed else "with its training would not fit"
            was_full = "memory was full while this machine was measured"
            why = was_full if self.load_seconds is not None else f"the base {reason}, so it was not loaded"
            notes.append(f"No time is told: {why}.")
        return notes


def _make(order: Order) -> _Plan:
    import ditto_cli.method.train  # noqa: F401, what a training has in memory besides the base
    from ditto_cli.model.footprint import MemoryModel, shape_of, weights_of
    from ditto_cli.model.hardware import available_bytes, detect, resident_bytes
    from ditto_cli.model.loading import load_source
    from ditto_cli.model.skeleton import load_skeleton

    hardware = detect(order.device)
    preset = order.preset or hardware.default_preset()
    settings = resolve_settings(preset, order.folder_file, os.environ, order.overrides)
    quantize = resolved_quantize(settings.base.quantize, is_cuda=hardware.is_cuda)
    load_average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0  # Windows has none
    demonstrations, num_missing = _demonstrations(order)
    source = _local_source(settings.base)
    process = resident_bytes()
    is_exact = hardware.is_exact(quantize)
    recount: Callable[[Settings], RunPlan]
    if source is None:
        shape = _known_shape(settings.base)
        weights = shape.weights
        encoded = _guessed(demonstrations, settings)
        watch = len(_guess_ids(_watch_prompt(order))) + _TEMPLATE_TOKENS
        recount = lambda changed: guess_run(encoded, changed, watch=watch, is_exact=is_exact)  # noqa: E731
    else:
        skeleton = load_skeleton(source)
        shape = shape_of(skeleton.model.config)
        weights = weights_of(skeleton.model, skeleton.model.get_output_embeddings())
        encoded, recount = _exact(
            order, demonstrations, settings, skeleton.chat, skeleton.context_tokens, is_exact=is_exact
        )
    memory = MemoryModel(
        shape,
        weights,
        settings.lora,
        quantize=quantize,
        is_cuda=hardware.is_cuda,
        memory_bytes=hardware.memory_bytes,
    )
    run = recount(settings)
    available = available_bytes(hardware)
    known = forecast_memory(run, memory, hardware, process_bytes=process)
    load_seconds = None
    if source is not None and known.need.peak_bytes <= available:
        started = time.monotonic()
        policy = load_source(source, settings.base.quantize, hardware, cache_home(os.environ), say)
        load_seconds = time.monotonic() - started
        known = forecast(policy, settings, run, process_bytes=process)
    presets = preset_rows(encoded, hardware, process, available)
    return _Plan(
        order,
        preset,
        settings,
        hardware,
        quantize,
        encoded,
        num_missing,
        source is None,
        known,
        load_seconds,
        available,
        presets,
        tuple(changes_that_fit(known, settings, recount, available, presets)),
        load_average,
    )


def _watch_prompt(order: Order) -> str:
    return order.folder_file.watch_prompt or DEFAULT_WATCH_PROMPT


def _demonstrations(order: Order) -> tuple[list[Demonstration], int]:
    """The texts, with a stand-in where a prompt is missing; and how many those are."""
    texts = order.view.reading.texts
    prompts = stored_prompts(order.folder_file, texts)
    without = attach_prompts(texts, prompts)[1]
    prompts |= {text.id: _PLACEHOLDER for text in without}
    return attach_prompts(texts, prompts)[0], len(without)


def _exact(
    order: Order,
    demonstrations: Sequence[Demonstration],
    settings: Settings,
    chat: Any,
    context_tokens: int,
    *,
    is_exact: bool,
) -> tuple[Encoded, Callable[[Settings], RunPlan]]:
    """Tokens by the base's own tokenizer, and the count of a run with these settings or changed ones."""
    from ditto_cli.evaluation.selection import selection_plan
    from ditto_cli.method.rounds import encode_demonstrations

    encoded = encode_demonstrations(chat, demonstrations, settings.sampling, context_tokens=context_tokens)
    selection = selection_plan(
        demonstrations,
        seed=settings.seed,
        temperature=settings.sampling.temperature,
        max_new_tokens=encoded.max_new_tokens,
    )
    watch = _watch_prompt(order)
    return encoded, lambda changed: count_run(
        chat, demonstrations, encoded, changed, selection, watch, is_exact=is_exact
    )


def _guessed(demonstrations: Sequence[Demonstration], settings: Settings) -> Encoded:
    """Stand-ins for tokens: only their number matters."""
    from ditto_cli.method.rounds import Encoded

    prompts = {d.id: _guess_ids(d.prompt) + (0,) * _TEMPLATE_TOKENS for d in demonstrations}
    completions = {d.id: _guess_ids(d.completion) for d in demonstrations}
    longest = max(len(ids) for ids in completions.values())
    return Encoded(prompts, completions, math.ceil(settings.sampling.length_factor * longest))


def _guess_ids(text: str) -> tuple[int, ...]:
    return (0,) * max(1, len(text) // _CHARACTERS_PER_TOKEN)


def _local_source(base: BaseSettings) -> BaseSource | None:
    """Where the base lies; None where it would have to be downloaded first."""
    from ditto_cli.model.embedded_file import EMBEDDED_HUB_ID, EMBEDDED_ID, find_gguf
    from ditto_cli.model.source import cached_snapshot, locate_base

    is_packaged = base.id == EMBEDDED_ID and find_gguf() is not None
    is_here = is_packaged or Path(base.id).expanduser().is_dir()
    if not is_here:
        is_here = cached_snapshot(EMBEDDED_HUB_ID if base.id == EMBEDDED_ID else base.id, base.revision) is not None
    return locate_base(base.id, base.revision, cache_home(os.environ), say) if is_here else None


def _known_shape(base: BaseSettings) -> Any:
    from ditto_cli.model.footprint import SHAPES

    if base.id not in SHAPES:
        raise InputError(
            f"Base model {base.id} is not on this machine, and its size is not known without it: download it once "
            f"(hf download {base.id}), or plan with a preset's base ({', '.join(sorted(SHAPES))})."
        )
    return SHAPES[base.id]


def _amounts(run: RunPlan, settings: Settings) -> dict[str, str]:
    """How much of each kind of work there is, in words."""
    amounts: dict[str, str] = {}
    for kind in dict.fromkeys(phase.kind for phase in run.phases):
        phases = [phase for phase in run.phases if phase.kind == kind]
        batches = [batch for phase in phases for batch in phase.sft]
        updates = [update for phase in phases for update in phase.updates]
        decodings = [decoding for phase in phases for decoding in phase.samples]
        if batches:
            tokens = sum(batch.num_tokens for batch in batches)
            amounts[kind] = f"at most {len(batches)} updates of {settings.sft.batch_size} texts, {tokens:,} tokens"
        elif updates:
            tokens = sum(group.num_tokens for update in updates for row in update for group in row)
            amounts[kind] = f"{len(updates)} updates, {tokens:,} tokens"
        else:
            sampled = sum(decoding.num_tokens for decoding in decodings)
            scored = sum(group.num_tokens for phase in phases for row in phase.scored for group in row)
            told = [f"{num:,} tokens {done}" for num, done in ((sampled, "sampled"), (scored, "scored")) if num]
            amounts[kind] = ", ".join(told)
    return amounts


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
