"""`ditto serve`: the voices of this machine behind an OpenAI-compatible API."""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ditto_cli.cli.render import print_text, say, warn
from ditto_cli.errors import IncompatibleError, InputError
from ditto_cli.store import AdapterStore, make_exclusively, make_private_folder, read_bytes, store_home
from ditto_cli.voices import Voice

_KEY_FILE = "server-key"
_HERE = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class ServeOptions:
    """The options of `ditto serve`."""

    adapters: list[str]
    host: str
    port: int
    base: str | None
    quantize: str | None
    device: str


def run_serve(options: ServeOptions) -> None:
    """Serve until Ctrl-C.

    Raises:
        DittoError: an unknown adapter, no base, a port that is taken, or the extra is not installed.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise InputError("ditto serve needs FastAPI and uvicorn: pip install 'ditto-cli[serve]'.") from None
    store = AdapterStore(store_home(os.environ))
    sound = [entry.name for entry in store.entries() if entry.problem is None]
    names = options.adapters or sound[:1]
    for name in names:
        store.record(name)
    with _listen(options.host, options.port) as listening:
        _serve(options, store, names, listening)


def _serve(options: ServeOptions, store: AdapterStore, names: list[str], listening: socket.socket) -> None:
    import uvicorn

    from ditto_cli.cli.demos import keep_edited
    from ditto_cli.cli.session import open_session
    from ditto_cli.evaluation.texts_at_hand import Shelf
    from ditto_cli.model.hardware import detect
    from ditto_cli.model.policy.chorus import Chorus
    from ditto_cli.serving.app import Serving, make_app
    from ditto_cli.serving.engine import Engine
    from ditto_cli.serving.voice_library import VoiceLibrary

    voices = [Voice(name) for name in names] or [Voice("base")]
    policy = open_session(voices, store, detect(options.device), base=options.base, quantize=options.quantize).policy
    if not policy.has_slots:
        raise IncompatibleError(
            f"The base {policy.identity.id} cannot be served: its texts cannot be written side by side. `ditto sample` "
            "writes with it."
        )
    engine = Engine(policy, Chorus(policy))
    library = VoiceLibrary(store, engine, policy.identity, frozenset(options.adapters) or None)
    host = f"[{options.host}]" if ":" in options.host else options.host
    key = None if host.lower() in _HERE else _server_key(store_home(os.environ))
    app = make_app(
        Serving(
            engine=engine,
            library=library,
            shelf=Shelf(warn),
            chat=policy.chat,
            context_tokens=min(policy.context_tokens, policy.rope_border or policy.context_tokens),
            keep=keep_edited,
            key_of_store=store.key(),
        ),
        hosts=None if options.host in ("0.0.0.0", "::") else frozenset({*_HERE, host.lower()}),
        key=key,
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2))
    say(f"Voices: {', '.join(library.titles())}")
    if key is not None:
        say(f"Other machines may ask, with this key: {key}")
    address = f"http://{host}:{listening.getsockname()[1]}"
    say(f"In a browser: {address}")
    print_text(f"{address}/v1")
    with suppress(KeyboardInterrupt):  # which is how one ends a server
        server.run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address; what is asked before anything can be answered waits there.

    Raises:
        InputError: the address is not this machine's, or the port is taken.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(f"Nothing can listen on port {port} of {host} ({reason}): take another --port.") from None


def _server_key(home: Path) -> str:
    """The store's key for requests, made on first use.

    Raises:
        DiskError: it cannot be written or read.
    """
    place = home / _KEY_FILE
    make_private_folder(home)
    if not place.exists():
        make_exclusively(place, secrets.token_urlsafe(32).encode())
    return read_bytes(place).decode()
