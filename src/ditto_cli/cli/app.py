"""`ditto`: the commands and their arguments. What becomes of their errors is in `boundary`.

Only typer is imported here; a command's own file is imported when it runs, so that `ditto --help` answers at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from ditto_cli import __version__
from ditto_cli.cli.arguments import (
    AdapterName,
    Address,
    AsJson,
    Assignments,
    Base,
    CpusPerTask,
    Device,
    Folder,
    GpusPerTask,
    MethodOption,
    MovedBase,
    Name,
    Offline,
    People,
    Preset,
    Quantize,
    Revision,
    SampleOptions,
    Seed,
    Track,
    TrainOptions,
    adapter_names,
    uses_model,
)

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
def _init(
    folder: Folder,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Take texts in: a mail archive, a document, an export, a folder of these. Can be given several times.",
        ),
    ] = None,
    pick: Annotated[int | None, typer.Option(min=1, max=50, help="Choose this many that represent the person.")] = None,
    hold_out: Annotated[
        int, typer.Option(min=0, max=50, help="Keep this many texts back for `ditto eval`, in held_out/.")
    ] = 0,
    words: Annotated[
        tuple[int, int] | None, typer.Option(metavar="MIN MAX", help="Lengths to choose from, in words; else 40 600.")
    ] = None,
    me: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The person's name, id or address there, where several people wrote; can be given several times.",
        ),
    ] = None,
    split: Annotated[bool, typer.Option("--split", help="Divide texts that are too long at paragraphs.")] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Put stand-ins in the place of addresses, phone and account numbers.")
    ] = False,
    redact_names: Annotated[
        bool, typer.Option("--redact-names", help="Names and places too; needs Presidio and a spaCy model.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name for the adapter; else the folder's name.")] = None,
    preset: Preset = None,
    prompts: Annotated[bool, typer.Option(help="Let the base model write missing prompts.")] = True,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Make a folder of demonstrations. Take texts in, look at all of them, find prompts, write ditto.yaml."""
    from ditto_cli.cli.init import InitOptions, run_init

    uses_model(offline=offline)
    options = InitOptions(
        folder=folder,
        sources=from_ or [],
        pick=pick,
        hold_out=hold_out,
        words=words,
        me=me or [],
        split=split,
        redact="names" if redact_names else redact,
        name=name,
        preset=preset,
        write_prompts=prompts,
        device=device,
    )
    run_init(options, as_json=json)


