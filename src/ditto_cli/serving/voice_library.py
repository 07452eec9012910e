"""Names of models, as requests spell them -> voices in memory; what the store has forgotten is gone at once."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import RLock

from ditto_cli.errors import DittoError, InputError, UnknownAdapterError
from ditto_cli.model.policy.lora import WEIGHTS_FILE, read_lora
from ditto_cli.serving.engine import Engine, Parts
from ditto_cli.store import AdapterRecord, AdapterStore, BaseIdentity, check_base
from ditto_cli.store.adapter_store import EVALUATION_FOLDER
from ditto_cli.voices import BASE_MAX_NEW_TOKENS, BASE_TEMPERATURE, BASE_VOICE, Voice


@dataclass(frozen=True)
class Speaker:
    """A voice that can be asked for texts.

    Attributes:
        record: of the adapter, the first one of a mix; None for the base.
    """

    title: str
    parts: Parts
    temperature: float
    max_new_tokens: int
    record: AdapterRecord | None = None


# Where a stage in memory lies, and which file that is: another adapter may come to lie at the same place.
_Loaded = tuple[Path, tuple[int, int, int] | None]


class VoiceLibrary:
    """The voices of a store that belong to one base.

    Args:
        store: where adapters are; read anew at every request.
        only: names of adapters that are served; None serves all.
    """

    def __init__(
        self, store: AdapterStore, engine: Engine, identity: BaseIdentity, only: frozenset[str] | None
    ) -> None:
        self._store = store
        self._engine = engine
        self._identity = identity
        self._only = only
        self._lock = RLock()
        self._loaded: dict[str, _Loaded] = {}

    def records(self) -> dict[str, AdapterRecord]:
        """By name, of all adapters that are served; without those that are damaged or of another base."""
        found = {}
        for name in self._store.names():
            with suppress(DittoError):
                found[name] = self.record(name)
        return found

    def titles(self) -> list[str]:
        """All single voices: the base, adapters, and the stages of each."""
        found = [BASE_VOICE]
        for name, record in self.records().items():
            found += [name, *(f"{name}:{stage}" for stage in record.stage_names)]
        return found

    def evaluation_folder(self, name: str) -> Path:
        """Where evaluations of an adapter lie, if there were any."""
        return self._store.folder(name) / EVALUATION_FOLDER

    def speaker(self, title: str) -> Speaker:
        """A voice, after reading what of it is not in memory yet; raises what `record` does."""
        voice = Voice.parse(title)
        if len({part.adapter for part in voice.parts()}) < len(list(voice.parts())):
            raise InputError("Each adapter once in a mix.")
        if voice.adapter == BASE_VOICE:
            return Speaker(title, (), BASE_TEMPERATURE, BASE_MAX_NEW_TOKENS)
        with self._lock:
            self.drop_what_is_gone()
            record = self.record(voice.adapter)
            parts = tuple((self._key(part), part.strength) for part in voice.parts())
        return Speaker(title, parts, record.settings.sampling.temperature, record.max_new_tokens, record)

    def record(self, name: str) -> AdapterRecord:
        """The record of an adapter that is served.

        Raises:
            InputError: there is none, or it is not served.
            IncompatibleError: it is of another base.
            DiskError: it is damaged.
        """
        if self._only is not None and name not in self._only:
            raise UnknownAdapterError(f"The adapter {name!r} is not served here.")
        record = self._store.record(name)
        check_base(name, record, self._identity)
        return record

    def _key(self, part: Voice) -> str:
        self.record(part.adapter)
        folder = self._store.stage_folder(part.adapter, part.stage)
        loaded = folder, _state(folder)
        key = str(loaded)
        if not self._engine.has(key):
            self._engine.load(key, read_lora(self._store.checked_stage_folder(part.adapter, part.stage)))
            self._loaded[key] = loaded
        return key

    def drop_what_is_gone(self) -> None:
        """Let go of adapters that were removed from the store, with texts of theirs in the making."""
        with self._lock:
            for key, (folder, state) in list(self._loaded.items()):
                if _state(folder) != state:
                    del self._loaded[key]
                    self._engine.forget(key)


def _state(folder: Path) -> tuple[int, int, int] | None:
    try:
        found = (folder / WEIGHTS_FILE).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
