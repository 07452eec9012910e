"""`ditto init`: what it finds in a folder, what it writes into ditto.yaml, and what it leaves alone."""

import json
import stat

import pytest
import yaml

from ditto_cli.demonstrations.folder import TEMPLATE, TEMPLATE_NAME
from made_up import made_up_text

pytest_plugins = ["cli_helpers"]

BARE = {
    "one.txt": "Hi Bo,\n\nthe hens are out again. Bring corn.\n\nA.\n",
    "two.md": "Dear Sir or Madam, your invoice is wrong. Kindly mend it.\n",
}
HENS = made_up_text(0, num_sentences=4)
MODEL = "torch,transformers,peft,trl,datasets"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def settings_of(folder):
    return yaml.safe_load((folder / "ditto.yaml").read_text())


def stored_prompts(folder):
    return [prompt.strip() for prompt in yaml.load((folder / "prompts.yaml").read_text(), yaml.BaseLoader).values()]


def listed_prompts(ditto, folder):
    return {text["id"]: text["prompt"] for text in json.loads(ditto("demos", "list", folder, "--json").out)["texts"]}


def letters(text):
    """The text without spaces, signs and the lines of a table, which folds long cells."""
    return "".join(character for character in text if character.isalnum())


@pytest.fixture
def letter(tmp_path):
    (tmp_path / "one.txt").write_text(HENS)
    return tmp_path / "one.txt"


@pytest.fixture
def chat(tmp_path):
    path = tmp_path / "_chat.txt"
    path.write_text(
        "".join(f"[03.03.25, 10:{n:02d}:00] {('Tom', 'Ada')[n % 2]}: {made_up_text(n)[8:90]}\n" for n in range(4))
    )
    return path


@pytest.fixture
def seen(monkeypatch):
    """The demonstrations that trainings are given."""
    from ditto_cli.method import run

    seen, real = [], run.train_ditto

    def spy(policy, job, *rest):
        seen.extend(job.demonstrations)
        return real(policy, job, *rest)

    monkeypatch.setattr(run, "train_ditto", spy)
    return seen


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_texts_gets_a_template_and_settings(ditto, tmp_path, exists):
    folder = tmp_path / "My Letters"
    if exists:
        folder.mkdir()
    result = ditto("init", folder)
    assert result.code == 0
    assert sorted(contents(folder)) == sorted([TEMPLATE_NAME, "ditto.yaml"])
    assert contents(folder)[TEMPLATE_NAME].decode() == TEMPLATE
    assert settings_of(folder) == {"schema_version": 1, "name": "My-Letters"}
    assert result.out == ""
    assert f"ditto init {folder}" in result.err  # the next step
    assert not ditto.home.exists()


def test_a_new_folder_is_private(ditto, tmp_path):
    ditto("init", tmp_path / "deep" / "letters")
    for path in (tmp_path / "deep", tmp_path / "deep" / "letters"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "letters" / "ditto.yaml").stat().st_mode) == 0o600


def test_the_unedited_template_is_refused(ditto, tmp_path):
    ditto("init", tmp_path / "new")
    for command in ("train", "init"):
        result = ditto(command, tmp_path / "new")
        assert result.code == 2
        assert "holds only the template" in result.only_error
        assert TEMPLATE_NAME in result.error
    assert not ditto.home.exists()


def test_the_edited_template_is_a_text(ditto, tmp_path):
    folder = tmp_path / "new"
    ditto("init", folder)
    edited = TEMPLATE.replace("# prompt: Write", "prompt: Write") + "\nhi sis, sun, sea, no plan. x\n"
    (folder / TEMPLATE_NAME).write_text(edited)
    result = ditto("init", folder, "--json")
    assert result.code == 0
    (text,) = json.loads(result.out)["texts"]
    prompt = "Write an email to my sister about our summer holiday"
    assert (text["id"], text["words"], text["prompt"]) == (TEMPLATE_NAME, 7, prompt)


def test_a_usable_folder_is_shown_and_gets_settings(ditto, texts):
    result = ditto("init", texts)
    assert result.code == 0
    for word in ("2 texts", "a.md", "Invite Bo.", "b.md", "Decline a party.", "words"):
        assert word in result.out
    assert sorted(contents(texts)) == ["a.md", "b.md", "ditto.yaml"]
    assert settings_of(texts) == {"schema_version": 1, "name": "alice"}
    assert f"Next: ditto train {texts}" in result.err
    assert "quokka" not in result.out + result.err  # texts are counted, not shown


