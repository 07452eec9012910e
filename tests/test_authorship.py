"""Texts of several people: which are the person's, by what they are called, and what is said where nobody knows."""

import json
import zipfile

import pytest

from ditto_cli.demonstrations.authorship import ChatWriter, UnknownAuthorError, own_texts
from ditto_cli.demonstrations.sources import READERS, read_sources
from ditto_cli.types import Mail, SourceText


def text(number, *authors, words="one two three"):
    return SourceText(f"c#{number}", words, None, authors=authors)


TELEGRAM = [text(1, "Mia Holm", "user11"), text(2, "Ada Reed", "user22")]
CHAT = [
    text(1, "Mia Holm", "mia", "U01"),
    text(2, "Ada Reed", "ada#1234", "U02"),
    text(3, "Tom", "U03"),
    text(4, "Ada Reed", "U02", words="one"),
    text(5, "Tom Holm", "tom.h", "U04"),
    text(6, "+49 171 2345678"),
]


@pytest.mark.parametrize(
    ("texts", "me", "own"),
    [
        (CHAT, ["Ada Reed"], [2, 4]),
        (CHAT, ["ada  reed"], [2, 4]),
        (CHAT, ["ADA"], [2, 4]),  # the only one of this first name
        (CHAT, ["reed"], [2, 4]),  # or of this last name
        (CHAT, ["@ada"], [2, 4]),
        (CHAT, ["U02"], [2, 4]),
        (CHAT, ["u02"], [2, 4]),
        (CHAT, ["ada#1234"], [2, 4]),
        (CHAT, ["tom"], [3]),  # exactly, though there is a Tom Holm
        (CHAT, ["Tom Holm"], [5]),
        (CHAT, ["mia", "Ada Reed"], [1, 2, 4]),
        (CHAT, ["+491712345678"], [6]),
        (CHAT, ["0049 171 23456-78"], [6]),
        ([*CHAT, text(7)], ["Ada Reed"], [2, 4, 7]),  # a text without a writer stays beside a chat
        (TELEGRAM, ["22"], [2]),
        (TELEGRAM, ["user22"], [2]),
        # Of a single writer nobody needs to be told.
        ([text(1, "Ada", "U1"), text(2, "Ada Reed", "U1"), text(3)], [], [1, 2, 3]),
    ],
)
def test_me_is_a_name_or_an_id(texts: list[SourceText], me: list[str], own: list[int]) -> None:
    found, skipped = own_texts(texts, me)
    assert [source.id for source in found] == [f"c#{number}" for number in own]
    assert {(one.name, one.reason) for one in skipped} == {
        (source.id, "written by somebody else") for source in texts if source not in found
    }


def test_several_people_and_nobody_said_who_is_who() -> None:
    message = (
        r"^Several people wrote in these chats or tables: Ada Reed \(2, 4 words\), Mia Holm \(1, 3 words\), "
        r"Tom \(1, 3 words\), Tom Holm \(1, 3 words\), \+49 171 2345678 \(1, 3 words\): "
        r"say which is you: --me NAME or ADDRESS, or me: in ditto\.yaml\.$"
    )
    with pytest.raises(UnknownAuthorError, match=message) as caught:
        own_texts(CHAT, [])
    assert caught.value.writers[:2] == (ChatWriter("Ada Reed", 2, 4), ChatWriter("Mia Holm", 1, 3))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("texts", "me", "first"),
    [
        (CHAT, "Bo", "Ada Reed"),
        (CHAT, "Holm", "Ada Reed"),
        (CHAT, "Ada Reed Junior", "Ada Reed"),
        ([text(1, "Tom Reed"), text(2, "Tom Holm")], "tom", "Tom Reed"),  # of two people it names neither
    ],
)
def test_nobody_has_this_name(texts: list[SourceText], me: str, first: str) -> None:
    with pytest.raises(UnknownAuthorError, match=rf"^Nobody in these chats or tables is called {me}: {first} "):
        own_texts(texts, [me])


def test_of_many_writers_the_first_are_listed() -> None:
    with pytest.raises(UnknownAuthorError, match=r"P7 \(1, 3 words\) and 12 more: say") as caught:
        own_texts([text(number, f"P{number}") for number in range(20)], [])
    assert len(caught.value.writers) == 20


def mail(number, sender, **more):
    return SourceText(f"m#{number}", "words", None, Mail(sender=sender, **more))


def test_a_name_for_the_chat_leaves_the_owner_of_the_mails_to_be_found() -> None:
    mails = [mail(1, "ada@x.example", is_sent=True), mail(2, "mia@x.example", is_sent=False)]
    found, skipped = own_texts([*mails, *CHAT], ["Ada Reed"])
    assert [source.id for source in found] == ["m#1", "c#2", "c#4"]
    assert [one.reason for one in skipped if one.name == "m#2"] == ["received, not sent"]


def test_a_mail_has_a_display_name_too() -> None:
    mails = [
        SourceText("m#1", "words", None, Mail(sender="a@x.example"), authors=("Ada Reed", "a@x.example")),
        mail(2, "b@x.example"),
    ]
    for me in ("Ada Reed", "A@x.example", "<a@x.example>"):
        assert own_texts(mails, [me])[0] == mails[:1]


# --- columns of authors