@app.command("train")
def _train(
    folder: Folder,
    name: AdapterName = None,
    preset: Preset = None,
    base: Base = None,
    revision: Revision = None,
    quantize: Quantize = None,
    seed: Seed = None,
    set_: Assignments = None,
    publish: Annotated[
        str, typer.Option(metavar="best|last|sft|1|2|...", help="Which stage `ditto sample` takes.")
    ] = "best",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a training that was interrupted.")] = False,
    method: MethodOption = "ditto",
    track: Track = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do, as `ditto plan`.")] = False,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Train an adapter. Imitate the texts (SFT), then DITTO rounds that prefer them over the model's own."""
    uses_model(offline=offline)
    options = TrainOptions(folder, name, preset, base, revision, quantize, seed, set_, device, publish, method, track)
    if dry_run:
        from ditto_cli.cli.plan import run_plan

        run_plan(options, as_json=False)
        return
    from ditto_cli.cli.train import run_train

    run_train(options, fresh=fresh)


@app.command("plan")
def _plan(
    folder: Folder,
    name: AdapterName = None,
    preset: Preset = None,
    base: Base = None,
    revision: Revision = None,
    quantize: Quantize = None,
    seed: Seed = None,
    set_: Assignments = None,
    method: MethodOption = "ditto",
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Tell what a training would do before it does it. Steps, memory, disk, and what the last one took."""
    from ditto_cli.cli.plan import run_plan

    uses_model(offline=offline)
    options = TrainOptions(folder, name, preset, base, revision, quantize, seed, set_, device, method=method)
    run_plan(options, as_json=json)


@app.command("sample")
def _sample(
    prompt: Annotated[str | None, typer.Argument(help="What to write; - reads it from standard input.")] = None,
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Whose style; `base` is none, NAME:0.6 is weaker, A:0.7+B:0.3 a mix.", autocompletion=adapter_names
        ),
    ] = None,
    compare: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Voices side by side: adapters, `base`, NAME:STAGE, mixes.")
    ] = None,
    round_: Annotated[str | None, typer.Option("--round", help="A stage of the adapter: sft, 1, 2, ...")] = None,
    num: Annotated[int, typer.Option(min=1, max=1000, help="How many texts.")] = 1,
    best_of: Annotated[
        int | None, typer.Option(min=1, max=64, help="Draw so many and give the one that is best in style and task.")
    ] = None,
    with_texts: Annotated[
        int | None, typer.Option(min=0, max=9, help="Show so many of the person's texts before the prompt.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(min=0.0, help="0 is the likeliest text; else as trained.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Length limit; else from the demonstrations.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same text.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Edit what was written in your editor, and add it to the texts.")
    ] = False,
    chat: Annotated[bool, typer.Option("--chat", help="Prompt after prompt, with commands; /help lists them.")] = False,
    base: MovedBase = None,
    quantize: Quantize = None,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Write in a person's style."""
    from ditto_cli.cli.sample import run_chat, run_keep, run_sample

    uses_model(offline=offline)
    options = SampleOptions(
        voices=compare.split(",") if compare is not None else [adapter] if adapter is not None else [],
        stage=round_,
        num=num,
        best_of=best_of,
        with_texts=with_texts,
        temperature=temperature,
        max_new_tokens=max_tokens,
        seed=seed,
        base=base,
        quantize=quantize,
        device=device,
    )
    if keep:
        run_keep(options, prompt, is_alone=not (chat or json or compare is not None))
    elif chat:
        run_chat(options, prompt)
    else:
        run_sample(options, prompt, as_json=json)


@app.command("eval")
def _eval(
    folder: Annotated[
        Path | None, typer.Argument(help="The texts; else where the adapter's training found them.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Which adapter; else the folder's.", autocompletion=adapter_names)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Rivals: base, few-shot, texts (at hand), sft, round1, other adapters, NAME:STAGE; else the first "
            "four and the last round.",
        ),
    ] = None,
    judge: Annotated[
        Literal["style", "model", "openai", "me"],
        typer.Option(help="Who compares: measures of style and task, a local model, a server, or you."),
    ] = "style",
    model: Annotated[
        str | None, typer.Option(help="The judge: a hub id, a folder, or the server's name for it.")
    ] = None,
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server; its key is read from OPENAI_API_KEY.")
    ] = None,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="IN OUT", help="The server's prices for a million tokens, to show costs."),
    ] = None,
    prompts: Annotated[Path | None, typer.Option(help="A file with a prompt a line.")] = None,
    num: Annotated[int, typer.Option(min=1, max=100, help="Texts of each contestant for a prompt.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same figures.")] = 0,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Of the sampling; else as trained.")] = None,
    cross_validate: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="Train anew K times, each time with a part kept back.")
    ] = None,
    style_encoder: Annotated[
        str | None, typer.Option(help="A neural style encoder (hub id or folder) as one more measure.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where to write the HTML page; else beside the adapter, if any.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Send texts to a server without asking.")] = False,
    base: MovedBase = None,
    quantize: Quantize = None,
    device: Device = "auto",
    offline: Offline = False,
    json: AsJson = False,
) -> None:
    """Tell whether it sounds like the person. An honest verdict, with a report: was training worth it?"""
    from ditto_cli.cli.eval import EvalOptions, run_eval
    from ditto_cli.cli.judging import JudgeOptions

    uses_model(offline=offline)
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


@app.command("export")
def _export(
    voice: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An adapter; NAME:STAGE, NAME:0.6 (weaker), A:0.7+B:0.3 (mixed) too.",
            autocompletion=adapter_names,
        ),
    ],
    to: Annotated[
        Literal["gguf", "merged", "vllm", "peft", "ditto", "hub"],
        typer.Option(
            help="gguf: llama.cpp, Ollama. merged: one Hugging Face model. vllm, peft: PEFT's folder. ditto: one file "
            "for `ditto adapters import`. hub: a private repository."
        ),
    ],
    out: Annotated[Path | None, typer.Option(help="Where to write it; else NAME-gguf and so on, here.")] = None,
    with_base: Annotated[
        Literal["f32", "f16", "q8_0"] | None, typer.Option(help="gguf: write the base beside it, in this precision.")
    ] = None,
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="gguf, merged: let both write five texts and compare; else where llama.cpp is installed.",
        ),
    ] = None,
    round_: Annotated[str | None, typer.Option("--round", help="A stage of the adapter: sft, 1, 2, ...")] = None,
    all_stages: Annotated[
        bool, typer.Option("--all-stages", help="ditto: with every stage, not only the published one.")
    ] = False,
    repository: Annotated[str | None, typer.Option(metavar="USER/REPO", help="hub: where to.")] = None,
    base: MovedBase = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="hub: do not ask.")] = False,
    offline: Offline = False,
) -> None:
    """Write an adapter for another program. And prove that it writes the same there."""
    from ditto_cli.cli.export import ExportOptions, run_export

    uses_model(offline=offline)
    run_export(
        ExportOptions(
            voice=voice,
            target=to,
            out=out,
            stage=round_,
            all_stages=all_stages,
            with_base=with_base,
            check=check,
            repository=repository,
            base=base,
            force=force,
            sure=yes,
        )
    )


