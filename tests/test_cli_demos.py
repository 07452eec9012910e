"""`ditto demos`: add, list, edit and rm; `ditto sample --keep`; and the conversation of `ditto init` in a terminal."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

pytest_plugins = ["cli_helpers"]

LETTER = (
    "Hi Bo,\n\nthe hens got out again and ran along the canal before breakfast, so I mended the gate with wire. "
    "Bring the long ladder on Saturday.\n\nAnna"
)


@pytest.fixture
def editor(tmp_path):
    """Environment in which the editor runs a line of shell on the file `$1`."""

    def with_command(command):
        script = tmp_path / "editor.sh"
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        return {"EDITOR": str(script), "VISUAL": ""}

    return with_command


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file())


def test_a_file_is_added_whatever_its_format(ditto, tmp_path, texts):
    mail = tmp_path / "sent.eml"
    mail.write_text(f"From: Anna <anna@farm.org>\nTo: bo@hens.org\nSubject: the hens\n\n{LETTER}\n-- \nAnna's farm\n")
    result = ditto("demos", "add", texts, mail)
    assert result.code == 0, result.err
    assert "01-the-hens.md" in files(texts)
    added = (texts / "01-the-hens.md").read_text()
    assert added.startswith("---\nprompt: ")
    assert added.endswith(f"---\n{LETTER}\n")
    assert f"Added {texts / '01-the-hens.md'}." in result.err
    assert not ditto.home.exists()


def test_standard_input_is_added_with_its_prompt(ditto, tmp_path):
    folder = tmp_path / "new"
    result = ditto.process("demos", "add", folder, "-", "--prompt", "Write to Bo.", stdin=LETTER)
    assert result.code == 0, result.err
    (name,) = files(folder)
    assert (folder / name).read_text() == f"---\nprompt: Write to Bo.\n---\n{LETTER}\n"
    assert (folder.stat().st_mode & 0o777, (folder / name).stat().st_mode & 0o777) == (0o700, 0o600)


def test_without_a_prompt_it_says_how_one_is_found(ditto, texts):
    assert "it has no prompt yet" in ditto.process("demos", "add", texts, "-", stdin=LETTER).err


def test_the_same_text_does_not_come_in_twice(ditto, texts):
    ditto.process("demos", "add", texts, "-", stdin=LETTER)
    before = files(texts)
    again = ditto.process("demos", "add", texts, "-", stdin=LETTER)
    assert (again.code, files(texts)) == (2, before)
    assert "in the folder already" in again.only_error


@pytest.mark.parametrize("given", ["", " \n\n", "\0\1\2\3\0"])
def test_nothing_usable_is_refused(ditto, tmp_path, given):
    result = ditto.process("demos", "add", tmp_path / "new", "-", stdin=given)
    assert result.code == 2
    assert "standard input" in result.only_error
    assert not (tmp_path / "new").exists()


def test_a_large_archive_is_chosen_from_instead(ditto, tmp_path, texts):
    source = tmp_path / "all.jsonl"
    source.write_text("".join(json.dumps({"completion": f"{LETTER} {number}"}) + "\n" for number in range(12)))
    result = ditto("demos", "add", texts, source)
    assert result.code == 2
    assert f"ditto init {texts} --from" in result.only_error


def test_list_is_the_audit(ditto, texts):
    table = ditto("demos", "list", texts)
    assert table.code == 0
    assert "Invite Bo." in table.out
    (first, _) = json.loads(ditto("demos", "list", texts, "--json").out)["texts"]
    assert (first["id"], first["words"], first["prompt"]) == ("a.md", 9, "Invite Bo.")
    assert [warning["code"] for warning in first["warnings"]] == ["too_short"]


def test_edit_opens_the_file_itself(ditto, texts, editor):
    result = ditto("demos", "edit", texts, "a.md", environment=editor('echo "and a line more" >> "$1"'))
    assert result.code == 0, result.err
    assert (texts / "a.md").read_text().endswith("x\nand a line more\n")
    assert f"ditto train {texts}" in result.err


def test_a_document_is_not_opened_as_text(ditto, texts, editor):
    (texts / "letter.docx").write_bytes(b"PK")
    result = ditto("demos", "edit", texts, "letter.docx", environment=editor('rm "$1"'))
    assert result.code == 2
    assert "open it in the program that wrote it" in result.only_error
    assert (texts / "letter.docx").exists()


def test_what_cannot_be_read_after_editing_is_said_and_stays(ditto, texts, editor):
    result = ditto("demos", "edit", texts, "a.md", environment=editor('printf -- "---\\nprompt: x\\n" > "$1"'))
    assert result.code == 2
    assert "a.md line 1" in result.only_error
    assert (texts / "a.md").read_text() == "---\nprompt: x\n"


@pytest.mark.parametrize(
    ("command", "words"),
    [("exit 3", "(3)"), (None, "set EDITOR to one that works"), ("unbalanced", "set EDITOR to one that works")],
)
def test_an_editor_that_fails(ditto, texts, editor, tmp_path, command, words):
    environment = {"VISUAL": "", "EDITOR": str(tmp_path / "missing")}
    if command == "unbalanced":
        environment["EDITOR"] = 'vi "x'
    elif command is not None:
        environment = editor(command)
    result = ditto("demos", "edit", texts, "a.md", environment=environment)
    assert result.code == 2
    assert words in result.only_error


def test_rm_takes_the_file_and_leaves_what_the_user_wrote(ditto, texts):
    (texts / "c.txt").write_text(LETTER)
    (texts / "ditto.yaml").write_text("prompts:\n  c.txt: Write it.\n")
    before = (texts / "ditto.yaml").read_bytes()
    result = ditto("demos", "rm", texts, "c.txt", "--yes")
    assert result.code == 0, result.err
    assert files(texts) == ["a.md", "b.md", "ditto.yaml"]
    assert (texts / "ditto.yaml").read_bytes() == before
    assert "ditto.yaml has a prompt for c.txt, which is not in the folder" in ditto("demos", "list", texts).err


def test_rm_asks(ditto, texts):
    result = ditto("demos", "rm", texts, "a.md", stdin="")
    assert result.code == 2
    assert "--yes" in result.only_error
    assert files(texts) == ["a.md", "b.md"]


def test_rm_does_not_take_other_texts_with_it(ditto, texts):
    (texts / "all.jsonl").write_text('{"completion": "one two"}\n{"completion": "three four"}\n')
    result = ditto("demos", "rm", texts, "all.jsonl", "--yes")
    assert result.code == 2
    assert "holds 2 texts" in result.only_error
    assert (texts / "all.jsonl").exists()


@pytest.mark.parametrize("command", [["edit"], ["rm", "--yes"]])
def test_a_text_that_is_not_there(ditto, texts, command):
    result = ditto("demos", command[0], texts, "zebra", *command[1:])
    assert result.code == 2
    assert "it has a.md, b.md" in result.only_error
    assert ditto("demos", command[0], texts / "nowhere", "a.md", *command[1:]).code == 2


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/passwd", ".."])
def test_no_name_leads_out_of_the_folder(ditto, texts, name):
    (texts.parent / "outside.txt").write_text("mine")
    assert ditto("demos", "rm", texts, name, "--yes").code == 2
    assert (texts.parent / "outside.txt").exists()


def keep(trained, command, editor, *arguments):
    environment = editor(command)
    options = ["--adapter", "alice", "--max-tokens", "12", "--seed", "1", "--keep"]
    return trained("sample", *options, *arguments, "Write to Bo.", environment=environment)


def folder_of(trained):
    return Path(trained.record("alice").folder)


def test_keep_saves_the_edited_sample_as_a_demonstration(trained, editor):
    folder = folder_of(trained)
    result = keep(trained, f"printf '{LETTER.replace(chr(10), chr(92) + 'n')}' > \"$1\"", editor)
    assert result.code == 0, result.err
    (new,) = folder.glob("*-sample.md")
    try:
        assert new.read_text() == f"---\nprompt: Write to Bo.\n---\n{LETTER}\n"
        assert "ditto train" in result.err
    finally:
        new.unlink()
        (folder / "pairs.jsonl").unlink()


@pytest.mark.parametrize(("command", "words"), [("true", "it was not changed"), (': > "$1"', "it was left empty")])
def test_keep_does_not_learn_the_models_own_text(trained, editor, command, words):
    folder = folder_of(trained)
    before = files(folder)
    result = keep(trained, command, editor)
    assert result.code == 0, result.err
    assert words in result.err
    assert files(folder) == before


@pytest.mark.parametrize("arguments", [["--json"], ["--chat"], ["--compare", "alice,base"]])
def test_keep_is_for_one_adapters_texts(trained, editor, arguments):
    result = keep(trained, "true", editor, *arguments)
    assert result.code == 2
    assert "--keep is for the texts of one adapter" in result.error


def test_keep_of_the_base_has_no_folder(trained, editor):
    result = trained("sample", "--adapter", "base", "--keep", "hi", environment=editor("true"))
    assert result.code == 2
    assert "ditto demos add" in result.error


def converse(ditto, folder, lines, *arguments, environment=None):
    """Run `ditto init` in a terminal of its own; each line is typed once the question before it was asked."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "ditto_cli", "init", str(folder), "--no-prompts", *map(str, arguments)]
    variables = ditto.variables(environment) | {"TERM": "dumb", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdin=terminal, stderr=terminal, stdout=subprocess.PIPE, env=variables)
    os.close(terminal)
    seen, deadline = b"", time.monotonic() + 60
    waiting = list(lines)
    while process.poll() is None and time.monotonic() < deadline:
        if select.select([controller], [], [], 0.1)[0]:
            try:
                seen += os.read(controller, 65536)
            except OSError:
                break
        elif waiting and seen:
            os.write(controller, waiting.pop(0).encode() + b"\n")
    out = process.communicate(timeout=60)[0]
    os.close(controller)
    return process.returncode, out.decode(), seen.decode(errors="replace")


