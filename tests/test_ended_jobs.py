"""What is asked of the record does not look at each of a million jobs that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.model import Job, new_job_id
from sshjobs.verbs.context import Context
from sshjobs.verbs.overview import LATELY, View, read_overview
from sshjobs.verbs.selection import ALL, Criteria, select_jobs

pytestmark = pytest.mark.quick

NOW = 1e9


@pytest.fixture
def ctx(tmp_path: Path) -> Iterator[Context]:
    """A record of jobs that ended long ago or run."""
    context = Context(environ={"SSHJOBS_HOME": str(tmp_path / "home")})
    old = Job(id="", host="h", site_id="c", state=states.COMPLETED, submitted_at=1.0)
    jobs = [old._replace(id=new_job_id(), finished_at=2.0) for _ in range(40)]
    jobs += [old._replace(id=new_job_id(), state=states.LOST, submitted_at=NOW)]
    jobs += [old._replace(id=new_job_id(), state=states.RUNNING)]
    context.store.jobs.add_jobs(jobs)
    yield context
    context.close()


LOOKS: dict[str, Callable[[Context], object]] = {
    "status": lambda ctx: read_overview(
        ctx, ALL, View(limit=20, lately_only=True, with_reaped=True)
    ),
    "status by host": lambda ctx: read_overview(
        ctx, ALL, View(order="host", lately_only=True)
    ),
    "poll": lambda ctx: select_jobs(ctx, ALL),
    "list --state": lambda ctx: select_jobs(ctx, Criteria(states=["RUNNING"])),
    "reap": lambda ctx: ctx.store.jobs.list_unreaped("c", NOW - LATELY),
    "record_ttl": lambda ctx: ctx.store.jobs.prune_jobs("c", 0.5),
}


def list_steps(ctx: Context, look: Callable[[Context], object]) -> list[str]:
    """Return how SQLite reads the jobs for all that is asked of the record."""
    said: list[str] = []
    db = ctx.store._database._db
    db.set_trace_callback(said.append)
    look(ctx)
    db.set_trace_callback(None)
    asked = [sql for sql in said if sql.startswith("SELECT") and "FROM jobs" in sql]
    assert asked
    plans = (db.execute(f"EXPLAIN QUERY PLAN {sql}") for sql in asked)
    return [row[3] for plan in plans for row in plan]


@pytest.mark.parametrize("look", LOOKS)
def test_no_query_looks_at_every_job(ctx: Context, look: str) -> None:
    steps = list_steps(ctx, LOOKS[look])
    whole = [step for step in steps if step.startswith("SCAN jobs")]
    assert all("INDEX jobs_active" in step for step in whole), steps


@pytest.mark.parametrize(
    "look",
    [
        LOOKS["poll"],
        lambda ctx: ctx.store.jobs.list_asked("c"),
        lambda ctx: ctx.store.jobs.list_launchers("c"),
    ],
    ids=["poll", "round", "launchers"],
)
def test_what_is_active_is_read_from_an_index_alone(
    ctx: Context, look: Callable[[Context], object]
) -> None:
    """Beside many that ended, each row of those that run is on a page of its own."""
    steps = [step for step in list_steps(ctx, look) if "jobs_active" in step]
    assert steps
    assert all("COVERING INDEX jobs_active" in step for step in steps)


def test_who_ended_lately_or_runs_is_found(ctx: Context) -> None:
    view = View(lately_only=True)
    known = ctx.store.jobs.find_jobs(
        job.id for job in read_overview(ctx, ALL, view).jobs
    )
    assert [job.state for job in known.values()] == [states.RUNNING]
    found = read_overview(ctx, Criteria(since="2001-01-01"), View()).jobs
    assert {job.state for job in found} == {states.RUNNING, states.LOST}
