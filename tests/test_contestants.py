"""Who writes: everybody for the same prompts with the same draws; what was written once is found again."""

import stat
from dataclasses import replace

import pytest

from conftest import shake
from ditto_cli.config import LoraSettings
from ditto_cli.errors import InputError
from ditto_cli.evaluation.contestants import Contestant, WritingPlan, fitting_shots, write
from ditto_cli.evaluation.evaluation_files import WritingStore
from ditto_cli.evaluation.judgements import EvalPrompt
from ditto_cli.types import Demonstration

PROMPTS = (EvalPrompt("a", "Invite Bo.", "new"), EvalPrompt("b", "Thank Al for the book.", "given"))
PLAN = WritingPlan(PROMPTS, num=2, seed=3, temperature=1.0, max_new_tokens=12)
BASE = Contestant("base", "base")


@pytest.fixture
def policy(tiny_policy):
    tiny_policy.add_adapter("one", LoraSettings(r=4, alpha=8, dropout=0.0), seed=1)
    shake(tiny_policy, seed=2)
    tiny_policy.switch(None)
    return tiny_policy


def test_every_contestant_writes_for_every_prompt_and_draw(policy):
    writings = write(policy, BASE, PLAN)
    assert [(w.contestant, w.prompt_id, w.index) for w in writings] == [
        ("base", "a", 0),
        ("base", "a", 1),
        ("base", "b", 0),
        ("base", "b", 1),
    ]
    assert all(w.num_tokens <= 12 and (w.ended or w.num_tokens == 12) for w in writings)
    assert policy.active is None


def test_the_draws_are_the_same_for_everybody_and_follow_the_seed(policy):
    same_weights = write(policy, Contestant("other", "base"), PLAN)
    assert [w.text for w in same_weights] == [w.text for w in write(policy, BASE, PLAN)]
    assert [w.text for w in write(policy, BASE, replace(PLAN, seed=4))] != [w.text for w in same_weights]
    adapter = write(policy, Contestant("alice", "adapter", "one"), PLAN)
    assert [w.text for w in adapter] != [w.text for w in same_weights]


def test_a_prompts_writings_do_not_depend_on_the_other_prompts(policy):
    alone = write(policy, BASE, replace(PLAN, prompts=PROMPTS[1:]))
    assert [w.text for w in alone] == [w.text for w in write(policy, BASE, PLAN) if w.prompt_id == "b"]


def test_a_few_shot_prompt_changes_what_the_base_writes(policy, tiny_demonstrations):
    shots = write(policy, Contestant("few-shot", "few-shot", shots=tiny_demonstrations[:2]), PLAN)
    assert [w.text for w in shots] != [w.text for w in write(policy, BASE, PLAN)]


def test_as_many_whole_shots_as_fit_the_longest_left_out_first(policy):
    chat = policy.chat
    texts = tuple(Demonstration(f"{size}", "Write.", "x" * size) for size in (10, 80, 30))
    turns = [(text.prompt, text.completion) for text in texts]
    asked = ["Hi.", "Hello there."]
    all_three = len(chat.prompt_ids(asked[1], turns))
    without_longest = len(chat.prompt_ids(asked[1], [turns[0], turns[2]]))
    assert fitting_shots(chat, texts, asked, max_tokens=all_three) == texts
    assert fitting_shots(chat, texts, asked, max_tokens=all_three - 1) == (texts[0], texts[2])
    assert fitting_shots(chat, texts, asked, max_tokens=without_longest - 1) == (texts[0],)
    assert fitting_shots(chat, texts, asked, max_tokens=1) == ()


def test_a_prompt_that_does_not_fit_the_base_is_refused(policy):
    long = (EvalPrompt("long", "word " * 200, "given"),)
    with pytest.raises(InputError, match="shorten the prompt"):
        write(policy, BASE, replace(PLAN, prompts=long))


def test_writings_are_found_again_only_for_the_same_everything(policy, tmp_path, tiny_demonstrations):
    store = WritingStore(tmp_path, key=b"k" * 32, base="tiny")
    writings = write(policy, BASE, PLAN)
    assert store.get(BASE, "base", PLAN) is None
    store.put(BASE, "base", PLAN, writings)
    assert store.get(BASE, "base", PLAN) == writings
    renamed = Contestant("zero-shot", "base")
    assert [w.contestant for w in store.get(renamed, "base", PLAN)] == ["zero-shot"] * 4
    assert store.get(BASE, "other weights", PLAN) is None
    assert store.get(Contestant("base", "few-shot", shots=tiny_demonstrations), "base", PLAN) is None
    for change in ({"seed": 4}, {"num": 1}, {"temperature": 0.9}, {"max_new_tokens": 13}, {"prompts": PROMPTS[:1]}):
        assert store.get(BASE, "base", replace(PLAN, **change)) is None, change
    assert WritingStore(tmp_path, key=b"k" * 32, base="nf4").get(BASE, "base", PLAN) is None
    assert WritingStore(tmp_path, key=b"x" * 32, base="tiny").get(BASE, "base", PLAN) is None


def test_writings_lie_private_under_a_name_that_tells_nothing_and_damage_is_no_disaster(policy, tmp_path):
    store = WritingStore(tmp_path, key=b"k" * 32, base="tiny")
    store.put(BASE, "base", PLAN, write(policy, BASE, PLAN))
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Invite" not in path.name
    path.write_bytes(path.read_bytes()[:40])
    assert store.get(BASE, "base", PLAN) is None