def test_in_a_terminal_texts_are_pasted_and_written_one_by_one(ditto, tmp_path, editor):
    folder = tmp_path / "alice"
    written = editor("printf 'Dear Cy,\\n\\nthe ladder is yours again, with thanks.\\n\\nA.\\n' > \"$1\"")
    pasted = LETTER.split("\n")
    code, out, seen = converse(
        ditto, folder, ["p", *pasted, ".", "Write to Bo about the hens.", "w", "x", "", ""], environment=written
    )
    assert code == 0, seen
    assert "0 texts> " in seen
    assert "2 texts> " in seen
    assert seen.count("w: write a text in your editor") == 3  # at both beginnings, and where x is none of them
    assert [name for name in files(folder) if name.endswith(".md")] == [
        "01-hi-bo-the-hens-got.md",
        "02-dear-cy-the-ladder-is.md",
    ]
    assert (
        folder / "01-hi-bo-the-hens-got.md"
    ).read_text() == f"---\nprompt: Write to Bo about the hens.\n---\n{LETTER}\n"
    assert "Write to Bo about the hens." in out


def test_in_a_terminal_a_chat_is_asked_whose_words_are_wanted(ditto, tmp_path):
    chat = tmp_path / "_chat.txt"
    turns = [
        ("Ada Reed", "The shelf is up, it took two tries because the wall is plaster and not brick as we had thought."),
        ("Tom", "Well done! What is next?"),
    ]
    chat.write_text(
        "".join(
            f"[03.03.25, 10:{minute:02d}:00] {who}: {said} {minute}\n" for minute in range(40) for who, said in turns
        )
    )
    code, _, seen = converse(ditto, tmp_path / "ada", ["1", ""], "--from", chat)
    assert code == 0, seen
    assert "Several people wrote these" in seen
    assert "Whose style is to be learnt? Number or name:" in seen
    written = "".join(path.read_text() for path in (tmp_path / "ada").glob("*.md"))
    assert "The shelf is up" in written
    texts = [path.read_text().split("---\n")[-1] for path in (tmp_path / "ada").glob("*.md")]
    assert not any("Well done" in text for text in texts)


