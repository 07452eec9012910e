"""What benchmarks/authors.py compares, as data: every arm, and the tables and figures of the paper that ask for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ditto_cli.config import Settings

ZERO_SHOT, FEW_SHOT, SELF_PROMPT, SFT, CONTINUED = "zero-shot", "few-shot", "self-prompt", "sft", "sft-continued"
PAPER, DITTO, TEXTS = "paper", "ditto", "ditto, texts at hand"
BEST = "ditto, best of 8"  # of the drafts of DITTO, chosen when the table is made
MAIN = (ZERO_SHOT, FEW_SHOT, SFT, CONTINUED, PAPER, DITTO, TEXTS)

# Beside the arms' texts: what both axes are calibrated on, the style guide, and the texts of the given pairs.
OWN, BACKGROUND, GUIDE = "own", "background", "style guide"
BASE_PAIRS, SFT_PAIRS = "pairs by base", "pairs by sft"
BESIDE = (OWN, BACKGROUND, GUIDE, BASE_PAIRS, SFT_PAIRS)

DRAFTS = 8
SHOWN = 2  # of an arm's texts for a prompt these are compared; the others are drafts to choose from
MOST_TEXTS, MOST_PAIRS = 7, 100


@dataclass(frozen=True)
class Arm:
    """One contestant.

    Attributes:
        name: in the lines and tables.
        training: how far it is trained; `continued` is SFT that goes on where the rounds would be.
        changes: of the run's settings, which a function is given if they follow from these.
        num_texts: only the first so many of the author's texts are learnt from; with 0 nothing is imitated, and the
            rounds begin from the base.
        num_pairs: so many given pairs are compared, of texts by what the rounds begin from.
        shown: what it is given before the prompt: all texts, those nearest to the prompt, or a style guide.
        num: texts that it writes for a prompt.
    """

    name: str
    training: Literal["none", "sft", "continued", "rounds"] = "rounds"
    changes: Mapping[str, object] | Callable[[Settings], Mapping[str, object]] = field(default_factory=dict)
    num_texts: int | None = None
    num_pairs: int = 0
    shown: Literal["nothing", "texts", "nearest", "guide"] = "nothing"
    num: int = SHOWN

    def changes_of(self, settings: Settings) -> Mapping[str, object]:
        """What is other than in the run's `settings`."""
        return self.changes(settings) if callable(self.changes) else self.changes


def sample_at_the_start(settings: Settings) -> dict[str, object]:
    """All completions from the first policy, and as many updates as before."""
    num = settings.rounds.num
    return {
        "rounds.num": 1,
        "rounds.steps": num * settings.rounds.steps,
        "sampling.completions_per_prompt": num * settings.sampling.completions_per_prompt,
    }


# The paper's recipe with rates for the embedded base: DPO alone.
PAPER_SETTINGS = {"dpo.learning_rate": 4e-5, "dpo.sft_weight": 0.0}
PAIRS_ALONE = {"sampling.completions_per_prompt": 0, "dpo.sft_weight": 0.0}

_ROUNDS = {num: Arm(f"{num} round{'s' * (num > 1)}", changes={"rounds.num": num}) for num in (1, 2, 3, 4)}
_SAMPLES = {
    num: Arm(f"{num} sample{'s' * (num > 1)}", changes={"sampling.completions_per_prompt": num})
    for num in (1, 2, 5, 10)
}
_TEXTS = {num: Arm(f"{num} text{'s' * (num > 1)}", num_texts=num) for num in range(1, MOST_TEXTS + 1)}
_ABLATIONS = (
    Arm("sampled once", changes=sample_at_the_start),
    Arm("moving reference", changes={"rounds.reference": "previous"}),
    Arm("no replay", changes={"dpo.mixture.replay": 0.0}),
    Arm("no inter-model", changes={"dpo.mixture.inter_model": 0.0}),
)
_PAIRS = {
    (writer, num): Arm(f"{num} {writer} pairs", changes=PAIRS_ALONE, num_texts=num_texts, num_pairs=num)
    for writer, num_texts in (("base", 0), ("sft", None))
    for num in (10, 30, MOST_PAIRS)
}

