"""`ditto eval --cross-validate`: what is refused before training, which settings, where it writes, what it advises."""

import json
import sys

import pytest

from conftest import save_tiny_base
from ditto_cli.cli.eval import TRAINED
from ditto_cli.config import Settings
from ditto_cli.evaluation.contestants import Contestant, WritingPlan
from ditto_cli.evaluation.evaluate import _write_all
from ditto_cli.evaluation.judgements import Author, EvalPrompt, Writing
from ditto_cli.evaluation.report import EvalReport
from ditto_cli.method import ditto as method
from ditto_cli.method import run
from ditto_cli.types import Demonstration

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"
NAMES = ("bo", "cy", "di", "ed")
OPENAI = ["--judge", "openai", "--base-url", "http://127.0.0.1:9/v1", "--model", "m"]


@pytest.fixture(autouse=True)
def working_folder(tmp_path, monkeypatch):
    """The current directory, with nothing in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def folder(ditto, folder_of):
    """Four texts with the smallest settings in ditto.yaml, by the name of an adapter that does not exist."""
    folder = folder_of({f"{n}.md": f"---\nprompt: Write to {n}.\n---\nhi {n} - {MARKER}? x" for n in NAMES}, name="dee")
    (folder / "ditto.yaml").write_text(
        f"base: {{id: {ditto.base}, quantize: none}}\nsft: {{max_steps: 2}}\nrounds: {{num: 1, steps: 1}}\n"
        "sampling: {completions_per_prompt: 2}\npreset: smollm2-135m-cpu\n"
    )
    return folder


@pytest.fixture
def jobs(monkeypatch):
    """The jobs that were trained."""
    jobs = []
    real = run.train_ditto

    def noted(policy, job, *others):
        jobs.append(job)
        return real(policy, job, *others)

    monkeypatch.setattr(run, "train_ditto", noted)
    return jobs


@pytest.fixture
def untrainable(monkeypatch):
    """Fail where anything is trained."""
    monkeypatch.setattr(run, "train_ditto", lambda *_: pytest.fail("trained"))


def cross_validate(ditto, folder, *arguments, folds=2):
    return ditto("eval", folder, "--cross-validate", folds, "--num", "1", "--device", "cpu", *arguments)


def said(result):
    return " ".join(result.err.split())


def test_every_text_is_judged_by_a_model_that_never_saw_it(ditto, folder, working_folder, jobs):
    before = sorted(path.name for path in folder.iterdir())
    result = cross_validate(ditto, folder, "--json")
    assert result.code == 0, result.err
    report = EvalReport.model_validate(json.loads(result.out))
    assert {row.author_text for row in report.samples} == {f"hi {n} - {MARKER}? x" for n in NAMES}
    assert (report.run.num_demonstrations, report.run.num_held_out, report.run.num_prompts) == (4, 4, 4)
    assert {c.title for c in report.contestants} == {TRAINED, "base", "few-shot", "sft"}
    assert all(rate.num_prompts == 4 for rate in report.win_rates)
    assert f"None of them is kept: ditto train {folder} makes one" in report.warnings[0]
    assert "preset smollm2-135m-cpu with ditto.yaml" in said(result)
    assert [job.settings.sft.max_steps for job in jobs] == [2, 2]
    # Nothing is left but the report: no adapter, and no folder of one that `adapters rm` would not know.
    assert sorted(path.name for path in folder.iterdir()) == before
    assert [path.name for path in working_folder.iterdir()] == ["cross-validation.html"]
    assert set(ditto.snapshot()) <= {"key"}


def test_a_fold_that_would_have_no_pair_to_compare_is_refused_before_any_training(ditto, folder, jobs):
    settings = (folder / "ditto.yaml").read_text()
    (folder / "ditto.yaml").write_text(settings.replace("completions_per_prompt: 2", "completions_per_prompt: 0"))
    (folder / "pairs.jsonl").write_text('{"prompt": "Write to bo.", "chosen": "yo", "rejected": "Hello."}\n')
    result = cross_validate(ditto, folder)
    assert result.code == 2
    assert "needs given pairs" in result.error
    assert not jobs


def test_of_a_trained_folder_it_takes_the_adapters_settings_and_place(trained, working_folder, jobs):
    record = trained.record("alice")
    result = cross_validate(trained, record.folder)
    assert result.code == 0, result.err
    assert "Settings: those that adapter alice was trained with." in said(result)
    for job in jobs:
        assert job.settings.model_copy(update={"base": record.settings.base}) == record.settings
    assert record.settings.sft.max_steps != Settings().sft.max_steps
    assert list(working_folder.iterdir()) == []
    place = trained.home / "adapters" / "alice" / "evaluation" / "cross-validation.html"
    assert "alice stands for 2 adapters" in place.read_text()
    assert TRAINED not in result.out
    assert trained.record("alice") == record


def test_another_base_than_the_adapters_is_refused(trained, tmp_path, untrainable):
    other = save_tiny_base(tmp_path / "other", seed=1)
    result = cross_validate(trained, trained.record("alice").folder, "--base", other)
    assert (result.code, "alice does not belong to this base" in result.error) == (3, True)


@pytest.mark.parametrize(
    ("arguments", "folds", "message"),
    [
        (["--report", "/nowhere/x.html"], 2, "/nowhere"),
        (["--report", "/"], 2, "that is a folder"),
        ([], 5, "it can be 2 to 4"),
        (["--judge", "openai"], 2, "--base-url"),
        (["--judge", "model", "--model", "/nowhere"], 2, "/nowhere"),
        (["--style-encoder", "/nowhere"], 2, "--style-encoder"),
        (["--against", "base"], 2, "--against"),
    ],
)
def test_mistakes_are_told_before_training(ditto, folder, working_folder, untrainable, arguments, folds, message):
    result = cross_validate(ditto, folder, *arguments, folds=folds)
    assert (result.code, message in result.error) == (2, True), result.err
    assert set(ditto.snapshot()) <= {"key"}
    assert list(working_folder.iterdir()) == []


def test_a_text_that_no_base_can_read_is_told_before_training(ditto, folder, untrainable):
    (folder / "z.md").write_text("---\nprompt: Go on.\n---\n" + "on and on " * 100)
    result = cross_validate(ditto, folder)
    assert (result.code, "z.md has" in result.error) == (2, True)


def test_a_folder_in_the_reports_usual_place_is_told_before_training(ditto, folder, working_folder, untrainable):
    (working_folder / "cross-validation.html").mkdir()
    result = cross_validate(ditto, folder)
    assert (result.code, "that is a folder" in result.error) == (2, True)


def test_the_openai_package_is_missed_before_training(ditto, folder, monkeypatch, untrainable):
    monkeypatch.setitem(sys.modules, "openai", None)
    result = cross_validate(ditto, folder, *OPENAI)
    assert (result.code, "not installed" in result.error) == (2, True)


def test_a_name_that_leads_out_of_the_store_is_refused(ditto, folder, tmp_path, untrainable):
    with (folder / "ditto.yaml").open("a") as file:
        file.write("name: ../../../evil\n")
    before = sorted(tmp_path.rglob("*"))
    result = cross_validate(ditto, folder)
    assert (result.code, "cannot be an adapter's name" in result.error) == (2, True)
    assert sorted(tmp_path.rglob("*")) == before


def test_ctrl_c_in_a_fold_keeps_nothing_and_says_so(ditto, folder, working_folder, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(method, "draw_comparisons", stop)  # SFT is finished by then
    result = cross_validate(ditto, folder)
    assert result.code == 130
    assert result.error == "error: Cross-validation was interrupted; nothing of it is kept."
    assert "goes on" not in result.err
    assert ditto.names() == []
    assert list(working_folder.iterdir()) == []


@pytest.mark.parametrize("num", [1, 2])
def test_writings_are_told_apart_whatever_their_prompts_are_called(num):
    texts = tuple(Demonstration(name, f"Tell {name}.", name) for name in ("a.md", "b.md"))
    prompt = EvalPrompt("background-a.md", "Tell more.", "held_out", None)
    plan = WritingPlan((prompt,), num, 0, 1.0, 8)

    def writer(contestant, plan):
        wanted = [(prompt, index) for prompt in plan.prompts for index in range(plan.num)]
        return [Writing(contestant.title, p.id, i, f"{contestant.title}: {p.prompt}", 1, ended=True) for p, i in wanted]

    contestants = [Contestant("alice", "round", "alice"), Contestant("base", "base")]
    writings, background = _write_all(Author(texts, ()), contestants, plan, writer)
    assert {title: [w.text for w in own] for title, own in writings.items()} == {
        title: [f"{title}: Tell more."] * num for title in ("alice", "base")
    }
    assert background == ["base: Tell a.md.", "base: Tell b.md."]
