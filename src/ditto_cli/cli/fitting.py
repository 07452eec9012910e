"""Which preset fits this machine, and which settings would make a run fit that does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditto_cli.cli.forecast import Forecast, forecast_memory, guess_run, size
from ditto_cli.config import FolderFile, Settings, preset_names, resolve_settings, resolved_quantize

if TYPE_CHECKING:
    from ditto_cli.method.plan import RunPlan
    from ditto_cli.method.rounds import Encoded
    from ditto_cli.model.hardware import Hardware


@dataclass(frozen=True)
class PresetRow:
    """A shipped preset with the texts in question; None where its base's size is not known."""

    preset: str
    base: str
    quantize: str
    peak_bytes: int | None
    fits: bool | None


def preset_rows(encoded: Encoded, hardware: Hardware, process_bytes: int, available: int) -> tuple[PresetRow, ...]:
    """What each shipped preset would need for these texts, their tokens taken as this base counts them."""
    from ditto_cli.model.footprint import SHAPES, MemoryModel

    rows = []
    for preset in preset_names():
        settings = resolve_settings(preset, FolderFile(), {}, {})
        quantize = resolved_quantize(settings.base.quantize, is_cuda=hardware.is_cuda)
        shape = SHAPES.get(settings.base.id)
        if shape is None:
            rows.append(PresetRow(preset, settings.base.id, quantize, None, None))
            continue
        memory = MemoryModel(
            shape,
            shape.weights,
            settings.lora,
            quantize=quantize,
            is_cuda=hardware.is_cuda,
            memory_bytes=hardware.memory_bytes,
        )
        watch = max(len(ids) for ids in encoded.prompts.values())
        run = guess_run(encoded, settings, watch=watch, is_exact=hardware.is_exact(quantize))
        peak = forecast_memory(run, memory, hardware, process_bytes=process_bytes).need.peak_bytes
        rows.append(PresetRow(preset, settings.base.id, quantize, peak, peak <= available))
    return tuple(rows)


def changes_that_fit(
    known: Forecast,
    settings: Settings,
    recount: Callable[[Settings], RunPlan],
    available: int,
    presets: Sequence[PresetRow],
) -> list[str]:
    """What to change where the run does not fit: the settings that would do, else what else there is."""
    from ditto_cli.method.estimate import load_of

    if known.need.peak_bytes <= available:
        return []
    fixed = sum(known.need.fixed.values())

    def peak(changed: Mapping[str, int]) -> int:
        return fixed + max(known.memory.phases(load_of(recount(_with(settings, changed)))).values())

    changes = _halved(_starts(settings, known), peak, available)
    if changes:
        options = " ".join(f"--set {key}={value}" for key, value in changes.items())
        lines = [f"It does not fit: {options} brings it down to {size(peak(changes))}."]
    else:
        lines = [
            f"It does not fit by {size(known.need.peak_bytes - available)}, and no size of batches changes that: take "
            "a smaller base, or shorter texts."
        ]
    fitting = [row for row in presets if row.fits and row.peak_bytes is not None and row.base != settings.base.id]
    if fitting:
        best = max(fitting, key=lambda row: row.peak_bytes or 0)
        lines.append(f"--preset {best.preset} fits: {size(best.peak_bytes or 0)}.")
    return lines


def _starts(settings: Settings, known: Forecast) -> dict[str, int]:
    """Settings to go down from, at what is really reached: half of a limit that nothing reaches changes nothing."""
    return {
        "dpo.micro_batch_tokens": min(
            settings.dpo.micro_batch_tokens, max(known.load.update.tokens, known.load.scoring.tokens)
        ),
        "sampling.max_slots": min(settings.sampling.max_slots, known.load.rows),
        "sft.batch_size": known.load.sft[0],
    }


def _halved(starts: Mapping[str, int], peak: Callable[[Mapping[str, int]], int], available: int) -> dict[str, int]:
    """Always halve what brings most, until it fits; nothing where that does not help."""
    changes: dict[str, int] = {}
    needed = peak(changes)
    while needed > available:
        steps = [{**changes, key: changes.get(key, start) // 2} for key, start in starts.items()]
        peaks = [(peak(step), place) for place, step in enumerate(steps) if min(step.values()) > 0]
        if not peaks or min(peaks)[0] >= needed:
            return {}
        needed, place = min(peaks)
        changes = steps[place]
    return changes


def _with(settings: Settings, changes: Mapping[str, int]) -> Settings:
    for key, value in changes.items():
        section, field = key.split(".")
        inner = settings.model_dump()[section]
        settings = Settings.model_validate({**settings.model_dump(), section: {**inner, field: value}})
    return settings
