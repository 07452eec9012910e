"""Who writes nearest to an author and still does what is asked: base, prompts, SFT, DITTO, and what DITTO is made of.

    python benchmarks/authors.py run CORPUS --out samples.jsonl --authors a b
    python benchmarks/authors.py run CORPUS --out samples.jsonl --variant "hot: sampling.temperature=1.0"
    python benchmarks/authors.py table samples.jsonl --corpus CORPUS
    make tables CORPORA="CORPUS ..."                    # the paper's other tables and figures: both with --tables

CORPUS holds a folder an author: `{train,validation,test}.jsonl`, a prompt and a completion a line, or demonstration
files with a folder `held_out`. Of every text the opening is taken, whole sentences of at most `--opening` words. The
arms stand in arms.py. SFT is trained once for an author and a number of texts, and what else is trained starts from it.

A run can be stopped at any time, and the same command goes on with what is missing; every text is one JSON line. A line
also holds a digest of the settings and sizes that decide it, and a run with others is refused: give it another `--out`.

`table` compares the authors for which every arm has all its texts, and says on stderr which others there are.
`--lambdag` adds an independent measure of style (`pip install lambdag`; minutes an author).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from arms import (
    ARMS,
    BACKGROUND,
    BASE_PAIRS,
    BESIDE,
    BEST,
    DITTO,
    FIGURES,
    GUIDE,
    MAIN,
    MOST_PAIRS,
    OWN,
    SFT_PAIRS,
    TABLES,
    Arm,
)
from author_tables import (
    AuthorFigures,
    Found,
    Row,
    complete_authors,
    each_less_those_before,
    print_differences,
    print_figures,
    write_figures,
)
from ditto_cli.config import FolderFile, Settings, parse_assignments, resolve_settings
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, background_plan, fitting_shots, write
from ditto_cli.evaluation.judgements import Author, EvalPrompt, Writing
from ditto_cli.evaluation.model_figures import told_shares
from ditto_cli.method.ditto import Place, ditto
from ditto_cli.method.sft import imitate
from ditto_cli.method.updates import POLICY, REFERENCE
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.base.template import Texts, tokenise
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import append_line, cache_home
from ditto_cli.types import Demonstration, Preference, SilentReporter
from judges import read_author

START = "start"  # the adapter that all arms of so many texts begin from
TEXTS_AT_HAND = 3
GUIDE_TOKENS = 150
GUIDE_REQUEST = (
    "Describe in a few short sentences how your texts above are written: their tone, length, sentences, words, "
    "punctuation, and how they begin and end. Say nothing of what they are about."
)
GUIDED = "Write as this style guide says.\n\n{guide}\n\n{prompt}"


@dataclass
class Samples:
    """The JSON lines of a run: those from before, and those that come.

    Attributes:
        path: of the file.
        digests: by arm, of what decides its texts.
        rows: what is in it.
    """

    path: Path
    digests: Mapping[str, str]
    rows: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.path.exists():
            self.rows = read_rows([self.path])
            self._refuse_others()

    def of(self, author: str, method: str) -> list[Row]:
        """An author's texts of an arm; none where they are not all there."""
        own = [row for row in self.rows if (row["author"], row["method"]) == (author, method)]
        return own if own and len(own) >= own[-1]["of"] else []

    def add(self, rows: Sequence[Row]) -> None:
        """Append the texts of one arm for one author."""
        author, method = rows[0]["author"], rows[0]["method"]
        whole = [{**row, "of": len(rows), "digest": self.digests[method]} for row in rows]
        for row in whole:
            append_line(self.path, json.dumps(row, ensure_ascii=False))
        others = [row for row in self.rows if (row["author"], row["method"]) != (author, method)]
        self.rows = [*others, *whole]

    def _refuse_others(self) -> None:
        """Rows of arms that this run has not are none of its business."""
        for row in self.rows:
            wanted = self.digests.get(row["method"])
            if wanted is not None and row.get("digest", wanted) != wanted:
                raise SystemExit(
                    f"{self.path} holds texts of {row['method']} by other settings or sizes than this run's, and one "
                    "file is one experiment: give another --out, or the settings that it was begun with."
                )


def digest_of(settings: Settings, sizes: Mapping[str, int | None]) -> str:
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


