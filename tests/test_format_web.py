"""Pages: what is the post, what is not, the title as the prompt, and pages that nobody would call well formed."""

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.demonstrations.html_text import html_to_text, looks_like_html
from ditto_cli.demonstrations.posts import read_html
from ditto_cli.demonstrations.sources import read_safely
from ditto_cli.errors import InputError
from ditto_cli.types import Reading
from format_files import attempt

PAGE = """<!DOCTYPE html><html><head><meta charset="utf-8"><title>Frost | Rita's notes</title>
<style>p {{}}</style><script>var x = "noise";</script></head>
<body class="sidebar"><header><h1>Rita's notes</h1></header><nav><a>Home</a></nav>
{main}
<aside>About me</aside><footer>(c) Rita</footer></body></html>"""


def only(html, name="a.html"):
    raw = html if isinstance(html, bytes) else html.encode()
    (source,) = read_html(name, raw).texts
    return source


@pytest.mark.parametrize(
    "main",
    [
        "<article>{}</article>",
        "<main>{}</main>",
        '<div role="main">{}</div>',
        "<div>{}</div>",
        "<main><article><div class='entry-content'>{}</div></article></main>",
    ],
)
def test_the_main_part_is_the_text(main: str) -> None:
    body = (
        "<p>First&nbsp;one,\n with  <b>bold</b>.</p><p>Second<br>line</p><ul><li>a<ul><li>b</li></ul></li></ul>"
        "<div id='comments'><p>First!</p></div><form>Sign up</form><p hidden>secret</p>"
        "<p style='display: none'>secret</p><div aria-hidden='true'>x</div>"
    )
    source = only(PAGE.format(main=main.format(body)))
    assert source.id == "a.html"
    assert source.text == "First one, with bold.\n\nSecond\nline\n\n- a\n- b"


def test_the_title_becomes_the_prompt_and_leaves_the_text() -> None:
    post = "<article><header><h1>Frost on\n the <i>“old”</i> glass</h1><p>by Rita</p></header><p>Cold.</p></article>"
    source = only(PAGE.format(main=post))
    assert source.prompt == 'Write a post with the title "Frost on the “old” glass".'
    assert source.text == "Cold."


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("Frost on glass | Rita's notes", "Frost on glass"),
        ("Frost on glass » Rita", "Frost on glass"),
        ("Frost - a winter tale of glass", "Frost - a winter tale of glass"),
        ('Say "no"', "Say 'no'"),
        ("", None),
        ("...", None),
        ("long " * 100, None),
    ],
)
def test_the_title_of_the_page_without_the_name_of_the_site(title: str, shown: str | None) -> None:
    source = only(f"<title>{title}</title><body><p>Text</p>")
    assert source.prompt == (None if shown is None else f'Write a post with the title "{shown}".')


def test_several_articles_are_several_texts() -> None:
    main = "<article><h2>One</h2><p>Text 1</p></article><article><p>Text 2</p></article><article> </article>"
    reading = read_html("posts.html", PAGE.format(main=main).encode())
    assert [(source.id, source.text, source.prompt) for source in reading.texts] == [
        ("posts.html#1", "Text 1", 'Write a post with the title "One".'),
        ("posts.html#2", "Text 2", None),
    ]
    assert [skipped.name for skipped in reading.skipped] == ["posts.html#3"]


def test_teasers_beside_a_post_are_left_out_and_said() -> None:
    main = "<article><h1>One</h1>Text</article><article><h3>Two</h3>More</article><article><h3>Three</h3>x</article>"
    reading = read_html("a.html", PAGE.format(main=main).encode())
    assert [source.text for source in reading.texts] == ["Text"]
    assert [skipped.reason for skipped in reading.skipped] == ["the teaser of another post"] * 2


WORD = "<style><!--\n p.MsoNormal {margin-top:0cm; margin-bottom:8.0pt}\n--></style><div class=WordSection1>%s</div>"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        (WORD % "<p class=MsoNormal>a</p><p class=MsoNormal>b</p>", "a\n\nb"),
        (WORD.replace("8.0pt", "0cm") % "<p class=MsoNormal>a</p><p class=MsoNormal>b</p>", "a\nb"),
        # Medium
        (
            '<article><header><h1>Frost</h1></header><section class="p-summary">On glass</section>'
            '<section class="e-content"><h3 class="graf graf--h3 graf--title">Frost</h3><p>a</p></section></article>',
            "a",
        ),
        # footnotes of Substack, WordPress, and Hugo
        ('<p>a<a class="footnote-anchor">1</a></p><div><a class="footnote-number">1</a><p>b</p></div>', "a\n\nb"),
        ('<p>a<sup class="fn"><a href="#f">1</a></sup></p>', "a"),
        ('<p>a<sup><a href="#f" class="footnote-ref" role="doc-noteref">1</a></sup></p>', "a"),
    ],
)  # fmt: skip
def test_what_programs_write_beside_the_words_is_left_out(page: str, text: str) -> None:
    assert only(f"<html><head></head><body>{page}</body></html>").text == text


