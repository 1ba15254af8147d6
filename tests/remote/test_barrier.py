"""The barrier: jobs of a burst wait, claimed, while a host has no processor free."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Check, Request, Start
from tests.remote.host import Host, an_order, of, wait

#: Slices of 16 and 24, of each of which one may start at once on a host that is busy.
COUNT, AT_ONCE = 40, 2


def make_load(host: Host, running: str, edit: dict[bytes, bytes]) -> None:
    """Have the host say how many processes run; change its program further."""
    load = host.home / "loadavg"
    load.write_text(f"9.00 9.00 9.00 {running}/12345 4711\n")
    online = host.home / "online"
    online.write_text("0-1,4\n")
    places = {b"/proc/loadavg": load, b"/sys/devices/system/cpu/online": online}
    changes = {old: os.fsencode(new) for old, new in places.items()} | edit

    def replace(program: bytes) -> bytes:
        for old, new in changes.items():
            program = program.replace(old, new)
        return program

    host.edit = replace


def make_busy(
    host: Host, edit: dict[bytes, bytes] | None = None, *, kept: bytes = b"1000"
) -> None:
    """Be busy, and keep the barrier for so many seconds after a round."""
    change = {b"sj_keep_barrier 0.30": b"sj_keep_barrier " + kept}
    make_load(host, "9999", change | (edit or {}))


def list_orders(timeout: float | None = None) -> tuple[Start, ...]:
    line = b'echo "$SSHJOBS_JOB_ID" >>"$HOME/ran"\nreadlink /proc/self/fd/*\ntrue'
    return tuple(an_order(line, timeout=timeout) for _ in range(COUNT))


def read_run(host: Host, order: Start) -> str:
    """Return the record of a job; nothing, where it is not claimed yet."""
    try:
        return (host.jobs / order.job_id / "run").read_text()
    except FileNotFoundError:
        return ""


def count_under_way(host: Host, orders: tuple[Start, ...]) -> int:
    return sum("\npgid=" in read_run(host, order) for order in orders)


def find_sleepers(host: Host) -> list[int]:
    """Return the processes that hold a barrier of the host shut after its round."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            target = os.readlink(entry / "fd/1")
        except OSError:
            continue
        if target.startswith(f"{host.base}/new/") and ".barrier" in target:
            found.append(int(entry.name))
    return found


def end_barrier(host: Host) -> None:
    for pid in find_sleepers(host):
        os.kill(pid, signal.SIGKILL)


def list_ends(host: Host, orders: tuple[Start, ...]) -> list[protocol.Ended]:
    """Wait until each has ended."""
    request = Request(checks=tuple(Check(one.job_id, None, "") for one in orders))
    ends: list[protocol.Ended] = []

    def all_ended() -> bool:
        ends[:] = of(protocol.Ended, host.run(request))
        return len(ends) == len(orders)

    wait(all_ended)
    return ends


def check_each_ran_once(host: Host, orders: tuple[Start, ...]) -> None:
    assert {one.exit_status for one in list_ends(host, orders)} == {0}
    ran = (host.home / "ran").read_text().split()
    assert sorted(ran) == sorted(order.job_id for order in orders)
    logs = [(host.jobs / one.job_id / "log").read_text() for one in orders]
    assert not any(".barrier" in log for log in logs)


def test_jobs_of_a_busy_host_wait_claimed_for_the_end_of_their_round(
    any_host: Host,
) -> None:
    """The round tells that all have started; they do, as soon as it is over."""
    make_busy(any_host)
    orders = list_orders()
    said = any_host.run(Request(starts=orders))
    assert {one.job_id for one in of(protocol.Started, said)} == {
        order.job_id for order in orders
    }
    wait(lambda: count_under_way(any_host, orders) == AT_ONCE)
    wait(lambda: not list((any_host.base / "new").iterdir()))
    assert len(find_sleepers(any_host)) == 1
    end_barrier(any_host)
    check_each_ran_once(any_host, orders)


def test_they_wait_no_longer_than_a_moment(any_host: Host) -> None:
    make_busy(any_host, kept=b"0.30")
    orders = list_orders()
    any_host.run(Request(starts=orders))
    check_each_ran_once(any_host, orders)
    wait(lambda: not find_sleepers(any_host))


@pytest.mark.parametrize("running", ["1", "0", "x", ""])
def test_on_a_host_that_has_room_or_does_not_tell_none_waits(
    any_host: Host, running: str
) -> None:
    make_load(any_host, running, {b"sj_keep_barrier 0.30": b"sj_keep_barrier 1000"})
    orders = list_orders()
    any_host.run(Request(starts=orders))
    check_each_ran_once(any_host, orders)
    assert not find_sleepers(any_host)


@pytest.mark.parametrize("missing", [b"mkfifo", b"/sys/devices/system/cpu/online"])
def test_where_no_barrier_can_be_made_none_waits(
    any_host: Host, missing: bytes
) -> None:
    make_busy(any_host, {missing: b"/nowhere/none"})
    orders = list_orders()
    any_host.run(Request(starts=orders))
    check_each_ran_once(any_host, orders)
    assert not find_sleepers(any_host)


def test_one_that_is_cancelled_while_it_waits_never_runs(any_host: Host) -> None:
    make_busy(any_host)
    orders = list_orders()
    any_host.run(Request(starts=orders))
    wait(lambda: count_under_way(any_host, orders) == AT_ONCE)
    waiting = [one for one in orders if "\npgid=" not in read_run(any_host, one)]
    any_host.kill(waiting[0].job_id)
    end_barrier(any_host)
    ends = {one.job_id: one for one in list_ends(any_host, orders)}
    ended = ends.pop(waiting[0].job_id)
    assert (ended.cause, ended.reason) == ("cancelled", "cancelled before it started")
    assert {one.exit_status for one in ends.values()} == {0}
    assert waiting[0].job_id not in (any_host.home / "ran").read_text()


def test_the_time_of_a_timeout_is_not_waited_away(any_host: Host) -> None:
    make_busy(any_host)
    orders = list_orders(timeout=1000)
    any_host.run(Request(starts=orders))
    check_each_ran_once(any_host, orders)
    end_barrier(any_host)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_round_that_is_killed_lets_them_go(
    any_host: Host, number: signal.Signals
) -> None:
    """Those that were prepared and not started are started by the next one."""
    make_busy(any_host, {b"sj_await_claims $sj_due": b"touch here; sleep 1000"})
    orders = list_orders()
    with run_apart(any_host, Request(starts=orders)) as round_:
        wait(lambda: (any_host.base / "here").exists())
        wait(lambda: count_under_way(any_host, orders) == AT_ONCE)
        os.killpg(round_.pid, number)
    make_load(any_host, "1", {})
    any_host.run(Request(starts=orders))
    check_each_ran_once(any_host, orders)


@contextmanager
def run_apart(host: Host, request: Request) -> Iterator[subprocess.Popen[bytes]]:
    """Begin a round in a group of its own, and end it."""
    process = subprocess.Popen(
        [f"{host.path.split(':')[0]}/sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=host.home,
        env=host.env,
        start_new_session=True,
    )
    assert process.stdin
    process.stdin.write(host.program(request, new_job_id()))
    process.stdin.close()
    try:
        yield process
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    finally:
        process.wait()


def test_few_jobs_make_no_barrier(any_host: Host) -> None:
    program = any_host.program(Request(starts=list_orders()[:32]), "0" * 16)
    assert b"mkfifo" not in program
    assert b"mkfifo" in any_host.program(Request(starts=list_orders()[:33]), "0" * 16)
