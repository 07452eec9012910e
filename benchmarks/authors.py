"""Who writes nearest to an author and still does what is asked: base, few-shot prompt, SFT, SFT continued, and DITTO.

    python benchmarks/authors.py run CORPUS --out samples.jsonl --authors a b
    python benchmarks/authors.py run CORPUS --out samples.jsonl --variant "hot: sampling.temperature=1.0"
    python benchmarks/authors.py table samples.jsonl --corpus CORPUS

CORPUS holds a folder an author: `{train,validation,test}.jsonl`, a prompt and a completion a line, or demonstration
files with a folder `held_out`. Of every text the opening is taken, whole sentences of at most `--opening` words. A run
can be stopped at any time, and the same command goes on with what is missing; every text is one JSON line. A line also
holds a digest of the settings and sizes that decide it, and a run with others is refused: give it another `--out`. SFT
is trained once for an author, and everything else that is trained starts from that same SFT.

`table` compares the authors for which every arm has all its texts, and says on stderr which others there are.
`--lambdag` adds an independent measure of style (`pip install lambdag`; minutes an author).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean

from ditto_cli.config import FolderFile, Settings, parse_assignments, resolve_settings
from ditto_cli.demonstrations import language
from ditto_cli.evaluation.appraisal import Appraiser
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, fitting_shots, write
from ditto_cli.evaluation.model_figures import told_shares
from ditto_cli.evaluation.selection import background_plan
from ditto_cli.evaluation.soundness import leakage, recitation_check
from ditto_cli.evaluation.style.features import masked
from ditto_cli.evaluation.types import Author, EvalPrompt, Writing
from ditto_cli.evaluation.win_rates import mean_interval
from ditto_cli.method.ditto import Place, StageEnded, ditto
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.method.sft import imitate
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.base.template import Texts, tokenise
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import append_line, cache_home
from ditto_cli.types import Demonstration, SilentReporter
from judges import read_author

ZERO_SHOT, FEW_SHOT, SFT, CONTINUED, PAPER, DITTO = "zero-shot", "few-shot", "sft", "sft-continued", "paper", "ditto"
BEST, TEXTS = "ditto, best of 8", "ditto, texts at hand"
ARMS = (ZERO_SHOT, FEW_SHOT, SFT, CONTINUED, PAPER, DITTO, TEXTS)
# The paper's recipe with rates for this base: DPO alone.
PAPER_SETTINGS = {"dpo.learning_rate": 4e-5, "dpo.sft_weight": 0.0}
OWN, BACKGROUND = "own", "background"  # what both axes are calibrated on
SFT_COPY = "sft-copy"
DRAFTS = 8
SHOWN = 2  # of an arm's texts for a prompt these are compared; the others are drafts to choose from
TEXTS_AT_HAND = 3

Row = dict


@dataclass
class Samples:
    """The JSON lines of a run: those from before, and those that come.

    Attributes:
        path: of the file.
        digests: by arm, of what decides its texts.
        done: author and arm of what has been written in full.
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
        """Append the texts of one arm for one author."""
        author, method = str(rows[0]["author"]), str(rows[0]["method"])
        facts = {"of": len(rows), "digest": self.digests[method]}
        for row in rows:
            append_line(self.path, json.dumps({**row, **facts}, ensure_ascii=False))
        self.done.add((author, method))

    def _refuse_others(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Rows of arms that this run has not are none of its business."""
        for row in rows:
            wanted = self.digests.get(row["method"])
            if wanted is not None and row.get("digest", wanted) != wanted:
                raise SystemExit(
                    f"{self.path} holds texts of {row['method']} by other settings or sizes than this run's, and one "
                    "file is one experiment: give another --out, or the settings that it was begun with."
                )


def digest_of(settings: Settings, sizes: Mapping[str, int]) -> str:
    """What decides an arm's texts, in twelve characters."""
    facts = json.dumps({"settings": settings.model_dump(mode="json"), **sizes}, sort_keys=True)
    return hashlib.sha256(facts.encode()).hexdigest()[:12]


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The texts of earlier runs; a line that a crash cut is left out, and a text counts once."""
    rows: dict[tuple, Row] = {}
    for line in (line for path in paths for line in path.read_text("utf-8", "replace").split("\n")):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        rows[row["author"], row["method"], row["prompt_id"], row["index"]] = row
    return list(rows.values())


def opening(text: str, num_words: int) -> str:
    """Whole sentences from the beginning, of at most so many words; the first sentence in any case."""
    ends = [match.end() for match in re.finditer(r"[.!?]+[\"')\]]*(?=\s|$)|\n\s*\n|$", text)]
    fitting = [end for end in ends if len(text[:end].split()) <= num_words]
    return text[: fitting[-1] if fitting else ends[0]].strip()


def read_openings(folder: Path, *, num_words: int, num_demonstrations: int, num_prompts: int) -> Author:
    """An author's openings: to learn from, and those that were kept back, each prompt once."""
    whole = read_author(folder)

    def cut(texts: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
        once = {text.prompt: replace(text, completion=opening(text.completion, num_words)) for text in texts}
        return tuple(once.values())

    return Author(cut(whole.demonstrations)[:num_demonstrations], cut(whole.held_out)[:num_prompts])


@dataclass
class Experiment:
    """One author on one loaded base."""

    policy: Policy
    name: str
    author: Author
    settings: Settings
    samples: Samples

    def __post_init__(self) -> None:
        self.texts: Texts = tokenise(
            self.policy.chat,
            self.author.demonstrations,
            self.settings.sampling,
            context_tokens=self.policy.context_tokens,
        )
        prompts = tuple(EvalPrompt(t.id, t.prompt, "held_out", t.completion) for t in self.author.held_out)
        temperature = self.settings.sampling.temperature
        self.plan = WritingPlan(prompts, SHOWN, self.settings.seed, temperature, self.texts.max_new_tokens)

    def missing(self, methods: Iterable[str]) -> list[str]:
        """Which of the arms have not written yet."""
        return [method for method in methods if (self.name, method) not in self.samples.done]

    def record(self, method: str, contestant: Contestant, *, seconds: float = 0.0, num: int = SHOWN) -> None:
        """Let a contestant write, and keep each text as one line, with what it tells of its prompt."""
        writings = write(self.policy, contestant, replace(self.plan, num=num))
        prompts = {prompt.id: prompt.prompt for prompt in self.plan.prompts}
        self._add(method, [prompts[w.prompt_id] for w in writings], writings, seconds)
        ended = sum(w.ended for w in writings)
        print(f"{self.name} {method}: {len(writings)} texts, ended {ended}, training {seconds:.0f} s", flush=True)

    def _add(self, method: str, prompts: Sequence[str], writings: Sequence[Writing], seconds: float) -> None:
        told = told_shares(self.policy, [(p, w.text) for p, w in zip(prompts, writings, strict=True)])
        facts = {"author": self.name, "method": method, "seconds": round(seconds, 1)}
        self.samples.add(
            [
                facts | {"prompt": prompt, "told": round(share, 4)} | asdict(replace(writing, contestant=method))
                for prompt, writing, share in zip(prompts, writings, told, strict=True)
            ]
        )

    def untrained(self) -> None:
        """The base, the base with the demonstrations in its prompt, and what the axes are calibrated on."""
        own = self.author.demonstrations
        if self.missing([OWN]):
            texts = [Writing(OWN, text.id, 0, text.completion, 0, ended=True) for text in own]
            self._add(OWN, [text.prompt for text in own], texts, 0.0)
        if self.missing([BACKGROUND]):
            plan = replace(background_plan(own, self.plan), seed=self.plan.seed + 1)
            texts = write(self.policy, Contestant(BACKGROUND, "base"), plan)
            # Each is held against the prompt before its own.
            self._add(BACKGROUND, [own[place - 1].prompt for place in range(len(own))], texts, 0.0)
        if self.missing([ZERO_SHOT]):
            self.record(ZERO_SHOT, Contestant(ZERO_SHOT, "base"))
        if self.missing([FEW_SHOT]):
            room = self.policy.context_tokens - self.plan.max_new_tokens
            prompts = [prompt.prompt for prompt in self.plan.prompts]
            shots = fitting_shots(self.policy.chat, own, prompts, max_tokens=room)
            self.record(FEW_SHOT, Contestant(FEW_SHOT, "few-shot", shots=shots))

    def sft(self) -> None:
        """Stage one, kept in memory for what starts from it."""
        self.policy.add_adapter(POLICY, self.settings.lora, derive_seed(self.settings.seed, "lora"))
        started = time.monotonic()
        imitate(self.policy, self.texts, self.settings, SilentReporter())
        self.policy.copy_adapter(POLICY, SFT_COPY)
        if self.missing([SFT]):
            self.record(SFT, Contestant(SFT, "sft", adapter=SFT_COPY), seconds=time.monotonic() - started)
        self.policy.remove(POLICY)

    def continued(self, settings: Settings) -> None:
        """SFT for as many updates more as the rounds have, at their rate: what the rounds have to beat."""
        self.policy.copy_adapter(SFT_COPY, POLICY)
        num = settings.rounds.num * settings.rounds.steps
        sft = settings.sft.model_copy(
            update={
                "learning_rate": settings.dpo.learning_rate,
                "max_steps": num,
                "stop_loss": 0.0,
                "batch_size": len(self.texts.prompts),
            }
        )
        started = time.monotonic()
        imitate(self.policy, self.texts, settings.model_copy(update={"sft": sft}), SilentReporter())
        self.record(CONTINUED, Contestant(CONTINUED, "sft", adapter=POLICY), seconds=time.monotonic() - started)
        self.policy.remove(POLICY)

    def rounds(self, method: str, settings: Settings) -> None:
        """DITTO's loop under `settings`, from the SFT in memory; the preset's writes drafts, and with texts at hand."""
        self.policy.copy_adapter(SFT_COPY, POLICY)
        started = time.monotonic()
        place = Place(is_imitated=True)
        for event in ditto(self.policy, self.texts, settings, [], place, SilentReporter()):
            if isinstance(event, StageEnded) and place.round + 1 == settings.rounds.num:
                seconds = time.monotonic() - started
                num = DRAFTS if method == DITTO else SHOWN
                if self.missing([method]):
                    self.record(method, Contestant(method, "round", adapter=POLICY), seconds=seconds, num=num)
                if method == DITTO and self.missing([TEXTS]):
                    shots = self.author.demonstrations
                    self.record(TEXTS, Contestant(TEXTS, "texts", POLICY, shots, nearest=TEXTS_AT_HAND))
                self.policy.switch(POLICY, trainable=True)
        for name in (POLICY, REFERENCE):
            self.policy.remove(name)


def read_settings(arguments: argparse.Namespace) -> tuple[Settings, dict[str, Settings]]:
    """The settings of SFT and all before it, and those of each loop that starts from it."""
    fixed = parse_assignments(arguments.set)

    def settings_with(extra: Mapping[str, object]) -> Settings:
        return resolve_settings(arguments.preset, FolderFile(), {}, {**fixed, **extra})

    settings = settings_with({})
    loops = {} if arguments.variants_only else {PAPER: settings_with(PAPER_SETTINGS), DITTO: settings}
    for variant in arguments.variant:
        label, _, assignments = variant.partition(":")
        loops[label.strip()] = settings_with(parse_assignments(assignments.split()))
        if loops[label.strip()].sft != settings.sft:
            raise SystemExit(f"{label}: every variant starts from the same SFT; give --set and another --out.")
    return settings, loops


def digests_of(arguments: argparse.Namespace, settings: Settings, loops: Mapping[str, Settings]) -> dict[str, str]:
    """The digest of each arm of a run."""
    sizes = {name: getattr(arguments, name) for name in ("prompts", "opening", "demonstrations")}
    unchanged = dict.fromkeys((OWN, BACKGROUND, ZERO_SHOT, FEW_SHOT, SFT, CONTINUED, TEXTS), settings)
    return {method: digest_of(own, sizes) for method, own in {**unchanged, **loops}.items()}


def openings_of(arguments: argparse.Namespace, name: str) -> Author:
    """An author of the corpus, cut as the arguments say."""
    return read_openings(
        arguments.corpus / name,
        num_words=arguments.opening,
        num_demonstrations=arguments.demonstrations,
        num_prompts=arguments.prompts,
    )


def run(arguments: argparse.Namespace) -> None:
    """Everything that is missing in `--out`."""
    settings, loops = read_settings(arguments)
    samples = Samples(arguments.out, digests_of(arguments, settings, loops))
    policy = load_policy(settings.base, detect(arguments.device), cache_home(os.environ), print)
    policy.recompute_layers(policy.hardware.is_cuda)
    for name in arguments.authors or sorted(path.name for path in arguments.corpus.iterdir() if path.is_dir()):
        author = openings_of(arguments, name)
        experiment = Experiment(policy, f"{arguments.corpus.name}/{name}", author, settings, samples)
        experiment.untrained()
        wanted = [SFT, *([CONTINUED, TEXTS] if DITTO in loops else []), *loops]
        if not experiment.missing(wanted):
            continue
        experiment.sft()
        if CONTINUED in wanted and experiment.missing([CONTINUED]):
            experiment.continued(settings)
        for method, own in loops.items():
            if experiment.missing([method] if method != DITTO else [DITTO, TEXTS]):
                experiment.rounds(method, own)
        policy.remove(SFT_COPY)


# --- The table

Figures = dict[str, float]


def figures_of(rows: Sequence[Row], author: Author, methods: Sequence[str]) -> dict[str, Figures]:
    """The figures of each arm for one author; `BEST` is chosen from DITTO's drafts by what its user has."""
    own, background = ([row for row in rows if row["method"] == method] for method in (OWN, BACKGROUND))
    appraiser = Appraiser.fit(
        author,
        [row["text"] for row in background],
        own_told=[row["told"] for row in own],
        others_told=[row["told"] for row in background],
    )
    recites = recitation_check(author.demonstrations, [text.completion for text in author.held_out])
    found = {}
    for method in methods:
        texts = chosen(rows, author) if method == BEST else [r for r in rows if r["method"] == method]
        if method != BEST:
            texts = [row for row in texts if row["index"] < SHOWN]
        writings = [writing_of(row) for row in texts]
        appraisals = [appraiser.appraise(row["prompt"], writing_of(row), row["told"]) for row in texts]
        found[method] = {
            "style": appraiser.panel.score_pooled([row["text"] for row in texts]).total,
            "task": fmean(one.task for one in appraisals),
            "told": fmean(row["told"] for row in texts),
            "ended": fmean(row["ended"] for row in texts),
            "recited": fmean(recites(row["text"]) is not None for row in texts),
            "passage": float(leakage(writings, author.demonstrations, [], None).longest_passage_words),
        }
    return found


def chosen(rows: Sequence[Row], author: Author) -> list[Row]:
    """Of each prompt's drafts the best, as `ditto sample --best-of` chooses it."""
    appraiser = Appraiser.fit(Author(author.demonstrations, ()))
    drafts: dict[str, list[Row]] = {}
    for row in sorted((row for row in rows if row["method"] == DITTO), key=lambda row: row["index"]):
        drafts.setdefault(row["prompt_id"], []).append(row)
    return [max(own, key=lambda row: appraiser.worth(row["prompt"], writing_of(row))) for own in drafts.values()]


def writing_of(row: Row) -> Writing:
    """A line's text as the judges know it."""
    return Writing(row["method"], row["prompt_id"], row["index"], row["text"], row["num_tokens"], row["ended"])


def lambdag_of(texts: Mapping[str, Sequence[str]], author: str, references: Mapping[str, Sequence[str]]) -> Figures:
    """For each arm the share of the other authors whose grammar fits its texts less than the author's own does.

    LambdaG (Nini et al., Humanities and Social Sciences Communications 13:455, 2026) on texts whose topic is masked, by
    rank among all authors of the corpus.
    """
    from lambdag import LambdaGMethod

    def plain(pieces: Sequence[str]) -> str:
        return masked("\n".join(pieces), language.function_words("en"))

    known = {name: plain(pieces) for name, pieces in references.items()}
    method = LambdaGMethod("tokens", 5, "kneser_ney", True, True, 10, "square_root", random_seed=0)
    found = {}
    for arm, own in texts.items():
        problems = [(one, name, plain(own), author) for name, one in known.items()]
        scores = dict(zip(known, method.lambdag(problems, {n: [t] for n, t in known.items()}), strict=True))
        found[arm] = fmean(float(scores[author] > score) for name, score in scores.items() if name != author)
    return found


def why_left_out(rows: Sequence[Row], author: str, methods: Sequence[str]) -> str | None:
    """Why an author's arms cannot be compared, or None if they can: all texts are there, for equal prompts."""
    prompts: dict[str, set[str]] = {}
    for method in methods:
        own = [row for row in rows if (row["author"], row["method"]) == (author, method)]
        if not own:
            return f"no texts of {method}"
        wanted = max(row["of"] for row in own)
        if len(own) < wanted:
            return f"{len(own)} of {wanted} texts of {method}"
        prompts[method] = {row["prompt_id"] for row in own}
    first = methods[0]
    differing = [method for method in methods if prompts[method] != prompts[first]]
    return f"{differing[0]} wrote for other prompts than {first}" if differing else None


def complete_authors(rows: Sequence[Row], methods: Sequence[str]) -> list[str]:
    """Whose arms can be compared, by name; the others are named on stderr."""
    complete = []
    for author in sorted({row["author"] for row in rows}):
        reason = why_left_out(rows, author, methods)
        if reason is None:
            complete.append(author)
        else:
            print(f"{author} is left out: {reason}", file=sys.stderr)
    return complete


def table(arguments: argparse.Namespace) -> None:
    """Each arm's figures as means over the authors, and the paired differences that matter."""
    rows = read_rows(arguments.samples)
    written = arguments.methods or [method for method in ARMS if any(row["method"] == method for row in rows)]
    methods = [*written, *([BEST] if DITTO in written else [])]
    corpora = {corpus.name: corpus for corpus in arguments.corpus}
    authors = {}
    for name in complete_authors(rows, written):
        corpus, _, folder = name.partition("/")
        authors[name] = openings_of(argparse.Namespace(**{**vars(arguments), "corpus": corpora[corpus]}), folder)
    if len(methods) < 2 or not authors:
        raise SystemExit("Nothing to compare: it takes two arms, and an author with all texts of every arm.")
    found = {}
    for name, author in authors.items():
        own = [row for row in rows if row["author"] == name]
        found[name] = figures_of(own, author, methods)
        if arguments.lambdag:
            mates = {
                n: [t.completion for t in a.demonstrations] for n, a in authors.items() if _corpus(n) == _corpus(name)
            }
            texts = {m: [r["text"] for r in own if r["method"] == m and r["index"] < SHOWN] for m in written}
            texts |= {BEST: [row["text"] for row in chosen(own, author)]} if BEST in methods else {}
            for method, value in lambdag_of(texts, name, mates).items():
                found[name][method]["lambdag"] = value
    print_figures(found, methods)
    print_differences(found, arguments.against or methods, methods)


def _corpus(name: str) -> str:
    return name.partition("/")[0]


MEASURES: Mapping[str, Callable[[Sequence[float]], float]] = {
    "style": fmean,
    "task": fmean,
    "told": fmean,
    "lambdag": fmean,
    "ended": fmean,
    "recited": fmean,
    "passage": max,
}


def print_figures(found: Mapping[str, Mapping[str, Figures]], methods: Sequence[str]) -> None:
    """Markdown: a row an arm; means over the authors, of the passages the longest."""
    shown = [name for name in MEASURES if all(name in own for arms in found.values() for own in arms.values())]
    print(f"Means over {len(found)} authors\n\n| arm | {' | '.join(shown)} |")
    print("|---" * (len(shown) + 1) + "|")
    for method in methods:
        values = [MEASURES[name]([arms[method][name] for arms in found.values()]) for name in shown]
        print(f"| {method} | {' | '.join(f'{value:.2f}' for value in values)} |")


def print_differences(
    found: Mapping[str, Mapping[str, Figures]], against: Sequence[str], methods: Sequence[str]
) -> None:
    """Markdown: each arm less each one before it, paired by author, with intervals by drawing authors again."""
    shown = [name for name in ("style", "task", "told", "lambdag") if name in next(iter(found.values()))[methods[0]]]
    print(f"\n| difference | {' | '.join(shown)} |\n{'|---' * (len(shown) + 1)}|")
    for one, other in _pairs(methods, against):
        cells = []
        for name in shown:
            values = [arms[one][name] - arms[other][name] for arms in found.values()]
            low, high = mean_interval(values, derive_seed(0, name, one, other))
            cells.append(f"{fmean(values):+.2f} ({low:+.2f} to {high:+.2f})")
        print(f"| {one} less {other} | {' | '.join(cells)} |")


def _pairs(methods: Sequence[str], against: Sequence[str]) -> Iterator[tuple[str, str]]:
    for place, one in enumerate(methods):
        yield from ((one, other) for other in methods[:place] if one in against and other in against)


def main() -> None:
    """Run what is missing, or print the table of what was run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    shown = commands.add_parser("table")
    for command in (running, shown):
        command.add_argument("--demonstrations", type=int, default=5, help="most texts to learn from")
        command.add_argument("--opening", type=int, default=80, help="most words of a text")
        command.add_argument("--prompts", type=int, default=4, help="most kept-back prompts of an author")
    running.add_argument("corpus", type=Path)
    shown.add_argument("--corpus", type=Path, nargs="+", required=True)
    shown.add_argument("--methods", nargs="+", help="in this order; else all that are there")
    shown.add_argument("--against", nargs="+", metavar="ARM", help="only differences between these")
    shown.add_argument("--lambdag", action="store_true", help="also LambdaG, by rank")
    shown.add_argument("samples", type=Path, nargs="+")
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--authors", nargs="+", help="names of folders; else all")
    running.add_argument("--preset", default="smollm2-135m-cpu")
    running.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    running.add_argument("--variant", action="append", default=[], metavar="LABEL: KEY=VALUE ...")
    running.add_argument("--variants-only", action="store_true", help="leave the paper's recipe and the preset's out")
    running.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    (run if arguments.command == "run" else table)(arguments)


if __name__ == "__main__":
    main()
