"""Jobs of PBS and of LSF, by fakes that say what their manuals print."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.batch_fakes import BatchFake
from tests.cli import Cli, eventually
from tests.clusters import make_login_node, read_reason, run_chain
from tests.pages import read_blocks


@pytest.fixture(params=["pbs", "lsf"])
def fake(request: pytest.FixtureRequest, place: Path) -> Iterator[BatchFake]:
    """A cluster of either."""
    enter = ["unshare", "-m", "true"]
    if (
        os.geteuid() != 0
        or not shutil.which("unshare")
        or subprocess.run(enter, check=False).returncode
    ):
        pytest.skip("its node is another machine: root, with a namespace of mounts")
    folder = place / "cluster"
    folder.mkdir(mode=0o755)
    made = BatchFake(request.param, folder)
    yield made
    made.stop()


@pytest.fixture
def box(fake: BatchFake, new_box: Callable[..., Cli], place: Path) -> Cli:
    """The login node of it."""
    given = f"PATH={fake.path} SECRET='it is mine' HOME={place}"
    return make_login_node(new_box, fake.kind, prefix=fake.enter, SetEnv=given)


def number_of(box: Cli, job_id: str) -> int:
    """Return the number of a job in its cluster."""
    return int(box.job(job_id)["handle"].split(":")[1])


def test_a_job_runs_on_a_node_and_comes_home(
    box: Cli, fake: BatchFake, place: Path
) -> None:
    assert box.sshd
    box.sshd.alias = box.host = "cluster"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    (place / "train.sh").write_text('#!/bin/sh\necho "$SECRET $BLUE"; exit 3\n')
    (place / "train.sh").chmod(0o755)
    [block] = [
        one
        for one in read_blocks("docs/how-to/schedulers.md")
        if f"--launcher {fake.kind}" in one
    ]
    job_id = box(*shlex.split(block)[1:]).id
    hold = "-h -q long" if fake.kind == "pbs" else "-H -q long"
    held = box.submit("--launcher-args", hold, "--", "echo held")
    waits = "PENDING held (H)" if fake.kind == "pbs" else "PENDING PSUSP"
    eventually(lambda: read_reason(box, held) == waits, waits)
    assert box.job(held)["handle"].endswith(":long")
    assert box("wait", job_id).status == 1
    job = box.job(job_id)
    assert (job["state"], job["exit_status"]) == ("FAILED", 3), job
    said = box.ok("logs", job_id).raw
    assert said == (b"it is mine \n" if fake.kind == "pbs" else b" \n"), said
    assert box.job(f"{fake.kind}:{number_of(box, job_id)}")["id"] == job_id
    fake.release(number_of(box, held))
    assert box("wait", held).status == 0
    assert box.ok("logs", held).raw == b"held\n"
    box.ok("reap")


def test_a_job_is_ended_by_its_limits_by_kill_and_there(
    box: Cli, fake: BatchFake
) -> None:
    stubborn = "trap '' INT TERM USR2; echo on; while :; do sleep 1; done"
    box.env["SSHJOBS_KILL_GRACE"] = "1"
    late = box.submit("--timeout", "1", "--", "echo on; sleep 100")
    limit = "-l walltime=2" if fake.kind == "pbs" else "-W 0.05"
    longer = box.submit("--launcher-args", limit, "--", stubborn)
    killed = box.submit("--", stubborn)
    stopped = box.submit("--", stubborn)
    for job_id in (killed, stopped):
        eventually(lambda: box("logs", job_id).raw == b"on\n", "it is at work")
    fake.delete(number_of(box, stopped))
    box.ok("kill", killed)
    box("wait", late, longer, stopped)
    for job_id, state in (
        (late, "TIMEOUT"),
        (longer, "TIMEOUT"),
        (killed, "CANCELLED"),
        (stopped, "CANCELLED"),
    ):
        assert box.job(job_id)["state"] == state, box.job(job_id)
    assert fake.kind.upper() in box.job(longer)["reason"]
    assert fake.kind.upper() in box.job(stopped)["reason"]
    eventually(lambda: not fake.count_jobs(), "nothing is left there")


def test_what_is_refused_is_said_and_nothing_stays(box: Cli, fake: BatchFake) -> None:
    ended = box("submit", box.host, "--launcher-args", "-q nowhere", "--", "true")
    assert ended.status == 69 and "queue" in ended.err, ended
    assert not list(box.base.glob("jobs/*"))
    odd = ("-J 1-9", "-N name", "-foo", "x", "-q", "-o log")
    for words in odd if fake.kind == "pbs" else ("-J x[1-9]", "-K", "-foo", "-q"):
        refused = box("submit", box.host, "--launcher-args", words, "--", "true")
        assert refused.status == 64 and "--launcher-args" in refused.err, refused
    assert f"jobs are handed to {fake.kind}" in box("doctor", box.host).out


@pytest.mark.slow
def test_a_server_that_is_away_ends_nothing(box: Cli, fake: BatchFake) -> None:
    runs = box.submit("--", "sleep 3; echo over")
    eventually(lambda: "RUNNING" in read_reason(box, runs), "it runs")
    (fake.spool / "down").touch()
    waits = box.submit("--", "echo later")
    assert "does not answer" in read_reason(box, waits)
    assert box.job(waits)["state"] == "PENDING"
    eventually(lambda: "COMPLETED" in read_reason(box, runs), "its record is enough")
    (fake.spool / "down").unlink()
    assert box("wait", waits).status == 0
    assert box.ok("logs", waits).raw == b"later\n"


def test_one_after_another_needs_no_client(box: Cli, fake: BatchFake) -> None:
    run_chain(box, "-W depend=afterok:1" if fake.kind == "pbs" else "-w done(1)")
    eventually(lambda: not fake.count_jobs(), "nothing is left there")
