"""Texts of several voices side by side: each is what its voice writes alone, whoever comes and goes meanwhile."""

import threading
import time

import pytest

from conftest import load_tiny, shake
from ditto_cli.config import LoraSettings
from ditto_cli.model.policy.lora import Lora, mix
from ditto_cli.model.policy.sampling import sample
from ditto_cli.serving.engine import BuiltinEngine, Order
from ditto_cli.types import SampleRequest

WAIT_SECONDS = 60


@pytest.fixture(scope="module")
def loras(tiny_folder):
    """Two adapters of other ranks and other layers."""
    policy = load_tiny(tiny_folder)
    found = {}
    for seed, (name, settings) in enumerate(
        {
            "alice": LoraSettings(r=2, alpha=6, dropout=0.0, targets="all-linear"),
            "bob": LoraSettings(r=4, alpha=4, dropout=0.0, targets=["q_proj", "v_proj"]),
        }.items()
    ):
        policy.add_adapter(name, settings, seed=seed)
        shake(policy, seed=seed + 5)
        weights = {key: value.detach().clone() for key, value in policy.weights(name).items()}
        found[name] = Lora(policy.model.peft_config[name], weights)
    return found


@pytest.fixture
def engine(tiny_folder, loras):
    policy = load_tiny(tiny_folder)
    made = BuiltinEngine(policy)
    for name, lora in loras.items():
        made.chorus.add(name, lora)
    made.start()
    yield made
    made.stop()


class Listener:
    """What came of an order. `hold` keeps the engine at the third token until the test lets it go."""

    def __init__(self):
        self.tokens, self.error, self.is_over = [], None, threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def hold(self):
        self.go_on.clear()

    def token(self, token):
        self.tokens.append(token)
        if len(self.tokens) == 3:
            assert self.go_on.wait(WAIT_SECONDS)
        if token.finish is not None:
            self.is_over.set()

    def failed(self, error):
        self.error = error
        self.is_over.set()

    @property
    def ids(self):
        assert self.is_over.wait(WAIT_SECONDS)
        assert self.error is None, self.error
        return [token.token_id for token in self.tokens]


def order(policy, voice, text="Hi", seed=0, max_tokens=12, temperature=1.0, top_p=1.0):
    listener = Listener()
    ids = policy.chat.prompt_ids(text)
    return Order(ids, voice, max_tokens, temperature, top_p, seed, listener.token, listener.failed), listener


def wait_for(condition):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def alone(tiny_folder, loras, voice, text, seed, max_tokens=12):
    """What the library's way of one adapter at a time writes."""
    policy = load_tiny(tiny_folder)
    if voice:
        policy.put_adapter("it", mix([(loras[name], strength) for name, strength in voice]))
    (written,) = sample(
        policy, [SampleRequest(policy.chat.prompt_ids(text), seed)], max_new_tokens=max_tokens, temperature=1.0
    )
    return list(written.token_ids)


VOICES = [(), (("alice", 1.0),), (("bob", 1.0),), (("alice", 0.5),), (("alice", 0.5), ("bob", 0.75))]


def test_each_text_is_what_its_voice_writes_alone(engine, tiny_folder, loras):
    wanted = [(voice, text, seed) for seed, text in enumerate(("Hi", "Hello all", "Hi")) for voice in VOICES]
    orders = [order(engine._policy, *one) for one in wanted]
    engine.submit([one for one, _ in orders])
    found = [listener.ids for _, listener in orders]
    assert found == [alone(tiny_folder, loras, *one) for one in wanted]
    assert len({tuple(ids) for ids in found}) > len(VOICES)


def test_who_comes_later_is_not_waited_for_and_changes_nothing(engine, tiny_folder, loras):
    first, listener = order(engine._policy, VOICES[1], "Hi", 1, max_tokens=200)
    listener.hold()
    engine.submit([first])
    wait_for(lambda: len(listener.tokens) == 3)
    later, other = order(engine._policy, VOICES[2], "Hello all", 2, max_tokens=4)
    when_over, told = [], other.token
    later.on_token = lambda token: (told(token), when_over.append(len(listener.tokens)))
    engine.submit([later])
    listener.go_on.set()
    assert other.ids == alone(tiny_folder, loras, VOICES[2], "Hello all", 2, 4)
    assert listener.ids == alone(tiny_folder, loras, VOICES[1], "Hi", 1, 200)
    assert when_over[-1] < 10 < len(listener.tokens)


