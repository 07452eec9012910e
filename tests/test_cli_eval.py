"""`ditto eval` from the command line, on the tiny base: figures, files, judges, and every way to hold it wrong."""

import json
import shutil
import stat

import pytest

from conftest import save_tiny_base
from ditto_cli.evaluation import contestants
from ditto_cli.evaluation.evaluate import extracted_in_training
from ditto_cli.evaluation.report import EvalReport
from ditto_cli.store import AdapterStore
from ditto_cli.store.records import seal

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"  # stands in every demonstration of the plugin's
QUICK = ["--num", "1", "--device", "cpu"]
# What a person may type besides an answer is refused and asked again.
ANSWERS = "a\nb\n=\nperhaps\na\n" + "b\n" * 100


@pytest.fixture
def prompts_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text("# two of my own\nInvite Di to lunch.\n\nThank Ed.\n")
    return path


@pytest.fixture
def quick(prompts_file):
    """Few prompts, one text each."""
    return [*QUICK, "--prompts", prompts_file]


def evaluated(ditto, *arguments, **options):
    result = ditto("eval", *arguments, "--json", **options)
    assert result.code == 0, result.err
    return EvalReport.model_validate(json.loads(result.out))


def without_times(report):
    return report.model_copy(update={"created": "", "run": report.run.model_copy(update={"seconds": 0.0})})


def test_the_whole_of_it(trained):
    result = trained("eval", "--adapter", "alice", *QUICK)
    assert result.code == 0, result.err
    place = AdapterStore(trained.home).folder("alice") / "evaluation" / "report.html"
    assert f"Report: {place}" in result.err.replace("\n", "")
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert "<script" not in place.read_text()
    published = trained.record("alice").published
    first = " ".join(result.out.split())
    assert f"alice:{published}" in first
    for rival in ("base", "few-shot", "judgements"):
        assert rival in first


def test_everybody_writes_for_the_same_prompts_and_every_figure_is_there(trained):
    report = evaluated(trained, "--adapter", "alice", *QUICK)
    record = trained.record("alice")
    others = {"base", "few-shot", "texts", *record.stage_names} - {record.published}
    assert report.contestants[0].title == f"alice:{record.published}"
    assert {c.title for c in report.contestants[1:]} == others
    assert {(r.contestant, r.opponent) for r in report.win_rates if r.contestant.startswith("alice")} == {
        (f"alice:{record.published}", other) for other in others
    }
    assert all(rate.num_judgements == rate.num_prompts == 12 for rate in report.win_rates)
    assert {rate.contestant for rate in report.pool_rates} == {c.title for c in report.contestants}
    assert len(report.samples) == 12
    assert all(set(row.texts) == {c.title for c in report.contestants} for row in report.samples)
    assert report.run.num_demonstrations == 2
    assert report.run.judge_sees_texts_elsewhere is False
    by_title = {c.title: c for c in report.contestants}
    published = next(stage for stage in record.stages if stage.stage == record.published)
    assert by_title[f"alice:{record.published}"].leakage.extracted_words == published.metrics["selection/extracted"]
    assert by_title["few-shot"].leakage.extracted_words is None
    assert by_title["base"].held_out_loss is None  # nothing was kept back
    assert report.verdict.keep in by_title


def test_same_seed_same_figures_with_and_without_the_writings_of_before(trained, quick, monkeypatch):
    first = evaluated(trained, "--adapter", "alice", *quick)
    calls = []
    monkeypatch.setattr(contestants, "sample", lambda *_, **__: calls.append(1))
    assert without_times(evaluated(trained, "--adapter", "alice", *quick)) == without_times(first)
    assert calls == []
    monkeypatch.undo()
    shutil.rmtree(AdapterStore(trained.home).folder("alice") / "evaluation")
    assert without_times(evaluated(trained, "--adapter", "alice", *quick)) == without_times(first)
    other = evaluated(trained, "--adapter", "alice", *quick, "--seed", "1")
    assert [row.texts for row in other.samples] != [row.texts for row in first.samples]


def test_the_prompts_of_the_users_own(trained, quick):
    report = evaluated(trained, "--adapter", "alice", *quick)
    assert [(row.prompt, row.source) for row in report.samples] == [
        ("Invite Di to lunch.", "given"),
        ("Thank Ed.", "given"),
    ]


def test_texts_kept_back_give_loss_and_chrf(trained, tmp_path, folder_of):
    folder = shutil.copytree(trained.record("alice").folder, tmp_path / "copy")
    folder_of({"c.md": "---\nprompt: Ask Di.\n---\nhi di - when? x", "d.md": "no prompt here"}, name="copy/held_out")
    result = trained("eval", folder, "--adapter", "alice", *QUICK, "--json")
    report = EvalReport.model_validate(json.loads(result.out))
    assert "held_out/d.md is left out" in result.err
    assert (report.samples[0].source, report.samples[0].author_text) == ("held_out", "hi di - when? x")
    assert all(c.held_out_loss > 0 for c in report.contestants if c.title not in ("few-shot", "texts"))
    assert all(0 <= c.chrf <= 100 for c in report.contestants)
    assert report.run.num_held_out == 1


