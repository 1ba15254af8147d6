"""A runner that is slow, or dies, at any line between its claim and its job's exec."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request
from tests.remote.host import Host, an_order, end_all, of, wait

SLOW = b"sleep 0.4 </dev/null"


def places() -> list[tuple[bytes, bytes, bytes]]:
    """Return each line to be slow before, and what to replace by what for that."""
    program = protocol.build(Request(starts=(an_order(b"true"),)), "0" * 16)
    start, end = program.index(b"sj_supervise_job() {"), program.index(
        b"sj_wait_job() {"
    )
    lines = program[start:end].splitlines(keepends=True)
    found = []
    for at in range(1, len(lines)):
        there = b"".join(lines[:at]), b"".join(lines[at:])
        slow = (SLOW + b"\n").join(there)
        shell = slow.replace(rb"'\''", b"'")  # the runner stands in quotes
        if not subprocess.run(
            ["sh", "-n"], input=shell, capture_output=True
        ).returncode:
            found.append((lines[at], b"".join(there), slow))
    return found


class Case:
    """One job, whose runner is slow at one line."""

    def __init__(self, home: Path, line: bytes, fast: bytes, slow: bytes) -> None:
        home.mkdir()
        self.line = line
        self.ran = home / "ran"
        self.host = Host(home)
        self.host.env["SJTEST"] = str(self.host.base)
        self.host.edit = lambda program: program.replace(fast, slow)
        self.order = an_order(b"echo x >>%s; sleep 100" % bytes(self.ran))
        self.job_id = self.order.job_id

    def start(self) -> None:
        self.host.run(Request(starts=(self.order,)))
        (runner,) = self.host.base.glob("runner-*")
        assert runner.read_bytes().count(SLOW) == 1

    def verdict(self) -> protocol.Ended | protocol.Lost | protocol.Unsupervised:
        """Ask until the host says what has become of it, or that it runs on."""
        kinds = (protocol.Ended, protocol.Lost, protocol.Unsupervised)
        request = Request(checks=(Check(self.job_id, None, ""),), start_grace=1.0)
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for event in self.host.run(request):
                if isinstance(event, kinds):
                    if (
                        not isinstance(event, protocol.Unsupervised)
                        or self.ran.exists()
                    ):
                        return event
            time.sleep(0.05)
        raise AssertionError("no verdict")

    def sleeping(self) -> list[str]:
        """Return the command lines of the job's last command: one while it runs."""
        return [line for line in self.host.marked().values() if "sleep 100" in line]

    def at_rest(self) -> None:
        """Nothing of it runs, nor comes to run; and what has run has run once."""
        assert not self.host.marked()
        time.sleep(0.6)  # longer than any line takes
        self.start()
        time.sleep(0.6)
        assert not self.sleeping()
        assert not self.ran.exists() or self.ran.read_text() == "x\n"

    def is_killed(self) -> None:
        """The job is cancelled meanwhile."""
        self.start()
        self.host.kill(self.job_id)
        ended = self.host.end(self.job_id)
        assert ended.cause == "cancelled"
        wait(lambda: not self.host.marked())
        self.at_rest()

    def loses_its_runner(self) -> None:
        """The runner is killed meanwhile: the job is known to run on, or is lost."""
        self.start()
        self.host.kill_runner(self.job_id)
        verdict = self.verdict()
        if isinstance(verdict, protocol.Unsupervised):
            wait(self.sleeping)  # its shell has said that it ran before it forks that
            assert of(protocol.KillSent, self.host.kill(self.job_id))
            wait(lambda: not self.host.marked())
            verdict = self.verdict()
            assert isinstance(verdict, protocol.Ended) and verdict.cause == "cancelled"
        else:
            assert isinstance(verdict, protocol.Lost)
        self.at_rest()


#: What may happen meanwhile.
EVENTS: list[Callable[[Case], None]] = [Case.is_killed, Case.loses_its_runner]


def check_lines(home: Path, choose: Callable[[int], Callable[[Case], None]]) -> None:
    """Have the runner be slow at each line, and something happen meanwhile."""
    found = places()
    assert len(found) > 40
    cases = [Case(home / str(at), *place) for at, place in enumerate(found)]
    events = [choose(at) for at in range(len(found))]
    try:
        with ThreadPoolExecutor(6) as pool:
            errors = list(pool.map(_error_of, events, cases))
    finally:
        for case in cases:
            end_all(case.host)
    assert [error for error in errors if error] == []


def test_at_each_line_one_thing_or_the_other_may_happen(tmp_path: Path) -> None:
    check_lines(tmp_path, lambda at: EVENTS[at % len(EVENTS)])


@pytest.mark.slow
@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_at_each_line_each_thing_may_happen(
    event: Callable[[Case], None], tmp_path: Path
) -> None:
    check_lines(tmp_path, lambda at: event)


def _error_of(what: Callable[[Case], None], case: Case) -> tuple[object, ...]:
    try:
        what(case)
    except (AssertionError, subprocess.SubprocessError) as error:
        return case.line, repr(error)
    return ()
