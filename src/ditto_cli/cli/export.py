"""`ditto export`: an adapter in the form that another program reads, and the proof that it writes the same there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import ExportOptions
from ditto_cli.cli.context import confirm, find_base, open_store
from ditto_cli.cli.render import print_text, say, warn
from ditto_cli.errors import DiskError, IncompatibleError, InputError
from ditto_cli.shown import reason_of, size
from ditto_cli.store import (
    ARCHIVE_SUFFIX,
    AdapterRecord,
    check_base,
    describe_mismatch,
    export_archive,
    fsync_tree,
    move,
    remove_tree,
    write_bytes,
    write_text,
)
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.model.base.source import BaseSource
    from ditto_cli.model.policy.lora import Lora

_ADVICE = "It holds weights that were trained on private texts: share it only with people who may have these texts."


def run_export(options: ExportOptions) -> None:
    """See `ditto export --help`."""
    _, told = export_voice(options)
    if told:
        print_text(told)


def export_voice(options: ExportOptions) -> tuple[Path, str]:
    """Write a voice for another program: where to, and what to do with it there, if there is something to say."""
    _check_options(options)
    voice = Voice.parse(options.voice, options.stage)
    if voice.adapter == BASE_VOICE:
        raise InputError("The base is not exported by itself: name an adapter.")
    if options.target == "ditto":
        if voice != Voice(voice.adapter):
            raise InputError("--to ditto carries an adapter as it was trained: no stage, strength or mix.")
        return _write_archive(options, voice.adapter), ""
    store = open_store()
    record = store.record(voice.adapter)
    for part in voice.also:
        mismatch = describe_mismatch(store.record(part.adapter).base, record.base)
        if mismatch is not None:
            raise IncompatibleError(f"{voice.adapter} and {part.adapter} cannot be mixed: {mismatch}.")
    place = options.out or Path(f"{_file_name(voice)}-{options.target}")
    if options.target != "hub" and os.path.lexists(place):
        raise InputError(f"{place} is already there: remove it, or give another folder with --out.")

    from ditto_cli.model.policy.lora import mix, read_lora

    lora = mix([(read_lora(store.checked_stage_folder(v.adapter, v.stage)), v.strength) for v in voice.parts()])
    export = _Export(options, voice, record, lora)
    if options.target == "hub":
        return place, export.upload()
    with _new_folder(place) as folder:
        match options.target:
            case "peft":
                export.write_peft(folder)
                told = f"model = PeftModel.from_pretrained(base, {str(place)!r})"
            case "vllm":
                from ditto_cli.exchange.programs import vllm_command

                export.write_peft(folder)
                source = export.source(weights=False)
                base, revision = (source.id, source.revision) if source.kind == "hub" else (source.folder, None)
                told = vllm_command(str(base), revision, [(_file_name(voice), place.resolve())], lora.config.r)
            case "merged":
                from ditto_cli.exchange.parity import check_merged
                from ditto_cli.model.base.loading import merge

                source = export.source()
                dtype = merge(source, lora, folder)
                if options.check:
                    check_merged(source, lora, folder, dtype)
                told = f"AutoModelForCausalLM.from_pretrained({str(place)!r})"
            case _:
                told = export.write_gguf(folder, place)
    say(f"Wrote {place}. {_ADVICE}")
    return place, told


def _write_archive(options: ExportOptions, name: str) -> Path:
    """`NAME.ditto` in the current folder where no place is given."""
    target = options.out or Path(f"{name}{ARCHIVE_SUFFIX}")
    store = open_store()
    store.record(name)  # an unknown adapter is the first thing to say
    if target.is_dir():
        raise InputError(f"{target} is a folder: give the file to write, as in {target / (name + ARCHIVE_SUFFIX)}.")
    if not options.force and os.path.lexists(target):
        raise InputError(f"{target} is already there: give another file, or --force to replace it.")
    record, data = export_archive(store, name, all_stages=options.all_stages)
    for stage in record.stages:
        for warning in stage.warnings:
            warn(f"{stage.stage}: {warning}")
    write_bytes(target, data)
    say(f"Wrote {target} ({size(len(data))}). {_ADVICE}")
    return target


def _check_options(options: ExportOptions) -> None:
    for is_given, name, targets in (
        (options.with_base is not None, "--with-base", ("gguf",)),
        (options.check is not None, "--check", ("gguf", "merged")),
        (options.all_stages, "--all-stages", ("ditto",)),
        (options.force, "--force", ("ditto",)),
        (options.repository is not None, "--repository", ("hub",)),
        (options.out is not None, "--out", ("ditto", "peft", "vllm", "gguf", "merged")),
    ):
        if is_given and options.target not in targets:
            raise InputError(f"{name} goes with --to {' or '.join(targets)}, not with --to {options.target}.")
    if options.target == "hub" and options.repository is None:
        raise InputError("Say where on the hub: ditto export NAME --to hub --repository USER/REPO.")


def _file_name(voice: Voice) -> str:
    return voice.title.replace(":", "-")


@dataclass
class _Export:
    """One adapter on its way out."""

    options: ExportOptions
    voice: Voice
    record: AdapterRecord
    lora: Lora

    def write_peft(self, folder: Path) -> None:
        from ditto_cli.exchange.programs import model_card
        from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID
        from ditto_cli.model.policy.lora import contents

        known = self.record.base
        base = {"embedded": EMBEDDED_HUB_ID, "hub": known.id}.get(known.source, Path(known.id).name)
        for name, data in contents(self.lora, base, known.revision).items():
            write_bytes(folder / name, data)
        write_text(folder / "README.md", model_card(self.voice.title, base, self.record, self.lora.config.r))

    def write_gguf(self, folder: Path, place: Path) -> str:
        from ditto_cli.exchange.gguf_files import write_adapter, write_base
        from ditto_cli.exchange.parity import check_gguf, is_installed
        from ditto_cli.exchange.programs import llama_command, modelfile
        from ditto_cli.model.base.conversions import find_gguf
        from ditto_cli.model.base.loading import load_skeleton

        with_base, check = self.options.with_base, self.options.check
        source = self.source(weights=with_base is not None)
        base = find_gguf() if source.kind == "embedded" else None
        if with_base is not None:
            base = Path(f"base-{with_base}.gguf")
        if check and base is None:  # said before a base is written for minutes
            raise InputError("--check needs the base as GGUF: add --with-base f16.")
        if check and not is_installed():
            raise InputError("--check runs llama.cpp: pip install 'ditto-cli[llamacpp]'.")
        skeleton = load_skeleton(source)
        name = _file_name(self.voice)
        write_adapter(self.lora, skeleton, folder / f"{name}.gguf", self.voice.title)
        if with_base is not None and base is not None:
            write_base(source.folder, skeleton, folder / base, with_base)
        shown = base or Path("base.gguf")
        recipe = modelfile(
            str(shown) if shown.is_absolute() else f"./{shown}",
            f"./{name}.gguf",
            temperature=self.record.settings.sampling.temperature,
            max_new_tokens=self.record.max_new_tokens,
        )
        write_text(folder / "Modelfile", recipe)
        if base is None:
            say(f"The base is not with it: put {source.id} as a GGUF file there as base.gguf, or add --with-base f16.")
        elif check is not False and is_installed():
            check_gguf(source, self.lora, folder / base, folder / f"{name}.gguf", with_base)
        command = llama_command(str(place / shown), str(place / f"{name}.gguf"))
        return f"{command}\nollama create {name} -f {place / 'Modelfile'}"

    def source(self, *, weights: bool = True) -> BaseSource:
        """Where the base lies, after a look that it is the one."""
        from ditto_cli.model.base.loading import load_skeleton

        base = self.record.base
        place, revision = (self.options.base, None) if self.options.base else (base.id, base.revision)
        source = find_base(place, revision, weights=weights)
        if any(source.folder.glob("*.safetensors")):
            check_base(self.voice.adapter, self.record, load_skeleton(source).identity)
        return source

    def upload(self) -> str:
        from huggingface_hub import HfApi

        repository = str(self.options.repository)
        say(
            f"This sends the adapter's weights, its settings and a model card to {repository} on the hub, as a private "
            f"repository. {_ADVICE} No text of yours is sent."
        )
        refusal = "Sending an adapter away cannot be undone: say --yes where nobody can be asked."
        if not self.options.sure and not confirm("Send it?", refusal):
            say("Nothing was sent.")
            return ""
        with tempfile.TemporaryDirectory() as folder:
            self.write_peft(Path(folder))
            api = HfApi()
            try:
                api.create_repo(repository, private=True, exist_ok=True)
                is_private = api.repo_info(repository).private
                if is_private:
                    api.upload_folder(repo_id=repository, folder_path=folder, commit_message="Adapter written by ditto")
            except Exception as error:  # of the connection, the hub, or what they are made of
                raise InputError(
                    f"The hub did not take the adapter ({reason_of(error)}): `hf auth login` signs in."
                ) from None
        if not is_private:
            raise InputError(f"{repository} is public, so nothing was sent: make it private, or take another.")
        return f"Sent to {repository}, private."


@contextmanager
def _new_folder(place: Path) -> Iterator[Path]:
    """A folder that takes its place when all of it is written, and leaves nothing where that fails."""
    staging = place.with_name(f".exporting-{place.name}")
    try:
        remove_tree(staging)  # what a killed export left
        staging.mkdir(mode=0o700)
        yield staging
        for path in staging.iterdir():
            path.chmod(0o600)  # libraries write for everybody
        fsync_tree(staging)
        move(staging, place)
    except OSError as error:
        if error.strerror is None:  # a library's, of something else
            raise
        raise DiskError(
            f"{place} cannot be written to ({error.strerror}): free space, or give another --out."
        ) from None
    finally:
        remove_tree(staging)
