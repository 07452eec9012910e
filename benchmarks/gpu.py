"""Whether ditto works on this GPU: ten checks below ten minutes, with random weights and no network (`make gpu`).

    python benchmarks/gpu.py --json gpu.json

Each check prints a line with its figure, and the file, written anew after each, holds all of them. One that fails or
crashes is told, and the next goes on. On a CPU the same checks run on a tiny shape, but for that of failed captures.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import load_file

from ditto_cli.config import Settings, resolved_quantize
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.ditto import Place, ditto
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.method.sft import imitate
from ditto_cli.method.updates import POLICY, Updater, freeze_reference, score_under_reference
from ditto_cli.model import footprint
from ditto_cli.model.base.loading import load_source
from ditto_cli.model.base.source import BaseSource
from ditto_cli.model.fast.graph import FixedSteps
from ditto_cli.model.hardware import GIB, Hardware, detect, four_bit_problem
from ditto_cli.model.policy.lora import WEIGHTS_FILE
from ditto_cli.model.policy.memory import free_memory, keeping_what_is_there
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.store import AdapterStore
from ditto_cli.types import Demonstration, SampleRequest, SilentReporter, StepMetrics
from speed.messages import heard
from speed.shapes import MISTRAL, QWEN, TINY, build_policy, byte_tokenizer, configuration, random_base, settings_of
from speed.ways import OURS, PLAIN, TRL, Bench, measure, prepare, sampler_gap
from speed.work import Outcome, Phases, TextSizes, Work, made_up_texts, work_of

LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")
CAP_BYTES = int(22.5 * GIB)  # what a card of 24 GB has for a program
STILL = {"dpo.learning_rate": 1e-12, "sft.learning_rate": 1e-12}  # no weight moves, so that each try begins alike


@dataclass(frozen=True)
class Finding:
    """What a check found; `passed` is None where it does not apply."""

    line: str
    passed: bool | None
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Setup:
    """Where the checks run, and on which shapes; those that need one only take the first."""

    hardware: Hardware
    shapes: Sequence[str]
    scratch: Path

    @property
    def is_tiny(self) -> bool:
        """Whether seconds and bytes mean nothing."""
        return self.shapes[0] == TINY

    @property
    def is_exact(self) -> bool:
        """Whether all is fp32, so that two ways to compute something agree up to rounding."""
        return not self.hardware.is_cuda

    @property
    def largest_gap(self) -> float:
        """Of the mean log-probability of a token, in nats, between two ways to compute it."""
        return 1e-4 if self.is_exact else 0.05

    def policy(self, shape: str | None = None, hardware: Hardware | None = None) -> Policy:
        """A new base as a training has it: on CUDA in NF4, with recomputed layers."""
        quantize = resolved_quantize("auto", is_cuda=self.hardware.is_cuda)
        policy = build_policy(shape or self.shapes[0], hardware or self.hardware, quantize)
        policy.recompute_layers(self.hardware.is_cuda)
        return policy

    def settings(self, more: Mapping[str, Any]) -> Settings:
        """The preset's for one round, without dropout, and with rates at which something moves in a few steps."""
        rate = 1e-2 if self.is_tiny else 1e-3
        usual: dict[str, Any] = {"lora.dropout": 0.0, "sft.stop_loss": 0.0, "rounds.num": 1, "dpo.warmup_ratio": 0.0}
        return settings_of(self.shapes[0], {**usual, "sft.learning_rate": rate, "dpo.learning_rate": rate, **more})

    def work(self, more: Mapping[str, Any], sizes: TextSizes | None = None, vocabulary: int | None = None) -> Work:
        """A round on made-up demonstrations: short ones, of the whole vocabulary, unless said otherwise."""
        settings = self.settings(more)
        short = TextSizes(4, 7, 8, 20) if self.is_tiny else TextSizes(4, 30, 60, 100)
        vocabulary = vocabulary or configuration(self.shapes[0]).vocab_size
        return work_of(made_up_texts(sizes or short, settings, vocabulary=vocabulary), settings, vocabulary=vocabulary)


