"""Archives: where one mail ends and the next begins, which are the owner's, and what replies answer."""

from __future__ import annotations

import base64
import io
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations import mail
from ditto_cli.demonstrations.authorship import own_texts
from ditto_cli.demonstrations.choice import pick
from ditto_cli.demonstrations.language import Limits
from ditto_cli.demonstrations.mail import (
    NOT_KEPT,
    apple_mbox_file,
    folder_kind,
    is_maildir,
    is_mbox,
    link_originals,
    read_maildir,
    read_mbox,
)
from ditto_cli.demonstrations.sources import read_source
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Skipped, SourceText
from mail_corpus import ANNA, write_mbox

SEPARATORS = {
    "Unix": "From anna@x.org Mon Jan  1 00:00:00 2024",
    "with a zone": "From anna@x.org Mon Jan  1 00:00:00 CET 2024",
    "Thunderbird": "From - Mon Jan 01 00:00:00 2024",
    "Thunderbird, new": "From ",
    "Gmail Takeout": "From 1787654321@xxx Mon Jan 01 00:00:00 +0000 2024",
    "with a quoted name": 'From "Anna Roth"@x.org Mon Jan 1 00:00 2024',
    "as in a Date header": "From anna@x.org Mon, 1 Jan 2024 00:00:00 +0000",
}


def mbox(*bodies: str, separator: str = SEPARATORS["Unix"], line_end: str = "\n") -> bytes:
    mails = [f"{separator}\nFrom: a@b.org\nSubject: s{number}\n\n{body}\n\n" for number, body in enumerate(bodies)]
    return "".join(mails).replace("\n", line_end).encode()


def read(raw: bytes, name: str = "All.mbox") -> list[SourceText | Skipped]:
    return list(read_mbox(name, io.BytesIO(raw)))


def texts_of(found: Iterable[SourceText | Skipped]) -> list[SourceText]:
    return [one for one in found if isinstance(one, SourceText)]


def bodies(raw: bytes) -> list[str]:
    found = read(raw)
    assert [getattr(one, "id", "") for one in found] == [f"All.mbox#{number}" for number in range(1, len(found) + 1)]
    return [text.text for text in texts_of(found)]


def is_sent(found: SourceText | Skipped) -> bool | None:
    assert isinstance(found, SourceText)
    assert found.mail is not None
    return found.mail.is_sent


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("program", SEPARATORS)
def test_a_mail_begins_at_each_programs_separator(program: str, line_end: str) -> None:
    raw = mbox("one", "two\n\nlines", "three", separator=SEPARATORS[program], line_end=line_end)
    assert bodies(raw) == ["one", "two\n\nlines", "three"]
    assert is_mbox(raw[:1024])


@pytest.mark.parametrize(
    "raw", [b"", b"\n\n", b"Hi Tom\n\nFrom now on", b"From: a@b.org\n\nHi", b"\x89PNG\r\n\x1a\n\0\0"]
)
def test_another_kind_of_file_is_refused(raw: bytes) -> None:
    assert not is_mbox(raw)
    with pytest.raises(InputError, match=r"^All.mbox holds no mail .* export the mails as"):
        read(raw)


def test_a_mail_that_is_too_large_is_skipped_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail, "MAX_MESSAGE_BYTES", 2**20)
    found = read(mbox("one", "x" * (2**20), "three"))
    assert found[1] == Skipped("All.mbox#2", "larger than 1 MiB")
    assert [text.text for text in texts_of(found)] == ["one", "three"]


