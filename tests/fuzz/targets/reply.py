"""What a host answers: into the store, into files of logs and specs, nowhere else."""

from __future__ import annotations

import os
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from sshjobs import states, transports
from sshjobs.errors import SshJobsError
from sshjobs.locks import LeaderLock
from sshjobs.model import Job, Spec
from sshjobs.rounds import Coordinator, RoundWish
from sshjobs.rounds.log_state import is_end_known
from sshjobs.rounds.round import Round
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Completed, StdoutTaker
from tests.fake_transport import FakeTransport, find_nonce
from tests.fuzz import mutate, record
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

#: Jobs that no request names: one that has ended, one of another host that runs, one
#: there that has ended, and one there that is still to start.
OLD, THEIRS, THEIRS_ENDED, THEIRS_NEW = (
    f"{name}aaaaaaaaaaaaaaaa"[:16] for name in ("old", "theirs", "endedthere", "new")
)
_STRANGERS = (OLD, THEIRS, THEIRS_ENDED, THEIRS_NEW)

_HOME = b"these bytes are home\n"

#: A frame of each tag, as a host may say it, whoever it is about.
_FRAMES = (
    "hello box boot-1 12.5 setsid",
    "journal 77 4096",
    "started ID 10 11 987 boot-1 box 13.5",
    "ended ID 0 - - 13.5 14.25 99 ",
    "ended ID - 9 timeout - 14.25 0 cwd: no such directory",
    "ended ID - 15 cancelled 13.5 14.25 3 ",
    "prepared ID",
    "claimed ID OTHER 3 COMPLETED 1",
    "claimed ID OTHER 1 RUNNING 0",
    "refused ID ENOSPC No space left on device",
    "refused ID EGONE cancelled before",
    "killsent ID",
    "killmissing ID",
    "lost ID rebooted",
    "missing ID",
    "elsewhere ID node7",
    "unsupervised ID",
    "reaped ID",
    "unreaped ID a link",
    "longer ID 999",
    "nolog ID gone",
    "listed ID LOST 5.5 box 7 abc a%20b%C3%A9 key",
    "odd x?y not the name of a job",
    "failed EBASE no such thing",
    "log ID 0",
    "beat",
    "end",
)


