"""The pictures of a report: each bar, column and tick is where its figures say.

How a browser shows them, only a browser can tell: ``test_report.py``.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

import pytest

from sshjobs import states
from sshjobs.display.report_chart import (
    build_histogram,
    build_swatch,
    build_timeline,
    draw_axis,
    find_span,
    measure_run,
)
from sshjobs.display.report_text import (
    build_table,
    choose_ticks,
    clean_log_lines,
    count_states,
)
from sshjobs.display.report_traffic import build_traffic
from sshjobs.model import Job
from sshjobs.store.traffic import TrafficRow

pytestmark = pytest.mark.quick

#: Noon of a day, in the time zone of the tests.
NOON = 1_779_278_400.0
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone with half an hour in it."""
    monkeypatch.setenv("TZ", "TST-05:30")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def make_job(
    number: int,
    submitted: float,
    started: float | None,
    finished: float | None,
    state: str = states.COMPLETED,
    **fields: Any,
) -> Job:
    """Return a job; instants are seconds after noon."""
    return Job(
        id=f"{number:016}",
        host=fields.pop("host", "gpu1"),
        site_id="s1",
        state=state,
        submitted_at=NOON + submitted,
        started_at=None if started is None else NOON + started,
        finished_at=None if finished is None else NOON + finished,
        **fields,
    )


def read_elements(svg: str, tag: str) -> list[ElementTree.Element]:
    """Return the elements of a picture of this tag, in their order."""
    if "xmlns=" not in svg:
        svg = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ')
    root = ElementTree.fromstring(f"<div>{svg}</div>")
    return [node for node in root.iter() if node.tag == SVG + tag]


class Bar:
    """What a timeline shows of one job."""

    def __init__(self, group: ElementTree.Element) -> None:
        rects = [node for node in group if node.tag == SVG + "rect"]
        bar = rects[0]
        self.state = bar.get("class")
        self.x, self.y, self.width, self.height, self.round = (
            float(bar.get(name, "")) for name in ("x", "y", "width", "height", "rx")
        )
        self.fills = [rect.get("fill") for rect in rects[1:]]
        for rect in rects[1:]:
            assert all(rect.get(at) == bar.get(at) for at in ("x", "y", "width"))
        paths = [node.get("d") for node in group if node.tag == SVG + "path"]
        self.wait = paths[0] if paths else None
        self.title, self.label, self.label_at = "", "", ("", "")
        for node in group:
            if node.tag == SVG + "title":
                self.title = node.text or ""
            elif node.tag == SVG + "text":
                self.label = node.text or ""
                self.label_at = (node.get("x", ""), node.get("y", ""))


def draw(jobs: list[Job], now: float = 100.0) -> list[Bar]:
    """Return the bars of a timeline, in its order."""
    return [
        Bar(group) for group in read_elements(build_timeline(jobs, NOON + now), "g")
    ]


def read_texts(svg: str) -> list[str]:
    return [node.text or "" for node in read_elements(svg, "text")]


# -- the timeline --------------------------------------------------------------------


def test_a_bar_lasts_from_the_start_of_a_job_to_its_end() -> None:
    one, two = draw([make_job(1, 0, 0, 50), make_job(2, 20, 50, 100)])
    assert (one.x, one.width, two.x, two.width) == (4.0, 496.0, 500.0, 496.0)
    assert (one.y, one.height) == (two.y, two.height) == (48.0, 15.0)
    assert one.wait is None and one.round == 2.0


def test_time_begins_with_the_first_submit_and_ends_with_the_last_end() -> None:
    (bar,) = draw([make_job(1, 0, 25, 50)])
    assert (bar.x, bar.width, bar.wait) == (500.0, 496.0, "M4.0 56.0H500.0")
    # A start may be before its submit where two clocks differ.
    (bar,) = draw([make_job(1, 25, 0, 50)])
    assert (bar.x, bar.width, bar.wait) == (4.0, 992.0, None)


def test_jobs_at_one_time_lie_below_each_other() -> None:
    jobs = [make_job(n, 0, n, 100) for n in range(3)] + [make_job(3, 0, 100, 200)]
    bars = draw(jobs)
    assert [(bar.title[15], bar.y) for bar in bars] == [
        ("0", 48.0),
        ("3", 48.0),
        ("1", 64.0),
        ("2", 80.0),
    ]
    svg = build_timeline(jobs, NOON)
    assert "4 jobs, at most 3 at a time" in svg
    assert 'viewBox="0 0 1000 108"' in svg and 'aria-label="4 jobs over time"' in svg


