"""`ditto sample`: one text, several, voices side by side, or a conversation of prompts."""

from __future__ import annotations

import os
import secrets
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.adapters import only_adapter
from ditto_cli.cli.choosing import Draw, Writer
from ditto_cli.cli.render import ask, print_json, print_side_by_side, print_text, say, warn
from ditto_cli.cli.text import visible
from ditto_cli.errors import DittoError, InputError
from ditto_cli.store import AdapterStore, store_home
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session

_CHAT_HELP = (
    "/adapter NAME swaps the voice (base too), /round STAGE shows another stage (sft, 1, 2, ...), "
    "/retry writes once more, /quit ends."
)


@dataclass(frozen=True)
class SampleOptions:
    """The options of `ditto sample`; None is what the adapter was trained with."""

    voices: list[str]
    stage: str | None
    num: int
    best_of: int | None
    with_texts: int | None
    temperature: float | None
    max_new_tokens: int | None
    seed: int | None
    base: str | None
    quantize: str | None
    device: str

    def draw(self, seed: int) -> Draw:
        """What every voice is asked for."""
        return Draw(self.num, seed, self.best_of, self.with_texts, self.temperature, self.max_new_tokens)


def run_sample(options: SampleOptions, prompt: str | None, *, as_json: bool) -> None:
    """Write `options.num` texts with each voice."""
    text = _read_prompt(prompt)
    session, voices = _open(options)
    seed = _seed(options)
    writer = Writer(session)
    samples = {voice: writer.write(text, options.draw(seed), voice) for voice in voices}
    if as_json:
        rows = [
            {
                "adapter": voice.adapter,
                "stage": voice.stage,
                "voice": voice.title,
                "text": session.text(chosen.tokens),
                "ended": chosen.tokens.ended,
                "tokens": len(chosen.tokens.token_ids),
                "best_of": chosen.of,
            }
            for voice, sampled in samples.items()
            for chosen in sampled
        ]
        print_json({"prompt": text, "seed": seed, "samples": rows})
        return
    for voice, (first, *_) in samples.items():
        if first.of > 1:
            say(f"{voice.title}: the best of {first.of} in style and task.")
    if any(not chosen.tokens.ended for sampled in samples.values() for chosen in sampled):
        warn("a text was cut at the length limit; --max-tokens raises it.")
    for index in range(options.num):
        if len(voices) > 1:
            print_side_by_side(text, [(voice.title, session.text(samples[voice][index].tokens)) for voice in voices])
            continue
        if index > 0:
            print_text("\n---\n")
        print_text(session.text(samples[voices[0]][index].tokens))


def run_keep(options: SampleOptions, prompt: str | None, *, is_alone: bool) -> None:
    """Write `options.num` texts, let the user edit each, and add what was edited to the adapter's texts."""
    from ditto_cli.cli.demos import keep_edited
    from ditto_cli.cli.editor import edited

    if not is_alone:
        raise InputError("--keep is for the texts of one adapter: leave --compare, --chat and --json out.")
    text = _read_prompt(prompt)
    store = AdapterStore(store_home(os.environ))
    folder = _folder_of(store, (options.voices or [only_adapter(store)])[0])
    session, (voice, *_) = _open(options)
    for chosen in Writer(session).write(text, options.draw(_seed(options)), voice):
        sample = session.text(chosen.tokens)
        print_text(sample)
        with edited(visible(sample) + "\n", suffix=".txt") as raw:
            say(keep_edited(raw, visible(sample), text, folder, voice.adapter))


def _folder_of(store: AdapterStore, name: str) -> Path:
    """The folder that an adapter was trained on."""
    voice = Voice.parse(name)
    folder = None if voice.adapter == BASE_VOICE else store.record(voice.adapter).folder
    if folder is None or not Path(folder).is_dir():
        raise InputError(
            f"--keep adds to the texts that {name} learnt from, and these are not there: "
            "save the text and run ditto demos add FOLDER FILE."
        )
    return Path(folder)


def run_chat(options: SampleOptions, first_prompt: str | None) -> None:
    """Prompt after prompt until /quit or the end of the input."""
    session, voices = _open(options)
    chat = _Chat(session, voices[0], options)
    say(f"Writing as {voices[0].title}. {_CHAT_HELP}")
    line = first_prompt
    while True:
        try:
            line = line if line is not None else ask(f"{chat.voice.title}> ")
        except EOFError:
            return
        try:
            line.encode()
            if not chat.handle(line.strip()):
                return
        except DittoError as error:
            warn(str(error))
        except UnicodeEncodeError:
            warn("That line is not text in UTF-8.")
        line = None


class _Chat:
    """The state of a conversation: who speaks, and the last prompt."""

    def __init__(self, session: Session, voice: Voice, options: SampleOptions) -> None:
        self.voice = voice
        self._session = session
        self._writer = Writer(session)
        self._options = options
        self._last = ""
        self._count = 0

    def handle(self, line: str) -> bool:
        """Do what a line asks for; False when it asks to end."""
        command, _, argument = line.partition(" ")
        if not line:
            return True
        if command == "/quit":
            return False
        if command == "/adapter":
            self._swap(argument.strip(), None)
        elif command == "/round":
            self._swap(self.voice.adapter, argument.strip() or None)
        elif command == "/retry":
            self._write(self._last)
        elif command.startswith("/"):
            say(_CHAT_HELP)
        else:
            self._write(line)
        return True

    def _swap(self, adapter: str, stage: str | None) -> None:
        voice = Voice.parse(adapter, stage)
        self._session.use(voice)
        self.voice = voice
        say(f"Writing as {voice.title}.")

    def _write(self, prompt: str) -> None:
        self._last = prompt
        self._count += 1
        seed = _seed(self._options) + self._count
        for chosen in self._writer.write(prompt, self._options.draw(seed), self.voice):
            print_text(self._session.text(chosen.tokens))


def _open(options: SampleOptions) -> tuple[Session, list[Voice]]:
    store = AdapterStore(store_home(os.environ))
    names = options.voices or [only_adapter(store)]
    voices = [Voice.parse(name, options.stage) for name in names]
    for part in (part for voice in voices for part in voice.parts()):  # before torch is loaded
        if part.adapter != BASE_VOICE:
            store.record(part.adapter)
    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    from ditto_cli.cli.session import open_session

    return open_session(voices, store, hardware, base=options.base, quantize=options.quantize), voices


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


def _seed(options: SampleOptions) -> int:
    return options.seed if options.seed is not None else secrets.randbelow(2**32)