def test_what_was_trained_on_is_not_held_out(trained, tmp_path, folder_of):
    own = trained.record("alice").folder
    folder = shutil.copytree(own, tmp_path / "copy")
    first, second = sorted(path for path in folder.iterdir() if path.suffix == ".md")
    (folder / "held_out").mkdir()
    second.rename(folder / "held_out" / second.name)  # trained on
    copied = first.read_text().replace("prompt: ", "prompt: Now ", 1)
    (folder / "held_out" / "copied.md").write_text(copied)  # stands in a demonstration
    result = trained("eval", folder, "--adapter", "alice", *QUICK, "--against", "base", "--json")
    report = EvalReport.model_validate(json.loads(result.out))
    assert report.run.num_held_out == 0
    assert "held_out/copied.md is left out: most of it stands in a demonstration" in result.err
    assert any(f"alice was trained on held_out/{second.name}" in note for note in report.warnings)
    assert any("are not those that alice was trained on" in note for note in report.warnings)


def test_kept_back_texts_have_prompts_of_their_own(trained, tmp_path, folder_of):
    folder = shutil.copytree(trained.record("alice").folder, tmp_path / "copy")
    first = min(path.name for path in folder.iterdir() if path.suffix == ".md")
    folder_of({first: "---\nprompt: Thank Zoe.\n---\nta zoe x", "d.md": "hi there"}, name="copy/held_out")
    prompts = {"prompts": {first: "A demonstration's.", "held_out/d.md": "Greet."}}
    (folder / "ditto.yaml").write_text(json.dumps(prompts))
    report = evaluated(trained, folder, "--adapter", "alice", *QUICK, "--against", "base")
    assert [row.prompt for row in report.samples if row.source == "held_out"] == ["Thank Zoe.", "Greet."]


def test_an_empty_folder_of_kept_back_texts_is_none(trained, tmp_path):
    folder = shutil.copytree(trained.record("alice").folder, tmp_path / "copy")
    (folder / "held_out").mkdir()
    assert evaluated(trained, folder, "--adapter", "alice", *QUICK, "--against", "base").run.num_held_out == 0


def test_a_prompt_that_was_trained_on_is_said(trained, tmp_path):
    trained_on = tmp_path / "p.txt"
    trained_on.write_text("Invite Bo.\nThank Ed.\n")
    report = evaluated(trained, "--adapter", "alice", *QUICK, "--against", "base", "--prompts", trained_on)
    assert any(note.startswith("1 of 2 prompts are those of demonstrations") for note in report.warnings)


def test_rivals_are_stages_other_adapters_and_their_stages(trained, quick):
    report = evaluated(trained, "--adapter", "alice", "--against", "base,bob, bob:sft", *quick)
    assert [c.title for c in report.contestants[1:]] == ["base", "bob", "bob:sft"]
    assert [c.kind for c in report.contestants[1:]] == ["base", "adapter", "adapter"]
    record = trained.record("alice")
    stage = next(name for name in record.stage_names if name != record.published)
    short = evaluated(trained, "--adapter", "alice", "--against", f"few-shot,alice:{stage},{stage}", *quick)
    assert [c.title for c in short.contestants[1:]] == ["few-shot", stage]
    assert short.contestants[2].kind in ("sft", "round")


def test_a_few_shot_prompt_without_a_text_is_the_base_and_does_not_compete(trained, quick, monkeypatch):
    monkeypatch.setattr(contestants, "fitting_shots", lambda *_, **__: ())
    result = trained("eval", "--adapter", "alice", "--against", "few-shot,base", *quick, "--json")
    report = EvalReport.model_validate(json.loads(result.out))
    assert [c.title for c in report.contestants[1:]] == ["base"]
    assert "No few-shot prompt competes: not one of the texts fits" in " ".join(result.err.split())
    alone = trained("eval", "--adapter", "alice", "--against", "few-shot", *quick)
    assert alone.code == 2
    assert "Nobody is left to compare with" in alone.error


def test_the_report_goes_where_it_is_wanted_and_its_evaluations_go_with_the_adapter(trained, quick, tmp_path):
    place = tmp_path / "mine.html"
    assert trained("eval", "--adapter", "alice", *quick, "--report", place).code == 0
    assert place.read_text().startswith("<!DOCTYPE html>")
    assert trained("adapters", "rename", "alice", "al").code == 0
    assert (AdapterStore(trained.home).folder("al") / "evaluation").is_dir()
    assert trained("adapters", "rm", "al", "--yes").code == 0
    assert not list(trained.home.rglob("evaluation"))


