"""One training from demonstrations to a published adapter: runs `ditto.py`, and keeps, shows and publishes the outcome.

What is kept is enough to go on bit for bit. Two things are not kept, because they are made again exactly: the
demonstrations' token ids (from the user's folder, which the run's identity vouches for) and random states (every draw
comes from `derive_seed` and its place in the run).
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version

from safetensors.torch import load
from safetensors.torch import save as to_safetensors

from ditto_cli import __version__
from ditto_cli.config import Settings
from ditto_cli.errors import InterruptedRun
from ditto_cli.interrupts import deferred, is_urgent, stopped
from ditto_cli.method.comparisons import History
from ditto_cli.method.ditto import Place, Sampled, StageEnded, ditto, stage_of, write
from ditto_cli.method.updates import POLICY, REFERENCE, Updater
from ditto_cli.model.base.template import Texts, tokenise
from ditto_cli.model.policy.lora import read_lora
from ditto_cli.model.policy.memory import keeping_what_is_there
from ditto_cli.model.policy.policy import Policy
from ditto_cli.seeds import derive_seed
from ditto_cli.store import (
    AdapterRecord,
    RunIdentity,
    RunState,
    SampleState,
    StageRecord,
    StepState,
    UnfinishedRun,
    keyed_hash,
    learnt_hashes,
)
from ditto_cli.types import (
    SFT_STAGE,
    ComparisonKind,
    Completion,
    Demonstration,
    Preference,
    Reporter,
    SampledTokens,
    SampleRequest,
    StageChoice,
    StageFigures,
    StageSelector,
    StepMetrics,
    WatchedSample,
)

log = logging.getLogger(__name__)

BASE_STAGE = "base"
OPTIMIZER_FILE = "optimizer.safetensors"
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
    texts: Texts
    settings: Settings
    watch_prompt: str
    folder: str | None = None
    pairs: tuple[Preference, ...] = ()

    @staticmethod
    def of(
        policy: Policy,
        name: str,
        demonstrations: Sequence[Demonstration],
        settings: Settings,
        watch_prompt: str,
        folder: str | None = None,
        pairs: Sequence[Preference] = (),
    ) -> Job:
        """A job on a policy, of which only the tokenisation is needed; InputError: a text that does not fit."""
        texts = tokenise(
            policy.chat, demonstrations, settings.sampling, context_tokens=policy.context_tokens, pairs=pairs
        )
        return Job(name, tuple(demonstrations), texts, settings, watch_prompt, folder, tuple(pairs))


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
    the last. The adapter of that name from before is left alone until the new one is published, and the base is left
    as it was found. The caller holds the lock of `kept`.

    Raises:
        InterruptedRun: Ctrl-C or SIGTERM; a checkpoint was written.
        NonFiniteError: the numbers broke down; nothing of that is kept.
    """
    texts = [f"{d.id}\0{d.prompt}\0{d.completion}" for d in job.demonstrations]
    pairs = [f"{p.id}\0{p.prompt}\0{p.chosen}\0{p.rejected}" for p in job.pairs]
    identity = RunIdentity(
        settings=job.settings,
        base=policy.identity,
        quantize=policy.quantize,
        device=policy.hardware.device.type,
        demonstrations=[keyed_hash(kept.key, text) for text in (*texts, *pairs)],
        watch_prompt=keyed_hash(kept.key, job.watch_prompt),
        versions={
            "ditto": __version__,
            "python": platform.python_version(),
            **{library: version(library) for library in _LIBRARIES},
        },
    )
    run = _Run(policy, job, kept, reporter, selector, identity)
    policy.recompute_layers(policy.hardware.is_cuda)
    try:
        with keeping_what_is_there():
            run.go_on_or_begin()
            run.look_at_base()
            for event in ditto(policy, job.texts, job.settings, run.beside(), run.place, reporter):
                match event:
                    case StageEnded(stage, metrics):
                        run.keep_stage(stage, metrics)
                    case Sampled(beside):
                        run.look(beside)
                    case StepMetrics(step=step):
                        # Not after a round's last update: the finished stage is kept then.
                        if (step + 1) % UPDATES_PER_CHECKPOINT == 0 and step + 1 < job.settings.rounds.steps:
                            run.save()
            return run.publish()
    except KeyboardInterrupt:
        raise run.stopped() from None
    finally:
        for name in (POLICY, REFERENCE):
            if name in policy.adapters:
                policy.remove(name)
        policy.recompute_layers(False)


