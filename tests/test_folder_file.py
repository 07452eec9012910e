"""ditto.yaml is extended without touching what a person wrote in it, and what is written is what is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.config import FolderFile, read_folder_file
from ditto_cli.demonstrations import render_folder_file
from ditto_cli.errors import InputError

AWKWARD = {
    "a.txt": "Write: an email",
    "b 'quoted'.txt": "Say \"hi\" and 'bye' \\ done",
    "c.jsonl#1": "two\nlines\n\nand a paragraph\n",
    "- d.txt": "- not a list",
    "e: f.md": "# not a comment",
    "on": "yes",
    "1.5": "1e-6",
    "ü \U0001f600.eml": "Schreibe über \U0001f600 und 你好",
    "g.txt": "long " * 2000,
    "h.txt": " spaces around \t",
    "i.txt": "\x85\u2028\ufeff\x07\x7f\ufffe",
    "{j}.txt": "{a: b}, [c] & *d !e %f @g `h` | > ?",
    "k.txt": "",
}


def load(text: str) -> FolderFile:
    return FolderFile.model_validate(yaml.safe_load(text))


def test_a_new_file_is_commented_and_valid() -> None:
    text = render_folder_file(None)
    assert load(text) == FolderFile()
    assert text.startswith("# Settings of this folder for ditto.")
    assert "schema_version: 1\n" in text


def test_each_commented_example_is_valid_once_uncommented() -> None:
    text = render_folder_file(None)
    for key in ("preset", "watch_prompt", "dpo", "seed"):
        assert f"\n# {key}: " in text
        text = text.replace(f"\n# {key}: ", f"\n{key}: ")
    folder_file = load(text)
    assert folder_file.preset == "paper-mistral-7b"
    assert folder_file.watch_prompt == "Write an email to a friend who is moving house."
    assert folder_file.overrides() == {"dpo": {"learning_rate": 2e-5}, "seed": 1}


def test_a_new_file_with_everything_is_written_and_read(tmp_path: Path) -> None:
    text = render_folder_file(None, defaults={"name": "anna: b", "preset": "paper"}, prompts=AWKWARD)
    (tmp_path / "ditto.yaml").write_text(text, encoding="utf-8")
    assert read_folder_file(tmp_path) == FolderFile(name="anna: b", preset="paper", prompts=AWKWARD)
    assert list(load(text).prompts) == list(AWKWARD), "the order stays"


@settings(max_examples=50, deadline=None)
@given(prompts=st.dictionaries(st.text(), st.text()), name=st.text())
def test_prompts_survive_whatever_they_hold(prompts: dict[str, str], name: str) -> None:
    once = render_folder_file(None, defaults={"name": name}, prompts=prompts)
    assert load(once).prompts == prompts
    assert load(once).name == name
    assert render_folder_file(once, defaults={"name": "other"}, prompts=prompts) == once, (
        "a second time changes nothing"
    )


@settings(max_examples=50, deadline=None)
@given(first=st.dictionaries(st.text(), st.text()), second=st.dictionaries(st.text(), st.text()))
def test_missing_prompts_are_added_after_those_that_are_there(first: dict[str, str], second: dict[str, str]) -> None:
    text = render_folder_file(render_folder_file(None, prompts=first), prompts=second)
    assert list(load(text).prompts.items()) == [*first.items(), *((k, v) for k, v in second.items() if k not in first)]


EXISTING = """\
# my file
schema_version: 1   # one

# about prompts
prompts:
    # inner
    a.txt: mine, all mine   # note
    b.txt: 'two
      lines'

# about the seed
seed: 3
dpo: {learning_rate: 0.00001, beta: 0x1}
lora:
  targets:
    - q_proj
