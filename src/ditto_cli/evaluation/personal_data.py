"""Writings -> the personal data of single demonstrations that they give away. No torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ditto_cli.demonstrations.redaction import personal_data
from ditto_cli.evaluation.types import Writing
from ditto_cli.types import Demonstration


def echoed_personal_data(writings: Sequence[Writing], demonstrations: Sequence[Demonstration]) -> list[str]:
    """Kinds of personal data of which a writing has the very value that one demonstration has.

    What stands in several demonstrations is what the author signs with, and belongs into every text.
    """
    texts = dict.fromkeys(demonstration.completion for demonstration in demonstrations)
    known = Counter((kind, value) for text in texts for kind, value in _values(text))
    written = {pair for writing in writings for pair in _values(writing.text)}
    return sorted({kind for (kind, value), num in known.items() if num == 1 and (kind, value) in written})


def _values(text: str) -> set[tuple[str, str]]:
    return {(kind, value) for kind, values in personal_data(text).items() for value in values}
