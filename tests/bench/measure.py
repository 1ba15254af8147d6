"""What a crowd of processes costs: wall time, processor time, peak memory, failures."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Cost(NamedTuple):
    """What something cost this machine's client side, and what sshd counted.

    ``cpu`` is that of the processes and of every ssh that belongs to them.
    ``rss_bytes`` is the largest of any one process.
    """

    wall: float = 0.0
    cpu: float = 0.0
    rss_bytes: int = 0
    failed: int = 0
    connections: int = 0
    drops: int = 0
    sessions: int = 0


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(*(statistics.median_low(column) for column in zip(*costs)))


class Command(NamedTuple):
    """One command line: where its standard streams go, and in which environment."""

    words: Sequence[str | Path]
    env: Mapping[str, str]
    stdin: Path | None = None
    stdout: Path | None = None


def start(command: Command) -> subprocess.Popen[bytes]:
    """Start a command in a session of its own, its streams being files."""
    source = open(command.stdin or os.devnull, "rb")
    sink = open(command.stdout or os.devnull, "wb")
    with source, sink:
        return subprocess.Popen(
            [str(word) for word in command.words],
            stdin=source,
            stdout=sink,
            stderr=subprocess.DEVNULL,
            env=dict(command.env),
            start_new_session=True,
        )


def crowd(commands: Iterable[Command]) -> Cost:
    """Start all of these at once, wait for all of them, return what they cost."""
    began = time.monotonic()
    processes = [start(command) for command in commands]
    cpu, rss, failed = 0.0, 0, 0
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
        rss = max(rss, usage.ru_maxrss * 1024)
        failed += process.returncode != 0
    return Cost(time.monotonic() - began, cpu, rss, failed)


def ssh_cpu(mark: Path) -> float:
    """Return the processor time of the ssh processes that name ``mark``.

    A master goes to the background, so that no wait4(2) tells of it.
    """
    seconds = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes()
            if words.split(b"\0")[0].endswith(b"ssh") and os.fsencode(mark) in words:
                stat = (folder / "stat").read_bytes().rpartition(b") ")[2].split()
                seconds += (int(stat[11]) + int(stat[12])) / _TICKS
        except OSError:
            continue
    return seconds


def repeat(times: int, once: Callable[[], Any]) -> list[Any]:
    """Do something so many times and return what each gave."""
    return [once() for _ in range(times)]
