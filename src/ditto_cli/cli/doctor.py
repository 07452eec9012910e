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
from ditto_cli.store import AdapterStore, cache_home, store_home
from ditto_cli.store.adapters import ADAPTERS_FOLDER
from ditto_cli.store.files import TEMPORARY_PREFIX, folder_size
from ditto_cli.store.generations import REMOVED_PREFIX, STAGING_PREFIX
from ditto_cli.store.records import KEY_FILE, SCHEMA_VERSION

_GIB, _MIB = 2**30, 2**20
_DISTRIBUTION = "ditto-cli"
_CONVERTING_PREFIX = ".converting-"
_LEFTOVERS = (TEMPORARY_PREFIX, STAGING_PREFIX, REMOVED_PREFIX, _CONVERTING_PREFIX)
_MOST_PROBLEMS_SHOWN = 3
_REQUIREMENT = re.compile(r"([A-Za-z0-9._-]+)[^;]*?>=\s*([0-9.]+)(?!.*;.*\bextra\b)")

Found = TypeVar("Found")


def run_doctor(*, as_json: bool) -> None:
    """Show the report, and end with an error where the store or an adapter has a problem.

    Raises:
        DiskError: there are problems; the report was shown in full.
    """
    home, cache = store_home(os.environ), cache_home(os.environ)
    store = AdapterStore(home)
    adapters, problems = _adapters(store)
    health = _store_health(store, home, cache)
    problems = [*health["problems"], *problems]
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
        shown = [_tilde(problem) for problem in problems[:_MOST_PROBLEMS_SHOWN]]
        more = ["..."] if len(problems) > _MOST_PROBLEMS_SHOWN else []
        raise DiskError(f"{len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join([*shown, *more])}")


def _environment() -> dict[str, Any]:
    total, free = _memory()
    return {
        "ditto": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _packages(),
        "cores": os.cpu_count(),
        "memory_bytes": total,
        "free_memory_bytes": free,
        **_device(),
    }


def _packages() -> list[dict[str, str | None]]:
    """What ditto needs to run, with what is installed of it; extras are left out."""
    packages = []
    for requirement in metadata.requires(_DISTRIBUTION) or []:
        match = _REQUIREMENT.match(requirement)
        if match is None:
            continue
        name, floor = match.groups()
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            packages.append({"name": name, "version": None, "floor": floor, "problem": "not installed"})
            continue
        problem = f"older than the tested floor {floor}" if _numbers(version) < _numbers(floor) else None
        packages.append({"name": name, "version": version, "floor": floor, "problem": problem})
    return packages


def _numbers(version: str) -> list[int]:
    """`2.13.0+cpu` -> [2, 13]: zeros at the end count nothing."""
    release = re.match(r"[0-9]+(\.[0-9]+)*", version)
    numbers = [int(part) for part in release[0].split(".")] if release else []
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return numbers


def _memory() -> tuple[int | None, int | None]:
    """Bytes of memory, and of what is free or can be freed; None where the system does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None, None
    kib = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}
    return kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024


def _device() -> dict[str, Any]:
    """The GPU, 4-bit weights, and the preset that fits; all unknown where torch cannot be imported."""
    found: dict[str, Any] = dict.fromkeys(
        ("threads", "gpu", "gpu_memory_bytes", "four_bit", "preset", "torch_problem", "device_notes")
    )
    try:
        from ditto_cli.model.hardware import detect, four_bit_problem
    except (ImportError, OSError) as error:  # OSError: a shared library of it
        found["torch_problem"] = f"cannot be imported ({type(error).__name__})"
        return found
    hardware = detect("auto")
    found |= {"threads": hardware.num_threads, "preset": hardware.default_preset()}
    found["four_bit"] = four_bit_problem(hardware.device) or "works"
    problem = hardware.training_problem()
    found["device_notes"] = [*hardware.notes(), *([problem] if problem else [])]
    if hardware.is_cuda:
        found |= {"gpu": hardware.name, "gpu_memory_bytes": hardware.memory_bytes}
    return found


def _bases(cache: Path) -> dict[str, Any]:
    """The embedded base, and the one that training takes on this machine when no other is named."""
    found: dict[str, Any] = {"embedded": "unknown", "default": None, "default_present": None}
    try:
        from ditto_cli.model.base.conversions import conversion_place, find_gguf
        from ditto_cli.model.base.source import folder_problem
        from ditto_cli.model.hardware import detect
    except (ImportError, OSError):
        return found
    gguf = find_gguf()
    if gguf is None:
        found["embedded"] = "not installed"
    else:
        place = conversion_place(gguf, cache)
        problem = folder_problem(place) if place.is_dir() else None
        found["embedded"] = (
            f"damaged: {problem}; delete that folder" if problem else "converted" if place.is_dir() else "installed"
        )
    base = resolve_settings(detect("auto").default_preset(), FolderFile(), {}, {}).base
    return found | {"default": base.id, "default_present": _is_present(base.id, base.revision)}


def _is_present(base_id: str, revision: str | None) -> bool | None:
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
    leftovers = {path for folder in (home, cache) for path in _below(folder, None, problems) if _is_leftover(path)}
    open_to_others = [path for path in _below(home, cache, problems) if _is_open_to_others(path)]
    if open_to_others:
        problems.append(
            f"others may read {_counted(len(open_to_others), 'file or folder', 'files and folders')} of the store, "
            f"as {open_to_others[0]}: run chmod -R go= {home}"
        )
    if (home / KEY_FILE).exists():
        problems += _told(store.key)[1]
    unfinished, more = _told(store.unfinished_names)
    known, _ = _told(store.names)
    strangers = _strangers(home / ADAPTERS_FOLDER, {*(known or []), *(unfinished or [])})
    return {
        "schema_version": SCHEMA_VERSION,
        "leftovers": len(leftovers),
        "leftover_bytes": sum(_size(path) for path in leftovers),
        "unfinished": unfinished or [],
        "problems": list(dict.fromkeys([*problems, *more, *strangers])),
    }


def _strangers(folder: Path, known: set[str]) -> list[str]:
    """What lies among the adapters and is none, such as one whose generations were deleted."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:  # none yet, or it was told before
        return []
    return [
        f"{folder / name} holds no adapter: delete it, unless you know what it is"
        for name in names
        if name not in known and not name.startswith(_LEFTOVERS)
    ]


