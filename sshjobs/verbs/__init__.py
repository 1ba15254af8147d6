"""What sshjobs can do, as plain functions that print nothing.

Each takes a :class:`Context` and returns jobs. A verb writes what it wants into the
store before any contact, then pursues it (``rounds.Coordinator.pursue``); who leads the
round is none of its business. Verbs that span hosts work on them side by side, so
that a dead host costs its own bound and delays no other.

A name is imported when it is first used: a process here lives for fifty
milliseconds, and most use one verb.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .connect import HostState as HostState
    from .connect import connect_host as connect_host
    from .connect import disconnect_host as disconnect_host
    from .connect import list_hosts as list_hosts
    from .connect import select_recorded_jobs as select_recorded_jobs
    from .context import Context as Context
    from .context import read_config as read_config
    from .doctor import Finding as Finding
    from .doctor import examine_host as examine_host
    from .kill import kill_jobs as kill_jobs
    from .logs import copy_log as copy_log
    from .poll import poll_jobs as poll_jobs
    from .poll import wait_for_jobs as wait_for_jobs
    from .reap import reap_jobs as reap_jobs
    from .run import Interrupted as Interrupted
    from .run import exit_status_of as exit_status_of
    from .run import run_job as run_job
    from .selection import HostResults as HostResults
    from .selection import find_job as find_job
    from .submit import JobRequest as JobRequest
    from .submit import Submitted as Submitted
    from .submit import check_job_request as check_job_request
    from .submit import submit_each_job as submit_each_job
    from .submit import submit_jobs as submit_jobs

_ROOMS = {
    "connect": "HostState connect_host disconnect_host list_hosts select_recorded_jobs",
    "context": "Context read_config",
    "kill": "kill_jobs",
    "doctor": "Finding examine_host",
    "selection": "HostResults find_job",
    "poll": "poll_jobs wait_for_jobs",
    "logs": "copy_log",
    "reap": "reap_jobs",
    "run": "Interrupted exit_status_of run_job",
    "submit": "JobRequest Submitted check_job_request submit_jobs submit_each_job",
}
_WHERE = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = sorted(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # importlib is a module more, and brings another: this is what it would call.
    room = __import__(f"{__name__}.{_WHERE[name]}", fromlist=[name])
    value = getattr(room, name)
    globals()[name] = value
    return value
