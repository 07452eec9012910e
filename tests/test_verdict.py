"""Verdicts: what to use, for every way in which the rates and warnings can fall."""

import pytest

from ditto_cli.evaluation.report import WinRate
from ditto_cli.evaluation.verdict import shown, verdict

TITLES = {"base": "base", "few-shot": "few-shot", "sft": "maya:sft"}
BETTER, EQUAL, WORSE = (0.8, 0.6, 0.9), (0.55, 0.4, 0.7), (0.2, 0.1, 0.4)


def rates(**figures):
    """Rates of maya over base, few_shot and sft, each (rate, low, high)."""
    made = {}
    for key, (rate, low, high) in figures.items():
        name = key.replace("_", "-")
        made[name] = WinRate(
            contestant="maya",
            opponent=TITLES[name],
            rate=rate,
            low=low,
            high=high,
            wins=6,
            ties=0,
            losses=6,
            num_prompts=4,
        )
    return made


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.51, 0.9, "better"),
        (0.5, 0.9, "no difference"),
        (0.1, 0.9, "no difference"),
        (0.1, 0.5, "no difference"),
        (0.1, 0.49, "worse"),
    ],
)
def test_a_rate_shows_something_when_its_interval_excludes_one_half(low, high, expected):
    assert shown(rates(base=(0.5, low, high))["base"]) == expected


@pytest.mark.parametrize(
    ("figures", "keep", "words"),
    [
        ({"base": BETTER, "few_shot": BETTER}, "maya", "Keep maya: it sounds more like the author than the base and a"),
        ({"base": BETTER, "few_shot": BETTER, "sft": BETTER}, "maya", "the base, a few-shot prompt and plain SFT;"),
        ({"base": BETTER, "few_shot": BETTER, "sft": EQUAL}, "maya", "DITTO adds nothing that these judgements can"),
        (
            {"base": BETTER, "few_shot": BETTER, "sft": WORSE},
            "maya:sft",
            "Use maya:sft, plain SFT: it sounds more like",
        ),
        ({"base": BETTER, "few_shot": EQUAL}, "few-shot", "as good, as far as these judgements can show, as maya"),
        ({"base": BETTER, "few_shot": WORSE}, "few-shot", "it is better than maya, and it needs no training"),
        ({"base": BETTER, "few_shot": EQUAL, "sft": WORSE}, "few-shot", "plain SFT (maya:sft) sounds more like the"),
        ({"base": EQUAL, "few_shot": BETTER}, "base", "Keep the base: maya is not shown to sound more like the author"),
        ({"base": EQUAL, "few_shot": EQUAL}, "base", "Keep the base: maya is not shown"),
        ({"base": EQUAL, "few_shot": WORSE}, "few-shot", "Keep the few-shot prompt: it is better than maya"),
        ({"base": WORSE, "few_shot": EQUAL}, "base", "Keep the base: it sounds more like the author than maya"),
        ({"base": (0.3, 0.1, 0.4), "few_shot": WORSE}, "few-shot", "Keep the few-shot prompt: it is better than maya"),
        ({"base": EQUAL, "sft": EQUAL}, "base", "and DITTO adds nothing"),
        ({"base": BETTER}, "maya", "than the base (a few-shot prompt not compared);"),
        ({"sft": BETTER}, "maya", "than plain SFT (the base and a few-shot prompt not compared)"),
        ({"sft": EQUAL}, "maya", "Nothing is shown for or against maya, and DITTO adds nothing"),
        ({"sft": WORSE}, "maya:sft", "Use maya:sft"),
        ({}, "maya", "Nothing was judged"),
    ],
)
def test_what_to_keep(figures, keep, words):
    answer = verdict("maya", rates(**figures), {})
    assert answer.keep == keep
    assert words in answer.sentence
    assert answer.sentence.endswith(".")
    assert "\n" not in answer.sentence


def test_the_sentence_names_every_rate_with_its_interval():
    sentence = verdict("maya", rates(base=BETTER, few_shot=BETTER, sft=EQUAL), {}).sentence
    assert sentence == (
        "Keep maya: it sounds more like the author than the base and a few-shot prompt, and DITTO adds nothing that "
        "these judgements can show over plain SFT; win rates of maya: "
        "over the base 0.80 (0.60 to 0.90, 12 judgements on 4 prompts), "
        "over a few-shot prompt 0.80 (0.60 to 0.90, 12 judgements on 4 prompts), "
        "over plain SFT 0.55 (0.40 to 0.70, 12 judgements on 4 prompts)."
    )


LEAK = ["It recites: 24 words in a row stand in a demonstration."]


@pytest.mark.parametrize(
    ("figures", "warned", "keep"),
    [
        ({"base": BETTER, "few_shot": (0.7, 0.55, 0.8), "sft": BETTER}, ["maya"], "few-shot"),  # came nearest
        ({"base": EQUAL, "few_shot": (0.45, 0.3, 0.6)}, ["maya"], "base"),  # nothing is shown: the plainest
        ({"base": EQUAL, "sft": WORSE}, ["maya"], "maya:sft"),
        ({"base": BETTER, "few_shot": (0.7, 0.55, 0.8), "sft": BETTER}, ["maya", "few-shot"], "base"),
        ({"base": BETTER, "few_shot": BETTER, "sft": EQUAL}, ["maya"], "maya:sft"),
        ({"base": BETTER, "few_shot": BETTER, "sft": EQUAL}, ["maya", "maya:sft", "few-shot"], "base"),
        ({"base": BETTER}, ["maya", "base"], "base"),
        ({"sft": BETTER}, ["maya", "maya:sft"], "base"),
        ({}, ["maya"], "base"),
    ],
)
def test_an_adapter_with_warnings_is_not_recommended_whatever_its_rates(figures, warned, keep):
    answer = verdict("maya", rates(**figures), dict.fromkeys(warned, LEAK))
    assert answer.keep == keep
    assert answer.sentence.startswith(
        "maya is not recommended, whatever its win rates: it recites: 24 words in a row stand in a demonstration; use "
    )


def test_a_better_round_is_kept_instead():
    figures = rates(base=BETTER, few_shot=BETTER, sft=EQUAL)
    for shown_by, warned, keep in ((WORSE, {}, "round1"), (EQUAL, {}, "maya"), (WORSE, {"round1": LEAK}, "maya")):
        rate, low, high = shown_by
        against = figures["sft"].model_copy(update={"opponent": "round1", "rate": rate, "low": low, "high": high})
        answer = verdict("maya", figures, warned, [against])
        assert answer.keep == keep
        assert answer.sentence.startswith(("Use round1: it sounds more like the author than maya", "Keep maya"))


def test_what_has_warnings_itself_is_not_kept_instead():
    answer = verdict("maya", rates(base=BETTER, few_shot=EQUAL, sft=WORSE), {"few-shot": LEAK, "maya:sft": LEAK})
    assert answer.keep == "maya"
    assert "plain SFT (maya:sft) sounds more like the author than maya but has warnings of its own" in answer.sentence
    assert "a few-shot prompt, which it does not beat, has warnings of its own" in answer.sentence


def test_warnings_of_the_base_do_not_speak_for_the_adapter():
    assert verdict("maya", rates(base=EQUAL), {"base": LEAK, "maya": []}).keep == "base"
