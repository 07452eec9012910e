"""Nothing leaves the machine, and a person's words are only where they belong."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

from outcome import Outcome
from test_damage import files_below
from training import ditto

pytestmark = [pytest.mark.assurance, pytest.mark.timeout(900)]
pytest_plugins = ["promises"]

CANARY = "kanarienvogel"
SMALL = (
    *("--device", "cpu", "--publish", "last", "--set", "sft.max_steps=2", "--set", "rounds.num=1"),
    *("--set", "rounds.steps=2", "--set", "sampling.completions_per_prompt=2", "--set", "sampling.length_factor=0.5"),
)
COMMANDS = {
    "init": ("init", "{texts}"),
    "train": ("train", "{texts}", "--name", "alice", "--base", "{base}", *SMALL),
    "sample": ("sample", "--adapter", "alice", "--device", "cpu", "--max-tokens", "8", "Hello."),
    "eval": ("eval", "--adapter", "alice", "--device", "cpu"),
    "list": ("adapters", "list"),
    "show": ("adapters", "show", "alice"),
    "path": ("adapters", "path", "alice"),
    "export": ("export", "alice", "--to", "ditto", "--out", "{place}/alice.ditto", "--force"),
    "peft": ("export", "alice", "--to", "peft", "--out", "{place}/alice-peft"),
    "gguf": ("export", "alice", "--to", "gguf", "--out", "{place}/alice-gguf", "--no-check"),
    "import": ("adapters", "import", "{place}/alice.ditto", "--name", "bob", "--base", "{base}"),
    "rename": ("adapters", "rename", "bob", "carl"),
    "doctor": ("doctor",),
    "demos": ("demos", "list", "{texts}"),
}
SHOW_PROMPTS = ("init", "eval", "demos")  # which the user asked for
# Where each command is made to fail, with a message that holds what was in its hands.
CRASHES = {
    "init": "ditto_cli.cli.init.show_audit",
    "train": "ditto_cli.method.ditto.imitate",
    "sample": "ditto_cli.cli.sample.Session.write",
    "eval": "ditto_cli.evaluation.evaluate.build_report",
    "list": "ditto_cli.store.AdapterStore.entries",
    "show": "ditto_cli.store.AdapterStore.record",
    "path": "ditto_cli.store.AdapterStore.stage_folder",
    "export": "ditto_cli.cli.export.export_archive",
    "peft": "ditto_cli.model.policy.lora.read_lora",
    "gguf": "ditto_cli.exchange.gguf_files.write_adapter",
    "import": "ditto_cli.cli.adapters.read_archive",
    "rename": "ditto_cli.store.AdapterStore.rename",
    "doctor": "ditto_cli.model.hardware.detect",
    "forget": "ditto_cli.store.AdapterStore.remove",
}


class Place:
    """A user's machine in a folder: texts with the canary, a home, a store, caches and temporary files."""

    def __init__(self, workshop, folder):
        self.workshop, self.folder = workshop, folder
        self.texts, self.store = folder / "texts", folder / "store"
        for name in ("texts", "home", "tmp", "place"):
            (folder / name).mkdir(parents=True)
        for number in range(2):
            text = f"---\nprompt: Invite the {CANARY}.\n---\nhi {CANARY} {number} - tea at 4? x\n"
            (self.texts / f"{number}.md").write_text(text, encoding="utf-8")

    def run(self, *arguments, prepare=None):
        words = {"texts": self.texts, "base": self.workshop.base, "place": self.folder / "place"}

        def job():
            with mock.patch.dict("os.environ", self.environment()):
                if prepare is not None:
                    prepare()
                ditto(self.store, *(argument.format_map(words) for argument in arguments))

        return self.workshop.child(job)

    def environment(self):
        home = str(self.folder / "home")
        return {"HOME": home, "XDG_CACHE_HOME": home, "HF_HOME": home, "TMPDIR": str(self.folder / "tmp")}

    def hits(self, *, besides=()):
        """Files outside of the texts with the canary in their name or content."""
        found = []
        for path in files_below(self.folder):
            if path.is_relative_to(self.texts) or any(part in str(path) for part in besides):
                continue
            if CANARY in str(path) or CANARY.encode() in path.read_bytes():
                found.append(str(path.relative_to(self.folder)))
        return found


def check_canaries(workshop, folder):
    outcome = Outcome()
    place = Place(workshop, folder / "whole")
    for name, arguments in COMMANDS.items():
        ended = place.run(*arguments)
        problem = None
        if ended.code != 0:
            problem = f"it ended with {ended.code}: {ended.err}"
        elif CANARY in ended.err and name not in SHOW_PROMPTS:
            problem = f"it was shown: {ended.err}"
        # A report is for the user's eyes and shows texts side by side; it lies with the adapter, and goes with it.
        elif place.hits(besides=("/evaluation/",)):
            problem = f"it is in {place.hits(besides=('/evaluation/',))}"
        outcome.add(problem, name)
    others = [path for path in files_below(place.folder) if path.stat().st_mode & 0o077 and _is_ours(place, path)]
    outcome.add(f"others may read {others}" if others else None, "access rights")
    for name, target in CRASHES.items():
        for debug in (False, True):
            outcome.add(_crash_problem(place, folder, name, target, debug=debug), f"crash of {name}, debug {debug}")
    for name in ("alice", "carl"):
        ended = place.run("forget", name, "--yes")
        outcome.add(f"it ended with {ended.code}: {ended.err}" if ended.code else None, f"forget {name}")
    outcome.add(f"it is in {place.hits()}" if place.hits() else None, "after forget")
    left = [path.name for path in files_below(place.store) if path.name not in ("key",)]
    outcome.add(f"left: {left}" if left else None, "files after forget")
    return outcome


