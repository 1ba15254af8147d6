"""Many client machines, which are homes here, on one host, which is a real sshd."""

from __future__ import annotations

import os
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.cli import Cli, all_processes, end_jobs, finish
from tests.sshd import Sshd

#: How long all wait before sessions are counted, and for how long these are.
_SETTLE, _COUNTED = 30.0, 30.0


class Crowd(NamedTuple):
    """What so many client machines came to; seconds, bytes and counts.

    Memory is the proportional set size (proc_pid_smaps(5)), of one client each: its
    ``wait``, its connection here, and its connection on the host.
    """

    clients: int
    submit_wall: float
    submit_cpu: float
    failed: int
    connections: int
    drops: int
    idle_sessions: float  # a second, while all wait and nothing ends
    wait_cpu: float  # of all clients a second, meanwhile
    end_wall: float  # from the end of the jobs to that of the last wait
    wait_bytes: float
    master_bytes: float
    server_bytes: float


def measure_crowd(
    folder: Path, user: str, clients: int, tell: Callable[[str], object]
) -> Crowd:
    """Have so many clients submit a job each at one instant, and wait for it."""
    (folder / "sshd").mkdir(mode=0o755)
    far = folder / "far"
    far.mkdir(mode=0o777)
    far.chmod(0o777)
    gate = far / "go"
    with Sshd(folder / "sshd", user) as sshd:
        boxes = [
            Cli(sshd, folder / f"h{number}", far / "base") for number in range(clients)
        ]
        try:
            return _measure_crowd(sshd, boxes, gate, tell)
        finally:
            gate.touch()
            finish([box.start("disconnect", box.host) for box in boxes])
            end_jobs(far / "base")


def _measure_crowd(
    sshd: Sshd, boxes: list[Cli], gate: Path, tell: Callable[[str], object]
) -> Crowd:
    line = f"until [ -e {gate} ]; do sleep 1; done"
    cpu, began = _read_cpu(), time.monotonic()
    ends = finish([box.start("submit", box.host, "--", line) for box in boxes])
    submit_wall = time.monotonic() - began
    submit_cpu = _read_cpu() - cpu
    connections, drops = sshd.connections, sshd.drops
    failed = sum(end.status != 0 for end in ends)
    tell(f"submitted in {submit_wall:.1f} s, {failed} failed")
    for end in ends:
        if end.status:
            tell(end.err.strip())
    waits = [box.start("wait") for box in boxes]
    time.sleep(_SETTLE)
    before, began = sshd.sessions, time.monotonic()
    ticks = sum(map(_read_ticks, (wait.pid for wait in waits)))
    time.sleep(_COUNTED)
    sessions, span = sshd.sessions - before, time.monotonic() - began
    ticks = sum(map(_read_ticks, (wait.pid for wait in waits))) - ticks
    tell(f"{sessions} sessions in {span:.1f} s")
    masters = list(_find_masters(boxes[0].home.parent))
    crowd = Crowd(
        len(boxes),
        submit_wall,
        submit_cpu,
        failed,
        connections,
        drops,
        sessions / span,
        ticks / os.sysconf("SC_CLK_TCK") / span,
        0.0,
        _find_typical([wait.pid for wait in waits]),
        _find_typical(masters),
        _find_typical(sshd.session_pids()) * 2,  # a monitor of root's, and the user's
    )
    began = time.monotonic()
    gate.touch()
    finish(waits)
    return crowd._replace(end_wall=time.monotonic() - began)


def _read_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _read_ticks(pid: int) -> int:
    """Return the processor time of a process, 0 if it has ended (proc_pid_stat(5))."""
    try:
        words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
    except OSError:
        return 0
    return int(words[11]) + int(words[12])


def _find_masters(folder: Path) -> Iterator[int]:
    """Yield the processes of ssh that belong to homes below a folder."""
    mark = os.fsencode(f"{folder}/")
    for pid, words in all_processes("cmdline"):
        if words.split(b"\0")[0].rpartition(b"/")[2] == b"ssh" and mark in words:
            yield pid


def _find_typical(pids: list[int]) -> float:
    """Return the median of the memory of processes, 0 if it cannot be read."""
    found = []
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
            found.append(int(text.partition("\nPss:")[2].split()[0]) * 1024)
        except (OSError, IndexError):
            continue
    return float(statistics.median(found)) if found else 0.0