def test_in_a_terminal_nothing_given_leaves_a_template(ditto, tmp_path):
    code, _, seen = converse(ditto, tmp_path / "alice", [""])
    assert code == 0, seen
    assert files(tmp_path / "alice") == ["ditto.yaml", "my-first-text.md"]


def test_rm_never_takes_the_settings_or_an_archive(ditto, texts):
    (texts / "ditto.yaml").write_text("prompts:\n  a.md: Mine.\n")
    with zipfile.ZipFile(texts / "export.zip", "w") as archive:
        archive.writestr("posts/0.txt", LETTER)
        archive.writestr("posts/1.txt", LETTER.replace("hens", "goats"))
    (texts / "prompts.yaml").write_text("0123456789abcdef: Write.\n")
    for name in ("d", "ditto.yaml", "e", "export.zip", "prompts.yaml"):
        assert ditto("demos", "rm", texts, name, "--yes").code == 2, name
    assert files(texts) == ["a.md", "b.md", "ditto.yaml", "export.zip", "prompts.yaml"]


def test_rm_takes_the_file_of_that_very_name(ditto, texts):
    for number in (1, 2):
        (texts / f"re #{number}.md").write_text(f"{LETTER} {number}")
    assert ditto("demos", "rm", texts, "re #2.md", "--yes").code == 0
    assert files(texts) == ["a.md", "b.md", "re #1.md"]


def test_what_was_written_in_the_editor_outlives_a_refusal(trained, editor):
    result = keep(trained, 'printf -- "---\\nprompt: Write: to Bo: now\\n---\\nmy own words\\n" > "$1"', editor)
    assert result.code == 2
    kept = re.search(r"What you wrote is kept in (\S+)\.$", result.err, re.MULTILINE)[1]
    assert "my own words" in Path(kept).read_text()
    shutil.rmtree(Path(kept).parent)


def test_what_was_written_in_the_editor_outlives_anything_unforeseen(editor, monkeypatch, capsys):
    from ditto_cli.cli.demos import edited

    for name, value in editor('echo more >> "$1"').items():
        monkeypatch.setenv(name, value)
    with pytest.raises(KeyboardInterrupt), edited("text\n"):
        raise KeyboardInterrupt
    kept = Path(re.search(r"What you wrote is kept in (\S+)\.", capsys.readouterr().err)[1])
    assert kept.read_text() == "text\nmore\n"
    shutil.rmtree(kept.parent)
