"""One email: what its sender wrote, the prompt that its headers give, and what is not a person's own mail."""

# ruff: noqa: E501  mails in one line

from __future__ import annotations

import base64
import contextlib
import time
from dataclasses import replace
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.mail import mail_prompt, parse_mail, read_email
from ditto_cli.errors import InputError
from ditto_cli.types import Mail, Skipped, SourceText

SECRET = "zebrafish"  # stands for the person's words: no message may hold it


def read(raw: str | bytes) -> SourceText:
    reading = read_email("a.eml", raw if isinstance(raw, bytes) else raw.encode())
    assert len(reading.texts) == 1
    return reading.texts[0]


def bare(raw: str | bytes) -> SourceText:
    """Without what the headers say, which other tests look at."""
    return replace(read(raw), mail=None, authors=())


def mail(headers: str, body: str = "Hi\n") -> Mail:
    found = read(f"From: Anna Roth <Anna@Home.example>\n{headers}\n\n{body}").mail
    assert found is not None
    return found


def refusal(raw: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_email("a.eml", raw)
    message = str(caught.value)
    assert message.isprintable()
    assert SECRET not in message
    assert len(message) < 400
    return message


def test_a_plain_email() -> None:
    raw = b"From: a@b.org\r\nSubject: Lunch on\r\n Friday\r\n\r\nHi Tom,\r\n\r\nlunch?\r\n\r\n-- \r\nAnna\r\n+49 1\r\n"
    expected = SourceText("a.eml", "Hi Tom,\n\nlunch?", 'Write an email with the subject "Lunch on Friday".')
    assert bare(raw) == expected


GREETING = "Gr\u00fc\u00dfe aus K\u00f6ln, das ist ein langer Satz"


@pytest.mark.parametrize(
    ("charset", "transfer", "body"),
    [
        ("utf-8", "quoted-printable", b"Gr=C3=BC=C3=9Fe aus K=C3=B6ln, das ist ein langer =\nSatz=20=\n\n"),
        ("iso-8859-1", "quoted-printable", b"Gr=FC=DFe aus K=F6ln, das ist ein langer Satz"),
        ("utf-8", "base64", b"R3LDvMOfZSBhdXMgS8O2bG4sIGRhcyBpc3QgZWluIGxhbmdlciBTYXR6\n"),
        ("utf-8", "8bit", GREETING.encode()),
        ("us-ascii", "8bit", GREETING.encode()),
        ("us-ascii", "8bit", GREETING.encode("cp1252")),
        ("no-such-charset", "8bit", GREETING.encode("cp1252")),
    ],
)
def test_transfer_encodings_and_charsets(charset: str, transfer: str, body: bytes) -> None:
    head = f"From: a@b.org\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: {transfer}\n\n"
    assert bare(head.encode() + body) == SourceText("a.eml", GREETING, None)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


LONG = "Hi Mia,\n\nthe shelf is up and I only hit my thumb once, so come by and see it.\n\n"  # two lines of base64
LINES = base64.encodebytes((LONG + "Gr\u00fc\u00dfe").encode()).decode()
FOOTER = (
    "\n_______________________________________________\nallotment mailing list\nhttps://lists.example/info/allotment\n"
)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (LINES, LONG + "Gr\u00fc\u00dfe"),
        (LINES + FOOTER, LONG + "Gr\u00fc\u00dfe"),
        *[(b64(f"no padding {'x' * n}") + "\n" + FOOTER, f"no padding {'x' * n}") for n in (1, 2, 3)],
        (f"{b64('one ')}\n{b64('two')}\n", "one two"),  # each with its padding
        (f"{b64('one ')}\n\n{b64('and two')}\n", "one and two"),
        (f"{b64('one ')}{b64('two')}", "one two"),
        (f"{LINES}\nUnsubscribe\n", LONG + "Gr\u00fc\u00dfe"),
        (f"{LINES}\n-- \nSent by a program\n", LONG + "Gr\u00fc\u00dfe"),
        (LINES.replace("\n", " \r\n"), LONG + "Gr\u00fc\u00dfe"),
        ("It is plain, in spite of its label.", "It is plain, in spite of its label."),
        ("Hallo\n\nit is plain, in spite of its label.\n\nAda", "Hallo\n\nit is plain, in spite of its label.\n\nAda"),
        ("It is plain,\nand signed.\n\nAda", "It is plain,\nand signed.\n\nAda"),
        ("Danke!", "Danke!"),
        ("谢谢你，我们明天见。", "谢谢你，我们明天见。"),
    ],
)
def test_base64_is_read_to_its_end_and_no_further(body: str, expected: str) -> None:
    head = "From: a@b.org\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: BASE64\n\n"
    assert read(head + body).text == expected


