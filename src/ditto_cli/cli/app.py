"""`ditto`: the commands' arguments. What becomes of their errors is in `boundary`.

Only typer is imported here; a command's own file is imported when it runs, so that `ditto --help` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ditto_cli import __version__
from ditto_cli.cli.network import host_log

app = typer.Typer(
    name="ditto",
    help="Make a language model write like one person, from fewer than ten of that person's own texts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # Typer's tracebacks show local variables, which hold private texts
    context_settings={"help_option_names": ["-h", "--help"]},
)
adapters = typer.Typer(no_args_is_help=True, help="List, show, rename and remove adapters.")
app.add_typer(adapters, name="adapters")


def _adapter_names(incomplete: str) -> list[str]:
    """For shell completion: names of stored adapters."""
    from ditto_cli.store import AdapterStore, store_home

    return [name for name in AdapterStore(store_home(os.environ)).names() if name.startswith(incomplete)]


Folder = Annotated[Path, typer.Argument(help="Folder with a person's texts, one a file.", show_default=False)]
Name = Annotated[str, typer.Argument(help="An adapter's name.", show_default=False, autocompletion=_adapter_names)]
Device = Annotated[
    Literal["auto", "cpu", "cuda"], typer.Option(help="Where to compute; auto takes a GPU if there is one.")
]
Quantize = Annotated[
    Literal["auto", "nf4", "none"] | None,
    typer.Option(help="Hold the base in 4-bit NF4 or not; auto does so on a GPU.", show_default=False),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never connect to the model hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Preset = Annotated[
    str | None, typer.Option(help="Settings to start from; else the one that fits this machine.", show_default=False)
]


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
def _init(
    folder: Folder,
    name: Annotated[
        str | None, typer.Option(help="Name for the adapter; else the folder's name.", show_default=False)
    ] = None,
    preset: Preset = None,
    prompts: Annotated[bool, typer.Option(help="Let the base model write missing prompts.")] = True,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Look at a folder of texts, say what is usable, and write ditto.yaml."""
    from ditto_cli.cli.init import run_init

    _uses_model(offline=offline)
    run_init(folder, name=name, preset=preset, write_prompts=prompts, device=device, as_json=json)