def read_openings(folder: Path, *, num_words: int, num_demonstrations: int, num_prompts: int) -> tuple[Author, str]:
    """An author's openings, to learn from and kept back, each prompt once; and what stands behind those learnt from."""
    whole = read_author(folder)

    def cut(texts: Sequence[Demonstration]) -> tuple[Demonstration, ...]:
        once = {text.prompt: replace(text, completion=opening(text.completion, num_words)) for text in texts}
        return tuple(once.values())

    learnt = cut(whole.demonstrations)[:num_demonstrations]
    texts = {text.id: text.completion.strip() for text in whole.demonstrations}
    rest = "\n".join(texts[text.id].removeprefix(text.completion) for text in learnt)
    return Author(learnt, cut(whole.held_out)[:num_prompts]), rest


def closeness(texts: Sequence[str], known: str) -> list[float]:
    """How near each text is to a known one: the cosine of their character 4-grams, by TF-IDF over all of them."""

    def counted(text: str) -> Counter[str]:
        plain = " ".join(text.split())
        return Counter(plain[start : start + 4] for start in range(len(plain) - 3))

    counts = [counted(text) for text in (*texts, known)]
    num_with = Counter(gram for count in counts for gram in count)
    vectors = [
        {gram: num * (math.log((1 + len(counts)) / (1 + num_with[gram])) + 1) for gram, num in count.items()}
        for count in counts
    ]
    *others, own = vectors
    size = [math.hypot(*vector.values()) or 1 for vector in vectors]
    return [
        sum(value * own.get(gram, 0) for gram, value in vector.items()) / (size[place] * size[-1])
        for place, vector in enumerate(others)
    ]


