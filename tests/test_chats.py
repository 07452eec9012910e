"""Chats and archives as programs export them: whose turns there are, what is no text, and what a turn answers."""

import contextlib
import re
import time

import pytest

from ditto_cli.demonstrations.chats import read_chat_text
from ditto_cli.demonstrations.sources import READERS, read_safely, read_sources
from ditto_cli.errors import InputError

ASKED = "Shall we plant the beans on Sunday?"
SAID = "Yes, behind the shed, where the sun comes first."
MORE = "And bring the twine!"
REPLY_TO = "Write a reply to this message:\n\n"
MIA, ADA = ("Mia", ASKED, None), ("Ada", f"{SAID}\n{MORE}", REPLY_TO + ASKED)


def turns(content, suffix=".json"):
    """(who, text, prompt) of each turn; "" where the file knows its owner."""
    raw = content if isinstance(content, bytes) else content.encode()
    reading = READERS[suffix](f"a{suffix}", raw)
    assert all(source.id.startswith(f"a{suffix}#") for source in reading.texts)
    return [((source.authors or ("",))[0], source.text, source.prompt) for source in reading.texts]


def left_out(content, suffix=".json"):
    raw = content if isinstance(content, bytes) else content.encode()
    return [(item.name.partition("#")[2], item.reason) for item in READERS[suffix](f"a{suffix}", raw).skipped]


# --- WhatsApp: a date and a time as telephones write them


@pytest.mark.parametrize(
    "stamp",
    [
        "[03.03.25, {}:15:22] ",
        "[03/03/2025, {}:15:22] ",
        "\u200e[3/3/25, {}:15:22\u202fAM] ",
        "[2025-03-03, {}:15:22] ",
        "[2025/3/3 上午{}:15:22] ",
        "[3.3.2025 klo {}.15.22] ",
        "[03-03-2025 {}:15:22] ",
        "[03/03/2025 à {}:15:22] ",
        "3/3/25, {}:15 AM - ",
        "3/3/25, {}:15\u202fa.\u00a0m. - ",
        "3/3/2025 {}:15 - ",
        "03.03.25, {}:15 - ",
        "03.03.2025 kl. {}.15 - ",
        "2025-03-03 {}:15 - ",
        "2025. 03. 03. {}:15 - ",
        "03/03/25 {}.15 - ",
        "3.03.2025 г., {}:15 ч. - ",
        "2025/3/3 上午{}:15 - ",
        "٠٣/٠٣/٢٠٢٥، {}:١٥ ص - ",
        "٠٣\u200f/٠٣\u200f/٢٠٢٥، {}:١٥ ص - ",
        "[{}:15 AM, 3/3/2025] ",
        "{}:15, 3/3/2025 - ",
    ],
)
def test_whatsapp_in_every_form_of_date(stamp: str) -> None:
    at = stamp.format
    chat = (
        f"{at(10)}Mia: {ASKED}\n{at(10)}Ada: Yes, behind the shed,\nwhere the sun comes first.\n{at(10)}Ada: {MORE}\n"
    )
    answer = f"Yes, behind the shed,\nwhere the sun comes first.\n{MORE}"
    assert turns(chat, ".txt") == [MIA, ("Ada", answer, REPLY_TO + ASKED)]


@pytest.mark.parametrize(
    ("above", "first", "second", "third"),
    [
        ("", "2025년 3월 3일 오전 10:15", "2025년 3월 3일 오후 1:15", "2025년 3월 3일 오후 1:16"),
        # A day above the first message.
        ("2025년 3월 3일 월요일\n", "2025. 3. 3. 오전 10:15", "2025. 3. 3. 오전 10:16", "2025. 3. 3. 오전 10:17"),
    ],
)
def test_whatsapp_in_korean(above: str, first: str, second: str, third: str) -> None:
    chat = f"{above}{first}, 미아 : {ASKED}\n{second}, Ada : {SAID}\n{third}, Ada : {MORE}\n"
    assert turns(chat, ".txt") == [("미아", ASKED, None), ADA]


