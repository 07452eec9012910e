"""Every mistake ends in one line and its exit code: what was given, why it cannot work, what to do. Nothing changes."""

import errno
import io
import json
import os
import shutil
import subprocess
import sys

import pytest

pytest_plugins = ["cli_helpers"]

MARKER = "quokka"  # stands in every demonstration of the helpers, and in those of this file
LONG = " ".join([MARKER] * 90)  # 630 bytes, which are as many tokens; the tiny base reads 512


@pytest.fixture(scope="module")
def seasoned(tmp_path_factory, trained_once):
    """A store with adapters alice, bob and three more; no test of this file may change it."""
    from cli_helpers import Ditto

    home = tmp_path_factory.mktemp("seasoned") / "home"
    shutil.copytree(trained_once.home, home)
    for name in ("alicia", "alina", "zed"):
        shutil.copytree(home / "adapters" / "alice", home / "adapters" / name)
    return Ditto(home, trained_once.base)


@pytest.fixture
def refused(seasoned):
    """Run a command that must fail: nothing private is told, nothing is changed. Gives the one line."""

    def run(*arguments, code=2, alone=True, train=False, **keywords):
        before = seasoned.snapshot()
        result = (seasoned.train if train else seasoned)(*arguments, **keywords)
        assert result.code == code, result
        assert MARKER not in result.out + result.err
        assert result.out == ""
        assert seasoned.snapshot() == before
        return result.only_error if alone else result.error

    return run


@pytest.mark.parametrize("command", ["init", "train"])
def test_a_file_instead_of_a_folder(refused, texts, command):
    assert "a.md" in refused(command, texts / "a.md")


def test_a_missing_folder(refused, tmp_path):
    line = refused("train", tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere'} does not exist: give the folder" in line


def test_an_empty_folder(refused, folder_of):
    assert "is empty: put four to seven texts of one person into it (.txt, .md" in refused("train", folder_of({}))


@pytest.mark.parametrize("command", ["init", "train"])
@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (
            {"cv.doc": MARKER.encode(), "photo.jpg": b"\xff"},
            ("cv.doc", "photo.jpg", "a picture"),
        ),
        ({"cv.pdf": b"%PDF " + MARKER.encode()}, ("cv.pdf is damaged, or not a .pdf file in spite of its name",)),
        ({"a.txt": " \n\n"}, ("a.txt is empty", "nothing to learn from it")),
        ({"a.txt": bytes(range(256)) + MARKER.encode()}, ("a.txt is a binary file", "save the text itself as .txt")),
        (
            {"a.md": f"---\nprompt: [\n---\n{MARKER}"},
            ("a.md line 1", "front matter that begins here is not valid YAML"),
        ),
        ({"a.md": f"---\nprompt: x\n{MARKER}"}, ("a.md line 1", "never ends")),
        ({"a.jsonl": f'{{"prompt": "{MARKER}", "completion": "{MARKER}"\n'}, ("a.jsonl line 1", "not valid JSON")),
        ({"a.jsonl": f'{{"{MARKER} {MARKER}": "x"}}'}, ("a.jsonl has no column of texts",)),
    ],
)
def test_texts_that_cannot_be_read(refused, folder_of, command, texts, words):
    line = refused(command, folder_of(texts))
    for word in words:
        assert word in line


def test_a_text_longer_than_the_bases_context(refused, folder_of):
    line = refused(folder_of({"long.txt": f"---\nprompt: Write.\n---\n{LONG}"}), train=True)
    assert "long.txt has" in line
    assert "this base reads at most 512: divide it (ditto init FOLDER --split)" in line


def test_a_prompt_longer_than_the_bases_context(refused):
    assert "reads at most 512: shorten it" in refused("sample", "--adapter", "alice", "word " * 120)


@pytest.mark.parametrize("stage", [[], ["--round", "sft"]])
def test_an_unknown_adapter_gets_the_three_nearest_names(refused, stage):
    line = refused("sample", "--adapter", "alicea", *stage, "hi")
    assert line == "error: Unknown adapter 'alicea': did you mean alice, alicia or alina?"


@pytest.mark.parametrize(
    "arguments", [["show"], ["path"], ["rm", "--yes"], ["rename", "new"]], ids=lambda words: words[0]
)
def test_unknown_adapters_everywhere(refused, arguments):
    command, *rest = arguments
    assert "Unknown adapter 'alicea': did you mean alice," in refused("adapters", command, "alicea", *rest)


@pytest.mark.parametrize("command", ["init", "train"])
def test_an_unknown_preset(refused, texts, command):
    line = refused(command, texts, "--preset", "nope")
    assert "Unknown preset 'nope': the presets are gemma4-12b-24gb, " in line


