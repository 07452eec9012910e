"""`ditto sample`: texts on stdout, voices side by side over one base, a conversation, and bases that do not belong."""

import json
import shutil

import pytest

pytest_plugins = ["cli_helpers"]

SHORT = ["--max-tokens", "12", "--seed", "1"]


@pytest.fixture
def loads(monkeypatch):
    """The bases that are loaded, and the adapters that are read, in order."""
    from ditto_cli.model.base import loading
    from ditto_cli.model.policy import lora

    seen = {"bases": [], "adapters": []}
    load_source, read_lora = loading.load_source, lora.read_lora

    def base_spy(source, *arguments, **keywords):
        seen["bases"].append(source.id)
        return load_source(source, *arguments, **keywords)

    def adapter_spy(folder):
        seen["adapters"].append(f"{folder.parents[2].name}/{folder.name}")
        return read_lora(folder)

    monkeypatch.setattr(loading, "load_source", base_spy)
    monkeypatch.setattr(lora, "read_lora", adapter_spy)
    return seen


@pytest.fixture
def words(monkeypatch):
    """Let every text be readable: its number of tokens, and who spoke is seen by the loads."""
    monkeypatch.setattr("ditto_cli.cli.sample.Session.text", lambda self, tokens: f"<{len(tokens.token_ids)} tokens>")


def texts_of(result):
    assert result.code == 0, result.err
    return [entry["text"] for entry in json.loads(result.out)["samples"]]


def test_stdout_is_the_text_and_nothing_else(trained, words):
    result = trained("sample", "--adapter", "alice", *SHORT, "Write to Bo.")
    assert (result.code, result.out) == (0, "<12 tokens>\n")
    note = "note: a text was cut at the length limit; --max-tokens raises it."
    assert result.err.splitlines() == [note, "hosts contacted: none"]


def test_a_single_adapter_need_not_be_named(trained, words, loads):
    trained("adapters", "rm", "bob", "--yes")
    assert trained("sample", *SHORT, "hi").out == "<12 tokens>\n"
    assert loads["adapters"] == ["alice/round1"]


def test_a_dash_reads_the_prompt_from_stdin(trained):
    # As Windows pipes it: with a byte-order mark.
    piped = trained("sample", "--adapter", "alice", *SHORT, "--json", "-", stdin="\ufeffWrite to Bo.\n")
    given = trained("sample", "--adapter", "alice", *SHORT, "--json", "Write to Bo.")
    assert json.loads(piped.out)["prompt"] == "Write to Bo."
    assert piped == given


def test_several_texts_as_json_are_the_same_for_the_same_seed(trained):
    command = ["sample", "--adapter", "alice", "--num", "3", "--max-tokens", "12", "--json", "hi"]
    first, again = (texts_of(trained(*command, "--seed", "4")) for _ in range(2))
    assert len(set(first)) == 3
    assert first == again != texts_of(trained(*command, "--seed", "5"))
    # The first of three is the one that a single text would have been.
    assert texts_of(trained(*command[:3], *command[5:], "--seed", "4")) == first[:1]


def test_json_tells_all_that_is_needed_to_repeat_it(trained):
    result = trained("sample", "--compare", "base,alice:sft", "--max-tokens", "12", "--json", "hi")
    document = json.loads(result.out)
    assert set(document) == {"prompt", "seed", "samples"}
    assert [(entry["adapter"], entry["stage"]) for entry in document["samples"]] == [("base", None), ("alice", "sft")]
    keys = {"adapter", "stage", "voice", "text", "ended", "tokens", "best_of"}
    assert all(set(entry) == keys for entry in document["samples"])
    repeated = trained(
        "sample", "--compare", "base,alice:sft", "--max-tokens", "12", "--json", "--seed", document["seed"], "hi"
    )
    assert repeated.out == result.out
    assert result.err == "hosts contacted: none\n"


