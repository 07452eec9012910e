"""The page of an evaluation: one file that loads nothing, obeys no text, and shows the report's own figures."""

import itertools
import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.evaluation.html import render_html
from ditto_cli.evaluation.report import (
    Collapse,
    ContestantReport,
    EvalReport,
    Leakage,
    PanelMember,
    SampleRow,
    StylePoint,
    Task,
    WhatWasRun,
    WinRate,
)
from eval_fixtures import crowded_report, percent, realistic_report, section, smallest_report, tree_of

REPORTS = {make.__name__: make for make in (realistic_report, smallest_report, crowded_report)}
SECTIONS = [
    "Verdict",
    "Win rate of maya:round2",
    "Style and task",
    "Samples side by side",
    "Win rates of the others",
    "Win rate against the pool of all others (the paper's figure)",
    "Style profile",
    "Round by round",
    "Leakage and collapse",
    "Held-out texts",
    "The style panel's members",
    "Warnings",
    "What was run",
    "How to read this",
]


@pytest.fixture(scope="module", params=REPORTS)
def page(request):
    """The page of every kind of report."""
    return tree_of(REPORTS[request.param]())


@pytest.fixture(scope="module")
def realistic():
    return tree_of(realistic_report())


def table_cells(table):
    """The table's rows with their headings, as texts."""
    return [
        [cell.text.strip() for cell in row.children if not isinstance(cell, str)]
        for row in table.one("tbody").all("tr")
    ]


# --- the document -----------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_labelled(page):
    assert page.one("html").attributes["lang"] == "en"
    metas = [meta.attributes for meta in page.all("meta")]
    assert metas[0] == {"charset": "utf-8"}
    assert any(meta.get("name") == "viewport" and "width=device-width" in meta["content"] for meta in metas)
    assert page.one("head").one("title").text == page.one("h1").text
    identities = [e.attributes["id"] for e in page.all() if "id" in e.attributes]
    assert len(set(identities)) == len(identities)
    for element in page.all():
        for attribute in ("aria-labelledby", "aria-describedby"):
            assert element.attributes.get(attribute, identities[0]) in identities
        assert element.attributes.get("href", "#warnings") == "#warnings"
    assert "None" not in page.one("body").text.replace("None.", "")


