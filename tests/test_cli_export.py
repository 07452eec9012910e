"""`ditto export` and voices with a strength: what is written, what is refused, and that it writes the same there."""

import json

import pytest

from ditto_cli.errors import InputError
from ditto_cli.voices import Voice

pytest_plugins = ["cli_helpers"]

SHORT = ["--max-tokens", "12", "--seed", "1", "--json"]


def texts_of(result):
    assert result.code == 0, result.err
    return [entry["text"] for entry in json.loads(result.out)["samples"]]


@pytest.mark.parametrize(
    ("text", "voice"),
    [
        ("alice", Voice("alice")),
        ("alice:sft", Voice("alice", "sft")),
        ("alice:1", Voice("alice", "1")),  # a round
        ("alice:1.0", Voice("alice")),
        ("alice:0.6", Voice("alice", None, 0.6)),
        ("alice:.5", Voice("alice", None, 0.5)),
        ("alice:round2:1.25", Voice("alice", "round2", 1.25)),
        ("a:0.7+b:2:0.3", Voice("a", None, 0.7, (Voice("b", "2", 0.3),))),
        ("base", Voice("base")),
    ],
)
def test_voices_are_read_from_words(text, voice):
    assert Voice.parse(text) == voice
    assert Voice.parse(voice.title) == voice


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "name is missing"),
        ("alice+", "name is missing"),
        ("alice:2.5", "between 0.0, which is the base, and 2.0"),
        ("base:sft", "the base has no stages and no strength"),
        ("base:0.5", "the base has no stages and no strength"),
        ("alice+base", "the base is in every mix already"),
        ("alice:sft:x", "a voice is written NAME, NAME:STAGE"),
    ],
)
def test_words_that_are_no_voice_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        Voice.parse(text)


def test_a_stage_given_beside_the_words_counts_where_they_name_none():
    assert Voice.parse("a+b:sft", "1") == Voice("a", "1", 1.0, (Voice("b", "sft"),))


def test_strength_goes_from_the_base_to_the_adapter(trained):
    names = "base,alice:0.0,alice,alice:0.5+alice:0.5,alice:0.5"
    base, none, whole, halves, half = texts_of(trained("sample", "--compare", names, *SHORT, "hi"))
    assert base == none
    assert whole == halves
    assert half not in (base, whole)


def test_a_mix_is_neither_of_its_parts(trained):
    mixed, alice, bob = texts_of(trained("sample", "--compare", "alice:0.5+bob:0.5,alice,bob", *SHORT, "hi"))
    assert len({mixed, alice, bob}) == 3
    result = trained("sample", "--compare", "alice:0.5+bob:0.5,alice:0.25", *SHORT, "hi")
    assert [sample["voice"] for sample in json.loads(result.out)["samples"]] == ["alice:0.5+bob:0.5", "alice:0.25"]


def test_a_mix_is_not_evaluated_as_its_texts_would_belong_to_several(trained):
    result = trained("eval", "--adapter", "alice", "--against", "alice:0.5+bob:0.5")
    assert result.code == 2
    assert "a mix is not evaluated" in result.error


