"""`ditto eval`: who writes for which prompts, who judges, and the report, on stdout and as a page."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import EvalOptions
from ditto_cli.cli.context import (
    confirm,
    find_base,
    folder_adapter,
    in_terminal,
    load_base,
    named_preset,
    only_adapter,
    open_store,
    require_training,
)
from ditto_cli.cli.demos import keep_pair
from ditto_cli.cli.render import (
    ask,
    print_facts,
    print_json,
    print_side_by_side,
    print_table,
    print_text,
    reporter,
    say,
    stderr_console,
    warn,
)
from ditto_cli.cli.sample import Session, base_settings, open_session
from ditto_cli.config import (
    FOLDER_FILE,
    PAIRS_FILE,
    BaseSettings,
    FolderFile,
    Settings,
    read_folder_file,
    resolve_settings,
)
from ditto_cli.demonstrations.folder import read_pairs, without_kept_back
from ditto_cli.errors import InputError, InterruptedRun
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, Author
from ditto_cli.evaluation.judges.by_person import PERSON
from ditto_cli.evaluation.report import REPORT_FILE, EvalReport, stage_kind
from ditto_cli.evaluation.report_tables import overview, warnings_by_subject, win_rates
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.interrupts import stopped
from ditto_cli.method.comparisons import check_comparable
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, AdapterStore, check_base, learnt_hashes, write_text
from ditto_cli.types import SFT_STAGE, Reporter, SilentReporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import Findings, WriteTexts
    from ditto_cli.evaluation.judgements import EvalPrompt, Judge, Writing
    from ditto_cli.evaluation.judges.by_openai import Endpoint, OpenAIJudge
    from ditto_cli.model.encoder import StyleEncoder
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy.policy import Policy

_FOLDS_REPORT_FILE = "cross-validation.html"
TRAINED = "a trained adapter"  # title of what each fold's training published, where no adapter has a name yet
_FOLD = "fold"  # name of each fold's adapter
_MUCH_BIAS = 0.5
_NOBODY_TO_ASK = "Texts would leave this machine: say --yes where nobody can be asked."


def run_eval(options: EvalOptions) -> None:
    """See `ditto eval --help`."""
    given = [] if options.prompts is None else _read_prompts(options.prompts)
    evaluate_adapter(options, given, lambda report: show_report(report, as_json=options.as_json))


def evaluate_adapter(
    options: EvalOptions, given: Sequence[str] | None, shown_by: Callable[[EvalReport], None]
) -> EvalReport:
    """Evaluate one adapter, and write its page; what may fail or be stopped comes after the report was shown.

    `given` is what everybody writes for, if it is not to be chosen here.
    """
    started = time.monotonic()
    store = open_store()
    name = _adapter_name(options, store)
    record = store.record(name)
    author, notes = _author(name, record, options.folder, store)
    rivals = rivals_of(name, record, options.against)
    check_judge(options)
    check_report_place(options.report)

    main = Voice(name, record.published)
    prompted = (FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT)
    voices = [main, *(voice_of(rival, record, name) for rival in rivals if rival not in prompted)]
    session = open_session(voices, store, options)
    from ditto_cli.evaluation.contestants import Contestant
    from ditto_cli.evaluation.eval_prompts import evaluation_prompts, given_prompts
    from ditto_cli.evaluation.evaluate import build_report, pairs_to_judge, write_and_measure
    from ditto_cli.evaluation.judges.by_person import keep_pairs

    folder = store.evaluation_folder(name)
    prompts = given_prompts(given) if given else evaluation_prompts(author, folder)
    trained_prompts = {text.prompt for text in author.learnt}
    if num_trained := sum(prompt.prompt in trained_prompts for prompt in prompts):
        notes.append(
            f"{num_trained} of {len(prompts)} prompts are those of demonstrations: contestants were trained on them."
        )
    plan = plan_of(record, prompts, options)
    competing = (contestant_of(rival, session, record, name, author, plan) for rival in rivals)
    own = Contestant(main.title, stage_kind(record.published), session.load(main))
    contestants = [own, *filter(None, competing)]
    if len(contestants) == 1:
        raise InputError("Nobody is left to compare with: give another rival with --against, or a shorter prompt.")
    with reporter() as shown:
        writer = kept_writer(session, store, folder, shown)
        encoder = load_encoder(options, session.policy.hardware)
        findings = write_and_measure(
            session.policy, author, contestants, plan, record, writer=writer, encoder=encoder, reporter=shown
        )
    others = sorted({other for contestant in contestants for other in contestant.participants})
    keep_pairs(folder, pairs_to_judge(findings, every_pair=False), plan.seed, others)
    judge = run_judge(options, session, findings, store.key(), folder)
    report = build_report(
        name,
        [findings],
        session.policy,
        judge.name,
        seconds=time.monotonic() - started,
        is_judged_elsewhere=sends_texts_away(options),
        warnings=[*notes, *notes_on(judge)],
    )
    shown_by(report)
    write_page(report, options.report, folder)
    keep_picks(judge, findings, options.folder or Path(record.folder or ""))
    return report


def run_cross_validation(options: EvalOptions, num_folds: int) -> None:
    """Train `num_folds` times with a part of the texts kept back, judge on that part, and report on all together.

    The strict answer: every text of the person is written for by a model that never saw it. Nothing is kept but the
    report.
    """
    started = time.monotonic()
    if options.folder is None:
        raise InputError("--cross-validate trains anew: give the folder with the texts, ditto eval FOLDER ....")
    if options.against is not None or options.prompts is not None or options.adapter is not None:
        raise InputError("--cross-validate has its own rivals and prompts: leave --against, --prompts, --adapter out.")
    check_judge(options)
    author = read_author(options.folder)
    folds = fold(author, num_folds, seed=options.seed)
    folder_file = read_folder_file(options.folder)
    name = folder_adapter(options.folder, folder_file)
    store = open_store()
    record = store.record(name) if store.exists(name) else None
    # Not where there is no adapter: a folder of evaluations alone is one that `ditto adapters rm` does not know.
    answers = None if record is None else store.evaluation_folder(name)
    place = options.report or (answers or Path()) / _FOLDS_REPORT_FILE
    check_report_place(place)

    settings, policy = _load_for_folds(options, author, name, record, folder_file)
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
    if record is None:
        first += f" None of them is kept: ditto train {options.folder} makes one of all the texts."
    report = build_report(
        name,
        parts,
        policy,
        judge_name,
        seconds=time.monotonic() - started,
        is_judged_elsewhere=sends_texts_away(options),
        warnings=[first, *dict.fromkeys(notes)],
    )
    show_report(report, as_json=options.as_json)
    write_page(report, place, place.parent)


def fold(author: Author, num_folds: int, *, seed: int) -> list[Author]:
    """The demonstrations in `num_folds` parts of nearly equal size, each kept back once."""
    texts = author.demonstrations
    # Parts of one text stay together: what is learnt of one gives the others away.
    wholes = list(dict.fromkeys(text.id.partition("#part")[0] for text in texts))
    if len(wholes) < 2:
        raise InputError("--cross-validate keeps texts back to judge by: give a folder with two texts or more.")
    if num_folds > len(wholes):
        raise InputError(f"--cross-validate {num_folds}: with {len(wholes)} whole texts it can be 2 to {len(wholes)}.")
    random.Random(derive_seed(seed, "folds")).shuffle(wholes)
    folds = []
    for index in range(num_folds):
        apart = set(wholes[index::num_folds])
        kept_back = {text.id for text in texts if text.id.partition("#part")[0] in apart}
        folds.append(
            Author(
                tuple(text for text in texts if text.id not in kept_back),
                tuple(text for text in texts if text.id in kept_back),
                without_kept_back(
                    author.pairs,
                    [part for text in texts if text.id in kept_back for part in (text.prompt, text.completion)],
                )[0],
            )
        )
    return folds


def _load_for_folds(
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


def rivals_of(name: str, record: AdapterRecord, against: str | None) -> list[str]:
    """Titles to compete against, as `--against` names them; else base, few-shot, texts at hand, SFT, the last round.

    Stages of the adapter itself may be named `round1`, `1` or `alice:round1`; each counts once.
    """
    if against is None:
        first, *_, last = (*record.stage_names, record.stage_names[-1])
        others = [stage for stage in dict.fromkeys((first, last)) if stage != record.published]
        return [BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, *others]
    rivals = []
    for word in against.split(","):
        rival = word.strip()
        own = rival.removeprefix(f"{name}:")
        known = next((s for s in record.stage_names if own in (s, s.removeprefix("round"))), rival)
        if not rival:
            raise InputError("--against has an empty name: give names like base,few-shot,sft,round1,bob.")
        if known in (record.published, name):
            raise InputError(f"--against {rival}: that is the published stage, which is evaluated.")
        if known not in rivals:
            rivals.append(known)
    return rivals


def voice_of(rival: str, record: AdapterRecord, name: str) -> Voice:
    """The voice that a rival speaks with."""
    if rival in record.stage_names:
        return Voice(name, rival)
    voice = Voice.parse(rival)
    if voice.also:  # its texts would belong to several adapters, and be forgotten with one of them
        raise InputError(f"--against {rival}: a mix is not evaluated; take its parts.")
    return voice


def contestant_of(
    rival: str, session: Session, record: AdapterRecord, name: str, author: Author, plan: WritingPlan
) -> Contestant | None:
    """Who competes under a title that `rivals_of` gives; None where it would only be the base once more."""
    from ditto_cli.evaluation.contestants import Contestant, few_shot, with_texts

    if rival == BASE_CONTESTANT:
        return Contestant(rival, "base")
    if rival == FEW_SHOT_CONTESTANT:
        return few_shot(session.policy, author, plan)
    if rival == TEXTS_CONTESTANT:
        adapter = session.load(voice_of(record.published, record, name))
        assert adapter is not None
        return with_texts(adapter, author, record)
    kind = stage_kind(rival) if rival in record.stage_names else "adapter"
    return Contestant(rival, kind, session.load(voice_of(rival, record, name)))


def kept_writer(session: Session, store: AdapterStore, folder: Path, shown: Reporter) -> WriteTexts:
    """Writes as a contestant, or finds what it wrote in an earlier evaluation of this folder."""
    from ditto_cli.evaluation.contestants import write
    from ditto_cli.evaluation.evaluation_files import WritingStore

    policy = session.policy
    base = f"{policy.identity.model_dump_json()} {policy.quantize} {policy.hardware.device.type}"

    kept = WritingStore(folder, key=store.key(), base=base)

    def writer(contestant: Contestant, plan: WritingPlan) -> list[Writing]:
        weights = session.digest(contestant.adapter)
        writings = kept.get(contestant, weights, plan)
        if writings is None:
            writings = write(policy, contestant, plan, shown)
            kept.put(contestant, weights, plan, writings)
        return writings

    return writer


def show_report(report: EvalReport, *, as_json: bool = False) -> None:
    """Print the report for people, the answer first, or as JSON."""
    if as_json:
        print_json(report)
        return
    print_facts({"verdict": "\n         ".join(report.verdict.lines)})
    for title, subject, table in (
        (f"win rate of {report.evaluated.title} with its 95% interval", "", win_rates(report)),
        ("", "contestant", overview(report)),
    ):
        if table.rows:
            names = [column.short or column.name.lower() for column in table.columns]
            print_text("")
            print_table(
                title, (subject, *names), [(name, *(cell.text for cell in cells)) for name, cells in table.rows]
            )
    warnings = warnings_by_subject(report)
    if warnings:
        print_text("")
        print_table("warnings", ("about", "warning"), warnings)


def write_page(report: EvalReport, place: Path | None, folder: Path) -> None:
    """Write the report as a page to a place of the user's, or as page and data into its evaluation folder."""
    from ditto_cli.evaluation.evaluation_files import keep_report
    from ditto_cli.evaluation.html import render_html

    if place is None:
        keep_report(folder, report, render_html(report))
    else:
        write_text(place, render_html(report))
    say(f"Report: {place or folder / REPORT_FILE} (it holds private texts)")


