"""`ditto eval`: who writes for which prompts, who judges, and the report, on stdout and as a page."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import EvalOptions
from ditto_cli.cli.context import folder_adapter, only_adapter, open_store
from ditto_cli.cli.demos import keep_picks
from ditto_cli.cli.judging import check_judge, notes_on, run_judge, sends_texts_away
from ditto_cli.cli.render import (
    Bar,
    print_bars,
    print_facts,
    print_json,
    print_table,
    print_text,
    reporter,
    say,
    stdout_console,
    warn,
)
from ditto_cli.cli.sample import Session, open_session
from ditto_cli.config import read_folder_file
from ditto_cli.errors import InputError
from ditto_cli.evaluation.judgements import BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, Author
from ditto_cli.evaluation.report import REPORT_FILE, EvalReport, stage_kind
from ditto_cli.evaluation.report_tables import overview, warnings_by_subject, win_rates
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.store import AdapterRecord, AdapterStore, learnt_hashes, write_text
from ditto_cli.types import Reporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import WriteTexts
    from ditto_cli.evaluation.judgements import EvalPrompt, Writing
    from ditto_cli.model.encoder import StyleEncoder
    from ditto_cli.model.hardware import Hardware

_MAX_PROMPTS_FILE_BYTES = 2**20
_NARROW, _FIGURES_IN_NARROW = 90, 5  # columns of a terminal below which the contestants' figures take two tables


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
    if options.against and TEXTS_CONTESTANT in rivals and store.exists(TEXTS_CONTESTANT):
        warn(
            f"--against {TEXTS_CONTESTANT} is {name} with its texts at hand; the adapter of that name competes by its "
            f"stages, as in {TEXTS_CONTESTANT}:sft."
        )
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
    bars = []
    for name, (rate, shows, rests_on) in win_rates(report).rows:
        assert rate.bar is not None
        assert rate.interval is not None
        bars.append(Bar(name, rate.bar, rate.interval, f"{rate.text} {shows.text}", rests_on.text))
    if bars:
        print_text("")
        print_bars(f"win rate of {report.evaluated.title} with its 95% interval", bars)
    table = overview(report)
    names = [column.short for column in table.columns]
    is_narrow = stdout_console().width < _NARROW
    for part in (slice(_FIGURES_IN_NARROW), slice(_FIGURES_IN_NARROW, None)) if is_narrow else (slice(None),):
        if names[part]:
            rows = [(name, *(cell.text for cell in cells[part])) for name, cells in table.rows]
            print_text("")
            print_table("", ("contestant", *names[part]), rows)
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
        with path.open(encoding="utf-8-sig") as file:
            lines = file.read(_MAX_PROMPTS_FILE_BYTES).splitlines()
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
