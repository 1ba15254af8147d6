"""Draws two curves side by side, as a plain SVG that a browser shows as it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tests.bench.measure import Cost
from tests.bench.report import Curve

_COLOURS = ("#0b6e4f", "#5fad56", "#c1292e", "#e08e45", "#4a6fa5", "#7d5ba6")
_WIDTH, _HEIGHT = 420, 300
_LEFT, _TOP = 60, 40
_LEAST = 0.1


def draw(curves: Sequence[Curve]) -> str:
    """Return a picture of connections and client CPU against the number of jobs."""
    height = _HEIGHT + _TOP + 60 + 18 * len(curves)
    width = 2 * (_WIDTH + _LEFT) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        *_panel(curves, _LEFT, "connections", lambda cost: cost.connections),
        *_panel(
            curves,
            _WIDTH + 2 * _LEFT,
            "processor time of the client, s",
            lambda cost: cost.cpu,
        ),
        *_legend(curves),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _panel(
    curves: Sequence[Curve], left: int, title: str, value: Callable[[Cost], float]
) -> list[str]:
    """Draw one diagram, both of its axes logarithmic."""
    points = [(n, value(cost)) for curve in curves for n, cost in curve.points]
    across = _scale([n for n, _ in points], _WIDTH)
    up = _scale([max(_LEAST, y) for _, y in points], _HEIGHT)
    parts = [
        f'<text x="{left}" y="{_TOP - 14}" font-size="14">{title}</text>',
        f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" '
        'fill="none" stroke="#888888"/>',
    ]
    bottom = _TOP + _HEIGHT
    for n in sorted({n for n, _ in points}):
        x = left + across(n)
        parts.append(f'<text x="{x:.0f}" y="{bottom + 16}" {_MIDDLE}>{n}</text>')
    parts.append(
        f'<text x="{left + _WIDTH // 2}" y="{bottom + 34}" {_MIDDLE}>jobs</text>'
    )
    for mark in _marks([y for _, y in points]):
        y = bottom - up(mark)
        parts.append(
            f'<path d="M{left} {y:.1f} h{_WIDTH}" stroke="#dddddd"/>'
            f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{mark:g}</text>'
        )
    for curve, colour in zip(curves, _COLOURS):
        places = [
            (left + across(n), bottom - up(max(_LEAST, value(cost))))
            for n, cost in curve.points
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
            for x, y in places
        ]
    return parts


_MIDDLE = 'text-anchor="middle"'


def _scale(values: Sequence[float], length: int) -> Callable[[float], float]:
    """Return what turns a value into a distance, logarithmically."""
    low, high = math.log10(min(values) / 1.3), math.log10(max(values) * 1.3)
    return lambda value: (math.log10(value) - low) / (high - low) * length


def _marks(values: Sequence[float]) -> list[float]:
    low = math.floor(math.log10(max(_LEAST, min(values))))
    high = math.ceil(math.log10(max(_LEAST, *values)))
    marks = [10.0**power for power in range(low, high + 1)]
    return [
        m for m in marks if max(_LEAST, min(values)) / 1.3 <= m <= max(values) * 1.3
    ]


def _legend(curves: Sequence[Curve]) -> list[str]:
    top = _TOP + _HEIGHT + 56
    parts = []
    for number, (curve, colour) in enumerate(zip(curves, _COLOURS)):
        y = top + 18 * number
        parts.append(
            f'<rect x="{_LEFT}" y="{y - 9}" width="18" height="4" fill="{colour}"/>'
            f'<text x="{_LEFT + 26}" y="{y - 2}">{curve.who}</text>'
        )
    return parts
