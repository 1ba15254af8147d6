"""Who is seen on a host, and who is signalled: names that lie, failed listings."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request, Started
from tests.remote.host import Host, an_order, gone, of, wait

#: Somebody else, who has no process here but those of a test.
NEIGHBOUR = 54321


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """A process that is no job's."""
    with subprocess.Popen(["sleep", "1000"], start_new_session=True) as process:
        yield process
        process.kill()


def named(folder: Path, name: str) -> Path:
    """Return a program of that name, which the kernel shows; it sleeps."""
    path = folder / name
    shutil.copy(shutil.which("sleep") or "/bin/sleep", path)
    return path


def lies(pid: int) -> list[str]:
    """Return names that look like a record of that process: all that is left of them.

    The kernel keeps 15 bytes of a name. No line here may begin with another number, nor
    with none, which awk takes for 0: read line by line, that is the parent of all.
    """
    return [f"x\n{pid} (a", f"\n{pid} (a) S 1 1", f"\n{pid} ) R {pid}"]


def test_a_name_makes_no_record(
    any_host: Host, victim: subprocess.Popen[bytes]
) -> None:
    """A name may hold a newline, and a line that looks like a record of another."""
    (any_host.home / "bin").mkdir()
    names = [named(any_host.home / "bin", name) for name in lies(victim.pid)]
    job = any_host.running(
        b"".join(b"'%s' 1000 &\n" % os.fsencode(name) for name in names) + b"sleep 1001"
    )
    wait(lambda: sum("1000" in line for line in any_host.marked().values()) == 3)
    any_host.kill(job.job_id)
    assert any_host.end(job.job_id).cause == "cancelled"
    wait(lambda: not any_host.marked())
    assert victim.poll() is None


@pytest.mark.parametrize("name", ["x\n%d", "a) R 1 1 (", ") Z 1 1 1 1 1"])
def test_a_leader_of_any_name(
    any_host: Host, name: str, victim: subprocess.Popen[bytes]
) -> None:
    """Its start is noted, it counts as alive, and it is ended."""
    program = named(any_host.home, name.replace("%d", str(victim.pid)))
    job = any_host.running((b"sh", b"-c", b'echo up; exec "$0" 1000', bytes(program)))
    wait(lambda: (any_host.jobs / job.job_id / "run").read_text().count("born=") == 1)
    any_host.kill_runner(job.job_id)
    about = (job.job_id, job.pid, job.start)
    assert any_host.check(*about) == [protocol.Unsupervised(job.job_id)]
    any_host.kill(job.job_id)
    assert any_host.end(job.job_id).cause == "cancelled"
    wait(lambda: not any_host.marked())
    assert victim.poll() is None


