"""Which intents go into one request, and what stays for the next.

Over a store of its own; what a host does with a request is tried in ``tests/remote/``.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from sshjobs import errors
from sshjobs.model import Job, Spec
from sshjobs.protocol import ANY_LOG, Check, LogWant, Reap, Request, Start
from sshjobs.rounds import log_state
from sshjobs.rounds import request as requests
from sshjobs.rounds.request import Plan, collect_request, expire
from sshjobs.rounds.site import Site
from sshjobs.settings import Settings
from sshjobs.store import Intent, Store
from sshjobs.transports import Identity

pytestmark = pytest.mark.quick

MIB = 1024 * 1024


class Disk:
    """The disk of this machine, with the room for logs that a test says."""

    f_bavail = 1 << 40
    f_frsize = 1
    f_blocks = 1  # so small that a tenth of it, which is to stay free, is nothing


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    """A disk with much room."""
    disk = Disk()
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    return disk


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with a store of its own that knows no job."""
    return make_site(tmp_path)


def make_site(folder: Path, **settings: Any) -> Site:
    identity = Identity("c" * 16, "h", "h", "h", "u", 22)
    store = Store(f"{folder}/home")
    return Site(store, identity, Settings(**settings), str(folder))


def name_job(number: int) -> str:
    return "aaaabbbbccccdd" + chr(97 + number // 20) + chr(97 + number % 20)


def add_job(
    site: Site, number: int, *kinds: str, line: bytes = b"true", **changes: Any
) -> Job:
    """Add a job with its spec and, if it has a log here, a file; and intents."""
    job = Job(name_job(number), "h", site.site_id, "PENDING")._replace(**changes)
    site.store.files.save_spec(job.id, Spec(line))
    if job.log_local_bytes:
        os.close(os.open(site.store.files.locate_log(job.id), os.O_CREAT | os.O_WRONLY))
        os.truncate(site.store.files.locate_log(job.id), job.log_local_bytes)
    with site.store.begin_write():
        site.store.jobs.add_jobs([job])
        for kind in kinds:
            site.store.intents.add_intents(site.site_id, kind, [job.id])
    return job


def add_ended(site: Site, number: int, *kinds: str, **changes: Any) -> Job:
    values: dict[str, Any] = {"state": "COMPLETED", "log_final": True, **changes}
    return add_job(site, number, *kinds, **values)


def collect(site: Site, listing: bool = False) -> tuple[Plan, Request]:
    with site.store.begin_write():
        return collect_request(site, listing)


def read_intents(site: Site, kind: str) -> list[Intent]:
    return [
        one for one in site.store.intents.list_open(site.site_id) if one.kind == kind
    ]


def find_ids(intents: list[Intent]) -> list[str]:
    return [intent.job_id for intent in intents]


# What one request holds.


def test_bounds_are_those_of_the_page_of_the_wire_format() -> None:
    assert requests.MAX_STARTS == 1000
    assert requests.MAX_PROGRAM_BYTES == 1_000_000
    assert requests.MAX_REAPS == 1000
    assert requests.MAX_REAP_BYTES == 256 * MIB
    assert requests.MOST_INTENTS == 1000
    assert requests.MAX_LOGS == 500
    assert requests.MAX_LOG_BYTES == 32 * MIB
    assert log_state.LOG_PIECE_BYTES == 4 * MIB
    assert log_state.LONG == 8 * MIB
    assert log_state.LONG_PIECE_BYTES == 65_536
    assert requests.GONE_TTL == 24 * 3600


def test_a_host_of_which_nothing_is_wanted_is_asked_nothing(site: Site) -> None:
    plan, request = collect(site)
    assert plan == Plan([], [], [], [], 0)
    assert request == Request(queue_age=15.0)


def test_settings_and_the_place_in_the_journal_go_with_it(tmp_path: Path) -> None:
    site = make_site(
        tmp_path,
        remote_base_dir="/base",
        start_grace=3,
        key_ttl=86_401,
        vanish_grace=44,
        poll_interval=7,
    )
    site.row()
    site.store.sites.update_site(site.site_id, journal_gen="77", journal_at=9)
    _, request = collect(site, listing=True)
    assert request == Request(
        base_dir="/base",
        journal=("77", 9),
        listing=True,
        start_grace=3.0,
        key_ttl=86_401.0,
        vanish_grace=44.0,
        queue_age=7.0,
    )


def test_each_kind_of_intent_has_its_place(site: Site) -> None:
    started: dict[str, Any] = {"state": "RUNNING", "pid": 7, "start": "99"}
    add_job(site, 0, "start", key="k", once=True, name="n")
    add_job(site, 1, "kill", **started)
    add_job(site, 2, "forget", **started)
    add_ended(site, 3, "reap")
    add_job(site, 4, "log", launcher="slurm", **started)
    add_ended(site, 5)
    site.store.intents.add_intents(site.site_id, "kill", [name_job(1)])
    plan, request = collect(site)
    assert request.starts == (Start(name_job(0), Spec(b"true"), "k", True, "n"),)
    assert request.kills == (name_job(1),)
    assert request.forgets == (Check(name_job(2), 7, "99"),)
    assert request.reaps == (Reap(name_job(3), 0),)
    assert [want.job_id for want in request.logs] == [name_job(4)]
    # Whoever is to start is not asked about; whoever is to be forgotten, only so.
    assert request.checks == tuple(Check(name_job(n), 7, "99") for n in (1, 4))
    assert request.launchers == ("slurm",)
    assert find_ids(plan.starts) == [name_job(0)]
    assert find_ids(plan.kills) == [name_job(n) for n in (1, 1, 2)]
    assert find_ids(plan.reaps) == [name_job(3)]
    assert find_ids(plan.waits) == [name_job(4)]
    intents = site.store.intents.list_open(site.site_id)
    assert plan.newest == max(intent.id for intent in intents)
    assert {one.kind: one.sent for one in intents} == {
        "start": 1,
        "kill": 1,
        "forget": 1,
        "reap": 1,
        "log": 0,
    }


def test_what_was_sent_before_is_sent_again(site: Site) -> None:
    add_job(site, 0, "start")
    add_job(site, 1, "kill", state="RUNNING")
    first = collect(site)[1]
    assert collect(site)[1] == first


def test_a_job_that_nobody_knows_is_not_forgotten(site: Site) -> None:
    site.store.intents.add_intents(site.site_id, "forget", [name_job(0)])
    plan, request = collect(site)
    assert (request.forgets, plan.kills) == ((), [])
    assert [one.sent for one in read_intents(site, "forget")] == [0]


def test_a_job_that_waits_for_its_log_to_be_reaped_is_followed(site: Site) -> None:
    add_job(site, 0, "reap", state="COMPLETED", log_bytes=5)
    plan, request = collect(site)
    assert request.reaps == () and plan.reaps == []
    assert request.logs == (LogWant(name_job(0), 0, 5),)
    assert find_ids(plan.waits) == [name_job(0)]


# Starts.


def test_a_start_that_stands_twice_is_one_start(site: Site) -> None:
    add_job(site, 0, "start", "start")
    add_job(site, 1, "start")
    plan, request = collect(site)
    assert [start.job_id for start in request.starts] == [name_job(0), name_job(1)]
    assert len(plan.starts) == 2


def test_other_intents_between_starts_do_not_keep_them(site: Site) -> None:
    add_job(site, 0, "kill", "start")
    add_job(site, 1, "log", "start")
    assert len(collect(site)[1].starts) == 2


def test_a_start_of_an_unknown_or_ended_job_is_served(site: Site) -> None:
    site.store.intents.add_intents(site.site_id, "start", [name_job(9)])
    add_ended(site, 0, "start")
    add_job(site, 1, "start")
    numbers = [intent.id for intent in read_intents(site, "start")]
    plan, request = collect(site)
    assert [start.job_id for start in request.starts] == [name_job(1)]
    assert find_ids(plan.starts) == [name_job(1)]
    outcomes = [site.store.intents.read_outcomes(numbers)[number] for number in numbers]
    assert [(one.done, one.outcome) for one in outcomes] == [
        (1, "served"),
        (1, "served"),
        (0, ""),
    ]


@pytest.mark.parametrize("sent", [False, True])
def test_a_start_without_its_spec_fails(site: Site, sent: bool) -> None:
    job = add_job(site, 0, "start")
    add_job(site, 1, "start")
    number, _ = [intent.id for intent in read_intents(site, "start")]
    site.store.files.drop_spec(job.id)
    if sent:
        site.store.intents.mark_sent([number])
    assert [start.job_id for start in collect(site)[1].starts] == [name_job(1)]
    intent = site.store.intents.read_outcomes([number])[number]
    assert (intent.done, intent.outcome) == (1, "failed")
    error = errors.load(intent.note)
    assert isinstance(error, errors.JobError) and error.job_id == job.id
    # What went into a request may be on the host; what did not never was.
    assert (site.store.jobs.find_job(job.id) is None) is not sent


@pytest.mark.parametrize(
    ("sizes", "most", "chosen"),
    [
        ((5, 5, 1), 10, 2),
        ((5, 6), 10, 1),
        ((4, 5, 1), 10, 3),
        ((11, 1), 10, 1),
        ((10,), 10, 1),
        ((1, 1, 1), 1000, 2),
        ((1, 1), 1000, 2),
    ],
)
def test_starts_have_bounds_in_jobs_and_in_bytes(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, ...],
    most: int,
    chosen: int,
) -> None:
    monkeypatch.setattr(requests, "MAX_STARTS", 2 if most == 1000 else 100)
    monkeypatch.setattr(requests, "MAX_PROGRAM_BYTES", most)
    for number, size in enumerate(sizes):
        add_job(site, number, "start", line=b"x" * size)
    plan, request = collect(site)
    assert [s.job_id for s in request.starts] == [name_job(n) for n in range(chosen)]
    assert len(plan.starts) == chosen
    assert sum(one.sent for one in read_intents(site, "start")) == chosen


