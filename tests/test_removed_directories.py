"""A directory that somebody removes on the host ends no job, and hides none."""

from __future__ import annotations

import shutil

import pytest

from sshjobs import protocol
from tests.remote.host import Host, gone, of, wait


@pytest.mark.parametrize("whole_base", [False, True])
def test_a_job_without_its_directory_runs_on(any_host: Host, whole_base: bool) -> None:
    """It is not lost while its processes can be seen, and a kill finds them."""
    host = any_host
    job = host.running(b"sleep 1000")
    about = (job.job_id, job.pid, job.start)
    shutil.rmtree(host.base if whole_base else host.jobs / job.job_id)
    (seen,) = host.check(*about)
    assert isinstance(seen, protocol.Unseen) and "vanished" in seen.reason
    assert of(protocol.KillMissing, host.kill(job.job_id))
    wait(lambda: gone(job.pgid) and gone(job.pid))
    said = host.check(*about)
    assert not of(protocol.Unseen, said) and said, said


def test_a_job_without_directory_and_runner_runs_on(host: Host) -> None:
    job = host.running(b"sleep 1000")
    host.kill_runner(job.job_id)
    shutil.rmtree(host.jobs / job.job_id)
    about = (job.job_id, job.pid, job.start)
    assert of(protocol.Unseen, host.check(*about))
    host.kill(job.job_id)
    wait(lambda: gone(job.pgid))
    assert not of(protocol.Unseen, host.check(*about))


def test_a_job_that_ended_without_its_directory_is_missing(host: Host) -> None:
    job = host.running(b"sleep 0.3")
    shutil.rmtree(host.jobs / job.job_id)
    wait(lambda: gone(job.pgid) and gone(job.pid))
    about = (job.job_id, job.pid, job.start)
    assert host.check(*about) == [protocol.Missing(job.job_id)]