@dataclass
class Experiment:
    """One author on one loaded base.

    Attributes:
        policy: the base.
        name: of the author in the lines.
        author: the openings.
        rest: what stands behind those that are learnt from; who picks among pairs goes by it.
        settings: of SFT and all before it.
        samples: where the texts go.
    """

    policy: Policy
    name: str
    author: Author
    rest: str
    settings: Settings
    samples: Samples

    def __post_init__(self) -> None:
        prompts = tuple(EvalPrompt(t.id, t.prompt, "held_out", t.completion) for t in self.author.held_out)
        limit = self.tokenised(None, self.settings).max_new_tokens
        self.plan = WritingPlan(prompts, 0, self.settings.seed, self.settings.sampling.temperature, limit)

    def write(self, arms: Sequence[tuple[Arm, Settings]]) -> None:
        """All texts that are missing. Arms that are trained alike share one training."""
        self.calibrate()
        missing = [(arm, settings) for arm, settings in arms if not self.samples.of(self.name, arm.name)]
        trainings: dict[int, dict[tuple, list[Arm]]] = {}
        most = len(self.author.demonstrations)
        for arm, settings in missing:
            if arm.num_texts is not None and arm.num_texts > most:
                raise SystemExit(f"{arm.name}: {self.name} has {most} texts to learn from; see --demonstrations.")
            if arm.training == "none":
                self.record(arm, None, 0.0)
            else:
                alike = trainings.setdefault(most if arm.num_texts is None else arm.num_texts, {})
                alike.setdefault((arm.training, settings, arm.num_pairs), []).append(arm)
        for num_texts, alike in trainings.items():
            sft_seconds = self.begin(num_texts)
            for (training, settings, num_pairs), same in alike.items():
                pairs = self.pairs(SFT_PAIRS if num_texts else BASE_PAIRS)[:num_pairs] if num_pairs else []
                texts = self.tokenised(num_texts or None, settings, pairs)
                started = time.monotonic()
                with self.trained(training, texts, settings) as adapter:
                    seconds = sft_seconds if training == "sft" else time.monotonic() - started
                    for arm in same:
                        self.record(arm, adapter, seconds)
            self.policy.remove(START)

    def calibrate(self) -> None:
        """What both axes are calibrated on: the author's texts, and the base's for the same prompts."""
        own = self.author.demonstrations
        if not self.samples.of(self.name, OWN):
            texts = [Writing(OWN, text.id, 0, text.completion, 0, ended=True) for text in own]
            self._add(OWN, [text.prompt for text in own], texts, 0.0)
        if not self.samples.of(self.name, BACKGROUND):
            plan = replace(background_plan(own, self.plan), seed=self.plan.seed + 1)
            texts = write(self.policy, Contestant(BACKGROUND, "base"), plan)
            # Each is held against the prompt before its own.
            self._add(BACKGROUND, [own[place - 1].prompt for place in range(len(own))], texts, 0.0)

    def begin(self, num_texts: int) -> float:
        """Make START: SFT on the first so many texts, or with none of them the base; returns its seconds."""
        self.policy.add_adapter(POLICY, self.settings.lora, derive_seed(self.settings.seed, "lora"))
        started = time.monotonic()
        if num_texts:
            imitate(self.policy, self.tokenised(num_texts, self.settings), self.settings, SilentReporter())
        self.policy.copy_adapter(POLICY, START)
        self.policy.remove(POLICY)
        return time.monotonic() - started

    @contextmanager
    def trained(self, training: str, texts: Texts, settings: Settings) -> Iterator[str]:
        """The name of an adapter that was trained from START, for as long as it is to write."""
        if training == "sft":
            yield START
            return
        self.policy.copy_adapter(START, POLICY)
        if training == "continued":
            self._imitate_on(texts, settings)
        else:
            for _ in ditto(self.policy, texts, settings, [], Place(), SilentReporter()):
                pass
        yield POLICY
        for name in {POLICY, REFERENCE} & set(self.policy.adapters):
            self.policy.remove(name)

    def _imitate_on(self, texts: Texts, settings: Settings) -> None:
        """SFT for as many updates more as the rounds have, at their rate: what the rounds have to beat."""
        sft = settings.sft.model_copy(
            update={
                "learning_rate": settings.dpo.learning_rate,
                "max_steps": settings.rounds.num * settings.rounds.steps,
                "stop_loss": 0.0,
                "batch_size": len(texts.prompts),
            }
        )
        imitate(self.policy, texts, settings.model_copy(update={"sft": sft}), SilentReporter())

    def pairs(self, writer: str) -> list[Preference]:
        """Pairs of texts that START wrote for the prompts in turn, of which the nearer to the author's rest won."""
        if not self.rest.strip():
            raise SystemExit(f"{self.name} has nothing behind the openings to pick pairs by: lower --opening.")
        own = self.author.demonstrations
        num = 2 * math.ceil(MOST_PAIRS / len(own))
        if not self.samples.of(self.name, writer):
            plan = replace(background_plan(own, self.plan), num=num, seed=self.plan.seed + 2)
            texts = write(self.policy, Contestant(writer, "round", adapter=START), plan)
            self._add(writer, [text.prompt for text in own for _ in range(num)], texts, 0.0, is_compared=False)
        rows = self.samples.of(self.name, writer)
        near = closeness([row["text"] for row in rows], self.rest)
        pairs = []
        for first in (place * num + draw for draw in range(0, num, 2) for place in range(len(own))):
            chosen, rejected = sorted((first, first + 1), key=lambda place: near[place], reverse=True)
            pairs.append(
                Preference(f"pair-{first}", rows[first]["prompt"], rows[chosen]["text"], rows[rejected]["text"])
            )
        return pairs

    def guide(self) -> str:
        """What the base says of how the author's texts are written."""
        if not self.samples.of(self.name, GUIDE):
            room = self.policy.context_tokens - GUIDE_TOKENS
            shots = fitting_shots(self.policy.chat, self.author.demonstrations, [GUIDE_REQUEST], max_tokens=room)
            prompt = EvalPrompt("guide", GUIDE_REQUEST, "new")
            plan = replace(self.plan, prompts=(prompt,), num=1, max_new_tokens=GUIDE_TOKENS)
            self._add(GUIDE, [GUIDE_REQUEST], write(self.policy, Contestant(GUIDE, "few-shot", shots=shots), plan), 0.0)
        return self.samples.of(self.name, GUIDE)[0]["text"]

    def record(self, arm: Arm, adapter: str | None, seconds: float) -> None:
        """Let an arm write, and keep each text as one line, with what it tells of its prompt."""
        own, prompts = self.author.demonstrations, self.plan.prompts
        plan = replace(self.plan, num=arm.num)
        contestant = Contestant(arm.name, "base" if adapter is None else "round", adapter)
        match arm.shown:
            case "texts":
                room = self.policy.context_tokens - plan.max_new_tokens
                asked = [prompt.prompt for prompt in prompts]
                contestant = replace(contestant, shots=fitting_shots(self.policy.chat, own, asked, max_tokens=room))
            case "nearest":
                contestant = replace(contestant, shots=own, nearest=TEXTS_AT_HAND)
            case "guide":
                guide = self.guide()
                guided = [replace(one, prompt=GUIDED.format(guide=guide, prompt=one.prompt)) for one in prompts]
                plan = replace(plan, prompts=tuple(guided))
        writings = write(self.policy, contestant, plan)
        self._add(arm.name, [prompt.prompt for prompt in prompts for _ in range(arm.num)], writings, seconds)
        ended = sum(w.ended for w in writings)
        print(f"{self.name} {arm.name}: {len(writings)} texts, ended {ended}, training {seconds:.0f} s", flush=True)

    def _add(
        self,
        method: str,
        prompts: Sequence[str],
        writings: Sequence[Writing],
        seconds: float,
        *,
        is_compared: bool = True,
    ) -> None:
        facts = {"author": self.name, "method": method, "seconds": round(seconds, 1)}
        rows = [
            facts | {"prompt": prompt} | asdict(replace(writing, contestant=method))
            for prompt, writing in zip(prompts, writings, strict=True)
        ]
        if is_compared:  # it takes long
            told = told_shares(self.policy, [(row["prompt"], row["text"]) for row in rows])
            rows = [row | {"told": round(share, 4)} for row, share in zip(rows, told, strict=True)]
        self.samples.add(rows)

    def tokenised(self, num_texts: int | None, settings: Settings, pairs: Sequence[Preference] = ()) -> Texts:
        """The first so many texts, or all, and given pairs."""
        own = self.author.demonstrations[:num_texts]
        context = self.policy.context_tokens
        return tokenise(self.policy.chat, own, settings.sampling, context_tokens=context, pairs=pairs)