@pytest.mark.parametrize(
    "line",
    [
        "<Media omitted>",
        "<Medien ausgeschlossen>",
        "<Без медиафайлов>",
        "<Any words of a language that nobody here knows>",
        "\u200eqwertz uiop",  # the mark before whatever the program writes
        "image omitted",
        "Bild weggelassen",
        "image absente",
        "imagen omitida",
        "imagem ocultada",
        "immagine omessa",
        "afbeelding weggelaten",
        "obraz pominięty",
        "obrázek vynechán",
        "bild utesluten",
        "billede udeladt",
        "görüntü dahil edilmedi",
        "изображение отсутствует",
        "зображення відсутнє",
        "圖片已略去",
        "画像は含まれていません",
        "이미지 생략됨",
        "התמונה הושמטה",
        "لم يتم إدراج الصورة",
        "gambar tidak disertakan",
        "IMG-20250303-WA0001.jpg (Datei angehängt)",
        "\u200e<attached: 00000042-PHOTO-2025-03-03.jpg>",
        "plan.pdf \u2022 \u200e2 pages \u200edocument omitted",
        "This message was deleted",
        "Du hast diese Nachricht gelöscht.",
        "Missed voice call",
        "Missed video call at 10:16 PM",
        "Verpasster Sprachanruf um 10:16",
        "您已删除这条消息",
        "Message vocal absent",
        "null",
        "location: https://maps.google.com/?q=52.5,13.4",
        "POLL:\nWhere?\nOPTION: here (2 votes)",
    ],
)
def test_what_whatsapp_writes_in_place_of_words(line: str) -> None:
    chat = f"03.03.25, 10:15 - Mia: {ASKED}\n03.03.25, 10:16 - Ada: {line}\n03.03.25, 10:17 - Ada: {SAID}\n"
    assert turns(chat, ".txt") == [MIA, ("Ada", SAID, REPLY_TO + ASKED)]
    assert left_out(chat, ".txt") == [("2", "a picture, call or deleted message, no words")]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"IMG-1.jpg (file attached)\n{SAID}", SAID),
        (f"{SAID} \u200e<attached: 7.jpg>", SAID),
        (f"{SAID} \u200e<Diese Nachricht wurde bearbeitet.>", SAID),
        (f"{SAID} <This message was edited>", SAID),
        ("Ask @\u2068Tom Holm\u2069 about it", "Ask about it"),
        ("Ask @491712345678 about it", "Ask about it"),
        ("10:15 at the shed: I <3 it (really)", "10:15 at the shed: I <3 it (really)"),
        ("the image omitted nothing", "the image omitted nothing"),
        ("be at the shed at 10:16", "be at the shed at 10:16"),
        ("two:\n\nparagraphs", "two:\n\nparagraphs"),
    ],
)
def test_what_whatsapp_writes_around_words(line: str, text: str) -> None:
    chat = f"03.03.25, 10:15 - Mia: {ASKED}\n03.03.25, 10:16 - Ada: {line}\n"
    assert turns(chat, ".txt") == [MIA, ("Ada", text, REPLY_TO + ASKED)]


def test_lines_without_a_name_are_the_programs() -> None:
    chat = (
        "03/03/2025, 10:10 - Messages are end-to-end encrypted. Tap to learn more.\n"
        f"03/03/2025, 10:15 - ~\u202fMia: {ASKED}\n"
        '03/03/2025, 10:15 - Mia changed the subject to "Plan: garden"\n'
        f"03/03/2025, 10:16 - \u202a+49 171 2345678\u202c: {SAID}\n"
    )
    assert turns(chat, ".txt") == [MIA, ("+49 171 2345678", SAID, REPLY_TO + ASKED)]
    assert left_out(chat, ".txt") == [("1", "a line of the chat program"), ("3", "a line of the chat program")]


@pytest.mark.parametrize(
    ("chat", "expected"),
    [
        ("03.03.25, 10:15 - Ada: one\n03.03.25, 10:55 - Ada: two\n", ["one\ntwo"]),
        ("03.03.25, 10:15 - Ada: one\n03.03.25, 11:20 - Ada: two\n", ["one", "two"]),  # more than an hour later
        ("03.03.25, 10:15 - Ada: one\n04.03.25, 10:16 - Ada: two\n", ["one", "two"]),
        # Over midnight and noon.
        ("[3/3/25, 11:50:00 PM] Ada: one\n[3/4/25, 12:10:00 AM] Ada: two\n", ["one\ntwo"]),
        ("[3/4/25, 11:58:00 AM] Ada: one\n[3/4/25, 12:03:00 PM] Ada: two\n", ["one\ntwo"]),
        # A picture of somebody else comes between, and is nothing to answer.
        (
            "03.03.25, 10:15 - Ada: one\n03.03.25, 10:16 - Mia: <Media omitted>\n03.03.25, 10:17 - Ada: two\n",
            ["one", "two"],
        ),
    ],
)
def test_messages_in_a_row_are_one_turn_unless_something_divides_them(chat: str, expected: list[str]) -> None:
    assert turns(chat, ".txt") == [("Ada", text, None) for text in expected]


def test_a_days_old_message_is_not_answered_any_more() -> None:
    chat = f"03.03.25, 10:15 - Mia: {ASKED}\n05.03.25, 09:15 - Tom: x\n06.03.25, 18:16 - Ada: {SAID}\n"
    assert turns(chat, ".txt")[-1] == ("Ada", SAID, None)


