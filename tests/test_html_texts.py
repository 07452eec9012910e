"""No text of a report is obeyed by a browser; every one is shown as it is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.cli import render as terminal_text
from ditto_cli.evaluation.report import PanelMember, SampleRow, StylePoint, Verdict
from ditto_cli.shown import visible
from eval_fixtures import realistic_report, sample_row, section, smallest_report, tree_of

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "</title></head><body onload=alert(1)>",
    "<!-- --><![CDATA[ x ]]>",
    "{{ report.adapter }} {% raw %} {# x #}",
    "&lt;b&gt; &amp;amp; &#0; &#x202e;",
    "javascript:alert(1) http://example.org/x.png",
    "a\u202etxt.exe\u202c \u2066b\u2069",
    "nul \x00 escape \x1b[31m bell \x07 return \r c1 \x9b",
    "👩\u200d💻 ❤\ufe0f 👍🏽 עברית 漢字 می\u200cخواهم e\u0301",
    "\n\nleading and trailing lines \n\n",
]


def report_of(text):
    """A report in which every text that comes from outside is `text`."""
    report = realistic_report()
    contestants = [
        contestant.model_copy(
            update={
                "title": text if contestant.kind == "round" else contestant.title,
                "warnings": [text],
                "style": [StylePoint(measure=text, value=0.5), *contestant.style],
                "leakage": contestant.leakage.model_copy(update={"personal_data": [text]}),
            }
        )
        for contestant in report.contestants
    ]
    run = dict.fromkeys(("ditto", "base", "quantize", "device", "judge"), text)
    return realistic_report(
        adapter=text,
        verdict=Verdict(advice=text, figures=[text], keep=text),
        contestants=contestants,
        win_rates=[rate.model_copy(update={"contestant": text, "opponent": text}) for rate in report.win_rates],
        pool_rates=[rate.model_copy(update={"contestant": text}) for rate in report.pool_rates],
        author_style=[StylePoint(measure="total", value=1.0), StylePoint(measure=text, value=1.0)],
        panel=[PanelMember(measure=text, separation=0.9, weight=1.0)],
        samples=[SampleRow(prompt=text, source="given", author_text=text, texts={"base": text, text: text})],
        warnings=[text],
        run=report.run.model_copy(update=run),
    )


def structure(page):
    """Tags and attributes without texts."""
    return [(element.tag, element.attributes) for element in page.all()]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_is_obeyed(text):
    page = tree_of(report_of(text))
    assert [(tag, attributes.get("class")) for tag, attributes in structure(page)] == [
        (tag, attributes.get("class")) for tag, attributes in structure(tree_of(report_of("harmless")))
    ]
    assert page.one("p", "sentence").text == visible(text)
    assert {written.text for written in page.all("div", "written")} == {visible(text)}
    assert page.one("span", "prompt").text == visible(text)
    assert f"ditto: {visible(text)}" == page.one("head").one("title").text
    hidden = {char for char in page.text if visible(char) != char}
    assert not hidden


def test_a_long_text_is_shown_whole():
    text = "".join(chr(33 + (i * 7) % 90) for i in range(100_000))
    row = sample_row("base", main="maya:round2").model_copy(update={"texts": {"base": text}, "author_text": None})
    page = tree_of(realistic_report(samples=[row]))
    assert page.one("div", "written").text == text


@given(st.text(), st.text(min_size=1))
@settings(max_examples=40, deadline=None)
def test_every_text_unescapes_to_itself(text, title):
    row = SampleRow(prompt=text, source="new", author_text=None, texts={title: f".{text}"})
    page = tree_of(smallest_report(samples=[row], warnings=[text]))
    assert page.one("span", "prompt").text == visible(text)
    assert page.one("div", "written").text == "." + visible(text)
    assert page.one("h4").text == visible(title)
    assert section(page, "Warnings").one("li").text == f"evaluation: {visible(text)}"


@given(st.text(st.characters()))
def test_the_page_and_the_terminal_make_the_same_characters_visible(text):
    assert visible(text) == terminal_text.visible(text)
