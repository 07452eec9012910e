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
from ditto_cli.interrupts import deferred, is_urgent, stopped
from ditto_cli.method.checkpoints import restore_policy, restore_rounds, round_fields, round_files
from ditto_cli.method.reference import POLICY, REFERENCE
from ditto_cli.method.rounds import (
    Encoded,
    RoundState,
    begin_rounds,
    encode_demonstrations,
    run_rounds,
    summarise_round,
    write_samples,
)
from ditto_cli.method.sft import Imitation, imitate
from ditto_cli.model.memory import keeping_what_is_there
from ditto_cli.model.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, LookState, RunIdentity, RunState, StageRecord, UnfinishedRun, keyed_hash
from ditto_cli.types import (
    SFT_STAGE,
    Demonstration,
    Reporter,
    SampledTokens,
    SampleRequest,
    StageChoice,
    StageFigures,
    StageSelector,
    WatchedSample,
    round_stage,
)

BASE_STAGE = "base"
UPDATES_PER_CHECKPOINT = 5
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
    """Where one run stands."""

    policy: Policy
    job: Job
    encoded: Encoded
    kept: UnfinishedRun
    reporter: Reporter
    selector: StageSelector | None
    identity: RunIdentity
    begun: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    started: float = field(default_factory=time.monotonic)
    stage_started: float = field(default_factory=time.monotonic)
    base_sample: str | None = None
    stages: list[StageRecord] = field(default_factory=list)
    looks: dict[str, StageFigures] = field(default_factory=dict)
    rounds: RoundState | None = None
    is_published: bool = False


def train_ditto(
    policy: Policy,
    job: Job,
    kept: UnfinishedRun,
    reporter: Reporter,
    selector: StageSelector | None = None,
) -> AdapterRecord:
    """SFT, then rounds of sample, score, compare and update against the frozen SFT policy; then publish.

    Goes on from the newest checkpoint of a run with the same texts, settings and base, and then gives the same weights
    as a run that was never interrupted (bit for bit on a CPU). `selector` says which stage is published, without it
    the last. The adapter of that name from before is left alone until the new one is published.

    Args:
        policy: the base; it is left as it was found.
        job: what to train.
        kept: the adapter's run on disk, whose lock the caller holds.
        reporter: told of the progress.
        selector: chooses the stage to publish.

    Raises:
        InputError: a demonstration does not fit the base's context.
        InterruptedRun: Ctrl-C or SIGTERM; a checkpoint was written.
        MemoryLimitError: not even one sequence fits into memory.
        NonFiniteError: the numbers broke down; nothing of that is kept.
        DiskError: the disk refused.
    """
    encoded = encode_demonstrations(
        policy.chat, job.demonstrations, job.settings.sampling, context_tokens=policy.context_tokens
    )
    run = _Run(policy, job, encoded, kept, reporter, selector, _identity(policy, job, kept.key))
    try:
        with keeping_what_is_there():
            _go_on_or_begin(run)
            _look_at_base(run)
            _imitate_demonstrations(run)
            _ditto_rounds(run)
            return _publish(run, _choose(run))
    except KeyboardInterrupt:
        raise _stopped(run) from None
    finally:
        _forget_adapters(policy)


def _identity(policy: Policy, job: Job, key: bytes) -> RunIdentity:
    return RunIdentity(
        settings=job.settings,
        base=policy.identity,
        quantize=policy.quantize,
        device=policy.hardware.device.type,
        demonstrations=[keyed_hash(key, f"{d.id}\0{d.prompt}\0{d.completion}") for d in job.demonstrations],
        watch_prompt=keyed_hash(key, job.watch_prompt),
        versions=_versions(),
    )


def _go_on_or_begin(run: _Run) -> None:
    """Put the run where the newest checkpoint left it; begin anew where there is none of the same run."""
    state = run.kept.newest()
    difference = None if state is None else state.identity.difference(run.identity)
    if state is None or difference is not None:
        if state is not None:
            run.reporter.noted(f"The training of {state.begun} that was interrupted is dropped: {difference}.")
        elif run.kept.has_checkpoints:
            run.reporter.noted("A training that was interrupted is dropped: its checkpoints are damaged or incomplete.")
        run.kept.start_over()
        return
    with deferred():  # half of it must not be saved over the whole
        run.begun, run.started = state.begun, run.started - state.seconds
        run.base_sample, run.stages = state.base_sample, list(state.stages)
        run.looks = {
            stage: StageFigures(look.metrics, tuple(look.warnings), tuple(look.values))
            for stage, look in state.looks.items()
        }
        restore_policy(run.policy, run.kept)
        run.rounds = restore_rounds(run.policy, run.kept, state, run.encoded, run.job.settings, run.reporter)
    run.reporter.noted(f"Going on with the training of {state.begun}, {_place(run)}; --fresh starts over.")


