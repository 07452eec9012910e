"""`ditto sample`: one text, several, voices side by side, or a conversation of prompts.

A `Session` is one base model in memory, and the voices that speak through it: adapters by name and stage, and the base.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import EvalOptions, SampleOptions, ServeOptions
from ditto_cli.cli.context import load_base, only_adapter, open_store
from ditto_cli.cli.render import ask, print_json, print_side_by_side, print_text, say, warn
from ditto_cli.config import BaseSettings, FolderFile, resolve_settings
from ditto_cli.errors import DittoError, IncompatibleError, InputError
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.texts_at_hand import Shelf, folder_of
from ditto_cli.seeds import derive_seed
from ditto_cli.shown import visible
from ditto_cli.store import AdapterRecord, AdapterStore, check_base, describe_mismatch
from ditto_cli.types import SampledTokens, SampleRequest
from ditto_cli.voices import BASE_MAX_NEW_TOKENS, BASE_TEMPERATURE, BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.model.hardware import Hardware
    from ditto_cli.model.policy.policy import Policy

_CHAT_HELP = (
    "/adapter NAME swaps the voice (base too), /round STAGE shows another stage (sft, 1, 2, ...), "
    "/retry writes once more, /quit ends."
)


def run_sample(options: SampleOptions) -> None:
    """Write `options.num` texts with each voice."""
    text = _read_prompt(options.prompt)
    session, voices = open_voices(options)
    seed = seed_of(options)
    samples = {voice: session.write(text, options, seed, voice) for voice in voices}
    if options.as_json:
        rows = [
            {
                "adapter": voice.adapter,
                "stage": voice.stage,
                "voice": voice.title,
                "text": one.text,
                "ended": one.ended,
                "tokens": one.num_tokens,
                "best_of": num_drafts,
            }
            for voice, (writings, num_drafts) in samples.items()
            for one in writings
        ]
        print_json({"prompt": text, "seed": seed, "samples": rows})
        return
    for voice, (_, num_drafts) in samples.items():
        if num_drafts > 1:
            say(f"{voice.title}: the best of {num_drafts} in style and task.")
    warn_of_cuts([one for writings, _ in samples.values() for one in writings])
    for index in range(options.num):
        if len(voices) > 1:
            print_side_by_side(text, [(voice.title, samples[voice][0][index].text) for voice in voices])
            continue
        if index > 0:
            print_text("\n---\n")
        print_text(samples[voices[0]][0][index].text)


def run_keep(options: SampleOptions) -> None:
    """Write `options.num` texts, let the user edit each, and add what was edited to the adapter's texts."""
    from ditto_cli.cli.demos import edited, keep_edited

    if options.chat or options.as_json or options.compare is not None:
        raise InputError("--keep is for the texts of one adapter: leave --compare, --chat and --json out.")
    text = _read_prompt(options.prompt)
    store = open_store()
    name = (options.voices or [only_adapter(store)])[0]
    adapter = Voice.parse(name).adapter
    folder = None if adapter == BASE_VOICE else folder_of(store.record(adapter))
    if folder is None:
        raise InputError(
            f"--keep adds to the texts that {name} learnt from, and these are not there: "
            "save the text and run ditto demos add FOLDER FILE."
        )
    session, (voice, *_) = open_voices(options)
    writings, _ = session.write(text, options, seed_of(options), voice)
    for one in writings:
        print_text(one.text)
        with edited(visible(one.text) + "\n", suffix=".txt") as raw:
            say(keep_edited(raw, visible(one.text), text, folder, voice.adapter))


def run_chat(options: SampleOptions) -> None:
    """Prompt after prompt until /quit or the end of the input; a mistake is said, and the conversation goes on."""
    session, (voice, *_) = open_voices(options)
    say(f"Writing as {voice.title}. {_CHAT_HELP}")
    seed, last, line = seed_of(options), "", options.prompt
    while True:
        try:
            line = line if line is not None else ask(f"{voice.title}> ")
        except EOFError:
            return
        command, _, argument = line.strip().partition(" ")
        try:
            line.encode()
            if command == "/quit":
                return
            if command in ("/adapter", "/round"):
                name, stage = (argument.strip(), None) if command == "/adapter" else (voice.adapter, argument.strip())
                wanted = Voice.parse(name, stage or None)
                session.use(wanted)
                voice = wanted
                say(f"Writing as {voice.title}.")
            elif command.startswith("/") and command != "/retry":
                say(_CHAT_HELP)
            elif command:
                last = last if command == "/retry" else line.strip()
                seed += 1
                for one in session.write(last, options, seed, voice)[0]:
                    print_text(one.text)
        except DittoError as error:
            warn(str(error))
        except UnicodeEncodeError:
            warn("That line is not text in UTF-8.")
        line = None


