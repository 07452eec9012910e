"""`ditto eval FOLDER --cross-validate K`: train K times with a part of the texts kept back, and judge on that part.

The strict answer: every text of the person is written for by a model that never saw it. Nothing of it is kept but
the report.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.eval import (
    EvalOptions,
    check_report_place,
    extracted_in_training,
    few_shot,
    judge_findings,
    plan_of,
    show_and_write,
    what_was_run,
)
from ditto_cli.cli.judging import JudgeOptions
from ditto_cli.cli.preparation import prepare, require_training
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import say, warn
from ditto_cli.config import (
    FOLDER_FILE,
    FolderFile,
    Settings,
    adapter_name_of,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.errors import IncompatibleError, InputError, InterruptedRun
from ditto_cli.evaluation.report import EvalReport, Verdict
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.evaluation.types import BASE_CONTESTANT, Author
from ditto_cli.interrupts import stopped
from ditto_cli.seeds import derive_seed
from ditto_cli.store import (
    AdapterStore,
    cache_home,
    check_name,
    describe_mismatch,
    remove_tree,
    store_home,
    suggest_name,
)
from ditto_cli.types import SFT_STAGE, Reporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.evaluation.types import Writing
    from ditto_cli.model.encoder import StyleEncoder
    from ditto_cli.model.policy.policy import Policy
    from ditto_cli.store import AdapterRecord

REPORT_FILE = "cross-validation.html"
TRAINED = "a trained adapter"  # title of what each fold's training published, where no adapter has a name yet
_FOLD_ADAPTER = "fold"
# Where the folds' adapters were all that there was: how the verdict advises one of them, and what can be done instead.
_TO_DO = {
    TRAINED: (f"Keep {TRAINED}:", "Train on all the texts:"),
    SFT_STAGE: ("Use sft:", "Train on all the texts with --publish sft:"),
}


@dataclass(frozen=True)
class _Task:
    """What is wanted, checked as far as that needs no model; `record` is of the adapter of this name if there is one.

    `answers` and `place` are where the judge's answers (None: nowhere) and the report go.
    """

    author: Author
    folds: Sequence[Author]
    name: str
    folder_file: FolderFile
    store: AdapterStore
    record: AdapterRecord | None
    answers: Path | None
    place: Path

    @property
    def title(self) -> str:
        """Under which the folds' adapters compete."""
        return TRAINED if self.record is None else self.name


@dataclass(frozen=True)
class _Run:
    """What all folds share."""

    task: _Task
    options: EvalOptions
    settings: Settings
    session: Session
    encoder: StyleEncoder | None


@dataclass(frozen=True)
class _Trained:
    """One fold's session, with its adapter in a store that goes away."""

    session: Session
    record: AdapterRecord


@dataclass(frozen=True)
class _Result:
    """What one fold came to."""

    findings: Findings
    judge: str
    notes: Sequence[str]


def run_cross_validation(options: EvalOptions, num_folds: int, *, as_json: bool) -> None:
    """Train and evaluate on every fold, and report on all of them together.

    Raises:
        DittoError: as the folder, the settings, the base and the judge give reason to.
    """
    started = time.monotonic()
    run = _load(_task(options, num_folds), options)
    try:
        results = [_run_fold(run, number) for number in range(len(run.task.folds))]
    except (KeyboardInterrupt, InterruptedRun):  # what the training says of stages that it kept is not so here
        but = " but answers of the judge" if run.task.answers and options.judge.kind in ("openai", "me") else ""
        raise stopped(f"Cross-validation was interrupted; nothing of it is kept{but}.") from None
    report = _report(run, results, time.monotonic() - started)
    show_and_write(report, run.task.place, _marks(run.task), as_json=as_json)


