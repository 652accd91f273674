"""Small SVG charts for the report's page. Shapes only: words and numbers come in as text, colours from CSS.

Horizontal places are in per cent and heights in pixels, so a chart fills any width, on a phone or on paper,
and its letters keep their size. Every chart says in words what it shows, for those who do not see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

# A part that is not nothing can be seen: at least this much of a bar, in per cent.
_THINNEST = 0.5

_COLUMN_HEIGHT = 150
_GAP_PERCENT = 3.0
_SPARK_HEIGHT = 18
_TICK_ROOM = 22  # per cent that a day and an hour take on a phone


@dataclass(frozen=True)
class Part:
    """A part of a bar: `style` is the CSS class that colours it."""

    style: str
    name: str
    value: float


@dataclass(frozen=True)
class Column:
    """A column: its height as a number, what it says when pointed at, and the text above it."""

    value: float
    title: str
    above: str = ""


@dataclass(frozen=True)
class Stack:
    """A column of parts, one on the other from the axis up; those `below` hang under it."""

    parts: Sequence[Part]
    title: str
    below: Sequence[Part] = ()

    @property
    def height(self) -> float:
        """What stands on the axis."""
        return sum(part.value for part in self.parts)

    @property
    def depth(self) -> float:
        """What hangs under it."""
        return sum(part.value for part in self.below)


@dataclass(frozen=True)
class Tick:
    """A text below the axis at `place` (per cent), which is its start, middle or end."""

    place: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Mark:
    """A vertical line at `place` (per cent) with a text at its head."""

    place: float
    text: str


def _number(value: float) -> str:
    """Write a coordinate, short."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _widths(parts: Sequence[Part], most: int = 0) -> list[float]:
    """Share out 100 per cent; what is very small is shown a little larger, at the others' expense.

    :param most: what 100 per cent stand for; without it, and if the parts are more, their sum.
    """
    total = sum(part.value for part in parts)
    if not total:
        return [0.0] * len(parts)
    whole = total / max(total, most) * 100
    raised = [max(part.value / total * whole, _THINNEST) if part.value else 0.0 for part in parts]
    return [width / sum(raised) * max(whole, _THINNEST) for width in raised]


def share_bar(
    parts: Sequence[Part], label: str, *, height: int = 14, shares: Sequence[str] = (), most: int = 0
) -> Markup:
    """Draw one bar of parts that make a whole.

    :param shares: texts for inside the parts, in their order; shown where a part has room.
    :param most: what the full width stands for, where several bars are compared; else the sum of the parts.
    """
    shapes, texts, left = [], [], 0.0
    for position, (part, width) in enumerate(zip(parts, _widths(parts, most), strict=True)):
        if not width:
            continue
        shapes.append(
            Markup('<rect class="{}" x="{}%" width="{}%" height="{}"><title>{}</title></rect>').format(
                part.style, _number(left), _number(width), height, part.name
            )
        )
        if shares and width >= 12:
            texts.append(
                Markup('<text class="on-{}" x="{}%" y="{}" text-anchor="middle">{}</text>').format(
                    part.style, _number(left + width / 2), height / 2 + 4, shares[position]
                )
            )
        left += width
    return _svg(label, height, [*shapes, *texts], "bar")


def funnel(parts: Sequence[Part], chosen: str) -> Markup:
    """Draw how one part of the bar above opens into the whole bar below. Pure shape: no words, no scale."""
    left = 0.0
    for part, width in zip(parts, _widths(parts), strict=True):
        if part.style == chosen:
            return Markup(
                '<svg class="funnel" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
                '<polygon points="{},0 {},0 100,10 0,10"/></svg>'
            ).format(_number(left), _number(left + width))
        left += width
    return Markup("")


