"""Archives of chats and posts as JSON and tables: whose turns there are, what is left out, what a turn answers."""

import json

import pytest

from ditto_cli.demonstrations.sources import READERS
from ditto_cli.errors import InputError
from test_chats import ADA, ASKED, MIA, MORE, REPLY_TO, SAID, left_out, turns

# Chats


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


def discord(number, time, content, author, **others):
    stamp = f"2025-03-03T{time}+00:00"
    return {"id": number, "type": "Default", "timestamp": stamp, "content": content, "author": author, **others}


DISCORD_ADA = {"id": "8", "name": "ada", "nickname": "Ada"}
DISCORD_JSON = {
    "guild": {"name": "Garden"},
    "messages": [
        discord("1", "10:15:00", ASKED, {"id": "7", "name": "mia", "nickname": "Mia"}),
        discord("2", "10:15:30", "Pinned", {"id": "7", "name": "mia"}, type="ChannelPinnedMessage"),
        discord("3", "10:16:00", SAID, DISCORD_ADA),
        discord(
            *("4", "10:16:10", f"@Mia H {MORE} <:bean:123>", DISCORD_ADA),
            mentions=[{"id": "7", "name": "mia", "nickname": "Mia H"}],
        ),
        discord("5", "10:17:10", "Beep", {"id": "9", "name": "bot", "isBot": True}),
    ],
}


def meta(sender, seconds, content, **others):
    return {"sender_name": sender, "timestamp_ms": 1741000000000 + 1000 * seconds, "content": content, **others}


