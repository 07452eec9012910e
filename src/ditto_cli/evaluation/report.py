"""What an evaluation found, as one checked document: `--json` prints it, the HTML page and the tables show it.

It holds texts that models wrote and the author's held-out texts, so it is as private as the demonstrations.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ditto_cli.evaluation.judgements import PromptSource
from ditto_cli.types import SFT_STAGE

REPORT_FILE, REPORT_DATA_FILE = "report.html", "report.json"  # of an adapter, in its evaluation folder
POOL = "pool"  # opponent: all other contestants together, the paper's "win rate"
TOTAL = "total"  # measure: the weighted mean of the style panel

Share = Annotated[float, Field(ge=0.0, le=1.0)]
ContestantKind = Literal["base", "few-shot", "sft", "round", "texts", "adapter"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WinRate(_Part):
    """How often one contestant was preferred over another; a tie counts half.

    `low` and `high` bound the 95 % interval of a bootstrap over prompts.
    """

    contestant: str
    opponent: str
    rate: Share
    low: Share
    high: Share
    wins: int
    ties: int
    losses: int
    unanswered: int = 0
    num_prompts: int

    @property
    def num_judgements(self) -> int:
        """Judgements that count."""
        return self.wins + self.ties + self.losses


class Collapse(_Part):
    """Whether a contestant still writes texts: shares and ratios over all its writings."""

    ended: Share = Field(description="share of writings that ended by themselves")
    looping: Share = Field(description="share of writings that mostly repeat themselves (soundness.REPETITION_LIMIT)")
    length_ratio: float = Field(description="mean words of a writing, over the mean of the demonstrations")


class Leakage(_Part):
    """What a contestant recites of the demonstrations."""

    longest_passage_words: int = Field(description="longest run of words that a writing shares with a demonstration")
    shared_8grams: Share = Field(description="share of the writings' 8-grams of words that a demonstration has")
    held_out_8grams: Share | None = Field(description="the same for the author's own held-out texts; None without them")
    extracted_words: int | None = Field(
        description="longest run of words it continues a demonstration with when given the first quarter; None: not run"
    )
    personal_data: list[str] = Field(description="kinds of personal data of the demonstrations found in writings")


class StylePoint(_Part):
    """Where pooled writings lie on one measure of the style panel: 0 is like others, 1 is like the author."""

    measure: str
    value: float


def stage_kind(stage: str) -> ContestantKind:
    """What a stage is as a contestant."""
    return "sft" if stage == SFT_STAGE else "round"


def style_of(points: list[StylePoint], measure: str = TOTAL) -> float:
    """The value of a measure."""
    return next(point.value for point in points if point.measure == measure)


class Task(_Part):
    """How much of what was asked a contestant's texts say: 0 like texts for other prompts, 1 like the author's own.

    `behind_base` is the mean by which it lies below the base on the same prompts, with the bounds of the 95 % interval
    of a bootstrap over prompts; None for the base, and where the base did not compete.
    """

    value: float
    behind_base: tuple[float, float, float] | None = None

    @property
    def is_below_base(self) -> bool:
        """Whether it says less of what was asked than the base does, beyond the noise."""
        return self.behind_base is not None and self.behind_base[1] > 0


class ContestantReport(_Part):
    """All figures of one contestant; what cannot be measured for it is None."""

    title: str
    kind: ContestantKind
    task: Task
    style: list[StylePoint]
    collapse: Collapse
    leakage: Leakage
    held_out_loss: float | None = Field(description="log-loss per token of the author's held-out texts, nats")
    chrf: float | None = Field(description="chrF against the author's held-out texts, 0 to 100")
    warnings: list[str]


class SampleRow(_Part):
    """One prompt's texts side by side: the first writing of each contestant, and the author's own if there is one."""

    prompt: str
    source: PromptSource
    author_text: str | None
    texts: dict[str, str]


class PanelMember(_Part):
    """A measure of the style panel and how well it tells this author's own texts from others'.

    `separation` is the share of (own, other) pairs in which the own text lies nearer, 0.5 is chance; `weight` is its
    share of the panel.
    """

    measure: str
    separation: Share
    weight: Share


class Verdict(_Part):
    """The answer: what to do, the figures that it rests on (at most two lines), and what to use from now on."""

    advice: str
    figures: list[str]
    keep: str = Field(description="title of the contestant to use")

    @property
    def lines(self) -> list[str]:
        """All of it, a line each."""
        return [self.advice, *self.figures]


class WhatWasRun(_Part):
    """What the figures were made with."""

    ditto: str
    base: str
    quantize: str
    device: str
    judge: str
    judge_sees_texts_elsewhere: bool = Field(description="True when texts were sent to a server that was named")
    seed: int
    temperature: float
    num_prompts: int
    num_samples: int = Field(description="writings of each contestant for a prompt")
    max_new_tokens: int
    num_demonstrations: int
    num_held_out: int
    seconds: float


class EvalReport(_Part):
    """An evaluation of one adapter; of its contestants this one is the first."""

    schema_version: Literal[2] = 2
    adapter: str
    created: str
    verdict: Verdict
    participants: list[str] = Field(description="names of the other adapters that competed")
    contestants: list[ContestantReport]
    win_rates: list[WinRate] = Field(description="pair by pair, the evaluated adapter first")
    pool_rates: list[WinRate] = Field(description="each contestant against all others, as in the paper's tables")
    author_style: list[StylePoint] = Field(description="the author's own texts, each measured against the others")
    author_task: float = Field(description="of the demonstrations for their own prompts")
    panel: list[PanelMember]
    samples: list[SampleRow]
    warnings: list[str]
    run: WhatWasRun

    @property
    def evaluated(self) -> ContestantReport:
        """The evaluated adapter."""
        return self.contestants[0]