def histogram(
    columns: Sequence[Column], label: str, *, ticks: Sequence[Tick], marks: Sequence[Mark] = ()
) -> Markup:
    """Draw adjoining columns over an axis of classes. Marks have a line of text each, above the columns."""
    head = 16 * len(marks) + 18
    floor = head + _COLUMN_HEIGHT
    tallest = max((column.value for column in columns), default=0) or 1
    width = 100 / max(len(columns), 1)
    shapes: list[Markup] = []
    for line, mark in enumerate(marks):
        top = 16 * line + 11
        end = mark.place > 55
        shapes.append(
            Markup(
                '<line class="mark" x1="{x}%" x2="{x}%" y1="{top}" y2="{floor}"/>'
                '<text class="mark" x="{x}%" dx="{dx}" y="{y}" text-anchor="{anchor}">{text}</text>'
            ).format(
                x=_number(mark.place),
                top=top - 9,
                floor=floor,
                dx=-5 if end else 5,
                y=top,
                anchor="end" if end else "start",
                text=mark.text,
            )
        )
    for position, column in enumerate(columns):
        height = column.value / tallest * _COLUMN_HEIGHT
        if column.value:
            height = max(height, 1.5)
        shapes.append(_column(position * width, width, floor, height, column.title, gap=min(0.4, width / 8)))
        if column.above:
            shapes.append(
                Markup('<text class="above" x="{}%" y="{}" text-anchor="middle">{}</text>').format(
                    _number((position + 0.5) * width), _number(floor - height - 4), column.above
                )
            )
    return _svg(label, floor + 20, [*shapes, _axis(floor), *_ticks(ticks, floor)], "chart")


def timeline(
    sessions: Sequence[Sequence[Column]],
    label: str,
    *,
    starts: Sequence[tuple[str, str]],
    level: tuple[float, str],
    is_limit: bool,
) -> Markup:
    """Draw columns over time, session after session, each as wide as it has columns.

    :param starts: for each session the texts of its first and last instant.
    :param level: the line that gives the scale, above most columns: its value and its text.
    :param is_limit: whether the line is one that is not to be passed.
    """
    floor = _COLUMN_HEIGHT + 24
    top = max([level[0], *(column.value for session in sessions for column in session)])
    scale = _COLUMN_HEIGHT / (top or 1)
    usable = 100 - _GAP_PERCENT * (len(sessions) - 1)
    # A session of one column among long ones still has room for its hour.
    weights = [max(len(session), sum(map(len, sessions)) * 0.08) for session in sessions]
    shapes: list[Markup] = []
    ticks: list[Tick] = []
    left = 0.0
    for number, (session, weight, (first, last)) in enumerate(zip(sessions, weights, starts, strict=True)):
        room = weight / sum(weights) * usable
        width = room / len(session)
        for position, column in enumerate(session):
            if column.value:
                height = max(column.value * scale, 1)
                shapes.append(
                    _column(left + position * width, width, floor, height, column.title, gap=width / 10)
                )
        shapes.append(_axis(floor, left, left + room))
        if not ticks or left - ticks[-1].place >= _TICK_ROOM:
            late = left > 100 - _TICK_ROOM
            ticks.append(Tick(left + room, first, "end") if late else Tick(left, first, "start"))
        if number == len(sessions) - 1 and room > 2 * _TICK_ROOM:
            ticks.append(Tick(left + room, last, "end"))
        left += room + _GAP_PERCENT
    y = floor - level[0] * scale
    shapes.append(
        Markup(
            '<line class="{style}" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
            '<text class="{style}" x="100%" y="{above}" text-anchor="end">{text}</text>'
        ).format(style="limit" if is_limit else "level", y=_number(y), above=_number(y - 5), text=level[1])
    )
    return _svg(label, floor + 20, [*shapes, *_ticks(ticks, floor)], "chart")