def test_quotations_are_not_the_persons_words_and_that_is_said() -> None:
    reading = read_html("a.html", b"<p>He said:</p><blockquote>Never <blockquote>x</blockquote></blockquote><p>So.</p>")
    assert reading.texts[0].text == "He said:\n\nSo."
    assert "blockquote" in reading.skipped[0].reason


@pytest.mark.parametrize(
    "raw",
    [
        "<meta charset=iso-8859-1><p>Café – “yes”".encode("cp1252"),
        '<meta http-equiv="Content-Type" content="text/html; charset=windows-1252"><p>Café – “yes”'.encode("cp1252"),
        b"\xef\xbb\xbf<meta charset=iso-8859-1>" + "<p>Café – “yes”".encode(),
        "<meta charset=utf-16><p>Café – “yes”".encode(),
        "<meta charset=rot13><p>Café – “yes”".encode(),
        "<meta charset=utf-8><p>Café – “yes”".encode("cp1252"),
        "<p>Café – “yes”".encode("utf-16"),
        b"<p>Caf&eacute; &ndash; &ldquo;yes&#8221;",
    ],
)
def test_charsets(raw: bytes) -> None:
    assert only(raw).text == "Café – “yes”"


@pytest.mark.parametrize("charset", ["shift_jis", "euc-jp", "utf-8"])
def test_a_declared_charset_of_another_script(charset: str) -> None:
    assert only(f"<meta charset={charset}><p>今日は寒い。".encode(charset)).text == "今日は寒い。"


@pytest.mark.parametrize(
    "html", ["", "<nav>Home</nav>", "<script>x</script>", "<blockquote>x</blockquote>", "<article>"]
)
def test_a_page_without_text_is_refused(html: str) -> None:
    with pytest.raises(InputError, match=r"^a.html has no text of its own .*: copy"):
        read_html("a.html", html.encode())


def test_a_binary_file_is_refused() -> None:
    with pytest.raises(InputError, match=r"^a\.html is a binary file"):
        read_html("a.html", bytes(range(256)) * 4)


@pytest.mark.parametrize(
    "html",
    ["<div>" * 3000 + "x", "x<![if gte mso 9]>", "<![foo>x", "<p>x" + "<b>" * 2000, "x</p></p>"],
)
def test_broken_html_gives_its_text(html: str) -> None:
    assert only(html).text == "x"


def test_html_to_text_of_documents_keeps_spaces_and_rows() -> None:
    html = "<p>a  b\tc</p><table><tr><td><p>1</p><p>2</p></td><td>3</td></tr><tr><td>4</td></tr></table>"
    assert html_to_text(html, is_document=True).rstrip().split("\n") == ["a  b\tc", "", "1 2 3 ", "4"]
    assert html_to_text("<p>a  b").rstrip() == "a b"


def test_a_paragraph_in_a_list_item_stays_beside_its_dash() -> None:
    assert html_to_text("<ul><li><p>one</p></li><li><div>two</div></li></ul>").split() == ["-", "one", "-", "two"]
    assert "- one\n" in html_to_text("<ul><li><p>one</p></li><li><div>two</div></li></ul>")


def test_what_looks_like_html() -> None:
    assert looks_like_html("  <p class='x'>Hi")
    assert looks_like_html("<!-- wp:paragraph --><p>")
    assert not looks_like_html("I <b>do</b>")
    assert not looks_like_html("<3 you")


MARKUP = st.lists(
    st.sampled_from(
        """<p> </p> <div_class=x> </div> <article> </article> <h1> </h1> <table> <td> <li> <blockquote> <!-- -->
        <![CDATA[ ]]> <![if <!x <? &#x0; &#xd800; &amp < <meta_charset=utf-7> <script> </script <title> <body>
        <a_href=" '> é a_b""".split()  # noqa: SIM905
    ).map(lambda piece: piece.replace("_", " ")),
    max_size=40,
).map("".join)


@settings(max_examples=200, deadline=None)
@given(raw=st.one_of(st.binary(max_size=300), MARKUP.map(str.encode)), suffix=st.sampled_from([".html", ".htm"]))
def test_any_bytes_are_a_reading_or_an_input_error(raw: bytes, suffix: str) -> None:
    reading = attempt(partial(read_safely, suffix), "a" + suffix, raw)
    assert reading is None or isinstance(reading, Reading)
    assert all(source.text.strip() for source in (reading.texts if reading else ()))