def in_two_forms(plain: str, html: str) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "a@b.org"
    message.set_content(plain)
    message.add_alternative(html, subtype="html")
    return message


SENTENCE = "The second shelf is up, though it took two tries as the wall behind the door is plaster and not brick."
WRAPPED = "The second shelf is up, though it took two tries as the wall behind the\ndoor is plaster and not brick."
QUOTE = "On Mon, 3 Mar 2025 at 10:11, Tom <t@x.example> wrote:\n\n> Is it up? And did you keep the lamp for me?\n"
HTML_QUOTE = (
    '<div class="gmail_quote"><div class="gmail_attr">On Mon, 3 Mar 2025 at 10:11, Tom wrote:<br></div>'
    '<blockquote class="gmail_quote">Is it up? And did you keep the lamp for me?</blockquote></div>'
)


@pytest.mark.parametrize(
    ("plain", "html", "expected"),
    [
        (WRAPPED, f"<div>{SENTENCE}</div>", SENTENCE),
        (f"Hi,\n\n{WRAPPED}\n\n{QUOTE}", f"<div>Hi,</div><div><br></div><div>{SENTENCE}</div>{HTML_QUOTE}", f"Hi,\n\n{SENTENCE}"),
        ("It is *really* up", "<p>It is <b>really</b> up</p>", "It is really up"),
        ("See the list<https://x.example/l> now", '<p>See the <a href="https://x.example/l">list</a> now</p>', "See the list now"),
        ("See the list <https://x.example/l> now", '<p>See the <a href="https://x.example/l">list</a> now</p>', "See the list now"),
        ("Ask Tom<mailto:t@x.example> first", '<p>Ask <a href="mailto:t@x.example">Tom</a> first</p>', "Ask Tom first"),
        ("Look\n[image: shelf.jpg]\nat it", '<div>Look</div><div><img src="cid:1"></div><div>at it</div>', "Look\nat it"),
        ("Look [cid:image001.png@01DB8C3A] at it", '<p>Look <img src="cid:image001.png@01DB8C3A"> at it</p>', "Look at it"),
        ("こんにちは、お元気\nですか。", "<p>こんにちは、お元気ですか。</p>", "こんにちは、お元気ですか。"),
        # Not the same words: the plain text was written, the HTML is something else.
        ("The words", "<p>Please open this mail in a program that shows pictures</p>", "The words"),
        ("The words", '<img src="cid:1">', "The words"),
        ("The words", "<p>The words</p><p>and an advertisement of ten words that nobody has written</p>", "The words"),
        (" ", "<p>in HTML</p>", "in HTML"),
        ("\n", "<p>in HTML</p>", "in HTML"),
    ],
)  # fmt: skip
def test_of_two_forms_the_richer_original_is_taken(plain: str, html: str, expected: str) -> None:
    assert read(in_two_forms(plain, html).as_bytes()).text == expected


def test_the_html_may_lie_deeper_with_its_pictures() -> None:
    message = in_two_forms(WRAPPED, f'<p>{SENTENCE}</p><img src="cid:1">')
    html = message.get_payload()[1]  # type: ignore[index]
    html.add_related(b"P", maintype="image", subtype="png", cid="<1>")  # type: ignore[union-attr]
    message.add_attachment(b"P", maintype="image", subtype="png", filename="a.png")
    assert read(message.as_bytes()).text == SENTENCE


def test_attachments_are_not_text() -> None:
    message = in_two_forms("Here it is.\n", "<p>Here it <b>is</b>, in HTML.</p>")
    message.add_attachment("somebody else's words", filename="notes.txt")
    message.add_attachment(b"\0\1", maintype="application", subtype="pdf", filename="report.pdf")
    original = EmailMessage()
    original.set_content("the forwarded email")
    message.add_attachment(original)
    assert read(message.as_bytes()).text == "Here it is."


