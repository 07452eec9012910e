"""`ditto forget`: an adapter is gone with all that evaluations of others hold of it, and nothing else is."""

import io
import json
import shutil

import pytest

from ditto_cli.evaluation.traces import forget_in, known_mark, mark_of, marked_page
from ditto_cli.store import AdapterStore

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
    folder = evaluations(ditto, "bob")
    own = {"schema_version": 2, "marks": [mark(ditto, "bob")], "writings": []}
    (folder / "writings-own.json").write_text(json.dumps(own))
    (folder / "report.html").write_text(marked_page("bob against base and alice's shadow", own["marks"]))
    return ditto


@pytest.fixture
def evaluated(tmp_path, evaluated_once):
    from cli_helpers import Ditto

    shutil.copytree(evaluated_once.home, tmp_path / "home")
    return Ditto(tmp_path / "home", evaluated_once.base)


def evaluations(ditto, name):
    return ditto.home / "adapters" / name / "evaluation"


def mark(ditto, name):
    return known_mark(evaluations(ditto, name))


def writings(ditto, name):
    """Marks of each file of writings in an adapter's evaluation folder."""
    return [json.loads(path.read_text())["marks"] for path in evaluations(ditto, name).glob("writings-*")]


def answers(ditto, name):
    """Marks of each answer of the person who judged."""
    lines = (evaluations(ditto, name) / "answers-me.jsonl").read_text().splitlines()
    return [json.loads(line).get("marks", []) for line in lines]


def traces(ditto, mark):
    """All files of the store that carry a mark."""
    return [path for path in ditto.home.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]


def test_writings_lie_with_whoever_wrote_and_say_for_whom(evaluated):
    alice, bob = mark(evaluated, "alice"), mark(evaluated, "bob")
    assert {tuple(marks) for marks in writings(evaluated, "alice")} == {(alice,)}
    for_alice = [marks for marks in writings(evaluated, "bob") if alice in marks]
    assert for_alice == [sorted([alice, bob])] * 2  # bob, bob:sft
    page = (evaluations(evaluated, "alice") / "report.html").read_text()
    assert page.endswith(f"<!-- texts of:{''.join(f' {m}' for m in sorted([alice, bob]))} -->\n")
    assert {tuple(marks) for marks in answers(evaluated, "alice")} >= {(), (bob,)}


def test_all_of_an_adapter_goes_and_the_rest_stays(evaluated):
    bob, before = mark(evaluated, "bob"), evaluated.snapshot()
    num_kept = answers(evaluated, "alice").count([])
    num_gone = len(answers(evaluated, "alice")) - num_kept
    result = evaluated("forget", "bob", "--yes")
    assert (result.code, result.out) == (0, "")
    said = " ".join(result.err.split())
    assert "Removed bob (" in said
    assert "Removed from evaluations of other adapters: 2 files with texts of it (" in said
    assert f" MiB), {num_gone} answers of judges about them" in said
    assert evaluated.names() == ["alice"]
    assert traces(evaluated, bob) == []
    assert answers(evaluated, "alice") == [[]] * num_kept
    after = evaluated.snapshot()
    changed = {
        path for path in before if before[path] != after.get(path) and not path.startswith(("adapters/bob", "locks"))
    }
    assert changed == {
        f"adapters/alice/evaluation/{file}" for file in ("report.html", "pairs.json", "answers-me.jsonl")
    }


def test_what_it_wrote_for_prompts_of_the_forgotten_goes_too(evaluated):
    alice, own = mark(evaluated, "alice"), [m for m in writings(evaluated, "bob") if len(m) == 1]
    report = (evaluations(evaluated, "bob") / "report.html").read_bytes()
    assert evaluated("forget", "alice", "--yes").code == 0
    assert traces(evaluated, alice) == []
    assert writings(evaluated, "bob") == own != []
    assert (evaluations(evaluated, "bob") / "report.html").read_bytes() == report  # it shows no text of alice


def test_it_is_found_under_a_new_name_and_a_namesake_is_left_alone(evaluated):
    bob = mark(evaluated, "bob")
    assert evaluated("adapters", "rename", "bob", "ben").code == 0
    shutil.copytree(evaluated.home / "adapters" / "ben" / "generations", evaluated.home / "adapters/bob/generations")
    assert evaluated("forget", "bob", "--yes").code == 0
    assert (evaluations(evaluated, "alice") / "report.html").exists()
    assert evaluated("forget", "ben", "--yes").code == 0
    assert traces(evaluated, bob) == []
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


def test_files_without_marks_go_where_they_may_show_the_forgotten(tmp_path):
    (tmp_path / "writings-1.json").write_text('{"schema_version":1,"writings":[]}')  # an older ditto's
    (tmp_path / "writings-2.json").write_text("{")
    (tmp_path / "named.html").write_text("<p>bob:sft</p>")
    (tmp_path / "other.html").write_text("<p>bobby, bob-2, my.bob</p>")
    (tmp_path / ".tmp-1").write_text("half a report")
    (tmp_path / "prompts.json").write_text("bob")
    assert forget_in(tmp_path, "bob", None) == {"files": 4, "bytes": 34 + 1 + 14 + 13}
    assert {path.name for path in tmp_path.iterdir()} == {"other.html", "prompts.json"}


def test_a_page_with_marks_is_not_judged_by_names(tmp_path):
    (tmp_path / "report.html").write_text(marked_page("<p>bob</p>\n", ["0" * 32]))
    assert forget_in(tmp_path, "bob", "1" * 32).total() == 0
    assert forget_in(tmp_path, "ann", "0" * 32)["files"] == 1


def test_a_comment_in_a_text_is_no_mark(tmp_path):
    forged = f"<!-- texts of: {'0' * 32} -->"
    (tmp_path / "report.html").write_text(marked_page(f"<p>{forged}</p>", ["1" * 32]))
    assert forget_in(tmp_path, "ann", "0" * 32).total() == 0


def test_a_mark_is_made_once_and_a_damaged_one_anew(tmp_path):
    assert known_mark(tmp_path) is None
    first = mark_of(tmp_path)
    assert mark_of(tmp_path) == known_mark(tmp_path) == first
    (tmp_path / "mark").write_bytes(b"\xff" * 32)
    assert known_mark(tmp_path) is None
    assert mark_of(tmp_path) != first