def test_of_a_long_message_only_the_beginning_is_in_the_prompt() -> None:
    long = "It was a long day. " * 100
    prompt = turns(f"03.03.25, 10:15 - Mia: {long}\n03.03.25, 10:16 - Ada: {SAID}\n", ".txt")[1][2]
    assert prompt == REPLY_TO + ("It was a long day. " * 84).rstrip() + " [...]"


def test_a_chat_of_years_is_read_and_a_text_of_its_size_is_not(tmp_path) -> None:
    chat = "".join(
        f"{day:02}.{month:02}.25, 10:15 - Ada: {SAID * 90}\n" for month in range(1, 13) for day in range(1, 29)
    )
    chat *= 3
    assert len(chat) > 3 * 2**20
    assert len(read_safely(".txt", "a.txt", chat.encode()).texts) == 1008
    (tmp_path / "a.txt").write_text(f"Dear diary,\n{chat}")
    with pytest.raises(InputError, match=r"^a\.txt has more than 2,097,152 characters"):
        read_sources([tmp_path / "a.txt"])


@pytest.mark.parametrize(
    "text",
    [
        "Dear diary,\n\n03.03.25, 10:15 - Mia: she said\n03.03.25, 10:16 - Ada: and I said\n",
        "On the 3rd she wrote to me, and I to her, all of it:\n03.03.25, 10:15 - Mia: so\n03.03.25, 10:16 - Ada: no\n",
        "03.03.25, 10:15 - Mia: only one\n",
        "Dear diary,\nI was\non\nIRC\ntoday:\n\n10:15 <mia> so\n10:16 <ada> no\n10:17 <mia> a\n10:18 <ada> b\n",
        "10:15 <mia> so\n10:16 <ada> no\n",
        "2025-03-03 was a day\n",
        "[3 March 2025 10:10] Slept badly\nThen walked.\n[4 March 2025 22:15] Better day.\nWe cooked.\n",
        "attachments/12/IMG_1.HEIC\n\nMar 03, 2025 10:16:30 AM\nMe\n",
        "",
        "\n\n",
    ],
)
def test_a_text_that_only_speaks_of_a_chat_is_none(text: str) -> None:
    assert read_chat_text("a.txt", text.encode()) is None


def test_a_chat_may_have_another_name_and_encoding() -> None:
    chat = f"03.03.25, 10:15 - Mia: {ASKED}\r\n03.03.25, 10:16 - Jörg: Schön früh\r\n"
    for raw in (chat.encode("utf-16"), b"\xef\xbb\xbf" + chat.encode()):
        assert turns(raw, ".md")[1] == ("Jörg", "Schön früh", REPLY_TO + ASKED)


# --- other programs, as text


IMESSAGE = f"""\
Mar 03, 2025 10:15:22 AM (Read by you after 1 minute)
Mia
{ASKED}
Tapbacks:
    Loved by Me

Mar 03, 2025 10:16:00 AM
Me
{SAID}
attachments/12/IMG_1.HEIC

Mar 03, 2025 10:16:30 AM
Me
{MORE}
This message responded to an earlier message.

Mar 03, 2025 10:17:00 AM Mia named the conversation "Beans"

"""
DISCORD = f"""\
==============================================================
Guild: Garden
Channel: beans
==============================================================

[03-Mar-25 10:15 AM] Mia
{ASKED}

{{Reactions}}
:heart: (1)

[03-Mar-25 10:16 AM] Ada
{SAID}
{MORE}

==============================================================
Exported 2 message(s)
==============================================================
"""


EXCHANGE = [("Mia", ASKED), ("Ada", SAID), ("Mia", "Good."), ("Ada", "x")]
ANSWERED = [("", SAID, REPLY_TO + ASKED)]
AS_TEXT = {
    "iMessage": (IMESSAGE, ".txt", [("", f"{SAID}\n{MORE}", REPLY_TO + ASKED)]),
    **{
        f"Discord, {at}": (re.sub(r"03-Mar-25 10:1\d AM", at, DISCORD), ".txt", [MIA, ADA])
        for at in (
            "03-Mar-25 10:15 AM",
            "3/3/2025 10:15\u202fAM",
            "03/03/2025 10:15",
            "2025-03-03 10:15",
            "03.03.2025 10.15",
        )
    },
    **{
        program: (
            "".join(head.format(who, said) for who, said in EXCHANGE),
            ".txt",
            [MIA, ("Ada", SAID, REPLY_TO + ASKED), ("Mia", "Good.", REPLY_TO + SAID), ("Ada", "x", REPLY_TO + "Good.")],
        )
        for program, head in {
            "LINE": "10:15\t{}\t{}\n",
            "Zoom": "10:15:02 From {} to Everyone:\n\t{}\n",
            "irssi": "10:15 <@{}> {}\n10:15 -!- tom has joined #garden\n--- Day changed Tue Mar 04 2025\n",
            "WeeChat": "2025-03-03 10:15:22\t@{}\t{}\n2025-03-03 10:15:23\t-->\ttom has joined\n",
            "HexChat": "Mar 03 10:15:22 <{}>\t{}\n",
            "KakaoTalk": "[{}] [오전 10:15] {}\n",
            "copied from Telegram": "{}, [03.03.2025 10:15]\n{}\n\n",
        }.items()
    },
    "LINE, with lines in quotes": (
        f'10:15\tMia\t{ASKED}\n10:16\tAda\t"{SAID}\n{MORE}"\n10:17\tMia\tSo\n10:18\tAda\tx\n',
        ".txt",
        [MIA, ADA, ("Mia", "So", f"{REPLY_TO}{SAID}\n{MORE}"), ("Ada", "x", REPLY_TO + "So")],
    ),
    "signal-export, with a quote and pictures": (
        f"[2025-03-03, 10:15:22] Mia: {ASKED}\n(- Me: 👍 -)\n"
        f"[2025-03-03, 10:16:22] Me: > {ASKED}\n{SAID}\n![](./media/a.jpg)\n"
        "[2025-03-03, 10:17:22] Me:  ![](./media/b.jpg)  \n",
        ".md",
        ANSWERED,
    ),
    "signal-export": (
        f"[2025-03-03, 10:15:22] Mia: {ASKED}\n[2025-03-03, 10:16:22] Me: {SAID}\n",
        ".md",
        ANSWERED,
    ),
}


