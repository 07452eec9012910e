"""`ditto doctor`: this machine, the store and every adapter, checked and told without a word of anybody's texts.

Nothing is changed, downloaded or loaded. Whatever is damaged becomes a line of the report.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from packaging.requirements import Requirement
from packaging.version import Version

from ditto_cli import __version__
from ditto_cli.cli.render import print_facts, print_json, print_table
from ditto_cli.config import FolderFile, resolve_settings
from ditto_cli.errors import DiskError, DittoError
from ditto_cli.shown import size
from ditto_cli.store import AdapterStore, cache_home, store_home
from ditto_cli.store.adapters import ADAPTERS_FOLDER
from ditto_cli.store.files import REMOVED_PREFIX, STAGING_PREFIX, TEMPORARY_PREFIX, folder_size
from ditto_cli.store.records import KEY_FILE, SCHEMA_VERSION

_LEFTOVERS = (TEMPORARY_PREFIX, STAGING_PREFIX, REMOVED_PREFIX)
_MOST_PROBLEMS_SHOWN = 3

Found = TypeVar("Found")


def run_doctor(*, as_json: bool) -> None:
    """Show the report, and end with an error where the store or an adapter has a problem."""
    home, cache = store_home(os.environ), cache_home(os.environ)
    store = AdapterStore(home)
    adapters, damages = _adapters(store)
    health = _store_health(store, home, cache)
    report = _tilde(
        {
            "environment": _environment(),
            "disk": {"store": _disk(home), "cache": _disk(cache)},
            "store": health,
            "adapters": adapters,
        }
    )
    if as_json:
        print_json(report)
    else:
        packages = report["environment"]["packages"]
        lines = (
            " ".join(filter(None, (p["name"], p["version"], p["problem"] and f"({p['problem']})"))) for p in packages
        )
        facts = {**report["environment"], "packages": [", ".join(lines)], **report["disk"], **report["store"]}
        print_facts({_label(key): _shown(key, value) for key, value in facts.items()})
        rows = [
            (a["name"], a["problem"] or "ok", a["base"] or "", _shown("", a["base_present"]))
            for a in report["adapters"]
        ]
        if rows:
            print_table("", ("adapter", "state", "base", "base on this machine"), rows)
    if problems := _tilde([*health["problems"], *damages]):
        shown = problems[:_MOST_PROBLEMS_SHOWN] + ["..."] * (len(problems) > _MOST_PROBLEMS_SHOWN)
        raise DiskError(f"{len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(shown)}")


def _environment() -> dict[str, Any]:
    """Versions, memory, the GPU, the preset that fits, and its base; None is unknown, as all is that torch knows."""
    keys = ("threads", "free_memory_bytes", "gpu", "four_bit", "device_notes", "preset", "default_base")
    found: dict[str, Any] = {
        "ditto": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        **dict.fromkeys((*keys, "default_base_present")),
    }
    try:
        from ditto_cli.model.hardware import detect, four_bit_problem
    except (ImportError, OSError) as error:  # OSError: a shared library of torch
        return found | {"torch": f"cannot be imported ({type(error).__name__})"}
    hardware = detect("auto")
    preset = hardware.default_preset()
    base = resolve_settings(preset, FolderFile(), {}, {}).base
    return found | {
        "torch": "works",
        "threads": hardware.num_threads,
        "free_memory_bytes": detect("cpu").available_bytes(),
        "gpu": f"{hardware.name}, {size(hardware.memory_bytes)}" if hardware.is_cuda else "none",
        "four_bit": four_bit_problem(hardware.device) or "works",
        "device_notes": [*hardware.notes(), *filter(None, [hardware.training_problem()])],
        "preset": preset,
        "default_base": base.id,
        "default_base_present": is_present(base.id, base.revision),
    }


def _packages() -> list[dict[str, str | None]]:
    """What ditto needs to run, with what is installed of it; extras are left out."""
    packages = []
    for needed in map(Requirement, metadata.requires("ditto-cli") or []):
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            version, problem = metadata.version(needed.name), None
            if not needed.specifier.contains(Version(version).base_version):
                problem = f"needs to be {needed.specifier}"
        except metadata.PackageNotFoundError:
            version, problem = None, "not installed"
        packages.append({"name": needed.name, "version": version, "problem": problem})
    return packages


def is_present(base_id: str, revision: str | None) -> bool:
    """Whether a base could be loaded without a network."""
    from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID, EMBEDDED_ID, conversion_place, find_gguf
    from ditto_cli.model.base.source import cached_snapshot, folder_problem

    if base_id == EMBEDDED_ID and (gguf := find_gguf()) is not None:
        converted = conversion_place(gguf, cache_home(os.environ))
        return not converted.is_dir() or folder_problem(converted) is None
    folder = Path(base_id).expanduser()
    try:
        if folder.is_dir():
            return folder_problem(folder) is None
        snapshot = cached_snapshot(EMBEDDED_HUB_ID if base_id == EMBEDDED_ID else base_id, revision)
    except (DittoError, OSError):
        return False
    return snapshot is not None and folder_problem(snapshot) is None


def _disk(folder: Path) -> dict[str, Any]:
    """Where a folder lies or would lie, and the room there."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return {"path": str(folder), "exists": folder.is_dir(), "free_bytes": shutil.disk_usage(there).free}


