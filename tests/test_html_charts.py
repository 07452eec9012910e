"""The page's drawings: what lies where, and that any figures can be drawn inside."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from ditto_cli.evaluation.html.charts import CurvePoint, Mark, stage_curve, style_strip, win_axis, win_bar
from ditto_cli.evaluation.report import WinRate
from eval_fixtures import Tree, check_drawing


def drawing(markup):
    return next(Tree(str(markup)).root.all("svg"))


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
SHARES = st.floats(0, 1)


@given(st.lists(FLOATS, min_size=1, max_size=12), st.sampled_from([None, (0.0, 1.0)]))
@settings(deadline=None)
def test_any_figures_can_be_drawn(values, span):
    marks = [Mark("base", f"contestant {index}", value) for index, value in enumerate(values)]
    check_drawing(drawing(style_strip("measure", marks, identity="a")))
    stages = [CurvePoint(f"r{index}", value, index == 2) for index, value in enumerate(values)]
    check_drawing(drawing(stage_curve("Title", stages, identity="b", span=span, digits=2)))


@given(SHARES, SHARES, SHARES)
def test_any_win_rate_can_be_drawn(one, two, three):
    low, rate, high = sorted((one, two, three))
    win = WinRate(contestant="a", opponent="b", rate=rate, low=low, high=high, wins=1, ties=0, losses=0, num_prompts=1)
    check_drawing(drawing(win_bar(win, "a")))
    check_drawing(drawing(win_axis("b")))


def test_a_win_bar_ends_at_its_rate():
    win = WinRate(contestant="a", opponent="b", rate=0.75, low=0.5, high=1.0, wins=3, ties=0, losses=1, num_prompts=4)
    svg = drawing(win_bar(win, "a"))
    # The scale runs from 1 % to 99 % of the width: 0.75 is at 1 + 0.75 x 98 = 74.5 %, 0.5 at 50 %.
    bar = svg.one("rect", "bar").attributes
    assert (bar["x"], bar["width"]) == ("1.00%", "73.50%")
    whisker = next(svg.all("line", "whisker")).attributes
    assert (whisker["x1"], whisker["x2"]) == ("50.00%", "99.00%")
    assert svg.one("line", "half").attributes["x1"] == "50.00%"
    assert "unsure" in svg.one("rect", "bar").classes  # the interval holds 0.5


def test_style_marks_lie_where_their_values_are_and_the_numbers_are_printed():
    values = (0.5, -9.0, 9.0, math.nan)
    marks = [Mark("base", f"c{index}", value) for index, value in enumerate(values)]
    svg = drawing(style_strip("measure", marks, identity="a"))
    # From -0.25 at 4 % to 1.25 at 96 %: 0.5 is in the middle, what lies further out is at an end; nan is not drawn.
    assert [sign.attributes["x"] for sign in svg.all("svg", "sign")] == ["50.00%", "4.00%", "96.00%"]
    assert [text.text for text in svg.all("text", "value")] == ["c0 0.50", "◂ c1 -9.00", "c2 9.00 ▸", "c3 nan"]


def test_a_curve_lies_between_its_axis_values():
    stages = [CurvePoint("base", 0.0, False), CurvePoint("SFT", 0.5, False), CurvePoint("r1", 1.0, True)]
    svg = drawing(stage_curve("Title", stages, identity="a", span=(0.0, 1.0), digits=2))
    # y from 138 (0) up to 30 (1), x from 15 % to 93 % in two steps of 39 %.
    signs = [(s.attributes["x"], s.attributes["y"], s.classes[1]) for s in svg.all("svg", "sign")]
    assert signs == [("15.00%", "138.00", "stage"), ("54.00%", "84.00", "stage"), ("93.00%", "30.00", "evaluated")]