ARMS = {
    arm.name: arm
    for arm in (
        Arm(ZERO_SHOT, "none"),
        Arm(FEW_SHOT, "none", shown="texts"),
        Arm(SELF_PROMPT, "none", shown="guide"),
        Arm(SFT, "sft"),
        Arm(CONTINUED, "continued"),
        Arm(PAPER, changes=PAPER_SETTINGS),
        Arm(DITTO, num=DRAFTS),
        Arm(TEXTS, shown="nearest"),
        *_ROUNDS.values(),
        *_SAMPLES.values(),
        *_TEXTS.values(),
        *_ABLATIONS,
        *_PAIRS.values(),
    )
}


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper, or one panel of a figure of it.

    Attributes:
        title: with its number in arXiv 2406.00888.
        arms: its rows.
        baseline: the arm that is taken from each other one.
        axis: what the figure has from left to right; "" for a table.
        lines: of the figure, by name: place on the axis -> arm.
        published: what the paper's first version (Tables 2 and 3, sections 5.1 and 5.2) gives for an arm: win rates in
            the tables, and in Figure 2 how much they rise from the first arm. Its judges: GPT-4; in Table 2 people.
    """

    title: str
    arms: tuple[str, ...]
    baseline: str
    axis: str = ""
    lines: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    published: Mapping[str, str] = field(default_factory=dict)


def _panel(title: str, axis: str, arms: Mapping[int, Arm], published: Mapping[int, str]) -> PaperTable:
    names = {place: arm.name for place, arm in arms.items()}
    first, *_ = names.values()
    by_arm = {names[place]: rise for place, rise in published.items()}
    return PaperTable(title, tuple(names.values()), first, axis, {DITTO: names}, by_arm)


def _names(start: str, writer: str) -> dict[int, str]:
    return {0: start} | {num: arm.name for (who, num), arm in _PAIRS.items() if who == writer}


_BY_BASE, _BY_SFT = _names(ZERO_SHOT, "base"), _names(SFT, "sft")

FIGURES = {
    "figure-2": (
        _panel("Figure 2, left: rounds", "rounds", _ROUNDS, {1: "0 %", 2: "-3.4 %", 4: "+31.5 %"}),
        _panel(
            "Figure 2, middle: completions",
            "completions of a prompt in a round",
            _SAMPLES,
            {2: "0 %", 10: "+21.09 %"},
        ),
        _panel(
            "Figure 2, right: demonstrations",
            "demonstrations",
            _TEXTS,
            {1: "0 %", 2: "+5 %", 3: "+11.9 %", 7: "+15.39 %"},
        ),
    ),
    "figure-3": (
        PaperTable(
            "Figure 3: demonstrations against pairs",
            (*_BY_BASE.values(), *_BY_SFT.values(), DITTO),
            DITTO,
            "given pairs",
            {"pairs by base": _BY_BASE, "pairs by sft": _BY_SFT, "ditto, no pairs": dict.fromkeys(_BY_BASE, DITTO)},
        ),
    ),
}
TABLES = (
    *FIGURES["figure-2"],
    PaperTable(
        "Table 2: prompts against training",
        (ZERO_SHOT, FEW_SHOT, SELF_PROMPT, SFT, DITTO),
        DITTO,
        published={ZERO_SHOT: "25.0", FEW_SHOT: "48.1", SELF_PROMPT: "44.2", SFT: "60.1", DITTO: "72.1"},
    ),
    PaperTable(
        "Table 3: ablations",
        (*(arm.name for arm in _ABLATIONS), DITTO),
        DITTO,
        published={
            "sampled once": "57.3",
            "moving reference": "45.8",
            "no replay": "63.6",
            "no inter-model": "68.1",
            DITTO: "70.1",
        },
    ),
    *FIGURES["figure-3"],
)
