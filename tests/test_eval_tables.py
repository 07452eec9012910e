"""What `ditto eval` shows on the terminal: the answer first, the report's own figures."""

import io

import pytest
from rich.console import Console

from ditto_cli.cli import render
from ditto_cli.cli.eval import show_report
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
        monkeypatch.setattr(render, "stdout_console", lambda: shown)
        return stream

    return make


def rows_of(text):
    """The cells of all tables' rows."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


@pytest.mark.parametrize("width", [80, 100, 160])
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


@pytest.mark.parametrize("make", [realistic_report, crowded_report])
def test_win_rates_are_the_reports(screen, make):
    report = make()
    stream = screen(240)
    show_report(report)
    own = [rate for rate in report.win_rates if rate.contestant == report.win_rates[0].contestant]
    rows = [row for row in rows_of(stream.getvalue()) if row[0].startswith("over ")]
    assert [row[:2] for row in rows] == [
        [f"over {rate.opponent}", f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f})"] for rate in own
    ]
    for row, rate in zip(rows, own, strict=True):
        assert f"{rate.num_judgements} judgements on {rate.num_prompts} prompts, {rate.ties} tie" in row[3]


def test_every_figure_of_a_contestant_is_there(screen):
    stream = screen(120)
    show_report(realistic_report())
    rows = rows_of(stream.getvalue())
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


def test_a_terminal_without_unicode_gets_ascii(screen, monkeypatch):
    stream = screen(100)
    stream.encoding = "ascii"
    show_report(realistic_report())
    assert stream.getvalue().isascii()


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
