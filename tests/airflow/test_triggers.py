"""Triggers of deferred tasks in a process of their own, against a real sshd."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.airflow.real import BIN, asleep, eventually, login, open_folder
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")

from sshjobs.airflow import task_log  # noqa: E402

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

TOP = Path(__file__).parents[2]
OURS = "sshjobs.airflow.triggers.SSHJobTrigger"


class Triggerer:
    """A process that runs triggers; see :mod:`tests.airflow.small_triggerer`."""

    def __init__(
        self, env: dict[str, str], kwargs: list[dict[str, Any]], kind: str = OURS
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.airflow.small_triggerer"],
            cwd=TOP,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._send({"trigger": kind, "kwargs": kwargs})

    def _send(self, what: Any) -> None:
        assert self.process.stdin
        line = what if isinstance(what, str) else json.dumps(what)
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end_task(self, number: int, state: str) -> None:
        """Do what a triggerer does whose task a person has ended."""
        self._send(f"{number} {state}")

    def read_until(self, key: str) -> dict[str, Any]:
        """Return the next thing that it says with this key."""
        assert self.process.stdout
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if key in said:
                return said
        raise AssertionError(f"it ended and said nothing of {key}")

    def end(self, signum: int) -> None:
        self.process.send_signal(signum)
        self.process.wait(60)

    def close(self) -> None:
        with self.process:
            self.process.kill()


class Rig:
    """A record, jobs on a server, and the triggers that wait for them."""

    def __init__(self, base: Path, sshd: Sshd) -> None:
        self.sshd = sshd
        self.go = base / "go"
        self.logs = base / "logs"
        self.config = str(sshd.write_client_config())
        self.env = dict(os.environ) | {
            "SSHJOBS_HOME": str(base / "record"),
            "SSHJOBS_SSH_CONFIG": self.config,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.logs),
        }
        self.made: list[Triggerer] = []

    def sshjobs(self, *words: str, text: str = "") -> str:
        done = subprocess.run(
            [BIN / "sshjobs", *words],
            env=self.env,
            input=text,
            text=True,
            capture_output=True,
        )
        return done.stdout

    def submit(self, *commands: str) -> list[str]:
        lines = "".join(json.dumps({"command": line}) + "\n" for line in commands)
        return self.sshjobs("submit", "box", "--from", "-", text=lines).split()

    def show(self, job: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.sshjobs("show", "--json", job))
        return found

    def wait_for(self, *jobs: str, home: str = "", **more: Any) -> Triggerer:
        given = {"remote_host": "box", **more}
        env = self.env | ({"SSHJOBS_HOME": home} if home else {})
        made = Triggerer(env, [{"job": job, **given} for job in jobs])
        self.made.append(made)
        made.read_until("begun")
        return made

    def read_events(self, number: int) -> list[str]:
        """Return what stands in the log of a task, by whichever triggerer."""
        folder = self.logs / f"dag_id=d/run_id=r/task_id=t/map_index={number}"
        files = sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime)
        lines = [line for path in files for line in path.read_text().splitlines()]
        return [json.loads(line)["event"] for line in lines]


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with open_folder() as base, Sshd(base, login()) as server:
        yield server


@pytest.fixture
def rig(sshd: Sshd) -> Iterator[Rig]:
    with open_folder() as base:
        made = Rig(base, sshd)
        yield made
        for one in made.made:
            one.close()
        made.sshjobs("disconnect", "box")


def test_many_triggers(rig: Rig) -> None:
    """They are one connection and few threads; each log has each byte once."""
    before = rig.sshd.connections, rig.sshd.sessions
    jobs = rig.submit(*(f"echo a{n}; sleep 3; printf b{n}" for n in range(40)))
    triggerer = rig.wait_for(*jobs)
    events = [triggerer.read_until("event") for _ in jobs]
    said = triggerer.read_until("cpu")
    assert rig.sshd.connections - before[0] == 1
    assert rig.sshd.sessions - before[1] <= 12
    assert {event["event"]["state"] for event in events} == {"COMPLETED"}
    assert said["threads"] <= 6  # main, log, waiter, watch, asgiref's one, our stdin
    for event in events:
        number = event["number"]
        assert rig.read_events(number) == [f"a{number}", f"b{number}"]
        assert event["event"]["log_offset"] == event["event"]["log_bytes"]


#: Lines as they come, of which the second half waits for a word.
LINES = (
    "for i in $(seq 60); do echo line $i; sleep 0.1; "
    "while test $i -gt 30 -a ! -e {go}; do sleep 0.1; done; done"
)


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGTERM])
def test_a_triggerer_that_ends_loses_and_doubles_no_line(
    rig: Rig, signum: signal.Signals
) -> None:
    job = rig.submit(LINES.format(go=rig.go))[0]
    first = rig.wait_for(job)
    eventually(lambda: len(rig.read_events(0)) > 10)
    first.end(signum)
    assert rig.show(job)["state"] == "RUNNING"
    second = rig.wait_for(job)
    rig.go.touch()
    assert second.read_until("event")["event"]["state"] == "COMPLETED"
    assert rig.read_events(0) == [f"line {n}" for n in range(1, 61)]


def test_lines_that_a_killed_triggerer_took_with_it_are_logged_again(rig: Rig) -> None:
    """They were handed over, and whoever writes the file was killed before."""
    wait = f"while test ! -e {rig.go}; do sleep 0.1; done"
    job = rig.submit(f"seq 9; {wait}; echo end")[0]
    first = rig.wait_for(job)
    eventually(lambda: len(rig.read_events(0)) == 9)
    first.end(signal.SIGKILL)
    [path] = rig.logs.glob("*/*/*/*/*.log.trigger.*")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    rig.go.touch()
    second = rig.wait_for(job)
    second.read_until("event")
    said = rig.logs.glob("*/*/*/*/*.log.trigger.*")
    files = sorted(said, key=lambda path: path.stat().st_mtime)
    whole = [json.loads(line) for line in files[1].read_text().splitlines()]
    assert [one["event"] for one in whole] == [*map(str, range(6, 10)), "end"]


def test_a_triggerer_that_writes_late_loses_no_line(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy one took 15 s; what is not written with the end, nobody writes."""
    monkeypatch.setitem(rig.env, "SMALL_TRIGGERER_LATE", "8")
    wait = f"while test ! -e {rig.go}; do sleep 0.1; done"
    job = rig.submit(f"echo first; {wait}; seq 20")[0]
    triggerer = rig.wait_for(job)
    eventually(lambda: rig.read_events(0))
    rig.go.touch()
    event = triggerer.read_until("event")["event"]
    lines = rig.read_events(0)
    assert event["log_offset"] == sum(len(line) + 1 for line in lines)
    assert lines == ["first", *map(str, range(1, 21))]


