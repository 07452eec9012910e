"""One person's evaluation as a task: adapter and texts come in, the report goes out; the disk sees neither."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ditto_cli.errors import IncompatibleError
from ditto_cli.evaluation.report import EvalReport, stage_kind
from ditto_cli.evaluation.types import BASE_CONTESTANT, Author, EvalPrompt
from ditto_cli.store import AdapterRecord, cache_home, describe_mismatch
from ditto_cli.types import Reporter

if TYPE_CHECKING:
    from ditto_cli.evaluation.contestants import Contestant


@dataclass(frozen=True)
class EvalTask:
    """One person's evaluation.

    Attributes:
        name: of the adapter.
        record: of the adapter.
        stages: files of the stages that compete, the published one first.
        author: the texts, those kept back among them.
        prompts: what everybody writes for.
        is_on_gpu: where it is to run.
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
        DittoError: as the texts and the base give reason to.
    """
    from ditto_cli.model.hardware import detect

    began = time.monotonic()
    hardware = detect("cuda" if task.is_on_gpu else "cpu")
    from ditto_cli.evaluation.appraisal import StyleJudge
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan, few_shot, with_texts, write
    from ditto_cli.evaluation.evaluate import gather, judge_all
    from ditto_cli.evaluation.summary import build_report, describe_run, extracted_in_training
    from ditto_cli.model.base.loading import load_policy
    from ditto_cli.model.policy.lora import lora_of

    record = task.record
    policy = load_policy(record.settings.base, hardware, cache_home(os.environ), reporter.noted)
    mismatch = describe_mismatch(record.base, policy.identity)
    if mismatch is not None:
        raise IncompatibleError(f"Adapter {task.name} does not belong to the base there: {mismatch}.")
    plan = WritingPlan(task.prompts, 1, 0, record.settings.sampling.temperature, record.max_new_tokens)
    stages: list[Contestant] = []
    for number, (stage, files) in enumerate(task.stages.items()):
        policy.put_adapter(f"stage{number}", lora_of(files))
        title = f"{task.name}:{stage}" if number == 0 else stage
        stages.append(Contestant(title, stage_kind(stage), f"stage{number}"))
    notes: list[str] = []
    shown_texts = few_shot(policy, task.author, plan, notes.append)
    rivals = [Contestant(BASE_CONTESTANT, "base"), with_texts("stage0", task.author, record), *stages[1:]]
    contestants = [stages[0], *rivals, *([shown_texts] if shown_texts else [])]
    findings = gather(
        policy,
        task.author,
        contestants,
        plan,
        writer=lambda contestant, wanted: write(policy, contestant, wanted, reporter),
        encoder=None,
        reporter=reporter,
    )
    findings.extracted.update(extracted_in_training(record, stages[0].title))
    judge = StyleJudge(findings.appraisal_of)
    judge_all(findings, judge, reporter, every_pair=True)
    run = describe_run([findings], policy, judge.name, seconds=time.monotonic() - began)
    return build_report(task.name, stages[0].title, [findings], run, warnings=notes)
