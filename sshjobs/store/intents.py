"""Intents: a row for each thing that is asked of a host and not yet served."""

from __future__ import annotations

import os
import time

from ..errors import JobError, SshJobsError, dump
from ..processes import is_that_process, read_start_time
from ..startup.records import TYPE_CHECKING, Record
from .database import Database, RowCheck, describe_damage, quote_array, slices
from .jobs import JobTable
from .schema import OF_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


#: How an intent was served: as asked; a job with the same command, or with another one,
#: held the key of the job to start; or not at all, and its note is the error.
SERVED, SAME, DIFFERS, FAILED = OUTCOMES = ("served", "same", "differs", "failed")


class Intent(Record):
    """Something asked of a host; kinds: start kill reap forget log.

    ``outcome`` is "" until it is served. ``note`` is an error, dumped, or "": of the
    outcome ``failed``, or of an attempt to serve an intent that is still open. An open
    start has there which jobs come before it, and no ``site_id`` while it waits for
    them here, see held.py.
    """

    id: int
    site_id: str
    kind: str
    job_id: str
    pid: int
    pid_start: str
    created_at: float
    sent: int
    done: int
    note: str
    outcome: str


_INTENT_CHECK = RowCheck(Intent)

# Named, so that a process of this version goes on while a newer one adds columns.
_INTENTS = f"SELECT {', '.join(Intent._fields)} FROM intents WHERE "