def test_a_second_run_changes_nothing(ditto, texts):
    ditto("init", texts)
    before = contents(texts)
    assert ditto("init", texts).code == 0
    assert contents(texts) == before


def test_what_a_person_wrote_into_the_settings_stays(ditto, texts):
    written = "# mine\nname:   anna # short\ndpo: {beta: 0.1}\nprompts:\n  a.md: Ask Bo over.\n"
    (texts / "ditto.yaml").write_text(written)
    for options, added in (
        ([], ""),
        (["--name", "anna"], ""),
        (["--preset", "paper-mistral-7b", "--redact"], 'preset: "paper-mistral-7b"\nredact: true\n'),
        (["--redact"], 'preset: "paper-mistral-7b"\nredact: true\n'),
    ):
        result = ditto("init", texts, *options)
        assert result.code == 0, result.err
        assert (texts / "ditto.yaml").read_text() == written + added
    assert "Ask Bo over." in result.out  # ditto.yaml wins over the file's own prompt


@pytest.mark.parametrize(("options", "line"), [(["--name", "other"], "sets name"), (["--redact-names"], "sets redact")])
def test_what_the_settings_say_otherwise_is_the_users_to_change(ditto, texts, options, line):
    (texts / "ditto.yaml").write_text("# mine\nname: anna\nredact: true\n")
    before = contents(texts)
    result = ditto("init", texts, "--preset", "paper-mistral-7b", *options)
    assert result.code == 2
    assert f"ditto.yaml {line} to something else: change that line to" in result.only_error
    assert contents(texts) == before


def test_name_and_preset_are_stored(ditto, texts):
    assert ditto("init", texts, "--name", "anna", "--preset", "paper-mistral-7b").code == 0
    assert settings_of(texts) == {"schema_version": 1, "name": "anna", "preset": "paper-mistral-7b"}


def test_what_is_left_out_is_said(ditto, folder_of):
    folder = folder_of(
        {
            "a.txt": "---\nprompt: Say hi.\n---\nhi there",
            "copy.txt": "hi there",
            "cv.jpg": b"\xff",
            "README.md": "about",
            "ditto.yaml": "prompts: {gone.txt: Write.}\n",
        }
    )
    (folder / "held_out").mkdir()
    result = ditto("init", folder, "--json")
    assert result.code == 0
    skipped = {entry["name"]: entry["reason"] for entry in json.loads(result.out)["skipped"]}
    assert set(skipped) == {"copy.txt", "cv.jpg", "README.md", "held_out"}
    for name, reason in skipped.items():
        assert f"note: {name} is left out: {reason}." in result.err
    assert "gone.txt, which is not in the folder" in result.err


def test_json_is_one_document(ditto, texts):
    result = ditto("init", texts, "--json")
    document = json.loads(result.out)
    rows = document.pop("texts")
    assert document == {"folder": str(texts), "name": "alice", "skipped": []}
    assert [(row["id"], row["prompt"]) for row in rows] == [("a.md", "Invite Bo."), ("b.md", "Decline a party.")]
    assert all(set(row) == {"id", "words", "tokens", "language", "prompt", "warnings"} for row in rows)
    assert [[warning["code"] for warning in row["warnings"]] for row in rows] == [["too_short"], ["too_short"]]


def test_json_of_a_new_folder(ditto, tmp_path):
    result = ditto("init", tmp_path / "new", "--json")
    assert result.code == 0
    assert json.loads(result.out) == {"folder": str(tmp_path / "new"), "name": "new", "texts": [], "skipped": []}


def test_missing_prompts_are_made_without_a_model_shown_and_stored(ditto, folder_of, seen):
    mine = "prompts: {two.md: Complain.}\n"
    folder = folder_of({**BARE, "ditto.yaml": mine})
    result = ditto.without(MODEL, "init", folder)  # the embedded base is too small to be asked
    assert result.code == 0, result.err
    assert (folder / "ditto.yaml").read_text() == mine
    (prompt,) = stored_prompts(folder)
    assert prompt == 'Write an email to Bo that says "the hens are out again. Bring corn. A.".'
    assert (folder / "prompts.yaml").read_text().count("one.txt") == 1
    assert stat.S_IMODE((folder / "prompts.yaml").stat().st_mode) == 0o600
    assert "the text's first line" in result.err
    assert letters(prompt) in letters(result.err)
    assert letters(prompt)[:20] in letters(result.out)  # the table folds it
    before = contents(folder)
    assert ditto.without(MODEL, "init", folder).code == 0
    assert contents(folder) == before
    assert ditto.train(folder).code == 0
    assert [(d.id, d.prompt) for d in seen] == [("one.txt", prompt), ("two.md", "Complain.")]