def test_a_disk_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def readline(self, _size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(InputError, match="cannot be read to its end"):
        list(read_mbox("All.mbox", Failing()))


# --- where mails begin and end

HEAD = "From: Ada <ada@x.example>\nSubject: s{0}\nMessage-ID: <{0}@x.example>\n\nbody {0}\n"
MAILS = [HEAD.format(number) for number in range(3)]


@pytest.mark.parametrize(
    "lines",
    [
        ["From ada@x.example"] * 3,
        ["From -"] * 3,
        ["From 1787654321@xxx"] * 3,
        ["From"] * 3,
        ["From ???@??? Mon Mar 03 10:10:00 2025"] * 3,  # Eudora
        ["From ada 2025-03-03T10:10:00Z"] * 3,
        ["From ada@x.example 2025-03-03 10:10:00 +0100"] * 3,
        ["From - Mo Mär 03 10:10:00 2025", "From - Di Mär 04 10:10:00 2025", "From - Mi Mär 05 10:10:00 2025"],
        ["From ada@x.example lun. mars 03 10:10:00 2025"] * 3,
        ["From ada 2025年3月3日 10:10:00"] * 3,
        ["From Ada Reed <ada@x.example> Mon Mar  3 10:10:00 2025"] * 3,  # a converter of Outlook's archives
        ["From MAILER-DAEMON Mon Mar  3 10:10:00 2025", "From -", "From ada@x.example"],
        ["From ada", "From bo", "From ada"],  # nothing but a name: the headers below tell
    ],
)
@pytest.mark.parametrize("above", ["\n", ""])
def test_a_mail_begins_where_headers_stand_below_a_separator(lines: list[str], above: str) -> None:
    raw = above.join(f"{line}\n{mail}" for line, mail in zip(lines, MAILS, strict=True)).encode()
    assert bodies(raw) == ["body 0", "body 1", "body 2"]
    assert is_mbox(raw[:1024])


@pytest.mark.parametrize(
    "body",
    [
        "From here on it rains.",
        "From here on:\nthe list",
        "From Tom:\n\nFrom: Tom\nSubject: x",
        "From Monday\nTo: Friday",
        "From ada@x.example I have it.\nTo: be done",
        "From 10:30 in 2025\nRoom: 5",
        "a\nFrom now on\nFrom: me\n\nb",
    ],
)
def test_words_that_begin_with_from_begin_no_mail(body: str) -> None:
    raw = f"From -\n{MAILS[0]}\n{body}\n\nFrom -\n{MAILS[1]}".encode()
    found = read(raw)
    assert len(found) == 2
    assert isinstance(found[0], SourceText)
    assert found[0].text.startswith("body 0\n\n" + body.split("\n", maxsplit=1)[0])


FROM_IN_A_BODY = f"Hi\n\nFrom now on\nFrom: me\n\nFrom Mon to Fri\n{SEPARATORS['Unix']}\nX: y"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (mbox(FROM_IN_A_BODY, "two"), [FROM_IN_A_BODY, "two"]),
        # An escaped From loses one mark; the second was quoted, so it is somebody else's.
        (mbox("Hi\n\n>From here\n\nand on\n\n>>From there"), ["Hi\n\nFrom here\n\nand on"]),
        (f"{MAILS[0]}\nFrom -\n{MAILS[1]}".encode(), ["body 0", "body 1"]),  # one above the first separator
    ],
)
def test_the_bodies_of_an_archive(raw: bytes, expected: list[str]) -> None:
    assert bodies(raw) == expected


# --- in which folder they lay


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *[(name, "sent") for name in ("Sent.mbox", "Sent", "[Gmail].Gesendet", ".Sent", ".Sent.2024", ".INBOX.Sent")],
        *[(name, "sent") for name in ("Sent-1", "sent-mail-jan-2024", "Sent Items.mbox", "x.zip/Sent.mbox/mbox")],
        *[(name, "sent") for name in ("Mail/.Gesendet", "Sent.sbd/2024", ".&BB4EQgQ,BEAEMAQyBDsENQQ9BD0ESwQ1-")],
        *[(name, "drafts") for name in (".Drafts", "Mail/.Entw&APw-rfe", "Brouillons.mbox")],
        *[(name, "spam") for name in (".Junk", "Spam.mbox", "迷惑メール.mbox")],
        *[(name, "trash") for name in (".Trash", "Papierkorb", "Deleted Items.mbox")],
        *[(name, "inbox") for name in ("Inbox.mbox", "INBOX")],
        *[(name, None) for name in ("x", "All mail Including Spam and Trash.mbox", "drafts/All.mbox", "Sentiments")],
    ],
)
def test_the_name_of_an_archive_may_tell_what_lies_in_it(name: str, kind: str | None) -> None:
    (found,) = read(mbox("Hi"), name)
    assert folder_kind(name) == kind
    if kind in NOT_KEPT:
        assert found == Skipped(f"{name}#1", NOT_KEPT[kind])
    else:
        assert is_sent(found) is (True if kind == "sent" else None)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        *[
            (label, True)
            for label in (
                *("Sent", "Gesendet,Wichtig", "Envoyé,Archivés", "Odesláno,Nepřečtené", "Wysłane", "Elküldött"),
                *("Gönderilmiş Postalar", "Надіслані", "Đã gửi", "נשלח", "Enviats", "ส่งแล้ว", "보낸편지함", "寄件備份"),
                *("Απεσταλμένα", "Lähetetyt", "Išsiųsti laiškai", "Изпратени", "Trimise", "भेजे गए", "Terkirim"),
                *("البريد المرسل", "送信済み,受信トレイ"),
            )
        ],
        *[(label, False) for label in ("Inbox,Work", "Boîte de réception", "Входящие", "Posta in arrivo")],
        *[(label, None) for label in ("Ĝardeno", "Work,Unread", "Nesbaiteak", "Sentosa")],
    ],
)
def test_a_label_of_gmail_counts_only_where_it_is_known(labels: str, expected: bool | None) -> None:
    encoded = f"=?utf-8?b?{base64.b64encode(labels.encode()).decode()}?="
    (found,) = read(f"From -\nX-Gmail-Labels: {encoded}\n{MAILS[0]}".encode())
    assert is_sent(found) is expected


