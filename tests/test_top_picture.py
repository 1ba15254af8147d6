"""The picture of ``sshjobs top``, line by line; and the jobs that it is made of.

What keys do, and that a terminal shows it, needs a terminal: ``test_top.py``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sshjobs import errors, states
from sshjobs.display.look import Look
from sshjobs.display.top_screen import KEYS, TopView, build_top_lines
from sshjobs.errors import NothingSelected
from sshjobs.model import Job
from sshjobs.store import SiteRow, Store
from sshjobs.verbs import overview
from sshjobs.verbs.context import Context
from sshjobs.verbs.hosts import HostState
from sshjobs.verbs.overview import ORDERS, Overview, View, read_overview
from sshjobs.verbs.selection import Criteria

pytestmark = pytest.mark.quick

NOW = 1_800_000_000.0
LOOK = Look(width=80, height=24)


def make_job(number: int, state: str = states.RUNNING, **fields: Any) -> Job:
    """Return a job of the site ``s1``, submitted so many seconds before now."""
    values = {"host": "gpu1", "site_id": "s1", "name": f"job{number}"} | fields
    values.setdefault("submitted_at", NOW - number)
    return Job(
        f"{number:016d}".translate(str.maketrans("0189", "wxyz")), state=state, **values
    )


def make_row(site_id: str, host: str, **fields: Any) -> SiteRow:
    """Return the row of a connection, from a store."""
    return ROWS[0]._replace(site_id=site_id, host=host, **fields)


ROWS: list[SiteRow] = []


@pytest.fixture(autouse=True)
def rows(tmp_path: Path) -> Iterator[None]:
    """A row as the store makes it."""
    with closing(Store(str(tmp_path / "home"))) as store:
        store.sites.ensure_site("s1", "gpu1")
        ROWS[:] = store.sites.list_sites()
    yield
    ROWS.clear()


def make_view(jobs: list[Job], hosts: list[SiteRow], **fields: Any) -> TopView:
    sites = {row.site_id: row for row in hosts}
    whole = Overview(jobs, 0, sites, {states.RUNNING: len(jobs)}, [], NOW)
    values = {"jobs": jobs, "failures": {}} | fields
    found = [HostState(row, None, values.pop("refused", "")) for row in hosts]
    return TopView(whole, found, **values)


def test_a_picture_has_hosts_jobs_and_the_end_of_a_log() -> None:
    jobs = [make_job(2), make_job(3, states.PENDING), make_job(4, states.PENDING)]
    jobs.append(make_job(5, site_id="s2", host="gpu2"))
    hosts = [
        make_row("s1", "gpu1", sessions=7, round_started_at=NOW - 3),
        make_row("s2", "gpu2"),
    ]
    log = [f"line {number}" for number in range(30)]
    view = make_view(jobs, hosts, selected=1, log=log, log_note="note", order="name")
    lines = build_top_lines(view, LOOK)
    assert len(lines) == 24
    assert lines[0] == "sshjobs top · 4 running · 4 shown, by name"
    assert [line.split() for line in lines[1:5]] == [
        ["HOST", "CONNECTION", "RUN", "WAIT", "SESSIONS", "ASKED"],
        ["gpu1", "unknown", "1", "2", "7", "3s"],
        ["gpu2", "unknown", "1", "0", "0", "-"],
        [],
    ]
    assert lines[5].split() == "ID STATE HOST AGE TIME END NAME".split()
    assert [line[:2] for line in lines[5:10]] == ["  ", "  ", "> ", "  ", "  "]
    assert [line.split()[-1] for line in lines[6:10]] == [job.name for job in jobs]
    title = "── job3 on gpu1  note "
    assert lines[10] == title + "─" * (80 - len(title))
    assert lines[11:23] == log[-12:]
    assert lines[23] == "q quit  ? help  Enter follow  x end  / filter  s sort"


def test_the_selected_job_is_seen_and_marked_over_the_whole_width() -> None:
    jobs = [make_job(number) for number in range(2, 200)]
    look = Look(width=80, height=24, has_colour=True)
    for selected in (0, 7, 100, 190, 197):
        view = make_view(jobs, [], selected=selected)
        (line,) = (one for one in build_top_lines(view, look) if "> " in one[:6])
        assert line.startswith("\033[7m> ") and line.endswith("\033[0m")
        plain = line.removeprefix("\033[7m").removesuffix("\033[0m")
        assert len(plain) == 80 and "\033" not in plain
        assert plain.rstrip().endswith(f" {jobs[selected].name}")
    for selected, first, last in ((0, 2, 14), (6, 2, 14), (7, 3, 15), (197, 187, 199)):
        lines = build_top_lines(make_view(jobs, [], selected=selected), LOOK)
        names = [line.split()[-1] for line in lines if " RUNNING" in line]
        assert names == [f"job{number}" for number in range(first, last + 1)]


@pytest.mark.parametrize(
    ("height", "hosts", "shown_hosts", "shown_jobs", "log"),
    [(60, 2, 2, 35, 17), (24, 2, 2, 11, 5), (14, 2, 2, 7, 0), (24, 9, 6, 8, 3)]
    + [(15, 9, 5, 4, 1), (10, 9, 0, 6, 0), (4, 0, 0, 1, 0), (3, 0, 0, 1, 0)],
)
def test_the_lines_are_shared_out(
    height: int, hosts: int, shown_hosts: int, shown_jobs: int, log: int
) -> None:
    """A third of those below the hosts is the log's, from 15 lines on."""
    jobs = [make_job(number) for number in range(2, 100)]
    some = [make_row(f"s{number}", f"host{number}") for number in range(hosts)]
    view = make_view(jobs, some, log=["log line"] * 99)
    lines = build_top_lines(view, Look(width=80, height=height))
    assert len(lines) == max(4, height)
    assert sum(line.startswith("host") for line in lines) == shown_hosts
    assert sum(" RUNNING" in line for line in lines) == shown_jobs
    assert lines.count("log line") == log