IN_PARTS = "Content-Type: multipart/mixed; boundary=x\n\n"
NAMED = 'Content-Type: text/plain; name="body.txt"\nContent-Disposition: %s\n\n%s'
SIGNED = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{}\n-----BEGIN PGP SIGNATURE-----\n\niQ\n"
OWN_WORDS = {
    "a body with a name": (NAMED % ("inline", "Hi"), "Hi"),
    "a part with a name and an attachment": (
        f"{IN_PARTS}--x\n{NAMED}\n--x\n{NAMED}\n--x--\n"
        % ("inline", "Hi", "inline; filename=notes.txt", "other words"),
        "Hi",
    ),
    "around a picture": (
        f"{IN_PARTS}--x\nContent-Type: text/plain\n\nbefore\n--x\nContent-Type: image/png\n\nP\n"
        "--x\nContent-Type: text/plain\n\nafter\n--x--\n",
        "before\n\nafter",
    ),
    "flowed": (
        "Content-Type: text/plain; format=flowed\n\nA long line that \ngoes on \nand ends.\nNext line.\n\n"
        "> quoted \n> words\n From me\n >no quote\n-- \nAnna\n",
        "A long line that goes on and ends.\nNext line.\n\nFrom me\n >no quote",
    ),
    "signed": ("\n" + SIGNED.format("Hi Tom"), "Hi Tom"),
    "signed, with its dashes escaped": ("\n" + SIGNED.format("- - tea\n- - milk"), "- tea\n- milk"),
    **{
        f"below what HTML hides with {style}": (
            f'Content-Type: text/html\n\n<div style="{style}">A preview</div><p>Hi Bo</p>',
            "Hi Bo",
        )
        for style in ("display:none", "max-height:0;overflow:hidden", "color:#fff; opacity: 0;", "visibility:hidden")
    },
    "with two line ends for one": ("Subject: Tea\r\r\n\r\r\nHi Bo,\r\r\ntea?\r\r\n", "Hi Bo,\ntea?"),
    "enriched": (
        "Content-Type: text/enriched\n\n<fontfamily><param>Times</param>Hi</fontfamily> Bo,\n\n\na <bold>long</bold>\nline\n",
        "Hi Bo,\n\na long line",
    ),
    "above the signature of Spark": (
        'Content-Type: text/html\n\n<div name="messageBodySection">Hi Bo</div>'
        '<div name="messageSignatureSection">Ada Reed<br>Hill Road 4</div>',
        "Hi Bo",
    ),
}


@pytest.mark.parametrize("name", OWN_WORDS)
def test_the_words_of_the_sender_are_the_text(name: str) -> None:
    rest, text = OWN_WORDS[name]
    assert read(f"From: a@b.org\n{rest}").text == text


def test_an_email_in_html_only() -> None:
    message = EmailMessage()
    message["Subject"] = "Re: Garden"
    html = (
        "<html><head><title>t</title><style>p {color: red}</style></head><body><p>Hi&nbsp;Tom,</p>\n"
        "<div>first <b>line</b><br>second &amp; third</div><div><br></div><div>new paragraph</div><script>x()</script>"
        '<ul><li>one</li><li>two</li></ul><div class="gmail_quote"><div>On Mon, 3 Mar 2025 at 10:11, Tom '
        "&lt;<a href='mailto:t@x.org'>t@x.org</a>&gt; wrote:<br></div>"
        "<blockquote><div>his words</div></blockquote></div></body></html>"
    )
    message.set_content(html, subtype="html")
    assert bare(message.as_bytes()) == SourceText(
        "a.eml",
        "Hi Tom,\n\nfirst line\nsecond & third\n\nnew paragraph\n\n- one\n- two",
        'Write a reply to this email with the subject "Garden":\n\nhis words',
    )


@pytest.mark.parametrize(
    ("headers", "prompt"),
    [
        (
            "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= =?iso-8859-1?b?IGF1cyBL9mxu?=",
            'Write an email with the subject "Gr\u00fc\u00dfe aus K\u00f6ln".',
        ),
        ("Subject: Gr\u00fc\u00dfe", 'Write an email with the subject "Gr\u00fc\u00dfe".'),
        ('Subject: The "big" day', "Write an email with the subject \"The 'big' day\"."),
        ("Subject: WG: Fwd: Plans", 'Write a note to go with the forwarded email "Plans".'),
        ("Subject: RE: AW: Re[2]: Plans", 'Write a reply to the email "Plans".'),
        ("Subject: SV: Plans", 'Write a reply to the email "Plans".'),
        ("Subject: Plans\nIn-Reply-To: <1@b>", 'Write a reply to the email "Plans".'),
        ("From: a@b.org", None),
        ("Subject:", None),
        ("Subject: Re: ", None),
        ("Subject: Fwd:   ", None),
    ],
)
def test_the_prompt_comes_from_the_subject(headers: str, prompt: str | None) -> None:
    assert read(f"{headers}\n\nHi\n").prompt == prompt


