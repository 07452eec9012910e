"""How much of what was asked a text says, and which of two texts is better on style and task together."""

from random import Random

import pytest

from conftest import shake
from ditto_cli.config import LoraSettings
from ditto_cli.evaluation.appraisal import Appraisal, Appraiser, TaskScale, content_words, coverage, echo_share, order
from ditto_cli.evaluation.contestants import nearest_texts
from ditto_cli.evaluation.judgements import Author, EvalPrompt, Pair, Writing
from ditto_cli.evaluation.judges.by_style import StyleJudge
from ditto_cli.evaluation.model_figures import told_shares
from ditto_cli.types import Demonstration

OWN = tuple(
    Demonstration(f"{number}.md", prompt, text)
    for number, (prompt, text) in enumerate(
        {
            "Write a short email to Nadia reporting that nine of the fifteen calendar pages are finished.": (
                "hey Nadia!\n\nquick news from the desk: 9 of the fifteen calendar pages are done (the heron took for "
                "ever, but i like him). the last six should be finished by the end of the month.\n\nxx m"
            ),
            "Write a short email to Owen asking him to send the signed contract before Tuesday.": (
                "hey Owen!\n\ncould you send me the contract with your name on it before tuesday? the printer keeps "
                "asking me and i have run out of nice things to say to him.\n\nxx m"
            ),
            "Write a short email to Priya inviting her to the open studio on 12 June at six.": (
                "hey Priya!\n\nwe open the studio on the 12th of June, from six until the wine is gone. would love it "
                "if you came along, and bring whoever likes to look at pictures of birds.\n\nxx m"
            ),
        }.items()
    )
)
BASE_TEXTS = [
    "Dear Nadia, I hope this message finds you well. I am writing to inform you of the progress of our project.",
    "Dear Owen, I hope you are well. Please let me know if you have any questions about the document.",
    "Dear Priya, I am delighted to invite you to our event. Please let me know whether you can attend.",
]


@pytest.fixture(scope="module")
def scale():
    return TaskScale(OWN, BASE_TEXTS)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("Write a short email to Tom.", ("tom",)),
        ("Please write a brief, friendly letter to Dr. Lindqvist about her 24 bats.", ("lindqvist", "24", "bats")),
        ("Write an email moving the check-up from Tuesday to 7:30.", ("moving", "check", "tuesday", "7", "30")),
        ("Write a note about nine cats and nine dogs.", ("note", "9", "cats", "dogs")),
        (
            "Schreib eine kurze Mail an Jonas über den Umzug am Freitag.",
            ("schreib", "kurze", "jonas", "umzug", "freitag"),
        ),
        ("Write.", ()),
    ],
)
def test_what_a_prompt_is_about(prompt, words):
    assert content_words(prompt) == words


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("nine cats on Tuesday", 1.0),
        ("9 cats on tuesday", 1.0),
        ("a cat, nine of them, tues", 1.0),  # other forms
        ("nine cats on Teusday", 1.0),  # a slip
        ("ten cats on Tuesday", 2 / 3),  # a number is that number only
        ("ninety cats on Tuesday", 2 / 3),
        ("dogs on Friday", 0.0),
        ("", 0.0),
    ],
)
def test_the_share_of_what_was_asked_that_a_text_has(text, share):
    assert coverage("Write about nine cats on Tuesday.", text) == pytest.approx(share)


def test_a_prompt_that_asks_for_nothing_is_met_by_any_text():
    assert coverage("Write an email.", "hello") == 1.0


@pytest.mark.parametrize("number", range(3))
def test_an_own_text_beats_what_does_not_do_the_task(scale, number):
    prompt, text = OWN[number].prompt, OWN[number].completion
    pieces = text.split()
    Random(1).shuffle(pieces)
    own = scale.value(prompt, text)
    assert own > 0.6
    for other in (
        OWN[number - 1].completion,
        BASE_TEXTS[number - 1],
        "hey Nadia!!!\n\nxx m",
        prompt,
        " ".join(pieces),
        "",
    ):
        assert scale.value(prompt, other) < 0.35 < own


def test_a_text_that_repeats_itself_says_less(scale):
    prompt, text = OWN[1].prompt, OWN[1].completion
    thrice = f"{text}\n\n{text}\n\n{text}"
    assert coverage(prompt, thrice) == coverage(prompt, text)
    assert 0 < scale.value(prompt, thrice) < 0.5 * scale.value(prompt, text)


