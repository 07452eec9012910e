"""The benchmark on a folder of authors: what may share a file, and whom the table compares. And its held-out loss."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "benchmarks" / "authors.py"


@pytest.fixture(scope="module")
def authors():
    spec = importlib.util.spec_from_file_location("benchmark_authors", SOURCE)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


@pytest.fixture
def call(authors, monkeypatch):
    """The command line, with a base that nobody may load."""
    monkeypatch.setattr(authors, "load_policy", lambda *arguments: pytest.fail("a base was loaded"))

    def main(*arguments):
        monkeypatch.setattr(sys, "argv", ["authors.py", *map(str, arguments)])
        authors.main()

    return main


def row(author, method, index=0, *, of=1, prompt_id="test-0", **more):
    facts = {"author": f"corpus/{author}", "method": method, "prompt_id": prompt_id, "index": index, "of": of}
    text = f"{method} wrote this text number {index} about the garden of {author}."
    return facts | {"text": text, "num_tokens": 12, "ended": True, "held_out_loss": 3.5} | more


def write_rows(path, rows):
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.fixture
def corpus(tmp_path):
    for name in "ab":
        folder = tmp_path / "corpus" / name
        folder.mkdir(parents=True)
        for split in ("train", "validation", "test"):
            completion = f"hey, {split} again - the {name} beds need water!! see you at six x"
            line = {"prompt": f"Write about {split}.", "completion": completion}
            (folder / f"{split}.jsonl").write_text(json.dumps(line) + "\n")
    return tmp_path / "corpus"


# One file, one experiment


def test_what_was_written_is_known_with_its_digest(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    samples = authors.Samples(path, {"ditto": "one"})
    bare = [{"author": "a", "method": "ditto:round1", "prompt_id": "p", "index": index} for index in range(2)]
    samples.add(bare)
    assert samples.done == authors.Samples(path, {"ditto": "one"}).done == {("a", "ditto:round1")}
    assert authors.read_rows([path]) == [{**one, "of": 2, "digest": "one"} for one in bare]


def test_rows_of_other_settings_are_refused(authors, tmp_path):
    path = write_rows(tmp_path / "samples.jsonl", [row("a", "sft", digest="one"), row("a", "ditto:round1", digest="x")])
    with pytest.raises(SystemExit, match=r"samples\.jsonl holds samples of sft by other settings .* another --out"):
        authors.Samples(path, {"sft": "two"})
    with pytest.raises(SystemExit, match="ditto:round1"):
        authors.Samples(path, {"ditto": "y"})  # a stage of a loop belongs to the loop
    assert len(authors.Samples(path, {"sft": "one", "spin": "two"}).done) == 2  # ditto is not run


def test_rows_without_a_digest_are_accepted(authors, tmp_path):
    path = write_rows(tmp_path / "samples.jsonl", [row("a", "sft"), row("a", "zero-shot", of=2)])
    assert authors.Samples(path, {"sft": "two", "zero-shot": "two"}).done == {("corpus/a", "sft")}


def test_a_cut_line_costs_itself_only(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes((json.dumps(row("a", "sft", of=2)) + '\n{"author": "caf\u00e9').encode()[:-1])
    authors.Samples(path, {"sft": "one"}).add([row("a", "sft", index, text="one\u2028two") for index in range(2)])
    assert [one["digest"] for one in authors.read_rows([path])] == ["one", "one"]
    assert authors.Samples(path, {"sft": "one"}).done == {("corpus/a", "sft")}


@pytest.mark.parametrize(
    "changed",
    [
        ("--num", "4"),
        ("--prompts", "2"),
        ("--max-words", "90"),
        ("--demonstrations", "3"),
        ("--set", "dpo.beta=0.2"),
        ("--variant", "hot: sampling.temperature=1.3"),
    ],
)
def test_a_run_with_other_settings_is_refused_before_a_base_is_loaded(authors, call, corpus, tmp_path, changed):
    before = ("run", corpus, "--variant", "hot: sampling.temperature=1.1")
    digests = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(authors, "Samples", lambda path, found: digests.update(found))
        patch.setattr(authors, "load_policy", lambda *arguments: sys.exit("loaded"))
        with pytest.raises(SystemExit, match="loaded"):
            call(*before, "--out", tmp_path / "unused")
    assert set(digests) == {"zero-shot", "few-shot", "sft", "spin", "ditto", "hot"}
    assert digests["sft"] == digests["ditto"]
    assert len({digests[method] for method in ("ditto", "spin", "hot")}) == 3  # each by its own settings
    out = write_rows(tmp_path / "samples.jsonl", [row("a", method, digest=digests[method]) for method in digests])
    with pytest.raises(SystemExit, match="give another --out"):
        call(*before, *changed, "--out", out)


# What is trained and written


def test_every_method_writes_and_the_base_is_left_as_it_was(authors, tiny_policy, tiny_demonstrations, tmp_path):
    few = {"rounds.num": 2, "rounds.steps": 3, "sampling.completions_per_prompt": 2, "sft.max_steps": 2, "lora.r": 2}
    settings, spin = (
        authors.resolve_settings("smollm2-135m-cpu", authors.FolderFile(), {}, few | {"dpo.learning_rate": 1e-2} | more)
        for more in ({}, authors.SPIN_SETTINGS)
    )
    author = authors.Author("corpus/a", tiny_demonstrations[:2], tiny_demonstrations[2:])
    path, methods = tmp_path / "samples.jsonl", ["zero-shot", "few-shot", "sft", "spin", "ditto:round1", "ditto"]
    samples = authors.Samples(path, {method.partition(":")[0]: "digest" for method in methods})
    experiment = authors.Experiment(tiny_policy, author, settings, samples, num=1, max_prompts=1)
    experiment.untrained()
    experiment.sft()
    experiment.rounds("spin", spin, each_round=False)
    experiment.rounds("ditto", settings, each_round=True)
    experiment.finish()
    rows = authors.read_rows([path])
    assert [one["method"] for one in rows] == methods
    assert experiment.missing(methods) == []
    assert set(rows[2]["metrics"]) == {"loss", "steps"}
    for one in rows[3:]:
        assert one["metrics"]["samples/ended"] in (0, 0.25, 0.5, 0.75, 1)
        assert one["metrics"]["rewards/margins"] != 0
    losses = {one["method"]: one["held_out_loss"] for one in rows if one["method"] != "few-shot"}
    assert len(set(losses.values())) == 5  # each is another policy
    assert tiny_policy.adapters == ()


# Whom the table compares


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", "sft"), row("a", "ditto")], None),
        ([row("a", "sft"), row("b", "ditto")], "no samples of ditto"),
        ([row("a", "sft"), row("a", "ditto", of=3), row("a", "ditto", 1, of=3)], "2 of 3 samples of ditto"),
        ([row("a", "sft"), row("a", "ditto", prompt_id="x")], "ditto wrote for other prompts or draws than sft"),
        ([row("a", "sft"), row("a", "ditto", of=2), row("a", "ditto", 1, of=2)], "ditto wrote for other prompts"),
    ],
)
def test_only_authors_with_all_samples_are_compared(authors, capsys, rows, expected):
    assert authors.complete_authors(rows, ["sft", "ditto"])[:1] == ([] if expected else ["corpus/a"])
    assert (f"corpus/a is left out: {expected}" in capsys.readouterr().err) == bool(expected)


def test_the_table_of_what_is_complete(call, corpus, tmp_path, capsys):
    whole = [row(name, method, digest=method) for name in "ab" for method in ("zero-shot", "sft")]
    samples = write_rows(
        tmp_path / "samples.jsonl", [*whole, row("b", "ditto", of=2, digest="other"), row("a", "ditto")]
    )
    call("table", corpus, samples)
    shown = capsys.readouterr()
    assert "| method | corpus/a | all (95 % interval, judgements) |" in shown.out
    assert shown.err == "corpus/b is left out: 1 of 2 samples of ditto\n"
    call("table", corpus, samples, "--methods", "sft", "zero-shot")
    shown = capsys.readouterr()
    assert "| method | corpus/a | corpus/b | all" in shown.out
    assert "knows no texts of the base" not in shown.out + shown.err


def test_a_table_of_nothing_says_so(call, corpus, tmp_path):
    samples = write_rows(tmp_path / "samples.jsonl", [row("a", "sft"), row("b", "ditto")])
    for more in ((), ("--methods", "sft")):
        with pytest.raises(SystemExit, match="Nothing to compare"):
            call("table", corpus, samples, *more)


def test_the_base_is_never_measured_against_its_own_texts(authors, capsys):
    rows = [row(name, method, text=f"{method} {name}") for name in "ab" for method in ("zero-shot", "sft")]
    for methods in (["sft", "ditto"], ["zero-shot", "sft"]):
        assert authors.base_background(rows, "corpus/a", methods) == ["zero-shot b"]
    assert authors.base_background(rows[:2], "corpus/a", ["sft", "ditto"]) == ["zero-shot a"]
    assert capsys.readouterr().out == ""
    assert authors.base_background(rows[:2], "corpus/a", ["zero-shot", "sft"]) == []
    assert "corpus/a: the panel knows no texts of the base" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["table", "--help"]])
def test_help(call, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        call(*arguments)
    assert ended.value.code == 0
    assert "usage: authors.py" in capsys.readouterr().out


# The held-out loss, of a policy whose every probability is known


def test_held_out_loss_of_a_uniform_policy_is_the_log_of_its_vocabulary(tiny_policy, tiny_demonstrations):
    import torch

    from ditto_cli.evaluation.held_out import held_out_loss

    with torch.no_grad():
        tiny_policy.head().weight_VH.zero_()
    assert held_out_loss(tiny_policy, tiny_demonstrations) == pytest.approx(math.log(272), abs=1e-5)


def test_held_out_loss_weighs_tokens_not_texts(tiny_policy, tiny_demonstrations):
    from ditto_cli.evaluation.held_out import held_out_loss
    from ditto_cli.model.policy.scoring import score

    chat = tiny_policy.chat
    short, long = tiny_demonstrations[0], tiny_demonstrations[1]
    sums, counts = [], []
    for demonstration in (short, long):
        ids = chat.completion_ids(demonstration.completion)
        sums.append(float(score(tiny_policy, chat.prompt_ids(demonstration.prompt), [ids])[0].detach()))
        counts.append(len(ids))
    assert held_out_loss(tiny_policy, [short, long]) == pytest.approx(-sum(sums) / sum(counts), rel=1e-6)
