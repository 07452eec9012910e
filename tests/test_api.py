"""The Python API: the example of docs/api.md as it stands there, the same outcome as the commands', and refusals."""

import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ditto_cli
from cli_helpers import MARKER, SMALL
from conftest import save_tiny_base
from ditto_cli.errors import IncompatibleError, InputError, UnknownAdapterError

pytest_plugins = ["cli_helpers"]

DOCUMENT = Path(__file__).parents[1] / "docs" / "api.md"
SETTINGS = dict(word.split("=") for word in SMALL if "=" in word)
PROMPT = "Invite Di."


@pytest.fixture
def here(monkeypatch, tmp_path):
    """Call as the commands of a `Ditto` do, in its store and in a folder of one's own."""

    def enter(ditto, **variables):
        for name in set(os.environ) - set(ditto.variables()):
            monkeypatch.delenv(name)
        for name, value in {**ditto.variables(), **variables}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(tmp_path)

    return enter


def test_the_example_of_the_document(ditto, texts, here, capsys):
    """Only the environment makes it small."""
    [example] = re.findall(r"```python\n(.+?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    settings = {f"DITTO_{key.upper().replace('.', '__')}": value for key, value in SETTINGS.items()}
    here(ditto, DITTO_BASE__ID=str(ditto.base), DITTO_PRESET="smollm2-135m-cpu", **settings)
    names = {}
    exec(compile(example, str(DOCUMENT), "exec"), names)
    assert ditto.record("alice") == names["record"]
    assert (names["record"].settings.seed, names["record"].settings.dpo.beta) == (1, 0.1)
    assert names["report"].run.num_prompts == 2
    assert (texts.parent / names["place"] / "adapter_model.safetensors").is_file()
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["sft", "round1"]
    assert "is published:" in lines[2]
    assert [line.split()[0] for line in lines if " ['" in line or ' ["' in line] == ["base", "alice:sft", "alice:0.6"]
    main = f"alice:{names['record'].published}"
    assert [line.split(" over ")[1].split()[0] for line in lines if line.startswith(f"{main} over ")] == [
        "base",
        "few-shot",
    ]
    assert "Report: " in shown.err
    assert MARKER not in shown.err


def test_train_makes_the_adapter_of_the_command(ditto, texts, here):
    assert ditto.train(texts, "--name", "one", "--set", "lora.targets=q_proj,v_proj").code == 0
    here(ditto)
    settings = {**SETTINGS, "sft.max_steps": 2, "lora.targets": ["q_proj", "v_proj"]}
    record = ditto_cli.train(
        texts, name="two", preset="smollm2-135m-cpu", base=str(ditto.base), settings=settings, device="cpu"
    )
    assert isinstance(record, ditto_cli.AdapterRecord)
    one, two = ((ditto.stage(name) / "adapter_model.safetensors").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_writer_writes_what_the_command_writes_and_swaps_voices_on_one_base(trained, here, monkeypatch):
    options = ["--max-tokens", "12", "--seed", "3", "--num", "2", "--device", "cpu", "--json"]
    shown = {voice: trained("sample", "--adapter", voice, PROMPT, *options).out for voice in ("alice", "bob:sft")}
    expected = {voice: [one["text"] for one in json.loads(out)["samples"]] for voice, out in shown.items()}
    loads = []
    here(trained)
    from ditto_cli.cli import sample

    load = sample.load_base
    monkeypatch.setattr(sample, "load_base", lambda *arguments: loads.append(arguments) or load(*arguments))
    writer = ditto_cli.Writer("alice", device="cpu")

    def written(**options):
        return writer.write(f" {PROMPT}\n", max_tokens=12, seed=3, num=2, **options)

    assert written() == expected["alice"]
    assert written(voice="bob:sft") == expected["bob:sft"]
    assert written() == expected["alice"] != written(temperature=0) != written(voice="base")
    assert len(loads) == 1


def test_a_voice_of_another_base_is_refused(trained, texts, tmp_path, here):
    assert trained.train(texts, "--name", "eve", base=save_tiny_base(tmp_path / "other", seed=1)).code == 0
    here(trained)
    writer = ditto_cli.Writer("alice", device="cpu")
    with pytest.raises(IncompatibleError, match="Adapter eve does not belong to this base"):
        writer.write(PROMPT, voice="eve")
    with pytest.raises(IncompatibleError, match="cannot share one base"):
        ditto_cli.Writer("alice:0.5+eve:0.5", device="cpu")


def test_a_text_that_is_cut_is_said(trained, here, capsys):
    here(trained)
    ditto_cli.Writer("alice", device="cpu").write(PROMPT, max_tokens=1, seed=1)
    assert "a text was cut at the length limit" in capsys.readouterr().err


def test_what_the_commands_refuse_is_refused(trained, texts, here):
    here(trained)
    writer = ditto_cli.Writer("alice", device="cpu")
    for call, words in (
        (lambda: ditto_cli.train("nowhere"), "nowhere does not exist"),
        (lambda: ditto_cli.train(texts, settings={"dpo.bta": 1}), "did you mean dpo.beta"),
        (lambda: ditto_cli.train(texts, method="spin"), "train, method: Input should be 'ditto', 'sft' or 'dpo'"),
        (lambda: ditto_cli.train(texts, nmae="eve"), "train, nmae: Unexpected keyword argument"),
        (lambda: ditto_cli.train(texts, device="gpu"), "--device gpu: take auto, cpu"),
        (lambda: ditto_cli.Writer(3), "Writer.__init__, voice: Input should be a valid string"),
        (lambda: ditto_cli.Writer("alice", "bob"), "Writer.__init__, base: Unexpected positional argument"),
        (lambda: writer.write(" "), "Writer.write, prompt: String should have at least 1 character"),
        (lambda: writer.write("\ud800"), "Writer.write, prompt: .* unicode"),
        (lambda: writer.write(PROMPT, num=0), "Writer.write, num: Input should be greater than 0"),
        (lambda: writer.write(PROMPT, best_of=0), "best_of"),
        (lambda: writer.write(PROMPT, temperature=float("nan")), "temperature"),
        (lambda: writer.write(PROMPT, voice="alice:9"), "has no stage '9'"),
        (lambda: ditto_cli.evaluate("alice", judge="oracle"), "evaluate, judge"),
        (lambda: ditto_cli.evaluate("alice", prompts=["Hi", ""]), "evaluate, prompts"),
        (lambda: ditto_cli.evaluate("alice", judge="openai"), "--judge openai needs --base-url and --model"),
        (lambda: ditto_cli.export("alice", "hub"), "export, to: Input should be 'gguf'"),
        (lambda: ditto_cli.export("alice", "ditto", with_base="f16"), "--with-base goes with --to gguf"),
    ):
        with pytest.raises(InputError, match=words):
            call()
    with pytest.raises(UnknownAdapterError, match="did you mean"):
        ditto_cli.Writer("alcie")


def test_arguments_have_the_names_of_the_options(ditto):
    """An option of a command is an argument too, or is named here with its reason."""
    renamed = {"set": "settings", "round": "stage"}
    # Questions and views of a terminal; the hub; `offline` is read when libraries are imported.
    commands_only = {"help", "offline", "json", "dry_run", "chat", "keep", "compare", "cross_validate", "price"}
    for command, functions in (
        ("train", [ditto_cli.train]),
        ("sample", [ditto_cli.Writer, ditto_cli.Writer.write]),
        ("eval", [ditto_cli.evaluate]),
        ("export", [ditto_cli.export]),
    ):
        arguments = {name for function in functions for name in inspect.signature(function).parameters}
        options = set(re.findall(r"^ +--([a-z][a-z-]+)|, --(?!no-)([a-z-]+)", ditto(command, "--help").out, flags=re.M))
        options = {renamed.get(name, name) for pair in options for name in ("".join(pair).replace("-", "_"),)}
        left_out = (
            {"adapter", "stage"} if command == "sample" else {"yes", "repository"} if command == "export" else set()
        )
        assert options - arguments == (options & commands_only) | left_out


def test_the_names_are_there_and_an_import_is_light():
    assert set(ditto_cli.__all__) <= set(dir(ditto_cli))
    assert all(getattr(ditto_cli, name).__module__.startswith("ditto_cli.") for name in ditto_cli.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'sample'"):
        ditto_cli.sample  # noqa: B018
    code = "import sys, ditto_cli; print({'torch', 'pydantic', 'typer', 'rich'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "set()\n"
