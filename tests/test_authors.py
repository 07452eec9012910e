"""The benchmark on a folder of authors: what may share a file, and whom the table compares. And held-out loss."""

import importlib.util
import json
import math
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

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


@pytest.fixture(scope="module")
def tables(authors):
    return sys.modules["author_tables"]


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
    found, rest = authors.read_openings(tmp_path, num_words=2, num_demonstrations=7, num_prompts=1)
    assert [text.completion for text in found.demonstrations] == ["Text 2.", "Text 3."]
    assert len(found.held_out) == 1
    assert rest == " And much more of it.\n And much more of it."  # nothing that is learnt or kept back


def test_the_nearer_text_shares_rarer_sequences_of_four(authors):
    # Every text has "abcd"; only the second shares "wxyz" with the known one.
    near = authors.closeness(["abcd", "abcd wxyz", "efgh", ""], "abcd  wxyz")
    assert near[1] == pytest.approx(1)
    # By hand, with N = 5: idf(abcd) = ln(6/4) + 1; the other six sequences of the known text are in 2 texts.
    common, rare = math.log(6 / 4) + 1, math.log(6 / 3) + 1
    assert near[0] == pytest.approx(common / math.hypot(common, *[rare] * 5))
    assert near[2:] == [0, 0]


# One file, one experiment