@app.command("serve")
def _serve(
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Serve these alone; can be given several times. Else all of the same base.",
            autocompletion=adapter_names,
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine need a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8642,
    engine: Annotated[
        Literal["builtin", "vllm"], typer.Option(help="vllm: for many who ask; a program of its own, see --vllm.")
    ] = "builtin",
    vllm: Annotated[str | None, typer.Option(help="Where vLLM's program is; else on PATH.")] = None,
    base: MovedBase = None,
    quantize: Quantize = None,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Serve a page, and programs that speak OpenAI's API. Editors, chat clients, scripts, in every voice."""
    from ditto_cli.cli.serve import ServeOptions, run_serve

    uses_model(offline=offline)
    run_serve(ServeOptions(adapter or [], host, port, base, quantize, device, engine, vllm))


@app.command("forget")
def _forget(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Remove all that ditto keeps of an adapter. Also what evaluations of other adapters show of it."""
    from ditto_cli.cli.forget import run_forget

    run_forget(name, sure=yes)


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
def _adapters_path(
    name: Name,
    round_: Annotated[str | None, typer.Option("--round", help="A stage: sft, 1, 2, ...")] = None,
) -> None:
    """Print the folder that PEFT loads. As in `PeftModel.from_pretrained(base, folder)`."""
    from ditto_cli.cli.adapters import run_path

    run_path(name, round_)


@adapters.command("rename")
def _adapters_rename(name: Name, new_name: Annotated[str, typer.Argument(help="Its new name.")]) -> None:
    """Give an adapter another name."""
    from ditto_cli.cli.adapters import run_rename

    run_rename(name, new_name)


@adapters.command("export", hidden=True)  # as it was called before `ditto export --to ditto`
def _adapters_export(
    name: Name,
    file: Annotated[Path | None, typer.Argument(help="The file to write; else NAME.ditto here.")] = None,
    all_stages: Annotated[
        bool, typer.Option("--all-stages", help="With every stage, not only the published one.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Write an adapter to one file, for another machine; without your texts, but with what was learned from them."""
    from ditto_cli.cli.export import write_archive

    write_archive(name, file, all_stages=all_stages, force=force)


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


@adapters.command("rm")
def _adapters_rm(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """The same as `ditto forget`."""
    from ditto_cli.cli.forget import run_forget

    run_forget(name, sure=yes)


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
def _demos_edit(folder: Folder, name: Annotated[str, typer.Argument(help="The text's file.")]) -> None:
    """Open a text in your editor."""
    from ditto_cli.cli.demos import run_edit

    run_edit(folder, name)


@demos.command("rm")
def _demos_rm(
    folder: Folder,
    name: Annotated[str, typer.Argument(help="The text's file.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove a text and its prompt."""
    from ditto_cli.cli.demos import run_rm

    run_rm(folder, name, sure=yes)


@demos.command("pairs")
def _demos_pairs(
    folder: Folder,
    edit: Annotated[int | None, typer.Option(metavar="LINE", help="Open its preferred text in your editor.")] = None,
    remove: Annotated[int | None, typer.Option(metavar="LINE", help="Remove the pair of this line.")] = None,
    json: AsJson = False,
) -> None:
    """Show the pairs of which one text was preferred. They lie in pairs.jsonl, and `ditto train` learns from them."""
    from ditto_cli.cli.pairs import run_pairs

    run_pairs(folder, edit=edit, remove=remove, as_json=json)


@fleet.command("train")
def _train_fleet(
    people: People,
    address: Address = None,
    gpus_per_task: GpusPerTask = 0,
    cpus_per_task: CpusPerTask = 1,
    preset: Preset = None,
    base: Base = None,
    revision: Revision = None,
    quantize: Quantize = None,
    seed: Seed = None,
    set_: Assignments = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Also those who are trained already.")] = False,
    offline: Offline = False,
) -> None:
    """Train everybody as `ditto train` does. Who is trained already is left out, so it can be stopped and started."""
    from ditto_cli.cli.fleet import FleetOptions, run_fleet_train

    uses_model(offline=offline)
    train = TrainOptions(people, None, preset, base, revision, quantize, seed, set_, "auto")
    run_fleet_train(FleetOptions(people, address, gpus_per_task, cpus_per_task), train, fresh=fresh)


@fleet.command("eval")
def _eval_fleet(
    people: People,
    address: Address = None,
    gpus_per_task: GpusPerTask = 0,
    cpus_per_task: CpusPerTask = 1,
    json: AsJson = False,
    offline: Offline = False,
) -> None:
    """Evaluate everybody as `ditto eval` does. A verdict each, and one page with all of them, the worst first."""
    from ditto_cli.cli.fleet import FleetOptions, run_fleet_eval

    uses_model(offline=offline)
    run_fleet_eval(FleetOptions(people, address, gpus_per_task, cpus_per_task), as_json=json)


@fleet.command("status")
def _status(json: AsJson = False) -> None:
    """Show who waits, runs, is done or failed. From any terminal of this machine."""
    from ditto_cli.cli.fleet_status import run_fleet_status

    run_fleet_status(as_json=json)


def main() -> None:
    """What the command `ditto` runs."""
    import gc

    from ditto_cli.cli.boundary import run_guarded

    # Python looks for cycles after every 700 new objects: 0.6 of the 4.7 s that importing torch and transformers takes.
    gc.set_threshold(50_000)
    run_guarded(app)
