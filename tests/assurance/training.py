"""A tiny training, as a function for a forked child: two texts, two rounds, some two hundred changes of the disk."""

import io
import os
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from children import in_child
from conftest import load_tiny, save_tiny_base
from disk_gate import intercepted
from ditto_cli.cli.app import run_guarded
from ditto_cli.config import Settings
from ditto_cli.method.run import Job, train_ditto
from ditto_cli.store import AdapterStore
from ditto_cli.types import Demonstration, SilentReporter

TEXTS = (
    Demonstration("a.md", "Invite Bo.", "hi bo - tea at 4? x"),
    Demonstration("b.md", "Decline.", "no can do, sorry! x"),
)
SETTINGS = Settings.model_validate(
    {
        "base": {"id": "tiny"},
        "lora": {"r": 2, "alpha": 8, "dropout": 0.1, "targets": ["q_proj", "v_proj"]},
        "sft": {"learning_rate": 0.01, "batch_size": 2, "max_steps": 3, "warmup_ratio": 0.25, "stop_loss": 0.0},
        "dpo": {"learning_rate": 0.001, "beta": 0.1, "max_grad_norm": 0.1},
        "rounds": {"num": 2, "steps": 6},
        "sampling": {"completions_per_prompt": 2, "length_factor": 0.75},
    }
)


@dataclass(frozen=True)
class Workshop:
    """A tiny base, a folder for stores, and the weights of a training that nothing disturbed."""

    place: Path
    base: Path
    undisturbed: dict
    num_operations: int

    @staticmethod
    def make(place):
        base = save_tiny_base(place / "base")
        home = place / "undisturbed"
        counted = place / "operations"

        def job():
            count = [0]

            def one_more(operation):
                count[0] += 1

            train(base, home, interceptor=one_more)
            counted.write_text(str(count[0]), encoding="ascii")

        ended = in_child(job, place / "logs")
        assert ended.code == 0, ended.err
        return Workshop(place, base, weights_of(home), int(counted.read_text(encoding="ascii")))

    def child(self, job, seconds=120.0):
        """Run a function in a child to its end."""
        return in_child(job, self.place / "logs", seconds)

    def training(self, home, interceptor=None, settings=SETTINGS, texts=TEXTS):
        """A training into a store, as a function."""
        return lambda: train(self.base, home, interceptor=interceptor, settings=settings, texts=texts)


def train(base, home, *, interceptor=None, settings=SETTINGS, texts=TEXTS, name="alice"):
    """Train, or go on with what is there; errors end the process as they end the command."""

    def work():
        policy = load_tiny(base)
        job = Job.of(policy, name, texts, settings, "Say hello.")
        with intercepted(interceptor or (lambda operation: None)), AdapterStore(home).training(name) as kept:
            train_ditto(policy, job, kept, SilentReporter())

    run_guarded(work)


def weights_of(home, name="alice"):
    """Stage -> bytes of its weights."""
    store = AdapterStore(home)
    return {
        stage: (store.checked_stage_folder(name, stage) / "adapter_model.safetensors").read_bytes()
        for stage in store.record(name).stage_names
    }


def ditto(home, *arguments, stdin=""):
    """The command line in this process, which ends with it; standard output goes where standard error goes."""
    from ditto_cli.cli.app import main

    os.environ["DITTO_HOME"] = str(home)
    sys.argv = ["ditto", *map(str, arguments)]
    sys.stdin = io.StringIO(stdin)
    with redirect_stdout(sys.stderr):
        main()