def test_a_subject_in_bare_latin_1() -> None:
    raw = "Subject: Gr\u00fc\u00dfe aus K\u00f6ln\nContent-Type: text/plain; charset=latin-1\n\nsch\u00f6n\n"
    expected = 'Write an email with the subject "Gr\u00fc\u00dfe aus K\u00f6ln".'
    assert bare(raw.encode("latin-1")) == SourceText("a.eml", "sch\u00f6n", expected)


def test_the_headers_of_a_reply() -> None:
    headers = (
        "To: Bo Berg <bo@x.example>, bo@y.example\nCc: cara@z.example\nSubject: AW: Re: Tent\nMessage-ID: <2@home>\n"
        "In-Reply-To: <1@x>"
    )
    assert mail(headers, "Yes.\n\nOn Monday, Bo wrote:\n> Tent?\n> \n> -- \n> Bo\n") == Mail(
        sender="anna@home.example",
        recipients=("bo@x.example", "bo@y.example", "cara@z.example"),
        form="reply",
        subject="Tent",
        message_id="2@home",
        in_reply_to="1@x",
        original="Tent?",
    )


@pytest.mark.parametrize(
    ("subject", "form"),
    [
        ("Tent", "new"),
        ("Re: Tent", "reply"),
        ("SV: VS: Tent", "reply"),
        ("R: Tent", "reply"),
        ("r: Tent", "new"),
        ("\u56de\u590d\uff1aTent", "reply"),
        ("Antw: Tent", "reply"),
        ("Odp: Re: Tent", "reply"),
        ("Fwd: Re: Tent", "forward"),
        ("TR : Tent", "forward"),
        ("\u8f6c\u53d1: Tent", "forward"),
        ("Reform: Tent", "new"),
    ],
)
def test_the_form_is_told_by_the_outermost_prefix(subject: str, form: str) -> None:
    assert mail(f"Subject: {subject}").form == form


@pytest.mark.parametrize(
    ("to", "name"),
    [
        ("Bo Berg <bo@x.org>", "Bo"),
        ('"Berg, Bo" <bo@x.org>', "Bo"),
        ("=?utf-8?q?J=C3=BCrgen_Berg?= <bo@x.org>", "J\u00fcrgen"),
        ("Frau Berg <bo@x.org>", ""),
        ("Anne-Marie <bo@x.org>", "Anne-Marie"),
        ("bo@x.org", ""),
        ("bo@x.org <bo@x.org>", ""),
        ("Team Berg <bo@x.org>", ""),
        ("Bo <bo@x.org>, Cara <cara@x.org>", ""),
    ],
)
def test_the_name_of_the_only_recipient(to: str, name: str) -> None:
    assert mail(f"To: {to}").recipient_name == name


@pytest.mark.parametrize(
    ("changes", "prompt"),
    [
        ({}, "Write an email with the subject \"The 'big' tent\"."),
        ({"recipient_name": "Bo"}, "Write an email to Bo with the subject \"The 'big' tent\"."),
        ({"form": "reply"}, "Write a reply to the email \"The 'big' tent\"."),
        ({"form": "reply", "recipient_name": "Bo"}, "Write a reply to Bo, to the email \"The 'big' tent\"."),
        (
            {"form": "reply", "original": "Tent?"},
            "Write a reply to this email with the subject \"The 'big' tent\":\n\nTent?",
        ),
        (
            {"form": "reply", "original": "Tent?", "recipient_name": "Bo", "subject": ""},
            "Write a reply to Bo, to this email:\n\nTent?",
        ),
        ({"form": "forward"}, "Write a note to go with the forwarded email \"The 'big' tent\"."),
        ({"subject": ""}, None),
        ({"subject": "", "form": "reply"}, None),
        ({"subject": "", "form": "forward"}, None),
    ],
)
def test_the_prompt_of_each_form(changes: dict[str, str], prompt: str | None) -> None:
    assert mail_prompt(replace(Mail(subject='The "big" tent'), **changes)) == prompt


