"""What is shown: nothing of a model's text is obeyed by a terminal, and texts stand side by side where they fit."""

import io
import json
import logging
import re

import pytest
from rich.console import Console

from ditto_cli.cli import render
from ditto_cli.shown import shorten, visible
from ditto_cli.store.generations import StepState
from ditto_cli.types import WatchedSample


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\ttext\nnext", "plain\ttext\nnext"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\rb", "a\\rb"),  # would write over the line's beginning
        ("a\x08b\x7f", "a\\x08b\\x7f"),
        ("\x9b31m", "\\x9b31m"),  # one character that some terminals take for escape and bracket
        ("\u202etxt.exe\u202c", "\\u202etxt.exe\\u202c"),  # right-to-left override
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("\u200ba\ufeff", "\\u200ba\\ufeff"),  # nothing to see, but there
        ("\ud83d", "\\ud83d"),  # half a character
        ("e\u0301 ä ß 漢字 עברית", "e\u0301 ä ß 漢字 עברית"),
        ("👩\u200d💻 ❤\ufe0f 👍🏽", "👩\u200d💻 ❤\ufe0f 👍🏽"),  # joiners and variation selectors make one emoji
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("[bold]not markup[/bold] :smile:", "[bold]not markup[/bold] :smile:"),
    ],
)
def test_visible(raw, shown):
    assert visible(raw) == shown
    assert visible(shown) == shown


def test_shorten():
    assert shorten("a  b\nc", 10) == "a b c"
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdefg", 6) == "abcde…"


@pytest.fixture
def terminal(monkeypatch):
    """Let stdout be a terminal of a width; gives what was written to it."""

    def make(width):
        stream = io.StringIO()
        console = Console(file=stream, width=width, force_terminal=True, color_system=None, markup=False, emoji=False)
        monkeypatch.setattr(render, "stdout_console", lambda: console)
        return stream

    return make


TEXTS = [("base", "Dear Sir, I write to you."), ("sft", "hey hey [b]"), ("round1", "hey \x1b[31mthere :smile:")]


def test_a_wide_terminal_shows_columns(terminal):
    stream = terminal(100)
    render.print_side_by_side("Write to Bo.", TEXTS)
    lines = stream.getvalue().splitlines()
    assert "Write to Bo." in lines[0]
    assert any(all(title in line for title, _ in TEXTS) for line in lines)
    assert max(map(len, lines)) <= 100
    assert "[b]" in stream.getvalue()
    assert "\\x1b[31mthere :smile:" in stream.getvalue()


def test_a_narrow_terminal_shows_one_below_the_other(terminal):
    stream = terminal(40)
    render.print_side_by_side("Write to Bo.", TEXTS)
    lines = stream.getvalue().splitlines()
    rows = [next(number for number, line in enumerate(lines) if f" {title} " in line) for title, _ in TEXTS]
    assert rows == sorted(set(rows))
    assert max(map(len, lines)) <= 40
    assert "\x1b[31m" not in stream.getvalue()


def test_too_many_texts_for_the_width_go_below_each_other(terminal):
    stream = terminal(100)
    render.print_side_by_side("p", [(f"voice{number}", "text") for number in range(8)])
    assert not any("voice0" in line and "voice1" in line for line in stream.getvalue().splitlines())
    assert all(f"voice{number}" in stream.getvalue() for number in range(8))


def test_long_words_are_folded_and_nothing_is_lost(terminal):
    stream = terminal(60)
    render.print_side_by_side("p", [("a", "x" * 100), ("b", "y" * 100)])
    assert stream.getvalue().count("x") == stream.getvalue().count("y") == 100


def test_a_pipe_gets_a_hundred_columns_and_no_colours(capsys):
    render.print_table("Title", ("column", "other"), [("word " * 30, "[red]cell[/red]")])
    render.print_side_by_side("prompt", TEXTS)
    out = capsys.readouterr().out
    widths = {len(line) for line in out.splitlines() if line[:1] in "┏┡└│┃"}
    assert max(widths) == 100
    assert "[red]cell[/red]" in out
    assert "\x1b" not in out


def test_messages_stay_on_one_line_in_a_pipe(capsys):
    render.say("word " * 60)
    render.warn("word " * 60)
    render.fail("first line\nsecond\x1b[31m " + "word " * 60)
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 3
    assert err.splitlines()[2].startswith("error: first line second\\x1b[31m word")


def test_json_is_json_and_holds_no_control_characters(capsys):
    value = {"text": "é 漢 \x1b[31m \x7f \x9b31m \u202e \ud83d \U000e0041 👩\u200d💻\n"}
    render.print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out) == value
    assert visible(out) == out
    assert "é 漢" in out


def test_the_plain_reporter_waits_for_the_first_result(capsys, monkeypatch):
    with render.reporter() as reporter:
        reporter.begin_work("judge", 3, "pairs")
        reporter._last -= 60  # a slow judge
        reporter.advance_work(0, {})
        reporter.advance_work(1, {})
    assert capsys.readouterr().err.startswith("judge: 1/3 pairs")


def test_the_plain_reporter_writes_lines_without_control_sequences(capsys):
    with render.reporter() as reporter:
        reporter.begin_work("SFT", 3, "updates")
        for step in (1, 2, 3):
            reporter.advance_work(step, {"loss": 1.0 / step, "unknown": 1.0})
        reporter.end_work()
        reporter.show_sample(WatchedSample("sft", "p", "one\ntwo\x1b[2J", ended=False))
    logging.getLogger("ditto_cli.model").warning("watch out\x07")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "SFT: 3 updates in 0 s  loss 0.33"
    assert lines[1:4] == ["  sft writes:", "    one", "    two\\x1b[2J"]
    assert "cut at the length limit" in lines[4]
    assert lines[5] == "note: watch out\\x07"


@pytest.mark.parametrize("tell", [render.say, render.warn, logging.getLogger("ditto_cli.model").warning])
def test_what_is_said_while_bars_are_drawn_stands_on_a_line_of_its_own(monkeypatch, tell):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with render.reporter() as shown:
        shown.begin_work("SFT", 3, "updates")
        shown.advance_work(1, {"loss": 1.0})
        tell("memory is full")
        shown.end_work()
    before = terminal.getvalue().partition("memory is full")[0]
    # The bar's line is erased, and only a colour and "note: " may follow.
    assert re.fullmatch(r".*\x1b\[2K(?:\x1b\[\d+m)*(?:note: )?(?:\x1b\[\d+m)*", before, re.DOTALL)
    assert render.stderr_console() is not render.stderr_console()  # afterwards each has its own


def test_messages_to_a_reader_who_went_away_do_not_end_the_work(monkeypatch):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr("sys.stderr", Gone())
    for tell in (render.say, render.warn, render.fail):
        tell("hello")
    with render.reporter() as reporter:
        reporter.show_sample(WatchedSample("sft", "p", "hello", ended=True))


def test_without_stdin_nothing_is_typed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(EOFError):
        render.ask("Which one? ")


def test_a_figure_that_is_no_number_is_json_all_the_same(capsys):
    render.print_json([StepState(values={"loss": float("nan")}, kinds={})])
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail)[0]["values"] == {"loss": "NaN"}