THREADS = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(1000,)).start()
print("up", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""


def test_a_process_whose_first_thread_has_ended(any_host: Host) -> None:
    """The kernel shows it as a zombie, and it lives."""
    job = any_host.running((sys.executable.encode(), b"-c", THREADS.encode()))
    stat = Path(f"/proc/{job.pgid}/stat")
    wait(lambda: stat.read_text().rpartition(") ")[2][0] == "Z")
    any_host.kill_runner(job.job_id)
    about = (job.job_id, job.pid, job.start)
    assert any_host.check(*about) == [protocol.Unsupervised(job.job_id)]
    any_host.kill(job.job_id)
    assert any_host.end(job.job_id).cause == "cancelled"
    wait(lambda: not Path(f"/proc/{job.pgid}/task").exists() or gone_whole(job.pgid))


def gone_whole(pid: int) -> bool:
    """Tell whether no thread of a process is left."""
    try:
        return len(os.listdir(f"/proc/{pid}/task")) < 2
    except OSError:
        return True


@pytest.fixture
def stranger(host: Host) -> Iterator[Started]:
    """A job of root's, and a process of another user that carries its mark."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    job = host.running(b"setsid sleep 1000 & sleep 1001")
    with subprocess.Popen(
        ["sleep", "1002"],
        env={"SSHJOBS_JOB_ID": job.job_id},
        user=NEIGHBOUR,
        start_new_session=True,
    ) as process:
        wait(lambda: b"1002" in Path(f"/proc/{process.pid}/cmdline").read_bytes())
        yield job
        assert process.poll() is None
        process.kill()


def test_kill_ends_no_process_of_another_user(host: Host, stranger: Started) -> None:
    host.kill(stranger.job_id)
    assert host.end(stranger.job_id).cause == "cancelled"
    wait(lambda: not [line for line in host.marked().values() if "sleep" in line])


def test_a_mark_of_another_user_is_no_evidence(host: Host, stranger: Started) -> None:
    host.kill_runner(stranger.job_id)
    for pid in host.marked():
        os.kill(pid, signal.SIGKILL)
        wait(lambda: gone(pid))
    lost = host.check(stranger.job_id, stranger.pid, stranger.start)
    assert [type(event) for event in lost] == [protocol.Lost]


def test_a_job_of_root_may_become_another_user(host: Host) -> None:
    """Session, group and descent are the kernel's word, so they hold for any uid."""
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root may become somebody else")
    become = b"setpriv --reuid=%d --clear-groups" % NEIGHBOUR
    job = host.running(b"%s sleep 1000 &\nexec %s sleep 1001" % (become, become))
    wait(lambda: Path(f"/proc/{job.pgid}").stat().st_uid == NEIGHBOUR)
    host.kill_runner(job.job_id)
    about = (job.job_id, job.pid, job.start)
    assert host.check(*about) == [protocol.Unsupervised(job.job_id)]
    host.kill(job.job_id)
    assert host.end(job.job_id).cause == "cancelled"
    wait(lambda: gone(job.pgid))


@pytest.fixture
def neighbour() -> Iterator[Callable[[], int]]:
    """Starts a process of another user, which leads a group, and is to live on."""
    if os.geteuid() != 0:
        pytest.skip("only root may be somebody else")
    arrived = []

    def arrive() -> int:
        process = subprocess.Popen(
            ["sleep", "1003"], user=NEIGHBOUR, start_new_session=True
        )
        arrived.append(process)
        return process.pid

    yield arrive
    ended = [process.poll() for process in arrived]
    for process in arrived:
        process.kill()
        process.wait()
    assert ended == [None], "the neighbour was ended"


def give_away(host: Host, job: Started, to: Callable[[], int], *lines: str) -> None:
    """Have the processes of a job be gone, and its number given to somebody else."""
    host.kill_runner(job.job_id)
    os.killpg(job.pgid, signal.SIGKILL)
    wait(lambda: gone(job.pgid))
    run = host.jobs / job.job_id / "run"
    pid = to()
    text = re.sub(r"^(pgid|born)=.*\n", "", run.read_text(), flags=re.M)
    run.write_text(text + "".join(f"{line.format(pid)}\n" for line in lines))


@pytest.mark.parametrize(
    "lines", [("pgid={}",), ("pgid=0", "job_pid={}"), ("pgid={}", "born=1")]
)
def test_root_ends_nobody_who_got_the_number_of_a_job(
    host: Host, neighbour: Callable[[], int], lines: tuple[str, ...]
) -> None:
    """Soon after the start, where no tick of the leader's start was noted."""
    job = host.running(b"sleep 1000")
    give_away(host, job, neighbour, *lines)
    host.kill(job.job_id)
    wait((host.jobs / job.job_id / "killed").exists)


def test_a_clock_ends_nobody_who_got_the_number_of_a_job(
    host: Host, neighbour: Callable[[], int]
) -> None:
    """Its runner has died long before the time is up."""
    job = host.running(b"sleep 1000", timeout=1.0, kill_grace=0.3)
    give_away(host, job, neighbour, "pgid={}", "born=1")
    wait((host.jobs / job.job_id / "killed").exists)


def test_a_clock_that_has_rung_is_not_stopped(
    host: Host, neighbour: Callable[[], int]
) -> None:
    """The number of its sleep is free from then on, and may be given away."""
    pid = neighbour()
    mark = b"\n{\ntrap sj_handle_no_fork EXIT\n"
    assert mark in host.program(Request(starts=(an_order(b"x"),)), "a")
    given = mark + b"sj_sleeper=%d\n" % pid
    host.edit = lambda program: program.replace(mark, given)
    job_id = host.start(b"sleep 1000", timeout=0.4, kill_grace=0.3)
    assert host.end(job_id).cause == "timeout"
    run = (host.jobs / job_id / "run").read_text()
    (runner,) = map(int, re.findall(r"^pid=(\d+)$", run, re.M))
    wait(lambda: gone(runner))


def test_a_burst_of_root_notes_who_leads(host: Host) -> None:
    """Its signals reach everybody: each group is known by the start of its leader."""
    if os.geteuid() != 0:
        pytest.skip("only for root")
    orders = tuple(an_order(b"sleep 1") for _ in range(40))
    host.run(Request(starts=orders))
    for order in orders:
        run = host.jobs / order.job_id / "run"
        wait(lambda: run.exists() and "born=" in run.read_text())


# -- what could not be seen --------------------------------------------------------


PS = {
    "nothing": "exit 0",
    "an error": "echo 'ps: unknown keyword' >&2; exit 1",
    "others": "echo '    1     0     1     0 Ss   Thu Jan  1 00:00:00 1970'",
    "a header": "echo '  PID  PPID  PGID  RUID STAT STARTED'",
    "only itself": '"$PS" -o pid= -o ppid= -o pgid= -o ruid= -o stat= -o lstart= -p $$',
}


@pytest.fixture(params=sorted(PS))
def blind(request: pytest.FixtureRequest, host: Host) -> Host:
    """A host without /proc whose ps can be made to fail, by a file."""
    real = shutil.which("ps")
    if not real:
        pytest.skip("no ps here")
    fake = host.home / "bin" / "ps"
    fake.parent.mkdir()
    fail = f"PS={real}; {PS[request.param]}"
    fake.write_text(
        f"#!/bin/sh\nif [ -e {host.home}/blind ]; then {fail}; "
        f'else exec {real} "$@"; fi\n'
    )
    fake.chmod(0o755)
    host.hide_proc()
    plain = host.edit
    path = b"PATH=%s:/usr/bin:/bin:" % bytes(fake.parent)
    host.edit = lambda program: plain(program).replace(b"PATH=/usr/bin:/bin:", path)
    return host


def test_nothing_is_lost_that_could_not_be_looked_for(blind: Host) -> None:
    job = blind.running(b"sleep 1000")
    about = (job.job_id, job.pid, job.start)
    assert blind.check(*about) == []
    blind.kill_runner(job.job_id)
    (blind.home / "blind").touch()
    assert not of(protocol.Lost, blind.check(*about))
    (seen,) = of(protocol.Unseen, blind.check(*about))
    assert "list" in seen.reason
    assert not (blind.jobs / job.job_id / "lost").exists()
    assert of(protocol.Listed, blind.run(Request(listing=True)))[0].state == "RUNNING"
    (blind.home / "blind").unlink()
    assert blind.check(*about) == [protocol.Unsupervised(job.job_id)]


def test_a_key_whose_holder_could_not_be_seen_runs_nothing(blind: Host) -> None:
    ran = blind.home / "ran"
    line = b"echo x >>%s; sleep 1000" % bytes(ran)
    first = blind.start(line, key="k")
    wait(ran.exists)
    blind.kill_runner(first)
    (blind.home / "blind").touch()
    second = blind.start(line, key="k")
    assert not (blind.jobs / second).exists()
    assert ran.read_text() == "x\n"


def test_kill_says_no_end_that_it_could_not_see(blind: Host) -> None:
    """The group is told by a builtin; what has left it is seen to later."""
    job = blind.running(b"trap '' TERM; while :; do sleep 1; done", kill_grace=0.3)
    (blind.home / "blind").touch()
    blind.kill(job.job_id)
    wait(lambda: gone(job.pgid))
    time.sleep(0.5)
    check = Request(checks=(Check(job.job_id, None, ""),))
    assert not of(protocol.Ended, blind.run(check))
    (blind.home / "blind").unlink()
    assert blind.end(job.job_id).cause == "cancelled"


# -- files that a job makes in its own directory -------------------------------------

OWN = (
    "cd %s && %s; cd /; setsid sh -c \"trap '' TERM; echo up; exec sleep 1000\" & wait"
)


@pytest.mark.parametrize(
    "make",
    [": >exit", ": >lost", ": >killed", "mkdir killed", "echo pid=1 | tee lost >exit"],
)
def test_a_file_in_its_own_directory_ends_no_job(any_host: Host, make: str) -> None:
    """Of a record only the end counts, and not its name."""
    order = an_order(b"true", kill_grace=0.4)
    folder = any_host.jobs / order.job_id
    line = OWN % (folder, make)
    order = order._replace(spec=order.spec._replace(command=line.encode()))
    any_host.run(Request(starts=(order,)))
    log = folder / "log"
    wait(lambda: log.exists() and log.read_bytes() == b"up\n")
    check = Request(checks=(Check(order.job_id, None, ""),))
    assert of(protocol.Started, any_host.run(check))
    (listed,) = of(protocol.Listed, any_host.run(Request(listing=True)))
    assert listed.state == "RUNNING"
    reap = Request(reaps=(protocol.Reap(order.job_id, 1 << 40),))
    assert of(protocol.ReapRefused, any_host.run(reap)) and folder.exists()
    any_host.kill(order.job_id)
    assert any_host.end(order.job_id).cause == "cancelled"
    assert not [line for line in any_host.marked().values() if "1000" in line]


def test_a_file_named_exit_stops_no_clock(any_host: Host) -> None:
    order = an_order(b"true", timeout=0.4, kill_grace=0.4)
    line = OWN % (any_host.jobs / order.job_id, ": >exit")
    order = order._replace(spec=order.spec._replace(command=line.encode()))
    any_host.run(Request(starts=(order,)))
    assert any_host.end(order.job_id).cause == "timeout"
    wait(lambda: not any_host.marked())


def test_a_loss_that_had_no_room_is_told_and_written_later(host: Host) -> None:
    """What a full disk leaves of its record is empty."""
    job = host.running(b"sleep 1000")
    host.kill_runner(job.job_id)
    os.killpg(job.pgid, signal.SIGKILL)
    wait(lambda: gone(job.pgid))
    (host.jobs / job.job_id / "lost").touch()
    about = (job.job_id, job.pid, job.start)
    assert [type(event) for event in host.check(*about)] == [protocol.Lost]
    assert "\nend=\n" in (host.jobs / job.job_id / "lost").read_text()
    assert [type(event) for event in host.check(*about)] == [protocol.Lost]
