"""Records in which anything may stand: each of them, of every kind, on every shell."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Check, LogWant, Reap, Reply, Request
from tests.remote.host import Host, an_order, end_all, have_no_runner, of, wait

AWKS = ("mawk", "gawk", "busybox", "original-awk")
SHELLS = ("dash", "bash", "busybox")
USUAL = (("dash", "mawk"), ("bash", "gawk"), ("busybox", "busybox"))

#: Larger than any record and than the memory of the round below; sparse.
HUGE = 400 << 20
DAMAGE = b"node=%FF\xff\nstart=%FF\npid=" + b"9" * 20 + b"\n\0\nstatus=x\nend\n"


def absent(path: Path) -> None:
    """There is none."""


def empty(path: Path) -> None:
    """A file without a byte."""
    path.touch()


def fifo(path: Path) -> None:
    """Who opens it, waits."""
    os.mkfifo(path)


def directory(path: Path) -> None:
    """A directory with something in it."""
    path.mkdir()
    (path / "x").touch()


def device(path: Path) -> None:
    """A symbolic link to what never ends."""
    path.symlink_to("/dev/zero")


def dangling(path: Path) -> None:
    """A symbolic link to nothing, and to where nothing may come to be."""
    path.symlink_to(path.parent / "planted")


def damaged(path: Path) -> None:
    """Bytes, some of them like ours."""
    path.write_bytes(DAMAGE)


def huge(path: Path) -> None:
    """A file whose first line has no end in sight."""
    with open(path, "wb") as file:
        file.truncate(HUGE)


KINDS = (absent, empty, fifo, directory, device, dangling, damaged, huge)


def spoil(path: Path, kind: Callable[[Path], None]) -> None:
    """Put something of a kind in the place of a record."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    kind(path)


class BoundHost(Host):
    """A host whose rounds have little time and memory, and leave no process behind."""

    def serve(self, request: Request) -> list[protocol.Event]:
        """Serve a request and return what was said, to the end of the reply."""
        nonce = os.urandom(8).hex()
        before = set(self.marked())
        with subprocess.Popen(
            [shutil.which("sh", path=self.path) or "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=self.env,
            start_new_session=True,
            preexec_fn=_little,
        ) as ran:
            try:
                said, errors = ran.communicate(self.program(request, nonce), timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(ran.pid, signal.SIGKILL)
                raise
        reply = Reply(nonce)
        events = reply.feed(said)
        assert reply.ended, (said[-500:], errors[-500:])
        assert b"\x18" not in said
        wait(lambda: not set(self.marked()) - before - self.alive)
        return events

    #: The processes of jobs that are meant to run.
    alive: set[int] = set()


def _little() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (HUGE, HUGE))
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))


def tools(folder: Path, sh: str, awk: str, path: str) -> str:
    """Return a PATH with a shell and an awk; skip if this machine has not both."""
    folder.mkdir()
    found = shutil.which(awk)
    if not found:
        pytest.skip(f"no {awk} here")
    (folder / "awk").write_text(
        f'#!/bin/sh\nexec {found} {"awk" if awk == "busybox" else ""} "$@"\n'
    )
    (folder / "awk").chmod(0o755)
    return f"{folder}:{path}"


def spread(records: list[str]) -> list[object]:
    """Return each record with each shell and awk; one usual pair of it runs always."""
    pairs = [(sh, awk) for sh in SHELLS for awk in AWKS]
    return [
        pytest.param(
            record,
            pair,
            id=f"{record}-{'-'.join(pair)}",
            marks=[] if pair == USUAL[i % len(USUAL)] else pytest.mark.slow,
        )
        for i, record in enumerate(records)
        for pair in pairs
    ]


@pytest.fixture
def bound(
    pair: tuple[str, str],
    tmp_path: Path,
    paths: dict[str, str],
) -> Iterator[BoundHost]:
    """A host of a shell and an awk."""
    sh, awk = pair
    if sh not in paths:
        pytest.skip(f"no {sh} here")
    host = BoundHost(tmp_path, tools(tmp_path / "tools", sh, awk, paths[sh]))
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