def test_headings_go_down_one_level_at_a_time(page):
    levels = [int(e.tag[1]) for e in page.all() if re.fullmatch("h[1-6]", e.tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(deeper - level <= 1 for level, deeper in itertools.pairwise(levels))


def test_sections_stand_in_order(realistic):
    assert [heading.text for heading in realistic.all("h2")] == SECTIONS


def test_tables_have_headings_for_rows_and_columns(page):
    for table in page.all("table"):
        columns = list(table.one("thead").all("th"))
        assert {column.attributes["scope"] for column in columns} == {"col"}
        assert table.one("caption").text
        for row in table.one("tbody").all("tr"):
            assert [cell.attributes["scope"] for cell in row.all("th")] == ["row"]
            assert len([cell for cell in row.children if not isinstance(cell, str)]) == len(columns)


def test_nothing_is_loaded_and_nothing_runs(page):
    allowed = (
        "html head meta title style body main header section article h1 h2 h3 h4 p span strong a ul li div details "
        "summary figure dl dt dd table caption thead tbody tr th td svg rect circle path"
    )
    for element in page.all():
        assert element.tag in allowed.split()
        assert not any(key.startswith("on") or key in ("src", "srcset") for key in element.attributes)
        if "style" in element.attributes:  # the length of a bar and the ends of its interval
            assert re.fullmatch(r"(--(at|low|high|across|up): \d+\.\d\d%(; )?)+", element.attributes["style"])
        assert not any("http" in (value or "") or "//" in (value or "") for value in element.attributes.values())
    style = page.one("style").text
    assert not re.search(r"@import|@font-face|url\(|expression|</", style)
    (policy,) = [m.attributes for m in page.all("meta") if "http-equiv" in m.attributes]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].split("; ")[:3] == ["default-src 'none'", "style-src 'unsafe-inline'", "img-src data:"]


def test_the_same_report_gives_the_same_page():
    assert render_html(realistic_report()) == render_html(realistic_report())


# --- what is shown ----------------------------------------------------------------------------------------------------


def test_the_verdict_is_first_and_whole(realistic):
    box = section(realistic, "Verdict")
    answer = realistic_report().verdict
    assert [line.text for style in ("sentence", "grounds") for line in box.all("p", style)] == answer.lines
    assert box.one("p", "keep").text == "What to keep: maya:round2"
    assert "6 warnings below" in box.text


def test_style_and_task_are_one_picture_with_a_point_for_everybody(realistic):
    drawing = section(realistic, "Style and task").one("figure")
    assert [" ".join(item.text.split()) for item in drawing.one("ul", "legend").all("li")] == [
        "author style 1.00, task 0.98",
        "maya:round2 style 0.86, task 0.61",
        "few-shot style 0.55, task 0.61",
        "sft style 0.78, task 0.61",
        "round1 style 0.84, task 0.61",
        "round3 style 0.71, task 0.61",
        "base style 0.03, task 0.42",
    ]
    roles = ["author", "evaluated", "few-shot", "sft", "stage", "stage", "base"]
    signs, in_legend = (list(drawing.one(*part).all("svg", "sign")) for part in (("div", "plane"), ("ul", "legend")))
    assert [sign.classes[1] for sign in signs] == [sign.classes[1] for sign in in_legend] == roles
    # From -0.25 to 1.25: style 1 lies at 1.25 / 1.5 of the width, task 0.98 at 1.23 / 1.5 of the height.
    assert signs[0].attributes["style"] == "--across: 83.33%; --up: 82.00%"
    assert signs[-1].attributes["style"] == "--across: 18.67%; --up: 44.67%"


@pytest.mark.parametrize("name", ["realistic_report", "crowded_report"])
def test_win_rates_are_the_reports(name):
    report = REPORTS[name]()
    page = tree_of(report)
    title = report.win_rates[0].contestant
    own = [rate for rate in report.win_rates if rate.contestant == title]
    table = section(page, f"Win rate of {title}").one("table")
    assert table_cells(table) == [
        [
            f"over {rate.opponent}",
            f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f})",
            "opponent preferred" if rate.high < 0.5 else "preferred" if rate.low > 0.5 else "no difference shown",
            f"{rate.num_judgements} judgements on {rate.num_prompts} prompts, "
            f"{rate.ties} {'tie' if rate.ties == 1 else 'ties'}, {rate.unanswered} unanswered",
        ]
        for rate in own
    ]
    for row, rate in zip(table.one("tbody").all("tr"), own, strict=True):
        bar = row.one("span", "bar")
        ends = (rate.rate, rate.low, rate.high)
        assert [percent(end) for end in re.findall(r"[\d.]+%", bar.attributes["style"])] == [
            pytest.approx(100 * end, abs=0.006) for end in ends
        ]
        assert ("unsure" in bar.classes) == (rate.low <= 0.5 <= rate.high)
    pool = section(page, "Win rate against the pool of all others (the paper's figure)").one("table")
    assert [cells[:2] for cells in table_cells(pool)] == [
        [rate.contestant, f"{rate.rate:.2f} ({rate.low:.2f} to {rate.high:.2f})"] for rate in report.pool_rates
    ]


def test_a_figure_beyond_its_limit_is_flagged_in_words(realistic):
    rows = {row.one("th").text: row for row in section(realistic, "Leakage and collapse").one("tbody").all("tr")}
    flags = {title: [flag.text for flag in row.all("strong", "flag")] for title, row in rows.items()}
    assert flags == {
        "maya:round2": [],
        "base": ["too few", "too long"],  # 42 % ended, 2.31 times as long
        "few-shot": ["recites", "recites", "gives it away"],  # 27 words; 11 %; a mail address
        "sft": [],
        "round1": [],
        "round3": ["runs into loops", "can be drawn out"],  # 42 % loop; 14 words
    }


def test_samples_begin_with_the_author_and_the_adapter(realistic):
    held_out, new = section(realistic, "Samples side by side").all("article")
    assert [h.text for h in held_out.all("h4")][:3] == ["The author", "maya:round2", "base"]
    assert [h.text for h in new.all("h4")][:2] == ["maya:round2", "base"]
    report = realistic_report()
    written = [text.text for text in held_out.all("div", "written")]
    assert written[0] == report.samples[0].author_text
    assert sorted(written[1:]) == sorted(report.samples[0].texts.values())
    assert [box.text for box in new.all("div", "empty")] == ["(empty)"]
    assert [summary.text for summary in held_out.all("summary")] == ["Whole text (135 words)"]


def test_stages_are_in_order(realistic):
    assert table_cells(section(realistic, "Round by round").one("table")) == [
        ["base", "0.03", "0.42", "42%too few", "4.431"],
        ["sft", "0.78", "0.61", "96%", "3.160"],
        ["round1", "0.84", "0.61", "96%", "3.112"],
        ["maya:round2", "0.86", "0.61", "96%", "3.108"],
        ["round3", "0.71", "0.61", "71%", "3.236"],
    ]


