"""Ends that somebody asks for: kill, a timeout, a signal to run."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.cli import Cli, eventually, finish


@pytest.mark.quick
def test_kill_ends_the_whole_tree_and_nothing_else(cli: Cli) -> None:
    other = cli.submit("--", "sleep 60")
    marker = "61.%d" % os.getpid()
    script = (
        f"trap '' TERM; (trap '' TERM; sleep {marker} & sleep {marker}) & "
        f"setsid sleep {marker} & setsid sh -c 'trap \"\" TERM; sleep {marker}; :' & "
        "while :; do sleep 0.1; done"
    )
    job = cli.ok(
        "submit", cli.host, "--", script, stdin=None
    ).id  # dies by KILL after the grace only
    eventually(lambda: _running(marker) == 4, "four sleepers")
    ended = finish([cli.start("kill", job, env={"SSHJOBS_KILL_GRACE": "1"})])[0]
    assert ended.status == 0, ended
    assert cli.job(job)["state"] == "CANCELLED"
    eventually(lambda: _running(marker) == 0, "no sleeper left")
    assert cli.state(other) == "RUNNING"
    cli.ok("kill", other)


def _running(marker: str) -> int:
    found = subprocess.run(["pgrep", "-fc", f"sleep {marker}$"], capture_output=True)
    return int(found.stdout)


def test_a_timeout_is_kept_with_no_client_alive(cli: Cli) -> None:
    job = cli.submit("--timeout", "1", "--", "sleep 61")
    cli.close()
    eventually(lambda: (cli.directory(job) / "exit").exists(), "the end")
    assert cli.state(job) == "TIMEOUT"


def test_run_of_a_job_whose_time_is_up_ends_with_124(cli: Cli) -> None:
    assert cli("run", cli.host, "--timeout", "1", "--", "sleep 61").status == 124


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_run_cancels_the_job(cli: Cli, number: int) -> None:
    process = cli.start("run", cli.host, "--", "echo up; exec sleep 62")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert finish([process])[0].status == 143
    (record,) = cli.ok("list", "--json").objects
    assert record["state"] == "CANCELLED"


def test_a_signal_to_a_run_that_detaches_leaves_the_job(cli: Cli) -> None:
    process = cli.start(
        "run", cli.host, "--detach-on-signal", "--", "echo up; exec sleep 62"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    ended = finish([process])[0]
    assert ended.status == 143
    (record,) = cli.ok("poll", "--json").objects
    assert record["state"] == "RUNNING"
    assert f"sshjobs logs {record['id']} --follow" in ended.err
    cli.ok("kill", record["id"])


def test_a_closed_pipe_leaves_the_job(cli: Cli) -> None:
    process = cli.start("run", cli.host, "--", "while :; do echo y; sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    finish([process])
    (record,) = cli.ok("poll", "--json").objects
    assert record["state"] == "RUNNING"
    cli.ok("kill", record["id"])


def test_a_job_not_yet_sent_is_cancelled_here(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    process = cli.start("submit", cli.host, "--", "echo never")
    eventually(lambda: cli("list", "--json").out, "the row")
    (row,) = cli.ok("list", "--json").objects
    assert cli.ok("kill", row["id"], "--json").objects[0]["state"] == "CANCELLED"
    cli.sshd.start()
    finish([process])
    assert not cli.directory(row["id"]).exists()
    assert cli.job(row["id"])["state"] == "CANCELLED"


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.4])
def test_a_run_that_is_told_to_end_early_leaves_nothing(cli: Cli, delay: float) -> None:
    runs = [cli.start("run", cli.host, "--", "sleep 600") for _ in range(4)]
    time.sleep(delay)
    for run in runs:
        run.send_signal(signal.SIGTERM)
    finish(runs)
    for row in cli("poll", "--json").objects:
        assert row["state"] != "RUNNING", row
    assert not [row for row in cli.ok("list", "--json").objects if _alive(row)]


def _alive(row: dict[str, object]) -> bool:
    return row["state"] in ("PENDING", "RUNNING")


def test_a_cancel_that_cannot_be_told_is_kept(cli: Cli) -> None:
    assert cli.sshd is not None
    run = cli.start(
        "run", cli.host, "--wait-host", "1", "--", "echo up; exec sleep 600"
    )
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    cli.sshd.close()
    run.send_signal(signal.SIGTERM)
    ended = finish([run])[0]
    assert ended.status == 75, ended
    assert "NOT cancelled" in ended.err
    cli.sshd.start()
    (row,) = cli.ok("list", "--json").objects
    eventually(lambda: cli.state(str(row["id"])) == "CANCELLED", "the end")


def test_a_cancelled_run_gives_the_rest_of_the_log(cli: Cli) -> None:
    script = 'trap "echo tail; exit 0" TERM; echo head; while :; do sleep 0.1; done'
    run = cli.start("run", cli.host, "--", script)
    assert run.stdout is not None and run.stdout.readline() == b"head\n"
    run.send_signal(signal.SIGTERM)
    assert finish([run])[0].lines[-1] == "tail"


def test_a_grace_is_for_what_a_trap_starts(cli: Cli) -> None:
    script = 'trap "sleep 2; echo slept \\$?; exit 0" TERM; while :; do sleep 0.1; done'
    job = cli.submit("--", script)
    time.sleep(0.5)
    cli.ok("kill", job)
    assert cli.ok("logs", job).lines[-1] == "slept 0"
