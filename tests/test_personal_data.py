"""Personal data told by its form, what only looks like it, and what is echoed."""

import pytest

from ditto_cli.demonstrations.redaction import MAIL, NUMBER, WEB, find_personal_data, personal_data
from ditto_cli.evaluation.judgements import Writing
from ditto_cli.evaluation.soundness import find_echoed_data
from ditto_cli.types import Demonstration

# Numbers that are reserved for examples: of Ofcom, of the North American plan (555-01..), of banks' documentation.


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("Write to Jane.Doe@Example.org. Or x+y@mail.co.uk!", MAIL, {"jane.doe@example.org", "x+y@mail.co.uk"}),
        ("see https://www.example.org/a/b?c=1.", WEB, {"example.org/a/b?c=1"}),
        ("https://example.org/?to=jane@example.org", WEB, {"example.org/?to=jane@example.org"}),
        ("(www.example.org)", WEB, {"example.org"}),
        ("at example.com/in/jane-doe, and so on", WEB, {"example.com/in/jane-doe"}),
        ("IBAN DE89 3704 0044 0532 0130 00 I think", NUMBER, {"de89370400440532013000"}),
        ("GB82WEST12345698765432", NUMBER, {"gb82west12345698765432"}),
        ("BE68 5390 0754 7034 OK", NUMBER, {"be68539007547034"}),
        ("card 4111 1111 1111 1111, valid", NUMBER, {"4111111111111111"}),
        ("4111-1111-1111-1111", NUMBER, {"4111111111111111"}),
        ("call 020 7946 0958.", NUMBER, {"02079460958"}),
        ("+44 (0)20 7946 0958", NUMBER, {"442079460958"}),
        ("0044 20 7946 0958", NUMBER, {"442079460958"}),
        ("(212) 555-0123", NUMBER, {"2125550123"}),
        ("1-800-555-0199", NUMBER, {"18005550199"}),
        ("06.12.34.56.78", NUMBER, {"0612345678"}),
        ("07700900123", NUMBER, {"07700900123"}),
        ("07:30 020 7946 0958", NUMBER, {"02079460958"}),
        ("Tel. 08912345, from nine", NUMBER, {"08912345"}),
        ("my account number is here: account no. 12345678.", NUMBER, {"12345678"}),
        ("Kontonummer: 0532 0130 00", NUMBER, {"0532013000"}),
        ("+1 212 555 0123\n020 7946 0958", NUMBER, {"12125550123", "02079460958"}),
    ],
)
def test_found(text, kind, values):
    assert personal_data(text) == {kind: values}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "on 12.08.2024 at 14.30, or 2024-08-12, or 12/08/24, or 12 08 2024",
        "1995-1996, 2019/20, 1914 - 1918",
        "1,000,000 for 6,000 red and 5,600 buff",
        "open 12.50 - 13.50 and 07:10 to 12:00",
        "3.14159265",
        "order 123456",
        "1 2 3 4 5 6 7 8 9",
        "and/or, e.g./i.e., @home, a@b",
        "on the phone 5 minutes, tel aviv 2024, account for 12 of them",
        "someone@example.com, someone12@example.com, https://example.com, https://example.com/3",  # stand-ins
        "000 0000 0000, +00 000 000000, DE00 0000 0000 0000 0000 00, 0000 0000 0000 0000",
    ],
)
def test_not_found(text):
    assert personal_data(text) == {}


def test_several_kinds_and_no_part_of_one_as_another():
    text = "jane@example.org, 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, www.example.org/0207946095812"
    assert set(personal_data(text)) == {MAIL, NUMBER, WEB}


def test_finds_say_where_they_stand():
    text = (
        "See www.example.org/a. Or jane@example.org, 020 7946 0958, IBAN DE89 3704 0044 0532 0130 00 Bye 020 7946 0958"
    )
    found = find_personal_data(text)
    assert [(entry.kind, text[entry.start : entry.end]) for entry in found] == [
        (WEB, "www.example.org/a"),
        (MAIL, "jane@example.org"),
        (NUMBER, "020 7946 0958"),
        (NUMBER, "DE89 3704 0044 0532 0130 00"),
        (NUMBER, "020 7946 0958"),
    ]


@pytest.mark.parametrize("unit", ["a", "a.", "a-", "a@", "1 ", "www.", "AA11", "(", "+1", "a.b/", "tel. 1", "@a."])
def test_long_runs_take_no_long_time(unit):
    find_personal_data(unit * (60_000 // len(unit)))  # a pattern that goes back over them takes minutes


def echoed(written, demonstrated):
    writings = [Writing("maya", "p", 0, "other text", 3, True), Writing("maya", "p", 1, written, 3, True)]
    return find_echoed_data(writings, [Demonstration("a", "p", "text"), Demonstration("b", "p", demonstrated)])


def test_an_echo_is_the_same_value_however_it_is_written():
    assert echoed("Tel. (020) 7946-0958, JANE@example.org", "020 7946 0958 jane@Example.org") == [MAIL, NUMBER]
    assert echoed("020 7946 0959", "020 7946 0958") == []
    assert echoed("nothing", "jane@example.org") == []
    assert echoed("jane@example.org", "nothing") == []


def test_what_several_demonstrations_are_signed_with_is_no_echo():
    writings = [Writing("maya", "p", 0, "call 020 7946 0958, bob@jones.org", 3, True)]
    signed = [Demonstration(name, "p", f"{name} bob@jones.org") for name in "ab"]
    assert find_echoed_data(writings, signed) == []
    assert find_echoed_data(writings, [*signed, Demonstration("c", "p", "020 7946 0958")]) == [NUMBER]
    assert find_echoed_data(writings, [signed[0], signed[0]]) == [MAIL]  # the same text twice is one


def test_an_echo_is_told_by_its_kind_only():
    assert echoed("DE89370400440532013000", "DE89 3704 0044 0532 0130 00") == ["number"]