def test_each_host_has_its_part_below_the_other() -> None:
    jobs = [make_job(1, 0, 0, 9, host="b<"), make_job(2, 0, 0, 9, host="a")]
    svg = build_timeline(jobs, NOON)
    heads = [
        (node.get("x"), node.get("y"), node.get("text-anchor"), node.text)
        for node in read_elements(svg, "text")
        if node.get("y") != "13"
    ]
    assert heads == [
        ("4", "40", None, "a"),
        ("996", "40", "end", "1 job, at most 1 at a time"),
        ("4", "90", None, "b<"),
        ("996", "90", "end", "1 job, at most 1 at a time"),
    ]
    assert [bar.y for bar in draw(jobs)] == [48.0, 98.0]
    assert 'viewBox="0 0 1000 126"' in svg


@pytest.mark.parametrize(
    ("count", "height", "room"),
    [(20, 16, 15.0), (21, 9, 8.0), (60, 9, 8.0), (61, 5, 4.0), (150, 5, 4.0)]
    + [(151, 3, 2.5)],
)
def test_very_many_lanes_are_thin(count: int, height: int, room: float) -> None:
    bars = draw([make_job(n, 0, 0, 100, states.FAILED, name="x") for n in range(count)])
    assert [bar.y for bar in bars] == [48.0 + height * n for n in range(count)]
    assert {bar.height for bar in bars} == {room}
    has_marks = room >= 4
    assert all(bar.fills == ["url(#FAILED)"] * has_marks for bar in bars)


def test_a_wait_is_drawn_from_the_end_of_the_job_before() -> None:
    """In the same lane; and only where somebody can see it: half a unit."""
    bars = draw([make_job(1, 0, 0, 40), make_job(2, 0, 50, 100)])
    assert [bar.wait for bar in bars] == [None, "M400.8 56.0H500.0"]
    _, bar = draw([make_job(1, 0, 0, 40), make_job(2, 45, 50, 100)])
    assert bar.wait == "M450.4 56.0H500.0"
    unit = 100 / 992
    (bar,) = draw([make_job(1, 0, 0.51 * unit, 100)])
    assert bar.wait == "M4.0 56.0H4.5"
    (bar,) = draw([make_job(1, 0, 0.49 * unit, 100)])
    assert bar.wait is None


def test_the_shortest_job_is_seen_and_stays_in_the_picture() -> None:
    jobs = [make_job(1, 0, 0, 1000), make_job(2, 0, 1000, 1000)]
    first, last = draw(jobs, 1000)
    assert (last.width, last.x, last.round) == (1.5, 994.5, 0.5)
    # 2 units apart they are in one lane, nearer in two.
    unit = 1000 / 992
    for apart, lanes in ((2.01, 1), (1.99, 2)):
        others = [make_job(n, 0, at, at) for n, at in ((2, 0), (3, apart * unit))]
        bars = draw([*others, make_job(1, 0, 500, 1000)], 1000)
        assert len({bar.y for bar in bars}) == lanes


@pytest.mark.parametrize("state", states.STATES)
def test_states_differ_in_their_marks(state: str) -> None:
    marked = state in (
        states.FAILED,
        states.TIMEOUT,
        states.CANCELLED,
        states.LOST,
        states.RUNNING,
    )
    (bar,) = draw([make_job(1, 0, 0, 100, state)])
    assert (bar.state, bar.fills) == (state, [f"url(#{state})"] * marked)
    rects = read_elements(build_swatch(state), "rect")
    places = {tuple(r.get(n) for n in ("x", "y", "width", "height")) for r in rects}
    assert len(rects) == 1 + marked and places == {("0.5", "0.5", "21.0", "12.0")}
    svg = build_timeline([make_job(1, 0, 0, 100, state)], NOON)
    assert (f'<pattern id="{state}"' in svg) == marked


def test_a_narrow_bar_has_no_marks() -> None:
    unit = 1000 / 992
    for width, fills in ((2.9, []), (3.1, ["url(#LOST)"])):
        jobs = [make_job(1, 0, 1, 1000), make_job(2, 0, 0, width * unit, states.LOST)]
        assert draw(jobs, 1000)[0].fills == fills


