"""PDFs with text: paragraphs put together again, running heads taken out, and what has no text or cannot be read."""

import sys
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.documents import read_pdf
from ditto_cli.demonstrations.sources import read_safely
from ditto_cli.errors import InputError
from ditto_cli.types import Reading
from format_files import attempt, lines, pdf

WIDE = (
    "I went to the market on Monday, and there was nothing there",
    "but cabbages, which is what one would expect in such a well-",
    "known place. So I took two of them and went home in a well-",
    "known mood of my own, and thought of nothing else but my sup-",
    "per and the soup.",
)
JOINED = (
    "I went to the market on Monday, and there was nothing there but cabbages, which is what one would expect in such "
    "a well-known place. So I took two of them and went home in a well-known mood of my own, and thought of nothing "
    "else but my supper and the soup."
)


def text_of(*pages, **options):
    (source,) = read_pdf("a.pdf", pdf(pages, **options)).texts
    return source.text


def refusal(raw):
    with pytest.raises(InputError) as caught:
        read_safely(".pdf", "a.pdf", raw)
    assert str(caught.value).startswith("a.pdf ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lines_become_paragraphs() -> None:
    source = read_pdf("a.pdf", pdf([lines("Dear Tom,", None, *WIDE, None, *WIDE, None, "Best,", "Anna")])).texts[0]
    # A hyphen at a line end is taken for one of that.
    joined = JOINED.replace("well-known", "wellknown")
    assert source.text == f"Dear Tom,\n\n{joined}\n\n{joined}\n\nBest,\nAnna"
    assert source.id == "a.pdf"
    assert source.prompt is None


def test_indented_first_lines_and_lists() -> None:
    indented = [
        (80 if x == 60 and index % 5 == 0 else x, y, s, t) for index, (x, y, s, t) in enumerate(lines(*WIDE, *WIDE))
    ]
    assert text_of(indented).count("\n\n") == 1
    assert text_of(lines(*WIDE, "- milk", "- eggs", "1. one")).endswith("soup.\n- milk\n- eggs\n1. one")


def test_running_heads_and_page_numbers_go() -> None:
    def page(number, *body):
        return [(60, 780, 9, f"Rita Berg, Letters {number}"), *lines(*body), (300, 30, 9, f"- {number} -")]

    text = text_of(page(1, *WIDE[:2]), page(2, *WIDE[2:], "The year was 1999"), page(3, "42", "The end of it."))
    assert "Letters" not in text
    assert "- 2 -" not in text
    assert text.startswith(JOINED[:60])
    # A paragraph goes on over the end of a page; a number that is no page's stays.
    assert "well-\n" not in text
    assert "1999" in text


LEFT = ("The left column goes on over", "its end with a broken compre-")
RIGHT = ("hension of the right one,", "which ends here at last.")


def test_columns_are_read_one_after_the_other_and_a_word_goes_on_in_the_next() -> None:
    joined = (
        "The left column goes on over its end with a broken comprehension of the right one, which ends here at last."
    )
    assert text_of([*lines(*LEFT), *lines(*RIGHT, x=330)]) == joined
    # A page end, with a number between, is no other end.
    assert text_of([*lines(*LEFT), (300, 30, 9, "1")], [*lines(*RIGHT), (300, 30, 9, "2")]) == joined


def test_a_short_line_with_a_broken_word_goes_on() -> None:
    assert (
        text_of(lines(WIDE[0], "a manip-", "ulation", None, "End.")).split("\n\n")[0].endswith("there a manipulation")
    )


def test_single_pages_keep_their_lines() -> None:
    assert text_of(lines("1984", None, "A book that I like, of that title.")).startswith("1984")
    assert (
        text_of([*lines("Hello there, it is cold here."), (300, 30, 9, "Page 1 of 1")])
        == "Hello there, it is cold here."
    )
    assert text_of([*lines("Hello there, it is cold here."), (300, 30, 9, "1")]) == "Hello there, it is cold here."


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("今日は寒い。", "今日は寒い。"),
        ("Ćma leci — žába, Привет", "Ćma leci — žába, Привет"),
        ("a ﬁne day", "a fine day"),  # a ligature is two letters
    ],
)
def test_fonts_whose_letters_are_glyph_numbers(shown: str, text: str) -> None:
    assert text_of(lines(shown), with_unicode=True) == text


def test_right_to_left_text_is_drawn_backwards() -> None:
    assert text_of(lines("שלום עולם"[::-1]), with_unicode=True) == "שלום עולם"


def test_lines_of_chinese_join_without_a_space() -> None:
    assert (
        text_of(lines("今日は寒いので家に", "いることにした。"), with_unicode=True)
        == "今日は寒いので家にいることにした。"
    )


def test_forty_pages() -> None:
    pages = [
        lines(*[f"Page {number} line {index} is here and it is long enough" for index in range(45)])
        for number in range(40)
    ]
    assert len(text_of(*pages).split()) == 40 * 45 * 11


def test_pictures_of_pages_are_refused() -> None:
    assert "holds no text that can be read" in refusal(pdf([b"q 600 0 0 800 0 0 cm /Im0 Do Q", b""]))


def test_letters_without_a_meaning_are_refused() -> None:
    glyphs = "".join(chr(0xE000 + number) for number in range(50))
    assert "holds no text that can be read" in refusal(pdf([lines(glyphs)], with_unicode=True))


def test_an_encrypted_pdf_is_refused() -> None:
    assert "or protected with a password" in refusal(pdf([lines("x")], encrypted=True))


@pytest.mark.parametrize("raw", [b"", b"Hello", b"PK\x03\x04", b"\xff" * 3000])
def test_other_files_by_that_name(raw: bytes) -> None:
    assert "is damaged, or not a .pdf file in spite of its name" in refusal(raw)


def test_no_pages() -> None:
    refusal(pdf([lines("x")], encrypted=True))
    assert "is damaged, or not a .pdf file in spite of its name" in refusal(pdf([]))


def test_truncated_anywhere_and_without_a_sound(capfd: pytest.CaptureFixture[str]) -> None:
    raw = pdf([lines(*WIDE)])
    for end in range(0, len(raw), len(raw) // 40):
        reading = attempt(partial(read_safely, ".pdf"), "a.pdf", raw[:end])
        assert reading is None or isinstance(reading, Reading)
    assert capfd.readouterr() == ("", "")


def test_pages_that_contain_themselves_are_refused() -> None:
    raw = pdf([lines("x")]).replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    refusal(raw)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(InputError) as caught:
        read_pdf("a.pdf", pdf([lines("x")]))
    assert str(caught.value) == "a.pdf: reading .pdf needs a further package: pip install 'ditto-cli[documents]'"


BASES = (pdf([lines(*WIDE), lines("Bye")]), pdf([lines("Привет")], with_unicode=True))


@settings(max_examples=200, deadline=None)
@given(
    base=st.sampled_from(BASES),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.binary(max_size=6)), min_size=1, max_size=8),
)
def test_damaged_pdfs_are_a_reading_or_an_input_error(base: bytes, changes: list[tuple[float, bytes]]) -> None:
    raw = bytearray(base)
    for where, new in changes:
        place = int(where * len(raw))
        raw[place : place + len(new)] = new
    reading = attempt(partial(read_safely, ".pdf"), "a.pdf", bytes(raw))
    assert reading is None or isinstance(reading, Reading)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=300), start=st.sampled_from([b"", b"%PDF-1.4\n"]))
def test_any_bytes_are_an_input_error(raw: bytes, start: bytes) -> None:
    refusal(start + raw)
