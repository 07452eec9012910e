"""`ditto serve`: the voices of this machine behind an OpenAI-compatible API."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ditto_cli.cli.arguments import ServeOptions
from ditto_cli.cli.context import find_base, open_store
from ditto_cli.cli.render import print_text, say
from ditto_cli.cli.sample import base_settings, open_session
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.store import AdapterStore, make_exclusively, make_private_folder, read_bytes, store_home
from ditto_cli.voices import BASE_VOICE, Voice

if TYPE_CHECKING:
    from ditto_cli.model.policy.policy import Policy
    from ditto_cli.serving.engine import Engine

_KEY_FILE = "server-key"
_LOG_FILE = "vllm.log"
_HERE = ("127.0.0.1", "localhost", "[::1]")


def run_serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C."""
    try:
        import fastapi  # noqa: F401
        import uvicorn
    except ImportError:
        raise InputError("ditto serve needs FastAPI and uvicorn: pip install 'ditto-cli[serve]'.") from None
    store = open_store()
    names = options.adapters or [entry.name for entry in store.entries() if entry.problem is None]
    for name in names:
        store.record(name)
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    try:  # what is asked before anything can be answered waits there
        listening = socket.create_server((options.host, options.port), family=family)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"Nothing can listen on port {options.port} of {options.host} ({reason}): take another --port."
        ) from None
    with listening:
        from ditto_cli.model.hardware import detect

        detect(options.device)  # before what takes hold of all GPUs is imported
        from ditto_cli.cli.demos import keep_edited
        from ditto_cli.evaluation.texts_at_hand import Shelf
        from ditto_cli.serving.voice_library import VoiceLibrary
        from ditto_cli.serving.web_app import Serving, make_app

        start = _vllm if options.engine == "vllm" else _builtin
        with start(options, store, names) as (engine, base):
            library = VoiceLibrary(store, engine, base.identity, frozenset(options.adapters or ()) or None)
            host = f"[{options.host}]" if ":" in options.host else options.host
            key = None if host.lower() in _HERE else _server_key(store_home(os.environ))
            app = make_app(
                Serving(
                    engine=engine,
                    library=library,
                    shelf=Shelf(),
                    chat=base.chat,
                    context_tokens=_room(base),
                    keep=keep_edited,
                    key_of_store=store.key(),
                ),
                hosts=None if options.host in ("0.0.0.0", "::") else frozenset({*_HERE, host.lower()}),
                key=key,
            )
            server = uvicorn.Server(
                uvicorn.Config(app, log_level="critical", access_log=False, timeout_graceful_shutdown=2)
            )
            say(f"Voices: {', '.join(library.titles())}")
            if key is not None:
                say(f"Other machines may ask, with this key: {key}")
            address = f"http://{host}:{listening.getsockname()[1]}"
            say(f"In a browser: {address}")
            print_text(f"{address}/v1")
            with suppress(KeyboardInterrupt):  # which is how one ends a server
                server.run(sockets=[listening])


@contextmanager
def _builtin(options: ServeOptions, store: AdapterStore, names: list[str]) -> Iterator[tuple[Engine, Policy]]:
    """The base in memory, and who writes with it."""
    from ditto_cli.serving.engine import BuiltinEngine

    voices = [Voice(name) for name in (names if options.adapters else names[:1])] or [Voice(BASE_VOICE)]
    policy = open_session(voices, store, options).policy
    if not policy.has_slots:
        raise IncompatibleError(
            f"The base {policy.identity.id} cannot be served: its texts cannot be written side by side. `ditto sample` "
            "writes with it."
        )
    yield BuiltinEngine(policy), policy


@contextmanager
def _vllm(options: ServeOptions, store: AdapterStore, names: list[str]) -> Iterator[tuple[Engine, Policy]]:
    """The base without its weights, and vLLM, which has them."""
    from ditto_cli.model.hardware import detect

    hardware = detect(options.device)
    from ditto_cli.model.base.loading import load_skeleton
    from ditto_cli.model.policy.lora import vllm_rank
    from ditto_cli.serving.vllm import VllmEngine, running_vllm

    if options.quantize not in (None, "none"):
        raise InputError("--engine vllm serves the base as it is published: leave --quantize out.")
    program = options.vllm or shutil.which("vllm")
    if program is None:
        raise InputError("There is no vllm on PATH: install it in an environment of its own, and say --vllm PATH.")
    records = [store.record(name) for name in names]
    settings = base_settings(records[0] if records else None, hardware, options.base, None)
    source = find_base(settings.id, settings.revision)
    skeleton = load_skeleton(source, hardware)
    rank = max((record.settings.lora.r for record in records), default=16)
    say("vLLM starts, which may take minutes.")
    most = vllm_rank(2 * rank)  # two may be mixed
    log, is_cpu = store_home(os.environ) / _LOG_FILE, hardware.device.type == "cpu"
    with (
        running_vllm(
            program, source.folder, max_rank=most, max_tokens=_room(skeleton), log=log, is_cpu=is_cpu
        ) as address,
        store.scratch_folder() as folder,
    ):
        stops = sorted(skeleton.chat.stop_token_ids)
        yield VllmEngine(address, max_rank=most, stop_token_ids=stops, folder=folder), skeleton


def _room(base: Policy) -> int:
    """Most tokens of a prompt and its text."""
    return min(base.context_tokens, base.rope_border or base.context_tokens)


def _server_key(home: Path) -> str:
    """The store's key for requests, made on first use."""
    place = home / _KEY_FILE
    make_private_folder(home)
    if not place.exists():
        make_exclusively(place, secrets.token_urlsafe(32).encode())
    return read_bytes(place).decode()
