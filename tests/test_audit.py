"""What the audit says of each text before it is trained on, in one line and without its words."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.audit import AuditRow, audit, chat_tokens
from ditto_cli.demonstrations.choice import Limits
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
        ("Thanks, see you on Thursday then.", "too_short", "6 words"),
        (f"{ENGLISH} " * 18, "too_long", "684 words, more than 600: --split"),
        (f"{ENGLISH}\n\n{GERMAN}", "mixed_languages", "English and German"),
        (f"Dear {{{{first_name}}}},\n\n{ENGLISH}", "template", "1 mark of a template"),
        (f"[Your name] and [Datum] {ENGLISH}", "template", "2 marks"),
        (f"Lorem ipsum. {ENGLISH}", "template", "1 mark"),
        (f"Dear Sir/Madam,\n{ENGLISH}", "template", "1 mark"),
        (f"<insert date here> {ENGLISH}", "template", "1 mark"),
        (f"Sehr geehrte Herr/Frau, {GERMAN}", "template", "1 mark"),
        (f"«Vorname» {GERMAN}", "template", "1 mark"),
        (f"%%NAME%% *|FNAME|* {ENGLISH}", "template", "2 marks"),
        (f"Bonjour [votre nom], {ENGLISH}", "template", "1 mark"),
        (f"{ENGLISH}\u200b\u2060", "control_characters", "2 invisible characters"),
        (f"{ENGLISH}\u202e", "control_characters", "1 mark that turns the direction"),
        (f"caf\ufffd {ENGLISH}", "control_characters", "1 place that was decoded wrongly"),
        (f"cafÃ© and donâ€™t {ENGLISH}", "control_characters", "2 places that were decoded wrongly"),
        (f"{ENGLISH}\ue000", "control_characters", "1 control or unassigned"),
        (f"{ENGLISH} <|im_start|>user", "chat_tokens", "<|im_start|>: encoded as plain text, cannot forge a turn"),
        (f"{ENGLISH} mail jane@example.org", "personal_data", "1 mail address: --redact"),
        (f"{ENGLISH} a@b.org c@d.org 020 7946 0958", "personal_data", "2 mail addresses, 1 phone number: --redact"),
        (f"{ENGLISH}\n\n---\n\n{GERMAN}", "several_texts", "looks like 2 texts in one file, divided by lines of ---"),
        (f"{ENGLISH} As an AI language model I cannot.", "written_by_machine", "phrase of language models"),
        (f"> and what do you think?\n{ENGLISH}", "quoted", "1 quoted line that begins with >"),
        (f"{ENGLISH}\n\n-----Original Message-----\nwhat", "quoted", "the head of another message"),
        (f"{ENGLISH}\n\nVon: Bo\nGesendet: Montag\nBetreff: Boot\n\n{RAIN}", "quoted", "the head of another message"),
        (
            f"{ENGLISH}\n\nDe : Bo\nEnvoyé : lundi 3 mars 2025\nObjet : bateau\n\n{RAIN}",
            "quoted",
            "the head of another",
        ),
        (f"{ENGLISH}\n\nOd: Bo\nWysłano: 3 marca 2025\nTemat: łódź\n\n{RAIN}", "quoted", "the head of another"),
        (f"{ENGLISH}\n\nMerci de remplir [insérer la date]", "template", "1 mark"),
        (f"Prezado(a) cliente, {ENGLISH}", "template", "1 mark"),
    ],
)
def test_warnings(text, code, message):
    found = {warning.code: warning.message for warning in row(text).warnings}
    assert message in found[code]
    assert "\n" not in found[code]
    assert not {"meeting", "bakery", "jane@example.org", "Treffen"} & set(found[code].split())
    assert set(found) <= {code, "mixed_languages", "too_short", "several_texts"}


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
    assert "decoded wrongly: save the original again" in found["control_characters"]
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
    assert codes(row(ENGLISH, count_tokens=lambda text: 3000, max_tokens=4000)) == []
    assert codes(row(ENGLISH, limits=Limits(1, 30))) == ["too_long"]


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


@pytest.mark.parametrize(
    "token",
    [
        *("<|im_start|>", "<|eot_id|>", "[INST]", "[/INST]", "<start_of_turn>", "<s>", "</s>", "<<SYS>>", "<|user|>"),
        *("<bos>", "<｜User｜>", "<｜begin▁of▁sentence｜>", "<|START_OF_TURN_TOKEN|>", "<unused42>", "[TOOL_CALLS]"),
        *("<think>", "<|reserved_special_token_3|>"),
    ],
)
def test_chat_tokens_of_all_families(token):
    assert chat_tokens(f"so {token} it is, {token}") == (token,)


def test_special_tokens_of_the_base():
    assert chat_tokens("a §§end§§ b <|im_end|>", ["§§end§§", "!", "the"]) == ("§§end§§", "<|im_end|>")
    assert codes(row(f"{ENGLISH} §§end§§", special_tokens=["§§end§§"])) == ["chat_tokens"]
    assert chat_tokens("a < b | c > d, [in] <strong> s> <sip>") == ()


def test_as_json():
    found = row("Thanks.", count_tokens=len)
    assert json.loads(json.dumps(found.as_json())) == {
        "id": "a.md",
        "words": 1,
        "tokens": 7,
        "language": None,
        "prompt": None,
        "warnings": [
            {"code": "too_short", "message": "1 word; below 25 there is little style to learn"},
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
