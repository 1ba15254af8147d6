"""A job whose standard error has a log of its own: both come home whole, each once."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import sshjobs
from sshjobs import protocol
from sshjobs.errors import ProtocolError, SpecError
from sshjobs.model import Job, Spec, name_streams, new_job_id, unpack
from sshjobs.protocol import Reap, Request, Start
from sshjobs.protocol.frames import read_event
from sshjobs.rounds.asked import Asked
from sshjobs.rounds.log_state import (
    count_bytes_left,
    is_log_cut,
    is_log_full,
    is_log_wanted,
    view_log,
)
from sshjobs.store import Store, schema
from tests.cli import Cli, Ended, drop_waiting_words, eventually
from tests.fleet import Fleet
from tests.remote.host import Host, of, reap_of

BOTH = "echo out; echo err >&2; printf more; printf worse >&2"
OUT, ERR = b"out\nmore", b"err\nworse"
MIB = 1 << 20


def stderr_of(ended: Ended, job_id: str) -> str:
    """Return what ``run`` printed on standard error, behind the id of the job."""
    first, _, rest = ended.err.partition("\n")
    assert first == job_id
    return rest


def test_each_stream_comes_where_it_belongs(cli: Cli) -> None:
    ran = cli("run", cli.host, "--split", "--", BOTH + "; exit 3")
    (job,) = cli.ok("list", "--json").objects
    assert (ran.status, ran.raw) == (3, OUT)
    assert stderr_of(ran, job["id"]).startswith("err\nworse")
    assert cli.ok("logs", job["id"], "--stderr").raw == ERR
    shown = cli.ok("logs", job["id"])
    assert (shown.raw, shown.said) == (OUT, ["err", "worse"])
    for words in (("--tail", "1"), ("--offset", "4")):
        end = cli.ok("logs", job["id"], *words)
        assert (end.raw, end.said) == (b"more", ["worse"])
    assert cli.ok("logs", job["id"], "--stderr", "--tail", "1").raw == b"worse"
    assert cli.ok("logs", job["id"], "--stderr", "--offset", "4").raw == b"worse"
    folder = cli.directory(job["id"])
    assert [(folder / name).read_bytes() for name in ("log", "stderr")] == [OUT, ERR]
    cli.ok("reap")
    assert not folder.exists()
    assert cli.ok("logs", job["id"], "--stderr").raw == ERR
    assert "stderr here" in cli.ok("show", job["id"]).out


def test_one_log_stays_the_usual(cli: Cli) -> None:
    job = cli.submit("--", BOTH)
    cli.ok("wait")
    asked = cli.ok("logs", job, "--stderr")
    assert asked.raw == b"out\nerr\nmoreworse"
    assert "without --split" in asked.err
    assert not (cli.directory(job) / "stderr").exists()
    assert b"stderr" not in (cli.directory(job) / "exit").read_bytes()
    assert "stderr here" not in cli.ok("show", job).out


def test_a_follower_waits_for_both_and_a_cut_costs_no_byte(cli: Cli) -> None:
    line = "for i in 1 2 3 4; do echo o$i; echo e$i >&2; sleep 0.3; done"
    process = cli.start("run", cli.host, "--split", "--", line)
    assert process.stdout is not None
    assert process.stdout.readline() == b"o1\n"
    assert cli.sshd is not None
    for pid in cli.sshd.session_pids():  # the connection goes in between
        os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"o2\no3\no4\n")
    lines = [line for line in err.splitlines() if line[:1] == b"e"]
    assert lines == [b"e1", b"e2", b"e3", b"e4"]


def test_who_follows_later_has_both_as_from_run(cli: Cli) -> None:
    gate = cli.base.parent / "go"
    line = f"echo o1; echo e1 >&2; until [ -e {gate} ]; do sleep 0.1; done; echo e2 >&2"
    job = cli.submit("--split", "--", line)
    follower = cli.start("logs", job, "--follow")
    assert follower.stdout is not None and follower.stderr is not None
    assert follower.stdout.readline() == b"o1\n"
    assert follower.stderr.readline() == b"e1\n"
    gate.touch()
    out, err = follower.communicate(timeout=60)
    assert (out, drop_waiting_words(err.decode())) == (b"", "e2\n")
    with (cli.home / "out").open("wb") as file:  # nobody reads that meanwhile
        printed = cli.start("logs", job, stdout=file).communicate(timeout=60)[1]
    assert ((cli.home / "out").read_bytes(), printed) == (b"o1\n", b"e1\ne2\n")


def test_long_logs_have_sessions_of_their_own(cli: Cli) -> None:
    line = f"head -c {12 * MIB} /dev/zero; head -c {9 * MIB} /dev/zero | tr '\\0' e >&2"
    job = cli.submit("--split", "--", line)
    cli.ok("wait")
    assert len(cli.ok("logs", job).raw) == 12 * MIB
    assert cli.ok("logs", job, "--stderr").raw == b"e" * (9 * MIB)
    cli.ok("reap")
    assert not cli.directory(job).exists()


def test_a_bound_holds_for_each_of_both(cli: Cli) -> None:
    words = ("--split", "--max-log-bytes", "10", "--cleanup", "always")
    long = "seq 1 1000; echo short >&2"
    ended = cli("run", cli.host, *words, "--", long)
    (job,) = cli.ok("list", "--json").objects
    assert (ended.status, ended.raw) == (0, b"1\n2\n3\n4\n5\n")
    assert "short\n" in ended.err and "--whole" in ended.err
    assert cli.directory(job["id"]).exists()
    assert cli("reap").status == 1
    other = cli("run", cli.host, *words, "--", "echo short; seq 1 1000 >&2")
    assert (other.status, other.raw) == (0, b"short\n")
    assert "5\nsshjobs: " in other.err
    (last,) = (job["id"] for job in cli.ok("list", "--json").objects[1:])
    for said, path in ((ended, f"{job['id']}/log"), (other, f"{last}/stderr")):
        assert "was cut at 10 bytes" in said.err and f"in jobs/{path} below" in said.err
    assert len(cli.ok("logs", job["id"], "--whole").raw) == 3893
    cli.ok("reap", "--cut-logs")
    assert not list((cli.base / "jobs").iterdir())


def test_a_line_of_a_batch_and_a_job_that_runs_again_are_split(cli: Cli) -> None:
    lines = f'{{"command": "{BOTH}; exit 1", "split": true}}\necho plain\n'
    words = ("submit", cli.host, "--from", "-")
    split, plain = cli.ok(*words, stdin=lines.encode()).out.split()
    cli("wait")
    assert [cli.job(job)["stderr_bytes"] for job in (split, plain)] == [9, None]
    again = cli.ok("rerun", split).lines[-1].split()[0]
    cli("wait")
    assert again != split and cli.ok("logs", again, "--stderr").raw == ERR
    bad = cli(*words, stdin=b'{"command": "true", "split": 1}')
    assert bad.status == 64 and "line 1: split is not bool" in bad.err


def test_why_a_job_failed_is_its_last_line_of_standard_error(cli: Cli) -> None:
    job = cli.submit("--split", "--", "echo fine; echo no such file >&2; exit 1")
    cli.submit("--", "exit 1")
    ended = cli("wait", "--host", cli.host)
    failed = cli("logs", "--state", "FAILED", "--stderr", "--tail", "1")
    assert b"no such file\n" in failed.raw and b"fine" not in failed.raw
    assert job in failed.out and ended.status in (0, 1)
    follow = cli("logs", job, "--prefix", "--stderr")
    assert follow.out.rstrip().endswith("no such file")


def test_several_hosts_have_their_standard_errors_apart(fleet: Fleet) -> None:
    for host in ("n0", "n1"):
        fleet.add(host)
    fleet.write()
    ran = fleet.cli("run", "n0,n1", "--split", "--", BOTH)
    assert ran.status == 0
    for host in ("n0", "n1"):
        for text, words in ((ran.out, ["out", "more"]), (ran.err, ["err", "worse"])):
            lines = [one for one in text.splitlines() if one.startswith(f"{host} ")]
            assert [line.split()[-1] for line in lines] == words


def test_the_python_api_has_both(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in cli.env.items():
        monkeypatch.setenv(name, value)
    with sshjobs.Host(cli.host) as host:
        done = host.run(BOTH, split=True)
        assert (done.stdout, done.stderr) == (OUT, ERR)
        text = host.run(BOTH, split=True, text=True)
        assert (text.stdout, text.stderr) == (OUT.decode(), ERR.decode())
        one = host.run("echo one >&2")
        assert (one.stdout, one.stderr) == (b"one\n", b"")
        with pytest.raises(SpecError, match="split"):
            host.run("true", split=1)  # type: ignore[call-overload]


def test_a_second_log_that_is_not_home_is_not_deleted(any_host: Host) -> None:
    """Nor by a client that knows nothing of it, as one of an older version."""
    job_id = start_split(any_host, b"printf 12345; printf 123 >&2")
    ended = any_host.end(job_id)
    assert (ended.log_bytes, ended.stderr_bytes) == (5, 3)
    first, second = reap_of(job_id, b"12345"), reap_of(job_id, b"123")
    second = second._replace(stream="stderr")
    for reaps in ((first,), (reap_of(job_id, b"12")._replace(stream="stderr"), first)):
        longer, refused = reap(any_host, *reaps)
        assert longer == protocol.Longer(job_id, 3, "stderr")
        assert isinstance(refused, protocol.ReapRefused)
    other = reap_of(job_id, b"321")._replace(stream="stderr")
    assert protocol.Differs(job_id) in reap(any_host, other, first)
    assert (any_host.jobs / job_id / "stderr").read_bytes() == b"123"
    assert reap(any_host, second, first) == [protocol.Reaped(job_id)]
    check = protocol.Check(job_id, None, "")
    (told,) = of(protocol.Ended, any_host.run(Request(checks=(check,))))
    assert (told.log_bytes, told.stderr_bytes) == (5, 3)


def start_split(host: Host, line: bytes) -> str:
    """Start a job with two logs; return its id."""
    job_id = new_job_id()
    host.run(Request(starts=(Start(job_id, Spec(line, split=True)),)))
    return job_id


def reap(host: Host, *reaps: Reap) -> list[protocol.Event]:
    said = host.run(Request(reaps=reaps))
    return [event for event in said if hasattr(event, "job_id")]


@pytest.mark.parametrize("odd", ["link", "fifo", "directory"])
def test_what_a_job_puts_in_place_of_its_log_is_not_read(
    any_host: Host, odd: str
) -> None:
    job_id = start_split(any_host, b"echo 1; echo 2 >&2")
    any_host.end(job_id)
    path = any_host.jobs / job_id / "stderr"
    path.unlink()
    make: dict[str, Callable[[Path], Any]] = {
        "link": lambda path: path.symlink_to("/etc/passwd"),
        "fifo": os.mkfifo,
        "directory": Path.mkdir,
    }
    make[odd](path)
    wants = tuple(protocol.LogWant(job_id, 0, 99, stream) for stream in ("", "stderr"))
    said = any_host.run(Request(logs=wants))
    data = {(one.stream, one.data) for one in of(protocol.LogData, said)}
    assert data == {("", b"1\n")}
    assert of(protocol.NoLog, said) == [protocol.NoLog(job_id, "its log is no file")]


ID = "a" * 16


@pytest.mark.parametrize(
    "line",
    [
        b"ended %s 0 - - - - 1+ x",
        b"ended %s 0 - - - - 1+2+3 x",
        b"ended %s 0 - - - - +2 x",
        b"longer %s/stdout 3",
        b"longer %s/ 3",
        b"longer %s/../x 3",
        b"differs %s/stderr",
    ],
)
def test_frames_that_name_no_log_of_ours_are_not_read(line: bytes) -> None:
    tag, _, rest = (line % ID.encode()).partition(b" ")
    assert isinstance(read_event(tag, rest), protocol.Unread)


def test_log_bytes_of_a_log_that_was_not_asked_for_end_the_round() -> None:
    asked = Asked(Request(logs=(protocol.LogWant(ID, 0, 9),)), "box")
    asked.check(protocol.LogData(ID, 0, b"x"))
    with pytest.raises(ProtocolError, match="was not asked for"):
        asked.check(protocol.LogData(ID, 0, b"x", "stderr"))


def job_of(**columns: Any) -> Job:
    return Job(ID, "box", "site", **{"state": "COMPLETED"} | columns)


def test_a_job_is_whole_once_both_logs_are() -> None:
    one = job_of(log_bytes=5, log_local_bytes=5)
    assert name_streams(one) == ("",) and view_log(one, "stderr") == one
    two = one._replace(stderr_bytes=7)
    assert name_streams(two) == ("", "stderr") and is_log_wanted(two)
    assert count_bytes_left(two) == 7
    assert count_bytes_left(view_log(two, "")) == 0
    assert count_bytes_left(view_log(two, "stderr")) == 7
    cut = two._replace(max_log_bytes=6, stderr_local_bytes=6)
    assert is_log_full(cut) and is_log_cut(cut) and not is_log_wanted(cut)
    running = cut._replace(state="RUNNING")
    assert not is_log_full(running) and is_log_wanted(running)


def test_a_store_of_the_version_before_has_jobs_with_one_log(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "home"))
    store.jobs.add_jobs([job_of(log_bytes=5)])
    store.close()
    with closing(sqlite3.connect(tmp_path / "home" / "store.db")) as db:
        for name in ("stderr_bytes", "stderr_local_bytes"):
            db.execute(f"ALTER TABLE jobs DROP COLUMN {name}")
        db.execute("DROP INDEX jobs_ended")
        db.execute("PRAGMA user_version = 8")
        db.commit()
    store = Store(str(tmp_path / "home"))
    assert store.jobs.find_job(ID) == job_of(log_bytes=5)
    (version,) = store._database.fetch_rows("PRAGMA user_version")[0]
    assert version == schema.VERSION
    store.jobs.forget_jobs([ID])
    store.close()


def test_an_older_version_reads_the_spec_of_a_job_with_one_log() -> None:
    assert "split" not in unpack(Spec(b"true").dumps())
    spec = Spec(b"true", split=True)
    assert Spec.loads(spec.dumps()) == spec
    assert spec.digest() == Spec(b"true").digest()


def test_files_of_both_logs_go_with_the_record(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "home"))
    store.jobs.add_jobs([job_of(stderr_bytes=2, stderr_local_bytes=2)])
    paths = [Path(store.files.locate_log(ID, stream)) for stream in ("", "stderr")]
    for path in paths:
        path.write_bytes(b"xy")
    job = store.jobs.find_job(ID)
    assert job is not None and store.check_log(job) == job
    paths[1].write_bytes(b"x")
    assert store.check_log(job).stderr_local_bytes == 1
    store.jobs.forget_jobs([ID])
    assert not any(path.exists() for path in paths)
    store.close()


def test_a_signal_in_between_takes_no_byte_twice(cli: Cli) -> None:
    line = "trap 'echo bye >&2; exit' TERM; echo on >&2; while :; do sleep 0.05; done"
    process = cli.start("run", cli.host, "--split", "--", line)
    assert process.stderr is not None
    process.stderr.readline()
    assert process.stderr.readline() == b"on\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (143, b"")
    assert err.splitlines().count(b"bye") == 1 and b"on\n" not in err


def test_another_machine_takes_both_up(cli: Cli, tmp_path: Path) -> None:
    job = cli.submit("--split", "--", BOTH)
    cli.ok("wait")
    twin = cli.twin(cli.home.parent / "twin")
    try:
        twin.ok("poll", "--host", cli.host, "--adopt")
        assert twin.ok("logs", job, "--stderr").raw == ERR
        assert json.loads(twin.ok("show", job, "--json").out)["stderr_bytes"] == len(
            ERR
        )
    finally:
        twin.close()
    eventually(lambda: cli.state(job) == "COMPLETED")


def test_standard_error_that_is_closed_leaves_the_job(cli: Cli) -> None:
    line = "while :; do echo x >&2; sleep 0.05; done"
    process = cli.start("run", cli.host, "--split", "--", line)
    assert process.stderr is not None
    job = process.stderr.readline().decode().strip()
    process.stderr.readline()
    process.stderr.close()
    assert process.wait(60) == 141
    assert process.stdout is not None
    process.stdout.close()
    assert cli.state(job) == "RUNNING"
    cli.ok("kill", job)
