"""One way on one shape, measured in this process: arguments -> an `Outcome`, told again after each phase."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ditto_cli.model.hardware import GIB, Hardware, detect
from ditto_cli.model.memory import is_out_of_memory
from speed import shapes, workload
from speed.ceilings import measure_ceilings
from speed.checks import (
    GRADIENT_ERROR,
    SAMPLER_GAP,
    SWITCH,
    gradient_error,
    sampler_gap,
    switch_milliseconds,
    without_dropout,
)
from speed.floor import work_of
from speed.phases import Phases
from speed.plain import plain_round
from speed.records import Outcome
from speed.ways import ABLATIONS, Bench, our_round, prepare

CEILINGS, CHECK, OURS, PLAIN, TRL, CONTINUOUS = "ceilings", "check", "ours", "plain", "trl", "continuous-batching"
FULL_WAYS = (OURS, PLAIN, TRL)
WAYS = (*FULL_WAYS, CONTINUOUS, *ABLATIONS, CHECK)
_CHECKS: dict[str, Callable[[Bench], float]] = {
    GRADIENT_ERROR: gradient_error,
    SAMPLER_GAP: sampler_gap,
    SWITCH: switch_milliseconds,
}
_FREE_SHARE = 0.95  # of the free memory that a process on a CPU may take


def measure(arguments: argparse.Namespace, tell: Callable[[Outcome], None]) -> None:
    """Measure `arguments.way` on `arguments.shape`; `tell` gets the outcome as far as it is known, again and again.

    Args:
        arguments: those of `round.py`, for one shape and one way.
        tell: called after each phase and at the end.
    """
    warnings.simplefilter("ignore")
    hardware = detect(arguments.device)
    hardware = limit_memory(hardware, arguments.cap_gib)
    outcome = Outcome(shape=arguments.shape, way=arguments.way, machine=machine_name(hardware))
    phases = Phases(hardware, lambda: tell(outcome))
    outcome.phases = phases.figures
    try:
        _measure(arguments, hardware, phases, outcome)
    except Exception as error:
        if arguments.way in FULL_WAYS and not is_out_of_memory(error):
            raise
        said = str(error).strip().splitlines()
        print(f"{arguments.way}: {type(error).__name__}: {said[0][:200] if said else ''}", file=sys.stderr)
        outcome.problem = "out of memory" if is_out_of_memory(error) else f"not possible: {type(error).__name__}"
    tell(outcome)


def _measure(arguments: argparse.Namespace, hardware: Hardware, phases: Phases, outcome: Outcome) -> None:
    shape, way = arguments.shape, arguments.way
    quantize = shapes.quantize_of(shape, arguments.quantize, is_cuda=hardware.is_cuda)
    work = build_workload(arguments, num_updates=arguments.ablation_updates if way in ABLATIONS else arguments.updates)
    if way == CEILINGS:
        sizes = shapes.architecture(shapes.configuration(shape), quantize, is_cuda=hardware.is_cuda)
        outcome.work = work_of(work, sizes, is_exact=hardware.is_exact(quantize))
        outcome.ceilings = measure_ceilings(sizes, hardware)
        return
    if way == CHECK:
        work = without_dropout(work)
    policy = shapes.build_policy(shape, hardware, quantize)
    bench = Bench(policy, work, phases, outcome.step_seconds, outcome.notes)
    if way == TRL:
        from speed.peers import trl_round  # these libraries take seconds to import, and only this way needs them

        trl_round(bench)
        return
    prepare(policy, work)
    if way == OURS:
        our_round(bench)
    elif way == PLAIN:
        plain_round(bench)
    elif way == CONTINUOUS:
        from speed.peers import continuous_batching

        continuous_batching(bench)
    elif way == CHECK:
        _check(bench, outcome)
    else:
        with ABLATIONS[way].undone(bench):
            our_round(bench, ABLATIONS[way].touches)


def _check(bench: Bench, outcome: Outcome) -> None:
    """Each check by itself, so that one that cannot be done leaves the others."""
    bench.policy.checkpoint_activations(bench.policy.num_layers if bench.policy.hardware.is_cuda else 0)
    for name, check in _CHECKS.items():
        try:
            outcome.checks[name] = check(bench)
        except (AttributeError, TypeError, RuntimeError) as error:
            outcome.notes.append(f"{name}: not possible: {type(error).__name__}")


def build_workload(arguments: argparse.Namespace, *, num_updates: int) -> workload.Workload:
    """The round's work on the shape, without its model."""
    shape = arguments.shape
    num_demonstrations = arguments.demonstrations or workload.NUM_DEMONSTRATIONS[shape]
    overrides = {
        "sampling.completions_per_prompt": arguments.samples,
        "rounds.steps": num_updates,
        "rounds.num": 1,
    }
    settings = shapes.settings_of(shape, overrides)
    config = shapes.configuration(shape)
    if shape == shapes.EMBEDDED:
        encoded = workload.persona_texts(
            shapes.chat_of(shape), settings, num_demonstrations, context_tokens=config.max_position_embeddings
        )
    else:
        encoded = workload.made_up_texts(
            workload.SIZES[shape], settings, num_demonstrations, vocabulary=config.vocab_size
        )
    return workload.workload_of(encoded, settings, vocabulary=config.vocab_size)


def limit_memory(hardware: Hardware, cap_gib: float) -> Hardware:
    """Let full memory be an error of ours and not the end of the process: a share of the GPU's, or what is free now.

    Returns:
        The hardware with so much memory, for whoever goes by it.
    """
    if hardware.is_cuda:
        cap = min(round(cap_gib * GIB), hardware.memory_bytes)
        torch.cuda.set_per_process_memory_fraction(cap / hardware.memory_bytes, hardware.device)
        return replace(hardware, memory_bytes=cap)
    if sys.platform != "linux":
        return hardware
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(int(line.split()[1]) * 1024 * _FREE_SHARE)
            resource.setrlimit(resource.RLIMIT_DATA, (free, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return hardware


def machine_name(hardware: Hardware) -> str:
    """The device, or the processor with its threads, and the memory."""
    name = hardware.name
    if not hardware.is_cuda:
        processor = platform.processor() or platform.machine()
        cpuinfo = Path("/proc/cpuinfo")
        if cpuinfo.exists():
            models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
            processor = models[0].partition(":")[2].strip() if models else processor
        name = f"{processor}, {torch.get_num_threads()} threads of {os.cpu_count()}"
    return f"{name}, {hardware.memory_bytes / GIB:.0f} GiB"
