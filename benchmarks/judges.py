"""How often the judges are right: the style panel between authors, the task score between texts of one author.

    python benchmarks/judges.py --authors CORPUS examples/demos --base-texts base_texts.jsonl

A folder of authors holds a folder each: `train.jsonl`, `validation.jsonl` and `test.jsonl` (prompt and completion a
line), or demonstration files with a folder `held_out`, as the example personas have. A panel is fitted to the texts to
learn from, to the shipped background and to the base's texts for the same prompts; never to texts of the other authors.
Then every kept-back text meets every kept-back text of every other author, and every text of the base for the kept-back
prompts. The base's texts are read from `--base-texts`; what is missing there is sampled and added.

With `--task both` the task score instead: every kept-back text meets, for its own prompt, what does not do the task
(the author's text for another prompt, the base's for another prompt, a greeting and sign-off, a demonstration, the
prompt itself, and its own words shuffled), judged by the words alone and with the base's probabilities; `--task words`
leaves the base out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean

from ditto_cli.config import FolderFile, resolve_settings
from ditto_cli.demonstrations.folder import read_folder
from ditto_cli.demonstrations.prompts import attach_prompts
from ditto_cli.evaluation.appraisal import TaskScale
from ditto_cli.evaluation.eval_prompts import is_new
from ditto_cli.evaluation.model_figures import told_shares
from ditto_cli.evaluation.style import PanelScore, StylePanel
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import cache_home
from ditto_cli.types import Demonstration, SampleRequest

TEMPERATURE = 0.8
PANEL = "panel"
SHORT_LINE = 5  # words of a greeting or sign-off


@dataclass(frozen=True)
class Author:
    """One author: texts to fit to, and texts kept back."""

    name: str
    demonstrations: tuple[Demonstration, ...]
    held_out: tuple[Demonstration, ...]


@dataclass(frozen=True)
class Row:
    """What was found for one author: rates by measure (the whole panel among them), and mean totals."""

    author: str
    beats_others: dict[str, float]
    beats_base: dict[str, float]
    separation: dict[str, float]
    weight: dict[str, float]
    own: float
    others: float
    base: float


def read_authors(folder: Path) -> list[Author]:
    """The authors of a folder, by name."""
    return [read_author(path) for path in sorted(folder.iterdir()) if path.is_dir()]


def read_author(folder: Path) -> Author:
    """One author, from JSON lines or from demonstration files."""

    def lines(split: str) -> list[Demonstration]:
        rows = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        return [Demonstration(f"{split}-{i}", row["prompt"], row["completion"]) for i, row in enumerate(rows)]

    if (folder / "train.jsonl").exists():
        return Author(folder.name, tuple(lines("train")), tuple(lines("validation") + lines("test")))
    parts = (attach_prompts(read_folder(path).texts, {})[0] for path in (folder, folder / "held_out"))
    return Author(folder.name, *(tuple(part) for part in parts))


def base_texts(prompts: Sequence[str], path: Path, preset: str, device: str, max_new_tokens: int) -> dict[str, str]:
    """What the base writes for each prompt; kept in `path`, one JSON line a prompt, and only made if not there."""
    known: dict[str, str] = {}
    if path.exists():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        known = {row["prompt"]: row["text"] for row in rows}
    missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in known]
    if missing:
        policy = load_base(preset, device)
        requests = [SampleRequest(policy.chat.prompt_ids(p), derive_seed(0, "judges", p)) for p in missing]
        sampled = sample(policy, requests, max_new_tokens=max_new_tokens, temperature=TEMPERATURE)
        made = {p: policy.chat.text(tokens.token_ids) for p, tokens in zip(missing, sampled, strict=True)}
        with path.open("a", encoding="utf-8") as stream:
            stream.writelines(
                json.dumps({"prompt": p, "text": text}, ensure_ascii=False) + "\n" for p, text in made.items()
            )
        known |= made
    return known


def load_base(preset: str, device: str) -> Policy:
    """The base of a preset."""
    settings = resolve_settings(preset, FolderFile(), {}, {})
    return load_policy(settings.base, detect(device), cache_home(os.environ))


def measure(author: Author, others: Sequence[Author], base: dict[str, str], cut: Callable[[str], str]) -> Row:
    """The panel of one author on all pairs."""
    panel = StylePanel(
        [text.completion for text in author.demonstrations], [base[text.prompt] for text in author.demonstrations]
    )
    own = [panel.score(cut(text.completion)) for text in author.held_out]
    theirs = [panel.score(cut(text.completion)) for other in others for text in other.held_out]
    plain = [panel.score(cut(base[text.prompt])) for text in author.held_out]
    return Row(
        author.name,
        rates(own, theirs),
        rates(own, plain),
        {member.measure: member.separation for member in panel.members},
        {member.measure: member.weight for member in panel.members},
        *(fmean(score.total for score in scores) for scores in (own, theirs, plain)),
    )


def rates(own: Sequence[PanelScore], others: Sequence[PanelScore]) -> dict[str, float]:
    """Share of pairs in which the own text lies nearer, a tie counting half: for each measure and the whole panel."""

    def rate(value: Callable[[PanelScore], float]) -> float:
        return fmean(
            0.5 if value(mine) == value(other) else float(value(mine) > value(other))
            for mine in own
            for other in others
        )

    by_measure = {name: rate(lambda score, name=name: score.members[name]) for name in own[0].members}
    return {PANEL: rate(lambda score: score.total), **by_measure}


def cut_to(num_words: int) -> Callable[[str], str]:
    """A function that keeps the first words of a text, with the white space between them."""

    def cut(text: str) -> str:
        ends = [match.end() for match in re.finditer(r"\S+", text)]
        return text[: ends[num_words - 1]] if len(ends) > num_words else text

    return cut


def print_tables(corpus: str, found: dict[str, list[Row]]) -> None:
    """Markdown: one row an author, then one row a measure; two columns for each length of texts."""
    lengths = " | ".join(f"beats others, {label} | beats base, {label}" for label in found)
    whole = next(iter(found.values()))
    print(f"\n#### {corpus}\n\n| author | {lengths} | own | others | base |")
    print("|---" * (2 * len(found) + 4) + "|")
    for number, row in enumerate(whole):
        cells = _cells([[rows[number]] for rows in found.values()], PANEL)
        print(f"| {row.author} | {cells} | {row.own:.2f} | {row.others:.2f} | {row.base:.2f} |")
    totals = (fmean(row.own for row in whole), fmean(row.others for row in whole), fmean(row.base for row in whole))
    print(f"| mean | {_cells(found.values(), PANEL)} | " + " | ".join(f"{total:.2f}" for total in totals) + " |")
    print(f"\n| measure | {lengths} | separation | weight |")
    print("|---" * (2 * len(found) + 3) + "|")
    for name in whole[0].separation:
        separation = fmean(row.separation[name] for row in whole)
        weight = fmean(row.weight[name] for row in whole)
        print(f"| {name} | {_cells(found.values(), name)} | {separation:.2f} | {weight:.2f} |")


def _cells(rows_of_lengths: Iterable[Sequence[Row]], name: str) -> str:
    """Mean rates against others and against the base, for each length."""
    return " | ".join(
        f"{fmean(row.beats_others[name] for row in rows):.3f} | {fmean(row.beats_base[name] for row in rows):.3f}"
        for rows in rows_of_lengths
    )


RIVALS = (
    "own text, other prompt",
    "base, other prompt",
    "greeting and sign-off",
    "a demonstration",
    "the prompt",
    "own words shuffled",
)


def task_rivals(author: Author, number: int, base: dict[str, str], cut: Callable[[str], str]) -> list[str]:
    """Texts that do not do the task of a kept-back text, one a kind of `RIVALS`."""
    text = author.held_out[number]

    def another(texts: Sequence[Demonstration]) -> Demonstration:
        """One for a prompt that asks for something else: both corpora ask the same in several forms."""
        apart = [
            other for other in texts if is_new(text.prompt, [other.prompt]) and is_new(other.prompt, [text.prompt])
        ]
        return apart[number % len(apart)]

    other, demonstration = another([*author.held_out, *author.demonstrations]), another(author.demonstrations)
    lines = [line for line in text.completion.split("\n") if line.strip()]
    ends = [line for line in (lines[0], lines[-1]) if len(line.split()) <= SHORT_LINE]
    words = cut(text.completion).split()
    Random(number).shuffle(words)
    return [
        cut(other.completion),
        cut(base[other.prompt]),
        "\n\n".join(ends) or "Hi there,\n\nbest wishes",
        cut(demonstration.completion),
        text.prompt,
        " ".join(words),
    ]


def measure_task(
    author: Author, base: dict[str, str], cut: Callable[[str], str], policy: Policy | None
) -> tuple[list[list[float]], list[list[float]]]:
    """Of each kept-back text, for each kind of rival 1 where it wins and 0 where not: by words, and by both halves."""

    def told(pairs: Sequence[tuple[str, str]]) -> list[float]:
        return [] if policy is None else told_shares(policy, pairs)

    own = [(text.prompt, cut(text.completion)) for text in author.demonstrations]
    others = [cut(base[text.prompt]) for text in author.demonstrations]
    crossed = [(prompt, others[place - 1]) for place, (prompt, _) in enumerate(own)]
    demonstrations = [Demonstration(prompt, prompt, text) for prompt, text in own]
    scale = TaskScale(demonstrations, others, own_told=told(own), others_told=told(crossed))
    by_words, by_both = [], []
    for number, text in enumerate(author.held_out):
        pairs = [(text.prompt, one) for one in (cut(text.completion), *task_rivals(author, number, base, cut))]
        by_words.append(_wins([scale.value(*pair) for pair in pairs]))
        if shares := told(pairs):
            by_both.append(_wins([scale.value(*pair, share) for pair, share in zip(pairs, shares, strict=True)]))
    return by_words, by_both


def _wins(values: Sequence[float]) -> list[float]:
    mine, *theirs = values
    return [0.5 if mine == other else float(mine > other) for other in theirs]


def print_task_table(
    corpora: dict[str, list[Author]], base: dict[str, str], num_words: int, policy: Policy | None
) -> None:
    """Markdown: one row a corpus and way, one column a kind of rival."""
    print(f"| authors | pairs a kind | judged by | {' | '.join(RIVALS)} |")
    print("|---" * (3 + len(RIVALS)) + "|")
    totals: dict[str, list[list[float]]] = {"words": [], "words and base": []}
    for corpus, authors in corpora.items():
        found: dict[str, list[list[float]]] = {name: [] for name in totals}
        for author in authors:
            for name, rows in zip(totals, measure_task(author, base, cut_to(num_words), policy), strict=True):
                found[name] += rows
        for name, rows in found.items():
            totals[name] += rows
            _print_rates(f"{corpus} ({len(authors)})", name, rows)
    for name, rows in totals.items():
        _print_rates("all", name, rows)


def _print_rates(label: str, way: str, rows: list[list[float]]) -> None:
    if not rows:
        return
    rates = " | ".join(f"{fmean(row[place] for row in rows):.3f}" for place in range(len(RIVALS)))
    print(f"| {label} | {len(rows)} | {way} | {rates} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--authors", type=Path, nargs="+", required=True, metavar="DIR", help="folders of authors")
    parser.add_argument("--base-texts", type=Path, required=True, metavar="FILE", help="JSON lines; made when missing")
    parser.add_argument("--base-tokens", type=int, default=320, help="most tokens of a text that is made")
    parser.add_argument("--words", type=int, nargs="*", default=[100], help="also with texts cut to this many words")
    parser.add_argument("--preset", default="smollm2-135m-cpu", help="which base writes")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--task", choices=("words", "both"), help="the task score, on texts cut to the first of --words"
    )
    arguments = parser.parse_args()
    corpora = {folder.name: read_authors(folder) for folder in arguments.authors}
    texts = [text for authors in corpora.values() for a in authors for text in (*a.demonstrations, *a.held_out)]
    prompts = [text.prompt for text in texts]
    base = base_texts(prompts, arguments.base_texts, arguments.preset, arguments.device, arguments.base_tokens)
    if arguments.task:
        policy = load_base(arguments.preset, arguments.device) if arguments.task == "both" else None
        print_task_table(corpora, base, arguments.words[0], policy)
        return
    lengths = {"whole": lambda text: text} | {f"{num} words": cut_to(num) for num in arguments.words}
    everybody = []
    for corpus, authors in corpora.items():
        found = {
            label: [measure(a, [other for other in authors if other is not a], base, cut) for a in authors]
            for label, cut in lengths.items()
        }
        print_tables(corpus, found)
        everybody += found["whole"]
    print(f"\nMean of all {len(everybody)} authors, whole texts: ", end="")
    print(f"{fmean(row.beats_others[PANEL] for row in everybody):.3f} beats others, ", end="")
    print(f"{fmean(row.beats_base[PANEL] for row in everybody):.3f} beats base.")


if __name__ == "__main__":
    main()
