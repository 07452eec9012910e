"""Ctrl-C and SIGTERM: at once where nothing is half done, at the end of what must not be cut in two, and twice."""

import os
import signal
import threading

import pytest

from ditto_cli import interrupts
from ditto_cli.errors import InterruptedRun, TerminatedRun
from ditto_cli.interrupts import deferred, is_urgent, listen, stopped

BOTH = [signal.SIGINT, signal.SIGTERM]
NOTICE = "\nStopping as soon as this step is done; once more stops at once.\n"


@pytest.fixture(autouse=True)
def listening():
    """Signals are heard from now on; afterwards all is as the test found it."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in BOTH}
    heard = dict(vars(interrupts._heard))
    listen()
    yield
    vars(interrupts._heard).update(heard)
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_is_raised_at_once_where_nothing_is_deferred(number, capfd):
    with pytest.raises(KeyboardInterrupt):
        send(number)
    assert capfd.readouterr().err == ""
    assert not is_urgent()


@pytest.mark.parametrize("number", BOTH)
def test_the_first_waits_for_the_end_of_the_outermost_block(number, capfd):
    done = []

    def work():
        with deferred():
            with deferred():
                send(number)
                done.append("inner")
            done.append("outer")
        done.append("behind")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner", "outer"]
    assert capfd.readouterr().err == NOTICE
    assert not is_urgent()
    with deferred():  # it is raised once
        done.append("after")
    assert done[-1] == "after"


@pytest.mark.parametrize("first", BOTH)
@pytest.mark.parametrize("second", BOTH)
def test_the_second_is_raised_at_once(first, second, capfd):
    done = []

    def work():
        with deferred():
            send(first)
            done.append("first")
            send(second)
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]
    assert is_urgent()
    assert capfd.readouterr().err == NOTICE
    with deferred():  # the first one does not come again
        done.append("after")
    assert done == ["first", "after"]


def test_without_a_signal_nothing_is_raised():
    with deferred(), deferred():
        pass


def test_an_error_inside_goes_before_the_signal():
    def fail():
        with deferred():
            send(signal.SIGINT)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


@pytest.mark.parametrize(("number", "kind", "code"), [(BOTH[0], InterruptedRun, 130), (BOTH[1], TerminatedRun, 143)])
def test_the_exit_code_tells_which_signal_came_first(number, kind, code):
    for sent in (number, *BOTH):
        with pytest.raises(KeyboardInterrupt):
            send(sent)
    error = stopped("words")
    assert (type(error), error.exit_code, str(error)) == (kind, code, "words")


def test_a_new_command_forgets_the_signals_of_the_one_before():
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
    listen()
    assert not is_urgent()
    assert stopped("").exit_code == 130


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(number):
    other = BOTH[1 - BOTH.index(number)]
    signal.signal(number, signal.SIG_IGN)
    listen()
    send(number)  # nothing happens
    with deferred():
        send(number)
    assert signal.getsignal(number) is signal.SIG_IGN
    with pytest.raises(KeyboardInterrupt):
        send(other)


def test_in_another_thread_there_is_nothing_to_hear():
    handler, errors = signal.signal(signal.SIGINT, signal.default_int_handler), []

    def listen_there():
        try:
            listen()
        except ValueError as error:  # as Python says it
            errors.append(error)

    thread = threading.Thread(target=listen_there)
    thread.start()
    thread.join()
    assert errors == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert handler is not signal.default_int_handler
