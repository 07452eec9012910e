"""What the commands take: arguments that several share, and the options of those that take many.

The fields of such a dataclass are a command's parameters: see `parameters_of`.
"""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from ditto_cli.cli.network import host_log
from ditto_cli.errors import InputError


def check_device(device: str) -> str:
    """The device as it was given."""
    if re.fullmatch(r"auto|cpu|cuda(:\d{1,2})?", device) is None:
        raise InputError(f"--device {device}: take auto, cpu, cuda, or cuda:1 for the second GPU.")
    return device


def adapter_names(incomplete: str) -> list[str]:
    """For shell completion: names of stored adapters."""
    from ditto_cli.store import AdapterStore, store_home

    return [name for name in AdapterStore(store_home(os.environ)).names() if name.startswith(incomplete)]


Options = TypeVar("Options")


def parameters_of(options: type[Options], *left_out: str) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Make of a function that takes a dataclass one that typer asks for its fields, but those `left_out`."""

    def command_of(run: Callable[[Options], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            run(options(**given))

        fields = inspect.signature(options, eval_str=True).parameters.values()
        command.__doc__ = run.__doc__
        parameters = [one for one in fields if one.name not in left_out]
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
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="PATH",
            help="Take texts in: a mail archive, a document, an export, a folder of these. Can be given several times.",
        ),
    ] = None
    pick: Annotated[int | None, typer.Option(min=1, max=50, help="Choose this many that represent the person.")] = None
    hold_out: Annotated[
        int, typer.Option(min=0, max=50, help="Keep this many texts back for `ditto eval`, in held_out/.")
    ] = 0
    words: Annotated[
        tuple[int, int] | None, typer.Option(metavar="MIN MAX", help="Lengths to choose from, in words; else 40 600.")
    ] = None
    me: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="The person's name, id or address there, where several people wrote; can be given several times.",
        ),
    ] = None
    split: Annotated[bool, typer.Option("--split", help="Divide texts that are too long at paragraphs.")] = False
    redact_data: Annotated[
        bool, typer.Option("--redact", help="Put stand-ins in the place of addresses, phone and account numbers.")
    ] = False
    redact_names: Annotated[
        bool, typer.Option("--redact-names", help="Names and places too; needs Presidio and a spaCy model.")
    ] = False
    name: Annotated[str | None, typer.Option(help="Name for the adapter; else the folder's name.")] = None
    preset: Preset = None
    write_prompts: Annotated[
        bool, typer.Option("--prompts/--no-prompts", help="Let the base model write missing prompts.")
    ] = True
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
    name: Annotated[
        str | None, typer.Option(help="Name for the adapter; else `name` of ditto.yaml, else the folder's.")
    ] = None
    preset: Preset = None
    base: Base = None
    revision: Revision = None
    quantize: Quantize = None
    seed: Seed = None
    assignments: Assignments = None
    publish: Annotated[str, typer.Option(metavar="best|last|sft|1|2|...", help="Which stage `ditto sample` takes.")] = (
        "best"
    )
    fresh: Annotated[bool, typer.Option("--fresh", help="Do not go on with a training that was interrupted.")] = False
    method: Annotated[
        Method, typer.Option(help="sft: imitate only; dpo: compare given pairs only, without samples.")
    ] = "ditto"
    track: Annotated[
        Tracker | None,
        typer.Option(help="Give the figures to a tracker too; it is offline unless its own variables say otherwise."),
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what it would do, as `ditto plan`.")] = False
    device: Device = "auto"
    offline: Offline = False
    as_json: AsJson = False


@dataclass(frozen=True)
class SampleOptions:
    """Of `ditto sample`; None is what the adapter was trained with."""

    prompt: Annotated[str | None, typer.Argument(help="What to write; - reads it from standard input.")] = None
    adapter: Annotated[
        str | None,
        typer.Option(
            help="Whose style; `base` is none, NAME:0.6 is weaker, A:0.7+B:0.3 a mix.", autocompletion=adapter_names
        ),
    ] = None
    compare: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Voices side by side: adapters, `base`, NAME:STAGE, mixes.")
    ] = None
    stage: Stage = None
    num: Annotated[int, typer.Option(min=1, max=1000, help="How many texts.")] = 1
    best_of: Annotated[
        int | None, typer.Option(min=1, max=64, help="Draw so many and give the one that is best in style and task.")
    ] = None
    with_texts: Annotated[
        int | None, typer.Option(min=0, max=9, help="Show so many of the person's texts before the prompt.")
    ] = None
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0 is the likeliest text; else as trained.")] = None
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Length limit; else from the demonstrations.")
    ] = None
    seed: Annotated[int | None, typer.Option(min=0, help="Same seed, same text.")] = None
    keep: Annotated[
        bool, typer.Option("--keep", help="Edit what was written in your editor, and add it to the texts.")
    ] = False
    chat: Annotated[bool, typer.Option("--chat", help="Prompt after prompt, with commands; /help lists them.")] = False
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
    adapter: Annotated[
        str | None, typer.Option(help="Which adapter; else the folder's.", autocompletion=adapter_names)
    ] = None
    against: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Rivals: base, few-shot, texts (at hand), sft, round1, other adapters, NAME:STAGE; else the first "
            "four and the last round.",
        ),
    ] = None
    judge: Annotated[
        JudgeKind, typer.Option(help="Who compares: measures of style and task, a local model, a server, or you.")
    ] = "style"
    model: Annotated[str | None, typer.Option(help="The judge: a hub id, a folder, or the server's name for it.")] = (
        None
    )
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible server; its key is read from OPENAI_API_KEY.")
    ] = None
    prices: Annotated[
        tuple[float, float] | None,
        typer.Option("--price", metavar="IN OUT", help="The server's prices for a million tokens, to show costs."),
    ] = None
    prompts: Annotated[Path | None, typer.Option(help="A file with a prompt a line.")] = None
    num: Annotated[int, typer.Option(min=1, max=100, help="Texts of each contestant for a prompt.")] = 1
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same figures.")] = 0
    temperature: Annotated[float | None, typer.Option(min=0.0, help="Of the sampling; else as trained.")] = None
    cross_validate: Annotated[
        int | None, typer.Option(min=2, metavar="K", help="Train anew K times, each time with a part kept back.")
    ] = None
    style_encoder: Annotated[
        str | None, typer.Option(help="A neural style encoder (hub id or folder) as one more measure.")
    ] = None
    report: Annotated[
        Path | None, typer.Option(help="Where to write the HTML page; else beside the adapter, if any.")
    ] = None
    sure: Annotated[bool, typer.Option("--yes", "-y", help="Send texts to a server without asking.")] = False
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
    target: Annotated[
        Literal["gguf", "merged", "vllm", "peft", "ditto", "hub"],
        typer.Option(
            "--to",
            help="gguf: llama.cpp, Ollama. merged: one Hugging Face model. vllm, peft: PEFT's folder. ditto: one file "
            "for `ditto adapters import`. hub: a private repository.",
        ),
    ]
    out: Annotated[Path | None, typer.Option(help="Where to write it; else NAME-gguf and so on, here.")] = None
    with_base: Annotated[
        Literal["f32", "f16", "q8_0"] | None, typer.Option(help="gguf: write the base beside it, in this precision.")
    ] = None
    check: Annotated[
        bool | None,
        typer.Option(
            "--check/--no-check",
            help="gguf, merged: let both write five texts and compare; else where llama.cpp is installed.",
        ),
    ] = None
    stage: Stage = None
    all_stages: Annotated[
        bool, typer.Option("--all-stages", help="ditto: with every stage, not only the published one.")
    ] = False
    repository: Annotated[str | None, typer.Option(metavar="USER/REPO", help="hub: where to.")] = None
    base: MovedBase = None
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False
    sure: Annotated[bool, typer.Option("--yes", "-y", help="hub: do not ask.")] = False
    offline: Offline = False


@dataclass(frozen=True)
class ServeOptions:
    """Of `ditto serve`."""

    adapters: Annotated[
        list[str] | None,
        typer.Option(
            "--adapter",
            help="Serve these alone; can be given several times. Else all of the same base.",
            autocompletion=adapter_names,
        ),
    ] = None
    host: Annotated[str, typer.Option(help="Address to listen on; others than this machine need a key.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes one that is free.")] = 8642
    engine: Annotated[
        Literal["builtin", "vllm"], typer.Option(help="vllm: for many who ask; a program of its own, see --vllm.")
    ] = "builtin"
    vllm: Annotated[str | None, typer.Option(help="Where vLLM's program is; else on PATH.")] = None
    base: MovedBase = None
    quantize: Quantize = None
    device: Device = "auto"
    offline: Offline = False


@dataclass(frozen=True)
class FleetOptions:
    """Of `ditto fleet train` and `ditto fleet eval`."""

    people: Annotated[Path, typer.Argument(help="A folder that holds a folder for each person.")]
    address: Annotated[
        str | None, typer.Option(help="A running Ray: auto, ray://HOST:10001; else one of this machine.")
    ] = None
    num_gpus: Annotated[
        float, typer.Option("--gpus-per-task", min=0, help="GPUs of a person; 0 computes on processors.")
    ] = 0
    num_cpus: Annotated[float, typer.Option("--cpus-per-task", min=0.01, help="Threads of a person.")] = 1
    preset: Preset = None
    base: Base = None
    revision: Revision = None
    quantize: Quantize = None
    seed: Seed = None
    assignments: Assignments = None
    fresh: Annotated[bool, typer.Option("--fresh", help="Also those who are trained already.")] = False
    as_json: AsJson = False
    offline: Offline = False

    def train_options(self, folder: Path) -> TrainOptions:
        """Of the training of one person."""
        return TrainOptions(
            folder,
            preset=self.preset,
            base=self.base,
            revision=self.revision,
            quantize=self.quantize,
            seed=self.seed,
            assignments=self.assignments,
        )


def uses_model(*, offline: bool) -> None:
    """For commands that load a model: they end with the hosts contacted, and may be forbidden to contact the hub."""
    host_log().tell_at_end()
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub library when it is imported