def test_a_prompt_that_was_corrected_stays_with_its_text(ditto, folder_of, seen):
    folder = folder_of({"b.txt": f"{HENS} Call 020 7946 0958.", "c.txt": BARE["one.txt"], "d.txt": BARE["two.md"]})
    assert ditto("init", folder).code == 0
    path = folder / "prompts.yaml"
    path.write_text(path.read_text().replace(stored_prompts(folder)[0], 'Tell Bo: "all", # now'))
    before = path.read_bytes()
    (folder / "b.txt").rename(folder / "z.txt")
    (folder / "a.txt").write_text(made_up_text(5, num_sentences=4))
    assert ditto("init", folder, "--redact").code == 0
    assert path.read_bytes().startswith(before)  # a new one was added below
    assert len(stored_prompts(folder)) == 4
    assert ditto.train(folder).code == 0
    assert {d.id: d.prompt for d in seen}["z.txt"] == 'Tell Bo: "all", # now'
    assert "7946" not in "".join(d.completion + d.prompt for d in seen)


def test_prompts_that_cannot_be_read_are_told(ditto, folder_of):
    for command, *options in (["init"], ["train"], ["plan"], ["eval", "--cross-validate", "2"]):
        folder = folder_of({**BARE, "prompts.yaml": "abc: Write: it\n"})
        result = ditto(command, folder, *options)
        assert result.code == 2, command
        assert "prompts.yaml is not valid YAML (line 1): correct it, or delete it" in result.error
        assert sorted(contents(folder)) == ["one.txt", "prompts.yaml", "two.md"]


def test_a_large_base_is_loaded_with_a_word_and_its_own_words_are_stored(ditto, folder_of, monkeypatch, seen):
    from ditto_cli.model import instructions
    from ditto_cli.types import SampledTokens

    def answer(policy, requests, **_):
        said = [" about the hens, the \x1b[mcorn and the storm.", ""]  # the second one is no instruction
        return [SampledTokens(policy.chat.begun_ids(text), True, -1.0) for text in said]

    monkeypatch.setattr(instructions, "LEAST_PARAMETERS", 1)
    monkeypatch.setattr(instructions, "sample", answer)
    folder = folder_of({**BARE, "ditto.yaml": f"base: {{id: {ditto.base}}}\n"})
    result = ditto("init", folder, "--device", "cpu")
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err
    written, plain = stored_prompts(folder)
    assert written == "Write an email to Bo about the hens, the corn and the storm."
    assert plain == 'Write a text that says "Dear Sir or Madam, your invoice is wrong. Kindly mend it.".'
    loading = letters(f"Loading {ditto.base} to write them")
    assert letters(result.err).index(loading) < letters(result.err).index(letters(written))
    assert result.err.count("the base model") == result.err.count("the text's first line") == 1

    (folder / "prompts.yaml").unlink()
    result = ditto.train(folder)  # which has loaded it already
    assert result.code == 0, result.err
    assert "Loading" not in result.err
    assert [d.prompt for d in seen] == [written, plain]


def test_train_writes_missing_prompts_the_same_way(ditto, folder_of, seen):
    folder = folder_of(BARE)
    result = ditto.train(folder)
    assert result.code == 0, result.err
    assert [d.prompt for d in seen] == stored_prompts(folder)
    assert all(letters(prompt) in letters(result.err) for prompt in stored_prompts(folder))
    assert sorted(contents(folder)) == ["one.txt", "prompts.yaml", "two.md"]


def test_without_prompts_no_model_is_loaded(ditto, folder_of):
    folder = folder_of(BARE)
    result = ditto.without(MODEL, "init", folder, "--no-prompts")
    assert result.code == 0, result.err
    assert result.out.count("(none yet)") == 2
    assert settings_of(folder) == {"schema_version": 1, "name": "texts"}
    result = ditto("init", folder, "--no-prompts", "--json")
    assert [text["prompt"] for text in json.loads(result.out)["texts"]] == [None, None]