def test_you_as_judge_are_asked_blind_and_it_resumes_where_you_stopped(trained, quick):
    start = ["--adapter", "alice", "--judge", "me", "--against", "base,few-shot", *quick]
    result = trained("eval", *start, stdin="a\nb\nq\n")
    assert result.code == 0, result.err
    questions = result.err.count("Which one sounds more like you?")
    assert questions == 3
    assert "base" not in result.err.split("Which one")[0].split("1 of")[-1]
    again = trained("eval", *start, stdin=ANSWERS)
    assert again.code == 0, again.err
    # Four pairs in all, equal texts are not asked about, and two are answered.
    assert again.err.count("Which one sounds more like you?") <= 2
    assert "answers-me.jsonl" in [path.name for path in trained.home.rglob("*.jsonl")]
    kept = next(trained.home.rglob("answers-me.jsonl")).read_text()
    assert MARKER not in kept
    assert "Invite" not in kept


def test_a_local_model_as_judge(trained, quick, tmp_path):
    judge = save_tiny_base(tmp_path / "judge", context_tokens=4096, seed=1)
    arguments = ["--adapter", "alice", "--judge", "model", "--model", judge, "--against", "base", *quick]
    report = evaluated(trained, *arguments)
    assert report.run.judge.startswith("model")
    assert len(report.win_rates) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--adapter", "nobody"], "nobody"),
        (["--adapter", "alice", "--against", "base,,sft"], "empty name"),
        (["--adapter", "alice", "--against", "carol"], "carol"),
        (["--adapter", "alice", "--against", "round9"], "round9"),
        (["--adapter", "alice", "--judge", "openai"], "--base-url"),
        (["--adapter", "alice", "--judge", "openai", "--base-url", "ftp://x/v1", "--model", "m"], "ftp"),
        (["--adapter", "alice", "--base-url", "http://127.0.0.1:9/v1"], "--judge openai"),
        (["--adapter", "alice", "--model", "m"], "--judge"),
        (["--adapter", "alice", "--prompts", "/nowhere.txt"], "/nowhere.txt"),
        (["--adapter", "alice", "--report", "/nowhere/x.html"], "/nowhere"),
        (["--adapter", "alice", "--report", "/"], "that is a folder"),
        (["--adapter", "alice", "--judge", "openai", "--base-url", "https://e.org/v1", "--model", "m"], "say --yes"),
        (
            ["--adapter", "alice", "--judge", "openai", "--base-url", "https://e.org/v1", "--model", "m", "--offline"],
            "offline",
        ),
        (["/nowhere"], "/nowhere"),
        (["--cross-validate", "2"], "folder"),
    ],
)
def test_mistakes_are_one_line(trained, arguments, message):
    before = trained.snapshot()
    result = trained("eval", *arguments)
    assert (result.code, message in result.error) == (2, True), result.err
    assert trained.snapshot() == before


def test_the_published_stage_is_no_rival_of_its_own(trained):
    published = trained.record("alice").published
    for name in (published, f"alice:{published}", "alice"):
        result = trained("eval", "--adapter", "alice", "--against", name)
        assert result.code == 2
        assert "published" in result.error


def test_texts_never_leave_without_a_yes(trained, quick):
    arguments = ["--adapter", "alice", "--judge", "openai", "--base-url", "https://judge.example/v1", "--model", "m"]
    result = trained("eval", *arguments, *quick)
    assert result.code == 2
    assert "leave this machine" in result.err
    assert "--yes" in result.error


def test_a_server_that_is_not_there_is_one_line(trained, quick, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # of the client, before it asks again
    arguments = ["--adapter", "alice", "--judge", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]
    result = trained("eval", *arguments, *quick, "--against", "base")
    assert result.code == 1
    assert "127.0.0.1:9" in result.error


def test_texts_that_have_moved_or_changed_are_said(trained, quick, tmp_path):
    folder = shutil.copytree(trained.record("alice").folder, tmp_path / "moved")
    (folder / "a.md").write_text("---\nprompt: Invite Bo.\n---\nsomething else now")
    result = trained("eval", folder, "--adapter", "alice", "--against", "base", *quick)
    assert result.code == 0
    assert "are not those that alice was trained on" in " ".join(result.err.split())
    (path,) = trained.home.glob("adapters/alice/generations/*/record.json")
    path.write_bytes(seal(trained.record("alice").model_copy(update={"folder": "/gone"})))
    gone = trained("eval", "--adapter", "alice")
    assert gone.code == 2
    assert "ditto eval FOLDER --adapter alice" in gone.error


def test_eval_mistakes_need_no_torch(ditto, texts):
    for arguments in (["eval", "--adapter", "nobody"], ["eval", "/nowhere"], ["eval", "--judge", "openai"]):
        assert ditto.without("torch,transformers", *arguments).code == 2, arguments


def test_what_an_imported_adapter_says_of_itself_is_not_shown_as_measured(trained):
    record = trained.record("alice")
    assert extracted_in_training(record, "alice").keys() == {"alice", *record.stage_names}
    stages = [stage.model_copy(update={"metrics": {"selection/extracted": float("nan")}}) for stage in record.stages]
    imported = record.model_copy(update={"demonstration_hashes": [], "stages": stages})
    assert extracted_in_training(imported, "alice") == {}
