"""The paper's experiment on a folder of authors: zero-shot, few-shot, SFT, SPIN and DITTO write for kept-back prompts.

    python benchmarks/authors.py run CORPUS --out samples.jsonl --authors a b --max-words 200
    python benchmarks/authors.py run CORPUS --out samples.jsonl --variant "hot: sampling.temperature=1.0"
    python benchmarks/authors.py table CORPUS samples.jsonl

CORPUS holds `<author>/{train,validation,test}.jsonl`, a prompt and a completion a line. A run can be stopped at any
time and goes on where it was; every sample is one JSON line. SFT is trained once for an author, and SPIN, DITTO and
every variant of DITTO start from that same SFT. SPIN (arXiv 2401.01335) is the same loop with a reference that moves.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path

from ditto_cli.config import FolderFile, Settings, parse_assignments, resolve_settings
from ditto_cli.evaluation.collapse import collapse
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, fitting_shots, write
from ditto_cli.evaluation.held_out import held_out_loss
from ditto_cli.evaluation.judges.by_style import StyleJudge
from ditto_cli.evaluation.recitation import leakage
from ditto_cli.evaluation.style import StylePanel
from ditto_cli.evaluation.types import Author as EvalAuthor
from ditto_cli.evaluation.types import EvalPrompt, Judgement, Pair, Writing
from ditto_cli.evaluation.win_rates import describe, pool_rate, win_rate
from ditto_cli.method.rounds import POLICY, REFERENCE, Encoded, encode_demonstrations, run_rounds
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy import Policy, load_policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import cache_home
from ditto_cli.types import Demonstration, SilentReporter, round_stage

ZERO_SHOT, FEW_SHOT, SFT, SPIN, DITTO = "zero-shot", "few-shot", "sft", "spin", "ditto"
SFT_COPY = "sft-copy"
SPIN_SETTINGS = {"rounds.reference": "previous", "dpo.mixture": {"online": 1.0, "replay": 0.0, "inter_model": 0.0}}
SPLITS = ("validation", "test")


@dataclass(frozen=True)
class Author:
    """One author: texts to learn from and texts kept back."""

    name: str
    demonstrations: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]


@dataclass
class Samples:
    """The JSON lines of a run: those from before, and those that come."""

    path: Path
    done: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.path.exists():
            rows = read_rows(self.path)
            wanted = {(row["author"], row["method"]): row["of"] for row in rows}
            counts: dict[tuple[str, str], int] = {}
            for row in rows:
                counts[row["author"], row["method"]] = counts.get((row["author"], row["method"]), 0) + 1
            self.done = {key for key, count in counts.items() if count >= wanted[key]}

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append the samples of one method for one author."""
        with self.path.open("a", encoding="utf-8") as stream:
            stream.writelines(json.dumps({**row, "of": len(rows)}, ensure_ascii=False) + "\n" for row in rows)
        self.done.add((str(rows[0]["author"]), str(rows[0]["method"])))


def read_rows(path: Path) -> list[dict]:
    """The samples of earlier runs; a line that a crash cut is left out, and a repeated sample counts once."""
    rows: dict[tuple, dict] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["author"], row["method"], row["prompt_id"], row["index"]] = row
    return list(rows.values())