def load_encoder(options: EvalOptions, hardware: Hardware) -> StyleEncoder | None:
    """A neural style encoder for the panel, if one is wanted."""
    from ditto_cli.model.encoder import load_style_encoder

    return None if options.style_encoder is None else load_style_encoder(options.style_encoder, hardware)


def plan_of(record: AdapterRecord, prompts: Sequence[EvalPrompt], options: EvalOptions) -> WritingPlan:
    """What all contestants share: temperature and length limit are those of the adapter's training."""
    from ditto_cli.evaluation.contestants import WritingPlan

    temperature = record.settings.sampling.temperature if options.temperature is None else options.temperature
    return WritingPlan(tuple(prompts), options.num, options.seed, temperature, record.max_new_tokens)


def sends_texts_away(options: EvalOptions) -> bool:
    """Whether the judge is on another machine."""
    return options.judge == "openai" and server_of(options).leaves_machine


def check_judge(options: EvalOptions) -> None:
    """Refuse what cannot work, before anything is loaded."""
    if options.judge == "openai":
        sends_away = sends_texts_away(options)
        if options.offline and sends_away:
            raise InputError("--offline forbids a judge on another machine: take one on this machine, or leave it.")
        if sends_away and not options.sure and not in_terminal():
            raise InputError(_NOBODY_TO_ASK)
    elif options.base_url is not None:
        raise InputError(f"--base-url belongs to --judge openai, not to --judge {options.judge}.")
    elif options.model is not None and options.judge != "model":
        raise InputError(f"--model belongs to --judge model and --judge openai, not to --judge {options.judge}.")


