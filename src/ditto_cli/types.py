"""The words that every room shares, as frozen dataclasses and one Protocol. No torch, no files.

A run is a flow of these: `SourceText` -> `Demonstration` -> `Completion` -> `Comparison` -> `StepMetrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

SFT_STAGE = "sft"  # round 0: the reference policy


def round_stage(number: int) -> str:
    """Name of the stage that ends DITTO round `number` (1, 2, ...), as `--round` takes it and the store files it."""
    return f"round{number}"


@dataclass(frozen=True)
class Mail:
    """What an email says of itself; the choice among many and the audit go by it. Addresses are in lower case.

    Attributes:
        form: whether it begins a conversation, answers or passes on.
        subject: without "Re:" and the like; "" if there is none.
        in_reply_to: the Message-ID that it answers, if any.
        original: the text of the mail that it answers, as far as it is known; "" if not.
        not_written: why it is not the person's own writing ("an out-of-office notice"); None if it is.
        is_sent: whether the archive itself says that its owner sent it (a label or flag); None if it says nothing.
        recipient_name: how a letter to its only recipient calls them; "" if not known.
    """

    sender: str | None = None
    recipients: tuple[str, ...] = ()
    form: Literal["new", "reply", "forward"] = "new"
    subject: str = ""
    message_id: str | None = None
    in_reply_to: str | None = None
    original: str = ""
    not_written: str | None = None
    is_sent: bool | None = None
    recipient_name: str = ""


@dataclass(frozen=True)
class SourceText:
    """One usable text of a person, before a prompt was found for it.

    `id` names it for the user and in ditto.yaml: the file's name, with `#2` for the second text of a file. `mail` is
    None for what is no email. `authors` are the names under which its file knows who wrote it (a display name first,
    then user names, ids, addresses); empty where the file names nobody. `prompt_key` is the hash by which prompts.yaml
    knows a text that was redacted since; "" where the text gives it.
    """

    id: str
    text: str
    prompt: str | None
    mail: Mail | None = None
    authors: tuple[str, ...] = ()
    prompt_key: str = field(default="", compare=False)


@dataclass(frozen=True)
class Skipped:
    """A file, a part of one or a folder that gave no text, and the reason in a few words."""

    name: str
    reason: str


@dataclass(frozen=True)
class People(Skipped):
    """The list of an archive's people: the names of each, the one that never changes last."""

    names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Preference:
    """Of two texts for one prompt the one that the person preferred, by an edit or a pick. `id` names it for the user.

    `chosen` may be hers, or a model's that she liked better than `rejected`.
    """

    id: str
    prompt: str
    chosen: str
    rejected: str


@dataclass(frozen=True)
class Reading:
    """What a file, or a whole folder, held."""

    texts: tuple[SourceText, ...]
    skipped: tuple[Skipped, ...] = ()
    pairs: tuple[Preference, ...] = ()


# (name for the user, the file's bytes) -> what is in it. Raises InputError with the name where nothing can be read.
Reader = Callable[[str, bytes], Reading]


@dataclass(frozen=True)
class Demonstration:
    """A prompt and the person's own text that answers it. Identity is `id`; several may share one prompt."""

    id: str
    prompt: str
    completion: str


@dataclass(frozen=True)
class SampleRequest:
    """One completion wanted: the prompt's token ids, the seed of its draws, and where given limits of its own.

    `max_new_tokens` is the most that it may have; at `temperature` 0 nothing is drawn.
    """

    prompt_ids: tuple[int, ...]
    seed: int
    max_new_tokens: int | None = None
    temperature: float | None = None


@dataclass(frozen=True)
class SampledTokens:
    """Token ids of a completion, with the end token when `ended`; else the length limit cut it.

    `logp` is their summed log-probability under the policy, in nats, whatever temperature they were drawn at; the same
    tokens are the same completion, however it was rounded.
    """

    token_ids: tuple[int, ...]
    ended: bool
    logp: float = field(compare=False)


