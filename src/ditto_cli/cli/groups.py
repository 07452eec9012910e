"""The groups of commands `ditto adapters ...`, `ditto demos ...` and `ditto fleet ...`: their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditto_cli.cli.arguments import (
    AsJson,
    Assignments,
    Base,
    Folder,
    Name,
    Offline,
    Preset,
    Quantize,
    Revision,
    Seed,
    TrainOptions,
    uses_model,
)

adapters = typer.Typer(no_args_is_help=True, help="List, show, rename and remove adapters.")
demos = typer.Typer(no_args_is_help=True, help="Add, show, edit and remove the texts to learn from.")
fleet = typer.Typer(no_args_is_help=True, help="Train many people, a folder each, on one machine or many (Ray).")


@adapters.command("list")
def _list(json: AsJson = False) -> None:
    """All adapters of this machine."""
    from ditto_cli.cli.adapters import run_list

    run_list(as_json=json)


@adapters.command("show")
def _show(name: Name, json: AsJson = False) -> None:
    """What an adapter was trained from and how, and its stages."""
    from ditto_cli.cli.adapters import run_show

    run_show(name, as_json=json)


@adapters.command("path")
def _path(
    name: Name,
    round_: Annotated[str | None, typer.Option("--round", help="A stage: sft, 1, 2, ...", show_default=False)] = None,
) -> None:
    """The folder that PEFT loads: `PeftModel.from_pretrained(base, folder)`."""
    from ditto_cli.cli.adapters import run_path

    run_path(name, round_)


@adapters.command("rename")
def _rename(name: Name, new_name: Annotated[str, typer.Argument(help="Its new name.", show_default=False)]) -> None:
    """Give an adapter another name."""
    from ditto_cli.cli.adapters import run_rename

    run_rename(name, new_name)


@adapters.command("export", hidden=True)  # as it was called before `ditto export --to ditto`
def _export(
    name: Name,
    file: Annotated[
        Path | None, typer.Argument(help="The file to write; else NAME.ditto here.", show_default=False)
    ] = None,
    all_stages: Annotated[
        bool, typer.Option("--all-stages", help="With every stage, not only the published one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write an adapter to one file, for another machine; without your texts, but with what was learned from them."""
    from ditto_cli.cli.archive import run_export

    run_export(name, file, all_stages=all_stages, force=force)


@adapters.command("import")
def _import(
    file: Annotated[Path, typer.Argument(help="A file that `ditto export --to ditto` wrote.", show_default=False)],
    name: Annotated[
        str | None, typer.Option(help="Name for the adapter; else the one it had.", show_default=False)
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Where its base lies here: hub id, local folder, or `embedded`.", show_default=False),
    ] = None,
    offline: Offline = False,
) -> None:
    """Add an adapter from a file, after checking all of it; nothing in the file is run."""
    from ditto_cli.cli.archive import run_import

    uses_model(offline=offline)
    run_import(file, name=name, base=base)


@adapters.command("rm")
def _rm(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """The same as `ditto forget`."""
    from ditto_cli.cli.forget import run_forget

    run_forget(name, sure=yes)


@demos.command("add")
def _add(
    folder: Folder,
    source: Annotated[
        str | None,
        typer.Argument(metavar="[FILE|-]", help="A file, - for standard input; else your editor.", show_default=False),
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the text is the answer to.", show_default=False)] = None,
) -> None:
    """Add a text."""
    from ditto_cli.cli.demos import run_add

    run_add(folder, source, prompt)


@demos.command("list")
def _list_demos(folder: Folder, json: AsJson = False) -> None:
    """Show all texts, with words, tokens, prompts and warnings."""
    from ditto_cli.cli.demos import run_list

    run_list(folder, as_json=json)


@demos.command("edit")
def _edit(folder: Folder, name: Annotated[str, typer.Argument(help="The text's file.", show_default=False)]) -> None:
    """Open a text in your editor."""
    from ditto_cli.cli.demos import run_edit

    run_edit(folder, name)


@demos.command("rm")
def _rm_demo(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The text's file.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a text and its prompt."""
    from ditto_cli.cli.demos import run_rm

    run_rm(folder, name, sure=yes)


@fleet.command("train")
def _train_fleet(
    people: Annotated[Path, typer.Argument(help="A folder that holds a folder for each person.", show_default=False)],
    address: Annotated[
        str | None,
        typer.Option(help="A running Ray: auto, ray://HOST:10001; else one of this machine alone.", show_default=False),
    ] = None,
    gpus_per_task: Annotated[float, typer.Option(min=0, help="Of a person; 0 trains on processors.")] = 0,
    cpus_per_task: Annotated[float, typer.Option(min=0.01, help="Of a person: its threads.")] = 1,
    preset: Preset = None,
    base: Base = None,
    revision: Revision = None,
    quantize: Quantize = None,
    seed: Seed = None,
    set_: Assignments = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also those who are trained already.")] = False,
    offline: Offline = False,
) -> None:
    """Train everybody as `ditto train` does; who is trained already is left out, so it can be stopped and started."""
    from ditto_cli.cli.fleet import FleetOptions, run_fleet_train

    uses_model(offline=offline)
    train = TrainOptions(people, None, preset, base, revision, quantize, seed, set_, "auto")
    run_fleet_train(FleetOptions(people, address, gpus_per_task, cpus_per_task, fresh, train))


@fleet.command("status")
def _status(json: AsJson = False) -> None:
    """Who waits, runs, is done or failed, from any terminal of this machine."""
    from ditto_cli.cli.fleet import run_fleet_status

    run_fleet_status(as_json=json)