def test_what_stands_behind_the_bound_is_not_looked_at(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MAX_STARTS", 1)
    add_job(site, 0, "start")
    add_job(site, 1, "start")
    add_ended(site, 2, "start")
    collect(site)
    assert len(read_intents(site, "start")) == 3


@pytest.mark.parametrize(("count", "ends"), [(1, 1), (3, 3), (4, 4), (5, 0)])
def test_the_host_waits_for_the_ends_of_a_few_that_are_followed(
    site: Site, count: int, ends: int
) -> None:
    for number in range(count):
        add_job(site, number, "start", "log")
    assert collect(site)[1].ends == tuple(name_job(n) for n in range(ends))


def test_the_host_waits_for_no_end_that_nobody_follows(site: Site) -> None:
    add_job(site, 0, "start")
    add_job(site, 1, "start", "log")
    assert collect(site)[1].ends == (name_job(1),)


# Reaps.


def test_a_job_is_reaped_when_all_of_its_log_is_home(site: Site) -> None:
    add_job(site, 0, "reap", state="RUNNING")
    add_ended(site, 1, "reap", log_bytes=5, log_local_bytes=5)
    add_ended(site, 2, "reap", max_log_bytes=5, log_bytes=9, log_local_bytes=5)
    site.store.intents.add_intents(site.site_id, "reap", [name_job(9)])
    plan, request = collect(site)
    assert request.reaps == (Reap(name_job(1), 5), Reap(name_job(2), ANY_LOG))
    assert find_ids(plan.reaps) == [name_job(1), name_job(2)]


def test_a_log_that_a_power_failure_cut_is_not_reaped(site: Site) -> None:
    add_ended(site, 0, "reap", log_bytes=5, log_local_bytes=5)
    add_ended(site, 1, "reap", log_bytes=5, log_local_bytes=5)
    os.truncate(site.store.files.locate_log(name_job(0)), 3)
    plan, request = collect(site)
    assert [reap.job_id for reap in request.reaps] == [name_job(1)]
    assert find_ids(plan.reaps) == [name_job(1)]
    assert [one.sent for one in read_intents(site, "reap")] == [0, 1]


@pytest.mark.parametrize(
    ("sizes", "most", "chosen"),
    [
        ((5, 5, 1), 10, 2),
        ((5, 6), 10, 1),
        ((4, 5, 1), 10, 3),
        ((11, 1), 10, 1),
        ((1, 1, 1), 1000, 2),
        ((1, 1), 1000, 2),
        ((0, 0, 0), 1000, 2),
    ],
)
def test_reaps_have_bounds_in_jobs_and_in_bytes_of_log(
    site: Site,
    monkeypatch: pytest.MonkeyPatch,
    sizes: tuple[int, ...],
    most: int,
    chosen: int,
) -> None:
    monkeypatch.setattr(requests, "MAX_REAPS", 2 if most == 1000 else 100)
    monkeypatch.setattr(requests, "MAX_REAP_BYTES", most)
    for number, size in enumerate(sizes):
        add_ended(site, number, "reap", log_bytes=size, log_local_bytes=size)
    plan, request = collect(site)
    assert [reap.job_id for reap in request.reaps] == find_ids(plan.reaps)
    assert find_ids(plan.reaps) == [name_job(n) for n in range(chosen)]


# Logs.


def ask_for_log(site: Site, **changes: Any) -> LogWant:
    """Return what is asked of the log of one running job."""
    values: dict[str, Any] = {"state": "RUNNING", **changes}
    add_job(site, 0, "log", **values)
    (want,) = collect(site)[1].logs
    return want


def test_a_log_is_asked_for_from_where_it_ends_here(site: Site) -> None:
    want = ask_for_log(site, log_local_bytes=5, log_bytes=5)
    assert want == LogWant(name_job(0), 5, 4 * MIB)


def test_a_log_whose_file_was_cut_is_asked_for_again(site: Site) -> None:
    job = add_job(site, 0, "log", state="RUNNING", log_local_bytes=5, log_bytes=5)
    os.truncate(site.store.files.locate_log(job.id), 3)
    assert [want.offset for want in collect(site)[1].logs] == [3]


def test_logs_that_are_home_or_whose_jobs_are_unknown_are_not_wanted(
    site: Site,
) -> None:
    add_ended(site, 0, "log")
    add_job(site, 1, "kill", state="RUNNING")
    site.store.intents.add_intents(site.site_id, "log", [name_job(9)])
    plan, request = collect(site)
    assert (request.logs, plan.waits) == ((), [])


def test_of_an_ended_job_no_more_is_asked_than_there_is(site: Site) -> None:
    want = ask_for_log(site, state="FAILED", log_bytes=9, log_local_bytes=2)
    assert (want.offset, want.limit) == (2, 7)


def test_a_lost_jobs_log_may_be_longer_than_is_known(site: Site) -> None:
    assert ask_for_log(site, state="LOST", log_bytes=9).limit == 4 * MIB


@pytest.mark.parametrize(("most", "home", "limit"), [(100, 30, 70), (100, 0, 100)])
def test_no_more_is_asked_than_is_to_come_home(
    site: Site, most: int, home: int, limit: int
) -> None:
    want = ask_for_log(site, max_log_bytes=most, log_local_bytes=home, log_bytes=home)
    assert want.limit == limit


@pytest.mark.parametrize(
    ("left", "unfetched", "limit"),
    [
        (8 * MIB - 1, False, 4 * MIB),
        (8 * MIB, False, 65_536),
        (9 * MIB, False, 65_536),
        (9 * MIB, True, 4 * MIB),
        (MIB, True, 4 * MIB),
    ],
)
def test_of_a_long_log_a_round_brings_a_small_piece(
    site: Site, left: int, unfetched: bool, limit: int
) -> None:
    site.unfetched = {name_job(0)} if unfetched else set()
    assert ask_for_log(site, log_bytes=left).limit == limit


def test_a_long_log_that_fits_on_no_disk_is_brought_in_rounds(
    site: Site, disk: Disk
) -> None:
    disk.f_bavail = 8 * MIB - 1
    assert ask_for_log(site, log_bytes=9 * MIB).limit == 4 * MIB


def test_a_small_piece_is_no_larger_than_its_share(site: Site, disk: Disk) -> None:
    for number in range(4):
        add_job(site, number, "log", state="RUNNING", log_bytes=100 * MIB)
    disk.f_bavail = 8 * MIB
    assert [want.limit for want in collect(site)[1].logs] == [65_536] * 4
    disk.f_bavail = 8 * MIB - 4
    assert [want.limit for want in collect(site)[1].logs] == [2 * MIB - 1] * 4


def test_the_disk_keeps_its_floor(site: Site, disk: Disk) -> None:
    for number in range(3):
        add_job(site, number, "log", state="RUNNING")
    disk.f_bavail = 100
    plan, request = collect(site)
    assert [want.limit for want in request.logs] == [33, 33, 33]
    disk.f_bavail = 2
    plan, request = collect(site)
    assert (request.logs, plan.waits) == ((), [])
    disk.f_bavail = 0
    assert collect(site)[1].logs == ()


def test_one_log_may_have_all_the_room(site: Site, disk: Disk) -> None:
    disk.f_bavail = 101
    assert ask_for_log(site).limit == 101


@pytest.mark.parametrize(
    ("count", "setting", "limit"),
    [
        (8, 65_536, 4 * MIB),
        (9, 65_536, 32 * MIB // 9),
        (16, 65_536, 2 * MIB),
        (16, 3 * MIB, 3 * MIB),
        (1, 5 * MIB, 5 * MIB),
    ],
)
def test_the_bytes_of_one_reply_are_shared(
    tmp_path: Path, count: int, setting: int, limit: int
) -> None:
    site = make_site(tmp_path, log_chunk_size=setting)
    for number in range(count):
        add_job(site, number, "log", state="RUNNING")
    assert [want.limit for want in collect(site)[1].logs] == [limit] * count


@pytest.mark.parametrize(
    ("rounds", "numbers"),
    [(0, [0, 1]), (1, [2, 3]), (2, [4, 0]), (3, [1, 2]), (5, [0, 1])],
)
def test_of_many_logs_each_has_its_turn(
    site: Site, monkeypatch: pytest.MonkeyPatch, rounds: int, numbers: list[int]
) -> None:
    monkeypatch.setattr(requests, "MAX_LOGS", 2)
    for number in range(5):
        add_job(site, number, "log", state="RUNNING")
    site.row()
    site.store.sites.update_site(site.site_id, rounds=rounds)
    plan, request = collect(site)
    assert [want.job_id for want in request.logs] == [name_job(n) for n in numbers]
    assert sorted(find_ids(plan.waits)) == sorted(name_job(n) for n in numbers)


# Intents of processes that died too long ago.


@pytest.mark.parametrize("kind", ["start", "kill", "reap"])
@pytest.mark.parametrize("sent", [False, True])
def test_a_start_that_expires_is_cancelled_or_killed(
    site: Site, kind: str, sent: bool
) -> None:
    job = add_job(site, 0)
    (number,) = site.store.intents.add_intents(site.site_id, kind, [job.id], owner=0)
    if sent:
        site.store.intents.mark_sent([number])
    later = time.time() + site.settings.intent_ttl + 60
    expire(site, later)
    assert site.store.intents.read_outcomes([number]) == {}
    found = site.store.jobs.find_job(job.id)
    assert found is not None
    kills = [(one.job_id, one.pid) for one in read_intents(site, "kill")]
    has_spec = site.store.files.read_spec(job.id) is not None
    if kind == "start" and not sent:
        assert (found.state, found.finished_at) == ("CANCELLED", later)
        assert found.log_final and found.reason.startswith("never sent: ")
        assert (kills, has_spec) == ([], False)
    else:
        assert (found, has_spec) == (job, True)
        assert kills == ([(job.id, 0)] if kind == "start" else [])


def test_an_intent_of_a_living_process_does_not_expire(site: Site) -> None:
    job = add_job(site, 0, "start")
    expire(site, time.time() + site.settings.intent_ttl + 60)
    assert site.store.jobs.find_job(job.id) == job
    assert len(read_intents(site, "start")) == 1


@pytest.mark.parametrize("launcher", ["limit", ""])
def test_a_host_hears_of_its_limits_while_a_job_waits_its_turn_there(
    tmp_path: Path, launcher: str
) -> None:
    site = make_site(tmp_path, group_limits="gpu=2")
    add_job(site, 1, state="RUNNING", launcher=launcher)
    _, request = collect(site)
    assert request.limits == ("gpu=2" if launcher else "")
