"""The life of a job, as a table.

Theory of operation: a job is in one of seven states, named as Slurm names
them. An event is a fact that a host reported, or that this machine decided
before the host was ever asked (a job cancelled before it was sent). The table
says where an event leads; a final state absorbs every event, so that a late or
repeated report never changes an end. Not being able to ask a host is no event.
"""

from __future__ import annotations

PENDING = "PENDING"
RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
FAILED = "FAILED"
CANCELLED = "CANCELLED"
TIMEOUT = "TIMEOUT"
LOST = "LOST"

ACTIVE = (PENDING, RUNNING)
FINAL = (COMPLETED, FAILED, CANCELLED, TIMEOUT, LOST)
STATES = ACTIVE + FINAL

_ENDS = {
    "completed": COMPLETED,
    "failed": FAILED,
    "cancelled": CANCELLED,
    "timed_out": TIMEOUT,
    "lost": LOST,
}

#: Every event that :func:`advance` knows.
EVENTS = ("started", *_ENDS)

#: (state, event) -> state. A pair that is missing leaves the state as it is.
TABLE = {
    (PENDING, "started"): RUNNING,
    (RUNNING, "started"): RUNNING,
    **{(state, event): end for state in ACTIVE for event, end in _ENDS.items()},
    **{(state, event): state for state in FINAL for event in EVENTS},
}


def advance(state: str, event: str) -> str:
    """Return the state that ``event`` leads to.

    Raises:
        KeyError: no such state or event; that is a bug.
    """
    return TABLE[state, event]


def is_final(state: str) -> bool:
    """Tell whether a job in ``state`` can never change again."""
    return state in FINAL


def end_event(exit_status: int | None, signal: int | None, cause: str) -> str:
    """Name the event of an end.

    Args:
        exit_status: The main process's return value, None if it died of a signal.
        signal: The signal's number, None if the process returned.
        cause: ``"cancelled"``, ``"timeout"`` or ``""``, as the runner recorded it.
    """
    if cause == "cancelled":
        return "cancelled"
    if cause == "timeout":
        return "timed_out"
    return "completed" if exit_status == 0 and signal is None else "failed"
