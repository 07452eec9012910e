"""One round of DITTO, several ways, each in a fresh process on the same work; prints a table in Markdown.

    python benchmarks/round.py                                              # the embedded base
    python benchmarks/round.py --shape mistral-7b --shape qwen3-8b          # random weights in NF4, on a GPU

Ways: `ours` is the first round as `ditto train` runs it, `plain` that of the paper's released code, `trl` is TRL's
DPOTrainer; `check` compares gradients and log-probabilities. What they do in detail stands in `speed/ways.py`, and the
work in `speed/work.py`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import shlex
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ditto_cli.config import resolved_quantize
from ditto_cli.model.hardware import GIB, Hardware, detect
from speed.shapes import EMBEDDED, SHAPES, build_policy
from speed.ways import CHECK, OURS, PLAIN, WAYS, Bench, measure
from speed.work import PHASES, REFERENCE_PHASE, SAMPLING, UPDATES, Figures, Outcome, Phases, round_work

PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}
_FREE_SHARE = 0.95  # of the free memory that a process on a CPU may take


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=SHAPES, dest="shapes", help="default: embedded")
    parser.add_argument("--ways", default=",".join(WAYS), help="default: %(default)s")
    parser.add_argument("--samples", type=int, default=10, help="completions of each demonstration's prompt")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--quantize", choices=("auto", "nf4", "none"), default="auto", help="of the made-up bases")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--cap-gib", type=float, default=22.5, help="GPU memory that a way may take")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    parsed.shapes = parsed.shapes or [EMBEDDED]
    parsed.ways = parsed.ways.split(",")
    if unknown := [way for way in parsed.ways if way not in WAYS]:
        parser.error(f"--ways {','.join(unknown)}: the ways are {', '.join(WAYS)}")
    return parsed


def measure_here(arguments: argparse.Namespace, hardware: Hardware, tell: Callable[[Outcome], None]) -> None:
    """Measure `arguments.way` in this process; `tell` gets the outcome as far as it is known, again and again."""
    shape = arguments.shapes[0]
    work = round_work(shape, samples=arguments.samples, updates=arguments.updates)
    outcome = Outcome(shape=shape, way=arguments.way, machine=machine_name(hardware), work=work.describe())
    policy = build_policy(shape, hardware, resolved_quantize(arguments.quantize, is_cuda=hardware.is_cuda))
    phases = Phases(hardware, outcome.phases, lambda: tell(outcome))
    outcome.checks = measure(arguments.way, Bench(policy, work, phases, outcome.notes))
    tell(outcome)


def measure_in_child(command: Sequence[str], shape: str, way: str) -> Outcome:
    """The newest outcome that a process told, a line of JSON each time, before it ended; and what became of it."""
    child = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT}, check=False)
    told = [line for line in child.stdout.splitlines() if line.startswith("{") and line.endswith("}")]
    outcome = Outcome.model_validate_json(told[-1]) if told else Outcome(shape=shape, way=way)
    if child.returncode > 0:
        outcome.problem = f"failed with status {child.returncode}"
    elif child.returncode < 0:
        guess = ", most likely as memory was full" if child.returncode == -signal.SIGKILL else ""
        outcome.problem = f"killed by signal {-child.returncode}{guess}"
    return outcome


def run(arguments: argparse.Namespace, command: str) -> dict[str, Any]:
    """Measure all that was asked for; the file is written anew after each process."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    report: dict[str, Any] = {"command": command, "date": datetime.now(UTC).date().isoformat(), "versions": versions}
    report["outcomes"] = []
    passed_on = ("samples", "updates", "quantize", "device", "cap_gib")
    options = [f"--{name.replace('_', '-')}={getattr(arguments, name)}" for name in passed_on]
    for shape in arguments.shapes:
        for way in arguments.ways:
            own = [sys.executable, __file__, f"--shape={shape}", f"--way={way}", *options]
            report["outcomes"].append(measure_in_child(own, shape, way).model_dump())
            print(f"{way} on {shape} is done", file=sys.stderr, flush=True)
            if arguments.json:
                arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    return report