def test_another_machine_takes_the_job_up_from_the_host(rig: Rig) -> None:
    """Its record knows nothing of the job; the logs' directory is shared."""
    job = rig.submit(LINES.format(go=rig.go))[0]
    first = rig.wait_for(job)
    eventually(lambda: len(rig.read_events(0)) > 10)
    first.end(signal.SIGTERM)
    rig.go.touch()
    second = rig.wait_for(job, home=rig.env["SSHJOBS_HOME"] + ".other")
    assert second.read_until("event")["event"]["state"] == "COMPLETED"
    assert rig.read_events(0) == [f"line {n}" for n in range(1, 61)]


def test_a_job_that_nobody_knows(rig: Rig) -> None:
    triggerer = rig.wait_for("a" * 16, "key:nobody")
    kinds = {triggerer.read_until("event")["event"]["kind"] for _ in range(2)}
    assert kinds == {"unknown"}


def test_a_person_ends_a_task(rig: Rig) -> None:
    """The tree is gone; a task that is deferred elsewhere by now is let alone."""
    jobs = rig.submit("setsid sleep 7301 & sleep 7301", "sleep 7302", "sleep 7303")
    triggerer = rig.wait_for(*jobs[:2])
    eventually(lambda: len(asleep(7301)) == 2)
    triggerer.end_task(0, "failed")
    assert triggerer.read_until("killed")["number"] == 0
    assert not asleep(7301)
    assert rig.show(jobs[0])["state"] == "CANCELLED"
    triggerer.end_task(1, "deferred")
    triggerer.read_until("killed")
    left = rig.wait_for(jobs[2], cancel_on_kill=False)
    left.end_task(0, "failed")
    left.read_until("killed")
    assert asleep(7302) and asleep(7303)
    rig.sshjobs("kill", *jobs[1:])


def test_silence_ends_a_job(rig: Rig) -> None:
    jobs = rig.submit(
        "echo a; sleep 7304", "for i in 1 2 3 4 5 6; do echo; sleep 1; done"
    )
    triggerer = rig.wait_for(*jobs, cmd_timeout=3)
    events = [triggerer.read_until("event") for _ in jobs]
    kinds = {event["number"]: event["event"]["kind"] for event in events}
    assert kinds == {0: "silent", 1: "ended"}
    assert not asleep(7304)


def test_a_flood_is_left_to_the_worker_that_ends_the_task(rig: Rig) -> None:
    job = rig.submit("seq 100000; printf '%70000s' x; printf 'h\\303\\244\\377'")[0]
    event = rig.wait_for(job).read_until("event")["event"]
    logged = rig.read_events(0)
    offset = event["log_offset"]
    assert 0 < offset < event["log_bytes"]
    whole = "".join(f"{n}\n" for n in range(1, 100001))
    assert "".join(f"{line}\n" for line in logged) == whole[:offset]


def test_the_loop_of_the_triggers_finds_room_beside_a_burst_of_lines() -> None:
    """Both write to one socket, which nobody may have read for a while."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        for _ in range(2 * task_log._BURST):
            ours.send(bytes(400 + task_log._LINE_BYTES))


def test_an_unreachable_host_is_told(rig: Rig) -> None:
    settings = {"SSHJOBS_WAIT_HOST": "1", "SSHJOBS_CONN_RETRY_ATTEMPTS": "1"}
    triggerer = rig.wait_for("b" * 16, remote_host="no.invalid", settings=settings)
    event = triggerer.read_until("event")["event"]
    assert (event["kind"], event["status"]) == ("error", 69)
    assert "no.invalid" in event["message"]


def test_a_connection_that_names_no_host(rig: Rig) -> None:
    event = rig.wait_for("b" * 16, remote_host=None).read_until("event")["event"]
    assert (event["kind"], event["status"]) == ("error", 64)
