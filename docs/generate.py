"""`make docs`: docs/cli.md from the commands' own help, docs/demo.svg from the training that `make demo` left."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.text import Text

from ditto_cli.cli.app import app
from ditto_cli.cli.render import print_side_by_side, say
from ditto_cli.store import AdapterRecord, AdapterStore

DOCS = Path(__file__).parent
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


if __name__ == "__main__":
    (DOCS / "cli.md").write_text(cli_page(), encoding="utf-8")
    store = AdapterStore(DOCS.parent / ".demo")
    if store.exists(DEMO):
        (DOCS / "demo.svg").write_text(picture(store.record(DEMO)), encoding="utf-8")
    else:
        say("docs/demo.svg stays as it is: it shows what `make demo` trains.")
