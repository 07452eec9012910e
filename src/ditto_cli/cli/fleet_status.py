"""`ditto fleet status`, which imports nothing of training: it is asked again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

from ditto_cli.cli.render import print_json, print_table, say
from ditto_cli.fleet.status import PersonStatus, read_status
from ditto_cli.shown import duration
from ditto_cli.store import store_home


def run_fleet_status(*, as_json: bool) -> None:
    """See `ditto fleet status --help`."""
    status = read_status(store_home(os.environ))
    if as_json:
        print_json(status)
        return
    rows = [
        (person.name, person.state, detail(person), "" if person.seconds is None else duration(person.seconds))
        for person in status.people
        if person.state != "done"
    ]
    print_table(f"{status.folder}: {summary(status.counts())}", ("person", "", "where, or why", "time"), rows)
    ago = duration(time.time() - status.updated)
    say(f"It ended {ago} ago." if status.is_over else f"As of {ago} ago.")


def detail(person: PersonStatus) -> str:
    """Where somebody's training is, or why there is none."""
    left = "" if person.seconds_left is None else f", about {duration(person.seconds_left)} left in it"
    tries = f" (try {person.tries})" if person.tries > 1 else ""
    return person.detail + left + tries


def summary(counts: Mapping[str, int]) -> str:
    """`3 waiting, 2 done`."""
    return ", ".join(f"{num} {state}" for state, num in counts.items())