def fold(author: Author, num_folds: int, *, seed: int) -> list[Author]:
    """The demonstrations in `num_folds` parts of nearly equal size, each kept back once.

    Raises:
        InputError: there are not enough texts.
    """
    texts = list(author.demonstrations)
    if len(texts) < 2:
        raise InputError("--cross-validate keeps texts back to judge by: give a folder with two texts or more.")
    if not 2 <= num_folds <= len(texts):
        raise InputError(f"--cross-validate {num_folds}: with {len(texts)} texts it can be 2 to {len(texts)}.")
    # Parts of one text stay together: what is learnt of one gives the others away.
    wholes = list(dict.fromkeys(text.id.partition("#part")[0] for text in texts))
    if num_folds > len(wholes):
        raise InputError(f"--cross-validate {num_folds}: these are parts of {len(wholes)} texts, so no more than that.")
    random.Random(derive_seed(seed, "folds")).shuffle(wholes)
    folds = []
    for index in range(num_folds):
        apart = set(wholes[index::num_folds])
        kept_back = {text.id for text in texts if text.id.partition("#part")[0] in apart}
        folds.append(
            Author(
                tuple(text for text in author.demonstrations if text.id not in kept_back),
                tuple(text for text in author.demonstrations if text.id in kept_back),
            )
        )
    return folds


def what_to_do(verdict: Verdict) -> Verdict:
    """The verdict on folds' adapters that are gone, as what the user can do: train, or keep what needs no training."""
    advised, instead = _TO_DO.get(verdict.keep, ("", ""))
    keep = instead[:1].lower() + instead[1:].rstrip(":") if instead else verdict.keep
    return Verdict(advice=verdict.advice.replace(advised, instead), figures=verdict.figures, keep=keep)


def _task(options: EvalOptions, num_folds: int) -> _Task:
    """All that can be refused without loading torch is refused here."""
    if options.folder is None:
        raise InputError("--cross-validate trains anew: give the folder with the texts, ditto eval FOLDER ....")
    if options.against is not None or options.prompts is not None or options.adapter is not None:
        raise InputError("--cross-validate has its own rivals and prompts: leave --against, --prompts, --adapter out.")
    options.judge.check()
    check_report_place(options.report)
    author = read_author(options.folder, warn)
    folds = fold(author, num_folds, seed=options.seed)
    folder_file = read_folder_file(options.folder)
    name = folder_file.name or suggest_name(adapter_name_of(options.folder, folder_file, None))
    check_name(name)
    store = AdapterStore(store_home(os.environ))
    record = store.record(name) if store.exists(name) else None
    # Not where there is no adapter: a folder of evaluations alone is one that `ditto adapters rm` does not know.
    answers = None if record is None else store.evaluation_folder(name)
    place = options.report or (answers or Path()) / REPORT_FILE
    check_report_place(place)
    return _Task(author, folds, name, folder_file, store, record, answers, place)


def _load(task: _Task, options: EvalOptions) -> _Run:
    """The base and all else that is needed, so that nothing is found missing after hours of training."""
    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    require_training(hardware)
    from ditto_cli.cli.session import Session
    from ditto_cli.method.texts import tokenise
    from ditto_cli.model.base.loading import load_policy

    settings = _settings(task, options, hardware.default_preset())
    _find_judge(options.judge)
    policy = load_policy(settings.base, hardware, cache_home(os.environ), say)
    mismatch = describe_mismatch(task.record.base, policy.identity) if task.record else None
    if mismatch is not None:
        raise IncompatibleError(f"Adapter {task.name} does not belong to this base: {mismatch}.")
    tokenise(  # refuses now what a later fold would refuse
        policy.chat, task.author.demonstrations, settings.sampling, context_tokens=policy.context_tokens
    )
    session = Session(policy, task.store)
    return _Run(task, options, settings, session, session.style_encoder(options.style_encoder))


def _settings(task: _Task, options: EvalOptions, default_preset: str) -> Settings:
    """Those that the adapter of this name was trained with; without one, those that `ditto train` would take."""
    record = task.record
    if record is not None:
        say(f"Settings: those that adapter {task.name} was trained with.")
        from ditto_cli.cli.session import trained_base

        return record.settings.model_copy(update={"base": trained_base(record, options.base, options.quantize)})
    preset = os.environ.get("DITTO_PRESET") or task.folder_file.preset or default_preset
    flags = {"base.id": options.base, "base.quantize": options.quantize}
    settings = resolve_settings(preset, task.folder_file, os.environ, flags)
    say(f"Settings: preset {preset} with {FOLDER_FILE} and the environment; there is no adapter {task.name} yet.")
    return settings


