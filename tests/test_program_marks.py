"""What mail programs put between the words: HTML for lines, pictures and symbols for smileys, marks in plain text."""

from __future__ import annotations

import time

import pytest

from ditto_cli.demonstrations.encoding import normalise_text
from ditto_cli.demonstrations.html_text import html_mail_to_text, html_to_text
from ditto_cli.demonstrations.quotes import remove_quoted

WORD_SHEET = "<style><!-- p.MsoNormal, li.MsoNormal {margin:0cm; margin-bottom:%s; font-size:11.0pt} --></style>"
SYMBOLS = "font-family:Wingdings"


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p class=MsoNormal>the door</p>\n<p class=MsoNormal>the lamp</p>", "the door\nthe lamp"),
        ("<p class='x_MsoNormal'>Best,</p><p class='x_MsoNormal'>Ada</p>", "Best,\nAda"),
        ("<p class=MsoNormal>a</p><p class=MsoNormal><o:p>&nbsp;</o:p></p><p class=MsoNormal>b</p>", "a\n\nb"),
        ("<p class=MsoNormal>a<o:p></o:p></p><p class=MsoNormal><br></p><p class=MsoNormal>b</p>", "a\n\nb"),
        (WORD_SHEET % ".0001pt" + "<p class=MsoNormal>a</p><p class=MsoNormal>b</p>", "a\nb"),
        (WORD_SHEET % "8.0pt" + "<p class=MsoNormal>a</p><p class=MsoNormal>b</p>", "a\n\nb"),
        ("<p class=MsoNormal style='margin-bottom:12.0pt'>a</p><p class=MsoNormal>b</p>", "a\n\nb"),
        ("<style>P {margin-top:0;margin-bottom:0;}</style><p>a</p><p>b</p>", "a\nb"),
        (
            "<STYLE>\np.p1 {margin: 0.0px 0.0px 0.0px 0.0px}\n</STYLE><p class=p1>a</p><p class=p1>b</p><p>c",
            "a\nb\n\nc",
        ),
        ('<p style="margin:0">a</p><p style="margin:0in 0in 0.0001pt">b</p>', "a\nb"),
        ('<p style="margin:0 0 1em">a</p><p style="margin:0 0 1em">b</p>', "a\n\nb"),
        ("<p>a</p><p>&nbsp;</p><p>b</p>", "a\n\nb"),
        ("<div>a</div><div><br></div><div>b</div><div>c</div>", "a\n\nb\nc"),
        ("<div dir=ltr>a<div><br></div><div>b<br></div></div>", "a\n\nb"),
        ("<div>a line\nthat the source\n   breaks</div>", "a line that the source breaks"),
        ("<div>a&nbsp; b</div>", "a b"),
        (
            "<p class=MsoListParagraph><![if !supportLists]><span style='font-family:Symbol'>"
            "<span style='mso-list:Ignore'>&middot;<span style='font:7.0pt \"Times New Roman\"'>"
            "&nbsp;&nbsp; </span></span></span><![endif]>door</p>"
            "<p class=MsoListParagraph><span style='mso-list:Ignore'>2.<span>&nbsp;</span></span>lamp</p>",
            "- door\n2. lamp",
        ),
        ("<ol><li>door<ul><li>lamp</ul><li><p>paint</p></ol><ul><li>x</ul>", "1. door\n- lamp\n2. paint\n\n- x"),
        ("<ol start=3><li>door</li></ol><ol start=x><li>lamp</li></ol>", "3. door\n\n1. lamp"),
        ("<ul><li><div class=box></div> paint</li></ul>", "- paint"),
    ],
)
def test_lines_and_paragraphs(html: str, text: str) -> None:
    assert normalise_text(html_to_text(html)) == text
    assert normalise_text(html_mail_to_text(f"{html}<blockquote>x</blockquote>").partition(">")[0]) == text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (f"up <span style='{SYMBOLS}'>J</span>", "up 🙂"),
        (f'no <span style="{SYMBOLS};mso-char-type:symbol">L</span>', "no 🙁"),
        ("so <font face=Wingdings size=2>K</font>", "so 😐"),
        ("<span style='font-family:\"Wingdings\"'>&agrave;</span> there", "→ there"),
        (f"<b><span style='{SYMBOLS}'><i><span lang=EN>J</span></i></span></b>J", "🙂J"),
        (f"<span style='{SYMBOLS}'>J<span style='font-family:Calibri'> Jo</span></span> J", "🙂 Jo J"),
        ("up \uf04a", "up 🙂"),  # Word's own character
        ("Jo <span style='font-family:Arial'>J</span>", "Jo J"),
        ('up <img alt="🎉" src=a.png>', "up 🎉"),
        ('up <img class="wp-smiley" alt=":)" src=a.png>', "up :)"),
        ('up <img data-emoji="❤️" alt="heart" class="an1">', "up ❤️"),
        ('up <img alt="👩‍👩‍👧‍👦" src=a.png>', "up 👩‍👩‍👧‍👦"),
        ('up <img alt="a dog" src=dog.png><img alt="" src=x><img src=y><img alt="©" src=z>', "up"),
        ('up <img class=emoji alt=":smile:">', "up"),
    ],
)
def test_smileys(html: str, text: str) -> None:
    assert normalise_text(html_to_text(f"<div>{html}</div>")) == text


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("the plan <https://docs.example/d/1> is there", "the plan is there"),
        ("the plan<https://docs.example/d/1?a=b>, and more", "the plan, and more"),
        ("a long way to the plan\n<https://docs.example/d/1>\nwith the door", "a long way to the plan\nwith the door"),
        ("ask Tom<mailto:t@x.example> or call 030 12<tel:03012> first", "ask Tom or call 030 12 first"),
        ("ask t@x.example <mailto:t@x.example> first", "ask t@x.example first"),
        ("look\n[image: shelf.jpg]\nnice", "look\nnice"),
        ("look [cid:image001.png@01D8.5A] nice", "look  nice"),
        ("done [image: 🎉]", "done 🎉"),
        ("look\n<IMG_12.jpeg>\n\n\ufffc\n\nnice", "look\n\nnice"),
        ("*Where:* the hall\n*When*: on Friday", "Where: the hall\nWhen: on Friday"),
        ("*The plan for Friday*\n\nwe meet", "The plan for Friday\n\nwe meet"),
        ("the *big one* is in the hall <https://x.example>", "the big one is in the hall"),
        ("that is *really* far, and *not at all* easy", "that is *really* far, and *not at all* easy"),
        ("*sigh*", "*sigh*"),
        ("* one\n* two *or* three", "* one\n* two *or* three"),
        ("see: <https://x.example>", "see: <https://x.example>"),
        ("(<https://x.example>)", "(<https://x.example>)"),
        ("if a <b and c> d [1]", "if a <b and c> d [1]"),
        ("2*3*4 = 24", "2*3*4 = 24"),
    ],
)
def test_marks_in_plain_text(written: str, own: str) -> None:
    assert (
        normalise_text(remove_quoted(f"Hi Tom,\n\n{written}\n\nBest,\nAda").text) == f"Hi Tom,\n\n{own}\n\nBest,\nAda"
    )
    quoted = "\n".join(f"> {line}" for line in written.split("\n"))
    assert normalise_text(remove_quoted(f"Yes.\n\n{quoted}").original) == own


