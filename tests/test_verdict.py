"""Verdicts: what to use, for every way in which rates, task and warnings can fall."""

import pytest

from ditto_cli.evaluation.report import StylePoint, Task, WinRate
from ditto_cli.evaluation.verdict import shown, verdict
from eval_fixtures import contestant

TITLES = {"base": "base", "few-shot": "few-shot", "sft": "maya:sft"}
BETTER, EQUAL, WORSE = (0.8, 0.6, 0.9), (0.55, 0.4, 0.7), (0.2, 0.1, 0.4)
LEAK = ["It recites: 24 words in a row stand in a demonstration."]
FINE, LOW = Task(value=0.5, behind_base=(-0.1, -0.2, 0.0)), Task(value=0.27, behind_base=(0.15, 0.05, 0.25))


def win_rate(opponent, figures):
    rate, low, high = figures
    return WinRate(
        contestant="maya", opponent=opponent, rate=rate, low=low, high=high, wins=6, ties=0, losses=6, num_prompts=4
    )


def answer_to(figures, *, warned=(), task=FINE, few_shot_task=FINE, rounds=()):
    """The verdict on maya, whose rates over base, few_shot and sft are (rate, low, high)."""
    names = {key.replace("_", "-"): value for key, value in figures.items()}
    made = [contestant("maya", "round", [StylePoint(measure="total", value=0.76)], task=task)]
    for kind in names:
        own = Task(value=0.42) if kind == "base" else few_shot_task if kind == "few-shot" else FINE
        made.append(contestant(TITLES[kind], kind, [StylePoint(measure="total", value=0.1)], task=own))
    made += [contestant(title, kind, [], task=FINE) for title, kind, _ in rounds]
    made = [one.model_copy(update={"warnings": LEAK}) if one.title in warned else one for one in made]
    rates = [win_rate(TITLES[kind], value) for kind, value in names.items()]
    return verdict(made, [*rates, *(win_rate(title, value) for title, _, value in rounds)])


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
    assert shown(win_rate("base", (0.5, low, high))) == expected


@pytest.mark.parametrize(
    ("figures", "keep", "advice"),
    [
        (
            {"base": BETTER, "few_shot": BETTER, "sft": BETTER},
            "maya",
            "Keep maya: it is better than the base and the few-shot prompt.",
        ),
        (
            {"base": BETTER, "few_shot": BETTER, "sft": EQUAL},
            "maya",
            "Keep maya: it is better than the base and the few-shot prompt. The rounds are not shown to add to SFT.",
        ),
        ({"base": BETTER, "few_shot": BETTER, "sft": WORSE}, "maya:sft", "Use maya:sft: it is better than maya."),
        (
            {"base": BETTER, "few_shot": EQUAL},
            "few-shot",
            "Keep the few-shot prompt: maya is not shown to be better.",
        ),
        ({"base": EQUAL, "few_shot": BETTER}, "base", "Keep the base: maya is not shown to be better."),
        ({"base": EQUAL, "few_shot": EQUAL}, "base", "Keep the base: maya is not shown to be better."),
        ({"base": EQUAL, "few_shot": WORSE}, "few-shot", "Keep the few-shot prompt: it is better than maya."),
        ({"base": WORSE, "few_shot": EQUAL}, "base", "Keep the base: it is better than maya."),
        (
            {"base": (0.3, 0.1, 0.4), "few_shot": WORSE},
            "few-shot",
            "Keep the few-shot prompt: it is better than maya.",
        ),
        ({"base": BETTER}, "maya", "Keep maya: it is better than the base."),
        ({"sft": BETTER}, "maya", "Keep maya: it is better than maya:sft."),
        ({"sft": EQUAL}, "maya", "Nothing is shown for or against maya."),
        ({}, "maya", "Nothing was judged, so nothing is shown for or against maya."),
    ],
)
def test_what_to_keep(figures, keep, advice):
    answer = answer_to(figures)
    assert (answer.keep, answer.advice) == (keep, advice)


def test_the_verdict_is_three_short_lines_the_advice_first():
    answer = answer_to({"base": BETTER, "few_shot": BETTER, "sft": EQUAL})
    assert answer.lines == [
        "Keep maya: it is better than the base and the few-shot prompt. The rounds are not shown to add to SFT.",
        "Style and task (1 is you): maya 0.76 and 0.50; base 0.10 and 0.42, few-shot 0.10 and 0.50, "
        "maya:sft 0.10 and 0.50.",
        "Win rates of maya: 0.80 (0.60 to 0.90) over the base, 0.80 (0.60 to 0.90) over the few-shot prompt, "
        "0.55 (0.40 to 0.70) over plain SFT.",
    ]


def test_what_says_less_than_the_base_is_never_kept():
    better = {"base": BETTER, "few_shot": BETTER, "sft": BETTER}
    answer = answer_to(better, task=LOW)
    assert answer.keep == "few-shot"
    assert answer.advice == (
        "It sounds like you but does not say what you ask (task 0.27, base 0.42): "
        "use the few-shot prompt, or a larger base."
    )
    answer = answer_to(better, task=LOW, few_shot_task=LOW)
    assert answer.keep == "base"
    assert answer.advice.endswith("(task 0.27, base 0.42): take a larger base.")
    within_the_noise = Task(value=0.27, behind_base=(0.15, -0.05, 0.35))
    assert answer_to(better, task=within_the_noise).keep == "maya"


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
    answer = answer_to(figures, warned=warned)
    assert answer.keep == keep
    assert answer.advice.startswith("Do not use maya: it recites: 24 words in a row stand in a demonstration; take ")


@pytest.mark.parametrize("kind", ["round", "texts"])
def test_another_way_to_use_it_is_kept_where_it_is_shown_to_be_better(kind):
    figures = {"base": BETTER, "few_shot": BETTER, "sft": EQUAL}
    for shown_by, warned, keep in ((WORSE, (), "other"), (EQUAL, (), "maya"), (WORSE, ("other",), "maya")):
        answer = answer_to(figures, warned=warned, rounds=[("other", kind, shown_by)])
        assert answer.keep == keep
        assert answer.advice.startswith("Use other: it is better than maya." if keep == "other" else "Keep maya")


def test_texts_at_hand_are_advised_by_the_option_that_gives_them():
    answer = answer_to({"base": BETTER}, rounds=[("texts", "texts", WORSE)])
    assert (answer.advice, answer.keep) == ("Use it with --with-texts: it is better than maya.", "texts")


def test_what_has_warnings_itself_is_not_kept_instead():
    answer = answer_to({"base": BETTER, "few_shot": EQUAL, "sft": WORSE}, warned=("few-shot", "maya:sft"))
    assert answer.keep == "maya"


def test_warnings_of_the_base_do_not_speak_for_the_adapter():
    assert answer_to({"base": EQUAL}, warned=("base",)).keep == "base"
