"""Archives of chats and posts as JSON and tables: whose turns there are, what is left out, what a turn answers."""

import json

import pytest

from ditto_cli.demonstrations.sources import READERS
from ditto_cli.errors import InputError
from test_chats import ADA, ASKED, MIA, MORE, REPLY_TO, SAID, left_out, turns

# --- chats


def telegram(*messages):
    defaults = {"type": "message", "date": "2025-03-03T10:15:00"}
    return [{**defaults, "id": number, **message} for number, message in enumerate(messages)]


TELEGRAM = telegram(
    {"type": "service", "actor": "Mia", "text": ""},
    {"from": "Mia", "from_id": "user1", "text": ASKED},
    {"from": "Ada", "from_id": "user2", "text": ["Yes, behind the ", {"type": "bold", "text": "shed"}, SAID[20:]]},
    {"from": "Ada", "from_id": "user2", "text": "Breaking news", "forwarded_from": "News"},
    {"from": "Ada", "from_id": "user2", "text": [{"type": "mention", "text": "@tom"}, " And bring the twine!"]},
    {"from": "Ada", "from_id": "user2", "text": [{"type": "link", "text": "https://x.example"}, ""], "photo": "p.jpg"},
)
SLACK = [
    {"type": "message", "subtype": "channel_join", "user": "U2", "text": "<@U2> has joined", "ts": "1740000000.0"},
    {"type": "message", "user": "U1", "text": ASKED, "ts": "1740000001.0", "user_profile": {"real_name": "Mia"}},
    {"type": "message", "user": "U3", "text": "Lunch &amp; tea?", "ts": "1740000002.0", "bot_id": "B1"},
    {
        "type": "message",
        "user": "U2",
        "text": "Yes, behind the <https://x.example|shed>" + SAID[20:],
        "ts": "1740000003.0",
    },
    {
        "type": "message",
        "user": "U2",
        "text": "<@U3> And bring the twine!",
        "ts": "1740000004.0",
        "user_profile": {"real_name": "Ada", "display_name": "ada"},
    },
]
DISCORD_JSON = {
    "guild": {"name": "Garden"},
    "messages": [
        {
            "id": "1",
            "type": "Default",
            "timestamp": "2025-03-03T10:15:00+00:00",
            "content": ASKED,
            "author": {"id": "7", "name": "mia", "nickname": "Mia"},
        },
        {
            "id": "2",
            "type": "ChannelPinnedMessage",
            "timestamp": "2025-03-03T10:15:30+00:00",
            "content": "Pinned",
            "author": {"id": "7", "name": "mia"},
        },
        {
            "id": "3",
            "type": "Default",
            "timestamp": "2025-03-03T10:16:00+00:00",
            "content": SAID,
            "author": {"id": "8", "name": "ada", "nickname": "Ada"},
        },
        {
            "id": "4",
            "type": "Default",
            "timestamp": "2025-03-03T10:16:10+00:00",
            "content": f"@Mia H {MORE} <:bean:123>",
            "mentions": [{"id": "7", "name": "mia", "nickname": "Mia H"}],
            "author": {"id": "8", "name": "ada", "nickname": "Ada"},
        },
        {
            "id": "5",
            "type": "Default",
            "timestamp": "2025-03-03T10:17:10+00:00",
            "content": "Beep",
            "author": {"id": "9", "name": "bot", "isBot": True},
        },
    ],
}
META = {
    "participants": [{"name": "Mia"}, {"name": "J\u00c3\u00b6rg"}],
    "messages": [
        {
            "sender_name": "J\u00c3\u00b6rg",
            "timestamp_ms": 1741000300000,
            "content": "Reacted \u00f0\u009f\u008d\u0090 to your message ",
        },
        {
            "sender_name": "J\u00c3\u00b6rg",
            "timestamp_ms": 1741000200000,
            "content": "J\u00c3\u00b6rg sent an attachment.",
            "photos": [],
        },
        {
            "sender_name": "J\u00c3\u00b6rg",
            "timestamp_ms": 1741000100000,
            "content": "Sch\u00c3\u00b6n fr\u00c3\u00bch!",
        },
        {"sender_name": "Mia", "timestamp_ms": 1741000000000, "content": ASKED},
    ],
}
META_ENCRYPTED = {
    "participants": ["Mia", "Ada"],
    "messages": [
        {"isUnsent": False, "senderName": "Mia", "text": ASKED, "timestamp": 1741000000000, "type": "text"},
        {"isUnsent": False, "senderName": "Ada", "text": "", "timestamp": 1741000001000, "type": "media"},
        {"isUnsent": False, "senderName": "Ada", "text": SAID, "timestamp": 1741000002000, "type": "text"},
        {"isUnsent": False, "senderName": "Ada", "text": MORE, "timestamp": 1741000003000, "type": "text"},
    ],
}
SIGNAL = [
    {"conversationId": "c1", "type": "incoming", "source": "+49171", "body": ASKED, "sent_at": 1741000000000},
    {"conversationId": "c2", "type": "incoming", "source": "+49172", "body": "Hello?", "sent_at": 1741000000500},
    {"conversationId": "c1", "type": "outgoing", "source": "+49173", "body": SAID, "sent_at": 1741000001000},
    {"conversationId": "c1", "type": "call-history", "body": None, "sent_at": 1741000001500},
    {"conversationId": "c1", "type": "outgoing", "source": "+49173", "body": MORE, "sent_at": 1741000002000},
]
TEAMS = {
    "value": [
        {"id": "3", "messageType": "systemEventMessage", "from": None, "body": {"content": "<systemEventMessage/>"}},
        {
            "id": "2",
            "messageType": "message",
            "createdDateTime": "2025-03-03T10:16:00Z",
            "from": {"user": {"id": "u2", "displayName": "Ada"}},
            "body": {"contentType": "html", "content": f'<p><at id="0">Mia</at> {SAID}</p><p>{MORE}</p>'},
        },
        {
            "id": "1",
            "messageType": "message",
            "createdDateTime": "2025-03-03T10:15:00Z",
            "from": {"user": {"id": "u1", "displayName": "Mia"}},
            "body": {"contentType": "html", "content": f"<div>{ASKED}</div>"},
        },
    ]
}
SKYPE = {
    "userId": "8:live:ada",
    "conversations": [
        {
            "MessageList": [
                {
                    "id": "2",
                    "messagetype": "RichText",
                    "originalarrivaltime": "2025-03-03T10:16:00Z",
                    "from": "8:live:ada",
                    "displayName": None,
                    "content": f"{SAID}\r\n{MORE}",
                },
                {
                    "id": "1",
                    "messagetype": "RichText",
                    "originalarrivaltime": "2025-03-03T10:15:00Z",
                    "from": "8:live:mia",
                    "displayName": "Mia",
                    "content": ASKED,
                },
                {
                    "id": "0",
                    "messagetype": "ThreadActivity/AddMember",
                    "originalarrivaltime": "2025-03-03T10:14:00Z",
                    "from": "8:live:mia",
                    "displayName": None,
                    "content": "<addmember/>",
                },
            ]
        }
    ],
}
GOOGLE = {
    "messages": [
        {
            "creator": {"name": "Mia", "email": "mia@x.example", "user_type": "Human"},
            "created_date": "Monday",
            "text": ASKED,
        },
        {
            "creator": {"name": "Ada", "email": "ada@x.example", "user_type": "Human"},
            "created_date": "Monday",
            "text": SAID,
        },
        {
            "creator": {"name": "Ada", "email": "ada@x.example", "user_type": "Human"},
            "created_date": "Monday",
            "text": MORE,
        },
    ]
}
OWNED = [("", f"{SAID}\n{MORE}", REPLY_TO + ASKED)]