class _Host(FakeTransport):
    """A transport to a host that answers what it wants, in pieces."""

    def __init__(self, pieces: Case) -> None:
        self._pieces = pieces

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Say it, whatever was asked."""
        # A round whose program was not run asks once more, without a nonce, what does.
        nonce = find_nonce(program) or record.NONCE
        said = b"".join(self._pieces).replace(record.NONCE, nonce)
        for at in range(0, len(said), 65536):
            sink(said[at : at + 65536])
        return Completed(0, b"", len(said))


class Replies:
    """A store with jobs of two hosts, and one round for one of them."""

    name = "reply"
    share = 4.0

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._home = ground.work / "reply"
        self._template = ground.work / "reply.template"
        self._rundir = ground.work / "reply.run"
        self._rundir.mkdir(mode=0o700)
        self._settings = Settings()
        self._identity = transports.resolve_host("local", self._settings)
        self._replies = record.replies()
        self._site_id = self._fill()

    # -- cases -------------------------------------------------------------------------

    def make(self, rng: random.Random) -> Case:
        """Spoil a recording, cut it, or write one of frames alone."""
        ids = [name.encode() for name in (*record.ASKED, record.WINNER, *_STRANGERS)]
        frames = [self._frame(rng, frame, ids) for frame in _FRAMES]
        lines = rng.choice(self._replies).split(b"\n")
        kind = rng.random()
        if kind < 0.15:
            return [mutate.cut(rng, b"\n".join(lines))]
        if kind < 0.22:
            return [mutate.spoil(rng, b"\n".join(lines))]
        if kind < 0.45:
            head = b"\nsshjobs-reply 1 " + record.NONCE
            some = rng.choices(frames, k=rng.choice((1, 2, 3, 8)))
            lines = [head, b"hello box boot-1 1795868334.24 setsid", *some, b"end"]
        else:
            lines = mutate.spoil_lines(rng, lines, frames, ids)
        if rng.random() < 0.03:
            flood = rng.choice(
                (b"beat", b"lost " + rng.choice(ids) + b" x", b"odd a b")
            )
            lines[-1:-1] = [b"\n".join([flood] * 50_000)]
        if rng.random() < 0.03:
            lines[-1:-1] = [b"log %s 0\n%s" % (rng.choice(ids), bytes(20 << 20))]
        pieces = [line + b"\n" for line in lines]
        return pieces[: rng.randrange(len(pieces) + 1)] if kind > 0.9 else pieces

    def _frame(self, rng: random.Random, frame: str, ids: list[bytes]) -> bytes:
        line = frame.encode().replace(b"OTHER", rng.choice(ids))
        line = line.replace(b"ID", rng.choice(ids))
        if line.startswith(b"log ") and rng.random() < 0.8:
            line = line.rpartition(b" ")[0] + b" %d" % rng.choice((0, len(_HOME), 3))
            data = rng.randbytes(rng.choice((0, 9, 300))).replace(b"\n", b" ")
            line += b"\n%s\n%s %d" % (data, record.NONCE, rng.choice((0, 30, 9**9)))
        return line

    # -- the record --------------------------------------------------------------------

    def _fill(self) -> str:
        """Make the store that each case begins with; return the site's name in it."""
        store = Store(str(self._template))
        coordinator = Coordinator(
            store, self._identity, self._settings, str(self._rundir)
        )
        coordinator.__exit__()
        site_id = coordinator.site_id
        store.sites.ensure_site("other", "elsewhere")
        jobs = [
            self._job(site_id, name) for name in record.ASKED if name != record.MISSING
        ]
        jobs += [
            Job(OLD, "local", site_id, states.CANCELLED, log_final=True),
            Job(THEIRS, "elsewhere", "other", states.RUNNING, pid=7, start="1"),
            Job(THEIRS_ENDED, "elsewhere", "other", states.COMPLETED, exit_status=0),
            Job(THEIRS_NEW, "elsewhere", "other", states.PENDING),
        ]
        with store.begin_write():
            store.jobs.add_jobs(jobs)
            for kind, names in self._wanted().items():
                store.intents.add_intents(site_id, kind, names)
            store.intents.add_intents("other", "start", [THEIRS_NEW])
        for job in jobs:
            if job.state == states.PENDING:
                store.files.save_spec(job.id, Spec(b"true"))
            if job.log_local_bytes:
                Path(store.files.locate_log(job.id)).write_bytes(_HOME)
        Path(store.files.locate_log(THEIRS_ENDED)).write_bytes(_HOME)
        store.close()
        return site_id

    def _job(self, site_id: str, name: str) -> Job:
        job = Job(name, "local", site_id, states.PENDING)
        if name == record.KEYED:
            return job._replace(key="another key")
        if name == record.LOSER:
            return job._replace(key="the key")
        if name in (record.RUNNING, record.KILLED):
            return job._replace(state=states.RUNNING, pid=10, start="987")
        known = job._replace(
            state=states.FAILED, exit_status=3, log_local_bytes=len(_HOME)
        )
        if name == record.ENDED:
            return known._replace(log_bytes=1000)
        if name == record.REAPED:
            return known._replace(log_bytes=len(_HOME), log_final=True)
        return job

    def _wanted(self) -> dict[str, list[str]]:
        starts = [record.STARTING, record.KEYED, record.LOSER, record.REFUSED]
        return {
            "start": starts,
            "kill": [record.KILLED],
            "reap": [record.REAPED],
            "log": [record.ENDED, record.RUNNING],
        }

    # -- a round -----------------------------------------------------------------------

    def try_one(self, case: Case) -> None:
        """Let the host say it, and see what has become of the record."""
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._template, self._home)
        store = Store(str(self._home))
        try:
            before = _state(store, self._home)
            listing = sum(map(len, case)) % 3 == 0
            self._round(store, case, listing=listing)
            self._judge(before, _state(store, self._home), case, listing)
        finally:
            store.close()
            self._ground.check()

    def _round(self, store: Store, case: Case, *, listing: bool) -> None:
        coordinator = Coordinator(
            store, self._identity, self._settings, str(self._rundir)
        )
        lead = LeaderLock(
            os.path.join(store.home, "locks"),
            self._site_id,
            coordinator.site.generation,
            lambda _: True,
        )
        if not lead.try_to_lead():
            raise Broken("the lock of a new record is taken")
        try:
            Round(coordinator.site, lead, RoundWish(listing=listing)).run(_Host(case))
        except SshJobsError:
            return
        finally:
            lead.release()
            coordinator.__exit__()

    def _judge(self, before: _State, after: _State, case: Case, listing: bool) -> None:
        said = b"".join(case)
        for name, job in before.jobs.items():
            now = after.jobs.get(name)
            if name in _STRANGERS and not (listing and name == OLD) and now != job:
                raise Broken(
                    f"a job that was not asked about has changed: {name} {now}"
                )
            if states.is_final(job.state) and (now is None or not _same_end(job, now)):
                raise Broken(f"a final state has changed: {job} to {now}")
        for name, job in after.jobs.items():
            known = before.jobs.get(name)
            if known is None and not (listing or name.encode() in said):
                raise Broken(f"a job of nobody's: {name}")
            ends_now = known is None or not states.is_final(known.state)
            told = re.search(rb"ended %s [^\n]*\n" % name.encode(), said)
            if is_end_known(job) and ends_now and not told and not _was_refused(job):
                raise Broken(f"a final state without an end: {job}")
        self._judge_files(before, after)

    def _judge_files(self, before: _State, after: _State) -> None:
        for name in after.files.keys() - before.files.keys():
            folder, _, job_id = name.partition("/")
            if folder == "specs" or (folder == "logs" and job_id not in after.jobs):
                raise Broken(f"a file that nobody asked for: {name}")
        for name, data in before.files.items():
            _judge_file(name, data, after.files.get(name))
        pending = (j for j in after.jobs.values() if j.state == states.PENDING)
        for job in pending:
            if f"specs/{job.id}" in before.files.keys() - after.files.keys():
                raise Broken(
                    f"the spec of a job that has not started is gone: {job.id}"
                )
        size = sum(map(len, after.files.values()))
        if size > sum(map(len, before.files.values())) + (16 << 20):
            raise Broken(f"more on disk than was asked for: {size:,} bytes")


