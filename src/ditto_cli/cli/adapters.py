"""`ditto adapters` and `ditto forget`: what is in the store, an adapter that comes in from a file, or goes for good."""

from __future__ import annotations

import os
from collections import Counter
from contextlib import suppress
from pathlib import Path

from ditto_cli.cli.context import confirm, find_base, open_store
from ditto_cli.cli.render import print_facts, print_json, print_table, print_text, say, warn
from ditto_cli.config import PAIRS_FILE
from ditto_cli.errors import DiskError, IncompatibleError, InputError
from ditto_cli.shown import size
from ditto_cli.store import (
    AdapterArchive,
    AdapterRecord,
    check_base,
    check_name,
    read_archive,
    store_home,
)
from ditto_cli.store.adapter_store import EVALUATION_FOLDER

_UNKNOWN = (
    "Not known to ditto, so not removed: what `ditto export` wrote, reports outside of the store (--report, "
    "or of --cross-validate on a folder), copies of the store, backups and snapshots of the disk, and what a judge's "
    "server kept."
)


def run_list(*, as_json: bool) -> None:
    """All adapters, damaged ones with their problem, and trainings that were interrupted."""
    store = open_store()
    entries = store.entries()
    for name in store.unfinished_names():
        say(f"{name} has a training that is not finished: the same `ditto train` goes on with it.")
    if as_json:
        print_json([vars(entry) for entry in entries])
        return
    if not entries:
        say("There are no adapters yet: make one with `ditto train FOLDER`.")
        return
    rows = []
    for entry in entries:
        about: tuple[str, ...] = (f"damaged: {entry.problem}", "", "", "")
        if record := entry.record:
            made = record.created[:16].replace("T", " ")
            about = (record.base.id, str(record.num_demonstrations), ", ".join(record.stage_names), made)
        rows.append((entry.name, *about, size(entry.size_bytes)))
    print_table("", ("adapter", "base", "texts", "stages", "made (UTC)", "size"), rows)


def run_show(name: str, *, as_json: bool) -> None:
    """One adapter's record."""
    record = open_store().record(name)
    if as_json:
        print_json(record)
        return
    settings, base = record.settings, record.base
    print_facts(
        {
            "adapter": name if name == record.name else f"{name} (trained as {record.name})",
            "made": f"{record.created} in {record.seconds:.0f} s on {record.device}",
            "base": base.id if base.revision is None else f"{base.id} at {base.revision}",
            "quantised": record.quantize,
            "texts": f"{record.num_demonstrations}, {record.num_demonstration_tokens} tokens",
            "LoRA": f"r {settings.lora.r}, alpha {settings.lora.alpha}",
            "SFT": f"learning rate {settings.sft.learning_rate:g}, stop at loss {settings.sft.stop_loss:g}",
            "DPO": f"learning rate {settings.dpo.learning_rate:g}, beta {settings.dpo.beta:g}, "
            f"{settings.rounds.num} rounds of {settings.rounds.steps} updates, "
            f"{settings.sampling.completions_per_prompt} samples a prompt",
            "seed": str(settings.seed),
            "versions": ", ".join(f"{library} {number}" for library, number in record.versions.items()),
        }
    )
    rows = [
        (
            stage.stage + (" *" if stage.stage == record.published else ""),
            f"{stage.seconds:.0f} s",
            "  ".join(f"{key} {value:.3g}" for key, value in stage.metrics.items()),
        )
        for stage in record.stages
    ]
    print_table("", ("stage", "time", "figures"), rows)
    why = f" ({record.reason})" if record.reason else ""
    print_text(f"* is published: what `ditto sample` takes without --round{why}.")
    _warn_of(record, record.published)


def run_path(name: str, stage: str | None) -> None:
    """The folder of a stage, for PEFT."""
    folder = open_store().stage_folder(name, stage)
    _warn_of(open_store().record(name), folder.name)
    print_text(str(folder))


def run_rename(name: str, new_name: str) -> None:
    """Another name for an adapter."""
    from ditto_cli.evaluation.evaluation_files import rename_in

    store = open_store()

    def call_it(*names: str) -> None:
        """In evaluations of other adapters, to find what they show of it."""
        for other in sorted({*store.names(), *store.unfinished_names()} - {name, new_name}):
            rename_in(store.folder(other) / EVALUATION_FOLDER, name, names)

    if not store.has(new_name):
        call_it(name, new_name)  # by both, should this be killed
    store.rename(name, new_name)
    call_it(new_name)
    say(f"{name} is now {new_name}.")


