"""The report: a page that needs nothing else, whatever jobs and hosts are called."""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.display.report_page import build_page, build_picture
from sshjobs.display.report_text import choose_ticks, clean_log_lines, escape_text
from sshjobs.display.report_traffic import build_traffic
from sshjobs.errors import StoreError
from sshjobs.model import Job, new_job_id
from sshjobs.store import Store
from sshjobs.store.traffic import TrafficRow
from sshjobs.verbs.context import Context
from sshjobs.verbs.report import Report, gather_report
from sshjobs.verbs.selection import Criteria
from tests.cli import Cli

#: Ends an element, reverses the line, drives a terminal, is no text.
HOSTILE = (
    "</title></script></style><script>alert(1)</script><b \u202eevil\x1b[2J\udcff'\""
)

_VOID = {"meta", "link", "br"}
_NOW = 1_800_000_000.0


def make_jobs(count: int) -> list[Job]:
    """Return jobs of three hosts in all states, waits and spans of all sizes."""
    dice = random.Random(7)
    jobs = []
    for number in range(count):
        submitted = _NOW - 20000 + number * 20 + dice.random()
        started = submitted + dice.expovariate(1 / 30)
        ended = started + dice.lognormvariate(5, 1.2)
        state = dice.choice([*states.STATES, *["COMPLETED"] * 20])
        is_bad = state in (states.FAILED, states.LOST)
        host = dice.choice(["gpu1", "gpu2", "cluster"])
        jobs.append(
            Job(
                id=new_job_id(),
                host=host,
                site_id=f"site-{host}",
                state=state,
                name=HOSTILE if number == 1 else f"sweep-{number}",
                command=f"./train.sh {number} {HOSTILE if number == 2 else ''}",
                reason=HOSTILE if is_bad else "",
                exit_status=1 if state == states.FAILED else None,
                submitted_at=submitted,
                started_at=None if state == states.PENDING else started,
                finished_at=ended if states.is_final(state) else None,
                log_final=True,
            )
        )
    return jobs


def make_report(count: int) -> Report:
    jobs = make_jobs(count)
    logs: dict[str, bytes | None]
    logs = {job.id: HOSTILE.encode("utf-8", "surrogateescape") for job in jobs}
    traffic = [
        TrafficRow("site-gpu1", int(_NOW) - 60 * ago, ago % 9 == 1, 0, 1 + ago % 5)
        for ago in range(70, 0, -1)
    ]
    return Report(HOSTILE, _NOW, jobs, count, logs, [], traffic)


