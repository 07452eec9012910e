"""Tune the embedded preset: train on personas and authors, and measure every stage on texts that were kept back.

    python benchmarks/embedded_preset.py run --label A --set dpo.learning_rate=4e-5 --out results.jsonl
    python benchmarks/embedded_preset.py table results.jsonl
    python benchmarks/embedded_preset.py curve --label A --set sft.learning_rate=2e-4 --out curves.jsonl

`curve` follows the held-out log-loss through SFT alone, update by update, to see where SFT should stop.

Authors are read from a folder of `<author>/{train,validation,test}.jsonl` (prompt and completion a line), which is not
part of this project; only their short texts are used. The example personas need nothing.

In the table, `style` is the total of the style panel fitted to all of the author's texts, demonstrations and those kept
back: 0 as other people write, 1 as the author does. `shared words` counts the longest passage that a sample shares with
a demonstration; what is the author's habit (a greeting, a signature) does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.config import FolderFile, parse_assignments, resolve_settings
from ditto_cli.demonstrations.folder import read_folder
from ditto_cli.demonstrations.prompts import attach_prompts
from ditto_cli.evaluation.judgements import Author, Writing
from ditto_cli.evaluation.model_figures import held_out_loss
from ditto_cli.evaluation.soundness import collapse, leakage
from ditto_cli.evaluation.style import StylePanel
from ditto_cli.method.run import BASE_STAGE, Job, train_ditto
from ditto_cli.method.sft import imitate
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.base.template import tokenise
from ditto_cli.model.hardware import GIB, detect
from ditto_cli.model.policy.lora import read_lora
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterStore, cache_home
from ditto_cli.types import Demonstration, SampleRequest, SilentReporter

PRESET = "smollm2-135m-cpu"
EXAMPLES = Path(__file__).parents[1] / "examples" / "demos"
MAX_WORDS = 200
MAX_HELD_OUT_WORDS = 260
MAX_DEMONSTRATIONS = 7
SAMPLES_PER_PROMPT = 3
MAX_PROMPTS = 2


def read_author(folder: Path) -> tuple[list[Demonstration], list[Demonstration]]:
    """Short texts of one author: those to train on and those kept back."""

    def short(split: str, max_words: int) -> list[Demonstration]:
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        texts = [Demonstration(f"{split}-{i}", row["prompt"], row["completion"]) for i, row in enumerate(rows)]
        return [text for text in texts if len(text.completion.split()) <= max_words]

    train = short("train", MAX_WORDS)[:MAX_DEMONSTRATIONS]
    return train, short("validation", MAX_HELD_OUT_WORDS) + short("test", MAX_HELD_OUT_WORDS)


def read_persona(name: str) -> tuple[list[Demonstration], list[Demonstration]]:
    """An example persona: its demonstrations and its held-out emails."""
    return (
        attach_prompts(read_folder(EXAMPLES / name).texts, {})[0],
        attach_prompts(read_folder(EXAMPLES / name / "held_out").texts, {})[0],
    )


def read_subject(subject: str, authors: Path) -> tuple[list[Demonstration], list[Demonstration]]:
    """A persona by its name, else an author by the folder's."""
    return read_persona(subject) if (EXAMPLES / subject).is_dir() else read_author(authors / subject)


def write_samples(policy: Policy, author: Author, max_new_tokens: int, temperature: float) -> list[Writing]:
    """What the active policy writes for some of the prompts kept back."""
    prompts = sorted({text.prompt for text in author.held_out})[:MAX_PROMPTS]
    draws = [(prompt, index) for prompt in prompts for index in range(SAMPLES_PER_PROMPT)]
    requests = [
        SampleRequest(policy.chat.prompt_ids(prompt), derive_seed(0, "measure", prompt, index))
        for prompt, index in draws
    ]
    sampled = sample(policy, requests, max_new_tokens=max_new_tokens, temperature=temperature)
    return [
        Writing("policy", prompt, index, policy.chat.text(tokens.token_ids), len(tokens.token_ids), tokens.ended)
        for (prompt, index), tokens in zip(draws, sampled, strict=True)
    ]


def measure(policy: Policy, author: Author, panel: StylePanel, max_new_tokens: int, temperature: float) -> dict:
    """Figures of the active policy: held-out log-loss, and how its samples for held prompts look."""
    writings = write_samples(policy, author, max_new_tokens, temperature)
    held_out = [text.completion for text in author.held_out]
    return {
        "held_out_loss": held_out_loss(policy, author.held_out),
        "style": panel.score_pooled([writing.text for writing in writings]).total,
        "ended": collapse(writings, author.demonstrations).ended,
        "shared_words": leakage(writings, author.demonstrations, held_out, None).longest_passage_words,
        "example": writings[0].text,
    }