def test_a_text_that_nobody_wants_any_more_leaves_at_once(engine):
    unwanted, listener = order(engine._policy, VOICES[1], max_tokens=400)
    listener.hold()
    engine.submit([unwanted])
    wait_for(lambda: len(listener.tokens) == 3)
    unwanted.is_cancelled = True
    listener.go_on.set()
    last, other = order(engine._policy, VOICES[0], max_tokens=2)
    engine.submit([last])
    assert len(other.ids) == 2
    assert len(listener.tokens) == 3
    wait_for(lambda: not engine._orders)


def test_an_adapter_that_is_forgotten_takes_its_texts_with_it_and_nobody_elses(engine, tiny_folder, loras):
    hers, listener = order(engine._policy, VOICES[4], "Hi", 1, max_tokens=300)
    his, other = order(engine._policy, VOICES[2], "Hi", 2, max_tokens=40)
    listener.hold()
    engine.submit([hers, his])
    wait_for(lambda: len(listener.tokens) == 3)
    forgetting = threading.Thread(target=engine.forget, args=("alice",))
    forgetting.start()
    wait_for(lambda: engine._tasks)
    listener.go_on.set()
    forgetting.join()
    assert listener.is_over.wait(WAIT_SECONDS)
    assert "removed" in str(listener.error)
    assert other.ids == alone(tiny_folder, loras, VOICES[2], "Hi", 2, 40)
    engine.forget("bob")  # the base is left
    last, base = order(engine._policy, VOICES[0], "Hi", 3)
    engine.submit([last])
    assert base.ids == alone(tiny_folder, loras, VOICES[0], "Hi", 3)


def test_an_error_is_told_to_those_whose_texts_it_is_and_the_engine_goes_on(engine):
    broken, listener = order(engine._policy, VOICES[0])
    broken.prompt_ids = (10**6,)
    engine.submit([broken])
    assert listener.is_over.wait(WAIT_SECONDS)
    assert listener.error is not None
    fine, other = order(engine._policy, VOICES[1])
    engine.submit([fine])
    assert other.ids


def test_more_than_there_are_slots_wait_for_the_next_that_is_free(engine):
    orders = [order(engine._policy, VOICES[seed % len(VOICES)], seed=seed, max_tokens=3) for seed in range(100)]
    engine.submit([one for one, _ in orders])
    assert [len(listener.ids) <= 3 for _, listener in orders] == [True] * 100


def test_a_small_share_of_the_probability_is_the_likeliest_token(engine):
    likeliest, greedy = order(engine._policy, VOICES[1], temperature=0.0)
    narrow, nucleus = order(engine._policy, VOICES[1], top_p=1e-6, seed=7)
    wide, drawn = order(engine._policy, VOICES[1], seed=7)
    engine.submit([likeliest, narrow, wide])
    assert greedy.ids == nucleus.ids != drawn.ids


def test_a_task_that_fails_says_so_to_who_asked(engine):
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        engine.between_tokens(fail)


def test_the_adapter_longest_not_asked_for_makes_room_and_none_that_is_in_use(engine, loras, monkeypatch):
    monkeypatch.setattr("ditto_cli.serving.engine.MAX_ADAPTERS", 2)
    for key in ("a", "b"):
        engine.load(key, loras["alice"])
    assert engine.has("a")  # asked for after b
    engine.load("c", loras["bob"])
    assert [engine.has(key) for key in "abc"] == [True, False, True]
    assert "b" not in engine.chorus
    in_use, listener = order(engine._policy, (("a", 1.0),), max_tokens=50)
    listener.hold()
    engine.submit([in_use])
    wait_for(lambda: len(listener.tokens) == 3)
    loading = threading.Thread(target=engine.load, args=("d", loras["bob"]))
    loading.start()
    listener.go_on.set()
    loading.join(WAIT_SECONDS)
    assert [engine.has(key) for key in "acd"] == [True, False, True]
    assert len(listener.ids) <= 50