def read_author(folder: Path, *, max_words: int, num_demonstrations: int) -> Author:
    """An author's texts: to learn from those of at most `max_words` words, and all that are kept back."""

    def texts(split: str) -> Iterator[Demonstration]:
        for number, line in enumerate((folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            yield Demonstration(f"{split}-{number}", row["prompt"], row["completion"])

    short = [text for text in texts("train") if len(text.completion.split()) <= max_words]
    return Author(
        f"{folder.parent.name}/{folder.name}",
        tuple(short[:num_demonstrations]),
        tuple(text for split in SPLITS for text in texts(split)),
    )


@dataclass
class Experiment:
    """One author on one loaded base."""

    policy: Policy
    author: Author
    settings: Settings
    samples: Samples
    num: int
    max_prompts: int

    def __post_init__(self) -> None:
        self.encoded: Encoded = encode_demonstrations(
            self.policy.chat,
            self.author.demonstrations,
            self.settings.sampling,
            context_tokens=self.policy.context_tokens,
        )
        self.plan = WritingPlan(
            tuple(prompts_of(self.author))[: self.max_prompts],
            self.num,
            self.settings.seed,
            self.settings.sampling.temperature,
            self.encoded.max_new_tokens,
        )

    def missing(self, methods: Iterable[str]) -> list[str]:
        """Which of the methods have not written yet."""
        return [method for method in methods if (self.author.name, method) not in self.samples.done]

    def record(self, contestant: Contestant, seconds: float, metrics: Mapping[str, float]) -> None:
        """Let a contestant write, and keep each sample as one line."""
        writings = write(self.policy, contestant, self.plan)
        loss = None
        if not contestant.shots:
            before = self.policy.active
            self.policy.switch(contestant.adapter)
            loss = round(held_out_loss(self.policy, self.author.held_out), 4)
            self.policy.switch(before)
        facts = {"author": self.author.name, "method": contestant.title, "seconds": round(seconds, 1)}
        facts |= {"held_out_loss": loss, "num_demonstrations": len(self.author.demonstrations), "metrics": metrics}
        texts = {prompt.id: prompt.prompt for prompt in self.plan.prompts}
        self.samples.add([{**facts, "prompt": texts[w.prompt_id], **_without_contestant(asdict(w))} for w in writings])
        print(
            f"{self.author.name} {contestant.title}: {len(writings)} samples, "
            f"ended {sum(w.ended for w in writings)}, held-out loss {loss}, training {seconds:.0f} s",
            flush=True,
        )

    def untrained(self) -> None:
        """The base, and the base with the demonstrations in its prompt."""
        for method in self.missing([ZERO_SHOT]):
            self.record(Contestant(method, "base"), 0.0, {})
        for method in self.missing([FEW_SHOT]):
            room = self.policy.context_tokens - self.plan.max_new_tokens
            prompts = [prompt.prompt for prompt in self.plan.prompts]
            shots = fitting_shots(self.policy.chat, self.author.demonstrations, prompts, max_tokens=room)
            self.record(Contestant(method, "few-shot", shots=shots), 0.0, {"shots": len(shots)})

    def sft(self) -> None:
        """Stage one, kept in memory for what starts from it."""
        self.policy.add_adapter(POLICY, self.settings.lora, derive_seed(self.settings.seed, "lora"))
        examples = [Imitation(self.encoded.prompts[name], ids) for name, ids in self.encoded.completions.items()]
        started = time.monotonic()
        losses = imitate(
            self.policy, examples, self.settings.sft, seed=self.settings.seed, on_step=lambda step, loss: None
        )
        seconds = time.monotonic() - started
        self.policy.copy_adapter(POLICY, SFT_COPY)
        for method in self.missing([SFT]):
            metrics = {"loss": losses[-1], "steps": float(len(losses))}
            self.record(Contestant(method, "sft", adapter=SFT_COPY), seconds, metrics)
        self.policy.remove(POLICY)

    def rounds(self, method: str, settings: Settings, *, each_round: bool) -> None:
        """DITTO's loop under `settings`, from the SFT in memory."""
        self.policy.copy_adapter(SFT_COPY, POLICY)
        started = time.monotonic()
        for finished in run_rounds(self.policy, self.encoded, settings, SilentReporter()):
            seconds = time.monotonic() - started
            is_last = finished.number + 1 == settings.rounds.num
            if is_last or each_round:
                title = method if is_last else f"{method}:{round_stage(finished.number + 1)}"
                metrics = dict(finished.steps[-1].values)
                metrics["samples/ended"] = sum(c.ended for c in finished.samples) / len(finished.samples)
                self.record(Contestant(title, "round", adapter=POLICY), seconds, metrics)
                self.policy.switch(POLICY, trainable=True)
        for name in (POLICY, REFERENCE):
            self.policy.remove(name)

    def finish(self) -> None:
        """Leave the base as it was found."""
        self.policy.remove(SFT_COPY)


def prompts_of(author: Author) -> Iterator[EvalPrompt]:
    """The prompts of the texts kept back, each once."""
    seen = set()
    for text in author.held_out:
        if text.prompt not in seen:
            seen.add(text.prompt)
            yield EvalPrompt(text.id, text.prompt, "held_out", text.completion)


def run(arguments: argparse.Namespace) -> None:
    """Everything that is missing in `--out`."""
    fixed = parse_assignments(arguments.set)

    def settings_with(extra: Mapping[str, object]) -> Settings:
        return resolve_settings(arguments.preset, FolderFile(), {}, {**fixed, **extra})

    settings = settings_with({})
    loops = {SPIN: settings_with(SPIN_SETTINGS), DITTO: settings} if not arguments.variants_only else {}
    for variant in arguments.variant:
        label, _, assignments = variant.partition(":")
        loops[label.strip()] = settings_with(parse_assignments(assignments.split()))
        if loops[label.strip()].sft != settings.sft:
            raise SystemExit(f"{label}: every variant starts from the same SFT; give --set and another --out.")
    samples = Samples(arguments.out)
    policy = load_policy(settings.base, detect(arguments.device), cache_home(os.environ), print)
    for name in arguments.authors or sorted(path.name for path in arguments.corpus.iterdir() if path.is_dir()):
        author = read_author(
            arguments.corpus / name, max_words=arguments.max_words, num_demonstrations=arguments.demonstrations
        )
        if not author.demonstrations:
            print(f"{author.name}: no texts of at most {arguments.max_words} words to learn from")
            continue
        experiment = Experiment(policy, author, settings, samples, arguments.num, arguments.prompts)
        experiment.untrained()
        missing = experiment.missing([SFT, *loops])
        if not missing:
            continue
        experiment.sft()
        for method in missing:
            if method != SFT:
                experiment.rounds(method, loops[method], each_round=method == DITTO)
        experiment.finish()


@dataclass(frozen=True)
class Judged:
    """All samples of a table, judged pair by pair within each author."""

    judgements: list[Judgement]
    figures: dict[str, dict[str, list[float]]]


def judge_samples(rows: Sequence[dict], authors: Mapping[str, Author], methods: Sequence[str]) -> Judged:
    """The style panel on every pair of methods, for equal prompts and draws.

    An author's panel is fitted to all of the author's texts; what the author is not are the zero-shot samples for the
    other authors, so that the base competes with no text of its own.
    """
    judgements: list[Judgement] = []
    figures: dict[str, dict[str, list[float]]] = {method: {} for method in methods}
    for name, author in authors.items():
        writings = {m: _writings(rows, name, m) for m in methods}
        others = [row["text"] for row in rows if row["method"] == ZERO_SHOT and row["author"] != name]
        kept = EvalAuthor(author.demonstrations, author.held_out)
        panel = StylePanel.fit(kept.texts, others)
        judge = StyleJudge(panel, kept)
        prompts = {w.prompt_id: EvalPrompt(w.prompt_id, "", "held_out") for ws in writings.values() for w in ws}
        pairs = [
            Pair(prompts[first.prompt_id], first, second)
            for one, other in combinations(methods, 2)
            for first, second in zip(writings[one], writings[other], strict=True)
        ]
        judgements += judge.judge(pairs, on_judged=lambda done: None)
        for method, texts in writings.items():
            loss = next(row["held_out_loss"] for row in rows if (row["author"], row["method"]) == (name, method))
            held_out = [text.completion for text in author.held_out]
            collapsed = collapse(texts, author.demonstrations)
            found = {
                "style": panel.score_pooled([w.text for w in texts]).total,
                "loss": loss,
                "ended": collapsed.ended,
                "looping": collapsed.looping,
                "length": collapsed.length_ratio,
                "passage": leakage(texts, author.demonstrations, held_out, None).longest_passage_words,
            }
            for key, value in found.items():
                if value is not None:
                    figures[method].setdefault(key, []).append(float(value))
    return Judged(judgements, figures)


def table(arguments: argparse.Namespace) -> None:
    """The paper's table shape (win rate against the pool of all other methods), the pairs that matter, the figures."""
    rows = [row for path in arguments.samples for row in read_rows(path)]
    names = sorted({row["author"] for row in rows})
    authors = {
        name: read_author(
            arguments.corpus / Path(name).name,
            max_words=arguments.max_words,
            num_demonstrations=arguments.demonstrations,
        )
        for name in names
    }
    methods = arguments.methods or [
        m for m in (ZERO_SHOT, FEW_SHOT, SFT, SPIN, DITTO) if any(row["method"] == m for row in rows)
    ]
    complete = {n: a for n, a in authors.items() if all(_writings(rows, n, m) for m in methods)}
    judged = judge_samples(rows, complete, methods)
    print(f"Win rate of each method against the pool of the others, style panel, {len(complete)} authors\n")
    print(f"| method | {' | '.join(complete)} | all (95 % interval, judgements) |")
    print("|---" * (len(complete) + 2) + "|")
    for method in methods:
        cells = []
        for name in complete:
            own = [j for j in judged.judgements if j.pair.prompt.id.startswith(f"{name}/")]
            cells.append(f"{pool_rate(own, method, seed=0).rate:.2f}")
        overall = pool_rate(judged.judgements, method, seed=0)
        print(f"| {method} | {' | '.join(cells)} | {describe(overall)} |")
    print("\n| pair | win rate of the first |\n|---|---|")
    for one, other in combinations(reversed(methods), 2):
        if arguments.against not in (None, one, other):
            continue
        print(f"| {one} over {other} | {describe(win_rate(judged.judgements, one, other, seed=0))} |")
    print("\n| method | style | held-out loss | ended | looping | length | longest passage |")
    print("|---|---|---|---|---|---|---|")
    for method in methods:
        f = judged.figures[method]
        mean = {key: sum(values) / len(values) for key, values in f.items()}
        loss = f"{mean['loss']:.3f}" if "loss" in mean else "-"
        print(
            f"| {method} | {mean['style']:.2f} | {loss} | {mean['ended']:.2f} | {mean['looping']:.2f} | "
            f"{mean['length']:.2f} | {max(f['passage']):.0f} |"
        )


def _writings(rows: Sequence[dict], author: str, method: str) -> list[Writing]:
    own = [row for row in rows if (row["author"], row["method"]) == (author, method)]
    return [
        Writing(method, f"{author}/{row['prompt_id']}", row["index"], row["text"], row["num_tokens"], row["ended"])
        for row in sorted(own, key=lambda row: (row["prompt_id"], row["index"]))
    ]


def _without_contestant(row: dict) -> dict:
    return {key: value for key, value in row.items() if key != "contestant"}


def main() -> None:
    """Run what is missing, or print the table of what was run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    shown = commands.add_parser("table")
    shown.add_argument("--methods", nargs="+", help="in this order; else the paper's")
    shown.add_argument("--against", metavar="METHOD", help="only the pairs with this method")
    for command in (running, shown):
        command.add_argument("corpus", type=Path)
        command.add_argument("--demonstrations", type=int, default=7)
        command.add_argument("--max-words", type=int, default=10_000, help="learn from shorter texts only")
    shown.add_argument("samples", type=Path, nargs="+")
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--authors", nargs="+", help="names of folders; else all")
    running.add_argument("--preset", default="smollm2-135m-cpu")
    running.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    running.add_argument("--variant", action="append", default=[], metavar="LABEL: KEY=VALUE ...")
    running.add_argument("--variants-only", action="store_true", help="leave SPIN and plain DITTO out")
    running.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    running.add_argument("--num", type=int, default=3, help="samples a prompt")
    running.add_argument("--prompts", type=int, default=4, help="most kept-back prompts of an author")
    arguments = parser.parse_args()
    (run if arguments.command == "run" else table)(arguments)


if __name__ == "__main__":
    main()