@pytest.mark.parametrize("labels", ["Ĝardeno", "Sent", "Inbox", "Неведомо"])
def test_who_says_me_is_believed_above_labels(labels: str) -> None:
    mails = [f"From -\nX-Gmail-Labels: =?utf-8?q?{labels}?=\nTo: bo@x.example\n{mail}" for mail in MAILS]
    other = "From -\nX-Gmail-Labels: Sent\nFrom: bo@x.example\nSubject: x\n\nhis\n"
    own = own_texts(texts_of(read("".join([*mails, other]).encode())), ["ada@x.example"])[0]
    assert [one.text for one in own] == ["body 0", "body 1", "body 2"]
    assert {one.text.text for one in pick(own, 3, Limits(1)).picked} == {"body 0", "body 1", "body 2"}


def test_every_mail_that_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    special = {
        "X-Gmail-Labels: Rascunhos": "a draft",
        "X-Gmail-Labels: Spam": "marked as spam",
        "X-Mozilla-Status: 0009": "in the trash",
        "Content-Type: application/pkcs7-mime": "encrypted",
        "Content-Transfer-Encoding: base64\nX-Cut: yes": "not a mail that can be read",
    }
    path = tmp_path / "All.mbox"
    write_mbox(path, 60, seed=2)
    extra = "".join(f"From -\nFrom: anna@home.example\n{head}\n\nR3LDv\n" for head in special)
    empty = "From x@x.example\nFrom: anna@home.example\nSubject: nothing\n\n> quoted\n"
    raw = (path.read_text(encoding="utf-8") + extra + empty).encode()
    found = read(raw)
    own, received = own_texts(texts_of(found), [ANNA])
    reasons = Counter(one.reason for one in found if isinstance(one, Skipped))
    assert reasons == {**Counter(special.values()), "nothing in it was written by its sender": 1}
    assert len(own) + len(received) + reasons.total() == 60 + len(special) + 1
    assert {one.id for one in own}.isdisjoint(one.name for one in received)


# --- Maildir


def maildir(tmp_path: Path, files: dict[str, str]) -> Path:
    folder = tmp_path / "Mail"
    for part in ("cur", "new", "tmp", ".Sent/cur"):
        (folder / part).mkdir(parents=True)
    for name, body in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"From: a@b.org\n\n{body}\n")
    return folder


def test_a_maildir_is_read_by_file_name(tmp_path: Path) -> None:
    read_ones = {"cur/3:2,S": "three", "new/1": "one", "cur/2:2,": "two", ".Sent/cur/6": "x"}
    folder = maildir(tmp_path, {**read_ones, "cur/4:2,DS": "x", "cur/5!2,ST": "x"})
    assert is_maildir(folder)
    found = list(read_maildir("Mail", folder))
    assert [one.text if isinstance(one, SourceText) else one for one in found] == [
        *("one", "two", "three"),
        Skipped("Mail#4", "a draft"),
        Skipped("Mail#5", "in the trash"),
        "x",
    ]


