"""Reporters: live bars on a terminal, plain lines elsewhere. What they show goes to stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from ditto_cli.cli.render import say, stderr_console
from ditto_cli.shown import visible
from ditto_cli.types import Reporter, WatchedSample

_METRICS = {"loss": "loss", "rewards/margins": "margin", "rewards/accuracies": "accuracy"}
_PLAIN_INTERVAL_SECONDS = 10.0


class StderrReporter:
    """A `Reporter`: bars on a terminal; else a line at the end of each stage, and one now and then before."""

    def __init__(self, console: Console, bars: Progress | None = None) -> None:
        self._console, self._bars = console, bars
        self._task = TaskID(0)
        self._stage, self._total, self._unit = "", 0, ""
        self._started = self._last = 0.0
        self._completed, self._figures = 0, ""

    def stage_started(self, stage: str, total: int, unit: str) -> None:
        """Show a new bar, or remember the stage."""
        self._stage, self._total, self._unit = stage, total, unit
        self._started = self._last = time.monotonic()
        self._completed, self._figures = 0, ""
        if self._bars:
            self._task = self._bars.add_task(stage, total=total, unit=unit, figures="")

    def stage_advanced(self, completed: int, metrics: Mapping[str, float]) -> None:
        """Move the bar, or print a line if the last one is some seconds old."""
        self._completed = completed
        self._figures = "  ".join(f"{label} {metrics[key]:.2f}" for key, label in _METRICS.items() if key in metrics)
        now = time.monotonic()
        if self._bars:
            self._bars.update(self._task, completed=completed, figures=self._figures)
        elif now - self._last >= _PLAIN_INTERVAL_SECONDS and 0 < completed < self._total:
            self._last = now
            left = (now - self._started) / completed * (self._total - completed)
            self._line(f"{completed}/{self._total} {self._unit}  {self._figures}  about {left:.0f} s left")

    def stage_ended(self) -> None:
        """Fill the bar, as SFT may end before its last step; or print what the stage took."""
        if self._bars:
            self._bars.update(self._task, total=self._completed)
            self._bars.stop_task(self._task)
        else:
            seconds = time.monotonic() - self._started
            self._line(f"{self._completed} {self._unit} in {seconds:.0f} s  {self._figures}")

    def sample_shown(self, sample: WatchedSample) -> None:
        """Print the sample, above bars if there are any."""
        self._console.print(Text(f"  {sample.stage} writes:", style="bold"))
        for line in visible(sample.text).splitlines():
            self._console.print(Text(f"    {line}"))
        if not sample.ended:
            self._console.print(Text("    […] (cut at the length limit)", style="dim"))

    def noted(self, message: str) -> None:
        """Print the note, above bars if there are any."""
        self._console.print(Text(f"note: {visible(message)}", style="yellow"))

    def _line(self, message: str) -> None:
        self._console.print(Text(f"{self._stage}: {message}".rstrip()))


class LiveLines:
    """A few lines drawn anew in their place, below what is said; on no terminal the first alone, now and then."""

    def __init__(self, live: Live | None) -> None:
        self._live = live
        self._told = 0.0

    def say(self, message: str) -> None:
        """A message above them, which stays."""
        if self._live is None:
            say(message)
        else:
            self._live.console.print(Text(visible(message)))

    def show(self, lines: Sequence[str]) -> None:
        """Show these instead of those before."""
        if self._live is not None:
            self._live.update(Text(visible("\n".join(lines))), refresh=True)
        elif time.monotonic() - self._told > _PLAIN_INTERVAL_SECONDS:
            self._told = time.monotonic()
            say(lines[0])


@contextmanager
def live_lines() -> Iterator[LiveLines]:
    """Lines where stderr goes, as long as the block lasts."""
    if not sys.stderr.isatty():
        yield LiveLines(None)
        return
    with Live(console=stderr_console(), auto_refresh=False) as live:
        yield LiveLines(live)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter for where stderr goes, as long as the block lasts."""
    console = stderr_console()
    if not sys.stderr.isatty():
        yield StderrReporter(console)
        return
    bars = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[unit]}", markup=False),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}", markup=False),
        console=console,
    )
    with bars:
        yield StderrReporter(console, bars)