def read_arms(arguments: argparse.Namespace) -> tuple[Settings, list[tuple[Arm, Settings]]]:
    """The settings of SFT and all before it, and each arm that is to write, with its own settings."""
    fixed = parse_assignments(arguments.set)

    def settings_with(extra: Mapping[str, object]) -> Settings:
        return resolve_settings(arguments.preset, FolderFile(), {}, {**fixed, **extra})

    settings = settings_with({})
    names = arguments.arms or ([name for table in TABLES for name in table.arms] if arguments.tables else MAIN)
    arms = [ARMS[name] for name in dict.fromkeys(names)]
    for variant in arguments.variant:
        label, _, assignments = variant.partition(":")
        arms.append(Arm(label.strip(), changes=parse_assignments(assignments.split())))
    found = [(arm, settings_with(arm.changes_of(settings))) for arm in arms]
    for arm, own in found:
        if (own.sft, own.lora) != (settings.sft, settings.lora):
            raise SystemExit(f"{arm.name}: every arm starts from the same SFT; give --set and another --out.")
    return settings, found


def digests_of(
    arguments: argparse.Namespace, settings: Settings, arms: Sequence[tuple[Arm, Settings]]
) -> dict[str, str]:
    """The digest of each arm of a run, and of what is written beside them."""
    sizes = {name: getattr(arguments, name) for name in ("prompts", "opening", "demonstrations")}
    beside = {name: digest_of(settings, sizes) for name in BESIDE}
    facts = {arm.name: sizes | {"texts": arm.num_texts, "pairs": arm.num_pairs} for arm, _ in arms}
    return beside | {arm.name: digest_of(own, facts[arm.name]) for arm, own in arms}


def openings_of(arguments: argparse.Namespace, folder: Path) -> tuple[Author, str]:
    """An author, cut as the arguments say, and what stands behind the openings."""
    return read_openings(
        folder,
        num_words=arguments.opening,
        num_demonstrations=arguments.demonstrations,
        num_prompts=arguments.prompts,
    )


def author_folders(corpus: Path) -> list[Path]:
    """The folders of a corpus, by name."""
    return sorted(path for path in corpus.iterdir() if path.is_dir())


