"""The paper's experiment on a folder of authors: zero-shot, few-shot, SFT, SPIN and DITTO write for kept-back prompts.

    python benchmarks/authors.py run CORPUS --out samples.jsonl --authors a b --max-words 200
    python benchmarks/authors.py run CORPUS --out samples.jsonl --variant "hot: sampling.temperature=1.0"
    python benchmarks/authors.py table CORPUS samples.jsonl

CORPUS holds `<author>/{train,validation,test}.jsonl`, a prompt and a completion a line. A run can be stopped at any
time, and the same command goes on with the methods that have not written all their samples; every sample is one JSON
line. A line also holds a digest of the settings and sizes that decide it, and a run with others is refused: give it
another `--out`. SFT is trained once for an author in a run, and SPIN, DITTO and every variant of DITTO start from that
same SFT. SPIN (arXiv 2401.01335) is the same loop with a reference that moves, and compares with the last round only.

`table` compares the authors for which every method has all its samples, and says on stderr which others there are. It
looks at no digest, so it can lay files of several runs beside each other.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
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
from ditto_cli.method.ditto import Place, StageEnded, ditto
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.method.sft import imitate
from ditto_cli.method.texts import Texts, tokenise
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import append_line, cache_home
from ditto_cli.types import Demonstration, SilentReporter

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
    """The JSON lines of a run: those from before, and those that come.

    Attributes:
        path: of the file.
        digests: by method, of what decides its samples.
        done: author and method of what has been written in full.
    """

    path: Path
    digests: Mapping[str, str]
    done: set[tuple[str, str]] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.path.exists():
            rows = read_rows([self.path])
            self._refuse_others(rows)
            wanted = {(row["author"], row["method"]): row["of"] for row in rows}
            counts: dict[tuple[str, str], int] = {}
            for row in rows:
                counts[row["author"], row["method"]] = counts.get((row["author"], row["method"]), 0) + 1
            self.done = {key for key, count in counts.items() if count >= wanted[key]}

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        """Append the samples of one method for one author."""
        author, method = str(rows[0]["author"]), str(rows[0]["method"])
        facts = {"of": len(rows), "digest": self.digests[_without_round(method)]}
        for row in rows:
            append_line(self.path, json.dumps({**row, **facts}, ensure_ascii=False))
        self.done.add((author, method))

    def _refuse_others(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Rows of older files have no digest, and those of methods that this run has not are none of its business."""
        for row in rows:
            wanted = self.digests.get(_without_round(row["method"]))
            if wanted is not None and row.get("digest", wanted) != wanted:
                raise SystemExit(
                    f"{self.path} holds samples of {row['method']} by other settings or sizes than this run's, and one "
                    "file is one experiment: give another --out, or the settings that it was begun with."
                )


