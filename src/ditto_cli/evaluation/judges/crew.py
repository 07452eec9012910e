"""Work for several threads -> its results, handed over in the thread that asked for it, one at a time.

So whoever asked needs no locks, and what it writes and shows is written and shown by one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Crew:
    """Some threads for one piece of work.

    Attributes:
        stopped: set when nobody waits for results any more; a thread that waits should wait on it.
    """

    def __init__(self, num_threads: int) -> None:
        self._num_threads = num_threads
        # Calls to be made by the thread that runs the crew; None is a thread's last message.
        self._mailbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self.stopped = threading.Event()

    def hand_over(self, call: Callable[[], None]) -> None:
        """Have `call` made by the thread that runs the crew; from any thread."""
        self._mailbox.put(call)

    def run(self, work: Callable[[Item], Result], items: Iterable[Item], received: Callable[[Result], None]) -> None:
        """Do `work` on all items, and pass every result to `received` in this thread.

        After the first error, of `work` or of `received`, no new item is begun; what is under way is still received,
        and then the error is raised. After Ctrl-C only what has arrived is received.
        """
        todo: SimpleQueue[Item] = SimpleQueue()
        for item in items:
            todo.put(item)

        def work_on() -> None:
            try:
                while not self.stopped.is_set():
                    self.hand_over(partial(received, work(todo.get_nowait())))
            except Empty:
                pass
            except Exception as error:
                self.hand_over(partial(_fail, error))
            finally:
                self._mailbox.put(None)

        num_alive = min(self._num_threads, todo.qsize())
        problem: Exception | None = None
        try:
            for _ in range(num_alive):
                # Daemons, as Ctrl-C must not wait for whatever they wait for.
                threading.Thread(target=work_on, daemon=True).start()
            while num_alive:
                call = self._mailbox.get()
                try:
                    num_alive -= _made(call)
                except Exception as error:
                    problem = problem or error
                    self.stopped.set()
        except KeyboardInterrupt:
            while not self._mailbox.empty():
                with suppress(Exception):  # the run ends anyway, and as an interrupted one
                    _made(self._mailbox.get())
            raise
        finally:
            self.stopped.set()
        if problem:
            raise problem


def _made(call: Callable[[], None] | None) -> bool:
    """Make the call; whether it was a thread's last message."""
    if call is not None:
        call()
    return call is None


def _fail(error: Exception) -> None:
    raise error
