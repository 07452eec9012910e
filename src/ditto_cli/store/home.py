"""The environment -> the two folders that ditto owns: the store (to keep) and the cache (can be made again)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import platformdirs

HOME_VARIABLE = "DITTO_HOME"


def store_home(environment: Mapping[str, str]) -> Path:
    """Folder of adapters and the key: `$DITTO_HOME`, else the platform's data folder. It is not made here."""
    return _chosen_home(environment) or Path(platformdirs.user_data_dir("ditto", appauthor=False))


def cache_home(environment: Mapping[str, str]) -> Path:
    """Folder of what can be made again: `$DITTO_HOME/cache`, else the platform's cache folder. It is not made here."""
    home = _chosen_home(environment)
    return home / "cache" if home else Path(platformdirs.user_cache_dir("ditto", appauthor=False))


def _chosen_home(environment: Mapping[str, str]) -> Path | None:
    chosen = environment.get(HOME_VARIABLE, "")
    # A shell expands ~ itself; a .env file or a service's unit does not.
    return Path(os.path.abspath(os.path.expanduser(chosen))) if chosen else None
