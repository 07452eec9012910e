"""What `ditto serve` gains by writing for all who ask at once, on the embedded base, and how soon it answers.

    python benchmarks/serving.py            # eight requests one after the other and together; a change of the adapter
    python benchmarks/serving.py start      # from the command to the first token; `import` of the libraries alone

The adapters are random: only time is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from itertools import cycle, islice
from statistics import median

import torch

from ditto_cli.config import BaseSettings, LoraSettings
from ditto_cli.model.base.loading import load_policy
from ditto_cli.model.hardware import detect
from ditto_cli.model.policy.lora import Lora
from ditto_cli.model.policy.policy import Policy
from ditto_cli.serving.engine import BuiltinEngine, Order, Parts
from ditto_cli.store import cache_home

NUM_REQUESTS = 8
NUM_TOKENS = 64
NUM_SWITCHES = 30
PROMPTS = [f"Write an email about the {word}." for word in ("hens", "boiler", "tea", "contract")]
ALICE: Parts = (("alice", 1.0),)
BOB: Parts = (("bob", 1.0),)


def random_adapter(policy: Policy, seed: int) -> Lora:
    """An adapter of the default size."""
    policy.add_adapter("new", LoraSettings(), seed=seed)
    draw = torch.Generator().manual_seed(seed)
    weights = {key: torch.randn(value.shape, generator=draw) * 0.01 for key, value in policy.weights("new").items()}
    lora = Lora(policy.model.peft_config["new"], weights)
    policy.remove("new")
    return lora


def write(engine: BuiltinEngine, policy: Policy, voices: Sequence[Parts], num_tokens: int) -> None:
    """A text of each voice; returns when all have ended."""
    ended = [threading.Event() for _ in voices]

    def order(index: int) -> Order:
        return Order(
            prompt_ids=policy.chat.prompt_ids(PROMPTS[index % len(PROMPTS)]),
            voice=voices[index],
            max_tokens=num_tokens,
            temperature=0.8,
            top_p=1.0,
            seed=index,
            on_token=lambda token: ended[index].set() if token.finish else None,
            on_error=lambda error: ended[index].set(),
        )

    engine.submit([order(index) for index in range(len(voices))])
    for one in ended:
        one.wait()


def seconds(engine: BuiltinEngine, policy: Policy, groups: Sequence[Sequence[Parts]], num_tokens: int) -> list[float]:
    """Of each group, written together, one group after the other."""
    found = []
    for group in groups:
        started = time.perf_counter()
        write(engine, policy, group, num_tokens)
        found.append(time.perf_counter() - started)
    return found


def first_token_seconds() -> float:
    """From the start of `ditto serve` to the first piece of a text of the base."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "ditto_cli", "serve", "--port", "0", "--base", "embedded"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().strip()
        order = {"model": "base", "messages": [{"role": "user", "content": PROMPTS[0]}], "stream": True}
        body, kind = json.dumps(order).encode(), {"Content-Type": "application/json"}
        asked = urllib.request.Request(f"{address}/chat/completions", body, kind)
        with urllib.request.urlopen(asked) as answer:
            next(line for line in answer if b'"content":' in line)
            seconds = time.perf_counter() - began
        server.terminate()
    return seconds


def start() -> None:
    """Print how soon the first token is there, the best of five starts, and what of it is imports."""
    first = min(first_token_seconds() for _ in range(5))
    imports = []
    for _ in range(5):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", "import peft, torch, transformers"], check=True, stderr=subprocess.DEVNULL
        )
        imports.append(time.perf_counter() - began)
    print(f"first token {first:.1f} s after the start; `import peft, torch, transformers` alone {min(imports):.1f} s")


def main() -> None:
    """Print what writing together gains."""
    policy = load_policy(BaseSettings(id="embedded"), detect("cpu"), cache_home(os.environ))
    adapters = {name: random_adapter(policy, seed) for seed, name in enumerate(("alice", "bob"))}
    engine = BuiltinEngine(policy)
    engine.start()
    for name, lora in adapters.items():
        engine.load(name, lora)
    both = list(islice(cycle([ALICE, BOB]), NUM_REQUESTS))
    write(engine, policy, both, 2)  # what the first pass alone costs
    alone = sum(seconds(engine, policy, [[voice] for voice in both], NUM_TOKENS))
    (together,) = seconds(engine, policy, [both], NUM_TOKENS)
    threads = torch.get_num_threads()
    print(f"{NUM_REQUESTS} requests over two adapters, at most {NUM_TOKENS} tokens each, {threads} threads")
    print(f"one after the other {alone:.1f} s, together {together:.1f} s: {alone / together:.1f} times")
    same = median(seconds(engine, policy, [[ALICE]] * NUM_SWITCHES, 1))
    changed = median(seconds(engine, policy, islice(cycle([[ALICE], [BOB]]), NUM_SWITCHES), 1))
    print(f"first token {same * 1000:.0f} ms with the adapter of before, {changed * 1000:.0f} ms with another")
    engine.stop()


if __name__ == "__main__":
    start() if sys.argv[1:] == ["start"] else main()
