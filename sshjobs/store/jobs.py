"""Jobs: a row each, active until it is final, kept until it is forgotten."""

from __future__ import annotations

from ..model import SHOWN_FIELDS, Job
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import sqlite3
from ..states import STATES
from .database import (
    SLICE,
    Database,
    RowCheck,
    describe_damage,
    quote_array,
    slices,
)
from .files import JobFiles
from .schema import ENDED_AT, IS_ACTIVE, IS_FINAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any

#: The order of jobs: by the instant of their submit.
AGE = "submitted_at, id"

#: What :meth:`JobTable.has_few_active` calls few.
_FEW = 4

JOB_COLUMNS = ", ".join(Job._fields)
_SHOWN_COLUMNS = ", ".join(SHOWN_FIELDS)
_UNSHOWN = tuple(map(Job._field_defaults.get, Job._fields[len(SHOWN_FIELDS) :]))
_JOB_MARKS = ", ".join("?" * len(Job._fields))
_JOB_CHECK = RowCheck(Job)
_STATE, _ONCE, _LOG_FINAL = map(Job._fields.index, ("state", "once", "log_final"))


class Batch:
    """Jobs that are on their way into the store, however many.

    The first few are held in memory, the rest in a table that only this process sees
    and that SQLite keeps in a file of its own once it grows.
    """

    def __init__(
        self,
        do: Callable[[str], sqlite3.Cursor],
        many: Callable[[str, Iterable[Job]], None],
    ) -> None:
        self._do = do
        self._many = many
        self._jobs: list[Job] = []
        self._is_long = False

    def add(self, job: Job) -> None:
        """Take one more."""
        self._jobs.append(job)
        if len(self._jobs) >= SLICE:
            # A temporary table is of this connection alone: nobody sees half a batch
            # (sqlite.org/lang_createtable.html).
            if not self._is_long:
                self._do(
                    "CREATE TEMP TABLE batch AS "
                    f"SELECT {JOB_COLUMNS} FROM main.jobs WHERE 0"
                )
                self._is_long = True
            self._insert_into("temp.batch")
            self._jobs.clear()

    def _insert_into(self, table: str) -> None:
        sql = f"INSERT OR IGNORE INTO {table} ({JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._many(sql, self._jobs)

    def ids(self) -> Iterator[str]:
        """Yield their ids, in the order in which they came."""
        if self._is_long:
            for (job_id,) in self._do("SELECT id FROM temp.batch ORDER BY rowid"):
                yield job_id
        for job in self._jobs:
            yield job.id

    def store(self) -> None:
        """Add them to the jobs that all processes see."""
        if self._is_long:
            self._do(
                f"INSERT OR IGNORE INTO main.jobs ({JOB_COLUMNS}) "
                f"SELECT {JOB_COLUMNS} FROM temp.batch"
            )
        self._insert_into("main.jobs")

    def close(self) -> None:
        """Let go of them."""
        if self._is_long:
            self._do("DROP TABLE temp.batch")


