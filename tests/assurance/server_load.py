"""Run as a program of its own: an engine under load. Prints JSON: cases that were run, and what was wrong with some.

python server_load.py mix|flood BASE
"""

import json
import random
import sys
import threading
import time
from pathlib import Path

from conftest import load_tiny, shake
from ditto_cli.config import LoraSettings
from ditto_cli.model.policy.lora import Lora, mix
from ditto_cli.model.policy.sampling import sample
from ditto_cli.serving.engine import BuiltinEngine, Order
from ditto_cli.types import SampleRequest

NUM = 10_000
NUM_TOKENS = 6
PROMPTS = [f"Tell me about the {word}." for word in ("hen", "tea", "boat", "garden", "letter", "stove", "moon", "well")]
VOICES = {"base": (), "alice": (("alice", 1.0),), "bob": (("bob", 1.0),)}


def adapters(base):
    policy, found = load_tiny(base), {}
    for seed, name in enumerate(("alice", "bob")):
        policy.add_adapter(name, LoraSettings(r=2, dropout=0.0, targets="all-linear"), seed=seed)
        shake(policy, seed=seed + 5)
        weights = {key: value.detach().clone() for key, value in policy.weights(name).items()}
        found[name] = Lora(policy.model.peft_config[name], weights)
    return found


def alone(base, loras):
    """(voice, prompt) -> what the voice writes with nothing else in memory."""
    texts = {}
    for name, parts in VOICES.items():
        policy = load_tiny(base)
        if parts:
            policy.put_adapter("it", mix([(loras[name], 1.0)]))
        requests = [SampleRequest(policy.chat.prompt_ids(prompt), 0) for prompt in PROMPTS]
        written = sample(policy, requests, max_new_tokens=NUM_TOKENS, temperature=0.0)
        texts.update({(name, prompt): list(one.token_ids) for prompt, one in zip(PROMPTS, written, strict=True)})
    return texts


class Asked:
    """One request of somebody, and what came of it."""

    def __init__(self, engine, chat, name, prompt, max_tokens=NUM_TOKENS):
        self.name, self.prompt, self.ids, self.error = name, prompt, [], None
        self.is_over = threading.Event()
        ids = chat.prompt_ids(prompt)
        self.order = Order(ids, VOICES[name], max_tokens, 0.0, 1.0, 0, self.token, self.failed)
        engine.submit([self.order])

    def token(self, token):
        self.ids.append(token.token_id)
        if token.finish is not None:
            self.is_over.set()

    def failed(self, error):
        self.error = error
        self.is_over.set()


def served(base):
    loras = adapters(base)
    policy = load_tiny(base)
    engine = BuiltinEngine(policy)
    for name, lora in loras.items():
        engine.chorus.add(name, lora)
    engine.start()
    return engine, policy.chat, alone(base, loras)


def check(asked, expected):
    if not asked.is_over.wait(120):
        return "no answer"
    if asked.error is not None:
        return str(asked.error)
    return None if asked.ids == expected[asked.name, asked.prompt] else f"{asked.ids}"


def interleaved(base):
    """Requests from eight users at a time, in two adapters and the base: none gets a word of another's."""
    engine, chat, expected = served(base)
    problems, lock = [], threading.Lock()

    def user(seed):
        draw = random.Random(seed)
        for _ in range(NUM // 80):
            batch = [Asked(engine, chat, draw.choice([*VOICES]), draw.choice(PROMPTS)) for _ in range(10)]
            found = [check(asked, expected) for asked in batch]
            with lock:
                problems.extend(found)

    users = [threading.Thread(target=user, args=(seed,)) for seed in range(8)]
    for one in users:
        one.start()
    for one in users:
        one.join()
    engine.stop()
    return problems


def flooded(base):
    """A hundred at a time, of whom half leave before their end: the others get theirs, and no slot stays."""
    engine, chat, expected = served(base)
    draw, problems = random.Random(0), []
    for _ in range(10):
        asked = [
            Asked(engine, chat, draw.choice([*VOICES]), draw.choice(PROMPTS), 300 if number % 2 else NUM_TOKENS)
            for number in range(100)
        ]
        for number, one in enumerate(asked):
            if number % 2:
                one.order.is_cancelled = True
        problems += [check(one, expected) for one in asked[::2]]
    last = Asked(engine, chat, "base", PROMPTS[0])
    problems.append(check(last, expected))
    end = time.monotonic() + 60
    while engine._orders and time.monotonic() < end:
        time.sleep(0.001)
    problems += [f"{len(engine._orders)} texts are left" if engine._orders else None]
    engine.stop()
    return problems


if __name__ == "__main__":
    found = {"mix": interleaved, "flood": flooded}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(found))
