"""`ditto forget`: an adapter is gone with all that evaluations of others hold of it, and nothing else is."""

import io
import json
import shutil

import pytest

from ditto_cli.errors import DiskError
from ditto_cli.evaluation import evaluation_files
from ditto_cli.evaluation.evaluation_files import forget_in, keep_report, rename_in
from ditto_cli.store import AdapterStore
from eval_fixtures import smallest_report

pytest_plugins = ["cli_helpers"]

ANSWERS = "a\n" * 100


@pytest.fixture(scope="module")
def evaluated_once(tmp_path_factory, trained_once):
    """alice was evaluated against bob, bob's SFT and the base, judged by a person; bob has an evaluation of his own."""
    from cli_helpers import Ditto

    home = tmp_path_factory.mktemp("evaluated") / "home"
    shutil.copytree(trained_once.home, home)
    prompts = home.parent / "prompts.txt"
    prompts.write_text("Thank Ed.\n")
    ditto = Ditto(home, trained_once.base)
    against = ["--adapter", "alice", "--against", "base,bob,bob:sft", "--judge", "me"]
    result = ditto("eval", *against, "--num", "1", "--device", "cpu", "--prompts", prompts, stdin=ANSWERS)
    assert result.code == 0, result.err
    leave(evaluations(ditto, "bob"), {"writings-own.json": [], "report.json": []})
    (evaluations(ditto, "bob") / "report.html").write_text("bob against base and alice's shadow")
    return ditto


@pytest.fixture
def evaluated(tmp_path, evaluated_once):
    from cli_helpers import Ditto

    shutil.copytree(evaluated_once.home, tmp_path / "home")
    return Ditto(tmp_path / "home", evaluated_once.base)


def evaluations(ditto, name):
    return ditto.home / "adapters" / name / "evaluation"


def leave(folder, participants):
    """Files of an evaluation that hold nothing but whose texts they hold."""
    folder.mkdir(exist_ok=True)
    for file, names in participants.items():
        (folder / file).write_text(json.dumps({"participants": names, "name": "bob"}))


def participants(ditto, name):
    """Of each file in an adapter's evaluation folder that names them."""
    paths = [path for path in evaluations(ditto, name).glob("*.json") if path.name != "prompts.json"]
    return {path.name: json.loads(path.read_text())["participants"] for path in paths}


def test_all_lies_with_the_evaluated_and_says_whose_texts_it_holds(evaluated):
    held = participants(evaluated, "alice")
    assert held["pairs.json"] == held["report.json"] == ["bob"]
    writings = [names for file, names in held.items() if file.startswith("writings-")]
    assert sorted(writings) == [[]] * (len(writings) - 2) + [["bob"]] * 2  # bob, bob:sft
    assert set(participants(evaluated, "bob")) == {"writings-own.json", "report.json"}


def test_all_of_an_adapter_goes_and_the_rest_stays(evaluated):
    before, held = evaluated.snapshot(), participants(evaluated, "alice")
    result = evaluated("forget", "bob", "--yes")
    assert (result.code, result.out) == (0, "")
    said = " ".join(result.err.split())
    assert "Removed bob (" in said
    assert "Removed from evaluations of other adapters: files 5, " in said
    assert evaluated.names() == ["alice"]
    after = evaluated.snapshot()
    changed = {
        path for path in before if before[path] != after.get(path) and not path.startswith(("adapters/bob", "locks"))
    }
    gone = {"report.html", *(file for file, names in held.items() if names)}
    assert changed == {f"adapters/alice/evaluation/{file}" for file in gone}
    # What the person answered holds no text, so the next evaluation asks only what is new.
    assert "adapters/alice/evaluation/answers-me.jsonl" in after


def test_what_it_wrote_for_prompts_of_the_forgotten_goes_with_these(evaluated):
    own = participants(evaluated, "bob")
    assert evaluated("forget", "alice", "--yes").code == 0
    assert participants(evaluated, "bob") == own
    assert (evaluations(evaluated, "bob") / "report.html").exists()  # it shows no text of alice


def test_it_is_found_under_a_new_name_and_a_namesake_is_left_alone(evaluated):
    assert evaluated("adapters", "rename", "bob", "ben").code == 0
    assert evaluated("adapters", "rename", "alice", "ben").code == 2
    shutil.copytree(evaluated.home / "adapters" / "ben" / "generations", evaluated.home / "adapters/bob/generations")
    assert evaluated("forget", "bob", "--yes").code == 0
    assert (evaluations(evaluated, "alice") / "report.html").exists()
    assert evaluated("forget", "ben", "--yes").code == 0
    assert [names for names in participants(evaluated, "alice").values() if names] == []
    assert not (evaluations(evaluated, "alice") / "report.html").exists()


def test_it_says_what_it_cannot_know_of_and_leaves_the_texts(trained):
    folder = trained.record("alice").folder
    result = trained("forget", "alice", "--yes")
    said = " ".join(result.err.split())
    assert "Evaluations of other adapters held nothing of it" in said
    for words in ("ditto export", "--report", "backups and snapshots", "copies of the store"):
        assert words in said
    assert f"Your own texts in {folder} were not touched" in said


