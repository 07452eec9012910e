"""What is taken of people who write little: the longest texts, several very short ones in one, and nothing is refused
but what nobody wrote.
"""

import random
from collections import Counter

import pytest

from ditto_cli.demonstrations.choice import FORM_LETTER, pick
from ditto_cli.demonstrations.folder import take_in
from ditto_cli.demonstrations.language import Limits, count_words
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, SourceText
from made_up import DID, WHAT, WHERE, WHO, made_up_text, sentence


def mails(num, num_sentences, form="new", first=0):
    """Mails of about thirteen words a sentence, and three more, to somebody else each."""
    return [
        SourceText(
            f"sent.mbox#{number}",
            made_up_text(number, num_sentences=num_sentences),
            None,
            Mail(
                sender="ada@farm.example", recipients=(f"p{number}@mill.example",), form=form, subject=f"No. {number}"
            ),
        )
        for number in range(first, first + num)
    ]


def turns(num, num_words, name="chat.txt"):
    """Turns of a chat, no two alike, each with the message that it answers."""
    found = []
    for number in range(num):
        draw = random.Random(f"{name} {number}")
        words = f"{draw.choice(WHO)} {draw.choice(DID)} {draw.choice(WHAT)} {draw.choice(WHERE)}".lower().split()
        while len(words) < num_words:
            words += sentence(draw).lower().split()
        text = " ".join(words[:num_words])
        found.append(SourceText(f"{name}#{number}", text, f"And {number}?", authors=("Ada",)))
    return found


def letters(num, num_words=50, first=0):
    return [SourceText(f"letter{n}.txt", " ".join(made_up_text(n, num_sentences=80).split()[:num_words]), None)
            for n in range(first, first + num)]  # fmt: skip


def numbered(num):
    """The same mail again and again, but for a number in it, as somebody who writes by a pattern."""
    text = "Hi Mia, box {} with the old radio is in the shed now, behind the boat. Mind the step, and close the lid."
    return [
        SourceText(f"m#{n}", text.format(n), None, Mail(recipients=(f"p{n}@mill.example",), is_sent=True))
        for n in range(num)
    ]


def lists(num):
    return [SourceText(f"list{n}.md", "\n".join(f"- {sentence(random.Random(f'{n} {k}'))}" for k in range(5)), None)
            for n in range(num)]  # fmt: skip


def reports(num):
    return [SourceText(f"in#{n}", made_up_text(n), None, Mail(not_written="a delivery report")) for n in range(num)]


@pytest.mark.parametrize(
    ("texts", "num", "num_taken", "reason"),
    [
        pytest.param(mails(60, 2), None, 7, "shorter than 40 words", id="sixty mails of thirty words"),
        pytest.param(mails(60, 2), 5, 5, "shorter than 40 words", id="five of them"),
        pytest.param(mails(60, 1), None, 7, "shorter than 40 words", id="sixty mails of sixteen words"),
        pytest.param(mails(4, 2), 7, 4, "shorter than 40 words", id="four mails of thirty words"),
        pytest.param(mails(5, 2, "reply"), 2, 2, "shorter than 40 words", id="two of five replies"),
        pytest.param(turns(200, 18), None, 7, "shorter than 40 words", id="a chat in turns of eighteen words"),
        pytest.param(turns(200, 8), None, 7, "short texts in one", id="a chat in turns of eight words"),
        pytest.param(turns(12, 8), None, 2, "short texts in one", id="twelve turns are two texts"),
        pytest.param(turns(10, 3), 7, 1, "10 short texts in one", id="ten turns of three words"),
        pytest.param(turns(1, 3), 7, 1, "3 words", id="a single turn"),
        pytest.param(letters(3) + turns(80, 20), 7, 7, "shorter than 40 words", id="three long ones and a chat"),
        pytest.param(letters(10, 900), 3, 3, "longer than 600 words", id="long texts only"),
        pytest.param(numbered(12), 7, 7, FORM_LETTER, id="one mail, twelve times, to twelve people"),
        pytest.param(numbered(60), None, 7, FORM_LETTER, id="one mail, sixty times"),
        pytest.param(lists(12), None, 7, "", id="lists only"),
        pytest.param(turns(9, 5), None, 9, "", id="nine turns are all taken as they are"),
    ],
)
def test_only_an_empty_harvest_is_refused(texts, num, num_taken, reason):
    intake = take_in(texts, [], [], num=num)
    assert len(intake.new) == num_taken
    assert reason in intake.new[-1].reason
    assert sum(new.num_texts for new in intake.new) + len(intake.left_out) == intake.num_texts == len(texts)
    # What is not as it should be is said once for the whole too.
    assert bool(intake.note) == bool(reason)


@pytest.mark.parametrize(
    "texts", [reports(20), [SourceText("away", made_up_text(1), None, Mail(not_written="an out-of-office notice"))]]
)
def test_what_nobody_wrote_is_an_empty_harvest(texts):
    with pytest.raises(InputError, match="None of these texts can be taken"):
        take_in(texts, [], [], num=5)


