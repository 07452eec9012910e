"""`ditto eval`: who writes for which prompts, who judges, and the report."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.adapters import only_adapter
from ditto_cli.cli.judging import JudgeOptions, consent, say_usage
from ditto_cli.cli.progress import reporter
from ditto_cli.cli.render import as_json_ready, print_json, say, warn
from ditto_cli.config import adapter_name_of, read_folder_file
from ditto_cli.errors import InputError
from ditto_cli.evaluation.report import REPORT_FILE, ContestantKind, EvalReport, WhatWasRun
from ditto_cli.evaluation.texts_at_hand import read_author
from ditto_cli.evaluation.types import BASE_CONTESTANT, FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT, Author
from ditto_cli.store import AdapterRecord, AdapterStore, keyed_hash, store_home, suggest_name, write_text
from ditto_cli.types import SFT_STAGE, Demonstration, Reporter, SilentReporter
from ditto_cli.voices import Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.contestants import Contestant, WritingPlan
    from ditto_cli.evaluation.evaluate import Findings, Writer
    from ditto_cli.evaluation.types import EvalPrompt, Judge, Writing

_MAX_PROMPTS_FILE_BYTES = 2**20
_TEXTS_AT_HAND = 3


@dataclass(frozen=True)
class EvalOptions:
    """The options of `ditto eval`; None is what the adapter was trained with, or what fits."""

    folder: Path | None
    adapter: str | None
    against: str | None
    prompts: Path | None
    num: int
    seed: int
    temperature: float | None
    judge: JudgeOptions
    style_encoder: str | None
    report: Path | None
    base: str | None
    quantize: str | None
    device: str


def run_eval(options: EvalOptions, *, as_json: bool) -> None:
    """Evaluate one adapter.

    Raises:
        DittoError: as the adapter, the texts, the base and the judge give reason to.
    """
    started = time.monotonic()
    store = AdapterStore(store_home(os.environ))
    name = _adapter_name(options, store)
    record = store.record(name)
    author, notes = _author(name, record, options.folder, store)
    given = _given_prompts(options.prompts)
    rivals = rivals_of(name, record, options.against)
    if options.against and TEXTS_CONTESTANT in rivals and store.exists(TEXTS_CONTESTANT):
        warn(
            f"--against {TEXTS_CONTESTANT} is {name} with its texts at hand; the adapter of that name competes by its "
            f"stages, as in {TEXTS_CONTESTANT}:{SFT_STAGE}."
        )
    options.judge.check()
    check_report_place(options.report)

    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    from ditto_cli.cli.session import open_session
    from ditto_cli.evaluation.blind_pairs import keep_pairs
    from ditto_cli.evaluation.contestants import Contestant
    from ditto_cli.evaluation.eval_prompts import evaluation_prompts, given_prompts
    from ditto_cli.evaluation.evaluate import gather, pairs_to_judge
    from ditto_cli.evaluation.summary import build_report
    from ditto_cli.evaluation.traces import mark_of

    main = Voice(name, record.published)
    prompted = (FEW_SHOT_CONTESTANT, TEXTS_CONTESTANT)
    voices = [main, *(_voice(rival, record, name) for rival in rivals if rival not in prompted)]
    session = open_session(voices, store, hardware, base=options.base, quantize=options.quantize)
    folder = store.evaluation_folder(name)
    prompts = given_prompts(given) if given else evaluation_prompts(author, folder)
    notes += _trained_prompts(prompts, author)
    plan = plan_of(record, prompts, options)
    competing = (_contestant(rival, session, record, name, author, plan) for rival in rivals)
    contestants = [
        Contestant(main.title, _kind(record.published), session.load(main)),
        *(contestant for contestant in competing if contestant is not None),
    ]
    if len(contestants) == 1:
        raise InputError("Nobody is left to compare with: give another rival with --against, or a shorter prompt.")
    others = {rival: _voice(rival, record, name).adapter for rival in _others(contestants)}
    marks = {title: mark_of(store.evaluation_folder(other)) for title, other in others.items()}
    with reporter() as shown:
        writer = kept_writer(session, store, name, others, shown)
        encoder = session.style_encoder(options.style_encoder)
        findings = gather(session.policy, author, contestants, plan, writer=writer, encoder=encoder, reporter=shown)
    findings.extracted.update(extracted_in_training(record, main.title))
    keep_pairs(folder, pairs_to_judge(findings, every_pair=False), plan.seed, mark_of(folder), marks)
    judge = options.judge.make(session, findings, store.key(), folder, marks)
    judge_findings(judge, findings, options.judge)
    run = what_was_run([findings], session, judge.name, options, time.monotonic() - started)
    report = build_report(name, contestants[0].title, [findings], run, warnings=[*notes, *options.judge.notes(judge)])
    texts_of = [mark_of(folder), *marks.values()]
    show_and_write(report, options.report or folder / REPORT_FILE, texts_of, as_json=as_json)


def judge_findings(judge: Judge, findings: Findings, options: JudgeOptions) -> None:
    """Have a judge judge, after what must be asked and with what should be said."""
    from ditto_cli.evaluation.evaluate import judge_all, pairs_to_judge

    every_pair = options.kind == "style"  # the others cost a person's time, money or minutes
    consent(judge, options, pairs_to_judge(findings, every_pair=every_pair))
    if options.kind == "me":  # no bars beside questions
        judge_all(findings, judge, SilentReporter(), every_pair=every_pair)
    else:
        with reporter() as shown:
            judge_all(findings, judge, shown, every_pair=every_pair)
    say_usage(judge, options)


def show_and_write(report: EvalReport, place: Path, marks: Sequence[str], *, as_json: bool) -> None:
    """Print the tables or the JSON, and write the HTML page with the marks of the adapters whose texts it holds."""
    from ditto_cli.cli.eval_tables import show_report
    from ditto_cli.evaluation.html import render_html
    from ditto_cli.evaluation.traces import marked_page

    if as_json:
        print_json(as_json_ready(report))
    else:
        show_report(report)
    write_text(place, marked_page(render_html(report), marks))
    say(f"Report: {place} (it holds private texts)")


def rivals_of(name: str, record: AdapterRecord, against: str | None) -> list[str]:
    """Titles to compete against, as `--against` names them; else base, few-shot, texts at hand, SFT, the last round.

    Stages of the adapter itself may be named `round1`, `1` or `alice:round1`; each counts once.

    Raises:
        InputError: an empty list, or the evaluated stage itself.
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


