"""Fifteen steps on hosts of every kind: a real sshd in a world of other tools."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.box import Box, all_processes, eventually
from tests.hosts import ALL, FUNCTIONS, HOSTILE, SAMPLE, Kind, world
from tests.test_environments import BY_ITSELF, OURS, by_ssh, pairs

MATRIX = [
    pytest.param(kind, id=str(kind), marks=() if kind in SAMPLE else pytest.mark.slow)
    for kind in ALL
]
#: Every byte but NUL, which no shell line can hold, more than a block of them.
BYTES = bytes(range(1, 256)) * 500


@pytest.mark.parametrize("kind", MATRIX)
def test_fifteen_steps(new_box: Callable[..., Box], place: Path, kind: Kind) -> None:
    """The same on each host; what no /proc can show is left out there."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to put other tools over ours")
    (place / "world").mkdir()
    try:
        options: dict[str, Any] = {"prefix": world(kind, place / "world")}
    except LookupError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have {error}")
        pytest.skip(f"no {error} here")
    if kind.hostile:
        hostile = (HOSTILE | FUNCTIONS).items()
        options["SetEnv"] = " ".join('"%s=%s"' % pair for pair in hostile)
    box = new_box(**options)
    twin = box.twin(place / "twin")
    try:
        steps(box, twin, kind)
    finally:
        twin.close()


def steps(box: Box, twin: Box, kind: Kind) -> None:
    """Take each; a failure names its line."""
    is_the_host_that_it_says(box, kind)
    submit_and_run(box)
    keys_and_two_homes(box, twin)
    log_bytes_and_stdin(box)
    environment_and_limits(box, kind)
    trees_end(box, kind)
    lost(box)
    adopt_and_orphans(box, twin)
    reap(box, kind)


#: What each awk says when it is asked for its version, or for what it does not know.
SAYS = {
    "gawk": "GNU Awk",
    "mawk": "not an option",
    "busybox": "unrecognized option",
    "original-awk": "awk version",
}
WHO = """sh -c 'echo shell ${BASH_VERSINFO:+bash}${KSH_VERSION:+ksh}'
awk --version 2>&1 </dev/null | head -n 1
ls --help 2>&1 | grep -c BusyBox
[ -e /proc/self/stat ] && echo proc
[ -e /proc/1 ] && echo all
true"""


def is_the_host_that_it_says(box: Box, kind: Kind) -> None:
    ended = box.ok("run", box.host, "--shell", "sh", "--", WHO)
    shell, awk, busybox, *proc = ended.lines
    assert shell[6:] == (kind.shell if kind.shell in ("bash", "ksh") else "")
    assert SAYS[kind.awk] in awk
    assert busybox == ("1" if kind.tools == "busybox" else "0")
    assert proc == {"proc": ["proc", "all"], "hidepid": ["proc"], "none": []}[kind.proc]


def submit_and_run(box: Box) -> None:
    job_id = box.submit("--", "echo one; exit 3")
    assert box("wait", job_id).status == 1
    assert box.job(job_id)["exit_status"] == 3
    ended = box("run", box.host, "--", "echo out; exit 4")
    assert (ended.status, ended.out) == (4, "out\n")


def keys_and_two_homes(box: Box, twin: Box) -> None:
    first = box.submit("--key", "k", "--", "echo keyed")
    box.ok("wait", first)
    assert box.submit("--key", "k", "--", "echo keyed") == first
    assert twin.submit("--key", "k", "--", "echo keyed") == first
    assert twin.ok("logs", first).out == "keyed\n"


def log_bytes_and_stdin(box: Box) -> None:
    stdin = bytes(256) + BYTES
    ended = box("run", box.host, "--stdin", "-", "--", "/bin/cat", stdin=stdin)
    assert (ended.status, ended.raw == stdin) == (0, True)
    octal = "".join(f"\\{byte:o}" for byte in range(1, 256))
    line = f"i=0; while [ $i -lt 500 ]; do printf '{octal}'; i=$((i + 1)); done"
    assert box.ok("run", box.host, "--shell", "sh", "--", line).raw == BYTES


def environment_and_limits(box: Box, kind: Kind) -> None:
    given = pairs(
        box.ok("run", box.host, "--", "/usr/bin/env").raw.replace(b"\n", b"\0")
    )
    theirs = pairs(by_ssh(box, "/usr/bin/env").replace(b"\n", b"\0"))
    differ = {
        name
        for name in given.keys() | theirs.keys()
        if given.get(name) != theirs.get(name) and "%%" not in name
    }
    may = {"SSH_CLIENT", "SSH_CONNECTION"} | BY_ITSELF | OURS
    assert differ <= may | (
        {"POSIXLY_CORRECT", "PS4"} if kind.shell == "bash" else set()
    )
    line = "ulimit -a"
    assert box("run", box.host, "--", line).raw == by_ssh(box, line, check=False)


def alive(job_id: str) -> list[int]:
    """Return the processes that carry the mark of a job."""
    mark = f"SSHJOBS_JOB_ID={job_id}".encode()
    return [p for p, e in all_processes("environ") if mark in e.split(b"\0")]


def trees_end(box: Box, kind: Kind) -> None:
    """By kill, by --timeout, and what is left of the group of one that ends."""
    leaves = "" if kind.proc == "none" else "(setsid sleep 301 &);"
    tree = f"sleep 300 & {leaves} sh -c 'sleep 302; :' & sleep 303"
    killed = box.submit("--", f"echo up; {tree}")
    eventually(lambda: len(alive(killed)) >= (4 if leaves else 3), "the tree grows")
    box.ok("kill", killed)
    assert box.job(killed)["state"] == "CANCELLED"
    limited = box.submit("--timeout", "1", "--", tree)
    assert box("wait", limited).status == 1
    assert box.job(limited)["state"] == "TIMEOUT"
    left = box.submit("--", "sleep 300 & echo done")
    box.ok("wait", left)
    for job_id in (killed, limited, left):
        eventually(lambda: alive(job_id) == [], f"no process of {job_id} is left")


def lost(box: Box) -> None:
    job_id = box.submit("--", "exec sleep 300")
    eventually(lambda: alive(job_id), "the job runs")
    run = (box.directory(job_id) / "run").read_text()
    runner = int(run.split("\npid=")[1].split()[0])
    for pid in (runner, *alive(job_id)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: box.state(job_id) == "LOST", "the job is lost")


def adopt_and_orphans(box: Box, twin: Box) -> None:
    running = box.submit("--name", "long", "--", "echo up; sleep 300")
    ended = box.submit("--", "echo orphan")
    box.ok("wait", ended)
    assert twin("poll", "--host", twin.host, "--adopt", "--json").status in (0, 1)
    assert twin.job(running)["state"] == "RUNNING"
    assert twin.job(running)["name"] == "long"
    twin.ok("kill", running)
    assert box.state(running) == "CANCELLED"
    other = twin.twin(twin.home.parent / "third")
    gone = other.ok("reap", "--host", box.host, "--orphans", "--json").objects
    assert {ended, running} <= {row["id"] for row in gone}
    assert other.ok("logs", ended).out == "orphan\n"
    other.close()


def reap(box: Box, kind: Kind) -> None:
    box.ok("reap", "--json")
    assert list((box.base / "jobs").iterdir()) == []
    said = box("doctor", box.host).out
    assert "a round came back whole" in said
    # The df of BusyBox reads /proc/mounts.
    bare = kind.proc == "none" and kind.tools == "busybox"
    assert bare or " MiB are free" in said
