"""`ditto train`, from a folder to a published adapter, on a tiny base."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"


def facts(result):
    """The plan, which stands below the audit's table and its notes."""
    lines = result.err.splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("adapter "))
    return dict(line.split(maxsplit=1) for line in lines[start : start + 7] if len(line.split()) > 1)


def test_a_run_shows_its_plan_its_progress_and_what_changed(ditto, texts):
    result = ditto.train(texts)
    assert result.code == 0, result.err
    # stdout: the stages, then what the held prompt got at each
    out = result.out.splitlines()
    header = next(line for line in out if "stage" in line)
    assert all(word in header for word in ("time", "loss", "reward margin"))
    assert [line.split()[0] for line in out if line.startswith(("│sft", "│round1"))] == ["│sft", "│round1"]
    assert any(line.startswith("prompt  Write a short email to a colleague") for line in out)
    assert any(all(title in line for title in ("base", "sft", "round1")) for line in out)
    # stderr: the plan, then a line a stage
    err = result.err.splitlines()
    plan = facts(result)
    assert result.err.index("warnings") < result.err.index("adapter ")  # the audit comes first
    assert plan["adapter"] == "alice"
    assert plan["texts"].startswith("2, ")
    assert plan["base"] == f"{ditto.base}, not quantised"
    assert plan["preset"] == "smollm2-135m-cpu"
    assert plan["steps"] == "SFT up to 2 updates, then 1 rounds of 4 samples and 1 DPO updates"
    assert [match[1] for line in err if (match := re.match(r"(.+: \d+ \w+) in \d+ s", line))] == [
        "base: writing: 3 samples",  # for the held prompt, and what the author's style is told from
        "SFT: 2 updates",
        # the same, for the first round, for new prompts to choose by, and where it goes on with the two texts
        "sft: writing: 15 samples",
        "round 1: DPO: 1 updates",
        "round1: writing: 11 samples",
    ]
    assert [line.strip() for line in err if line.endswith(" writes:")] == [
        "base writes:",
        "sft writes:",
        "round1 writes:",
    ]
    assert 'ditto sample --adapter alice "Write a short email' in err[-3]
    assert err[-2].strip() == "ditto eval --adapter alice"
    assert err[-1] == "hosts contacted: none"
    for control in ("\x1b", "\r", "\x07"):
        assert control not in result.out + result.err
    assert MARKER not in result.out + result.err


def test_what_a_run_stores(ditto, texts):
    ditto.train(texts, "--seed", "5", "--publish", "last")
    record = ditto.record("alice")
    assert record.stage_names == ["sft", "round1"]
    assert (record.published, record.num_demonstrations) == ("round1", 2)
    assert record.reason.startswith("--publish last (style and task on 8 new prompts: sft ")
    assert record.folder == str(texts)
    assert {"selection/style", "selection/task", "selection/ended"} <= set(record.stages[0].metrics)
    assert record.base.id == str(ditto.base)
    assert (record.settings.seed, record.settings.sft.max_steps, record.settings.rounds.num) == (5, 2, 1)
    assert record.stages[0].metrics["steps"] == 2
    assert record.stages[1].metrics["comparisons/online"] == 6  # 3 for each demonstration
    assert len(record.demonstration_hashes) == 2
    for path in ditto.home.rglob("*"):  # no text of the person anywhere in the store
        assert path.is_dir() or MARKER.encode() not in path.read_bytes()


def test_the_same_inputs_give_the_same_bytes_and_another_seed_others(ditto, texts):
    def weights(name, *arguments):
        assert ditto.train(texts, "--name", name, *arguments).code == 0
        return (ditto.stage(name) / "adapter_model.safetensors").read_bytes()

    assert weights("one") == weights("two") != weights("three", "--seed", "1")


