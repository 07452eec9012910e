"""prompts.yaml: prompts go by a hash of their text, whatever its file is called and wherever it lies."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.config import PROMPT_FILE, FolderFile
from ditto_cli.demonstrations.prompts import (
    attach_prompts,
    attach_stored_prompts,
    read_prompts,
    render_prompts,
    stale_prompts,
)
from ditto_cli.demonstrations.redaction import Redactor, prompt_key, text_hash
from ditto_cli.errors import InputError
from ditto_cli.types import Demonstration, SourceText

HENS = SourceText("hens.md", "The hens are out again.", None)
CORN = SourceText("corn.md", "Bring corn, Bo.", None)


def store(folder: Path, existing: str | None, *new: tuple[SourceText, str]) -> str:
    text = render_prompts(existing, new)
    (folder / PROMPT_FILE).write_text(text, encoding="utf-8")
    return text


def test_a_hash_is_of_the_words() -> None:
    # printf 'Hi Bo' | sha256sum
    assert text_hash("Hi Bo") == text_hash(" Hi\r\n\n\tBo \n") == "9daf7ce63e919d18"
    assert text_hash("Hi bo") != text_hash("Hi Bo")
    assert text_hash("cafe\u0301") == text_hash("caf\xe9")


def test_the_file_says_what_it_is_and_holds_no_word_of_a_text(tmp_path: Path) -> None:
    text = store(tmp_path, None, (HENS, "Write of hens."))
    assert text.startswith("# Prompts that ditto found")
    assert text.endswith(f"\n# hens.md\n{text_hash(HENS.text)}: |\n  Write of hens.\n")
    assert "out again" not in text
    assert read_prompts(tmp_path) == {text_hash(HENS.text): "Write of hens."}
    assert read_prompts(tmp_path / "nowhere") == {}


def test_what_is_there_stays_to_the_byte_and_new_ones_stand_below(tmp_path: Path) -> None:
    first = store(tmp_path, None, (HENS, "Write of hens."))
    edited = first.replace("Write of hens.", 'Say: "hens" # and\n  {corn}').rstrip("\n")
    second = store(tmp_path, edited, (CORN, "Write of corn."))
    assert second.startswith(edited + "\n")
    assert read_prompts(tmp_path) == {
        text_hash(HENS.text): 'Say: "hens" # and\n{corn}',
        text_hash(CORN.text): "Write of corn.",
    }


def test_of_two_entries_for_a_text_the_later_one_counts_and_an_emptied_one_is_none(tmp_path: Path) -> None:
    text = store(tmp_path, None, (HENS, "Write."), (CORN, "Write it.")).replace("  Write.\n", "\n")
    assert render_prompts(text, []) == text
    store(tmp_path, text)
    assert read_prompts(tmp_path) == {text_hash(CORN.text): "Write it."}
    store(tmp_path, text, (HENS, "Write anew."))
    assert read_prompts(tmp_path)[text_hash(HENS.text)] == "Write anew."


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.text(), st.text(), st.text()), max_size=4))
def test_any_prompt_is_read_as_it_was_written(
    entries: list[tuple[str, str, str]],
) -> None:
    new = [(SourceText(name, text, None), prompt) for name, text, prompt in entries]
    content = yaml.load(render_prompts(None, new), Loader=yaml.BaseLoader) or {}
    expected = {prompt_key(source): prompt for source, prompt in new}
    assert list(content) == list(expected)
    for key, prompt in expected.items():
        visible = [character for character in prompt if character.isprintable() and not character.isspace()]
        assert [char for char in content[key] if char.isprintable() and not char.isspace()] == visible


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a: [zebrafish\n", "is not valid YAML (line 2)"),
        ("abc: Write: zebrafish\n", "is not valid YAML (line 1)"),
        ("- zebrafish\n", "must hold `key: value` lines, not a list"),
        ("abc: [zebrafish]\n", "must hold `number: prompt` lines"),
        ("? [a]\n: zebrafish\n", ""),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_a_broken_file_is_refused_in_a_line_that_says_what_to_do(tmp_path: Path, content, problem) -> None:
    (tmp_path / PROMPT_FILE).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as caught:
        read_prompts(tmp_path)
    message = str(caught.value)
    assert problem in message
    assert "prompts.yaml" in message
    assert message.endswith("correct it, or delete it to have the prompts found again.")
    assert "zebrafish" not in message
    assert len(message.splitlines()) == 1


@pytest.mark.parametrize("existing", ["{}\n", "a: b\n...\n"])
def test_what_cannot_be_added_to_is_refused(existing: str) -> None:
    with pytest.raises(InputError, match=r"prompts\.yaml is laid out so that nothing can be added"):
        render_prompts(existing, [(HENS, "Write.")])


# --- which prompt a text gets


ANNA = SourceText("a.txt", "Hi Tom", None)
BERT = SourceText("b.txt", "Dear Sir", "Write a letter.")
CARA = SourceText("c.txt", "So long", None)


@pytest.mark.parametrize(
    ("by_id", "by_hash", "prompt"),
    [
        ({}, {}, "Write a letter."),
        ({}, {"Dear Sir": "Found."}, "Write a letter."),  # its own before what was found
        ({"b.txt": "Write to him."}, {"Dear Sir": "Found."}, "Write to him."),  # the user's before its own
        ({"b.txt": " \n"}, {"Dear Sir": "Found."}, "Write a letter."),  # blank is none
        ({"a.txt": "Not yours."}, {"Hi Tom": "Nor this."}, "Write a letter."),
    ],
)
def test_the_users_prompt_wins_over_the_texts_own_and_that_over_what_was_found(by_id, by_hash, prompt) -> None:
    stored = {text_hash(text): said for text, said in by_hash.items()}
    assert attach_prompts([BERT], by_id, stored) == ([Demonstration("b.txt", prompt, "Dear Sir")], [])


def test_texts_stay_in_their_order_and_those_without_are_told() -> None:
    demonstrations, without = attach_prompts([CARA, BERT, ANNA], {}, {text_hash("Hi Tom"): " Write to Tom. "})
    assert demonstrations == [
        Demonstration("b.txt", "Write a letter.", "Dear Sir"),
        Demonstration("a.txt", "Write to Tom.", "Hi Tom"),
    ]
    assert without == [CARA]
    assert attach_prompts([ANNA, CARA], {"a.txt": " ", "c.txt": ""}) == ([], [ANNA, CARA])


def test_texts_that_share_a_prompt_stay_apart() -> None:
    demonstrations, _ = attach_prompts([ANNA, CARA], {"a.txt": "Write it.", "c.txt": "Write it."})
    assert [demonstration.id for demonstration in demonstrations] == ["a.txt", "c.txt"]


def test_no_prompt_moves_when_texts_are_renamed_inserted_or_kept_back(tmp_path: Path) -> None:
    before = [(replace(HENS, id="notes.jsonl#1"), "Of hens."), (replace(CORN, id="notes.jsonl#2"), "Of corn.")]
    store(tmp_path, None, *before)
    new = SourceText("notes.jsonl#1", "A new one.", None)
    moved = [new, replace(HENS, id="notes.jsonl#2"), replace(CORN, id="held_out/corn.md")]
    demonstrations, without = attach_stored_prompts(tmp_path, moved, FolderFile())
    assert {demonstration.id: demonstration.prompt for demonstration in demonstrations} == {
        "notes.jsonl#2": "Of hens.",
        "held_out/corn.md": "Of corn.",
    }
    assert without == [new]


def test_no_prompt_moves_when_texts_are_redacted_and_none_gives_away_what_they_hide(tmp_path: Path) -> None:
    letter = "Write to {}@hens.org or call 020 7946 0958."
    texts = [SourceText(f"{name}.md", letter.format(name), None) for name in ("bo", "cy")]
    store(tmp_path, None, *((text, f"Give {text.id[:2]}@hens.org.") for text in texts))
    redactor = Redactor()
    redacted = [redactor.redacted(text) for text in texts]
    assert redacted[1].text == "Write to someone2@example.com or call 000 0000 0000."
    assert [prompt_key(text) for text in redacted] == [prompt_key(text) for text in texts]
    assert prompt_key(redactor.redacted(redacted[1])) == prompt_key(texts[1])
    demonstrations, without = attach_stored_prompts(tmp_path, redacted, FolderFile(redact=True))
    assert not without
    assert all("hens.org" not in demonstration.prompt for demonstration in demonstrations)


def test_prompts_of_texts_that_are_gone_are_told_but_not_of_those_kept_back() -> None:
    by_id = {"z.txt": "x", "a.txt": "y", "b.txt": "z", "held_out/c.txt": "w"}
    assert stale_prompts([ANNA, replace(BERT, id="held_out/b.txt")], by_id) == ["z.txt", "held_out/c.txt"]