class Victims:
    """Jobs to be spoilt: copies of one that has ended and of one that runs."""

    def __init__(self, host: BoundHost) -> None:
        self.host = host
        self.good = host.running(b"sleep 1000")
        host.alive = set(host.marked())
        self.ended = host.start(b"echo x; exit 3", env=(("A", b"b"),), stdin=b"in")
        host.end(self.ended)

    def copy(self, job_id: str) -> str:
        """Return the id of a new directory like that of another job."""
        new = new_job_id()
        folder = self.host.jobs / new
        shutil.copytree(self.host.jobs / job_id, folder)
        for name in ("spec", "run", "exit"):
            path = folder / name
            if path.exists():
                path.write_bytes(
                    path.read_bytes().replace(job_id.encode(), new.encode())
                )
        return new

    def base_is_sound(self, said: list[protocol.Event]) -> None:
        """See that the good job is where it was, and nothing went astray."""
        assert not of(protocol.Failed, said), said
        assert not of(protocol.Unread, said), said
        assert not list(self.host.base.rglob("planted"))


OF_A_JOB = (
    "run exit lost spec again cancel expire killed env script stdin log claim".split()
)


@pytest.mark.parametrize("record, pair", spread(OF_A_JOB))
def test_a_spoilt_record_of_a_job(
    bound: BoundHost, record: str, pair: tuple[str, str]
) -> None:
    """Its job has a true state, the others have theirs, and the round its end."""
    victims = Victims(bound)
    good = Check(victims.good.job_id, victims.good.pid, victims.good.start)
    ended, running = {}, {}
    for kind in KINDS:
        ended[victims.copy(victims.ended)] = kind.__name__
        running[victims.copy(good.job_id)] = kind.__name__
        for job_id in (list(ended)[-1], list(running)[-1]):
            spoil(bound.jobs / job_id / record, kind)
    checks = [good, *(Check(job_id, None, "") for job_id in ended)]
    checks += [good._replace(job_id=job_id) for job_id in running]
    wanted = tuple(LogWant(job_id, 0, 10) for job_id in (*ended, *running))
    about = Request(checks=tuple(checks), logs=wanted, start_grace=1000.0)
    said = bound.serve(about)
    victims.base_is_sound(said)
    ends = {event.job_id: event for event in of(protocol.Ended, said)}
    assert {ended[job_id]: end.exit_status for job_id, end in ends.items()} == {
        kind.__name__: 3 for kind in KINDS
    }
    assert of(protocol.Lost, said) == []
    listed = bound.serve(about._replace(checks=(good,), listing=True))
    victims.base_is_sound(listed)
    states = {event.job_id: event.state for event in of(protocol.Listed, listed)}
    assert states[good.job_id] == "RUNNING"
    kills = tuple(ended)
    reaps = tuple(Reap(job_id, 1 << 40) for job_id in ended)
    victims.base_is_sound(bound.serve(Request(kills=kills, reaps=reaps)))


OF_A_RUNNER = "run exit expire killed cancel log journal".split()


@pytest.mark.parametrize("record, pair", spread(OF_A_RUNNER))
def test_a_record_spoilt_under_its_runner(
    bound: BoundHost, record: str, pair: tuple[str, str]
) -> None:
    """The job ends with its own status, and neither runner nor timekeeper stays.

    A job that makes its own record larger than any is the one that has no end.
    """
    go = bound.home / "go"
    command = b"while [ ! -e $HOME/go ]; do sleep 0.05; done; exit 5"
    kinds = [kind for kind in KINDS if (record, kind) != ("run", huge)]
    jobs = [bound.running(command, timeout=100.0).job_id for _ in kinds]
    journal = next(iter(bound.base.glob("*/journal")))
    for job_id, kind in zip(jobs, kinds):
        if record != "journal":
            spoil(bound.jobs / job_id / record, kind)
    if record == "journal":
        spoil(journal, fifo)
    go.touch()
    wait(lambda: not bound.marked())
    if record == "journal":
        journal.unlink()
    said = bound.serve(
        Request(checks=tuple(Check(job_id, None, "") for job_id in jobs))
    )
    ends = {event.job_id: event for event in of(protocol.Ended, said)}
    assert set(ends) == set(jobs)
    if record not in ("cancel", "run"):
        assert {event.exit_status for event in ends.values()} == {5}


