"""`ditto adapters`: what is in the store, without loading any model."""

from __future__ import annotations

import os

from ditto_cli.cli.render import as_json_ready, print_facts, print_json, print_table, print_text, say, warn
from ditto_cli.errors import InputError
from ditto_cli.store import AdapterRecord, AdapterStore, store_home

_MIB = 2**20


def run_list(*, as_json: bool) -> None:
    """All adapters, damaged ones with their problem, and trainings that were interrupted."""
    store = _store()
    entries = store.entries()
    for name in store.unfinished_names():
        say(f"{name} has a training that is not finished: the same `ditto train` goes on with it.")
    if as_json:
        print_json(
            [
                {
                    "name": entry.name,
                    "problem": entry.problem,
                    "size_bytes": entry.size_bytes,
                    "record": as_json_ready(entry.record) if entry.record else None,
                }
                for entry in entries
            ]
        )
        return
    if not entries:
        say("There are no adapters yet: make one with `ditto train FOLDER`.")
        return
    rows = []
    for entry in entries:
        if entry.record is None:
            rows.append((entry.name, f"damaged: {entry.problem}", "", "", "", _size(entry.size_bytes)))
            continue
        record = entry.record
        rows.append(
            (
                entry.name,
                record.base.id,
                str(record.num_demonstrations),
                ", ".join(record.stage_names),
                record.created[:16].replace("T", " "),
                _size(entry.size_bytes),
            )
        )
    print_table("", ("adapter", "base", "texts", "stages", "made (UTC)", "size"), rows)


def run_show(name: str, *, as_json: bool) -> None:
    """One adapter's record."""
    record = _store().record(name)
    if as_json:
        print_json(as_json_ready(record))
        return
    print_facts(_facts(name, record))
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
    folder = _store().stage_folder(name, stage)
    _warn_of(_store().record(name), folder.name)
    print_text(str(folder))


def run_rename(name: str, new_name: str) -> None:
    """Another name for an adapter."""
    _store().rename(name, new_name)
    say(f"{name} is now {new_name}.")


def only_adapter(store: AdapterStore) -> str:
    """The adapter that is meant where none is named."""
    names = store.names()
    if len(names) == 1:
        return names[0]
    if not names:
        raise InputError("There are no adapters yet: make one with `ditto train FOLDER`.")
    raise InputError(f"Say whose style: --adapter NAME; there are {', '.join(names[:8])}.")


def _facts(name: str, record: AdapterRecord) -> dict[str, str]:
    settings, base = record.settings, record.base
    return {
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


def _warn_of(record: AdapterRecord, stage: str) -> None:
    """Say what was found wrong with a stage when it was trained, before it is handed on."""
    for warning in next(known.warnings for known in record.stages if known.stage == stage):
        warn(f"{stage}: {warning}")


def _size(num_bytes: int) -> str:
    return f"{num_bytes / _MIB:.1f} MiB"


def _store() -> AdapterStore:
    return AdapterStore(store_home(os.environ))