"""


def test_an_existing_file_keeps_every_line() -> None:
    text = render_folder_file(
        EXISTING, defaults={"name": "anna", "preset": "paper"}, prompts={"a.txt": "theirs", "c.txt": "new"}
    )
    assert text == EXISTING.replace("      lines'\n", '      lines\'\n    "c.txt": "new"\n') + (
        'name: "anna"\npreset: "paper"\n'
    )
    assert load(text).prompts == {"a.txt": "mine, all mine", "b.txt": "two lines", "c.txt": "new"}


def test_nothing_to_add_changes_nothing() -> None:
    assert render_folder_file(EXISTING, prompts={"a.txt": "theirs"}) == EXISTING
    named = "name: anna\npreset: mine\n"
    assert render_folder_file(named, defaults={"name": "other", "preset": "other"}) == named


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("prompts:\nseed: 1\n", 'prompts:\n  "n": "x"\nseed: 1\n'),
        ("prompts:   # to do\n\nseed: 1\n", 'prompts:   # to do\n  "n": "x"\n\nseed: 1\n'),
        ("prompts: null # to do\n", 'prompts: # to do\n  "n": "x"\n'),
        ("prompts: ~", 'prompts:\n  "n": "x"\n'),
        ("prompts: {}\n", 'prompts: {"n": "x"}\n'),
        ("prompts: {a: b}  # c\n", 'prompts: {"n": "x", a: b}  # c\n'),
        ("prompts: {a: b,\n  }\n", 'prompts: {"n": "x", a: b,\n  }\n'),
        ("prompts:\n  a: b", 'prompts:\n  a: b\n  "n": "x"\n'),
        ("prompts:\n  a:\nseed: 1\n", 'prompts:\n  a:\n  "n": "x"\nseed: 1\n'),
        (
            "prompts:\n a: |\n   b\n   c\n\n# end\nseed: 1\n",
            'prompts:\n a: |\n   b\n   c\n\n "n": "x"\n# end\nseed: 1\n',
        ),
        ("prompts:\n a: >-\n   b", 'prompts:\n a: >-\n   b\n "n": "x"\n'),
        ("\ufeffprompts:\r\n  a: b\r\n", 'prompts:\n  a: b\n  "n": "x"\n'),
        ("---\nprompts:\n  a: b\n...\n", '---\nprompts:\n  a: b\n  "n": "x"\n...\n'),
    ],
)
def test_prompts_find_their_place(existing: str, expected: str) -> None:
    assert render_folder_file(existing, prompts={"n": "x"}) == expected


def test_a_file_of_comments_only_keeps_them() -> None:
    assert render_folder_file("# mine", prompts={"n": "x"}) == (
        "# mine\n\n# What each text is the answer to. Read and correct these: they matter as much as the texts.\n"
        'prompts:\n  "n": "x"\n'
    )
    assert render_folder_file("# mine\n", defaults={"name": "anna"}) == '# mine\nname: "anna"\n'


@pytest.mark.parametrize("existing", ["name:\nseed: 1\n", "name: null\nseed: 1\n", "name: ~\nseed: 1"])
def test_a_name_without_a_value_gets_one(existing: str) -> None:
    assert render_folder_file(existing, defaults={"name": "anna"}) == 'name: "anna"\nseed: 1\n'


@pytest.mark.parametrize(
    ("existing", "problem"),
    [
        ("prompts: [zebrafish\nseed: 1", "is not valid YAML (line 2)"),
        ("a: zebrafish\n---\nb: c\n", "is not valid YAML (line 2)"),
        ("a: \x01", "is not valid YAML: "),
        ("a: 2024-13-45", "is not valid YAML: "),
        ("- zebrafish\n", "must hold `key: value` lines, not a list"),
        ("zebrafish", "must hold `key: value` lines, not a str"),
        ("prompts: [zebrafish]\n", "prompts must hold `file name: prompt` lines, not a list"),
        ("{schema_version: 1}\n", "is laid out so that nothing can be added"),
        ("seed: 1\n...\n", "is laid out so that nothing can be added"),
        ("x: &p\n  a: b\nprompts: *p\n", "is laid out so that nothing can be added"),
    ],
)
def test_what_cannot_be_extended_is_refused(existing: str, problem: str) -> None:
    with pytest.raises(InputError) as caught:
        render_folder_file(existing, prompts={"n": "x"})
    message = str(caught.value)
    assert message.startswith("ditto.yaml")
    assert problem in message
    assert message.isprintable()
    assert "zebrafish" not in message


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ('prompts:\n  a: "x"\n  # of b\n  b: "y"\nseed: 1\n', 'prompts:\n  # of b\n  b: "y"\nseed: 1\n'),
        ('prompts:\n  b: "y"\n  a: "x"\nseed: 1\n', 'prompts:\n  b: "y"\nseed: 1\n'),
        ('prompts:\n  b: "y"\n  a: |\n    x\n    z\n', 'prompts:\n  b: "y"\n'),
        ('prompts:\n  a: "x"\nseed: 1\n', "prompts: {}\nseed: 1\n"),
        ("prompts: {a: x, b: y}\nseed: 1\n", 'prompts: {"b": "y"}\nseed: 1\n'),
        ("prompts: {a: x}\n", "prompts: {}\n"),
        ("seed: 1\n", "seed: 1\n"),
    ],
)
def test_a_prompt_is_taken_out(existing: str, expected: str) -> None:
    assert render_folder_file(existing, without=["a"]) == expected


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        ("seed: 1\n", "seed: 1\nredact: true\n"),
        ("redact: false  # not yet\nseed: 1\n", "redact: true  # not yet\nseed: 1\n"),
        ("redact:\nseed: 1\n", "redact: true\nseed: 1\n"),
        ("redact: yes\n", "redact: yes\n"),
    ],
)
def test_a_setting_is_changed_in_its_place(existing: str, expected: str) -> None:
    assert render_folder_file(existing, changes={"redact": True}) == expected


def test_addresses_are_written_as_a_list() -> None:
    text = render_folder_file("me: [a@b.org]\n", changes={"me": ["c@d.org", "e@f.org"]})
    assert text == 'me: ["c@d.org", "e@f.org"]\n'
