"""`ditto eval FOLDER --cross-validate K`: train K times with a part of the texts kept back, and judge on that part.

The strict answer: every text of the person is written for by a model that never saw it. Nothing of it is kept but
the report.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import EvalOptions
from ditto_cli.cli.context import (
    check_base,
    find_base,
    folder_adapter,
    load_base,
    named_preset,
    open_store,
    require_training,
)
from ditto_cli.cli.eval import check_report_place, contestant_of, load_encoder, plan_of, show_report, write_page
from ditto_cli.cli.judging import check_judge, notes_on, run_judge, sends_texts_away, server_of
from ditto_cli.cli.render import reporter, say
from ditto_cli.cli.sample import Session, base_settings
from ditto_cli.config import FOLDER_FILE, FolderFile, Settings, read_folder_file, resolve_settings
from ditto_cli.demonstrations.folder import without_kept_back
from ditto_cli.errors import InputError, InterruptedRun
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, FEW_SHOT_CONTESTANT, Author
from ditto_cli.evaluation.report import Verdict
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.interrupts import stopped
from ditto_cli.method.comparisons import check_comparable
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, AdapterStore
from ditto_cli.types import SFT_STAGE, Reporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.evaluation.evaluate import Findings
    from ditto_cli.model.encoder import StyleEncoder
    from ditto_cli.model.policy.policy import Policy

REPORT_FILE = "cross-validation.html"
TRAINED = "a trained adapter"  # title of what each fold's training published, where no adapter has a name yet
_FOLD = "fold"  # name of each fold's adapter
# Where the folds' adapters were all that there was: how the verdict advises one of them, and what can be done instead.
_TO_DO = {
    TRAINED: (f"Keep {TRAINED}:", "Train on all the texts:"),
    SFT_STAGE: ("Use sft:", "Train on all the texts with --publish sft:"),
}


def run_cross_validation(options: EvalOptions, num_folds: int) -> None:
    """Train and evaluate on every fold, and report on all of them together."""
    started = time.monotonic()
    if options.folder is None:
        raise InputError("--cross-validate trains anew: give the folder with the texts, ditto eval FOLDER ....")
    if options.against is not None or options.prompts is not None or options.adapter is not None:
        raise InputError("--cross-validate has its own rivals and prompts: leave --against, --prompts, --adapter out.")
    check_judge(options)
    check_report_place(options.report)
    author = read_author(options.folder)
    folds = fold(author, num_folds, seed=options.seed)
    folder_file = read_folder_file(options.folder)
    name = folder_adapter(options.folder, folder_file)
    store = open_store()
    record = store.record(name) if store.exists(name) else None
    # Not where there is no adapter: a folder of evaluations alone is one that `ditto adapters rm` does not know.
    answers = None if record is None else store.evaluation_folder(name)
    place = options.report or (answers or Path()) / REPORT_FILE
    check_report_place(place)

    settings, policy = _load(options, author, name, record, folder_file)
    from ditto_cli.evaluation.evaluate import build_report

    title, encoder = TRAINED if record is None else name, load_encoder(options, policy.hardware)
    for part in folds:
        check_comparable(settings, part.pairs)
    parts, judge_name, notes = [], "", []
    try:
        for number, part in enumerate(folds, start=1):
            sizes = f"{len(part.demonstrations)} texts to train on, {len(part.held_out)} kept back"
            say(f"Fold {number} of {len(folds)}: {sizes}.")
            with store.scratch_folder() as scratch:
                session = Session(policy, AdapterStore(scratch))
                with reporter() as shown:
                    findings = _compete(session, part, title, settings, options, encoder, shown)
                judge = run_judge(options, session, findings, store.key(), answers or scratch)
            session.forget()
            parts.append(findings)
            judge_name = judge_name or judge.name
            notes += notes_on(judge)
    except (KeyboardInterrupt, InterruptedRun):  # what the training says of stages that it kept is not so here
        but = " but answers of the judge" if answers and options.judge in ("openai", "me") else ""
        raise stopped(f"Cross-validation was interrupted; nothing of it is kept{but}.") from None

    first = f"{title} stands for {len(parts)} adapters, each trained without the texts that it is judged by."
    report = build_report(
        name,
        parts,
        policy,
        judge_name,
        seconds=time.monotonic() - started,
        is_judged_elsewhere=sends_texts_away(options),
        warnings=[first, *dict.fromkeys(notes)],
    )
    if record is None:
        report = report.model_copy(update={"verdict": what_to_do(report.verdict)})
    show_report(report, as_json=options.as_json)
    write_page(report, place, place.parent)


def fold(author: Author, num_folds: int, *, seed: int) -> list[Author]:
    """The demonstrations in `num_folds` parts of nearly equal size, each kept back once."""
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
                without_kept_back(
                    author.pairs,
                    [part for text in texts if text.id in kept_back for part in (text.prompt, text.completion)],
                )[0],
            )
        )
    return folds


def what_to_do(verdict: Verdict) -> Verdict:
    """The verdict on folds' adapters that are gone, as what the user can do: train, or keep what needs no training."""
    advised, instead = _TO_DO.get(verdict.keep, ("", ""))
    keep = instead[:1].lower() + instead[1:].rstrip(":") if instead else verdict.keep
    return Verdict(advice=verdict.advice.replace(advised, instead), figures=verdict.figures, keep=keep)


