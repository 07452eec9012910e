"""Which language a text is in, when that is unsure, and how many words it has."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.language import (
    count_words,
    function_words,
    language_group,
    language_name,
    language_of,
)

ENGLISH = "The meeting was moved to Thursday afternoon, so we will have lunch together before it starts."
GERMAN = "Das Treffen wurde auf Donnerstag verschoben, deshalb essen wir vorher noch zusammen in der Stadt."
FRENCH = "La réunion est reportée à jeudi après-midi, nous déjeunerons donc ensemble avant de commencer."


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (ENGLISH, "en"),
        (GERMAN, "de"),
        (FRENCH, "fr"),
        ("今日は会議がありますので、後で連絡します。", "ja"),
        ("THANKS FOR THE UPDATE ON THIS", "en"),
        ("Ich komme am Montag vorbei", "de"),
    ],
)
def test_languages(text, code):
    assert language_of(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "Anna Smith",
        "see you",
        "x y z 123 q",
        "12 34 56 78 90",
        "https://example.com/the/house/in/the/wood",
        "???? !!!",
    ],
)
def test_unsure(text):
    assert language_of(text) is None


def test_addresses_and_numbers_are_of_no_language():
    assert (
        language_of(f"{GERMAN} https://example.com/the-house-that-we-have-seen/and/the/other a.b@example.com") == "de"
    )


def test_close_relatives_count_as_one():
    assert language_group("no") == language_group("da")
    assert language_group("en") == "en"


def test_names():
    assert (language_name("de"), language_name("qq")) == ("German", "qq")
    assert language_name("no") == language_name("nn") == "Norwegian"  # which YAML takes for False


def test_function_words():
    assert {"the", "don't", "yes", "no", "on", "off"} <= function_words("en")
    assert {"né", "è"} - function_words("it") == {"né"}
    assert "house" not in function_words("en")
    assert function_words("fi") == frozenset()


@pytest.mark.parametrize(
    ("text", "num"),
    [("", 0), ("one two", 2), ("one - two ...", 2), ("don't stop-me now", 3), ("今日は会議", 3), ("*** 5 ***", 1)],
)
def test_words(text, num):
    assert count_words(text) == num


def test_the_same_in_threads_and_without_a_trace():
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(language_of, [GERMAN] * 40)) == {"de"}


def test_the_model_is_loaded_by_the_first_question_only():
    code = "import sys, ditto_cli.demonstrations.language; print('py3langid' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
def test_any_characters(text):
    code = language_of(text)
    assert code is None or len(code) == 2
    assert count_words(text) >= 0