def server_of(options: EvalOptions) -> Endpoint:
    """The judge's server, to which nothing is sent yet."""
    from ditto_cli.evaluation.judges.by_openai import Endpoint

    if not options.model or not options.base_url:
        raise InputError(
            "--judge openai needs --base-url and --model, as in "
            "--judge openai --base-url http://127.0.0.1:8000/v1 --model NAME."
        )
    return Endpoint(options.base_url, options.model)


def run_judge(options: EvalOptions, session: Session, findings: Findings, key: bytes, folder: Path) -> Judge:
    """Have a judge judge, after what must be asked and with what should be said; who it was.

    Answers of a person or a server are kept in `folder`.
    """
    from ditto_cli.evaluation.evaluate import judge_all
    from ditto_cli.evaluation.judges import Ledger
    from ditto_cli.evaluation.judges.by_model import ModelJudge
    from ditto_cli.evaluation.judges.by_openai import OpenAIJudge
    from ditto_cli.evaluation.judges.by_person import PersonJudge, Shown
    from ditto_cli.evaluation.judges.by_style import StyleJudge

    demonstrations = findings.author.demonstrations
    judge: Judge
    if options.judge == "style":
        judge = StyleJudge(findings.appraisal_of)
    elif options.judge == "model":
        policy = session.policy
        if options.model is not None:
            policy = load_base(BaseSettings(id=options.model, quantize="auto"), policy.hardware)
        judge = ModelJudge(policy, demonstrations)
    elif options.judge == "openai":
        judge = OpenAIJudge(server_of(options), demonstrations, Ledger.of(folder, key, options.judge))
        _ask_to_send(options, judge, findings)
    else:

        def show(shown: Shown) -> None:
            say(f"\n{shown.number} of {shown.total}. A text of the author's, to compare with:")
            say(demonstrations[(shown.number - 1) % len(demonstrations)].completion + "\n")
            print_side_by_side(shown.prompt, [("a", shown.left), ("b", shown.right)], console=stderr_console())

        judge = PersonJudge(Ledger.of(folder, key, options.judge), ask, show, seed=findings.plan.seed)
    with nullcontext(SilentReporter()) if options.judge == "me" else reporter() as shown:  # no bars beside questions
        # The other judges cost a person's time, money or minutes.
        judge_all(findings, judge, shown, every_pair=options.judge == "style")
    if isinstance(judge, OpenAIJudge):
        usage = judge.usage
        say(
            f"{judge.name}: {usage.num_questions} questions, {usage.prompt_tokens} + {usage.completion_tokens} tokens"
            + (f", {usage.money(*options.prices):.2f} at the given prices" if options.prices else "")
            + f"; {usage.num_cached} answers from earlier runs."
        )
    return judge


