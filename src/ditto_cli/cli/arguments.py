"""Arguments that several commands take."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

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
AdapterName = Annotated[
    str | None, typer.Option("--name", help="Name for the adapter; else `name` of ditto.yaml, else the folder's.")
]
Base = Annotated[str | None, typer.Option("--base", help="Base model: hub id, local folder, or `embedded`.")]
MovedBase = Annotated[str | None, typer.Option("--base", help="Where the base lies now, if it was moved.")]
Revision = Annotated[str | None, typer.Option("--revision", help="The base's commit, tag or branch on the hub.")]
Method = Literal["ditto", "sft", "dpo"]
MethodOption = Annotated[
    Method, typer.Option("--method", help="sft: imitate only; dpo: compare given pairs only, without samples.")
]
Tracker = Literal["tensorboard", "wandb", "trackio", "mlflow"]
Track = Annotated[
    Tracker | None,
    typer.Option(
        "--track", help="Give the figures to a tracker too; it is offline unless its own variables say otherwise."
    ),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Same seed, same adapter.")]
Assignments = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, as in --set dpo.beta=0.1.")
]
People = Annotated[Path, typer.Argument(help="A folder that holds a folder for each person.")]
Address = Annotated[str | None, typer.Option(help="A running Ray: auto, ray://HOST:10001; else one of this machine.")]
GpusPerTask = Annotated[float, typer.Option(min=0, help="GPUs of a person; 0 computes on processors.")]
CpusPerTask = Annotated[float, typer.Option(min=0.01, help="Threads of a person.")]


@dataclass(frozen=True)
class TrainOptions:
    """What `ditto train` and `ditto plan` are asked for; None is what a setting or the machine decides.

    `assignments` are settings by dotted names, or as `--set` has them.
    """

    folder: Path
    name: str | None
    preset: str | None
    base: str | None
    revision: str | None
    quantize: str | None
    seed: int | None
    assignments: Mapping[str, object] | list[str] | None
    device: str
    publish: str = "best"
    method: Method = "ditto"
    track: Tracker | None = None


@dataclass(frozen=True)
class SampleOptions:
    """The options of `ditto sample`; None is what the adapter was trained with."""

    voices: list[str]
    stage: str | None
    num: int
    best_of: int | None
    with_texts: int | None
    temperature: float | None
    max_new_tokens: int | None
    seed: int | None
    base: str | None
    quantize: str | None
    device: str


def uses_model(*, offline: bool) -> None:
    """For commands that load a model: they end with the hosts contacted, and may be forbidden to contact the hub."""
    host_log().tell_at_end()
    if offline:
        os.environ["HF_HUB_OFFLINE"] = "1"  # read by the hub library when it is imported