def test_the_name_comes_from_the_flag_the_settings_or_the_folder(ditto, folder_of, monkeypatch):
    text = {"a.txt": f"---\nprompt: Say hi.\n---\nhi {MARKER}"}
    named = folder_of({**text, "ditto.yaml": "name: anna\n"}, "named")
    plain = folder_of(text, "Mes Étés")
    monkeypatch.setattr("ditto_cli.method.run.train_ditto", Stop())
    for folder, arguments, expected in (
        (named, ["--name", "flag"], "flag"),
        (named, [], "anna"),
        (plain, [], "Mes-Etes"),
        (f"{plain}/", [], "Mes-Etes"),
    ):
        assert planned_name(ditto.train(folder, *arguments)) == expected
    monkeypatch.chdir(plain)
    assert planned_name(ditto.train(".")) == "Mes-Etes"


def test_a_second_run_replaces_the_first(ditto, texts):
    ditto.train(texts)
    first = ditto.record("alice")
    result = ditto.train(texts, "--set", "rounds.num=0")
    assert result.code == 0
    assert "note: There is an adapter alice already: it stays in use until this run is finished" in result.err
    second = ditto.record("alice")
    assert (first.stage_names, second.stage_names, second.published) == (["sft", "round1"], ["sft"], "sft")
    assert ditto.names() == ["alice"]
    assert ditto("sample", "--adapter", "alice", "--max-tokens", "3", "hi").code == 0


def test_a_failed_run_leaves_the_adapter_as_it_was(trained, folder_of, monkeypatch):
    before = trained.snapshot()
    monkeypatch.setattr("ditto_cli.method.updates.Updater.update", Stop())
    result = trained.train(folder_of({"a.txt": "---\nprompt: p\n---\nhi"}), "--name", "alice")
    assert result.code == 1
    after = trained.snapshot()
    assert {path: after[path] for path in before} == before
    assert {path.split("/")[2] for path in after.keys() - before.keys()} == {"run"}  # what the next one goes on from


def test_forty_demonstrations_work_with_a_warning(ditto, folder_of):
    many = {f"{number:02}.txt": f"---\nprompt: Say {number}.\n---\nhi {number}" for number in range(40)}
    result = ditto.train(folder_of(many), "--set", "sampling.completions_per_prompt=1")
    assert result.code == 0, result.err
    assert "note: 40 texts are many: DITTO is made for fewer than ten" in result.err
    assert ditto.record("texts").num_demonstrations == 40


def test_one_demonstration_works_without_a_warning(ditto, folder_of):
    result = ditto.train(folder_of({"a.txt": "---\nprompt: Say hi.\n---\nhi there"}))
    assert result.code == 0, result.err
    assert "are many" not in result.err


def test_settings_come_from_the_strongest_layer(ditto, folder_of, tmp_path):
    preset = tmp_path / "mine.yaml"
    preset.write_text(
        f"base: {{id: {ditto.base}, quantize: none}}\n"
        "dpo: {beta: 0.01, learning_rate: 1e-5, max_grad_norm: 0.9, warmup_ratio: 0.9}\n"
        "sft: {max_steps: 1}\nrounds: {num: 1, steps: 1}\nsampling: {completions_per_prompt: 1}\nlora: {r: 2}\n"
    )
    folder = folder_of(
        {
            "a.txt": "---\nprompt: Say hi.\n---\nhi there",
            "ditto.yaml": "dpo: {beta: 0.02, learning_rate: 2e-5, max_grad_norm: 0.8}\nseed: 2\n",
        }
    )
    environment = {
        "DITTO_DPO__BETA": "0.03",
        "DITTO_DPO__LEARNING_RATE": "3e-5",
        "DITTO_PRESET": str(preset),
        "DITTO_SEED": "3",
    }
    result = ditto("train", folder, "--device", "cpu", "--set", "dpo.beta=0.04", "--seed", "4", environment=environment)
    assert result.code == 0, result.err
    settings = ditto.record("texts").settings
    assert settings.dpo.beta == 0.04  # --set
    assert settings.seed == 4  # a flag of its own
    assert settings.dpo.learning_rate == 3e-5  # DITTO_DPO__LEARNING_RATE
    assert settings.dpo.max_grad_norm == 0.8  # ditto.yaml
    assert (settings.dpo.warmup_ratio, settings.lora.r) == (0.9, 2)  # preset
    assert settings.lora.alpha == 32  # default


