"""ditto.yaml is made once and then only added to: what a person wrote in it stays to the byte."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.config import FolderFile, read_folder_file
from ditto_cli.demonstrations.prompts import lines_to_add, new_folder_file
from ditto_cli.errors import InputError


def load(text: str) -> FolderFile:
    return FolderFile.model_validate(yaml.safe_load(text) or {})


def test_a_new_file_is_commented_and_valid() -> None:
    text = new_folder_file({"name": None})
    assert load(text) == FolderFile()
    assert text.startswith("# Settings of this folder for ditto.")
    assert "schema_version: 1\n" in text


def test_each_commented_example_is_valid_once_uncommented() -> None:
    text = new_folder_file({})
    for key in ("preset", "watch_prompt", "prompts", "dpo", "seed"):
        assert f"\n# {key}: " in text
        text = text.replace(f"\n# {key}: ", f"\n{key}: ")
    folder_file = load(text)
    assert folder_file.preset == "paper-mistral-7b"
    assert folder_file.watch_prompt == "Write an email to a friend who is moving house."
    assert folder_file.prompts == {"first-text.md": "Write an email to Tom about the heating."}
    assert folder_file.overrides() == {"dpo": {"learning_rate": 2e-5}, "seed": 1}


def test_a_new_file_with_everything_is_written_and_read(tmp_path: Path) -> None:
    given_settings = {
        "name": "anna: b",
        "preset": "paper",
        "redact": "names",
        "split": True,
        "me": ["a@b.org", "Anna, B"],
    }
    (tmp_path / "ditto.yaml").write_text(new_folder_file(given_settings), encoding="utf-8")
    assert read_folder_file(tmp_path) == FolderFile(**given_settings)


@settings(max_examples=50, deadline=None)
@given(name=st.text(), me=st.lists(st.text(), min_size=1))
def test_values_survive_whatever_they_hold(name: str, me: list[str]) -> None:
    assert yaml.safe_load(new_folder_file({"name": name, "me": me})) == {"schema_version": 1, "name": name, "me": me}
    existing = "# mine\nseed: 1"
    lines = lines_to_add(existing, load(existing), {"name": name, "me": me})
    assert yaml.safe_load("\n".join([existing, *lines])) == {"seed": 1, "name": name, "me": me}
    assert all(len(line.splitlines()) == 1 for line in lines)


EXISTING = """\
# my file
schema_version: 1   # one
name:   anna
prompts:
    a.txt: mine, all mine   # note
redact: yes
me: [a@b.org]
dpo: {learning_rate: 0.00001, beta: 0x1}
"""


@pytest.mark.parametrize(
    ("settings", "lines"),
    [
        ({}, []),
        ({"preset": None}, []),
        ({"preset": "paper"}, ['preset: "paper"']),
        ({"split": True, "preset": "paper"}, ["split: true", 'preset: "paper"']),
        ({"name": "anna", "redact": True, "me": ["a@b.org"]}, []),  # as it is
        ({"watch_prompt": "Write: it."}, ['watch_prompt: "Write: it."']),
    ],
)
def test_what_is_not_there_is_added_and_what_is_there_stays(settings, lines) -> None:
    assert lines_to_add(EXISTING, load(EXISTING), settings) == lines


@pytest.mark.parametrize(
    ("settings", "instead"),
    [
        ({"name": "bert"}, 'name: "bert"'),
        ({"redact": "names"}, 'redact: "names"'),
        ({"me": ["a@b.org", "Anna"]}, 'me: ["a@b.org", "Anna"]'),
    ],
)
def test_what_the_file_says_otherwise_is_the_users_to_change(settings, instead) -> None:
    with pytest.raises(InputError) as caught:
        lines_to_add(EXISTING, load(EXISTING), {"preset": "paper", **settings})
    message = str(caught.value)
    assert message.startswith(f"ditto.yaml sets {instead.split(':')[0]} to something else")
    assert f"change that line to {instead}, or leave the option out." in message
    assert "mine" not in message


@pytest.mark.parametrize("existing", ["", "# mine", "---\nseed: 1\n", "\ufeffseed: 1\r\n", "name:\nseed: 1\n"])
def test_a_line_can_stand_below_anything_that_is_laid_out_in_lines(existing: str) -> None:
    existing = existing.removeprefix("\ufeff")
    (line,) = lines_to_add(existing, load(existing.replace("name:\n", "")), {"name": "anna"})
    assert load(f"{existing}\n{line}\n").name == "anna"


@pytest.mark.parametrize("existing", ["{schema_version: 1}\n", "seed: 1\n...\n", "  seed: 1\n"])
def test_what_cannot_be_added_to_is_refused(existing: str) -> None:
    with pytest.raises(InputError) as caught:
        lines_to_add(existing, load(existing), {"name": "anna"})
    assert "ditto.yaml is laid out so that nothing can be added to it" in str(caught.value)
    assert lines_to_add(existing, load(existing), {}) == []