def test_hosts_beyond_six_are_counted() -> None:
    some = [make_row(f"s{number}", f"host{number}") for number in range(8)]
    lines = build_top_lines(make_view([], some), LOOK)
    assert "and 2 more hosts" in lines
    lines = build_top_lines(make_view([], some[:6]), LOOK)
    assert "more hosts" not in "\n".join(lines)
    assert "no job to show" in lines


def test_a_host_that_does_not_answer_tells_why() -> None:
    paused: dict[str, Any] = {"cooldown_until": NOW + 60, "cooldown_set_at": NOW}
    down = errors.HostUnreachable("gpu1", "nobody  listens\nat all")

    def find_remark(row: SiteRow, **fields: Any) -> str:
        wide = Look(width=140, height=24)
        line = build_top_lines(make_view([], [row], **fields), wide)[2]
        return line.partition(" -")[2].strip()

    row = make_row("s1", "gpu1")
    assert find_remark(row) == ""
    assert find_remark(row._replace(**paused)) == "next try in 1m00s: refused"
    told = find_remark(row, failures={"s1": down})
    assert told == "nobody listens"
    told = find_remark(row._replace(**paused), failures={"s1": down})
    assert told == "next try in 1m00s: nobody listens"
    assert find_remark(row, failures={"s2": down}) == ""
    assert find_remark(row, refused="no key") == "not tried again: no key"


def test_help_and_a_prompt_take_their_places() -> None:
    jobs = [make_job(2)]
    view = make_view(jobs, [], log=["log line"], has_help=True, prompt="End it?")
    lines = build_top_lines(view, LOOK)
    assert lines[-1] == "End it?" and "log line" not in lines
    first = lines.index(f"{KEYS[0][0]:<16}{KEYS[0][1]}")
    shown = lines[first : first + len(KEYS)]
    assert shown == [f"{keys:<16}{text}" for keys, text in KEYS]


# -- the jobs ------------------------------------------------------------------------


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    with closing(Context({"SSHJOBS_HOME": str(tmp_path / "record")}, {})) as made:
        made.store.sites.ensure_site("s1", "gpu1")
        made.store.sites.ensure_site("s2", "far")
        yield made


def record_jobs(ctx: Context) -> tuple[Job, ...]:
    """Record four jobs, of which each order makes another row."""
    now = time.time()
    jobs = (
        make_job(2, name="b", submitted_at=now - 40, started_at=now - 30),
        make_job(
            3,
            states.FAILED,
            name="c",
            host="far",
            site_id="s2",
            submitted_at=now - 30,
            started_at=now - 29,
            finished_at=now - 20,
        ),
        make_job(4, states.PENDING, name="a", submitted_at=now - 20),
        make_job(
            5,
            states.COMPLETED,
            name="d",
            submitted_at=now - 200_000,
            started_at=now - 199_000,
            finished_at=now - 90_000,
        ),
    )
    ctx.store.jobs.add_jobs(list(jobs))
    return jobs


