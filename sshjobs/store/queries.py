"""Conditions on jobs, as parts of a WHERE clause with their arguments.

No text of a caller becomes SQL: it stands in the arguments. A pattern is as of a shell:
``*``, ``?`` and ``[...]`` (sqlite.org/lang_expr.html, GLOB).
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING, Record
from . import schema
from .database import quote_array

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


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
    """Return the condition that a job has not ended, or ended at an instant or later.

    The end of a job that is LOST may be unknown.
    """
    return Condition(
        f"{IS_ACTIVE.sql} OR coalesce(finished_at, submitted_at) >= ?", (instant,)
    )


def join_any(conditions: Sequence[Condition]) -> Condition:
    """Return the condition that one of these holds; that of none always does."""
    joined = conditions[0] if conditions else ALWAYS
    for condition in conditions[1:]:
        joined |= condition
    return joined
