"""Starts that wait on this machine for jobs of other hosts: intents without a site.

No round looks at them, so that their jobs are sent nowhere; whoever ends a job without
a word to its host finds an open start that was never sent. The note of such an intent
names the jobs that come before it. It is let go by the site that it gets, in the
transaction of the leader that learned the end.
"""

from __future__ import annotations

import time

from ..startup.records import TYPE_CHECKING, Record
from .database import Database, quote_array, slices
from .schema import IS_ACTIVE, OF_RECORD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Held(Record):
    """A job that waits here; ``words`` are ID:ok and ID:any, with spaces between."""

    number: int  # of its intent
    job_id: str
    words: str


class JobFacts(Record):
    """Where a job is, and how it does."""

    site_id: str
    host: str
    state: str
    launcher: str
    reason: str
    failures: int  # of its host, since that last answered


class HeldTable:
    """The starts that wait here, and those that were let go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def hold_starts(self, words: Mapping[str, str]) -> list[int]:
        """Write down starts that wait here; return the numbers of their intents.

        Args:
            words: By the id of the job to start, the jobs that come before it.
        """
        sql = (
            "INSERT INTO intents (site_id, kind, job_id, pid, pid_start, created_at, "
            "note) VALUES ('', 'start', ?, 0, ?, ?, ?)"
        )
        now = time.time()
        with self._database.begin_write():
            return [
                int(
                    self._database.execute_sql(
                        sql, [job_id, OF_RECORD, now, note]
                    ).lastrowid
                    or 0
                )
                for job_id, note in words.items()
            ]

    def list_held(self) -> list[Held]:
        """Return what waits here, oldest first."""
        sql = (
            "SELECT id, job_id, note FROM intents WHERE site_id = '' AND done = 0 "
            "ORDER BY id"
        )
        return [Held(*row) for row in self._database.fetch_rows(sql)]

    def let_go(self, number: int, site_id: str, words: str) -> None:
        """Have the next round of a site send a start.

        Args:
            words: The jobs that the host itself is to wait for.
        """
        sql = (
            "UPDATE intents SET site_id = ?, note = ?, created_at = ? "
            "WHERE id = ? AND site_id = '' AND done = 0"
        )
        self._database.execute_sql(sql, [site_id, words, time.time(), number])

    def find_facts(self, ids: Iterable[str]) -> dict[str, JobFacts]:
        """Return where the jobs of these ids are that are known."""
        sql = (
            "SELECT id, site_id, host, state, launcher, reason, coalesce((SELECT "
            "failures + bad_rounds FROM sites WHERE site_id = jobs.site_id), 0) "
            "FROM jobs WHERE id IN (SELECT value FROM json_each(?))"
        )
        return {
            row[0]: JobFacts(*row[1:])
            for some in slices(list(ids))
            for row in self._database.fetch_rows(sql, [quote_array(some)])
        }

    def list_unsent(self) -> dict[str, list[int]]:
        """Return the starts that were let go and not sent yet: numbers by site."""
        sql = (
            "SELECT site_id, id FROM intents WHERE pid_start = ? AND done = 0 "
            "AND sent = 0 AND site_id <> '' ORDER BY id"
        )
        found: dict[str, list[int]] = {}
        for site_id, number in self._database.fetch_rows(sql, [OF_RECORD]):
            found.setdefault(site_id, []).append(number)
        return found

    def has_other_active(self, ids: Sequence[str]) -> bool:
        """Tell whether one of these jobs may still change and does not wait here."""
        sql = (
            f"SELECT 1 FROM jobs WHERE {IS_ACTIVE} "
            "AND id IN (SELECT value FROM json_each(?)) AND NOT EXISTS ("
            "SELECT 1 FROM intents WHERE job_id = jobs.id AND site_id = '' "
            "AND done = 0) LIMIT 1"
        )
        return any(
            self._database.fetch_rows(sql, [quote_array(some)]) for some in slices(ids)
        )