def _store_health(store: AdapterStore, home: Path, cache: Path) -> dict[str, Any]:
    problems = [
        f"{folder} is a file where a folder of the store should be: move it away"
        for folder in (home, home / ADAPTERS_FOLDER)
        if folder.is_file()
    ]
    inside = _everything_in(home, problems)
    everything = inside | _everything_in(cache, problems)
    leftovers = {  # of one in another only the outer counts
        path: folder_size(path) if path.is_dir() else state.st_size
        for path, state in everything.items()
        if path.name.startswith(_LEFTOVERS) and not any(part.startswith(_LEFTOVERS) for part in path.parent.parts)
    }
    exposed = [
        path
        for path, state in inside.items()
        if state.st_mode & 0o077 and not stat.S_ISLNK(state.st_mode) and not path.is_relative_to(cache)
    ]
    if exposed:
        num = "1 file or folder" if len(exposed) == 1 else f"{len(exposed)} files and folders"
        problems.append(f"others may read {num} of the store, as {exposed[0]}: run chmod -R go= {home}")
    if (home / KEY_FILE).exists():
        problems += _attempt(store.key)[1]
    unfinished, more = _attempt(store.unfinished_names)
    names, _ = _attempt(store.names)
    known = {*(names or []), *(unfinished or [])}
    strangers = [
        f"{path} holds no adapter: delete it, unless you know what it is"
        for path in sorted(inside)
        if path.parent == home / ADAPTERS_FOLDER and path.name not in known and not path.name.startswith(_LEFTOVERS)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "leftovers": len(leftovers),
        "leftover_bytes": sum(leftovers.values()),
        "unfinished": unfinished or [],
        "problems": list(dict.fromkeys([*problems, *more, *strangers])),
    }


def _adapters(store: AdapterStore) -> tuple[list[dict[str, Any]], list[str]]:
    """Each adapter with its state, and the problems of all."""
    names, problems = _attempt(store.names)
    rows = []
    for name in names or []:
        (found, failures), (record, _) = _attempt(partial(store.check, name)), _attempt(partial(store.record, name))
        problem = found or next(iter(failures), None)
        if problem is not None:
            problems.append(f"adapter {name}: {problem}")
        base = record.base if record else None
        here = is_present(base.id, base.revision) if base else None
        rows.append({"name": name, "problem": problem, "base": base.id if base else None, "base_present": here})
    return rows, problems


def _attempt(look: Callable[[], Found]) -> tuple[Found | None, list[str]]:
    """What `look` finds, or what keeps it from finding it."""
    try:
        return look(), []
    except DittoError as error:
        return None, [str(error)]
    except Exception as error:  # a doctor does not die of what the patient has
        return None, [f"something unforeseen is wrong with it ({type(error).__name__})"]


def _everything_in(folder: Path, problems: list[str]) -> dict[Path, os.stat_result]:
    """A folder and everything in it, links not followed."""
    found: dict[Path, os.stat_result] = {}
    if not folder.is_dir():
        return found
    found[folder] = folder.lstat()
    unreadable: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unreadable.append):
        for name in (*folders, *names):
            with suppress(OSError):  # removed meanwhile
                found[Path(place, name)] = Path(place, name).lstat()
    problems += [f"{error.filename} cannot be read ({error.strerror})" for error in unreadable]
    return found


def _tilde(value: Any) -> Any:
    """The same with the home folder as `~` in every text, so that a report can be shown to others."""
    home = os.path.expanduser("~").rstrip("/")
    if isinstance(value, str):
        return re.sub(rf"(?<![\w/.-]){re.escape(home)}(?![\w.-])", "~", value) if home else value
    if isinstance(value, Mapping):
        return {key: _tilde(inner) for key, inner in value.items()}
    if isinstance(value, Sequence):
        return [_tilde(inner) for inner in value]
    return value


def _label(key: str) -> str:
    return key.removesuffix("_bytes").replace("_", " ")


def _shown(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "unknown", True: "yes", False: "no"}[value]
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(name)} {_shown(name, inner)}" for name, inner in value.items())
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return size(value) if key.endswith("_bytes") else str(value)