def _look_at_base(run: _Run) -> None:
    """Let the base write, for the user and for what the selector measures the stages by."""
    is_done = len(run.looks) == 1 + run.job.settings.rounds.num
    wanted = [] if run.selector is None or is_done else run.selector.base_requests()
    with run.policy.using(None):
        sample_of_base, sampled = _write(run, BASE_STAGE, wanted, is_watched=run.base_sample is None)
    if sample_of_base is not None:
        run.base_sample = sample_of_base
    if run.selector is not None and wanted:
        run.selector.see_base(sampled)
    run.stage_started = time.monotonic()


def _imitate_demonstrations(run: _Run) -> None:
    if not run.stages:
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
            noted=run.reporter.noted,
        )
        run.reporter.stage_ended()
        _keep_stage(run, SFT_STAGE, {"loss": losses[-1], "steps": float(len(losses))})


def _ditto_rounds(run: _Run) -> None:
    settings = run.job.settings
    if settings.rounds.num > 0 and run.rounds is None:
        run.rounds = begin_rounds(run.policy, run.encoded, settings, run.reporter)
    for finished in run_rounds(
        run.policy,
        run.encoded,
        settings,
        run.reporter,
        state=run.rounds,
        write=lambda requests: _look_at_stage(run, requests),
        on_progress=lambda state: _on_progress(run, state),
    ):
        stage = round_stage(finished.number + 1)
        _keep_stage(run, stage, summarise_round(finished.samples, finished.steps))
        _warn_of_collapse(run, finished.number, [completion.ended for completion in finished.samples])
    _look_at_stage(run)


def _on_progress(run: _Run, state: RoundState) -> None:
    # Not after a round's last update: the finished stage is saved then.
    if len(state.steps) % UPDATES_PER_CHECKPOINT == 0 and len(state.steps) < run.job.settings.rounds.steps:
        _save(run)


def _warn_of_collapse(run: _Run, number: int, ended: Sequence[bool]) -> None:
    share = sum(ended) / len(ended)
    if share < _FEW_ENDED:
        run.reporter.noted(
            f"Only {share:.0%} of the samples of round {number + 1} ended by themselves: the policy may be losing its "
            "end token. Look at the earlier stages with `ditto sample --round`, or lower dpo.learning_rate."
        )


def _keep_stage(run: _Run, stage: str, metrics: dict[str, float]) -> None:
    """Write a finished stage, and a checkpoint behind it."""
    seconds = time.monotonic() - run.stage_started
    with deferred():
        run.kept.generation.add_stage(stage, run.policy.serialise(POLICY))
        run.stages.append(StageRecord(stage=stage, seconds=round(seconds, 1), metrics=metrics, sample=None))
        run.stage_started = time.monotonic()
        _save(run)


def _look_at_stage(run: _Run, others: Sequence[SampleRequest] = ()) -> Sequence[SampledTokens]:
    """Let the newest stage write, for the user and for the choice between the stages; once.

    Args:
        run: where it stands.
        others: samples that the next round wants of the same policy. With them all is written even where a run that was
            interrupted has looked already, so that a resumed run has the same batch.

    Returns:
        What was sampled for `others`.
    """
    record, selector, figures = run.stages[-1], run.selector, None
    is_looked_at = record.stage in run.looks
    wanted = [] if selector is None or (is_looked_at and not others) else selector.requests()
    text, sampled = _write(run, record.stage, [*others, *wanted], is_watched=record.sample is None)
    if selector is not None and not is_looked_at:
        figures = selector.look(record.stage, sampled[len(others) :])
    with deferred():  # a checkpoint has both or neither
        if figures is not None:
            run.looks[record.stage] = figures
        if text is not None:
            run.stages[-1] = record.model_copy(update={"sample": text})
    return sampled[: len(others)]


def _choose(run: _Run) -> StageChoice:
    if run.selector is None:
        return StageChoice(run.stages[-1].stage, "the last stage")
    choice = run.selector.choose(run.looks)
    for warning in run.looks[choice.stage].warnings:
        run.reporter.noted(f"{choice.stage}: {warning}")
    return choice