def show(ctx: Context, criteria: Criteria, **fields: Any) -> str:
    """Return the names of the jobs of an overview, in its order."""
    found = read_overview(ctx, criteria, View(**fields))
    return "".join(job.name for job in found.jobs)


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("age", "dbca"),
        ("name", "abcd"),
        ("host", "cdba"),
        ("state", "dcab"),
        ("time", "acbd"),
        ("end", "dcba"),
    ],
)
def test_jobs_are_sorted_and_the_last_stay_within_a_limit(
    ctx: Context, order: str, names: str
) -> None:
    assert set(ORDERS) == {"age", "name", "host", "state", "time", "end"}
    record_jobs(ctx)
    shown = show(ctx, Criteria(), order=order)
    if order == "end":  # those that have not ended are alike, and the newest last
        assert shown[:2] == "dc" and set(shown[2:]) == set("ab")
        return
    assert shown == names
    assert show(ctx, Criteria(), order=order, limit=2) == names[-2:]
    found = read_overview(ctx, Criteria(), View(order=order, limit=2))
    assert found.older == 2
    assert read_overview(ctx, Criteria(), View(order=order, limit=9)).older == 0


def test_an_overview_has_what_is_active_or_ended_within_a_day(ctx: Context) -> None:
    jobs = record_jobs(ctx)
    assert show(ctx, Criteria(), lately_only=True) == "bca"
    assert show(ctx, Criteria(hosts=["gpu1"]), lately_only=True) == "ba"
    assert show(ctx, Criteria(names=["d"]), lately_only=True) == "d"
    assert show(ctx, Criteria(jobs=["d", "b"]), lately_only=True) == "db"
    ctx.store.jobs.update_job(jobs[0].id, reaped_at=NOW)
    assert show(ctx, Criteria()) == "dca"
    assert show(ctx, Criteria(), with_reaped=True) == "dbca"
    assert show(ctx, Criteria(names=["b"])) == "b"
    with pytest.raises(NothingSelected):
        show(ctx, Criteria(names=["none"]))
    assert show(ctx, Criteria(names=["none"], allow_empty=True)) == ""


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let it be noon for an overview; return when that is."""
    at = time.mktime((2026, 5, 20, 12, 0, 0, 0, 0, -1))
    clock = SimpleNamespace(
        time=lambda: at, localtime=time.localtime, mktime=time.mktime
    )
    monkeypatch.setattr(overview, "time", clock)
    return at


def test_a_day_is_a_day(ctx: Context, noon: float) -> None:
    for number, name, ago in ((2, "a", 86_400.5), (3, "b", 86_399.5)):
        fields = {"submitted_at": 1.0, "finished_at": noon - ago}
        ctx.store.jobs.add_jobs([make_job(number, states.LOST, name=name, **fields)])
    assert show(ctx, Criteria(), lately_only=True) == "b"


def test_all_attempts_of_a_key_are_shown_and_none_is_older(ctx: Context) -> None:
    first = make_job(2, states.FAILED, name="a", key="k")
    second = make_job(3, states.FAILED, name="b", key="k", attempt=2)
    ctx.store.jobs.add_jobs([first, second._replace(submitted_at=NOW)])
    assert show(ctx, Criteria(jobs=["key:k"])) == "ab"
    assert read_overview(ctx, Criteria(), View()).older == 0
    assert View() == View("age", 0, False, False)


def test_an_overview_counts_the_jobs_of_today_on_the_hosts_that_are_meant(
    ctx: Context, noon: float
) -> None:
    midnight = noon - 12 * 3600
    for number, host, at in (
        (2, "gpu1", midnight - 0.5),
        (3, "gpu1", midnight + 0.5),
        (4, "far", noon - 1),
    ):
        site_id = "s2" if host == "far" else "s1"
        fields = {"host": host, "site_id": site_id, "submitted_at": 1.0}
        ctx.store.jobs.add_jobs(
            [make_job(number, states.LOST, finished_at=at, **fields)]
        )
    ctx.store.jobs.add_jobs([make_job(5), make_job(6, states.PENDING, name="a")])
    found = read_overview(ctx, Criteria(names=["a"]), View())
    assert found.counts == {"RUNNING": 1, "PENDING": 1, "LOST": 2}
    assert [job.name for job in found.jobs] == ["a"]
    far = read_overview(ctx, Criteria(hosts=["far"]), View())
    assert far.counts == {"LOST": 1}
    assert set(found.sites) == {"s1", "s2"} and found.now == noon
