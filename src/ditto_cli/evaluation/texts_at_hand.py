"""A person's texts, where they lie -> the best of several drafts, and the texts that are shown before a prompt."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock

from ditto_cli.config import FOLDER_FILE, HELD_OUT_FOLDER, read_folder_file
from ditto_cli.demonstrations.folder import read_folder, read_held_out
from ditto_cli.demonstrations.prompts import attach_stored_prompts
from ditto_cli.errors import InputError
from ditto_cli.evaluation.appraisal import Appraiser, nearest_texts
from ditto_cli.evaluation.judgements import Author, Writing
from ditto_cli.evaluation.soundness import is_version
from ditto_cli.store import AdapterRecord

log = logging.getLogger(__name__)

Files = list[tuple[Path, int, int]]  # with the time of the last change in ns, and the size


@dataclass(frozen=True)
class TextsAtHand:
    """One person's texts."""

    author: Author

    @cached_property
    def _appraiser(self) -> Appraiser:
        return Appraiser(self.author)

    def shots(self, prompt: str, num: int) -> list[tuple[str, str]]:
        """The `num` texts nearest to a prompt with their own prompts, as turns of a conversation."""
        nearest = nearest_texts(self.author.demonstrations, prompt, num) if num else ()
        return [(shot.prompt, shot.completion) for shot in nearest]

    def best(self, prompt: str, drafts: Sequence[Writing]) -> int:
        """The index of the draft that is best in style and task (`Appraisal.worth`)."""
        return max(range(len(drafts)), key=lambda index: self._appraiser.worth(prompt, drafts[index]))


@dataclass(frozen=True)
class Aid:
    """What helps a voice to one text: drafts to choose from, and texts that are shown; `texts` is None without."""

    texts: TextsAtHand | None = None
    best_of: int = 1
    with_texts: int = 0


class Shelf:
    """The texts of adapters: read when they are needed, and again when a file has changed."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[Files, TextsAtHand]] = {}
        self._missed: set[str | None] = set()
        self._lock = Lock()

    def aid_for(self, record: AdapterRecord | None, best_of: int | None, with_texts: int | None) -> Aid:
        """What is asked for, or else what the adapter's settings say.

        Without a record it is the base, which writes as it is.

        Raises:
            InputError: the texts are needed for what is asked for, and are not there or cannot be used. Where only the
                settings want them, that is said once.
        """
        if record is None:
            return Aid()
        sampling = record.settings.sampling
        wanted = sampling.best_of if best_of is None else best_of
        shown = sampling.with_texts if with_texts is None else with_texts
        if wanted == 1 and not shown:
            return Aid()
        try:
            return Aid(self._texts_of(record), wanted, shown)
        except InputError as error:
            if (best_of or 1) > 1 or with_texts:
                raise
            if record.folder not in self._missed:
                self._missed.add(record.folder)
                log.warning(f"{error} Until then each text is the first that is drawn.")
            return Aid()

    def _texts_of(self, record: AdapterRecord) -> TextsAtHand:
        folder = require_folder(record)
        with self._lock:
            files: Files = []
            for path in sorted([*folder.glob("*"), *(folder / HELD_OUT_FOLDER).glob("*")]):
                with suppress(FileNotFoundError):  # an editor puts another in its place
                    state = path.lstat()
                    files.append((path, state.st_mtime_ns, state.st_size))
            if folder not in self._read or self._read[folder][0] != files:
                self._read[folder] = files, TextsAtHand(read_author(folder))
            return self._read[folder][1]


def folder_of(record: AdapterRecord) -> Path | None:
    """Where an adapter's texts lie, if they are there still."""
    folder = Path(record.folder) if record.folder else None
    return folder if folder is not None and folder.is_dir() else None


def require_folder(record: AdapterRecord) -> Path:
    """Where an adapter's texts lie.

    Raises:
        InputError: they are not there any more.
    """
    folder = folder_of(record)
    if folder is None:
        raise InputError(
            f"The texts that {record.name} learnt from are not where they were: put them back. Without them there is "
            "neither a choice among drafts (best-of) nor a text at hand (with-texts)."
        )
    return folder


def read_author(folder: Path) -> Author:
    """A folder's demonstrations, and the texts kept back in its folder `held_out`; all with their prompts.

    Raises:
        InputError: the folder or a text in it cannot be used, or a text has no prompt.
    """
    settings = read_folder_file(folder)
    reading = read_folder(folder, settings)
    demonstrations, without = attach_stored_prompts(folder, reading.texts, settings)
    if without:
        raise InputError(
            f"{without[0].id} has no prompt: `ditto init {folder}` finds one, or write it into {FOLDER_FILE}."
        )
    kept_back = read_held_out(folder, settings)
    texts, without = attach_stored_prompts(folder, kept_back.texts, settings)
    for name in (*(text.id for text in without), *(skipped.name for skipped in kept_back.skipped)):
        log.warning(f"{name} is left out: a text with a prompt is needed.")
    held_out = []
    for text in texts:
        if is_version(text.completion, demonstrations):
            log.warning(f"{text.id} is left out: most of it stands in a demonstration.")
        else:
            held_out.append(text)
    return Author(tuple(demonstrations), tuple(held_out), reading.pairs)
