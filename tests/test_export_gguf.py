"""Adapters and bases as GGUF files: llama.cpp writes what our policy writes, for tiny bases of every type.

With EXPORT_TABLE=FILE the table of docs/export.md is written (`make parity`).
"""

import json
import os
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from conftest import load_tiny, shake
from ditto_cli.config import LoraSettings
from ditto_cli.errors import IncompatibleError
from ditto_cli.exchange import gguf_files
from ditto_cli.exchange.gguf_files import DTYPES, write_adapter, write_base
from ditto_cli.exchange.parity import LlamaCpp, Parity, Step, Told, compare, greedy, limit_of
from ditto_cli.model.policy.lora import Lora
from families import FAMILIES, GRANITE, LARGE, Family, _config, _gemma3, save_family

pytest.importorskip("xllamacpp")

LORA = LoraSettings(r=4, alpha=12, dropout=0.0, targets="all-linear")
PROMPTS = ["Hi", "Tell me about the cabbage.", "Who came to tea, and when?"]
# llama.cpp knows by number which layers are of another kind, so that tiny bases need as many as one turn has.
_TURNS = [
    Family("smollm3", _config("SmolLM3Config", num_hidden_layers=4)),
    Family(
        "gemma3_text",
        lambda: _gemma3_of(["sliding_attention"] * 5 + ["full_attention"]),
        window=LARGE,
    ),
    # There a head's share is the hidden size over the number of heads, in real ones too.
    Family("granite", _config("GraniteConfig", head_dim=8, **GRANITE)),
]
_NAMES = ("llama", "mistral", "qwen2", "qwen3", "gemma2", "phi3", "phi4_mini")
CASES = [*(family for family in FAMILIES if family.name in _NAMES), *_TURNS]
_ROWS = {}
_HEAD = """| type | base in | base alone, nats | with the adapter, nats | same tokens |
|---|---|---|---|---|
"""


def _gemma3_of(layers):
    config = _gemma3(LARGE)()
    config.num_hidden_layers, config.layer_types = len(layers), layers
    return config


def with_a_merge(folder):
    """For llama.cpp, which takes no byte-level tokenizer without merges and does not tell of parts of characters: the
    tokens of bytes that no ASCII text has become words, and one of them is what a merge makes."""
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    tokenizer["model"]["vocab"] = {
        text if text.isascii() or text in "ĠĊ" else f"z{chr(97 + number // 26)}{chr(97 + number % 26)}": number
        for text, number in vocabulary.items()
    }
    word = next(text for text in tokenizer["model"]["vocab"] if len(text) == 3)
    tokenizer["model"]["vocab"][word[:2]] = tokenizer["model"]["vocab"].pop(word)
    tokenizer["model"]["merges"] = [[word[0], word[1]]]
    path.write_text(json.dumps(tokenizer), encoding="utf-8")
    return folder


@pytest.fixture(scope="module", params=CASES, ids=lambda family: family.name)
def case(request, tmp_path_factory):
    folder = with_a_merge(save_family(request.param, tmp_path_factory.mktemp("gguf") / "base"))
    policy = load_tiny(folder)
    policy.add_adapter("alice", LORA, seed=1)
    shake(policy, seed=2, scale=0.1)
    return request.param, folder, policy


def exported(policy):
    return Lora(policy.model.peft_config["alice"], policy.weights("alice"))


def parities(policy, base, adapter):
    """Of the base alone, and with the adapter."""
    prompts = [policy.chat.prompt_ids(prompt) for prompt in PROMPTS]
    policy.switch("alice")
    ours = greedy(policy, prompts)
    policy.switch(None)
    ours_of_base = greedy(policy, prompts)
    engine = LlamaCpp(base, adapter, 100)
    of_base = compare(ours_of_base, engine.greedy(prompts, strength=0.0), policy.chat.tokenizer)
    return of_base, compare(ours, engine.greedy(prompts), policy.chat.tokenizer)


@pytest.mark.parametrize(
    "dtype", [pytest.param(dtype, marks=pytest.mark.slow) if dtype == "f16" else dtype for dtype in DTYPES]
)
def test_llama_cpp_writes_what_the_policy_writes(case, dtype, tmp_path):
    family, folder, policy = case
    write_base(folder, policy, tmp_path / "base.gguf", dtype)
    write_adapter(exported(policy), policy, tmp_path / "alice.gguf", "alice")
    of_base, parity = parities(policy, tmp_path / "base.gguf", tmp_path / "alice.gguf")
    _ROWS[family.name, dtype] = (of_base, parity)
    assert parity.is_within(limit_of(of_base, dtype)), (of_base, parity)
    if dtype == "f32":
        assert parity.num_same > 30
        assert max(parity.gap, of_base.gap) < 2e-3  # Gemma's: llama.cpp looks its activation up in a table of fp16


class Letters:
    """A tokenizer in which 2 is a part of a character and 3 a special token."""

    added_tokens_encoder = {"<end>": 3}  # noqa: RUF012

    def decode(self, ids):
        return "\ufffd" if ids == [2] else "a"


