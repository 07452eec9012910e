"""`make docs`: docs/cli.md from the commands' own help; pictures of what `make demo` left, the pages' by Chromium.

The report is that of `DITTO_HOME=$PWD/.demo ditto eval --adapter maya`, where it was run.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ditto_cli.cli.app import app
from ditto_cli.cli.render import print_side_by_side, say
from ditto_cli.evaluation.report import REPORT_FILE
from ditto_cli.store import AdapterRecord, AdapterStore

DOCS = Path(__file__).parent
HOME = DOCS.parent / ".demo"
DEMO = "maya"
INTRODUCTION = """\
# The commands

For whoever knows what to do and looks for the option: the `--help` of every command, written by `make docs`.

Settings come from flags (`--set dpo.beta=0.1`), `DITTO_*` variables (`DITTO_DPO__BETA=0.1`), `ditto.yaml` beside the
texts, and the preset; where several name one setting, the first in this order counts.
"""


def cli_page() -> str:
    """The text of docs/cli.md."""
    helps = _helps("ditto", typer.main.get_command(app), None)
    return INTRODUCTION + "".join(f"\n## {name}\n\n```\n{text}\n```\n" for name, text in helps)


def _helps(name: str, command: Any, parent: Any) -> Iterator[tuple[str, str]]:
    """The whole name and the help of a command, then of those below it."""
    context = command.make_context(name, [], parent, resilient_parsing=True, terminal_width=100)
    yield context.command_path, context.get_help()
    for below, known in getattr(command, "commands", {}).items():
        if not known.hidden:
            yield from _helps(below, known, context)


def picture(record: AdapterRecord) -> str:
    """The texts that `ditto train` shows at its end, as SVG of a terminal of 116 columns. It loads no font."""
    console = Console(record=True, width=116, file=io.StringIO(), force_terminal=True, highlight=False, markup=False)
    console.print(Text.assemble((f"$ ditto train examples/demos/{DEMO}", "bold"), ("\n[...]", "dim")))
    texts = [("base", record.base_sample), *((stage.stage, stage.sample or "") for stage in record.stages)]
    print_side_by_side(record.watch_prompt, texts, console=console)
    return re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="ditto"), flags=re.DOTALL)


@contextmanager
def opened(width: int, height: int) -> Iterator[Any]:
    """A page of headless Chromium, of so many pixels."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        browser.close()


def picture_report(report: Path) -> None:
    """docs/report.png: what an evaluation's report begins with."""
    with opened(900, 1340) as page:
        page.goto(report.as_uri())
        page.screenshot(path=DOCS / "report.png")


def picture_page(prompt: str) -> None:
    """docs/page.png: `ditto serve`'s page after it has written for a prompt."""
    command = [sys.executable, "-m", "ditto_cli", "serve", "--port", "0", "--adapter", DEMO]
    environment = {**os.environ, "DITTO_HOME": str(HOME), "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip().removesuffix("/v1")
        with opened(1000, 860) as page:
            page.set_default_timeout(300_000)
            page.goto(address)
            page.get_by_label("What should be written?").fill(prompt)
            page.get_by_role("button", name="Write", exact=True).last.click()
            page.get_by_text("Done.", exact=True).wait_for()
            page.screenshot(path=DOCS / "page.png")
        server.terminate()


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    store = AdapterStore(HOME)
    if not store.exists(DEMO):
        say("The pictures stay as they are: they show what `make demo` trains.")
        sys.exit()
    record = store.record(DEMO)
    (DOCS / "demo.svg").write_text(picture(record), encoding="utf-8")
    if shutil.which("chromium") is None:
        say("docs/report.png and docs/page.png stay as they are: they take Chromium.")
        sys.exit()
    picture_page(record.watch_prompt)
    report = store.evaluation_folder(DEMO) / REPORT_FILE
    if report.exists():
        picture_report(report)
