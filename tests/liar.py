"""A record beside files that are nobody's business, and a host that says anything."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sshjobs import states, transports
from sshjobs.display.rows import yield_host_lines
from sshjobs.display.text import format_job_line, yield_record_lines
from sshjobs.errors import SshJobsError
from sshjobs.locks import LeaderLock
from sshjobs.model import Job, Spec, is_job_id
from sshjobs.rounds import Coordinator, RoundWish
from sshjobs.rounds.log_state import is_log_home
from sshjobs.rounds.round import Round
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Completed, StdoutTaker
from tests.fake_transport import FakeTransport, find_nonce

#: The jobs of our host, by what is asked about them.
STARTS, CHECKS, KILLS = "a" * 16, "b" * 16, "c" * 16
REAPS, LOGS, FORGETS = "d" * 16, "e" * 16, "h" * 16
OURS = (STARTS, CHECKS, KILLS, REAPS, LOGS, FORGETS)
#: A job of another host, and one that nobody knows.
THEIRS, NOBODYS = "f" * 16, "g" * 16
SECRET = "id_demo"

HOME = b"these bytes are home\n"
NOISE = b"noise without an end"


class Liar(FakeTransport):
    """A transport to a host that answers what it wants.

    Args:
        said: What follows the fence; ``NONCE`` in it is the nonce of the request.
        cut: So many bytes of it arrive.
    """

    def __init__(self, said: bytes, cut: int | None = None) -> None:
        self.said = said
        self.cut = cut

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Say it, whatever was asked."""
        nonce = find_nonce(program)
        assert nonce, program[-2000:]
        said = self.said.replace(b"NONCE", nonce)
        data = NOISE + b"\nsshjobs-reply 1 %s\n" % nonce + said[: self.cut]
        sink(data)
        return Completed(0, b"", len(data))