def test_the_longest_are_taken():
    texts = mails(60, 2)
    lengths = sorted((count_words(text.text) for text in texts), reverse=True)
    choice = pick(texts, 7)
    assert [count_words(picked.text.text) for picked in choice.picked] == lengths[:7]
    assert choice.picked[0].reason == f"{lengths[0]} words, shorter than 40 words, but too few others are left"
    assert "so others were taken: shorter than 40 words (7)." in choice.note


def test_those_within_the_limits_come_first_then_the_nearest():
    within, near, far = letters(2, 45), letters(2, 35, first=10), letters(4, 20, first=20)
    picked = [entry.text.id for entry in pick([*far, *near, *within], 5).picked]
    assert set(picked[:2]) == {text.id for text in within}
    assert set(picked[2:4]) == {text.id for text in near}
    assert picked[4] in {text.id for text in far}


def test_enough_within_the_limits_need_no_short_ones_and_no_note():
    texts = mails(7, 4) + mails(60, 2, first=100)
    choice = pick(texts, 7)
    assert {picked.text.id for picked in choice.picked} == {text.id for text in texts[:7]}
    assert choice.note == ""
    assert Counter(entry.reason for entry in choice.left_out) == {"shorter than 40 words": 60}


@pytest.mark.parametrize(
    ("texts", "prompt"),
    [
        (turns(12, 8), "Write 5 short messages, with a blank line between them."),
        (turns(40, 4), "Write 10 short messages, with a blank line between them."),
    ],
)
def test_neighbours_are_joined_until_there_are_enough_words(texts, prompt):
    (first, *_) = sorted(pick(texts, 3).picked, key=lambda picked: int(picked.text.id.split()[0].split("#")[1]))
    assert first.text.prompt == prompt
    assert first.text.text == "\n\n".join(text.text for text in texts[: first.num_texts])
    assert first.text.id == f"chat.txt#0 and {first.num_texts - 1} more"
    assert count_words(first.text.text) == 40


def test_nothing_is_lost_when_short_ones_are_joined():
    texts = turns(23, 7)
    picked = pick(texts, 9).picked
    assert sum(entry.num_texts for entry in picked) == 23
    assert sorted("\n\n".join(entry.text.text for entry in picked).split("\n\n")) == sorted(t.text for t in texts)


def test_new_mails_and_replies_are_not_joined_to_one():
    def short(number, form):
        return SourceText(f"m#{number}", " ".join(made_up_text(number).split()[2:12]), None, Mail(form=form))

    texts = [short(number, "reply" if number % 2 else "new") for number in range(16)]
    prompts = {entry.text.prompt for entry in pick(texts, 9).picked}
    assert prompts == {
        "Write 4 short emails, with a blank line between them.",
        "Write 4 short replies, with a blank line between them.",
    }


@pytest.mark.parametrize(("num_turns", "num_taken"), [(1, 5), (3, 5), (4, 6)])
def test_a_few_words_alone_are_left_out_where_there_is_anything_else(num_turns, num_taken):
    """Of three turns of four words are made twelve words, of four sixteen."""
    assert len(pick([*letters(5), *turns(num_turns, 4)], 7).picked) == num_taken


def test_limits_that_the_person_gave_say_what_is_short():
    texts = turns(50, 8)
    choice = pick(texts, 6, Limits(5, 20))
    assert all(entry.num_texts == 1 for entry in choice.picked)
    assert choice.note == ""


def test_the_order_of_short_texts_changes_nothing():
    texts = [*turns(30, 8), *turns(9, 20, name="other.txt"), *numbered(4)]
    first = pick(texts, 8)
    for seed in range(3):
        assert pick(random.Random(seed).sample(texts, len(texts)), 8) == first


def test_few_words_are_of_no_language():
    """Of "haha no" and "ok bis gleich" nobody can say in which language a person writes."""
    odd = [
        SourceText(f"a#{n}", text, None) for n, text in enumerate(["haha ja genau", "ok ciao bello", "si si claro!"])
    ]
    choice = pick([*letters(6), *odd], 6)
    assert {entry.reason for entry in choice.left_out} == {"shorter than 40 words"}


def test_repetitions_of_a_few_words_are_no_form_letter():
    texts = [SourceText(f"r#{n}", "Thanks, will do!", None, Mail(recipients=(f"p{n}@x.example",))) for n in range(9)]
    intake = take_in([*mails(8, 4), *texts], [], [], num=5)
    assert Counter(entry.reason for entry in intake.left_out) == {
        "same text as another": 8,
        "not as typical as those picked": 3,
        "shorter than 40 words": 1,
    }


def test_what_fills_up_is_never_what_somebody_else_wrote():
    own = [SourceText(f"a{n}", f"{made_up_text(n)}\n\nBest,\nAda", None) for n in range(4)]
    other = SourceText("b", f"{made_up_text(50)}\n\nBest,\nBo Jones", None)
    choice = pick([*own, other, SourceText("c", f"{other.text}!", None)], 6)
    assert {picked.text.id for picked in choice.picked} == {text.id for text in own}
