"""What ditto says to its user, for who measures or tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard(into: list[str]) -> Iterator[list[str]]:
    """A list that gets what is logged for the user within the block."""
    handler, log = logging.Handler(logging.INFO), logging.getLogger("ditto_cli")
    handler.emit = lambda record: into.append(record.getMessage())  # type: ignore[method-assign]
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield into
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
