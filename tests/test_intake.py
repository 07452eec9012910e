"""From many texts to the files of a folder: what is taken, named, divided, redacted, kept back."""

from collections import Counter

import pytest

from ditto_cli.demonstrations.choice import Picked
from ditto_cli.demonstrations.folder import kept_back, take_in
from ditto_cli.demonstrations.sources import READERS
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, SourceText
from made_up import made_up_text


def text(number, *, prompt=None, mail=None):
    return SourceText(f"notes/{number:03d}.txt", made_up_text(number), prompt, mail)


def contents(intake):
    return {
        new.name: READERS[new.name[new.name.rindex(".") :]](new.name, new.content.encode()).texts[0]
        for new in intake.new
    }


def test_few_texts_are_all_taken_in_their_order():
    texts = [text(number, prompt=f"Write number {number}.") for number in range(5)]
    intake = take_in(texts, [], [], num=None)
    assert [new.name for new in intake.new] == [f"{number + 1:02d}-{number:03d}.md" for number in range(5)]
    assert [(read.text, read.prompt) for read in contents(intake).values()] == [(t.text, t.prompt) for t in texts]
    assert not any(new.is_held_out for new in intake.new)


def test_many_texts_are_chosen_among_even_when_no_number_is_given():
    intake = take_in([text(number) for number in range(30)], [], [], num=None)
    assert len(intake.new) == 7
    assert all(new.reason for new in intake.new)
    assert len(intake.left_out) == 23


def test_nothing_comes_in_twice():
    texts = [text(number) for number in range(4)]
    first = take_in(texts[:2], [], [], num=None)
    second = take_in(texts, texts[:2], [new.name for new in first.new], num=None)
    assert [new.name for new in second.new] == ["03-002.md", "04-003.md"]
    assert [(entry.name, entry.reason) for entry in second.left_out] == [
        (text.id, "same text as another") for text in texts[:2]
    ]
    with pytest.raises(InputError, match="in the folder already"):
        take_in(texts, texts, [], num=None)


def test_texts_kept_back_are_others_than_those_trained_on():
    intake = take_in([text(number) for number in range(20)], [], [], num=5, num_held_out=2)
    assert sum(new.is_held_out for new in intake.new) == 2
    assert len(intake.new) == 7
    assert not intake.new[0].is_held_out, "the most typical one is trained on"
    with pytest.raises(InputError, match="--hold-out 3 leaves nothing"):
        take_in([text(number) for number in range(3)], [], [], num=None, num_held_out=3)


@pytest.mark.parametrize(("num", "expected"), [(0, []), (1, [6]), (2, [3, 6]), (3, [2, 4, 6]), (6, [1, 2, 3, 4, 5, 6])])
def test_texts_kept_back_are_spread_over_the_ranking(num, expected):
    picked = [Picked(text(number), "") for number in range(7)]
    assert [picked.index(one) for one in kept_back(picked, num)] == expected


def test_a_note_with_several_texts_is_divided():
    parts = [text(number).text for number in range(3)]
    note = SourceText("note.txt", "\n\n---\n\n".join(parts), "Write it.")
    intake = take_in([note], [], [], num=None)
    assert [read.text for read in contents(intake).values()] == parts
    assert [read.prompt for read in contents(intake).values()] == ["Write it.", None, None]
    assert [new.source for new in intake.new] == ["note.txt#text1", "note.txt#text2", "note.txt#text3"]
    whole = take_in([note], [], [], num=None, divide=False)
    assert [read.text for read in contents(whole).values()] == [note.text]


def test_a_long_text_is_divided_at_paragraphs_only_on_request():
    paragraphs = [made_up_text(number).split("\n\n")[1] for number in range(20)]
    long = SourceText("book.docx", "\n\n".join(paragraphs), None)
    assert len(take_in([long], [], [], num=None).new) == 1
    intake = take_in([long], [], [], num=None, split=True)
    read = [read.text for read in contents(intake).values()]
    assert len(read) > 1
    assert "\n\n".join(read) == long.text
    assert all(len(part.split()) <= 600 for part in read)


def test_redaction_reaches_text_prompt_and_name():
    mail = Mail(sender="anna@farm.org", subject="write to bo@hens.org")
    source = text(1, prompt="Write to bo@hens.org.", mail=mail)
    source = SourceText(source.id, f"{source.text}\nbo@hens.org", source.prompt, mail)
    (new,) = take_in([source], [], [], num=None, redact=True).new
    assert "bo@hens.org" not in new.content
    assert new.content.count("@example.com") == 2
    assert "hens" not in new.name


def test_reasons_are_counted_and_repetitions_are_one():
    texts = [text(number) for number in range(12)]
    again = [SourceText(f"copy{number}.txt", texts[number].text, None) for number in range(3)]
    alike = [SourceText(f"like{number}.txt", f"{texts[number].text}!", None) for number in range(2)]
    intake = take_in([*texts, *again, *alike, SourceText("a.txt", "Thanks for all of it, Bo.", None)], [], [], num=5)
    assert Counter(entry.reason for entry in intake.left_out) == {
        "not as typical as those picked": 7,
        "same text as another": 3,
        "nearly the same as another": 2,
        "shorter than 40 words": 1,
    }
    assert intake.note == ""
    assert len(intake.new) + len(intake.left_out) == intake.num_texts == 18