@app.command("train")
def _train(
    folder: Folder,
    name: Annotated[
        str | None,
        typer.Option(help="Name for the adapter; else `name` of ditto.yaml, else the folder's.", show_default=False),
    ] = None,
    preset: Preset = None,
    base: Annotated[
        str | None, typer.Option(help="Base model: hub id, local folder, or `embedded`.", show_default=False)
    ] = None,
    revision: Annotated[
        str | None, typer.Option(help="The base's commit, tag or branch on the hub.", show_default=False)
    ] = None,
    quantize: Quantize = None,
    seed: Annotated[int | None, typer.Option(help="Same seed, same adapter.", show_default=False)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in --set dpo.beta=0.1.", show_default=False),
    ] = None,
    publish: Annotated[
        str, typer.Option(metavar="best|last|sft|1|2|...", help="Which stage `ditto sample` takes.")
    ] = "best",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a training that was interrupted.")] = False,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Train an adapter: imitate the texts (SFT), then DITTO rounds that prefer them over the model's own."""
    from ditto_cli.cli.train import run_train

    _uses_model(offline=offline)
    flags = {"base.id": base, "base.revision": revision, "base.quantize": quantize, "seed": seed}
    run_train(
        folder,
        name=name,
        preset=preset,
        flags=flags,
        assignments=set_ or [],
        publish=publish,
        fresh=fresh,
        device=device,
    )


@app.command("sample")
def _sample(
    prompt: Annotated[
        str | None, typer.Argument(help="What to write; - reads it from standard input.", show_default=False)
    ] = None,
    adapter: Annotated[
        str | None,
        typer.Option(help="Whose style; `base` is none.", show_default=False, autocompletion=_adapter_names),
    ] = None,
    compare: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Adapters side by side; `base` and NAME:STAGE too.", show_default=False),
    ] = None,
    round_: Annotated[
        str | None, typer.Option("--round", help="A stage of the adapter: sft, 1, 2, ...", show_default=False)
    ] = None,
    num: Annotated[int, typer.Option(min=1, max=1000, help="How many texts.")] = 1,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="0 is the likeliest text; else as trained.", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Length limit; else from the demonstrations.", show_default=False)
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same text.", show_default=False)] = None,
    chat: Annotated[bool, typer.Option("--chat", help="Prompt after prompt, with commands; /help lists them.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Where the base lies now, if it was moved.", show_default=False)
    ] = None,
    quantize: Quantize = None,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Write in a person's style."""
    from ditto_cli.cli.sample import SampleOptions, run_chat, run_sample

    _uses_model(offline=offline)
    options = SampleOptions(
        voices=compare.split(",") if compare is not None else [adapter] if adapter is not None else [],
        stage=round_,
        num=num,
        temperature=temperature,
        max_new_tokens=max_tokens,
        seed=seed,
        base=base,
        quantize=quantize,
        device=device,
    )
    if chat:
        run_chat(options, prompt)
    else:
        run_sample(options, prompt, as_json=json)


@app.command("eval")
def _eval(
    folder: Annotated[
        Path | None, typer.Argument(help="The texts; else where the adapter's training found them.", show_default=False)
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Which adapter; else the folder's.", autocompletion=_adapter_names)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Rivals: base, few-shot, sft, round1, other adapters, NAME:STAGE; else base, few-shot and all stages.",
            show_default=False,
        ),
    ] = None,
    judge: Annotated[
        Literal["style", "model", "openai", "me"],
        typer.Option(help="Who compares: measures of style, a local model, a server, or you."),
    ] = "style",
    model: Annotated[
        str | None, typer.Option(help="The judge: a hub id, a folder, or the server's name for it.", show_default=False)
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server; its key is read from OPENAI_API_KEY.")
    ] = None,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="IN OUT", help="The server's prices for a million tokens, to show costs."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file with a prompt a line.", show_default=False)] = None,
    num: Annotated[int, typer.Option(min=1, max=100, help="Texts of each contestant for a prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same figures.")] = 0,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="Of the sampling; else as trained.", show_default=False)
    ] = None,
    cross_validate: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="Train anew K times, each time with a part kept back.")
    ] = None,
    style_encoder: Annotated[
        str | None, typer.Option(help="A neural style encoder (hub id or folder) as one more measure.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Where to write the HTML page; else beside the adapter, if any.", show_default=False),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send texts to a server without asking.")] = False,
    base: Annotated[
        str | None, typer.Option(help="Where the base lies now, if it was moved.", show_default=False)
    ] = None,
    quantize: Quantize = None,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Does it sound like the person, and was training worth it: an honest verdict with a report."""
    from ditto_cli.cli.eval import EvalOptions, run_eval
    from ditto_cli.cli.judging import JudgeOptions

    _uses_model(offline=offline)
    options = EvalOptions(
        folder=folder,
        adapter=adapter,
        against=against,
        prompts=prompts,
        num=num,
        seed=seed,
        temperature=temperature,
        judge=JudgeOptions(judge, model, base_url, price, yes, offline),
        style_encoder=style_encoder,
        report=report,
        base=base,
        quantize=quantize,
        device=device,
    )
    if cross_validate is None:
        run_eval(options, as_json=json)
    else:
        from ditto_cli.cli.cross_validate import run_cross_validation

        run_cross_validation(options, cross_validate, as_json=json)


@app.command("forget")
def _forget(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove all that ditto keeps of an adapter, also what evaluations of other adapters show of it."""
    from ditto_cli.cli.forget import run_forget

    run_forget(name, sure=yes)


@app.command("doctor")
def _doctor(json: AsJson = False) -> None:
    """Check this machine, the store and every adapter; exit code 4 where something is wrong with the store."""
    from ditto_cli.cli.doctor import run_doctor

    run_doctor(as_json=json)


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


@adapters.command("export")
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
    file: Annotated[Path, typer.Argument(help="A file that `ditto adapters export` wrote.", show_default=False)],
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

    _uses_model(offline=offline)
    run_import(file, name=name, base=base)


@adapters.command("rm")
def _rm(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """The same as `ditto forget`."""
    from ditto_cli.cli.forget import run_forget

    run_forget(name, sure=yes)


def _uses_model(*, offline: bool) -> None:
    """For commands that load a model: they end with the hosts contacted, and may be forbidden to contact the hub."""
    host_log().tell_at_end()
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub library when it is imported


def main() -> None:
    """What the command `ditto` runs."""
    from ditto_cli.cli.boundary import run_guarded

    run_guarded(app)