def run(arguments: argparse.Namespace) -> None:
    """Everything that is missing in `--out`."""
    settings, arms = read_arms(arguments)
    samples = Samples(arguments.out, digests_of(arguments, settings, arms))
    policy = load_policy(settings.base, detect(arguments.device), cache_home(os.environ))
    policy.recompute_layers(policy.hardware.is_cuda)
    for corpus in arguments.corpus:
        folders = [corpus / name for name in arguments.authors or ()] or author_folders(corpus)
        for folder in folders[-arguments.last :]:
            author, rest = openings_of(arguments, folder)
            Experiment(policy, f"{corpus.name}/{folder.name}", author, rest, settings, samples).write(arms)


def table(arguments: argparse.Namespace) -> None:
    """Each arm's figures as means over the authors, and the paired differences that matter."""
    corpora = {corpus.name: corpus for corpus in arguments.corpus}
    rows = [row for row in read_rows(arguments.samples) if row["author"].partition("/")[0] in corpora]
    figures: dict[str, AuthorFigures] = {}

    def measured(methods: Sequence[str]) -> Found:
        """The figures of the authors that have all texts of all these arms."""
        names = complete_authors(rows, [method for method in methods if method != BEST])
        for name in names:
            if name not in figures:
                corpus, _, folder = name.partition("/")
                own = [row for row in rows if row["author"] == name]
                mates = None
                if arguments.lambdag:
                    mates = {path.name: openings_of(arguments, path)[0] for path in author_folders(corpora[corpus])}
                author, _ = openings_of(arguments, corpora[corpus] / folder)
                figures[name] = AuthorFigures(own, folder, author, mates)
        return {name: {method: figures[name].of(method) for method in methods} for name in names}

    nothing = "Nothing to compare: it takes two arms, and an author with all texts of every arm."
    if arguments.tables:
        found = {one.title: own for one in TABLES if (own := measured(one.arms))}
        if not found:
            raise SystemExit(nothing)
        for one in (one for one in TABLES if one.title in found):
            print(f"\n### {one.title}\n")
            print_figures(found[one.title], one.arms, one.published)
            print_differences(found[one.title], [(arm, one.baseline) for arm in one.arms if arm != one.baseline])
        if arguments.plots:
            write_figures(FIGURES, found, arguments.plots)
        return
    written = arguments.methods or [method for method in ARMS if any(row["method"] == method for row in rows)]
    methods = [*written, *([BEST] if DITTO in written else [])]
    if len(methods) < 2 or not (found := measured(methods)):
        raise SystemExit(nothing)
    print_figures(found, methods)
    print_differences(found, list(each_less_those_before(methods, arguments.against or methods)))


def main() -> None:
    """Run what is missing, or print the tables of what was run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, dest="command")
    running = commands.add_parser("run")
    shown = commands.add_parser("table")
    for command in (running, shown):
        command.add_argument("--demonstrations", type=int, default=5, help="most texts to learn from")
        command.add_argument("--opening", type=int, default=80, help="most words of a text")
        command.add_argument("--prompts", type=int, default=4, help="most kept-back prompts of an author")
        command.add_argument("--tables", action="store_true", help="the paper's other tables and figures")
    running.add_argument("corpus", type=Path, nargs="+")
    shown.add_argument("--corpus", type=Path, nargs="+", required=True)
    shown.add_argument("--methods", nargs="+", help="in this order; else all that are there")
    shown.add_argument("--against", nargs="+", metavar="ARM", help="only differences between these")
    shown.add_argument("--lambdag", action="store_true", help="also LambdaG, by rank")
    shown.add_argument("--plots", type=Path, metavar="FOLDER", help="with --tables: draw the figures there")
    shown.add_argument("samples", type=Path, nargs="+")
    running.add_argument("--out", type=Path, required=True)
    running.add_argument("--authors", nargs="+", help="names of folders; else all")
    running.add_argument("--last", type=int, default=0, metavar="N", help="only the last N authors of each corpus")
    running.add_argument("--arms", nargs="+", choices=ARMS, metavar="ARM", help=f"of {', '.join(ARMS)}")
    running.add_argument("--preset", default="smollm2-135m-cpu")
    running.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    running.add_argument("--variant", action="append", default=[], metavar="LABEL: KEY=VALUE ...")
    running.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    (run if arguments.command == "run" else table)(arguments)


if __name__ == "__main__":
    main()
