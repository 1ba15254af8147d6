"""Limits that a host keeps, over a real sshd: no client need be alive."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

from tests.cli import Cli, eventually
from tests.pages import read_blocks


def write_batch(box: Cli, count: int, first: int, seconds: float) -> bytes:
    """Return lines of jobs that note when they begin and end."""
    log = box.base.parent / "notes"
    lines = (
        f"echo +{number} >>{log}; sleep {seconds:g}; echo -{number} >>{log}"
        for number in range(first, first + count)
    )
    return "\n".join(lines).encode()


def read_notes(box: Cli) -> list[str]:
    """Return what the jobs of a host noted."""
    notes = box.base.parent / "notes"
    return notes.read_text().split() if notes.exists() else []


def count_most(notes: list[str]) -> int:
    """Return how many jobs ran at once at most."""
    alive = most = 0
    for note in notes:
        alive += 1 if note.startswith("+") else -1
        most = max(most, alive)
    return most


def test_the_page_on_limits(new_box: Callable[..., Cli], place: Path) -> None:
    """As printed: the command's batch, then a host and a group with limits."""
    [submit, *_] = read_blocks("docs/how-to/limits.md")
    [config] = read_blocks("docs/how-to/limits.md", "toml")
    box = new_box()
    assert box.sshd
    box.sshd.alias = box.host = "gpu1"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    (place / "jobs.txt").write_bytes(write_batch(box, 6, 0, 2))
    words = shlex.split(submit.replace("jobs.txt", f"{place}/jobs.txt"))[1:]
    ids = box.ok(*words).lines
    assert box.job(ids[4])["reason"] == "limit 4, 1st"
    assert box("wait").status == 0
    assert count_most(read_notes(box)) == 4
    (place / "config.toml").write_text(config)
    box.env["SSHJOBS_CONFIG"] = f"{place}/config.toml"
    ids = [box.submit("--group", "io", "--", "sleep 100") for _ in range(2)]
    ids += [box.submit("--", "sleep 100") for _ in range(4)]
    reasons = [box.job(job_id)["reason"] for job_id in ids]
    assert reasons == ["", "limit 1 of group io, 1st", "", "", "", "limit 4, 2nd"]
    box.ok("kill", "--yes", *ids)
    assert {box.job(job_id)["state"] for job_id in ids} == {"CANCELLED"}
    box.ok("reap")
    assert not list(box.base.glob("*/queue"))


def test_one_after_another_as_printed(new_box: Callable[..., Cli]) -> None:
    _, after, _ = read_blocks("docs/how-to/limits.md")
    lines = read_blocks("docs/how-to/limits.md", "json")
    box = new_box()
    assert box.sshd
    box.sshd.alias = box.host = "gpu1"
    box.env["SSHJOBS_SSH_CONFIG"] = str(box.sshd.write_client_config())
    note = f"date +%s.%N >>{box.base.parent}/$SSHJOBS_JOB_ID"
    for word in ("make", "./test.sh", "./load.sh", "./train.sh", "./report.sh"):
        after = after.replace(f"-- {word}", f"-- '{note}; sleep 0.3; {note}'")
        lines = [line.replace(word, f"{note}; sleep 0.3; {note}") for line in lines]
    ids = [box.ok(*shlex.split(line)[1:]).id for line in after.splitlines()]
    batch = ("submit", box.host, "--from", "-", "--after", f"{ids[1]}:any")
    ids += box.ok(*batch, stdin="".join(lines).encode()).lines
    assert box("wait").status == 0
    times = [(box.base.parent / job_id).read_text().split() for job_id in ids]
    assert len(times) == 5 and sorted(times) == times
    ends = [moment for pair in times for moment in pair]
    assert sorted(ends) == ends
    known = box.submit("--after", ids[0], "--", "true")  # it has ended so
    bad = box.submit("--name", "bad", "--", "false")
    never = [box.submit("--after", word, "--", "true") for word in ("bad", bad)]
    box("wait")
    assert box.job(known)["state"] == "COMPLETED"
    for job_id in never:
        assert box.job(job_id)["state"] == "CANCELLED"
        assert f"job {bad}" in box.job(job_id)["reason"]
    refused = box("submit", box.host, "--after", "nobody", "--", "true")
    assert "no such job" in refused.err
    box.ok("reap")


def test_two_machines_share_a_limit_and_need_not_be_alive(
    new_box: Callable[..., Cli], place: Path
) -> None:
    here = new_box()
    there = here.twin(place / "there")
    for box in (here, there):
        box.env["SSHJOBS_MAX_RUNNING"] = "4"
    try:
        batches = [
            box.start("submit", box.host, "--from", "-", stdin=-1)
            for box in (here, there)
        ]
        for number, batch in enumerate(batches):
            assert batch.stdin
            batch.stdin.write(write_batch(here, 50, number * 50, 0.1))
            batch.stdin.close()
        for batch in batches:
            assert batch.stdout and len(batch.stdout.read().split()) == 50
            with batch:
                os.kill(batch.pid, signal.SIGKILL)
        here.close()
        there.close()
        eventually(lambda: len(read_notes(here)) == 200, "all end")
    finally:
        there.close()
    notes = read_notes(here)
    assert count_most(notes) == 4
    began = [int(note) for note in notes if note.startswith("+")]
    for first in (0, 50):
        batch_began = [number for number in began if first <= number < first + 50]
        # Four that are started at once may write in any order.
        pairs = enumerate(batch_began, first)
        assert all(abs(place - number) < 4 for place, number in pairs), batch_began
    assert here("wait").status == there("wait").status == 0
    here.ok("reap")
    there.ok("reap")
    assert not list(here.base.glob("*/queue"))
