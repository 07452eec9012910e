"""What the commands take: arguments that several share, and the options of those that take many.

The fields of such a dataclass are a command's parameters: see `parameters_of`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from ditto_cli.cli.network import host_log
from ditto_cli.errors import InputError

Options = TypeVar("Options")


def check_device(device: str) -> str:
    """The device as it was given."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", device) is None:
        raise InputError(f"--device {device}: take auto, cpu, cuda, or cuda:1 for the second GPU.")
    return device


def adapter_names(incomplete: str) -> list[str]:
    """For shell completion: names of stored adapters."""
    from ditto_cli.store import AdapterStore, store_home

    return [name for name in AdapterStore(store_home(os.environ)).names() if name.startswith(incomplete)]


def option(about: str, *names: str, default: Any = None, **rules: Any) -> Any:
    """A field that is an option of a command; `about` is its help, `rules` are further arguments of `typer.Option`."""
    return field(default=default, metadata={"typer": typer.Option(*names, help=about, **rules)})


def parameters_of(options: type[Options], *left_out: str) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make of a function that takes a dataclass one that typer asks for its fields, but those `left_out`."""

    def command_of(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            if "offline" in given:
                uses_model(offline=given["offline"])
            run(options(**given))

        given_by = {one.name: one.metadata["typer"] for one in fields(options) if "typer" in one.metadata}  # type: ignore[arg-type]
        command.__doc__ = run.__doc__
        parameters = [
            one.replace(annotation=Annotated[one.annotation, given_by[one.name]]) if one.name in given_by else one
            for one in inspect.signature(options, eval_str=True).parameters.values()
            if one.name not in left_out
        ]
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in parameters}
        return command

    return command_of


Folder = Annotated[Path, typer.Argument(help="Folder with a person's texts, one a file.")]
Name = Annotated[str, typer.Argument(help="An adapter's name.", autocompletion=adapter_names)]
Device = Annotated[
    str,
    typer.Option(
        help="Where to compute: auto takes a GPU if there is one, cuda:1 the second.",
        metavar="auto|cpu|cuda|cuda:N",
        callback=check_device,
    ),
]
Quantize = Annotated[
    Literal["auto", "nf4", "none"] | None,
    typer.Option(help="Hold the base in 4-bit NF4 or not; auto does so on a GPU."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Never connect to the model hub.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Preset = Annotated[str | None, typer.Option(help="Settings to start from; else the one that fits this machine.")]
Base = Annotated[str | None, typer.Option("--base", help="Base model: hub id, local folder, or `embedded`.")]
MovedBase = Annotated[str | None, typer.Option("--base", help="Where the base lies now, if it was moved.")]
Revision = Annotated[str | None, typer.Option("--revision", help="The base's commit, tag or branch on the hub.")]
Stage = Annotated[str | None, typer.Option("--round", help="A stage of the adapter: sft, 1, 2, ...")]
JudgeKind = Literal["style", "model", "openai", "me"]
Method = Literal["ditto", "sft", "dpo"]
Tracker = Literal["tensorboard", "wandb", "trackio", "mlflow"]
Seed = Annotated[int | None, typer.Option("--seed", help="Same seed, same adapter.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in --set dpo.beta=0.1.")
]


@dataclass(frozen=True)
class InitOptions:
    """Of `ditto init`."""

    folder: Folder
    sources: list[Path] | None = option(
        "Take texts in: a mail archive, a document, an export, a folder of these. Can be given several times.",
        "--from",
        metavar="PATH",
    )
    pick: int | None = option("Choose this many that represent the person.", min=1, max=50)
    hold_out: int = option("Keep this many texts back for `ditto eval`, in held_out/.", default=0, min=0, max=50)
    words: tuple[int, int] | None = option("Lengths to choose from, in words; else 40 600.", metavar="MIN MAX")
    me: list[str] | None = option(
        "The person's name, id or address there, where several people wrote; can be given several times.",
        metavar="NAME",
    )
    split: bool = option("Divide texts that are too long at paragraphs.", "--split", default=False)
    redact_data: bool = option(
        "Put stand-ins in the place of addresses, phone and account numbers.", "--redact", default=False
    )
    redact_names: bool = option(
        "Names and places too; needs Presidio and a spaCy model.", "--redact-names", default=False
    )
    name: str | None = option("Name for the adapter; else the folder's name.")
    preset: Preset = None
    write_prompts: bool = option("Let the base model write missing prompts.", "--prompts/--no-prompts", default=True)
    device: Device = "auto"
    offline: Offline = False
    as_json: AsJson = False

    @property
    def redact(self) -> bool | Literal["names"]:
        """As `redact` of ditto.yaml."""
        return "names" if self.redact_names else self.redact_data


@dataclass(frozen=True)
class TrainOptions:
    """Of `ditto train` and `ditto plan`; None is what a setting or the machine decides."""

    folder: Folder
    name: str | None = option("Name for the adapter; else `name` of ditto.yaml, else the folder's.")
    preset: Preset = None
    base: Base = None
    revision: Revision = None
    quantize: Quantize = None
    seed: Seed = None
    assignments: Assignments = None
    publish: str = option("Which stage `ditto sample` takes.", default="best", metavar="best|last|sft|1|2|...")
    fresh: bool = option("Do not go on with a training that was interrupted.", "--fresh", default=False)
    method: Method = option("sft: imitate only; dpo: compare given pairs only, without samples.", default="ditto")
    track: Tracker | None = option(
        "Give the figures to a tracker too; it is offline unless its own variables say otherwise."
    )
    dry_run: bool = option("Only tell what it would do, as `ditto plan`.", "--dry-run", default=False)
    device: Device = "auto"
    offline: Offline = False
    as_json: AsJson = False


@dataclass(frozen=True)
class SampleOptions:
    """Of `ditto sample`; None is what the adapter was trained with."""

    prompt: Annotated[str | None, typer.Argument(help="What to write; - reads it from standard input.")] = None
    adapter: str | None = option(
        "Whose style; `base` is none, NAME:0.6 is weaker, A:0.7+B:0.3 a mix.", autocompletion=adapter_names
    )
    compare: str | None = option("Voices side by side: adapters, `base`, NAME:STAGE, mixes.", metavar="A,B,...")
    stage: Stage = None
    num: int = option("How many texts.", default=1, min=1, max=1000)
    best_of: int | None = option("Draw so many and give the one that is best in style and task.", min=1, max=64)
    with_texts: int | None = option("Show so many of the person's texts before the prompt.", min=0, max=9)
    temperature: float | None = option("0 is the likeliest text; else as trained.", min=0.0)
    max_new_tokens: int | None = option("Length limit; else from the demonstrations.", "--max-tokens", min=1)
    seed: int | None = option("Same seed, same text.", min=0)
    keep: bool = option("Edit what was written in your editor, and add it to the texts.", "--keep", default=False)
    chat: bool = option("Prompt after prompt, with commands; /help lists them.", "--chat", default=False)
    base: MovedBase = None
    quantize: Quantize = None
    device: Device = "auto"
    offline: Offline = False
    as_json: AsJson = False

    @property
    def voices(self) -> list[str]:
        """Who is named."""
        if self.compare is not None:
            return self.compare.split(",")
        return [] if self.adapter is None else [self.adapter]


@dataclass(frozen=True)
class EvalOptions:
    """Of `ditto eval`; None is what the adapter was trained with, or what fits."""

    folder: Annotated[Path | None, typer.Argument(help="The texts; else where the adapter's training found them.")] = (
        None
    )
    adapter: str | None = option("Which adapter; else the folder's.", autocompletion=adapter_names)
    against: str | None = option(
        "Rivals: base, few-shot, texts (at hand), sft, round1, other adapters, NAME:STAGE; else the first "
        "four and the last round.",
        metavar="A,B,...",
    )
    judge: JudgeKind = option(
        "Who compares: measures of style and task, a local model, a server, or you.", default="style"
    )
    model: str | None = option("The judge: a hub id, a folder, or the server's name for it.")
    base_url: str | None = option("An OpenAI-compatible server; its key is read from OPENAI_API_KEY.")
    prices: tuple[float, float] | None = option(
        "The server's prices for a million tokens, to show costs.", "--price", metavar="IN OUT"
    )
    prompts: Path | None = option("A file with a prompt a line.")
    num: int = option("Texts of each contestant for a prompt.", default=1, min=1, max=100)
    seed: int = option("Same seed, same figures.", default=0, min=0)
    temperature: float | None = option("Of the sampling; else as trained.", min=0.0)
    cross_validate: int | None = option("Train anew K times, each time with a part kept back.", min=2, metavar="K")
    style_encoder: str | None = option("A neural style encoder (hub id or folder) as one more measure.")
    report: Path | None = option("Where to write the HTML page; else beside the adapter, if any.")
    sure: bool = option("Send texts to a server without asking.", "--yes", "-y", default=False)
    base: MovedBase = None
    quantize: Quantize = None
    device: Device = "auto"
    offline: Offline = False
    as_json: AsJson = False


@dataclass(frozen=True)
class ExportOptions:
    """Of `ditto export`."""

    voice: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="An adapter; NAME:STAGE, NAME:0.6 (weaker), A:0.7+B:0.3 (mixed) too.",
            autocompletion=adapter_names,
        ),
    ]
    target: Literal["gguf", "merged", "vllm", "peft", "ditto", "hub"] = option(
        "gguf: llama.cpp, Ollama. merged: one Hugging Face model. vllm, peft: PEFT's folder. ditto: one file "
        "for `ditto adapters import`. hub: a private repository.",
        "--to",
        default=MISSING,
    )
    out: Path | None = option("Where to write it; else NAME-gguf and so on, here.")
    with_base: Literal["f32", "f16", "q8_0"] | None = option("gguf: write the base beside it, in this precision.")
    check: bool | None = option(
        "gguf, merged: let both write five texts and compare; else where llama.cpp is installed.", "--check/--no-check"
    )
    stage: Stage = None
    all_stages: bool = option("ditto: with every stage, not only the published one.", "--all-stages", default=False)
    repository: str | None = option("hub: where to.", metavar="USER/REPO")
    base: MovedBase = None
    force: bool = option("Replace what is there.", "--force", default=False)
    sure: bool = option("hub: do not ask.", "--yes", "-y", default=False)
    offline: Offline = False


@dataclass(frozen=True)
class ServeOptions:
    """Of `ditto serve`."""

    adapters: list[str] | None = option(
        "Serve these alone; can be given several times. Else all of the same base.",
        "--adapter",
        autocompletion=adapter_names,
    )
    host: str = option("Address to listen on; others than this machine need a key.", default="127.0.0.1")
    port: int = option("0 takes one that is free.", default=8642, min=0, max=65535)
    engine: Literal["builtin", "vllm"] = option(
        "vllm: for many who ask; a program of its own, see --vllm.", default="builtin"
    )
    vllm: str | None = option("Where vLLM's program is; else on PATH.")
    base: MovedBase = None
    quantize: Quantize = None
    device: Device = "auto"
    offline: Offline = False


@dataclass(frozen=True)
class FleetOptions:
    """Of `ditto fleet train` and `ditto fleet eval`."""

    people: Annotated[Path, typer.Argument(help="A folder that holds a folder for each person.")]
    address: str | None = option("A running Ray: auto, ray://HOST:10001; else one of this machine.")
    num_gpus: float = option("GPUs of a person; 0 computes on processors.", "--gpus-per-task", default=0, min=0)
    num_cpus: float = option("Threads of a person.", "--cpus-per-task", default=1, min=0.01)
    preset: Preset = None
    base: Base = None
    revision: Revision = None
    quantize: Quantize = None
    seed: Seed = None
    assignments: Assignments = None
    fresh: bool = option("Also those who are trained already.", "--fresh", default=False)
    as_json: AsJson = False
    offline: Offline = False

    def train_options(self, folder: Path) -> TrainOptions:
        """Of the training of one person."""
        same = ("preset", "base", "revision", "quantize", "seed", "assignments")
        return TrainOptions(folder, **{name: getattr(self, name) for name in same})


def uses_model(*, offline: bool) -> None:
    """For commands that load a model: they end with the hosts contacted, and may be forbidden to contact the hub."""
    host_log().is_wanted = True
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub library when it is imported