def digest_of(settings: Settings, sizes: Mapping[str, int]) -> str:
    """What decides a method's samples, in twelve characters."""
    facts = json.dumps({"settings": settings.model_dump(mode="json"), **sizes}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def read_rows(paths: Iterable[Path]) -> list[dict]:
    """The samples of earlier runs; a line that a crash cut is left out, and a sample counts once."""
    rows: dict[tuple, dict] = {}
    for line in (line for path in paths for line in path.read_text("utf-8", "replace").split("\n")):
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
        self.texts: Texts = tokenise(
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
            self.texts.max_new_tokens,
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
        started = time.monotonic()
        losses = imitate(self.policy, self.texts, self.settings, SilentReporter())
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
        place = Place(is_imitated=True)
        for event in ditto(self.policy, self.texts, settings, [], place, SilentReporter()):
            if not isinstance(event, StageEnded):
                continue
            seconds = time.monotonic() - started
            is_last = place.round + 1 == settings.rounds.num
            if is_last or each_round:
                title = method if is_last else f"{method}:{event.stage}"
                metrics = {**place.steps[-1].values, "samples/ended": event.metrics["samples/ended"]}
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


def read_settings(arguments: argparse.Namespace) -> tuple[Settings, dict[str, Settings]]:
    """The settings of SFT and all before it, and those of each loop that starts from it."""
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
    return settings, loops


def digests_of(arguments: argparse.Namespace, settings: Settings, loops: Mapping[str, Settings]) -> dict[str, str]:
    """The digest of each method of a run."""
    sizes = {name: getattr(arguments, name) for name in ("num", "prompts", "max_words", "demonstrations")}
    by_method = {ZERO_SHOT: settings, FEW_SHOT: settings, SFT: settings, **loops}
    return {method: digest_of(own, sizes) for method, own in by_method.items()}


def run(arguments: argparse.Namespace) -> None:
    """Everything that is missing in `--out`."""
    settings, loops = read_settings(arguments)
    samples = Samples(arguments.out, digests_of(arguments, settings, loops))
    policy = load_policy(settings.base, detect(arguments.device), cache_home(os.environ), print)
    policy.recompute_layers(policy.hardware.is_cuda)
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

    An author's panel is fitted to all of the author's texts; what the author is not are the shipped texts in other
    voices and `base_background`.
    """
    judgements: list[Judgement] = []
    figures: dict[str, dict[str, list[float]]] = {method: {} for method in methods}
    for name, author in authors.items():
        writings = {m: _writings(rows, name, m) for m in methods}
        kept = EvalAuthor(author.demonstrations, author.held_out)
        panel = StylePanel.fit(kept.texts, base_background(rows, name, methods))
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


def base_background(rows: Iterable[dict], author: str, methods: Sequence[str]) -> list[str]:
    """Texts of the base that tell the panel what an author is not: the zero-shot samples for the other authors.

    Where there are none, those for this author, unless zero-shot competes: no text is measured against itself.
    """
    written = [row for row in rows if row["method"] == ZERO_SHOT]
    own, others = ([row["text"] for row in written if (row["author"] == author) is mine] for mine in (True, False))
    background = others or ([] if ZERO_SHOT in methods else own)
    if not background:
        print(f"{author}: the panel knows no texts of the base, only the shipped ones, for want of other authors.\n")
    return background


def why_left_out(rows: Sequence[dict], author: str, methods: Sequence[str]) -> str | None:
    """Why an author's methods cannot be compared, or None if they can: all samples are there, for equal draws."""
    draws: dict[str, set[tuple[str, int]]] = {}
    for method in methods:
        own = [row for row in rows if (row["author"], row["method"]) == (author, method)]
        if not own:
            return f"no samples of {method}"
        wanted = max(row["of"] for row in own)
        if len(own) < wanted:
            return f"{len(own)} of {wanted} samples of {method}"
        draws[method] = {(row["prompt_id"], row["index"]) for row in own}
    first = methods[0]
    differing = [method for method in methods if draws[method] != draws[first]]
    return f"{differing[0]} wrote for other prompts or draws than {first}" if differing else None


def complete_authors(rows: Sequence[dict], methods: Sequence[str]) -> list[str]:
    """Whose methods can be compared, by name; the others are named on stderr."""
    complete = []
    for author in sorted({row["author"] for row in rows}):
        reason = why_left_out(rows, author, methods)
        if reason is None:
            complete.append(author)
        else:
            print(f"{author} is left out: {reason}", file=sys.stderr)
    return complete


def table(arguments: argparse.Namespace) -> None:
    """The paper's table shape (win rate against the pool of all other methods), the pairs that matter, the figures."""
    rows = read_rows(arguments.samples)
    methods = arguments.methods or [
        m for m in (ZERO_SHOT, FEW_SHOT, SFT, SPIN, DITTO) if any(row["method"] == m for row in rows)
    ]
    authors = {
        name: read_author(
            arguments.corpus / Path(name).name,
            max_words=arguments.max_words,
            num_demonstrations=arguments.demonstrations,
        )
        for name in complete_authors(rows, methods)
    }
    if len(methods) < 2 or not authors:
        raise SystemExit("Nothing to compare: it takes two methods, and an author with all samples of every method.")
    judged = judge_samples(rows, authors, methods)
    print_pools(judged, list(authors), methods)
    print_pairs(judged, methods, arguments.against)
    print_figures(judged, methods)


def print_pools(judged: Judged, authors: Sequence[str], methods: Sequence[str]) -> None:
    """Each method against all the others, by author and over all of them."""
    print(f"Win rate of each method against the pool of the others, style panel, {len(authors)} authors\n")
    print(f"| method | {' | '.join(authors)} | all (95 % interval, judgements) |")
    print("|---" * (len(authors) + 2) + "|")
    for method in methods:
        cells = []
        for name in authors:
            own = [j for j in judged.judgements if j.pair.prompt.id.startswith(f"{name}/")]
            cells.append(f"{pool_rate(own, method, seed=0).rate:.2f}")
        overall = pool_rate(judged.judgements, method, seed=0)
        print(f"| {method} | {' | '.join(cells)} | {describe(overall)} |")


def print_pairs(judged: Judged, methods: Sequence[str], against: str | None) -> None:
    """Each method over each one before it; only the pairs with `against` if it is given."""
    print("\n| pair | win rate of the first |\n|---|---|")
    for one, other in combinations(reversed(methods), 2):
        if against in (None, one, other):
            print(f"| {one} over {other} | {describe(win_rate(judged.judgements, one, other, seed=0))} |")


def print_figures(judged: Judged, methods: Sequence[str]) -> None:
    """The figures of each method: means over the authors, and the longest of the passages."""
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


def _without_round(method: str) -> str:
    """`ditto` of `ditto:round1`: the stages of a loop are decided by what decides the loop."""
    return method.partition(":")[0]


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