@pytest.mark.parametrize(
    "quote",
    [
        "<div>Lundi, Tomek &lt;t@x.example&gt; kirjutas 4.3.2025 9:05:</div>"
        "<blockquote class=new>Can you?</blockquote>",
        "<div style='border:none;border-left:solid blue 1.5pt;padding:0cm 0cm 0cm 4.0pt'><p>Can you?</p></div>",
        '<p>Tom &lt;<a href="mailto:t@x.example">t@x.example</a>&gt; 4.3.2025 9:05</p>'
        '<div style="border-left: 2px solid #ccc; padding-left: 8px">Can you?</div>',
    ],
)
def test_quotes_of_programs_that_are_not_known(quote: str) -> None:
    part = remove_quoted(html_mail_to_text(f"<p>Yes.</p>{quote}<p>Ada</p>"))
    assert (normalise_text(part.text), part.original) == ("Yes.\n\nAda", "Can you?")


@pytest.mark.parametrize(
    "html",
    [
        f"<span style='{SYMBOLS}'>" * 30_000,
        "<style>" * 100_000,
        "<style>" + "p{margin:0}" * 80_000 + "</style>",
        "<style>" + "," * 1_000_000 + "{margin:0}</style>",
        "<p class=MsoNormal>" * 50_000,
        "<p>&nbsp;" * 100_000,
        "<img alt='🎉'" * 70_000,
        "*a <https://" * 80_000,
        "a <mailto:" + "b" * 1_000_000,
        "[cid:" * 200_000,
        "* " * 500_000,
        "*a" * 500_000,
    ],
)
def test_no_megabyte_takes_long(html: str) -> None:
    begin = time.process_time()
    html_mail_to_text(html)
    remove_quoted(html)
    assert time.process_time() - begin < 10  # below 3 s on an idle machine
