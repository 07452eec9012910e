"""A pass forward and back, and a step of sampling, on a quiet machine and with an endless loop beside it.

    python benchmarks/busy.py                     # the embedded base, OpenMP's ways to wait, each in a fresh process

Prints a table in Markdown; takes about ten minutes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace

WAYS = {
    "default": {"GOMP_SPINCOUNT": "300000"},  # what libgomp does where nothing is set
    "pinned": {"GOMP_SPINCOUNT": "300000", "OMP_PROC_BIND": "true", "OMP_PLACES": "cores"},
    "one thread": {"OMP_NUM_THREADS": "1"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "a thousand rounds": {"GOMP_SPINCOUNT": "1000"},
}
ROWS, STEPS = 28, 16


def measure() -> str:
    """Seconds of the pass, and milliseconds of the step."""
    import torch

    from ditto_cli.config import BaseSettings, LoraSettings
    from ditto_cli.model.base.loading import load_policy
    from ditto_cli.model.hardware import detect
    from ditto_cli.model.policy.sampling import sample
    from ditto_cli.model.policy.scoring import score_row
    from ditto_cli.store import cache_home
    from ditto_cli.types import SampleRequest

    policy = load_policy(BaseSettings(id="embedded"), detect("cpu"), cache_home(os.environ))
    policy.add_adapter("busy", LoraSettings(targets="all-linear", dropout=0.0), seed=0)
    policy.chat = replace(policy.chat, stop_token_ids=frozenset())
    requests = [SampleRequest(policy.chat.prompt_ids("Write an email."), seed) for seed in range(ROWS)]
    sample(policy, requests, max_new_tokens=2, temperature=1.0)  # what a process does once
    before = time.perf_counter()
    sample(policy, requests, max_new_tokens=STEPS, temperature=1.0)
    step = (time.perf_counter() - before) / STEPS
    generator = torch.Generator().manual_seed(0)
    ids = [tuple(torch.randint(1000, 40_000, (80,), generator=generator).tolist()) for _ in range(12)]
    groups = [(ids[place][:30], ids[place : place + 4]) for place in (0, 4, 8)]
    policy.model.train()
    score_row(policy, groups[:1]).sum().backward()
    before = time.perf_counter()
    score_row(policy, groups).sum().backward()
    return f"{time.perf_counter() - before:.1f} s | {step * 1000:.0f} ms"


def main() -> None:
    """Each way, quiet and busy; a child measures."""
    if len(sys.argv) > 1:
        print(measure())
        return
    print("| OpenMP | machine | pass | step |\n| --- | --- | --- | --- |")
    for way, variables in WAYS.items():
        for machine in ("quiet", "busy"):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if machine == "busy" else None
            try:
                child = [sys.executable, __file__, "measure"]
                done = subprocess.run(
                    child, env={**os.environ, **variables}, capture_output=True, text=True, check=True
                )
            finally:
                if loop is not None:
                    loop.kill()
            print(f"| {way} | {machine} | {done.stdout.splitlines()[-1]} |", flush=True)


if __name__ == "__main__":
    main()