def _ask_to_send(options: EvalOptions, server: OpenAIJudge, findings: Findings) -> None:
    """Say what a server will be sent and what that costs, and ask before texts leave the machine."""
    from ditto_cli.evaluation.evaluate import pairs_to_judge

    cost = server.describe_cost(pairs_to_judge(findings, every_pair=False))
    say(
        f"{server.name}: {cost.num_questions} questions, about {cost.prompt_tokens} tokens"
        + (f", about {cost.money(*options.prices):.2f} at the given prices" if options.prices else "")
        + (f"; {cost.num_cached} are answered already." if cost.num_cached else ".")
    )
    if sends_texts_away(options) and cost.num_questions:
        warn(
            f"Your demonstrations and the texts to judge leave this machine: they are sent to {options.base_url}, "
            "whose owner can read and keep them."
        )
        if not options.sure and not confirm("Send them?", _NOBODY_TO_ASK):
            raise InterruptedRun("Nothing was sent.")


def notes_on(judge: Judge) -> list[str]:
    """What the reader of the report should know about a judge."""
    bias = getattr(judge, "position_bias", None)
    if bias is None or bias <= _MUCH_BIAS:
        return []
    return [
        f"the judge {judge.name} preferred the same position in {bias:.0%} of the pairs whichever text stood "
        "there: it may be too small to judge style"
    ]


