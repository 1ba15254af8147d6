"""The pictures of a report, as SVG: a timeline by host, and spans by how long they are.

States differ in pattern as well as in colour, so that nobody needs to see the colours.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator, Sequence

from .. import states
from ..model import Job
from .report_text import choose_ticks, escape_text
from .text import format_end, format_span

#: The width of each picture over time, and its edges.
WIDTH = 1000
LEFT, RIGHT = 4, 996

#: Heights of a lane, by how many lanes a host has at most.
_HEIGHTS = ((16, 20), (9, 60), (5, 150))
_SMALL = 3

#: The marks on the colour of a state.
_MARKS = {
    states.FAILED: '<path class="strokes" d="M-2 2L2-2M0 8L8 0M6 10L10 6"/>',
    states.TIMEOUT: '<path class="strokes" d="M0 4H8"/>',
    states.CANCELLED: '<circle class="dots" cx="4" cy="4" r="1.5"/>',
    states.LOST: '<path class="strokes" d="M0 0L8 8M8 0L0 8"/>',
    states.RUNNING: '<path class="strokes" d="M7 0V8"/>',
}


def build_patterns() -> str:
    """Return the definitions that all pictures of a page use."""
    patterns = (
        f'<pattern id="{state}" width="8" height="8" patternUnits="userSpaceOnUse">'
        f"{mark}</pattern>"
        for state, mark in _MARKS.items()
    )
    return f"<defs>{''.join(patterns)}</defs>"


def build_swatch(state: str) -> str:
    """Return a small picture of a state."""
    return (
        '<svg viewBox="0 0 22 13" aria-hidden="true">'
        f"{_draw_rect(state, 0.5, 0.5, 21, 12)}</svg>"
    )


def _draw_rect(state: str, x: float, y: float, width: float, height: float) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    rect = f'<rect class="{state}" {place} rx="{min(2.0, width / 3):.1f}"/>'
    if state in _MARKS and width >= 3 and height >= 4:
        rect += f'<rect fill="url(#{state})" {place}/>'
    return rect


class _Lane:
    """The row of a host in which jobs follow each other."""

    def __init__(self) -> None:
        self.ends_at = -math.inf
        self.jobs: list[tuple[Job, float, float, float]] = []


def find_span(job: Job, now: float) -> tuple[float, float]:
    """Return when a job began and ended to take up its host, or the record."""
    start = job.started_at if job.started_at is not None else job.submitted_at
    end = job.finished_at
    if end is None:
        end = now if not states.is_final(job.state) else start
    return start, max(start, end)


def measure_run(job: Job, now: float) -> float | None:
    """Return how long a job ran, or has by now; None if it did not, or nobody knows."""
    if job.started_at is None:
        return None
    if job.finished_at is None and states.is_final(job.state):
        return None
    start, end = find_span(job, now)
    return end - start


def build_timeline(jobs: Sequence[Job], now: float) -> str:
    """Return the jobs as bars over time, host by host."""
    spans = {job.id: find_span(job, now) for job in jobs}
    start = min((job.submitted_at for job in jobs), default=now - 1)
    start = min([start, *(begin for begin, _ in spans.values())])
    end = max([start + 1, *(ended for _, ended in spans.values())])
    scale = (RIGHT - LEFT) / (end - start)

    def place(at: float) -> float:
        return LEFT + (at - start) * scale

    hosts: dict[str, list[Job]] = {}
    for job in jobs:
        hosts.setdefault(job.host, []).append(job)
    body: list[str] = []
    top = 26.0
    for host in sorted(hosts):
        lanes = _fill_lanes(hosts[host], spans, 2.0 / scale)
        height = next((h for h, most in _HEIGHTS if len(lanes) <= most), _SMALL)
        count = f"{len(hosts[host])} job{'s' * (len(hosts[host]) != 1)}"
        body.append(
            f'<text class="host" x="{LEFT}" y="{top + 14:.0f}">{escape_text(host)}'
            f'</text><text x="{RIGHT}" y="{top + 14:.0f}" text-anchor="end">{count}'
            f", at most {len(lanes)} at a time</text>"
        )
        top += 22
        for lane in lanes:
            body += _draw_lane(lane, top, height, place)
            top += height
        top += 12
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {WIDTH} {top:.0f}" aria-label="{len(jobs)} jobs over time">'
        f"{build_patterns()}{draw_axis(start, end, scale, top)}{''.join(body)}</svg>"
    )


def _fill_lanes(
    jobs: Sequence[Job], spans: dict[str, tuple[float, float]], gap: float
) -> list[_Lane]:
    """Put each job into the first lane that is free when it begins."""
    lanes: list[_Lane] = []
    for job in sorted(jobs, key=lambda job: spans[job.id]):
        start, end = spans[job.id]
        lane = next((one for one in lanes if one.ends_at <= start), None)
        if lane is None:
            lane = _Lane()
            lanes.append(lane)
        waited_from = min(start, max(job.submitted_at, lane.ends_at))
        lane.jobs.append((job, waited_from, start, end))
        lane.ends_at = max(end, start + gap)
    return lanes


def _draw_lane(
    lane: _Lane, top: float, height: float, place: Callable[[float], float]
) -> Iterator[str]:
    """Yield a lane's bars: a line while a job waits, a bar while it runs."""
    room = height - (1 if height > 4 else 0.5)
    for job, waited_from, start, end in lane.jobs:
        x, width = place(start), max(1.5, place(end) - place(start))
        y = top + height / 2
        yield f"<g><title>{_describe_bar(job, end)}</title>"
        if place(start) - place(waited_from) > 0.5:
            yield f'<path class="wait" d="M{place(waited_from):.1f} {y:.1f}H{x:.1f}"/>'
        yield _draw_rect(job.state, min(x, RIGHT - width), top, width, room)
        name = job.name or job.key
        if height > 10 and name and width > 7 * len(name) + 8 and job.state in _PLAIN:
            yield (
                f'<text class="label" x="{x + 5:.1f}" y="{top + 11:.1f}">'
                f"{escape_text(name)}</text>"
            )
        yield "</g>"