def _load(
    options: EvalOptions, author: Author, name: str, record: AdapterRecord | None, folder_file: FolderFile
) -> tuple[Settings, Policy]:
    """The base and all else that is needed, so that nothing is found missing after hours of training."""
    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    require_training(hardware)
    from ditto_cli.model.base.template import tokenise

    if record is not None:
        say(f"Settings: those that adapter {name} was trained with.")
        base = base_settings(record, hardware, options.base, options.quantize)
        settings = record.settings.model_copy(update={"base": base})
    else:
        preset = named_preset(None, folder_file) or hardware.default_preset()
        flags = {"base.id": options.base, "base.quantize": options.quantize}
        settings = resolve_settings(preset, folder_file, os.environ, flags)
        say(f"Settings: preset {preset} with {FOLDER_FILE} and the environment; there is no adapter {name} yet.")
    # The judge's model on this machine or the hub, or the package that asks a server.
    if options.judge == "model" and options.model is not None:
        find_base(options.model)
    elif options.judge == "openai":
        from ditto_cli.evaluation.judges.by_openai import connect

        connect(server_of(options))  # sends nothing
    policy = load_base(settings.base, hardware)
    if record is not None:
        check_base(name, record, policy.identity)
    # Refuses now what a later fold would refuse.
    tokenise(
        policy.chat, author.demonstrations, settings.sampling, context_tokens=policy.context_tokens, pairs=author.pairs
    )
    return settings, policy


def _compete(
    session: Session,
    part: Author,
    title: str,
    settings: Settings,
    options: EvalOptions,
    encoder: StyleEncoder | None,
    shown: Reporter,
) -> Findings:
    """Train a fold's adapter, which competes as `title`; what it and its rivals write for the texts kept back."""
    from ditto_cli.evaluation.contestants import Contestant, write
    from ditto_cli.evaluation.eval_prompts import held_out_prompts
    from ditto_cli.evaluation.evaluate import write_and_measure
    from ditto_cli.evaluation.selection import RoundSelector
    from ditto_cli.method.run import Job, train_ditto

    policy, texts, watch_prompt = session.policy, part.demonstrations, part.held_out[0].prompt
    job = Job.of(policy, _FOLD, texts, settings, watch_prompt, pairs=part.pairs)
    selector = RoundSelector(policy, texts, part.pairs, settings, job.texts.max_new_tokens)
    with session.store.training(job.name) as kept:
        record = train_ditto(policy, job, kept, shown, selector)
    plan = plan_of(record, held_out_prompts(part), options)
    rivals = (BASE_CONTESTANT, FEW_SHOT_CONTESTANT, SFT_STAGE)
    competing = (contestant_of(rival, session, record, _FOLD, part, plan) for rival in rivals)
    return write_and_measure(
        policy,
        part,
        [Contestant(title, "round", session.load(Voice(_FOLD, record.published))), *filter(None, competing)],
        plan,
        record,
        writer=lambda contestant, plan: write(policy, contestant, plan, shown),
        encoder=encoder,
        reporter=shown,
    )