def _is_ours(place, path):
    return not path.is_relative_to(place.texts) or path.name == "ditto.yaml"


def _crash_problem(place, folder, name, target, *, debug):
    copy = Place.__new__(Place)
    copy.__dict__.update(place.__dict__)
    copy.store = folder / "crashed"
    shutil.copytree(place.store, copy.store)
    for written in ("alice-peft", "alice-gguf"):  # which a second export would not replace
        shutil.rmtree(place.folder / "place" / written, ignore_errors=True)
    before = set(files_below(place.folder))

    def crash(*arguments, **keywords):
        raise RuntimeError

    def prepare():
        mock.patch(target, crash).start()

    arguments = COMMANDS.get(name, ("forget", "alice", "--yes"))
    if name == "train":
        arguments = (*arguments, "--fresh")
    ended = copy.run(*(("--debug", *arguments) if debug else arguments), prepare=prepare)
    made = [path for path in files_below(place.folder) if path not in before]
    hits = [path for path in made if CANARY.encode() in path.read_bytes()]
    hits += [path for path in files_below(copy.store) if "/evaluation/" not in str(path) and has_canary(path)]
    shutil.rmtree(copy.store)
    if ended.code != 1:
        return f"it ended with {ended.code}: {ended.err}"
    if CANARY in ended.err and name != "eval":
        return f"it was shown: {ended.err}"
    if hits:
        return f"it is in {hits}"
    return None if debug == ("Traceback" in ended.err) else f"traceback: {ended.err}"


def has_canary(path):
    return CANARY.encode() in path.read_bytes()


def test_canaries(workshop, tmp_path, promise):
    title = "canary strings: in logs, records, caches, after crash of each command, after forget: 0 hits"
    promise(title, check_canaries(workshop, tmp_path), at_least=30)


def check_network(workshop, folder, commands=("train", "sample", "eval", "doctor")):
    """Real processes in a network namespace with nothing in it, watched by strace: not one connection is tried."""
    outcome = Outcome()
    place = Place(workshop, folder / "network")
    words = {"texts": place.texts, "base": workshop.base, "place": place.folder / "place"}
    for name in commands:
        log = folder / f"{name}.strace"
        arguments = [argument.format_map(words) for argument in COMMANDS[name]]
        command = [
            *("unshare", "--map-root-user", "--net"),
            *("strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg"),
            *("-o", str(log), sys.executable, "-m", "ditto_cli", *arguments),
        ]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "DITTO_"))}
        environment = {**kept, **place.environment(), "DITTO_HOME": str(place.store)}
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        tried = [line for line in log.read_text(errors="replace").splitlines() if re.search("AF_INET", line)]
        problem = None
        if ended.returncode != 0:
            problem = f"it ended with {ended.returncode}: {ended.stderr}"
        elif tried:
            problem = "\n".join(tried[:5])
        elif (name != "doctor") != ("hosts contacted: none" in ended.stderr):
            problem = f"the last line is missing: {ended.stderr}"
        outcome.add(problem, name)
    return outcome


def test_network(workshop, tmp_path, promise):
    if not (shutil.which("strace") and shutil.which("unshare")):
        pytest.skip("strace or unshare is not installed")
    if subprocess.run(["unshare", "--map-root-user", "--net", "strace", "-qq", "true"], capture_output=True).returncode:
        pytest.skip("this machine forbids network namespaces or tracing")
    promise("run in an empty network namespace under strace: 0 connects", check_network(workshop, tmp_path), at_least=4)


def test_no_write_goes_past_the_store(promise):
    """Every other module that opens a file to write, makes or moves one, is named here with its reason."""
    import ditto_cli

    package = Path(ditto_cli.__file__).parent
    writes = re.compile(
        r"(?<!files)\.write_(text|bytes)\(|\bopen\([^)]*[\"'][wax]|shutil\.(?!disk_usage|which)|tempfile\.|os\.open\((?!.*O_RDONLY)|"
        r"os\.(replace|rename|mkdir|makedirs|unlink|remove|rmdir)\(|(?<!store\(\))(?<!store)\.(mkdir|unlink|rmdir|rename|touch)\("
    )
    allowed = {
        "store/files.py": "the one module",
        "cli/app.py": "opens the null device",
        "model/base/loading.py": "removes a damaged 4-bit base from the cache",
        "model/base/conversions.py": "a library writes a converted base into a staging folder, which store.files moves",
        "cli/export.py": "libraries write into a staging folder, which store.files moves; a temporary one is uploaded",
        "cli/demos.py": "a private folder for a text while it is edited",
        "fleet/cluster.py": "Ray's own files, in a private folder with a short path, which goes with it",
        "serving/vllm.py": "vLLM's socket and log, in a private folder with a short path, which goes with it",
    }
    outcome = Outcome()
    needed = set()
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package).as_posix()
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if writes.search(line)]
        needed |= {place} if lines else set()
        outcome.add(f"{lines}" if lines and place not in allowed else None, place)
    assert needed == set(allowed)
    promise("every write goes through one module", outcome, at_least=50)