@pytest.mark.parametrize("program", AS_TEXT)
def test_chats_of_other_programs_as_text(program: str) -> None:
    text, suffix, expected = AS_TEXT[program]
    assert turns(text, suffix) == expected


# --- pages


TELEGRAM_PAGE = f"""<html><body><div class="history">
<div class="message service" id="message1"><div class="body details">3 March 2025</div></div>
<div class="message default clearfix" id="message2"><div class="body">
 <div class="pull_right date details" title="03.03.2025 10:15:22 UTC+01:00">10:15</div>
 <div class="from_name">Mia </div><div class="text">{ASKED}</div></div></div>
<div class="message default clearfix" id="message3"><div class="body"><div class="from_name">Ada</div>
 <div class="reply_to details">In reply to <a href="#go_to_message2">this message</a></div>
 <div class="text">Yes, <strong>behind</strong> the shed, where the sun comes first.</div></div></div>
<div class="message default clearfix joined" id="message4"><div class="body">
 <div class="text"><a href="" onclick="return ShowMentionName()">Tom</a> {MORE}</div></div></div>
<div class="message default clearfix joined" id="message5"><div class="body">
 <div class="forwarded body"><div class="from_name">News</div><div class="text">Rain!</div></div></div></div>
</div></body></html>"""
IMESSAGE_PAGE = f"""<html><body>
<div class="message"><div class="received"><p><span class="timestamp">Mar 03</span><span class="sender">Mia</span></p>
<div class="message_part"><span class="bubble">{ASKED}</span></div></div></div>
<div class="message"><div class="sent iMessage"><p><span class="sender">Me</span></p>
<div class="message_part"><span class="bubble">{SAID}</span></div></div></div>
</body></html>"""


def test_chats_as_pages() -> None:
    assert turns(TELEGRAM_PAGE, ".html") == [MIA, ADA]
    assert [reason for _, reason in left_out(TELEGRAM_PAGE, ".html")] == [
        "a line of the chat program",
        "passed on: somebody else's words",
    ]
    assert turns(IMESSAGE_PAGE, ".html") == [("", SAID, REPLY_TO + ASKED)]


def test_a_page_of_meta_is_refused_for_nobody_can_tell_who_wrote() -> None:
    page = '<div class="_a6-g"><div class="_a6-h">Mia</div><div class="_a6-p">Hi</div></div>'
    with pytest.raises(InputError, match="in the format JSON"):
        READERS[".html"]("a.html", page.encode())


@pytest.mark.parametrize(
    "raw",
    [
        "03.03.25, 10:15 - " * 40_000,
        "03.03.25, 10:15 - Mia: <\n03.03.25, 10:15 - Ada: " + "<a" * 200_000,
        "03.03.25, 10:15 - Mia: x\n03.03.25, 10:15 - Ada: y" + " " * 300_000 + "z",
        "03.03.25, 10:15 - Mia: x\n03.03.25, 10:15 - Ada: " + "<https://" * 50_000,
        "03.03.25, 10:15 - Mia: x\n03.03.25, 10:15 - Ada: " + ":a" * 200_000,
        "[" + "1" * 400_000,
        ("[03.03.25, 10:15:00] " + "a" * 90 + "\n") * 5_000,
    ],
)
def test_no_text_takes_long(raw: str) -> None:
    start = time.process_time()
    with contextlib.suppress(InputError):
        READERS[".txt"]("a.txt", raw.encode())
    assert time.process_time() - start < 5