@dataclass
class _Run:
    """One run, and what is kept of it: times, what base and stages wrote, their figures, and the loop's place."""

    policy: Policy
    job: Job
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
    place: Place = field(default_factory=Place)
    is_published: bool = False

    def go_on_or_begin(self) -> None:
        """Put the run where the newest checkpoint left it; begin anew where there is none of the same run."""
        state = self.kept.newest()
        difference = None if state is None else state.identity.difference(self.identity)
        if state is None or difference is not None:
            if state is not None:
                log.warning(f"The training of {state.begun} that was interrupted is dropped: {difference}.")
            elif self.kept.has_checkpoints:
                log.warning("A training that was interrupted is dropped: its checkpoints are damaged or incomplete.")
            self.kept.start_over()
            return
        with deferred():  # half of it must not be saved over the whole
            self.begun, self.started = state.begun, self.started - state.seconds
            self.base_sample, self.stages = state.base_sample, list(state.stages)
            self.looks = dict(state.looks)
            self._restore(state)
        log.warning(f"Going on with the training of {state.begun}, {self._where()}; --fresh starts over.")

    def _restore(self, state: RunState) -> None:
        """Weights, reference, history and optimizer as they were."""
        policy, settings, place = self.policy, self.job.settings, self.place
        policy.put_adapter(POLICY, read_lora(self.kept.newest_folder))
        policy.switch(POLICY, trainable=True)
        place.round = len(state.stages) - 1
        if not state.own_logps:  # no round had begun
            return
        logps = [*state.own_logps, *state.pair_logps]
        own = [replace(one, reference_logp=logp) for one, logp in zip(self.job.texts.unscored(), logps, strict=True)]
        place.history = History.of(own, len(state.own_logps))
        names = [completion.demonstration_id for completion in own]
        # A round that samples nothing has none here; but each stage that was looked at began one.
        num_looked_at = sum(stage.sample is not None for stage in state.stages)
        for number in range(min(num_looked_at, settings.rounds.num)):
            place.history.add_round(
                [
                    Completion(names[s.demonstration], number, s.index, tuple(s.token_ids), s.ended, s.reference_logp)
                    for s in state.samples
                    if s.round == number
                ]
            )
        # Stage k is the policy that round k began with; SPIN moves the reference there when it samples the round.
        sampled = max(0, len(place.history.rounds) - 1)
        stage = SFT_STAGE if settings.rounds.reference == "sft" else stage_of(sampled)
        policy.put_adapter(REFERENCE, read_lora(self.kept.stage_folder(stage)))
        policy.switch(POLICY, trainable=True)
        place.updater = Updater(policy, settings.dpo, settings.rounds, seed=settings.seed)
        place.updater.restore(load((self.kept.newest_folder / OPTIMIZER_FILE).read_bytes()))
        place.steps = [
            StepMetrics(
                place.round, step, one.values, {ComparisonKind(kind): count for kind, count in one.kinds.items()}
            )
            for step, one in enumerate(state.steps)
        ]

    def look_at_base(self) -> None:
        """Let the base write, for the user and for what the selector measures the stages by."""
        is_done = len(self.looks) == 1 + self.job.settings.rounds.num
        wanted = [] if self.selector is None or is_done else self.selector.base_requests()
        if wanted or self.base_sample is None:
            with self.policy.using(None):
                watched, *sampled = write(
                    self.policy,
                    [self._watched_request(), *wanted],
                    self.job.settings,
                    self.reporter,
                    stage=BASE_STAGE,
                )
            if self.base_sample is None:
                self.base_sample = self._show(BASE_STAGE, watched)
            if self.selector is not None and wanted:
                self.selector.see_base(sampled)
        self.stage_started = time.monotonic()

    def beside(self) -> list[SampleRequest]:
        """What every stage writes beside its samples: for the held prompt, and for the choice between stages."""
        return [self._watched_request(), *(self.selector.requests() if self.selector else [])]

    def _watched_request(self) -> SampleRequest:
        """For the held prompt, with the same draws at every stage."""
        prompt_ids = self.policy.chat.prompt_ids(self.job.watch_prompt)
        limit = max(1, min(self.job.texts.max_new_tokens, self.policy.context_tokens - len(prompt_ids)))
        return SampleRequest(prompt_ids, derive_seed(self.job.settings.seed, "watch"), limit)

    def _show(self, stage: str, watched: SampledTokens) -> str:
        text = self.policy.chat.text(watched.token_ids)
        self.reporter.show_sample(WatchedSample(stage, self.job.watch_prompt, text, watched.ended))
        return text

    def keep_stage(self, stage: str, metrics: dict[str, float]) -> None:
        """Write a finished stage, and a checkpoint behind it; say when its samples do not end."""
        seconds = time.monotonic() - self.stage_started
        with deferred():
            self.kept.add_stage(stage, self.policy.serialise(POLICY))
            self.stages.append(StageRecord(stage=stage, seconds=round(seconds, 1), metrics=metrics, sample=None))
            self.stage_started = time.monotonic()
            self.save()
        if metrics.get("samples/ended", 1) < _FEW_ENDED:
            log.warning(
                f"Only {metrics['samples/ended']:.0%} of the samples of round {self.place.round + 1} ended by "
                "themselves: the policy may be losing its end token. Look at the earlier stages with "
                "`ditto sample --round`, or lower dpo.learning_rate."
            )

    def look(self, sampled: Sequence[SampledTokens]) -> None:
        """Show and measure what the newest stage wrote, and keep that with the samples of the round that begins."""
        record = self.stages[-1]
        text = self._show(record.stage, sampled[0]) if record.sample is None else record.sample
        figures = self.looks.get(record.stage)
        if figures is None and self.selector is not None:
            figures = self.selector.look(record.stage, sampled[1:])
        with deferred():  # a checkpoint has all of it or nothing
            self.stages[-1] = record.model_copy(update={"sample": text})
            if figures is not None:
                self.looks[record.stage] = figures
            self.save()

    def save(self) -> None:
        """Write a checkpoint of where the run stands."""
        assert self.base_sample is not None
        place, files = self.place, self.policy.serialise(POLICY)
        if place.updater is not None:
            files[OPTIMIZER_FILE] = to_safetensors(place.updater.state())
        history = place.history or History(())
        numbers = {own.demonstration_id: number for number, own in enumerate(history.demonstrations)}
        with deferred():
            state = RunState(
                identity=self.identity,
                begun=self.begun,
                seconds=round(time.monotonic() - self.started, 1),
                base_sample=self.base_sample,
                stages=self.stages,
                looks=self.looks,
                own_logps=[own.reference_logp for own in history.demonstrations],
                pair_logps=[side.reference_logp for pair in history.given for side in pair],
                samples=[
                    SampleState(
                        demonstration=numbers[one.demonstration_id],
                        round=one.round,
                        index=one.index,
                        token_ids=list(one.token_ids),
                        ended=one.ended,
                        reference_logp=one.reference_logp,
                    )
                    for one in history.completions()
                    if one.round is not None
                ],
                # Those of a round whose stage is kept are no longer needed.
                steps=[
                    StepState(values=dict(step.values), kinds=dict(step.kinds))
                    for step in place.steps
                    if step.round == len(self.stages) - 1
                ],
            )
            self.kept.save(state, files)

    def publish(self) -> AdapterRecord:
        """Make the chosen stage the adapter."""
        assert self.base_sample is not None
        choice = StageChoice(self.stages[-1].stage, "the last stage")
        if self.selector is not None:
            choice = self.selector.choose(self.looks)
            for warning in self.looks[choice.stage].warnings:
                log.warning(f"{choice.stage}: {warning}")
        stages = []
        for stage in self.stages:
            look = self.looks.get(stage.stage, StageFigures({}, (), ()))
            metrics, warnings = {**stage.metrics, **look.metrics}, list(look.warnings)
            stages.append(stage.model_copy(update={"metrics": metrics, "warnings": warnings}))
        job, policy = self.job, self.policy
        record = AdapterRecord(
            name=job.name,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            base=policy.identity,
            quantize=policy.quantize,
            settings=job.settings,
            num_demonstrations=len(job.demonstrations),
            num_demonstration_tokens=job.texts.num_tokens,
            folder=job.folder,
            max_new_tokens=job.texts.max_new_tokens,
            watch_prompt=job.watch_prompt,
            base_sample=self.base_sample,
            stages=stages,
            published=choice.stage,
            reason=choice.reason,
            device=policy.hardware.name,
            versions=self.identity.versions,
            seconds=round(time.monotonic() - self.started, 1),
            **learnt_hashes(self.kept.key, job.demonstrations, job.pairs),
        )
        with deferred():
            stored = self.kept.publish(record)
            self.is_published = True
        return stored

    @property
    def _is_looked_at(self) -> bool:
        """Whether the newest stage's look is kept, and with it the samples of the round that begins there."""
        return self.stages[-1].sample is not None

    def stopped(self) -> InterruptedRun:
        """Save what was done since the last checkpoint, unless the user is in a hurry, and say how to go on."""
        if self.is_published:
            return stopped(f"Stopped when adapter {self.job.name} was already published: it is ready.")
        if not self.stages and self.kept.has_checkpoints:
            return stopped("Stopped before anything was done: the same command goes on from the last checkpoint.")
        if not self.stages:
            return stopped("Stopped before SFT was finished: the same command begins anew.")
        # In a hurry something may be half done in memory, and samples without a look would never get one; then the last
        # checkpoint is what counts.
        if not is_urgent() and self._is_looked_at:
            self.save()
        return stopped(
            f"Stopped, {self._where()}: the same command goes on from the last checkpoint (--fresh starts over)."
        )

    def _where(self) -> str:
        """Where the run stands, in words."""
        if not self._is_looked_at or not self.place.is_sampled or len(self.stages) > self.place.round + 1:
            return f"after {self.stages[-1].stage}"
        return (
            f"in round {self.place.round + 1} after {len(self.place.steps)} of {self.job.settings.rounds.steps} updates"
        )