JOERG = "J\u00c3\u00b6rg"
META = {
    "participants": [{"name": "Mia"}, {"name": JOERG}],
    "messages": [
        meta(JOERG, 300, "Reacted \u00f0\u009f\u008d\u0090 to your message "),
        meta(JOERG, 240, "You named the group Beans."),
        meta(JOERG, 220, f"{JOERG} set the nickname for Mia to Mi."),
        meta(JOERG, 200, f"{JOERG} sent an attachment.", photos=[]),
        meta(JOERG, 100, "Sch\u00c3\u00b6n fr\u00c3\u00bch!"),
        meta("Mia", 0, ASKED),
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


def skype(number, time, sender, content, *, name=None, kind="RichText"):
    return {
        "id": number,
        "messagetype": kind,
        "originalarrivaltime": f"2025-03-03T{time}Z",
        "from": f"8:live:{sender}",
        "displayName": name,
        "content": content,
    }


SKYPE_MESSAGES = [
    skype("2", "10:16:00", "ada", f"{SAID}\r\n{MORE}"),
    skype("1", "10:15:00", "mia", ASKED, name="Mia"),
    skype("0", "10:14:00", "mia", "<addmember/>", kind="ThreadActivity/AddMember"),
]
SKYPE = {"userId": "8:live:ada", "conversations": [{"MessageList": SKYPE_MESSAGES}]}


def google(name, text):
    creator = {"name": name, "email": f"{name.lower()}@x.example", "user_type": "Human"}
    return {"creator": creator, "created_date": "Monday", "text": text}


GOOGLE = {"messages": [google("Mia", ASKED), google("Ada", SAID), google("Ada", MORE)]}
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
ADA_OF_TELEGRAM = {"id": 1, "type": "message", "date": "2025-03-03T10:15:00", "from": "Ada", "from_id": "user1"}
OWNED = [("", f"{SAID}\n{MORE}", REPLY_TO + ASKED)]

# By name: the content, the ending of its file, its turns, and how many records are left out.
CHATS = {
    "Telegram, one chat": ({"name": "Mia", "type": "personal_chat", "messages": TELEGRAM}, ".json", [MIA, ADA], 3),
    "Telegram, all chats": (
        {"chats": {"list": [{"messages": TELEGRAM[1:3]}]}, "left_chats": {"list": [{"messages": TELEGRAM[4:5]}]}},
        ".json",
        [MIA, ("Ada", SAID, REPLY_TO + ASKED), ("Ada", MORE, None)],
        0,
    ),
    "Telegram, whose owner is known": (
        {"personal_information": {"user_id": 2}, "chats": {"list": [{"messages": TELEGRAM[1:3]}]}},
        ".json",
        [("", SAID, REPLY_TO + ASKED)],
        1,
    ),
    "Telegram, with words of others": (
        {
            "messages": [
                ADA_OF_TELEGRAM | {"text": [{"type": "blockquote", "text": ASKED}, SAID]},
                ADA_OF_TELEGRAM | {"id": 2, "text": "A score of a game", "via_bot": "@gamebot"},
            ]
        },
        ".json",
        [("Ada", SAID, None)],
        1,
    ),
    "Slack": (SLACK, ".json", [MIA, ADA], 2),
    "Discord": (DISCORD_JSON, ".json", [MIA, ADA], 2),
    "Discord as a table": (DISCORD_TABLE, ".csv", [MIA, ADA], 1),
    "Meta": (META, ".json", [MIA, ("Jörg", "Schön früh!", REPLY_TO + ASKED)], 4),
    "Meta, encrypted": (META_ENCRYPTED, ".json", [MIA, ADA], 1),
    "Signal": (SIGNAL, ".json", OWNED, 3),  # a call, and what the two others wrote
    "Signal, line by line": ("\n".join(map(json.dumps, SIGNAL)), ".jsonl", OWNED, 3),
    "Teams": (TEAMS, ".json", [MIA, ("Ada", f"{SAID}\n\n{MORE}", REPLY_TO + ASKED)], 1),
    "Skype": (SKYPE, ".json", OWNED, 2),
    "Google": (GOOGLE, ".json", [MIA, ADA], 0),
    "iMessage": (
        [
            {"is_from_me": 0, "text": ASKED, "sender": "Mia"},
            {"is_from_me": 1, "text": f"{SAID}\n{MORE}", "sender": ""},
        ],
        ".json",
        OWNED,
        1,
    ),
    "iMazing": (IMAZING, ".csv", OWNED, 2),
    "Snapchat": (
        {
            "mia": [
                {
                    "From": "ada",
                    "Media Type": "TEXT",
                    "Created": "2025-03-03 10:16:00 UTC",
                    "Content": f"{SAID}\n{MORE}",
                    "IsSender": True,
                },
                {
                    "From": "mia",
                    "Media Type": "TEXT",
                    "Created": "2025-03-03 10:15:00 UTC",
                    "Content": ASKED,
                    "IsSender": False,
                },
            ]
        },
        ".json",
        OWNED,
        1,
    ),
    "LinkedIn": (LINKEDIN, ".csv", [("Ada", f"{SAID}\n{MORE}", None), ("Tom", "Hire me", None)], 0),
    "Discord's own messages": (
        f'ID,Timestamp,Contents,Attachments\n1,2025-03-03 10:15:00,"{SAID}",\n',
        ".csv",
        [("", SAID, None)],
        0,
    ),
    "a program that is not known": (
        {
            "chat": "Mia",
            "messages": [
                {"author": {"name": "Mia", "id": 1}, "body": ASKED, "timestamp": 1741000000},
                {"author": {"name": "Ada", "id": 2}, "body": SAID, "timestamp": 1741000060},
            ],
        },
        ".json",
        [MIA, ("Ada", SAID, None)],
        0,
    ),
    "a dialogue, which keeps its quotes": (
        'text\n"""Tea?""\n""Yes, please."""\n',
        ".csv",
        [("", '"Tea?"\n"Yes, please."', None)],
        0,
    ),
    "demonstrations, in which the assistant is the person": (
        [{"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": SAID}]}],
        ".json",
        [("", SAID, ASKED)],
        0,
    ),
}


# Conversations with language models, and posts


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
SHAREGPT = {"conversations": [{"from": "human", "value": SAID}, {"from": "gpt", "value": "Sure."}]}


def twitter(content):
    return f"window.YTD.tweets.part0 = {json.dumps(content)}"


def own(*texts):
    """Turns of the file's owner that answer nothing."""
    return [("", text, None) for text in texts]