def sft_learns(setup: Setup) -> Finding:
    """SFT's loss falls, and is the same with recomputed layers and without."""
    work = setup.work({"sft.max_steps": 8}, vocabulary=16)  # few tokens, so that eight steps can learn something
    policy, losses = setup.policy(), {}
    for is_recomputing in (True, False):
        policy.recompute_layers(is_recomputing)
        policy.add_adapter(POLICY, work.settings.lora, seed=1)
        losses[is_recomputing] = imitate(policy, work.texts, work.settings, SilentReporter())
        policy.remove(POLICY)
    gap = max(abs(one - other) for one, other in zip(losses[True], losses[False], strict=True))
    falls = all(each[-1] < 0.98 * each[0] for each in losses.values())
    line = f"loss {losses[True][0]:.3f} to {losses[True][-1]:.3f} in 8 steps, {gap:.1e} off without recomputed layers"
    return Finding(line, falls and gap < setup.largest_gap, {"recomputing": losses[True], "keeping": losses[False]})


def margins_move(setup: Setup) -> Finding:
    """The whole loop, for one round."""
    more = {"sft.max_steps": 2, "rounds.steps": 6, "sampling.completions_per_prompt": 4}
    work = setup.work(more, vocabulary=16)
    events = ditto(setup.policy(), work.texts, work.settings, [], Place(), SilentReporter())
    updates = [dict(event.values) for event in events if isinstance(event, StepMetrics)]
    margin, accuracy = (updates[-1][f"rewards/{name}"] for name in ("margins", "accuracies"))
    line = f"reward margin {margin:.3f} and accuracy {accuracy:.2f} after {len(updates)} updates"
    return Finding(line, margin > 0 and accuracy > 0.5, {"updates": updates})


def sampler_is_scorer(setup: Setup) -> Finding:
    """What was sampled has the log-probability that the trainer gives it."""
    policy, work = setup.policy(), setup.work({"sampling.completions_per_prompt": 2})
    prepare(policy, work)
    gap = sampler_gap(policy, work.requests())
    return Finding(f"largest gap {gap:.1e} nats a token", gap < setup.largest_gap, {"gap": gap})


def graph_is_eager(setup: Setup) -> Finding:
    """Greedy texts of a CUDA graph and of single steps (on a CPU: of our slots and of `generate`) are the scorer's."""
    figures: dict[str, Any] = {}
    passed, now, few, many = True, Phases(setup.hardware, {}).now, 16, 48
    for shape in setup.shapes:
        policy, work = setup.policy(shape), setup.work({})
        prepare(policy, work)
        requests = [SampleRequest(ids, 0, many) for ids in work.texts.prompts.values() for _ in range(4)]
        tokens = []
        for speed in ("auto", "graph") if setup.hardware.is_cuda else ("plain", "auto"):
            policy.speed, times = speed, []
            for num in (few, few, many):  # the first pays for what a process does once
                times.append(now())
                sampled = sample(policy, requests, max_new_tokens=num, temperature=0)
            step = 1000 * (now() - times[2] - (times[2] - times[1])) / (many - few)
            gap = sampler_gap(policy, requests[::4], temperature=0)
            figures[f"{shape}, {speed}"] = {"gap": gap, "step_ms": step}
            tokens.append([token for one in sampled for token in one.token_ids])
            passed &= gap < setup.largest_gap and policy.has_graphs
        same = sum(one == other for one, other in zip(*tokens, strict=True)) / len(tokens[0])
        figures[f"{shape}, same tokens"] = same
        passed &= same == 1 or not setup.is_exact  # where bf16 rounds, another token may be the likeliest
        del policy
    found = [
        f"{name} {v['step_ms']:.1f} ms a step, gap {v['gap']:.1e}" for name, v in figures.items() if "same" not in name
    ]
    return Finding("; ".join(found), passed, figures)


