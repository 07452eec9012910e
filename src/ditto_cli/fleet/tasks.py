"""One person's training or evaluation as a task: texts come in, an adapter or a report goes out; no disk sees them."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from ditto_cli.config import Settings
from ditto_cli.demonstrations.prompts import attach_prompts, plain_instruction
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, Author, EvalPrompt
from ditto_cli.evaluation.report import EvalReport, stage_kind
from ditto_cli.store import AdapterRecord, AdapterStore, UnfinishedRun, cache_home, check_base, learnt_hashes
from ditto_cli.types import Preference, Reporter, SourceText

if TYPE_CHECKING:
    from ditto_cli.evaluation.contestants import Contestant


@dataclass(frozen=True)
class TrainTask:
    """One person's training.

    Attributes:
        folder: where the texts lie on the driver's machine.
        prompts: those that are known, by the texts' ids.
        watch_prompt: what every stage writes for.
        pairs: of which the person preferred one side.
    """

    name: str
    folder: str
    texts: tuple[SourceText, ...]
    prompts: Mapping[str, str]
    settings: Settings
    watch_prompt: str
    is_on_gpu: bool
    pairs: tuple[Preference, ...] = ()


@dataclass(frozen=True)
class Trained:
    """A finished adapter, and the prompts that were written for it."""

    record: AdapterRecord
    stages: Mapping[str, Mapping[str, bytes]]
    prompts: Mapping[str, str]


def train_person(task: TrainTask, reporter: Reporter) -> Trained:
    """The same training as `ditto train`, kept in memory: who is interrupted begins anew."""
    from ditto_cli.model.hardware import detect

    hardware = detect("cuda" if task.is_on_gpu else "cpu")
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job, train_ditto
    from ditto_cli.model.base.loading import load_policy
    from ditto_cli.model.instructions import can_write_instructions, write_instructions

    settings = task.settings
    policy = load_policy(settings.base, hardware, cache_home(os.environ))
    demonstrations, without = attach_prompts(task.texts, task.prompts)
    prompts: dict[str, str] = {}
    if without:  # as in `ditto train` the base writes them if it is large enough
        can_write = can_write_instructions(settings.base, cache_home(os.environ))
        written = write_instructions(policy, without) if can_write else [None] * len(without)
        prompts = {text.id: one or plain_instruction(text) for text, one in zip(without, written, strict=True)}
        demonstrations, _ = attach_prompts(task.texts, {**task.prompts, **prompts})
    job = Job.of(policy, task.name, demonstrations, settings, task.watch_prompt, task.folder, task.pairs)
    selector = RoundSelector(policy, job.demonstrations, job.pairs, settings, job.texts.max_new_tokens)
    kept = _InMemory()
    record = train_ditto(policy, job, cast(UnfinishedRun, kept), reporter, selector)
    return Trained(record, kept.stages, prompts)


def publish(store: AdapterStore, task: TrainTask, trained: Trained) -> AdapterRecord:
    """Put a finished adapter into the store, as a training here would have.

    Raises:
        LockedError: another process works on the adapter.
        DiskError: the disk refused; the adapter of that name from before is as it was.
    """
    demonstrations, _ = attach_prompts(task.texts, {**task.prompts, **trained.prompts})
    hashes = learnt_hashes(store.key(), demonstrations, task.pairs)  # under this store's own key
    with store.training(task.name) as kept:
        kept.start_over()
        for stage, files in trained.stages.items():
            kept.add_stage(stage, files)
        return kept.publish(trained.record.model_copy(update=hashes))


def is_trained(store: AdapterStore, task: TrainTask) -> bool:
    """Whether the store has the adapter that this task would make: the same texts, prompts, settings and base."""
    demonstrations, without = attach_prompts(task.texts, task.prompts)
    if without or not store.exists(task.name):
        return False
    record = store.record(task.name)
    hashes = learnt_hashes(store.key(), demonstrations, task.pairs)
    return record.settings == task.settings and all(getattr(record, name) == found for name, found in hashes.items())


@dataclass(frozen=True)
class EvalTask:
    """One person's evaluation.

    Attributes:
        stages: files of the stages that compete, the published one first.
        prompts: what everybody writes for.
    """

    name: str
    record: AdapterRecord
    stages: Mapping[str, Mapping[str, bytes]]
    author: Author
    prompts: tuple[EvalPrompt, ...]
    is_on_gpu: bool


def evaluate_person(task: EvalTask, reporter: Reporter) -> EvalReport:
    """The same evaluation as `ditto eval` with its own rivals and judge.

    Raises:
        IncompatibleError: the base there is another one than the adapter was trained on.
    """
    from ditto_cli.model.hardware import detect

    began = time.monotonic()
    hardware = detect("cuda" if task.is_on_gpu else "cpu")
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan, few_shot, with_texts, write
    from ditto_cli.evaluation.evaluate import build_report, judge_all, write_and_measure
    from ditto_cli.evaluation.judges.by_style import StyleJudge
    from ditto_cli.model.base.loading import load_policy
    from ditto_cli.model.policy.lora import lora_of

    record = task.record
    policy = load_policy(record.settings.base, hardware, cache_home(os.environ))
    check_base(task.name, record, policy.identity)
    plan = WritingPlan(task.prompts, 1, 0, record.settings.sampling.temperature, record.max_new_tokens)
    stages: list[Contestant] = []
    for number, (stage, files) in enumerate(task.stages.items()):
        policy.put_adapter(f"stage{number}", lora_of(files))
        title = f"{task.name}:{stage}" if number == 0 else stage
        stages.append(Contestant(title, stage_kind(stage), f"stage{number}"))
    shown_texts = few_shot(policy, task.author, plan)
    rivals = [Contestant(BASE_CONTESTANT, "base"), with_texts("stage0", task.author, record), *stages[1:]]
    contestants = [stages[0], *rivals, *([shown_texts] if shown_texts else [])]
    findings = write_and_measure(
        policy,
        task.author,
        contestants,
        plan,
        record,
        writer=lambda contestant, wanted: write(policy, contestant, wanted, reporter),
        encoder=None,
        reporter=reporter,
    )
    judge = StyleJudge(findings.appraisal_of)
    judge_all(findings, judge, reporter, every_pair=True)
    seconds = time.monotonic() - began
    return build_report(task.name, [findings], policy, judge.name, seconds=seconds)


@dataclass
class _InMemory:
    """What a training keeps, as `UnfinishedRun` does on a disk, but no checkpoints."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    stages: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    has_checkpoints: bool = False

    def newest(self) -> None:
        return None

    def start_over(self) -> None:
        self.stages.clear()

    def add_stage(self, stage: str, contents: Mapping[str, bytes]) -> None:
        self.stages[stage] = contents

    def save(self, state: object, contents: Mapping[str, bytes]) -> None:
        """Nothing is kept between stages."""

    def publish(self, record: AdapterRecord) -> AdapterRecord:
        return record
