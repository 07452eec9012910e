"""The groups of commands `ditto adapters ...` and `ditto demos ...`: their arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ditto_cli.cli.arguments import AsJson, Folder, Name, Offline, uses_model

adapters = typer.Typer(no_args_is_help=True, help="List, show, rename and remove adapters.")
demos = typer.Typer(no_args_is_help=True, help="Add, show, edit and remove the texts to learn from.")


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
