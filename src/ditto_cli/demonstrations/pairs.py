"""pairs.jsonl beside the texts: a line for each pair of texts of which the person preferred one.

The format is TRL's, `{"prompt", "chosen", "rejected"}` as texts or as conversations, so pairs from elsewhere work.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from ditto_cli.config import PAIRS_FILE
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.reader_basics import read_whole
from ditto_cli.demonstrations.redaction import Redactor
from ditto_cli.errors import InputError
from ditto_cli.types import Preference, Skipped

_MAX_BYTES = 8 * 2**20


def read_pairs(folder: Path, redactor: Redactor | None = None) -> tuple[list[Preference], list[Skipped]]:
    """The pairs in a folder's pairs.jsonl, and the lines that are none; nothing where there is no such file.

    Of two pairs that are equal once redacted the first counts, of two that contradict each other neither.

    Raises:
        InputError: the file cannot be read.
    """
    pairs: dict[tuple[str, str, str], Preference] = {}
    skipped: list[Skipped] = []
    for number, line in pair_lines(folder).items():
        name = f"{PAIRS_FILE}#{number}"
        pair = _parsed(name, line, redactor)
        if isinstance(pair, str):
            skipped.append(Skipped(name, pair))
        elif (first := pairs.setdefault((pair.prompt, pair.chosen, pair.rejected), pair)) is not pair:
            skipped.append(Skipped(name, f"the same as {first.id}"))
    for prompt, chosen, rejected in list(pairs):
        one, other = pairs.get((prompt, chosen, rejected)), pairs.get((prompt, rejected, chosen))
        if one is not None and other is not None:
            skipped.append(Skipped(one.id, f"it contradicts {other.id}: remove one of them"))
            del pairs[prompt, chosen, rejected], pairs[prompt, rejected, chosen]
    return list(pairs.values()), skipped


def pair_lines(folder: Path) -> dict[int, str]:
    """The lines of a folder's pairs.jsonl that are not empty, by their numbers from 1."""
    path = folder / PAIRS_FILE
    if not path.exists():
        return {}
    try:
        text = read_whole(path, PAIRS_FILE, _MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text: save it as that.") from None
    return {number: line for number, line in enumerate(text.split("\n"), start=1) if line.strip()}


def pair_line(prompt: str, chosen: str, rejected: str) -> str:
    """A pair as a line of pairs.jsonl."""
    return json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}, ensure_ascii=False)


def without_kept_back(
    pairs: Sequence[Preference], kept_back: Collection[str]
) -> tuple[tuple[Preference, ...], tuple[Skipped, ...]]:
    """The pairs in which none of the prompts and texts that are kept back stands, and the others."""
    hidden = {pair.id for pair in pairs if not {pair.prompt, pair.chosen, pair.rejected}.isdisjoint(kept_back)}
    reason = "it is of a text that is kept back"
    kept = tuple(pair for pair in pairs if pair.id not in hidden)
    return kept, tuple(Skipped(pair.id, reason) for pair in pairs if pair.id in hidden)


def _parsed(name: str, line: str, redactor: Redactor | None) -> Preference | str:
    """A pair; or why the line holds none."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return "not a line of JSON"
    if not isinstance(content, dict):
        return "not an object with prompt, chosen and rejected"
    found = {key: _text(content.get(key)) for key in ("prompt", "chosen", "rejected")}
    if missing := [key for key, text in found.items() if not text]:
        return f"no {' and '.join(missing)} in it"
    if redactor is not None:
        found = {key: redactor.redact(text) for key, text in found.items()}
    if found["chosen"] == found["rejected"]:
        return "both texts are the same"
    return Preference(name, **found)


def _text(value: Any) -> str:
    """A text, or the one turn of a conversation; empty where it is neither."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        value = value[0].get("content")
    return normalise_text(value) if isinstance(value, str) else ""
