"""Hosts that live in memory, behind the real rounds, store and protocol.

A simulated host reads the program that a round sends, and answers with the frames that
the real one would say. So all of a client's work is done: identities by ``ssh -G``,
intents, requests, readers, bounds, transactions, files. Left out are ssh, the network
and the work of hosts. It keeps nothing of a job: a job that is asked about has ended
if its id says so, in a share of all that grows with each round.
"""

from __future__ import annotations

import os
import re
import resource
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sshjobs import transports
from sshjobs.model import Spec
from sshjobs.store import queries
from sshjobs.transports import Completed, StdoutTaker
from sshjobs.verbs.context import Context
from sshjobs.verbs.fanout import work_side_by_side
from sshjobs.verbs.overview import View, read_overview
from sshjobs.verbs.poll import poll_jobs
from sshjobs.verbs.selection import Criteria
from sshjobs.verbs.submit import JobRequest, submit_each_job
from sshjobs.verbs.wait import wait_for_jobs
from tests.fake_transport import FakeTransport, find_nonce

#: Once they may end, so many parts of a host's jobs end in a round each.
_PARTS = 5

_START = re.compile(rb"^sj_prepare_job '?([a-z2-7]{16})", re.MULTILINE)
_CHECK = re.compile(rb"\bc ([a-z2-7]{16}) (-|\d+) ")
_CHECKS = b"sj_answer_checks "


class Phase(NamedTuple):
    """What a part of the work cost; seconds, and counts of this part alone.

    ``host_cpu`` is the simulated hosts' own part of ``cpu``.
    """

    name: str
    wall: float
    cpu: float
    host_cpu: float
    rounds: int
    peak_bytes: int
    store_bytes: int


class Fleet:
    """All simulated hosts, and what they have cost so far."""

    def __init__(self) -> None:
        self.may_end = False
        self.rounds = 0
        self.cpu = 0.0
        self.steps: dict[str, int] = {}
        self._lock = threading.Lock()

    def count(self, cpu: float) -> None:
        """Count one round."""
        with self._lock:
            self.rounds += 1
            self.cpu += cpu

    def open_transport(
        self, identity: transports.Identity, *_: object, **__: object
    ) -> SimulatedHost:
        """Return a transport, as ``transports.open_transport`` does."""
        return SimulatedHost(identity.host, self)


