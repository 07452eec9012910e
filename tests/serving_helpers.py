"""A server of voices in this process. A pytest plugin, beside `cli_helpers`."""

import pytest

from conftest import load_tiny
from server_answers import HERE


@pytest.fixture
def server(trained, tiny_folder):
    """A client of a server in this process; `server(key=...)` for one with a key."""
    from fastapi.testclient import TestClient

    from ditto_cli.cli.demos import keep_edited
    from ditto_cli.evaluation.texts_at_hand import Shelf
    from ditto_cli.serving.engine import BuiltinEngine
    from ditto_cli.serving.voice_library import VoiceLibrary
    from ditto_cli.serving.web_app import Serving, make_app
    from ditto_cli.store import AdapterStore

    clients = []

    def make(key=None, only=None, hosts=frozenset({"127.0.0.1", "localhost"})):
        policy = load_tiny(tiny_folder)
        engine, store = BuiltinEngine(policy), AdapterStore(trained.home)
        library = VoiceLibrary(store, engine, policy.identity, only)
        serving = Serving(engine, library, Shelf(), policy.chat, policy.context_tokens, keep_edited, store.key())
        app = make_app(serving, hosts=hosts, key=key)
        client = TestClient(app, base_url=HERE)
        client.__enter__()
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)