def test_it_refuses_where_nobody_can_be_asked(trained):
    before = trained.snapshot()
    result = trained("forget", "alice", stdin="y\n")
    assert (result.code, "--yes" in result.only_error) == (2, True)
    assert trained.snapshot() == before


@pytest.mark.parametrize(
    ("answer", "removed"), [("y\n", True), ("Yes\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_it_asks_on_a_terminal(trained, answer, removed):
    stdin = io.StringIO(answer)
    stdin.isatty = lambda: True
    result = trained("forget", "alice", stdin=stdin)
    assert (result.code, "Remove adapter alice" in result.err) == (0, True)
    assert ("alice" not in trained.names()) is removed
    assert ("Nothing was removed." in result.err) is not removed


def test_an_unknown_name(trained):
    before = trained.snapshot()
    result = trained("forget", "alicia", "--yes")
    assert (result.code, "did you mean alice" in result.only_error) == (2, True)
    assert trained.snapshot() == before


def test_a_damaged_adapter_and_an_unfinished_training_can_be_forgotten(trained):
    for record in trained.home.glob("adapters/alice/generations/*/record.json"):
        record.write_bytes(b"\0")
    assert trained("forget", "alice", "--yes").code == 0
    store = AdapterStore(trained.home)
    shutil.move(trained.home / "adapters/bob/generations", trained.home / "bob-before")
    checkpoint = trained.home / "adapters/bob/run/generation/sft"
    checkpoint.mkdir(parents=True)
    (checkpoint / "state.json").write_text("{}")
    assert store.unfinished_names() == ["bob"]
    result = trained("forget", "bob", "--yes")
    assert (result.code, list((trained.home / "adapters").iterdir())) == (0, [])
    assert "Your own texts were not touched" in " ".join(result.err.split())


def test_no_model_is_needed(trained):
    assert trained.without("torch,transformers,peft", "forget", "alice", "--yes").code == 0


# The files of one folder


def test_what_does_not_say_whose_it_is_goes_since_it_can_be_made_again(tmp_path):
    (tmp_path / "writings-1.json").write_text('{"schema_version":2,"marks":[],"writings":[]}')  # an older ditto's
    (tmp_path / "writings-2.json").write_text("{")
    (tmp_path / "report.html").write_text("a page without its data")
    (tmp_path / ".tmp-1").write_text("half a report")
    kept = {"prompts.json", "cross-validation.html", "answers-me.jsonl", "mark"}
    for name in kept:
        (tmp_path / name).write_text("bob")
    assert forget_in(tmp_path, "bob") == {"files": 4, "bytes": 45 + 1 + 23 + 13}
    assert {path.name for path in tmp_path.iterdir()} == kept


@pytest.mark.parametrize(("names", "goes"), [(["bob"], True), (["ann", "bob"], True), (["bobby", "Bob"], False)])
def test_a_page_goes_with_its_data(tmp_path, names, goes):
    leave(tmp_path, {"report.json": names})
    (tmp_path / "report.html").write_text("<p>bob</p>\n")
    assert forget_in(tmp_path, "bob")["files"] == 2 * goes
    assert (tmp_path / "report.html").exists() is not goes


def test_a_full_disk_keeps_the_report_of_before_and_names_all_that_may_be_in_it(tmp_path, monkeypatch):
    keep_report(tmp_path, smallest_report(participants=["bob"]), "<p>bob</p>")
    real = evaluation_files.write_text

    def refuse(path, text):
        if path.name == "report.html":
            raise DiskError("full")
        real(path, text)

    monkeypatch.setattr(evaluation_files, "write_text", refuse)
    with pytest.raises(DiskError, match="full"):
        keep_report(tmp_path, smallest_report(participants=["ann"]), "<p>ann</p>")
    assert (tmp_path / "report.html").read_text() == "<p>bob</p>"
    assert json.loads((tmp_path / "report.json").read_text())["participants"] == ["ann", "bob"]
    monkeypatch.undo()
    keep_report(tmp_path, smallest_report(participants=["ann"]), "<p>ann</p>")
    assert json.loads((tmp_path / "report.json").read_text())["participants"] == ["ann"]


def test_a_killed_renaming_leaves_both_names(tmp_path):
    leave(tmp_path, {"report.json": ["ann", "bob"], "pairs.json": ["ann"]})
    rename_in(tmp_path, "bob", ["bob", "ben"])
    assert json.loads((tmp_path / "report.json").read_text()) == {"participants": ["ann", "ben", "bob"], "name": "bob"}
    rename_in(tmp_path, "bob", ["ben"])
    assert json.loads((tmp_path / "report.json").read_text())["participants"] == ["ann", "ben"]
    assert json.loads((tmp_path / "pairs.json").read_text())["participants"] == ["ann"]