def test_unknown_settings_are_named_with_their_place(refused, folder_of, texts):
    assert "unknown setting dpo.bta; did you mean dpo.beta?" in refused("train", texts, "--set", "dpo.bta=0.1")
    line = refused("train", texts, environment={"DITTO_DPO__BTA": "0.1"})
    assert "the environment" in line
    assert "dpo.bta" in line
    for text in ("dpo: {bta: 0.1}\n", "dop: {beta: 0.1}\n"):
        folder = folder_of({"a.txt": MARKER, "ditto.yaml": text})
        line = refused("train", folder)
        assert "ditto.yaml" in line
        assert "unknown setting" in line
        assert "did you mean" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--set", "dpo.beta=-1"], ("dpo.beta", "greater than 0")),
        (["--set", "dpo.beta=nan"], ("dpo.beta", "finite")),
        (["--set", "rounds.num=many"], ("rounds.num", "integer")),
        (["--set", "dpo.beta"], ("'dpo.beta' is not of the form key=value", "--set dpo.beta=0.1")),
        (["--seed", "-1"], ("seed", "greater than or equal to 0")),
        (["--name", "../x"], ("'../x' cannot be an adapter's name", "try 'x'")),
        (["--name", "base"], ("'base' cannot be an adapter's name", "try 'my-base'")),
        (["--name", "sft"], ("'sft' cannot be an adapter's name",)),
        (["--name", "a b"], ("'a b' cannot be an adapter's name", "try 'a-b'")),
    ],
)
def test_values_that_cannot_be(refused, texts, arguments, words):
    line = refused("train", texts, *arguments)
    for word in words:
        assert word in line


def test_bases_that_are_not_there(refused, texts, tmp_path):
    line = refused(texts, "--offline", base="no/such-model", train=True)
    assert "Base model no/such-model is not cached on this machine, or not whole, and --offline" in line
    (tmp_path / "bare").mkdir()
    line = refused(texts, base=tmp_path / "bare", train=True)
    assert f"{tmp_path / 'bare'} has no config.json" in line
    (tmp_path / "bare" / "config.json").write_text("{}")
    assert "model.safetensors is missing" in refused(texts, base=tmp_path / "bare", train=True)
    (tmp_path / "bare" / "model.safetensors").write_bytes(b"\0" * 8)
    assert "model.safetensors in" in (line := refused(texts, base=tmp_path / "bare", train=True))
    assert "is damaged or incomplete" in line
    assert "neither a folder nor a hub id" in refused(texts, base="./nowhere at all", train=True)


def test_offline_is_set_before_the_hub_library_is_imported(ditto, texts):
    # The library reads the variable once, when it is imported; a process that cannot import it never got so far.
    code = (
        "import os, sys, ditto_cli.cli.train as train\n"
        "train.run_train = lambda *a, **k: print(os.environ.get('HF_HUB_OFFLINE'), 'huggingface_hub' in sys.modules)\n"
        "from ditto_cli.cli.app import main\n"
        f"sys.argv = ['ditto', 'train', {str(texts)!r}, *sys.argv[1:]]\n"
        "main()\n"
    )
    variables = {key: value for key, value in ditto.variables().items() if not key.startswith("HF_")}
    for flags, expected in ((["--offline"], "1 False"), ([], "None False")):
        assert run_python(code, variables, *flags).stdout.strip() == expected


def test_lora_targets_that_the_base_does_not_have(refused, texts):
    line = refused(texts, "--set", "lora.targets=[nope]", train=True, alone=False)
    assert "lora.targets" in line
    assert "nope" in line


@pytest.mark.parametrize(
    ("arguments", "stdin", "words"),
    [
        (["--adapter", "alice"], "", "Say what to write"),
        (["--adapter", "alice", ""], "", "The prompt is empty"),
        (["--adapter", "alice", " \n"], "", "The prompt is empty"),
        (["--adapter", "alice", "-"], "\n\n", "The prompt is empty"),
        (["hi"], "", "Say whose style: --adapter NAME; there are alice, alicia, alina, bob, zed"),
        (["--adapter", "", "hi"], "", "An adapter's name is missing"),
        (["--compare", "alice,,bob", "hi"], "", "An adapter's name is missing"),
        (["--adapter", "base:sft", "hi"], "", "the base has no stages"),
        (["--adapter", "alice", "--round", "7", "hi"], "", "no stage '7': it has sft, round1"),
        (["--adapter", "alice:nope", "hi"], "", "no stage 'nope': it has sft, round1"),
    ],
)
def test_what_sample_refuses(refused, arguments, stdin, words):
    assert words in refused("sample", *arguments, stdin=stdin)


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_prompt_that_is_no_text(seasoned, monkeypatch, errors):
    # A shell may hand over any bytes; Python keeps them as halves of characters, or refuses them when stdin is read.
    argument = b"caf\xe9".decode("utf-8", "surrogateescape")
    pipe = io.TextIOWrapper(io.BytesIO(b"caf\xe9"), encoding="utf-8", errors=errors)
    for prompt in (argument, "-"):
        result = seasoned("sample", "--adapter", "alice", prompt, stdin=pipe)
        assert result.code == 2
        assert "The prompt is not text in UTF-8" in result.only_error


