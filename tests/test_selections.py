"""The jobs that a call means: ids, names, patterns, keys, and the flags beside them."""

from __future__ import annotations

import os
import pty
import time
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.cli import parser
from sshjobs.errors import JobNotFound, NothingSelected, SpecError
from sshjobs.model import Job
from sshjobs.verbs.context import Context
from sshjobs.verbs.instants import read_past_instant
from sshjobs.verbs.selection import (
    Criteria,
    find_job,
    select_jobs,
    select_recorded_jobs,
)
from tests.cli import VERBS, Cli

NOW = time.time()


def make_job(number: int, state: str, **fields: object) -> Job:
    """Return a job whose id begins with ``j`` and its number."""
    job_id = f"j{number}" + "a" * (15 - len(str(number)))
    job_id = job_id.translate(str.maketrans("0189", "wxyz"))
    values: dict[str, object] = {"host": "box", "site_id": "s1"} | fields
    values.setdefault("submitted_at", NOW - 1000 + number)
    return Job(id=job_id, state=state, **values)  # type: ignore[arg-type]


JOBS = [
    make_job(2, states.RUNNING, name="train"),
    make_job(3, states.FAILED, name="train", finished_at=NOW - 500),
    make_job(22, states.COMPLETED, name="sweep-1", finished_at=NOW - 90_000),
    make_job(23, states.RUNNING, name="sweep-2", host="far", site_id="s2"),
    make_job(4, states.FAILED, key="exp7/a", name="a", finished_at=NOW - 300),
    make_job(5, states.RUNNING, key="exp7/a", name="a", attempt=2),
    make_job(6, states.COMPLETED, key="exp7/b", finished_at=NOW - 100),
    make_job(7, states.FAILED, key="exp7/b", host="far", site_id="s2"),
    make_job(224, states.PENDING, name="odd[1]"),
    make_job(225, states.PENDING, name="odd1"),
    make_job(226, states.PENDING),
]


@pytest.fixture
def ctx(tmp_path: Path) -> Context:
    """A record with jobs of all kinds, and no host."""
    made = Context({"SSHJOBS_HOME": str(tmp_path / "home")}, {})
    made.store.jobs.add_jobs(JOBS)
    for site_id, host in (("s1", "box"), ("s2", "far")):
        made.store.sites.ensure_site(site_id, host)
    return made


def numbers(ctx: Context, criteria: Criteria) -> set[int]:
    """Return which of :data:`JOBS` are selected, by their places."""
    found = select_jobs(ctx, criteria)
    ids = {job_id for some in found.every.values() for job_id in some}
    return {place for place, job in enumerate(JOBS) if job.id in ids}


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ([JOBS[2].id], {2}),
        (["j22aa"], {2}),
        (["j3"], {1}),
        (["train"], {0, 1}),
        (["sweep-*"], {2, 3}),
        (["sweep-[!1]"], {3}),
        (["*[12]"], {2, 3, 9}),
        (["odd[1]"], {8}),
        (["exp7/b"], {6, 7}),
        (["exp7/*"], {6, 7}),
        (["key:exp7/*"], {5, 6, 7}),
        (["key:exp7/a"], {5}),
        (["a"], {5}),
        (["train", "j3", "sweep-1"], {0, 1, 2}),
    ],
)
def test_a_word_means_jobs(ctx: Context, words: list[str], meant: set[int]) -> None:
    assert numbers(ctx, Criteria(jobs=words)) == meant


@pytest.mark.parametrize(
    ("criteria", "meant"),
    [
        (Criteria(), {0, 3, 5, 8, 9, 10}),
        (Criteria(hosts=["far"]), {3}),
        (Criteria(hosts=["f*", "box"]), {0, 3, 5, 8, 9, 10}),
        (Criteria(names=["sweep-*"]), {2, 3}),
        (Criteria(names=["sweep-*", "train"], states=["RUNNING"]), {0, 3}),
        (Criteria(keys=["exp7/*"]), {5, 6, 7}),
        (Criteria(keys=["exp7/*"], hosts=["box"]), {5, 6}),
        (Criteria(states=["FAILED", "COMPLETED"]), {1, 2, 6, 7}),
        (Criteria(jobs=["sweep-*"], states=["RUNNING"]), {3}),
        (Criteria(since="1h"), {0, 1, 3, 5, 6, 7, 8, 9, 10}),
        (Criteria(since="2d", states=["COMPLETED"]), {2, 6}),
    ],
)
def test_conditions_hold_together(
    ctx: Context, criteria: Criteria, meant: set[int]
) -> None:
    assert numbers(ctx, criteria) == meant


