"""The whole of DITTO (arXiv 2406.00888, Algorithm 1) as one story: demonstrations -> a published adapter."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from ditto_cli import __version__
from ditto_cli.config import Settings
from ditto_cli.errors import InterruptedRun
from ditto_cli.method.rounds import (
    POLICY,
    REFERENCE,
    Encoded,
    encode_demonstrations,
    run_rounds,
    summarise_round,
)
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.model.policy import Policy
from ditto_cli.model.sampling import SampleRequest, sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, AdapterStore, StagedGeneration, StageRecord, keyed_hash
from ditto_cli.types import (
    SFT_STAGE,
    Demonstration,
    Reporter,
    StageChoice,
    StageSelector,
    WatchedSample,
    round_stage,
)

BASE_STAGE = "base"
# A round whose samples mostly run to the length limit has lost its end token; measured in docs/embedded-preset.md.
_FEW_ENDED = 0.5
_LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes")


@dataclass(frozen=True)
class Job:
    """What to train: whose texts, under which name, with which settings, and the prompt whose samples are shown.

    `folder` is where the texts lie; it is only remembered.
    """

    name: str
    demonstrations: tuple[Demonstration, ...]
    settings: Settings
    watch_prompt: str
    folder: str | None = None


@dataclass
class _Run:
    """What one run gathers for its record."""

    policy: Policy
    job: Job
    encoded: Encoded
    store: AdapterStore
    staged: StagedGeneration
    reporter: Reporter
    selector: StageSelector | None
    started: float = field(default_factory=time.monotonic)
    stage_started: float = field(default_factory=time.monotonic)
    base_sample: str = ""
    stages: list[StageRecord] = field(default_factory=list)


def train_ditto(
    policy: Policy, job: Job, store: AdapterStore, reporter: Reporter, selector: StageSelector | None = None
) -> AdapterRecord:
    """SFT, then rounds of sample, score, compare and update against the frozen SFT policy; then publish.

    Every stage is kept in the store as soon as it is finished; `selector` says which one is published, without it the
    last. On Ctrl-C what is finished is published; an adapter of that name from before is left alone, and the
    unfinished one gets the name with `-partial` behind.

    Raises:
        InputError: a demonstration does not fit the base's context.
        InterruptedRun: the user pressed Ctrl-C.
        NonFiniteError: the numbers broke down; nothing is published.
    """
    encoded = encode_demonstrations(
        policy.chat, job.demonstrations, job.settings.sampling, context_tokens=policy.context_tokens
    )
    with store.begin(job.name) as staged:
        run = _Run(policy, job, encoded, store, staged, reporter, selector)
        try:
            _watch_base(run)
            _imitate_demonstrations(run)
            _ditto_rounds(run)
            return _publish(run, job.name, _choose(run), finished=True)
        except KeyboardInterrupt:
            raise _keep_finished(run) from None
        finally:
            _forget_adapters(policy)


def _watch_base(run: _Run) -> None:
    run.policy.switch(None)
    run.base_sample = _watch(run, BASE_STAGE).text


def _imitate_demonstrations(run: _Run) -> None:
    settings = run.job.settings
    run.policy.add_adapter(POLICY, settings.lora, derive_seed(settings.seed, "lora"))
    examples = [Imitation(run.encoded.prompts[name], ids) for name, ids in run.encoded.completions.items()]
    run.reporter.stage_started("SFT", settings.sft.max_steps, "updates")
    losses = imitate(
        run.policy,
        examples,
        settings.sft,
        seed=settings.seed,
        on_step=lambda step, loss: run.reporter.stage_advanced(step, {"loss": loss}),
    )
    run.reporter.stage_ended()
    _finish_stage(run, SFT_STAGE, {"loss": losses[-1], "steps": float(len(losses))})


def _ditto_rounds(run: _Run) -> None:
    for finished in run_rounds(run.policy, run.encoded, run.job.settings, run.reporter):
        _finish_stage(run, round_stage(finished.number + 1), summarise_round(finished.samples, finished.steps))
        _warn_of_collapse(run, finished.number, [completion.ended for completion in finished.samples])


def _warn_of_collapse(run: _Run, number: int, ended: Sequence[bool]) -> None:
    share = sum(ended) / len(ended)
    if share < _FEW_ENDED:
        run.reporter.noted(
            f"Only {share:.0%} of the samples of round {number + 1} ended by themselves: the policy may be losing its "
            "end token. Look at the earlier stages with `ditto sample --round`, or lower dpo.learning_rate."
        )


def _finish_stage(run: _Run, stage: str, metrics: dict[str, float]) -> None:
    seconds = time.monotonic() - run.stage_started
    run.staged.add_stage(stage, run.policy.serialise(POLICY))
    # Listed before its sample is written, so that Ctrl-C in between does not lose the stage.
    run.stages.append(StageRecord(stage=stage, seconds=round(seconds, 1), metrics=metrics, sample=None))
    text = _watch(run, stage).text
    run.stages[-1] = run.stages[-1].model_copy(update={"sample": text})
    if run.selector is not None:
        figures = run.selector.look(stage)
        run.stages[-1] = run.stages[-1].model_copy(
            update={"metrics": {**metrics, **figures.metrics}, "warnings": list(figures.warnings)}
        )
    run.stage_started = time.monotonic()


def _choose(run: _Run) -> StageChoice:
    if run.selector is None:
        return StageChoice(run.stages[-1].stage, "the last stage")
    choice = run.selector.choose()
    for warning in next(stage.warnings for stage in run.stages if stage.stage == choice.stage):
        run.reporter.noted(f"{choice.stage}: {warning}")
    return choice


def _watch(run: _Run, stage: str) -> WatchedSample:
    """The active policy's text for the held prompt, with the same draws at every stage."""
    chat, settings = run.policy.chat, run.job.settings
    request = SampleRequest(chat.prompt_ids(run.job.watch_prompt), derive_seed(settings.seed, "watch"))
    (tokens,) = sample(
        run.policy,
        [request],
        max_new_tokens=run.encoded.max_new_tokens,
        temperature=settings.sampling.temperature,
    )
    sample_of_stage = WatchedSample(stage, run.job.watch_prompt, chat.text(tokens.token_ids), tokens.ended)
    run.reporter.sample_shown(sample_of_stage)
    return sample_of_stage


