"""`ditto adapters`: what is in the store, told without a model; and what PEFT makes of it."""

import io
import json
import stat

import pytest

pytest_plugins = ["cli_helpers"]


def damage(ditto, name):
    """Cut an adapter's record short."""
    (record,) = ditto.home.glob(f"adapters/{name}/generations/*/record.json")
    record.write_text(record.read_text()[:100])


def test_list(trained):
    result = trained("adapters", "list")
    assert (result.code, result.err) == (0, "")
    rows = [line for line in result.out.splitlines() if line.startswith(("│alice", "│bob"))]
    assert ["sft, round1" in row and "MiB" in row for row in rows] == [True, True]


def test_list_as_json(trained):
    entries = json.loads(trained("adapters", "list", "--json").out)
    assert [entry["name"] for entry in entries] == ["alice", "bob"]
    for entry in entries:
        assert set(entry) == {"name", "problem", "size_bytes", "record"}
        assert entry["problem"] is None
        files = [path for path in (trained.home / "adapters" / entry["name"]).rglob("*") if path.is_file()]
        assert entry["size_bytes"] == sum(path.stat().st_size for path in files)
        assert entry["record"] == json.loads(trained("adapters", "show", entry["name"], "--json").out)


def test_an_empty_store(ditto):
    result = ditto("adapters", "list")
    assert (result.code, result.out) == (0, "")
    assert "ditto train FOLDER" in result.err
    assert json.loads(ditto("adapters", "list", "--json").out) == []
    assert not ditto.home.exists()


def test_show(trained):
    result = trained("adapters", "show", "alice")
    assert result.code == 0
    assert all(line.startswith("note: round1: ") for line in result.err.splitlines())  # a random model's warnings
    facts = dict(line.split(maxsplit=1) for line in result.out.splitlines()[:10])
    assert facts["adapter"] == "alice"
    assert facts["base"] == str(trained.base)
    assert facts["texts"].startswith("2, ")
    assert facts["LoRA"] == "r 16, alpha 32"
    assert "1 rounds of 1 updates, 2 samples a prompt" in facts["DPO"]
    assert any(line.startswith("│round1 *") for line in result.out.splitlines())
    assert "torch " in result.out


def test_show_as_json_is_the_record(trained):
    from ditto_cli.store import AdapterRecord

    document = trained("adapters", "show", "alice", "--json").out
    assert AdapterRecord.model_validate(json.loads(document)) == trained.record("alice")


@pytest.mark.parametrize(
    "arguments", [["adapters", "list"], ["adapters", "show", "alice"], ["adapters", "path", "alice"]]
)
def test_no_model_is_needed(trained, arguments):
    assert trained.without("torch,transformers,peft", *arguments).code == 0


def test_path_is_what_peft_loads(trained):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = trained("adapters", "path", "alice").out.removesuffix("\n")
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(trained.base), folder)
    tokenizer = AutoTokenizer.from_pretrained(trained.base)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Write to Bo."}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=20)
    theirs = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True).strip()
    # The likeliest text of PEFT's model is what ditto writes at temperature 0.
    ours = trained("sample", "--adapter", "alice", "--temperature", "0", "--max-tokens", "20", "--json", "Write to Bo.")
    assert json.loads(ours.out)["samples"][0]["text"] == theirs
    both = trained(
        "sample", "--compare", "base,alice", "--temperature", "0", "--max-tokens", "20", "--json", "Write to Bo."
    )
    base, alice = (entry["text"] for entry in json.loads(both.out)["samples"])
    assert base != theirs == alice


def test_path_of_a_stage(trained):
    assert trained("adapters", "path", "alice").out.endswith("/round1\n")
    assert trained("adapters", "path", "alice", "--round", "sft").out.endswith("/sft\n")
    assert trained("adapters", "path", "alice", "--round", "1").out.endswith("/round1\n")


def test_rename(trained):
    record = trained.record("alice")
    assert trained("adapters", "rename", "alice", "anna").code == 0
    assert trained.names() == ["anna", "bob"]
    assert trained.record("anna") == record
    assert "anna (trained as alice)" in trained("adapters", "show", "anna").out
    assert trained("sample", "--adapter", "anna", "--max-tokens", "3", "hi").code == 0


