"""What a host says in a fetch: bytes of one log, at their place, and no more."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sshjobs import states, transports
from sshjobs.errors import ProtocolError, SshJobsError
from sshjobs.locks import Bell, LeaderLock
from sshjobs.model import Job
from sshjobs.rounds import Coordinator
from sshjobs.rounds.log_transfer import LogTransfer
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Completed, StdoutTaker
from tests.fake_transport import FakeTransport, find_nonce
from tests.fuzz import mutate
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

ID = "fetched" + "a" * 9
OTHER = "others" + "a" * 10

_HOME = b"these bytes are home\n"
_NONCE = b"f" * 16
_FENCE = b"\nsshjobs-log 1 %s\n" % _NONCE

#: The bytes that are asked for, the most noise before the fence, and what one write to
#: a pipe may hold, so that it is read at once.
LIMIT = 100_000
_NOISE = 1 << 16
_PIECE = 50_000


class _Host(FakeTransport):
    """A transport to a host that says what it wants, whatever it is told."""

    def __init__(self, case: Case, path: Path) -> None:
        self._case = case
        self._path = path
        self.noise = b""
        self.log = b""  # what it has said of the log, all of it
        self._goes = False

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Say the case, a piece after the other, and look at the file after each."""
        nonce = find_nonce(program, b"sj_fetch_log")
        if into is None or nonce is None:
            raise Broken("not a fetch")
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            for piece in self._case:
                self._say(into, (ours, theirs), piece.replace(_NONCE, nonce))
        finally:
            os.close(ours)
            os.close(theirs)
        return Completed(0, b"", 0)

    def _say(self, into: StdoutTaker, pipe: tuple[int, int], piece: bytes) -> None:
        if self._goes:
            self.log += piece
        else:
            self.noise += piece
        os.write(pipe[1], piece)
        with suppress(BlockingIOError):
            while into.take(pipe[0]):
                if self._path.stat().st_size > len(_HOME) + LIMIT:
                    raise Broken("more on the disk than was asked for")
        self._goes = bool(into.answer())
        is_there = re.search(rb"\nsshjobs-log 1 [0-9a-f]{16}\n\Z", self.noise)
        if self._goes and not is_there:
            raise Broken(f"told to go on without a fence: {self.noise[-100:]!r}")


class Fetches:
    """A store with a job whose log is partly here, and one fetch of the rest."""

    name = "fetch"
    share = 1.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._home = ground.work / "fetch"
        self._template = ground.work / "fetch.template"
        self._rundir = ground.work / "fetch.run"
        self._rundir.mkdir(mode=0o700)
        self._settings = Settings().replace(min_free_bytes=0)
        self._identity = transports.resolve_host("local", self._settings)
        store = Store(str(self._template))
        with Coordinator(
            store, self._identity, self._settings, str(self._rundir)
        ) as coordinator:
            site_id = coordinator.site_id
        size = len(_HOME) + LIMIT
        jobs = [
            Job(
                name,
                "local",
                site_id,
                states.COMPLETED,
                log_bytes=size,
                log_local_bytes=len(_HOME),
            )
            for name in (ID, OTHER)
        ]
        with store.begin_write():
            store.jobs.add_jobs(jobs)
        for job in jobs:
            Path(store.files.locate_log(job.id)).write_bytes(_HOME)
        store.close()

    def make(self, rng: random.Random) -> Case:
        """Say noise, a fence that may be spoilt, and bytes; more or less than asked."""
        noise = rng.choice((b"", b"Welcome\n", rng.randbytes(300), _FENCE[:9], _FENCE))
        if rng.random() < 0.1:
            noise *= rng.choice((10, 300, 5000))
        fence = mutate.spoil(rng, _FENCE) if rng.random() < 0.2 else _FENCE
        size = rng.choice((0, 1, 999, LIMIT - 1, LIMIT, LIMIT, LIMIT + 1, 3 * LIMIT))
        log = rng.randbytes(1000) * (size // 1000) + rng.randbytes(size % 1000)
        if rng.random() < 0.2:
            log = log[: size // 2] + _FENCE + log[size // 2 :]
        case = [*_cut(rng, noise), *_cut(rng, fence), *_cut(rng, log)]
        if rng.random() < 0.1:
            return [mutate.cut(rng, piece)[:_PIECE] for piece in case]
        return case

    def try_one(self, case: Case) -> None:
        """Let the host say it, and see what has become of the log."""
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._template, self._home)
        store = Store(str(self._home))
        try:
            self._fetch(store, case)
        finally:
            store.close()
            self._ground.check()

    def _fetch(self, store: Store, case: Case) -> None:
        coordinator = Coordinator(
            store, self._identity, self._settings, str(self._rundir)
        )
        site_id = coordinator.site_id
        lead = LeaderLock(
            os.path.join(store.home, "locks"),
            site_id,
            coordinator.site.generation,
            lambda _: True,
        )
        job, path = store.jobs.find_job(ID), Path(store.files.locate_log(ID))
        if job is None or not lead.try_to_lead():
            raise Broken("the lock of a new record is taken")
        host = _Host(case, path)
        bell, broke = Bell(str(self._rundir), site_id), False
        try:
            LogTransfer(coordinator.site, lead, job, 0, bell).run(host)
        except ProtocolError:
            broke = True
        except SshJobsError:
            return
        finally:
            lead.release()
            bell.__exit__()
            coordinator.__exit__()
            self._judge(store, host)
        if broke != (len(host.log) > LIMIT):
            raise Broken(f"{len(host.log):,} bytes said, and the protocol: {broke}")

    def _judge(self, store: Store, host: _Host) -> None:
        job, other = store.jobs.find_job(ID), store.jobs.find_job(OTHER)
        log = Path(store.files.locate_log(ID)).read_bytes()
        if log != _HOME + host.log[:LIMIT]:
            raise Broken(f"a log that is not what was said: {len(log):,} bytes")
        if job is None or job.log_local_bytes != len(log):
            raise Broken(f"bytes that do not count: {job}")
        if job.log_final != (len(log) == len(_HOME) + LIMIT):
            raise Broken(f"whole, or not: {job}")
        same = Path(store.files.locate_log(OTHER)).read_bytes() == _HOME
        if not same or other is None or other.log_local_bytes != len(_HOME):
            raise Broken("the log of another job has changed")


def _cut(rng: random.Random, data: bytes) -> Case:
    """Cut what is said into pieces, each of which a pipe holds."""
    most = rng.choice((1 + len(data) // 3, _PIECE, _PIECE))
    most = max(1, min(most, _PIECE))
    return [data[at : at + most] for at in range(0, len(data), most)]