@pytest.mark.parametrize(
    ("content", "expected", "num_left_out"),
    [
        ({"name": "Mia", "type": "personal_chat", "messages": TELEGRAM}, [MIA, ADA], 3),
        (
            {"chats": {"list": [{"messages": TELEGRAM[1:3]}]}, "left_chats": {"list": [{"messages": TELEGRAM[4:5]}]}},
            [MIA, ("Ada", SAID, REPLY_TO + ASKED), ("Ada", MORE, None)],
            0,
        ),
        (SLACK, [MIA, ADA], 2),
        (DISCORD_JSON, [MIA, ADA], 2),
        (META, [MIA, ("Jörg", "Schön früh!", REPLY_TO + ASKED)], 2),
        (META_ENCRYPTED, [MIA, ADA], 1),
        (SIGNAL, OWNED, 3),  # a call, and what the two others wrote
        (TEAMS, [MIA, ("Ada", f"{SAID}\n\n{MORE}", REPLY_TO + ASKED)], 1),
        (SKYPE, OWNED, 2),
        (GOOGLE, [MIA, ADA], 0),
        (
            [
                {"is_from_me": 0, "text": ASKED, "sender": "Mia"},
                {"is_from_me": 1, "text": f"{SAID}\n{MORE}", "sender": ""},
            ],
            OWNED,
            1,
        ),
    ],
)
def test_chats_as_json(content: object, expected: list[tuple[str, str, str | None]], num_left_out: int) -> None:
    assert turns(json.dumps(content)) == expected
    assert len(left_out(json.dumps(content))) == num_left_out


