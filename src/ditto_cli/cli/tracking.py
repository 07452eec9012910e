"""`ditto train --track`: a run's figures for a tracker, through accelerate's clients. No text goes there.

What a tracker keeps lies with the adapter, and is renamed and forgotten with it. Nothing is sent, unless a variable of
the tracker's own says where to (WANDB_MODE, TRACKIO_SPACE_ID, MLFLOW_TRACKING_URI).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from ditto_cli.cli.network import host_log
from ditto_cli.config import Settings
from ditto_cli.errors import InputError
from ditto_cli.shown import reason_of
from ditto_cli.store import make_private_folder
from ditto_cli.types import Reporter

# wandb else keeps what is shown, which are texts, and the machine, its user, packages and arguments.
_FIGURES_ONLY = {"console": "off", "save_code": False, "disable_git": True, "x_save_requirements": False}
_FIGURES_ONLY |= dict.fromkeys(("x_disable_meta", "x_disable_machine_info", "x_disable_stats"), True)


def check_tracker(tracker: str | None) -> None:
    """Refuse a tracker that is not installed, before anything is loaded."""
    if tracker is not None and find_spec(tracker) is None:
        raise InputError(f"--track {tracker} needs a package that is not installed: pip install {tracker}.")


@contextmanager
def tracked(shown: Reporter, tracker: str | None, settings: Settings, adapter: Path) -> Iterator[Reporter]:
    """`shown`, and with it the tracker, which keeps its files in the adapter's folder."""
    if tracker is None:
        yield shown
        return
    place = adapter / "tracking"
    own = {"TRACKIO_DIR": str(place), "MLFLOW_TRACKING_URI": f"sqlite:///{place}/mlflow.db"}
    own |= {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
    with ExitStack() as stack:
        for name in own.keys() - os.environ.keys():
            os.environ[name] = own[name]
            stack.callback(os.environ.pop, name)
        stack.callback(os.umask, os.umask(0o077))
        stack.enter_context(redirect_stdout(sys.stderr))  # some of them print
        client = _begin(tracker, settings, place)
        # trackio itself: accelerate (1.15) ends its run without its knowing, and it ends it again as Python exits.
        stack.callback((sys.modules["trackio"] if tracker == "trackio" else client).finish)
        yield cast(Reporter, _Tracked(shown, client, settings))


def _begin(tracker: str, settings: Settings, place: Path) -> Any:
    """A client that has begun a run, and knows all settings that are numbers."""
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState(cpu=True)  # accelerate's log asks for one; TRL's trainer makes its own
    name, run, mode = place.parent.name, f"{datetime.now():%Y-%m-%d %H.%M.%S}", os.environ.get("WANDB_MODE", "offline")
    tags = {"mlflow.user": "", "mlflow.source.name": "ditto"}  # else who is logged in, and the program's path
    arguments: dict[str, dict[str, Any]] = {
        "tensorboard": {"run_name": run, "logging_dir": place},
        "wandb": {"run_name": name, "name": run, "dir": place, "mode": mode, "settings": _FIGURES_ONLY},
        "trackio": {"run_name": name, "name": run, "embed": False, "auto_log_cpu": False, "auto_log_gpu": False},
        "mlflow": {"experiment_name": name, "run_name": run, "tags": tags},
    }
    sections = {section: fields for section, fields in settings.model_dump().items() if isinstance(fields, dict)}
    values = {f"{section}.{key}": value for section, fields in sections.items() for key, value in fields.items()}
    values["seed"] = settings.seed
    client = LOGGER_TYPE_TO_CLASS[tracker](**arguments[tracker])
    try:
        make_private_folder(place)
        client.start()
        client.store_init_configuration({key: value for key, value in values.items() if isinstance(value, int | float)})
    except Exception as error:  # of a server, an account or a disk
        raise InputError(f"--track {tracker} cannot begin ({reason_of(error)}).") from None
    if tracker == "wandb" and mode not in ("offline", "disabled"):  # a program of its own connects
        host_log().add(str(urlsplit(client.tracker.settings.base_url).hostname))
    return client


@dataclass
class _Tracked:
    """Passes all on to the reporter that shows, and figures to the tracker too."""

    shown: Reporter
    client: Any
    settings: Settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self.shown, name)

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """TRL's names, SFT's under `sft/`; a step is an update, those of SFT counted in full."""
        self.shown.advance_work(completed, metrics)
        if "step" in metrics:  # of the rounds
            figures = {name: value for name, value in metrics.items() if name != "step"}
            self.client.log(figures, self.settings.sft.max_steps + int(metrics["step"]))
        elif metrics:
            self.client.log({f"sft/{key}": value for key, value in metrics.items()}, completed)