def _find_judge(judge: JudgeOptions) -> None:
    """Find the judge's model on this machine or the hub, or the package that asks a server."""
    if judge.kind == "model" and judge.model is not None:
        from ditto_cli.model.base.source import locate_base

        locate_base(judge.model, None, cache_home(os.environ), say)
    elif judge.kind == "openai":
        from ditto_cli.evaluation.judges.chat_server import Endpoint, connect

        connect(Endpoint(judge.base_url or "", judge.model or ""))  # sends nothing


def _run_fold(run: _Run, number: int) -> _Result:
    task, options, part = run.task, run.options, run.task.folds[number]
    sizes = f"{len(part.demonstrations)} texts to train on, {len(part.held_out)} kept back"
    say(f"Fold {number + 1} of {len(task.folds)}: {sizes}.")
    scratch = task.store.scratch_folder()
    try:
        with reporter() as shown:
            trained = _train(run.session.policy, part, run.settings, scratch, shown)
            findings = _findings(run, trained, part, shown)
        judge = options.judge.make(trained.session, findings, task.store.key(), task.answers or scratch)
        judge_findings(judge, findings, options.judge)
    finally:
        remove_tree(scratch)
    trained.session.forget()
    return _Result(findings, judge.name, options.judge.notes(judge))


def _report(run: _Run, results: Sequence[_Result], seconds: float) -> EvalReport:
    from ditto_cli.evaluation.summary import build_report

    task, parts = run.task, [result.findings for result in results]
    notes = [f"{task.title} stands for {len(parts)} adapters, each trained without the texts that it is judged by."]
    notes += dict.fromkeys(note for result in results for note in result.notes)
    facts = what_was_run(parts, run.session, results[0].judge, run.options, seconds)
    report = build_report(task.name, task.title, parts, facts, warnings=notes)
    return report if task.record else report.model_copy(update={"verdict": what_to_do(report.verdict)})


def _marks(task: _Task) -> list[str]:
    """Of the adapter of this name, if there is one: all texts are of that person."""
    from ditto_cli.evaluation.traces import mark_of

    return [mark_of(task.answers)] if task.answers else []


def _train(policy: Policy, part: Author, settings: Settings, home: Path, shown: Reporter) -> _Trained:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.selection import BEST
    from ditto_cli.method.run import train_ditto

    store = AdapterStore(home)
    job, selector = prepare(
        policy, _FOLD_ADAPTER, part.demonstrations, settings, watch_prompt=part.held_out[0].prompt, publish=BEST
    )
    with store.training(job.name) as kept:
        record = train_ditto(policy, job, kept, shown, selector)
    return _Trained(Session(policy, store), record)


def _findings(run: _Run, trained: _Trained, part: Author, shown: Reporter) -> Findings:
    from ditto_cli.evaluation.contestants import Contestant, write
    from ditto_cli.evaluation.eval_prompts import held_out_prompts
    from ditto_cli.evaluation.evaluate import gather

    session, record = trained.session, trained.record
    plan = plan_of(record, held_out_prompts(part), run.options)
    published, sft = (session.load(Voice(_FOLD_ADAPTER, stage)) for stage in (record.published, SFT_STAGE))
    shown_texts = few_shot(session, part, plan)
    contestants = [
        Contestant(run.task.title, "round", published),
        Contestant(BASE_CONTESTANT, "base"),
        *([] if shown_texts is None else [shown_texts]),
        Contestant(SFT_STAGE, "sft", sft),
    ]

    def writer(contestant: Contestant, plan: WritingPlan) -> list[Writing]:
        shown.stage_started(f"{contestant.title}: writing", len(plan.prompts) * plan.num, "samples")
        writings = write(session.policy, contestant, plan, on_finished=lambda done: shown.stage_advanced(done, {}))
        shown.stage_ended()
        return writings

    findings = gather(session.policy, part, contestants, plan, writer=writer, encoder=run.encoder, reporter=shown)
    findings.extracted.update(extracted_in_training(record, run.task.title))
    return findings