class _Reader(HTMLParser):
    """Reads a page strictly: each element that begins ends in its turn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.values: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on") and name != "style"
            self.values.append(f"{name}={value}")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_is_whole_and_asks_nobody_for_anything() -> None:
    report = make_report(500)
    read = _Reader(build_page(report))
    assert not {"script", "iframe", "object", "img", "form", "base"} & set(read.tags)
    policy = next(value for value in read.values if "default-src" in value)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    links = [v for v in read.values if re.match("(href|src|action|srcset)=", v)]
    assert links == ["href=data:,"]
    marks = [value for value in read.values if value.startswith("fill=")]
    assert set(marks) <= {f"fill=url(#{state})" for state in states.STATES}
    for job in report.jobs:
        assert job.id in read.text
    for state in states.STATES:
        assert state in read.text
    assert "Connections and sessions" in read.text
    assert "8 connections and 210 sessions while these jobs were there" in read.text


def test_connections_are_shown_by_time_however_long_that_is() -> None:
    for spans in (1, 5, 144, 145, 5000):
        rows = [
            TrafficRow("a", int(_NOW) - 60 * ago, 1, 0, 3)
            for ago in range(spans, 0, -1)
        ]
        picture = build_traffic(rows)
        assert f"{spans} connection{'s' * (spans > 1)} and {3 * spans} ses" in picture
        assert picture.count("<rect") <= 145
    assert build_traffic([]) == ""


def test_the_record_counts_by_time_in_the_transaction_of_the_total(
    tmp_path: Path,
) -> None:
    with closing(Store(str(tmp_path / "home"))) as store:
        store.sites.ensure_site("a", "gpu1")
        store.sites.ensure_site("b", "gpu2")
        before = time.time()
        for _ in range(3):
            store.sites.count_events("a", {"sessions": 2, "bytes_in": 9})
        store.sites.count_events("a", {"handshakes": 1, "drops": 1})
        store.sites.update_site("a", cause="x")
        with pytest.raises(ZeroDivisionError), store.begin_write():
            store.sites.count_events("a", {"sessions": 100})
            raise ZeroDivisionError
        rows = store.traffic.read_minutes("a", before)
        sums = [
            sum(row.handshakes for row in rows),
            sum(row.drops for row in rows),
            sum(row.sessions for row in rows),
        ]
        assert (sums, store.traffic.read_minutes("b", before)) == ([1, 1, 6], [])
        assert store.traffic.read_minutes("a", time.time() + 600) == []
        store.traffic.prune_minutes("a", time.time() + 600)
        assert store.traffic.read_minutes("a", 0) == []
        row = store.sites.find_site("a")
        assert row is not None and row.sessions == 6


def test_no_text_of_a_job_is_markup_or_control() -> None:
    page = build_page(make_report(40))
    for part in ("<script", "</script", "<b ", "\u202e", "\x1b", "\udcff"):
        assert part not in page.replace("</style>\n</head>", "")
    assert page.count("&lt;script&gt;") > 3 and "\\u202eevil" in page
    page.encode("utf-8")
    assert escape_text("a'\"<&>\r\n") == "a&#x27;&quot;&lt;&amp;&gt;\\r\\n"


def test_the_picture_is_a_file_of_its_own() -> None:
    root = ElementTree.fromstring(build_picture(make_report(60)).encode())
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    kinds = {node.get("class") for node in root.iter() if node.tag.endswith("rect")}
    assert states.COMPLETED in kinds and states.FAILED in kinds


@pytest.mark.quick
def test_the_end_of_a_log_is_the_lines_that_a_terminal_would_show() -> None:
    data = b"old\n\n10 %\r50 %\r100 %\r\n\x1b[31mred\x1b[0m\tend\n\xff\n"
    assert clean_log_lines(data, 3) == ["100 %", "red end", "\ufffd"]
    assert clean_log_lines(b"", 3) == []


@pytest.mark.quick
@pytest.mark.parametrize("span", [0.5, 7, 400, 9000, 90000, 4e6, 4e8, 4e9])
def test_an_axis_has_a_few_ticks(span: float) -> None:
    ticks = choose_ticks(_NOW - span, _NOW, 8)
    assert len(ticks) <= 8 and all(_NOW - span <= at <= _NOW for at, _ in ticks)
    assert len(ticks) >= 2 or span < 2


def test_few_jobs_and_none_make_a_page(tmp_path: Path) -> None:
    for count in (0, 1, 2):
        _Reader(build_page(make_report(count)))
        ElementTree.fromstring(build_picture(make_report(count)).encode())


def test_very_many_jobs_are_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sshjobs.verbs.report.MOST_JOBS", 20)
    ctx = Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})
    jobs = [job._replace(name="", command="", reason="") for job in make_jobs(50)]
    ctx.store.jobs.add_jobs(jobs)
    report = gather_report(ctx, Criteria())
    ctx.close()
    assert [job.id for job in report.jobs] == [job.id for job in jobs[30:]]
    assert "the newest 20 of 50 jobs" in build_page(report)


def test_the_ledger_of_a_report_is_that_of_its_time(tmp_path: Path) -> None:
    """Of an old batch, no session of later days."""
    ctx = Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})
    ctx.store.sites.ensure_site("site", "gpu1")
    job = Job(
        id=new_job_id(),
        host="gpu1",
        site_id="site",
        state=states.COMPLETED,
        submitted_at=10_000.0,
        finished_at=10_130.0,
        log_final=True,
    )
    ctx.store.jobs.add_jobs([job])
    with closing(sqlite3.connect(tmp_path / "home/store.db")) as db:
        for at in (9_900, 9_960, 10_080, 10_140, 900_000):
            db.execute("INSERT INTO traffic VALUES ('site', ?, 0, 0, 1)", [at])
        db.commit()
    report = gather_report(ctx, Criteria())
    ctx.close()
    assert [row.at for row in report.traffic] == [9_960, 10_080]


def test_an_instant_that_no_clock_shows_is_damage(tmp_path: Path) -> None:
    ctx = Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})
    [job] = make_jobs(1)
    ctx.store.jobs.add_jobs([job._replace(state=states.COMPLETED, finished_at=9e99)])
    with pytest.raises(StoreError, match="(?s)instant of.*is damaged.*--adopt"):
        build_page(gather_report(ctx, Criteria()))
    ctx.close()


def test_a_report_of_real_jobs_is_written_whole(cli: Cli, place: Path) -> None:
    good = cli.submit("--name", "good", "--", "echo fine")
    bad = cli.submit("--name", "bad", "--", "echo first; echo '<last>'; exit 3")
    cli("wait", good, bad, "--quiet")
    page = place / "report.html"
    done = cli.ok("report", "-o", page)
    assert (done.out, done.err) == ("", f"sshjobs: {page}: 2 jobs, 1 ended badly\n")
    text = page.read_text("utf-8")
    read = _Reader(text)
    assert good in read.text and "FAILED exit 3" in read.text
    assert "first\n<last>" in read.text
    sessions = cli.hosts()["sessions"]
    assert f"1 connections and {sessions} sessions" in read.text
    link = place / "link.html"
    link.symlink_to(page)
    done = cli.ok("report", "bad", "--json", "--output", link)
    assert done.objects == [{"file": str(link), "jobs": 1, "ended_badly": 1}]
    assert link.is_symlink() and good not in page.read_text("utf-8")
    assert cli.ok("report", "--svg", "-o", "-").out.startswith("<?xml")
    assert cli("report", "-o", place / "no/where.html").status == 70
    assert cli("report", "-o", place).status == 70
    assert cli("report", "nothing", "-o", page).status == 64
    assert sorted(path.name for path in place.glob("*.*")) == [
        "link.html",
        "report.html",
    ]


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="apt-get install chromium")
def test_a_browser_finds_no_fault_in_it(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    page.write_text(build_page(make_report(500)), "utf-8")
    for width, height in ((1280, 1000), (390, 844)):
        shot = tmp_path / f"{width}.png"
        done = _browse(
            tmp_path, page, f"--window-size={width},{height}", f"--screenshot={shot}"
        )
        assert ":CONSOLE" not in done.stderr, done.stderr
        assert shot.stat().st_size > 10000
    read = _browse(tmp_path, page, "--dump-dom").stdout
    assert read.count("<tr>") > 500 and "alert(1)&lt;/script&gt;" in read


def _browse(folder: Path, page: Path, *words: str) -> subprocess.CompletedProcess[str]:
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    flags += "--disable-background-networking --disable-component-update --disable-sync"
    profile = f"--user-data-dir={folder}/profile{len(os.listdir(folder))}"
    argv = [str(CHROMIUM), *flags.split(), profile, "--enable-logging=stderr", *words]
    return subprocess.run(
        [*argv, page.as_uri()], capture_output=True, text=True, timeout=120
    )