@pytest.mark.parametrize(
    ("new", "words"), [("bob", "already an adapter 'bob'"), ("a/b", "try 'a-b'"), ("base", "my-base")]
)
def test_rename_to_what_cannot_be(trained, new, words):
    before = trained.snapshot()
    result = trained("adapters", "rename", "alice", new)
    assert result.code == 2
    assert words in result.only_error
    assert trained.snapshot() == before


def test_rm(trained):
    others = {path: data for path, data in trained.snapshot().items() if "alice" not in path}
    result = trained("adapters", "rm", "alice", "--yes")
    assert (result.code, result.out) == (0, "")
    assert trained.snapshot() == others


def test_rm_refuses_where_nobody_can_be_asked(trained):
    before = trained.snapshot()
    result = trained("adapters", "rm", "alice", stdin="y\n")
    assert result.code == 2
    assert "--yes" in result.only_error
    assert trained.snapshot() == before


@pytest.mark.parametrize(
    ("answer", "removed"),
    [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("yess\n", False), ("", False)],
)
def test_rm_asks_on_a_terminal(trained, answer, removed):
    before, terminal = trained.snapshot(), io.StringIO(answer)
    terminal.isatty = lambda: True
    result = trained("adapters", "rm", "alice", stdin=terminal)
    assert result.code == 0
    assert "Remove adapter alice with all its stages" in result.err
    assert "Traceback" not in result.err
    assert ("alice" in trained.names()) is not removed
    assert (trained.snapshot() == before) is not removed


def test_a_damaged_adapter_is_listed_with_its_problem(trained):
    damage(trained, "alice")
    result = trained("adapters", "list")
    assert result.code == 0
    assert "damaged:" in result.out
    assert "│bob" in result.out
    alice, bob = json.loads(trained("adapters", "list", "--json").out)
    assert alice["record"] is None
    assert "is damaged (not valid JSON): train the adapter again, or remove it." in alice["problem"]
    assert bob["problem"] is None


def test_a_damaged_adapter_is_refused_and_can_be_removed(trained):
    damage(trained, "alice")
    refused = (["adapters", "show", "alice"], ["adapters", "path", "alice"], ["sample", "--adapter", "alice", "hi"])
    for arguments in refused:
        result = trained(*arguments)
        assert result.code == 4
        assert "record.json is damaged" in result.only_error
    assert trained("sample", "--adapter", "bob", "--max-tokens", "3", "hi").code == 0
    assert trained("adapters", "rm", "alice", "--yes").code == 0
    assert trained.names() == ["bob"]


def test_an_adapter_in_use_by_another_process_is_neither_renamed_nor_removed(trained):
    from ditto_cli.store import AdapterStore

    with AdapterStore(trained.home).training("alice"):
        before = trained.snapshot()
        for arguments in (["rm", "alice", "--yes"], ["rename", "alice", "carol"], ["rename", "bob", "alice"]):
            result = trained("adapters", *arguments)
            assert (result.code, "Adapter alice is in use by process" in result.only_error) == (7, True)
        after = trained.snapshot()
        assert {path: after[path] for path in before} == before
    assert trained("adapters", "rm", "alice", "--yes").code == 0


def test_missing_weights_are_told(trained):
    (trained.stage("alice", "sft") / "adapter_model.safetensors").unlink()
    result = trained("adapters", "show", "alice")
    assert result.code == 4
    assert "sft/adapter_model.safetensors is missing" in result.only_error


def test_damaged_weights_are_told(trained):
    weights = trained.stage("alice") / "adapter_model.safetensors"
    whole = weights.read_bytes()
    for damage, words in (
        (whole[:-1], "is damaged (its size is not what was written): train the adapter again, or remove it."),
        (whole[:-1] + bytes([whole[-1] ^ 1]), "is damaged (its content is not what was written): train the adapter"),
    ):
        weights.write_bytes(damage)
        result = trained("sample", "--adapter", "alice", "hi")
        assert result.code == 4
        assert f"round1/adapter_model.safetensors {words}" in result.only_error


def test_everything_is_readable_by_its_owner_alone(trained_once):
    # Trained under umask 022; the texts of a person are close to what lies here.
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in [trained_once.home, *trained_once.home.rglob("*")]}
    assert {oct(mode) for path, mode in rights.items() if path.is_dir()} == {"0o700"}
    assert {oct(mode) for path, mode in rights.items() if path.is_file()} == {"0o600"}