def _judge_file(name: str, data: bytes, now: bytes | None) -> None:
    is_strange = name.partition("/")[2] in _STRANGERS
    if now is None:
        if is_strange:
            raise Broken(f"a file of another job is gone: {name}")
        return
    if name.startswith("logs/") and not now.startswith(data):
        raise Broken(f"bytes that were home are others now: {name}")
    if is_strange and now != data:
        raise Broken(f"what was not asked for has changed: {name}")


class _State:
    """The jobs of a record, and its files but for the database."""

    def __init__(self, jobs: dict[str, Job], files: dict[str, bytes]) -> None:
        self.jobs = jobs
        self.files = files


def _state(store: Store, home: Path) -> _State:
    files = {}
    for path in home.rglob("*"):
        name = str(path.relative_to(home))
        if path.is_symlink():
            raise Broken(f"a symbolic link in the record: {name}")
        if path.is_file() and not name.startswith(("store.db", "locks/")):
            files[name] = path.read_bytes()
    return _State({job.id: job for job in store.jobs.iterate_jobs()}, files)


def _same_end(before: Job, after: Job) -> bool:
    ends = [(job.state, job.exit_status, job.signal) for job in (before, after)]
    return ends[0] == ends[1]


def _was_refused(job: Job) -> bool:
    """Tell whether a job has ended since it never ran; that has no record of an end."""
    return job.exit_status is None and job.signal is None and job.started_at is None