def test_half_a_text_says_less_than_the_whole(scale):
    prompt, text = OWN[0].prompt, OWN[0].completion
    assert scale.value(prompt, text[: len(text) // 3]) < scale.value(prompt, text)


def test_an_echo_is_told_from_an_answer():
    prompt = OWN[1].prompt
    assert echo_share(prompt, prompt) == 1.0
    assert echo_share(prompt, OWN[1].completion) == 0.0
    assert echo_share(prompt, f"Sure! {prompt}") > 0.9
    assert echo_share(prompt, "") == 0.0


def test_the_order_of_words_is_seen_in_english_and_left_alone_elsewhere():
    for text in OWN:
        pieces = text.completion.split()
        Random(2).shuffle(pieces)
        assert order(text.completion) > order(" ".join(pieces)) + 0.1
    prompt, text = "写一封信给小王，说明天下午三点开会。", "小王，明天下午三点我们开会，请准时来。"
    assert TaskScale([Demonstration("a", prompt, text)]).value(prompt, text) > 0.6


def test_one_demonstration_is_enough_for_a_scale():
    alone = TaskScale(OWN[:1], BASE_TEXTS[:1])
    assert alone.value(OWN[0].prompt, OWN[0].completion) > 0.6 > alone.value(OWN[0].prompt, OWN[1].completion)


def test_what_the_base_is_told_moves_the_score(scale):
    known = TaskScale(OWN, BASE_TEXTS, own_told=[0.5, 0.5, 0.6], others_told=[0.0, 0.1])
    prompt, text = OWN[0].prompt, OWN[0].completion
    assert known.value(prompt, text, 0.05) < known.value(prompt, text, 0.3) < known.value(prompt, text, 0.55)
    assert known.value(prompt, text) == scale.value(prompt, text)  # where no model was asked


# Both axes together


def writing(text, contestant="one", *, ended=True):
    return Writing(contestant, "p", 0, text, 20, ended)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (Appraisal(0.9, 0.9), Appraisal(0.9, 0.2)),
        (Appraisal(0.9, 0.9), Appraisal(0.2, 0.9)),
        (Appraisal(0.6, 0.6), Appraisal(1.2, -0.2)),  # what says nothing is not saved by its style
        (Appraisal(0.6, 0.6), Appraisal(-0.2, 1.2)),
        (Appraisal(-0.4, 0.0), Appraisal(1.0, 0.0, True)),
    ],
)
def test_worth_takes_both(better, worse):
    assert better.worth > worse.worth >= 0


def test_the_judge_takes_the_text_that_is_nearer_without_saying_less():
    near, far, loops = Appraisal(0.8, 0.7), Appraisal(1.0, 0.1), Appraisal(1, 0, True)
    found = {"a": near, "b": far, "c": near, "d": loops}
    prompt = EvalPrompt("p", "Write.", "new")
    pairs = [Pair(prompt, writing(one, one), writing(other, other)) for one, other in ("ab", "ba", "ac", "bd", "dd")]
    judged = []
    answers = StyleJudge(lambda one: found[one.text]).judge(pairs, on_judged=judged.append)
    assert [answer.score for answer in answers] == [1.0, 0.0, 0.5, 1.0, 0.5]
    assert judged == [1, 2, 3, 4, 5]


def test_faults_do_nothing_and_a_cut_text_is_not_taken():
    appraiser = Appraiser(Author(OWN, ()))
    prompt, text = OWN[0].prompt, OWN[0].completion
    recited = appraiser.appraise(prompt, writing(text))
    assert (recited.task, recited.worth) == (0.0, 0.0)
    assert recited.is_faulty
    assert appraiser.appraise(prompt, writing("the pages the pages " * 9)).is_faulty
    own_words = "hey Nadia!\n\nnine pages are done, and i will send the other six of the calendar on friday.\n\nxx m"
    assert appraiser.worth(prompt, writing(own_words)) > 0.2
    assert appraiser.worth(prompt, writing(own_words, ended=False)) == 0.0


def test_the_texts_nearest_to_a_prompt_come_last():
    near = nearest_texts(OWN, "Write an email to Owen about the contract.", 2)
    assert near[-1] is OWN[1]
    assert len(near) == 2
    assert nearest_texts(OWN, "Write.", 9) == OWN


# What a model is told


def test_a_text_that_holds_the_prompt_tells_more_than_another(tiny_policy):
    tiny_policy.add_adapter("voice", LoraSettings(r=2), seed=0)
    shake(tiny_policy, seed=1)
    tiny_policy.switch("voice")
    pairs = [("Invite Bo to tea.", "tea"), ("Thank Al.", "it was a fine day"), ("Invite Bo to tea.", "x" * 900)]
    steps = []
    told = told_shares(tiny_policy, pairs, on_finished=steps.append)
    assert len(told) == 3
    assert steps[-1] == 3
    assert tiny_policy.active == "voice"
    tiny_policy.switch(None)
    assert told_shares(tiny_policy, pairs) == pytest.approx(told)  # the base is asked, whoever is active
    assert told_shares(tiny_policy, pairs[:1]) == pytest.approx(told[:1], abs=1e-5)  # whatever else is asked
    assert told_shares(tiny_policy, []) == []
