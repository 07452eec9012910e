"""Which stage is published: the best of style and task together on new prompts, within the limits."""

import pytest

from ditto_cli.config import LoraSettings, Settings
from ditto_cli.evaluation import selection
from ditto_cli.evaluation.appraisal import Appraisal
from ditto_cli.evaluation.eval_prompts import new_prompts
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.selection import RoundSelector
from ditto_cli.evaluation.soundness import has_collapsed
from ditto_cli.types import Demonstration, Preference, SampledTokens

FINE = "A plain text of some words, as anybody would write one on a quiet day, and then it ends."
LOOP = "and then " * 9
OWN = tuple(
    Demonstration(
        name, f"Write to {name}.", f"{name}, the {thing} comes in the morning, so bring a {thing} along, and tea."
    )
    for name, thing in (("Al", "ladder"), ("Bo", "teapot"))
)


class FakeAppraiser:
    """A text is worth the number that stands at its end, as that is its style; it does half of its task."""

    def appraise(self, prompt, writing):
        return FakeAppraisal(float(writing.text.rsplit(" ", 1)[-1]), 0.5, has_collapsed(writing.text))


class FakeAppraisal(Appraisal):
    @property
    def worth(self):
        return 0.0 if self.is_faulty else self.style


def text(stage, number, value, *, body=FINE, ended=True):
    return Writing(stage, f"selection-{number}", 0, f"{body} {value}", 20, ended)


@pytest.fixture
def selector_of(tiny_policy, monkeypatch):
    """Make a selector that asks for two texts."""
    monkeypatch.setattr(selection, "new_prompts", lambda *_, **__: ["Write to Di.", "Write to Ed."])
    settings = Settings(seed=0)

    def make(own=OWN, publish="best", max_new_tokens=8):
        return RoundSelector(tiny_policy, own, (), settings, max_new_tokens, publish)

    return make


@pytest.fixture
def choice(tiny_policy, selector_of, monkeypatch):
    """The choice among stages whose two writings are given."""
    tiny_policy.add_adapter("policy", LoraSettings(r=2), seed=0)

    def choose(stages, publish="best"):
        monkeypatch.setattr(selection, "writings_of", lambda policy, contestant, *_: stages[contestant.title])
        selector = selector_of(publish=publish)
        selector._appraiser = FakeAppraiser()
        nothing = [SampledTokens((), True, 0.0)] * len(selector.requests())
        figures = {stage: selector.look(stage, nothing) for stage in stages}
        return selector.choose(figures), figures

    return choose


def stage(name, *values, **options):
    return {name: [text(name, number, value, **options) for number, value in enumerate(values, start=1)]}


def test_the_nearest_stage_is_chosen_and_sft_can_win(choice):
    better, figures = choice(stage("sft", 0.4, 0.4) | stage("round1", 0.9, 0.9))
    assert better.stage == "round1"
    assert better.reason == (
        "the best of both (style and task on 2 new prompts: sft 0.40 and 0.50, round1 0.90 and 0.50)"
    )
    assert figures["round1"].metrics["selection/style"] == 0.9
    assert figures["round1"].metrics["selection/task"] == 0.5
    assert choice(stage("sft", 0.9, 0.9) | stage("round1", 0.4, 0.4))[0].stage == "sft"
    assert choice(stage("sft", 0.5, 0.5) | stage("round1", 0.5, 0.5))[0].stage == "sft"  # no gain, no round


def test_a_difference_within_the_noise_is_said(choice):
    # Values 0.2 and 0.8: mean 0.5, standard error 0.3.
    near, _ = choice(stage("sft", 0.2, 0.8) | stage("round1", 0.3, 0.9))
    assert (near.stage, "not by more than the noise" in near.reason) == ("round1", True)


