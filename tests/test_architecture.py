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

WORDS = {"errors", "types", "config", "seeds", "interrupts", "voices", "shown"}  # modules that every room may use
# Room -> the rooms that it may import, besides itself and the words.
ARROWS = {
    "demonstrations": set(),
    "store": set(),
    "model": {"demonstrations", "store"},
    "method": {"model", "demonstrations", "store"},
    "evaluation": {"model", "demonstrations", "store"},
    "exchange": {"model", "store"},
    "serving": {"evaluation", "model", "store"},
    "fleet": {"evaluation", "method", "model", "demonstrations", "store"},
    "cli": {"fleet", "exchange", "method", "serving", "evaluation", "model", "demonstrations", "store"},
    "api": {"cli", "evaluation", "store"},
}
# Library -> the only places, as prefixes of a path in the package, that may import it.
HOMES = {
    "transformers": ("model/", "method/sft.py"),
    "peft": ("model/",),
    "bitsandbytes": ("model/",),
    "trl": ("method/sft.py",),
    "accelerate": ("cli/tracking.py",),
    "datasets": ("method/sft.py",),
    "rich": ("cli/render.py",),
    "typer": ("cli/app.py", "cli/arguments.py"),
    "jinja2": ("evaluation/html/", "model/base/template.py"),
    "sacrebleu": ("evaluation/evaluate.py",),
    "openai": ("evaluation/judges/",),
    "ftfy": ("demonstrations/encoding.py",),
    "webencodings": ("demonstrations/encoding.py",),
    "rapidfuzz": ("demonstrations/choice.py", "evaluation/appraisal.py"),
    "mammoth": ("demonstrations/documents.py",),
    "gguf": ("exchange/",),
    "fastapi": ("serving/", "cli/serve.py"),
    "uvicorn": ("cli/serve.py",),
    "httpx2": ("serving/vllm.py",),
    "ray": ("fleet/",),
    "xllamacpp": ("exchange/",),
    "pypdfium2": ("demonstrations/documents.py",),
}
WITHOUT_TORCH = (
    *("demonstrations/", "store/", "fleet/", "cli/", "evaluation/"),
    *("errors.py", "types.py", "config.py", "seeds.py", "interrupts.py", "voices.py", "method/comparisons.py"),
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


def module_name(path):
    parts = ("ditto_cli", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def own_imports(path, only=None):
    """(module, name, name here) of every import of our own that is ever carried out.

    With `only`, of those inside functions only the ones of that function: of one command out of many.
    """
    found, waiting = [], list(ast.parse(path.read_text(encoding="utf-8")).body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.FunctionDef) and only not in (None, node.name):
            continue
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("ditto_cli") for alias in node.names), place(path)
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "ditto_cli":
            found += [(node.module, alias.name, alias.asname or alias.name) for alias in node.names]
        waiting += ast.iter_child_nodes(node)
    return found


def dependencies(only):
    """Module -> modules that it imports; in place of a package stand those that the name, or the package, is made of.

    `only` names for some modules the one function that is looked into.
    """
    files = {module_name(path): path for path in SOURCES}

    def defining(module, name):
        """The module that a name comes from, through any number of packages that only hand it on."""
        if f"{module}.{name}" in files:
            return f"{module}.{name}"
        handed_on = own_imports(files[module]) if files[module].name == "__init__.py" else []
        return next((defining(origin, first) for origin, first, here in handed_on if here == name), module)

    graph = {
        module: {defining(origin, name) for origin, name, _ in own_imports(path, only.get(module))} - {module}
        for module, path in files.items()
    }
    for package in (module for module, path in files.items() if path.name == "__init__.py"):
        inside = graph.pop(package)
        graph = {module: (below - {package} | inside) if package in below else below for module, below in graph.items()}
    return graph


def longest_chain(start, graph):
    """The longest path from `start`; fails where there is a circle."""
    longest = {}

    def follow(module, above):
        if module in above:
            pytest.fail(f"a circle of imports: {' -> '.join([*above[above.index(module) :], module])}")
        if module not in longest:
            chains = [follow(below, [*above, module]) for below in sorted(graph[module])]
            longest[module] = [module, *max(chains, key=len, default=[])]
        return longest[module]

    return follow(start, [])


def test_mail_and_other_formats_know_nothing_of_each_other():
    mail, formats = {"mail", "quotes"}, {"chats", "documents", "posts", "tabular"}
    for one, others in [*((name, formats) for name in mail), *((name, mail) for name in formats)]:
        known = imports(PACKAGE / "demonstrations" / f"{one}.py")
        assert known.isdisjoint(f"ditto_cli.demonstrations.{other}" for other in others), one


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
    else:  # `python -m ditto_cli` calls the command line, `import ditto_cli` offers the API; nobody else knows of them
        assert rooms(path) == {"__main__": {"cli"}, "__init__": {"api"}}[top]


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_home_only(library):
    users = [place(path) for path in SOURCES if library in libraries(path)]
    assert [user for user in users if not user.startswith(HOMES[library])] == []


def test_a_training_is_understood_through_few_files():
    """The longest chain of imports that a `ditto train` follows, those inside functions too; a package is no file."""
    graph = dependencies({"ditto_cli.cli.app": "_train"})
    chain = longest_chain("ditto_cli.cli.app", graph)
    assert len(chain) <= 10, " -> ".join(chain)


def test_the_longest_chain_is_found_and_a_circle_is_named():
    graph = {"a": {"b", "c"}, "b": {"d"}, "c": {"b"}, "d": set()}
    assert longest_chain("a", graph) == ["a", "c", "b", "d"]
    with pytest.raises(pytest.fail.Exception, match="b -> d -> c -> b"):
        longest_chain("a", graph | {"d": {"c"}, "a": {"b"}})


def test_a_name_out_of_a_package_counts_as_the_file_that_defines_it():
    graph = dependencies({})
    assert "ditto_cli.store.records" in graph["ditto_cli.method.run"]
    assert "ditto_cli.store" not in graph
    assert set().union(*graph.values()) <= set(graph)
    assert "ditto_cli.demonstrations.mail" in graph["ditto_cli.demonstrations.sources"]
    assert "ditto_cli.cli.eval" in graph["ditto_cli.cli.app"]
    assert "ditto_cli.cli.eval" not in dependencies({"ditto_cli.cli.app": "_train"})["ditto_cli.cli.app"]


def test_torch_stays_out_of_the_rooms_that_need_none():
    guilty = [place(path) for path in SOURCES if place(path).startswith(WITHOUT_TORCH) and "torch" in libraries(path)]
    assert not guilty


def test_what_needs_no_torch_imports_none_indirectly():
    modules = [
        "ditto_cli." + place(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in SOURCES
        if place(path).startswith(("demonstrations/", "store/", "errors", "types", "config", "seeds"))
    ]
    modules += ["ditto_cli.method.comparisons", "ditto_cli.cli.app", "ditto_cli.cli.eval"]
    # What judges and reports on texts alone.
    judging = (
        "style",
        "html",
        "report_tables",
        "verdict",
        "eval_prompts",
        "appraisal",
        "judges.by_person",
        "judges.by_openai",
    )
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
        (
            "ditto ",
            [
                "init",
                "train",
                "plan",
                "sample",
                "eval",
                "export",
                "serve",
                "forget",
                "doctor",
                "adapters",
                "demos",
                "fleet",
            ],
        ),
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


def test_only_the_command_line_prints():
    for path in SOURCES:
        if not place(path).startswith("cli/"):
            assert not re.search(r"(?<![\w.])print\(|sys\.std(out|err)\.write", path.read_text(encoding="utf-8")), path
