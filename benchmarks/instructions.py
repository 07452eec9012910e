"""How near the prompts that ditto finds come to the real ones, for texts whose prompts are known.

    python benchmarks/instructions.py CORPORA/cmcc CORPORA/ccat50 examples/demos
    python benchmarks/instructions.py examples/demos --base Qwen/Qwen3-8B

A corpus holds a folder for an author: with `train.jsonl` (a prompt and a completion a line), of which one text each of
ten authors is taken by a fixed rule; or with demonstrations that have prompts, of which all are taken. The plain form
needs no model; with --base that base is asked too, whatever its size. Nothing of the texts is printed, but with --base
what it wrote.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from ditto_cli.config import BaseSettings
from ditto_cli.demonstrations.folder import read_folder, read_held_out
from ditto_cli.demonstrations.prompts import plain_instruction
from ditto_cli.evaluation.evaluate import chrf
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.hardware import detect
from ditto_cli.model.instructions import write_instructions
from ditto_cli.store import cache_home
from ditto_cli.types import SourceText

NUM_EACH = 10


def read_texts(corpus: Path) -> list[tuple[SourceText, str]]:
    """Texts and their real prompts; of authors with many, the first one's first text, the second one's second ..."""
    authors = sorted(path for path in corpus.iterdir() if path.is_dir())
    pairs = []
    for number, author in enumerate(path for path in authors if (path / "train.jsonl").exists()):
        lines = (author / "train.jsonl").read_text(encoding="utf-8").splitlines()
        row = json.loads(lines[number % len(lines)])
        pairs.append((SourceText(f"{corpus.name}/{author.name}", row["completion"], None), row["prompt"]))
    if pairs:
        return pairs[:NUM_EACH]
    texts = [text for author in authors for read in (read_folder, read_held_out) for text in read(author).texts]
    return [(text, text.prompt or "") for text in texts]


def substance(prompt: str) -> str:
    """What a prompt is about, without the words that all of its kind share."""
    if (quoted := re.search(r'"(.*)"', prompt)) and prompt.startswith("Write a"):
        return quoted[1]
    if email := re.match(r"Write a short email to (?:[A-Z]\w*\.? ?)+", prompt):  # the example personas
        return prompt[email.end() :]
    return next((prompt.split(mark, 1)[1] for mark in (": ", " about ") if mark in prompt), prompt)


def shared_words(pairs: Sequence[tuple[str, str]]) -> float:
    """Mean F1, 0 to 100, of the words of four letters or more that two prompts share."""
    found = [[set(re.findall(r"[^\W\d_]{4,}", text.casefold())) for text in pair] for pair in pairs]
    return fmean(200 * len(one & two) / max(1, len(one) + len(two)) for one, two in found)


def main() -> None:
    """Print a table of all corpora, as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpora", type=Path, nargs="+", metavar="CORPUS")
    parser.add_argument("--base")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    policy = None
    if arguments.base:
        base, cache = BaseSettings(id=arguments.base), cache_home(os.environ)
        policy = load_policy(base, detect(arguments.device), cache)
    print("| corpus | texts | prompts | chrF | shared words |\n|---|---|---|---|---|")
    for corpus in arguments.corpora:
        texts, real = zip(*read_texts(corpus), strict=True)
        ways = {"plain form": [(plain_instruction(text), own) for text, own in zip(texts, real, strict=True)]}
        if policy is not None:
            written = write_instructions(policy, texts)
            ways[arguments.base] = [(said, own) for said, own in zip(written, real, strict=True) if said is not None]
            for text, said in zip(texts, written, strict=True):
                print(f"{text.id}: {said}", file=sys.stderr)
        ways["those of others"] = [(one, two) for one in real for two in real if substance(one) != substance(two)]
        for name, prompts in ways.items():
            if pairs := [(substance(one), substance(two)) for one, two in prompts]:
                num = f"{len(pairs)} of {len(texts)}" if name == arguments.base else str(len(texts))
                print(f"| {corpus.name} | {num} | {name} | {chrf(pairs):.1f} | {shared_words(pairs):.1f} |")


if __name__ == "__main__":
    main()