@pytest.mark.parametrize(
    ("below", "expected"),
    [
        (".Sent", True),
        (".Sent.2024", True),
        (".INBOX.Sent", True),
        ("Gesendet", True),  # Dovecot's other layout
        (".Garden", None),
        (".Trash", "in the trash"),
        (".Drafts", "a draft"),
        (".Junk", "marked as spam"),
        (".Entw&APw-rfe", "a draft"),
    ],
)
def test_a_folder_below_a_maildir_is_read_as_one_of_its_own(
    tmp_path: Path, below: str, expected: bool | str | None
) -> None:
    first, second = read_maildir("Mail", maildir(tmp_path, {"cur/1:2,S": "one", f"{below}/cur/2:2,S": "two"}))
    assert isinstance(first, SourceText)
    name = f"Mail/{below}#1"
    if isinstance(expected, str):
        assert second == Skipped(name, expected)
    else:
        assert isinstance(second, SourceText)
        assert (second.id, second.text, is_sent(second)) == (name, "two", expected)


def test_a_maildir_whose_empty_folders_were_lost_is_one(tmp_path: Path) -> None:
    (tmp_path / "cur").mkdir()
    assert not is_maildir(tmp_path)
    (tmp_path / "cur" / "1750.M1P1.host:2,S").write_text("From: a@b.org\n\none\n")
    assert is_maildir(tmp_path)


def test_links_of_a_maildir_are_not_followed(tmp_path: Path) -> None:
    folder = maildir(tmp_path, {})
    (tmp_path / "other").write_text("From: a@b.org\n\nHi\n")
    (folder / "cur/1").symlink_to(tmp_path / "other")
    os.mkfifo(folder / "cur/2")
    assert list(read_maildir("Mail", folder)) == [Skipped("Mail#1", "not a file"), Skipped("Mail#2", "not a file")]
    assert not is_maildir(tmp_path)
    (tmp_path / "linked").mkdir()
    for part in ("cur", "new"):
        (tmp_path / "linked" / part).symlink_to(folder / part)
    assert not is_maildir(tmp_path / "linked")


def test_the_folder_that_apple_mail_exports(tmp_path: Path) -> None:
    assert apple_mbox_file(tmp_path) is None
    (tmp_path / "mbox").write_bytes(mbox("Hi"))
    assert apple_mbox_file(tmp_path) == tmp_path / "mbox"


@pytest.mark.parametrize("name", ["Sent", "Sent.sbd/2024", "Sent Items/mbox"])
def test_a_folder_of_archives_whose_names_have_no_suffix(name: str, tmp_path: Path) -> None:
    file = tmp_path / "Mail" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(mbox("one", "two"))
    (tmp_path / "Mail" / "LICENSE").write_text("MIT")
    found = list(read_source(tmp_path / "Mail"))
    assert [text.text for text in texts_of(found)] == ["one", "two"]
    (skipped,) = (one for one in found if isinstance(one, Skipped))
    assert skipped.name == "Mail/LICENSE"
    assert skipped.reason.startswith("not one of .csv")


# --- whose they are


def source(number: int, sender: str, recipients: tuple[str, ...] = (), *, is_sent: bool | None = None) -> SourceText:
    return SourceText(
        f"a#{number}", f"text {number}", None, Mail(sender=sender, recipients=recipients, is_sent=is_sent)
    )


# What of an archive of a@x is known, the mails, and the addresses that were given.
OWNED_BY_A = {
    "its address": ([source(1, "a@x"), source(2, "b@x"), source(3, "b@x", is_sent=True)], ["A@X"]),
    "which are marked as sent": (
        [source(1, "a@x", is_sent=True), source(2, "b@x", is_sent=False), source(3, "a@x"), source(4, "b@x")],
        [],
    ),
    "which are marked as sent, with one of another among them": (
        [
            *(source(n, "a@x", ("b@x",), is_sent=True) for n in range(5)),
            source(5, "b@x", ("a@x",), is_sent=True),
            *(source(n, "b@x", ("a@x",)) for n in range(6, 12)),
        ],
        [],
    ),
    "who sent almost all": ([*(source(n, "a@x") for n in range(9)), source(9, "b@x")], []),
    "who always takes part": (
        [
            *(source(n, f"p{n}@x", ("a@x", f"q{n}@x")) for n in range(6)),
            *(source(n, "a@x", (f"p{n}@x",)) for n in range(4)),
        ],
        [],
    ),
}


@pytest.mark.parametrize("known", OWNED_BY_A)
def test_the_owner_is_found(known: str) -> None:
    texts, me = OWNED_BY_A[known]
    own, skipped = own_texts(texts, me)
    assert own == [text for text in texts if text.mail is not None and text.mail.sender == "a@x"]
    assert len(own) + len(skipped) == len(texts)
    assert all(one.reason == "received, not sent" for one in skipped)


