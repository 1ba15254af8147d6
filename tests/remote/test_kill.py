"""Kills and timeouts: the whole tree ends, whatever it does, and says why."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.remote.host import (
    Host,
    an_order,
    dying_runner,
    gone,
    have_no_runner,
    of,
    prepared,
    slow_child,
    slow_runner,
    wait,
)

STUBBORN = b"""
trap '' TERM
setsid sh -c 'trap "" TERM; echo child; while :; do sleep 100; done' &
(sleep 100 & sleep 100) &
while :; do sleep 100; done
"""


def test_kill_ends_the_whole_tree_and_nothing_else(any_host: Host) -> None:
    started = any_host.running(b"setsid sleep 100 & sleep 101 & sleep 102")
    other = any_host.running(b"sleep 103")
    said = any_host.kill(started.job_id)
    assert of(protocol.KillSent, said)
    ended = any_host.end(started.job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGTERM)
    assert sorted(
        line for line in any_host.marked().values() if line.startswith("sleep")
    ) == ["sleep 103 "]
    assert not gone(other.pgid)


def test_kill_ends_a_tree_that_ignores_term(any_host: Host) -> None:
    started = any_host.running(STUBBORN, kill_grace=0.5)
    wait(lambda: b"child" in any_host.log(started.job_id))
    any_host.kill(started.job_id)
    ended = any_host.end(started.job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGKILL)
    wait(lambda: not any_host.marked())


def test_kill_wakes_a_runner_that_was_stopped(any_host: Host) -> None:
    started = any_host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGSTOP)
    any_host.kill(started.job_id)
    assert any_host.end(started.job_id).cause == "cancelled"


@pytest.mark.parametrize("edit", [slow_child, slow_runner])
def test_kill_reaches_a_job_before_its_exec(
    any_host: Host, edit: Callable[[bytes], bytes]
) -> None:
    """The job has no group of its own yet and no mark, or there is only its runner."""
    any_host.edit = edit
    job_id = any_host.start(b"sleep 100")
    any_host.kill(job_id)
    ended = any_host.end(job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGTERM)
    assert ended.reason == ""
    wait(lambda: not any_host.marked())


@pytest.mark.parametrize("edit", [slow_child, dying_runner])
def test_a_job_whose_runner_dies_between_fork_and_exec_is_unsupervised(
    any_host: Host, edit: Callable[[bytes], bytes]
) -> None:
    any_host.edit = edit
    job_id = any_host.start(b"echo up; sleep 100")
    run = (any_host.jobs / job_id / "run").read_text()
    assert ("pgid=" in run) == (edit is slow_child)
    any_host.kill_runner(job_id)
    unsupervised = [protocol.Unsupervised(job_id)]
    assert any_host.check(job_id)[1:] == unsupervised
    wait(lambda: any_host.log(job_id) == b"up\n")
    assert any_host.check(job_id)[1:] == unsupervised
    any_host.kill(job_id)
    wait(lambda: not any_host.marked())


@pytest.mark.parametrize("edit", [slow_child, dying_runner])
def test_kill_ends_a_job_that_lost_its_runner_between_fork_and_exec(
    any_host: Host, edit: Callable[[bytes], bytes]
) -> None:
    any_host.edit = edit
    job_id = any_host.start(b"sleep 100")
    any_host.kill_runner(job_id)
    any_host.kill(job_id)
    wait(lambda: not any_host.marked())
    assert any_host.end(job_id).cause == "cancelled"


def test_a_job_whose_runner_died_before_its_fork_is_lost_after_the_grace(
    host: Host,
) -> None:
    """Nothing is known of a child: it is waited for as long as one might yet show."""
    host.edit = lambda program: program.replace(
        b"sj_exec_job &\n", b'kill -9 "$sj_pid"\nsj_exec_job &\n'
    )
    job_id = host.start(b"true")
    assert host.check(job_id)[1:] == [protocol.Unsupervised(job_id)]
    check = Check(job_id, None, "")
    assert of(protocol.Lost, host.run(Request(checks=(check,), start_grace=0.0)))


def test_kill_of_an_ended_job_changes_nothing(host: Host) -> None:
    job_id = host.start(b"exit 5")
    before = host.end(job_id)
    said = host.kill(job_id)
    assert of(protocol.KillSent, said)
    assert host.end(job_id) == before


def test_a_job_that_was_killed_before_its_start_never_starts(host: Host) -> None:
    order = an_order(b"echo x >>$HOME/ran")
    assert of(protocol.KillMissing, host.kill(order.job_id))
    refused = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused[0].code == "EGONE"
    assert not (host.home / "ran").exists()


def test_kill_of_a_prepared_job_cancels_it(host: Host) -> None:
    order = prepared(host, b"echo x >>$HOME/ran")
    assert of(protocol.Prepared, host.check(order.job_id))
    host.kill(order.job_id)
    ended = host.end(order.job_id)
    assert (ended.cause, ended.exit_status) == ("cancelled", None)
    host.run(Request(starts=(order,)))
    assert not (host.home / "ran").exists()


def test_kill_of_a_prepared_batch_cancels_each_of_it(host: Host) -> None:
    orders = tuple(an_order(b"echo x >>$HOME/ran") for _ in range(40))
    host.edit = have_no_runner
    host.run(Request(starts=orders))
    host.edit = lambda program: program
    host.kill(*(order.job_id for order in orders))
    wait(lambda: all((host.jobs / order.job_id / "exit").exists() for order in orders))
    for order in orders:
        said = host.check(order.job_id)
        assert [event.pgid for event in of(protocol.Started, said)] == [0]
        assert of(protocol.Ended, said)[0].cause == "cancelled"
    assert not (host.home / "ran").exists()


def test_a_cancelled_job_ends_though_its_killer_died(host: Host) -> None:
    """The runner does its work, so that a cancelled job ends all the same."""
    started = host.running(b"trap '' TERM; while :; do sleep 100; done", kill_grace=0.3)
    (host.jobs / started.job_id / "cancel").touch()
    os.kill(started.pgid, signal.SIGKILL)
    assert host.end(started.job_id).cause == "cancelled"
    wait(lambda: not host.marked())


def test_a_timeout_is_kept_on_the_host(any_host: Host) -> None:
    began = time.monotonic()
    job_id = any_host.start(b"setsid sleep 100 & sleep 101", timeout=0.4)
    ended = any_host.end(job_id)
    assert (ended.cause, ended.signal) == ("timeout", signal.SIGTERM)
    assert time.monotonic() - began >= 0.4
    wait(lambda: not any_host.marked())


def test_a_job_that_ends_in_time_leaves_no_clock_behind(any_host: Host) -> None:
    orders = tuple(an_order(b"exit 2", timeout=500) for _ in range(10))
    any_host.run(Request(starts=orders))
    for order in orders:
        ended = any_host.end(order.job_id)
        assert (ended.exit_status, ended.cause) == (2, "")
    wait(lambda: not any_host.marked())


def test_the_rest_of_the_group_ends_before_the_end_is_told(any_host: Host) -> None:
    job_id = any_host.start(b"(sleep 0.1; sleep 100) & sleep 100 & echo x; exit 6")
    assert any_host.end(job_id).exit_status == 6
    assert not any_host.left()
    wait(lambda: not any_host.marked())


def test_a_rest_that_ignores_term_ends_before_the_end_is_told(any_host: Host) -> None:
    job_id = any_host.start(
        b"(trap '' TERM; while :; do sleep 1; done) & sleep 0.2; exit 6", kill_grace=0.3
    )
    assert any_host.end(job_id).exit_status == 6
    assert not any_host.left()
    wait(lambda: not any_host.marked())
