"""What the audit says of each text before it is trained on, in one line and without its words."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.choice import AuditRow, audit
from ditto_cli.types import Mail, SourceText

ENGLISH = (
    "The meeting was moved to Thursday afternoon, so we will have lunch together before it starts, and after that I"
    " would like to show you the new boat, which is still in the old harbour behind the bakery."
)
GERMAN = (
    "Das Treffen wurde auf Donnerstag verschoben, deshalb essen wir vorher noch zusammen in der Stadt, und danach"
    " zeige ich dir das neue Boot, das immer noch im alten Hafen hinter der Bäckerei liegt."
)

RAIN = (
    "It rained all day, yet the children wanted to swim; I read a book about bees and then fell asleep on the sofa"
    " until the neighbours rang to borrow some sugar again."
)
PUMPKIN = (
    "Could you send me that recipe with the pumpkin? My sister comes on Saturday, she has not been here since the"
    " winter, and I promised her something that she does not know."
)
VAN = (
    "We sold the van yesterday, to a couple from the hills who will sleep in it all summer long, and I was sadder"
    " than I would have thought, all those trips we made."
)


def row(text, **settings_):
    return audit([SourceText("a.md", text, None)], {}, **settings_)[0]


def codes(found):
    return [warning.code for warning in found.warnings]


def test_a_good_text_has_no_warnings():
    found = audit([SourceText("a.md", ENGLISH, "Tell me.")], {}, count_tokens=len)
    assert found == (AuditRow("a.md", 38, len(ENGLISH), "en", "Tell me."),)


def test_a_stored_prompt_wins_and_a_missing_one_is_none():
    texts = [SourceText("a", ENGLISH, "old"), SourceText("b", GERMAN, None), SourceText("c", ENGLISH, "  ")]
    assert [found.prompt for found in audit(texts, {"a": "new "})] == ["new", None, None]


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("Thanks, see you on Thursday then.", "too_short", "fewer than 25 words"),
        (f"{ENGLISH} " * 18, "too_long", "more than 600 words or 2048 tokens: --split"),
        (f"caf\ufffd {ENGLISH}", "damaged", "decoded wrongly (1)"),
        (f"cafÃ© and donâ€™t {ENGLISH}", "damaged", "decoded wrongly (2)"),
        (f"{ENGLISH} mail jane@example.org", "personal_data", "mail address (1): --redact"),
        (f"{ENGLISH} a@b.org c@d.org 020 7946 0958", "personal_data", "mail address (2), number (1): --redact"),
        (f"{ENGLISH}\n\n---\n\n{GERMAN}", "several_texts", "looks like 2 texts in one file, divided by lines of ---"),
        (f"> and what do you think?\n{ENGLISH}", "quoted", "quoted lines"),
        (f"{ENGLISH}\n\n-----Original Message-----\nwhat", "quoted", "the head of another message"),
        (f"{ENGLISH}\n\nVon: Bo\nGesendet: Montag\nBetreff: Boot\n\n{RAIN}", "quoted", "the head of another message"),
        (
            f"{ENGLISH}\n\nDe : Bo\nEnvoyé : lundi 3 mars 2025\nObjet : bateau\n\n{RAIN}",
            "quoted",
            "the head of another",
        ),
        (f"{ENGLISH}\n\nOd: Bo\nWysłano: 3 marca 2025\nTemat: łódź\n\n{RAIN}", "quoted", "the head of another"),
    ],
)
def test_warnings(text, code, message):
    found = {warning.code: warning.message for warning in row(text).warnings}
    assert message in found[code]
    assert "\n" not in found[code]
    assert not {"meeting", "bakery", "jane@example.org", "Treffen"} & set(found[code].split())
    assert set(found) <= {code, "too_short", "several_texts"}


@pytest.mark.parametrize(
    ("letters", "encoding"),
    [
        ("привет", "cp1251"),
        ("łódź", "cp1250"),
        ("αλλά", "cp1253"),
        ("αλλά", "cp1252"),
        ("日本", "cp1252"),
        ("naïve", "latin-1"),
        ("don’t", "cp1252"),
        ("žluť", "cp1252"),
    ],
)
def test_damage_is_said_in_every_script(letters, encoding):
    damaged = letters.encode().decode(encoding, "replace")
    found = {warning.code: warning.message for warning in row(f"{damaged} {ENGLISH}").warnings}
    assert "save the original again" in found["damaged"]
    assert codes(row(f"{letters} {ENGLISH}")) == []


@pytest.mark.parametrize(
    "text",
    [
        f"{ENGLISH} 👩\u200d👩\u200d👧 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f ❤\ufe0f",  # emoji
        f"{ENGLISH} São Paulo, Ângela, naïve, 20 °C, 5 €, “quoted” – and ‘so’ …",
        "این متن فارسی است و نیم\u200cفاصله دارد " * 10,
        f"{ENGLISH} [1] [sic] <b> {{x}} a<b>c <3 [ok] (s)",
        f"From: the beginning it was fine.\n{ENGLISH}",
        f"{ENGLISH}\n\n---\nPS: nothing",
        f"{ENGLISH} 12.08.2024, 14.30, 1,000,000",
    ],
)
def test_no_false_alarm(text):
    assert codes(row(text)) == []


def test_too_many_tokens():
    assert codes(row(ENGLISH, count_tokens=lambda text: 3000)) == ["too_long"]


def test_between_texts_duplicates_other_authors_and_other_languages():
    texts = [
        SourceText("a", f"{ENGLISH}\n\nBest,\nAnna", None),
        SourceText("b", f"{RAIN}\n\nBest,\nAnna Smith", None),
        SourceText("c", f"{PUMPKIN}\n\nBest,\nA. Smith", None),
        SourceText("d", f"{VAN}\n\nBest,\nBo Jones", None),
        SourceText("e", f"{ENGLISH} Well then.\n\nBest,\nAnna", None),
        SourceText("f", GERMAN, None),
    ]
    found = {entry.id: {warning.code: warning.message for warning in entry.warnings} for entry in audit(texts, {})}
    assert found["e"] == {"duplicate": "nearly the same as a: keep one of them"}
    assert found["d"] == {"other_author": "signed by somebody else than most: is it the same person?"}
    assert found["f"] == {"other_language": "in German, the others are not"}
    assert found["a"] == found["b"] == found["c"] == {}


def test_a_mail_that_nobody_wrote():
    mail = Mail(not_written="an out-of-office notice")
    found = audit([SourceText("a", ENGLISH, None, mail)], {})[0]
    assert [(warning.code, warning.message) for warning in found.warnings] == [
        ("written_by_machine", "an out-of-office notice")
    ]


def test_as_json():
    found = row("Thanks.", count_tokens=len)
    assert json.loads(json.dumps(found.as_json())) == {
        "id": "a.md",
        "words": 1,
        "tokens": 7,
        "language": None,
        "prompt": None,
        "warnings": [
            {"code": "too_short", "message": "fewer than 25 words: there is little style to learn"},
        ],
    }


def test_ten_texts_take_less_than_a_second():
    texts = [SourceText(str(number), f"{ENGLISH} {number}\n\n{GERMAN} " * 6, None) for number in range(10)]
    audit(texts[:1], {})  # loads the model of languages
    start = time.process_time()
    audit(texts, {})
    assert time.process_time() - start < 1


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(max_size=200), max_size=4))
def test_any_characters(texts):
    rows = audit([SourceText(str(place), text, None) for place, text in enumerate(texts)], {})
    assert [found.id for found in rows] == [str(place) for place in range(len(texts))]
    assert all("\n" not in warning.message for found in rows for warning in found.warnings)
    json.dumps([found.as_json() for found in rows])


@pytest.mark.parametrize(
    "unit", ["{{", "[your ", "<|a", "<insert ", "From: a\n", "Ã", "---\n", ">", "%%a", "certainly! ", "1\n", "best, "]
)
def test_long_runs_take_no_long_time(unit):
    row(unit * (40_000 // len(unit)))
