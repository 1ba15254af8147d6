"""The secret of a round: nothing that another process of the account can see has it."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Check, LogWant, Reply, Request
from tests.cli import end_jobs
from tests.remote.host import Host, an_order, end_all, of, wait
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

#: What each tool says of itself before it does its work: argv, the environment, and the
#: names and contents of all that stands in the base directory by then.
SPY = """#!/bin/sh
{
    printf 'tool %s\\n' "$0" "$@"
    PATH=/usr/bin:/bin
    env
    find "$SPIED"
    find "$SPIED" -type f -size -64 -exec cat {} +
} >>"$SPY_RECORD" 2>/dev/null
exec "$SPY_TOOLS/${0##*/}" "$@"
"""


class SpiedHost(Host):
    """A host whose every tool records what any process could see as it starts."""

    def __init__(self, home: Path, path: str) -> None:
        super().__init__(home, path)
        self.nonces: list[str] = []
        self.record = home / "record"
        folder, real = home / "spies", home / "real"
        folder.mkdir()
        real.mkdir()
        (folder / "sh").symlink_to(shutil.which("sh", path=path) or "/bin/sh")
        for tool in (
            "awk cat date dd env find grep head id ls ln mkdir mv rm rmdir sed setsid "
            "sleep sysctl tail touch tr uname wc"
        ).split():
            found = shutil.which(tool, path=path)
            if not found:
                continue
            (real / tool).symlink_to(found)
            (folder / tool).write_text(SPY)
            (folder / tool).chmod(0o755)
        self.path = str(folder)
        self.env |= {
            "PATH": str(folder),
            "SPIED": str(self.base),
            "SPY_RECORD": str(self.record),
            "SPY_TOOLS": str(real),
        }

    def program(self, request: Request, nonce: str) -> bytes:
        self.nonces.append(nonce)
        return super().program(request, nonce)


@pytest.fixture(params=["dash", "bash", "busybox", "ksh"])
def spied(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    paths: dict[str, str],
) -> Iterator[SpiedHost]:
    if request.param not in paths:
        pytest.skip(f"no {request.param} here")
    host = SpiedHost(tmp_path, paths[request.param])
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


def serve_all_kinds(run: Callable[[Request], list[protocol.Event]]) -> None:
    """Ask for everything that a round can be asked for."""
    key = new_job_id()
    first = an_order(b"echo one; exit 1", key=key, env=(("A", b"b"),), stdin=b"x")
    run(Request(starts=(first, an_order(b"echo two"))))
    job_id = first.job_id
    wait(lambda: of(protocol.Ended, run(Request(checks=(Check(job_id, None, ""),)))))
    run(Request(starts=(an_order(b"echo again", key=key),), listing=True))
    long = an_order(b"sleep 60", kill_grace=0.1)
    run(Request(starts=(long,)))
    run(Request(kills=(long.job_id, new_job_id())))
    run(Request(logs=(LogWant(job_id, 0, 100),)))
    run(Request(logs=(LogWant(job_id, 0, 100), LogWant(long.job_id, 0, 100))))
    run(Request(reaps=(protocol.Reap(job_id, 1 << 20),)))


def test_no_tool_can_see_the_nonce(spied: SpiedHost) -> None:
    """Not in an argument, the environment, a name or a file, at the start of any."""
    spied.env |= {"sj_nonce": "exported", "sj_first": "exported"}
    serve_all_kinds(spied.run)
    seen = spied.record.read_bytes()
    assert seen.count(b"tool ") > 40
    for tool in (b"mkdir", b"mv", b"awk", b"rm", b"dd"):
        assert b"spies/" + tool in seen
    assert [nonce for nonce in spied.nonces if nonce.encode() in seen] == []


#: A job that writes down, as fast as it can, all that it sees of other processes of its
#: account and of the base directory. Memory is left out: docs/reference/wire-format.md.
WATCHER = b"""
import os, sys
base, out = sys.argv[1:]
seen = set()
def look(read, *words):
    try:
        found = read(*words)
    except OSError:  # it has gone meanwhile
        return
    for one in [found] if isinstance(found, bytes) else found:
        if one not in seen:
            seen.add(one)
            with open(out, "ab") as file:
                file.write(one + b"\\n")
def content(path):
    with open(path, "rb") as file:
        return file.read(1 << 18)
def walk(top):
    for folder, folders, names in os.walk(os.fsencode(top)):
        look(lambda: [folder] + folders + names)
        for name in names:
            look(content, folder + b"/" + name)
while not os.path.exists(out + ".stop"):
    for pid in filter(str.isdigit, os.listdir("/proc")):
        look(content, f"/proc/{pid}/cmdline")
        look(content, f"/proc/{pid}/environ")
        fds = f"/proc/{pid}/fd"
        look(lambda: [os.fsencode(os.readlink(f"{fds}/{n}")) for n in os.listdir(fds)])
    walk(base + "/new")
    walk(base + "/keys")
    look(lambda: map(os.fsencode, os.listdir(base)))
"""


def test_a_job_looks_for_the_nonce(
    sshd: Sshd, caller: TransportCaller, place: Path
) -> None:
    """A real one, of the same account, while rounds run over the real connection."""
    login = pwd.getpwnam(sshd.user)
    folder = place / "host"
    folder.mkdir()
    os.chown(folder, login.pw_uid, login.pw_gid)
    base, out = folder / "base", folder / "seen"
    nonces: list[str] = []

    def run(request: Request) -> list[protocol.Event]:
        nonces.append(os.urandom(8).hex())
        request = request._replace(base_dir=str(base))
        _, said = caller.run("exec sh", stdin=protocol.build(request, nonces[-1]))
        reply = Reply(nonces[-1])
        events = reply.feed(said)
        assert reply.ended, said[-500:]
        return events

    command = (b"exec", b"/usr/bin/python3", b"-c", WATCHER)
    spy = an_order((*command[1:], str(base).encode(), str(out).encode()))
    started = of(protocol.Started, run(Request(starts=(spy,))))[0]
    wait(lambda: out.exists() and out.stat().st_size > 1000)
    # An awk of a round lives some milliseconds: how many rounds it takes until the job
    # catches sight of one rests on how busy this machine is.
    rounds = 0
    while rounds < 4 or not all(
        word in out.read_bytes() for word in (b"/jobs/", b"awk")
    ):
        serve_all_kinds(run)
        rounds += 1
        assert rounds < 100
    (folder / "seen.stop").touch()
    check = Request(checks=(Check(spy.job_id, started.pid, started.start),))
    ends: list[protocol.Ended] = []
    while not ends:
        ends = of(protocol.Ended, run(check))
    end_jobs(base)
    assert ends[0].exit_status == 0  # it has looked till the end
    seen = out.read_bytes()
    assert len(nonces) > 30
    assert [nonce for nonce in nonces if nonce.encode() in seen] == []
