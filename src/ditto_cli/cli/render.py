"""What the commands show: stdout is the product, stderr is progress, messages and errors. Only here: rich.

Progress is live bars on a terminal, else plain lines. Text of models and people never reaches rich as markup, nor a
terminal as control characters.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, Progress, SpinnerColumn, Task, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ditto_cli.shown import visible
from ditto_cli.types import Reporter, WatchedSample

_NARROW, _WIDE = 60, 100
_METRICS = {"loss": "loss", "rewards/margins": "margin", "rewards/accuracies": "accuracy"}
_PLAIN_INTERVAL_SECONDS = 10.0
_drawing: list[Console] = []  # consoles on which something is drawn anew in its place


def stdout_console() -> Console:
    """For the product. Honours NO_COLOR; plain when stdout is no terminal."""
    return _console(sys.stdout)


def stderr_console() -> Console:
    """For progress, messages and errors; where bars are drawn, theirs, which keeps them below what is said."""
    return _drawing[-1] if _drawing else _console(cast(TextIO, _Unbroken(sys.stderr)))


def say(message: str) -> None:
    """A message to the user, on stderr."""
    stderr_console().print(Text(visible(message)))


def warn(message: str) -> None:
    """A warning to the user, on stderr."""
    stderr_console().print(Text.assemble(("note: ", "yellow"), visible(message)))


def fail(message: str) -> None:
    """The one line of an error, on stderr."""
    line = " ".join(visible(message).split())
    stderr_console().print(Text.assemble(("error: ", "bold red"), line), soft_wrap=True)


class _Messages(logging.Handler):
    """Shows what the rooms that work have to say."""

    def emit(self, record: logging.LogRecord) -> None:
        (warn if record.levelno >= logging.WARNING else say)(record.getMessage())


log = logging.getLogger("ditto_cli")
log.addHandler(_Messages())
log.setLevel(logging.INFO)
log.propagate = False  # a library's own handler would say it twice


def print_json(value: object) -> None:
    """The product as JSON, one document on stdout; what a terminal would obey is escaped as JSON escapes it."""
    # A model writes a figure that is no number as JSON can.
    document = json.dumps(
        value, ensure_ascii=False, indent=2, default=lambda model: json.loads(model.model_dump_json())
    )
    hidden = {ord(char): json.dumps(char)[1:-1] for char in set(document) if visible(char) != char}
    sys.stdout.write(document.translate(hidden) + "\n")


def print_text(text: str) -> None:
    """The product as it is, on stdout, with control characters made visible."""
    sys.stdout.write(visible(text) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, to_stderr: bool = False) -> None:
    """A table for people: aligned, and wrapped to the terminal."""
    table = Table(
        title=Text(visible(title)) if title else None,
        title_justify="left",
        title_style="bold",
        header_style="bold",
        pad_edge=False,
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = stderr_console() if to_stderr else stdout_console()
    console.print(table, soft_wrap=False)


def print_facts(facts: Mapping[str, str], *, to_stderr: bool = False) -> None:
    """Names and values, one a line, values aligned."""
    console = stderr_console() if to_stderr else stdout_console()
    width = max(len(name) for name in facts)
    for name, value in facts.items():
        console.print(Text.assemble((f"{name:<{width}}  ", "dim"), visible(value)))


def print_side_by_side(prompt: str, texts: Sequence[tuple[str, str]], *, console: Console | None = None) -> None:
    """Texts for one prompt under their titles: columns where the terminal is wide enough, else one below the other."""
    console = console or stdout_console()
    console.print(Text.assemble(("prompt  ", "dim"), visible(prompt)))
    if console.width >= _NARROW and len(texts) * 26 <= console.width:
        table = Table(show_lines=False, header_style="bold", expand=True, pad_edge=False)
        for title, _ in texts:
            table.add_column(visible(title), ratio=1, overflow="fold")
        table.add_row(*(Text(visible(text)) for _, text in texts))
        console.print(table, soft_wrap=False)
        return
    for title, text in texts:
        console.print(Panel(Text(visible(text)), title=visible(title), title_align="left"), soft_wrap=False)


def ask(question: str) -> str:
    """A line that the user types, without the line's end. Raises EOFError at the end of input."""
    sys.stderr.write(question)
    sys.stderr.flush()
    try:
        return input()
    except (EOFError, RuntimeError):  # RuntimeError: there is no stdin
        sys.stderr.write("\n")  # what is said next has a line of its own
        raise EOFError from None