@pytest.mark.parametrize(
    "arguments", [["sample", "hi"], ["sample", "--adapter", "alice", "hi"], ["adapters", "show", "alice"]]
)
def test_no_adapters_yet(ditto, arguments):
    result = ditto(*arguments)
    assert result.code == 2
    assert "no adapters yet" in result.only_error
    assert "ditto train FOLDER" in result.error
    assert not ditto.home.exists()


def test_cuda_where_there_is_none(refused, texts, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "--device cuda" in refused("train", texts, "--device", "cuda", code=8)
    assert "--device cuda" in refused("sample", "--adapter", "alice", "--device", "cuda", "hi", code=8)


def test_a_full_disk(refused, seasoned, texts, monkeypatch):
    from ditto_cli.store import files

    def full(path, data, mode):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "_write_new_file", full)
    for name in ("alice", "new"):  # a second training of an adapter that is there, and a first one
        line = refused(texts, "--name", name, train=True, code=4, alone=False)
        assert "No space left on device" in line
    assert "No space left on device" in refused("init", texts, code=4)


def test_a_full_disk_outside_of_the_store(refused, monkeypatch):
    from ditto_cli.cli import adapters

    def full(**keywords):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"/home/{MARKER}")

    monkeypatch.setattr(adapters, "run_list", full)
    assert "No space left on device" in refused("adapters", "list", code=4)


def test_full_memory(refused, monkeypatch):
    from ditto_cli.cli import adapters

    class OutOfMemoryError(RuntimeError):  # as torch names it
        pass

    allocator = RuntimeError(f"[enforce fail] DefaultCPUAllocator: can't allocate memory: {MARKER}")
    for error in (MemoryError(MARKER), OutOfMemoryError(MARKER), allocator):

        def fail(error=error, **keywords):
            raise error

        monkeypatch.setattr(adapters, "run_list", fail)
        assert "memory is full" in refused("adapters", "list", code=5)


def test_an_unforeseen_failure_tells_its_class_only(refused, monkeypatch):
    from ditto_cli.cli import adapters

    def fail(**keywords):
        raise ZeroDivisionError(MARKER)

    monkeypatch.setattr(adapters, "run_list", fail)
    line = refused("adapters", "list", code=1)
    assert "ZeroDivisionError" in line
    assert "--debug" in line


def test_ctrl_c_before_anything_is_done_is_one_line(refused, monkeypatch):
    from ditto_cli.cli import adapters

    def interrupted(**keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(adapters, "run_list", interrupted)
    assert refused("adapters", "list", code=130) == "error: Stopped."


def test_debug_shows_the_traceback_and_keeps_the_exit_code(ditto):
    code = (
        "import ditto_cli.cli.adapters as adapters, sys\n"
        "def fail(**keywords):\n"
        "    raise ZeroDivisionError('the words')\n"
        "adapters.run_list = fail\n"
        "from ditto_cli.cli.app import main\n"
        "sys.argv = ['ditto', *sys.argv[1:]]\n"
        "main()\n"
    )
    done = run_python(code, ditto.variables(), "--debug", "adapters", "list")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert "ZeroDivisionError: the words" in done.stderr
    done = run_python(code, ditto.variables(), "--debug", "adapters", "show", "nobody")
    assert done.returncode == 2
    assert "Traceback (most recent call last)" in done.stderr


def test_debug_is_forgotten_after_the_command(ditto):
    assert "Traceback" in ditto("--debug", "adapters", "show", "nobody").err
    assert ditto("adapters", "show", "nobody").only_error


@pytest.mark.parametrize("arguments", [["adapters", "list"], ["adapters", "show", "alice", "--json"]])
def test_a_reader_that_goes_away_is_no_error(trained, arguments):
    with subprocess.Popen(
        [sys.executable, "-c", READ_BY_NOBODY, *arguments],
        env=trained.variables(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        process.stdin.close()  # lets it begin, now that nobody reads
        assert process.stderr.read() == b""
        assert process.wait(60) == 0


READ_BY_NOBODY = """
import sys
sys.stdin.read()
sys.argv[0] = "ditto"
from ditto_cli.cli.app import main
main()
"""


@pytest.mark.parametrize(
    "arguments", [["nope"], ["sample", "--num", "0", "x"], ["sample", "--temperature", "nan", "x"], ["train"]]
)
def test_wrong_usage_is_two(refused, seasoned, arguments):
    result = seasoned(*arguments)
    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err
    assert result.err


def test_errors_have_no_document(seasoned):
    result = seasoned("adapters", "show", "nobody", "--json")
    assert (result.code, result.out) == (2, "")
    assert json.loads(seasoned("adapters", "list", "--json").out)


def run_python(code, variables, *arguments):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=variables, capture_output=True, text=True, timeout=60
    )