def test_the_best_of_several_is_one_of_them_and_num_counts_what_is_given(trained, monkeypatch):
    command = ["sample", "--adapter", "alice", *SHORT, "--json", "hi"]
    drafts = texts_of(trained(*command, "--num", "6"))
    worths = dict(zip(drafts, (0.1, 0.5, 0.2, 0.0, 0.3, 0.0), strict=True))
    monkeypatch.setattr(
        "ditto_cli.evaluation.appraisal.Appraiser.worth", lambda self, prompt, writing: worths[writing.text]
    )
    assert texts_of(trained(*command, "--best-of", "6")) == [drafts[1]]
    result = trained(*command, "--num", "2", "--best-of", "3")
    assert texts_of(result) == [drafts[1], drafts[4]]
    assert [entry["best_of"] for entry in json.loads(result.out)["samples"]] == [3, 3]
    shown = trained("sample", "--adapter", "alice", *SHORT, "--best-of", "6", "hi")
    assert "alice: the best of 6 in style and task." in shown.err
    assert "best of" not in shown.out


def test_texts_at_hand_stand_before_the_prompt_the_nearest_last(trained, monkeypatch):
    from ditto_cli.model.base.template import ChatFormat

    asked, conversation_ids = [], ChatFormat.conversation_ids

    def spy(self, turns):
        asked.append([text for role, text in turns if role == "user"])
        return conversation_ids(self, turns)

    monkeypatch.setattr(ChatFormat, "conversation_ids", spy)
    command = ["sample", "--adapter", "alice", *SHORT, "--json", "Invite Di."]
    plain = texts_of(trained(*command))
    assert {len(turns) for turns in asked} == {1}
    assert texts_of(trained(*command, "--with-texts", "2")) != plain
    assert asked[-1] == ["Decline a party.", "Invite Bo.", "Invite Di."]
    trained(*command, "--with-texts", "1")
    assert asked[-1] == ["Invite Bo.", "Invite Di."]


def test_the_base_beside_an_adapter_writes_as_it_is(trained):
    result = trained("sample", "--compare", "base,alice", *SHORT, "--best-of", "3", "--with-texts", "1", "--json", "hi")
    assert [entry["best_of"] for entry in json.loads(result.out)["samples"]] == [1, 3]


def test_where_the_texts_are_gone_it_is_said(ditto, texts, tmp_path):
    assert ditto.train(texts, "--name", "alice").code == 0
    shutil.move(texts, tmp_path / "elsewhere")
    for option in ("--best-of", "--with-texts"):
        result = ditto("sample", "--adapter", "alice", *SHORT, option, "2", "hi")
        assert (result.code, "texts that alice learnt from are not where they were" in result.error) == (2, True)


def test_an_adapter_that_chooses_by_its_settings_goes_on_without_its_texts(ditto, texts, tmp_path):
    assert ditto.train(texts, "--name", "cleo", "--set", "sampling.best_of=2").code == 0
    command = ["sample", "--adapter", "cleo", *SHORT, "hi"]
    assert "cleo: the best of 2" in ditto(*command).err
    shutil.move(ditto.record("cleo").folder, tmp_path / "elsewhere")
    result = ditto(*command)
    assert result.code == 0
    assert "cleo learnt from are not where they were" in result.err


def test_several_texts_have_a_rule_between_them(trained, words):
    result = trained("sample", "--adapter", "alice", "--num", "2", *SHORT, "hi")
    assert result.out == "<12 tokens>\n\n---\n\n<12 tokens>\n"


def test_voices_side_by_side_share_one_base(trained, loads):
    result = trained("sample", "--compare", "base,alice,bob", *SHORT, "hi")
    assert result.code == 0
    assert any(all(title in line for title in ("base", "alice", "bob")) for line in result.out.splitlines())
    assert loads == {"bases": [str(trained.base)], "adapters": ["alice/round1", "bob/round1"]}


