"""Jobs that wait their turn: no more than a limit at once, in order, whoever dies."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request, Start
from tests.remote.host import (
    Host,
    an_order,
    any_host,
    host,
    of,
    paths,
    reap_of,
    wait,
)

__all__ = ["any_host", "host", "paths"]


def a_turn(command: bytes, *words: str, **how: Any) -> Start:
    """Return an order of a job that waits its turn."""
    args = tuple(word.encode() for word in words)
    return an_order(command, launcher="limit", launcher_args=args, **how)


def submit(host: Host, *orders: Start, limits: str = "") -> list[protocol.Event]:
    """Start jobs that wait their turn."""
    return host.run(Request(starts=orders, launchers=("limit",), limits=limits))


def poll(host: Host, *orders: Start, limits: str = "") -> dict[str, str]:
    """Ask about jobs, and return the reason of each that waits, by id."""
    checks = tuple(Check(order.job_id, None, "") for order in orders)
    request = Request(checks=checks, launchers=("limit",), limits=limits)
    return {one.job_id: one.reason for one in of(protocol.Queued, host.run(request))}


def note_jobs(host: Host, seconds: float, count: int, *words: str) -> list[Start]:
    """Return orders of jobs that write down when they begin and end."""
    log = bytes(host.home / "notes")
    text = b"echo +%d >>%s; sleep %g; echo -%d >>%s"
    return [
        a_turn(text % (number, log, seconds, number, log), *words)
        for number in range(count)
    ]


def read_notes(host: Host) -> list[str]:
    """Return what jobs wrote down, in its order."""
    notes = host.home / "notes"
    return notes.read_text().split() if notes.exists() else []


def count_most(notes: list[str]) -> int:
    """Return how many jobs ran at once at most."""
    alive = most = 0
    for note in notes:
        alive += 1 if note.startswith("+") else -1
        most = max(most, alive)
    return most


def queue_of(host: Host) -> Path:
    """Return the line of a host."""
    (journal,) = host.base.glob("*/journal")
    return journal.parent / "queue"


def names_in(host: Host) -> list[str]:
    """Return the names in the line of a host, and the slots that are taken."""
    return [path.name for path in queue_of(host).glob("*/*")]


def test_no_more_than_the_limit_run_at_once_and_in_order(any_host: Host) -> None:
    jobs = note_jobs(any_host, 0.2, 9)
    submit(any_host, *jobs, limits="-=2")
    # Nobody asks any more: each that ends starts the next.
    wait(lambda: len(read_notes(any_host)) == 18)
    notes = read_notes(any_host)
    assert count_most(notes) == 2
    began = [int(note) for note in notes if note.startswith("+")]
    assert sorted(began) == list(range(9))
    assert all(abs(number - place) < 2 for place, number in enumerate(began))
    wait(lambda: not queue_of(any_host).exists())


def test_a_limit_is_raised_lowered_and_removed(host: Host) -> None:
    jobs = [a_turn(b"sleep 100") for _ in range(8)]
    submit(host, *jobs, limits="-=1")
    places = ("1st", "2nd", "3rd", "4th", "5th", "6th", "7th")
    assert list(poll(host, *jobs).values()) == [f"limit 1, {place}" for place in places]
    poll(host, *jobs, limits="-=3")
    wait(lambda: len(poll(host, *jobs)) == 5)
    poll(host, *jobs, limits="-=1")
    host.kill(jobs[0].job_id)
    wait(lambda: len(names_in(host)) == 7)
    waiting = poll(host, *jobs)
    assert waiting[jobs[3].job_id] == "limit 1, 1st" and len(waiting) == 5
    poll(host, *jobs, limits="-=0")
    wait(lambda: not poll(host, *jobs))


def test_a_group_has_a_limit_of_its_own_and_a_priority_goes_first(host: Host) -> None:
    first = a_turn(b"sleep 100", "group=io", "limit=1")
    second = a_turn(b"sleep 100", "group=io")
    urgent = a_turn(b"sleep 100", "group=io", "priority=5")
    other = a_turn(b"sleep 100")
    submit(host, first, second, other, limits="-=2 io=1")
    submit(host, urgent, limits="-=2 io=1")
    assert poll(host, first, second, urgent, other) == {
        urgent.job_id: "limit 1 of group io, 1st",
        second.job_id: "limit 1 of group io, 2nd",
    }
    host.kill(first.job_id)
    wait(lambda: list(poll(host, second, urgent)) == [second.job_id])


def test_a_job_that_waits_is_cancelled_and_never_runs(any_host: Host) -> None:
    jobs = note_jobs(any_host, 0, 3)
    jobs[0] = a_turn(b"until [ -e ~/go ]; do sleep 0.1; done")
    submit(any_host, *jobs, limits="-=1")
    kills = (jobs[1].job_id,)
    said = any_host.run(Request(kills=kills, launchers=("limit",)))
    assert of(protocol.Ended, said)[0].cause == "cancelled"
    assert not [name for name in names_in(any_host) if jobs[1].job_id in name]
    (any_host.home / "go").touch()
    any_host.end(jobs[2].job_id)
    assert read_notes(any_host) == ["+2", "-2"]


def forget_next(program: bytes) -> bytes:
    """Return the program whose runners die between an end and the next start."""
    call = b"sj_supervise_job\nsj_start_next\nreturn"
    assert call in program
    return program.replace(call, b'sj_supervise_job\nkill -9 "$sj_pid"\nreturn')


def test_a_runner_that_dies_before_the_next_start_is_made_up_for(
    any_host: Host,
) -> None:
    jobs = note_jobs(any_host, 0, 5)
    any_host.edit = forget_next
    submit(any_host, *jobs, limits="-=1")
    any_host.edit = lambda program: program
    deadline = time.monotonic() + 20
    while len(read_notes(any_host)) < 10 and time.monotonic() < deadline:
        any_host.run()  # of a client that knows none of them
        time.sleep(0.05)
    assert len(read_notes(any_host)) == 10
    assert count_most(read_notes(any_host)) == 1


def test_a_job_whose_runner_is_gone_keeps_its_slot_while_it_lives(host: Host) -> None:
    first, second = a_turn(b"echo up; sleep 100"), a_turn(b"echo up; sleep 100")
    submit(host, first, second, limits="-=1")
    started = host.started(first.job_id)
    host.kill_runner(first.job_id)
    for _ in range(3):
        assert list(poll(host, second)) == [second.job_id]
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: not poll(host, second))


def test_a_line_holds_anything_and_is_read_with_care(any_host: Host) -> None:
    first, second = note_jobs(any_host, 1, 2)
    submit(any_host, first, second, limits="-=1")
    line = queue_of(any_host)
    victim = any_host.home / "victim"
    victim.mkdir()
    (victim / "kept").write_text("")
    name = f"00000.1000000000000000.{'a' * 16}.1.-"
    os.mkfifo(line / "wait" / name)
    (line / "wait" / name.replace("a", "b")).symlink_to(victim)
    (line / "wait" / name.replace("a", "c")).mkdir()
    (line / "wait" / "x\n; touch gotcha").write_text("")
    (line / "wait" / "$(touch gotcha)").write_text("")
    (line / "slots" / "..").is_dir()
    (line / "slots" / "nobody").symlink_to(victim)
    os.mkfifo(line / "slots" / f"{'d' * 16}.1.-")
    os.mkfifo(line.parent / "turn" / "9999")
    (line.parent / "turn" / "77").symlink_to(victim)
    (line.parent / "limits" / "odd").symlink_to("/dev/zero")
    os.mkfifo(line.parent / "limits" / "fifo")
    (line.parent / "turn" / "number").unlink()
    os.mkfifo(line.parent / "turn" / "number")
    any_host.end(second.job_id)
    assert read_notes(any_host) == ["+0", "-0", "+1", "-1"]
    assert (victim / "kept").exists()
    assert not list(any_host.home.rglob("gotcha"))


def test_a_link_in_place_of_the_line_starts_nothing(host: Host) -> None:
    first, second = note_jobs(host, 0.3, 2)
    submit(host, first, second, limits="-=1")
    line = queue_of(host)
    line.rename(host.home / "elsewhere")
    line.symlink_to(host.home / "elsewhere")
    host.end(first.job_id)
    refused = submit(host, *note_jobs(host, 0, 1), limits="-=1")
    assert of(protocol.Refused, refused)
    line.unlink()
    (host.home / "elsewhere").rename(line)
    host.run()
    host.end(second.job_id)


def test_a_job_begins_after_others_and_never_after_a_bad_end(any_host: Host) -> None:
    good, bad = an_order(b"sleep 1"), an_order(b"sleep 1; false")
    log = bytes(any_host.home / "notes")
    note = b"echo +%s >>" + log
    ids = {"good": good.job_id, "bad": bad.job_id}
    wanted = {
        "both": ["good:ok", "bad:any"],
        "never": ["good:ok", "bad:ok"],
        "last": ["both:ok"],
        "beyond": ["never:ok"],
        "despite": ["never:any"],
        "nobody": ["unknown:any"],
    }
    ids["unknown"] = "a" * 16
    jobs = []
    for name, earlier in wanted.items():
        words = [before.partition(":") for before in earlier]
        args = [f"after={ids[job]}:{how}" for job, _, how in words]
        jobs.append(a_turn(note % name.encode(), *args))
        ids[name] = jobs[-1].job_id
    waiting = [job for job in jobs if job.job_id != ids["nobody"]]
    submit(any_host, good, bad, *jobs)
    reasons = poll(any_host, *waiting)
    if reasons.get(ids["both"], "about to start") != "about to start":
        assert reasons[ids["both"]] == f"after {good.job_id}, {bad.job_id}:any"
    # Each end is seen to by the runner of the job, or by that of one that never ran.
    wait(lambda: len(read_notes(any_host)) == 3)
    wait(lambda: not queue_of(any_host).exists())
    assert sorted(read_notes(any_host)) == ["+both", "+despite", "+last"]
    for name, before, state in (
        ("never", "bad", "is FAILED"),
        ("beyond", "never", "is CANCELLED"),
        ("nobody", "unknown", "knows no job"),
    ):
        ended = any_host.end(ids[name])
        assert ended.cause == "cancelled" and ended.exit_status is None
        assert ids[before] in ended.reason and state in ended.reason


def test_a_job_that_waits_for_one_whose_runner_was_killed_ends(host: Host) -> None:
    first = an_order(b"echo up; exec sleep 100")
    host.run(Request(starts=(first,)))
    started = host.started(first.job_id)
    jobs = [a_turn(b"true", f"after={first.job_id}:{how}") for how in ("ok", "any")]
    submit(host, *jobs)
    host.kill_runner(first.job_id)
    assert len(poll(host, *jobs)) == 2
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: not poll(host, *jobs))
    assert host.end(jobs[0].job_id).cause == "cancelled"
    assert host.end(jobs[1].job_id).exit_status == 0


def test_a_reaped_job_counts_as_it_ended(host: Host) -> None:
    first = host.start(b"true")
    host.end(first)
    host.run(Request(reaps=(reap_of(first, b""),)))
    assert not (host.jobs / first).exists()
    job = a_turn(b"true", f"after={first}:ok")
    submit(host, job)
    assert host.end(job.job_id).exit_status == 0


@pytest.mark.slow
def test_a_thousand_jobs_leave_no_process(host: Host) -> None:
    jobs = note_jobs(host, 0, 1000)
    submit(host, *jobs[:500], limits="-=1")
    submit(host, *jobs[500:], limits="-=1")
    deadline = time.monotonic() + 300
    while len(read_notes(host)) < 2000 and time.monotonic() < deadline:
        time.sleep(0.1)
        assert len(host.marked()) < 15
    assert count_most(read_notes(host)) == 1
    began = [note for note in read_notes(host) if note.startswith("+")]
    assert began[:500] == began[500:] == [f"+{number}" for number in range(500)] or [
        int(note) for note in began
    ] == list(range(1000))
    wait(lambda: not host.marked())
