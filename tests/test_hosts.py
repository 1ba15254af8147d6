"""Fifteen steps on hosts of every kind: a real sshd in a world of other tools."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cli import Cli, all_processes, eventually
from tests.hosts import ALL, FUNCTIONS, HOSTILE, SAMPLE, Kind, world
from tests.test_environments import BY_ITSELF, OURS, by_ssh, pairs

MATRIX = [
    pytest.param(kind, id=str(kind), marks=() if kind in SAMPLE else pytest.mark.slow)
    for kind in ALL
]
#: Every byte but NUL, which no shell line can hold, more than a block of them.
BYTES = bytes(range(1, 256)) * 500


@pytest.mark.parametrize("kind", MATRIX)
def test_fifteen_steps(new_box: Callable[..., Cli], place: Path, kind: Kind) -> None:
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
    cli = new_box(**options)
    twin = cli.twin(place / "twin")
    try:
        steps(cli, twin, kind)
    finally:
        twin.close()


def steps(cli: Cli, twin: Cli, kind: Kind) -> None:
    """Take each; a failure names its line."""
    is_the_host_that_it_says(cli, kind)
    submit_and_run(cli)
    keys_and_two_homes(cli, twin)
    log_bytes_and_stdin(cli)
    environment_and_limits(cli, kind)
    trees_end(cli, kind)
    lost(cli)
    adopt_and_orphans(cli, twin)
    reap(cli, kind)


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


def is_the_host_that_it_says(cli: Cli, kind: Kind) -> None:
    ended = cli.ok("run", cli.host, "--shell", "sh", "--", WHO)
    shell, awk, busybox, *proc = ended.lines
    assert shell[6:] == (kind.shell if kind.shell in ("bash", "ksh") else "")
    assert SAYS[kind.awk] in awk
    assert busybox == ("1" if kind.tools == "busybox" else "0")
    assert proc == {"proc": ["proc", "all"], "hidepid": ["proc"], "none": []}[kind.proc]


def submit_and_run(cli: Cli) -> None:
    job_id = cli.submit("--", "echo one; exit 3")
    assert cli("wait", job_id).status == 1
    assert cli.job(job_id)["exit_status"] == 3
    ended = cli("run", cli.host, "--", "echo out; exit 4")
    assert (ended.status, ended.out) == (4, "out\n")


def keys_and_two_homes(cli: Cli, twin: Cli) -> None:
    first = cli.submit("--key", "k", "--", "echo keyed")
    cli.ok("wait", first)
    assert cli.submit("--key", "k", "--", "echo keyed") == first
    assert twin.submit("--key", "k", "--", "echo keyed") == first
    assert twin.ok("logs", first).out == "keyed\n"


def log_bytes_and_stdin(cli: Cli) -> None:
    stdin = bytes(256) + BYTES
    ended = cli("run", cli.host, "--stdin", "-", "--", "/bin/cat", stdin=stdin)
    assert (ended.status, ended.raw == stdin) == (0, True)
    octal = "".join(f"\\{byte:o}" for byte in range(1, 256))
    line = f"i=0; while [ $i -lt 500 ]; do printf '{octal}'; i=$((i + 1)); done"
    assert cli.ok("run", cli.host, "--shell", "sh", "--", line).raw == BYTES


def environment_and_limits(cli: Cli, kind: Kind) -> None:
    given = pairs(
        cli.ok("run", cli.host, "--", "/usr/bin/env").raw.replace(b"\n", b"\0")
    )
    theirs = pairs(by_ssh(cli, "/usr/bin/env").replace(b"\n", b"\0"))
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
    assert cli("run", cli.host, "--", line).raw == by_ssh(cli, line, check=False)


def alive(job_id: str) -> list[int]:
    """Return the processes that carry the mark of a job."""
    mark = f"SSHJOBS_JOB_ID={job_id}".encode()
    return [p for p, e in all_processes("environ") if mark in e.split(b"\0")]


def trees_end(cli: Cli, kind: Kind) -> None:
    """By kill, by --timeout, and what is left of the group of one that ends."""
    leaves = "" if kind.proc == "none" else "(setsid sleep 301 &);"
    tree = f"sleep 300 & {leaves} sh -c 'sleep 302; :' & sleep 303"
    killed = cli.submit("--", f"echo up; {tree}")
    eventually(lambda: len(alive(killed)) >= (4 if leaves else 3), "the tree grows")
    cli.ok("kill", killed)
    assert cli.job(killed)["state"] == "CANCELLED"
    limited = cli.submit("--timeout", "1", "--", tree)
    assert cli("wait", limited).status == 1
    assert cli.job(limited)["state"] == "TIMEOUT"
    left = cli.submit("--", "sleep 300 & echo done")
    cli.ok("wait", left)
    for job_id in (killed, limited, left):
        eventually(lambda: alive(job_id) == [], f"no process of {job_id} is left")


def lost(cli: Cli) -> None:
    job_id = cli.submit("--", "exec sleep 300")
    eventually(lambda: alive(job_id), "the job runs")
    run = (cli.directory(job_id) / "run").read_text()
    runner = int(run.split("\npid=")[1].split()[0])
    for pid in (runner, *alive(job_id)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: cli.state(job_id) == "LOST", "the job is lost")


def adopt_and_orphans(cli: Cli, twin: Cli) -> None:
    running = cli.submit("--name", "long", "--", "echo up; sleep 300")
    ended = cli.submit("--", "echo orphan")
    cli.ok("wait", ended)
    assert twin("poll", "--host", twin.host, "--adopt", "--json").status in (0, 1)
    assert twin.job(running)["state"] == "RUNNING"
    assert twin.job(running)["name"] == "long"
    twin.ok("kill", running)
    assert cli.state(running) == "CANCELLED"
    other = twin.twin(twin.home.parent / "third")
    gone = other.ok("reap", "--host", cli.host, "--orphans", "--json").objects
    assert {ended, running} <= {row["id"] for row in gone}
    assert other.ok("logs", ended).out == "orphan\n"
    other.close()


def reap(cli: Cli, kind: Kind) -> None:
    cli.ok("reap", "--json")
    assert list((cli.base / "jobs").iterdir()) == []
    said = cli("doctor", cli.host).out
    assert "a round came back whole" in said
    # The df of BusyBox reads /proc/mounts.
    bare = kind.proc == "none" and kind.tools == "busybox"
    assert bare or " MiB are free" in said