def test_a_stage_that_repeats_itself_is_out_whatever_its_style(choice):
    looping, figures = choice(stage("sft", 0.3, 0.3) | stage("round1", 0.9, 0.9, body=LOOP))
    assert looping.stage == "sft"
    assert looping.reason.endswith("over a limit: round1")
    assert figures["round1"].warnings
    assert figures["round1"].metrics["selection/style"] == 0.0


def test_a_stage_whose_texts_have_no_end_is_out(choice):
    endless, figures = choice(stage("sft", 0.3, 0.3) | stage("round1", 0.9, 0.9, ended=False))
    assert endless.stage == "sft"
    assert figures["round1"].metrics["selection/ended"] == 0.0


def test_when_all_are_over_a_limit_one_is_published_and_it_is_said(choice):
    all_bad, _ = choice(stage("sft", 0.3, 0.3, ended=False) | stage("round1", 0.9, 0.9, body=LOOP))
    assert all_bad.stage == "sft"
    assert "every stage is over a limit" in all_bad.reason


def test_the_choice_needs_only_the_figures_so_that_those_of_an_earlier_process_do(choice, selector_of):
    stages = stage("sft", 0.2, 0.8) | stage("round1", 0.3, 0.9) | stage("round2", 0.9, 0.9, body=LOOP)
    chosen, figures = choice(stages)
    assert figures["sft"].values == (0.2, 0.8)
    assert (figures["round1"].warnings, bool(figures["round2"].warnings)) == ((), True)
    assert selector_of().choose(figures) == chosen


def test_texts_that_fill_the_context_leave_room_for_longer_prompts(tiny_policy, selector_of):
    selector = selector_of(max_new_tokens=tiny_policy.context_tokens - 3)
    requests = [*selector.base_requests(), *selector.requests()]
    rooms = [tiny_policy.context_tokens - len(one.prompt_ids) - one.max_new_tokens for one in requests]
    assert min(rooms) == 0


def test_a_look_tells_writings_from_continuations(tiny_policy, selector_of):
    own = (
        Demonstration("a", "Write to Al.", "knock on the red door at six and ask for old sam who has the key"),
        Demonstration("b", "Write to Bo.", "no tea today, the mill is shut and I am away until monday noon"),
    )
    selector = selector_of(own)
    selector._appraiser = FakeAppraiser()
    said = [f"{FINE} 0.4", f"{FINE} 0.8", "something else", "shut and I am away until then"]
    assert len(selector.requests()) == len(said)
    sampled = [SampledTokens(tiny_policy.chat.completion_ids(each), True, 0.0) for each in said]
    figures = selector.look("sft", sampled)
    assert figures.values == (0.4, 0.8)
    assert figures.metrics["selection/extracted"] == 6  # shut and I am away until


def test_the_user_can_overrule(choice):
    stages = stage("sft", 0.4, 0.4) | stage("round1", 0.9, 0.9) | stage("round2", 0.1, 0.1)
    assert choice(stages, "last")[0].stage == "round2"
    sft, _ = choice(stages, "sft")
    assert (sft.stage, sft.reason.startswith("--publish sft")) == ("sft", True)


def test_the_prompts_are_new_and_those_of_the_background_the_authors(tiny_policy, tiny_demonstrations):
    own = [d.prompt for d in tiny_demonstrations]
    pairs = [Preference("p", "Write an email to Zoe.", "hi", "Dear Zoe")]
    sampling = {"temperature": 0.7}
    selector = RoundSelector(tiny_policy, tiny_demonstrations, pairs, Settings(seed=3, sampling=sampling), 9)
    requests = selector.requests()[: -len(own)]
    assert len(requests) == 8
    new = new_prompts([*own, pairs[0].prompt], num=8, purpose="selection")
    assert [one.prompt_ids for one in requests] == [tiny_policy.chat.prompt_ids(prompt) for prompt in new]
    assert {(one.temperature, one.max_new_tokens) for one in requests} == {(0.7, 9)}
    background = selector.base_requests()
    assert [one.prompt_ids for one in background] == [tiny_policy.chat.prompt_ids(prompt) for prompt in own]