@pytest.mark.parametrize(
    ("texts", "me", "message"),
    [
        (
            [source(1, "a@x"), source(2, "b@x"), source(3, "b@x", is_sent=True)],
            ["c@x"],
            r"Nobody in these mails is called c@x: b@x \(2, \d+ words\), a@x \(1, ",
        ),
        (
            [source(n, f"{letter}@x") for n, letter in enumerate("aaabbbccd")],
            [],
            r"Several people wrote in these mails: a@x \(3, \d+ words\), b@x \(3, \d+ words\), c@x \(2, \d+ words\), ",
        ),
        # Both take part in all.
        ([source(1, "a@x", ("b@x",)), source(2, "b@x", ("a@x",))], [], "Several people wrote in these mails: a@x "),
    ],
)
def test_an_owner_who_cannot_be_told_is_asked_for(texts: list[SourceText], me: list[str], message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}"):
        own_texts(texts, me)


def test_texts_that_are_no_mails_stay() -> None:
    note = SourceText("a.txt", "note", None)
    assert own_texts([note], []) == ([note], [])
    assert own_texts([], []) == ([], [])


def test_a_reply_gets_its_original_from_the_archive() -> None:
    asked = SourceText("a#1", "Tent?", None, Mail(sender="b@x", message_id="1@x"))
    reply = Mail(sender="a@x", form="reply", subject="Tent", in_reply_to="1@x", original="quoted")
    alone = replace(reply, in_reply_to="9@x")
    linked = link_originals([asked, SourceText("a#2", "Yes.", "old", reply), SourceText("a#3", "No.", "old", alone)])
    assert linked == [
        asked,
        SourceText(
            "a#2",
            "Yes.",
            'Write a reply to this email with the subject "Tent":\n\nTent?',
            replace(reply, original="Tent?"),
        ),
        SourceText("a#3", "No.", "old", alone),
    ]


# --- many


def test_a_generated_archive_gives_the_owners_mails(tmp_path: Path) -> None:
    path = tmp_path / "All.mbox"
    write_mbox(path, 200, seed=1)
    with path.open("rb") as file:
        found = list(read_mbox("All.mbox", file))
    texts = link_originals(texts_of(found))
    assert len(found) == len(texts) == 200
    own, _ = own_texts(texts, [])
    assert all(one.mail is not None and one.mail.sender == ANNA for one in own)
    assert 100 < len(own) < 170
    assert all(one.text.startswith("Hi ") or one.text[0].isupper() for one in own)
    assert not any(">" in one.text or "wrote:" in one.text for one in texts)
    replies = [one for one in own if one.mail is not None and one.mail.form == "reply"]
    assert all(one.prompt is not None and "\n\n" in one.prompt for one in replies)
    assert len(replies) > 40


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_archive_of_many_large_mails_needs_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "All.mbox"
    attachment = "A" * 76 + "\n"
    with path.open("w") as file:
        for _ in range(12):
            file.write(
                f"{SEPARATORS['Unix']}\nFrom: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nHi\n--x\n"
            )
            file.write("Content-Type: image/png\n\n" + attachment * 100_000 + "\n--x--\n\n")
    code = (
        "import sys; from ditto_cli.demonstrations.mail import read_mbox\n"
        "with open(sys.argv[1], 'rb') as file: print(len([one.text for one in read_mbox('All', file)]))\n"
        # Not ru_maxrss, which remembers the process that this one was forked from.
        "print([line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')][0])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    count, peak_kib = map(int, done.stdout.split())
    assert count == 12
    assert peak_kib < 200 * 1024


VALID = mbox("Hi Tom,\n\nfine.\n\nOn Mon, 3 Mar 2025, Tom wrote:\n> Now?", "two", "<p>three</p>", line_end="\r\n")
EDITS = st.lists(st.tuples(st.integers(0, len(VALID)), st.integers(0, 40), st.binary(max_size=12)), max_size=8)


def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
    raw = VALID
    for position, length, new in edits:
        raw = raw[:position] + new + raw[position + length :]
    return raw


@settings(deadline=None, max_examples=200)
@given(EDITS.map(edited) | st.binary() | st.binary().map(lambda raw: SEPARATORS["Unix"].encode() + b"\n" + raw))
def test_any_bytes_as_an_archive_are_read_or_refused(raw: bytes) -> None:
    try:
        found = read(raw)
    except InputError:
        return
    assert found
    assert all(isinstance(one, Skipped) or one.text for one in found)
