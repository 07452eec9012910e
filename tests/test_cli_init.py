"""`ditto init`: what it finds in a folder, what it writes into ditto.yaml, and what it leaves alone."""

import json
import stat

import pytest
import yaml

from ditto_cli.demonstrations import TEMPLATE_NAME, template_text

pytest_plugins = ["cli_helpers"]

BARE = {
    "one.txt": "Hi Bo,\n\nthe hens are out again. Bring corn.\n\nA.\n",
    "two.md": "Dear Sir or Madam, your invoice is wrong. Kindly mend it.\n",
}
MODEL = "torch,transformers,peft,trl,datasets"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def settings_of(folder):
    return yaml.safe_load((folder / "ditto.yaml").read_text())


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_texts_gets_a_template_and_settings(ditto, tmp_path, exists):
    folder = tmp_path / "My Letters"
    if exists:
        folder.mkdir()
    result = ditto("init", folder)
    assert result.code == 0
    assert sorted(contents(folder)) == sorted([TEMPLATE_NAME, "ditto.yaml"])
    assert contents(folder)[TEMPLATE_NAME].decode() == template_text()
    assert settings_of(folder) == {"schema_version": 1, "name": "My-Letters"}
    assert result.out == ""
    assert f"ditto init {folder}" in result.err  # the next step
    assert not ditto.home.exists()


def test_a_new_folder_is_private(ditto, tmp_path):
    ditto("init", tmp_path / "deep" / "letters")
    for path in (tmp_path / "deep", tmp_path / "deep" / "letters"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "deep" / "letters" / "ditto.yaml").stat().st_mode) == 0o600


def test_hidden_files_do_not_make_a_folder_full(ditto, folder_of):
    folder = folder_of({".DS_Store": b"\0\1"})
    assert ditto("init", folder).code == 0
    assert sorted(contents(folder)) == sorted([".DS_Store", TEMPLATE_NAME, "ditto.yaml"])


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
    edited = template_text().replace("# prompt: Write", "prompt: Write") + "\nhi sis, sun, sea, no plan. x\n"
    (folder / TEMPLATE_NAME).write_text(edited)
    result = ditto("init", folder, "--json")
    assert result.code == 0
    (text,) = json.loads(result.out)["texts"]
    assert text == {"id": TEMPLATE_NAME, "words": 7, "prompt": "Write an email to my sister about our summer holiday"}


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
    result = ditto("init", texts, "--name", "other", "--preset", "paper-mistral-7b")
    assert result.code == 0
    assert (texts / "ditto.yaml").read_text() == written + 'preset: "paper-mistral-7b"\n'
    assert "Ask Bo over." in result.out  # ditto.yaml wins over the file's own prompt


def test_name_and_preset_are_stored(ditto, texts):
    assert ditto("init", texts, "--name", "anna", "--preset", "paper-mistral-7b").code == 0
    assert settings_of(texts) == {"schema_version": 1, "name": "anna", "preset": "paper-mistral-7b"}


def test_what_is_left_out_is_said(ditto, folder_of):
    folder = folder_of(
        {
            "a.txt": "---\nprompt: Say hi.\n---\nhi there",
            "copy.txt": "hi there",
            "cv.pdf": b"%PDF",
            "README.md": "about",
            "ditto.yaml": "prompts: {gone.txt: Write.}\n",
        }
    )
    (folder / "held_out").mkdir()
    result = ditto("init", folder, "--json")
    assert result.code == 0
    skipped = {entry["name"]: entry["reason"] for entry in json.loads(result.out)["skipped"]}
    assert set(skipped) == {"copy.txt", "cv.pdf", "README.md", "held_out"}
    for name, reason in skipped.items():
        assert f"note: {name} is left out: {reason}." in result.err
    assert "gone.txt, which is not in the folder" in result.err


def test_json_is_one_document(ditto, texts):
    result = ditto("init", texts, "--json")
    assert json.loads(result.out) == {
        "folder": str(texts),
        "name": "alice",
        "texts": [
            {"id": "a.md", "words": 10, "prompt": "Invite Bo."},
            {"id": "b.md", "words": 9, "prompt": "Decline a party."},
        ],
        "skipped": [],
    }


def test_json_of_a_new_folder(ditto, tmp_path):
    result = ditto("init", tmp_path / "new", "--json")
    assert result.code == 0
    assert json.loads(result.out) == {"folder": str(tmp_path / "new"), "name": "new", "texts": [], "skipped": []}


def test_missing_prompts_are_written_by_the_base_shown_and_stored(ditto, folder_of, monkeypatch):
    folder = folder_of({**BARE, "ditto.yaml": f"base: {{id: {ditto.base}}}\nprompts: {{two.md: Complain.}}\n"})
    result = ditto("init", folder, "--device", "cpu")
    assert result.code == 0, result.err
    prompts = settings_of(folder)["prompts"]
    assert set(prompts) == {"one.txt", "two.md"}
    assert prompts["two.md"] == "Complain."  # never written over
    # A random model answers nothing usable, so the text's first line is taken, and that is said.
    assert prompts["one.txt"] == 'Write an email that begins with "Hi Bo,".'
    assert "the text's first line" in result.err
    assert prompts["one.txt"] in result.err
    assert prompts["one.txt"] in result.out
    before = contents(folder)
    assert ditto.without(MODEL, "init", folder).code == 0  # nothing is missing any more: no model
    assert contents(folder) == before

    seen = spy_on_training(monkeypatch)
    assert ditto.train(folder).code == 0
    assert [(d.id, d.prompt) for d in seen] == [("one.txt", prompts["one.txt"]), ("two.md", "Complain.")]


def test_the_bases_own_words_are_stored(ditto, folder_of, monkeypatch):
    from ditto_cli.model.chat import ChatFormat

    monkeypatch.setattr(
        ChatFormat, "text", lambda self, ids: "Write to Bo about the hens, the invoice and \x1b[31mcorn."
    )
    folder = folder_of({**BARE, "ditto.yaml": f"base: {{id: {ditto.base}}}\n"})
    result = ditto("init", folder, "--device", "cpu")
    assert result.code == 0, result.err
    assert "\x1b" not in result.out + result.err
    stored = settings_of(folder)["prompts"]
    assert stored == dict.fromkeys(["one.txt", "two.md"], "Write to Bo about the hens, the invoice and [31mcorn.")
    assert all(letters(prompt) in letters(result.out) for prompt in stored.values())
    assert result.err.count("the base model") >= 2


def test_train_writes_missing_prompts_the_same_way(ditto, folder_of, monkeypatch):
    folder = folder_of(BARE)
    seen = spy_on_training(monkeypatch)
    result = ditto.train(folder)
    assert result.code == 0, result.err
    stored = settings_of(folder)["prompts"]
    assert {d.id: d.prompt for d in seen} == stored
    assert all(letters(prompt) in letters(result.err) for prompt in stored.values())


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


def letters(text):
    """The text without spaces, signs and the lines of a table, which folds long cells."""
    return "".join(character for character in text if character.isalnum())


def spy_on_training(monkeypatch):
    """The demonstrations that a training is given."""
    from ditto_cli.method import train

    seen, real = [], train.train_ditto

    def spy(policy, job, *rest):
        seen.extend(job.demonstrations)
        return real(policy, job, *rest)

    monkeypatch.setattr(train, "train_ditto", spy)
    return seen
