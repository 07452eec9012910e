"""The benchmark on a folder of authors: what may share a file, and whom the table compares. And held-out loss."""

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
        patch.syspath_prepend(SOURCE.parent)
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
    return facts | {"prompt": "Write about test.", "text": text, "num_tokens": 12, "ended": True} | more


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


# What of a text is taken


@pytest.mark.parametrize(
    ("num_words", "taken"),
    [
        (3, "One two three."),
        (5, "One two three."),
        (6, 'One two three. "Four five six!"'),
        (99, 'One two three. "Four five six!" Seven\n\nno stop'),
        (1, "One two three."),  # a sentence at least
    ],
)
def test_an_opening_is_whole_sentences(authors, num_words, taken):
    assert authors.opening('One two three. "Four five six!" Seven\n\nno stop', num_words) == taken


def test_an_authors_openings_have_each_prompt_once(authors, tmp_path):
    lines = [{"prompt": f"Write {n % 2}.", "completion": f"Text {n}. And much more of it."} for n in range(4)]
    for split in ("train", "validation", "test"):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = authors.read_openings(tmp_path, num_words=2, num_demonstrations=7, num_prompts=1)
    assert [text.completion for text in found.demonstrations] == ["Text 2.", "Text 3."]
    assert len(found.held_out) == 1


# One file, one experiment