def test_a_list_has_every_attempt_and_is_in_order(ctx: Context) -> None:
    for criteria in (Criteria(keys=["exp7/a"]), Criteria(jobs=["key:exp7/a"])):
        assert list(select_recorded_jobs(ctx, criteria)) == [JOBS[4], JOBS[5]]
    everything = Criteria(hosts=["box", "far"])
    assert set(select_recorded_jobs(ctx, everything)) == set(JOBS)


def test_a_beginning_of_several_ids_shows_them(ctx: Context) -> None:
    with pytest.raises(JobNotFound) as caught:
        select_jobs(ctx, ["j22"])
    text = str(caught.value)
    assert [job.id in text for job in JOBS[8:]] == [True] * 3
    assert "odd[1]" in text and "PENDING" in text and JOBS[2].id in text
    assert JOBS[0].id not in text


def test_one_job_is_wanted_and_several_are_meant(ctx: Context) -> None:
    assert find_job(ctx, "key:exp7/a") == JOBS[5]
    assert find_job(ctx, "sweep-1") == JOBS[2]
    with pytest.raises(JobNotFound) as caught:
        find_job(ctx, "train")
    assert JOBS[0].id in str(caught.value) and JOBS[1].id in str(caught.value)


@pytest.mark.parametrize(
    "criteria",
    [
        Criteria(jobs=["nope"]),
        Criteria(jobs=["nope-*"]),
        Criteria(jobs=["train", "nope"]),
        Criteria(jobs=["train"], hosts=["far"]),
        Criteria(jobs=[JOBS[0].id], states=["LOST"]),
        Criteria(jobs=["key:exp8/*"]),
        Criteria(states=["LOST"]),
        Criteria(names=["train*"], since="1d", states=["TIMEOUT"]),
    ],
)
def test_no_job_is_an_error_that_says_so(ctx: Context, criteria: Criteria) -> None:
    with pytest.raises(JobNotFound) as caught:
        select_jobs(ctx, criteria)
    assert caught.value.exit_status == 64
    if not criteria.jobs:
        assert isinstance(caught.value, NothingSelected)
        assert str(criteria) in str(caught.value)
    found = select_jobs(ctx, criteria._replace(allow_empty=True))
    ids = [job_id for some in found.every.values() for job_id in some]
    assert set(ids) <= {JOBS[0].id, JOBS[1].id}


def test_a_host_that_was_never_used_is_a_slip(ctx: Context) -> None:
    for host in ("nope", "nope*"):
        with pytest.raises(SpecError, match="no such host"):
            select_jobs(ctx, Criteria(hosts=[host]))


def test_a_pattern_is_no_program_of_sqlite(ctx: Context) -> None:
    for text in ("' OR 1 --", "*' OR '1' = '1", "%", "_____", "[", "*[", "?" * 5000):
        with pytest.raises(JobNotFound):
            select_jobs(ctx, Criteria(jobs=[text], states=["LOST"]))


@pytest.mark.parametrize(
    ("text", "ago"),
    [("90", 90), ("2h", 7200), ("1w", 604_800), ("08:30", 3600), ("10:00:00", 84_600)],
)
def test_an_instant_of_the_past(text: str, ago: float) -> None:
    now = time.mktime((2026, 5, 20, 9, 30, 0, 0, 0, -1))
    assert read_past_instant(text, now) == pytest.approx(now - ago, abs=0.01)


def test_dates() -> None:
    now = time.mktime((2026, 5, 20, 9, 30, 0, 0, 0, -1))
    for text, when in (
        ("today", (2026, 5, 20, 0, 0)),
        ("yesterday", (2026, 5, 19, 0, 0)),
        ("2026-05-01", (2026, 5, 1, 0, 0)),
        ("2026-05-01 07:45", (2026, 5, 1, 7, 45)),
        ("2026-05-01T07:45:00", (2026, 5, 1, 7, 45)),
    ):
        assert read_past_instant(text, now) == time.mktime((*when, 0, 0, 0, -1))
    assert read_past_instant("2026-05-01T00:00:00Z", now) == 1_777_593_600
    for text in ("2026-05-21", "25:00", "", "-1h", "tomorrow", "1e3"):
        with pytest.raises(SpecError, match="not an instant"):
            read_past_instant(text, now)


def test_flags_that_make_sense_twice_add_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "--state running --state failed,lost --host a --host b,c --name n --key k"
    values = parser.read_arguments(VERBS["wait"], words.split())
    assert values["state"] == ["RUNNING", "FAILED", "LOST"]
    assert values["host"] == ["a", "b", "c"]
    assert (values["name"], values["key"]) == (["n"], ["k"])
    with pytest.raises(SystemExit) as ended:
        parser.read_arguments(VERBS["wait"], ["--since", "1h", "--since", "2h"])
    assert ended.value.code == 64
    assert "given twice" in capsys.readouterr().err