def test_a_long_original_is_cut_at_the_end_of_a_paragraph_or_sentence() -> None:
    def excerpt(original: str) -> str:
        prompt = mail_prompt(Mail(form="reply", original=original))
        assert prompt is not None
        return prompt.split("\n\n", 1)[1]

    assert excerpt("word " * 199 + "end") == "word " * 199 + "end"
    assert excerpt("a b c d. " * 200) == ("a b c d. " * 177).rstrip() + " [...]"
    assert excerpt("a b c, " * 300).endswith(" b [...]")
    assert excerpt("\u6c49" * 5000) == "\u6c49" * 1600 + " [...]"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ("Subject: x", None),
        ("Auto-Submitted: no", None),
        ("Auto-Submitted: auto-generated", "an automatic mail"),
        ("Auto-Submitted: auto-replied (vacation)", "an out-of-office notice"),
        ("X-Autoreply: yes", "an out-of-office notice"),
        ("Subject: Out of Office: Tent", "an out-of-office notice"),
        ("Subject: Abwesenheitsnotiz", "an out-of-office notice"),
        ("Subject: Automatic reply: Tent", "an out-of-office notice"),
        ("Subject: R\u00e9ponse automatique : Tent", "an out-of-office notice"),
        ("Subject: \u81ea\u52a8\u56de\u590d: x", "an out-of-office notice"),
        ("Subject: Accepted: Lunch", "a calendar message"),
        ("Subject: Abgelehnt: Essen", "a calendar message"),
        ("Subject: Accepted your offer", None),
        ("Subject: Undeliverable: x", "a delivery report"),
        ("Content-Type: multipart/report; boundary=x", "a delivery report"),
    ],
)
def test_what_no_person_wrote_is_told_by_the_headers(headers: str, reason: str | None) -> None:
    body = "--x\nContent-Type: text/plain\n\nHi\n--x--" if "boundary" in headers else "Hi"
    assert mail(headers, body).not_written == reason


@pytest.mark.parametrize(
    ("kind", "part", "reason"),
    [
        ("mixed", "text/calendar", "a calendar message"),
        ("alternative", "text/calendar", "a calendar message"),  # a meeting
        ("mixed", "text/calendar\nContent-Disposition: attachment; filename=a.ics", None),
        ("mixed", "text/vnd.google.email-reaction+json", "a reaction, no words"),
    ],
)
def test_what_no_person_wrote_is_told_by_the_parts(kind: str, part: str, reason: str | None) -> None:
    parts = f"--x\nContent-Type: text/plain\n\nHi\n--x\nContent-Type: {part}\n\n{{}}\n--x--"
    assert mail(f"Content-Type: multipart/{kind}; boundary=x", parts).not_written == reason


@pytest.mark.parametrize(
    "kind",
    ["text/plain charset=utf-8", "text/markdown", "TEXT/PLAIN; charset=us-ascii"],
)
def test_every_kind_of_plain_text_is_read(kind: str) -> None:
    assert read(f"From: a@b.org\nContent-Type: {kind}\n\nHi Bo,\n\ntea?\n").text == "Hi Bo,\n\ntea?"


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ("X-Gmail-Labels: Drafts,Important", "a draft"),
        ("X-Gmail-Labels: =?utf-8?q?Entw=C3=BCrfe?=", "a draft"),
        ("X-Gmail-Labels: Spam", "marked as spam"),
        ('X-Gmail-Labels: "Papierkorb"', "in the trash"),
        ("X-Mozilla-Status: 0009", "in the trash"),
    ],
)
def test_what_its_owner_did_not_send_is_skipped_in_an_archive_and_read_alone(headers: str, reason: str) -> None:
    raw = f"From: a@b.org\n{headers}\n\nHi\n".encode()
    assert parse_mail("s#1", raw) == Skipped("s#1", reason)
    assert read(raw).text == "Hi"


