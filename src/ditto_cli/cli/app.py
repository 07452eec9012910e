"""`ditto`: the commands and their arguments, and the one place where an error becomes a line and an exit code.

Only typer is imported here; a command's own file is imported when it runs, so that `ditto --help` answers at once.
"""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ditto_cli import __version__, interrupts
from ditto_cli.cli.arguments import (
    AsJson,
    EvalOptions,
    ExportOptions,
    FleetOptions,
    Folder,
    InitOptions,
    Name,
    Offline,
    SampleOptions,
    ServeOptions,
    Stage,
    TrainOptions,
    parameters_of,
    uses_model,
)
from ditto_cli.cli.network import host_log, protect_process
from ditto_cli.errors import DiskError, DittoError, InterruptedRun, MemoryLimitError

Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
TextName = Annotated[str, typer.Argument(help="The text's file.")]

app = typer.Typer(
    name="ditto",
    help="Make a language model write like one person, from fewer than ten of that person's own texts.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: rich's takes twice the time
    pretty_exceptions_enable=False,  # Typer's tracebacks show local variables, which hold private texts
    context_settings={"help_option_names": ["-h", "--help"]},
)
adapters = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="List, show, rename and remove adapters.")
demos = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Add, show, edit and remove the texts to learn from."
)
fleet = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Train many people, a folder each, on one machine or many (Ray)."
)
app.add_typer(adapters, name="adapters")
app.add_typer(demos, name="demos")
app.add_typer(fleet, name="fleet")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ditto {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    if debug:
        os.environ["DITTO_DEBUG"] = "1"


@app.command("init")
@parameters_of(InitOptions)
def _init(options: InitOptions) -> None:
    """Make a folder of demonstrations. Take texts in, look at all of them, find prompts, write ditto.yaml."""
    from ditto_cli.cli.init import run_init

    run_init(options)


@app.command("train")
@parameters_of(TrainOptions, "as_json")
def _train(options: TrainOptions) -> None:
    """Train an adapter. Imitate the texts (SFT), then DITTO rounds that prefer them over the model's own."""
    from ditto_cli.cli.train import run_plan, run_train

    run = run_plan if options.dry_run else run_train
    run(options)


@app.command("plan")
@parameters_of(TrainOptions, "publish", "fresh", "track", "dry_run")
def _plan(options: TrainOptions) -> None:
    """Tell what a training would do before it does it. Steps, memory, disk, and what the last one took."""
    from ditto_cli.cli.train import run_plan

    run_plan(options)


@app.command("sample")
@parameters_of(SampleOptions)
def _sample(options: SampleOptions) -> None:
    """Write in a person's style."""
    from ditto_cli.cli.sample import run_chat, run_keep, run_sample

    run = run_keep if options.keep else run_chat if options.chat else run_sample
    run(options)


@app.command("eval")
@parameters_of(EvalOptions)
def _eval(options: EvalOptions) -> None:
    """Tell whether it sounds like the person. An honest verdict, with a report: was training worth it?"""
    from ditto_cli.cli.eval import run_cross_validation, run_eval

    if options.cross_validate is None:
        run_eval(options)
    else:
        run_cross_validation(options, options.cross_validate)


@app.command("export")
@parameters_of(ExportOptions)
def _export(options: ExportOptions) -> None:
    """Write an adapter for another program. And prove that it writes the same there."""
    from ditto_cli.cli.export import run_export

    run_export(options)


@app.command("serve")
@parameters_of(ServeOptions)
def _serve(options: ServeOptions) -> None:
    """Serve a page, and programs that speak OpenAI's API. Editors, chat clients, scripts, in every voice."""
    from ditto_cli.cli.serve import run_serve

    run_serve(options)


@app.command("forget")
def _forget(name: Name, sure: Sure = False) -> None:
    """Remove all that ditto keeps of an adapter. Also what evaluations of other adapters show of it."""
    from ditto_cli.cli.adapters import run_forget

    run_forget(name, sure=sure)


@app.command("doctor")
def _doctor(json: AsJson = False) -> None:
    """Check this machine, the store and every adapter. Exit code 4 where something is wrong with the store."""
    from ditto_cli.cli.doctor import run_doctor

    run_doctor(as_json=json)


@adapters.command("list")
def _adapters_list(json: AsJson = False) -> None:
    """All adapters of this machine."""
    from ditto_cli.cli.adapters import run_list

    run_list(as_json=json)


@adapters.command("show")
def _adapters_show(name: Name, json: AsJson = False) -> None:
    """What an adapter was trained from and how, and its stages."""
    from ditto_cli.cli.adapters import run_show

    run_show(name, as_json=json)


@adapters.command("path")
def _adapters_path(name: Name, stage: Stage = None) -> None:
    """Print the folder that PEFT loads. As in `PeftModel.from_pretrained(base, folder)`."""
    from ditto_cli.cli.adapters import run_path

    run_path(name, stage)


@adapters.command("rename")
def _adapters_rename(name: Name, new_name: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Give an adapter another name."""
    from ditto_cli.cli.adapters import run_rename

    run_rename(name, new_name)


@adapters.command("import")
def _adapters_import(
    file: Annotated[Path, typer.Argument(help="A file that `ditto export --to ditto` wrote.")],
    name: Annotated[str | None, typer.Option(help="Name for the adapter; else the one it had.")] = None,
    base: Annotated[
        str | None, typer.Option(help="Where its base lies here: hub id, local folder, or `embedded`.")
    ] = None,
    offline: Offline = False,
) -> None:
    """Add an adapter from a file. All of the file is checked first, and nothing in it is run."""
    from ditto_cli.cli.adapters import run_import

    uses_model(offline=offline)
    run_import(file, name=name, base=base)


adapters.command("rm", help="The same as `ditto forget`.")(_forget)


@demos.command("add")
def _demos_add(
    folder: Folder,
    source: Annotated[
        str | None, typer.Argument(metavar="[FILE|-]", help="A file, - for standard input; else your editor.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="What the text is the answer to.")] = None,
) -> None:
    """Add a text."""
    from ditto_cli.cli.demos import run_add

    run_add(folder, source, prompt)


@demos.command("list")
def _demos_list(folder: Folder, json: AsJson = False) -> None:
    """Show all texts, with words, tokens, prompts and warnings."""
    from ditto_cli.cli.demos import run_list

    run_list(folder, as_json=json)


@demos.command("edit")
def _demos_edit(folder: Folder, name: TextName) -> None:
    """Open a text in your editor."""
    from ditto_cli.cli.demos import run_edit

    run_edit(folder, name)


@demos.command("rm")
def _demos_rm(folder: Folder, name: TextName, sure: Sure = False) -> None:
    """Remove a text. Its prompt in prompts.yaml stays."""
    from ditto_cli.cli.demos import run_rm

    run_rm(folder, name, sure=sure)


@demos.command("pairs")
def _demos_pairs(
    folder: Folder,
    edit: Annotated[int | None, typer.Option(metavar="LINE", help="Open its preferred text in your editor.")] = None,
    remove: Annotated[int | None, typer.Option(metavar="LINE", help="Remove the pair of this line.")] = None,
    json: AsJson = False,
) -> None:
    """Show the pairs of which one text was preferred. They lie in pairs.jsonl, and `ditto train` learns from them."""
    from ditto_cli.cli.demos import run_pairs

    run_pairs(folder, edit=edit, remove=remove, as_json=json)


@fleet.command("train")
@parameters_of(FleetOptions, "as_json")
def _train_fleet(options: FleetOptions) -> None:
    """Train everybody as `ditto train` does. Who is trained already is left out, so it can be stopped and started."""
    from ditto_cli.cli.fleet import run_fleet_train

    run_fleet_train(options)


@fleet.command("eval")
@parameters_of(FleetOptions, "preset", "base", "revision", "quantize", "seed", "assignments", "fresh")
def _eval_fleet(options: FleetOptions) -> None:
    """Evaluate everybody as `ditto eval` does. A verdict each, and one page with all of them, the worst first."""
    from ditto_cli.cli.fleet import run_fleet_eval

    run_fleet_eval(options)


@fleet.command("status")
def _status(json: AsJson = False) -> None:
    """Show who waits, runs, is done or failed. From any terminal of this machine."""
    from ditto_cli.cli.fleet import run_fleet_status

    run_fleet_status(as_json=json)


def main() -> None:
    """What the command `ditto` runs."""
    # Python looks for cycles after every 700 new objects, an eighth of the time that a command takes to load a model.
    gc.set_threshold(50_000)
    run_guarded(app)


def run_guarded(app: Callable[[], None]) -> None:
    """Run the command line; every foreseen failure ends in one line on stderr and its exit code."""
    interrupts.listen()
    host_log().clear()
    protect_process()
    try:
        _run(app)
    except KeyboardInterrupt:
        _end(interrupts.stopped("Stopped."))
    except DittoError as error:
        _end(error)
    except BrokenPipeError:  # the reader of our output went away: nothing to say to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        # Only the system's words: a path may be private, and a text never belongs here.
        reason = error.strerror or type(error).__name__
        _end(DiskError(f"The system refused to read or write ({reason}); `ditto --debug ...` shows where."))
    except Exception as error:
        # torch's own errors for full memory are told by name and words: importing torch here would slow every command.
        if type(error).__name__ == "OutOfMemoryError":
            _end(MemoryLimitError("The GPU's memory is full: close other programs, or take a smaller --preset."))
        if isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error):
            _end(MemoryLimitError("This machine's memory is full: close other programs, or take a smaller --preset."))
        _end(DittoError(f"Something unforeseen failed ({type(error).__name__}); `ditto --debug ...` shows where."))


def _run(app: Callable[[], None]) -> None:
    """Run typer, and undo what it makes of two exceptions: Ctrl-C ends it without a word, a closed pipe with 1."""
    try:
        app()
    except SystemExit as end:
        if end.code == InterruptedRun.exit_code:
            raise KeyboardInterrupt from None
        if isinstance(end.__context__, BrokenPipeError):
            raise end.__context__ from None
        raise
    finally:
        try:
            sys.stdout.flush()  # here, where a pipe that was closed is still told from a failure
        finally:
            host_log().tell()  # before the error line, which is the last one


def _end(error: DittoError) -> None:
    from ditto_cli.cli.render import fail

    if os.environ.get("DITTO_DEBUG"):
        with suppress(OSError):
            traceback.print_exc()
    fail(str(error))
    sys.exit(error.exit_code)
