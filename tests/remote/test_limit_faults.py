"""Jobs that wait their turn, and what somebody else does to their line or records."""

from __future__ import annotations

import os

import pytest

from sshjobs.protocol import Request
from tests.remote.host import (
    Host,
    an_order,
    edit_run,
    gone,
    host,
    wait,
)
from tests.remote.test_limits import a_turn, names_in, submit

__all__ = ["host"]


def look(host: Host) -> None:
    """Have the line looked at three times, and wait for whoever looks."""
    for _ in range(3):
        host.run()
        wait(lambda: not are_looking(host))


def are_looking(host: Host) -> list[str]:
    """Return the command lines of those that look at a line."""
    return [line for line in host.marked().values() if "/next" in line]


def test_after_a_job_that_runs_on_another_machine_nothing_begins(host: Host) -> None:
    first = an_order(b"echo up; exec sleep 100")
    host.run(Request(starts=(first,)))
    host.started(first.job_id)
    edit_run(host, first.job_id, "machine", "node7-0")
    jobs = [a_turn(b"true", f"after={first.job_id}:{how}") for how in ("ok", "any")]
    submit(host, *jobs)
    look(host)
    assert len(names_in(host)) == 2
    assert not [job for job in jobs if (host.jobs / job.job_id / "run").exists()]


@pytest.mark.parametrize("record", ["lost", "exit"])
def test_a_record_without_an_end_keeps_nobody_looking(host: Host, record: str) -> None:
    first = an_order(b"echo up; exec sleep 100")
    host.run(Request(starts=(first,)))
    started = host.started(first.job_id)
    # as a full disk leaves one
    (host.jobs / first.job_id / record).touch()
    job = a_turn(b"true", f"after={first.job_id}:ok")
    submit(host, job)
    look(host)
    assert len(names_in(host)) == 1
    host.kill_runner(first.job_id)
    os.killpg(started.pgid, 9)
    wait(lambda: gone(started.pgid))
    look(host)
    assert "is LOST" in host.end(job.job_id).reason
