"""The record of this machine: one SQLite file, and bytes beside it.

Theory of operation: the store is the meeting place of all processes of one
user on one machine. A verb writes an *intent* before any contact with a host;
the leader of a round reads every open intent of that host, and applies the
host's reply in one transaction; everyone else looks here for the outcome.

A :class:`Store` is made of parts, and each part is given those that it stands on: the
connection and its transactions (:mod:`.database`), the files of specs and logs
(:mod:`.files`), sites (:mod:`.sites`), jobs (:mod:`.jobs`), intents (:mod:`.intents`),
starts that wait here (:mod:`.held`), questions about jobs (:mod:`.queries`), the ledger
by the minute (:mod:`.traffic`). Columns and their history are in :mod:`.schema`; the
directory and its file system in :mod:`.home`.
"""

from __future__ import annotations

import os

from ..model import STDERR, Job, is_job_id, name_streams
from ..startup.records import TYPE_CHECKING
from ..states import PENDING
from .database import SLICE, Database, Seam, slices, sync_file
from .files import JobFiles
from .home import default_home, login_home, make_home, on_network
from .intents import DIFFERS, FAILED, SAME, SERVED, Intent, IntentTable
from .jobs import JobTable
from .sites import COUNTERS, SiteRow, SiteTable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from typing import Any

    from .held import HeldTable
    from .queries import JobQueries
    from .traffic import TrafficTable


__all__ = [
    "COUNTERS",
    "DIFFERS",
    "FAILED",
    "SAME",
    "SERVED",
    "SLICE",
    "Intent",
    "SiteRow",
    "Store",
    "default_home",
    "login_home",
    "make_home",
    "on_network",
    "slices",
]


class Store:
    """The record of one home directory: its parts, and work on several of them.

    Args:
        home: The directory; created if missing.

    Attributes:
        path: The database.
        remark: A hint for the user, where a store was just made in the directory.
        files: Specs and logs, as :class:`.files.JobFiles`.
        jobs: A :class:`.jobs.JobTable`.
        intents: An :class:`.intents.IntentTable`.
        sites: A :class:`.sites.SiteTable`.

    Raises:
        StoreError: it cannot be made, is not ours, or is of a newer version.
    """

    def __init__(self, home: str) -> None:
        self._database = database = Database(home)
        self.home, self.path = database.home, database.path
        self.remark = database.remark
        self.files = JobFiles(database)
        self.jobs = JobTable(database, self.files)
        self.intents = IntentTable(database, self.jobs)
        self.sites = SiteTable(database)

    def __repr__(self) -> str:
        return f"<Store {self.home}>"

    @property
    def queries(self) -> JobQueries:
        """Questions about jobs by conditions; no start without one imports them."""
        from .queries import JobQueries

        return JobQueries(self._database, self.jobs)

    @property
    def held(self) -> HeldTable:
        """The starts that wait here for jobs of other hosts; mostly there are none."""
        from .held import HeldTable

        return HeldTable(self._database)

    @property
    def traffic(self) -> TrafficTable:
        """The ledger by the minute, which only a report reads."""
        from .traffic import TrafficTable

        return TrafficTable(self._database)

    def begin_write(self, *, durable: bool = False) -> AbstractContextManager[None]:
        """Make all that is written inside one transaction; nests.

        Args:
            durable: Survive a power failure, not only a crash of processes.
        """
        return self._database.begin_write(durable=durable)

    def close(self) -> None:
        """Close the database; further use is an error."""
        self._database.close()

    def sync_logs(self, jobs: Iterable[Job]) -> list[str]:
        """Make logs survive a power failure, before they are deleted on a host.

        Returns:
            The ids of those that have not survived one, see :meth:`check_log`.
        """
        short = []
        for job in jobs:
            for stream in name_streams(job):
                sync_file(self.files.locate_log(job.id, stream))
            if self.check_log(job) != job:
                short.append(job.id)
        return short

    def check_log(self, job: Job) -> Job:
        """Return a job as it is known once its log's file has been looked at.

        A power failure may leave less of a file than the record says is there; it
        is brought again then, as long as the host has it.
        """
        here: dict[str, Any] = {}
        here["log_local_bytes"] = self._measure_log(job.id, "", job.log_local_bytes)
        if job.stderr_local_bytes:
            size = self._measure_log(job.id, STDERR, job.stderr_local_bytes)
            here["stderr_local_bytes"] = size
        # The row may have reached the disk before the bytes did: they are in a file of
        # their own, and not in SQLite's transaction.
        if all(getattr(job, name) == size for name, size in here.items()):
            return job
        final = job.reaped_at is not None
        self.jobs.update_job(job.id, log_final=final, **here)
        return job._replace(log_final=final, **here)

    def _measure_log(self, job_id: str, stream: str, known: int) -> int:
        """Return how many of the known bytes of a log its file has."""
        path = self.files.locate_log(job_id, stream)
        with Seam(path):
            try:
                return min(known, os.stat(path).st_size)
            except FileNotFoundError:
                return 0

    def sweep_specs(self) -> int:
        """Delete specs that a crash has left; return how many.

        They are those without a row, and of jobs that have started. While a
        process is writing specs, nothing is deleted. Of very many specs only some are
        looked at: each round does it, and they are those of jobs that wait.
        """
        # Mostly there are none, and a lock would cost more than the look.
        folder = os.path.join(self.home, "specs")
        if not _list_some(folder):
            return 0
        with self._database.make_lock("specs") as lock:
            # Whoever writes specs holds it shared: a spec without a row may be one
            # whose row comes next.
            if not lock.try_to_hold():
                return 0
            names = list(filter(is_job_id, _list_some(folder)))
            jobs = self.jobs.find_jobs(names) if names else {}
            left = [n for n in names if n not in jobs or jobs[n].state != PENDING]
            for name in left:
                self.files.drop_spec(name)
        return len(left)


def _list_some(folder: str) -> list[str]:
    """Return the names in a folder, a slice of them at most."""
    with os.scandir(folder) as entries:
        return [entry.name for entry, _ in zip(entries, range(SLICE))]