@pytest.fixture
def batch(cli: Cli) -> tuple[Cli, list[str]]:
    """Three jobs of a batch that run, one of it that failed, and another job."""
    ids = [cli.submit("--name", f"sweep-{n}", "--", "sleep 600") for n in range(3)]
    ids.append(cli.submit("--name", "sweep-3", "--", "echo oops; exit 3"))
    ids.append(cli.submit("--name", "other", "--", "sleep 600"))
    cli("wait", ids[3])
    return cli, ids


def test_a_batch_is_seen_and_ended_by_its_name(batch: tuple[Cli, list[str]]) -> None:
    cli, ids = batch
    polled = cli("poll", "sweep-*", "--json")
    assert polled.status == 1
    assert [row["id"] for row in polled.objects] == ids[:4]
    logs = cli.ok("logs", "--state", "FAILED", "--since", "1h", "--tail", "5")
    assert logs.out == "oops\n"
    assert ids[3] in cli.ok("show", "sweep-3").out
    killed = cli.ok("kill", "sweep-*")
    assert sorted(line.split()[0] for line in killed.lines) == sorted(ids[:3])
    assert "3 jobs are to end" in killed.err
    assert {row["state"] for row in cli.ok("list", "sweep-*", "--json").objects} == {
        "CANCELLED",
        "FAILED",
    }
    assert cli.job(ids[4])["state"] == "RUNNING"
    again = cli.ok("kill", "sweep-*")
    assert again.out == "" and "all 4 jobs have ended" in again.err
    reaped = cli.ok("reap", "sweep-*")
    assert len(reaped.lines) == 4
    assert "nothing to reap" in cli.ok("reap", "sweep-3").err
    assert "not ended" in cli.ok("reap", "other").err
    assert [path.name for path in (cli.base / "jobs").iterdir()] == ids[4:]
    assert cli.ok("kill", "other").lines[0].split()[:2] == [ids[4], "CANCELLED"]


def test_logs_of_several_jobs_name_each(cli: Cli) -> None:
    one = cli.submit("--name", "part", "--", "echo one")
    two = cli.submit("--name", "part", "--", "echo two")
    cli.ok("wait", "part")
    logs = cli.ok("logs", "part").out
    ended = "part COMPLETED exit 0 <=="
    assert logs == f"==> {one} {ended}\none\n\n==> {two} {ended}\ntwo\n"


@pytest.mark.parametrize(("answer", "ends"), [(b"y\n", True), (b"\n", False)])
def test_several_jobs_end_after_a_question(
    batch: tuple[Cli, list[str]], answer: bytes, ends: bool
) -> None:
    """At a terminal; with --yes, or where there is none, nothing is asked."""
    cli, ids = batch
    ours, theirs = pty.openpty()
    process = cli.start("kill", "sweep-*", stdin=theirs, stderr=theirs)
    os.close(theirs)
    said = b""
    while b"[y/N] " not in said:
        said += os.read(ours, 4096)
    assert all(job_id.encode() in said for job_id in ids[:3])
    assert ids[4].encode() not in said
    os.write(ours, answer)
    out, _ = process.communicate(timeout=60)
    os.close(ours)
    assert process.returncode == (0 if ends else 130)
    assert len(out.splitlines()) == (3 if ends else 0)
    assert cli.job(ids[0])["state"] == ("CANCELLED" if ends else "RUNNING")


def test_nothing_is_asked_with_yes_or_of_one_job(batch: tuple[Cli, list[str]]) -> None:
    cli, ids = batch
    for words in (["--yes", "sweep-*"], ["other"]):
        ours, theirs = pty.openpty()
        process = cli.start("kill", *words, stdin=theirs, stderr=theirs)
        os.close(theirs)
        process.communicate(timeout=60)
        os.close(ours)
        assert process.returncode == 0


def test_none_that_is_active_is_said(cli: Cli) -> None:
    for verb in ("poll", "wait"):
        ended = cli.ok(verb)
        assert ended.out == "" and "no job is active" in ended.err
        assert cli.ok(verb, "--allow-empty").err == ""
    cli.ok("run", cli.host, "--", "true")
    assert f"no job is active on {cli.host}" in cli.ok("wait", "--host", cli.host).err
    assert cli("poll", "--sensor").err == ""
    assert cli("poll", "--sensor", "nope").status == 64
    assert cli("poll", "--sensor", "nope", "--allow-empty").status == 0