def stacks(
    columns: Sequence[Stack | None],
    label: str,
    *,
    ticks: Sequence[Tick],
    levels: Sequence[tuple[float, str]],
    limit: tuple[float, str] | None = None,
    height: int = _COLUMN_HEIGHT,
) -> Markup:
    """Draw columns of parts beside each other; where there is none, a gap stays.

    :param levels: lines that give the scale, with their texts, which stand left of the chart.
    :param limit: a line that is not to be passed, and its text.
    """
    told = [column for column in columns if column]
    lines = [value for value, _ in (*levels, *([limit] if limit else []))]
    top = max([*(column.height for column in told), *lines, 0]) or 1
    bottom = max([*(column.depth for column in told), *(-value for value in lines), 0])
    scale = height / (top + bottom)
    floor = 20 + top * scale
    width = 100 / max(len(columns), 1)
    shapes: list[Markup] = []
    for value, said in levels:
        y = _number(floor - value * scale)
        shapes.append(
            Markup(
                '<line class="level" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
                '<text class="scale" x="0" dx="-6" y="{text_y}" text-anchor="end">{said}</text>'
            ).format(y=y, text_y=_number(floor - value * scale + 4), said=said)
        )
    for position, column in enumerate(columns):
        if column is None:
            continue
        left, gap = position * width, min(0.8, width / 4)
        drawn = [*_stacked(column.parts, floor, -scale), *_stacked(column.below, floor, scale)]
        rectangles = [
            Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                style, _number(left + gap / 2), _number(y), _number(width - gap), _number(tall)
            )
            for style, y, tall in drawn
        ]
        shapes.append(Markup("<g><title>{}</title>{}</g>").format(column.title, Markup("").join(rectangles)))
    shapes.append(_axis(floor))
    if limit:
        shapes.append(
            Markup(
                '<line class="limit" x1="0" x2="100%" y1="{y}" y2="{y}"/>'
                '<text class="limit" x="100%" y="{above}" text-anchor="end">{text}</text>'
            ).format(
                y=_number(floor - limit[0] * scale),
                above=_number(floor - limit[0] * scale - 5),
                text=limit[1],
            )
        )
    ground = floor + bottom * scale
    return _svg(label, ground + 20, [*shapes, *_ticks(ticks, ground)], "chart scaled")


def _stacked(parts: Sequence[Part], floor: float, scale: float) -> list[tuple[str, float, float]]:
    """Return style, upper edge and height of each part that can be seen, from the axis on."""
    shapes, reached = [], 0.0
    for part in parts:
        if part.value:
            start, reached = reached, reached + part.value
            tall = max((reached - start) * abs(scale), 0.6)
            shapes.append((part.style, floor + start * scale - (tall if scale < 0 else 0), tall))
    return shapes


def spark(values: Sequence[float | None], label: str, *, most: float = 0, style: str = "column") -> Markup:
    """Draw a row of thin columns without a scale, for the cell of a table.

    :param most: what the full height stands for; without it, the largest of them.
    """
    tallest = max([most, *(value or 0 for value in values)]) or 1
    width = 100 / max(len(values), 1)
    shapes = []
    for position, value in enumerate(values):
        if value:
            tall = max(value / tallest * _SPARK_HEIGHT, 1)
            shapes.append(
                Markup('<rect class="{}" x="{}%" y="{}" width="{}%" height="{}"/>').format(
                    style,
                    _number(position * width),
                    _number(_SPARK_HEIGHT - tall),
                    _number(width * 0.85),
                    _number(tall),
                )
            )
    return _svg(label, _SPARK_HEIGHT, shapes, "chart spark")


def _column(left: float, width: float, floor: float, height: float, title: str, *, gap: float) -> Markup:
    return Markup(
        '<rect class="column" x="{}%" y="{}" width="{}%" height="{}"><title>{}</title></rect>'
    ).format(
        _number(left + gap / 2),
        _number(floor - height),
        _number(max(width - gap, 0.05)),
        _number(height),
        title,
    )


def _axis(floor: float, left: float = 0, right: float = 100) -> Markup:
    return Markup('<line class="axis" x1="{}%" x2="{}%" y1="{y}" y2="{y}"/>').format(
        _number(left), _number(right), y=floor
    )


def _ticks(ticks: Sequence[Tick], floor: float) -> list[Markup]:
    return [
        Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
            _number(tick.place),
            floor + 15,
            tick.anchor,
            tick.text,
        )
        for tick in ticks
    ]


def _svg(label: str, height: float, shapes: Sequence[Markup], style: str) -> Markup:
    return Markup('<svg class="{}" role="img" aria-label="{}" width="100%" height="{}">{}</svg>').format(
        style, escape(label), _number(height), Markup("").join(shapes)
    )