def test_what_was_written_is_known_with_its_digest(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    samples = authors.Samples(path, {"ditto": "one"})
    bare = [{"author": "a", "method": "ditto", "prompt_id": "p", "index": index} for index in range(2)]
    samples.add(bare)
    assert samples.of("a", "ditto") == [{**one, "of": 2, "digest": "one"} for one in bare]
    assert samples.of("a", "sft") == samples.of("b", "ditto") == []
    assert authors.read_rows([path]) == authors.Samples(path, {"ditto": "one"}).of("a", "ditto") == samples.rows


def test_rows_of_other_settings_are_refused(authors, tmp_path):
    path = write_rows(tmp_path / "samples.jsonl", [row("a", "sft", digest="one"), row("a", "ditto", digest="x")])
    with pytest.raises(SystemExit, match=r"samples\.jsonl holds texts of sft by other settings .* another --out"):
        authors.Samples(path, {"sft": "two"})
    assert len(authors.Samples(path, {"sft": "one", "paper": "two"}).rows) == 2  # ditto is not run


def test_a_cut_line_costs_itself_only(authors, tmp_path):
    path = tmp_path / "samples.jsonl"
    path.write_bytes((json.dumps(row("a", "sft", of=2)) + '\n{"author": "caf\u00e9').encode()[:-1])
    samples = authors.Samples(path, {"sft": "one"})
    assert samples.of("corpus/a", "sft") == []
    samples.add([row("a", "sft", index, text="one\u2028two") for index in range(2)])
    assert [one["digest"] for one in authors.read_rows([path])] == ["one", "one"]
    assert samples.rows == authors.Samples(path, {"sft": "one"}).of("corpus/a", "sft") == authors.read_rows([path])


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
    assert set(digests) == {*authors.BESIDE, *authors.MAIN, "hot"}
    assert digests["sft"] == digests["ditto"]
    assert len({digests[method] for method in ("ditto", "paper", "hot")}) == 3  # each by its own settings
    out = write_rows(tmp_path / "samples.jsonl", [row("a", method, digest=digests[method]) for method in digests])
    with pytest.raises(SystemExit, match="give another --out"):
        call(*before, *changed, "--out", out)


# What is trained and written


REST = "hi bo, hi al - tea! x"
FEW = {
    "rounds.num": 2,
    "rounds.steps": 2,
    "sampling.completions_per_prompt": 2,
    "sft.max_steps": 2,
    "lora.r": 2,
    "dpo.learning_rate": 1e-2,
}


@pytest.fixture
def experiment(authors, tiny_policy, tiny_demonstrations, tmp_path):
    """Some arms of an author with two texts, each by its own settings, and what they wrote."""

    def made(names):
        settings = authors.resolve_settings("smollm2-135m-cpu", authors.FolderFile(), {}, FEW)
        arms = []
        for name in names:
            changes = authors.ARMS[name].changes_of(settings)
            own = authors.resolve_settings("smollm2-135m-cpu", authors.FolderFile(), {}, FEW | changes)
            arms.append((authors.ARMS[name], own))
        author = authors.Author(tiny_demonstrations[:2], tiny_demonstrations[2:3])
        samples = authors.Samples(tmp_path / "samples.jsonl", dict.fromkeys([*authors.BESIDE, *names], "digest"))
        authors.Experiment(tiny_policy, "corpus/a", author, REST, settings, samples).write(arms)
        assert tiny_policy.adapters == ()
        return authors.read_rows([samples.path])

    return made


def texts_of(rows, method):
    return [one["text"] for one in rows if one["method"] == method]


@pytest.mark.slow
def test_every_arm_writes_and_the_base_is_left_as_it_was(authors, experiment):
    rows = experiment(authors.MAIN)
    methods = ["own", "background", *authors.MAIN]
    assert {one["method"] for one in rows} == set(methods)
    assert {method: len(texts_of(rows, method)) for method in methods} == dict.fromkeys(methods, 2) | {"ditto": 8}
    for one, other in (("zero-shot", "few-shot"), ("zero-shot", "sft"), ("ditto", "ditto, texts at hand")):
        assert texts_of(rows, one)[:2] != texts_of(rows, other)[:2]  # another policy or prompt
    assert all(isinstance(one["told"], float) for one in rows)


@pytest.fixture
def trainings(authors, monkeypatch):
    """Of each run of the loop: its texts, its settings, the kinds of its comparisons, its history."""
    from ditto_cli.types import StepMetrics

    found = []

    def loop(policy, texts, settings, beside, place, reporter, ditto=authors.ditto):
        kinds = Counter()
        for event in ditto(policy, texts, settings, beside, place, reporter):
            kinds.update(event.kinds if isinstance(event, StepMetrics) else {})
            yield event
        found.append(SimpleNamespace(texts=texts, settings=settings, kinds=kinds, history=place.history))

    monkeypatch.setattr(authors, "ditto", loop)
    return found


def test_arms_that_are_trained_alike_share_one_training(experiment, trainings):
    rows = experiment(["ditto", "1 round", "2 rounds", "1 text", "2 texts", "2 samples"])
    assert [(len(one.texts.prompts), one.settings.rounds.num) for one in trainings] == [(2, 2), (2, 1), (1, 2)]
    for same in ("2 rounds", "2 texts", "2 samples"):  # these are what the run's settings are anyway
        assert texts_of(rows, same) == texts_of(rows, "ditto")[:2]
    assert len({tuple(texts_of(rows, one)[:2]) for one in ("ditto", "1 round", "1 text")}) == 3


@pytest.mark.slow
def test_every_ablation_changes_what_is_compared(experiment, trainings):
    experiment(["ditto", "sampled once", "moving reference", "no replay", "no inter-model"])
    whole, once, moving, no_replay, no_inter = trainings
    assert whole.kinds.total() == 24  # four updates of six comparisons
    assert whole.kinds["replay"] > 0 < whole.kinds["inter_model"]
    assert once.kinds == {"online": 24}
    assert [len(own) for own in once.history.rounds[0].values()] == [4, 4]  # all completions of two rounds
    assert moving.kinds == whole.kinds
    assert moving.history.demonstrations != whole.history.demonstrations  # scored under another reference
    assert no_replay.kinds["replay"] == 0 < no_replay.kinds["inter_model"]
    assert no_inter.kinds["inter_model"] == 0 < no_inter.kinds["replay"]


@pytest.mark.slow
def test_pairs_are_of_texts_by_what_the_rounds_begin_from(authors, experiment, trainings, tiny_policy, monkeypatch):
    monkeypatch.setattr(authors, "MOST_PAIRS", 10)
    rows = experiment(["zero-shot", "sft", "10 base pairs", "10 sft pairs"])
    for writer, start, training in (("sft", "sft", trainings[0]), ("base", "zero-shot", trainings[1])):
        own = [one for one in rows if one["method"] == f"pairs by {writer}"]
        near = authors.closeness([one["text"] for one in own], REST)
        assert len(own) == 20
        assert list(training.texts.pairs)[:3] == ["pair-0", "pair-10", "pair-2"]  # the prompts take turns
        for first in range(0, 20, 2):
            assert own[first]["prompt"] == own[first + 1]["prompt"]
            nearer, other = (first, first + 1) if near[first] >= near[first + 1] else (first + 1, first)
            sides = tuple(tiny_policy.chat.completion_ids(own[place]["text"]) for place in (nearer, other))
            assert training.texts.pairs[f"pair-{first}"][1:] == sides
        assert training.kinds == {"given": 24}  # as many as the rounds have
        assert texts_of(rows, f"10 {writer} pairs") != texts_of(rows, start)
    assert texts_of(rows, "pairs by base") != texts_of(rows, "pairs by sft")


def test_a_style_guide_is_written_once_and_stands_before_the_prompt(authors, experiment, monkeypatch):
    asked = []
    writing = authors.write
    monkeypatch.setattr(authors, "GUIDE_TOKENS", 20)
    monkeypatch.setattr(authors, "write", lambda *given: (asked.append(given[1:]), writing(*given))[1])
    rows = experiment(["self-prompt"])
    [guide] = texts_of(rows, "style guide")
    (request, plan), (contestant, guided) = asked[-2:]
    assert [prompt.prompt for prompt in plan.prompts] == [authors.GUIDE_REQUEST]
    assert len(request.shots) == 2
    assert contestant.shots == ()
    assert [prompt.prompt for prompt in guided.prompts] == [
        f"Write as this style guide says.\n\n{guide}\n\nThank Al for the book."
    ]
    assert {one["prompt"] for one in rows if one["method"] == "self-prompt"} == {"Thank Al for the book."}


def test_a_run_goes_on_with_what_is_missing(authors, experiment, trainings, tmp_path, monkeypatch):
    monkeypatch.setattr(authors, "MOST_PAIRS", 10)
    names = ["ditto", "10 base pairs"]
    whole = experiment(names)
    path = tmp_path / "samples.jsonl"
    kept = [one for one in whole if one["method"] != "10 base pairs"]
    write_rows(path, kept)
    again = experiment(names)
    assert len(trainings) == 3  # only the pairs' again, from the same texts
    assert again[: len(kept)] == kept
    assert [one | {"seconds": 0} for one in again[len(kept) :]] == [
        one | {"seconds": 0} for one in whole if one["method"] == "10 base pairs"
    ]


def test_arms_of_texts_that_are_not_there_are_refused(authors, experiment, monkeypatch):
    with pytest.raises(SystemExit, match="7 texts: corpus/a has 2 texts to learn from; see --demonstrations"):
        experiment(["7 texts"])
    monkeypatch.setitem(globals(), "REST", " \n ")
    with pytest.raises(SystemExit, match="corpus/a has nothing behind the openings to pick pairs by"):
        experiment(["10 base pairs"])


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
def test_only_authors_with_all_texts_are_compared(tables, capsys, rows, expected):
    assert tables.complete_authors(rows, ["sft", "ditto"])[:1] == ([] if expected else ["corpus/a"])
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


def test_the_papers_tables_and_figures(authors, call, corpus, tmp_path, capsys):
    names = dict.fromkeys(name for table in authors.TABLES for name in table.arms)
    rows = [one for name in "ab" for one in rows_of(name, *names)]
    samples = write_rows(tmp_path / "samples.jsonl", [one for one in rows if one["method"] != "no replay"])
    call("table", samples, "--corpus", corpus, "--tables", "--plots", tmp_path / "plots")
    shown = capsys.readouterr()
    titles = [line.removeprefix("### ") for line in shown.out.splitlines() if line.startswith("### ")]
    assert titles == [table.title for table in authors.TABLES if "ablations" not in table.title]
    assert "left out: no texts of no replay" in shown.err
    assert [line.split(" | ")[0] for line in shown.out.splitlines() if " less " in line and "sample" in line] == [
        "| 2 samples less 1 sample",
        "| 5 samples less 1 sample",
        "| 10 samples less 1 sample",
    ]
    assert next(row for row in shown.out.splitlines() if row.startswith("| 4 rounds |")).endswith(" | +31.5 % |")
    svg = "{http://www.w3.org/2000/svg}"
    panels = {"figure-2": [4, 4, 7] * 2, "figure-3": [4, 4, 4] * 2}  # of style and task, by their lines' points
    for name, num_points in panels.items():
        lines = ET.parse(tmp_path / "plots" / f"{name}.svg").iter(f"{svg}polyline")
        assert [len(line.get("points").split()) for line in lines] == num_points


def test_a_row_says_where_the_authors_cannot_tell(tables, capsys):
    style, task = (0.1, 0.2, 0.3, 0.4), (0.3, -0.1, 0.2, -0.2)  # all one way; either way
    found = {
        f"corpus/{name}": {"ditto": {"style": 0.5 + up, "task": 0.5 + about}, "sft": {"style": 0.5, "task": 0.5}}
        for name, up, about in zip("abcd", style, task, strict=True)
    }
    tables.print_differences(found, [("ditto", "sft")])
    tables.print_differences({"corpus/a": found["corpus/a"]}, [("ditto", "sft")])
    found["corpus/a"]["ditto"]["style"] = -0.5  # one far the other way
    tables.print_differences(found, [("ditto", "sft")])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if " less " in line]
    assert rows[0][1].startswith("+0.25 (+0.")
    assert rows[0][2].startswith("+0.05 (-0.")
    assert [row[-1] for row in rows] == ["style |", "1 author cannot tell |", "4 authors cannot tell |"]