def test_a_name_stands_on_a_bar_that_has_room_for_it() -> None:
    unit = 1000 / 992
    for width, label in ((36.5, "four"), (35.5, "")):
        jobs = [make_job(1, 0, 1, 1000), make_job(2, 0, 0, width * unit, name="four")]
        bar = draw(jobs, 1000)[0]
        assert bar.label == label
        if label:
            assert bar.label_at == ("9.0", "59.0")
    (bar,) = draw([make_job(1, 0, 0, 100, key="of<key")])
    assert (bar.label, bar.label_at) == ("of<key", ("9.0", "59.0"))
    assert draw([make_job(1, 0, 0, 100, states.RUNNING, name="x")])[0].label == ""
    thin = draw([make_job(n, 0, 0, 100, name="x") for n in range(21)])
    assert {bar.label for bar in thin} == {""}


def test_a_bar_tells_the_facts_of_its_job() -> None:
    job = make_job(1, 0, 2, 5, states.FAILED, name="a<b", exit_status=3, reason="why")
    assert draw([job])[0].title == (
        f"{job.id}, a<b, FAILED, exit 3, waited 2.0s, ran 3.0s, why"
    )
    early = make_job(1, 2, 0, 5, key="k")
    assert draw([early])[0].title == f"{job.id}, k, COMPLETED, waited 0.0s, ran 5.0s"
    waiting = make_job(1, 0, None, None, states.PENDING)
    assert draw([waiting])[0].title == f"{job.id}, PENDING"
    running = make_job(1, 0, 10, None, states.RUNNING)
    assert draw([running])[0].title == f"{job.id}, RUNNING, waited 10.0s, ran 1m30s"


@pytest.mark.parametrize(
    ("started", "finished", "state", "span", "run"),
    [
        (2, 5, states.COMPLETED, (2, 5), 3),
        (0, 5, states.COMPLETED, (0, 5), 5),
        (2, None, states.RUNNING, (2, 100), 98),
        (None, None, states.PENDING, (1, 100), None),
        (None, 5, states.CANCELLED, (1, 5), None),
        (None, None, states.CANCELLED, (1, 1), None),
        (2, None, states.LOST, (2, 2), None),
        (6, 5, states.COMPLETED, (6, 6), 0),
    ],
)
def test_a_job_has_a_span_and_a_run(
    started: float | None,
    finished: float | None,
    state: str,
    span: tuple[float, float],
    run: float | None,
) -> None:
    job = make_job(1, 1, started, finished, state)
    assert find_span(job, NOON + 100) == (NOON + span[0], NOON + span[1])
    assert measure_run(job, NOON + 100) == run


def test_a_timeline_without_jobs_is_a_second() -> None:
    svg = build_timeline([], NOON)
    assert 'viewBox="0 0 1000 26"' in svg and 'aria-label="0 jobs over time"' in svg
    assert read_texts(svg) == ["17:30:00 20 May"]


# -- the axis ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "labels"),
    [
        (0, 8, ["17:30:01 20 May", *(f"17:30:0{n}" for n in range(2, 9))]),
        (0, 9, ["17:30:02 20 May", "17:30:04", "17:30:06", "17:30:08"]),
        (1, 600, ["17:32 20 May", "17:34", "17:36", "17:38", "17:40"]),
        (0, 7 * 3600, [f"{h}:00" if h > 18 else "18:00 20 May" for h in range(18, 25)]),
        (0, 86400, ["18:00 20 May", "21:00", "00:00 21 May", "03:00"]),
        (0, 4 * 86400, ["00:00 21 May", "12:00", "00:00 22 May", "12:00"]),
        (0, 8 * 86400, [f"2026-05-{d}" for d in range(21, 29)]),
        (0, 9 * 86400, ["2026-05-21", "2026-05-23", "2026-05-25", "2026-05-27"]),
    ],
)
def test_ticks_are_round_instants_of_local_time(
    start: float, end: float, labels: list[str]
) -> None:
    ticks = choose_ticks(NOON + start, NOON + end, 8)
    shown = [label.replace("24:00", "00:00 21 May") for label in labels]
    assert [label for _, label in ticks][: len(shown)] == shown
    gaps = {after[0] - before[0] for before, after in zip(ticks, ticks[1:])}
    assert len(gaps) == 1 and len(ticks) <= 8
    assert ticks[-1][0] + gaps.pop() > NOON + end