def test_the_preset_comes_from_the_flag_the_environment_or_the_folder(ditto, folder_of, monkeypatch):
    monkeypatch.setattr("ditto_cli.method.run.train_ditto", Stop())
    folder = folder_of({"a.txt": "---\nprompt: p\n---\nhi", "ditto.yaml": "preset: qwen3-4b-12gb\n"})
    base = ["--base", ditto.base, "--quantize", "none", "--device", "cpu"]
    environment = {"DITTO_PRESET": "qwen3-8b-24gb"}
    for arguments, keywords, expected in (
        (["--preset", "paper-mistral-7b"], {"environment": environment}, "paper-mistral-7b"),
        ([], {"environment": environment}, "qwen3-8b-24gb"),
        ([], {}, "qwen3-4b-12gb"),
    ):
        result = ditto("train", folder, *base, *arguments, **keywords)
        assert facts(result)["preset"] == expected


def test_the_watch_prompt_of_the_folder_is_used(ditto, folder_of):
    folder = folder_of({"a.txt": "---\nprompt: p\n---\nhi", "ditto.yaml": "watch_prompt: Write to Zoe.\n"})
    result = ditto.train(folder)
    assert "prompt  Write to Zoe." in result.out
    assert ditto.record("texts").watch_prompt == "Write to Zoe."


def test_what_a_model_writes_is_never_obeyed(ditto, texts, monkeypatch):
    monkeypatch.setattr("ditto_cli.model.base.template.ChatFormat.text", lambda self, ids: "\x1b[2Jgone\x07\u202e")
    result = ditto.train(texts)
    assert result.code == 0
    for shown in (result.out, result.err):
        assert "\\x1b[2Jgone\\x07\\u202e" in shown
        assert not {"\x1b", "\x07", "\u202e"} & set(shown)


@pytest.mark.parametrize("there_before", [False, True])
@pytest.mark.parametrize("stage", ["sft", "round1"])
def test_ctrl_c_while_a_stages_sample_is_written_loses_nothing(trained, texts, monkeypatch, stage, there_before):
    from ditto_cli.method import ditto as method

    real = method.write

    def interrupted(*arguments, **options):
        if options["stage"] == stage:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    before = trained.snapshot()
    weights = [weights_of(trained, "alice", name) for name in ("sft", "round1")]
    metrics = [stage.metrics for stage in trained.record("alice").stages]
    name = "alice" if there_before else "new"
    with monkeypatch.context() as patch:
        patch.setattr(method, "write", interrupted)
        stopped = trained.train(texts, "--name", name, "--publish", "last")
    assert (stopped.code, stopped.out, stopped.error) == (
        130,
        "",
        f"error: Stopped, after {stage}: the same command goes on from the last checkpoint (--fresh starts over).",
    )
    after = trained.snapshot()
    assert {path: after[path] for path in before} == before
    assert trained.names() == ["alice", "bob"]
    assert f"{name} has a training that is not finished" in trained("adapters", "list").err
    result = trained.train(texts, "--name", name, "--publish", "last")
    assert result.code == 0, result.err
    said = " ".join(result.err.split())
    assert re.search(rf"Going on with the training of [^ ]+, after {stage}; --fresh starts over\.", said)
    assert [weights_of(trained, name, stage) for stage in ("sft", "round1")] == weights
    assert [stage.metrics for stage in trained.record(name).stages] == metrics
    assert not list(trained.home.rglob("run"))