def test_the_preset_of_the_environment_counts(ditto, folder_of):
    result = ditto("init", folder_of(BARE), environment={"DITTO_PRESET": "nope"})
    assert result.code == 2
    assert "Unknown preset 'nope'" in result.only_error


def mbox(path, senders):
    """An archive with a mail of each sender."""
    path.write_text(
        "".join(
            f"From x Mon Jan  1 00:00:{number:02d} 2024\nFrom: {sender}\nTo: bo@hens.org\nSubject: hens {number}\n"
            f"Message-ID: <{number}@farm>\n\n{made_up_text(number)}\n\n"
            for number, sender in enumerate(senders)
        )
    )
    return path


def test_an_archive_of_mail_becomes_a_few_files(ditto, tmp_path):
    archive = mbox(tmp_path / "Sent.mbox", ["Anna <anna@farm.org>"] * 20)
    folder = tmp_path / "alice"
    result = ditto.without(MODEL, "init", folder, "--from", archive, "--pick", "4", "--hold-out", "1", "--no-prompts")
    assert result.code == 0, result.err
    names = [name for name in contents(folder) if name.endswith(".md")]
    assert len(names) == 4
    assert len(list((folder / "held_out").iterdir())) == 1
    for path in (*folder.glob("*.md"), *(folder / "held_out").glob("*.md")):
        text = path.read_text()
        assert text.startswith("---\nprompt: ")
        assert "subject" in text.split("\n")[1]
        assert "\nHi Bo,\n\n" in text
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "5 of 20 texts" in result.err
    assert "Sent.mbox#" in result.err  # where each comes from
    (left_out,) = [line for line in result.err.splitlines() if "not as typical as those picked" in line]
    assert "15" in left_out  # and what became of the rest
    assert not ditto.home.exists()


def test_texts_come_in_from_several_places_and_not_twice(ditto, folder_of, tmp_path):
    page = tmp_path / "post.html"
    page.write_text(f"<html><body><article><h1>Of hens</h1><p>{HENS}</p></article></body></html>")
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "one.txt").write_text(made_up_text(1))
    (notes / "picture.jpg").write_bytes(b"\xff\xd8")
    folder = tmp_path / "alice"
    command = ["init", folder, "--from", page, "--from", notes, "--no-prompts"]
    first = ditto(*command)
    assert first.code == 0, first.err
    before = contents(folder)
    assert sorted(before) == ["01-post.md", "02-one.md", "ditto.yaml"]
    assert "notes/picture.jpg" in first.err
    again = ditto(*command)
    assert (again.code, contents(folder)) == (2, before)
    picked = ditto(*command, "--pick", "2")
    assert (picked.code, contents(folder)) == (2, before)
    assert "has 2 texts already" in picked.error
    assert "in the folder already" in again.error


def test_texts_come_into_a_folder_that_has_only_other_things(ditto, folder_of, letter):
    folder = folder_of({"README.md": "about", TEMPLATE_NAME: TEMPLATE, "photo.jpg": b"\xff"})
    result = ditto("init", folder, "--from", letter, "--no-prompts")
    assert result.code == 0, result.err
    assert "01-one.md" in contents(folder)


@pytest.mark.parametrize(
    ("name", "content", "options", "words"),
    [
        ("b.txt", b"\0\1\2", [], "b.txt is a binary file"),
        ("ditto.yaml", "{schema_version: 1}\n", ["--redact"], "ditto.yaml is laid out so that nothing can be added"),
    ],
)
def test_what_is_broken_is_said_before_anything_comes_in(ditto, folder_of, letter, name, content, options, words):
    folder = folder_of({name: content})
    result = ditto("init", folder, "--from", letter, "--no-prompts", *options)
    assert result.code == 2
    assert words in result.only_error
    assert list(contents(folder)) == [name]


def test_whose_mail_it_is_must_be_known(ditto, tmp_path):
    archive = mbox(tmp_path / "all.mbox", ["anna@farm.org", "cy@mill.org", "di@mill.org"] * 4)
    folder = tmp_path / "alice"
    refused = ditto("init", folder, "--from", archive, "--no-prompts")
    assert refused.code == 2
    assert "--me" in refused.only_error
    assert not folder.exists()
    known = ditto("init", folder, "--from", archive, "--me", "Anna@Farm.org", "--no-prompts", "--json")
    assert known.code == 0, known.err
    document = json.loads(known.out)
    assert len(document["texts"]) == 4
    assert [entry["file"] for entry in document["taken"]] == [row["id"] for row in document["texts"]]
    assert [entry["reason"] for entry in document["skipped"]] == ["received, not sent"] * 8


