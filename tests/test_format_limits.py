"""Limits of time and memory around libraries that parse, and their failures in one line."""

import logging
import re
import resource
import signal
import sys
import threading
import time
import warnings

import pytest

from ditto_cli.demonstrations.formats.limits import limited, parsing
from ditto_cli.errors import InputError


def spin(seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_work_ends_after_its_time() -> None:
    start = time.monotonic()
    with pytest.raises(InputError, match=r"^a.pdf takes more than 0 s to read.*: save"), limited("a.pdf", seconds=0.1):
        spin()
    assert time.monotonic() - start < 5


def test_a_library_that_catches_everything_is_ended_all_the_same() -> None:
    def stubborn():
        for _ in range(2):
            try:
                spin()
            except BaseException:
                continue
        spin()

    with pytest.raises(InputError, match="takes more than"), limited("a.pdf", seconds=0.1):
        stubborn()


def test_an_outer_timer_is_put_back_with_what_is_left_of_it() -> None:
    def handler(number, frame):
        raise AssertionError("the outer timer")

    before = signal.getsignal(signal.SIGALRM), signal.setitimer(signal.ITIMER_REAL, 50, 7)
    try:
        signal.signal(signal.SIGALRM, handler)
        with limited("a", seconds=20):
            time.sleep(0.05)
        assert signal.getsignal(signal.SIGALRM) is handler
        left, interval = signal.getitimer(signal.ITIMER_REAL)
        assert 40 < left < 49.99
        assert interval == pytest.approx(7)

        # One that is due sooner than ours rings in time.
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        start = time.monotonic()
        with pytest.raises(AssertionError, match="the outer timer"), limited("a", seconds=20):
            spin()
        assert time.monotonic() - start < 5
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0  # and not once more
    finally:
        signal.signal(signal.SIGALRM, before[0])
        signal.setitimer(signal.ITIMER_REAL, *before[1])


def test_limits_inside_limits() -> None:
    with pytest.raises(InputError, match=r"^outer takes"), limited("outer", seconds=0.2), limited("inner", seconds=10):
        spin()
    with limited("outer", seconds=10):
        with pytest.raises(InputError, match=r"^inner takes"), limited("inner", seconds=0.1):
            spin()
        assert 5 < signal.getitimer(signal.ITIMER_REAL)[0] <= 10


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_memory_has_a_limit_that_is_put_back() -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    with pytest.raises(InputError, match=r"^a needs more than 64 MB of memory"), limited("a", megabytes=64):
        bytearray(200 * 2**20)
    assert resource.getrlimit(resource.RLIMIT_AS) == before
    assert len(bytearray(200 * 2**20)) == 200 * 2**20


def test_what_is_nested_too_deep_is_an_input_error() -> None:
    def deep():
        return deep()

    with pytest.raises(InputError, match="nested too deep"), limited("a"):
        deep()


def test_other_threads_have_no_clock_but_work() -> None:
    seen = []

    def work():
        with limited("a", seconds=0.01):
            time.sleep(0.05)
            seen.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True]


def test_warnings_and_log_lines_are_not_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with limited("a"):
        warnings.warn("noise", UserWarning, stacklevel=1)  # would be an error in the tests
        logging.getLogger("pypdf").warning("noise")
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == 0


@pytest.mark.parametrize(
    "error", [KeyError("secret"), AttributeError("secret"), ZeroDivisionError(), UnicodeError("x")]
)
def test_a_failure_of_a_library_is_one_line_without_its_words(error: Exception) -> None:
    with pytest.raises(InputError) as caught, parsing("a.pdf", "a PDF"):
        raise error
    assert re.fullmatch(r"a\.pdf is damaged, or not a PDF in spite of its name: [^\n]*", str(caught.value))
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
