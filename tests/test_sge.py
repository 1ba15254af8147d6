"""Jobs of a real Grid Engine: handed over, run once, seen, ended."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli import Cli, eventually
from tests.clusters import make_folder, make_login_node, read_reason, run_chain
from tests.pages import read_blocks
from tests.sge import GridEngine, need_sge


@pytest.fixture(scope="module")
def engine() -> Iterator[GridEngine]:
    """A Grid Engine that the tests of this module share."""
    need_sge()
    with make_folder("sjsge") as folder:
        made = GridEngine(folder)
        try:
            yield made.start()
        finally:
            made.stop()


@pytest.fixture
def box(engine: GridEngine, new_box: Callable[..., Cli], place: Path) -> Cli:
    """The login node of it, where sge is the launcher."""
    given = " ".join(f"{name}={value}" for name, value in engine.place.items())
    given += f" SECRET='it is mine' A_LINE=of_the_login HOME={place}"
    return make_login_node(new_box, "sge", SetEnv=given)


def test_a_job_runs_on_a_node_and_comes_home(box: Cli, engine: GridEngine) -> None:
    """With the environment of the login, which no other user gets to see."""
    lines = 'echo "$JOB_NAME $SECRET $A_LINE $BLUE"; cat >&2; pwd; exit 3'
    (box.home.parent / "in").write_bytes(b"a\0b\xff\n")
    words = ("--env", "BLUE=sky", "--cwd", "/tmp", "--stdin", box.home.parent / "in")
    job_id = box.submit(*words, "--", lines)
    held = box.submit("--launcher-args", "-h -q small.q", "--", "true")
    assert "it is mine" not in engine.run("qstat", "-j", f"sj-{held}")
    assert "held (hqw)" in read_reason(box, held)
    box.ok("kill", held)
    assert box("wait", job_id).status == 1
    job = box.job(job_id)
    assert (job["state"], job["exit_status"]) == ("FAILED", 3), job
    said = f"sj-{job_id} it is mine of_the_login sky\n".encode()
    assert box.ok("logs", job_id).raw == said + b"a\0b\xff\n/tmp\n"
    launcher, number, _ = job["handle"].split(":")
    assert box.job(f"{launcher}:{number}")["id"] == job_id
    assert not (box.directory(job_id) / "login").exists()
    assert box.job(held)["state"] == "CANCELLED"
    box.ok("reap")


@pytest.mark.slow
def test_a_job_is_ended_by_its_limit_by_kill_and_by_qdel(
    box: Cli, engine: GridEngine
) -> None:
    late = box.submit("--timeout", "1", "--", "echo on; sleep 100")
    stubborn = "trap '' TERM USR2; echo on; while :; do sleep 1; done"
    killed = box.submit("--", stubborn)
    stopped = box.submit("--", "echo on; sleep 100")
    refuses = box.submit("--launcher-args", "-q main.q", "--", stubborn)
    box.env["SSHJOBS_KILL_GRACE"] = "1"
    deaf = box.submit("--", stubborn)
    for job_id in (killed, stopped, refuses, deaf):
        eventually(lambda: box("logs", job_id).raw == b"on\n", "it is at work")
    engine.run(
        "qdel", *(box.job(one)["handle"].split(":")[1] for one in (stopped, deaf))
    )
    box.ok("kill", killed, refuses)
    box("wait", late, stopped, deaf)
    assert box.job(late)["state"] == "TIMEOUT"
    for job_id in (killed, refuses, stopped, deaf):
        assert box.job(job_id)["state"] == "CANCELLED", box.job(job_id)
    assert "qdel" in box.job(stopped)["reason"] and "qdel" in box.job(deaf)["reason"]
    eventually(lambda: "sj-" not in engine.run("qstat", "-u", "*"), "nothing is left")


def test_what_qsub_refuses_is_said_and_nothing_stays(box: Cli) -> None:
    for words, why in (
        ("-q nowhere.q", "unknown queue"),
        ("-l odd=1", "unknown resou"),
    ):
        ended = box("submit", box.host, "--launcher-args", words, "--", "true")
        assert ended.status == 69 and why in ended.err, ended
    assert not list(box.base.glob("jobs/*"))
    for words, why in (("-t 1-9", "--from"), ("-foo", "none of qsub's"), ("x", "none")):
        refused = box("submit", box.host, "--launcher-args", words, "--", "true")
        assert refused.status == 64 and why in refused.err, refused


def test_the_page_on_schedulers(box: Cli, place: Path) -> None:
    """As printed, on a cluster that has such a queue."""
    submit, *_ = read_blocks("docs/how-to/schedulers.md")
    assert box.sshd
    box.sshd.alias = "cluster"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    (place / "train.sh").write_text("#!/bin/sh\necho $QUEUE\n")
    (place / "train.sh").chmod(0o755)
    job_id = box(*shlex.split(submit)[1:]).id
    assert box("wait", job_id).status == 0
    assert box.ok("logs", job_id).raw == b"long.q\n"


def test_doctor_tells_of_sge(box: Cli) -> None:
    said = box("doctor", box.host)
    assert "jobs are handed to sge SGE 8" in said.out, said
    assert "main.q 64 of 64 slots free" in said.out, said


@pytest.mark.slow
def test_a_limit_of_sge_and_a_killed_job_are_said_as_what_they_are(
    box: Cli, engine: GridEngine
) -> None:
    late = box.submit("--launcher-args", "-l h_rt=2", "--", "echo on; sleep 1000")
    box.env["SSHJOBS_VANISH_GRACE"] = "30"
    lost = box.submit("--", "echo on; sleep 1000")
    eventually(lambda: box("logs", lost).raw == b"on\n", "it is at work")
    run = (box.directory(lost) / "run").read_text()
    pid = int(run.partition("\npid=")[2].partition("\n")[0])
    group = os.getsid(pid)
    os.killpg(group, signal.SIGKILL)
    assert box("wait", late).status == 1
    assert box.job(late)["state"] == "TIMEOUT", box.job(late)
    assert "h_rt" in box.job(late)["reason"]
    assert box("wait", lost).status == 1
    assert "SGE" in box.job(lost)["reason"], box.job(lost)


@pytest.mark.slow
def test_a_qmaster_that_is_away_ends_nothing(box: Cli, engine: GridEngine) -> None:
    runs = box.submit("--", "sleep 3; echo over")
    eventually(lambda: "RUNNING" in read_reason(box, runs), "it runs")
    engine.signal_master(signal.SIGKILL)
    try:
        waits = box.submit("--", "echo later")
        assert "does not answer" in read_reason(box, waits)
        assert box.job(waits)["state"] == "PENDING"
        eventually(
            lambda: "COMPLETED" in read_reason(box, runs), "its record is enough"
        )
    finally:
        engine.start_master()
        engine.wait_until_idle()
    assert box("wait", waits).status == 0
    assert box.ok("logs", waits).raw == b"later\n"


@pytest.mark.slow
def test_what_was_handed_over_three_times_runs_once(
    box: Cli, engine: GridEngine
) -> None:
    """As by a qsub whose answers were lost; all three are there at one time."""
    ran = box.base.parent / "ran"
    words = ("--launcher-args", "-h -q main.q")
    job_id = box.submit(*words, "--", f"echo x >>{ran}; sleep 1")
    number = box.job(job_id)["handle"].split(":")[1]
    script = (engine.folder / "qmaster/job_scripts" / number).read_bytes()
    for _ in range(2):
        subprocess.run(
            ["qsub", "-N", f"sj-{job_id}", "-S", "/bin/sh", "-cwd", "-o", "/dev/null"],
            input=script,
            cwd=box.base,
            env=engine.env,
            user=box.sshd.user if box.sshd else None,
            group=box.sshd.user if box.sshd else None,
            check=True,
            capture_output=True,
        )
    engine.run("qrls", number)
    assert box("wait", job_id).status == 0
    eventually(lambda: "sj-" not in engine.run("qstat", "-u", "*"), "all are over")
    assert ran.read_text() == "x\n"


@pytest.mark.slow
def test_a_batch_of_100_runs_once_each(box: Cli) -> None:
    ran = box.base.parent / "ran"
    lines = "".join(f"echo {n} >>{ran}-{n}\n" for n in range(100))
    ids = box.ok("submit", box.host, "--from", "-", stdin=lines.encode()).lines
    assert len(set(ids)) == 100
    assert box("wait").status == 0
    counts = [Path(f"{ran}-{n}").read_text() for n in range(100)]
    assert counts == [f"{n}\n" for n in range(100)]
    assert box.sshd is not None and box.sshd.connections == 1


def test_one_after_another_needs_no_client(box: Cli, engine: GridEngine) -> None:
    """SGE holds each back; the record of the one before it decides."""
    run_chain(box, "-hold_jid 1")
    eventually(lambda: "sj-" not in engine.run("qstat", "-u", "*"), "nothing is left")
    box.ok("reap")
