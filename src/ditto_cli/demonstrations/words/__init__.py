"""Words of many languages as data: one YAML file a subject, read once."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def words(subject: str) -> Any:
    """The content of `subject`.yaml beside this file."""
    text = files(__name__).joinpath(f"{subject}.yaml").read_text(encoding="utf-8")
    # The C loader, where it is built, is ten times as fast.
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def one_of(subject: str, kind: str) -> str:
    """A pattern for any phrase of a kind in `subject`.yaml; of two that begin alike, the longer."""
    return "|".join(re.escape(phrase) for phrase in sorted(set(words(subject)[kind]), key=len, reverse=True))
