"""Each family of base models, tiny and random: its numbers are the library's own, and it trains.

With BASES_TABLE=FILE the table of docs/bases.md is written (`make bases`).
"""

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from conftest import full_logits, imitate_texts, load_tiny, shake
from ditto_cli.config import LoraSettings, SftSettings
from ditto_cli.errors import InputError
from ditto_cli.model.policy.lora import WEIGHTS_FILE, read_lora
from ditto_cli.model.policy.sampling import sample
from ditto_cli.model.policy.scoring import score, score_row
from ditto_cli.types import SampleRequest
from families import FAMILIES, save_family

LORA = LoraSettings(r=2, dropout=0.0, targets="all-linear")
_ROWS = {}
_HEAD = """# Base models

For whoever wants another base than those of the presets: which families work, and what is slower with some.

Families of transformers {version} whose tiny random models were tried by `make bases`, which wrote this table: scores
of completions against the library's own logits of each text by itself (largest difference, in nats over {tokens}
tokens), greedy sampling against the library's `generate` (always equal), and SFT's loss before and after 8 updates.
"one row" and "one batch" say that texts share a pass; "one by one" that each is a pass of its own, or that `generate`
samples, which is slower: layers with a state, texts beyond a sliding window (`_window`: one of 16 tokens,
where real ones are far longer), or an attention that takes no mask of ours. Adapters lie on the text decoder only.

| family | scored | sampled | difference | SFT loss |
|---|---|---|---|---|
"""
COMPLETIONS = [tuple(range(60, 60 + length)) for length in (9, 3, 14)]


@pytest.fixture(scope="module", params=FAMILIES, ids=lambda family: family.name)
def case(request, tmp_path_factory):
    """A family, and a policy with an adapter that says something."""
    folder = save_family(request.param, tmp_path_factory.mktemp("families") / request.param.name)
    policy = load_tiny(folder)
    policy.add_adapter("alice", LORA, seed=1)
    shake(policy, seed=2, scale=0.1)
    return request.param, policy


def requests_for(policy):
    """By these seeds no draw falls on the border of two tokens, and none is a stand-in for a picture."""
    texts = ["Hi", "Hello all", "Hi"]
    return [SampleRequest(policy.chat.prompt_ids(text), seed) for seed, text in enumerate(texts, start=20)]


def alone(policy, prompt, completion):
    """Summed log-probability by the library's forward pass of one text."""
    logps = full_logits(policy, [*prompt, *completion]).float().log_softmax(dim=-1)
    return float(sum(logps[len(prompt) - 1 + place, token] for place, token in enumerate(completion)))


@torch.no_grad()
def test_scores_are_the_librarys_of_each_text_by_itself(case):
    family, policy = case
    groups = [(policy.chat.prompt_ids(text), COMPLETIONS) for text in ("Hi there", "Say more of that.")]
    scored = score_row(policy, groups).tolist()
    expected = [alone(policy, prompt, completion) for prompt, completions in groups for completion in completions]
    assert scored == pytest.approx(expected, rel=1e-5)
    _ROWS.setdefault(family.name, {})["difference"] = max(abs(a - b) for a, b in zip(scored, expected, strict=True))
    shares = policy.has_slots and (family.window or 512) > 60
    _ROWS[family.name]["scored"] = "one row" if shares else "one by one"
    _ROWS[family.name]["sampled"] = "one batch" if policy.has_slots else "one by one"


def test_states_and_strange_attention_are_never_mixed(case):
    """What the table says of a family, and what its policy does."""
    family, policy = case
    assert policy.has_slots == (family.has_sdpa and not family.has_states)
    assert (policy.window or 512) == (family.window or 512)


def test_greedy_sampling_is_generates(case):
    _, policy = case
    requests = requests_for(policy)
    for request, sampled in zip(requests, sample(policy, requests, max_new_tokens=12, temperature=0), strict=True):
        ids = torch.tensor([request.prompt_ids])
        with torch.inference_mode():
            written = policy.model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=12,
                eos_token_id=list(policy.chat.stop_token_ids),
                pad_token_id=policy.chat.end_token_id,
            )[0, ids.shape[1] :]
        assert sampled.token_ids == tuple(written.tolist())