class SimulatedHost(FakeTransport):
    """A transport to a host that answers from memory."""

    def __init__(self, name: str, fleet: Fleet) -> None:
        self._name = name
        self._fleet = fleet

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Answer a round; only it is asked of these hosts."""
        began = time.thread_time()
        nonce = find_nonce(program)
        assert nonce and into is None, program[-400:]
        reply = b"\nsshjobs-reply 1 %s\n" % nonce
        reply += b"".join(self._build_frames(program)) + b"end\n"
        self._fleet.count(time.thread_time() - began)
        for at in range(0, len(reply), 1 << 16):  # as a pipe gives it out
            sink(reply[at : at + (1 << 16)])
        return Completed(0, b"", len(reply))

    def _build_frames(self, program: bytes) -> Iterator[bytes]:
        now = time.time()
        yield b"hello %s boot %f setsid\njournal 1 1\n" % (self._name.encode(), now)
        started = b"started %s 4711 4711 42 boot " + self._name.encode() + b" %f\n"
        for match in _START.finditer(program):
            yield started % (match[1], now)
        step = 0
        if self._fleet.may_end:
            step = self._fleet.steps.get(self._name, 0) + 1
            self._fleet.steps[self._name] = step
        at = program.rfind(_CHECKS)
        for match in _CHECK.finditer(program, at) if at >= 0 else ():
            if match[1][0] % _PARTS < step:
                words = match[1], now - 60.0, now
                yield b"ended %s 0 - - %f %f 0 \n" % words
            elif match[2] == b"-":
                yield started % (match[1], now)


def simulate(
    folder: Path, hosts: int, jobs: int, tell: Callable[[str], object]
) -> list[Phase]:
    """Submit so many jobs to each of so many hosts, poll, wait, look at them.

    It is one process, with a thread for each of ``max_hosts`` hosts.

    Returns:
        The cost of each part, in their order.
    """
    names = [f"sim{number:04}" for number in range(hosts)]
    config = folder / "ssh_config"
    config.write_text("Host sim*\n    HostName 127.0.0.1\n    Port 1\n")
    environ = {"SSHJOBS_HOME": str(folder / "home"), "SSHJOBS_WATCH": "off"}
    environ |= {"SSHJOBS_SSH_CONFIG": str(config), "PATH": os.environ["PATH"]}
    config.write_text("".join(_yield_aliases(names)))
    fleet = Fleet()
    phases: list[Phase] = []
    opened = transports.open_transport
    ctx = Context(environ, {})
    meter = _Meter(ctx, fleet, phases, tell)
    transports.open_transport = fleet.open_transport
    try:
        _run_phases(ctx, fleet, meter, names, jobs)
    finally:
        transports.open_transport = opened
        ctx.close()
    return phases


def _yield_aliases(names: Sequence[str]) -> Iterator[str]:
    """Yield a Host of an ssh_config for each name: no two share a connection."""
    for number, name in enumerate(names):
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        yield f"Host {name}\n    HostName {address}\n"


def _run_phases(
    ctx: Context, fleet: Fleet, meter: _Meter, names: Sequence[str], jobs: int
) -> None:
    total = len(names) * jobs

    def resolve_name(own: Context, host: str) -> str:
        return own.identity(host, own.settings(host)).key

    keys = meter.measure(
        "names resolved by ssh -G", lambda: _check(ctx, names, resolve_name)
    )
    assert len(set(keys)) == len(names)

    def submit_there(own: Context, host: str) -> int:
        spec = Spec((b"./train.sh", b"--seed", b"1"))
        requests = (JobRequest(spec, name=f"t{number}") for number in range(jobs))
        return sum(
            done.job is not None for done in submit_each_job(own, host, requests)
        )

    started = meter.measure("submit", lambda: _check(ctx, names, submit_there))
    assert sum(started) == total
    # Twice: the first round after a start learns of nothing, the second neither.
    for name in ("first poll", "poll, nothing changed"):
        found = meter.measure(name, lambda: _count_polled(ctx))
        assert found == {"RUNNING": total}
    meter.measure("table of the newest", lambda: _look(ctx))
    fleet.may_end = True
    found = meter.measure("wait to the end", lambda: _count_waited(ctx))
    assert found == {"COMPLETED": total}
    assert ctx.store.queries.count_jobs(queries.IS_ACTIVE) == 0
    meter.measure("table of the newest, all ended", lambda: _look(ctx))


def _check(
    ctx: Context, names: Sequence[str], work: Callable[[Context, str], Any]
) -> list[Any]:
    results = [result for _, result in work_side_by_side(ctx, names, work)]
    for result in results:
        if isinstance(result, Exception):
            raise result
    return results


def _count_polled(ctx: Context) -> dict[str, int]:
    results = poll_jobs(ctx, Criteria(), show=lambda jobs: None)
    assert not results.errors, results.errors[:3]
    return results.states


def _count_waited(ctx: Context) -> dict[str, int]:
    results = wait_for_jobs(ctx, show=lambda jobs: None)
    assert not results.errors, results.errors[:3]
    return results.states


def _look(ctx: Context) -> None:
    view = View(limit=50, lately_only=True)
    assert len(read_overview(ctx, Criteria(), view).jobs) <= 50


class _Meter:
    """Measures one part after the other."""

    def __init__(
        self,
        ctx: Context,
        fleet: Fleet,
        phases: list[Phase],
        tell: Callable[[str], object],
    ) -> None:
        self._ctx = ctx
        self._fleet = fleet
        self._phases = phases
        self._tell = tell

    def measure(self, name: str, work: Callable[[], Any]) -> Any:
        """Do a part of the work, and note what it cost."""
        rounds, host_cpu = self._fleet.rounds, self._fleet.cpu
        cpu, began = time.process_time(), time.monotonic()
        result = work()
        phase = Phase(
            name,
            time.monotonic() - began,
            time.process_time() - cpu,
            self._fleet.cpu - host_cpu,
            self._fleet.rounds - rounds,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            sum(
                path.stat().st_size
                for path in Path(self._ctx.home).glob("store.db*")
                if path.exists()
            ),
        )
        self._phases.append(phase)
        self._tell(str(phase))
        return result