@pytest.mark.parametrize(("years", "step"), [(7, 1), (8, 2), (16, 3), (160, 21)])
def test_ticks_of_decades_are_years_apart(years: int, step: int) -> None:
    ticks = choose_ticks(NOON, NOON + years * 31536000, 8)
    gaps = {after[0] - before[0] for before, after in zip(ticks, ticks[1:])}
    assert gaps == {step * 31536000}


def test_a_label_at_an_edge_stays_in_the_picture() -> None:
    svg = draw_axis(NOON, NOON + 8, 124.0, 90.0)
    texts = read_elements(f"<svg >{svg}</svg>", "text")
    assert [(node.get("x"), node.get("text-anchor")) for node in texts] == [
        ("128.0", "middle"),
        *((f"{4 + 124 * n}.0", "middle") for n in range(2, 8)),
        ("996.0", "end"),
    ]
    paths = [node.get("d") for node in read_elements(f"<svg >{svg}</svg>", "path")]
    assert paths == [f"M{4 + 124 * n}.0 20V90" for n in range(1, 9)]
    for x, anchor in ((55, "start"), (57, "middle"), (935, "middle"), (937, "end")):
        svg = draw_axis(NOON, NOON + 1, float(x), 90.0)
        assert f'x="{4 + x}.0" y="13" text-anchor="{anchor}"' in svg


# -- how long spans are --------------------------------------------------------------


def test_spans_are_counted_in_columns_and_summed_up() -> None:
    svg, caption = build_histogram([0.5, 1, 1.5, 1.9, 100_000], "ran").split("<p ")
    assert caption.startswith(
        'class="soft">shortest 0.5s, median 1.5s, nine of ten at most 1d03h, longest '
        "1d03h</p>"
    )
    rects = read_elements(svg, "rect")
    assert len(rects) == 15
    step = 470 / 15
    assert [rect.get("x") for rect in rects] == [
        f"{17 + step * n:.1f}" for n in range(15)
    ]
    assert {rect.get("width") for rect in rects} == {f"{step - 4:.1f}"}
    heights = [float(rect.get("height", "")) for rect in rects]
    assert heights == [40.0, 120.0, *[0.0] * 12, 40.0]
    assert [float(r.get("y", "")) + h for r, h in zip(rects, heights)] == [146.0] * 15
    texts = read_elements(svg, "text")
    edges = [node for node in texts if node.get("y") == "164"]
    assert [node.text for node in edges] == (
        "0s 1s 2s 5s 10s 30s 1m 2m 5m 10m 30m 1h 2h 6h 1d".split()
    )
    assert [node.get("x") for node in edges][:2] == ["15.0", f"{15 + step:.1f}"]
    counts = [node for node in texts if node.get("y") != "164"]
    assert [node.text or "" for node in counts] == ["1", "3", *[""] * 12, "1"]
    assert [node.get("y") for node in counts][:3] == ["101.0", "21.0", "141.0"]
    assert counts[0].get("x") == f"{15 + step / 2:.1f}"


def test_a_histogram_has_a_free_column_at_each_side() -> None:
    svg = build_histogram([10, 29.9], "waited").partition("<p ")[0]
    edges = [n for n in read_elements(svg, "text") if n.get("y") == "164"]
    assert [node.text for node in edges] == ["5s", "10s", "30s", "1m"]
    step = 470 / 3
    assert [node.get("x") for node in edges] == [
        f"{15 + step * n:.1f}" for n in range(4)
    ]
    assert 'aria-label="waited: how many are how long"' in svg


def test_nine_of_ten_are_no_longer_than_the_ninth() -> None:
    text = build_histogram([float(n) for n in range(20, 0, -1)], "x")
    assert (
        "shortest 1.0s, median 10.5s, nine of ten at most 19.0s, longest 20.0s" in text
    )
    assert "nine of ten at most 7.0s" in build_histogram([7.0], "x")


# -- connections and sessions --------------------------------------------------------