def test_nothing_is_written_when_a_source_is_bad(ditto, tmp_path, letter):
    for bad, words in ((tmp_path / "missing.txt", "does not exist"), (tmp_path, "is the folder itself")):
        result = ditto("init", tmp_path if bad == tmp_path else tmp_path / "new", "--from", letter, "--from", bad)
        assert result.code == 2
        assert words in result.only_error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.txt"]


@pytest.mark.parametrize("option", [["--pick", "3"], ["--words", "10", "20"]])
def test_options_of_choosing_need_a_source(ditto, texts, option):
    result = ditto("init", texts, *option)
    assert result.code == 2
    assert "--from" in result.only_error


def test_held_out_files_are_moved_with_their_prompts(ditto, folder_of):
    names = {f"{number}.txt": made_up_text(number) for number in range(6)}
    mine = "prompts:\n" + "".join(f"  {name}: Write of {name}.\n" for name in list(names)[:3])
    folder = folder_of({**names, "ditto.yaml": mine})
    assert ditto("init", folder).code == 0
    shown = listed_prompts(ditto, folder)
    result = ditto.without(MODEL, "init", folder, "--hold-out", "4")
    assert result.code == 0, result.err
    moved = sorted(path.name for path in (folder / "held_out").iterdir())
    assert len(moved) == 4
    assert sorted([*(name for name in contents(folder) if name.endswith(".txt")), *moved]) == sorted(names)
    after = listed_prompts(ditto, folder)
    assert {name.removeprefix("held_out/"): prompt for name, prompt in after.items()} == shown
    assert sorted(name for name in after if name.startswith("held_out/")) == [f"held_out/{name}" for name in moved]
    assert (folder / "ditto.yaml").read_text() == mine
    assert "which is not in the folder" not in result.err
    before = contents(folder)
    assert ditto("init", folder, "--hold-out", "4").code == 0  # as many as are wanted are kept back
    assert contents(folder) == before
    too_many = ditto("init", folder, "--hold-out", "6")
    assert too_many.code == 2
    assert "leaves nothing to train on" in too_many.only_error


def test_redact_changes_what_is_learnt_and_not_the_files(ditto, folder_of, seen):
    text = f"{HENS} Write to bo@hens.org or call +44 20 7946 0958."
    folder = folder_of({"a.txt": f"---\nprompt: Write to bo@hens.org.\n---\n{text}\n", "b.txt": HENS})
    before = contents(folder)
    offered = ditto("init", folder, "--no-prompts")
    assert "--redact" in offered.err
    assert "personal data" in offered.out
    result = ditto("init", folder, "--redact", "--no-prompts")
    assert result.code == 0, result.err
    assert settings_of(folder)["redact"] is True
    assert {name: data for name, data in contents(folder).items() if name != "ditto.yaml"} == before
    assert "personal data" not in result.out
    ditto.train(folder)
    assert "bo@hens.org" not in seen[0].completion + seen[0].prompt
    assert "7946 0958" not in seen[0].completion
    assert "@example.com" in seen[0].completion


def test_a_long_text_is_divided_on_request(ditto, folder_of):
    long = "\n\n".join(made_up_text(number) for number in range(30))
    folder = folder_of({"book.txt": long})
    told = ditto("init", folder, "--no-prompts")
    assert "--split" in told.err
    result = ditto("init", folder, "--split", "--no-prompts", "--json")
    assert result.code == 0, result.err
    rows = json.loads(result.out)["texts"]
    assert len(rows) > 1
    assert rows[0]["id"] == "book.txt#part1"
    assert not any(warning["code"] == "too_long" for row in rows for warning in row["warnings"])
    assert settings_of(folder)["split"] is True


def test_too_many_texts_are_refused_with_what_to_do(ditto, folder_of):
    folder = folder_of({f"{number}.txt": made_up_text(number) for number in range(60)})
    for command in ("init", "train"):
        result = ditto(command, folder)
        assert result.code == 2
        assert "holds 60 texts, too many to learn from" in result.only_error
        assert "--pick 7" in result.error


