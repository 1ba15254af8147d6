"""Questions about jobs: conditions on rows, and the jobs for which one holds.

A condition is a part of a WHERE clause with its arguments.

No text of a caller becomes SQL: it stands in the arguments. A pattern is as of a shell:
``*``, ``?`` and ``[...]`` (sqlite.org/lang_expr.html, GLOB).
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING, Record
from . import schema
from .database import Database, quote_array
from .jobs import AGE, JOB_COLUMNS, JobTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any

    from ..model import Job


class Condition(Record):
    """A condition on a row of the jobs."""

    sql: str
    args: tuple[Any, ...] = ()

    def __and__(self, other: Condition) -> Condition:
        return Condition(f"({self.sql}) AND ({other.sql})", self.args + other.args)

    def __or__(self, other: Condition) -> Condition:
        return Condition(f"({self.sql}) OR ({other.sql})", self.args + other.args)


ALWAYS = Condition("1")

#: The name that a list shows of a job, if somebody has given it one.
LABEL = "CASE WHEN name <> '' THEN name ELSE key END"

#: No later attempt of the job's key is known there. A job whose row has no key is one.
IS_NEWEST_ATTEMPT = Condition(
    "key = '' OR NOT EXISTS (SELECT 1 FROM jobs AS later WHERE later.key = jobs.key "
    "AND later.site_id = jobs.site_id AND (later.attempt, later.submitted_at) > "
    "(jobs.attempt, jobs.submitted_at))"
)

IS_ACTIVE = Condition(schema.IS_ACTIVE)

IS_NOT_REAPED = Condition("reaped_at IS NULL")


def is_pattern(text: str) -> bool:
    """Tell whether a text stands for others, as in a shell."""
    return any(mark in text for mark in "*?[")


def equals(column: str, text: str) -> Condition:
    """Return the condition that a column, or :data:`LABEL`, has this text."""
    if column == LABEL:  # the key has an index
        return Condition("name = ? OR (name = '' AND key = ?)", (text, text))
    return Condition(f"{column} = ?", (text,))


def matches(column: str, pattern: str) -> Condition:
    """Return the condition that a column has a text of this pattern."""
    # The complement of a set: [!a] in a shell, [^a] here.
    return Condition(
        f"{column} <> '' AND {column} GLOB ?", (pattern.replace("[!", "[^"),)
    )


def is_one_of(column: str, words: Iterable[str]) -> Condition:
    """Return the condition that a column has one of these ids or states."""
    array = quote_array(list(words))
    return Condition(f"{column} IN (SELECT value FROM json_each(?))", (array,))


def was_active_since(instant: float) -> Condition:
    """Return the condition that a job runs, or ended at an instant or later."""
    # SQLite uses two indexes for a list of ids; for an OR it reads each row (3.40).
    return Condition(
        f"id IN (SELECT id FROM jobs WHERE {schema.IS_ACTIVE} UNION ALL "
        f"SELECT id FROM jobs WHERE {schema.IS_FINAL} AND {schema.ENDED_AT} >= ?)",
        (instant,),
    )


def join_any(conditions: Sequence[Condition]) -> Condition:
    """Return the condition that one of these holds; that of none always does."""
    joined = conditions[0] if conditions else ALWAYS
    for condition in conditions[1:]:
        joined |= condition
    return joined


class JobQueries:
    """Finds the jobs for which a condition holds."""

    def __init__(self, database: Database, jobs: JobTable) -> None:
        self._database = database
        self._jobs = jobs

    def search_jobs(self, condition: Condition, order: str = AGE) -> Iterator[Job]:
        """Return the jobs for which a condition holds, without holding them all.

        Args:
            order: Columns as of ORDER BY, from a table of the caller's own.
        """
        sql = f"SELECT {JOB_COLUMNS} FROM jobs WHERE {condition.sql} ORDER BY {order}"
        rows = self._database.iterate_rows(sql, condition.args)
        return map(self._jobs.make_job, rows)

    def search_ids(self, condition: Condition) -> Iterator[tuple[str, str, str]]:
        """Return id, site and state of the jobs for which a condition holds.

        Oldest first.
        """
        sql = f"SELECT id, site_id, state FROM jobs WHERE {condition.sql}"
        return self._database.iterate_rows(f"{sql} ORDER BY {AGE}", condition.args)

    def has_job(self, condition: Condition) -> bool:
        """Tell whether a condition holds for a job."""
        sql = f"SELECT 1 FROM jobs WHERE {condition.sql} LIMIT 1"
        return bool(self._database.fetch_rows(sql, condition.args))

    def count_jobs(self, condition: Condition) -> int:
        """Return for how many jobs a condition holds."""
        sql = f"SELECT count(*) FROM jobs WHERE {condition.sql}"
        return int(self._database.fetch_rows(sql, condition.args)[0][0])

    def count_states(self, condition: Condition) -> dict[str, int]:
        """Return for how many jobs of each state a condition holds."""
        sql = f"SELECT state, count(*) FROM jobs WHERE {condition.sql} GROUP BY state"
        return dict(self._database.fetch_rows(sql, condition.args))