def run_import(path: Path, *, name: str | None, base: str | None) -> None:
    """Add the adapter in a file to the store, after every check."""
    if name is not None:
        check_name(name)
    archive = read_archive(path)
    adapter = name or archive.record.name
    store = open_store()
    taken = InputError(f"There is already an adapter {adapter!r}: give this one another name with --name.")
    if store.has(adapter):
        raise taken
    known = archive.record.base
    if base is None and known.source == "local":
        raise InputError(
            f"The adapter in {path} was trained on a base in a local folder ({known.id}): give the place of the same "
            "base here with --base."
        )
    record, contents = _fit(path, archive, base or known.id, None if base else known.revision)
    with store.training(adapter) as kept:
        if store.has(adapter):  # since the look above
            raise taken
        for stage, stage_files in contents.items():
            kept.add_stage(stage, stage_files)
        kept.publish(record)
    for stage in record.stage_names:
        _warn_of(record, stage)
    say(f"Imported adapter {adapter} ({', '.join(record.stage_names)}; {record.published} is published). Next:")
    say(f'  ditto sample --adapter {adapter} "Write ..."')


def run_forget(name: str, *, sure: bool) -> None:
    """Remove an adapter, and what evaluations of other adapters show of it, after a question on a terminal."""
    from ditto_cli.evaluation.evaluation_files import forget_in
    from ditto_cli.fleet.status import forget_person

    store = open_store()
    if store.finish_removals():
        say("What a command that was killed had left is removed.")
        if not store.has(name):
            return
    size_bytes = store.size_bytes(name)
    try:
        texts = store.record(name).folder
    except (DiskError, InputError):  # damaged, or a first training that was never finished
        texts = None
    question = f"Remove adapter {name} with all its stages ({size(size_bytes)}) and all that evaluations show of it?"
    refusal = f"Removing adapter {name} cannot be undone: say --yes where nobody can be asked."
    if not sure and not confirm(question, refusal):
        say("Nothing was removed.")
        return
    traces = Counter[str]()
    for other in sorted({*store.names(), *store.unfinished_names()} - {name}):
        traces += forget_in(store.folder(other) / EVALUATION_FOLDER, name)
    forget_person(store_home(os.environ), name)
    store.remove(name)
    say(f"Removed {name} ({size(size_bytes)}): its stages, evaluations, answers of judges and unfinished training.")
    if traces["files"]:
        say(f"Removed from evaluations of other adapters: files {traces['files']}, {size(traces['bytes'])}.")
    else:
        say("Evaluations of other adapters held nothing of it.")
    say(_UNKNOWN)
    say(f"Your own texts in {texts} were not touched." if texts else "Your own texts were not touched.")
    from ditto_cli.demonstrations.folder import pair_lines

    with suppress(InputError, OSError):  # a file that cannot be read undoes nothing of it
        if texts and (num := len(pair_lines(Path(texts)))):
            say(f"What {name} wrote may stand in {PAIRS_FILE} there (pairs: {num}): see ditto demos pairs {texts}.")


def _fit(
    path: Path, archive: AdapterArchive, base: str, revision: str | None
) -> tuple[AdapterRecord, dict[str, dict[str, bytes]]]:
    """The record and the stages' files as this machine keeps them, after a look at the base."""
    from ditto_cli.model.base.loading import adapter_files, attach, describe_misfit, load_skeleton

    record = archive.record
    skeleton = load_skeleton(find_base(base, revision))
    identity = skeleton.identity
    check_base(record.name, record, identity)
    expected = attach(skeleton, record.settings.lora)
    for stage, content in archive.stages.items():
        misfit = describe_misfit(expected, content.shapes)
        if misfit is not None:
            raise IncompatibleError(f"The adapter in {path} does not fit the base {identity.id}: in {stage}, {misfit}.")
    contents = {stage: adapter_files(skeleton, content.weights) for stage, content in archive.stages.items()}
    base_settings = record.settings.base.model_copy(update={"id": identity.id, "revision": identity.revision})
    settings = record.settings.model_copy(update={"base": base_settings})
    return record.model_copy(update={"base": identity, "settings": settings}), contents


def _warn_of(record: AdapterRecord, stage: str) -> None:
    """Say what was found wrong with a stage when it was trained, before it is handed on."""
    for warning in next(known.warnings for known in record.stages if known.stage == stage):
        warn(f"{stage}: {warning}")
