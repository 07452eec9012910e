"""Figures -> drawings as inline SVG, each with a title, a description and its numbers as text. No torch.

There is no viewBox: x runs in per cent of the width that the page gives, y in pixels, so that text keeps its size on a
telephone. Colours and strokes are the style sheet's, by class; what a colour says, a shape and a word say too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from markupsafe import Markup, escape

from ditto_cli.evaluation.html.words import interval, judged, number, short, visible
from ditto_cli.evaluation.report import WinRate
from ditto_cli.evaluation.verdict import shown

Role = Literal["author", "evaluated", "base", "few-shot", "sft", "stage"]

_BAR_LEFT, _BAR_RIGHT = 1.0, 99.0  # a whisker's cap at 0 or 1 stays whole
STYLE_RANGE = (-0.25, 1.25)
_LANE_HEIGHT = 20
_LABEL_LENGTH = 16  # with a number, in half of the narrowest drawing
_CURVE_LEFT, _CURVE_RIGHT = 15.0, 93.0
_CURVE_TOP, _CURVE_BOTTOM = 30.0, 138.0
_CROWDED = 7  # of more points, neighbours' labels would touch
_PLANE_TOP, _PLANE_BOTTOM, _PLANE_RANGE = 14.0, 250.0, (-0.15, 1.25)
_LINE_HEIGHT = 15.0  # of labels that would lie on each other
_LARGEST = 1e9  # beyond it a figure says no more than that it is absurd, and scaling it would lose the others


@dataclass(frozen=True)
class Mark:
    """One dot of a style profile."""

    role: Role
    label: str
    value: float


@dataclass(frozen=True)
class Spot:
    """One contestant on the plane of style and task."""

    role: Role
    label: str
    style: float
    task: float


@dataclass(frozen=True)
class CurvePoint:
    """One stage of a run: `label` on the x axis, and whether it is the one that was evaluated."""

    label: str
    value: float
    is_evaluated: bool


def win_bar(rate: WinRate, identity: str) -> Markup:
    """A bar from 0 to the win rate, its interval as a whisker, and a line at 0.5."""
    title = f"Win rate of {rate.contestant} over {rate.opponent}: {number(rate.rate)}"
    said = f"95% interval {interval(rate)}; {judged(rate)}. The line in the middle is 0.5."
    sure = "unsure" if shown(rate) == "no difference" else "sure"
    end, low, high = (_across(value, _BAR_LEFT, _BAR_RIGHT) for value in (rate.rate, rate.low, rate.high))
    return _chart(
        identity,
        title,
        said,
        30,
        _box(_BAR_LEFT, _BAR_RIGHT - _BAR_LEFT, 6, 18, "track"),
        _box(_BAR_LEFT, end - _BAR_LEFT, 6, 18, f"bar {sure}"),
        _line((50, 0), (50, 30), "half-halo"),
        _line((50, 0), (50, 30), "half"),
        _line((low, 15), (high, 15), "whisker-halo"),
        *(_line((end, 10), (end, 20), "whisker-halo") for end in (low, high)),
        _line((low, 15), (high, 15), "whisker"),
        *(_line((end, 10), (end, 20), "whisker") for end in (low, high)),
    )


def win_axis(identity: str) -> Markup:
    """The scale that the win bars above it share."""
    ticks = ((0.0, "0", "start"), (0.5, "0.5", "middle"), (1.0, "1", "end"))
    marks = [(_across(value, _BAR_LEFT, _BAR_RIGHT), label, anchor) for value, label, anchor in ticks]
    return _chart(
        identity,
        "Scale of the win rates",
        "From 0, never preferred, to 1, always preferred. At 0.5 neither is preferred.",
        36,
        *(_line((x, 0), (x, 5), "tick") for x, _, _ in marks),
        *(_text(x, 17, label, f"axis {anchor}") for x, label, anchor in marks),
        _text(_BAR_LEFT, 32, "opponent preferred", "axis start"),
        _text(_BAR_RIGHT, 32, "adapter preferred", "axis end"),
    )


def style_strip(measure: str, marks: Sequence[Mark], *, identity: str) -> Markup:
    """One measure: each mark in a lane of its own, between "like others" (0) and "like the author" (1)."""
    zero, one = _style_x(0.0), _style_x(1.0)
    top = 22
    bottom = top + _LANE_HEIGHT * len(marks) + 4
    said = "; ".join(f"{mark.label} {number(mark.value)}" for mark in marks)
    drawn: list[Markup] = []
    for lane, mark in enumerate(marks):
        drawn += _lane(mark, top + _LANE_HEIGHT * lane + _LANE_HEIGHT / 2)
    return _chart(
        identity,
        f"Style by {measure}",
        f"0 is like others, 1 is like the author. {said}.",
        bottom,
        _box(zero, one - zero, top - 4, bottom - top + 4, "track"),
        _line((zero, top - 4), (zero, bottom), "grid"),
        _line((one, top - 4), (one, bottom), "grid"),
        _text(zero, 12, "0 like others", "axis middle"),
        _text(one, 12, "1 like the author", "axis middle"),
        *drawn,
    )


def style_and_task(spots: Sequence[Spot], *, identity: str) -> Markup:
    """Style across and task up: the author stands at the top right, who only sounds alike at the bottom right."""
    said = "; ".join(f"{spot.label} style {number(spot.style)}, task {number(spot.task)}" for spot in spots)
    zero_x, one_x, zero_y, one_y = _style_x(0.0), _style_x(1.0), _plane_y(0.0), _plane_y(1.0)
    drawn: list[Markup] = []
    lowest = 0.0
    for spot in sorted(spots, key=lambda spot: -spot.task):
        x, y = _style_x(spot.style), _plane_y(spot.task)
        level = max(y, lowest + _LINE_HEIGHT)  # labels are pushed apart
        lowest = level
        words = f"{short(spot.label, _LABEL_LENGTH)} {number(spot.style)}, {number(spot.task)}"
        side, shift = ("start", 12) if x <= 50 else ("end", -12)
        drawn += [_shape(spot.role, x, y), _text(x, level + 4, words, f"value {side}", shift=shift)]
    height = max(_PLANE_BOTTOM, lowest + 8)
    return _chart(
        identity,
        "Style and task",
        f"Style across and task up, each 0 to 1. {said}.",
        height + 34,
        *(_line((x, _PLANE_TOP), (x, height), "grid") for x in (zero_x, one_x)),
        *(_line((4, y), (96, y), "grid") for y in (zero_y, one_y)),
        _text(4, one_y - 4, "says what is asked, as you do", "axis start"),
        _text(4, zero_y - 4, "says nothing of it", "axis start"),
        _text(zero_x, height + 14, "style 0: like others", "axis middle"),
        _text(one_x, height + 28, "style 1: like you", "axis middle"),
        *drawn,
    )


def stage_curve(
    title: str, points: Sequence[CurvePoint], *, identity: str, span: tuple[float, float] | None, digits: int
) -> Markup:
    """One figure through the stages of a run, from left to right.

    Args:
        title: of the drawing.
        points: at least one; those without a finite value are left out of the line.
        identity: unique in the page.
        span: values that the y axis shows at least; None if it is as wide as the values.
        digits: of the numbers.
    """
    low, high = _scale([point.value for point in points], span)
    crowded = len(points) > _CROWDED
    drawn = [
        part
        for value in (high, (low + high) / 2, low)
        for part in (
            _line((0, _curve_y(value, low, high)), (100, _curve_y(value, low, high)), "grid"),
            _text(0, _curve_y(value, low, high) - 4, number(value, digits), "axis start"),
        )
    ]
    step = (_CURVE_RIGHT - _CURVE_LEFT) / max(1, len(points) - 1)
    placed = [(_CURVE_LEFT + step * index, point) for index, point in enumerate(points)]
    known = [(x, point) for x, point in placed if math.isfinite(point.value)]
    at = [(x, _curve_y(point.value, low, high)) for x, point in known]
    drawn += [_line(start, end, "curve") for start, end in pairwise(at)]
    for index, ((x, y), (_, point)) in enumerate(zip(at, known, strict=True)):
        drawn.append(_shape("evaluated" if point.is_evaluated else "stage", x, y))
        below = _is_valley([height for _, height in at], index)
        drawn.append(_text(x, y + 19 if below else y - 10, number(point.value, digits), "value middle"))
    for index, (x, point) in enumerate(placed):
        lower = crowded and index % 2 == 1
        style = "axis middle strong" if point.is_evaluated else "axis middle"
        drawn.append(_text(x, _CURVE_BOTTOM + (52 if lower else 38), short(point.label, 9), style))
    said = "; ".join(f"{point.label} {number(point.value, digits)}" for point in points)
    return _chart(identity, title, f"By stage: {said}.", _CURVE_BOTTOM + (58 if crowded else 44), *drawn)


def _lane(mark: Mark, y: float) -> list[Markup]:
    x = _style_x(mark.value)
    words = f"{short(mark.label, _LABEL_LENGTH)} {number(mark.value)}"
    if not math.isfinite(mark.value):
        return [_text(_style_x(0.5), y + 4, words, "value middle")]
    # Beyond the drawing's end: an arrow beside the dot says that the value lies further out.
    arrow = "◂ " if mark.value < STYLE_RANGE[0] else ""
    if x <= 50:
        return [_shape(mark.role, x, y), _text(x, y + 4, arrow + words, "value start", shift=12)]
    arrow = " ▸" if mark.value > STYLE_RANGE[1] else ""
    return [_shape(mark.role, x, y), _text(x, y + 4, words + arrow, "value end", shift=-12)]


def _is_valley(heights: Sequence[float], index: int) -> bool:
    """Whether the line goes up from a point to its neighbours, so that there is room for a number below it."""
    neighbours = [*heights[max(0, index - 1) : index], *heights[index + 1 : index + 2]]
    rise = heights[index] - sum(neighbours) / len(neighbours) if neighbours else 0.0  # y grows downward
    return rise > 4 if abs(rise) > 4 else index % 2 == 1


def _style_x(value: float) -> float:
    if math.isnan(value):
        return 50.0
    low, high = STYLE_RANGE
    return _across((min(high, max(low, value)) - low) / (high - low), 4.0, 96.0)


def _plane_y(value: float) -> float:
    low, high = _PLANE_RANGE
    place = 0.5 if math.isnan(value) else (min(high, max(low, value)) - low) / (high - low)
    return _PLANE_BOTTOM - (_PLANE_BOTTOM - _PLANE_TOP) * place


def _scale(values: Sequence[float], span: tuple[float, float] | None) -> tuple[float, float]:
    """The y axis: all values, and some air where they are nearly one."""
    known = [_bounded(value) for value in values if math.isfinite(value)] + list(span or ())
    low, high = min(known, default=0.0), max(known, default=1.0)
    if span is None:
        air = max(0.1 * (high - low), 0.05)
        low, high = low - air, high + air
    return low, high


def _bounded(value: float) -> float:
    return max(-_LARGEST, min(_LARGEST, value))


def _curve_y(value: float, low: float, high: float) -> float:
    return _CURVE_BOTTOM - (_CURVE_BOTTOM - _CURVE_TOP) * (_bounded(value) - low) / (high - low)


def _across(fraction: float, left: float, right: float) -> float:
    return left + (right - left) * fraction


def _chart(identity: str, title: str, said: str, height: float, *drawn: Markup) -> Markup:
    return _tag(
        "svg",
        _tag("title", _words(title), id=f"{identity}-title"),
        _tag("desc", _words(said), id=f"{identity}-desc"),
        *drawn,
        width="100%",
        height=f"{height:g}",
        role="img",
        aria_labelledby=f"{identity}-title",
        aria_describedby=f"{identity}-desc",
    )


def _shape(role: Role, x: float, y: float) -> Markup:
    """A sign at a place: an inner drawing of its own, since only that can mix per cent with pixels."""
    if role in ("author", "stage"):
        sign = _tag("circle", r="5")
    elif role == "base":
        sign = _tag("rect", x="-4.5", y="-4.5", width="9", height="9")
    else:
        outline = {"evaluated": "M0-7L7 0L0 7L-7 0Z", "few-shot": "M0-6L6 5L-6 5Z", "sft": "M-6-5L6-5L0 6Z"}[role]
        sign = _tag("path", d=outline)
    return _tag("svg", sign, class_=f"sign {role}", x=f"{x:.2f}%", y=f"{y:.2f}", overflow="visible")


def _box(x: float, width: float, y: float, height: float, style: str) -> Markup:
    return _tag("rect", class_=style, x=f"{x:.2f}%", y=f"{y:g}", width=f"{width:.2f}%", height=f"{height:g}")


def _line(start: tuple[float, float], end: tuple[float, float], style: str) -> Markup:
    (x1, y1), (x2, y2) = start, end
    return _tag("line", class_=style, x1=f"{x1:.2f}%", y1=f"{y1:.2f}", x2=f"{x2:.2f}%", y2=f"{y2:.2f}")


def _text(x: float, y: float, words: str, style: str, shift: float = 0) -> Markup:
    return _tag("text", _words(words), class_=style, x=f"{x:.2f}%", y=f"{y:.2f}", dx=f"{shift:g}")


def _words(text: str) -> Markup:
    return escape(visible(text))


def _tag(name: str, *inside: Markup, **attributes: str) -> Markup:
    """An element; the attributes' values are escaped, `class_` is `class` and `aria_label` is `aria-label`."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), value) for key, value in attributes.items()
    )
    return Markup("<{}{}>{}</{}>").format(name, written, Markup("").join(inside), name)