@dataclass(frozen=True)
class Completion:
    """Token ids that follow the prompt of one demonstration, or of one given pair.

    `round` is None for the demonstration's own text and for both sides of a pair, else the round (0, 1, ...) whose
    policy sampled it. `token_ids`
    are exactly those that were sampled (never decoded and encoded again) and hold the end token when `ended`.
    `reference_logp` is the summed log-probability of `token_ids` under the frozen SFT policy, in nats.
    """

    demonstration_id: str
    round: int | None
    index: int
    token_ids: tuple[int, ...]
    ended: bool
    reference_logp: float


class ComparisonKind(StrEnum):
    """Where the two sides of a comparison come from (paper, section 3.2)."""

    ONLINE = "online"  # demonstration over a completion of this round
    REPLAY = "replay"  # demonstration over a completion of an earlier round
    INTER_MODEL = "inter_model"  # completion of a later round over one of an earlier round
    GIVEN = "given"  # what the person preferred over what she did not (not in the paper)


@dataclass(frozen=True)
class Comparison:
    """For one demonstration's prompt, `chosen` is preferred over `rejected`."""

    kind: ComparisonKind
    chosen: Completion
    rejected: Completion

    def __post_init__(self) -> None:
        assert self.chosen.demonstration_id == self.rejected.demonstration_id, "a comparison never crosses prompts"


@dataclass(frozen=True)
class StepMetrics:
    """One DPO update: TRL's metric names in `values`, and how many comparisons of each kind it used."""

    round: int
    step: int
    values: Mapping[str, float]
    kinds: Mapping[ComparisonKind, int]


@dataclass(frozen=True)
class WatchedSample:
    """What the policy wrote for the held prompt when `stage` ended; `ended` tells if it stopped by itself."""

    stage: str
    prompt: str
    text: str
    ended: bool


@dataclass(frozen=True)
class StageFigures:
    """What a stage's own writings showed.

    Attributes:
        metrics: figures for the record.
        warnings: in a line each, what is wrong with the writings.
        values: how near each writing is to the author's style; what the choice between stages rests on.
    """

    metrics: Mapping[str, float]
    warnings: tuple[str, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class StageChoice:
    """The stage to publish, and why, in one line."""

    stage: str
    reason: str


class StageSelector(Protocol):
    """Whoever chooses the stage that a run publishes. Training knows no measure of style; it asks a selector."""

    def base_requests(self) -> Sequence[SampleRequest]:
        """What it wants of the base, once, before any look; one at least, each with a limit of its own."""

    def see_base(self, sampled: Sequence[SampledTokens]) -> None:
        """What the base wrote for these."""

    def requests(self) -> Sequence[SampleRequest]:
        """What it wants of each stage, the same of all; one at least, each with a limit of its own."""

    def look(self, stage: str, sampled: Sequence[SampledTokens]) -> StageFigures:
        """Measure what the policy wrote for these at the end of `stage`."""

    def choose(self, looks: Mapping[str, StageFigures]) -> StageChoice:
        """One of the stages that were looked at, in this process or in one before; in the order in which they ended."""


class Reporter(Protocol):
    """Whoever shows a run to the user. The rooms that work never print; what else is to be known they log."""

    def begin_work(self, title: str, total: int, unit: str) -> None:
        """Something of `total` units begins; `title` is shown as it is."""

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """`completed` units of it are done; `metrics` are its newest figures.

        Of an update of the rounds they have its number through all rounds, as `step`.
        """

    def end_work(self) -> None:
        """It is done."""

    def show_sample(self, sample: WatchedSample) -> None:
        """The policy's text for the held prompt, so that the change can be watched."""


class SilentReporter:
    """A `Reporter` that shows nothing, for tests, benchmarks and callers without a user."""

    def begin_work(self, title: str, total: int, unit: str) -> None:
        """Show nothing."""

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """Show nothing."""

    def end_work(self) -> None:
        """Show nothing."""

    def show_sample(self, sample: WatchedSample) -> None:
        """Show nothing."""
