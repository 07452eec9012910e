"""What most commands begin with: the store, the adapter that is meant, the preset, the base, and a question."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.render import ask
from ditto_cli.config import CPU_PRESET, GPU_DEVICES, BaseSettings, FolderFile, resolve_settings
from ditto_cli.errors import DeviceError, InputError
from ditto_cli.store import AdapterStore, cache_home, check_name, store_home, suggest_name

if TYPE_CHECKING:
    from ditto_cli.model.base.source import BaseSource
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy.policy import Policy


def open_store() -> AdapterStore:
    """The adapters of this machine."""
    return AdapterStore(store_home(os.environ))


def only_adapter(store: AdapterStore) -> str:
    """The adapter that is meant where none is named."""
    names = store.names()
    if len(names) == 1:
        return names[0]
    if not names:
        raise InputError("There are no adapters yet: make one with `ditto train FOLDER`.")
    raise InputError(f"Say whose style: --adapter NAME; there are {', '.join(names[:8])}.")


def folder_adapter(folder: Path, folder_file: FolderFile, flag: str | None = None) -> str:
    """The name of a folder's adapter: as it is given, as ditto.yaml says it, or after the folder."""
    name = flag or folder_file.name or suggest_name(Path(os.path.abspath(folder)).name)
    check_name(name)
    return name


def named_preset(flag: str | None, folder_file: FolderFile) -> str | None:
    """The preset that the user names; None leaves it to the machine."""
    return flag or os.environ.get("DITTO_PRESET") or folder_file.preset


def folder_base(folder_file: FolderFile, preset: str | None = None, device: str = "auto") -> BaseSettings:
    """The base that a training on a folder would take; torch is only asked for a preset where a GPU may be."""
    preset = named_preset(preset, folder_file)
    if preset is None and (device.startswith("cuda") or any(Path(path).exists() for path in GPU_DEVICES)):
        from ditto_cli.model.hardware import detect

        preset = detect(device).default_preset()
    return resolve_settings(preset or CPU_PRESET, folder_file, os.environ, flags={}).base


def find_base(base_id: str, revision: str | None = None, *, weights: bool = True) -> BaseSource:
    """Where a base lies, after a download if need be; without `weights` its small files suffice."""
    from ditto_cli.model.base.source import locate_base

    return locate_base(base_id, revision, cache_home(os.environ), weights=weights)


def load_base(base: BaseSettings, hardware: Hardware) -> Policy:
    """A base in memory."""
    from ditto_cli.model.base.loading import load_policy

    return load_policy(base, hardware, cache_home(os.environ))


def require_training(hardware: Hardware) -> None:
    """Refuse a device on which nothing can be trained, before anything is loaded."""
    problem = hardware.training_problem()
    if problem is not None:
        raise DeviceError(f"{hardware.name}: {problem}.")


def in_terminal() -> bool:
    """Whether there is somebody to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirm(question: str, refusal: str) -> bool:
    """Whether the user says yes; no answer is no. Where nobody can be asked, `refusal` is the error."""
    if not in_terminal():
        raise InputError(refusal)
    try:
        return ask(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False