@pytest.mark.parametrize(
    ("content", "suffix", "expected"),
    [
        ([{"string_map_data": {"Comment": {"value": SAID}, "Time": {"timestamp": 1}}}], ".json", [SAID]),
        (
            {"db": [{"data": {"posts": [{"title": "a", "html": f"<p>{SAID}</p>", "status": "published"},
                                        {"title": "b", "html": "<p>no</p>", "status": "draft"}]}}]},
            ".json", [SAID],
        ),
        ({"entries": [{"creationDate": "2025", "uuid": "A", "text": f"![](dayone-moment://A)\n{SAID} 1\\. a\\-b"}]},
         ".json", [f"{SAID} 1. a-b"]),
        ({"textContent": SAID, "title": "Beans", "userEditedTimestampUsec": 1}, ".json", [SAID]),
        (f'subreddit,body\nx,"&gt; {ASKED}\n\n{SAID} &amp; more"\nx,[deleted]\n', ".csv", [f"{SAID} & more"]),
        (f'Video ID,Comment Text\nv,"{{""text"":""{SAID}""}},{{""text"":"" {MORE}""}}"\n', ".csv", [f"{SAID} {MORE}"]),
        (f'Date,ShareCommentary\n1,"{SAID}""\n""{MORE}"\n', ".csv", [f"{SAID}\n{MORE}"]),
    ],
)  # fmt: skip
def test_posts_and_comments_of_programs(content: object, suffix: str, expected: list[str]) -> None:
    raw = content if isinstance(content, str) else json.dumps(content)
    assert [text for _, text, _ in turns(raw, suffix)] == expected


def test_of_telegram_words_of_others_go() -> None:
    quoted = [{"type": "blockquote", "text": ASKED}, SAID]
    base = {"id": 1, "type": "message", "date": "2025-03-03T10:15:00", "from": "Ada", "from_id": "user1"}
    messages = [base | {"text": quoted}, base | {"id": 2, "text": "A score of a game", "via_bot": "@gamebot"}]
    assert turns(json.dumps({"messages": messages})) == [("Ada", SAID, None)]


def test_lines_of_a_dialogue_keep_their_quotes() -> None:
    rows = 'text\n"""Tea?""\n""Yes, please."""\n'
    assert turns(rows, ".csv")[0][1] == '"Tea?"\n"Yes, please."'


def test_who_recommends_is_the_author_of_a_recommendation() -> None:
    rows = f'First Name,Last Name,Company,Text\nTom,Green,Acme,"{SAID}"\n'
    assert turns(rows, ".csv")[0][:2] == ("Tom Green", SAID)


def test_a_chat_of_json_lines() -> None:
    assert turns("\n".join(map(json.dumps, SIGNAL)), ".jsonl") == OWNED


