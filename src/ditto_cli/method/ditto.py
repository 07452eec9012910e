"""DITTO (Shaikh et al., arXiv 2406.00888, Algorithm 1), as one loop that yields what happened.

Knows neither disk nor user: `run.py` keeps, shows and publishes what is yielded, and can begin the loop anywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ditto_cli.config import Settings
from ditto_cli.interrupts import deferred
from ditto_cli.method.comparisons import History, draw_comparisons
from ditto_cli.method.sft import imitate
from ditto_cli.method.updates import POLICY, Updater, freeze_reference, move_reference, score_under_reference
from ditto_cli.model.base.template import Texts
from ditto_cli.model.policy.memory import free_memory
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.types import SFT_STAGE, Completion, Reporter, SampledTokens, SampleRequest, StepMetrics, round_stage


@dataclass
class Place:
    """Where the loop stands: all that its next step depends on, beside the two adapters' weights.

    Attributes:
        history: demonstrations and samples; None before the reference was frozen.
        updater: the optimizer of all rounds.
    """

    history: History | None = None
    updater: Updater | None = None
    round: int = 0
    steps: list[StepMetrics] = field(default_factory=list)

    @property
    def is_sampled(self) -> bool:
        """Whether the round in progress has its samples."""
        return self.history is not None and len(self.history.rounds) > self.round


@dataclass(frozen=True)
class StageEnded:
    """SFT, or a round, is finished; POLICY has its weights."""

    stage: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Sampled:
    """What the newest stage wrote for the requests that were made beside the method's own."""

    beside: Sequence[SampledTokens]


def ditto(
    policy: Policy, texts: Texts, settings: Settings, beside: Sequence[SampleRequest], place: Place, reporter: Reporter
) -> Iterator[StageEnded | Sampled | StepMetrics]:
    """Imitate the demonstrations, freeze the reference, then sample, compare and update in rounds.

    The adapter POLICY is trained; where the loop goes on, it and REFERENCE are there already. `place` is where to
    begin, and moves with the loop. `beside` is what each stage is to write besides, in the same batch: the policy is
    the same, and alone it takes long.
    """
    num_rounds, num_steps, max_tokens = settings.rounds.num, settings.rounds.steps, settings.dpo.micro_batch_tokens
    prompts = {**texts.prompts, **{name: prompt_ids for name, (prompt_ids, *_) in texts.pairs.items()}}
    if POLICY not in policy.adapters:
        policy.add_adapter(POLICY, settings.lora, derive_seed(settings.seed, "lora"))
        losses = imitate(policy, texts, settings, reporter)
        yield StageEnded(SFT_STAGE, {"loss": losses[-1], "steps": float(len(losses))})

    if place.history is None and num_rounds > 0:
        freeze_reference(policy)
        place.updater = Updater(policy, settings.dpo, settings.rounds, seed=settings.seed)
        own = score_under_reference(policy, texts.unscored(), prompts, max_tokens=max_tokens)
        place.history = History.of(own, len(texts.completions))  # last: it says that the rounds have begun

    while place.round < num_rounds:
        assert place.history is not None
        assert place.updater is not None
        title = f"round {place.round + 1}"

        if not place.is_sampled:
            if place.round > 0 and settings.rounds.reference == "previous":
                place.history = move_reference(policy, place.history, prompts, max_tokens)
            wanted = round_requests(texts, settings, place.round)
            written = write(policy, [*beside, *wanted.values()], settings, reporter, stage=stage_of(place.round))
            samples = [
                Completion(name, place.round, index, one.token_ids, one.ended, one.logp)
                for (name, index), one in zip(wanted, written[len(beside) :], strict=True)
            ]
            # Where the policy is the reference, and all is fp32, what a sample was drawn with is its score.
            is_reference = place.round == 0 or settings.rounds.reference == "previous"
            if samples and not (is_reference and policy.is_exact):
                reporter.begin_work(f"{title}: scoring", len(samples), "samples")
                samples = score_under_reference(
                    policy,
                    samples,
                    texts.prompts,
                    max_tokens=max_tokens,
                    on_finished=lambda done: reporter.advance_work(done, {}),
                )
                reporter.end_work()
            place.history.add_round(samples)
            yield Sampled(written[: len(beside)])

        free_memory()
        reporter.begin_work(f"{title}: DPO", num_steps, "updates")
        while (step := len(place.steps)) < num_steps:
            comparisons = draw_comparisons(
                place.history, settings.dpo, seed=settings.seed, step=place.round * num_steps + step
            )
            with deferred():  # an interrupt waits until the update is whole
                metrics = place.updater.update(comparisons, prompts, round_number=place.round, step=step)
                place.steps.append(metrics)
            number = place.round * num_steps + step + 1  # through all rounds
            reporter.advance_work(step + 1, {**metrics.values, "step": float(number)})
            yield metrics
        reporter.end_work()
        free_memory()

        yield StageEnded(round_stage(place.round + 1), summarise(place))
        place.round, place.steps = place.round + 1, []

    yield Sampled(write(policy, beside, settings, reporter, stage=stage_of(num_rounds)))


def stage_of(number: int) -> str:
    """The stage that round `number` (0, 1, ...) samples from."""
    return SFT_STAGE if number == 0 else round_stage(number)


def round_requests(texts: Texts, settings: Settings, number: int) -> dict[tuple[str, int], SampleRequest]:
    """M completions of each demonstration's prompt (the paper's D_t), by demonstration and index."""
    return {
        (name, index): SampleRequest(
            prompt_ids, derive_seed(settings.seed, "sample", number, name, index), texts.max_new_tokens
        )
        for name, prompt_ids in texts.prompts.items()
        for index in range(settings.sampling.completions_per_prompt)
    }


def write(
    policy: Policy, requests: Sequence[SampleRequest], settings: Settings, reporter: Reporter, *, stage: str
) -> list[SampledTokens]:
    """What the active policy writes for the requests, each with a length limit of its own, in one batch."""
    if not requests:
        return []
    reporter.begin_work(f"{stage}: writing", len(requests), "samples")
    sampled = sample(
        policy,
        requests,
        max_new_tokens=max(request.max_new_tokens or 0 for request in requests),
        temperature=settings.sampling.temperature,
        max_slots=settings.sampling.max_slots,
        on_finished=lambda done: reporter.advance_work(done, {}),
    )
    reporter.end_work()
    return sampled


def summarise(place: Place) -> dict[str, float]:
    """A finished round's figures: its last update, its comparisons by kind, and how its samples ended."""
    assert place.history is not None
    samples = [one for own in place.history.rounds[place.round].values() for one in own]
    kinds = sum((Counter(step.kinds) for step in place.steps), Counter())
    return {
        **place.steps[-1].values,
        **{f"comparisons/{kind}": float(count) for kind, count in kinds.items()},
        **({"samples/ended": sum(one.ended for one in samples) / len(samples)} if samples else {}),
        "samples/tokens": float(sum(len(one.token_ids) for one in samples)),
    }
