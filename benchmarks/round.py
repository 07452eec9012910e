"""One round of DITTO, several ways, each in a fresh process on the same work; prints tables in Markdown.

    python benchmarks/round.py                                  # the embedded base, all ways
    python benchmarks/round.py --shape mistral-7b --shape qwen3-8b --ways ours,plain       # on a GPU, under 10 minutes

Ways: `ours` is the first round as `ditto train` runs it; `plain` is that of the paper's released code; `trl` is TRL's
DPOTrainer; `continuous-batching` samples with transformers' own scheduler; the ablations (`--ways ablations`) are ours
with one thing undone each, of which `scored-samples` is what the later rounds do; `check` compares gradients and
log-probabilities. What they do in detail stands in `benchmarks/speed`: workload.py, ways.py, plain.py, peers.py; the
arithmetic floor in floor.py.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from speed.child import CEILINGS, WAYS, measure
from speed.records import Outcome, Report
from speed.shapes import EMBEDDED, SHAPES
from speed.tables import markdown
from speed.ways import ABLATIONS

LARGE_BUDGET_SECONDS = 570  # a command on a borrowed GPU has ten minutes
PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes")
ENVIRONMENT = {
    # Pinned here and not for this process: a child of a pinned process would inherit its one core.
    "OMP_PROC_BIND": "true",
    "OMP_PLACES": "cores",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", action="append", choices=SHAPES, dest="shapes", help="default: embedded")
    parser.add_argument("--ways", default="all", help=f"of {', '.join(WAYS)}; or `all`, `ablations`")
    parser.add_argument("--demonstrations", type=int, help="default: 5 of the embedded base, 7 of a 7-8B")
    parser.add_argument("--samples", type=int, default=10, help="completions of each demonstration's prompt")
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--ablation-updates", type=int, default=2)
    parser.add_argument("--quantize", choices=("auto", "nf4", "none"), default="auto", help="of the made-up bases")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--cap-gib", type=float, default=22.5, help="GPU memory that a way may take")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each way, of which the fastest counts")
    parser.add_argument("--budget-seconds", type=float, help="default: 570 with a 7-8B, else none")
    parser.add_argument("--markdown", type=Path, help="write the tables here too")
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parsed = parser.parse_args(arguments)
    parsed.shapes = parsed.shapes or [EMBEDDED]
    chosen = [
        part for way in parsed.ways.split(",") for part in {"all": WAYS, "ablations": tuple(ABLATIONS)}.get(way, (way,))
    ]
    unknown = [way for way in chosen if way not in WAYS]
    if unknown:
        parser.error(f"--ways {','.join(unknown)}: the ways are {', '.join(WAYS)}, all, ablations")
    parsed.chosen = list(dict.fromkeys(chosen))
    if parsed.budget_seconds is None and any(shape not in (EMBEDDED, "tiny") for shape in parsed.shapes):
        parsed.budget_seconds = LARGE_BUDGET_SECONDS
    return parsed


def run(arguments: argparse.Namespace, command: str) -> Report:
    """Measure all that was asked for, as far as the time lasts; the files are written anew after each process."""
    begun, longest = time.monotonic(), 0.0
    versions = {name: _version(name) for name in PACKAGES}
    report = Report(command=command, date=datetime.now(UTC).date().isoformat(), versions=versions, outcomes=[])
    for way in [CEILINGS, *arguments.chosen]:
        for shape in arguments.shapes:
            left = _left(arguments.budget_seconds, begun)
            if left is not None and left < longest:
                report.left_out.append(f"{way} on {shape}")
                continue
            before = time.monotonic()
            report.outcomes.append(_best(arguments, shape, way, begun))
            longest = max(longest, time.monotonic() - before)
            print(f"{way} on {shape}: {time.monotonic() - before:.0f} s", file=sys.stderr, flush=True)
            write(arguments, report)
    return report


def _best(arguments: argparse.Namespace, shape: str, way: str, begun: float) -> Outcome:
    """The fastest of `--repeat` processes; one that failed is only taken when no other ended."""
    outcomes: list[Outcome] = []
    for _ in range(arguments.repeat):
        left = _left(arguments.budget_seconds, begun)
        if outcomes and left is not None and left <= 0:
            break
        outcomes.append(measure_in_child(_child_command(arguments, shape, way), shape, way, seconds=left))
    return min(outcomes, key=lambda outcome: (outcome.problem is not None, outcome.seconds or float("inf")))


def measure_in_child(command: Sequence[str], shape: str, way: str, *, seconds: float | None) -> Outcome:
    """The newest outcome that a process told before it ended, with what became of it.

    Args:
        command: prints an outcome as JSON, a line each time, and may print anything else.
        shape: for an outcome of a process that told none.
        way: the same.
        seconds: when to end it; None never.
    """
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ENVIRONMENT})
    problem = None
    try:
        output, _ = child.communicate(timeout=None if seconds is None else max(1.0, seconds))
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
        problem = "ended, as the time was over"
    if problem is None and child.returncode:
        problem = _death(child.returncode)
    told = [line for line in output.splitlines() if line.startswith("{") and line.endswith("}")]
    outcome = Outcome.model_validate_json(told[-1]) if told else Outcome(shape=shape, way=way)
    return outcome.model_copy(update={"problem": problem or outcome.problem})


def _death(returncode: int) -> str:
    if returncode >= 0:
        return f"failed with status {returncode}"
    guess = ", most likely as memory was full" if returncode == -signal.SIGKILL else ""
    return f"killed by signal {-returncode}{guess}"


def _child_command(arguments: argparse.Namespace, shape: str, way: str) -> list[str]:
    options = {
        "--shape": shape,
        "--way": way,
        "--samples": arguments.samples,
        "--updates": arguments.updates,
        "--ablation-updates": arguments.ablation_updates,
        "--quantize": arguments.quantize,
        "--device": arguments.device,
        "--cap-gib": arguments.cap_gib,
    }
    if arguments.demonstrations:
        options["--demonstrations"] = arguments.demonstrations
    return [sys.executable, __file__, *(str(part) for option in options.items() for part in option)]


def _left(budget_seconds: float | None, begun: float) -> float | None:
    return None if budget_seconds is None else budget_seconds - (time.monotonic() - begun)


def write(arguments: argparse.Namespace, report: Report) -> None:
    """The files that were asked for."""
    if arguments.json:
        arguments.json.write_text(json.dumps(report.model_dump(), indent=1) + "\n")
    if arguments.markdown:
        arguments.markdown.write_text(markdown(report))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Measure one way in this process, or all of them in processes of their own."""
    arguments = parse(sys.argv[1:])
    if arguments.way:
        arguments.shape = arguments.shapes[0]
        measure(arguments, lambda outcome: print(outcome.model_dump_json(), flush=True))
        return
    report = run(arguments, shlex.join(["python", *sys.argv]))
    write(arguments, report)
    print(markdown(report))


if __name__ == "__main__":
    main()