def run(arguments: argparse.Namespace) -> None:
    """Train and measure one setting on every subject; a JSON line each."""
    settings = resolve_settings(PRESET, FolderFile(), {}, parse_assignments(arguments.set))
    policy = load_policy(settings.base, detect("cpu"), cache_home(os.environ))
    for subject in arguments.subjects:
        demonstrations, held = read_subject(subject, arguments.authors)
        author = Author(tuple(demonstrations), tuple(held))
        panel = StylePanel(author.texts, ())
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as home:
            store = AdapterStore(Path(home))
            job = Job.of(policy, subject, demonstrations, settings, held[0].prompt)
            with store.training(subject) as kept:
                record = train_ditto(policy, job, kept, SilentReporter())
            seconds = time.monotonic() - started
            how = (author, panel, record.max_new_tokens, settings.sampling.temperature)
            stages = {BASE_STAGE: measure(policy, *how)}
            for stage in record.stages:
                policy.put_adapter("measured", read_lora(store.stage_folder(subject, stage.stage)))
                stages[stage.stage] = measure(policy, *how) | {"metrics": stage.metrics}
                policy.remove("measured")
        row = {
            "label": arguments.label,
            "set": arguments.set,
            "subject": subject,
            "demonstrations": len(demonstrations),
            "tokens": record.num_demonstration_tokens,
            "held_out": len(held),
            "seconds": round(seconds, 1),
            "peak_gib": round(policy.hardware.peak_memory_bytes() / GIB, 2),
            "stages": stages,
        }
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        print_rows([row])


@dataclass
class Follower(SilentReporter):
    """Measures the held-out log-loss after each update of SFT."""

    policy: Policy
    held: list[Demonstration]
    points: list[dict]

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """See `Reporter`."""
        point = {"step": completed, "loss": metrics["loss"], "held_out_loss": held_out_loss(self.policy, self.held)}
        self.points.append(point)


def curve(arguments: argparse.Namespace) -> None:
    """Follow the held-out log-loss through SFT, one subject after the other; a JSON line each."""
    settings = resolve_settings(
        PRESET, FolderFile(), {}, {"sft.stop_loss": 0, "sft.max_steps": 20, **parse_assignments(arguments.set)}
    )
    policy = load_policy(settings.base, detect("cpu"), cache_home(os.environ))
    for subject in arguments.subjects:
        demonstrations, held = read_subject(subject, arguments.authors)
        texts = tokenise(policy.chat, demonstrations, settings.sampling, context_tokens=policy.context_tokens)
        points = [{"step": 0, "loss": None, "held_out_loss": held_out_loss(policy, held)}]
        policy.add_adapter("policy", settings.lora, derive_seed(settings.seed, "lora"))
        imitate(policy, texts, settings, Follower(policy, held, points))
        policy.remove("policy")
        row = {"label": arguments.label, "set": arguments.set, "subject": subject, "points": points}
        with arguments.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(row) + "\n")
        best = min(points, key=lambda point: point["held_out_loss"])
        print(
            f"| {row['label']} | {subject} | {points[0]['held_out_loss']:.3f} | {best['held_out_loss']:.3f} | "
            f"{best['step']} | {best['loss'] or 0:.2f} | {points[-1]['held_out_loss']:.3f} |",
            flush=True,
        )


def print_rows(rows: list[dict]) -> None:
    """Markdown rows: one a stage."""
    for row in rows:
        for stage, figures in row["stages"].items():
            metrics = figures.get("metrics", {})
            margin = f"{metrics['rewards/margins']:.1f}" if "rewards/margins" in metrics else "-"
            print(
                f"| {row['label']} | {row['subject']} | {stage} | {figures['held_out_loss']:.3f} | "
                f"{figures['style']:.2f} | {figures['ended']:.2f} | {figures['shared_words']} | {margin} | "
                f"{row['seconds']:.0f} |",
                flush=True,
            )


def main() -> None:
    """Run one setting, or print the table of finished ones."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    for name in ("run", "curve"):
        running = commands.add_parser(name)
        running.add_argument("--label", required=True)
        running.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
        running.add_argument("--subjects", nargs="+", default=["maya", "arthur"])
        running.add_argument("--authors", type=Path, default=Path("../shared/benchmarks/cmcc"))
        running.add_argument("--out", type=Path, required=True)
    table = commands.add_parser("table")
    table.add_argument("results", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "run":
        run(arguments)
    elif arguments.command == "curve":
        curve(arguments)
    else:
        print("| setting | author | stage | held-out loss | style | ended | shared words | margin | seconds |")
        print("|---|---|---|---|---|---|---|---|---|")
        print_rows([json.loads(line) for line in arguments.results.read_text(encoding="utf-8").splitlines()])


if __name__ == "__main__":
    main()
