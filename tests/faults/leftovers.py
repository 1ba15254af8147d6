"""What may be left once everything has ended: nothing but records and logs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.faults.world import FOREIGN, SECRET, Home, World

#: What a session that was cut goes on doing on the host takes no longer.
_WINDING_DOWN = 15.0


def of_processes(world: World, ids: Iterable[str]) -> list[str]:
    """Return the processes of ours and of our jobs that do not end by themselves."""
    marks = [os.fsencode(world.folder), *(job_id.encode() for job_id in ids)]
    until = time.monotonic() + _WINDING_DOWN
    while (left := list(_processes(world, marks))) and time.monotonic() < until:
        time.sleep(0.05)
    return left


def _processes(world: World, marks: list[bytes]) -> Iterator[str]:
    """Yield every process that has to do with this world, but for its own sshd."""
    for home in world.homes:  # a master that drains has no title that tells of us
        if home.relay.alive:
            yield f"{home.relay.alive} connections of {home.name}"
    serving = set(world.sshd.session_pids())
    for place in Path("/proc").glob("[0-9]*"):
        pid = int(place.name)
        if pid == os.getpid() or world.sshd.owns(pid):
            continue
        line = _read(place / "cmdline")
        text = line + _read(place / "environ")
        if pid in serving or any(mark in text for mark in marks):
            yield f"{pid} {_shown(line)}"
        elif _cwd(place).startswith(str(world.folder)):
            yield f"{pid} {_shown(line)} in {_cwd(place)}"


def _shown(line: bytes) -> str:
    return line.replace(b"\0", b" ").decode(errors="replace")[:300]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _cwd(place: Path) -> str:
    try:
        return os.readlink(place / "cwd")
    except OSError:
        return ""


def of_files(home: Home) -> Iterator[str]:
    """Yield what is in the directory of sockets, and the locks that remain."""
    for path in home.rundir.rglob("*"):
        yield f"{home.name} {path.relative_to(home.rundir)}"
    for path in (home.cli.home / "locks").iterdir():
        if path.name not in ("schema", "specs"):
            yield f"{home.name} locks/{path.name}"


def on_host(world: World) -> Iterator[str]:
    """Yield what is left of jobs below the base directories."""
    foreign = {name.partition("/")[0] for name in FOREIGN} | {"b" * 16}
    for folder in ("jobs", "new"):
        for path in [*world.base.glob(f"{folder}/*"), *world.other.glob(f"{folder}/*")]:
            if folder == "new" or path.name not in foreign:
                names = sorted(p.name for p in path.rglob("*"))
                yield f"{folder}/{path.name} {names}"


def of_secrets(world: World, known: Iterable[str]) -> Iterator[str]:
    """Yield each file that has the secret in it, and each output."""
    places = [home.cli.home for home in world.homes]
    places += [home.rundir for home in world.homes] + [world.base]
    for path in (path for place in places for path in place.rglob("*")):
        # An order that was just written down may have it, until it is a job.
        fresh = path.parent.name == "specs" and path.name not in known
        if path.is_file() and not fresh and SECRET.encode() in path.read_bytes():
            yield str(path)
    for home in world.homes:
        for command in home.commands:
            if SECRET in command.ended.out + command.ended.err:
                yield f"the output of {command!r}"