def test_the_style_profile_begins_with_the_author_and_has_bars(realistic):
    table = section(realistic, "Style profile").one("table")
    author, adapter, base, *_ = table_cells(table)
    assert author == ["the author's own texts", "1.00", "0.98", "1.02", "0.96", "1.08", "0.91", "1.05"]
    assert adapter == ["maya:round2", "0.86", "0.61", "0.81", "0.93", "1.31", "0.64", "0.97"]
    assert base == ["base", "0.03", "0.42", "0.06", "-0.12", "0.01", "0.18", "-0.41"]
    bars = [bar.attributes["style"] for bar in list(table.one("tbody").all("tr"))[2].all("span", "bar")]
    assert bars == [f"--at: {length}.00%" for length in (3, 42, 6, 0, 1, 18, 0)]


def test_facts_warnings_and_privacy():
    for elsewhere, said in ((False, "No text left this machine."), (True, "Texts were sent to the judge named below.")):
        report = realistic_report()
        page = tree_of(realistic_report(run=report.run.model_copy(update={"judge_sees_texts_elsewhere": elsewhere})))
        facts = section(page, "What was run")
        assert facts.one("p", "privacy").text == said
        shown = {row.one("dt").text: row.one("dd").text for row in facts.one("dl").all("div")}
        assert shown["Created"] == "2026-03-14 09:26 UTC"
        assert shown["Time taken"] == "12 min 5 s"
        assert shown["Base model"] == report.run.base
        assert len(shown) == len(WhatWasRun.model_fields) - 1 + 2  # all but the sentence's, and adapter and date
    warnings = [item.text for item in section(page, "Warnings").all("li")]
    assert warnings[0] == f"evaluation: {report.warnings[0]}"
    assert warnings[-1].startswith("round3: Given the first quarter")


def test_what_is_missing_is_said():
    page = tree_of(smallest_report())
    for heading, words in (
        ("Win rate of bo", "Nothing was judged."),
        ("Round by round", "Fewer than two stages were compared."),
        ("Held-out texts", "Not measured."),
        ("Warnings", "None."),
    ):
        assert section(page, heading).one("p", "empty").text == words


# --- random reports ---------------------------------------------------------------------------------------------------

FLOATS = st.floats(allow_nan=True, allow_infinity=True)
SHARES = st.floats(0, 1)


@st.composite
def reports(draw):
    """Any report: lists may be empty, figures may be absurd."""
    titles = draw(st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=4, unique=True))
    names = st.sampled_from(titles)
    measures = draw(st.lists(st.text(max_size=9), max_size=3, unique=True))
    style = st.tuples(*(st.builds(StylePoint, measure=st.just(name), value=FLOATS) for name in ("total", *measures)))
    contestants = [
        draw(
            st.builds(
                ContestantReport,
                title=st.just(title),
                kind=st.sampled_from(["base", "few-shot", "sft", "round", "adapter"]),
                style=style.map(list),
                task=st.builds(Task, value=FLOATS),
                collapse=st.builds(Collapse, ended=SHARES, looping=SHARES, length_ratio=FLOATS),
                leakage=st.builds(
                    Leakage,
                    shared_8grams=SHARES,
                    held_out_8grams=st.none() | SHARES,
                    longest_passage_words=st.integers(0),
                ),
                held_out_loss=st.none() | FLOATS,
                chrf=st.none() | FLOATS,
            )
        )
        for title in titles
    ]
    rates = st.builds(WinRate, contestant=names, opponent=names, rate=SHARES, low=SHARES, high=SHARES)
    return draw(
        st.builds(
            EvalReport,
            contestants=st.just(contestants),
            win_rates=st.lists(rates, max_size=4),
            pool_rates=st.lists(rates, max_size=3),
            author_style=style.map(list),
            created=st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat),
            author_task=FLOATS,
            panel=st.lists(st.builds(PanelMember, separation=SHARES, weight=SHARES), max_size=3),
            run=st.builds(WhatWasRun, seconds=st.floats(0, 1e6)),
            samples=st.lists(st.builds(SampleRow, texts=st.dictionaries(names, st.text(max_size=50))), max_size=2),
        )
    )


@given(reports())
@settings(max_examples=20, deadline=None)
def test_any_report_has_a_page(report):
    page = tree_of(report)
    assert page.one("p", "sentence")
    for sign in page.all("svg", "sign"):
        assert all(0 <= percent(place) <= 100 for place in re.findall(r"[-\w.]+%", sign.attributes.get("style", "")))
    bars = [bar.attributes["style"] for bar in page.all("span", "rate")]
    assert len(bars) == len(report.win_rates) + len(report.pool_rates)
    for bar in page.all("span", "bar"):
        assert all(0 <= percent(end) <= 100 for end in re.findall(r"[-\w.]+%", bar.attributes["style"]))