def _write(
    run: _Run, stage: str, wanted: Sequence[SampleRequest], *, is_watched: bool
) -> tuple[str | None, Sequence[SampledTokens]]:
    """What the active policy writes for `wanted`; and for the held prompt, with the same draws at every stage.

    All of it side by side: alone, a sequence takes nearly as long as many. The held prompt is written for even where
    its text is known, so that a resumed run has the same batch, which rounds the same way.
    """
    chat, settings = run.policy.chat, run.job.settings
    if not wanted and not is_watched:
        return None, []
    prompt_ids = chat.prompt_ids(run.job.watch_prompt)
    limit = max(1, min(run.encoded.max_new_tokens, run.policy.context_tokens - len(prompt_ids)))
    requests = [SampleRequest(prompt_ids, derive_seed(settings.seed, "watch"), limit), *wanted]
    sampled = write_samples(run.policy, requests, settings.sampling, run.reporter, title=f"{stage}: writing")
    if not is_watched:
        return None, sampled[1:]
    text = chat.text(sampled[0].token_ids)
    run.reporter.sample_shown(WatchedSample(stage, run.job.watch_prompt, text, sampled[0].ended))
    return text, sampled[1:]


def _save(run: _Run) -> None:
    """Write a checkpoint of where the run stands."""
    assert run.base_sample is not None
    looks = {
        stage: LookState(metrics=dict(look.metrics), warnings=list(look.warnings), values=list(look.values))
        for stage, look in run.looks.items()
    }
    with deferred():
        state = RunState(
            identity=run.identity,
            begun=run.begun,
            seconds=round(time.monotonic() - run.started, 1),
            base_sample=run.base_sample,
            stages=run.stages,
            looks=looks,
            **round_fields(run.rounds, num_finished=len(run.stages) - 1),
        )
        run.kept.save(state, round_files(run.policy, run.rounds))


def _publish(run: _Run, choice: StageChoice) -> AdapterRecord:
    assert run.base_sample is not None
    stages = [
        stage.model_copy(
            update={
                "metrics": {**stage.metrics, **run.looks[stage.stage].metrics},
                "warnings": list(run.looks[stage.stage].warnings),
            }
        )
        if stage.stage in run.looks
        else stage
        for stage in run.stages
    ]
    record = AdapterRecord(
        name=run.job.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        base=run.policy.identity,
        quantize=run.policy.quantize,
        settings=run.job.settings,
        num_demonstrations=len(run.job.demonstrations),
        num_demonstration_tokens=run.encoded.num_tokens,
        demonstration_hashes=[keyed_hash(run.kept.key, f"{d.prompt}\0{d.completion}") for d in run.job.demonstrations],
        folder=run.job.folder,
        max_new_tokens=run.encoded.max_new_tokens,
        watch_prompt=run.job.watch_prompt,
        base_sample=run.base_sample,
        stages=stages,
        published=choice.stage,
        reason=choice.reason,
        device=run.policy.hardware.name,
        versions=_versions(),
        seconds=round(time.monotonic() - run.started, 1),
    )
    with deferred():
        stored = run.kept.publish(record)
        run.is_published = True
    return stored


def _stopped(run: _Run) -> InterruptedRun:
    """Save what was done since the last checkpoint, unless the user is in a hurry, and say how to go on."""
    if run.is_published:
        return stopped(f"Stopped when adapter {run.job.name} was already published: it is ready.")
    if not run.stages and run.kept.has_checkpoints:
        return stopped("Stopped before anything was done: the same command goes on from the last checkpoint.")
    if not run.stages:
        return stopped("Stopped before SFT was finished: the same command begins anew.")
    # In a hurry something may be half done in memory; then the last checkpoint is what counts.
    if not is_urgent():
        _save(run)
    return stopped(f"Stopped, {_place(run)}: the same command goes on from the last checkpoint (--fresh starts over).")


def _place(run: _Run) -> str:
    """Where the run stands, in words."""
    if run.rounds is None or not run.rounds.is_sampled or len(run.stages) > run.rounds.number + 1:
        return f"after {run.stages[-1].stage}"
    done, all_steps = len(run.rounds.steps), run.job.settings.rounds.steps
    return f"in round {run.rounds.number + 1} after {done} of {all_steps} updates"


def _versions() -> dict[str, str]:
    libraries = {library: version(library) for library in _LIBRARIES}
    return {"ditto": __version__, "python": platform.python_version(), **libraries}


def _forget_adapters(policy: Policy) -> None:
    """Leave the base as it was found, so that the caller can go on with it."""
    for name in (POLICY, REFERENCE):
        if name in policy.adapters:
            policy.remove(name)