def kept_writer(session: Session, store: AdapterStore, name: str, others: Mapping[str, str], shown: Reporter) -> Writer:
    """Writes as a contestant, or finds what it wrote in an earlier evaluation.

    Args:
        session: the models in memory.
        store: where writings are kept: those of another adapter with that adapter.
        name: the evaluated adapter.
        others: contestants that are other adapters, by title.
        shown: told of what is written.
    """
    from ditto_cli.evaluation.contestants import write
    from ditto_cli.evaluation.traces import mark_of
    from ditto_cli.evaluation.writings import WritingStore

    policy, key = session.policy, store.key()
    base = f"{policy.identity.model_dump_json()} {policy.quantize} {policy.hardware.device.type}"
    folders = {owner: store.evaluation_folder(owner) for owner in (name, *others.values())}
    marks = {owner: mark_of(folder) for owner, folder in folders.items()}
    stores = {
        owner: WritingStore(folder, key=key, base=base, marks=[marks[name], marks[owner]])
        for owner, folder in folders.items()
    }

    def writer(contestant: Contestant, plan: WritingPlan) -> list[Writing]:
        kept = stores[others.get(contestant.title, name)]
        weights = session.digest(contestant.adapter)
        writings = kept.get(contestant, weights, plan)
        if writings is None:
            shown.stage_started(f"{contestant.title}: writing", len(plan.prompts) * plan.num, "samples")
            writings = write(policy, contestant, plan, on_finished=lambda done: shown.stage_advanced(done, {}))
            shown.stage_ended()
            kept.put(contestant, weights, plan, writings)
        return writings

    return writer


def extracted_in_training(record: AdapterRecord, title: str) -> dict[str, int]:
    """What each stage gave away of the demonstrations (`extracted_words`); the published one goes by `title` besides.

    Nothing of an adapter that was trained elsewhere: its figures are the sender's word.
    """
    if not record.demonstration_hashes:
        return {}
    key = "selection/extracted"
    found = {stage.stage: int(stage.metrics[key]) for stage in record.stages if key in stage.metrics}
    return found | ({title: found[record.published]} if record.published in found else {})


def what_was_run(
    parts: Sequence[Findings], session: Session, judge: str, options: EvalOptions, seconds: float
) -> WhatWasRun:
    """The facts of an evaluation for its report."""
    from ditto_cli import __version__

    plan, identity = parts[0].plan, session.policy.identity
    return WhatWasRun(
        ditto=__version__,
        base=identity.id if identity.revision is None else f"{identity.id} at {identity.revision}",
        quantize=session.policy.quantize,
        device=session.policy.hardware.name,
        judge=judge,
        judge_sees_texts_elsewhere=options.judge.leaves_machine,
        seed=options.seed,
        temperature=plan.temperature,
        num_prompts=sum(len(part.plan.prompts) for part in parts),
        num_samples=plan.num,
        max_new_tokens=plan.max_new_tokens,
        num_demonstrations=len({d.id for part in parts for d in part.author.demonstrations}),
        num_held_out=len({d.id for part in parts for d in part.author.held_out}),
        seconds=round(seconds, 1),
    )


def plan_of(record: AdapterRecord, prompts: Sequence[EvalPrompt], options: EvalOptions) -> WritingPlan:
    """What all contestants share: temperature and length limit are those of the adapter's training."""
    from ditto_cli.evaluation.contestants import WritingPlan

    temperature = record.settings.sampling.temperature if options.temperature is None else options.temperature
    return WritingPlan(tuple(prompts), options.num, options.seed, temperature, record.max_new_tokens)


