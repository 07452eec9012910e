"""`ditto doctor`: this machine, the store and every adapter, checked and told without a word of anybody's texts.

Nothing is changed, downloaded or loaded. Whatever is damaged becomes a line of the report.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

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
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*?>=\s*([0-9.]+)(?!.*;.*\bextra\b)")

Found = TypeVar("Found")


def run_doctor(*, as_json: bool) -> None:
    """Show the report, and end with an error where the store or an adapter has a problem."""
    home, cache = store_home(os.environ), cache_home(os.environ)
    store = AdapterStore(home)
    adapters, damages = _adapters(store)
    health = _store_health(store, home, cache)
    problems = [_tilde(problem) for problem in (*health["problems"], *damages)]
    report = _tilde(
        {
            "environment": _environment(),
            "bases": _bases(cache),
            "disk": {"store": _disk(home), "cache": _disk(cache)},
            "store": health,
            "adapters": adapters,
        }
    )
    if as_json:
        print_json(report)
    else:
        _show(report)
    if problems:
        shown = problems[:_MOST_PROBLEMS_SHOWN] + ["..."] * (len(problems) > _MOST_PROBLEMS_SHOWN)
        raise DiskError(f"{len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(shown)}")


def _environment() -> dict[str, Any]:
    """Versions, memory, the GPU, 4-bit weights, and the preset that fits; None is unknown."""
    found: dict[str, Any] = {
        "ditto": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "cores": os.cpu_count(),
    }
    found |= dict.fromkeys(("memory_bytes", "free_memory_bytes", "threads", "gpu", "gpu_memory_bytes"))
    found |= dict.fromkeys(("four_bit", "preset", "torch_problem", "device_notes"))
    meminfo = Path("/proc/meminfo")
    if meminfo.exists():  # on Linux
        kib = dict(re.findall(r"^(\w+): +(\d+) kB", meminfo.read_text(), re.MULTILINE))
        found |= {"memory_bytes": int(kib["MemTotal"]) * 1024, "free_memory_bytes": int(kib["MemAvailable"]) * 1024}
    try:
        from ditto_cli.model.hardware import detect, four_bit_problem
    except (ImportError, OSError) as error:  # OSError: a shared library of torch
        return found | {"torch_problem": f"cannot be imported ({type(error).__name__})"}
    hardware = detect("auto")
    if hardware.is_cuda:
        found |= {"gpu": hardware.name, "gpu_memory_bytes": hardware.memory_bytes}
    return found | {
        "threads": hardware.num_threads,
        "preset": hardware.default_preset(),
        "four_bit": four_bit_problem(hardware.device) or "works",
        "device_notes": [*hardware.notes(), *filter(None, [hardware.training_problem()])],
    }


def _packages() -> list[dict[str, str | None]]:
    """What ditto needs to run, with what is installed of it; extras are left out."""
    packages = []
    for match in filter(None, map(_REQUIREMENT.match, metadata.requires("ditto-cli") or [])):
        name, floor = match.groups()
        try:
            version, problem = metadata.version(name), None
            if _numbers(version) < _numbers(floor):
                problem = f"older than the tested floor {floor}"
        except metadata.PackageNotFoundError:
            version, problem = None, "not installed"
        packages.append({"name": name, "version": version, "floor": floor, "problem": problem})
    return packages


def _numbers(version: str) -> list[int]:
    """`2.13.0+cpu` -> [2, 13]: zeros at the end count nothing."""
    release = re.match(r"[0-9.]*[1-9]", re.split(r"[^0-9.]", version)[0])
    return [int(part) for part in release[0].split(".")] if release else []


def _bases(cache: Path) -> dict[str, Any]:
    """The embedded base, and the one that training takes on this machine when no other is named."""
    try:
        from ditto_cli.model.base.conversions import conversion_place, find_gguf
        from ditto_cli.model.base.source import folder_problem
        from ditto_cli.model.hardware import detect
    except (ImportError, OSError):
        return {"embedded": "unknown", "default": None, "default_present": None}
    gguf = find_gguf()
    embedded = "not installed"
    if gguf is not None:
        place = conversion_place(gguf, cache)
        embedded = "converted" if place.is_dir() else "installed"
        if place.is_dir() and (problem := folder_problem(place)):
            embedded = f"damaged: {problem}; delete that folder"
    base = resolve_settings(detect("auto").default_preset(), FolderFile(), {}, {}).base
    return {"embedded": embedded, "default": base.id, "default_present": is_present(base.id, base.revision)}


def is_present(base_id: str, revision: str | None) -> bool | None:
    """Whether a base could be loaded without a network; None where torch cannot be imported."""
    try:
        from ditto_cli.model.base.conversions import EMBEDDED_HUB_ID, EMBEDDED_ID, find_gguf
        from ditto_cli.model.base.source import cached_snapshot, folder_problem
    except (ImportError, OSError):
        return None
    if base_id == EMBEDDED_ID and find_gguf() is not None:
        return True
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
    try:
        free = shutil.disk_usage(there).free
    except OSError:
        free = None
    return {"path": str(folder), "exists": folder.is_dir(), "free_bytes": free}


def _store_health(store: AdapterStore, home: Path, cache: Path) -> dict[str, Any]:
    problems = [
        f"{folder} is a file where a folder of the store should be: move it away"
        for folder in (home, home / ADAPTERS_FOLDER)
        if folder.is_file()
    ]
    inside = list(_everything_in(home, problems))
    everything = {*inside, *_everything_in(cache, problems)}
    leftovers = [path for path in everything if _is_leftover(path) and path.exists()]  # it may be gone by now
    exposed = [path for path in inside if not path.is_relative_to(cache) and _is_open_to_others(path)]
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
        "leftover_bytes": sum(folder_size(path) if path.is_dir() else path.lstat().st_size for path in leftovers),
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
        rows.append(
            {
                "name": name,
                "problem": problem,
                "base": base.id if base else None,
                "base_present": is_present(base.id, base.revision) if base else None,
            }
        )
    return rows, problems


def _attempt(look: Callable[[], Found]) -> tuple[Found | None, list[str]]:
    """What `look` finds, or what keeps it from finding it."""
    try:
        return look(), []
    except DittoError as error:
        return None, [str(error)]
    except Exception as error:  # a doctor does not die of what the patient has
        return None, [f"something unforeseen is wrong with it ({type(error).__name__})"]


def _everything_in(folder: Path, problems: list[str]) -> Iterator[Path]:
    """A folder and everything in it, links not followed."""

    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read ({error.strerror})")

    if folder.is_dir():
        yield folder
        for place, folders, names in os.walk(folder, onerror=refuse):
            yield from (Path(place, name) for name in (*folders, *names))


def _is_leftover(path: Path) -> bool:
    """Of a leftover in another one, only the outer counts."""
    return path.name.startswith(_LEFTOVERS) and not any(part.startswith(_LEFTOVERS) for part in path.parent.parts)


def _is_open_to_others(path: Path) -> bool:
    try:
        mode = path.lstat().st_mode
    except OSError:  # removed meanwhile
        return False
    return not stat.S_ISLNK(mode) and bool(mode & 0o077)


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


def _show(report: Mapping[str, Any]) -> None:
    environment, bases, disk, health = (report[part] for part in ("environment", "bases", "disk", "store"))
    packages = [
        " ".join(filter(None, (package["name"], package["version"], package["problem"] and f"({package['problem']})")))
        for package in environment["packages"]
    ]
    gpu = f"{environment['gpu']}, {_size(environment['gpu_memory_bytes'])}" if environment["gpu"] else "none"
    places = {
        name: f"{place['path']}, {_size(place['free_bytes'])} free{'' if place['exists'] else ', not made yet'}"
        for name, place in disk.items()
    }
    leftovers = (
        f"{health['leftovers']} of killed commands, or of some that run now, {_size(health['leftover_bytes'])}; "
        "old ones go with a training"
    )
    print_facts(
        {
            "ditto": f"{environment['ditto']}, Python {environment['python']}, {environment['platform']}",
            "packages": ", ".join(packages),
            "processor": f"{environment['cores']} cores, torch uses {environment['threads'] or 'an unknown number'}",
            "memory": f"{_size(environment['memory_bytes'])}, {_size(environment['free_memory_bytes'])} free",
            "GPU": "unknown" if environment["torch_problem"] else gpu,
            "4-bit weights": environment["four_bit"] or "unknown",
            **({"device": "; ".join(notes)} if (notes := environment["device_notes"]) else {}),
            "preset that fits": environment["preset"] or f"unknown: torch {environment['torch_problem']}",
            "embedded base": bases["embedded"],
            "default base": f"{bases['default'] or 'unknown'}, {_whether_present(bases['default_present'])}",
            **places,
            "format": str(health["schema_version"]),
            "leftovers": leftovers if health["leftovers"] else "none",
            "unfinished": ", ".join(health["unfinished"]) or "no training",
            "health": "; ".join(health["problems"]) or "ok",
        }
    )
    rows = [
        (row["name"], row["problem"] or "ok", row["base"] or "", _whether_present(row["base_present"]))
        for row in report["adapters"]
    ]
    if rows:
        print_table("", ("adapter", "state", "base", "base on this machine"), rows)


def _whether_present(is_present: bool | None) -> str:
    return "unknown" if is_present is None else "on this machine" if is_present else "not on this machine"


def _size(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else size(num_bytes)
