"""`ditto doctor`: this machine, the store and every adapter, checked and told without a word of anybody's texts.

Nothing is changed, downloaded or loaded. Whatever is damaged becomes a line of the report.
"""

from __future__ import annotations

import os
import platform
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from ditto_cli import __version__
from ditto_cli.cli.render import print_facts, print_json, print_table
from ditto_cli.config import FolderFile, resolve_settings
from ditto_cli.errors import DiskError, DittoError
from ditto_cli.shown import size
from ditto_cli.store import AdapterStore, cache_home, store_home
from ditto_cli.store.adapter_store import ADAPTERS_FOLDER
from ditto_cli.store.files import REMOVED_PREFIX, STAGING_PREFIX, TEMPORARY_PREFIX, list_folder
from ditto_cli.store.records import KEY_FILE

_LEFTOVERS = (TEMPORARY_PREFIX, STAGING_PREFIX, REMOVED_PREFIX)
_MOST_PROBLEMS_SHOWN = 3
_ANSWERS = {None: "unknown", True: "yes", False: "no"}


def run_doctor(*, as_json: bool) -> None:
    """Show the report, and end with an error where the store or an adapter has a problem."""
    home, cache = store_home(os.environ), cache_home(os.environ)
    store, problems = AdapterStore(home), _problems_of_files(home, cache)

    def attempt(look: Callable[[], Any], *, about: str = "") -> Any:
        """What `look` finds; what keeps it from finding anything is a problem."""
        try:
            return look()
        except DittoError as error:
            problems.append(f"{about}{error}")
        except Exception as error:  # a doctor does not die of what the patient has
            problems.append(f"{about}something unforeseen is wrong with it ({type(error).__name__})")
        return None

    if (home / KEY_FILE).exists():
        attempt(store.key)
    unfinished, names = attempt(store.unfinished_names) or [], attempt(store.names) or []
    adapters: list[dict[str, Any]] = []
    for name in names:
        num_before = len(problems)
        if found := attempt(partial(store.check, name), about=f"adapter {name}: "):
            problems.append(f"adapter {name}: {found}")
        problem = problems[num_before] if len(problems) > num_before else None
        base = None
        with suppress(Exception):  # told above
            base = store.record(name).base
        here = is_present(base.id, base.revision) if base else None
        adapters.append({"name": name, "problem": problem, "base": base and base.id, "base_present": here})
    for name in attempt(partial(list_folder, home / ADAPTERS_FOLDER)) or ():
        if name not in {*names, *unfinished} and not name.startswith(_LEFTOVERS):
            problems.append(f"{home / ADAPTERS_FOLDER / name} holds no adapter: delete it, unless you know what it is")
    problems = list(dict.fromkeys(problems))
    environment = _environment()
    if as_json:
        report = {"environment": environment, "store": _disk(home), "cache": _disk(cache), "unfinished": unfinished}
        print_json(report | {"problems": problems, "adapters": adapters})
    else:
        packages = (
            " ".join(filter(None, (p["name"], p["version"], p["problem"] and f"({p['problem']})")))
            for p in environment["packages"]
        )
        shown = environment | {"packages": ", ".join(packages), "unfinished": unfinished, "problems": problems}
        for name, place in (("store", home), ("cache", cache)):
            disk = _disk(place)
            missing = "" if disk["exists"] else "not there yet, "
            shown[name] = f"{place} ({missing}{size(disk['free_bytes'])} free)"
        print_facts(
            {key.removesuffix("_bytes").replace("_", " "): _render_value(key, value) for key, value in shown.items()}
        )
        rows = [(a["name"], a["problem"] or "ok", a["base"] or "", _ANSWERS[a["base_present"]]) for a in adapters]
        if rows:
            print_table("", ("adapter", "state", "base", "base on this machine"), rows)
    if problems:
        told = problems[:_MOST_PROBLEMS_SHOWN] + ["..."] * (len(problems) > _MOST_PROBLEMS_SHOWN)
        raise DiskError(f"{len(problems)} problem{'s' * (len(problems) > 1)}: {'; '.join(told)}")


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


def _problems_of_files(home: Path, cache: Path) -> list[str]:
    """Files where folders should be, what cannot be read, and what others may read; links are not followed."""
    problems = [
        f"{folder} is a file where a folder of the store should be: move it away"
        for folder in (home, home / ADAPTERS_FOLDER)
        if folder.is_file()
    ]
    unreadable: list[OSError] = []
    exposed = []
    for place, folders, names in os.walk(home, onerror=unreadable.append):
        folders[:] = [folder for folder in folders if Path(place, folder) != cache]
        for path in (Path(place), *(Path(place, name) for name in names)):
            with suppress(OSError):  # removed meanwhile
                mode = path.lstat().st_mode
                if mode & 0o077 and not stat.S_ISLNK(mode):
                    exposed.append(path)
    problems += [f"{error.filename} cannot be read ({error.strerror})" for error in unreadable if home.is_dir()]
    if exposed:
        num = "1 file or folder" if len(exposed) == 1 else f"{len(exposed)} files and folders"
        problems.append(f"others may read {num} of the store, as {min(exposed)}: run chmod -R go= {home}")
    return problems


def _render_value(key: str, value: Any) -> str:
    if value is None or isinstance(value, bool):
        return _ANSWERS[value]
    if isinstance(value, list):
        return "; ".join(value) or "none"
    return size(value) if key.endswith("_bytes") else str(value)