class Scene:
    """A record of ours with jobs of two hosts, in a tree of canaries.

    Args:
        folder: An empty directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.user = folder / "user"
        for name in (".ssh", ".local/state", "..data"):
            (self.user / name).mkdir(parents=True)
        for name in (".ssh/id_demo", ".local/state/x", "x", "id_demo", "..data/y"):
            (self.user / name).write_text(f"canary {name}")
        (folder / "x").write_text("canary")
        self.home = self.user / ".local" / "state" / "sshjobs"
        self.store = Store(str(self.home))
        rundir = folder / "run"
        rundir.mkdir(mode=0o700)
        settings = Settings()
        identity = transports.resolve_host("local", settings)
        self.coordinator = Coordinator(self.store, identity, settings, str(rundir))
        self.lead = LeaderLock(
            str(self.home / "locks"),
            self.coordinator.site_id,
            self.coordinator.site.generation,
            lambda _: True,
        )
        assert self.lead.try_to_lead()
        self.store.sites.ensure_site("other", "elsewhere")
        for name in ("specs", "logs"):
            (self.home / name / "x").write_text("a file that is no job's")
        self._add(self._theirs(), b"the log of a job of another host\n")
        self.refill()
        self.canaries = self.look()

    def close(self) -> None:
        """Let go of the record."""
        self.lead.release()
        self.coordinator.__exit__()
        self.store.close()

    def refill(self) -> None:
        """Have all jobs of ours, and all that is wanted of them, as at the start."""
        store, site_id = self.store, self.coordinator.site_id
        with store.begin_write():
            store._database.execute_sql(
                "DELETE FROM intents WHERE site_id = ?", [site_id]
            )
            store._database.execute_sql("DELETE FROM jobs WHERE site_id = ?", [site_id])
        for job in self._ours():
            self._add(job, HOME if job.log_local_bytes else b"")
        for kind, job_id in [
            ("start", STARTS),
            ("kill", KILLS),
            ("reap", REAPS),
            ("log", LOGS),
            ("forget", FORGETS),
        ]:
            store.intents.add_intents(site_id, kind, [job_id])

    def _add(self, job: Job, log: bytes) -> None:
        self.store.files.drop_spec(job.id)
        if job.state == states.PENDING:
            self.store.files.save_spec(job.id, Spec(b"true"))
        Path(self.store.files.locate_log(job.id)).write_bytes(log)
        with self.store.begin_write():
            self.store.jobs.add_jobs([job])

    def _ours(self) -> list[Job]:
        job = Job(
            id=CHECKS,
            host="local",
            site_id=self.coordinator.site_id,
            state=states.RUNNING,
            pid=7,
            start="99",
        )
        done: dict[str, Any] = {
            "state": states.COMPLETED,
            "exit_status": 0,
            "finished_at": 2.0,
            "log_local_bytes": len(HOME),
            "log_bytes": len(HOME),
            "log_final": True,
        }
        return [
            job,
            job._replace(id=KILLS),
            job._replace(id=FORGETS),
            job._replace(id=LOGS, log_local_bytes=len(HOME), log_bytes=len(HOME)),
            job._replace(id=STARTS, state=states.PENDING, pid=None, start="", key="k"),
            job._replace(id=REAPS, **done),
        ]

    def _theirs(self) -> Job:
        return Job(
            id=THEIRS, host="elsewhere", site_id="other", state=states.PENDING, key="k"
        )

    def hear(
        self, said: bytes, cut: int | None = None, listing: bool = False
    ) -> SshJobsError | None:
        """Have one round bring a reply; return the error with which it ended."""
        round_ = Round(self.coordinator.site, self.lead, RoundWish(listing=listing))
        try:
            round_.run(Liar(said, cut))
        except SshJobsError as error:
            return error
        return None

    def look(self) -> dict[str, tuple[int, bytes]]:
        """Return all files but those of our own host's jobs, and the database's."""
        found = {}
        for where, _, names in os.walk(self.folder):
            for name in names:
                path = Path(where, name)
                own = path.parent.name in ("specs", "logs") and name in OURS
                if own or path.is_relative_to(self.home / "locks"):
                    continue
                if not name.startswith("store.db") and path.is_file():
                    found[str(path)] = (path.stat().st_mode, path.read_bytes())
        return found

    def check(self) -> None:
        """See that nothing is touched that is not ours, and that all can be shown."""
        new = self.look()
        named = {p for p in new.keys() - self.canaries.keys() if _is_ours(p)}
        for path in named:  # of a winner, say: a file of a job of this record
            assert self.store.jobs.find_job(os.path.basename(path)) is not None, path
            del new[path]
        assert new == self.canaries
        assert self.store.jobs.find_job(THEIRS) == self._theirs()
        assert self.store.files.read_spec(THEIRS) == Spec(b"true")
        for job in self.store.jobs.iterate_jobs():
            check_job(job)
            if job.id in (LOGS, REAPS):
                log = Path(self.store.files.locate_log(job.id)).read_bytes()
                assert log.startswith(HOME)
                if (
                    job.id == REAPS and job.log_local_bytes == 0
                ):  # `differs`: brought anew
                    assert not job.log_final and job.reaped_at is None
                else:
                    assert job.log_local_bytes >= len(HOME)
        for text in yield_host_lines([], 0.0):
            assert text.isprintable()
        row = self.coordinator.site.row()
        assert row.node.isprintable() and row.journal_gen.isprintable()


def _is_ours(path: str) -> bool:
    return is_job_id(os.path.basename(path))


def check_job(job: Job) -> None:
    """See that a row can be shown, and that no end is without an end."""
    assert is_job_id(job.id)
    for text in (job.reason, job.node, job.name, job.start, job.digest):
        assert text.isprintable() and len(text) <= 1200, job
    assert format_job_line(job).isprintable()
    assert all(line.isprintable() for line in yield_record_lines(job, None, ["", ""]))
    assert json.loads(json.dumps(job.public()))["id"] == job.id
    assert job.log_local_bytes >= 0 and 0 <= job.log_bytes < 10**15
    if job.state in (states.COMPLETED, states.FAILED) and not job.reason:
        assert job.exit_status is not None or job.signal is not None, job
    assert job.exit_status is None or 0 <= job.exit_status <= 255
    assert (
        is_log_home(job)
        or job.reaped_at is None
        or job.log_local_bytes <= job.log_bytes
    )
