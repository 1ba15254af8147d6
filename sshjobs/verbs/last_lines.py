"""The last lines of the logs of ended jobs, brought home if they are short."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from ..model import STDERR, Job
from ..owned import open_owned
from ..rounds.log_state import (
    count_bytes_left,
    is_log_cut,
    is_log_wanted,
    view_log,
)
from ..rounds.needs import find_next_look, require_fresh_round
from ..store import Store
from .context import Context
from .fanout import work_side_by_side

#: A log of which more than so many bytes are missing is not brought for its last line.
_MOST = 1 << 20

#: So much of the end of a log is looked at, and so many seconds are spent on a host.
_END = 4096
_PATIENCE = 10.0


def find_last_lines(ctx: Context, jobs: Sequence[Job]) -> dict[str, str]:
    """Return the last line of each job's log, by id.

    Where it cannot be had now there is the reason, and the command that brings it.
    """
    bring_short_logs(ctx, jobs)
    known = ctx.store.jobs.find_jobs(job.id for job in jobs)
    return {
        job.id: _describe_last_line(ctx.store, known.get(job.id, job)) for job in jobs
    }


def bring_short_logs(ctx: Context, jobs: Sequence[Job]) -> None:
    """Bring home the logs of ended jobs, if they are short; those that a host gives."""
    missing: dict[str, list[str]] = {}
    for job in jobs:
        if is_log_wanted(job) and count_bytes_left(job) <= _MOST:
            missing.setdefault(job.site_id, []).append(job.id)

    def bring(own: Context, site_id: str) -> None:
        _bring_logs_home(own, site_id, missing[site_id])

    for _ in work_side_by_side(ctx, missing, bring):
        pass  # a log that a host does not give now is named by its caller


def _bring_logs_home(ctx: Context, site_id: str, ids: list[str]) -> None:
    with ctx.coordinator_at(site_id) as coordinator:
        store = coordinator.store
        numbers = store.intents.add_intents(site_id, "log", ids)
        fresh = require_fresh_round(coordinator.site, coordinator.clock())

        def need() -> float | None:
            if not any(map(is_log_wanted, store.jobs.find_jobs(ids).values())):
                return None
            due = fresh()
            return find_next_look(coordinator.site) if due is None else due

        try:
            coordinator.wait_for(need, until=time.monotonic() + _PATIENCE)
        finally:
            store.intents.drop_intents(numbers)


def read_log_end(store: Store, job: Job, most: int) -> bytes:
    """Return the last bytes of a job's log that are here; of two logs, of the telling.

    Raises:
        OSError, StoreError: the file cannot be read.
    """
    # Where a job says apart why it fails, that is in its second log.
    stream = STDERR if job.stderr_local_bytes else ""
    size = view_log(job, stream).log_local_bytes
    if not size:
        return b""
    with open(
        open_owned(store.files.locate_log(job.id, stream), os.O_RDONLY), "rb"
    ) as log:
        start = max(0, size - most)
        log.seek(start)
        return log.read(size - start)


def _describe_last_line(store: Store, job: Job) -> str:
    """Return why a job ended so, if that is known, and its last line."""
    reason = f"{job.reason}; " if job.reason else ""
    if is_log_wanted(job) or is_log_cut(job):
        return (
            f"{reason}the end of its log is not here:\nsshjobs logs {job.id} --tail 5"
        )
    text = read_log_end(store, job, _END).decode("utf-8", "replace")
    if not text:
        return f"{reason}its log is empty"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return reason + (lines[-1] if lines else "its log has only empty lines")