def test_what_a_dead_runner_read_is_removed(host: Host) -> None:
    """Values of an environment do not outlive its claim for long."""
    order = an_order(b"true", env=(("A", b"secret"),))
    host.edit = have_no_runner
    host.run(Request(starts=(order,)))
    host.edit = lambda program: program
    folder = host.jobs / order.job_id
    assert (folder / "env").exists()
    machine = next(iter(host.base.glob("*/tools"))).parent
    run = f"machine={machine.name}\nboot_id=x\npid=1\nstart=1\nstarted_at=1\n"
    (folder / "run").write_text(run)
    said = host.run(Request(checks=(Check(order.job_id, None, ""),), start_grace=0.0))
    assert of(protocol.Lost, said) and not (folder / "env").exists()
    (folder / "env").touch()
    (machine / "swept").unlink()
    host.run()
    assert not (folder / "env").exists()


def test_a_tool_that_died_fails_the_round(host: Host, tmp_path: Path) -> None:
    """What it had half said is void, and nothing is taken for whole."""
    started = host.running(b"sleep 100")
    tool = tmp_path / "tools"
    tool.mkdir()
    (tool / "sh").symlink_to("/bin/sh")
    (tool / "awk").write_text("#!/bin/sh\nprintf 'lost %s rea' aaaa\nkill -9 $$\n")
    (tool / "awk").chmod(0o755)
    host.path = host.env["PATH"] = f"{tool}:/usr/bin:/bin"
    said = host.run(Request(checks=(Check(started.job_id, None, ""),)))
    assert [event.code for event in of(protocol.Failed, said)] == ["EDIED"]
    assert not of(protocol.Lost, said) and not of(protocol.Unread, said)


OF_THE_BASE = "layout journal now tools swept jobs keys gone new".split()


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_in_the_base_directory(
    tmp_path: Path, kind: Callable[[Path], None]
) -> None:
    """The round ends in time, as if nothing were, or names what is in the way."""
    bound = BoundHost(tmp_path)
    bound.env["SJTEST"] = str(bound.base)
    bound.serve(Request())
    folder = next(iter(bound.base.glob("*/tools"))).parent
    for name in OF_THE_BASE:
        path = (bound.base if (bound.base / name).exists() else folder) / name
        spoil(path, kind)
        failed = of(protocol.Failed, bound.serve(Request(listing=True)))
        assert not failed or failed[0].code in ("EBASE", "EVERSION"), failed
        assert not failed or name in failed[0].text or name == "layout"
        spoil(path, absent)
        if not failed or name != "journal":
            bound.serve(Request())


@pytest.mark.parametrize("field", range(2, 7))
def test_a_damaged_word_about_tools_is_found_anew(host: Host, field: int) -> None:
    """A log comes home whatever is said of the tools, and the record is right again."""
    job_id = host.start(b"echo hello")
    host.end(job_id)
    (path,) = host.base.glob("*/tools")
    before = path.read_text()
    words = before.split()
    words[field] = words[field][1:] + "\x07x"
    path.write_text(" ".join(words) + "\n")
    said = host.run(Request(logs=(LogWant(job_id, 0, 100),)))
    assert [end.length for end in of(protocol.LogEnd, said)] == [6]
    assert path.read_text() == before
