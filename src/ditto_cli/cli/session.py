"""One base model in memory, and the voices that speak through it: adapters by name and stage, and the base itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from ditto_cli.cli.render import say
from ditto_cli.config import BaseSettings, FolderFile, resolve_settings
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.encoder import StyleEncoder, load_style_encoder
from ditto_cli.model.hardware import Hardware
from ditto_cli.model.policy.lora import mix, read_lora
from ditto_cli.model.policy.policy import Policy
from ditto_cli.model.policy.sampling import sample
from ditto_cli.seeds import derive_seed
from ditto_cli.store import AdapterRecord, AdapterStore, cache_home, describe_mismatch
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
                mismatch = describe_mismatch(self.store.record(part.adapter).base, self.policy.identity)
                if mismatch is not None:
                    raise IncompatibleError(f"Adapter {part.adapter} does not belong to this base: {mismatch}.")
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

    def judge_policy(self, model: str | None) -> Policy:
        """A model to judge with: another one, or this session's base."""
        if model is None:
            return self.policy
        settings = BaseSettings(id=model, quantize="auto")
        return load_policy(settings, self.policy.hardware, cache_home(os.environ), say)

    def style_encoder(self, model: str | None) -> StyleEncoder | None:
        """A neural style encoder for the panel, if one is wanted."""
        return None if model is None else load_style_encoder(model, self.policy.hardware)

    def write(
        self,
        prompt: str,
        *,
        num: int,
        seed: int,
        temperature: float | None,
        max_new_tokens: int | None,
        voice: Voice,
        shots: Sequence[tuple[str, str]] = (),
    ) -> list[SampledTokens]:
        """`num` texts of `voice`, with `shots` (prompt and text) before the prompt, as many of the last ones as fit.

        Temperature and length limit are those of its training where None is given.
        """
        self.use(voice)
        record = None if voice.adapter == BASE_VOICE else self.store.record(voice.adapter)
        limit = max_new_tokens or (record.max_new_tokens if record else _DEFAULT_MAX_NEW_TOKENS)
        context = self.policy.context_tokens
        prompt_ids = self.prompt_ids(prompt)
        if shots:
            prompt_ids = self.policy.chat.shown_ids([("user", prompt)], shots, context - limit)
        return sample(
            self.policy,
            [SampleRequest(prompt_ids, derive_seed(seed, "write", index)) for index in range(num)],
            max_new_tokens=min(limit, context - len(prompt_ids)),
            temperature=_temperature(temperature, record),
        )

    def prompt_ids(self, prompt: str) -> tuple[int, ...]:
        """Token ids of a user's prompt."""
        if not prompt.strip():
            raise InputError('The prompt is empty: say what to write, as in ditto sample --adapter alice "Write ...".')
        ids = self.policy.chat.prompt_ids(prompt)
        if len(ids) >= self.policy.context_tokens:
            raise InputError(
                f"The prompt has {len(ids)} tokens; this base reads at most {self.policy.context_tokens}: shorten it."
            )
        return ids

    def text(self, tokens: SampledTokens) -> str:
        """Token ids as text."""
        return self.policy.chat.text(tokens.token_ids)


def open_session(
    voices: list[Voice], store: AdapterStore, hardware: Hardware, *, base: str | None, quantize: str | None
) -> Session:
    """Load the base that the voices were trained on, once.

    Args:
        voices: who will speak; unknown adapters and two bases are refused before anything is loaded.
        store: where adapters are.
        hardware: the device.
        base: where the base lies now, when it is not where it was in training.
        quantize: as in training when None.
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
    return Session(load_policy(settings, hardware, cache_home(os.environ), say), store)


def base_settings(
    record: AdapterRecord | None, hardware: Hardware, base: str | None, quantize: str | None
) -> BaseSettings:
    """The base of an adapter, or the machine's preset's, as in training but for what is given here."""
    if record is None:
        flags = {"base.id": base, "base.quantize": quantize}
        return resolve_settings(hardware.default_preset(), FolderFile(), os.environ, flags).base
    return trained_base(record, base, quantize)


def trained_base(record: AdapterRecord, base: str | None, quantize: str | None) -> BaseSettings:
    """The base that an adapter was trained on, as in training but for what is given here."""
    changes = {
        "id": base or record.base.id,
        "revision": None if base else record.base.revision,
        "quantize": quantize or record.settings.base.quantize,
    }
    return BaseSettings.model_validate(record.settings.base.model_dump() | changes)


def _temperature(chosen: float | None, record: AdapterRecord | None) -> float:
    if chosen is not None:
        return chosen
    return record.settings.sampling.temperature if record else _DEFAULT_TEMPERATURE
