"""Who waits, runs, is done or failed, as one file that the driver writes and any terminal reads."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ditto_cli.errors import DiskError, InputError
from ditto_cli.store import make_private_folder, remove_tree, write_bytes
from ditto_cli.store.files import list_folder
from ditto_cli.store.locks import locked

State = Literal["refused", "waiting", "running", "done", "failed"]
FLEET_FOLDER, PAGE_FILE = "fleet", "report.html"
_FILE = "status.json"
_SECONDS = 2.0  # between two writings


class PersonStatus(BaseModel):
    """One person; `detail` is the stage of who runs, and why for who failed or was refused."""

    model_config = ConfigDict(extra="forbid")
    name: str
    state: State
    detail: str = ""
    seconds_left: float | None = None
    seconds: float | None = None
    tries: int = 0


class FleetStatus(BaseModel):
    """All people of one folder."""

    model_config = ConfigDict(extra="forbid")
    schema_version: Literal[1] = 1
    folder: str
    begun: float
    updated: float
    is_over: bool = False
    people: list[PersonStatus]

    def counts(self) -> dict[str, int]:
        """How many are in each state, in the states' order; none of 0."""
        found = Counter(person.state for person in self.people)
        return {state: found[state] for state in ("refused", "waiting", "running", "done", "failed") if found[state]}


class StatusBoard:
    """The status in memory, written to `home/fleet/status.json` at most every two seconds, and at the end."""

    def __init__(self, home: Path, status: FleetStatus) -> None:
        self.status = status
        self._by_name = {person.name: person for person in status.people}
        self._path = home / FLEET_FOLDER / _FILE
        self._written = 0.0
        make_private_folder(self._path.parent)

    def set(self, name: str, state: State, **changes: object) -> None:
        """What is new of one person."""
        person = self._by_name[name]
        person.state = state
        for key, value in changes.items():
            setattr(person, key, value)

    def write(self) -> None:
        """Let other terminals see it."""
        if self.status.is_over or time.monotonic() - self._written > _SECONDS:
            self._written, self.status.updated = time.monotonic(), time.time()
            write_bytes(self._path, self.status.model_dump_json().encode())

    def end(self) -> None:
        """Nobody runs any more; raises what `write` does."""
        for person in self.status.people:
            if person.state == "running":
                person.state, person.detail, person.seconds_left = "waiting", "", None
        self.status.is_over = True
        self.write()


@contextmanager
def only_fleet(home: Path) -> Iterator[None]:
    """Hold the store's fleet; a second one, which would do the same work again, gets a LockedError."""
    make_private_folder(home / FLEET_FOLDER)
    with locked(home / FLEET_FOLDER / "fleet.lock", "The fleet of this store"):
        yield


def forget_person(home: Path, name: str) -> None:
    """Remove status and page where they name an adapter; the next command makes them anew."""
    for file in (_FILE, PAGE_FILE):
        path = home / FLEET_FOLDER / file
        if file in list_folder(path.parent) and name.encode() in path.read_bytes():
            remove_tree(path)


def read_status(home: Path) -> FleetStatus:
    """What the newest `ditto fleet` wrote; InputError: there was none, DiskError: its file is damaged."""
    path = home / FLEET_FOLDER / _FILE
    try:
        return FleetStatus.model_validate(json.loads(path.read_bytes()))
    except FileNotFoundError:
        raise InputError("No fleet was trained here yet: ditto fleet train ./people/") from None
    except (OSError, ValueError, ValidationError) as error:
        raise DiskError(f"{path} cannot be read ({type(error).__name__}): remove it.") from None
