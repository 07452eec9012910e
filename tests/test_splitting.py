"""Several texts in one note, texts that are too long, and that nothing of either is lost."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.language import count_words, split_long, split_note


def part(word, num=20):
    return " ".join([word] * num)


@pytest.mark.parametrize("rule", ["---", "------", "***", "===", "___", "* * *", "- - -", "  ---  ", "~~~", "###"])
def test_rules_divide_a_note(rule):
    assert split_note(f"{part('a')}\n{rule}\n{part('b')}\n\n{rule}\n\n{part('c')}\n") == [
        part("a"),
        part("b"),
        part("c"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        part("a", 60),
        f"{part('a')}\n---\nshort",  # one part is no text
        f"{part('a')}\n\n-- \n{part('b')}",  # a signature
        f"{part('a')}\n1.\n{part('b')}\n3.\n{part('c')}",  # does not count
        f"{part('a')}\n2\n{part('b')}",
        f"1. {part('a')}\n2. {part('b')}",  # a list
        f"---\n{part('a')}\n---",
    ],
)
def test_one_text_stays_one(text):
    assert split_note(text) in ([text], [text.strip("-\n")])


def test_long_texts_are_cut_at_paragraphs_and_evenly():
    paragraphs = [part(word, 40) for word in "abcdef"]
    text = "\n\n".join(paragraphs)
    parts = split_long(text, 100)
    assert [count_words(piece) for piece in parts] == [80, 80, 80]
    assert "\n\n".join(parts) == text
    assert [count_words(piece) for piece in split_long(text, 200)] == [120, 120]  # not 200 and 40
    assert split_long(text, 240) == [text]


def test_a_long_paragraph_is_cut_between_sentences_then_words():
    text = " ".join(f"{part(word, 9)} end." for word in "abcdefgh")
    parts = split_long(text, 30)
    assert all(piece.endswith("end.") and count_words(piece) <= 30 for piece in parts)
    assert [len(piece.split()) for piece in split_long(part("a", 10), 3)] == [3, 3, 3, 1]


def test_scripts_without_spaces_are_cut_too():
    parts = split_long("会議は木曜日の午後に変更されました。" * 20, 30)
    assert len(parts) > 1
    assert "".join("".join(parts).split()) == "会議は木曜日の午後に変更されました。" * 20


words = st.lists(
    st.sampled_from(["a", "bb", "c.", "d!", "\n", "\n\n", "---", "1.", "2.", "* * *", "会議", "-"]), max_size=120
)


@settings(max_examples=200, deadline=None)
@given(words, st.integers(1, 40))
def test_splitting_long_texts_loses_nothing(pieces, max_words):
    text = normalise_text(" ".join(pieces))
    parts = split_long(text, max_words)
    assert "".join("".join(parts).split()) == "".join(text.split())
    assert len(parts) == 1 or all(count_words(piece) <= max_words for piece in parts)
    # Where no paragraph is too long itself, the paragraphs come back exactly.
    if all(count_words(paragraph) <= max_words for paragraph in text.split("\n\n")):
        assert "\n\n".join(parts) == text


@settings(max_examples=200, deadline=None)
@given(words)
def test_splitting_notes_loses_only_the_marks_between(pieces):
    text = " ".join(pieces + ["word"] * 15 + ["\n", "---", "\n"] + ["other"] * 16)
    parts = split_note(text)
    marks = {"---", "1.", "2.", "*", "-"}
    kept = [word for piece in parts for word in piece.split() if word not in marks]
    assert kept == [word for word in text.split() if word not in marks]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200), st.integers(1, 20))
def test_any_characters(text, max_words):
    assert split_note(text)
    assert "".join("".join(split_long(text, max_words)).split()) == "".join(text.split())