def memory_fits(setup: Setup) -> Finding:
    """The peak of each phase under a cap, beside the formula's, with seven demonstrations of 450 words."""
    sizes = TextSizes(7, 7, 20, 20) if setup.is_tiny else TextSizes(7, 60, 600, 600)
    work = setup.work({"sft.max_steps": 2, "rounds.steps": 1}, sizes)
    texts, settings, figures = work.texts, work.settings, {}
    cap = min(CAP_BYTES, setup.hardware.memory_bytes)
    own, longest = sizes.prompt + sizes.longest, sizes.prompt + texts.max_new_tokens
    row = min(settings.dpo.micro_batch_tokens, 7 * own + work.sampled_tokens)
    # Sampling goes on from whole demonstrations, so that the cache is as full as it gets in a third of the steps.
    begun = [(*texts.prompts[name], *ids) for name, ids in texts.completions.items()]
    comparisons = draw_comparisons(work.unscored_history(), settings.dpo, seed=0, step=0)
    lowered: dict[str, int] = {}
    with memory_cap(setup.hardware, cap):
        for shape in setup.shapes:
            policy = setup.policy(shape, replace(setup.hardware, memory_bytes=cap))
            phases = Phases(policy.hardware, {})
            num = max(1, min(settings.sampling.max_slots, policy.max_cached_tokens // longest))
            policy.chat = replace(policy.chat, stop_token_ids=frozenset())
            policy.add_adapter(POLICY, settings.lora, seed=1)
            with phases.measured("SFT"):
                imitate(policy, texts, settings, SilentReporter())
            freeze_reference(policy)
            requests = [SampleRequest(begun[index % len(begun)], index) for index in range(num)]
            with phases.measured("sampling"):
                sample(policy, requests, max_new_tokens=longest - own, temperature=1.0)
            free_memory()
            updater = Updater(policy, settings.dpo, settings.rounds, seed=0)
            with phases.measured("an update"):
                updater.update(comparisons, texts.prompts, round_number=0, step=0)
            need = footprint.memory_need(
                policy,
                settings,
                policy.quantize,
                cached_tokens=num * longest,
                row_tokens=row,
                batch_tokens=settings.sft.batch_size * own,
            )
            for name, measured in phases.figures.items():
                said = need.program + need.base + need.adapters + need.phases[name]
                figures[f"{shape} {name}"] = {"peak_gib": measured.peak_bytes / GIB, "said_gib": said / GIB}
            lowered |= policy.guard.lowered
            del policy, updater
            free_memory()
    parts = ", ".join(
        f"{name} {each['peak_gib']:.2f} GiB (said {each['said_gib']:.2f})" for name, each in figures.items()
    )
    return Finding(f"{parts}; cap {cap / GIB:.1f}, lowered {lowered or 'nothing'}", not lowered, figures)


def ways_compared(setup: Setup) -> Finding:
    """A short round of ours, of the released code's way and of TRL."""
    work = setup.work({"rounds.steps": 2, "sampling.completions_per_prompt": 2})
    outcomes = {way: Outcome(shape=setup.shapes[0], way=way) for way in (OURS, PLAIN, TRL)}
    for way, outcome in outcomes.items():
        measure(way, Bench(setup.policy(), work, Phases(setup.hardware, outcome.phases), outcome.notes))
        free_memory()
    ours, *others = seconds = [outcome.seconds or 0.0 for outcome in outcomes.values()]
    passed = min(seconds) > 0 and (setup.is_tiny or ours < min(others))
    line = ", ".join(f"{way} {value:.2f} s" for way, value in zip(outcomes, seconds, strict=True))
    return Finding(line, passed, {way: outcome.model_dump() for way, outcome in outcomes.items()})


def four_bits_are_kept(setup: Setup) -> Finding:
    """The NF4 form is made at the first load and read at the second, with the same logits."""
    if problem := four_bit_problem(setup.hardware.device):
        return Finding(problem, False)
    source, notes, logits = tiny_source(setup), [], []
    for _ in range(2):
        with heard(notes):
            policy = load_source(source, "nf4", setup.hardware, setup.scratch / "cache")
        with torch.no_grad(), setup.hardware.autocast():
            logits.append(policy.model(input_ids=torch.arange(20, device=setup.hardware.device)[None]).logits)
    gap = float((logits[0] - logits[1]).abs().max())
    num = len(list((setup.scratch / "cache" / "bases").glob("nf4-*")))
    passed = gap == 0 and num == 1 and len(notes) == 1
    return Finding(f"{num} form kept, logits {gap:.1e} off when it is read", passed, {"gap": gap, "notes": notes})


def full_memory_recovers(setup: Setup) -> Finding:
    """Each phase in memory that is enough for less at a time only goes on, and finds the same."""
    policy, work = setup.policy(), setup.work({**STILL, "sft.max_steps": 1, "sampling.completions_per_prompt": 8})
    prepare(policy, work)
    texts, settings, num = work.texts, work.settings, 16 if setup.is_tiny else 40

    def sampling() -> list[float]:
        sampled = sample(policy, work.requests(), max_new_tokens=num, temperature=1.0)
        return [one.logp if setup.is_exact else len(one.token_ids) for one in sampled]

    def scored() -> History:
        completions = [*texts.unscored(), *work.drawn]
        found = score_under_reference(policy, completions, texts.prompts, max_tokens=settings.dpo.micro_batch_tokens)
        history = History(tuple(one for one in found if one.round is None))
        history.add_round([one for one in found if one.round == 0])
        return history

    comparisons = draw_comparisons(scored(), settings.dpo, seed=0, step=0)

    def update() -> list[float]:
        updater = Updater(policy, settings.dpo, settings.rounds, seed=0)
        values = updater.update(comparisons, texts.prompts, round_number=0, step=0).values
        return [values["loss"], values["grad_norm"]]

    least_slots = 4 * (num + max(len(ids) for ids in texts.prompts.values()))
    tries: dict[str, tuple[Callable[[], list[float]], int]] = {
        "sampling": (sampling, least_slots),
        "scoring": (lambda: [one.reference_logp for one in scored().completions()], 1),
        "update": (update, 1),
        "sft": (lambda: imitate(policy, texts, settings, SilentReporter()), 1),
    }
    figures, lowered = {}, policy.guard.lowered
    for kind, (find, least) in tries.items():
        lowered[kind] = least
        _, *small = size_of(policy, find)
        lowered.clear()
        expected, *full = size_of(policy, find)
        most_tokens, most_bytes = ((one + other) // 2 for one, other in zip(small, full, strict=True))
        if setup.is_tiny:  # less than the allocator's smallest blocks
            most_bytes = inf
        else:
            most_tokens = inf
        with memory_cap(setup.hardware, most_bytes), inputs_watched(policy, most_tokens):
            found = find()
        gap = max(abs(a - b) / max(abs(a), 1e-3) for a, b in zip(expected, found, strict=True))
        figures[kind] = {"gap": gap, "lowered": lowered.get(kind), "small": small, "full": full}
    gap = max(each["gap"] for each in figures.values())
    passed = gap < (1e-3 if setup.is_exact else 0.05) and all(each["lowered"] for each in figures.values())
    parts = ", ".join(f"{kind} at {each['lowered']}" for kind, each in figures.items())
    return Finding(f"went on with {parts}; figures {gap:.1e} off", passed, figures)


def resume_is_exact(setup: Setup) -> Finding:
    """A training that was killed in a round ends with the weights of one that was not."""
    policy = load_source(tiny_source(setup), "auto", setup.hardware)
    texts = [Demonstration(f"{name}.md", f"Write of {name}.", f"{name} again! x") for name in ("tea", "rain", "bread")]
    settings = setup.settings(
        {"sft.max_steps": 3, "dpo.learning_rate": 1e-3, "rounds.steps": 7, "sampling.completions_per_prompt": 2}
    )
    home, copy, notes = setup.scratch / "whole", setup.scratch / "killed", []

    class Copying(SilentReporter):
        """Keeps what a kill after the sixth update would leave."""

        def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
            if "rewards/margins" in metrics and completed == 6 and not copy.exists():
                shutil.copytree(home, copy)

    weights = []
    for folder in (home, copy):
        store, job = AdapterStore(folder), Job.of(policy, "a", texts, settings, "Say hello.")
        with store.training("a") as kept, heard(notes):
            train_ditto(policy, job, kept, Copying())
        weights.append(load_file(store.stage_folder("a") / WEIGHTS_FILE))
    gap = max(float((value - weights[1][key]).abs().max()) for key, value in weights[0].items())
    went_on = any(note.startswith("Going on") for note in notes)
    # CUDA adds up in any order, and each of the two updates done again may move a weight by its rate, either way.
    limit = 0.0 if setup.is_exact else 4 * settings.dpo.learning_rate
    return Finding(f"weights {gap:.1e} off after a kill and a resume", went_on and gap <= limit, {"gap": gap})


def failed_capture_recovers(setup: Setup) -> Finding:
    """Sampling goes on without a graph where none can be captured."""
    if not setup.hardware.is_cuda:
        return Finding("a CPU has no graphs", None)
    policy, work = setup.policy(), setup.work({"sampling.completions_per_prompt": 2})
    notes, step = [], FixedSteps._step
    prepare(policy, work)
    policy.speed = "graph"

    def failing(steps: FixedSteps) -> torch.Tensor:
        if torch.cuda.is_current_stream_capturing():
            torch.cuda.synchronize()  # which a capture forbids
            raise RuntimeError("nothing is captured here")
        return step(steps)

    with heard(notes), patch.object(FixedSteps, "_step", failing):
        gap = sampler_gap(policy, work.requests())
    later = sampler_gap(policy, work.requests())
    passed = max(gap, later) < setup.largest_gap and len(notes) == 1 and not policy.has_graphs
    return Finding(f"gap {gap:.1e} nats a token, {later:.1e} later", passed, {"gaps": [gap, later], "notes": notes})


CHECKS: dict[str, Callable[[Setup], Finding]] = {
    "SFT": sft_learns,
    "DPO": margins_move,
    "sampler against scorer": sampler_is_scorer,
    "graph against eager": graph_is_eager,
    "memory": memory_fits,
    "ways": ways_compared,
    "NF4 is kept": four_bits_are_kept,
    "full memory": full_memory_recovers,
    "resume": resume_is_exact,
    "failed capture": failed_capture_recovers,
}


def tiny_source(setup: Setup) -> BaseSource:
    """A tiny random base in a folder."""
    folder = setup.scratch / "tiny"
    if not folder.exists():
        random_base(configuration(TINY), detect("cpu"), "none", seed=1).save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
    return BaseSource("local", "tiny", None, folder)


@contextmanager
def memory_cap(hardware: Hardware, num_bytes: float) -> Iterator[None]:
    """Within the block this process has so much of a GPU's memory; nothing on a CPU."""
    free_memory()
    if hardware.is_cuda:
        torch.cuda.set_per_process_memory_fraction(min(1.0, num_bytes / hardware.memory_bytes), hardware.device)
    try:
        yield
    finally:
        if hardware.is_cuda:
            torch.cuda.set_per_process_memory_fraction(1.0, hardware.device)


@contextmanager
def inputs_watched(policy: Policy, most: float) -> Iterator[list[int]]:
    """The sizes of the base's inputs; one of more tokens than `most` finds memory full."""
    sizes = [0]

    def look(module: Any, arguments: Any) -> None:
        sizes.append(arguments[0].numel())
        if sizes[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    hook = policy.model.get_input_embeddings().register_forward_pre_hook(look)
    try:
        yield sizes
    finally:
        hook.remove()


def size_of(policy: Policy, find: Callable[[], list[float]]) -> tuple[list[float], int, int]:
    """What the work finds, the tokens of its largest input, and the bytes that it had reserved on a GPU at most."""
    is_cuda = policy.hardware.is_cuda
    free_memory()
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
    with inputs_watched(policy, inf) as sizes:
        found = find()
    return found, max(sizes), torch.cuda.max_memory_reserved() if is_cuda else 0


def run(setup: Setup, names: Sequence[str], path: Path | None) -> bool:
    """Do the checks, print a line for each, and write them; returns whether none failed."""
    report: dict[str, Any] = {"device": setup.hardware.name, "driver": driver(), "shapes": list(setup.shapes)}
    report |= {"python": platform.python_version(), "versions": {name: version(name) for name in LIBRARIES}}
    libraries = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    print(f"{setup.hardware.name}, {setup.hardware.memory_bytes / GIB:.0f} GiB; driver {report['driver']}; {libraries}")
    report["checks"] = []
    for name in names:
        start = time.monotonic()
        try:
            with keeping_what_is_there():
                finding = CHECKS[name](setup)
        except Exception as error:
            reason = next(iter(str(error).splitlines()), "")
            finding = Finding(f"{type(error).__name__}: {reason}", False, {"traceback": traceback.format_exc()})
        seconds = time.monotonic() - start
        word = {True: "passed", False: "FAILED", None: "skipped"}[finding.passed]
        print(f"{list(CHECKS).index(name) + 1:2} {word} {name} ({seconds:.0f} s): {finding.line}", flush=True)
        report["checks"].append({"name": name, "seconds": round(seconds, 1), **asdict(finding)})
        if path is not None:
            path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        free_memory()
    return all(check["passed"] is not False for check in report["checks"])


def driver() -> str:
    """The version of NVIDIA's driver, and of the CUDA that this torch was built for."""
    asked = [shutil.which("nvidia-smi") or "true", "--query-gpu=driver_version", "--format=csv,noheader"]
    found = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.split()
    return f"{found[0] if found else 'none'}, CUDA {torch.version.cuda or 'none'}"


def main(arguments: Sequence[str]) -> int:
    """Do the checks; 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write all figures here")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--tiny", action="store_true", help="on the tiny shape, as on a CPU")
    parser.add_argument("--only", type=int, nargs="+", metavar="N", help="these checks, by number")
    parsed = parser.parse_args(arguments)
    hardware = detect(parsed.device)
    shapes = (MISTRAL, QWEN) if hardware.is_cuda and not parsed.tiny else (TINY,)
    names = [name for number, name in enumerate(CHECKS, 1) if not parsed.only or number in parsed.only]
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return 0 if run(Setup(hardware, shapes, Path(scratch)), names, parsed.json) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