def limit_memory(hardware: Hardware, cap_gib: float) -> Hardware:
    """Let full memory be an error of ours and not the end of the process: a share of the GPU's, or what is free now.

    Returns:
        The hardware with so much memory, for whoever goes by it.
    """
    if hardware.is_cuda:
        cap = min(round(cap_gib * GIB), hardware.memory_bytes)
        torch.cuda.set_per_process_memory_fraction(cap / hardware.memory_bytes, hardware.device)
        return replace(hardware, memory_bytes=cap)
    if sys.platform == "linux":
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                free = int(int(line.split()[1]) * 1024 * _FREE_SHARE)
                resource.setrlimit(resource.RLIMIT_DATA, (free, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return hardware


def machine_name(hardware: Hardware) -> str:
    """The device, or the processor with its threads, and the memory."""
    name, cpuinfo = hardware.name, Path("/proc/cpuinfo")
    if not hardware.is_cuda and cpuinfo.exists():
        model = cpuinfo.read_text().partition("model name")[2].partition("\n")[0].strip(": \t")
        name = f"{model or platform.machine()}, {torch.get_num_threads()} threads of {os.cpu_count()}"
    return f"{name}, {hardware.memory_bytes / GIB:.0f} GiB"


def markdown(report: dict[str, Any]) -> str:
    """The table, with what is to be said of it."""
    outcomes = [Outcome.model_validate(outcome) for outcome in report["outcomes"]]
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    machines = ", ".join(sorted({outcome.machine for outcome in outcomes if outcome.machine}))
    shapes = dict.fromkeys(f"{outcome.shape}: {outcome.work}." for outcome in outcomes if outcome.work)
    ours = {outcome.shape: outcome.seconds for outcome in outcomes if outcome.way == OURS}
    header = ["shape", "way", *(f"{name}, s" for name in PHASES), "round, s", "x ours"]
    header += ["peak GiB", "sampled tokens/s", "trained tokens/s"]
    rows = [_row(outcome, ours.get(outcome.shape)) for outcome in outcomes if outcome.way != CHECK]
    lines = ["| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows)]
    notes = [f"- {o.shape}, {o.way}: {note}" for o in outcomes for note in (*o.notes, *filter(None, [o.problem]))]
    notes += [f"- {o.shape}, {name}: {value:.3g}" for o in outcomes for name, value in o.checks.items()]
    head = [f"{report['date']}; {machines or 'no machine'}; {versions}.", f"    {report['command']}", *shapes]
    return "\n\n".join([*head, "\n".join(lines), "\n".join(notes)]).rstrip() + "\n"


def _row(outcome: Outcome, ours: float | None) -> list[str]:
    phases = outcome.phases
    whole = outcome.seconds if UPDATES in phases and not outcome.problem else None

    def phase_cell(name: str) -> str:
        if name not in phases:
            return "in the updates" if outcome.way == PLAIN and name == REFERENCE_PHASE else ""
        return phases[name].problem or _seconds(phases[name].seconds)

    def rate(name: str) -> str:
        figures = phases.get(name, Figures())
        return f"{figures.tokens / figures.seconds:,.0f}" if figures.seconds else ""

    peak = max((figures.peak_bytes for figures in phases.values()), default=0)
    return [
        *(outcome.shape, outcome.way, *map(phase_cell, PHASES)),
        *(_seconds(whole), f"{whole / ours:.2f}" if whole and ours else ""),
        *(f"{peak / GIB:.1f}", rate(SAMPLING), rate(UPDATES)),
    ]


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def main() -> None:
    """Measure one way in this process, or all of them in processes of their own."""
    arguments = parse(sys.argv[1:])
    if arguments.way:
        warnings.simplefilter("ignore")
        hardware = limit_memory(detect(arguments.device), arguments.cap_gib)
        measure_here(arguments, hardware, lambda outcome: print(outcome.model_dump_json(), flush=True))
        return
    print(markdown(run(arguments, shlex.join(["python", *sys.argv]))))


if __name__ == "__main__":
    main()
