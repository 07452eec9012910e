"""`ditto export --to ditto` and `ditto adapters import`: an adapter as one file, and back without trust in it."""

from __future__ import annotations

import os
from pathlib import Path

from ditto_cli.cli.render import say, warn
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.store import (
    ARCHIVE_SUFFIX,
    AdapterArchive,
    AdapterRecord,
    AdapterStore,
    BaseIdentity,
    cache_home,
    check_name,
    describe_mismatch,
    export_archive,
    read_archive,
    store_home,
    write_bytes,
)

_MIB = 2**20


def run_export(name: str, target: Path | None, *, all_stages: bool, force: bool) -> None:
    """Write an adapter to a file, `NAME.ditto` in the current folder where none is given.

    Raises:
        InputError: no such adapter, or the file is there already.
        DiskError: the adapter is damaged, or the disk refused.
        NonFiniteError: a weight is NaN or infinite.
    """
    target = target or Path(f"{name}{ARCHIVE_SUFFIX}")
    store = AdapterStore(store_home(os.environ))
    store.record(name)  # an unknown adapter is the first thing to say
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the file to write, as in {target / (name + ARCHIVE_SUFFIX)}.")
    if not force and os.path.lexists(target):
        raise InputError(f"{target} is already there: give another file, or --force to replace it.")
    record, data = export_archive(store, name, all_stages=all_stages)
    _warn_of(record)
    write_bytes(target, data)
    say(
        f"Wrote {target} ({len(data) / _MIB:.1f} MiB). It holds weights that were trained on private texts: share it "
        "only with people who may have these texts."
    )


def run_import(path: Path, *, name: str | None, base: str | None) -> None:
    """Add the adapter in a file to the store, after every check.

    Raises:
        InputError: the file cannot be trusted, the name cannot be used, or the base is not found.
        IncompatibleError: the adapter does not belong to the base.
        DiskError: the disk refused.
        LockedError: another process works on an adapter of that name.
    """
    if name is not None:
        check_name(name)
    archive = read_archive(path)
    adapter = name or archive.record.name
    store = AdapterStore(store_home(os.environ))
    if store.has(adapter):
        raise _taken(adapter)
    place, revision = (base, None) if base else _known_base(path, archive.record.base, store)
    record, contents = _fitted(path, archive, place, revision)
    with store.begin(adapter) as staged:
        if store.has(adapter):  # since the look above
            raise _taken(adapter)
        for stage, stage_files in contents.items():
            staged.add_stage(stage, stage_files)
        staged.publish(record)
    _warn_of(record)
    say(f"Imported adapter {adapter} ({', '.join(record.stage_names)}; {record.published} is published). Next:")
    say(f'  ditto sample --adapter {adapter} "Write ..."')


def _fitted(
    path: Path, archive: AdapterArchive, base: str, revision: str | None
) -> tuple[AdapterRecord, dict[str, dict[str, bytes]]]:
    """The record and the stages' files as this machine keeps them, after a look at the base."""
    from ditto_cli.model.base.loading import adapter_files, attach, describe_misfit, load_skeleton
    from ditto_cli.model.base.source import locate_base

    record = archive.record
    skeleton = load_skeleton(locate_base(base, revision, cache_home(os.environ), say))
    identity = skeleton.identity
    mismatch = describe_mismatch(record.base, identity)
    if mismatch is not None:
        raise IncompatibleError(
            f"The adapter in {path} does not belong to this base: {mismatch}; --base says where its own lies."
        )
    expected = attach(skeleton, record.settings.lora)
    for stage, content in archive.stages.items():
        misfit = describe_misfit(expected, content.shapes)
        if misfit is not None:
            raise IncompatibleError(f"The adapter in {path} does not fit the base {identity.id}: in {stage}, {misfit}.")
    contents = {stage: adapter_files(skeleton, content.weights) for stage, content in archive.stages.items()}
    base_settings = record.settings.base.model_copy(update={"id": identity.id, "revision": identity.revision})
    settings = record.settings.model_copy(update={"base": base_settings})
    return record.model_copy(update={"base": identity, "settings": settings}), contents


def _known_base(path: Path, base: BaseIdentity, store: AdapterStore) -> tuple[str, str | None]:
    """Where the base of an archive is to be found when the user does not say it.

    Raises:
        InputError: it was a folder of another machine.
    """
    if base.source != "local":
        return base.id, base.revision
    for entry in store.entries():
        if entry.record is not None and describe_mismatch(base, entry.record.base) is None:
            return entry.record.base.id, entry.record.base.revision
    raise InputError(
        f"The adapter in {path} was trained on a base in a local folder ({base.id}): give the place of the same base "
        "here with --base."
    )


def _taken(name: str) -> InputError:
    return InputError(f"There is already an adapter {name!r}: give this one another name with --name.")


def _warn_of(record: AdapterRecord) -> None:
    """Say what was found wrong with each stage when it was trained."""
    for stage in record.stages:
        for warning in stage.warnings:
            warn(f"{stage.stage}: {warning}")
