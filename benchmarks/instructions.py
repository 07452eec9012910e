"""How good reverse instructions are: what the base writes for texts whose real prompts are known.

    python benchmarks/instructions.py CORPORA/cmcc CORPORA/ccat50
    python benchmarks/instructions.py examples/demos --base mistralai/Mistral-7B-Instruct-v0.2

A corpus holds a folder for an author: with `train.jsonl` (a prompt and a completion a line), of which one text of each
of the first ten authors is taken by a fixed rule; or with demonstrations that have prompts, of which all are taken.
What is printed is Markdown: every instruction beside the real prompt, how many the model wrote, and how near they come.
Nothing of the texts is printed but the first three words of what the plain form quotes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from ditto_cli.config import BaseSettings
from ditto_cli.demonstrations import read_folder
from ditto_cli.demonstrations.prompts import form_of, instruction_problem, plain_instruction
from ditto_cli.evaluation.similarity import chrf
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.hardware import detect
from ditto_cli.model.instructions import Instruction, best_of, propose
from ditto_cli.model.policy.policy import Policy
from ditto_cli.store import cache_home
from ditto_cli.types import SourceText

NUM_EACH = 10
QUOTED_WORDS = 3
BEGINNING_WORDS = 8


@dataclass(frozen=True)
class Row:
    """A text's real prompt, what was written for it, and the plain form that would have been taken else."""

    corpus: str
    real: str
    others: tuple[str, ...]
    plain: str
    written: Instruction
    first: Instruction


def read_texts(corpus: Path) -> list[tuple[SourceText, str]]:
    """Texts and their real prompts; of authors with many, the first one's first text, the second one's second ..."""
    texts = []
    authors = sorted(path for path in corpus.iterdir() if path.is_dir())
    for number, author in enumerate(path for path in authors if (path / "train.jsonl").exists()):
        lines = (author / "train.jsonl").read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[number % len(lines)])
        texts.append((SourceText(f"{corpus.name}/{author.name}", row["completion"], None), row["prompt"]))
    if texts:
        return texts[:NUM_EACH]
    for author in authors:
        texts += [
            (replace(text, id=f"{author.name}/{text.id}"), text.prompt or "") for text in read_folder(author).texts
        ]
    return texts


def substance(prompt: str) -> str:
    """What a prompt is about, without the words that all of its kind share."""
    if (quoted := re.search(r'"(.*)"', prompt)) and prompt.startswith("Write a"):
        return quoted[1]
    if email := re.match(r"Write a short email to (?:[A-Z]\w*\.? ?)+", prompt):  # the example personas
        return prompt[email.end() :]
    for mark in (": ", " about "):
        if mark in prompt:
            return prompt.split(mark, 1)[1]
    return prompt


def overlap(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean F1, 0 to 100, of the words of four letters or more that two prompts share."""

    def score(one: str, two: str) -> float:
        words, others = (set(re.findall(r"[^\W\d_]{4,}", text.casefold())) for text in (one, two))
        return 200 * len(words & others) / max(1, len(words) + len(others))

    return fmean(score(*pair) for pair in pairs)


def write_rows(policy: Policy, corpora: Sequence[Path]) -> tuple[list[Row], Counter[str]]:
    """Let the base write, by the product's own steps, and count why proposals were refused."""
    named = [(path.name, *pair) for path in corpora for pair in read_texts(path)]
    texts = [text for _, text, _ in named]
    forms = [form_of(text.text) for text in texts]
    refused: Counter[str] = Counter()
    rows = []
    for number, (proposed, form, text) in enumerate(zip(propose(policy, texts, forms), forms, texts, strict=True)):
        problems = {item: instruction_problem(item, text.text, form) for item in proposed}
        refused.update(problem or "none" for problem in problems.values())
        usable = [item for item, problem in problems.items() if problem is None]
        with policy.using(None):
            best = best_of(policy, usable, text.text, form)
        plain = plain_instruction(text.text, form)
        first = usable[0] if usable else None
        corpus, _, real = named[number]
        others = {prompt for name, _, prompt in named if name == corpus and substance(prompt) != substance(real)}
        rows.append(
            Row(
                corpus,
                real,
                tuple(sorted(others)),
                plain,
                Instruction(text.id, best or plain, by_model=best is not None),
                Instruction(text.id, first or plain, by_model=first is not None),
            )
        )
    return rows, refused


def shortened(prompt: str) -> str:
    """A prompt whose quotation of the text is cut."""
    return re.sub(r'"(.*)"', lambda quoted: f'"{" ".join(quoted[1].split()[:QUOTED_WORDS])} ..."', prompt)


def cut_beginning(prompt: str) -> str:
    """A prompt without most of the sentence of an article with which it wants a text to start."""
    begun, mark, quoted = prompt.partition("starts with the following: ")
    return f"{begun}{mark}{' '.join(quoted.split()[:BEGINNING_WORDS])} ..." if mark else prompt


def show(rows: Sequence[Row], refused: Counter[str], seconds: float) -> None:
    """The table of all, and the summary."""
    print("| text | real prompt | written | by |\n|---|---|---|---|")
    for row in rows:
        prompt = row.written.prompt if row.written.by_model else shortened(row.plain)
        cells = (
            row.written.text_id,
            cut_beginning(row.real),
            prompt,
            "the base" if row.written.by_model else "plain form",
        )
        print("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    print("\n| corpus | by the base | measure | chosen | first usable | plain form | prompts of others |")
    print("|---|---|---|---|---|---|---|")
    for corpus in dict.fromkeys(row.corpus for row in rows):
        of_corpus = [row for row in rows if row.corpus == corpus]
        by_model = [row for row in of_corpus if row.written.by_model]
        if not by_model:
            print(f"| {corpus} | 0 of {len(of_corpus)} | | | | | |")
            continue
        for name, measure in (("chrF", chrf), ("shared words", overlap)):
            columns = (
                [(row.written.prompt, row.real) for row in by_model],
                [(row.first.prompt, row.real) for row in by_model],
                [(row.plain, row.real) for row in by_model],
                [(other, row.real) for row in by_model for other in row.others],
            )
            figures = [measure([(substance(text), substance(real)) for text, real in column]) for column in columns]
            share = f"{len(by_model)} of {len(of_corpus)}"
            print(f"| {corpus} | {share} | {name} | " + " | ".join(f"{figure:.1f}" for figure in figures) + " |")
    reasons = ", ".join(f"{reason} {count}" for reason, count in refused.most_common() if reason != "none")
    print(f"\n{sum(refused.values())} proposals, {refused['none']} usable; refused: {reasons}. {seconds:.0f} s.")


def main() -> None:
    """Load the base, let it write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    parser.add_argument("--base", default="embedded")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    policy = load_policy(
        BaseSettings(id=arguments.base),
        detect(arguments.device),
        cache_home(os.environ),
        lambda line: print(line, file=sys.stderr),
    )
    started = time.monotonic()
    rows, refused = write_rows(policy, arguments.corpora)
    show(rows, refused, time.monotonic() - started)


if __name__ == "__main__":
    main()
