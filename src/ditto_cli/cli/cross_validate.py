"""`ditto eval FOLDER --cross-validate K`: train K times with a part of the texts kept back, and judge on that part.

The strict answer: every text of the person is written for by a model that never saw it. Nothing of it is kept but
the report.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.eval import (
    EvalOptions,
    few_shot,
    judge_findings,
    plan_of,
    read_author,
    show_and_write,
    what_was_run,
)
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import say
from ditto_cli.config import Settings, adapter_name_of, read_folder_file, resolve_settings
from ditto_cli.errors import InputError
from ditto_cli.evaluation.types import BASE_CONTESTANT, Author
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterStore, cache_home, store_home, suggest_name
from ditto_cli.types import SFT_STAGE, Reporter

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.evaluation.types import Writing
    from ditto_cli.model.policy import Policy
    from ditto_cli.store import AdapterRecord

REPORT_FILE = "cross-validation.html"
TRAINED = "trained"  # title of what each fold's training published
_FOLD_ADAPTER = "fold"


@dataclass(frozen=True)
class _Trained:
    """One fold's session, with its adapter in a store that goes away."""

    session: Session
    record: AdapterRecord


def run_cross_validation(options: EvalOptions, num_folds: int, *, as_json: bool) -> None:
    """Train and evaluate on every fold, and report on all of them together.

    Raises:
        DittoError: as the folder, the settings, the base and the judge give reason to.
    """
    started = time.monotonic()
    if options.folder is None:
        raise InputError("--cross-validate trains anew: give the folder with the texts, ditto eval FOLDER ....")
    if options.against is not None or options.prompts is not None or options.adapter is not None:
        raise InputError("--cross-validate has its own rivals and prompts: leave --against, --prompts, --adapter out.")
    options.judge.check()
    author = read_author(options.folder)
    folds = fold(author, num_folds, seed=options.seed)
    folder_file = read_folder_file(options.folder)
    name = folder_file.name or suggest_name(adapter_name_of(options.folder, folder_file, None))

    from ditto_cli.evaluation.summary import Evaluated, build_report
    from ditto_cli.model.hardware import detect
    from ditto_cli.model.policy import load_policy

    hardware = detect(options.device)
    flags = {"base.id": options.base, "base.quantize": options.quantize}
    preset = os.environ.get("DITTO_PRESET") or folder_file.preset or hardware.default_preset()
    settings = resolve_settings(preset, folder_file, os.environ, flags)
    policy = load_policy(settings.base, hardware, cache_home(os.environ), say)
    store = AdapterStore(store_home(os.environ))
    place = store.evaluation_folder(name)
    parts, judge_names, notes = [], [], []
    for number, part in enumerate(folds, start=1):
        sizes = f"{len(part.demonstrations)} texts to train on, {len(part.held_out)} kept back"
        say(f"Fold {number} of {len(folds)}: {sizes}.")
        with tempfile.TemporaryDirectory(prefix="ditto-") as scratch, reporter() as shown:
            trained = _train(policy, part, settings, Path(scratch), shown)
            findings = _findings(trained, part, settings, options, shown)
        judge = options.judge.make(trained.session, findings, store.key(), place)
        judge_findings(judge, findings, options.judge)
        judge_names.append(judge.name)
        notes += options.judge.notes(judge)
        parts.append(findings)
        trained.session.forget()
    run = what_was_run(parts, trained.session, judge_names[0], options, time.monotonic() - started)
    report = build_report(Evaluated(name, TRAINED), parts, run, warnings=list(dict.fromkeys(notes)))
    show_and_write(report, options.report or place / REPORT_FILE, as_json=as_json)


def fold(author: Author, num_folds: int, *, seed: int) -> list[Author]:
    """The demonstrations in `num_folds` parts of nearly equal size, each kept back once.

    Raises:
        InputError: there are not enough texts.
    """
    texts = list(author.demonstrations)
    if not 2 <= num_folds <= len(texts):
        raise InputError(f"--cross-validate {num_folds}: with {len(texts)} texts it can be 2 to {len(texts)}.")
    random.Random(derive_seed(seed, "folds")).shuffle(texts)
    folds = []
    for index in range(num_folds):
        kept_back = {text.id for text in texts[index::num_folds]}
        folds.append(
            Author(
                tuple(text for text in author.demonstrations if text.id not in kept_back),
                tuple(text for text in author.demonstrations if text.id in kept_back),
            )
        )
    return folds


def _train(policy: Policy, part: Author, settings: Settings, home: Path, shown: Reporter) -> _Trained:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.selection import BEST, RoundSelector, selection_plan
    from ditto_cli.method.rounds import encode_demonstrations
    from ditto_cli.method.train import Job, train_ditto

    store = AdapterStore(home)
    encoded = encode_demonstrations(
        policy.chat, part.demonstrations, settings.sampling, context_tokens=policy.context_tokens
    )
    plan = selection_plan(
        part.demonstrations,
        seed=settings.seed,
        temperature=settings.sampling.temperature,
        max_new_tokens=encoded.max_new_tokens,
    )
    job = Job(_FOLD_ADAPTER, part.demonstrations, settings, part.held_out[0].prompt)
    selector = RoundSelector(policy, part.demonstrations, plan, publish=BEST, reporter=shown)
    record = train_ditto(policy, job, store, shown, selector)
    return _Trained(Session(policy, store), record)


def _findings(trained: _Trained, part: Author, settings: Settings, options: EvalOptions, shown: Reporter) -> Findings:
    from ditto_cli.cli.session import Voice
    from ditto_cli.evaluation.contestants import Contestant, write
    from ditto_cli.evaluation.evaluate import gather
    from ditto_cli.evaluation.prompts import held_out_prompts

    session, record = trained.session, trained.record
    plan = plan_of(record, held_out_prompts(part), options)
    published, sft = (session.load(Voice(_FOLD_ADAPTER, stage)) for stage in (record.published, SFT_STAGE))
    contestants = [
        Contestant(TRAINED, "round", published),
        Contestant(BASE_CONTESTANT, "base"),
        few_shot(session, part, plan),
        Contestant(SFT_STAGE, "sft", sft),
    ]

    def writer(contestant: Contestant, plan: WritingPlan) -> list[Writing]:
        shown.stage_started(f"{contestant.title}: writing", len(plan.prompts) * plan.num, "samples")
        writings = write(session.policy, contestant, plan, on_finished=lambda done: shown.stage_advanced(done, {}))
        shown.stage_ended()
        return writings

    encoder = session.style_encoder(options.style_encoder)
    return gather(session.policy, part, contestants, plan, writer=writer, encoder=encoder, reporter=shown)
