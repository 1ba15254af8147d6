"""Evidence of a job in records and processes: runs, unsupervised, lost, elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Check, Request
from tests.remote.host import (
    Host,
    an_order,
    edit_run,
    forget_exit,
    gone,
    have_no_runner,
    of,
    prepared,
    wait,
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pid", ""),
        ("pid", "9" * 30),
        ("pgid", ""),
        ("started_at", "x"),
        ("status", "x"),
        ("signal", "-9"),
        ("finished_at", ""),
        ("log_bytes", "x"),
    ],
)
def test_a_spoilt_record_spoils_no_reply(any_host: Host, name: str, value: str) -> None:
    job_id = any_host.start(b"echo x")
    any_host.end(job_id)
    forget_exit(any_host, job_id)
    edit_run(any_host, job_id, name, value)
    said = any_host.check(job_id)
    assert [event.job_id for event in of(protocol.Ended, said)] == [job_id]


def test_a_job_is_lost_when_its_runner_and_its_group_are_gone(any_host: Host) -> None:
    started = any_host.running(b"sleep 100")
    about = (started.job_id, started.pid, started.start)
    assert any_host.check(*about) == []
    os.kill(started.pid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    assert any_host.check(*about) == [protocol.Unsupervised(started.job_id)]
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    lost = any_host.check(*about)
    assert [type(event) for event in lost] == [protocol.Lost]
    assert any_host.check(*about) == lost
    assert (any_host.jobs / started.job_id / "lost").exists()


def test_a_job_is_lost_when_its_record_and_its_processes_are_gone(
    any_host: Host,
) -> None:
    """A disk that loses its power can forget a claim that was told of."""
    ran = any_host.home / "ran"
    order = an_order(b"echo x >>%s; sleep 100" % bytes(ran))
    any_host.run(Request(starts=(order,)))
    wait(ran.exists)
    job_id, folder = order.job_id, any_host.jobs / order.job_id
    started = of(protocol.Started, any_host.check(job_id))[0]
    (folder / "run").unlink()
    checks = (Check(job_id, started.pid, started.start),)
    young = any_host.run(Request(checks=checks))
    assert of(protocol.Prepared, young) and not of(protocol.Lost, young)
    alive = any_host.run(Request(checks=checks, start_grace=0.0))
    assert of(protocol.Unsupervised, alive) and not of(protocol.Lost, alive)
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid) and not any_host.marked())
    lost = of(protocol.Lost, any_host.run(Request(checks=checks, start_grace=0.0)))
    assert lost and "record vanished" in lost[0].reason
    again = any_host.run(Request(starts=(order,)))
    assert of(protocol.Lost, again) and ran.read_text() == "x\n"


def test_a_job_of_before_a_reboot_is_lost_by_that(host: Host) -> None:
    started = host.running(b"sleep 100")
    edit_run(host, started.job_id, "boot_id", "another")
    lost = of(protocol.Lost, host.check(started.job_id, started.pid, started.start))
    assert lost and "reboot" in lost[0].reason
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    again = host.check(started.job_id, started.pid, started.start)
    assert of(protocol.Lost, again) and not of(protocol.Ended, again)


def test_a_pid_that_was_given_anew_is_not_the_runner(host: Host) -> None:
    started = host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    edit_run(host, started.job_id, "pid", str(os.getpid()))
    assert of(protocol.Lost, host.check(started.job_id, started.pid, started.start))


def test_a_job_of_another_machine_is_elsewhere_not_lost(host: Host) -> None:
    started = host.running(b"sleep 100")
    edit_run(host, started.job_id, "machine", "node7-1")
    edit_run(host, started.job_id, "node", "node7")
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    said = host.check(started.job_id, started.pid, started.start)
    assert said == [protocol.Elsewhere(started.job_id, "node7")]


def test_a_job_that_lost_its_runner_and_is_killed_is_cancelled(host: Host) -> None:
    started = host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    host.kill(started.job_id)
    ended = host.end(started.job_id)
    assert (ended.cause, ended.exit_status, ended.signal) == ("cancelled", None, None)


def test_a_claim_without_a_record_is_lost_after_the_grace(host: Host) -> None:
    """A runner that was killed between its claim and its first line."""
    order = prepared(host, b"true")
    (host.jobs / order.job_id / "run").touch()
    check = Check(order.job_id, None, "")
    assert of(protocol.Prepared, host.run(Request(checks=(check,))))
    said = host.run(Request(checks=(check,), start_grace=0.0))
    assert of(protocol.Lost, said)


def test_the_grace_of_an_empty_claim_runs_from_the_last_start(host: Host) -> None:
    """The grace runs from the last start, not from when it was prepared."""
    order = prepared(host, b"true")
    spec = host.jobs / order.job_id / "spec"
    spec.write_text(re.sub(r"sj_at=\d+", "sj_at=1000000000", spec.read_text()))
    check = Check(order.job_id, None, "")
    host.edit = have_no_runner
    host.run(Request(starts=(order,)))
    (host.jobs / order.job_id / "run").touch()
    assert of(protocol.Prepared, host.run(Request(checks=(check,))))
    (host.jobs / order.job_id / "again").unlink()
    assert of(protocol.Lost, host.run(Request(checks=(check,))))


def test_a_job_without_a_directory_is_missing(host: Host) -> None:
    job_id = new_job_id()
    assert host.check(job_id) == [protocol.Missing(job_id)]


def test_an_end_without_its_second_name_counts(host: Host) -> None:
    """The record in ``run`` is the truth; ``exit`` announces it."""
    job_id = host.start(b"exit 9")
    host.end(job_id)
    (host.jobs / job_id / "exit").unlink()
    assert host.end(job_id).exit_status == 9


def test_the_journal_tells_which_job_ended(host: Host) -> None:
    at = of(protocol.JournalAt, host.run())[0]
    job_id = host.start(b"true")
    host.end(job_id)
    now = of(protocol.JournalAt, host.run(Request(journal=(at.generation, at.offset))))
    assert now[0].generation == at.generation
    assert now[0].offset > at.offset
    machine = next(host.base.glob("*/journal"))
    assert f"\nE {job_id} .\n" in machine.read_text()
    machine.unlink()
    assert of(protocol.JournalAt, host.run())[0].offset < now[0].offset


NONCE = "00112233445566aa"


def test_a_poll_forks_as_seldom_for_many_jobs_as_for_some(host: Host) -> None:
    """One process tells the time; a few jobs need no other, many not more than some."""
    if not shutil.which("strace"):
        pytest.skip("no strace here")

    def forks(request: Request) -> int:
        program = host.program(request, NONCE)
        trace = host.home / "trace"
        subprocess.run(
            ["strace", "-f", "-o", trace, "-e", "trace=clone,fork,vfork,clone3", "sh"],
            input=program,
            stdout=subprocess.DEVNULL,
            cwd=host.home,
            env=host.env,
            check=True,
        )
        # one that a signal interrupts is called again, and has no number
        calls = r"(?m)\b(?:clone3?|v?fork)\b.*\) += \d+$"
        return len(re.findall(calls, trace.read_text()))

    runs = [host.running(b"sleep 100") for _ in range(3)]
    orders = tuple(an_order(b"sleep 100") for _ in range(40))
    host.run(Request(starts=orders))
    more = [
        host.until(protocol.Started, Request(checks=(Check(order.job_id, None, ""),)))
        for order in orders
    ]
    checks = tuple(Check(run.job_id, run.pid, run.start) for run in [*runs, *more])
    at = of(protocol.JournalAt, host.run())[0]
    one, some, all_ = (
        forks(Request(journal=(at.generation, at.offset), checks=checks[:number]))
        for number in (1, 20, len(checks))
    )
    assert one == 1
    assert some == all_ <= 4


def test_a_glance_sees_which_jobs_have_changed(any_host: Host) -> None:
    """No process is started for jobs that are as they were; what is not is judged."""
    runs = [any_host.running(b"sleep 100") for _ in range(6)]
    fine, alone, dead, other, spoilt, bare = runs
    at = of(protocol.JournalAt, any_host.run())[0]
    any_host.edit = lambda program: program.replace(
        b"sj_judge_jobs ''", rb"printf 'failed EOTHER judged\n'"
    )
    checks = tuple(Check(run.job_id, run.pid, run.start) for run in runs)
    glance = Request(journal=(at.generation, at.offset), checks=checks)
    assert {type(event) for event in any_host.run(glance)} == {
        protocol.Hello,
        protocol.JournalAt,
        protocol.End,
    }
    any_host.edit = lambda program: program
    for run in (alone, dead):
        os.kill(run.pid, signal.SIGKILL)
        wait(lambda: gone(run.pid))
    os.killpg(dead.pgid, signal.SIGKILL)
    wait(lambda: gone(dead.pgid))
    edit_run(any_host, other.job_id, "start", "1")
    edit_run(any_host, spoilt.job_id, "machine", "node7-1")
    (any_host.jobs / bare.job_id / "run").unlink()
    said = {getattr(e, "job_id", ""): type(e) for e in any_host.run(glance)}
    assert {job_id: kind for job_id, kind in said.items() if job_id} == {
        alone.job_id: protocol.Unsupervised,
        dead.job_id: protocol.Lost,
        other.job_id: protocol.Unsupervised,
        spoilt.job_id: protocol.Elsewhere,
        bare.job_id: protocol.Prepared,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pid=x\nstart=\npgid=-1\nstarted_at=soon\n",
        f"started_at={'9' * 400}\npid={'9' * 30}\n",
        "started_at=1\nstatus=bad\nsignal=--\nfinished_at=.\nlog_bytes=1e9\nend=\n",
    ],
)
def test_a_damaged_record_spoils_no_round(host: Host, text: str) -> None:
    """It is told as far as it goes, to who knows the job and to who does not."""
    started = host.running(b"sleep 100")
    (host.jobs / started.job_id / "run").write_text(text)
    for pid, start in ((started.pid, started.start), (None, "")):
        about = (Check(started.job_id, pid, start),)
        said = host.run(Request(checks=about, start_grace=0.0))
        whole = bool(of(protocol.Ended, said))
        assert whole == ("end=" in text)
        assert whole or of(protocol.Unsupervised, said)
    assert of(protocol.Listed, host.run(Request(listing=True)))