def keep_picks(judge: Judge, findings: Findings, folder: Path) -> None:
    """Keep what a person picked as pairs, if she says yes.

    Not what other adapters wrote, nor for prompts of texts kept back.
    """
    if judge.name != PERSON or not in_terminal():
        return
    others = {contestant.title for contestant in findings.contestants if contestant.participants}
    known, picked = {(pair.prompt, pair.chosen, pair.rejected) for pair in read_pairs(folder)[0]}, []
    for judgement in findings.judgements:
        pair = judgement.pair
        sides = (pair.first, pair.second) if judgement.score == 1 else (pair.second, pair.first)
        is_clear = judgement.score in (0.0, 1.0) and pair.prompt.source != "held_out"
        texts = (pair.prompt.prompt, sides[0].text, sides[1].text)
        if is_clear and texts not in known and not any(side.contestant in others for side in sides):
            picked.append(texts)
    if picked and confirm(f"Keep these {len(picked)} picks in {folder / PAIRS_FILE}, to learn from?", ""):
        num = sum(keep_pair(folder, *texts) for texts in picked)
        say(f"New pairs: {num}. To learn from them: ditto train {folder}")


def _author(name: str, record: AdapterRecord, given: Path | None, store: AdapterStore) -> tuple[Author, list[str]]:
    """The texts of an adapter, without any that it was trained on among those kept back; and what the report says."""
    folder = given or (Path(record.folder) if record.folder else None)
    if folder is None or not folder.is_dir():
        where = f"are not at {folder} any more" if folder else "were not remembered"
        raise InputError(
            f"The texts that {name} was trained on {where}: say where: ditto eval FOLDER --adapter {name}."
        )
    author = read_author(folder)
    pairs = author.pairs if record.settings.rounds.num else ()  # SFT alone learns of none
    key = store.key()
    trained = learnt_hashes(key, author.demonstrations, pairs)
    notes = []
    changed = len(set(trained["demonstration_hashes"]) ^ set(record.demonstration_hashes))
    changed += len(set(trained["pair_hashes"]) ^ set(record.pair_hashes))
    if changed:
        notes.append(f"The texts are not those that {name} was trained on ({changed} differ): figures may mislead.")
    kept_back = learnt_hashes(key, author.held_out, ())["demonstration_hashes"]
    known = {*record.demonstration_hashes, *record.pair_hashes}
    learned = [text.id for text, digest in zip(author.held_out, kept_back, strict=True) if digest in known]
    if learned:
        notes.append(f"{name} was trained on {', '.join(learned)}: left out of the texts kept back.")
    for note in notes:
        warn(note)
    return replace(author, held_out=tuple(t for t in author.held_out if t.id not in learned)), notes


def _adapter_name(options: EvalOptions, store: AdapterStore) -> str:
    if options.adapter is not None:
        return options.adapter
    if options.folder is None:
        return only_adapter(store)
    if not options.folder.is_dir():
        raise InputError(f"{options.folder} is not a folder: give the one that holds the person's texts.")
    return folder_adapter(options.folder, read_folder_file(options.folder))


def _read_prompts(path: Path) -> list[str]:
    """A prompt a line; empty lines and lines that begin with # are left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--prompts {path} cannot be read ({type(error).__name__}): give a UTF-8 text file.") from None
    prompts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    if not prompts:
        raise InputError(f"--prompts {path} holds no prompt: write one a line.")
    return prompts


def check_report_place(place: Path | None) -> None:
    """Refuse a place for the report that cannot be written to, before hours of work are done for it."""
    if place is not None and not place.parent.is_dir():
        raise InputError(f"--report {place}: its folder does not exist.")
    if place is not None and place.is_dir():
        raise InputError(f"--report {place}: that is a folder; name a file in it.")