class JobTable:
    """The jobs that this machine knows."""

    def __init__(self, database: Database, files: JobFiles) -> None:
        self._database = database
        self._files = files

    def make_job(self, row: Sequence[Any]) -> Job:
        """Return the job of a row, whose columns are :data:`JOB_COLUMNS`.

        Raises:
            StoreError: the row is damaged.
        """
        values = list(row)
        self._check_row(values)
        for place in (_ONCE, _LOG_FINAL):
            values[place] = bool(values[place])
        return Job(*values)

    def _check_row(self, row: Sequence[Any]) -> None:
        path = self._database.path
        _JOB_CHECK.check_row(path, row)
        if row[_STATE] not in STATES:
            raise describe_damage(path, "state of job", row[0], row[_STATE])

    def add_jobs(self, jobs: Iterable[Job]) -> None:
        """Add jobs that are not known yet; a known id is left as it is."""
        # A job that another process has adopted meanwhile stays as that one wrote it.
        sql = f"INSERT OR IGNORE INTO jobs ({JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._database.execute_many(sql, jobs)

    def find_jobs(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return the jobs of these ids that are known, by id."""
        sql = (
            f"SELECT {JOB_COLUMNS} FROM jobs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        ids = list(ids)
        if not ids:
            return {}
        return {
            row[0]: self.make_job(row)
            for row in self._database.fetch_rows(sql, [quote_array(ids)])
        }

    def find_shown(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return the shown fields of the jobs of these ids that are known, by id.

        Fields that are not among SHOWN_FIELDS have their defaults: of thousands of
        jobs, these cost more than the others.
        """
        sql = (
            f"SELECT {_SHOWN_COLUMNS} FROM jobs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        rows = self._database.fetch_rows(sql, [quote_array(ids)])
        _JOB_CHECK.check_rows(self._database.path, rows)
        for row in rows:
            if row[_STATE] not in STATES:
                self._check_row(row)
        return {row[0]: Job._make(row + _UNSHOWN) for row in rows}

    def find_job(self, job_id: str) -> Job | None:
        """Return one job, or None."""
        rows = self._database.fetch_rows(
            f"SELECT {JOB_COLUMNS} FROM jobs WHERE id = ?", [job_id]
        )
        return self.make_job(rows[0]) if rows else None

    def find_by_prefix(self, prefix: str) -> list[Job]:
        """Return the jobs whose id begins with ``prefix``."""
        # A range uses the primary key, which LIKE does not
        # (sqlite.org/optoverview.html, 5); "{" comes after "z".
        sql = f"SELECT {JOB_COLUMNS} FROM jobs WHERE id >= ? AND id < ?"
        return [
            self.make_job(row)
            for row in self._database.fetch_rows(sql, [prefix, prefix + "{"])
        ]

    def find_by_key(self, key: str, host: str | None = None) -> list[Job]:
        """Return the jobs of a key, newest attempt first."""
        sql = f"SELECT {JOB_COLUMNS} FROM jobs WHERE key = ?"
        args = [key]
        if host is not None:
            sql, args = sql + " AND host = ?", [key, host]
        # Two machines may have made the same attempt of a key: the later submit comes
        # first.
        sql += " ORDER BY attempt DESC, submitted_at DESC"
        return [self.make_job(row) for row in self._database.fetch_rows(sql, args)]

    def iterate_jobs(self) -> Iterator[Job]:
        """Return all jobs, oldest first, without holding them all."""
        sql = f"SELECT {JOB_COLUMNS} FROM jobs ORDER BY {AGE}"
        return map(self.make_job, self._database.iterate_rows(sql))

    def iterate_active(self, host: str | None = None) -> Iterator[tuple[str, str]]:
        """Return the id and the connection of each job that may still change.

        Oldest first; of one host, or of all.
        """
        where, args = IS_ACTIVE, []
        if host is not None:
            where, args = where + " AND host = ?", [host]
        sql = f"SELECT id, site_id FROM jobs WHERE {where} ORDER BY {AGE}"
        return self._database.iterate_rows(sql, args)

    def list_sites(self, host: str) -> list[str]:
        """Return the sites of the jobs that were submitted under a name of a host.

        A connection has the name that was used first; others may lead to it too.
        """
        rows = self._database.fetch_rows(
            "SELECT DISTINCT site_id FROM jobs WHERE host = ?", [host]
        )
        return [site_id for (site_id,) in rows]

    def has_active(self, site_id: str) -> bool:
        """Tell whether a job of a connection may still change."""
        sql = f"SELECT 1 FROM jobs WHERE site_id = ? AND {IS_ACTIVE} LIMIT 1"
        return bool(self._database.fetch_rows(sql, [site_id]))

    def list_asked(self, site_id: str) -> list[tuple[str, int | None, str]]:
        """Return (id, pid, start) of jobs that may still change, but for waiting ones.

        Waiting ones have a start that is still to be asked for.
        """
        sql = (
            "SELECT id, pid, start FROM jobs "
            f"WHERE site_id = ? AND {IS_ACTIVE} AND NOT EXISTS ("
            "SELECT 1 FROM intents WHERE job_id = jobs.id AND kind = 'start' "
            "AND done = 0)"
        )
        return self._database.fetch_rows(sql, [site_id])

    def list_launchers(self, site_id: str) -> list[str]:
        """Return what starts the jobs of a connection that may still change."""
        sql = f"SELECT DISTINCT launcher FROM jobs WHERE site_id = ? AND {IS_ACTIVE}"
        return [name for (name,) in self._database.fetch_rows(sql, [site_id])]

    def count_active(self, ids: Sequence[str]) -> int:
        """Return how many of these jobs may still change."""
        sql = (
            f"SELECT count(*) FROM jobs WHERE {IS_ACTIVE} "
            "AND id IN (SELECT value FROM json_each(?))"
        )
        return int(self._database.fetch_rows(sql, [quote_array(ids)])[0][0])

    def filter_active(self, ids: Sequence[str]) -> set[str]:
        """Return those of these jobs that may still change."""
        sql = (
            f"SELECT id FROM jobs WHERE {IS_ACTIVE} "
            "AND id IN (SELECT value FROM json_each(?))"
        )
        return {
            job_id
            for some in slices(ids)
            for (job_id,) in self._database.fetch_rows(sql, [quote_array(some)])
        }

    def find_ended(self, ids: Sequence[str]) -> tuple[list[str], int]:
        """Return which of these jobs have ended, and how many of them are running."""
        some = [quote_array(ids)]
        listed = "id IN (SELECT value FROM json_each(?))"
        rows = self._database.fetch_rows(
            f"SELECT id FROM jobs WHERE {IS_FINAL} AND {listed}", some
        )
        sql = f"SELECT count(*) FROM jobs WHERE state = 'RUNNING' AND {listed}"
        running = int(self._database.fetch_rows(sql, some)[0][0])
        return [job_id for (job_id,) in rows], running

    def count_local_bytes(self, ids: Sequence[str]) -> int:
        """Return how many bytes of the logs of these jobs are here."""
        sql = (
            "SELECT coalesce(sum(log_local_bytes + stderr_local_bytes), 0) FROM jobs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return sum(
            int(self._database.fetch_rows(sql, [quote_array(some)])[0][0])
            for some in slices(ids)
        )

    def read_active_bytes(self, ids: Sequence[str]) -> dict[str, int]:
        """Return how many bytes of its log are here, of each that may still change."""
        sql = (
            f"SELECT id, log_local_bytes FROM jobs WHERE {IS_ACTIVE} "
            "AND id IN (SELECT value FROM json_each(?))"
        )
        return {
            job_id: int(count)
            for some in slices(ids)
            for job_id, count in self._database.fetch_rows(sql, [quote_array(some)])
        }

    def has_few_active(self, site_id: str, most: int = _FEW) -> bool:
        """Tell whether so few jobs of a connection may change that each end counts.

        Its end is asked about almost at once then; those of many share usual rounds.

        Args:
            most: So many are few.
        """
        sql = (
            # The count ends at the limit: 100,000 active jobs are not looked through
            # for it.
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE site_id = ? "
            f"AND {IS_ACTIVE} LIMIT ?)"
        )
        return int(self._database.fetch_rows(sql, [site_id, most + 1])[0][0]) <= most

    def list_unreaped(self, site_id: str, before: float) -> list[str]:
        """Return the ids of final jobs that ended before an instant, not reaped."""
        sql = (
            "SELECT id FROM jobs WHERE site_id = ? AND reaped_at IS NULL "
            f"AND {IS_FINAL} "
            f"AND {ENDED_AT} <= ? ORDER BY submitted_at, id"
        )
        return [
            job_id for (job_id,) in self._database.fetch_rows(sql, [site_id, before])
        ]

    def update_job(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._database.execute_sql(
            f"UPDATE jobs SET {names} WHERE id = ?", [*columns.values(), job_id]
        )

    def put_jobs(self, jobs: Iterable[Job]) -> None:
        """Write jobs whole, whether they are known or not."""
        # Inside a transaction, a whole row loses nothing: nobody changed it since it
        # was read.
        sql = f"INSERT OR REPLACE INTO jobs ({JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._database.execute_many(sql, jobs)

    def forget_jobs(self, ids: Iterable[str]) -> None:
        """Delete jobs, their intents and files."""
        ids = list(ids)
        text = quote_array(ids)
        # A row without a spec is a job that cannot start; so files go after the rows,
        # once these are committed.
        with self._database.begin_write():
            for table, column in (("jobs", "id"), ("intents", "job_id")):
                self._database.execute_sql(
                    f"DELETE FROM {table} WHERE {column} IN "
                    "(SELECT value FROM json_each(?))",
                    [text],
                )
        # Inside a caller's transaction this waits for its commit, see begin_write().
        for job_id in ids:
            self._files.drop_files(job_id)

    def prune_jobs(self, site_id: str, before: float) -> int:
        """Forget jobs that were reaped before an instant, with their logs here.

        Returns:
            How many there were.
        """
        # Who was reaped before that was submitted before it, for which is an index.
        sql = (
            "SELECT id FROM jobs WHERE submitted_at < ? AND site_id = ? "
            "AND reaped_at < ?"
        )
        rows = self._database.fetch_rows(sql, [before, site_id, before])
        ids = [job_id for (job_id,) in rows]
        for some in slices(ids):
            self.forget_jobs(some)
        return len(ids)

    def drop_job(self, job_id: str) -> None:
        """Delete a job and its files; its intents stay for their owners."""
        self._database.execute_sql("DELETE FROM jobs WHERE id = ?", [job_id])
        self._files.drop_files(job_id)

    @contextmanager
    def collect_batch(self) -> Iterator[Batch]:
        """Collect jobs that come into the store together, or not at all."""
        # Its own table is no other process's, and is written without a turn.
        batch = Batch(self._database.execute_own, self._database.execute_own_many)
        try:
            yield batch
        except BaseException:
            for job_id in batch.ids():
                self._files.drop_files(job_id)
            raise
        finally:
            batch.close()
