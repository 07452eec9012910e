"""Closings in the languages of the table, who signed a text, and the contact block below a name."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ditto_cli.demonstrations.authorship import closing_in, name_in, other_authors, signature_of
from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.quotes import remove_quoted
from ditto_cli.demonstrations.words import words
from ditto_cli.types import SourceText

# By language: a closing, one that has a name behind it, and that name.
BY_LANGUAGE = {
    "en": ("Kind regards,", "Many thanks and all the best, Ada", "Ada"),
    "de": ("Mit freundlichen Grüßen", "Viele liebe Gruesse von Bo", "Bo"),
    "fr": ("Bien cordialement,", "Merci, Adèle", "Adèle"),
    "es": ("Un fuerte abrazo,", "Muchas gracias, Ana", "Ana"),
    "it": ("Cordiali saluti", "Un abbraccio, Ada", "Ada"),
    "pt": ("Com os melhores cumprimentos,", "Abraços, Rui", "Rui"),
    "nl": ("Met vriendelijke groet,", "Groetjes van Bo", "Bo"),
    "sv": ("Med vänliga hälsningar", "Kram, Mia", "Mia"),
    "da": ("Med venlig hilsen", "Mange tak, Bo", "Bo"),
    "nb": ("Vennlig hilsen", "Klem fra Ada", "Ada"),
    "fi": ("Ystävällisin terveisin", "Terveisin Aino", "Aino"),
    "pl": ("Z poważaniem", "Pozdrawiam serdecznie, Ola", "Ola"),
    "cs": ("S pozdravem", "Díky, Jana", "Jana"),
    "sk": ("S pozdravom", "Ďakujem, Zora", "Zora"),
    "hu": ("Üdvözlettel:", "Köszönettel, Vera", "Vera"),
    "ro": ("Cu stimă,", "Mulțumesc, Ion", "Ion"),
    "tr": ("Saygılarımla,", "Teşekkürler, Ayşe", "Ayşe"),
    "el": ("Με εκτίμηση,", "Ευχαριστώ, Άννα", "Άννα"),
    "ru": ("С уважением,", "Спасибо, Анна", "Анна"),
    "uk": ("З повагою,", "Дякую, Оля", "Оля"),
    "bg": ("С уважение,", "Благодаря, Ива", "Ива"),
    "hr": ("Srdačan pozdrav", "Hvala, Iva", "Iva"),
    "sr": ("С поштовањем,", "Хвала, Јована", "Јована"),
    "ca": ("Una abraçada,", "Gràcies, Núria", "Núria"),
    "id": ("Salam hangat,", "Terima kasih, Sari", "Sari"),
    "vi": ("Trân trọng,", "Cảm ơn, Lan", "Lan"),
    "ja": ("よろしくお願いいたします。", "ありがとう、花子", "花子"),
    "zh": ("祝好", "谢谢，安娜", "安娜"),
    "ko": ("감사합니다.", "김민수 드림", "김민수"),
    "ar": ("مع تحياتي،", "شكرا، منى", "منى"),
    "he": ("בברכה,", "תודה רבה, דנה", "דנה"),
    "hi": ("सादर,", "धन्यवाद, मीरा", "मीरा"),
    "th": ("ขอแสดงความนับถือ", "ขอบคุณค่ะ มาลี", "มาลี"),
}


@pytest.mark.parametrize("language", BY_LANGUAGE)
def test_closings_by_language(language: str) -> None:
    closing, with_name, name = BY_LANGUAGE[language]
    assert closing_in(closing) == ""
    assert closing_in(with_name) == name
    text = f"Hello,\n\nthe shelf is up.\n\n{closing}\n{name}"
    assert signature_of(text) == name
    assert normalise_text(remove_quoted(f"{text}\n+49 30 1234567").text) == text


def test_every_language_of_the_table_has_closings_that_are_text() -> None:
    table = words("closings")
    assert set(BY_LANGUAGE) <= set(table)
    for fields in table.values():
        assert fields.get("closings") or fields.get("unspaced")
        assert all(isinstance(phrase, str) for phrases in fields.values() for phrase in phrases)


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("Thanks Mia!", "Mia"),
        ("thanks mia", "mia"),
        ("All the best Mia,", "Mia"),
        ("See you Tom and Mia,", "Tom and Mia"),
        ("See you Thursday,", ""),
        ("See you on Friday at 7, Ada", "Ada"),
        ("Thanks for the cake, Ada", "Ada"),
        ("Thanks again!", ""),
        ("Thanks all", ""),
        ("Bis Donnerstag, Bo", "Bo"),
        ("\u00c0 jeudi !", ""),
        ("Best, June", "June"),  # no month
        ("Best, Ada Roth, CEO", "Ada Roth"),
        ("Best - Ada", "Ada"),
        ("Cheers, Bo van der Berg", "Bo van der Berg"),
        ("Love, Ada xx", "Ada"),
        ("Thanks :D", ""),
        ("*Best wishes*", ""),
        ("xx m", "m"),
    ],
)
def test_what_stands_behind_a_closing(line: str, rest: str) -> None:
    assert closing_in(line) == rest


@pytest.mark.parametrize(
    "line",
    [
        "Best way is by train",
        "Best idea",
        "Love is all you need",
        "Thanks. I will come.",
        "Thanks Tom, I will be there",
        "Yours is the blue one",
        "Thanks. 7 of us come",
        "T +49 30 1234567",
        "以上の理由で、明日の午後に伺います",
        "谢谢你上周把梯子借给我们",
        "我今天晚上",
        "Ada",
        "the shelf is up",
        "Danke dass du geholfen hast als wir im letzten Jahr alle so krank gewesen sind",
        "",
    ],
)
def test_no_closings(line: str) -> None:
    assert closing_in(line) is None


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("See you Thursday,\nAda", "Ada"),
        ("Thanks Mia!\nAda", "Ada"),
        ("Thanks, Mia.\n\nAda Reed", "Ada Reed"),
        ("Take care Mia,\nAda", "Ada"),
        ("Bis Montag\nAda", "Ada"),
        ("Talk tomorrow,\nAda", "Ada"),
        ("Kær hilsen\nAda", "Ada"),
        ("Grüssli\nAda", "Ada"),
        ("Thanks for dinner,\nAda", "Ada"),
        ("Thanks Mia!", None),  # she is greeted
        ("Best, Ada", "Ada"),
        ("Best, Ada\nHead of Shelves", "Ada"),
        ("Thanks Mia!\n\nBest,\nAda", "Ada"),
        ("See you Thursday", None),
        ("Dan", "Dan"),
        ("Best,\nDan", "Dan"),  # a word of Dutch
    ],
)
def test_the_name_below_a_closing_wins(end: str, name: str | None) -> None:
    assert signature_of(f"Hi Mia,\n\nthe ladder is back.\n\n{end}") == name


def test_who_thanks_another_is_not_taken_for_the_other() -> None:
    ends = ["Best,\nAda", "See you Thursday,\nAda", "Thanks Mia!\nAda", "Love,\nAda", "Merci Tom,\nAda", "Best,\nBo"]
    texts = [SourceText(f"{n}", f"Hi there,\n\nnote {n} on the ladder.\n\n{end}", None) for n, end in enumerate(ends)]
    assert other_authors(texts) == {"5": "signed by somebody else than most"}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Ada Reed | Acme", "Ada Reed"),
        ("ada", "ada"),
        ("Dr. Ada M. Reed", "Dr. Ada M. Reed"),
        ("Reed, Ada", "Reed"),
        ("Head of Shelves", None),
        ("Ada and me went", None),
        ("+49 30 1234", None),
        ("", None),
    ],
)
def test_names(text: str, name: str | None) -> None:
    assert name_in(text) == name


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        ("Sincerely,\nAda Reed\n+44 20 7946 0958", "Sincerely,\nAda Reed"),
        ("Merci,\nAda\n01 23 45 67 89", "Merci,\nAda"),
        ("Спасибо,\nАнна\nТел. +7 495 123-45-67", "Спасибо,\nАнна"),
        ("Thanks Mia!\nAda\n0170 1234567", "Thanks Mia!\nAda"),
        ("Best, Ada\nHead of Shelves\n0170 1234567", "Best, Ada"),
        ("D\u011bkuji\nJana Nov\u00e1\nTel: +420 601 123 456\njana@shelves.example", "D\u011bkuji\nJana Nov\u00e1"),
        ("Best,\nAda\n\nShelves e.V.\nHoher Weg 5, 50667 Koblenz\nTel. +49 221 123456", "Best,\nAda"),
        ("Best,\nAda\n\n[cid:logo.png@01D]\nAda Reed\nTel: 030 1234567", "Best,\nAda"),
    ],
)
def test_the_name_stays_and_the_contact_block_goes(end: str, kept: str) -> None:
    own = "The shelf is up, and the lamp is yours."
    assert normalise_text(remove_quoted(f"{own}\n\n{end}\n").text) == f"{own}\n\n{kept}"


@given(
    st.text(max_size=100)
    | st.lists(st.sampled_from(["Best", "thanks", ",", "Ada", "and", "x", "-", "7"])).map(" ".join)
)
def test_any_line_has_a_closing_or_none(line: str) -> None:
    closing = closing_in(line)
    assert closing is None or set(closing) <= set(line)
    name = name_in(line)
    assert name is None or name.strip() == name != ""


def test_no_line_takes_long() -> None:
    begin = time.process_time()
    for line in ("best " * 15, "and " * 200_000, "Anna - " * 100_000, "\u8c22\u8c22" * 40, "x" * 1_000_000):
        closing_in(line)
        name_in(line)
    assert time.process_time() - begin < 2