def test_comparing_changes_no_voice(trained):
    how = (*SHORT, "--quantize", "none", "--json", "hi")  # alone, the base is as the machine's preset has it
    together = texts_of(trained("sample", "--compare", "base,alice,bob:sft,alice", *how))
    alone = [
        texts_of(trained("sample", "--adapter", voice, "--base", trained.base, *how))[0]
        for voice in ("base", "alice", "bob:sft")
    ]
    assert together == alone  # the repeated voice is shown once


@pytest.mark.parametrize("arguments", [["--adapter", "alice", "--round", "sft"], ["--adapter", "alice:sft"]])
def test_a_stage_by_option_or_by_name(trained, loads, words, arguments):
    assert trained("sample", *arguments, *SHORT, "hi").code == 0
    assert loads["adapters"] == ["alice/sft"]


@pytest.mark.parametrize("stage", ["1", "round1"])
def test_a_round_by_number(trained, loads, words, stage):
    assert trained("sample", "--adapter", "alice", "--round", stage, *SHORT, "hi").code == 0
    assert loads["adapters"] == ["alice/round1"]


def test_the_length_limit_and_temperature_of_the_training_are_the_defaults(trained, monkeypatch):
    seen = {}

    def spy(policy, requests, **options):
        seen.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr("ditto_cli.model.policy.sampling.sample", spy)
    trained("sample", "--adapter", "alice", "hi")
    record = trained.record("alice")
    assert seen == {"max_new_tokens": record.max_new_tokens, "temperature": record.settings.sampling.temperature}
    trained("sample", "--adapter", "alice", "--temperature", "0", "--max-tokens", "7", "hi")
    assert seen == {"max_new_tokens": 7, "temperature": 0}


def test_a_text_never_outgrows_the_bases_context(trained):
    document = json.loads(trained("sample", "--adapter", "alice", "--max-tokens", "2000", "--json", "word " * 90).out)
    assert document["samples"][0]["tokens"] < 512 - 450


def test_what_a_model_writes_is_made_visible(trained, monkeypatch):
    monkeypatch.setattr(
        "ditto_cli.cli.sample.Session.text", lambda self, tokens: "\x1b[31mred\x07 \u202eoff\x9b1m 👩\u200d💻"
    )
    seen = "\\x1b[31mred\\x07 \\u202eoff\\x9b1m 👩\u200d💻"
    assert trained("sample", "--adapter", "alice", *SHORT, "hi").out == seen + "\n"
    assert seen in trained("sample", "--compare", "base,alice", *SHORT, "hi").out
    document = trained("sample", "--adapter", "alice", "--json", *SHORT, "hi").out
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(document)
    assert json.loads(document)["samples"][0]["text"] == "\x1b[31mred\x07 \u202eoff\x9b1m 👩\u200d💻"
    assert seen in trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="hi\n").out


# --- a conversation


def test_a_conversation(trained, loads, words):
    lines = [
        "hello",
        "/adapter bob",
        "again",
        "/round sft",
        "again",
        "/adapter base",
        "again",
        "/retry",
        "",
        "/quit",
        "never",
    ]
    result = trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="\n".join(lines))
    assert result.code == 0, result.err
    assert result.out == "<12 tokens>\n" * 5
    assert loads == {"bases": [str(trained.base)], "adapters": ["alice/round1", "bob/round1", "bob/sft"]}
    said = [line[line.index("Writing as") :] for line in result.err.splitlines() if "Writing as" in line]
    assert [line.split(".")[0] for line in said] == [f"Writing as {who}" for who in ("alice", "bob", "bob:sft", "base")]
    assert "bob:sft> " in result.err  # the prompt says who speaks


