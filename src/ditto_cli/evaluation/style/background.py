"""A shipped file -> the texts of other people that every panel is calibrated against.

All background texts are invented for ditto. Knows nothing of the author.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from pydantic import BaseModel, ConfigDict


class BackgroundText(BaseModel):
    """A text in an invented voice; texts of one `voice` are meant to be by one person."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    voice: str
    kind: str
    text: str


@cache
def read_background() -> tuple[BackgroundText, ...]:
    """The shipped texts, those of a voice one after the other."""
    return tuple(BackgroundText.model_validate(json.loads(line)) for line in _read("background.jsonl").splitlines())


def _read(name: str) -> str:
    return (files("ditto_cli.evaluation") / "data" / name).read_text(encoding="utf-8")
