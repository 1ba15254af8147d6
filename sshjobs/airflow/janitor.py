"""Ends the jobs of deferred tasks that a person ended while no trigger could hear it.

Theory of operation: a thread of the triggerer's first process, which may ask Airflow's
database (triggers may not). It looks at the :mod:`.notes` of this machine from time to
time, asks for the states of their tasks in one query, and has the :mod:`.waiter` of the
host end the jobs of those that have ended or were cleared. A task that waits, runs or
is to be tried again keeps its job; of a task that the database does not have nothing is
concluded, since that may be another database.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .connection import find_target, read_target
from .notes import drop_notes, read_notes

if TYPE_CHECKING:
    from .waiter import WaitedEnd

#: Seconds between two looks, and before a host that could not be asked is asked again.
_PAUSE = 10.0
_RETRY = 60.0

#: States of a task whose job nobody waits for any more; None: it was cleared.
_ENDED = frozenset({None, "success", "failed", "skipped", "upstream_failed", "removed"})

_log = logging.getLogger("airflow.sshjobs")

#: The process that has the thread.
_RUNS_IN: list[int] = []


def start_janitor() -> None:
    """Start the thread, once in a process, and in none that runs triggers."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if os.getpid() in _RUNS_IN or hasattr(runner, "SUPERVISOR_COMMS"):
        return
    _RUNS_IN[:] = [os.getpid()]
    look = Janitor().look_for_ever
    thread = threading.Thread(target=look, name="sshjobs-ends", daemon=True)
    thread.start()


class Janitor:
    """Compares what is noted with what Airflow says, and has jobs ended."""

    def __init__(self) -> None:
        self._again_at: dict[str, float] = {}  # job -> when it may be told once more

    def look_for_ever(self) -> None:
        """Look now and then, as long as this process lives."""
        while True:
            time.sleep(_PAUSE)  # at first, too: the triggerer forks meanwhile
            try:
                self.look()
            except (
                Exception
            ) as error:  # of a database that is away; the next look may do
                _log.warning("deferred tasks that were ended are not seen: %r", error)

    def look(self) -> None:
        """Have the jobs ended whose tasks have ended; return at once."""
        notes = read_notes()
        if not notes:
            return
        states = read_states({note["task"][:2] for note in notes.values()})
        now = time.monotonic()
        for job, note in notes.items():
            state = states.get(note["task"], "deferred")
            if state in _ENDED and now >= self._again_at.get(job, now):
                self._again_at[job] = now + _RETRY
                _log.info("task %s is %s: ending its job %s", note["task"], state, job)
                try:
                    self._end_job(job, note["trigger"])
                except Exception as error:  # of its connection; others have theirs
                    _log.warning("job %s is not ended yet: %s", job, error)

    def _end_job(self, job: str, given: dict[str, Any]) -> None:
        from .waiter import WaitedJob, find_waiter

        def drop_or_keep(end: WaitedEnd) -> None:
            if end.kind == "error":
                _log.warning("job %s is not ended yet: %s", job, end.message)
            else:
                drop_notes([job])
                self._again_at.pop(job, None)

        conn_id, remote_host = given["ssh_conn_id"], given["remote_host"]
        if conn_id:  # this process has Airflow's database
            from airflow.models import Connection

            found = Connection.get_connection_from_secrets(conn_id)
            where = read_target(found, remote_host)
        else:
            where = find_target(None, remote_host)
        environ = os.environ | where.list_environment() | given["settings"]
        waited = WaitedJob(job, drop_or_keep, kill=True)
        find_waiter(where.host, environ).add(waited)


def read_states(runs: Iterable[tuple[str, str]]) -> dict[tuple[Any, ...], Any]:
    """Return (DAG, run, task, map index) -> state, of all tasks of these DAG runs."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    table = TaskInstance
    found: dict[tuple[Any, ...], Any] = {}
    names = table.dag_id, table.run_id, table.task_id, table.map_index, table.state
    with create_session() as session:
        for dag_id, run_id in runs:
            rows = session.query(*names).filter_by(dag_id=dag_id, run_id=run_id)
            found |= {tuple(row[:4]): row[4] for row in rows}
    return found
