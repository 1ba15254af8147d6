"""A host whose user can have no other process: nothing is forgotten or made up."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Reply, Request
from tests.remote.host import Host, an_order, gone, of, wait

#: Users who have no process but those of one test of this test process: a zombie counts
#: against the limit until PID 1 reaps it, which may take it seconds.
USERS = itertools.count(60000 + os.getpid() % 50 * 100)


class Crowded(Host):
    """A host whose user has a limit of processes."""

    user = 0
    limit = 0
    patient = False

    def run(
        self, request: Request = Request(), umask: int = 0o022
    ) -> list[protocol.Event]:
        """Serve a request, and return what was said, whole or not."""
        nonce = os.urandom(8).hex()
        ran = self.run_program(request, nonce, timeout=300, preexec_fn=self._become)
        self.reply = Reply(nonce)
        self.said = ran.stderr
        return self.reply.feed(ran.stdout)

    def _become(self) -> None:
        os.setgroups([])
        os.setgid(self.user)
        os.setuid(self.user)
        if self.limit:  # afterwards, or the kernel refuses the exec
            _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
            resource.setrlimit(resource.RLIMIT_NPROC, (self.limit, hard))

    def living(self) -> list[int]:
        """Return the processes of the user."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and not gone(int(entry.name)):
                try:
                    if entry.stat().st_uid == self.user:
                        found.append(int(entry.name))
                except OSError:
                    continue
        return found


#: Shells that try a fork that fails again, for 15 s and 30 s.
PATIENT = ("bash", "ksh")


@pytest.fixture(
    params=["dash", "busybox"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in PATIENT]
)
def crowded(
    request: pytest.FixtureRequest,
    place: Path,
    paths: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Crowded]:
    """A host of another user's."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    if request.param not in paths:
        pytest.skip(f"no {request.param} here")
    folder = place / "shells"
    folder.mkdir()
    shutil.copytree(paths[request.param].split(":")[0], folder / "sh", symlinks=True)
    home = place / "crowded"
    home.mkdir()
    user = next(USERS)
    os.chown(home, user, user)
    if request.param in PATIENT:
        monkeypatch.setattr("tests.remote.host.PATIENCE", 150.0)
    rest = ":/usr/bin:/bin" if ":" in paths[request.param] else ""
    host = Crowded(home, f"{folder / 'sh'}{rest}")
    host.user, host.patient = user, request.param in PATIENT
    yield host
    while living := host.living():
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


#: Fills what is left of the limit, and does not want to end.
FILL = b"""trap '' TERM
(while :; do sleep 1000 & done)
exec sleep 1001
"""


def test_kill_where_nothing_can_be_forked(crowded: Crowded) -> None:
    """It is not called done while anything lives; the group is told by builtins."""
    crowded.run()
    crowded.limit = 40
    job = crowded.running(b"trap '' TERM; exec sleep 1000", kill_grace=0.3)
    crowded.limit = 1
    said = crowded.kill(job.job_id)
    assert not of(protocol.KillSent, said) and not of(protocol.Ended, said)
    assert not gone(job.pgid)
    (failed,) = of(protocol.Failed, said)
    assert failed.code == "EFORK" and "process" in failed.text
    time.sleep(1.1)
    crowded.kill(job.job_id)
    wait(lambda: gone(job.pgid))
    crowded.limit = 0
    crowded.kill(job.job_id)
    assert crowded.end(job.job_id).cause == "cancelled"
    wait(lambda: not crowded.living())


def test_kill_of_what_fills_the_table(crowded: Crowded) -> None:
    crowded.limit = 40
    order = an_order(FILL, kill_grace=0.4)
    crowded.run(Request(starts=(order,)))
    wait(lambda: len(crowded.living()) >= 20)  # the rest was a round's meanwhile
    deadline = time.monotonic() + 150
    while crowded.living():
        said = crowded.kill(order.job_id)
        if of(protocol.Ended, said):
            break
        assert time.monotonic() < deadline
        time.sleep(0.3)
    crowded.limit = 0
    assert crowded.end(order.job_id).cause == "cancelled"
    wait(lambda: not crowded.living())


def test_a_timeout_of_what_fills_the_table(crowded: Crowded) -> None:
    """The clock keeps its word without a process more."""
    crowded.limit = 40
    order = an_order(FILL, kill_grace=0.4, timeout=1.0)
    crowded.run(Request(starts=(order,)))
    wait(lambda: not crowded.living())
    crowded.limit = 0
    assert crowded.end(order.job_id).cause == "timeout"
    log = (crowded.jobs / order.job_id / "log").read_text()
    assert "fork" in log, "the table never was full"


def test_an_end_that_cannot_be_published_at_once(crowded: Crowded) -> None:
    """The log must be measured, which takes a process: the end waits, and is right."""
    crowded.limit = 40
    order = an_order(b"echo up; (trap '' TERM; sleep 1000) & sleep 1; exit 7")
    crowded.run(Request(starts=(order,)))
    job = crowded.until(
        protocol.Started, Request(checks=(Check(order.job_id, None, ""),))
    )
    with crowd(crowded.user):
        wait(lambda: gone(job.pgid))
        time.sleep(0.5)
        assert not gone(job.pid)
    ended = crowded.end(order.job_id)
    assert (ended.exit_status, ended.log_bytes, ended.cause) == (7, 3, "")
    wait(lambda: not crowded.living())


@contextmanager
def crowd(user: int) -> Iterator[None]:
    """Fill the table of a user."""
    fill = "for i in $(seq 45); do sleep 1000 & done; echo full; wait"
    with subprocess.Popen(
        ["sh", "-c", fill],
        user=user,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as filler:
        assert filler.stdout and filler.stdout.readline() == b"full\n"
        yield
        os.killpg(filler.pid, signal.SIGKILL)


def test_a_job_that_could_not_be_forked(crowded: Crowded) -> None:
    """It has not run and says so; it is not lost."""
    stop = b"exec 2>/dev/null\nkill -STOP $sj_pid\nsj_check_job ||"  # nobody waits
    crowded.edit = lambda program: program.replace(b"sj_check_job ||", stop)
    crowded.limit = 40
    order = an_order(b"echo x >>$HOME/ran", env=(("TOKEN", b"s3cret"),))
    crowded.run(Request(starts=(order,)))
    run = crowded.jobs / order.job_id / "run"
    wait(lambda: run.exists() and "started_at=" in run.read_text())
    pid = int(run.read_text().split("pid=")[1].split()[0])
    with crowd(crowded.user):
        os.kill(pid, signal.SIGCONT)
        wait(lambda: gone(pid))
    ended = crowded.end(order.job_id)
    assert (ended.exit_status, ended.signal, ended.cause) == (126, None, "")
    assert "could not be started" in ended.reason
    assert not (crowded.home / "ran").exists()
    env = crowded.jobs / order.job_id / "env"
    assert not env.exists() or not env.read_bytes()


def test_a_poll_that_cannot_look_says_nothing_of_jobs(crowded: Crowded) -> None:
    job = crowded.running(b"exec sleep 1000")
    os.kill(job.pid, signal.SIGKILL)
    wait(lambda: gone(job.pid))
    limits = (1,) if crowded.patient else (1, 2, 3, 4)
    for limit in limits:
        crowded.limit = limit
        said = crowded.check(job.job_id, job.pid, job.start)
        assert not of(protocol.Lost, said)
    crowded.limit = 0
    assert crowded.check(job.job_id, job.pid, job.start) == [
        protocol.Unsupervised(job.job_id)
    ]