def test_a_figure_has_the_better_arm_above(authors, tables):
    panel = tables.PaperTable("Figure 9", ("sft", "ditto"), "sft", "a < b", {"one": {1: "sft", 4: "ditto"}})
    found = {"corpus/a": {"sft": {"style": 0.25, "task": 1.0}, "ditto": {"style": 0.75, "task": 0.0}}}
    svg = ET.fromstring(tables.draw([panel], [found]))
    style, task = (
        [float(point.split(",")[1]) for point in line.get("points").split()]
        for line in svg.iter("{http://www.w3.org/2000/svg}polyline")
    )
    # From the lowest to the highest mean over the height of a panel, downward, the second panel below the first.
    assert style[0] - style[1] == task[1] - task[0] == 150
    assert min(task) > max(style)
    texts = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert texts == ["style", "a < b", "0.25", "0.75", "1", "4", "task", "a < b", "0.00", "1.00", "1", "4"]


def test_lambdag_ranks_among_all_authors_of_the_corpus(call, corpus, tmp_path, capsys, monkeypatch):
    class Method:
        def __init__(self, *given, **named): ...

        def lambdag(self, problems, references):
            assert set(references) == {"a", "b"}  # though only one of them wrote
            return [{"a": 2.0, "b": 1.0}[name] for _, name, _, _ in problems]

    monkeypatch.setitem(sys.modules, "lambdag", SimpleNamespace(LambdaGMethod=Method))
    samples = write_rows(tmp_path / "samples.jsonl", rows_of("a", "zero-shot", "sft"))
    call("table", samples, "--corpus", corpus, "--lambdag")
    shown = capsys.readouterr().out
    assert "| arm | style | task | told | lambdag | ended | recited | passage |" in shown
    assert [line.split(" | ")[4] for line in shown.splitlines() if line.startswith(("| zero-shot |", "| sft |"))] == [
        "1.00",
        "1.00",
    ]


def test_the_best_of_the_drafts_is_one_a_prompt(authors, tables):
    author = authors.Author(
        (authors.Demonstration("a", "Write about beds.", "hey, the beds need water!! see you at six x"),), ()
    )
    drafts = [row("a", "ditto", index, of=8, told=0.1, prompt="Write about the garden.") for index in range(8)]
    drafts[5] |= {"text": "hey, the garden and its gate need paint!! see you at nine x"}
    drafts[6] |= {"text": drafts[5]["text"] + " more", "ended": False}
    assert tables.chosen(drafts, author) == [drafts[5]]


def test_a_table_of_nothing_says_so(call, corpus, tmp_path):
    samples = write_rows(tmp_path / "samples.jsonl", [row("a", "sft"), row("b", "ditto")])
    for more in ((), ("--methods", "sft"), ("--tables",)):
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
        tiny_policy.head().linear.weight.zero_()
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