@pytest.mark.parametrize(
    ("table", "suffix", "authors"),
    [
        ("author,text\nAda,one\nMia,two\n", ".csv", [("Ada",), ("Mia",)]),
        ("Von;Nachricht\nAda;eins\nMia;zwei\n", ".csv", [("Ada",), ("Mia",)]),
        ("Expéditeur;Message\nAda;un\n", ".csv", [("Ada",)]),
        ("remitente,mensaje\nAda,uno\n", ".csv", [("Ada",)]),
        ("Отправитель,Сообщение\nAda,раз\n", ".csv", [("Ada",)]),
        ("user_id\tuser\tbody\n7\tAda\tone\n", ".tsv", [("Ada", "7")]),
        ("Subject,Body,From: (Name),From: (Address)\nTea,one,Ada,ada@x.example\n", ".csv", [("Ada", "ada@x.example")]),
        ("author,text\n,one\n", ".csv", [()]),
        ("name,text\nAda,one\nMia,two\nAda,three\n", ".csv", [("Ada",), ("Mia",), ("Ada",)]),
        ("name,text\nMonday,one\nTuesday,two\n", ".csv", [(), ()]),  # names of things
        ("from,to,text\nAda,Mia,one\n", ".csv", [("Ada",)]),
        ('[{"sender": "Ada", "text": "one"}, {"sender": {"name": "Mia", "id": 7}, "text": "two"}]', ".json",
         [("Ada",), ("Mia", "7")]),
        ('[{"user": {"screen_name": "ada"}, "text": "one"}]', ".json", [("ada",)]),
        ('[{"author": "J\\u00c3\\u00b6rg", "text": "one"}]', ".json", [("Jörg",)]),
        ('[{"author": true, "text": "one"}]', ".json", [()]),
    ],
)  # fmt: skip
def test_a_column_says_who_wrote(table: str, suffix: str, authors: list[tuple[str, ...]]) -> None:
    assert [source.authors for source in READERS[suffix](f"a{suffix}", table.encode()).texts] == authors


def test_whose_mails_they_are_is_asked_as_before() -> None:
    mails = [mail(number, f"{letter}@x.example") for number, letter in enumerate("aabb")]
    with pytest.raises(UnknownAuthorError, match=r"^Several people wrote in these mails: a@x\.example ") as caught:
        own_texts(mails, [])
    assert [(one.name, one.num_texts) for one in caught.value.writers] == [("a@x.example", 2), ("b@x.example", 2)]


# --- from files


CHAT_LINES = [
    "03.03.25, 10:10 - Messages are end-to-end encrypted.",
    "03.03.25, 10:15 - Mia Holm: Shall we plant the beans?",
    "03.03.25, 10:16 - Ada Reed: Yes, behind the shed.",
    "03.03.25, 10:17 - Mia Holm: <Media omitted>",
    "03.03.25, 10:18 - Ada Reed: \U0001f44d",
    "03.03.25, 10:19 - Tom: This message was deleted",
    "03.03.25, 10:20 - Ada Reed: And twine!",
]


def test_every_message_is_taken_or_left_out_with_a_reason(tmp_path) -> None:
    (tmp_path / "chat.txt").write_text("\n".join(CHAT_LINES), encoding="utf-8")
    reading = read_sources([tmp_path / "chat.txt"], ["Ada Reed"])
    assert [source.id for source in reading.texts] == ["chat.txt#3", "chat.txt#7"]
    assert sorted((one.name.partition("#")[2], one.reason) for one in reading.skipped) == [
        ("1", "a line of the chat program"),
        ("2", "written by somebody else"),
        ("4", "a picture, call or deleted message, no words"),
        ("5", "no words in it, only signs or links"),
        ("6", "a picture, call or deleted message, no words"),
    ]


def test_an_export_in_an_archive_with_its_side_files(tmp_path) -> None:
    message = {"type": "message", "ts": "1", "user": "U1"}
    days = {
        "garden/2025-03-03.json": [
            {**message, "text": "Beans?"},
            {"type": "message", "ts": "9", "user": "U2", "text": "Yes."},
        ],
        "garden/2025-03-04.json": [{"type": "message", "ts": "20", "user": "U1", "text": "And twine!"}],
        "users.json": [
            {"id": "U1", "name": "ada", "profile": {"real_name": "Ada Reed", "email": "ada@x.example"}},
            {"id": "U2", "name": "mia", "profile": {"real_name": "Mia Holm"}},
        ],
        "channels.json": [{"id": "C1", "name": "garden", "members": ["U1", "U2"]}],
    }
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as package:
        for name, content in days.items():
            package.writestr(name, json.dumps(content))
    for me in ("Ada Reed", "ada", "ada@x.example", "U1"):
        reading = read_sources([tmp_path / "export.zip"], [me])
        assert [source.text for source in reading.texts] == ["Beans?", "And twine!"]
    assert [(one.name, one.reason) for one in reading.skipped if one.name.endswith("#2")] == [
        ("export.zip/garden/2025-03-03.json#2", "written by somebody else")
    ]
    assert {one.name for one in reading.skipped if "no column of texts" in one.reason} == {"export.zip/channels.json"}
    assert {one.name for one in reading.skipped if "list of people" in one.reason} == {"export.zip/users.json"}
    with pytest.raises(UnknownAuthorError, match=r"Ada Reed .*, Mia Holm .*: say which is you: --me NAME"):
        read_sources([tmp_path / "export.zip"])


def test_single_mails_of_one_name_are_all_the_persons(tmp_path):
    paths = []
    for sender in ("maya@example.com", "m.reed@example.org", "office@example.net"):
        paths.append(tmp_path / sender / "Hello.eml")
        paths[-1].parent.mkdir()
        paths[-1].write_text(f"From: {sender}\nTo: bo@example.com\nSubject: Hello\n\nThe shed of {sender} is up.\n")
    reading = read_sources(paths)
    assert [source.id for source in reading.texts] == ["Hello.eml", "Hello.eml (2)", "Hello.eml (3)"]
