"""The pages keep to the program: help, commands and links in them are those that there are."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from ditto_cli.cli.app import app

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "examples" / "demos" / "README.md", *DOCS]


def test_the_page_of_commands_is_what_they_say_themselves():
    page = runpy.run_path(str(ROOT / "docs" / "generate.py"))["cli_page"]()
    assert (ROOT / "docs" / "cli.md").read_text() == page, "run `make docs`"


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_a_page_says_first_whom_it_is_for(page):
    assert page.read_text().split("\n\n")[1].startswith("For ")


def test_the_front_page_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page):
    targets = re.findall(r"\]\((?!https?://)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_shown_can_be_given(page):
    for line in re.findall(r"^    (?:\$ |.+ \| )?ditto ([a-z].*)$", page.read_text(), re.MULTILINE):
        command, words = typer.main.get_command(app), shlex.split(line, comments=True)
        while words and hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        command.make_context("ditto", words)  # raises where an argument, option or value is wrong
