"""Everything that this process looks up or connects to -> the names of hosts that a command ends with.

Python tells of every look-up and connection through its audit events. What a library does below Python is not seen,
nor what another program does that this one starts; `protect_process` switches off the one library that does so here.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

_INTERNET = (socket.AF_INET, socket.AF_INET6)
_LOOK_UPS = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_CONNECTIONS = ("socket.connect", "socket.sendto", "socket.sendmsg")


class HostLog:
    """Hosts by name where the name was looked up, else by address. Unix sockets are no hosts."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin anew: nothing was contacted, and no command wants it told."""
        self._hosts: set[str] = set()
        self._names: dict[str, str] = {}
        self.is_wanted = False  # set by commands that load a model, whose user should see that nothing left the machine

    def tell(self) -> None:
        """Say `hosts contacted: ...`, where the command asked for it."""
        if self.is_wanted:
            from ditto_cli.cli.render import say  # here, as `ditto --help` is quicker without it

            with suppress(OSError):  # nobody reads stderr any more: how the command ended matters more
                say(f"hosts contacted: {', '.join(sorted(self._hosts)) or 'none'}")

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An audit hook."""
        if not event.startswith("socket."):
            return
        if event in _LOOK_UPS:
            host = arguments[0]
            if host:  # none and "" stand for this machine's own addresses
                self.add(host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host))
        elif event in _CONNECTIONS:
            connection, address = arguments
            # sendto and sendmsg may come without an address, when connect has told it before.
            if connection.family in _INTERNET and isinstance(address, tuple) and address:
                self.add(str(address[0]))

    def remember(self, name: object, addresses: list[Any]) -> None:
        """Note which addresses a name was found to have, so that a connection is told by its name."""
        if isinstance(name, str | bytes) and name:
            known = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
            self._names |= {str(found[4][0]): known for found in addresses if str(found[4][0]) != known}

    def add(self, host: str) -> None:
        """Note one; called by who contacts hosts below Python."""
        self._hosts.add(self._names.get(host, host))


@cache
def host_log() -> HostLog:
    """The process's log, which listens from the first call on: an audit hook cannot be taken away again."""
    log = HostLog()
    sys.addaudithook(log.hear)
    look_up: Callable[..., list[Any]] = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **keywords: Any) -> list[Any]:
        found = look_up(host, *arguments, **keywords)
        log.remember(host, found)
        return found

    socket.getaddrinfo = getaddrinfo
    return log


def protect_process() -> None:
    """Keep private texts out of other people's reach, and connections where they can be seen."""
    # The hub's library, once it is imported, downloads through Rust, past Python, where no connection is seen.
    os.environ["HF_HUB_DISABLE_XET"] = "1"
    # A core dump holds all that was in memory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