def test_retry_writes_another_text(trained):
    result = trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="hello\n/retry\n")
    first, second = result.out.splitlines()
    assert first != second
    again = trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="hello\n/retry\n")
    assert again.out == result.out  # with --seed the whole conversation can be repeated


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("/adapter alicea", "note: Unknown adapter 'alicea': did you mean alice or bob?"),
        ("/adapter", "note: An adapter's name is missing"),
        ("/round 9", "note: Adapter 'alice' has no stage '9': it has sft, round1."),
        ("/retry", "note: The prompt is empty"),
        ("/nonsense", "/adapter NAME swaps the voice"),
        ("/help", "/adapter NAME swaps the voice"),
        ("word " * 120, "note: The prompt has"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), "note: That line is not text in UTF-8."),
    ],
)
def test_a_mistake_in_a_conversation_is_said_and_it_goes_on(trained, words, line, said):
    result = trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin=f"{line}\nhello\n")
    assert result.code == 0, result.err
    assert said in result.err
    assert result.out == "<12 tokens>\n"
    assert result.err.splitlines()[-2].rstrip().endswith("alice>")  # still the voice from before


def test_the_first_prompt_of_a_conversation_may_be_an_argument(trained, words):
    assert trained("sample", "--chat", "--adapter", "alice", *SHORT, "hello", stdin="").out == "<12 tokens>\n"


def test_the_end_of_the_input_ends_a_conversation(trained, words):
    assert trained("sample", "--chat", "--adapter", "alice", stdin="").code == 0
    assert trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="no line end").out == "<12 tokens>\n"


# --- bases that do not belong


def other_weights(folder):
    """A base like the tiny one, with one number changed."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] += 1.0
    save_file(tensors, path, metadata={"format": "pt"})


def other_template(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text().replace("<|im_start|>", "<|im_end|>"))


@pytest.mark.parametrize(
    ("change", "words"), [(other_weights, "this base is"), (other_template, "another chat template")]
)
def test_an_adapter_is_not_put_on_another_base(trained, tmp_path, change, words):
    other = shutil.copytree(trained.base, tmp_path / "other")
    assert trained("sample", "--adapter", "alice", "--base", other, *SHORT, "hi").code == 0  # the same, elsewhere
    change(other)
    result = trained("sample", "--adapter", "alice", "--base", other, *SHORT, "hi")
    assert (result.code, result.out) == (3, "")
    assert result.only_error.startswith("error: Adapter alice does not belong to this base: it was trained")
    assert words in result.error
    assert str(other) in result.error


def test_a_base_that_changed_in_its_place_is_noticed(trained, texts, tmp_path):
    base = shutil.copytree(trained.base, tmp_path / "changing")
    assert trained.train(texts, "--name", "carol", base=base).code == 0
    other_weights(base)
    result = trained("sample", "--adapter", "carol", *SHORT, "hi")
    assert result.code == 3
    assert "with other weights than this base has now" in result.only_error
    # And an adapter of the changed base shares no memory with one of the unchanged.
    assert trained.train(texts, "--name", "carol", base=base).code == 0
    result = trained("sample", "--compare", "alice,carol", *SHORT, "hi")
    assert (result.code, result.out) == (3, "")
    assert "alice and carol cannot share one base in memory" in result.only_error


def test_an_adapter_of_another_base_is_refused_inside_a_conversation(trained, texts, tmp_path):
    base = shutil.copytree(trained.base, tmp_path / "other")
    other_weights(base)
    assert trained.train(texts, "--name", "carol", base=base).code == 0
    result = trained("sample", "--chat", "--adapter", "alice", *SHORT, stdin="/adapter carol\nhello\n")
    assert result.code == 0
    assert "note: Adapter carol does not belong to this base" in result.err
    assert len(result.out.splitlines()) >= 1


def test_adapters_that_do_not_belong_are_called_by_their_present_names(trained, texts, tmp_path):
    base = shutil.copytree(trained.base, tmp_path / "other")
    other_weights(base)
    assert trained.train(texts, "--name", "carol", base=base).code == 0
    trained("adapters", "rename", "carol", "caroline")
    assert "alice and caroline cannot share" in trained("sample", "--compare", "alice,caroline", "hi").only_error
