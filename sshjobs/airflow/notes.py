"""Notes of deferred tasks: which job is to end when a person ends which task.

Theory of operation: Airflow tells a trigger of its task's end only while that trigger
runs. While a triggerer is away, and for half a minute after one was killed
(``triggerer_health_check_threshold``, in which Airflow takes it for alive), a task that
a person ends loses its trigger's row, and nobody is told (3.3.2, ``clean_unused``). So
the worker that defers a task, and the trigger that takes it, leave a note beside the
record of this machine; whoever sees the end of the job drops it. The :mod:`.janitor`
compares what is left with the states of the tasks.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..errors import SshJobsError
from ..model import is_job_id
from .folder import make_folder, publish_file
from .versions import AIRFLOW_HOME

#: How long a note lasts (seconds) on a machine that no triggerer looks after.
_LASTS = 30 * 86400.0

#: What comes of a file that says something else.
_NO_NOTE = (ValueError, TypeError, KeyError)

#: What tells a task instance from others.
_NAMES = ("dag_id", "run_id", "task_id", "map_index")


def keep_notes(waits: Iterable[tuple[Any, Any]]) -> None:
    """Note the jobs that triggers wait for, and whose they are.

    A record that takes no note is no reason to fail a task. ``airflow dags test``
    runs a trigger without a task instance: nobody can end a task there but by Ctrl-C.

    Args:
        waits: Each trigger with its task instance.
    """
    noted = [(one, ti) for one, ti in waits if ti is not None and one.cancel_on_kill]
    with suppress(OSError, SshJobsError):
        folder = make_folder("deferred")
        for trigger, ti in noted:
            path = os.path.join(folder, trigger.job)
            if is_job_id(trigger.job) and not os.path.exists(path):
                task = [getattr(ti, name) for name in _NAMES]
                given = trigger.serialize()[1]
                note = {"airflow": AIRFLOW_HOME, "task": task, "trigger": given}
                with suppress(OSError):
                    publish_file(path, json.dumps(note))
        if any(one.job.startswith("a") for one, _ in noted):  # one job in 32
            _drop_old_notes(folder)


def drop_notes(jobs: Iterable[str]) -> None:
    """Forget jobs that have ended, or are left as they are."""
    with suppress(OSError, SshJobsError):
        folder = make_folder("deferred")
        for job in filter(is_job_id, jobs):
            with suppress(OSError):
                os.unlink(os.path.join(folder, job))


def read_notes() -> dict[str, dict[str, Any]]:
    """Return job id -> the note about it, those of this Airflow only.

    Raises:
        OSError, StoreError: they cannot be read.
    """
    from ..owned import open_owned

    folder = make_folder("deferred")
    notes = {}
    for job in filter(is_job_id, os.listdir(folder)):
        with suppress(FileNotFoundError, *_NO_NOTE):
            path = os.path.join(folder, job)
            with open(open_owned(path, os.O_RDONLY), "rb") as file:
                note = json.load(file)
            if note["airflow"] == AIRFLOW_HOME:
                notes[job] = note | {"task": tuple(note["task"])}
    return notes


def _drop_old_notes(folder: str) -> None:
    """Drop notes of a worker whose machine has no triggerer."""
    for entry in os.scandir(folder):
        with suppress(FileNotFoundError):
            if entry.stat().st_mtime < time.time() - _LASTS:
                os.unlink(entry.path)