def _publish(run: _Run, name: str, choice: StageChoice, *, finished: bool) -> AdapterRecord:
    key = run.store.key()
    record = AdapterRecord(
        name=name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        base=run.policy.identity,
        quantize=run.policy.quantize,
        settings=run.job.settings,
        num_demonstrations=len(run.job.demonstrations),
        num_demonstration_tokens=run.encoded.num_tokens,
        demonstration_hashes=[keyed_hash(key, f"{d.prompt}\0{d.completion}") for d in run.job.demonstrations],
        folder=run.job.folder,
        max_new_tokens=run.encoded.max_new_tokens,
        watch_prompt=run.job.watch_prompt,
        base_sample=run.base_sample,
        stages=run.stages,
        published=choice.stage,
        reason=choice.reason,
        finished=finished,
        device=run.policy.hardware.name,
        versions={"ditto": __version__, "python": platform.python_version()}
        | {library: version(library) for library in _LIBRARIES},
        seconds=round(time.monotonic() - run.started, 1),
    )
    if name != run.job.name:
        run.staged.move_to(name)
    run.staged.publish(record)
    return record


def _keep_finished(run: _Run) -> InterruptedRun:
    """Publish the finished stages of an interrupted run, never over an adapter that was there before."""
    name = f"{run.job.name[:56]}-partial" if run.store.exists(run.job.name) else run.job.name
    if not run.stages:
        return InterruptedRun("Stopped before SFT was finished: nothing was saved, nothing was changed.")
    _publish(run, name, StageChoice(run.stages[-1].stage, "the last finished stage"), finished=False)
    kept = ", ".join(stage.stage for stage in run.stages)
    return InterruptedRun(
        f"Stopped. Kept what was finished ({kept}) as adapter {name}: `ditto sample --adapter {name}`."
    )


def _forget_adapters(policy: Policy) -> None:
    """Leave the base as it was found, so that the caller can go on with it."""
    for name in (POLICY, REFERENCE):
        if name in policy.adapters:
            policy.remove(name)