def test_a_part_of_a_character_that_is_not_told_is_passed_over():
    ours = [[Step(1, -0.5, 2.0), Step(2, -0.25, 1.0), Step(3, -1.0, 1.0), Step(9, -0.5, 1.0)]]
    theirs = [Told([Step(1, -0.5), Step(3, -1.5)], ended=True)]
    assert compare(ours, theirs, Letters()) == Parity(4, 3, 0.5, ())  # and ends earlier, at a special token
    theirs = [Told([Step(1, -0.5), Step(3, -1.5)], ended=False)]
    assert compare(ours, theirs, Letters()) == Parity(4, 3, 0.5, (1.0,))
    theirs = [Told([Step(1, -0.5)], ended=True)]  # at a token like any other
    assert compare(ours, theirs, Letters()) == Parity(4, 2, 0.0, (1.0,))


def test_rows_in_another_order_are_found_by_the_check(tmp_path, monkeypatch):
    """The negative control: what a converter that forgets llama.cpp's order writes is no adapter of ours."""
    (family,) = (family for family in FAMILIES if family.name == "mistral")
    folder = with_a_merge(save_family(family, tmp_path / "base"))
    policy = load_tiny(folder)
    policy.add_adapter("alice", LORA, seed=1)
    shake(policy, seed=2, scale=0.1)
    write_base(folder, policy, tmp_path / "base.gguf", "f32")
    straight = replace(gguf_files.ARCHITECTURES["mistral"], pairs_rows=False)
    monkeypatch.setitem(gguf_files.ARCHITECTURES, "mistral", straight)
    write_adapter(exported(policy), policy, tmp_path / "alice.gguf", "alice")
    of_base, parity = parities(policy, tmp_path / "base.gguf", tmp_path / "alice.gguf")
    assert of_base.gap < 1e-4
    assert not parity.is_within(limit_of(of_base, "f32")), parity


@pytest.mark.parametrize("name", ["cohere2", "qwen3_moe", "deepseek_v3", "qwen3_5_text"])
def test_a_type_whose_layout_is_not_known_is_refused_in_one_line(name, tmp_path):
    (family,) = (family for family in FAMILIES if family.name == name)
    policy = load_tiny(save_family(family, tmp_path / "base"))
    policy.add_adapter("alice", LORA, seed=1)
    with pytest.raises(IncompatibleError, match=r"cannot be exported as GGUF; llama, mistral, .* --to merged"):
        write_adapter(exported(policy), policy, tmp_path / "alice.gguf", "alice")
    with pytest.raises(IncompatibleError):
        write_base(tmp_path / "base", policy, tmp_path / "base.gguf", "f16")


def test_layers_that_take_turns_in_another_way_are_refused(tmp_path):
    (family,) = (family for family in FAMILIES if family.name == "gemma3_text")  # two layers, the second one whole
    folder = save_family(family, tmp_path / "base")
    with pytest.raises(IncompatibleError, match="its publisher's GGUF file"):
        write_base(folder, load_tiny(folder), tmp_path / "base.gguf", "f16")


def test_texts_are_compared_up_to_where_they_part():
    ours = [[Step(1, -0.5, 2.0), Step(4, -0.25, 0.125), Step(3, -1.0, 1.0)], [Step(7, -0.5, 3.0)]]
    theirs = [Told([Step(1, -0.75), Step(9, -4.0), Step(3, -9.0)], False), Told([Step(7, -0.5)], False)]
    parity = compare(ours, theirs, Letters())
    assert parity == Parity(num_tokens=4, num_same=2, gap=0.25, margins=(0.125,))
    assert parity.is_within(0.25)
    assert not parity.is_within(0.2)  # the gap
    assert not Parity(4, 2, 0.0, (0.125,)).is_within(0.06)  # they part where rounding cannot be why
    assert not Parity(4, 0, 0.0, ()).is_within(1.0)
    assert limit_of(Parity(4, 4, 0.25, ()), "q8_0") == pytest.approx(0.52)
    for base, dtype in ((Parity(4, 4, 0.25, ()), "f16"), (Parity(4, 4, 3.0, ()), None), (Parity(4, 0, 0.0, ()), "f32")):
        with pytest.raises(IncompatibleError, match="The base as GGUF does not write what the base writes here"):
            limit_of(base, dtype)


@pytest.fixture(scope="module", autouse=True)
def _table():
    """Write the document when it is wanted and all cases were tried."""
    yield
    place = os.environ.get("EXPORT_TABLE")
    if place is None or len(_ROWS) < len(CASES) * len(DTYPES):
        return
    lines = [
        f"| {name} | {dtype} | {of_base.gap:.1e} | {parity.gap:.1e} | {parity.num_same} of {parity.num_tokens} |\n"
        for (name, dtype), (of_base, parity) in _ROWS.items()
    ]
    Path(place).write_text(f"xllamacpp {version('xllamacpp')}\n\n{_HEAD}{''.join(lines)}", encoding="utf-8")