def test_gguf_holds_the_adapter_a_recipe_and_the_base_where_it_is_asked_for(trained, tmp_path):
    result = trained("export", "alice", "--to", "gguf", "--out", tmp_path / "out", "--no-check")
    assert result.code == 0, result.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Modelfile", "alice.gguf"]
    assert "put" in result.err
    assert "as base.gguf" in result.err
    assert result.out.splitlines()[0].startswith("llama-server -m ")
    recipe = (tmp_path / "out" / "Modelfile").read_text().splitlines()
    assert recipe[:2] == ["FROM ./base.gguf", "ADAPTER ./alice.gguf"]
    assert "PARAMETER top_k 0" in recipe
    again = trained("export", "alice", "--to", "gguf", "--out", tmp_path / "out", "--no-check")
    assert again.code == 2
    assert "is already there" in again.error
    whole = ("--out", tmp_path / "whole", "--with-base", "f16")
    result = trained("export", "alice", "--to", "gguf", *whole, "--no-check")
    assert result.code == 0, result.err
    assert (tmp_path / "whole" / "base-f16.gguf").exists()
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_peft_folder_holds_the_weights_of_the_voice_and_no_text(trained, tmp_path):
    from ditto_cli.model.policy.lora import mix, read_lora

    result = trained("export", "alice:sft:0.5", "--to", "peft", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    found, own = read_lora(tmp_path / "out"), read_lora(trained.stage("alice", "sft"))
    expected = mix([(own, 0.5)])
    assert found.config.r == expected.config.r
    assert all((found.weights[key] == value).all() for key, value in expected.weights.items())
    card = (tmp_path / "out" / "README.md").read_text()
    assert "alice:sft:0.5" in card
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").iterdir())
    assert b"quokka" not in everything


def test_what_a_killed_export_left_goes_with_the_next(trained, tmp_path):
    left = tmp_path / ".exporting-here"
    left.mkdir()
    (left / "adapter_model.safetensors").write_bytes(b"half")
    assert trained("export", "alice", "--to", "peft", "--out", tmp_path / "here").code == 0
    assert (tmp_path / "here").is_dir()
    assert not left.exists()


def test_vllm_gets_a_folder_and_a_command_for_this_machine_alone(trained, tmp_path):
    result = trained("export", "alice", "--to", "vllm", "--out", tmp_path / "out")
    assert result.code == 0, result.err
    command = result.out.split()
    assert command[:3] == ["VLLM_NO_USAGE_STATS=1", "vllm", "serve"]
    assert command[command.index("--host") + 1] == "127.0.0.1"
    assert command[command.index("--max-lora-rank") + 1] == "16"
    assert command[command.index("--lora-modules") + 1] == f"alice={tmp_path / 'out'}"


def test_a_merged_folder_writes_what_the_adapter_writes(trained, tmp_path):
    result = trained("export", "alice:0.8", "--to", "merged", "--out", tmp_path / "out", "--check")
    assert result.code == 0, result.err
    assert "tokens are the same" in result.err
    assert (tmp_path / "out" / "tokenizer.json").exists()


def test_a_check_that_fails_keeps_nothing(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("ditto_cli.exchange.parity.SLACK", -1.0)
    result = trained("export", "alice", "--to", "merged", "--out", tmp_path / "out", "--check")
    assert result.code == 3
    assert "does not write what the adapter writes here, so it was not kept" in result.error
    assert not any(tmp_path.glob("*out*"))
    assert not any(tmp_path.glob(".exporting*"))


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nobody", "--to", "peft"), 2, "Unknown adapter 'nobody'"),
        (("base", "--to", "peft"), 2, "name an adapter"),
        (("alice+nobody", "--to", "peft"), 2, "Unknown adapter 'nobody'"),
        (("alice:0.5", "--to", "ditto"), 2, "as it was trained"),
        (("alice", "--to", "peft", "--with-base", "f16"), 2, "--with-base goes with --to gguf"),
        (("alice", "--to", "vllm", "--check"), 2, "--check goes with --to gguf or merged"),
        (("alice", "--to", "gguf", "--check"), 2, "--check needs the base as GGUF: add --with-base f16"),
        (("alice", "--to", "peft", "--force"), 2, "--force goes with --to ditto"),
        (("alice", "--to", "hub"), 2, "--repository USER/REPO"),
        (("alice", "--to", "hub", "--repository", "me/alice"), 2, "say --yes where nobody can be asked"),
        (("alice", "--to", "peft", "--out", "/nowhere/at/all"), 4, "cannot be written to"),
    ],
)
def test_what_cannot_be_exported_is_refused_in_one_line(trained, arguments, code, words):
    result = trained("export", *arguments)
    assert result.code == code, result.err
    assert words in result.error


def test_the_hub_gets_a_private_repository_with_the_folder_of_peft(trained, monkeypatch):
    calls = []

    class Hub:
        def create_repo(self, name, **settings):
            calls.append(("create", name, settings))

        def repo_info(self, name):
            return type("Info", (), {"private": name != "me/public"})

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            from pathlib import Path

            calls.append(("upload", repo_id, sorted(path.name for path in Path(folder_path).iterdir())))

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    result = trained("export", "alice", "--to", "hub", "--repository", "me/alice", "--yes")
    assert result.code == 0, result.err
    assert calls == [
        ("create", "me/alice", {"private": True, "exist_ok": True}),
        ("upload", "me/alice", ["README.md", "adapter_config.json", "adapter_model.safetensors"]),
    ]
    assert "This sends the adapter's weights" in result.err
    calls.clear()
    public = trained("export", "alice", "--to", "hub", "--repository", "me/public", "--yes")
    assert public.code == 2
    assert "is public, so nothing was sent" in public.error
    assert [call[0] for call in calls] == ["create"]