def open_voices(options: SampleOptions) -> tuple[Session, list[Voice]]:
    """The base in memory, and the voices that are asked for; the only one where none is."""
    store = open_store()
    voices = [Voice.parse(name, options.stage) for name in options.voices or [only_adapter(store)]]
    return open_session(voices, store, options), voices


def _read_prompt(prompt: str | None) -> str:
    if prompt is None:
        raise InputError('Say what to write: ditto sample --adapter NAME "Write ...", or - to read it from a pipe.')
    try:
        # A pipe of Windows begins with a byte-order mark.
        text = (sys.stdin.read() if prompt == "-" else prompt).removeprefix("\ufeff")
        text.encode()  # bytes that are no text come from a shell as halves of characters
    except UnicodeError:
        raise InputError("The prompt is not text in UTF-8: write it anew, or save its file as UTF-8.") from None
    if not text.strip():
        raise InputError('The prompt is empty: say what to write, as in ditto sample --adapter NAME "Write ...".')
    return text.strip()


def warn_of_cuts(writings: Sequence[Writing]) -> None:
    """Say it where a text did not end by itself."""
    if not all(one.ended for one in writings):
        warn("a text was cut at the length limit; --max-tokens raises it.")


def seed_of(options: SampleOptions) -> int:
    """The seed that is given, else any."""
    return secrets.randbelow(2**32) if options.seed is None else options.seed


@dataclass
class Session:
    """A loaded base with the adapters of `store` on demand. Each is read from disk once and then only switched to."""

    policy: Policy
    store: AdapterStore
    _loaded: dict[Voice, str] = field(default_factory=dict)
    _shelf: Shelf = field(default_factory=Shelf)

    def use(self, voice: Voice) -> None:
        """Make `voice` the active one; raises what `load` does."""
        self.policy.switch(self.load(voice))

    def load(self, voice: Voice) -> str | None:
        """The name that `voice` has in the policy, after reading it from disk if need be; None is the base."""
        if voice.adapter == BASE_VOICE:
            return None
        if voice not in self._loaded:
            from ditto_cli.model.policy.lora import mix, read_lora

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
        from ditto_cli.model.policy.sampling import sample

        if not prompt.strip():
            raise InputError('The prompt is empty: say what to write, as in ditto sample --adapter alice "Write ...".')
        self.use(voice)
        record = None if voice.adapter == BASE_VOICE else self.store.record(voice.adapter)
        aid = self._shelf.aid_for(record, options.best_of, options.with_texts)
        limit = options.max_new_tokens or (record.max_new_tokens if record else BASE_MAX_NEW_TOKENS)
        temperature = options.temperature
        if temperature is None:
            temperature = record.settings.sampling.temperature if record else BASE_TEMPERATURE
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
    voices: Sequence[Voice], store: AdapterStore, options: SampleOptions | EvalOptions | ServeOptions
) -> Session:
    """Load the base that the voices were trained on, once; of the options its place, precision and device count.

    Unknown adapters and two bases are refused before anything is loaded.
    """
    parts = [part for voice in voices for part in voice.parts() if part.adapter != BASE_VOICE]
    for part in parts:
        store.stage_folder(part.adapter, part.stage)
    records = [store.record(part.adapter) for part in parts]
    for part, record in zip(parts, records, strict=True):
        mismatch = describe_mismatch(record.base, records[0].base)
        if mismatch is not None:
            raise IncompatibleError(
                f"{parts[0].adapter} and {part.adapter} cannot share one base in memory: {mismatch}."
            )
    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    first = records[0] if records else None
    return Session(load_base(base_settings(first, hardware, options.base, options.quantize), hardware), store)


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