DISCORD_TABLE = f"""\
\ufeff"AuthorID","Author","Date","Content","Attachments","Reactions"
"7","Mia","2025-03-03T10:15:00","{ASKED}","",""
"8","Ada","2025-03-03T10:16:00","{SAID}","",""
"8","Ada","2025-03-03T10:16:20","<@!7> {MORE}","",""
"8","Ada","2025-03-03T10:16:30","","https://x.example/p.png",""
"""
IMAZING_HEADER = (
    "Chat Session,Message Date,Delivered Date,Read Date,Edited Date,Service,Type,Sender ID,Sender Name,Status,"
    "Replying to,Subject,Text,Attachment,Attachment type"
)
IMAZING = f"""\
{IMAZING_HEADER}
Mia,2025-03-03 10:15:00,,,,iMessage,Incoming,+49171,Mia,Read,,,{ASKED},,
Tom,2025-03-03 10:15:30,,,,iMessage,Incoming,+49172,Tom,Read,,,Beans?,,
Mia,2025-03-03 10:16:00,,,,iMessage,Outgoing,,,Delivered,,,"{SAID}",,
Mia,2025-03-03 10:16:10,,,,iMessage,Outgoing,,,Delivered,,,{MORE},,
"""
LINKEDIN = f"""\
CONVERSATION ID,CONVERSATION TITLE,FROM,SENDER PROFILE URL,TO,DATE,SUBJECT,CONTENT,FOLDER
c1,,Ada,https://l.example/ada,Mia,2025-03-03 10:16:00 UTC,,"{SAID}\n{MORE}",INBOX
c2,,Tom,https://l.example/tom,Ada,2025-03-03 10:15:30 UTC,,Hire me,INBOX
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (DISCORD_TABLE, [MIA, ADA]),
        (IMAZING, OWNED),
        (LINKEDIN, [("Ada", f"{SAID}\n{MORE}", None), ("Tom", "Hire me", None)]),
        (f'ID,Timestamp,Contents,Attachments\n1,2025-03-03 10:15:00,"{SAID}",\n', [("", SAID, None)]),
    ],
)
def test_chats_as_tables(table: str, expected: list[tuple[str, str, str | None]]) -> None:
    assert turns(table, ".csv") == expected


def test_an_answer_in_a_thread_answers_what_began_it() -> None:
    messages = [
        {"type": "message", "user": "U1", "text": ASKED, "ts": "1", "thread_ts": "1"},
        {"type": "message", "user": "U3", "text": "Who has the key?", "ts": "2"},
        {"type": "message", "user": "U2", "text": SAID, "ts": "3", "thread_ts": "1"},
    ]
    assert turns(json.dumps(messages))[2] == ("U2", SAID, REPLY_TO + ASKED)


def test_names_and_ids_of_a_writer_are_all_there() -> None:
    texts = READERS[".json"]("a.json", json.dumps(SLACK).encode()).texts
    assert [source.authors for source in texts] == [("Mia", "U1"), ("Ada", "ada", "U2")]


# --- conversations with language models, and posts


def chatgpt(*messages):
    nodes = {"root": {"id": "root", "message": None, "children": ["0"]}}
    for number, (role, parts) in enumerate(messages):
        content = {"content_type": "text", "parts": parts}
        message = {"author": {"role": role}, "content": content}
        nodes[str(number)] = {"id": str(number), "message": message, "parent": "root", "children": []}
    return {"title": "Beans", "mapping": nodes}


OPENAI = {
    "id": "chat-1",
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": SAID},
        {"role": "assistant", "content": "Of course! Here is a plan."},
        {"role": "user", "content": [{"type": "text", "text": MORE}]},
    ],
}
TWEETS = [
    {"tweet": {"id_str": "1", "full_text": f"{SAID} https://t.co/abc123"}},
    {"tweet": {"id_str": "2", "full_text": "RT @mia: Beans are great"}},
    {"tweet": {"id_str": "3", "full_text": f"@mia @tom {MORE} &lt;3"}},
    {"tweet": {"id_str": "4", "full_text": "@mia https://t.co/xyz"}},
]
OUTBOX = {
    "type": "OrderedCollection",
    "orderedItems": [
        {"type": "Create", "published": "2025", "object": {"type": "Note", "content": f"<p>{SAID}</p><p>{MORE}</p>"}},
        {"type": "Announce", "published": "2025", "object": "https://x.example/1"},
        {
            "type": "Create",
            "published": "2025",
            "object": {"content": f'<p><span class="h-card"><a href="x">@<span>tom</span></a></span> {MORE}</p>'},
        },
    ],
}


@pytest.mark.parametrize(
    ("content", "suffix", "texts", "num_left_out"),
    [
        (
            [
                chatgpt(
                    ("system", [""]), ("user", [SAID]), ("assistant", ["Of course!"]), ("user", [{"asset": 1}, MORE])
                )
            ],
            ".json",
            [SAID, MORE],
            3,
        ),
        (
            [
                {
                    "uuid": "1",
                    "name": "Beans",
                    "chat_messages": [
                        {"uuid": "2", "sender": "human", "text": SAID},
                        {"uuid": "3", "sender": "assistant", "text": "Sure."},
                        {"uuid": "4", "sender": "human", "text": "", "content": [{"type": "text", "text": MORE}]},
                    ],
                }
            ],
            ".json",
            [SAID, MORE],
            1,
        ),
        (
            [{"id": "1", "conversations": [{"from": "human", "value": SAID}, {"from": "gpt", "value": "Sure."}]}],
            ".json",
            [SAID],
            1,
        ),
        ([OPENAI], ".json", [SAID, MORE], 2),
        (OPENAI, ".json", [SAID, MORE], 2),
        (TWEETS, ".js", [SAID, f"{MORE} <3"], 2),
        ([{"noteTweet": {"core": {"text": SAID}}}], ".js", [SAID], 0),
        (OUTBOX, ".json", [f"{SAID}\n\n{MORE}", MORE], 1),
        (
            [
                {"timestamp": 1, "data": [{"post": SAID.replace("Yes", "J\u00c3\u00b6")}], "title": "Ada updated"},
                {"timestamp": 2, "attachments": [], "data": []},
            ],
            ".json",
            [SAID.replace("Yes", "Jö")],
            1,
        ),
        (
            {
                "comments_v2": [
                    {
                        "timestamp": 1,
                        "title": "Ada commented",
                        "data": [{"comment": {"comment": SAID, "author": "Ada"}}],
                    }
                ]
            },
            ".json",
            [SAID],
            0,
        ),
        (
            [{"media": [{"uri": "1.jpg", "title": ""}], "title": SAID}, {"media": [{"uri": "2.jpg", "title": MORE}]}],
            ".json",
            [SAID, MORE],
            0,
        ),
    ],
)
def test_archives_of_posts_and_of_talks_with_a_model(
    content: object, suffix: str, texts: list[str], num_left_out: int
) -> None:
    raw = json.dumps(content)
    raw = f"window.YTD.tweets.part0 = {raw}" if suffix == ".js" else raw
    assert turns(raw, suffix) == [("", text, None) for text in texts]
    assert len(left_out(raw, suffix)) == num_left_out


def test_the_owner_of_a_telegram_account_is_known() -> None:
    messages = [{**message, "from_id": f"user{message['from_id'][-1]}"} for message in TELEGRAM[1:3]]
    account = {"personal_information": {"user_id": 2}, "chats": {"list": [{"messages": messages}]}}
    assert turns(json.dumps(account)) == [("", SAID, REPLY_TO + ASKED)]


def test_sharegpt_of_json_lines() -> None:
    line = json.dumps({"conversations": [{"from": "human", "value": SAID}, {"from": "gpt", "value": "Sure."}]})
    assert [text for _, text, _ in turns(f"{line}\n{line}\n", ".jsonl")] == [SAID, SAID]


def test_in_demonstrations_the_assistant_is_the_person() -> None:
    pair = {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}]}
    assert turns(json.dumps([pair])) == [("", SAID, ASKED)]


@pytest.mark.parametrize(
    ("raw", "suffix", "words"),
    [
        ("var x = 1;", ".js", "not valid JSON"),
        ('window.YTD.like.part0 = [{"like": {"fullText": "theirs"}}]', ".js", "no column of texts"),
        ('window.YTD.tweets.part0 = [{"tweet": ', ".js", "not valid JSON"),
        (json.dumps([{"tweet": {"full_text": "RT @mia: x"}}]), ".json", "shared, not written"),
        (json.dumps({"messages": TELEGRAM[:1]}), ".json", "holds no texts of a person (a line of the chat program)"),
        (  # the owner is known by what he passed on, and the other's words are not his
            json.dumps({"personal_information": {"user_id": 2}, "messages": [TELEGRAM[1], TELEGRAM[3]]}),
            ".json",
            "written by somebody else",
        ),
        (json.dumps({"id": "1", "type": "DM", "recipients": ["901", "902"]}), ".json", "no column of texts"),
    ],
)
def test_side_files_hold_no_texts(raw: str, suffix: str, words: str) -> None:
    with pytest.raises(InputError, match=r"^a\.js") as caught:
        READERS[suffix](f"a{suffix}", raw.encode())
    assert words in str(caught.value)


def test_messages_of_a_program_that_is_not_known_are_texts_with_their_authors() -> None:
    messages = [
        {"author": {"name": "Mia", "id": 1}, "body": ASKED, "timestamp": 1741000000},
        {"author": {"name": "Ada", "id": 2}, "body": SAID, "timestamp": 1741000060},
    ]
    assert turns(json.dumps({"chat": "Mia", "messages": messages})) == [MIA, ("Ada", SAID, None)]