@pytest.mark.parametrize(
    ("headers", "is_sent"),
    [("X-Gmail-Labels: Sent,Work", True), ("X-Gmail-Labels: Inbox", False), ("X-Mozilla-Status: 0001", None)],
)
def test_a_label_tells_what_was_sent(headers: str, is_sent: bool | None) -> None:
    assert mail(headers).is_sent is is_sent


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"no headers, zebrafish", "not a mail that can be read"),
        (b"From: a@b.org\nContent-Transfer-Encoding: base64\n\nR3LDv", "not a mail that can be read"),
        (b"From: a@b.org\n\n> zebrafish", "nothing in it was written by its sender"),
        (b"From: a@b.org\nSubject: Fwd: x\n\n> zebrafish\n-- \nAnna\n", "nothing in it was written by its sender"),
        (
            b"From: a@b.org\nContent-Type: text/plain; charset*=us-ascii'en'utf-8\n\nzebrafish at the caf\xc3\xa9",
            "not a mail that can be read",
        ),
        (
            b"From: a@b.org\nContent-Type: text/plain; x*1*=a; x*=''\n\nzebrafish at the caf\xc3\xa9",
            "not a mail that can be read",
        ),
        (b"From: a@b.org\n\n-----BEGIN PGP MESSAGE-----\nzebrafish", "encrypted"),
        (b"From: a@b.org\nContent-Type: application/pkcs7-mime\n\nMIIB", "encrypted"),
    ],
)
def test_a_mail_without_text_is_skipped_in_an_archive_and_refused_alone(raw: bytes, reason: str) -> None:
    assert parse_mail("s#1", raw) == Skipped("s#1", reason)
    assert refusal(raw).startswith(f"a.eml is left out ({reason})")


def test_a_large_attachment_is_stepped_over() -> None:
    attachment = "Content-Type: image/png\n\n" + "A" * 76 + "\n"
    raw = f"From: a@b.org\nContent-Type: multipart/mixed; boundary=x\n\n--x\n\nHi\n--x\n{attachment * 200_000}--x--"
    begin = time.process_time()
    assert read(raw).text == "Hi"
    assert time.process_time() - begin < 2


MIB = 2**20
HOSTILE = {
    "no end of headers": b"X: " + b"a" * MIB,
    "encoded words": b"Subject: " + b"=?a?q?" * (MIB // 6),
    "addresses": b"From: " + b"a@" * (MIB // 2),
    "comments": b"To: " + b"(" * MIB,
    "boundaries": b"Content-Type: multipart/mixed; boundary=x\n\n" + b"--x\n" * (MIB // 4),
    "nested parts": b"".join(b"Content-Type: multipart/mixed; boundary=x%d\n\n--x%d\n" % (n, n) for n in range(20_000)),
    "unclosed tags": b"Content-Type: text/html\n\n<blockquote>" + b"<div>" * 100_000,
    "nested quotes": b"Content-Type: text/html\n\n" + b"<blockquote>a" * 40_000,
    "many quotes": b"Content-Type: text/html\n\n" + b"<blockquote>a</blockquote>b" * 10_000,
    "tags below a long quote": b"Content-Type: text/html\n\n<blockquote>"
    + b"a " * (MIB // 2)
    + b"<div></div>" * 90_000,
    "declarations": b"Content-Type: text/html\n\n<![foo<blockquote><![" + b"<!" * 1000,
    "parameters": b"Content-Type: text/plain; " + b"charset*0=a; " * 10_000 + b"\n\nHi",
    "base64": b"Content-Transfer-Encoding: base64\n\n" + b"=A" * (MIB // 2),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_mail_takes_long(name: str) -> None:
    begin = time.process_time()
    found = parse_mail("s#1", b"From: a@b.org\n" + HOSTILE[name])
    assert time.process_time() - begin < 5
    assert isinstance(found, SourceText | Skipped)


HEADS = st.sampled_from(
    [
        b"",
        b"From: a@b\n\n",
        b"Subject: =?utf-8?",
        b"From: a@b\nContent-Type: ",
        b"From: a@b\nContent-Type: text/html\n\n<blockquote",
        b"From: a@b\nContent-Type: text/plain; charset=",
        b"From: a@b\nContent-Transfer-Encoding: base64\n\n",
        b"From: a@b\nContent-Type: multipart/alternative; boundary=x\n\n--x\n",
    ]
)


@settings(deadline=None, max_examples=200)
@given(HEADS, st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_as_an_email_are_read_or_refused(head: bytes, rest: bytes) -> None:
    with contextlib.suppress(InputError):  # any other exception fails the test
        assert read_email("a.eml", head + rest).texts[0].text
    assert isinstance(parse_mail("s#1", head + rest), SourceText | Skipped)