class IntentTable:
    """The intents of all processes of this user on this machine."""

    def __init__(self, database: Database, jobs: JobTable) -> None:
        self._database = database
        self._jobs = jobs

    def _make_intent(self, row: Sequence[Any]) -> Intent:
        path = self._database.path
        _INTENT_CHECK.check_row(path, row)
        intent = Intent(*row)
        if intent.outcome not in OUTCOMES if intent.done else intent.outcome:
            what, value = "outcome of intent", intent.outcome
            raise describe_damage(path, what, intent.id, value)
        return intent

    def add_intents(
        self, site_id: str, kind: str, ids: Iterable[str], owner: int | None = None
    ) -> list[int]:
        """Write down wishes for a site; return the intents' numbers.

        Args:
            owner: The process that wants it; None is this one, 0 is nobody.
        """
        pid = os.getpid() if owner is None else owner
        # A number of a process is used again: with its start time it names one process.
        start = read_start_time(pid) or "" if pid else ""
        now = time.time()
        numbers = []
        sql = (
            "INSERT INTO intents (site_id, kind, job_id, pid, pid_start, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        with self._database.begin_write():
            for job_id in ids:
                cursor = self._database.execute_sql(
                    sql, [site_id, kind, job_id, pid, start, now]
                )
                # AUTOINCREMENT: a number is never used again, though its row is deleted
                # (sqlite.org/autoinc.html), so that a late word on one meets no other.
                numbers.append(int(cursor.lastrowid or 0))
        return numbers

    def list_open(self, site_id: str, most: int = 1000, turn: int = 0) -> list[Intent]:
        """Return the open intents of a connection, oldest first.

        Args:
            most: How many of a kind, since there may be very many.
            turn: Of more than that, others with each number; but starts keep their
                order.
        """
        count = (
            "SELECT kind, count(*) FROM intents WHERE site_id = ? AND done = 0 "
            "GROUP BY kind"
        )
        sql = _INTENTS + (
            "site_id = ? AND done = 0 AND kind = ? ORDER BY id LIMIT ? OFFSET ?"
        )
        rows: list[tuple[Any, ...]] = []
        for kind, number in self._database.fetch_rows(count, [site_id]):
            # Rounded up. Each round takes another page, so that an intent that cannot
            # be served keeps no later one waiting for ever.
            pages = -(-number // most)
            skip = 0 if kind == "start" else turn % pages * most
            rows += self._database.fetch_rows(sql, [site_id, kind, most, skip])
        return [
            self._make_intent(row) for row in sorted(rows, key=lambda row: int(row[0]))
        ]

    def has_crowd(self, site_id: str) -> bool:
        """Tell whether other processes than this one have intents there that wait."""
        sql = (
            "SELECT 1 FROM intents WHERE site_id = ? AND done = 0 AND pid <> ? "
            "AND kind <> 'log' LIMIT 1"
        )
        return bool(self._database.fetch_rows(sql, [site_id, os.getpid()]))

    def count_waiting(self, site_id: str) -> tuple[int, int]:
        """Return how many intents wait, logs apart, and how many were never sent."""
        sql = (
            "SELECT count(*), coalesce(sum(sent = 0), 0) FROM intents "
            "WHERE site_id = ? AND done = 0 AND kind <> 'log'"
        )
        ((every, unsent),) = self._database.fetch_rows(sql, [site_id])
        return int(every), int(unsent)

    def count_unserved(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Return how many of these are open, and how many of those were never sent."""
        sql = (
            "SELECT count(*), coalesce(sum(sent = 0), 0) FROM intents "
            "WHERE done = 0 AND id IN (SELECT value FROM json_each(?))"
        )
        ((every, unsent),) = self._database.fetch_rows(sql, [quote_array(numbers)])
        return int(every), int(unsent)

    def find_start(self, job_id: str) -> Intent | None:
        """Return the open intent to start a job, if there is one."""
        sql = _INTENTS + "job_id = ? AND kind = 'start' AND done = 0"
        rows = self._database.fetch_rows(sql, [job_id])
        return self._make_intent(rows[0]) if rows else None

    def find_own_start(self, job_id: str) -> Intent | None:
        """Return the intent of this process to start a job, served or not."""
        sql = _INTENTS + "job_id = ? AND kind = 'start' AND pid = ?"
        rows = self._database.fetch_rows(sql, [job_id, os.getpid()])
        return self._make_intent(rows[0]) if rows else None

    def has_open(self, kind: str, job_id: str) -> bool:
        """Tell whether an intent about a job is open."""
        sql = "SELECT 1 FROM intents WHERE job_id = ? AND kind = ? AND done = 0"
        return bool(self._database.fetch_rows(sql, [job_id, kind]))

    def has_held(self) -> bool:
        """Tell whether a start waits here for jobs of other hosts, see held.py."""
        sql = "SELECT 1 FROM intents WHERE site_id = '' AND done = 0 LIMIT 1"
        return bool(self._database.fetch_rows(sql))

    def is_held(self, job_id: str) -> bool:
        """Tell whether the start of a job waits here."""
        start = self.find_start(job_id)
        return start is not None and not start.site_id

    def leave_open(self, numbers: Iterable[int]) -> None:
        """Have intents of this process stay when it has ended."""
        # Process 0 is nobody: such an intent outlives all processes, and any leader
        # serves it.
        sql = "UPDATE intents SET pid = 0, pid_start = '' WHERE id = ? AND done = 0"
        self._database.execute_many(sql, [[number] for number in numbers])

    def has_unowned(self, site_id: str) -> bool:
        """Tell whether something is open that no process waits for.

        A job to start is not meant: the holder of its id will ask.
        """
        sql = (
            "SELECT 1 FROM intents WHERE site_id = ? AND done = 0 AND pid = 0 "
            "AND kind <> 'start' LIMIT 1"
        )
        return bool(self._database.fetch_rows(sql, [site_id]))

    def find_newest(self, site_id: str) -> int:
        """Return the number of the newest open intent, 0 if there is none."""
        sql = "SELECT coalesce(max(id), 0) FROM intents WHERE site_id = ? AND done = 0"
        return int(self._database.fetch_rows(sql, [site_id])[0][0])

    def read_outcomes(self, numbers: Sequence[int]) -> dict[int, Intent]:
        """Return these intents as they stand now; see :func:`slices`."""
        sql = _INTENTS + "id IN (SELECT value FROM json_each(?))"
        rows = self._database.fetch_rows(sql, [quote_array(numbers)])
        return {row[0]: self._make_intent(row) for row in rows}

    def mark_sent(self, numbers: Iterable[int]) -> None:
        """Note that intents stand in a request from now on."""
        # Before the request leaves: after a crash from here on nobody knows whether the
        # host has acted, and the intent is not withdrawn any more.
        self._database.execute_many(
            "UPDATE intents SET sent = 1 WHERE id = ?", [[n] for n in numbers]
        )

    def mark_unsent(self, numbers: Iterable[int]) -> None:
        """Note that the request in which intents stood has reached nobody."""
        self._database.execute_many(
            "UPDATE intents SET sent = 0 WHERE id = ?", [[n] for n in numbers]
        )

    def disown_starts(self, ids: Iterable[str]) -> None:
        """Note that users have the ids of jobs that are to start, and wait no more.

        Such a job is never forgotten, however it ends.
        """
        self._database.execute_many(
            "UPDATE intents SET pid = 0, pid_start = '' "
            "WHERE job_id = ? AND kind = 'start' AND done = 0",
            [[job_id] for job_id in ids],
        )

    def serve_intents(
        self, numbers: Iterable[int], outcome: str = SERVED, note: str = ""
    ) -> None:
        """Close intents, with one of :data:`OUTCOMES`; an open one has its first."""
        # An intent may stand in two requests, of a leader that was stopped and of the
        # next one: the first outcome counts.
        self._database.execute_many(
            "UPDATE intents SET done = 1, outcome = ?, note = ? "
            "WHERE id = ? AND done = 0",
            [[outcome, note, number] for number in numbers],
        )

    def fail_intents(self, numbers: Iterable[int], error: SshJobsError) -> None:
        """Close intents that were not served, with the reason."""
        self.serve_intents(numbers, FAILED, dump(error))

    def note_error(self, numbers: Iterable[int], error: SshJobsError) -> None:
        """Keep an error for callers that give up on intents that stay open."""
        sql, note = "UPDATE intents SET note = ? WHERE id = ?", dump(error)
        self._database.execute_many(sql, [[note, number] for number in numbers])

    def redirect_start(self, job_id: str, winner: str) -> None:
        """Let the caller that wanted a job started hear of the holder of its key.

        A caller that wanted it killed did not mean the other.
        """
        self._database.execute_sql(
            "UPDATE intents SET job_id = ? WHERE job_id = ? AND kind = 'start'",
            [winner, job_id],
        )

    def drop_intents(self, numbers: Iterable[int]) -> None:
        """Delete intents, served or not."""
        self._database.execute_many(
            "DELETE FROM intents WHERE id = ?", [[n] for n in numbers]
        )

    def withdraw_intents(self, numbers: Sequence[int]) -> tuple[list[str], list[str]]:
        """Take back intents that were never sent.

        Returns:
            The ids of the jobs that are as if never asked for, and of those whose
            intent has gone into a request and stays.
        """
        gone: list[str] = []
        kept: list[str] = []
        # One transaction: a leader that marks intents as sent comes before or after.
        with self._database.begin_write():
            for some in slices(numbers):
                self._withdraw_some(some, gone, kept)
            self._jobs.forget_jobs(gone)
        return gone, kept

    def _withdraw_some(
        self, numbers: Sequence[int], gone: list[str], kept: list[str]
    ) -> None:
        for intent in self.read_outcomes(numbers).values():
            # The host may have it. What is certain is only what never left this
            # machine.
            if intent.sent and not intent.done:
                kept.append(intent.job_id)
                continue
            self.drop_intents([intent.id])
            if intent.kind == "start" and not (intent.sent or intent.done):
                gone.append(intent.job_id)

    def expire_intents(self, site_id: str, ttl: float, now: float) -> list[Intent]:
        """Close intents that dead processes wrote too long ago; return them.

        A ``log`` intent ends with its process. Others of a dead process stay for
        ``ttl`` seconds; one that is dated further ahead than the clock allows is
        void as well. What was declared lost while its host could not be asked is told
        there whenever that can be; so a job is sent that waited here for others.
        """
        sql = _INTENTS + (
            "site_id = ? AND done = 0 AND NOT (kind = 'forget' AND pid = 0) "
            f"AND pid_start <> '{OF_RECORD}' "
            "AND (kind = 'log' AND pid <> ? OR created_at NOT BETWEEN ? AND ?)"
        )
        stale = []
        with self._database.begin_write():
            # This process lives: a thousand logs that it follows are not looked at.
            given = [site_id, os.getpid(), now - ttl, now + ttl]
            for row in self._database.fetch_rows(sql, given):
                intent = self._make_intent(row)
                # A process that is stopped lives, and may be waited for: only the dead
                # lose theirs.
                if not intent.pid or not is_that_process(intent.pid, intent.pid_start):
                    stale.append(intent)
            self.drop_intents(intent.id for intent in stale if intent.kind == "log")
            stale = [intent for intent in stale if intent.kind != "log"]
            if stale:
                expired = JobError("?", "expired")
                self.fail_intents((intent.id for intent in stale), expired)
            self._database.execute_sql(
                "DELETE FROM intents WHERE done = 1 AND created_at < ?", [now - ttl]
            )
        return stale