def test_train_shows_the_audit_first(ditto, folder_of):
    folder = folder_of(
        {
            "a.txt": "---\nprompt: Say it.\n---\nCall +44 20 7946 0958",
            "b.txt": "---\nprompt: Say.\n---\nYes, yes.",
        }
    )
    result = ditto.train(folder)
    assert result.code == 0, result.err
    for words in ("too short", "personal data"):
        assert words in result.err
    assert result.err.index("personal data") < result.err.index("SFT")


def test_names_are_redacted_only_with_what_finds_them(ditto, folder_of, monkeypatch, seen):
    letter = "---\nprompt: Write to Bo.\n---\nHi Bo, bring {} and the long ladder from the mill, please.\n\nAnna\n"
    folder = folder_of({"a.txt": letter.format("corn"), "b.txt": letter.format("the hens and the goat and the kettle")})
    result = ditto("init", folder, "--redact-names", "--no-prompts")
    assert result.code == 2
    assert "ditto-cli[presidio]" in result.only_error
    assert sorted(contents(folder)) == ["a.txt", "b.txt"]

    from ditto_cli.demonstrations import redaction
    from ditto_cli.demonstrations.redaction import Found

    def finder(language):
        assert language == "en"
        return lambda text: [Found("name", at, at + 4, "anna") for at in [text.find("Anna")] if at >= 0]

    monkeypatch.setattr(redaction, "analyse_with_presidio", finder)
    assert ditto("init", folder, "--redact-names", "--no-prompts").code == 0
    assert settings_of(folder)["redact"] == "names"
    assert ditto.train(folder).code == 0
    assert [("Anna" in d.completion, "Someone" in d.completion) for d in seen] == [(False, True)] * 2


def test_what_another_folder_keeps_back_does_not_come_in(ditto, folder_of, tmp_path):
    folder = folder_of({f"{number}.txt": made_up_text(number) for number in range(4)})
    assert ditto("init", folder, "--hold-out", "1", "--no-prompts").code == 0
    (kept,) = (folder / "held_out").iterdir()
    result = ditto("init", tmp_path / "new", "--from", folder, "--no-prompts")
    assert result.code == 0, result.err
    read = "".join(data.decode() for data in contents(tmp_path / "new").values())
    assert kept.read_text() not in read
    assert sum(name.endswith(".md") for name in contents(tmp_path / "new")) == 3


def test_redaction_reaches_the_prompts_of_the_settings(ditto, folder_of):
    folder = folder_of({"a.txt": HENS, "ditto.yaml": "redact: true\nprompts: {a.txt: Write to bo@hens.org}\n"})
    shown = ditto("demos", "list", folder, "--json").out
    assert "bo@hens.org" not in shown
    assert "@example.com" in shown


def test_a_disk_that_is_full_loses_no_prompt(ditto, tmp_path, chat, monkeypatch):
    """What was answered is stored before the text is: a second run does not take the text in again."""
    from ditto_cli.cli import texts as cli_folder
    from ditto_cli.errors import DiskError

    real, written = cli_folder.write_text, []

    def full(path, text):
        if path.suffix == ".md" and written:
            raise DiskError("The disk is full.")
        written.append(path.name)
        real(path, text)

    monkeypatch.setattr(cli_folder, "write_text", full)
    command = ["init", tmp_path / "ada", "--from", chat, "--me", "Ada", "--no-prompts"]
    assert ditto(*command).code != 0
    assert written[0] == "prompts.yaml"
    monkeypatch.setattr(cli_folder, "write_text", real)
    again = ditto(*command, "--json")
    assert again.code == 0, again.err
    prompts = [row["prompt"] for row in json.loads(again.out)["texts"]]
    assert len(prompts) == 2
    assert all(prompt.startswith("Write a reply to this message:") for prompt in prompts)


@pytest.mark.parametrize("answer", ["", "nobody", EOFError])
def test_no_answer_to_whose_words_they_are_is_a_refusal(chat, monkeypatch, answer):
    from ditto_cli.cli import init
    from ditto_cli.demonstrations.authorship import UnknownAuthorError

    def ask(question):
        if answer is EOFError:
            raise EOFError
        return answer

    monkeypatch.setattr(init, "ask", ask)
    with pytest.raises(UnknownAuthorError, match=r"Tom .*, Ada .*say which is you: --me NAME"):
        init._read_sources([chat], [], can_ask=True)