class StderrReporter:
    """A `Reporter`: bars on a terminal; else a line at the end of each work, and one now and then before."""

    def __init__(self, console: Console, bars: Progress) -> None:
        self._console, self._bars = console, bars
        self._last = 0.0

    def begin_work(self, title: str, total: int, unit: str) -> None:
        """Show a new bar."""
        self._last = time.monotonic()
        self._bars.add_task(title, total=total, unit=unit, figures="")

    def advance_work(self, completed: int, metrics: Mapping[str, float]) -> None:
        """Move the bar, or print a line if the last one is some seconds old."""
        task = self._bars.tasks[-1]
        figures = "  ".join(f"{label} {metrics[key]:.2f}" for key, label in _METRICS.items() if key in metrics)
        self._bars.update(task.id, completed=completed, figures=figures)
        now, total = time.monotonic(), task.total or 0
        if self._bars.disable and now - self._last >= _PLAIN_INTERVAL_SECONDS and 0 < completed < total:
            self._last = now
            left = (task.elapsed or 0) / completed * (total - completed)
            self._line(task, f"{completed}/{total:.0f} {task.fields['unit']}  {figures}  about {left:.0f} s left")

    def end_work(self) -> None:
        """Fill the bar, as SFT may end before its last step; or print what it took."""
        task = self._bars.tasks[-1]
        self._bars.update(task.id, total=task.completed)
        self._bars.stop_task(task.id)
        if self._bars.disable:
            took = f"{task.completed:.0f} {task.fields['unit']} in {task.elapsed or 0:.0f} s"
            self._line(task, f"{took}  {task.fields['figures']}")

    def show_sample(self, sample: WatchedSample) -> None:
        """Print the sample, above bars if there are any."""
        self._console.print(Text(f"  {sample.stage} writes:", style="bold"))
        for line in visible(sample.text).splitlines():
            self._console.print(Text(f"    {line}"))
        if not sample.ended:
            self._console.print(Text("    […] (cut at the length limit)", style="dim"))

    def _line(self, task: Task, message: str) -> None:
        self._console.print(Text(f"{task.description}: {message}".rstrip()))


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter for where stderr goes, as long as the block lasts."""
    console = stderr_console()
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
        disable=not sys.stderr.isatty(),
    )
    with _drawing_on(console), bars:
        yield StderrReporter(console, bars)


@contextmanager
def live_lines() -> Iterator[Callable[[Sequence[str]], None]]:
    """Lines shown in the place of those before, below what is said; on no terminal the first alone, now and then."""
    console = stderr_console()
    with _drawing_on(console), Live(console=console, auto_refresh=False, transient=not console.is_terminal) as live:
        last = -_PLAIN_INTERVAL_SECONDS

        def show(lines: Sequence[str]) -> None:
            nonlocal last
            if console.is_terminal:
                live.update(Text(visible("\n".join(lines))), refresh=True)
            elif time.monotonic() - last >= _PLAIN_INTERVAL_SECONDS:
                last = time.monotonic()
                say(lines[0])

        yield show


@contextmanager
def _drawing_on(console: Console) -> Iterator[None]:
    _drawing.append(console)
    try:
        yield
    finally:
        _drawing.remove(console)


class _Unbroken:
    """A stream whose reader may go away: nobody reads the messages then, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(BrokenPipeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(BrokenPipeError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _console(stream: TextIO) -> Console:
    # Files and pipes have no width of their own: rich would take 80 and fold what need not be folded.
    is_terminal = stream.isatty()
    width = None if is_terminal else _WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False, soft_wrap=not is_terminal)