POSTS = {
    "ChatGPT": (
        [chatgpt(("system", [""]), ("user", [SAID]), ("assistant", ["Of course!"]), ("user", [{"asset": 1}, MORE]))],
        ".json",
        own(SAID, MORE),
        3,
    ),
    "Claude": (
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
        own(SAID, MORE),
        1,
    ),
    "ShareGPT": ([{"id": "1", **SHAREGPT}], ".json", own(SAID), 1),
    "ShareGPT, line by line": (f"{json.dumps(SHAREGPT)}\n" * 2, ".jsonl", own(SAID, SAID), 2),
    "OpenAI, several": ([OPENAI], ".json", own(SAID, MORE), 2),
    "OpenAI, one": (OPENAI, ".json", own(SAID, MORE), 2),
    "tweets": (twitter(TWEETS), ".js", own(SAID, f"{MORE} <3"), 2),
    "long tweets": (twitter([{"noteTweet": {"core": {"text": SAID}}}]), ".js", own(SAID), 0),
    "Mastodon": (OUTBOX, ".json", own(f"{SAID}\n\n{MORE}", MORE), 1),
    "Facebook's posts": (
        [
            {"timestamp": 1, "data": [{"post": SAID.replace("Yes", "J\u00c3\u00b6")}], "title": "Ada updated"},
            {"timestamp": 2, "attachments": [], "data": []},
        ],
        ".json",
        own(SAID.replace("Yes", "Jö")),
        1,
    ),
    "Facebook's comments": (
        {
            "comments_v2": [
                {"timestamp": 1, "title": "Ada commented", "data": [{"comment": {"comment": SAID, "author": "Ada"}}]}
            ]
        },
        ".json",
        own(SAID),
        0,
    ),
    "Instagram's posts": (
        [{"media": [{"uri": "1.jpg", "title": ""}], "title": SAID}, {"media": [{"uri": "2.jpg", "title": MORE}]}],
        ".json",
        own(SAID, MORE),
        0,
    ),
    "Instagram's comments": (
        [{"string_map_data": {"Comment": {"value": SAID}, "Time": {"timestamp": 1}}}],
        ".json",
        own(SAID),
        0,
    ),
    "Ghost": (
        {
            "db": [
                {
                    "data": {
                        "posts": [
                            {"title": "a", "html": f"<p>{SAID}</p>", "status": "published"},
                            {"title": "b", "html": "<p>no</p>", "status": "draft"},
                        ]
                    }
                }
            ]
        },
        ".json",
        own(SAID),
        1,
    ),
    "Day One": (
        {"entries": [{"creationDate": "2025", "uuid": "A", "text": f"![](dayone-moment://A)\n{SAID} 1\\. a\\-b"}]},
        ".json",
        own(f"{SAID} 1. a-b"),
        0,
    ),
    "Google Keep": (
        {"textContent": SAID, "title": "Beans", "userEditedTimestampUsec": 1},
        ".json",
        [("", SAID, 'Write a post with the title "Beans".')],
        0,
    ),
    "Reddit": (
        f'subreddit,body\nx,"&gt; {ASKED}\n\n{SAID} &amp; more"\nx,[deleted]\n',
        ".csv",
        own(f"{SAID} & more"),
        1,
    ),
    "YouTube": (
        f'Video ID,Comment Text\nv,"{{""text"":""{SAID}""}},{{""text"":"" {MORE}""}}"\n',
        ".csv",
        own(f"{SAID} {MORE}"),
        0,
    ),
    "LinkedIn's posts": (f'Date,ShareCommentary\n1,"{SAID}""\n""{MORE}"\n', ".csv", own(f"{SAID}\n{MORE}"), 0),
    "LinkedIn's recommendations, by who recommends": (
        f'First Name,Last Name,Company,Text\nTom,Green,Acme,"{SAID}"\n',
        ".csv",
        [("Tom Green", SAID, None)],
        0,
    ),
}


@pytest.mark.parametrize(
    ("content", "suffix", "expected", "num_left_out"), (CHATS | POSTS).values(), ids=(CHATS | POSTS).keys()
)
def test_whose_turns_there_are_and_how_much_is_left_out(content, suffix, expected, num_left_out):
    raw = content if isinstance(content, str) else json.dumps(content)
    assert turns(raw, suffix) == expected
    assert len(left_out(raw, suffix)) == num_left_out


def test_an_answer_in_a_thread_answers_what_began_it():
    messages = [
        {"type": "message", "user": "U1", "text": ASKED, "ts": "1", "thread_ts": "1"},
        {"type": "message", "user": "U3", "text": "Who has the key?", "ts": "2"},
        {"type": "message", "user": "U2", "text": SAID, "ts": "3", "thread_ts": "1"},
    ]
    assert turns(json.dumps(messages))[2] == ("U2", SAID, REPLY_TO + ASKED)


def test_names_and_ids_of_a_writer_are_all_there():
    texts = READERS[".json"]("a.json", json.dumps(SLACK).encode()).texts
    assert [source.authors for source in texts] == [("Mia", "U1"), ("Ada", "ada", "U2")]


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
def test_side_files_hold_no_texts(raw, suffix, words):
    with pytest.raises(InputError, match=r"^a\.js") as caught:
        READERS[suffix](f"a{suffix}", raw.encode())
    assert words in str(caught.value)
