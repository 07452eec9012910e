"""The rooms and their arrows, read from the imports; what answers without torch; what a command costs first."""

import ast
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import ditto_cli

pytest_plugins = ["cli_helpers"]

PACKAGE = Path(ditto_cli.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
MODEL_LIBRARIES = {"torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate"}

WORDS = {"errors", "types", "config", "seeds", "interrupts"}  # modules that every room may use
# Room -> the rooms that it may import, besides itself and the words.
ARROWS = {
    "demonstrations": set(),
    "store": set(),
    "model": {"demonstrations", "store"},
    "method": {"model", "demonstrations", "store"},
    "evaluation": {"model", "demonstrations", "store"},
    "cli": {"method", "evaluation", "model", "demonstrations", "store"},
}
# Library -> the only places, as prefixes of a path in the package, that may import it.
HOMES = {
    "transformers": ("model/",),
    "peft": ("model/",),
    "bitsandbytes": ("model/",),
    "trl": ("method/sft.py",),
    "datasets": ("method/sft.py",),
    "rich": ("cli/render.py", "cli/progress.py"),
    "typer": ("cli/app.py", "cli/arguments.py", "cli/groups.py"),
    "jinja2": ("evaluation/html/", "model/chat.py"),
    "sacrebleu": ("evaluation/similarity.py",),
    "openai": ("evaluation/judges/",),
}
WITHOUT_TORCH = (
    *("demonstrations/", "store/", "cli/", "evaluation/"),
    *("errors.py", "types.py", "config.py", "seeds.py", "interrupts.py", "method/comparisons.py"),
)


def place(path):
    return path.relative_to(PACKAGE).as_posix()


def imports(path):
    """Absolute names of all modules that a file imports, also inside functions and for the type checker only."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path)}: a relative import"
            names.add(node.module)
            # `from ditto_cli.store import files` may mean a module.
            if node.module.split(".")[0] == "ditto_cli":
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms(path):
    """What a file imports of our own: rooms and words."""
    parts = [name.split(".") for name in imports(path) if name.startswith("ditto_cli.")]
    return {part[1] for part in parts} & (set(ARROWS) | WORDS)


def libraries(path):
    return {name.split(".")[0] for name in imports(path)}


def test_the_reading_of_imports_sees_those_inside_functions(tmp_path):
    source = tmp_path / "x.py"
    source.write_text("def f():\n    import torch.nn\n    from ditto_cli.store import files\n")
    assert imports(source) == {"torch.nn", "ditto_cli.store", "ditto_cli.store.files"}


def test_every_file_is_in_a_known_room():
    tops = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in SOURCES}
    assert tops == set(ARROWS) | WORDS | {"__init__", "__main__"}


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_imports_go_downward_only(path):
    top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if top in ARROWS:
        assert rooms(path) - WORDS <= ARROWS[top] | {top}
    elif top in WORDS:
        assert rooms(path) <= WORDS
    else:  # `python -m ditto_cli` calls the command line; nobody else does
        assert rooms(path) <= ({"cli"} if top == "__main__" else set())


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_home_only(library):
    users = [place(path) for path in SOURCES if library in libraries(path)]
    assert [user for user in users if not user.startswith(HOMES[library])] == []


def test_torch_stays_out_of_the_rooms_that_need_none():
    guilty = [place(path) for path in SOURCES if place(path).startswith(WITHOUT_TORCH) and "torch" in libraries(path)]
    assert not guilty


def test_what_needs_no_torch_imports_none_indirectly():
    modules = [
        "ditto_cli." + place(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in SOURCES
        if place(path).startswith(("demonstrations/", "store/", "errors", "types", "config", "seeds"))
    ]
    modules += ["ditto_cli.method.comparisons", "ditto_cli.cli.app", "ditto_cli.cli.eval_tables"]
    # What judges and reports on texts alone.
    judging = ("style", "html", "verdict", "new_prompts", "judges.by_style", "judges.by_person", "judges.by_openai")
    modules += [f"ditto_cli.evaluation.{name}" for name in judging]
    code = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
    code += f"print(sorted({MODEL_LIBRARIES} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["adapters", "list"], ["doctor"]], ids=" ".join
)
def test_commands_without_a_model_run_without_torch(ditto, arguments):
    result = ditto.without(",".join(MODEL_LIBRARIES), *arguments)
    assert (result.code, "Traceback" in result.err) == (0, False), result.err


def test_init_of_a_folder_with_prompts_runs_without_torch(ditto, texts):
    result = ditto.without(",".join(MODEL_LIBRARIES), "init", texts)
    assert result.code == 0, result.err
    assert "Invite Bo." in result.out


def test_the_blocker_blocks(ditto, texts):
    result = ditto.without("torch", "--debug", "train", texts)
    assert result.code != 0
    assert "blocked: torch" in result.err


def test_mistakes_are_told_without_torch(ditto, texts, tmp_path):
    for arguments in (
        ["train", tmp_path / "nowhere"],
        ["train", texts, "--set", "dpo.bta=1"],
        ["train", texts, "--preset", "nope"],
        ["train", texts, "--name", "base"],
        ["sample", "--adapter", "alice", "hi"],
    ):
        assert ditto.without("torch", *arguments).code == 2, arguments


def test_help_takes_less_than_half_a_second_of_processor_time(ditto):
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ditto.process("--help").code == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


def test_version_by_module_and_by_script(ditto):
    assert ditto.process("--version").out == f"ditto {ditto_cli.__version__}\n"
    script = Path(sys.executable).parent / "ditto"
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"ditto {ditto_cli.__version__}\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("ditto ", ["init", "train", "plan", "sample", "eval", "forget", "doctor", "adapters", "demos"]),
        ("ditto ad", ["adapters"]),
        ("ditto adapters r", ["rename", "rm"]),
        ("ditto sample --comp", ["--compare"]),
    ],
)
def test_shell_completion(line, expected):
    words = line.split(" ")
    script = Path(sys.executable).parent / "ditto"
    done = subprocess.run(
        [script],
        env={"_DITTO_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == expected


def test_completion_script():
    script = Path(sys.executable).parent / "ditto"
    # What `--show-completion` prints in bash; it asks for the shell above it, which in a test is any.
    environment = {**os.environ, "_DITTO_COMPLETE": "source_bash"}
    done = subprocess.run([script], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0
    assert "_DITTO_COMPLETE=complete_bash" in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=place)
def test_a_file_can_be_read_in_one_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_only_the_command_line_prints():
    for path in SOURCES:
        if not place(path).startswith("cli/"):
            assert not re.search(r"(?<![\w.])print\(|sys\.std(out|err)\.write", path.read_text(encoding="utf-8")), path
