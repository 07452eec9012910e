"""Questions that were answered -> a file of their answers, so that nobody is asked, or paid, twice.

One JSON object a line, added as soon as the answer is there. It holds a keyed digest of the question, the answer,
what it cost in tokens, and the marks of other adapters whose texts were asked about, never a text. Knows nothing of
pairs, or of who answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ditto_cli.evaluation.judges.question import QUESTION_VERSION, Choice
from ditto_cli.store import append_line, keyed_hash, read_bytes, write_bytes
from ditto_cli.store.files import list_folder

LEDGER_FILE = re.compile(r"answers-[a-z]+\.jsonl")


@dataclass(frozen=True)
class Answer:
    """What a judge chose, None where it was asked and gave no usable answer, and what that cost."""

    choice: Choice | None
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_version: Literal[1] = 1
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    choice: Choice | None
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)
    marks: list[str] = []


class Ledger:
    """The answers of earlier runs and of this one.

    Attributes:
        num_skipped: damaged lines of the file, which are as if they had never been written.
    """

    def __init__(
        self, path: Path | None, *, key: bytes = b"", marks: Callable[[str], list[str]] = lambda question: []
    ) -> None:
        """Read what is there.

        Args:
            path: the file, which is made with the first answer; None keeps answers in memory only.
            key: the store's secret, so that digests tell nothing to who lacks it.
            marks: of the other adapters whose texts stand in a question, to find the answer when one is forgotten.
        """
        self._path = path
        self._key = key
        self._marks = marks
        self._answers: dict[str, Answer] = {}
        self.num_skipped = 0
        if path is not None and path.name in list_folder(path.parent):
            for line in read_bytes(path).splitlines():
                self._read(line)

    def get(self, judge: str, question: str) -> Answer | None:
        """What `judge` answered to `question`; None if it was not asked."""
        return self._answers.get(self._digest(judge, question))

    def add(self, judge: str, question: str, answer: Answer) -> None:
        """Keep an answer: it is on the disk when this returns."""
        digest = self._digest(judge, question)
        self._answers[digest] = answer
        if self._path is None:
            return
        line = _Line(
            digest=digest,
            choice=answer.choice,
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            marks=self._marks(question),
        )
        without = None if line.marks else {"marks"}  # an older ditto reads a line without
        append_line(self._path, line.model_dump_json(exclude=without))

    def _read(self, text: bytes) -> None:
        try:
            line = _Line.model_validate_json(text)
        except ValidationError:
            self.num_skipped += 1
            return
        self._answers[line.digest] = Answer(line.choice, line.prompt_tokens, line.completion_tokens)

    def _digest(self, judge: str, question: str) -> str:
        return keyed_hash(self._key, "\x1f".join([judge, str(QUESTION_VERSION), question]))


def forget_answers(path: Path, mark: str) -> int:
    """Take the answers about texts of the adapter with this mark out of a ledger's file; how many there were."""
    lines = read_bytes(path).splitlines(keepends=True)
    kept = [line for line in lines if mark not in _marks_of(line)]
    if len(kept) < len(lines):
        write_bytes(path, b"".join(kept))
    return len(lines) - len(kept)


def _marks_of(line: bytes) -> list[str]:
    try:
        return _Line.model_validate_json(line).marks
    except ValidationError:
        return []