def test_the_plain_way_draws_and_scores_the_same(case):
    """`base.speed=plain`: the library's own loop and passes, for every family."""
    _, policy = case
    requests = requests_for(policy)
    groups = [(request.prompt_ids, COMPLETIONS) for request in requests[:2]]

    def both():
        with torch.no_grad():
            return sample(policy, requests, max_new_tokens=12, temperature=1.0), score_row(policy, groups).tolist()

    sampled, scored = both()
    policy.speed = "plain"
    try:
        plainly_sampled, plainly_scored = both()
    finally:
        policy.speed = "auto"
    assert plainly_sampled == sampled
    assert plainly_scored == pytest.approx(scored, rel=1e-5)


@torch.no_grad()
def test_what_was_drawn_is_scored_the_same(case):
    _, policy = case
    requests = requests_for(policy)
    for request, sampled in zip(requests, sample(policy, requests, max_new_tokens=12, temperature=1.0), strict=True):
        assert float(score(policy, request.prompt_ids, [sampled.token_ids])[0]) == pytest.approx(sampled.logp, rel=1e-5)


def test_recomputed_layers_give_the_same_gradient(case):
    _, policy = case

    def gradient():
        policy.model.train()
        score(policy, policy.chat.prompt_ids("Hi there"), COMPLETIONS).sum().backward()
        found = [parameter.grad.clone() for parameter in policy.parameters() if parameter.grad is not None]
        for parameter in policy.parameters():
            parameter.grad = None
        policy.model.eval()
        return found

    policy.switch("alice", trainable=True)
    kept = gradient()
    policy.recompute_layers(True)
    recomputed = gradient()
    policy.recompute_layers(False)
    assert len(kept) == len(recomputed) > 0
    for one, other in zip(kept, recomputed, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_sft_trains_the_text_decoder_alone_and_the_adapter_comes_back(case, tiny_demonstrations, tmp_path):
    family, policy = case
    policy.add_adapter("bob", LORA, seed=3)
    decoder = policy.model.get_base_model().get_decoder()
    adapted = {id(module) for module in decoder.modules() if hasattr(module, "lora_A")}
    assert adapted
    assert adapted == {id(module) for module in policy.model.modules() if hasattr(module, "lora_A")}
    settings = SftSettings(learning_rate=5e-3, max_steps=8, stop_loss=0.0)
    losses = imitate_texts(policy, tiny_demonstrations, settings)
    assert losses[-1] < losses[0] - 0.1
    _ROWS.setdefault(family.name, {})["losses"] = f"{losses[0]:.2f} to {losses[-1]:.2f}"
    files = policy.serialise("bob")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    policy.put_adapter("again", read_lora(tmp_path))  # as a run that goes on does
    assert policy.serialise("again")[WEIGHTS_FILE] == files[WEIGHTS_FILE]
    for name in ("bob", "again"):
        policy.remove(name)
    policy.switch("alice")


def test_every_named_target_matches_or_one_line_says_what_there_is(case):
    _, policy = case
    linear = {
        name.removesuffix(".base_layer").rpartition(".")[2]
        for name, module in policy.model.get_base_model().get_decoder().named_modules()
        if isinstance(module, nn.Linear) and "lora_" not in name
    }
    if {"q_proj", "k_proj", "v_proj", "o_proj"} <= linear:
        policy.add_adapter("paper", LoraSettings(r=2), seed=1)
        policy.remove("paper")
    else:
        with pytest.raises(InputError, match=r"this base has no .*--set lora\.targets=all-linear"):
            policy.add_adapter("paper", LoraSettings(r=2), seed=1)
    policy.switch("alice")


@pytest.fixture(scope="module", autouse=True)
def table():
    yield
    target = os.environ.get("BASES_TABLE")
    if target:
        from transformers import __version__

        lines = [
            f"| {name} | {row['scored']} | {row['sampled']} | {row['difference']:.1e} | {row['losses']} |\n"
            for name, row in _ROWS.items()
        ]
        tokens = sum(len(completion) for completion in COMPLETIONS) * 2
        Path(target).write_text(_HEAD.format(version=__version__, tokens=tokens) + "".join(lines), encoding="utf-8")