def test_fresh_starts_over(trained, texts, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("ditto_cli.method.ditto.draw_comparisons", Stop(KeyboardInterrupt()))
        assert trained.train(texts, "--name", "new").code == 130
    result = trained.train(texts, "--name", "new", "--fresh")
    assert result.code == 0, result.err
    assert "SFT: 2 updates" in result.err
    assert "Going on" not in result.err
    assert weights_of(trained, "new", "sft") == weights_of(trained, "alice", "sft")


def test_ctrl_c_before_sft_is_finished_keeps_nothing(trained, texts, monkeypatch):
    before = trained.snapshot()
    monkeypatch.setattr("ditto_cli.method.ditto.imitate", Stop(KeyboardInterrupt()))
    result = trained.train(texts, "--name", "new")
    assert (result.code, result.error) == (
        130,
        "error: Stopped before SFT was finished: the same command begins anew.",
    )
    assert {path: data for path, data in trained.snapshot().items() if path != "locks/new.lock"} == before


@pytest.mark.usefixtures("ctrl_c_is_heard")
@pytest.mark.parametrize(
    ("number", "code"), [pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow), (signal.SIGTERM, 143)]
)
def test_a_signal_to_a_real_process_loses_nothing(ditto, texts, number, code):
    # So many updates that the run still is in its first round when the signal comes.
    arguments = ["train", texts, "--base", ditto.base, "--device", "cpu", "--set", "sft.max_steps=2"]
    arguments += ["--set", "rounds.num=1", "--set", "rounds.steps=60", "--set", "sampling.completions_per_prompt=1"]
    command = [sys.executable, "-m", "ditto_cli", *map(str, arguments)]
    lines = []
    with subprocess.Popen(
        command, env=ditto.variables(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        try:
            for line in process.stderr:
                lines.append(line.rstrip("\n"))
                if line.startswith("sft: writing: "):
                    break
            assert any(line.startswith("SFT: 2 updates") for line in lines), lines
            time.sleep(0.2)
            os.kill(process.pid, number)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (code, "")
    # The first line only if the signal came in the middle of an update; indented is what SFT wrote.
    unwanted = ("", "Stopping as soon as this step is done; once more stops at once.")
    said = [line for line in err.splitlines() if line not in unwanted and not line.startswith(("round 1: DPO: ", "  "))]
    hosts, error = said
    assert hosts == "hosts contacted: none"
    place = re.fullmatch(
        r"error: Stopped, in round 1 after (\d+) of 60 updates: the same command goes on from the last checkpoint "
        r"\(--fresh starts over\)\.",
        error,
    )
    assert place, err
    assert ditto.names() == []
    assert not list(ditto.home.rglob(".*"))  # nothing half-made is left
    result = ditto(*arguments)
    assert result.code == 0, result.err
    assert f"in round 1 after {place[1]} of 60 updates; --fresh" in " ".join(result.err.split())
    assert ditto.record("alice").stage_names == ["sft", "round1"]


def test_a_base_that_was_moved_is_found_with_base(ditto, texts, tmp_path):
    moved = shutil.copytree(ditto.base, tmp_path / "moved")
    ditto.train(texts, base=moved)
    shutil.rmtree(moved)
    result = ditto("sample", "--adapter", "alice", "hi")
    assert result.code == 2
    assert str(moved) in result.only_error
    assert ditto("sample", "--adapter", "alice", "--base", ditto.base, "--max-tokens", "3", "hi").code == 0


def weights_of(ditto, name, stage):
    return (ditto.stage(name, stage) / "adapter_model.safetensors").read_bytes()


class Stop:
    """A function that only raises."""

    def __init__(self, error=None):
        self.error = error or RuntimeError("stopped by the test")

    def __call__(self, *arguments, **keywords):
        raise self.error


def planned_name(result):
    return facts(result)["adapter"]


def test_which_stage_is_published(ditto, texts):
    for publish, stage in (("sft", "sft"), ("1", "round1"), ("last", "round1")):
        assert ditto.train(texts, "--publish", publish).code == 0
        assert ditto.record("alice").published == stage
    result = ditto.train(texts)
    record = ditto.record("alice")
    assert f"{record.published} is published: {record.reason}." in " ".join(result.err.split())
    assert record.reason in " ".join(ditto("adapters", "show", "alice").out.split())
    before = ditto.snapshot()
    refused = ditto.train(texts, "--publish", "2")
    assert (refused.code, "best, last, sft, round1" in refused.error) == (2, True)
    assert ditto.snapshot() == before