def test_what_was_written_is_known_with_its_digest(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    samples = authors.Samples(path, {"ditto": "one"})
    bare = [{"author": "a", "method": "ditto", "prompt_id": "p", "index": index} for index in range(2)]
    samples.add(bare)
    assert samples.done == authors.Samples(path, {"ditto": "one"}).done == {("a", "ditto")}
    assert authors.read_rows([path]) == [{**one, "of": 2, "digest": "one"} for one in bare]


def test_rows_of_other_settings_are_refused(authors, tmp_path):
    path = write_rows(tmp_path / "samples.jsonl", [row("a", "sft", digest="one"), row("a", "ditto", digest="x")])
    with pytest.raises(SystemExit, match=r"samples\.jsonl holds texts of sft by other settings .* another --out"):
        authors.Samples(path, {"sft": "two"})
    assert len(authors.Samples(path, {"sft": "one", "paper": "two"}).done) == 2  # ditto is not run


def test_a_cut_line_costs_itself_only(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes((json.dumps(row("a", "sft", of=2)) + '\n{"author": "caf\u00e9').encode()[:-1])
    authors.Samples(path, {"sft": "one"}).add([row("a", "sft", index, text="one\u2028two") for index in range(2)])
    assert [one["digest"] for one in authors.read_rows([path])] == ["one", "one"]
    assert authors.Samples(path, {"sft": "one"}).done == {("corpus/a", "sft")}


@pytest.mark.parametrize(
    "changed",
    [
        ("--prompts", "2"),
        ("--opening", "90"),
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
    assert set(digests) == {"own", "background", *authors.ARMS, "hot"}
    assert digests["sft"] == digests["ditto"]
    assert len({digests[method] for method in ("ditto", "paper", "hot")}) == 3  # each by its own settings
    out = write_rows(tmp_path / "samples.jsonl", [row("a", method, digest=digests[method]) for method in digests])
    with pytest.raises(SystemExit, match="give another --out"):
        call(*before, *changed, "--out", out)


# What is trained and written


def test_every_arm_writes_and_the_base_is_left_as_it_was(authors, tiny_policy, tiny_demonstrations, tmp_path):
    few = {"rounds.num": 2, "rounds.steps": 2, "sampling.completions_per_prompt": 2, "sft.max_steps": 2, "lora.r": 2}
    settings, paper = (
        authors.resolve_settings("smollm2-135m-cpu", authors.FolderFile(), {}, few | {"dpo.learning_rate": 1e-2} | more)
        for more in ({}, {"dpo.sft_weight": 0.0, "dpo.learning_rate": 1e-3})
    )
    author = authors.Author(tiny_demonstrations[:2], tiny_demonstrations[2:3])
    path, methods = tmp_path / "samples.jsonl", ["own", "background", *authors.ARMS]
    samples = authors.Samples(path, dict.fromkeys(methods, "digest"))
    experiment = authors.Experiment(tiny_policy, "corpus/a", author, settings, samples)
    experiment.untrained()
    experiment.sft()
    experiment.continued(settings)
    experiment.rounds("paper", paper)
    experiment.rounds("ditto", settings)
    tiny_policy.remove(authors.SFT_COPY)
    rows = authors.read_rows([path])
    assert list(dict.fromkeys(one["method"] for one in rows)) == methods
    assert experiment.missing(methods) == []
    counts = {method: sum(one["method"] == method for one in rows) for method in methods}
    assert counts == dict.fromkeys(methods, 2) | {"ditto": 8}
    told = {method: [one["told"] for one in rows if one["method"] == method] for method in methods}
    for one, other in (("zero-shot", "few-shot"), ("zero-shot", "sft"), ("ditto", "ditto, texts at hand")):
        assert told[one][:2] != told[other][:2]  # another policy or prompt
    assert all(isinstance(one["told"], float) for one in rows)
    assert tiny_policy.adapters == ()


# Whom the table compares


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", "sft"), row("a", "ditto")], None),
        ([row("a", "sft"), row("b", "ditto")], "no texts of ditto"),
        ([row("a", "sft"), row("a", "ditto", of=3), row("a", "ditto", 1, of=3)], "2 of 3 texts of ditto"),
        ([row("a", "sft"), row("a", "ditto", prompt_id="x")], "ditto wrote for other prompts than sft"),
        ([row("a", "sft"), row("a", "ditto", of=2), row("a", "ditto", 1, of=2)], None),  # drafts to choose from
    ],
)
def test_only_authors_with_all_texts_are_compared(authors, capsys, rows, expected):
    assert authors.complete_authors(rows, ["sft", "ditto"])[:1] == ([] if expected else ["corpus/a"])
    assert (f"corpus/a is left out: {expected}" in capsys.readouterr().err) == bool(expected)


def rows_of(name, *methods):
    """All that a table needs of an author: two calibrating arms, two texts an arm, eight drafts of ditto."""
    made = [row(name, "own", prompt_id="train-0", told=0.5), row(name, "background", prompt_id="b-0", told=0.1)]
    for method in methods:
        num = 8 if method == "ditto" else 2
        made += [row(name, method, index, of=num, told=0.2 + index / 100) for index in range(num)]
    return made


def test_the_table_of_what_is_complete(call, corpus, tmp_path, capsys):
    whole = [*rows_of("a", "zero-shot", "sft", "ditto"), *rows_of("b", "zero-shot", "sft")]
    samples = write_rows(tmp_path / "samples.jsonl", whole)
    call("table", samples, "--corpus", corpus)
    shown = capsys.readouterr()
    assert "Means over 1 authors" in shown.out
    assert "| arm | style | task | told | ended | recited | passage |" in shown.out
    assert [line.split(" | ")[0] for line in shown.out.splitlines() if " less " in line] == [
        "| sft less zero-shot",
        "| ditto less zero-shot",
        "| ditto less sft",
        "| ditto, best of 8 less zero-shot",
        "| ditto, best of 8 less sft",
        "| ditto, best of 8 less ditto",
    ]
    assert shown.err == "corpus/b is left out: no texts of ditto\n"
    call("table", samples, "--corpus", corpus, "--methods", "sft", "zero-shot")
    shown = capsys.readouterr()
    assert "Means over 2 authors" in shown.out
    assert "best of 8" not in shown.out


def test_the_best_of_the_drafts_is_one_a_prompt(authors):
    author = authors.Author(
        (authors.Demonstration("a", "Write about beds.", "hey, the beds need water!! see you at six x"),), ()
    )
    drafts = [row("a", "ditto", index, of=8, told=0.1, prompt="Write about the garden.") for index in range(8)]
    drafts[5] |= {"text": "hey, the garden and its gate need paint!! see you at nine x"}
    drafts[6] |= {"text": drafts[5]["text"] + " more", "ended": False}
    assert authors.chosen(drafts, author) == [drafts[5]]


def test_a_table_of_nothing_says_so(call, corpus, tmp_path):
    samples = write_rows(tmp_path / "samples.jsonl", [row("a", "sft"), row("b", "ditto")])
    for more in ((), ("--methods", "sft")):
        with pytest.raises(SystemExit, match="Nothing to compare"):
            call("table", samples, "--corpus", corpus, *more)


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["table", "--help"]])
def test_help(call, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        call(*arguments)
    assert ended.value.code == 0
    assert "usage: authors.py" in capsys.readouterr().out


# The held-out loss, of a policy whose every probability is known


def test_held_out_loss_of_a_uniform_policy_is_the_log_of_its_vocabulary(tiny_policy, tiny_demonstrations):
    import torch

    from ditto_cli.evaluation.model_figures import held_out_loss

    with torch.no_grad():
        tiny_policy.head().weight_VH.zero_()
    assert held_out_loss(tiny_policy, tiny_demonstrations) == pytest.approx(math.log(272), abs=1e-5)


def test_held_out_loss_weighs_tokens_not_texts(tiny_policy, tiny_demonstrations):
    from ditto_cli.evaluation.model_figures import held_out_loss
    from ditto_cli.model.policy.scoring import score

    chat = tiny_policy.chat
    short, long = tiny_demonstrations[0], tiny_demonstrations[1]
    sums, counts = [], []
    for demonstration in (short, long):
        ids = chat.completion_ids(demonstration.completion)
        sums.append(float(score(tiny_policy, chat.prompt_ids(demonstration.prompt), [ids])[0].detach()))
        counts.append(len(ids))
    assert held_out_loss(tiny_policy, [short, long]) == pytest.approx(-sum(sums) / sum(counts), rel=1e-6)