#: The states whose bars have no marks, so that a name can stand on them.
_PLAIN = frozenset({states.COMPLETED})


def _describe_bar(job: Job, end: float) -> str:
    name = job.name or job.key
    started = job.started_at
    waited = ran = ""
    if started is not None:
        waited = f"waited {format_span(max(0.0, started - job.submitted_at))}"
        ran = f"ran {format_span(end - started)}"
    facts = (job.id, name, job.state, format_end(job), waited, ran, job.reason)
    return escape_text(", ".join(filter(None, facts)))


def draw_axis(start: float, end: float, scale: float, bottom: float) -> str:
    """Return the instants above a picture over time, and a line down from each."""
    pieces = []
    for at, label in choose_ticks(start, end, 8):
        x = LEFT + (at - start) * scale
        pieces.append(f'<path class="grid" d="M{x:.1f} 20V{bottom:.0f}"/>')
        anchor = "start" if x < 60 else "end" if x > WIDTH - 60 else "middle"
        text = f'<text x="{x:.1f}" y="13" text-anchor="{anchor}">'
        pieces.append(f"{text}{escape_text(label)}</text>")
    return "".join(pieces)


#: Upper ends of the columns of :func:`build_histogram`, in seconds.
_BOUNDS = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 86400, math.inf)


def build_histogram(spans: Sequence[float], title: str) -> str:
    """Return how many spans are how long, a column for each range, and a caption."""
    counts = [0] * len(_BOUNDS)
    for span in spans:
        counts[next(n for n, bound in enumerate(_BOUNDS) if span < bound)] += 1
    used = [n for n, count in enumerate(counts) if count]
    first, last = max(0, used[0] - 1), min(len(_BOUNDS) - 1, max(used) + 1)
    shown = range(first, last + 1)
    step, most = 470 / len(shown), max(counts)
    pieces = []
    for column, number in enumerate(shown):
        x, height = 15 + column * step, 120 * counts[number] / most
        low, high = ((0, *_BOUNDS)[number], _BOUNDS[number])
        # Where two columns meet stands the span that parts them.
        edge = f'x="{x:.1f}" y="164" text-anchor="middle"'
        middle = f'x="{x + step / 2:.1f}" text-anchor="middle"'
        pieces.append(
            f"<text {edge}>{_shorten(low)}</text>"
            f'<rect class="bar" x="{x + 2:.1f}" y="{146 - height:.1f}" '
            f'width="{step - 4:.1f}" height="{height:.1f}" rx="2"/>'
            f'<text {middle} y="{141 - height:.1f}">{counts[number] or ""}</text>'
        )
        if number == last and high < math.inf:
            end = f'x="{x + step:.1f}" y="164" text-anchor="middle"'
            pieces.append(f"<text {end}>{_shorten(high)}</text>")
    spans = sorted(spans)
    ninth = format_span(spans[min(len(spans) - 1, int(0.9 * len(spans)))])
    median = format_span(statistics.median(spans))
    caption = f"shortest {format_span(spans[0])}, median {median}, nine of ten at most "
    caption += f"{ninth}, longest {format_span(spans[-1])}"
    return (
        '<svg viewBox="0 0 500 172" role="img" '
        f'aria-label="{escape_text(title)}: how many are how long">'
        f'<path class="grid" d="M15 146.5H485"/>{"".join(pieces)}</svg>'
        f'<p class="soft">{caption}</p>'
    )


def _shorten(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