def _trained_prompts(prompts: Sequence[EvalPrompt], author: Author) -> list[str]:
    trained = {text.prompt for text in author.demonstrations}
    num = sum(prompt.prompt in trained for prompt in prompts)
    return [f"{num} of {len(prompts)} prompts are those of demonstrations: contestants were trained on them."] * bool(
        num
    )


def _author(name: str, record: AdapterRecord, given: Path | None, store: AdapterStore) -> tuple[Author, list[str]]:
    """The texts of an adapter, without any that it was trained on among those kept back; and what the report says."""
    folder = given or (Path(record.folder) if record.folder else None)
    if folder is None or not folder.is_dir():
        where = f"are not at {folder} any more" if folder else "were not remembered"
        raise InputError(
            f"The texts that {name} was trained on {where}: say where: ditto eval FOLDER --adapter {name}."
        )
    author = read_author(folder, warn)
    key, trained = store.key(), set(record.demonstration_hashes)

    def hashed(text: Demonstration) -> str:
        return keyed_hash(key, f"{text.prompt}\0{text.completion}")

    notes = []
    changed = len({hashed(text) for text in author.demonstrations} ^ trained)
    if changed:
        notes.append(f"The texts are not those that {name} was trained on ({changed} differ): figures may mislead.")
    learned = [text.id for text in author.held_out if hashed(text) in trained]
    if learned:
        notes.append(f"{name} was trained on {', '.join(learned)}: left out of the texts kept back.")
    for note in notes:
        warn(note)
    return replace(author, held_out=tuple(t for t in author.held_out if t.id not in learned)), notes


def _adapter_name(options: EvalOptions, store: AdapterStore) -> str:
    if options.adapter is not None:
        return options.adapter
    if options.folder is not None:
        if not options.folder.is_dir():
            raise InputError(f"{options.folder} is not a folder: give the one that holds the person's texts.")
        folder_file = read_folder_file(options.folder)
        return folder_file.name or suggest_name(adapter_name_of(options.folder, folder_file, None))
    return only_adapter(store)


def _given_prompts(path: Path | None) -> list[str]:
    """A prompt a line; empty lines and lines that begin with # are left out."""
    if path is None:
        return []
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
    """Refuse a place for the report that cannot be written to, before hours of work are done for it.

    Raises:
        InputError: no folder to put it in, or a folder in its place.
    """
    if place is not None and not place.parent.is_dir():
        raise InputError(f"--report {place}: its folder does not exist.")
    if place is not None and place.is_dir():
        raise InputError(f"--report {place}: that is a folder; name a file in it.")


def _voice(rival: str, record: AdapterRecord, name: str) -> Voice:
    if rival in record.stage_names:
        return Voice(name, rival)
    voice = Voice.parse(rival)
    if voice.also:  # its texts would belong to several adapters, and be forgotten with one of them
        raise InputError(f"--against {rival}: a mix is not evaluated; take its parts.")
    return voice


def _others(contestants: Sequence[Contestant]) -> list[str]:
    """Titles of those that are other adapters."""
    return [contestant.title for contestant in contestants if contestant.kind == "adapter"]


def _kind(stage: str) -> ContestantKind:
    return "sft" if stage == SFT_STAGE else "round"


def few_shot(session: Session, author: Author, plan: WritingPlan) -> Contestant | None:
    """The base with as many of the demonstrations in its prompt as fit; None where none does: that is the base."""
    from ditto_cli.evaluation.contestants import Contestant, fitting_shots

    room = session.policy.context_tokens - plan.max_new_tokens
    prompts = [prompt.prompt for prompt in plan.prompts]
    shots = fitting_shots(session.policy.chat, author.demonstrations, prompts, max_tokens=room)
    if not shots:
        warn("No few-shot prompt competes: not one of the texts fits the base beside a prompt and its answer.")
        return None
    if len(shots) < len(author.demonstrations):
        warn(f"The few-shot prompt shows {len(shots)} of {len(author.demonstrations)} texts: no more fit the base.")
    return Contestant(FEW_SHOT_CONTESTANT, "few-shot", shots=shots)


def _contestant(
    rival: str, session: Session, record: AdapterRecord, name: str, author: Author, plan: WritingPlan
) -> Contestant | None:
    from ditto_cli.evaluation.contestants import Contestant

    if rival == BASE_CONTESTANT:
        return Contestant(rival, "base")
    if rival == FEW_SHOT_CONTESTANT:
        return few_shot(session, author, plan)
    if rival == TEXTS_CONTESTANT:
        adapter = session.load(_voice(record.published, record, name))
        num = record.settings.sampling.with_texts or _TEXTS_AT_HAND
        return Contestant(rival, "texts", adapter, author.demonstrations, nearest=num)
    kind = _kind(rival) if rival in record.stage_names else "adapter"
    return Contestant(rival, kind, session.load(_voice(rival, record, name)))
