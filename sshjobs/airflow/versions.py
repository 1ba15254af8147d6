"""The names of Airflow that differ between its versions (2.9 to 3.3).

A triggerer imports this in its event loop: what costs more stands in
:mod:`.bash_versions`.
"""

from __future__ import annotations

from typing import Any

from airflow import __version__
from airflow.configuration import AIRFLOW_HOME, conf
from airflow.triggers.base import BaseTrigger, TriggerEvent

try:
    from airflow.sdk import BaseHook
except ImportError:  # Airflow 2
    from airflow.hooks.base import BaseHook

try:
    from airflow.sdk.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
    )
except ImportError:  # Airflow 2.9 to 3.1
    from airflow.exceptions import (
        AirflowException,
        AirflowFailException,
        AirflowSkipException,
    )

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow 2.9 to 3.1
    from airflow.exceptions import TaskDeferred

#: Whether a retry begins where the try before it was resumed, with what it was told: so
#: in 3.0 and 3.1.0, whose API leaves ``next_method`` as it is (3.1.8 does not).
RESUMES_RETRIES = __version__.startswith(("3.0.", "3.1."))


def read_task_state(ti: Any) -> Any:
    """Return the state of a trigger's task as the scheduler has it now."""
    try:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
    except ImportError:  # Airflow 2, where triggers may ask the database
        from airflow.models.taskinstance import TaskInstance
        from airflow.utils.session import create_session

        with create_session() as session:
            found = TaskInstance.get_task_instance(
                ti.dag_id, ti.run_id, ti.task_id, ti.map_index, session=session
            )
            return found.state if found else "removed"
    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id,
        task_ids=[ti.task_id],
        run_ids=[ti.run_id],
        map_index=ti.map_index,
    ).get(ti.run_id, {})
    mapped = f"{ti.task_id}_{ti.map_index}"
    return states.get(mapped, states.get(ti.task_id, "removed"))


__all__ = [
    "AIRFLOW_HOME",
    "AirflowException",
    "AirflowFailException",
    "AirflowSkipException",
    "BaseHook",
    "BaseTrigger",
    "RESUMES_RETRIES",
    "TaskDeferred",
    "TriggerEvent",
    "conf",
]
