"""One person's training as a task: texts come in, the finished adapter goes out as bytes; the disk sees neither."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from ditto_cli.config import BaseSettings, Settings
from ditto_cli.demonstrations.prompts import attach_prompts, plain_instruction
from ditto_cli.store import AdapterRecord, AdapterStore, UnfinishedRun, cache_home, keyed_hash
from ditto_cli.types import Demonstration, Preference, Reporter, SourceText

if TYPE_CHECKING:
    from ditto_cli.model.policy.policy import Policy


@dataclass(frozen=True)
class Task:
    """One person's training.

    Attributes:
        name: of the adapter.
        folder: where the texts lie on the driver's machine.
        texts: what is learned from.
        prompts: those that are known, by the texts' ids.
        settings: of the whole training.
        watch_prompt: what every stage writes for.
        is_on_gpu: where it is to run.
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


def train_person(task: Task, reporter: Reporter) -> Trained:
    """The same training as `ditto train`, kept in memory: who is interrupted begins anew.

    Raises:
        DittoError: as the texts, the base and the run give reason to.
    """
    from ditto_cli.model.hardware import detect

    hardware = detect("cuda" if task.is_on_gpu else "cpu")
    from ditto_cli.evaluation.selection import selector_of
    from ditto_cli.method.run import Job, train_ditto
    from ditto_cli.model.base.loading import load_policy

    settings = task.settings
    policy = load_policy(settings.base, hardware, cache_home(os.environ), reporter.noted)
    demonstrations, without = attach_prompts(task.texts, task.prompts)
    prompts: dict[str, str] = {}
    if without:
        prompts = _write_prompts(policy, settings.base, without)
        demonstrations, _ = attach_prompts(task.texts, {**task.prompts, **prompts})
    job = Job.of(policy, task.name, demonstrations, settings, task.watch_prompt, task.folder, task.pairs)
    selector = selector_of(policy, job.demonstrations, job.pairs, settings, job.texts.max_new_tokens)
    kept = _InMemory()
    record = train_ditto(policy, job, cast(UnfinishedRun, kept), reporter, selector)
    return Trained(record, kept.stages, prompts)


def publish(store: AdapterStore, task: Task, trained: Trained) -> AdapterRecord:
    """Put a finished adapter into the store, as a training here would have.

    Raises:
        LockedError: another process works on the adapter.
        DiskError: the disk refused; the adapter of that name from before is as it was.
    """
    demonstrations, _ = attach_prompts(task.texts, {**task.prompts, **trained.prompts})
    with store.training(task.name) as kept:
        kept.start_over()
        for stage, files in trained.stages.items():
            kept.generation.add_stage(stage, files)
        return kept.publish(trained.record.model_copy(update=_hashes(store, task, demonstrations)))


def is_trained(store: AdapterStore, task: Task) -> bool:
    """Whether the store has the adapter that this task would make: the same texts, prompts, settings and base."""
    demonstrations, without = attach_prompts(task.texts, task.prompts)
    if without or not store.exists(task.name):
        return False
    record = store.record(task.name)
    hashes = _hashes(store, task, demonstrations)
    return record.settings == task.settings and all(getattr(record, name) == found for name, found in hashes.items())


def _hashes(store: AdapterStore, task: Task, demonstrations: list[Demonstration]) -> dict[str, list[str]]:
    """What a record says of the texts, under this store's own key."""
    key = store.key()
    return {
        "demonstration_hashes": [keyed_hash(key, f"{one.prompt}\0{one.completion}") for one in demonstrations],
        "pair_hashes": [keyed_hash(key, f"{pair.prompt}\0{pair.chosen}") for pair in task.pairs],
    }


def _write_prompts(policy: Policy, base: BaseSettings, texts: list[SourceText]) -> dict[str, str]:
    """As `ditto train` does: the base writes them if it is large enough."""
    from ditto_cli.model.instructions import can_write_instructions, write_instructions

    can_write = can_write_instructions(base, cache_home(os.environ), lambda _: None)
    written = write_instructions(policy, texts) if can_write else [None] * len(texts)
    return {text.id: one or plain_instruction(text) for text, one in zip(texts, written, strict=True)}


@dataclass
class _InMemory:
    """What a training keeps, as `UnfinishedRun` does on a disk, but no checkpoints."""

    key: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    stages: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    has_checkpoints: bool = False

    @property
    def generation(self) -> _InMemory:
        return self

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
