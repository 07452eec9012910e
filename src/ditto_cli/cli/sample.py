"""`ditto sample`: one text, several, voices side by side, or a conversation of prompts."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import SampleOptions
from ditto_cli.cli.context import only_adapter, open_store
from ditto_cli.cli.render import ask, print_json, print_side_by_side, print_text, say, warn
from ditto_cli.errors import DittoError, InputError
from ditto_cli.shown import visible
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.cli.session import Session
    from ditto_cli.evaluation.types import Writing

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
    folder = None if adapter == BASE_VOICE else store.record(adapter).folder
    if folder is None or not Path(folder).is_dir():
        raise InputError(
            f"--keep adds to the texts that {name} learnt from, and these are not there: "
            "save the text and run ditto demos add FOLDER FILE."
        )
    session, (voice, *_) = open_voices(options)
    writings, _ = session.write(text, options, seed_of(options), voice)
    for one in writings:
        print_text(one.text)
        with edited(visible(one.text) + "\n", suffix=".txt") as raw:
            say(keep_edited(raw, visible(one.text), text, Path(folder), voice.adapter))


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


def warn_of_cuts(writings: Sequence[Writing]) -> None:
    """Say it where a text did not end by itself."""
    if not all(one.ended for one in writings):
        warn("a text was cut at the length limit; --max-tokens raises it.")


def seed_of(options: SampleOptions) -> int:
    """The seed that is given, else any."""
    return secrets.randbelow(2**32) if options.seed is None else options.seed