def _adapters(store: AdapterStore) -> tuple[list[dict[str, Any]], list[str]]:
    """Each adapter with its state, and the problems of all."""
    names, problems = _told(store.names)
    rows = []
    for name in names or []:
        (found, failed), (record, _) = _told(partial(store.check, name)), _told(partial(store.record, name))
        problem = found or next(iter(failed), None)
        if problem is not None:
            problems.append(f"adapter {name}: {problem}")
        rows.append(
            {
                "name": name,
                "problem": problem,
                "base": record.base.id if record else None,
                "base_present": _is_present(record.base.id, record.base.revision) if record else None,
            }
        )
    return rows, problems


def _told(look: Callable[[], Found]) -> tuple[Found | None, list[str]]:
    """What `look` finds, or what keeps it from finding it."""
    try:
        return look(), []
    except DittoError as error:
        return None, [str(error)]
    except Exception as error:  # a doctor does not die of what the patient has
        return None, [f"something unforeseen is wrong with it ({type(error).__name__})"]


def _below(folder: Path, left_out: Path | None, problems: list[str]) -> Iterator[Path]:
    """A folder and everything in it, links not followed."""
    if not folder.is_dir():
        return
    yield folder

    def refused(error: OSError) -> None:
        problems.append(f"{error.filename} cannot be read ({error.strerror})")

    for place, folders, names in os.walk(folder, onerror=refused):
        folders[:] = [name for name in folders if Path(place, name) != left_out]
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


def _size(path: Path) -> int:
    return folder_size(path) if path.is_dir() else path.lstat().st_size if path.exists() else 0


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
    print_facts(
        {
            "ditto": f"{environment['ditto']}, Python {environment['python']}, {environment['platform']}",
            "packages": ", ".join(_package_words(package) for package in environment["packages"]),
            "processor": f"{environment['cores']} cores, torch uses {environment['threads'] or 'an unknown number'}",
            "memory": f"{_gib(environment['memory_bytes'])}, {_gib(environment['free_memory_bytes'])} free",
            "GPU": _gpu_words(environment),
            "4-bit weights": environment["four_bit"] or "unknown",
            **({"device": "; ".join(notes)} if (notes := environment["device_notes"]) else {}),
            "preset that fits": environment["preset"] or f"unknown: torch {environment['torch_problem']}",
            "embedded base": bases["embedded"],
            "default base": f"{bases['default'] or 'unknown'}, {_there(bases['default_present'])}",
            "store": _disk_words(disk["store"]),
            "cache": _disk_words(disk["cache"]),
            "format": str(health["schema_version"]),
            "leftovers": _leftover_words(health),
            "unfinished": ", ".join(health["unfinished"]) or "no training",
            "health": "; ".join(health["problems"]) or "ok",
        }
    )
    rows = [
        (row["name"], row["problem"] or "ok", row["base"] or "", _there(row["base_present"]))
        for row in report["adapters"]
    ]
    if rows:
        print_table("", ("adapter", "state", "base", "base on this machine"), rows)


def _package_words(package: Mapping[str, str | None]) -> str:
    words = f"{package['name']} {package['version'] or ''}".rstrip()
    return f"{words} ({package['problem']})" if package["problem"] else words


def _gpu_words(environment: Mapping[str, Any]) -> str:
    if environment["torch_problem"]:
        return "unknown"
    return f"{environment['gpu']}, {_gib(environment['gpu_memory_bytes'])}" if environment["gpu"] else "none"


def _disk_words(disk: Mapping[str, Any]) -> str:
    return f"{disk['path']}, {_gib(disk['free_bytes'])} free{'' if disk['exists'] else ', not made yet'}"


def _leftover_words(health: Mapping[str, Any]) -> str:
    if not health["leftovers"]:
        return "none"
    size = f"{health['leftover_bytes'] / _MIB:.1f} MiB"
    return f"{health['leftovers']} of killed commands, or of some that run now, {size}; old ones go with a training"


def _there(is_present: bool | None) -> str:
    return "unknown" if is_present is None else "on this machine" if is_present else "not on this machine"


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"


def _gib(num_bytes: int | None) -> str:
    return "unknown" if num_bytes is None else f"{num_bytes / _GIB:.1f} GiB"