def make_row(minute: int, handshakes: int, drops: int, sessions: int) -> TrafficRow:
    return TrafficRow("s1", int(NOON) + 60 * minute, handshakes, drops, sessions)


def test_traffic_has_a_column_a_minute() -> None:
    rows = [make_row(3, 0, 0, 4), make_row(0, 1, 0, 2), make_row(1, 2, 1, 0)]
    text = build_traffic([*rows, make_row(0, 0, 0, 6)])
    svg = text.partition("<p ")[0]
    columns = []
    for group in read_elements(svg, "g"):
        title, rect, *rest = group
        shape = [rect.get(name) for name in ("x", "y", "width", "height")]
        columns.append((title.text, shape, [node.attrib for node in rest]))
    assert columns == [
        (
            "1 connections, 0 drops, 8 sessions",
            ["4.0", "68.0", "247.0", "84.0"],
            [{"class": "bar", "cx": "128.0", "cy": "38", "r": "3.5"}],
        ),
        (
            "2 connections, 1 drops, 0 sessions",
            ["252.0", "152.0", "247.0", "0.0"],
            [
                {"class": "bar", "cx": "376.0", "cy": "38", "r": "3.5"},
                {"x": "382.0", "y": "42"},
            ],
        ),
        (
            "0 connections, 0 drops, 4 sessions",
            ["748.0", "110.0", "247.0", "42.0"],
            [],
        ),
    ]
    assert "sessions, at most 8 in a minute</text>" in svg
    assert (
        "3 connections and 12 sessions while these jobs were there, 1 dropped; a "
        "column is a minute." in text
    )
    assert 'aria-label="3 connections and 12 sessions over time"' in svg
    one = build_traffic([make_row(0, 1, 0, 1)])
    assert "1 connection and 1 session while" in one
    assert "0 connections and 0 sessions" in build_traffic([make_row(0, 0, 0, 0)])


@pytest.mark.parametrize(
    ("minutes", "columns", "words"),
    [
        (144, 144, "a minute"),
        (145, 73, "2 minutes"),
        (144 * 119, 144, "119 minutes"),
        (144 * 120, 144, "2 hours"),
        (144 * 150, 144, "2 hours"),
    ],
)
def test_a_longer_time_has_longer_columns(
    minutes: int, columns: int, words: str
) -> None:
    text = build_traffic([make_row(at, 0, 0, 1) for at in range(minutes)])
    rects = read_elements(text.partition("<p ")[0], "rect")
    assert len(rects) == columns and f"a column is {words}." in text
    step = 992 / columns
    assert rects[1].get("x") == f"{4 + step:.1f}"
    assert rects[0].get("width") == f"{step - 1:.1f}"


def test_the_narrowest_column_is_seen() -> None:
    rows = [make_row(at, 0, 0, 1) for at in (0, 143)]
    assert "column is a minute" in build_traffic(rows)
    svg = build_traffic(rows).partition("<p ")[0]
    assert [rect.get("width") for rect in read_elements(svg, "rect")] == ["5.9"] * 2


# -- texts ---------------------------------------------------------------------------


def test_a_log_ends_with_so_many_lines_that_are_not_empty() -> None:
    data = b"1\n\n 2 \n\t\n3\r\n4\ta\rb\tc\n"
    assert clean_log_lines(data, 2) == ["3", "b   c"]
    assert clean_log_lines(data, 9) == ["1", " 2 ", "3", "b   c"]
    (line,) = clean_log_lines(b"x" * 1001, 1)
    assert line == "x" * 1000


def test_a_table_escapes_all_but_markup() -> None:
    table = build_table(["<n>", "m"], [["<a>", "<b>"], [1, ""]], "nm")
    assert table == (
        '<div class="scroll"><table>\n<thead><tr><th scope="col" class="n">&lt;n&gt;'
        '</th><th scope="col" class="m">m</th></tr></thead><tbody>\n'
        '<tr><td class="n">&lt;a&gt;</td><td class="m"><b></td></tr>\n'
        '<tr><td class="n">1</td><td class="m"></td></tr>\n</tbody></table></div>'
    )


def test_states_are_counted_in_the_order_of_their_table() -> None:
    found = count_states(["LOST", "PENDING", "LOST", "RUNNING"])
    assert list(found.items()) == [("PENDING", 1), ("RUNNING", 1), ("LOST", 2)]
