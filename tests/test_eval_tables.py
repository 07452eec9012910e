"""What `ditto eval` shows on the terminal: the answer first, the report's own figures, in any width."""

import io
import re

import pytest
from rich.console import Console

from ditto_cli.cli import eval as cli_eval
from ditto_cli.cli import render
from ditto_cli.cli.eval import show_report
from ditto_cli.cli.render import Bar, print_bars
from ditto_cli.evaluation.report import Verdict
from eval_fixtures import crowded_report, realistic_report, smallest_report


class Screen(io.StringIO):
    """A terminal of a given width; prints of all kinds arrive here in their order."""

    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def screen(monkeypatch):
    def make(width, **console):
        stream = Screen()
        monkeypatch.setattr("sys.stdout", stream)
        options = {"force_terminal": True, "color_system": None, "highlight": False, "markup": False, "emoji": False}
        shown = Console(file=stream, width=width, **{**options, **console})
        for module in (render, cli_eval):
            monkeypatch.setattr(module, "stdout_console", lambda: shown)
        return stream

    return make


def bars_of(lines):
    """Drawn bars with what follows on their line."""
    found = [re.search(r"([█▓░·│]{11,})  (\d\.\d\d) \((\d\.\d\d) to (\d\.\d\d)\)", line) for line in lines]
    return [match.groups() for match in found if match]


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_parts_come_in_order_and_fit_the_width(screen, width):
    stream = screen(width)
    show_report(realistic_report())
    text = stream.getvalue()
    places = [
        text.index(words)
        for words in ("verdict  Keep maya", "Style and task", "Win rates", "win rate of", "contestant", "warnings")
    ]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 120])
@pytest.mark.parametrize("make", [realistic_report, crowded_report])
def test_win_rates_are_the_reports(screen, make, width):
    report = make()
    stream = screen(width)
    show_report(report)
    own = [rate for rate in report.win_rates if rate.contestant == report.win_rates[0].contestant]
    assert [bar[1:] for bar in bars_of(stream.getvalue().splitlines())] == [
        (f"{rate.rate:.2f}", f"{rate.low:.2f}", f"{rate.high:.2f}") for rate in own
    ]
    said = " ".join(stream.getvalue().split())
    for rate in own:
        assert f"{rate.num_judgements} judgements on {rate.num_prompts} prompts, {rate.ties} tie" in said
    assert max(map(len, stream.getvalue().splitlines())) <= width


def test_a_narrow_terminal_gets_the_figures_in_two_tables(screen):
    for width, tables in ((60, 2), (100, 1)):
        stream = screen(width)
        show_report(realistic_report())
        assert stream.getvalue().count("┃contestant") == tables


def test_every_figure_of_a_contestant_is_there(screen):
    stream = screen(120)
    show_report(realistic_report())
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in stream.getvalue().splitlines()
        if line.startswith("│")
    ]
    assert ["maya:round2", "0.86", "0.61", "96%", "4%", "6 words", "3.108", "31.4"] in rows
    assert ["few-shot", "0.55", "0.61", "96%", "4%", "27 words", "-", "27.9"] in rows


def test_columns_without_a_figure_are_left_out(screen):
    stream = screen(120)
    show_report(smallest_report())
    head = next(line for line in stream.getvalue().splitlines() if "contestant" in line)
    assert head.replace("┃", " ").split() == ["contestant", "style", "task", "ended", "loops", "recites"]
    assert "warnings" not in stream.getvalue()
    assert "win rate" not in stream.getvalue()


def test_warnings_name_their_contestant(screen):
    stream = screen(160)
    show_report(realistic_report())
    lines = stream.getvalue().splitlines()
    assert any("evaluation" in line and "The panel rests on 9 texts" in line for line in lines)
    assert sum("few-shot" in line and "It " in line for line in lines) == 3


def test_a_pipe_gets_bars_in_ascii_and_no_escapes(capsys):
    show_report(realistic_report())
    out, err = capsys.readouterr()
    assert err == ""
    assert "\x1b" not in out
    bars = out[out.index("win rate of") : out.index("┏")]
    assert bars.isascii()
    # A quarter of 100 columns: 25 cells with middles at 0.02, 0.06, ..., the 13th is the mark. A rate of 22.5 / 24 =
    # 0.9375 fills those up to the 23rd (0.90), and the interval from 0.79 to 1 is in the 21st (0.82) to the last.
    assert "over base      ############|#######===--  0.94 (0.79 to 1.00) preferred" in bars
    assert all(line == line.rstrip() for line in bars.splitlines())


def test_a_terminal_without_unicode_gets_ascii(screen, monkeypatch):
    stream = screen(100)
    stream.encoding = "ascii"
    show_report(realistic_report())
    assert stream.getvalue().isascii()


def test_a_bar_marks_the_middle_and_the_interval(screen):
    stream = screen(44)  # a quarter is 11 cells, with middles at 1/22, 3/22, ... 21/22
    print_bars("title", [Bar("label", 0.25, (0.1, 0.7), "words", "note")])
    # Below 0.25: 1/22, 3/22, 5/22. Within 0.1 and 0.7: 3/22 (0.14) to 15/22 (0.68).
    assert stream.getvalue().splitlines() == [
        "title",
        "█ rate, ▓░ interval, │ 0.5",
        "label  █▓▓░░│░░···  words",
        "                    note",
    ]


def test_control_characters_are_shown_and_not_obeyed(screen):
    stream = screen(100)
    report = realistic_report(
        verdict=Verdict(advice="Keep \x1b[31mit\x07.", figures=["a\u202eb"], keep="it"),
        warnings=["watch \x1b]0;out\x07"],
    )
    show_report(report)
    text = stream.getvalue()
    assert "\\x1b[31mit\\x07" in text
    assert "a\\u202eb" in text
    assert "watch \\x1b]0;out\\x07" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
