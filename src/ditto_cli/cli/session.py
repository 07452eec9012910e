"""One base model in memory, and the voices that speak through it: adapters by name and stage, and the base itself."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field

from ditto_cli.cli.arguments import SampleOptions
from ditto_cli.cli.context import check_base, load_base
from ditto_cli.cli.render import warn
from ditto_cli.config import BaseSettings, FolderFile, resolve_settings
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.evaluation.texts_at_hand import Shelf
from ditto_cli.evaluation.types import Writing
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.policy.lora import mix, read_lora
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, AdapterStore, describe_mismatch
from ditto_cli.types import SampledTokens, SampleRequest
from ditto_cli.voices import BASE_VOICE, Voice

_DEFAULT_TEMPERATURE = 0.8
_DEFAULT_MAX_NEW_TOKENS = 400


@dataclass
class Session:
    """A loaded base with the adapters of `store` on demand. Each is read from disk once and then only switched to."""

    policy: Policy
    store: AdapterStore
    _loaded: dict[Voice, str] = field(default_factory=dict)
    _shelf: Shelf = field(default_factory=lambda: Shelf(warn))

    def use(self, voice: Voice) -> None:
        """Make `voice` the active one; raises what `load` does."""
        self.policy.switch(self.load(voice))

    def load(self, voice: Voice) -> str | None:
        """The name that `voice` has in the policy, after reading it from disk if need be; None is the base."""
        if voice.adapter == BASE_VOICE:
            return None
        if voice not in self._loaded:
            parts = []
            for part in voice.parts():
                check_base(part.adapter, self.store.record(part.adapter), self.policy.identity)
                parts.append((read_lora(self.store.checked_stage_folder(part.adapter, part.stage)), part.strength))
            name = f"voice{len(self._loaded)}"  # a name of its own: PEFT cannot have dots in one
            self.policy.put_adapter(name, mix(parts))
            self._loaded[voice] = name
        return self._loaded[voice]

    def forget(self) -> None:
        """Drop all adapters from memory; the base stays."""
        for name in self._loaded.values():
            self.policy.remove(name)
        self._loaded.clear()

    def digest(self, adapter: str | None) -> str:
        """What an adapter's weights are, in a word; `adapter` is its name in the policy, None the base."""
        if adapter is None:
            return BASE_VOICE
        contents = self.policy.serialise(adapter)
        return hashlib.sha256(b"".join(contents[name] for name in sorted(contents))).hexdigest()

    def write(self, prompt: str, options: SampleOptions, seed: int, voice: Voice) -> tuple[list[Writing], int]:
        """`options.num` texts, and of how many drafts each is the best: as is asked for, or as the settings say.

        Texts that are shown before the prompt are as many of the nearest ones as fit.
        """
        if not prompt.strip():
            raise InputError('The prompt is empty: say what to write, as in ditto sample --adapter alice "Write ...".')
        self.use(voice)
        record = None if voice.adapter == BASE_VOICE else self.store.record(voice.adapter)
        aid = self._shelf.aid_for(record, options.best_of, options.with_texts)
        limit = options.max_new_tokens or (record.max_new_tokens if record else _DEFAULT_MAX_NEW_TOKENS)
        temperature = options.temperature
        if temperature is None:
            temperature = record.settings.sampling.temperature if record else _DEFAULT_TEMPERATURE
        context = self.policy.context_tokens
        prompt_ids = self.policy.chat.prompt_ids(prompt)
        if len(prompt_ids) >= context:
            raise InputError(f"The prompt has {len(prompt_ids)} tokens; this base reads at most {context}: shorten it.")
        if aid.texts and (shots := aid.texts.shots(prompt, aid.with_texts)):
            prompt_ids = self.policy.chat.shown_ids([("user", prompt)], shots, context - limit)
        num = aid.best_of
        sampled = sample(
            self.policy,
            [SampleRequest(prompt_ids, derive_seed(seed, "write", index)) for index in range(options.num * num)],
            max_new_tokens=min(limit, context - len(prompt_ids)),
            temperature=temperature,
        )
        drafts = [Writing(voice.title, "", 0, self.text(one), len(one.token_ids), one.ended) for one in sampled]
        if aid.texts is None or num == 1:
            return drafts, 1
        groups = [drafts[start : start + num] for start in range(0, len(drafts), num)]
        return [group[aid.texts.best(prompt, group)] for group in groups], num

    def text(self, tokens: SampledTokens) -> str:
        """Token ids as text."""
        return self.policy.chat.text(tokens.token_ids)


def open_session(
    voices: list[Voice], store: AdapterStore, hardware: Hardware, *, base: str | None, quantize: str | None
) -> Session:
    """Load the base that the voices were trained on, once.

    Unknown adapters and two bases are refused before anything is loaded. `base` is where the base lies now, if it was
    moved; `quantize` is as in training when None.
    """
    adapters = [part for voice in voices for part in voice.parts() if part.adapter != BASE_VOICE]
    for voice in adapters:
        store.stage_folder(voice.adapter, voice.stage)
    first = store.record(adapters[0].adapter) if adapters else None
    for voice in adapters[1:]:
        assert first is not None
        mismatch = describe_mismatch(store.record(voice.adapter).base, first.base)
        if mismatch is not None:
            raise IncompatibleError(
                f"{adapters[0].adapter} and {voice.adapter} cannot share one base in memory: {mismatch}."
            )
    settings = base_settings(first, hardware, base, quantize)
    return Session(load_base(settings, hardware), store)


def base_settings(
    record: AdapterRecord | None, hardware: Hardware, base: str | None, quantize: str | None
) -> BaseSettings:
    """The base of an adapter, or the machine's preset's, as in training but for what is given here."""
    if record is None:
        flags = {"base.id": base, "base.quantize": quantize}
        return resolve_settings(hardware.default_preset(), FolderFile(), os.environ, flags).base
    changes = {
        "id": base or record.base.id,
        "revision": None if base else record.base.revision,
        "quantize": quantize or record.settings.base.quantize,
    }
    return BaseSettings.model_validate(record.settings.base.model_dump() | changes)
